"""The one door to either engine over what the working file holds now: what has to be there, and for how long it is locked.

Imports nothing of the extra until it is known to be there. Not here: the engines (`on_duckdb.py`, `on_spark.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Literal

from dynsync_pipeline.engine import Engine
from dynsync_pipeline.engines.on_duckdb import duckdb_engine
from dynsync_pipeline.engines.spark_master import require_master
from dynsync_pipeline.errors import ExtraMissing, SettingsWrong, StorageFailed
from dynsync_pipeline.publish.parquet import publish_parquet
from dynsync_pipeline.settings import Settings
from dynsync_pipeline.warehouse.connection import Warehouse, scalar

EngineName = Literal["duckdb", "spark"]
Looking = Callable[[], AbstractContextManager[Warehouse]]  # the working file under the cycle lock


@contextmanager
def open_engine(settings: Settings, looking: Looking, name: EngineName, master: str) -> Iterator[Engine]:
    """An engine over the state of now. DuckDB holds the lock to the end, Spark while Parquet files are brought up to date.

    Raises: ExtraMissing, SettingsWrong, EngineFailed, CycleRunning; StorageFailed, also where no cycle has run yet.
    """
    if name == "duckdb":
        with looking() as warehouse, duckdb_engine(_begun(warehouse)) as engine:
            yield engine
    else:
        with _on_spark(settings, looking, master) as engine:
            yield engine


@contextmanager
def _on_spark(settings: Settings, looking: Looking, master: str) -> Iterator[Engine]:
    _require_extra()
    require_master(master)
    if settings.parquet_dir is None:
        raise SettingsWrong(
            "Spark reads Parquet files, and DYNSYNC_PARQUET_DIR names no folder for them.",
            next_step="Set it to a folder that Spark's executors reach; of a local master, any.",
        )
    from dynsync_pipeline.engines.on_spark import spark_engine

    with looking() as warehouse:
        manifest = publish_parquet(_begun(warehouse), settings, is_wanted_now=True)
    assert manifest is not None  # noqa: S101  # the setting names a folder
    with spark_engine(settings.parquet_dir, manifest, master, settings.data_dir, looking) as engine:
        yield engine


def _begun(warehouse: Warehouse) -> Warehouse:
    with warehouse.reading() as connection:
        if not scalar(connection, "select count(*) from reconcile.fields"):
            raise StorageFailed(
                "No cycle has run yet, so there is nothing to look at.", next_step="Run `dynsync sync`."
            )
    return warehouse


def _require_extra() -> None:
    try:
        import pyspark
        import sqlglot
    except ImportError:
        raise ExtraMissing(
            "Spark is not installed.", next_step="pip install 'dynsync-pipeline[spark]'; it needs Java 17 besides."
        ) from None
    _ = pyspark, sqlglot
