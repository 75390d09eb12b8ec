"""Spark as an engine, over one state of the Parquet files. Tables have the same names and columns as on DuckDB.

What a file makes is stored as Parquet beside those files, and comes back as a table; cycles run meanwhile. Not here: what the
statements mean there (`spark_sql.py`), the session (`spark_session.py`).
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import pyarrow as pa
import pyarrow.parquet

from dynsync_pipeline.engine import Keeping
from dynsync_pipeline.engines.spark_session import session, spark_errors
from dynsync_pipeline.engines.spark_sql import Macro, only_chooses, parse, spark_name, spark_query
from dynsync_pipeline.errors import CycleRunning, EngineFailed
from dynsync_pipeline.publish.parquet_files import RESULTS, Manifest, reading_query
from dynsync_pipeline.publish.private_copy import literal
from dynsync_pipeline.sql_files import run_steps, sql_file, statements
from dynsync_pipeline.warehouse.connection import OWNER_ONLY, Warehouse
from dynsync_pipeline.warehouse.erased import load_erased, of_erased
from dynsync_pipeline.warehouse.leftovers import ON_SPARK, own_folder
from dynsync_pipeline.warehouse.views import SIDES_OF_LINKS, side_by_side_query

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

SIDES = {"person_id", "record_type", "dynamics_id"}  # columns of a side that are no fields
PATIENCE_S, PAUSE_S = 3_600.0, 1.0  # with cycles, where something is to be kept
_WORD = re.compile(r"\w+")
Looking = Callable[[], AbstractContextManager[Warehouse]]


@contextmanager
def spark_engine(
    folder: Path, manifest: Manifest, master: str, data_dir: Path, looking: Looking
) -> Iterator[SparkEngine]:
    """An engine over the state of `manifest` in `folder`. Raises: EngineFailed, StorageFailed."""
    with (
        own_folder(data_dir, ON_SPARK) as scratch,
        own_folder(folder, RESULTS) as results,
        session(master, scratch, results) as spark,
    ):
        engine = SparkEngine(spark, folder.absolute(), manifest, results, data_dir, looking)
        try:
            yield engine
        finally:
            engine.close()


class SparkEngine:
    """Rule files on Spark, made by `spark_engine`; see `Engine` for what each does.

    A statement without translation is SqlFileFailed, and runs nothing. `looking` opens the working file under the cycle lock,
    where something is to be kept; whoever was forgotten since, as told in `data_dir`, is in nothing that leaves it.
    """

    def __init__(
        self, spark: SparkSession, folder: Path, manifest: Manifest, results: Path, data_dir: Path, looking: Looking
    ) -> None:
        self._spark = spark
        self._looking = looking
        self._data_dir = data_dir
        self._shown = duckdb.connect()
        self._folder = folder
        self._results = results
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
        self._tables |= {name: Macro(("links",), parse(query)) for name, query in SIDES_OF_LINKS.items()}

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
        """Let statements read these rows by that name; they go by a file, as everything that executors read."""
        file = self._results / f"{name}-given.parquet"
        pyarrow.parquet.write_table(rows, file)
        file.chmod(OWNER_ONLY)
        with spark_errors():
            self._stored_in.pop(name, None)
            self._show(name, self._spark.read.parquet(str(file)))

    def suppose(self, table: str, made: str) -> None:
        """Show the rows of both by the name of the table."""
        with spark_errors():
            self._read([spark_name(table)])
            both = self._spark.table(spark_name(table)).unionByName(self._spark.table(made))
            self._show(spark_name(table), both)

    def make(self, name: str, query: str) -> None:
        """Make a table of a query."""
        self._make(name, query, f"What makes {name}")

    def _make(self, name: str, query: str, where: str) -> None:
        """What is more than a choice of rows is computed at once and stored, so that no statement computes another's again."""
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
        """Make the tables of these files."""
        for file in map(sql_file, steps):
            for statement in statements(file):
                if statement.makes is not None:
                    where = f"{file.path}, statement {statement.number} (line {statement.line})"
                    self._make(statement.makes, statement.query, where)

    def count(self, table: str) -> int:
        """The number of its rows."""
        with spark_errors():
            return int(self._spark.table(table).count())

    def rows(self, query: str, made: str) -> duckdb.DuckDBPyConnection:
        """What a query selects, by a DuckDB that reads the table as Spark stored it, and has room for what does not fit."""
        run_steps(self._shown, ("warehouse/codes",))
        self._shown.execute(f"set temp_directory = {literal(self._results / 'sorting')}")
        load_erased(self._shown, self._data_dir)
        self._shown.execute(f"create or replace temp view {made} as {self._brought(self._shown, made)}")
        return self._shown.execute(query)

    @contextmanager
    def keeping(self, made: str) -> Iterator[Keeping]:
        """The working file, opened under the cycle lock. Raises: CycleRunning, where cycles hold it for an hour."""
        with ExitStack() as stack:
            warehouse = self._opened(stack)
            connection = stack.enter_context(warehouse.transaction())
            self.bring(connection, made)
            yield Keeping(connection, warehouse.now())

    def _opened(self, stack: ExitStack) -> Warehouse:
        """Once no cycle runs: what took Spark long to find is not given up for one that ends in minutes."""
        until_s = time.monotonic() + PATIENCE_S
        while True:
            try:
                return stack.enter_context(self._looking())
            except CycleRunning:
                if time.monotonic() > until_s:
                    raise
            time.sleep(PAUSE_S)

    def bring(self, connection: duckdb.DuckDBPyConnection, made: str) -> None:
        """Bring a table there, as a temporary one of the same name and columns."""
        connection.execute(f"create or replace temp table {made} as {self._brought(connection, made)}")

    def _brought(self, connection: duckdb.DuckDBPyConnection, made: str) -> str:
        rows = f"from read_parquet({self._files(made)})"
        is_erased = of_erased(connection.sql(rows).columns)
        return f"{rows} where not ({is_erased})" if is_erased else rows

    def _files(self, made: str) -> str:
        with spark_errors():
            if made not in self._stored_in:
                self._stored(made, self._spark.table(made))
        files = self._stored_in[made]
        if not any(files.glob("*.parquet")):
            raise EngineFailed(
                f"What Spark stored is gone from {self._folder}: somebody was forgotten meanwhile, or executors write to another "
                "folder of that path. Nothing was changed.",
                next_step="Try again.",
            )
        return literal(files / "*.parquet")

    def close(self) -> None:
        """Close what reads the stored tables."""
        self._shown.close()
