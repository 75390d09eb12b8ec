"""How long commands take to start, against a bare `import duckdb`, in processor seconds of processes of their own.

Run it by hand: `python -m dynsync_pipeline_tests.bench.starting`. Each is started in turn several times, the middle one
counts. Ratios matter, not times.
"""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from dynsync_pipeline_tests.worlds.http import DYNSYNC, HttpWorld

REPEATS = 7


def main() -> None:
    """Measure and print them."""
    with tempfile.TemporaryDirectory() as folder, HttpWorld(Path(folder)) as world:
        world.sync()
        commands = {
            "import duckdb": [sys.executable, "-c", "import duckdb"],
            "dynsync --help": [str(DYNSYNC), "--help"],
            "dynsync status": [str(DYNSYNC), "status"],
            "dynsync sync, nothing changed": [str(DYNSYNC), "sync"],
        }
        environment = compiled_once(world.environment_with())
        taken: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(REPEATS):
            for name, command in commands.items():
                taken[name].append(processor_s(command, environment, world.folder))
    bare = statistics.median(taken["import duckdb"])
    for name, seconds in taken.items():
        print(f"{name:30} {statistics.median(seconds):8.3f} s  ×{statistics.median(seconds) / bare:.1f}")


def compiled_once(environment: Mapping[str, str]) -> dict[str, str]:
    """An environment in which Python keeps what it compiled, as an installation does; else all libraries are compiled anew."""
    unusual = ("PYTHONDONTWRITEBYTECODE", "PYTHONPYCACHEPREFIX")
    return {name: value for name, value in environment.items() if name not in unusual}


def processor_s(command: list[str], environment: dict[str, str], folder: Path) -> float:
    """Processor seconds of one process, which must end well."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, env=environment, cwd=folder, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    main()
