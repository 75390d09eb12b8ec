"""The rolling census: each cycle reads a small slice of a system again, to find what no feed tells (docs/design.md#census).

People are read by the ids that the mirror holds, records by windows of their creation, so that a record which was never
told is found too. What was read is an observation like any other. Not here: what counts as missed (`untold.py`).
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

import duckdb

from dynsync_pipeline.clients.dynamics.protocol import LARGEST_PAGE, Column
from dynsync_pipeline.clients.systems import Dynamics, Marketo
from dynsync_pipeline.errors import ApiError
from dynsync_pipeline.extract.absence import confirm_people, confirm_records
from dynsync_pipeline.extract.untold import PERSON, judge_untold, note_differences
from dynsync_pipeline.model.field_map import FieldMap, FieldType
from dynsync_pipeline.model.records import TABLES, RecordType, Table
from dynsync_pipeline.warehouse.columns import dynamics_columns, quoted
from dynsync_pipeline.warehouse.connection import Warehouse, scalar
from dynsync_pipeline.warehouse.cursors import move_cursor, read_cursor
from dynsync_pipeline.warehouse.mirrors import (
    PersonColumns,
    land_dynamics,
    land_people,
    take_in_dynamics,
    take_in_people,
)

log = logging.getLogger(__name__)

DAY = timedelta(days=1)
PEOPLE_PER_CALL = 300
CALLS_AT_ONCE = 20  # of people, landed together: as many as a window of records holds
SYSTEM_COLUMNS = ("statecode", "_parentcustomerid_value")  # read of every record and compared beside the mapped ones


@dataclass(frozen=True)
class Pace:
    """How fast the census may go: everybody once in `period`, and no more than `calls_per_day` calls.

    A slice is one call; whoever has few is read once a day. Time beyond a day is not made up for.
    """

    period: timedelta
    calls_per_day: float

    def due(self, n_rows: int, slice_size: int, elapsed: timedelta) -> tuple[int, timedelta]:
        """How many slices are due `elapsed` after the last ones, and how much of that time they leave over."""
        n_slices = math.ceil(n_rows / slice_size)
        gap = min(self.period / (n_slices + 1), DAY)  # one more, so that the last is read before the period ends
        elapsed = min(abs(elapsed), DAY + gap)  # a time ahead is that of a clock that was set back
        n_due, rest = divmod(elapsed, gap)
        n_allowed = math.floor(self.calls_per_day * (elapsed / DAY))
        return (n_due, rest) if n_due <= n_allowed else (n_allowed, timedelta(0))


class _Due(NamedTuple):
    """What of a stream's census is due: so many slices after a position (none: a new round), which pay for `until`."""

    n_slices: int
    after: str | None
    until: datetime


def census_people(warehouse: Warehouse, client: Marketo, columns: PersonColumns, pace: Pace) -> int:
    """Read the slices of people that are due, and judge what earlier ones found; returns how many people differed.

    What fails is put off: no change waits for the census. Raises: StorageFailed.
    """
    n_slices, after, until = _due(warehouse, PERSON, "marketo_people", "mirror.marketo_people", PEOPLE_PER_CALL, pace)
    n_differing = 0
    while n_slices > 0:
        n_calls = min(n_slices, CALLS_AT_ONCE)
        with warehouse.reading() as connection:
            rows = connection.execute(
                "select person_id from mirror.marketo_people where not is_deleted and person_id > ?::bigint "
                "order by person_id limit ?",
                [after or 0, n_calls * PEOPLE_PER_CALL],
            ).fetchall()
        ids = [row[0] for row in rows]
        is_end = len(ids) < n_calls * PEOPLE_PER_CALL
        n_slices = 0 if is_end else n_slices - n_calls
        after = None if is_end else str(ids[-1])
        try:
            n_differing += _read_people(warehouse, client, columns, ids, _Due(n_slices, after, until))
        except ApiError as error:
            log.warning("The census of people is put off: %s", error)
            break
    return n_differing


def _read_people(warehouse: Warehouse, client: Marketo, columns: PersonColumns, ids: Sequence[int], then: _Due) -> int:
    people = client.people("id", [str(person_id) for person_id in ids], columns.names)
    found = [int(person_id) for person_id in people.column("id").to_pylist()]
    kinds = columns.fields.person_fields
    names = {**dict(columns.mirror_of_own.items()), **{name: name for name in kinds}}
    booleans = [columns.own.is_deleted, *(name for name, kind in kinds.items() if kind is FieldType.BOOLEAN)]
    with warehouse.transaction() as connection:
        land_people(connection, columns, people)
        _keep_differing(connection, "inbox.marketo_people", "mirror.marketo_people", "person_id", list(names.values()))
        note_differences(connection, PERSON, names, booleans, warehouse.now())
        n_differing = take_in_people(connection)
    confirm_people(warehouse, client, columns, set(ids) - set(found), is_census=True)
    with warehouse.transaction() as connection:
        _move(connection, "marketo_people", then)
        return n_differing + take_in_people(connection)


