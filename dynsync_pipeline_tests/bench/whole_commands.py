"""What a whole `dynsync sync` costs where hardly anything happened, at sizes that nobody wants to load.

Run it by hand: `python -m dynsync_pipeline_tests.bench.whole_commands 2000 1000000`; a million takes some minutes, 3 GB of disk.
With `--memory-mb 800` DuckDB gets no more in the cycles that are measured; what publishes everybody before may take more.

Two thousand contacts stand in both systems and are linked by a first cycle. In the working file each is then multiplied in
SQL, with other ids and texts, so that the ones that exist lie scattered among copies of which the systems know nothing; the
census, which would miss them, is off. Told are processor seconds and the most memory of a process of its own, the middle of
three; ratios matter, not times.
"""

from __future__ import annotations

import resource
import statistics
import subprocess
import tempfile
import time
from argparse import ArgumentParser
from pathlib import Path

from dynsync_pipeline.model.field_map import FieldMap, FieldType
from dynsync_pipeline.model.records import RecordType
from dynsync_pipeline.warehouse.connection import Warehouse
from dynsync_pipeline_tests.bench.equal_sides import FIELDS, equal_world
from dynsync_pipeline_tests.bench.starting import compiled_once
from dynsync_pipeline_tests.worlds.http import DYNSYNC, HttpWorld, settings_from

N_REAL = 2_000
CHANGES = (0, 100, 1_000)
REPEATS = 3
AT_ONCE = 500  # copies of everybody that one transaction makes: a million people
APART = 1_000_000_000  # between the ids of a person and of its copy


def main(sizes: list[int], memory_mb: int | None = None) -> None:
    """Measure each size in turn; the times of the first are the measure of the others."""
    first: dict[int, float] = {}
    for size in sizes:
        with tempfile.TemporaryDirectory() as folder, equal_world(Path(folder), N_REAL) as world:
            for _ in range(2):
                world.sync()
            multiply(world, size)
            command(world)  # publishes everybody
            if memory_mb:
                world.environment["DYNSYNC_MEMORY_MB"] = str(memory_mb)
            snapshot_mb = (world.data_dir / "snapshot.duckdb").stat().st_size / 1e6
            working_mb = settings_from(world.environment).working_file.stat().st_size / 1e6
            print(f"{size:,} people: working file {working_mb:,.0f} MB, snapshot {snapshot_mb:,.0f} MB", flush=True)
            for n_changes in CHANGES:
                taken = [cycle_of(world, n_changes, number) for number in range(REPEATS)]
                seconds, memory = (statistics.median(each) for each in zip(*taken, strict=True))
                ratio = seconds / first.setdefault(n_changes, seconds)
                print(f"  {n_changes:5,} changes {seconds:8.2f} s  ×{ratio:.1f}   {memory:6,.0f} MB", flush=True)


def cycle_of(world: HttpWorld, n_changes: int, number: int) -> tuple[float, float]:
    """Processor seconds and megabytes of a cycle after so many edits; one without any comes after it and is not counted."""
    edit(world, n_changes, number)
    taken = command(world)
    if n_changes:
        command(world)  # what a cycle wrote comes back in the next one
    return taken


def command(world: HttpWorld) -> tuple[float, float]:
    """Processor seconds, and megabytes at most, of one `dynsync sync`, which must end well."""
    environment, memory = compiled_once(world.environment_with()), 0.0
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with tempfile.TemporaryFile("w+", encoding="utf-8") as told:
        sync = [str(DYNSYNC), "sync"]
        with subprocess.Popen(
            sync, env=environment, cwd=world.folder, stdout=subprocess.DEVNULL, stderr=told
        ) as process:
            while process.poll() is None:
                memory = max(memory, most_memory(process.pid))
                time.sleep(0.05)
        told.seek(0)
        if process.returncode:
            raise RuntimeError(f"dynsync sync ended with {process.returncode}, and {memory:,.0f} MB: {told.read()}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, memory


def most_memory(process_id: int) -> float:
    """Megabytes that a process had in memory at most since it runs its own program; what `wait4` tells begins before."""
    try:
        status = Path(f"/proc/{process_id}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return sum(int(line.split()[1]) / 1_024 for line in status.splitlines() if line.startswith("VmHWM"))


def edit(world: HttpWorld, n_changes: int, number: int) -> None:
    """So many people and records that exist are edited, half of them in each system."""
    real = world.query(
        "select person_id_marketo, contact_id_dynamics from people where person_id_marketo < ? "
        "order by hash((person_id_marketo, ?)) limit ?",  # others each time, or their rows would lie side by side
        APART,
        number,
        n_changes,
    )
    for person_id, _ in real[::2]:
        world.edit_person(person_id, title=f"Edited {number}")
    for _, record_id in real[1::2]:
        world.edit_record("contact", record_id, jobtitle=f"Edited {number}")


def multiply(world: HttpWorld, n_people: int) -> None:
    """Lay among the people of the working file as many copies as are missing, and let the snapshot be made anew."""
    n_copies = n_people // N_REAL
    columns, names = texts(FIELDS)
    person = {"person_id": f"person_id + n * {APART}"}
    tables = {
        "mirror.dynamics_contacts": ({"contactid": other_id("contactid")}, columns),
        "mirror.marketo_people": (person | {"dynamics_contact_id": other_id("dynamics_contact_id")}, names),
        "state.links": (person | {"dynamics_id": other_id("dynamics_id")}, set()),
        "state.base": (person, names),
    }
    with Warehouse(settings_from(world.environment).working_file) as warehouse:
        for table, (ids, varied) in tables.items():
            with warehouse.transaction() as connection:
                connection.execute(f"create or replace temp table few as from {table}")
                connection.execute(f"delete from {table}")
                held = {row[0] for row in connection.execute("describe few").fetchall()}
                # Everybody who exists stands among the copies of some other round.
                changed = ids | {name: f"{name} || ' ' || n" for name in varied & held}
                replaced = ", ".join(f"if(n = 0, {name}, {text}) as {name}" for name, text in changed.items())
            for start in range(0, n_copies, AT_ONCE):
                with warehouse.transaction() as connection:
                    connection.execute(
                        f"insert into {table} by name select * exclude (n) replace ({replaced}) from (select few.*, "
                        "(copies.n + hash(few.rowid)) % ? as n from few, range(?, ?) as copies(n))",
                        [n_copies, start, min(start + AT_ONCE, n_copies)],
                    )
        with warehouse.transaction() as connection:
            connection.execute("delete from state.publications")
            connection.execute("delete from state.last_swap")


def other_id(column: str) -> str:
    """As a new id of a copy, for no two alike and in no order, as ids of Dynamics are."""
    return f"md5({column} || n)::uuid::varchar"


def texts(fields: FieldMap) -> tuple[set[str], set[str]]:
    """Of contacts the columns, and of people the fields, that hold any text: names, addresses, notes."""
    found = [
        field
        for field in fields.of(RecordType.CONTACT)
        if fields.person_fields.get(field.marketo_field) is FieldType.TEXT
    ]
    return {field.dynamics_column for field in found}, {field.marketo_field for field in found}


if __name__ == "__main__":
    parser = ArgumentParser()
    parser.add_argument("sizes", nargs="+", type=int)
    parser.add_argument("--memory-mb", type=int, help="DYNSYNC_MEMORY_MB of the sync")
    asked = parser.parse_args()
    main(asked.sizes, asked.memory_mb)
