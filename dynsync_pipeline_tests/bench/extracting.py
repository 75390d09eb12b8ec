"""How long contacts take from Dynamics into the working file, against downloading the same pages and throwing them away.

Run it by hand: `python -m dynsync_pipeline_tests.bench.extracting 100000`. The emulators run in a process of their own and are
filled once; each way reads the same table with the same columns over TLS, in turn, and the middle time counts, on the wall and of
the processors that this process took, the emulators' apart. The hand-written loop appends what it downloads to a file of JSON and
lets DuckDB read that: what HTTP and DuckDB cost, without cursors, types or a mirror. Ratios matter, not times.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import duckdb
import httpx

from dynsync_pipeline.clients.dynamics.auth import DynamicsTokens
from dynsync_pipeline.clients.dynamics.protocol import LARGEST_PAGE, Column, select_of
from dynsync_pipeline.cycle import Cycle
from dynsync_pipeline.model.records import TABLES, RecordType
from dynsync_pipeline.settings import Settings
from dynsync_pipeline.warehouse.columns import dynamics_columns
from dynsync_pipeline_tests.worlds.http import DYNSYNC, settings_from

REPEATS = 3
TABLE = TABLES[RecordType.CONTACT]


def main(n_contacts: int = 100_000) -> None:
    """Measure and print all ways."""
    with tempfile.TemporaryDirectory() as name, emulated(Path(name), n_contacts) as environment:
        folder = Path(name)
        columns = columns_of(settings_of(environment, folder / "asked"))
        ways: dict[str, Callable[[Path], Taken]] = {
            "download, thrown away": lambda new: downloaded(settings_of(environment, new), columns),
            "hand-written loop, read_json": lambda new: looped(settings_of(environment, new), columns, new),
            "extract": lambda new: extracted(settings_of(environment, new)),
        }
        taken: dict[str, list[Taken]] = {way: [] for way in ways}
        for turn in range(REPEATS):
            for number, (way, measure) in enumerate(ways.items()):
                new = folder / f"{turn}-{number}"
                new.mkdir()
                taken[way].append(measure(new))
    middle = {way: Taken(*map(statistics.median, zip(*each, strict=True))) for way, each in taken.items()}
    bare = middle["download, thrown away"]
    for way, each in middle.items():
        print(
            f"{way:30} {each.wall_s:7.2f} s  ×{each.wall_s / bare.wall_s:.2f}  {n_contacts / each.wall_s:,.0f} rows/s, "
            f"processor {each.processor_s:.2f} s  ×{each.processor_s / bare.processor_s:.2f}"
        )


class Taken(NamedTuple):
    """Seconds on the wall, and of the processors that this process took."""

    wall_s: float
    processor_s: float


@contextmanager
def measured() -> Iterator[list[Taken]]:
    """What was taken while it is open, one entry when it is closed."""
    taken: list[Taken] = []
    wall_s, processor_s = time.monotonic(), time.process_time()
    yield taken
    taken.append(Taken(time.monotonic() - wall_s, time.process_time() - processor_s))


@contextmanager
def emulated(folder: Path, n_contacts: int) -> Iterator[dict[str, str]]:
    """Emulators with so many contacts, as long as it is open; gives the settings that reach them."""
    state = folder / "emulators"
    command = [DYNSYNC, "emulate", "--contacts", n_contacts, "--leads", 0, "--people", 0, "--state", state]
    process = subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None
    try:
        while "Ctrl-C" not in process.stdout.readline():
            assert process.poll() is None, "the emulators did not start"
        lines = (state / "emulator.env").read_text("utf-8").splitlines()
        told = (line.partition("=") for line in lines if "=" in line and not line.startswith("#"))
        yield {name: value.strip("\"'") for name, _, value in told}
    finally:
        process.terminate()
        process.wait()


def settings_of(environment: dict[str, str], folder: Path) -> Settings:
    """The settings of a new data folder."""
    return settings_from(environment | {"DYNSYNC_DATA_DIR": str(folder)})


def columns_of(settings: Settings) -> list[Column]:
    """What a cycle reads of contacts."""
    with Cycle(settings) as cycle:
        return [Column(name, kind) for name, kind in dynamics_columns(cycle.prepare(), RecordType.CONTACT).items()]


def pages(settings: Settings, columns: list[Column]) -> Iterator[bytes]:
    """The bodies of all pages of contacts, one after the other."""
    token = DynamicsTokens(settings).current()
    prefer = f"odata.track-changes,odata.maxpagesize={LARGEST_PAGE}"
    headers = {"Authorization": f"Bearer {token}", "Prefer": prefer}
    url = f"{settings.dynamics_url}/api/data/v9.2/{TABLE.entity_set}?{select_of(columns)}"
    with httpx.Client(verify=str(settings.ca_file), headers=headers, timeout=60, trust_env=False) as client:
        while url:
            body = client.get(url).raise_for_status().content
            yield body
            # The link stands before the rows or behind them.
            url = next((json.loads(f'"{part}"') for part in _links(body)), "")


def _links(body: bytes) -> Iterator[str]:
    _, found, rest = body.partition(b'"@odata.nextLink":"')
    if found:
        yield rest.partition(b'"')[0].decode()


def downloaded(settings: Settings, columns: list[Column]) -> Taken:
    """What all pages take, thrown away."""
    with measured() as taken:
        for _ in pages(settings, columns):
            pass
    return taken[0]


def looped(settings: Settings, columns: list[Column], folder: Path) -> Taken:
    """What a loop takes that anybody would write."""
    with measured() as taken:
        files = []
        for number, body in enumerate(pages(settings, columns)):
            files.append(folder / f"{number}.json")
            files[-1].write_bytes(body)
        with duckdb.connect(folder / "loop.duckdb") as connection:
            connection.execute(
                "create table contacts as select unnest(rows) from (select unnest(value) as rows from read_json(?))",
                [[str(file) for file in files]],
            )
    return taken[0]


def extracted(settings: Settings) -> Taken:
    """What the step takes in a cycle, the schema known before it begins."""
    with Cycle(settings) as cycle:
        cycle.prepare()
        with measured() as taken:
            cycle.extract_records(RecordType.CONTACT)
    return taken[0]


if __name__ == "__main__":
    main(*map(int, sys.argv[1:2]))
