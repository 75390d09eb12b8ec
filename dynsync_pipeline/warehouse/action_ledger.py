"""Takes into the ledger what people did by command and told elsewhere, each action once (`operator_actions`).

Not here: how an action is told (`operator_actions.py`), what the store of requests keeps (`../requests/commands.py`).
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import duckdb

from dynsync_pipeline.warehouse.connection import storage_errors
from dynsync_pipeline.warehouse.erased import FILE as ERASURES
from dynsync_pipeline.warehouse.erased import read_erasures
from dynsync_pipeline.warehouse.operator_actions import FOLDER, Action, note_action
from dynsync_pipeline.warehouse.pause import last_word

log = logging.getLogger(__name__)


def take_in_actions(connection: duckdb.DuckDBPyConnection, data_dir: Path, kept: Sequence[Action] = ()) -> list[Path]:
    """Add to the ledger what was told in files, and what is kept elsewhere; returns the files to be removed after the commit.

    Raises: StorageFailed.
    """
    left = {file: action for file in sorted((data_dir / FOLDER).glob("*.json")) if (action := _read(file))}
    word = last_word(data_dir)
    told = [*left.values(), *kept, *_erasures(data_dir), *([word] if word else [])]
    for action in sorted(told, key=lambda each: each.acted_at):
        note_action(connection, action)
    return list(left)


def remove_taken_in(files: Collection[Path]) -> None:
    """Remove files that `take_in_actions` returned; one that cannot be removed is known by its id the next time."""
    for file in files:
        with suppress(OSError):
            file.unlink()


def _read(file: Path) -> Action | None:
    try:
        return Action.read(file.read_text("utf-8"))
    except (OSError, ValueError, KeyError, TypeError):
        log.warning("%s cannot be read as what somebody did, and is left where it is. Look into it.", file)
        return None


def _erasures(data_dir: Path) -> Iterator[Action]:
    """Those under way."""
    with storage_errors(data_dir / ERASURES):
        known = read_erasures(data_dir).by_key
    for erasure in (each for some in known.values() for each in some):
        if not erasure.is_finished and erasure.by is not None:
            at = datetime.fromisoformat(erasure.erased_at).replace(tzinfo=UTC).isoformat()
            yield Action(f"forget {erasure.erased_at}", at, erasure.by, "forget", {"is_blocked": erasure.blocks})
