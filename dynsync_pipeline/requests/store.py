"""The store of requests: one SQLite file beside the working file, which belongs to the cycle and is closed to the doors.

A request is kept before anybody is told that it was taken, and never removed: what a door saw once it does not ask for again.
"""

from __future__ import annotations

import sqlite3
import threading
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from dynsync_pipeline.errors import StorageFailed
from dynsync_pipeline.model.records import RecordType
from dynsync_pipeline.settings import Settings

Door = Literal["webhook", "list", "push"]
OWNER_ONLY = 0o600
VERSION = 1
BUSY_S = 10.0
ALREADY_IN_SYNC = "already_in_sync"

_SCHEMA = """
-- One row per request. `request_id` is also the id of the record that it makes, so that sending it twice makes one record.
-- `state`: open, its record is to be made; linked, it was made, and the person's keys are to be written; ended.
-- `list_entry`: the entry into a list that asked. `is_told`: the ledger of the working file has what became of it.
create table requests (
    request_id text primary key, person_id integer not null, record_type text not null, owner text, door text not null,
    list_entry text unique, asked_at text not null, state text not null, attempts integer not null default 0,
    next_try_at text not null, outcome text, field text, message text, is_told integer not null default 0,
    check (record_type in ('contact', 'lead')), check (state in ('open', 'linked', 'ended')),
    check (state <> 'ended' or outcome is not null)
) strict;
create unique index one_open_request_per_person on requests (person_id) where state <> 'ended';
create index untold_requests on requests (is_told) where is_told = 0;
-- One row per static list that was looked at, first and last, by Marketo's clock.
create table lists (list_id integer primary key, first_looked_at text not null, looked_at text not null) strict;
"""


@dataclass(frozen=True)
class Wish:
    """What a door asks for: a person's id in Marketo, what it is to become, and who is to own it (None: the default owner).

    `list_entry` names the entry into a static list that asked; each counts once.
    """

    person_id: int
    record_type: RecordType
    door: Door
    owner: str | None = None
    list_entry: str | None = None


@dataclass(frozen=True)
class Request:
    """A wish that was taken. `outcome` is None until it ended: created, already_in_sync, or why it was refused."""

    request_id: str
    person_id: int
    record_type: RecordType
    owner: str | None
    door: Door
    asked_at: datetime
    state: Literal["open", "linked", "ended"]
    attempts: int
    outcome: str | None
    field: str | None
    message: str | None


def make_data_dir(settings: Settings) -> None:
    """Make the folder that the store stands in, its owner's alone, where there is none. Raises: StorageFailed."""
    try:
        settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise StorageFailed(
            f"The data folder {settings.data_dir} cannot be used: {error.strerror}.",
            next_step="Make it writable, or name another one in DYNSYNC_DATA_DIR.",
        ) from None


