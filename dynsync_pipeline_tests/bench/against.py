"""How long contacts take from Dynamics into DuckDB with other tools: whole processes, TLS and the same columns for all.

Run it by hand: `python -m dynsync_pipeline_tests.bench.against 100000 3`. The emulators run in a process of their own and are
filled once. Other tools are installed into environments that go with the run, never into that of DynSync. Each way is started in
turn, so many times, and the middle time counts; a way that leaves another number of contacts ends the run. TLS, because
Microsoft's SDK takes nothing else.

Left out by name: Airbyte's source for Dataverse (airbyte-source-microsoft-dataverse) and Singer's tap (tap-ms-dynamics). Both
hold the address that they sign in at in their code, and cannot be pointed at 127.0.0.1; neither can be told which columns to
read.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from dynsync_pipeline.clients.dynamics.auth import DynamicsTokens
from dynsync_pipeline.clients.dynamics.protocol import LARGEST_PAGE
from dynsync_pipeline_tests.bench.extracting import Taken, columns_of, emulated, settings_of
from dynsync_pipeline_tests.bench.starting import compiled_once

REPEATS = 3
OTHERS = Path(__file__).with_name("others")
OURS = "DynSync"
DLT = ("dlt[duckdb,parquet]==1.31.0",)


@dataclass(frozen=True)
class Way:
    """A program of `others/`, what its environment has beside DuckDB (None: it is ours), what its task says more, and where
    its result is.
    """

    program: str
    packages: tuple[str, ...] | None = None
    options: tuple[tuple[str, str], ...] = ()
    result: str = "contacts.duckdb"
    table: str = "contacts"


WAYS = {
    OURS: Way("ours", result="data/dynsync.duckdb", table="mirror.dynamics_contacts"),
    "hand-written loop, read_json": Way("loop"),
    "Microsoft's SDK, data frames": Way("sdk", ("powerplatform-dataverse-client==1.1.0", "pandas")),
    "dlt rest_api, by parquet": Way("dlt_rest", DLT, (("format", "parquet"),)),
    "dlt rest_api, as it comes": Way("dlt_rest", DLT),
}


def main(n_contacts: int = 100_000, repeats: int = REPEATS) -> None:
    """Measure and print all ways."""
    with tempfile.TemporaryDirectory() as name, emulated(Path(name), n_contacts) as environment:
        folder = Path(name)
        settings = settings_of(environment, folder / "asked")
        task: dict[str, Any] = {
            "url": settings.dynamics_url,
            "ca_file": str(settings.ca_file),
            "token": DynamicsTokens(settings).current(),
            "columns": [column.name for column in columns_of(settings)],
            "page_size": LARGEST_PAGE,
        }
        pythons = {way: python_for(way.packages, folder) for way in WAYS.values()}
        taken: dict[str, list[Taken]] = {way: [] for way in WAYS}
        for turn in range(repeats):
            for number, (name, way) in enumerate(WAYS.items()):
                place = folder / f"{turn}-{number}"
                taken[name].append(run(way, pythons[way], task, environment, place, n_contacts))
                shutil.rmtree(place)
    middle = {way: Taken(*map(statistics.median, zip(*each, strict=True))) for way, each in taken.items()}
    print(f"{n_contacts:,} contacts of {len(task['columns'])} columns, load {os.getloadavg()[1]:.1f}")
    for name, each in middle.items():
        print(
            f"{name:30} {each.wall_s:7.2f} s  ×{each.wall_s / middle[OURS].wall_s:.2f}  "
            f"{n_contacts / each.wall_s:,.0f} rows/s, processor {each.processor_s:.2f} s  "
            f"×{each.processor_s / middle[OURS].processor_s:.2f}"
        )


def python_for(packages: tuple[str, ...] | None, folder: Path) -> Path:
    """A Python that has these packages, in an environment in `folder`, with DuckDB of our version; ours where there are none."""
    if packages is None:
        return Path(sys.executable)
    home = folder / "-".join(["environment", *packages]).replace("/", "")
    uv = Path(sys.executable).with_name("uv")
    if not home.exists():
        subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, home], check=True)
        wanted = [f"duckdb=={duckdb.__version__}", *packages]
        subprocess.run(
            [uv, "pip", "install", "--quiet", "--compile-bytecode", "--python", home / "bin/python", *wanted],
            check=True,
        )
    return home / "bin/python"


def run(
    way: Way, python: Path, task: dict[str, Any], environment: dict[str, str], place: Path, n_contacts: int
) -> Taken:
    """Seconds of one process from start to end. Raises: subprocess.CalledProcessError, AssertionError for another result."""
    (place / "data").mkdir(parents=True)
    (place / "task.json").write_text(json.dumps(task | dict(way.options)), "utf-8")
    program = ["-m", f"{__package__}.others.ours"] if way.program == "ours" else [OTHERS / f"{way.program}.py"]
    known = compiled_once(os.environ) | environment
    known |= {"DYNSYNC_DATA_DIR": str(place / "data"), "REQUESTS_CA_BUNDLE": task["ca_file"]}
    known |= {"RUNTIME__DLTHUB_TELEMETRY": "false"}
    before, began_at_s = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    done = subprocess.run([python, *program], cwd=place, env=known, capture_output=True, text=True, check=False)
    wall_s, after = time.monotonic() - began_at_s, resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 0, done.stderr[-3_000:]
    with duckdb.connect(place / way.result, read_only=True) as connection:
        found = connection.execute(f"select count(*), count(distinct contactid) from {way.table}").fetchall()[0]
    assert found == (n_contacts, n_contacts), f"{way.program}: {found}"
    return Taken(wall_s, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:3]))
