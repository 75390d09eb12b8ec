"""What people did to the sync by command: who, when, which command, and what it was about (`operator_actions`).

An action is kept as a file of its own before the command changes anything, also while a cycle has the working file open; the
next cycle takes it into the ledger. Not here: what the commands do (`cli/`), what the sync does by itself (the other ledgers).
"""

from __future__ import annotations

import json
import logging
import os
import pwd
import uuid
from collections.abc import Collection, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import duckdb

from dynsync_pipeline.warehouse.connection import OWNER_ONLY, OWNERS_FOLDER, storage_errors, utc_now

log = logging.getLogger(__name__)

FOLDER = "operator_actions"
MOST_NAMED = 100  # ids that the plan of one action names; of more it tells the number


def operator() -> str:
    """Who gives commands: the account's name on this machine, of whoever used sudo their own."""
    name = os.environ.get("SUDO_USER")
    if name:
        return name
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # a container's user need not have a name
        return str(os.getuid())


def named(ids: Collection[object]) -> dict[str, object]:
    """Ids as the plan of an action tells them: how many, and the first hundred."""
    return {"n": len(ids), "ids": list(ids)[:MOST_NAMED]}


def leave_action(data_dir: Path, command: str, plan: Mapping[str, object]) -> None:
    """Keep that `command` is given, before it changes anything; `plan` says about what, by ids and numbers alone.

    Raises: StorageFailed, on which the command must do nothing.
    """
    folder = data_dir / FOLDER
    told = {"acted_at": utc_now().isoformat(), "who": operator(), "command": command, "plan": plan}
    with storage_errors(folder):
        folder.mkdir(mode=OWNERS_FOLDER, parents=True, exist_ok=True)
        write_whole(folder / f"{uuid.uuid4()}.json", json.dumps(told, default=str))


def write_whole(file: Path, text: str) -> None:
    """Put a file of its owner's there whole or not at all, and on the disk before this returns. Raises: OSError."""
    new = file.with_name(f"{file.name}.{uuid.uuid4()}.new")
    try:
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, OWNER_ONLY), "w", encoding="utf-8") as out:
            out.write(text)
            out.flush()
            os.fsync(out.fileno())
        new.replace(file)
    except OSError:
        new.unlink(missing_ok=True)
        raise


def take_in_actions(connection: duckdb.DuckDBPyConnection, data_dir: Path) -> list[Path]:
    """Add to the ledger what was left, each action once; returns the files, to be removed once that is committed."""
    files = sorted((data_dir / FOLDER).glob("*.json"))
    if not files:
        return []
    read = [(file, row) for file in files if (row := _row(file))]
    for _, row in sorted(read, key=lambda each: each[1][1]):
        connection.execute(_TAKEN_IN, row)
    return [file for file, _ in read]


def remove_taken_in(files: Collection[Path]) -> None:
    """Remove files that `take_in_actions` returned; one that cannot be removed is known by its id the next time."""
    for file in files:
        with suppress(OSError):
            file.unlink()


def _row(file: Path) -> tuple[str, datetime, str, str, str] | None:
    try:
        told = json.loads(file.read_text("utf-8"))
        acted_at = datetime.fromisoformat(told["acted_at"]).astimezone(UTC).replace(tzinfo=None)
        return file.stem, acted_at, str(told["who"]), str(told["command"]), json.dumps(told["plan"])
    except (OSError, ValueError, KeyError, TypeError):
        log.warning("%s cannot be read as what somebody did, and is left where it is. Look into it.", file)
        return None


_TAKEN_IN = """
insert into ledger.operator_actions (entry_id, action_id, acted_at, who, command, plan)
select nextval('ledger.entries'), $1, $2, $3, $4, $5
where $1 not in (select action_id from ledger.operator_actions)
"""
