"""The same state of the Parquet files, read by both engines, and what their tables differ in."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import pyarrow as pa

from dynsync_pipeline.engine import Engine, Keeping
from dynsync_pipeline.engines.on_duckdb import DuckDbEngine
from dynsync_pipeline.engines.on_spark import SIDES, SparkEngine
from dynsync_pipeline.look.whatif import NOW, OTHERWISE, TELLING
from dynsync_pipeline.model.field_map import FieldMap
from dynsync_pipeline.publish.parquet_files import Manifest, reading_query
from dynsync_pipeline.publish.private_copy import literal
from dynsync_pipeline.reconcile.adoption import shown_queries
from dynsync_pipeline.sql_files import run_steps, sql_file
from dynsync_pipeline.warehouse.connection import Warehouse
from dynsync_pipeline.warehouse.erased import load_erased
from dynsync_pipeline.warehouse.views import SIDES_OF_LINKS, side_by_side_query

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

OUTCOMES = ("reconcile/field_outcomes",)
ADOPTION = ("reconcile/proposed_pairs",)
WHATIF = (*NOW, *OTHERWISE, *TELLING)
AUDIT = ("reconcile/all_links", "reconcile/differing_fields", "reconcile/audit_findings")


def made_by(steps: Iterable[str]) -> list[str]:
    """All tables that these files make."""
    return list(dict.fromkeys(name for step in steps for name in sql_file(step).makes))


@contextmanager
def no_working_file() -> Iterator[Warehouse]:
    raise AssertionError("nothing is kept here")
    yield  # type: ignore[unreachable]


# Of so few rows, compiling takes longer than the rows themselves.
QUICK = {
    "spark.sql.codegen.wholeStage": "false",
    "spark.sql.adaptive.enabled": "false",
    "spark.sql.shuffle.partitions": "2",
}
# Nor is there time for Java's second compiler: without it a question of a few rows takes two thirds of the processor time.
QUICK_JAVA = {"SPARK_SUBMIT_OPTS": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"}


class BothEngines:
    """DuckDB, which runs the files as they are written, and Spark, over the same Parquet files: one engine to a question."""

    def __init__(self, spark: SparkSession, folder: Path, manifest: Manifest) -> None:
        own = spark.newSession()  # with views of its own
        for name, value in QUICK.items():
            own.conf.set(name, value)
        results = folder / "results"
        results.mkdir()
        self.spark = SparkEngine(own, folder, manifest, results, folder, no_working_file)
        self.duckdb = duckdb.connect()
        self.duckdb.execute("set TimeZone = 'UTC'")
        run_steps(self.duckdb, ("warehouse/macros", "warehouse/codes"))
        load_erased(self.duckdb, folder)
        for schema in ("inbox", "mirror", "state", "reconcile", "ledger"):
            self.duckdb.execute(f"create schema {schema}")

        def scan(names: list[str]) -> str:
            return f"read_parquet([{', '.join(literal(folder / name) for name in names)}])"

        for name, table in manifest.tables.items():
            self.duckdb.execute(f"create table {name} as {reading_query(table, manifest, scan)}")
        fields = [name for name in self.duckdb.table("state.base_values").columns if name not in SIDES]
        self.duckdb.execute(f"create macro side_by_side(people) as table {side_by_side_query(fields)}")
        for name, query in SIDES_OF_LINKS.items():
            self.duckdb.execute(f"create macro {name}(links) as table {query}")
        self.engines: tuple[Engine, ...] = (DuckDbEngine(self.duckdb, datetime.now), self.spark)

    def close(self) -> None:
        self.spark.close()
        self.duckdb.close()

    def run_steps(self, steps: Sequence[str]) -> None:
        for engine in self.engines:
            engine.run_steps(steps)

    def give(self, name: str, rows: pa.Table) -> None:
        for engine in self.engines:
            engine.give(name, rows)

    def make(self, name: str, query: str) -> None:
        for engine in self.engines:
            engine.make(name, query)

    def suppose(self, table: str, made: str) -> None:
        for engine in self.engines:
            engine.suppose(table, made)

    def count(self, table: str) -> int:
        (n_rows,) = {engine.count(table) for engine in self.engines}
        return n_rows

    def rows(self, query: str, made: str) -> duckdb.DuckDBPyConnection:
        """Those of DuckDB, once Spark has shown the same in the same order."""
        of_spark = self.spark.rows(query, made).fetchall()
        found = self.duckdb.execute(query)
        assert found.fetchall() == of_spark
        return self.duckdb.execute(query)

    def keeping(self, made: str) -> AbstractContextManager[Keeping]:
        raise NotImplementedError

    def differences(self, tables: Iterable[str]) -> dict[str, list[tuple[object, ...]]]:
        """By table, rows that one has and the other has not, and how many there are in all; none where both are equal."""
        found = {}
        for table in tables:
            self.duckdb.execute(f"drop table if exists temp.of_duckdb; alter table temp.{table} rename to of_duckdb")
            self.spark.bring(self.duckdb, table)
            names = self.duckdb.table(f"temp.{table}").columns
            assert names == self.duckdb.table("temp.of_duckdb").columns, table
            rows = self.duckdb.execute(
                f"(select 'duckdb' as engine, * from (from temp.of_duckdb except all from temp.{table})) union all "
                f"(select 'spark', * from (from temp.{table} except all from temp.of_duckdb)) limit 20"
            ).fetchall()
            if rows:
                found[table] = rows
        return found

    def n_rows(self, table: str) -> int:
        return int(self.duckdb.execute(f"select count(*) from temp.{table}").fetchall()[0][0])


def propose(engines: BothEngines, fields: FieldMap, held: pa.Table) -> None:
    """Propose an adoption on both, where people hold these ids."""
    for name, query in shown_queries(fields).items():
        engines.make(name, query)
    engines.give("held_ids", held)
    engines.run_steps(ADOPTION)
