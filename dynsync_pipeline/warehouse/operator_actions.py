"""What people did to the sync by command: who, when, which command, and what it was about (`operator_actions`).

An action is told in one step with what the command changes, so that a kill leaves both or neither: in the transaction that
changes the working file, in that of the store of requests, in the file that holds the sync, in that of erasures. `dynsync setup`
changes Marketo alone, which has no such step: it leaves a file before, and another one after. What does not stand in the working
file yet, the next cycle takes into the ledger (`../requests/commands.py`). Not here: what the commands do (`cli/`), what the sync
does by itself (the other ledgers).
"""

from __future__ import annotations

import json
import os
import pwd
import uuid
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Self

from dynsync_pipeline.warehouse.storage import OWNER_ONLY, OWNERS_FOLDER, storage_errors, utc_now

if TYPE_CHECKING:
    import duckdb

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


class Action(NamedTuple):
    """A command that is given: its own id, when (UTC, ISO), by whom, and what it is about, by ids and numbers alone."""

    action_id: str
    acted_at: str
    who: str
    command: str
    plan: Mapping[str, object]

    @classmethod
    def of(cls, command: str, plan: Mapping[str, object]) -> Self:
        """What is given just now by whoever runs this process."""
        return cls(str(uuid.uuid4()), utc_now().isoformat(), operator(), command, plan)

    @classmethod
    def read(cls, text: str) -> Self:
        """What `text` told. Raises: ValueError, KeyError, TypeError where that is no action."""
        told = json.loads(text)
        datetime.fromisoformat(told["acted_at"])
        return cls(told["action_id"], told["acted_at"], str(told["who"]), str(told["command"]), told["plan"])

    @property
    def text(self) -> str:
        """As a file has it."""
        return json.dumps(self._asdict(), default=str)


def note_action(connection: duckdb.DuckDBPyConnection, action: Action) -> None:
    """Tell an action in the ledger, once, in the transaction that changes what the command changes."""
    at = datetime.fromisoformat(action.acted_at).astimezone(UTC).replace(tzinfo=None)
    plan = json.dumps(action.plan, default=str)
    connection.execute(_NOTED, [action.action_id, at, action.who, action.command, plan])


def leave_action(data_dir: Path, command: str, plan: Mapping[str, object]) -> None:
    """Keep that `command` is given, where what it changes is in no file of ours that could tell it.

    Raises: StorageFailed, on which the command must not go on.
    """
    keep_action(data_dir, Action.of(command, plan))


def keep_action(data_dir: Path, action: Action) -> None:
    """Put an action where the next cycle finds it; again, where it is there. Raises: StorageFailed."""
    folder = data_dir / FOLDER
    with storage_errors(folder):
        folder.mkdir(mode=OWNERS_FOLDER, parents=True, exist_ok=True)
        write_whole(folder / f"{action.action_id}.json", action.text)


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


_NOTED = """
insert into ledger.operator_actions (entry_id, action_id, acted_at, who, command, plan)
select nextval('ledger.entries'), $1, $2, $3, $4, $5
where $1 not in (select action_id from ledger.operator_actions)
"""
