"""An engine over what the working file holds now: what has to be there, and bringing the Parquet files up to date.

Imports nothing of the extra until it is known to be there. Not here: the engine (`engine.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING

from dynsync_pipeline.errors import ExtraMissing, SettingsWrong
from dynsync_pipeline.publish.parquet import publish_parquet
from dynsync_pipeline.settings import Settings
from dynsync_pipeline.warehouse.connection import Warehouse

if TYPE_CHECKING:
    from dynsync_pipeline.spark.engine import SparkEngine

Looking = Callable[[], AbstractContextManager[Warehouse]]  # the working file under the cycle lock


@contextmanager
def open_state(settings: Settings, looking: Looking, master: str) -> Iterator[SparkEngine]:
    """Spark over the state of now; the lock is held while the files are brought up to date, and no longer.

    Raises: ExtraMissing, SettingsWrong, EngineFailed, CycleRunning, StorageFailed.
    """
    _require_extra()
    if settings.parquet_dir is None:
        raise SettingsWrong(
            "Spark reads Parquet files, and DYNSYNC_PARQUET_DIR names no folder for them.",
            next_step="Set it to a folder that Spark's executors reach; of a local master, any.",
        )
    from dynsync_pipeline.spark.engine import spark_engine

    with looking() as warehouse:
        manifest = publish_parquet(warehouse, settings, is_wanted_now=True)
    assert manifest is not None  # noqa: S101  # the setting names a folder
    with spark_engine(settings.parquet_dir, manifest, master, settings.data_dir / "spark") as engine:
        yield engine


def _require_extra() -> None:
    try:
        import pyspark
        import sqlglot
    except ImportError:
        raise ExtraMissing(
            "Spark is not installed.", next_step="pip install 'dynsync-pipeline[spark]'; it needs Java 17 besides."
        ) from None
    _ = pyspark, sqlglot