class RequestStore:
    """The open store; shared by threads and processes. Use it in `with`. Raises: StorageFailed, from every method.

    Times are UTC without zone, those of the caller's clock.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._turn = threading.Lock()
        with self._storage_errors():
            is_new = not path.exists()
            self._db = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
            if is_new:
                path.chmod(OWNER_ONLY)
            self._db.execute("pragma journal_mode = wal")
            self._db.execute("pragma synchronous = full")
            self._migrate()

    def _migrate(self) -> None:
        self._db.execute("begin immediate")
        (version,) = self._db.execute("pragma user_version").fetchone()
        if version == 0:
            for statement in _SCHEMA.split(";\n"):
                self._db.execute(statement)
            self._db.execute(f"pragma user_version = {VERSION}")
        self._db.execute("commit")
        if version > VERSION:
            raise StorageFailed(
                f"{self._path} was written by a newer DynSync (version {version}, this one knows {VERSION}).",
                next_step="Install that version again, or name another data folder in DYNSYNC_DATA_DIR.",
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        with self._turn, self._storage_errors():
            self._db.close()

    # -- the doors -------------------------------------------------------------------------------------------------

    def ask(self, wishes: Sequence[Wish], at: datetime) -> list[str]:
        """Keep these wishes, all or none; returns each one's request id, in order.

        Of a person with an open request nothing more is made: the second one has ended already, as in the sync (R73).
        """
        with self._writing() as db:
            return [_take(db, wish, at) for wish in wishes]

    def note_look(self, list_id: int, looked_at: datetime, wishes: Sequence[Wish], at: datetime) -> None:
        """Keep what a look at a static list found, all or none, but for entries that were found before.

        `looked_at`: when that was by Marketo's clock, UTC without zone.
        """
        with self._writing() as db:
            for wish in wishes:
                if db.execute("select 1 from requests where list_entry = ?", [wish.list_entry]).fetchone() is None:
                    _take(db, wish, at)
            db.execute(
                "insert into lists (list_id, first_looked_at, looked_at) values (?1, ?2, ?2) "
                "on conflict (list_id) do update set looked_at = ?2",
                [list_id, looked_at.isoformat()],
            )

    def request(self, request_id: str) -> Request:
        """One request as it stands."""
        with self._reading() as db:
            rows = db.execute(f"select {_COLUMNS} from requests where request_id = ?", [request_id]).fetchall()
        return _request(rows[0])

    def looks_at(self, list_id: int) -> tuple[datetime, datetime] | None:
        """When a list was looked at first and last, by Marketo's clock, with its zone; None before the first look."""
        with self._reading() as db:
            row = db.execute("select first_looked_at, looked_at from lists where list_id = ?", [list_id]).fetchone()
        if row is None:
            return None
        first, last = (datetime.fromisoformat(text).replace(tzinfo=UTC) for text in row)
        return first, last

    # -- whoever serves --------------------------------------------------------------------------------------------

    def due(self, at: datetime, longest_gap: timedelta) -> list[Request]:
        """Unfinished requests whose next try has come, oldest first; a try further off was told by a clock set back since."""
        return self._select(
            "state <> 'ended' and (next_try_at <= ? or next_try_at > ?) order by asked_at, request_id",
            at.isoformat(),
            (at + longest_gap).isoformat(),
        )

    def unfinished(self) -> list[Request]:
        """All requests that have not ended."""
        return self._select("state <> 'ended' order by asked_at, request_id")

    def untold(self) -> list[Request]:
        """Requests that ended and that the ledger does not have yet."""
        return self._select("state = 'ended' and is_told = 0 order by asked_at, request_id")

    def linked(self, linked: Sequence[tuple[str, str | None]]) -> None:
        """Note that these have a record and a link, each with what is told of it; what is left is to write the keys."""
        with self._writing() as db:
            db.executemany(
                "update requests set state = 'linked', outcome = 'created', attempts = 0, message = ?2 where request_id = ?1",
                linked,
            )

    def ended(self, ends: Sequence[tuple[str, str, str | None, str | None]]) -> None:
        """Note how requests ended, once the ledger has it: id, outcome, message, field."""
        with self._writing() as db:
            db.executemany(
                "update requests set state = 'ended', is_told = 1, outcome = ?2, message = ?3, field = ?4 where request_id = ?1",
                ends,
            )

    def put_off(self, request_id: str, next_try_at: datetime, message: str) -> None:
        """Note that a request could not be served, why, and when it is tried again."""
        with self._writing() as db:
            db.execute(
                "update requests set attempts = attempts + 1, next_try_at = ?, message = ? where request_id = ?",
                [next_try_at.isoformat(), message, request_id],
            )

    # -- help ------------------------------------------------------------------------------------------------------

    def _select(self, condition: str, *values: object) -> list[Request]:
        with self._reading() as db:
            rows = db.execute(f"select {_COLUMNS} from requests where {condition}", values).fetchall()
        return [_request(row) for row in rows]

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        with self._turn, self._storage_errors():
            yield self._db

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._turn, self._storage_errors():
            self._db.execute("begin immediate")
            try:
                yield self._db
                self._db.execute("commit")
            except BaseException:
                self._db.execute("rollback")
                raise

    @contextmanager
    def _storage_errors(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise StorageFailed(
                f"The store of requests, {self._path}, cannot be used: {error}.",
                next_step="Check the data folder and the disk. If the file is damaged, move it away: what was asked for and not "
                "served is lost then, and nothing else.",
            ) from None


def _take(db: sqlite3.Connection, wish: Wish, at: datetime) -> str:
    request_id = str(uuid.uuid4())
    open_one = db.execute(
        "select 1 from requests where person_id = ? and state <> 'ended'", [wish.person_id]
    ).fetchone()
    state, outcome, message = ("open", None, None) if open_one is None else ("ended", ALREADY_IN_SYNC, _STILL_SERVED)
    db.execute(
        "insert into requests (request_id, person_id, record_type, owner, door, list_entry, asked_at, state, next_try_at, "
        "outcome, message) values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            *(request_id, wish.person_id, wish.record_type.value, wish.owner, wish.door, wish.list_entry),
            *(at.isoformat(), state, at.isoformat(), outcome, message),
        ],
    )
    return request_id


_STILL_SERVED = "An earlier request for this person is still being served."
_COLUMNS = "request_id, person_id, record_type, owner, door, asked_at, state, attempts, outcome, field, message"


def _request(row: tuple[Any, ...]) -> Request:
    request_id, person_id, record_type, owner, door, asked_at, *rest = row
    return Request(request_id, person_id, RecordType(record_type), owner, door, datetime.fromisoformat(asked_at), *rest)
