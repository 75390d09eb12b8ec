"""How far the writes of a cycle are, told where they take long. Not here: how it is told (`warehouse/first_load.py`)."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from dynsync_pipeline.warehouse.connection import Warehouse, scalar
from dynsync_pipeline.warehouse.first_load import Progress, is_first_load
from dynsync_pipeline.write_back.receipts import PlannedWrite


def progress_of(warehouse: Warehouse, system: str, action: str, what: str, waiting: Collection[int]) -> Progress:
    """For the planned writes of this action but those that wait for another day; `what`: "people created in Marketo"."""
    with warehouse.reading() as connection:
        n_planned = scalar(
            connection,
            "select count(*) from reconcile.operations "
            "where system = ? and action = ? and not list_contains(?::bigint[], operation_id)",
            [system, action, list(waiting)],
        )
        is_first = is_first_load(connection)
    return Progress(warehouse.path.parent, what, n_planned, is_first=is_first)


def counted(progress: Progress, batches: Iterator[list[PlannedWrite]]) -> Iterator[list[PlannedWrite]]:
    """The same batches; each counts as done when the next one is asked for."""
    for batch in batches:
        yield batch
        progress.add(len(batch))
