"""The store of requests: one SQLite file beside the working file, which belongs to the cycle and is closed to the doors.

A request is kept before anybody is told that it was taken, and never removed: what a door saw once it does not ask for again.
A command that asks for something is kept in one transaction with that. Not here: the file's tables (`schema.py`), how such a
command reaches the ledger (`commands.py`).
"""

from __future__ import annotations

import sqlite3
import threading
import uuid
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import msgspec

from dynsync_pipeline.errors import StorageFailed
from dynsync_pipeline.model.records import RecordType
from dynsync_pipeline.requests.schema import REQUEST_COLUMNS, bring_up_to_date
from dynsync_pipeline.settings import Settings
from dynsync_pipeline.warehouse.operator_actions import Action, named

Door = Literal["webhook", "list", "push"]
Kind = Literal["record", "owner", "task"]
OWNER_ONLY = 0o600
BUSY_S = 10.0
LONGEST_SUBJECT, LONGEST_DESCRIPTION = 200, 2_000  # UTF-16 units
LONGEST_TIME_DAYS = 3_650
ALREADY_IN_SYNC, SUPERSEDED, WITHDRAWN = "already_in_sync", "superseded", "withdrawn"
FULFILLED = (
    "created",
    "assigned",
    ALREADY_IN_SYNC,
    SUPERSEDED,
    WITHDRAWN,
)  # outcomes after which nobody need do anything


class Task(msgspec.Struct, frozen=True):
    """A task for whoever works on a record (R78): due so many days after it was asked for.

    Raises: ValueError for what Dynamics would not take (docs/protocols/dataverse.md#tasks).
    """

    subject: str
    description: str | None = None
    due_in_days: int = 5
    priority: Literal["low", "normal", "high"] = "normal"

    def __post_init__(self) -> None:
        if not self.subject.strip() or _length(self.subject) > LONGEST_SUBJECT:
            raise ValueError(f"the subject of a task has up to {LONGEST_SUBJECT} characters, and one at least")
        if _length(self.description or "") > LONGEST_DESCRIPTION:
            raise ValueError(f"the description of a task has up to {LONGEST_DESCRIPTION} characters")
        if not 0 <= self.due_in_days <= LONGEST_TIME_DAYS:
            raise ValueError(f"a task is due in 0 to {LONGEST_TIME_DAYS} days")


