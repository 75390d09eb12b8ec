"""A working file that came back from a backup: nothing is written until both systems were read as a whole.

Not here: putting a backup back (`operate/restore.py`), what becomes of the base (`reconcile/sql/restored_links.sql`).
"""

from __future__ import annotations

from pathlib import Path

import duckdb

from dynsync_pipeline.errors import GuardStopped, StorageFailed

_MARK = "restore.unfinished"  # there while a backup is being put in place


def is_to_be_read_again(connection: duckdb.DuckDBPyConnection) -> bool:
    """Whether a backup was put back, and no cycle has read both systems as a whole since."""
    return bool(connection.execute("select 1 from state.restored where reread_at is null").fetchall())


def require_read_again(connection: duckdb.DuckDBPyConnection) -> None:
    """Raises: GuardStopped, where that is so."""
    if is_to_be_read_again(connection):
        raise GuardStopped(
            "The working file came back from a backup, and no cycle has gone through since. Nothing was written.",
            next_step="Run `dynsync sync` first, which reads both systems as a whole.",
        )


def mark_unfinished(folder: Path, backup: Path) -> Path:
    """Note in the data folder that this backup is being put in place; returns the note, to be removed afterwards."""
    mark = folder / _MARK
    mark.write_text(str(backup), "utf-8")
    return mark


def require_finished(folder: Path) -> None:
    """Raises: StorageFailed, where putting a backup in place was cut: files of two moments may stand side by side."""
    mark = folder / _MARK
    if mark.exists():
        raise StorageFailed(
            "Putting a backup back was cut before its end.",
            next_step=f"Run it again: dynsync restore {mark.read_text('utf-8')}",
        )
