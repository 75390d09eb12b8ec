"""What the audit costs on DuckDB and on Spark, and what the Parquet files between them cost; both must find the same.

Run it by hand, in the environment of `make test-spark`: `.venv-spark/bin/python -m dynsync_pipeline_tests.bench.engines 100000
1000000`. The store is that of `sizes.py`, 30 fields to a link; a link in a thousand was edited in Marketo and told to no cycle.
Seconds of wall time, Spark as `local[2]`, its start apart.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from tempfile import mkdtemp

from dynsync_pipeline.engines.on_duckdb import duckdb_engine
from dynsync_pipeline.engines.on_spark import SparkEngine
from dynsync_pipeline.engines.spark_session import session
from dynsync_pipeline.publish.parquet import publish_parquet
from dynsync_pipeline.publish.parquet_files import read_manifest
from dynsync_pipeline.reconcile.audit import STEPS, run_audit
from dynsync_pipeline_tests.bench.sizes import edit, multiplied
from dynsync_pipeline_tests.worlds.memory import MemoryWorld, field_map

N_FIELDS = 30


def main(*sizes: int) -> None:
    """Measure and print, size by size."""
    for n_people in sizes:
        others = (f"field{number},new_field{number},text,both,true" for number in range(N_FIELDS - 1))
        world = multiplied(n_people, field_map("title,jobtitle,text,both,true", *others))
        edit(world, n_people // 1000)
        with world.warehouse.transaction() as connection:
            connection.execute("delete from inbox.touched")
        compared(world, n_people)


def compared(world: MemoryWorld, n_people: int) -> None:
    """Print what each takes over one store. Raises: AssertionError, where they find other things."""
    folder = world.settings.data_dir / "parquet"
    world.allow(parquet_dir=folder)
    print(f"{n_people:,} links")
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
    with taking("audit, DuckDB"), duckdb_engine(world.warehouse) as engine:
        run_audit(engine)
    with world.warehouse.reading() as connection:
        connection.execute("create or replace temp table of_duckdb as from audit_findings")
        on_spark(world, folder)
        connection.execute("drop table temp.of_duckdb")


def on_spark(world: MemoryWorld, folder: Path) -> None:
    """The audit on Spark over the same files, held against that of DuckDB."""
    manifest = read_manifest(folder)
    assert manifest is not None
    opening = session("local[2]", world.settings.data_dir / "spark")
    with taking("Spark, start"):
        spark = opening.__enter__()
    try:
        engine = SparkEngine(spark, folder, manifest, Path(mkdtemp(dir=folder)), lambda: nullcontext(world.warehouse))
        with world.warehouse.reading() as connection:
            with taking("audit, Spark local[2]"):
                engine.run_steps(STEPS)
                engine.bring(connection, "audit_findings")
            unlike = connection.execute(
                "(from temp.of_duckdb except all from audit_findings) union all "
                "(from audit_findings except all from temp.of_duckdb)"
            ).fetchall()
            assert unlike == [], "both engines find the same"
            print(
                f"  {connection.execute('select count(*) from audit_findings').fetchall()[0][0]:,} findings, the same on both"
            )
    finally:
        opening.__exit__(None, None, None)


@contextmanager
def taking(what: str) -> Iterator[None]:
    """Print how long it takes."""
    started_s = time.monotonic()
    yield
    print(f"  {what:30} {time.monotonic() - started_s:8.1f} s", flush=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