def census_records(
    warehouse: Warehouse, client: Dynamics, fields: FieldMap, record_type: RecordType, pace: Pace
) -> int:
    """Read the windows of one table that are due, and judge what earlier ones found; returns how many records differed.

    What fails is put off: no change waits for the census. Raises: StorageFailed.
    """
    table = TABLES[record_type]
    n_slices, after, until = _due(warehouse, record_type, table.entity_set, table.mirror, LARGEST_PAGE, pace)
    n_differing = 0
    while n_slices > 0:
        with warehouse.reading() as connection:
            end = _end_of_window(connection, table, after)
        n_slices = 0 if end is None else n_slices - 1
        try:
            n_differing += _read_window(warehouse, client, fields, table, after, _Due(n_slices, end, until))
        except ApiError as error:
            log.warning("The census of %s is put off: %s", table.entity_set, error)
            break
        after = end
    return n_differing


def _end_of_window(connection: duckdb.DuckDBPyConnection, table: Table, start: str | None) -> str | None:
    """When the 5,001st living record from `start` on was created; None if there are no more than that.

    Of many that were created in one second the window takes all.
    """
    created = f"select createdon from {table.mirror} where not is_deleted and createdon like '____-__-__T__:__:__Z'"
    later = connection.execute(
        f"{created} and createdon >= ? order by createdon limit 1 offset {LARGEST_PAGE}", [start or ""]
    ).fetchall()
    if later and later[0][0] == start:
        later = connection.execute(f"{created} and createdon > ? order by createdon limit 1", [start]).fetchall()
    return str(later[0][0]) if later else None


def _read_window(
    warehouse: Warehouse, client: Dynamics, fields: FieldMap, table: Table, start: str | None, then: _Due
) -> int:
    """Read what was created from `start` until before `then.after`, and ask for what the mirror holds beside it."""
    kinds = dynamics_columns(fields, table.record_type)
    columns = [Column(name, kind) for name, kind in kinds.items()]
    mapped = {field.marketo_field: field.dynamics_column for field in fields.of(table.record_type)}
    names = {**{name: name for name in SYSTEM_COLUMNS if name in kinds}, **mapped}
    booleans = [name for name, column in mapped.items() if kinds[column] is FieldType.BOOLEAN]
    with warehouse.reading() as connection:
        rows = connection.execute(
            f"select {table.id_column} from {table.mirror} where not is_deleted "
            "and ($start is null or createdon >= $start) and ($end is null or createdon < $end)",
            {"start": start, "end": then.after},
        ).fetchall()
    missing = {row[0] for row in rows}
    n_differing = 0
    for page in client.created_between(table, columns, start, then.after):
        missing.difference_update(str(key).lower() for key in page.column("id").to_pylist())
        with warehouse.transaction() as connection:
            land_dynamics(connection, fields, table, page, [])
            _keep_differing(connection, table.inbox, table.mirror, table.id_column, ["etag", *kinds])
            note_differences(connection, table.record_type, names, booleans, warehouse.now())
            n_differing += take_in_dynamics(connection, table.record_type)
    confirm_records(warehouse, client, fields, table.record_type, missing, is_census=True)
    with warehouse.transaction() as connection:
        _move(connection, table.entity_set, then)
        return n_differing + take_in_dynamics(connection, table.record_type)


def _due(warehouse: Warehouse, kind: str, stream: str, mirror: str, slice_size: int, pace: Pace) -> _Due:
    """What is due now. The first time nothing is: everybody was just read."""
    at = warehouse.now()
    with warehouse.reading() as connection:
        position = read_cursor(connection, f"census_{stream}").value
        n_rows = scalar(connection, f"select count(*) from {mirror} where not is_deleted")
        n_untold = scalar(connection, "select count(*) from state.untold where record_type = ?", [kind])
    if n_untold:
        with warehouse.transaction() as connection:
            n_missed = judge_untold(connection, kind, at)
        if n_missed:
            log.warning("The census found %s changes of %s that no feed told.", f"{n_missed:,}", stream)
    if position is None:
        with warehouse.transaction() as connection:
            _move(connection, stream, _Due(0, None, at))
        return _Due(0, None, at)
    since, after = position.split(" ")
    n_slices, rest = pace.due(n_rows, slice_size, at - datetime.fromisoformat(since))
    return _Due(n_slices, after or None, at - rest)


def _move(connection: duckdb.DuckDBPyConnection, stream: str, then: _Due) -> None:
    """Store where the census of a stream goes on, and from which time on it is due again."""
    move_cursor(connection, f"census_{stream}", f"{then.until.isoformat()} {then.after or ''}", [], is_loaded=True)


def _keep_differing(
    connection: duckdb.DuckDBPyConnection, inbox: str, mirror: str, key: str, names: Sequence[str]
) -> None:
    """Take out of the inbox what is in the mirror just so: nobody has to compare or publish it."""
    listed = ", ".join(quoted(name) for name in (key, "is_deleted", *names))
    connection.execute(
        f"delete from {inbox} where {key} in (select {key} from (select {listed} from {inbox} "
        f"intersect select {listed} from {mirror} where {key} in (select {key} from {inbox})))"
    )
