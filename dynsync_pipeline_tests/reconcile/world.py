"""A small world: two systems in memory, one real warehouse, and whole cycles between them, cut anywhere if asked.

Everything between the two systems is the real thing: landing, rules, write back, receipts, recognition after a cut.
Only the wire is missing: `Dynamics` and `Marketo` stand where the clients stand, and answer as the protocols do.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

import duckdb
import pyarrow as pa

from dynsync_pipeline.clients.dynamics.protocol import RecordWrite, WriteResult
from dynsync_pipeline.clients.marketo.protocol import FeedPage, FeedStart, FieldChange, PersonResult
from dynsync_pipeline.errors import ApiError, ChangedMeanwhile, RecordMissing
from dynsync_pipeline.extract.companies import extract_companies
from dynsync_pipeline.extract.uncertain import reread_changed_meanwhile, reread_uncertain
from dynsync_pipeline.model.field_map import FieldMap, FieldType, parse_field_map
from dynsync_pipeline.model.own_fields import COMPANY_KEY, OwnFields
from dynsync_pipeline.model.records import TABLES, RecordType, Table
from dynsync_pipeline.reconcile.plan import Limits, Plan, make_plan
from dynsync_pipeline.warehouse.columns import dynamics_columns, follow_field_map, move_base
from dynsync_pipeline.warehouse.connection import Warehouse
from dynsync_pipeline.warehouse.cursors import move_cursor, read_cursor
from dynsync_pipeline.warehouse.cycles import begin_cycle, end_cycle
from dynsync_pipeline.warehouse.mirrors import (
    PersonColumns,
    land_deleted_people,
    land_dynamics,
    land_people,
    take_in_dynamics,
    take_in_people,
)
from dynsync_pipeline.write_back import receipts
from dynsync_pipeline.write_back.dynamics import write_records
from dynsync_pipeline.write_back.marketo import write_people
from dynsync_pipeline.write_back.receipts import recognise_own_writes, settle_receipts

Values = dict[str, str | None]

HEADER = "record_type,marketo_field,dynamics_column,type,direction,enabled\n"
SAME_FOR_BOTH_TYPES = (
    "title,jobtitle,text,both,true",
    "phone,telephone1,text,both,true",
    "doNotCall,donotphone,boolean,both,true",
    "revenue,new_revenue,decimal,both,true",
    "employees,new_employees,integer,both,true",
    "birth,birthdate,date,both,true",
    "seen,new_seen,datetime,both,true",
    "rating,new_rating,choice,both,true",
    "source,new_source,text,to_marketo,true",
    "leadScore,mkt_leadscore,integer,to_dynamics,true",
)
OPTIONS = {"1": "Hot", "2": "Warm", "3": "Cold"}


def field_map(*lines: str) -> FieldMap:
    """A field map in which contacts and leads have the same fields; accounts have a name, which these tests leave alone."""
    text = (
        HEADER
        + "account,company,name,text,to_marketo,true\n"
        + "".join(f"{kind},{line}\n" for kind in ("contact", "lead") for line in lines)
    )
    return parse_field_map(text, "test.csv")


class Cut(BaseException):
    """The process was killed here. Not an Exception: nothing may catch it."""


@dataclass
class Steps:
    """Counts what a kill can fall between: transactions and remote writes. At `left` = 0 the next step is not taken."""

    left: int | None = None
    taken: int = 0

    def step(self) -> None:
        if self.left is not None:
            if self.left == 0:
                raise Cut
            self.left -= 1
        self.taken += 1


class CutWarehouse(Warehouse):
    """A warehouse whose process can be killed before any transaction."""

    def __init__(self, path: Path, steps: Steps) -> None:
        self.steps = steps
        super().__init__(path)

    @contextmanager
    def transaction(self) -> Iterator[duckdb.DuckDBPyConnection]:
        self.steps.step()
        with super().transaction() as connection:
            yield connection


@dataclass
class Row:
    """One record or person in a system; `version` grows with every change and orders the change feed."""

    values: Values
    version: int
    is_deleted: bool = False


Keeps = Callable[[str, str | None], str | None]
Refuses = Callable[[str, Values], ApiError | None]


def as_is(name: str, value: str | None) -> str | None:
    """A system that keeps what it is given."""
    return value


def refuse_nothing(key: str, values: Values) -> ApiError | None:
    """A system that takes everything."""
    return None


@dataclass
class Dynamics:
    """Contacts and leads, as the Dynamics client shows them. `keeps` spoils written values, `refuses` refuses them."""

    fields: FieldMap
    steps: Steps
    rows: dict[tuple[RecordType, str], Row] = field(default_factory=dict)
    version: int = 0
    keeps: Keeps = as_is
    refuses: Refuses = refuse_nothing
    fails: ApiError | None = None
    writes: list[tuple[str, Values]] = field(default_factory=list)

    def put(self, record_type: RecordType, record_id: str, **values: str | None) -> None:
        """A person creates or edits a record."""
        self.version += 1
        row = self.rows.setdefault((record_type, record_id), Row({"createdon": "2020-01-01T00:00:00Z"}, 0))
        row.values.update(values)
        row.version = self.version

    def delete(self, record_type: RecordType, record_id: str) -> None:
        self.version += 1
        self.rows[record_type, record_id] = Row({}, self.version, is_deleted=True)

    def row_of(self, table: Table, record_id: str) -> Values:
        row = self.rows[table.record_type, record_id]
        columns = dynamics_columns(self.fields, table.record_type)
        return {"id": record_id, "etag": f"W/{row.version}", **{name: row.values.get(name) for name in columns}}

    def table_of(self, table: Table, rows: Sequence[Values]) -> pa.Table:
        names = ["id", "etag", *dynamics_columns(self.fields, table.record_type)]
        return pa.table({name: pa.array([row[name] for row in rows], pa.string()) for name in names})

    def records(self, table: Table, columns: object, ids: Sequence[str]) -> pa.Table:
        """As `DynamicsClient.records`."""
        found = [i for i in ids if (row := self.rows.get((table.record_type, i))) and not row.is_deleted]
        return self.table_of(table, [self.row_of(table, i) for i in found])

    def write(self, table: Table, columns: object, writes: Sequence[RecordWrite]) -> list[WriteResult]:
        """As `DynamicsClient.write`."""
        if self.fails is not None:
            raise self.fails
        results = []
        for write in writes:
            self.steps.step()
            results.append(self._write(table, write))
        if writes:
            self.steps.step()
        return results

    def _write(self, table: Table, write: RecordWrite) -> WriteResult:
        row = self.rows.get((table.record_type, write.id))
        sent = json.loads(write.body, parse_int=str, parse_float=str)
        values: Values = {name: _text(value) for name, value in sent.items()}
        if row is None or row.is_deleted:
            return WriteResult(write.id, None, RecordMissing("gone", system="dynamics", request="PATCH", code="404"))
        if write.etag != f"W/{row.version}":
            error: ApiError = ChangedMeanwhile("412", system="dynamics", request="PATCH", code="0x80060882")
            return WriteResult(write.id, None, error)
        if refusal := self.refuses(write.id, values):
            return WriteResult(write.id, None, refusal)
        self.writes.append((write.id, values))
        kept = {name: self.keeps(name, value) for name, value in values.items()}
        self.put(table.record_type, write.id, **kept)
        return WriteResult(write.id, self.row_of(table, write.id), None)


KEYS = OwnFields(
    "dynamicsLeadId", "dynamicsContactId", "dynamicsType", "dynamicsIsDeleted", "dynamicsCreatedOn", COMPANY_KEY
)

OWN = (KEYS.lead_id, KEYS.contact_id, COMPANY_KEY, KEYS.is_deleted)


@dataclass
class Marketo:
    """People, as the Marketo client shows them: labels for choices, false for a boolean nobody set."""

    fields: FieldMap
    steps: Steps
    rows: dict[int, Row] = field(default_factory=dict)
    version: int = 0
    keeps: Keeps = as_is
    refuses: Refuses = refuse_nothing
    fails: ApiError | None = None
    writes: list[tuple[int, Values]] = field(default_factory=list)
    feed: list[FieldChange] = field(default_factory=list)

    def put(self, person_id: int, **values: str | None) -> None:
        """Somebody creates or edits a person; the feed tells each field that changed."""
        self.version += 1
        row = self.rows.setdefault(person_id, Row({}, 0))
        if row.version == 0:  # a new person is told in one line, without its values
            self._tell(person_id, None, None, None)
        else:
            for name, value in values.items():
                if row.values.get(name) != value:
                    self._tell(person_id, name, row.values.get(name), value)
        row.values.update(values)
        row.version = self.version

    def _tell(self, person_id: int, name: str | None, old: str | None, new: str | None) -> None:
        self.feed.append(FieldChange(str(len(self.feed)), person_id, datetime.now(UTC), name, old, new))

    def delete(self, person_id: int) -> None:
        self.version += 1
        self.rows[person_id] = Row(self.rows[person_id].values, self.version, is_deleted=True)

    def row_of(self, person_id: int) -> Values:
        kinds = self.fields.person_fields
        values = self.rows[person_id].values
        shown: Values = {"id": str(person_id)}
        for name in (*OWN, *kinds):
            value = values.get(name)
            shown[name] = "false" if value is None and kinds.get(name) is FieldType.BOOLEAN else value
        return shown

    def table_of(self, rows: Sequence[Values]) -> pa.Table:
        names = ["id", *OWN, *self.fields.person_fields]
        return pa.table({name: pa.array([row[name] for row in rows], pa.string()) for name in names})

    def people(self, filter_type: str, values: Sequence[str], fields: Sequence[str]) -> pa.Table:
        """As `MarketoClient.people`."""
        found = [
            person_id
            for person_id, row in self.rows.items()
            if not row.is_deleted and (str(person_id) if filter_type == "id" else row.values.get(filter_type)) in values
        ]
        return self.table_of([self.row_of(person_id) for person_id in found])

    def start_of_feed(self, since: datetime) -> FeedStart:
        """As `MarketoClient.start_of_feed`."""
        return FeedStart(since.isoformat(), datetime.now(UTC))

    def changes(self, token: str, fields: Sequence[str]) -> Iterator[FeedPage[FieldChange]]:
        """As `MarketoClient.changes`."""
        since = datetime.fromisoformat(token)
        told = [change for change in self.feed if change.at >= since and change.field in (None, *fields)]
        yield FeedPage(told, token, is_last=True)

    def companies(self, values: Sequence[str], fields: Sequence[str]) -> pa.Table:
        """As `MarketoClient.companies`; there are none here."""
        return pa.table({name: pa.array([], pa.string()) for name in ("id", *fields)})

    def sync_people(self, action: str, lookup_field: str, records: Sequence[str]) -> list[PersonResult]:
        """As `MarketoClient.sync_people`."""
        if self.fails is not None:
            raise self.fails
        results = []
        for body in records:
            self.steps.step()
            results.append(self._sync(action, lookup_field, json.loads(body, parse_int=str, parse_float=str)))
        self.steps.step()
        return results

    def _sync(self, action: str, lookup_field: str, body: dict[str, Any]) -> PersonResult:
        values: Values = {name: _text(value) for name, value in body.items()}
        key = values.pop("id") if lookup_field == "id" else values[lookup_field]
        bearers = [
            person_id
            for person_id, row in self.rows.items()
            if not row.is_deleted and (str(person_id) if lookup_field == "id" else row.values.get(lookup_field)) == key
        ]
        if action == "updateOnly" and not bearers:
            missing = RecordMissing("gone", system="marketo", request="POST", code="1004")
            return PersonResult(None, "skipped", missing)
        if refusal := self.refuses(str(key), values):
            return PersonResult(None, "skipped", refusal)
        person_id = bearers[0] if bearers else max(self.rows, default=1000) + 1
        self.writes.append((person_id, values))
        kept = {name: self.keeps(name, value) for name, value in values.items()}
        self.put(person_id, **kept)
        return PersonResult(person_id, "updated" if bearers else "created", None)


def _text(value: object) -> str | None:
    return {True: "true", False: "false", None: None}[value] if value is None or value in (True, False) else str(value)


class World:
    """Both systems, the warehouse between them, and a clock that moves five minutes a cycle."""

    def __init__(
        self, fields: FieldMap | None = None, path: Path = Path(":memory:"), *, is_optimised: bool = False
    ) -> None:
        self.fields = fields or field_map(*SAME_FOR_BOTH_TYPES)
        self.steps = Steps()
        self.dynamics = Dynamics(self.fields, self.steps)
        self.marketo = Marketo(self.fields, self.steps)
        self.columns = PersonColumns(self.fields, KEYS)
        self.limits = Limits(max_creates=1000, largest_share=1.0, first_load="create")
        self.clock = datetime(2026, 1, 1, tzinfo=UTC)
        self.warehouse = CutWarehouse(path, self.steps)
        if not is_optimised:  # a cycle over three rows is all planning: a third faster, the same answers
            self.rows("pragma disable_optimizer")
        self.follow(self.fields)

    def follow(self, fields: FieldMap) -> None:
        """Go on with another field map, as a changed CSV would make the next cycle do."""
        self.fields = self.dynamics.fields = self.marketo.fields = fields
        self.columns = PersonColumns(fields, KEYS)
        with Warehouse.transaction(self.warehouse) as connection:
            follow_field_map(connection, fields)
            connection.execute("delete from state.options")
            for mapped in fields.fields:
                if mapped.type is FieldType.CHOICE:
                    connection.executemany(
                        "insert into state.options values (?, ?, ?, ?)",
                        [(mapped.record_type, mapped.dynamics_column, *option) for option in OPTIONS.items()],
                    )

    def link(self, record_type: RecordType, record_id: str, /, **values: str | None) -> int:
        """A record with these values by Marketo name, choices as numbers, and a person that agrees; returns its id.

        Several may be made before the cycle that settles them: call `settled()` then.
        """
        columns = {f.marketo_field: f for f in self.fields.of(record_type)}
        self.dynamics.put(record_type, record_id, **{columns[name].dynamics_column: v for name, v in values.items()})
        person_id = max(self.marketo.rows, default=1000) + 1
        key = KEYS.contact_id if record_type is RecordType.CONTACT else KEYS.lead_id
        shown = {
            name: OPTIONS.get(v, v) if v is not None and columns[name].type is FieldType.CHOICE else v
            for name, v in values.items()
        }
        self.marketo.put(person_id, **{key: record_id}, **shown)
        return person_id

    # -- one cycle -------------------------------------------------------------------------------------------------

    def cycle(self, *, cut_after: int | None = None, is_shuffled: bool = False) -> Plan | None:
        """One whole cycle as `dynsync_pipeline.cycle` runs it; None if it was cut after that many steps."""
        self.clock += timedelta(minutes=5)
        self.steps.left = cut_after
        try:
            with patch.object(receipts, "datetime", _Clock(self.clock)):
                self._prepare()
                cycle_id = self._begin()
                self.extract(is_shuffled=is_shuffled)
                plan = self.plan(cycle_id)
                self._write_records(cycle_id)
                write_people(self.warehouse, self.marketo, self.columns, cycle_id)  # type: ignore[arg-type]
                with self.warehouse.transaction() as connection:
                    end_cycle(connection, cycle_id, "succeeded", None)
        except Cut:
            return None
        finally:
            self.steps.left = None
        return plan

    def settled(self, n_most: int = 4) -> int:
        """Run cycles until one writes nothing; returns how many wrote. More than `n_most` is a fault."""
        for n_wrote in range(n_most + 1):
            plan = self.cycle()
            assert plan is not None
            if plan.n_operations == 0:
                return n_wrote
        raise AssertionError(f"still writing after {n_most} cycles")

    def _prepare(self) -> None:
        settle_receipts(self.warehouse, "")
        reread_uncertain(self.warehouse, self.dynamics, self.marketo, self.fields, self.columns)  # type: ignore[arg-type]
        recognise_own_writes(self.warehouse)

    def _write_records(self, cycle_id: int) -> None:
        for _ in range(3):
            written = write_records(self.warehouse, self.dynamics, self.fields, cycle_id)  # type: ignore[arg-type]
            if not written.n_changed_meanwhile:
                return
            reread_changed_meanwhile(self.warehouse, self.dynamics, self.fields)  # type: ignore[arg-type]
            self.plan(cycle_id)

    def _begin(self) -> int:
        with self.warehouse.transaction() as connection:
            return begin_cycle(connection)

    def extract(self, *, is_shuffled: bool = False) -> None:
        """Land what each feed shows since its cursor, our own writes included, and take it into the mirrors."""
        for record_type in (RecordType.CONTACT, RecordType.LEAD):
            table = TABLES[record_type]
            with self.warehouse.transaction() as connection:
                since = int(read_cursor(connection, record_type).value or 0)
                new = [
                    (i, r) for (kind, i), r in self.dynamics.rows.items() if kind is record_type and r.version > since
                ]
                rows = [self.dynamics.row_of(table, i) for i, row in new if not row.is_deleted]
                gone = [i for i, row in new if row.is_deleted]
                landed = self.dynamics.table_of(table, rows[::-1] if is_shuffled else rows)
                land_dynamics(connection, self.fields, table, landed, gone)
                take_in_dynamics(connection, record_type)
                move_cursor(connection, record_type, str(self.dynamics.version), (), is_loaded=True)
        with self.warehouse.transaction() as connection:
            since = int(read_cursor(connection, "people").value or 0)
            new_people = [(i, row) for i, row in self.marketo.rows.items() if row.version > since]
            rows = [self.marketo.row_of(i) for i, row in new_people if not row.is_deleted]
            land_people(connection, self.columns, self.marketo.table_of(rows[::-1] if is_shuffled else rows))
            land_deleted_people(connection, [i for i, row in new_people if row.is_deleted])
            take_in_people(connection)
            move_cursor(connection, "people", str(self.marketo.version), (), is_loaded=True)

    def plan(self, cycle_id: int) -> Plan:
        """Reconcile: commit the plan and the moves of the base that need no write."""
        extract_companies(self.warehouse, self.marketo, self.fields)  # type: ignore[arg-type]
        with self.warehouse.transaction() as connection:
            plan = make_plan(
                connection, cycle_id=cycle_id, at=self.clock.replace(tzinfo=None), own_fields=KEYS, limits=self.limits
            )
            move_base(connection)
        return plan

    # -- looking ---------------------------------------------------------------------------------------------------

    def rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """The rows that `query` selects from the warehouse."""
        with self.warehouse.reading() as connection:
            return connection.execute(query, list(values)).fetchall()

    def ledger(self) -> dict[str, list[tuple[Any, ...]]]:
        """What was ever done, without times, in the order it was done."""
        return {
            "changes": self.rows(
                "select direction, record_type, person_id, dynamics_id, field, old_value, new_value, rule_code "
                "from ledger.changes order by entry_id"
            ),
            "collisions": self.rows(
                "select record_type, person_id, dynamics_id, field, base_value, dynamics_value, marketo_value, "
                "winner, rule_code from ledger.collisions order by entry_id"
            ),
        }

    def both(self, person_id: int, name: str) -> tuple[str | None, str | None]:
        """A field as the two systems hold it now: Dynamics, Marketo."""
        values = self.marketo.rows[person_id].values
        record_type = RecordType.CONTACT if values.get(KEYS.contact_id) else RecordType.LEAD
        record_id = values[KEYS.contact_id if record_type is RecordType.CONTACT else KEYS.lead_id]
        (column,) = (f.dynamics_column for f in self.fields.of(record_type) if f.marketo_field == name)
        return self.dynamics.rows[record_type, str(record_id)].values.get(column), values.get(name)

    def base(self, person_id: int, name: str) -> str | None:
        """What both sides last agreed on, or the word `missing`."""
        if self.rows("select 1 from state.base_missing where person_id = ? and field = ?", person_id, name):
            return "missing"
        ((value,),) = self.rows(f'select "{name}" from state.base where person_id = ?', person_id)
        return None if value is None else str(value)

    def standing(self) -> list[tuple[Any, ...]]:
        """The accepted inequalities."""
        return self.rows(
            "select person_id, field, dynamics_value, marketo_value from state.standing_differences order by all"
        )

    def errors(self) -> list[tuple[Any, ...]]:
        """What stands in the error list: id, field, direction, code, attempts, state."""
        return self.rows(
            "select dynamics_id, field, direction, code, attempts, state from ledger.sync_errors order by error_id"
        )


class _Clock:
    """Stands for `datetime` where receipts ask for the time."""

    def __init__(self, at: datetime) -> None:
        self._at = at

    def now(self, zone: object) -> datetime:
        return self._at
