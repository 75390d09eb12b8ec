"""The tables of the store of requests, and how a file of an earlier version gets them. Not here: who fills them (`store.py`)."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from dynsync_pipeline.errors import StorageFailed

VERSION = 3
REQUEST_COLUMNS = (
    "request_id, kind, person_id, record_type, owner, task, door, asked_at, "
    "state, attempts, outcome, field, message, needs, next_try_at"
)

_REQUESTS = """
-- One row per request. `kind`: record, the person is to become one; owner, its record is to get another; task, one is to be made
-- for its record. `request_id` is also the id of the record or task that it makes, so that sending it twice makes one.
-- `state`: open, it is to be carried out; linked, its record was made, and the person's keys are to be written; ask, it came back
-- from a backup, and somebody has to say whether it is to be carried out; ended.
-- `task`: what that says, as JSON. `list_entry`: the entry into a list that asked. `needs`: the request for a record that comes
-- first. `is_told`: the ledger of the working file has what became of it.
create table requests (
    request_id text primary key, kind text not null, person_id integer not null, record_type text not null, owner text,
    task text, door text not null, list_entry text unique, asked_at text not null, state text not null,
    attempts integer not null default 0, next_try_at text not null, outcome text, field text, message text, needs text,
    is_told integer not null default 0,
    check (kind in ('record', 'owner', 'task')), check (kind <> 'owner' or owner is not null),
    check ((kind = 'task') = (task is not null)), check (record_type in ('contact', 'lead')),
    check (state in ('open', 'linked', 'ask', 'ended')), check (state <> 'ended' or outcome is not null)
) strict;
create unique index one_open_request_per_person on requests (person_id, kind) where state <> 'ended' and kind <> 'task';
create index requests_of_person on requests (person_id);
create index untold_requests on requests (is_told) where is_told = 0;
create index needed_requests on requests (needs) where needs is not null
"""
_LISTS = """
-- One row per static list that was looked at, first and last, by Marketo's clock.
create table lists (list_id integer primary key, first_looked_at text not null, looked_at text not null) strict
"""
_ACTIONS = """
-- One row per command that changed something here and that the ledger of the working file need not have yet, as JSON.
create table actions (action_id text primary key, action text not null) strict
"""


def bring_up_to_date(db: sqlite3.Connection, path: Path) -> None:
    """Make the tables that the file at `path` lacks, in one transaction. Raises: StorageFailed where a newer version wrote it."""
    db.execute("begin immediate")
    (version,) = db.execute("pragma user_version").fetchone()
    if version == 0:
        _run(db, _REQUESTS, _LISTS)
    elif version == 1:
        _add_ask(db)
    if version < VERSION:
        _run(db, _ACTIONS)
        db.execute(f"pragma user_version = {VERSION}")
    db.execute("commit")
    if version > VERSION:
        raise StorageFailed(
            f"{path} was written by a newer DynSync (version {version}, this one knows {VERSION}).",
            next_step="Install that version again, or name another data folder in DYNSYNC_DATA_DIR.",
        )


def _run(db: sqlite3.Connection, *scripts: str) -> None:
    """By statement, because a script as a whole would be a transaction of its own."""
    for script in scripts:
        for statement in script.split(";\n"):
            db.execute(statement)


def _add_ask(db: sqlite3.Connection) -> None:
    """From version 1, which knew no requests that ask; a check of SQLite changes with its table alone."""
    for index in ("one_open_request_per_person", "requests_of_person", "untold_requests", "needed_requests"):
        db.execute(f"drop index {index}")
    db.execute("alter table requests rename to requests_before")
    _run(db, _REQUESTS)
    columns = f"{REQUEST_COLUMNS}, list_entry, is_told"
    db.execute(f"insert into requests ({columns}) select {columns} from requests_before")
    db.execute("drop table requests_before")
