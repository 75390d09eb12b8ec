"""`status.json` beside the snapshot: what moves in every cycle, from the last swap of the snapshot on, and figures.

It is written anew at the end of each cycle, whole or not, and stays small: `dynsync status` and a watchdog read it alone, other
commands together with the snapshot. `status.html` shows the figures. Not here: how the two are read together
(`look/reading.py`), when there is no swap (`news.py`), which figures there are (`figures.py`), what status tells (`standing.py`).
"""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dynsync_pipeline.publish.standing import LAYOUT, PARTS, Standing, moving_standing, typed
from dynsync_pipeline.settings import Settings
from dynsync_pipeline.warehouse.storage import storage_errors

if TYPE_CHECKING:
    import duckdb

    from dynsync_pipeline.model.field_map import FieldMap
    from dynsync_pipeline.publish.table import PublishedTable
    from dynsync_pipeline.warehouse.connection import Warehouse

READ_ONLY = 0o444
# The tables that move in every cycle, and which of their rows the snapshot does not have as they are.
MOVING = {
    "cycles": "cycle_id >= (select cycle_id from state.last_swap)",
    "cursors": "true",
    "calls_between": "called_at >= (select swapped_at from state.last_swap)",
    "budget_days": "ends_at > (select swapped_at from state.last_swap)",
    "backlog_hours": "hour_at >= (select date_trunc('hour', swapped_at) from state.last_swap)",
}


def status_file(snapshot: Path) -> Path:
    """Where `status.json` is."""
    return snapshot.with_name("status.json")


def read_status_file(file: Path) -> dict[str, Any]:
    """Its `publication`, which is that of the snapshot it goes on from, and rows by table; nothing where there is none."""
    try:
        told = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return told if isinstance(told, dict) else {}


def publication_of(file: Path) -> str | None:
    """The publication whose snapshot it goes on from."""
    return read_status_file(file).get("publication")


def told_standing(snapshot: Path, at: datetime) -> Standing | None:
    """How the sync stands for whoever asks at `at` (UTC without zone), as the last cycle told.

    None where it told that of another file than this snapshot, by other queries, or for later than `at`, and where it is too
    much to be told.
    """
    told = read_status_file(status_file(snapshot)).get("standing", {})
    try:
        if (told["layout"], told["snapshot"]) != (LAYOUT, mark_of(snapshot)):
            return None
        standing = {name: typed(told[name]) for name in PARTS}
        asked_at = max(datetime.fromisoformat(told[name]) for name in ("told_at", "selected_at"))
        return standing if asked_at <= at else None
    except (AttributeError, KeyError, OSError, TypeError, ValueError):  # none yet, or damaged
        return None


def mark_of(snapshot: Path) -> list[int]:
    """What tells this snapshot from any other that is swapped in, or put there. Raises: OSError where there is none."""
    found = snapshot.stat()
    return [found.st_size, found.st_mtime_ns]


def write_status_files(warehouse: Warehouse, settings: Settings, fields: FieldMap) -> None:
    """Write `status.json` and what is made of it; none where the last swap of the snapshot was cut. Raises: StorageFailed."""
    # Who only reads needs none of these.
    from dynsync_pipeline.publish.figures import read_figures
    from dynsync_pipeline.publish.metrics import metrics_file, metrics_text
    from dynsync_pipeline.publish.status_page import status_page
    from dynsync_pipeline.publish.tables import published_tables

    with storage_errors(status_file(settings.snapshot_file)), warehouse.reading() as connection:
        rows = connection.execute("select publication, standing from state.publications, state.last_swap").fetchall()
        if len(rows) != 1:
            return
        published, at = published_tables(fields), warehouse.now()
        tables = {table.name: _rows(connection, table) for table in published if table.name in MOVING}
        figures = read_figures(connection, settings, fields, at)
        moving = moving_standing(connection, published, at)
    file = status_file(settings.snapshot_file)
    publication, standing = rows[0]
    whole = {"told_at": at, **json.loads(standing), **moving} if standing else {}
    told = json.dumps(
        {"publication": publication, **tables, "figures": figures, "standing": whole}, default=as_text, indent=1
    )
    write_readable(file, told)
    plain = json.loads(told)["figures"]
    write_readable(file.with_suffix(".html"), status_page(plain))
    write_readable(metrics_file(settings.snapshot_file), metrics_text(plain))


def write_readable(file: Path, text: str) -> None:
    """Put a file there whole, for everybody to read. Raises: StorageFailed."""
    new = file.with_name(file.name + ".new")
    with storage_errors(file):
        new.unlink(missing_ok=True)
        new.write_text(text, "utf-8")
        new.chmod(READ_ONLY)
        new.replace(file)


def _rows(connection: duckdb.DuckDBPyConnection, table: PublishedTable) -> list[dict[str, object]]:
    rows = connection.execute(f"{table.select} where {MOVING[table.name]}").fetchall()
    return [{column.name: value for column, value in zip(table.columns, row, strict=True)} for row in rows]


def as_text(value: object) -> str:
    """A value that JSON has no kind for."""
    return value.isoformat() if isinstance(value, datetime) else str(value)
