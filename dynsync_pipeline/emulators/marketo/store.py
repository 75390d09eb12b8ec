"""The state of one Marketo subscription: a SQLite file, its clock, its API users and its behaviour switches.

Files of bulk exports lie in a folder beside it. Not here: what any call means; each area of the API has its own module.
Source: docs/protocols/marketo.md#companies, #bulk-extract, #deleting-and-merging, #announced-changes,
#checklist 11, 14, 26.
"""

from __future__ import annotations

import hashlib
import sqlite3
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec

from dynsync_pipeline.emulators.errors import StateUnusable
from dynsync_pipeline.emulators.marketo.fields import (
    COMPANY_FIELDS,
    LENGTHS,
    STANDARD_FIELDS,
    SYNC_FIELDS,
    Catalogue,
    Field,
)

_COMPANY_COLUMNS = ", ".join(field.column for field in COMPANY_FIELDS)
_PERSON_COLUMNS = ", ".join(f.column for f in (*STANDARD_FIELDS, *SYNC_FIELDS) if f.is_stored_on_person)

# `_changed_at` is the hidden clock of the last change to any field, which the bulk updatedAt filter uses.
_SCHEMA = f"""
create table kept (name text primary key, value text not null);
create table api_users (client_id text primary key, client_secret text not null, email text not null);
create table tokens (token text primary key, client_id text not null, expires_at real not null,
    was_told integer not null default 0);
create table fields (id integer primary key, name text not null unique collate nocase, definition text not null);
create table partitions (id integer primary key, name text not null unique, description text);
create table companies (id integer primary key autoincrement, {_COMPANY_COLUMNS}, createdAt text not null,
    updatedAt text not null);
create unique index companies_by_key on companies (externalCompanyId collate nocase)
    where externalCompanyId is not null;
create index companies_by_name on companies (company collate nocase) where company is not null;
create table people ({_PERSON_COLUMNS}, _changed_at text not null);
create index people_by_email on people (email collate nocase) where email is not null;
create index people_by_company on people (contactCompany);
create index people_by_creation on people (createdAt);
create index people_by_change on people (_changed_at);
create table activities (position integer primary key autoincrement, lead_id integer not null, type_id integer not null,
    at_ms integer not null, campaign_id integer, primary_id integer, primary_value text, attributes text not null);
create index activities_by_time on activities (at_ms);
create index activities_by_type on activities (type_id, position);
create index activities_by_lead on activities (lead_id, position);
create table custom_types (id integer primary key, api_name text not null unique, draft text, approved text);
create table lists (id integer primary key autoincrement, name text not null unique, description text,
    createdAt text not null, updatedAt text not null);
create table list_members (list_id integer not null, lead_id integer not null, primary key (list_id, lead_id))
    without rowid;
create table calls (day text not null, api_user text not null, n_calls integer not null, primary key (day, api_user));
create table call_errors (day text not null, code text not null, n_calls integer not null, primary key (day, code));
create table export_jobs (export_id text primary key, object text not null, api_user text not null,
    request text not null, status text not null, created_at real not null, queued_at real, started_at real,
    finished_at real, n_records integer, file_bytes integer, checksum text, error text,
    shown text not null, shown_at real not null);
create table import_jobs (batch_id integer primary key autoincrement, api_user text not null, delimiter text not null,
    lookup text not null, list_id integer, partition_id integer not null, content blob not null, status text not null,
    queued_at real not null, started_at real, n_rows integer, n_failed integer, n_warned integer, n_members integer,
    failures text, warnings text, error text);
"""


_SCHEMA_VERSION = 1
_RECORD_TABLES = (
    *("people", "companies", "activities", "lists", "list_members", "custom_types", "export_jobs", "import_jobs"),
    *("calls", "call_errors"),
)