def _length(text: str) -> int:
    """How long Dynamics calls it."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


@dataclass(frozen=True)
class Wish:
    """What a door asks for a person, by its id in Marketo; `record_type` is what it becomes if it is no record yet.

    `owner` is who is to own the record, or the task; None: the default owner, or the record's.
    `list_entry` names the entry into a static list that asked; each counts once.
    """

    person_id: int
    record_type: RecordType
    door: Door
    owner: str | None = None
    list_entry: str | None = None
    kind: Kind = "record"
    task: Task | None = None


@dataclass(frozen=True)
class Request:
    """A wish that was taken. `outcome` is None until it ended: created, assigned, already_in_sync, or why it was refused.

    `needs`: the request for a record that comes before this one (R78).
    """

    request_id: str
    kind: Kind
    person_id: int
    record_type: RecordType
    owner: str | None
    task: Task | None
    door: Door
    asked_at: datetime
    state: Literal["open", "linked", "ask", "ended"]
    attempts: int
    outcome: str | None
    field: str | None
    message: str | None
    needs: str | None
    next_try_at: datetime

    @property
    def made_id(self) -> str | None:
        """The id of the record or task in Dynamics that it made."""
        return self.request_id if self.outcome == "created" else None


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
            bring_up_to_date(self._db, path)

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

    def ask(self, wishes: Sequence[Wish], at: datetime, command: Action | None = None) -> list[str]:
        """Keep these wishes, all or none, with the command that asks; returns each one's request id, in order.

        Of a person with an open request for a record nothing more is made: the second one has ended already, as in the sync
        (R73). Of several owners the last one counts. Every task is one.
        """
        with self._writing() as db:
            if command:
                _keep_action(db, command)
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
            rows = db.execute(f"select {REQUEST_COLUMNS} from requests where request_id = ?", [request_id]).fetchall()
        return _request(rows[0])

    def looks_at(self, list_id: int) -> tuple[datetime, datetime] | None:
        """When a list was looked at first and last, by Marketo's clock, with its zone; None before the first look."""
        with self._reading() as db:
            row = db.execute("select first_looked_at, looked_at from lists where list_id = ?", [list_id]).fetchone()
        if row is None:
            return None
        first, last = (datetime.fromisoformat(text).replace(tzinfo=UTC) for text in row)
        return first, last

    def ask_for_record(self, request: Request, at: datetime) -> None:
        """See that the person of this request becomes a record first (R78), by a request of its own."""
        owner = request.owner if request.kind == "owner" else None
        with self._writing() as db:
            needed = _open_request(db, request.person_id, "record") or _take(
                db, Wish(request.person_id, request.record_type, request.door, owner), at
            )
            db.execute("update requests set needs = ? where request_id = ?", [needed, request.request_id])

    def kinds(self) -> set[str]:
        """The kinds of requests that were ever kept."""
        with self._reading() as db:
            return {str(row[0]) for row in db.execute("select distinct kind from requests")}

    # -- whoever serves --------------------------------------------------------------------------------------------

    def due(self, at: datetime, longest_gap: timedelta) -> list[Request]:
        """Unfinished requests whose next try has come, oldest first; a try further off was told by a clock set back since."""
        return self._select(
            "state in ('open', 'linked') and (next_try_at <= ? or next_try_at > ?) order by asked_at, request_id",
            at.isoformat(),
            (at + longest_gap).isoformat(),
        )

    def unfinished(self) -> list[Request]:
        """All requests that have not ended, those that wait for somebody's word too."""
        return self._select("state <> 'ended' order by asked_at, request_id")

    def asking(self) -> list[Request]:
        """Requests that came back from a backup and wait for somebody's word."""
        return self._select("state = 'ask' order by asked_at, request_id")

    def ask_first(self) -> int:
        """Let nothing that is unfinished be carried out before somebody says so; returns how many requests wait for that."""
        with self._writing() as db:
            db.execute("update requests set state = 'ask' where state in ('open', 'linked')")
            return int(db.execute("select count(*) from requests where state = 'ask'").fetchone()[0])

    def carry_on(self, request_ids: Sequence[str], at: datetime) -> int:
        """Carry these out, as somebody says by command; returns how many of them asked until now."""
        with self._writing() as db:
            asking = _answered(db, request_ids, "requests --send")
            db.executemany(
                "update requests set state = 'open', attempts = 0, next_try_at = ?1 where request_id = ?2",
                [[at.isoformat(), request_id] for request_id in asking],
            )
            return len(asking)

    def withdraw(self, request_ids: Sequence[str]) -> int:
        """End these, as somebody says by command, with nothing done; returns how many of them asked until now."""
        with self._writing() as db:
            asking = _answered(db, request_ids, "requests --drop")
            db.executemany(
                "update requests set state = 'ended', outcome = ?1, message = ?2 where request_id = ?3",
                [[WITHDRAWN, _WITHDRAWN, request_id] for request_id in asking],
            )
            _wake(db, asking)
            return len(asking)

    def erase(self, person_ids: Collection[int]) -> int:
        """Remove all requests for these people, and write the file anew; returns how many there were."""
        with self._writing() as db:
            n_removed = sum(
                db.execute("delete from requests where person_id = ?", [person_id]).rowcount for person_id in person_ids
            )
        with self._reading() as db:
            db.execute("vacuum")
            db.execute("pragma wal_checkpoint(truncate)")
        return n_removed

    def people(self) -> list[int]:
        """Whoever was ever asked for."""
        with self._reading() as db:
            return [int(row[0]) for row in db.execute("select distinct person_id from requests")]

    def refused_since(self, at: datetime) -> list[Request]:
        """Requests that were asked for since and ended without what they asked for, newest first."""
        return self._select(
            f"state = 'ended' and asked_at >= ? and outcome not in ({', '.join(map(repr, FULFILLED))}) order by asked_at desc",
            at.isoformat(),
        )

    def of_person(self, person_id: int) -> list[Request]:
        """All requests for a person, newest first."""
        return self._select("person_id = ? order by asked_at desc, request_id", person_id)

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
            _wake(db, [request_id for request_id, _ in linked])

    def ended(self, ends: Sequence[tuple[str, str, str | None, str | None]]) -> None:
        """Note how requests ended, once the ledger has it: id, outcome, message, field."""
        with self._writing() as db:
            db.executemany(
                "update requests set state = 'ended', is_told = 1, outcome = ?2, message = ?3, field = ?4 where request_id = ?1",
                ends,
            )
            _wake(db, [end[0] for end in ends])

    def put_off(self, request_id: str, next_try_at: datetime, message: str) -> None:
        """Note that a request could not be served, why, and when it is tried again."""
        with self._writing() as db:
            db.execute(
                "update requests set attempts = attempts + 1, next_try_at = ?, message = ? "
                "where request_id = ? and state <> 'ended'",
                [next_try_at.isoformat(), message, request_id],
            )

    # -- whoever asked by command ------------------------------------------------------------------------------------

    def actions(self) -> list[Action]:
        """The commands that changed something here and that no ledger has for sure."""
        with self._reading() as db:
            return [Action.read(row[0]) for row in db.execute("select action from actions").fetchall()]

    def forget_actions(self, actions: Sequence[Action]) -> None:
        """Keep these no longer, because a ledger has them."""
        with self._writing() as db:
            db.executemany("delete from actions where action_id = ?", [[each.action_id] for each in actions])

    # -- help ------------------------------------------------------------------------------------------------------

    def _select(self, condition: str, *values: object) -> list[Request]:
        with self._reading() as db:
            rows = db.execute(f"select {REQUEST_COLUMNS} from requests where {condition}", values).fetchall()
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


