"""The emulator's state: one SQLite file that survives restarts. Rows, versions, deletions, tokens, credentials, schema.

Readers run side by side on connections of their own; writers take turns. Not here: what a request means.
Source: docs/protocols/dataverse.md#change-tracking, #checklist 11.
"""

from __future__ import annotations

import secrets
import sqlite3
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from queue import Empty, SimpleQueue

import msgspec

from dynsync_pipeline.emulators.dataverse import certificate, text_match
from dynsync_pipeline.emulators.dataverse.schema import SQL_TYPES, Column, Schema, Table
from dynsync_pipeline.emulators.dataverse.tables import TIME_ZONES, UTC_CODE, default_schema

IDS = uuid.UUID("6a1b3c5e-7d40-4c7e-9a61-0d5a4f1c2b3e")
TOKEN_LIFE_S = 3_599
BULK_MESSAGES = ("CreateMultiple", "UpdateMultiple", "UpsertMultiple")
LONG_LIFE_S = 10 * 365 * 86_400


class User(msgspec.Struct, frozen=True):
    """Who calls: a row of systemuser; `on_behalf_by` is who really calls, where somebody is impersonated."""

    user_id: str
    full_name: str
    is_administrator: bool = False
    on_behalf_by: str | None = None


class Store:
    """All state of one Dataverse emulator, in the SQLite file `path`.

    `time_scale` makes the emulator's own waits shorter (60: a minute passes in a second); `seed` fixes the ids of the
    organisation, its users and its app registration. Secrets are random and kept in the file.
    """

    def __init__(self, path: Path, *, time_scale: float = 1.0, seed: int = 0) -> None:
        self.path = path
        self.time_scale = time_scale
        self.seed = seed
        self._lock = threading.RLock()
        self._idle: SimpleQueue[sqlite3.Connection] = SimpleQueue()
        self._writer = self._connect()
        self._writer.execute("pragma journal_mode=wal")
        self._writer.execute("pragma synchronous=off")
        self._create_own_tables()
        self.tenant_id = self.named_id("tenant")
        self.client_id = self.named_id("app registration")
        self.stranger_client_id = self.named_id("app registration without a user")
        self.organization_id = self.named_id("organization")
        self.business_unit_id = self.named_id("business unit")
        self.currency_id = self.named_id("currency")
        self.sync_username = "sync.user@emulator.example"
        self.sales_username = "sally.sales@emulator.example"
        with self.write():
            self.client_secret = self.setting("client_secret", lambda: secrets.token_urlsafe(24))
            self.sync_password = self.setting("sync_password", lambda: secrets.token_urlsafe(12))
            self.sales_password = self.setting("sales_password", lambda: secrets.token_urlsafe(12))
            self.client_pem = self.setting("client_pem", certificate.client_pem_of_process)
            text = self.setting("schema", lambda: msgspec.json.encode(default_schema()).decode())
            # A state folder of an earlier version lacks the tables that came since.
            stored = msgspec.json.decode(text, type=Schema)
            self.schema = Schema({**default_schema().tables, **stored.tables})
            self.version = int(self.setting("version", lambda: "1000000"))
            self.tracking_floor = int(self.setting("tracking_floor", lambda: "0"))
            for table in self.schema.tables.values():
                self._create_table(table)
            self._create_standing_rows()

    def close(self) -> None:
        """Close every connection; the file stays."""
        with self._lock:
            self._writer.close()
            while True:
                try:
                    self._idle.get_nowait().close()
                except Empty:
                    return

    # ---- connections ------------------------------------------------------------------------------------------------

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False, timeout=30)
        connection.execute("pragma page_size=16384")
        connection.execute("pragma cache_size=-65536")
        connection.execute("pragma mmap_size=8000000000")
        text_match.register(connection)
        return connection

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """A connection that sees one committed state for as long as it is held."""
        try:
            connection = self._idle.get_nowait()
        except Empty:
            connection = self._connect()
        connection.execute("begin")
        try:
            yield connection
        finally:
            connection.execute("rollback")
            self._idle.put(connection)

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """The writing connection, in one transaction: committed at the end, rolled back on an error. May be nested."""
        with self._lock:
            if self._writer.in_transaction:
                yield self._writer
                return
            self._writer.execute("begin immediate")
            try:
                yield self._writer
                if hasattr(self, "version"):
                    self.set_setting("version", str(self.version))
                self._writer.execute("commit")
            except BaseException:
                self._writer.execute("rollback")
                raise

    @contextmanager
    def step(self) -> Iterator[sqlite3.Connection]:
        """One operation inside a transaction: undone alone if it fails."""
        with self.write() as connection:
            connection.execute("savepoint step")
            try:
                yield connection
            except BaseException:
                connection.execute("rollback to step")
                connection.execute("release step")
                raise
            connection.execute("release step")

    @contextmanager
    def scratch(self) -> Iterator[str]:
        """The schema name of an empty database on disk, for the writing connection, outside of any transaction."""
        with self._lock:
            self._writer.execute("attach '' as scratch")
            try:
                yield "scratch"
            finally:
                self._writer.execute("detach scratch")

    def checkpoint(self) -> None:
        """Move what the write-ahead log holds into the file, and cut the log: after a large write it is as large."""
        with self._lock:
            self._writer.execute("pragma wal_checkpoint(truncate)")

    # ---- clock, versions, settings ----------------------------------------------------------------------------------

    def now(self) -> datetime:
        """The service's clock, in whole seconds UTC."""
        return datetime.now(UTC).replace(microsecond=0)

    def next_version(self) -> int:
        """The next row version; one counter over all tables, as in the real thing."""
        self.version += 1
        return self.version

    def seen_version(self, connection: sqlite3.Connection) -> int:
        """The newest row version a connection can see: a reader's is the committed one."""
        if connection is self._writer:
            return self.version
        return int(connection.execute("select value from setting where name = 'version'").fetchone()[0])

    def named_id(self, name: str) -> str:
        """A GUID that depends on the seed and a name alone."""
        return str(uuid.uuid5(IDS, f"{self.seed}/{name}"))

    def setting(self, name: str, first: object) -> str:
        """A stored text; `first()` makes it when there is none yet."""
        row = self._writer.execute("select value from setting where name = ?", (name,)).fetchone()
        if row:
            return str(row[0])
        value = str(first()) if callable(first) else str(first)
        self.set_setting(name, value)
        return value

    def set_setting(self, name: str, value: str) -> None:
        """Store a text; call inside `write`."""
        self._writer.execute("insert or replace into setting values (?, ?)", (name, value))

    # ---- schema -----------------------------------------------------------------------------------------------------

    def _create_own_tables(self) -> None:
        for sql in (
            "create table if not exists setting (name text primary key, value text not null)",
            "create table if not exists token (token text primary key, user_id text, expires_at text not null)",
            "create table if not exists denied (user_id text, privilege text, primary key (user_id, privilege))",
            "create table if not exists deleted (entity text, id text, version integer, primary key (entity, id))",
            "create index if not exists deleted_version on deleted (entity, version)",
        ):
            self._writer.execute(sql)

    def _create_table(self, table: Table) -> None:
        columns = ", ".join(part for column in table.columns.values() for part in _declarations(column))
        self._writer.execute(
            f'create table if not exists "{table.name}" ({columns}, primary key ("{table.primary_id}")) without rowid'
        )
        self.create_indexes(table)

    def _leads_to_records(self, column: Column) -> bool:
        return any(self.schema.tables[to.table].writable for to in column.targets)

    def create_indexes(self, table: Table) -> None:
        """Indexes for change tracking, for lookups between people and companies, and for alternate keys."""
        name = table.name
        self._writer.execute(f'create index if not exists "{name}_version" on "{name}" (versionnumber)')
        for column in table.columns.values():
            if table.writable and self._leads_to_records(column):
                self._writer.execute(
                    f'create index if not exists "{name}_{column.name}" on "{name}" ({column.sql}) '
                    f"where {column.sql} is not null"
                )
        for key, columns in table.keys.items():
            parts = ", ".join(f'"{column}" collate nocase' for column in columns)
            self._writer.execute(f'create unique index if not exists "{name}_key_{key}" on "{name}" ({parts})')

    def replace_table(self, table: Table) -> None:
        """Publish a changed table definition; every delta token of that table dies."""
        with self.write():
            changed = msgspec.structs.replace(table, changed_at_version=self.next_version())
            self.schema = Schema({**self.schema.tables, table.name: changed})
            self.set_setting("schema", msgspec.json.encode(self.schema).decode())

    def add_sql_column(self, table: Table, column: Column) -> None:
        """Add the SQL columns of a new column; call inside `write`."""
        for declaration in _declarations(column):
            self._writer.execute(f'alter table "{table.name}" add column {declaration}')

    def drop_sql_column(self, table: Table, column: Column) -> None:
        """Drop the SQL columns of a column, and the indexes of keys it is part of; call inside `write`."""
        for key, columns in table.keys.items():
            if column.name in columns:
                self._writer.execute(f'drop index "{table.name}_key_{key}"')
        for declaration in _declarations(column):
            self._writer.execute(f'alter table "{table.name}" drop column {declaration.rpartition(" ")[0]}')

    def delete_all_rows(self, table: Table) -> None:
        """Empty a table without a trace in change tracking; call inside `write`."""
        self._writer.execute(f'delete from "{table.name}"')
        self._writer.execute("delete from deleted where entity = ?", (table.name,))
        self.create_indexes(table)

    def expire_cursors(self) -> None:
        """Make every delta token given out so far expire."""
        with self.write():
            self.tracking_floor = self.next_version()
            self.set_setting("tracking_floor", str(self.tracking_floor))

    # ---- users and tokens -------------------------------------------------------------------------------------------

    def user(self, user_id: str) -> User:
        """The user with this id; the salesperson counts as a system administrator for secured columns."""
        with self.read() as connection:
            row = connection.execute("select fullname from systemuser where systemuserid = ?", (user_id,)).fetchone()
        return User(user_id, row[0] if row else "", user_id == self.sales_user_id)

    def user_with(self, column: str, value: str) -> str | None:
        """The id of the user with this value in a column of systemuser."""
        with self.read() as connection:
            row = connection.execute(f'select systemuserid from systemuser where "{column}" = ?', (value,)).fetchone()
        return str(row[0]) if row else None

    @property
    def sync_user_id(self) -> str:
        """The application user bound to `client_id`."""
        return self.named_id("application user")

    @property
    def password_user_id(self) -> str:
        """The user behind `sync_username`."""
        return self.named_id("sync user with a password")

    @property
    def sales_user_id(self) -> str:
        """The salesperson, whose edits are somebody else's."""
        return self.named_id("salesperson")

    def new_token(self, user_id: str | None, life_s: float = TOKEN_LIFE_S) -> str:
        """A bearer token; `user_id` None is a valid token of an app that is no user here."""
        token = secrets.token_urlsafe(32)
        expires_at = self.now() + timedelta(seconds=life_s)
        with self.write() as connection:
            connection.execute("insert into token values (?, ?, ?)", (token, user_id, expires_at.isoformat()))
        return token

    def sales_token(self) -> str:
        """The salesperson's long-lived token, the same on every start."""
        with self.write():
            return self.setting("sales_token", lambda: self.new_token(self.sales_user_id, LONG_LIFE_S))

    def token_owner(self, token: str) -> tuple[bool, str | None]:
        """Whether a token is valid, and its user id (None: no user of this organisation)."""
        with self.read() as connection:
            row = connection.execute("select user_id, expires_at from token where token = ?", (token,)).fetchone()
        if not row or datetime.fromisoformat(row[1]) <= datetime.now(UTC):
            return False, None
        return True, row[0]

    def set_time_zone(self, user_id: str, code: int) -> None:
        """A user chooses a time zone."""
        with self.write() as connection:
            connection.execute("update usersettings set timezonecode = ? where systemuserid = ?", (code, user_id))

    def expire_tokens(self) -> None:
        """Forget every token except the salesperson's."""
        with self.write() as connection:
            connection.execute("delete from token where user_id is not ?", (self.sales_user_id,))

    def deny_only(self, user_id: str, privileges: list[str]) -> None:
        """Take these privileges and no others from a user; `prvReadContact:global` leaves own rows."""
        with self.write() as connection:
            connection.execute("delete from denied where user_id = ?", (user_id,))
            connection.executemany("insert or ignore into denied values (?, ?)", [(user_id, p) for p in privileges])

    def grant_all(self) -> None:
        """Give every privilege back."""
        with self.write() as connection:
            connection.execute("delete from denied")

    def is_denied(self, connection: sqlite3.Connection, user_id: str, privilege: str) -> bool:
        """Whether the user lacks a privilege."""
        sql = "select 1 from denied where user_id = ? and privilege = ?"
        return connection.execute(sql, (user_id, privilege)).fetchone() is not None

    # ---- rows that always exist -------------------------------------------------------------------------------------

    def _create_standing_rows(self) -> None:
        self._stand("businessunit", {"businessunitid": self.business_unit_id, "name": "Emulator"})
        self._stand(
            "transactioncurrency",
            {
                "transactioncurrencyid": self.currency_id, "currencyname": "US Dollar", "isocurrencycode": "USD",
                "currencysymbol": "$", "currencyprecision": 2, "exchangerate": 1.0, "statecode": 0, "statuscode": 1,
            },
        )  # fmt: skip
        self._stand(
            "organization",
            {
                "organizationid": self.organization_id, "name": "Emulator", "expirechangetrackingindays": 7,
                "basecurrencyid": self.currency_id,
            },
        )  # fmt: skip
        for message in BULK_MESSAGES:
            message_id = self.named_id(f"message {message}")
            self._stand("sdkmessage", {"sdkmessageid": message_id, "name": message})
            for table in self.schema.tables.values():
                filter_id = self.named_id(f"message {message} of {table.name}")
                values = {"sdkmessagefilterid": filter_id, "sdkmessageid": message_id, "name": table.name}
                if table.writable:
                    self._stand("sdkmessagefilter", {**values, "primaryobjecttypecode": table.name})
        for user_id, first, last, login, app in (
            (self.sync_user_id, "DynSync", "Application", "dynsync@emulator.example", self.client_id),
            (self.password_user_id, "Sync", "User", self.sync_username, None),
            (self.sales_user_id, "Sally", "Sales", self.sales_username, None),
        ):
            self._stand(
                "systemuser",
                {
                    "systemuserid": user_id, "ownerid": user_id, "firstname": first, "lastname": last,
                    "fullname": f"{first} {last}", "domainname": login, "internalemailaddress": login,
                    "applicationid": app, "azureactivedirectoryobjectid": self.named_id(f"directory object of {login}"),
                    "isdisabled": 0, "accessmode": 4 if app else 0, "businessunitid": self.business_unit_id,
                },
            )  # fmt: skip
            self._stand("usersettings", {"systemuserid": user_id, "timezonecode": UTC_CODE})
        team_id = self.named_id("default team")
        team: dict[str, object] = {"teamid": team_id, "ownerid": team_id, "name": "Emulator", "isdefault": 1}
        self._stand("team", {**team, "businessunitid": self.business_unit_id})
        for code, name in TIME_ZONES.items():
            zone_id = self.named_id(f"time zone {code}")
            names = {"standardname": name, "userinterfacename": name}
            self._stand("timezonedefinition", {"timezonedefinitionid": zone_id, "timezonecode": code, **names})

    def _stand(self, table: str, values: dict[str, object]) -> None:
        at = self.now().strftime("%Y-%m-%dT%H:%M:%SZ")
        row = {**values, "createdon": at, "modifiedon": at, "versionnumber": self.version}
        names = ", ".join(f'"{name}"' for name in row)
        marks = ", ".join("?" * len(row))
        self._writer.execute(f'insert or ignore into "{table}" ({names}) values ({marks})', tuple(row.values()))


def _declarations(column: Column) -> Iterator[str]:
    yield f"{column.sql} {SQL_TYPES.get(column.kind, 'text')}"
    if column.polymorphic:
        yield f"{column.type_sql} text"