class Behaviour(msgspec.Struct, forbid_unknown_fields=True):
    """What can be set from outside over `POST /emulator/marketo/behaviour`; the defaults are those of the vendor."""

    calls_per_window: int = 100
    window_s: float = 20.0
    concurrent_calls: int = 10
    calls_per_day: int = 50_000
    export_bytes_per_day: int = 500_000_000
    native_crm: bool = False  # company writes answer 1018
    updated_at_filter: bool = True  # off: bulk export by updatedAt answers 1035
    deletion_trail: bool = True  # off: deleted people leave no trace in the log, as what the vendor has purged
    merge_trail: bool = False  # on: merged people also appear among the deleted
    refuse_double_slash: bool = False  # on: two slashes in a path answer 610
    refuse_token_in_query: bool = False  # on: the parameter access_token is worth nothing
    lose_export_files: bool = False  # Completed, yet the file answers 404
    refuse_large_lists: bool = False  # on: feeds narrowed to a list of 10,000 people and more answer 1003
    feed_delay_s: float = 0.0  # how long after it happened an entry shows in the feeds
    race_window_s: float = 0.0  # pause of Sync Leads between looking up keys and writing


class Store:
    """One subscription, kept in the SQLite file at `path`; safe to use from several threads.

    `time_scale` makes the vendor's waits (window of the rate limit, minutes of bulk jobs) pass that many times faster;
    moments that are shown stay real. `seed` decides client ids, secrets and every id drawn, for a new file.
    Raises: StateUnusable when the file is of another version.
    """

    def __init__(self, path: Path, *, time_scale: float = 1.0, seed: int = 0) -> None:
        self.path = path
        self.time_scale = time_scale
        self.lock = threading.RLock()
        self.jobs_waiting = threading.Event()
        self.before_close: list[Callable[[], None]] = []
        self.db = self.connect()
        with self.lock:
            if not self.db.execute("select 1 from sqlite_master where name = 'kept'").fetchone():
                self._create(seed)
            if self.db.execute("pragma user_version").fetchone()[0] != _SCHEMA_VERSION:
                self.db.close()
                raise StateUnusable(
                    f"The emulator state {path} was written by another version of DynSync. "
                    "Remove it, or start the emulators with another state folder."
                )
            self.seed = int(self.kept("seed"))
            self._clock_ahead_s = float(self.kept("clock_ahead_s"))
            self.behaviour = msgspec.json.decode(self.kept("behaviour"), type=Behaviour)
            custom = self.db.execute("select definition from fields order by id").fetchall()
        self.fields = Catalogue([*STANDARD_FIELDS, *(msgspec.json.decode(row[0], type=Field) for row in custom)])
        self.fields.withdrawn = frozenset(msgspec.json.decode(self.kept("withdrawn fields")))
        self.client_id, self.client_secret = self._api_user(0)
        self.other_client_id, self.other_client_secret = self._api_user(1)
        self.exports_dir = path.with_name(path.name + ".exports")
        self.exports_dir.mkdir(exist_ok=True)

    def connect(self) -> sqlite3.Connection:
        """A further connection, for long reads outside the lock."""
        db = sqlite3.connect(self.path, check_same_thread=False, isolation_level=None, cached_statements=512)
        db.execute("pragma journal_mode = wal")
        db.execute("pragma synchronous = off")  # survives a killed process; a power cut is not our concern
        db.execute("pragma cache_size = -65536")
        return db

    def close(self) -> None:
        """Stop what works on the file (`before_close`) and close it; the store cannot be used afterwards."""
        for stop in self.before_close:
            stop()
        with self.lock:
            self.db.close()

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Everything inside is written together or not at all; other threads wait."""
        with self.lock:
            self.db.execute("begin immediate")
            try:
                yield self.db
            except BaseException:
                self.db.execute("rollback")
                raise
            self.db.execute("commit")

    def now(self) -> datetime:
        """The subscription's clock, UTC: real time plus what was advanced over the control endpoint."""
        return datetime.now(UTC) + timedelta(seconds=self._clock_ahead_s)

    def advance_clock(self, ahead_s: float) -> None:
        """Let this much time pass: tokens expire, activities age, export files go."""
        self._clock_ahead_s += ahead_s
        self.keep("clock_ahead_s", str(self._clock_ahead_s))
        self.jobs_waiting.set()

    def kept(self, name: str) -> str:
        """A value kept in the file by name."""
        with self.lock:
            return str(self.db.execute("select value from kept where name = ?", (name,)).fetchone()[0])

    def keep(self, name: str, value: str) -> None:
        """Keep a value in the file by name."""
        with self.lock:
            self.db.execute("insert or replace into kept values (?, ?)", (name, value))

    def next_number(self, name: str) -> int:
        """The next number of a named series: 1, 2, 3."""
        with self.lock:
            row = self.db.execute(
                "insert into kept values (?, '1') on conflict (name) do update set value = value + 1 returning value",
                (f"series {name}",),
            ).fetchone()
        return int(row[0])

    def next_uuid(self, name: str) -> str:
        """A fresh UUID, the same ones in the same order for one seed."""
        return _uuid(self.seed, name, self.next_number(name))

    def set_behaviour(self, behaviour: Behaviour) -> None:
        """Replace the behaviour switches and keep them."""
        self.behaviour = behaviour
        self.keep("behaviour", msgspec.json.encode(behaviour).decode())

    def add_field(self, field: Field) -> None:
        """Create a custom person field; the caller holds a transaction."""
        _add_field(self.db, field)
        self.fields.add(field)

    def replace_field(self, field: Field) -> None:
        """Keep another definition of a custom field, of the same name and type; the caller holds a transaction."""
        self.db.execute(
            "update fields set definition = ? where id = ?", (msgspec.json.encode(field).decode(), field.id)
        )
        self.fields.add(field)

    def retype_field(self, name: str, kind: str) -> None:
        """Give a custom field another type, as an administrator can; values become what SQLite makes of them.

        Raises: ValueError when there is no custom field of this name.
        """
        field = self.fields.by_name.get(name)
        if field is None or not field.is_custom:
            raise ValueError("There is no custom field of this name.")
        changed = msgspec.structs.replace(field, type=kind, length=LENGTHS.get(kind))
        with self.transaction() as db:
            db.execute(f'drop index if exists "people_by_{name}"')
            db.execute(f'alter table people rename column "{name}" to "_retyped"')
            db.execute(f"alter table people add column {changed.column}")
            empty = "0" if kind == "boolean" else "null"
            db.execute(f'update people set "{name}" = coalesce("_retyped", {empty})')
            db.execute('alter table people drop column "_retyped"')
            _add_index(db, changed)
            self.replace_field(changed)

    def reset(self) -> None:
        """Forget every record, the log, jobs, counters, the clock's advance and the switches; users and fields stay."""
        with self.transaction() as db:
            for table in _RECORD_TABLES:
                db.execute(f"delete from {table}")
                db.execute("delete from sqlite_sequence where name = ?", (table,))
            self.set_behaviour(Behaviour())
            self.advance_clock(-self._clock_ahead_s)
            self.withdraw_fields(frozenset())

    def withdraw_fields(self, names: frozenset[str]) -> None:
        """Let the API no longer know exactly these fields; their values stay."""
        self.fields.withdrawn = names
        self.keep("withdrawn fields", msgspec.json.encode(sorted(names)).decode())

    def _api_user(self, number: int) -> tuple[str, str]:
        with self.lock:
            row = self.db.execute(
                "select client_id, client_secret from api_users order by rowid limit 1 offset ?", (number,)
            ).fetchone()
        return str(row[0]), str(row[1])

    def _create(self, seed: int) -> None:
        self.db.executescript(f"{_SCHEMA} pragma user_version = {_SCHEMA_VERSION};")
        with self.transaction() as db:
            for name, value in {"seed": str(seed), "clock_ahead_s": "0", "withdrawn fields": "[]"}.items():
                self.keep(name, value)
            self.keep("behaviour", msgspec.json.encode(Behaviour()).decode())
            for number, email in enumerate(("dynsync@api.example.com", "colleague@api.example.com")):
                secret = hashlib.sha256(f"{seed} secret {number}".encode()).hexdigest()[:32]
                db.execute("insert into api_users values (?, ?, ?)", (_uuid(seed, "client", number), secret, email))
            db.execute("insert into partitions values (1, 'Default', 'Initial system partition')")
            for field in SYNC_FIELDS:
                _add_field(db, field, column_exists=True)


def _add_field(db: sqlite3.Connection, field: Field, *, column_exists: bool = False) -> None:
    db.execute("insert into fields values (?, ?, ?)", (field.id, field.name, msgspec.json.encode(field).decode()))
    if not column_exists:
        db.execute(f"alter table people add column {field.column}")
    _add_index(db, field)


def _add_index(db: sqlite3.Connection, field: Field) -> None:
    if field.type in ("string", "email", "integer"):
        db.execute(f'create index "people_by_{field.name}" on people ("{field.name}") where "{field.name}" is not null')


def _uuid(seed: int, name: str, number: int) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_OID, f"dynsync marketo {seed} {name} {number}"))
