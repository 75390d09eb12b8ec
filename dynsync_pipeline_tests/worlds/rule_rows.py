"""Rows that a rule file reads, put where it reads them: a test of one statement by the rows it is about, in no time."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import duckdb
import pyarrow as pa

import dynsync_pipeline
from dynsync_pipeline.model.field_map import Direction, Field, FieldMap, FieldType
from dynsync_pipeline.model.records import FILTER_COLUMN, RecordType
from dynsync_pipeline.reconcile.plan import STEPS
from dynsync_pipeline.sql_files import make_tables, run_steps, sql_file
from dynsync_pipeline.warehouse.connection import IN_MEMORY, Warehouse
from dynsync_pipeline.warehouse.follow_map import follow_field_map

Row = dict[str, Any]
Put = tuple[str, Row]  # a row with the name of its table
Labels = Mapping[tuple[str, str], Mapping[str, str]]  # of record type and column: label by number
BEFORE = datetime(2026, 1, 1)  # noqa: DTZ001  # when what is there already was made
AT = datetime(2026, 1, 2)  # noqa: DTZ001  # when the step runs
SECOND = timedelta(seconds=1)
CYCLE = 7
LOOKED_AT = "looked_at_records"  # those of the mirror that a cycle is about
# What the code around the steps makes for them.
MADE_AROUND = {
    "this_cycle": "cycle_id bigint, planned_at timestamp, clocks_apart interval, is_first_load boolean, ask_above bigint",
    "this_moment": "noted_at timestamp",
}
THIS_CYCLE: Put = (
    "this_cycle",
    {"cycle_id": CYCLE, "planned_at": AT, "clocks_apart": timedelta(), "is_first_load": False},
)
THIS_MOMENT: Put = ("this_moment", {"noted_at": AT})


class Case(NamedTuple):
    """What is known, and what is expected of it then."""

    expected: Any
    rows: tuple[Put, ...]


def case(expected: Any, *rows: Put) -> Case:
    """What is expected of these rows."""
    return Case(expected, rows)


class Id(str):
    """An id in a column whose name does not say so."""


class _HasRows(Protocol):
    @property
    def rows(self) -> Iterable[Put]: ...


def rows_of(cases: Iterable[_HasRows]) -> list[Put]:
    """The rows of all cases, each with ids that no other case has."""
    return [row for number, each in enumerate(cases) for row in apart(number, each.rows)]


@contextmanager
def after(
    step: str,
    *rows: Put,
    fields: Sequence[str] = (),
    options: Labels | None = None,
    tables: Mapping[str, str] | None = None,
) -> Iterator[duckdb.DuckDBPyConnection]:
    """A working file with these fields, options and rows, in which then the step `reconcile/fan_out` or another ran.

    Temporary tables that it reads are there as the steps before make them, and `tables` as the code around makes them; cycle
    and moment are as usual unless rows tell them. All records are looked at.
    """
    with empty() as connection:
        follow(connection, *fields)
        for (record_type, column), labels in (options or {}).items():
            put_options(connection, record_type, column, labels)
        make(connection, {**MADE_AROUND, **(tables or {})})
        make_tables(connection, _made_before(step))
        told_of = {table for table, _ in rows}
        put(connection, [row for row in (THIS_CYCLE, THIS_MOMENT) if row[0] not in told_of])
        put(connection, rows)
        if LOOKED_AT in sql_file(step).reads:
            connection.execute(f"insert into {LOOKED_AT} by name from mirror.person_records")
        run_steps(connection, (step,))
        yield connection


@contextmanager
def empty() -> Iterator[duckdb.DuckDBPyConnection]:
    """A working file in memory without a row, one for all tests of a process, of which nothing stays that is done with it."""
    with opened().reading() as connection:
        connection.begin()
        try:
            yield connection
        finally:
            connection.rollback()


@cache
def opened() -> Warehouse:
    """The working file that these tests share: to open one takes longer than most of them."""
    return Warehouse(IN_MEMORY)


@cache
def _made_before(step: str) -> tuple[str, ...]:
    """The steps that make what this one reads, in an order in which they can run."""
    makers = [_makers()[name] for name in sql_file(step).reads if name in _makers()]
    return tuple(dict.fromkeys(chain.from_iterable((*_made_before(m), m) for m in makers if m != step)))


@cache
def _makers() -> Mapping[str, str]:
    """The step that makes a temporary table, by its name; of several the one that is of every plan."""
    package = Path(dynsync_pipeline.__path__[0])
    files = [file.relative_to(package).with_suffix("") for file in sorted(package.glob("*/sql/**/*.sql"))]
    steps = [f"{file.parts[0]}/{'/'.join(file.parts[2:])}" for file in files]
    return {table: step for step in (*steps, *STEPS) for table in sql_file(step).makes}


def make(connection: duckdb.DuckDBPyConnection, tables: Mapping[str, str]) -> None:
    """Make these temporary tables, empty; of each its columns with their types."""
    for name, columns in tables.items():
        connection.execute(f"create or replace temp table {name} ({columns})")


def follow(connection: duckdb.DuckDBPyConnection, *fields: str) -> None:
    """Make columns and views of these fields, each told as `lead title jobtitle text both`, and of the filter."""
    told = (line.split() for line in fields)
    connection.execute("delete from state.followed_map")
    follow_field_map(
        connection,
        FieldMap(
            tuple(
                Field(RecordType(record_type), field, column, FieldType(kind), Direction(direction))
                for record_type, field, column, kind, direction in told
            ),
            offered=frozenset((record_type, FILTER_COLUMN) for record_type in RecordType),
        ),
    )


def apart(number: int, rows: Iterable[Put]) -> list[Put]:
    """The rows of the case of that number, with ids that no other case has: of person 1 and lead `L` persons 101 and `L1` in
    the first case. `told` tells ids as they were.
    """
    return [(table, {name: _apart(number, name, value) for name, value in row.items()}) for table, row in rows]


_PEOPLE = ("person_id", "loser_id", "winner_id")
_RECORDS = ("_id", "key", "leadid", "contactid", "accountid")
_LOOKUPS = ("masterid_value", "customerid_value", "leadid_value", "contactid_value")
_NUMBERED = ("operation_id", "proposal_id", "cycle_id", "error_id", "activity_id", "entry_id", "change_id", "line")


def _apart(number: int, name: str, value: Any) -> Any:
    if isinstance(value, int) and name.endswith((*_PEOPLE, *_NUMBERED)):
        return number * 100 + value if value >= 0 else value - number * 100  # below nought stands what is no person
    if not isinstance(value, str) or not (name.endswith((*_RECORDS, *_LOOKUPS)) or isinstance(value, Id)):
        return value
    keyless = value.removeprefix("person:")  # the company that a person has without a key
    return f"{value}{number}" if keyless == value else f"person:{number * 100 + int(keyless)}"


def told(number: int, rows: Iterable[Sequence[Any]]) -> list[tuple[Any, ...]]:
    """Of these rows those of the case of that number, known by their first value, with ids as the case tells them."""
    return [tuple(map(_told, row)) for row in rows if _case(row[0]) == number]


def _case(value: Any) -> int:
    return value // 100 if isinstance(value, int) else int(value.lstrip(_LETTERS))


def _told(value: Any) -> Any:
    if isinstance(value, int) and not isinstance(value, bool):
        return value % 100
    return value.rstrip("0123456789") if isinstance(value, str) else value


def in_words(text: str) -> str:
    """A sentence with ids as the case tells them, person 101 as 1 and record `L1` as `L`, with which records begin."""
    of_people = re.sub(r"\b\d+\b", lambda found: str(int(found[0]) % 100), text)
    return re.sub(r"\b([CDLM][a-z]?)\d+\b", r"\1", of_people)


_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ:"


def put(connection: duckdb.DuckDBPyConnection, rows: Iterable[Put]) -> None:
    """Put rows, each with the name of its table, into tables that are there; what a row does not tell is null."""
    tables: dict[str, list[Row]] = {}
    for table, row in rows:
        tables.setdefault(table, []).append(row)
    for table, those in tables.items():
        insert(connection, table, those)


def insert(connection: duckdb.DuckDBPyConnection, table: str, rows: Sequence[Row]) -> None:
    """Put these rows into one table."""
    names = sorted({name for row in rows for name in row})
    connection.register("new_rows", pa.Table.from_pylist([{n: row.get(n) for n in names} for row in rows]))
    connection.execute(f"insert into {table} ({', '.join(names)}) select {', '.join(names)} from new_rows")
    connection.unregister("new_rows")


def any_row(connection: duckdb.DuckDBPyConnection, table: str) -> Put:
    """A row with some value in each column that must have one, or in its first."""
    values = {"BIGINT": 1, "INTEGER": 1, "BOOLEAN": False, "TIMESTAMP": BEFORE, "DOUBLE": 1.0, "VARCHAR[]": ["x"]}
    columns = connection.execute(
        "select column_name, data_type, is_nullable from duckdb_columns() where schema_name || '.' || table_name = ? "
        "order by is_nullable, column_index",
        [table],
    ).fetchall()
    needed = [column for column in columns if not column[2]] or columns[:1]
    return table, {name: values.get(kind, "x") for name, kind, _ in needed}


def put_options(
    connection: duckdb.DuckDBPyConnection, record_type: str, column: str, labels: Mapping[str, str]
) -> None:
    """Let a column have these options, label by number."""
    numbers, texts = list(labels), list(labels.values())
    connection.execute(
        "insert into state.option_maps (record_type, dynamics_column, numbers, listed_numbers, labels) "
        "values (?, ?, map(?, ?), map(?, ?), map(?, ?))",
        [record_type, column, texts, numbers, texts, numbers, numbers, texts],
    )


def parked(record_type: str, field: str) -> tuple[str, Row]:
    """A field that is not synced just now, as a row with its table."""
    why = {"reason": "Dynamics does not offer it", "reason_code": "not_offered", "was_gone": True}
    return "state.parked_fields", {"record_type": record_type, "marketo_field": field, "dynamics_column": "c"} | why


def link(person_id: int = 1, record_type: str = "lead", dynamics_id: str = "L") -> Put:
    """Of a person and its record."""
    key = {"person_id": person_id, "record_type": record_type, "dynamics_id": dynamics_id}
    return "state.links", key | {"linked_at": BEFORE}


def person(person_id: int = 1, *, is_deleted: bool = False, **values: Any) -> Put:
    """In Marketo, with these of its columns in the mirror."""
    return "mirror.marketo_people", {"person_id": person_id, "is_deleted": is_deleted} | values


def record(record_type: str = "lead", dynamics_id: str = "L", *, is_deleted: bool = False, **values: Any) -> Put:
    """In Dynamics, likewise."""
    return f"mirror.dynamics_{record_type}s", {f"{record_type}id": dynamics_id, "is_deleted": is_deleted} | values


def kept_out(record_type: str = "lead", dynamics_id: str = "L") -> Put:
    """A record that the filter keeps out."""
    return "state.filtered_out", {"record_type": record_type, "dynamics_id": dynamics_id, "since": BEFORE}


def touched(**key: Any) -> Put:
    """What this cycle looks at."""
    return "inbox.touched", {"is_receipt": False} | key
