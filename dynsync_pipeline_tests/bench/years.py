"""Whether files and memory stop growing: years of cycles in one process, with the clock moved on six hours a cycle.

Run it by hand: `make years`; it takes the better part of an hour (`--cycles 300 --runs 30` tries it out). Retention is on, both
sides are edited throughout, and a backup, a restore and an erasure lie in between. Over the last third nothing may grow by more
than 2 %: no file of the data folder, nor the memory of the process, once the ledgers hold as many days as they keep.
Then runs through Dagster, pruned as its sensor prunes them.
"""

from __future__ import annotations

import argparse
import logging
import random
import sys
import time
from collections.abc import Iterator
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg

from dynsync_pipeline.cycle import Cycle
from dynsync_pipeline.definitions import build_definitions
from dynsync_pipeline.defs.retention import prune
from dynsync_pipeline.model.records import RecordType
from dynsync_pipeline.operate.backup import utc_now
from dynsync_pipeline.operate.forget import forget
from dynsync_pipeline.operate.restore import restore
from dynsync_pipeline.settings import Settings
from dynsync_pipeline_tests.worlds.kept import KeptWorld
from dynsync_pipeline_tests.worlds.memory import MemorySystems, MemoryWorld

N_PEOPLE = 40
DAYS_KEPT = 30
STEP = timedelta(hours=6)
MOST_GROWTH = 0.02
SMALLEST_GROWTH = 4_096  # bytes: a time that is written with more digits is none
BLOCK = 262_144  # bytes by which a file of DuckDB grows and shrinks: one more or less is none either
MOST_RUNS = 10
WATCHED = ("dynsync.duckdb", "snapshot.duckdb", "memory")  # told on the way
RECORD_ID = "cccccccc-0000-4000-8000-{:012}"
TITLES = ("Buyer", "Head", "Chief", "O'Brien", "大阪")


class Years(KeptWorld):
    """A world in which six hours pass with each cycle, and five people are edited."""

    def __init__(self) -> None:
        super().__init__()
        self.random = random.Random(1)
        self.allow(ledger_days=DAYS_KEPT, observation_days=DAYS_KEPT, backup_hours=24.0, backups_kept=2)
        for number in range(N_PEOPLE):
            self.link(RecordType.CONTACT, RECORD_ID.format(number), title="Buyer", phone="1")

    def pass_by(self) -> None:
        """People edit, and a cycle follows."""
        self.clock += STEP - timedelta(minutes=5)
        there = [key for key, row in self.dynamics.rows.items() if key[0] is RecordType.CONTACT and not row.is_deleted]
        for record_type, record_id in self.random.sample(there, 3):
            self.dynamics.put(record_type, record_id, jobtitle=self.random.choice(TITLES))
        people = [person_id for person_id, row in self.marketo.rows.items() if not row.is_deleted]
        for person_id in self.random.sample(people, 2):
            self.marketo.put(person_id, phone=str(self.random.randint(1, 9)))
        assert self.cycle() is not None
        # The systems in memory keep all that was ever told and written, which is none of the sync's.
        del self.marketo.feed[:-200], self.marketo.writes[:], self.dynamics.writes[:]

    def restore(self) -> None:
        """The working file is lost, and comes back."""
        backup = self.back_up().file
        for _ in range(2):
            self.pass_by()
        restore(self.settings, backup, utc_now())

    def forget(self) -> None:
        """Somebody leaves both systems, and is forgotten."""
        record_id = RECORD_ID.format(0)
        (person_id,) = self.marketo.bearers("dynamicsContactId", record_id)
        self.dynamics.delete(RecordType.CONTACT, record_id)
        self.marketo.delete(person_id)
        self.pass_by()
        assert not forget(self.settings, str(person_id), utc_now(), blocks=False).found_after


def sizes(folder: Path) -> dict[str, int]:
    """Bytes by file of a data folder; backups and runs of Dagster together."""
    found: dict[str, int] = {}
    for file in folder.rglob("*"):
        if file.is_file() and not file.name.endswith((".wal", "-wal", "-shm", ".replaced")):
            part = file.relative_to(folder).parts[0]
            found[part] = found.get(part, 0) + file.stat().st_size
    return found


def memory() -> int:
    """Bytes of memory that this process has."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    return 0


def cycles(n_cycles: int) -> Iterator[tuple[str, int, int]]:
    """Name, and bytes after two thirds and at the end, of each file and of the memory; the middle of ten looks each time."""
    world = Years()
    folder = world.settings.data_dir
    looks: dict[str, list[tuple[int, int]]] = {}
    started_s = time.monotonic()
    for number in range(1, n_cycles + 1):
        if number == n_cycles // 4:
            world.restore()
        if number == n_cycles // 2:
            world.forget()
        world.pass_by()
        if number > n_cycles * 2 // 3:
            for name, size in {**sizes(folder), "memory": memory()}.items():
                looks.setdefault(name, []).append((number, size))
        if number % 100 == 0:
            largest = {**sizes(folder), "memory": memory()}
            told = ", ".join(f"{name} {largest[name] / 1e6:.2f} MB" for name in WATCHED)
            print(f"{number:,} cycles, {time.monotonic() - started_s:,.0f} s: {told}", flush=True)
    for name, seen in sorted(looks.items()):
        middle = max(len(seen) // 5, 1)
        first, last = (sorted(size for _, size in some) for some in (seen[:middle], seen[-middle:]))
        yield name, first[len(first) // 2], last[len(last) // 2]


def runs(n_runs: int) -> Iterator[tuple[str, int, int]]:
    """The same of Dagster's home, over runs of the job that the sensor starts."""
    world = MemoryWorld(publishes=True)
    settings: Settings = world.settings

    def quiet(given: Settings) -> Cycle:
        systems = MemorySystems(world.dynamics, world.marketo)
        return Cycle(given, systems=lambda _, used: nullcontext(systems))

    job = build_definitions(settings, quiet).get_repository_def().get_job("sync_cycle")
    with dg.DagsterInstance.local_temp() as instance:
        home = Path(instance.root_directory)
        seen: list[tuple[int, int]] = []
        for number in range(1, n_runs + 1):
            assert job.execute_in_process(instance=instance).success
            prune(instance, datetime.now(UTC), most_runs=MOST_RUNS)
            if number > n_runs * 2 // 3:
                seen.append((sum(sizes(home).values()), memory()))
        for place, name in enumerate(("Dagster's home", "memory with Dagster")):
            yield name, seen[0][place], seen[-1][place]


def main() -> None:
    """Print what grew, and end with 1 where anything grew by more than 2 %, and by more than a block, over the last third."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--cycles", type=int, default=1_500)
    parser.add_argument("--runs", type=int, default=200)
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)  # Dagster tells of every step
    has_grown = False
    for name, before, after in (*cycles(options.cycles), *runs(options.runs)):
        growth = after / before - 1 if before else 0.0
        least = BLOCK if name.endswith(".duckdb") else SMALLEST_GROWTH
        has_grown |= growth > MOST_GROWTH and after - before > least
        print(f"{name:28} {before / 1e6:10,.2f} MB   {after / 1e6:10,.2f} MB   {growth:+.1%}", flush=True)
    sys.exit(has_grown)


if __name__ == "__main__":
    main()
