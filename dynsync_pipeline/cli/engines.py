"""What the commands share that look at everything: which engine, and the working file under the cycle lock."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Annotated

import typer

from dynsync_pipeline.engine import Engine
from dynsync_pipeline.engines.opening import EngineName, Looking, open_engine
from dynsync_pipeline.errors import StorageFailed
from dynsync_pipeline.settings import Settings
from dynsync_pipeline.warehouse.connection import Warehouse
from dynsync_pipeline.warehouse.cycle_lock import CycleLock

EngineOption = Annotated[
    EngineName | None,
    typer.Option("--engine", help="What compares: DuckDB, or Spark, which reads the Parquet files (docs/spark.md)."),
]
MasterOption = Annotated[
    str | None,
    typer.Option("--master", metavar="URL", help="Not the Spark master of DYNSYNC_SPARK_MASTER, but this one."),
]


def opened(
    settings: Settings, name: EngineName, master: str | None, looking: Looking | None = None
) -> AbstractContextManager[Engine]:
    """The engine of that name over what the working file holds now. Raises: as `open_engine`; BadParameter."""
    if master and name != "spark":
        raise typer.BadParameter("--master is for --engine spark.")
    return open_engine(settings, looking or (lambda: _looking(settings)), name, master or settings.spark_master)


@contextmanager
def _looking(settings: Settings) -> Iterator[Warehouse]:
    with CycleLock(settings.lock_file, is_cycle=False):
        if not settings.working_file.exists():
            raise StorageFailed(
                f"{settings.working_file} does not exist yet.", next_step="Run `dynsync sync`, which makes it."
            )
        with Warehouse(settings.working_file) as warehouse:
            yield warehouse
