"""Runs rule files on Spark, over one state of the Parquet files. Tables have the same names and columns as on DuckDB.

What a file makes is stored as Parquet beside those files, and comes back as a table; what a file changes stays to whoever has
the working file. Not here: what the statements mean there (`translate.py`), the session (`session.py`).
"""

from __future__ import annotations

import re
import shutil
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import pyarrow as pa

from dynsync_pipeline.errors import EngineFailed
from dynsync_pipeline.publish.parquet_files import RESULTS, Manifest, reading_query
from dynsync_pipeline.publish.private_copy import literal
from dynsync_pipeline.spark.session import session, spark_errors
from dynsync_pipeline.spark.translate import Macro, only_chooses, parse, spark_name, spark_query
from dynsync_pipeline.sql_files import Statement, sql_file, statements
from dynsync_pipeline.warehouse.columns import side_by_side_query

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

SIDES = {"person_id", "record_type", "dynamics_id"}  # columns of a side that are no fields
_WORD = re.compile(r"\w+")
_MAKES = re.compile(r"create (?:or replace )?temp (?:table|view) (\w+) as\s")


@contextmanager
def spark_engine(folder: Path, manifest: Manifest, master: str, scratch: Path) -> Iterator[SparkEngine]:
    """An engine over the state of `manifest` in `folder`. Raises: ExtraMissing, EngineFailed, StorageFailed."""
    with session(master, scratch) as spark:
        engine = SparkEngine(spark, folder.absolute(), manifest)
        try:
            yield engine
        finally:
            engine.remove_results()


class SparkEngine:
    """Rule files on Spark, made by `spark_engine`. Raises: EngineFailed; SqlFileFailed for a statement without translation."""

    def __init__(self, spark: SparkSession, folder: Path, manifest: Manifest) -> None:
        self._spark = spark
        self._folder = folder
        self._results = folder / RESULTS.replace("*", str(uuid.uuid4()))
        self._n_scans = self._n_stored = 0
        self._stored_in: dict[str, Path] = {}
        missing = [name for name in manifest.files if not (folder / name).exists()]
        if missing:
            raise EngineFailed(
                f"{len(missing)} files of the state of {manifest.made_at} are gone from {folder}.",
                next_step="Try again.",
            )
        self._manifest = manifest
        self._unread = {spark_name(name): table for name, table in manifest.tables.items()}
        fields = [name for name in self._columns("state_base_values") if name not in SIDES]
        self._tables = {"side_by_side": Macro(("people",), parse(side_by_side_query(fields)))}

    def _read(self, names: Iterable[str]) -> None:
        """Show those of these that are tables of the state, each once: to Spark a file that is looked at is a job."""
        for name in set(names) & set(self._unread):
            query = reading_query(self._unread.pop(name), self._manifest, self._scan)
            self._show(name, self._spark.sql(query))

    def _scan(self, names: list[str]) -> str:
        self._n_scans += 1
        view = f"scan_{self._n_scans}"
        self._spark.read.parquet(*(str(self._folder / name) for name in names)).createOrReplaceTempView(view)
        return view

    def _show(self, name: str, rows: DataFrame) -> None:
        rows.createOrReplaceTempView(name)

    def _columns(self, table: str) -> list[str]:
        self._read([table])
        return list(self._spark.table(table).columns)

    def give(self, name: str, rows: pa.Table) -> None:
        """Let statements read these rows by that name."""
        with spark_errors():
            self._show(name, self._spark.createDataFrame(rows))

    def make(self, name: str, query: str, where: str) -> None:
        """Make a table of a query in DuckDB's words. `where` names it, should it have no translation.

        What is more than a choice of rows is computed at once and stored, so that no statement computes another's again.
        """
        said = spark_query(query, where, self._columns, self._tables)
        with spark_errors():
            self._read(_WORD.findall(said))
            rows = self._spark.sql(said)
            self._stored_in.pop(name, None)
            self._show(name, rows if only_chooses(query) else self._stored(name, rows))

    def _stored(self, name: str, rows: DataFrame) -> DataFrame:
        self._n_stored += 1
        self._stored_in[name] = self._results / f"{name}-{self._n_stored}"
        rows.write.parquet(str(self._stored_in[name]))
        return self._spark.read.parquet(str(self._stored_in[name]))

    def run_steps(self, steps: Sequence[str]) -> None:
        """Make the tables of these rule files, in order; statements that change a table are left out."""
        with closing(duckdb.connect()) as parsing:
            for step in steps:
                file = sql_file(step)
                for statement in statements(parsing, file):
                    self._run(file.path, statement)

    def _run(self, path: str, statement: Statement) -> None:
        made = _MAKES.match(statement.sql)
        if made is not None:
            where = f"{path}, statement {statement.number} (line {statement.line})"
            self.make(made[1], statement.sql[made.end() :].rstrip("; \n"), where)

    def count(self, table: str) -> int:
        """The number of its rows."""
        with spark_errors():
            return int(self._spark.table(table).count())

    def bring(self, connection: duckdb.DuckDBPyConnection, table: str) -> None:
        """Bring a table here, as a temporary one of the same name and columns."""
        with spark_errors():
            if table not in self._stored_in:
                self._stored(table, self._spark.table(table))
        files = literal(self._stored_in[table] / "*.parquet")
        connection.execute(f"create or replace temp table {table} as from read_parquet({files})")

    def remove_results(self) -> None:
        """Remove the files in which tables were stored."""
        shutil.rmtree(self._results, ignore_errors=True)
