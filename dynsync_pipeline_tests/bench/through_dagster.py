"""What a cycle without changes costs through Dagster, against an empty job of as many assets and checks.

Run it by hand: `python -m dynsync_pipeline_tests.bench.through_dagster`. Each run is a process of its own, `dagster job execute`,
in one instance and in turns; the middle one counts. Ratios matter, not times.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path

from dynsync_pipeline.defs.assets import CYCLE_ASSETS
from dynsync_pipeline.defs.checks import CHECKS
from dynsync_pipeline_tests.bench.starting import compiled_once, processor_s
from dynsync_pipeline_tests.worlds.http import HttpWorld

REPEATS = 3
EMPTY = f"""
import dagster as dg


def an_asset(number):
    @dg.asset(name=f"asset_{{number}}", deps=[f"asset_{{number - 1}}"] if number else [])
    def empty():
        pass

    return empty


def a_check(number):
    @dg.asset_check(name=f"check_{{number}}", asset=f"asset_{{number % {len(CYCLE_ASSETS)}}}")
    def empty():
        return dg.AssetCheckResult(passed=True)

    return empty


assets = [an_asset(number) for number in range({len(CYCLE_ASSETS)})]
defs = dg.Definitions(
    assets=assets,
    asset_checks=[a_check(number) for number in range({len(CHECKS)})],
    jobs=[dg.define_asset_job("empty", selection=dg.AssetSelection.assets(*assets))],
    executor=dg.in_process_executor,
)
"""


def main() -> None:
    """Measure and print both, processor and wall time."""
    with tempfile.TemporaryDirectory() as folder, HttpWorld(Path(folder)) as world:
        world.sync()
        (world.folder / "empty.py").write_text(EMPTY, "utf-8")
        home = world.folder / "dagster"
        home.mkdir()
        environment = compiled_once(world.environment_with()) | {
            "DAGSTER_HOME": str(home),
            "DAGSTER_TELEMETRY_DISABLED": "1",
        }
        execute = [sys.executable, "-m", "dagster", "job", "execute"]
        jobs = {
            "empty job": [*execute, "-f", "empty.py", "-j", "empty"],
            "cycle, nothing changed": [*execute, "-m", "dynsync_pipeline.definitions", "-j", "sync_cycle"],
        }
        taken: dict[str, list[tuple[float, float]]] = {name: [] for name in jobs}
        for number in range(REPEATS + 1):
            for name, command in jobs.items():
                began_s = time.monotonic()
                used_s = processor_s(command, environment, world.folder)
                if number:  # the first run makes the instance's tables
                    taken[name].append((used_s, time.monotonic() - began_s))
    empty = [statistics.median(column) for column in zip(*taken["empty job"], strict=True)]
    for name, rows in taken.items():
        figures = zip(
            ("processor", "wall"), (statistics.median(column) for column in zip(*rows, strict=True)), empty, strict=True
        )
        told = "   ".join(f"{kind} {seconds:7.2f} s  ×{seconds / than:.2f}" for kind, seconds, than in figures)
        print(f"{name:24} {told}")


if __name__ == "__main__":
    main()
