"""Looks for what must never be, on the keys the last cycle touched: each file in `sql/` selects the offending rows.

Rows are told by id and never by value. Not here: what follows from an offence (`defs/checks.py`), the daily comparison
of everything (`reconcile/audit.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from dynsync_pipeline.warehouse.connection import Warehouse, scalar, storage_errors

MOST_SHOWN = 20


@dataclass(frozen=True)
class Offences:
    """How many rows break a rule, and the first of them as `offence: id`."""

    n_rows: int
    shown: list[str]


def find_offences(warehouse: Warehouse, name: str) -> Offences:
    """Run the query `sql/{name}.sql`. Raises: StorageFailed."""
    query = files("dynsync_pipeline.publish").joinpath("sql", f"{name}.sql").read_text("utf-8")
    with warehouse.reading() as connection:
        rows = connection.execute(query).fetchall()
    return Offences(len(rows), [f"{offence}: {id_}" for offence, id_ in rows[:MOST_SHOWN]])


def count_people(warehouse: Warehouse, snapshot_file: Path) -> tuple[int, int]:
    """People in the mirror who are not deleted, and people in the snapshot as readers see it.

    The second number comes from the public file itself, not from the copy it was made of. Raises: StorageFailed.
    """
    with storage_errors(snapshot_file), warehouse.reading() as connection:
        in_mirror = scalar(connection, "select count(*) from mirror.marketo_people where not is_deleted")
        file = str(snapshot_file).replace("'", "''")
        connection.execute(f"attach '{file}' as read_snapshot (read_only)")
        try:
            return in_mirror, scalar(connection, "select count(*) from read_snapshot.people")
        finally:
            connection.execute("detach read_snapshot")
