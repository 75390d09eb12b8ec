"""The same state of the Parquet files, read by both engines, and what their tables differ in."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import pyarrow as pa

from dynsync_pipeline.publish.parquet_files import Manifest, reading_query
from dynsync_pipeline.publish.private_copy import literal
from dynsync_pipeline.spark.engine import SIDES, SparkEngine
from dynsync_pipeline.sql_files import run_steps
from dynsync_pipeline.warehouse.columns import side_by_side_query

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

OUTCOMES = ("reconcile/field_outcomes",)
ADOPTION = ("reconcile/proposed_pairs",)
AUDIT = ("reconcile/all_links", "reconcile/differing_fields", "reconcile/audit_findings")
# Of so few rows, compiling takes longer than the rows themselves.
QUICK = {"spark.sql.codegen.wholeStage": "false", "spark.sql.shuffle.partitions": "2"}


class BothEngines:
    """DuckDB, which runs the files as they are written, and Spark, over the same Parquet files."""

    def __init__(self, spark: SparkSession, folder: Path, manifest: Manifest) -> None:
        own = spark.newSession()  # with views of its own
        for name, value in QUICK.items():
            own.conf.set(name, value)
        self.spark = SparkEngine(own, folder, manifest)
        self.duckdb = duckdb.connect()
        self.duckdb.execute("set TimeZone = 'UTC'")
        run_steps(self.duckdb, ("warehouse/macros", "warehouse/codes"))
        for schema in ("inbox", "mirror", "state", "reconcile", "ledger"):
            self.duckdb.execute(f"create schema {schema}")

        def scan(names: list[str]) -> str:
            return f"read_parquet([{', '.join(literal(folder / name) for name in names)}])"

        for name, table in manifest.tables.items():
            self.duckdb.execute(f"create table {name} as {reading_query(table, manifest, scan)}")
        fields = [name for name in self.duckdb.table("state.base_values").columns if name not in SIDES]
        self.duckdb.execute(f"create macro side_by_side(people) as table {side_by_side_query(fields)}")

    def close(self) -> None:
        self.spark.remove_results()
        self.duckdb.close()

    def run(self, steps: Sequence[str]) -> None:
        run_steps(self.duckdb, steps)
        self.spark.run_steps(steps)

    def give(self, name: str, rows: pa.Table) -> None:
        self.spark.give(name, rows)
        self.duckdb.register("given", rows)
        self.duckdb.execute(f"create or replace temp table {name} as from given")
        self.duckdb.unregister("given")

    def make(self, name: str, query: str) -> None:
        self.spark.make(name, query, "a test")
        self.duckdb.execute(f"create or replace temp table {name} as {query}")

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
