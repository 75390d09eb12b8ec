"""Many pairs on one machine: `python -m dynsync_pipeline_tests.bench.pairs [pairs] [minutes] [at once]`.

PostgreSQL, Dagster's daemon with its queue and launcher, and emulators for every pair; three of sixteen pairs are edited all the
time, the others are quiet. A pair has a wrong secret, one has its calls spent. Meanwhile a worker, the daemon and PostgreSQL are
killed with SIGKILL. Prints what everything cost, and ends with 1 where a healthy pair stood still or did not go on afterwards.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import dagster as dg
from sqlalchemy import create_engine, text

from dynsync_pipeline_tests.pairs.unattended import Unattended, until

WRONG, SPENT = -1, -2  # which pairs, from the end
A_PAIR_S = 120  # of waiting for each, at most, until all have had a cycle; a busy machine gives them their turns late


def main(n_pairs: int = 16, minutes: float = 10.0, at_once: int = 2) -> int:
    """Run, kill, count; returns the exit code."""
    n_busy = max(1, n_pairs * 3 // 16)
    with (
        tempfile.TemporaryDirectory() as folder,
        Unattended(Path(folder), n_pairs=n_pairs, n_busy=n_busy, at_once=at_once) as world,
    ):
        sick = {world.names[WRONG]: "wrong secret", world.names[SPENT]: "calls spent"}
        alter(world, world.names[WRONG], "DYNSYNC_MARKETO_CLIENT_SECRET", "wrong")
        alter(world, world.names[SPENT], "DYNSYNC_MARKETO_CALLS_PER_DAY", "3")
        healthy = [name for name in world.names if name not in sick]
        world.start()
        began_s = time.monotonic()
        until(lambda: all(world.n_cycles(name) for name in healthy), "the first cycles", limit_s=A_PAIR_S * n_pairs)
        print(f"first cycles of {len(healthy)} pairs: {time.monotonic() - began_s:.0f} s", flush=True)
        measure(world, healthy, minutes)
        for what, kill in kills(world).items():
            before, at_s = world.cycles(), time.monotonic()
            kill()
            until(partial(goes_on, world, healthy, before), f"all pairs after {what}", limit_s=A_PAIR_S * n_pairs)
            print(f"kill -9 of {what}: every healthy pair went on within {time.monotonic() - at_s:.0f} s", flush=True)
        for name, what in sick.items():
            state = world.state(name)
            print(
                f"{what}: {name} {state.state}, {state.last and state.last.outcome}, {world.n_cycles(name)} succeeded"
            )
        return int(any(world.n_cycles(name) > 0 for name in sick))


def alter(world: Unattended, name: str, setting: str, value: str) -> None:
    """Change one line of a pair's `.env`, or add it."""
    file = world.folder / "pairs" / name / ".env"
    lines = [line for line in file.read_text().splitlines() if not line.startswith(f"{setting}=")]
    file.write_text("\n".join([*lines, f"{setting}={value}"]) + "\n")


def goes_on(world: Unattended, names: list[str], before: dict[str, int]) -> bool:
    """Whether a cycle of each has succeeded since."""
    return all(world.n_cycles(name) > before[name] for name in names)


def kills(world: Unattended) -> dict[str, Callable[[], None]]:
    """What is killed, in order."""

    def daemon() -> None:
        world.kill_daemon()
        world.start()

    def postgres() -> None:
        world.postgres.kill()
        world.postgres.start()

    return {"a worker": lambda: world.kill_worker(world.names[0]), "the daemon": daemon, "PostgreSQL": postgres}


def measure(world: Unattended, names: list[str], minutes: float) -> None:
    """Print what the next minutes cost."""
    before, spent, n_runs, at_s = world.cycles(), world.spent(), runs(world), time.monotonic()
    peak: dict[str, float] = {}
    while time.monotonic() - at_s < minutes * 60:
        time.sleep(5)
        for part, (_, memory_mb) in world.spent().items():
            peak[part] = max(peak.get(part, 0.0), memory_mb)
    took_s = time.monotonic() - at_s
    n = sum(world.n_cycles(name) - before[name] for name in names)
    n_new = {job: count - n_runs.get(job, 0) for job, count in runs(world).items()}
    print(f"{len(names)} healthy pairs, {took_s:.0f} s: {n} cycles, runs {n_new}", flush=True)
    for part, (cpu_s, _) in world.spent().items():
        used_s = cpu_s - spent[part][0]
        print(f"  {part}: {used_s:.0f} s of processor, {used_s / max(n, 1):.2f} s a cycle, at most {peak[part]:.0f} MB")
    print(f"  storage of Dagster: {storage_bytes(world) / 1e6:.1f} MB for {sum(runs(world).values())} runs", flush=True)


def runs(world: Unattended) -> dict[str, int]:
    """Runs that Dagster keeps, by job."""
    with instance_of(world) as instance:
        found: dict[str, int] = {}
        for run in instance.get_runs():
            found[run.job_name] = found.get(run.job_name, 0) + 1
        return found


def storage_bytes(world: Unattended) -> int:
    """What PostgreSQL and Dagster's home hold."""
    engine = create_engine(world.postgres.address)
    with engine.connect() as connection:
        in_postgres = int(connection.execute(text("select pg_database_size(current_database())")).scalar_one())
    engine.dispose()
    return in_postgres + sum(file.stat().st_size for file in (world.folder / "data").rglob("*") if file.is_file())


def instance_of(world: Unattended) -> dg.DagsterInstance:
    """Dagster's instance, for looking."""
    os.environ["DAGSTER_POSTGRES_URL"] = world.postgres.address
    return dg.DagsterInstance.from_config(str(world.folder / "data" / "dagster"))


if __name__ == "__main__":
    numbers = [float(each) for each in sys.argv[1:4] if re.fullmatch(r"[\d.]+", each)]
    sys.exit(main(*(int(n) if n == int(n) else n for n in numbers)))  # type: ignore[arg-type]