def _open_request(db: sqlite3.Connection, person_id: int, kind: Kind) -> str | None:
    row = db.execute(
        "select request_id from requests where person_id = ? and kind = ? and state <> 'ended'", [person_id, kind]
    ).fetchone()
    return None if row is None else str(row[0])


def _take(db: sqlite3.Connection, wish: Wish, at: datetime) -> str:
    request_id = str(uuid.uuid4())
    open_one = _open_request(db, wish.person_id, wish.kind)
    state, outcome, message = "open", None, None
    if open_one is not None and wish.kind == "record":  # who asks anew answers one that came back from a backup
        db.execute("update requests set state = 'open' where request_id = ? and state = 'ask'", [open_one])
        state, outcome, message = "ended", ALREADY_IN_SYNC, _STILL_SERVED
    elif wish.kind == "owner" and open_one is not None:
        db.execute(
            "update requests set state = 'ended', outcome = ?, message = ? where request_id = ?",
            [SUPERSEDED, _SUPERSEDED, open_one],
        )
    db.execute(
        "insert into requests (request_id, kind, person_id, record_type, owner, task, door, list_entry, asked_at, state, "
        "next_try_at, outcome, message) values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            *(request_id, wish.kind, wish.person_id, wish.record_type.value, wish.owner),
            *(None if wish.task is None else msgspec.json.encode(wish.task).decode(), wish.door, wish.list_entry),
            *(at.isoformat(), state, at.isoformat(), outcome, message),
        ],
    )
    return request_id


def _keep_action(db: sqlite3.Connection, action: Action) -> None:
    """Tell a command in the transaction that changes what it changes."""
    db.execute("insert into actions (action_id, action) values (?, ?)", [action.action_id, action.text])


def _answered(db: sqlite3.Connection, request_ids: Sequence[str], command: str) -> list[str]:
    """Those of these that ask; the command that says what becomes of them is told."""
    asking = {row[0] for row in db.execute("select request_id from requests where state = 'ask'").fetchall()}
    answered = [each for each in request_ids if each in asking]
    if answered:
        _keep_action(db, Action.of(command, {"requests": named(answered)}))
    return answered


def _wake(db: sqlite3.Connection, request_ids: Sequence[str]) -> None:
    """Whoever waits for one of these need not wait any longer."""
    db.executemany(
        "update requests set next_try_at = asked_at where needs = ? and state <> 'ended'", [[i] for i in request_ids]
    )


_WITHDRAWN = "Somebody withdrew it after a restore."
_STILL_SERVED = "An earlier request for this person is still being served."
_SUPERSEDED = "A later request gives this person's record another owner."


def _request(row: tuple[Any, ...]) -> Request:
    request_id, kind, person_id, record_type, owner, task, door, asked_at, *rest, next_try_at = row
    told = None if task is None else msgspec.json.decode(task, type=Task)
    values: list[Any] = [request_id, kind, person_id, RecordType(record_type), owner, told, door]
    values += [datetime.fromisoformat(asked_at), *rest, datetime.fromisoformat(next_try_at)]
    return Request(*values)
