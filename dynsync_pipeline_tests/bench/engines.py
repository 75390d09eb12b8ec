"""What the audit costs on DuckDB and on Spark, and what the Parquet files between them cost; both must make the same rows.

Run it by hand, in the environment of `make test-spark`: `.venv-spark/bin/python -m dynsync_pipeline_tests.bench.engines 100000
1000000`. The store is that of `sizes.py`, 30 fields to a link, in a file; a link in a thousand was edited in Marketo and told to
no cycle. Both engines have two threads, and what they take is told as wall time and as processor time, Java's too; the latter
moves less where a machine has other work, and the load is told with it. Spark's start counts apart.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from tempfile import mkdtemp

import duckdb
import pandas as pd

from dynsync_pipeline.engine import Engine
from dynsync_pipeline.engines.on_duckdb import duckdb_engine
from dynsync_pipeline.engines.on_spark import SparkEngine
from dynsync_pipeline.engines.spark_session import session
from dynsync_pipeline.publish.parquet import publish_parquet
from dynsync_pipeline.publish.parquet_files import Manifest, read_manifest
from dynsync_pipeline.reconcile.audit import STEPS
from dynsync_pipeline_tests.bench.sizes import edit, multiplied
from dynsync_pipeline_tests.worlds.cuts import CutWarehouse
from dynsync_pipeline_tests.worlds.memory import MemoryWorld, field_map

N_FIELDS = 30
N_THREADS = 2
DUCKDB_MB = 8_000
# What both must make; the three sides beside these are choices of rows, and go into the second and third.
MADE = ("compared_links", "differing_links", "differing_fields", "audit_findings")
_TICKS = os.sysconf("SC_CLK_TCK")


def main(*sizes: int) -> None:
    """Measure and print, size by size."""
    for n_people in sizes:
        others = (f"field{number},new_field{number},text,both,true" for number in range(N_FIELDS - 1))
        fields = field_map("title,jobtitle,text,both,true", *others)
        world = multiplied(n_people, fields, warehouse=CutWarehouse, is_published=False)
        world.warehouse.limit(DUCKDB_MB, N_THREADS, None)
        edit(world, n_people // 1000)
        with world.warehouse.transaction() as connection:
            connection.execute("delete from inbox.touched")
        print(f"{n_people:,} links; load {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors")
        compared(world)
        print(f"  load {os.getloadavg()[0]:.1f} in the end")


def compared(world: MemoryWorld) -> None:
    """Print what each takes over one store. Raises: AssertionError, where they make other rows."""
    manifest, folder = written(world)
    with duckdb_engine(world.warehouse) as engine:
        with taking("audit, DuckDB") as of_duckdb:
            engine.run_steps(STEPS)
        made = rows_of(engine)
    with taking("Spark, start"):
        results = Path(mkdtemp(dir=folder))
        opening = session(f"local[{N_THREADS}]", results, results)
        spark = opening.__enter__()
    try:
        on_spark = SparkEngine(spark, folder, manifest, results, folder, lambda: nullcontext(world.warehouse))
        with taking("audit, Spark") as of_spark:
            on_spark.run_steps(STEPS)
        require_same(made, rows_of(on_spark))
        on_spark.close()
    finally:
        opening.__exit__(None, None, None)
    ratios = [f"×{spark_s / duckdb_s:.1f}" for spark_s, duckdb_s in zip(of_spark, of_duckdb, strict=True)]
    print(f"  Spark beside DuckDB: {ratios[0]} wall, {ratios[1]} processors")


def written(world: MemoryWorld) -> tuple[Manifest, Path]:
    """The Parquet files, written as a whole and then by delta."""
    folder = world.settings.data_dir / "parquet"
    world.allow(parquet_dir=folder)
    with taking("Parquet, whole"):
        publish_parquet(world.warehouse, world.settings, is_wanted_now=True)
    with world.warehouse.transaction() as connection:
        connection.execute(
            "insert into state.unpublished (published_table, person_id) select 'people', person_id from mirror.marketo_people "
            "using sample reservoir(1000 rows) repeatable (9)"
        )
    with taking("Parquet, 1,000 people moved"):
        publish_parquet(world.warehouse, world.settings, is_wanted_now=True)
    print(f"  {sum(file.stat().st_size for file in folder.iterdir()) / 1e6:,.0f} MB")
    manifest = read_manifest(folder)
    assert manifest is not None
    return manifest, folder


def rows_of(engine: Engine) -> dict[str, pd.DataFrame]:
    """What an engine made, by table."""
    return {name: engine.rows(f"select * from {name}", name).df() for name in MADE}


def require_same(made: dict[str, pd.DataFrame], other: dict[str, pd.DataFrame]) -> None:
    """Both ways, row by row."""
    with duckdb.connect() as connection:
        for name in MADE:
            connection.register("one", made[name])
            connection.register("other", other[name])
            unlike = connection.execute("(from one except all from other) union all (from other except all from one)")
            assert unlike.fetchmany(1) == [], name
    print("  the same rows on both: " + ", ".join(f"{len(made[name]):,} {name}" for name in MADE))


@contextmanager
def taking(what: str) -> Iterator[list[float]]:
    """Print how long it takes; the list has wall and processor seconds in the end."""
    wall_s, cpu_s = time.monotonic(), cpu()
    taken: list[float] = []
    yield taken
    taken += [time.monotonic() - wall_s, cpu() - cpu_s]
    print(f"  {what:30} {taken[0]:8.1f} s wall {taken[1]:8.1f} s of processors", flush=True)


def cpu() -> float:
    """Processor seconds of this process and its children that live, which is Java."""
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    stats = [Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split() for child in children]
    return time.process_time() + sum((int(stat[11]) + int(stat[12])) / _TICKS for stat in stats)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
