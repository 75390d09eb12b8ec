"""The rolling census: each cycle reads a small slice of a system again, to find what no feed tells (docs/design.md#census).

People are read by the ids that the mirror holds, records by windows of their creation, so that a record which was never
told is found too. What was read is an observation like any other. Not here: what counts as missed (`untold.py`).
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import NamedTuple

import duckdb

from dynsync_pipeline.clients.dynamics.protocol import LARGEST_PAGE, Column
from dynsync_pipeline.clients.systems import Dynamics, Marketo
from dynsync_pipeline.errors import AnswerUnreadable, ApiError
from dynsync_pipeline.extract.absence import confirm_people, confirm_records
from dynsync_pipeline.extract.untold import PERSON, judge_untold, note_differences
from dynsync_pipeline.model.field_map import FieldMap, FieldType
from dynsync_pipeline.model.records import FILTER_COLUMN, TABLES, RecordType, Table
from dynsync_pipeline.warehouse.columns import dynamics_columns, quoted
from dynsync_pipeline.warehouse.connection import Warehouse, scalar
from dynsync_pipeline.warehouse.cursors import PEOPLE, change_columns, move_cursor, read_cursor
from dynsync_pipeline.warehouse.mirrors import (
    PersonColumns,
    land_dynamics,
    land_people,
    take_in_dynamics,
    take_in_people,
)
from dynsync_pipeline.warehouse.partitions import note_partitions, with_partition

log = logging.getLogger(__name__)

DAY = timedelta(days=1)
PEOPLE_PER_CALL = 300
CALLS_AT_ONCE = 20  # of people, landed together: as many as a window of records holds
Done = Callable[[duckdb.DuckDBPyConnection], None]
# Read of records and compared beside the mapped ones.
SYSTEM_COLUMNS = ("statecode", "_ownerid_value", "_parentcustomerid_value", FILTER_COLUMN)


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


class Due(NamedTuple):
    """What of a stream's census is due: so many slices after a position (none: a new round), which pay for `until`."""

    n_slices: int
    after: str | None
    until: datetime


class Round(NamedTuple):
    """How far a round of a stream's census is: read up to `after` (None: not begun), paid for until `since`.

    `new`: columns that it reads for the first time.
    """

    since: datetime
    after: str | None
    new: frozenset[str]


def census_people(warehouse: Warehouse, client: Marketo, columns: PersonColumns, pace: Pace) -> int:
    """Read the slices of people that are due, and judge what earlier ones found; returns how many people differed.

    What fails is put off: no change waits for the census. Raises: StorageFailed.
    """
    _judge(warehouse, PERSON, PEOPLE)
    due = _due(warehouse, PEOPLE, "mirror.marketo_people", PEOPLE_PER_CALL, pace)
    try:
        return read_slices(warehouse, client, columns, due)
    except ApiError as error:
        log.warning("The census of people is put off: %s", error)
        return 0


def read_slices(warehouse: Warehouse, client: Marketo, columns: PersonColumns, due: Due) -> int:
    """Read the slices of people that are due; returns how many people differed.

    Whoever an answer does not show, and nobody proves gone, was not read: a round that reads columns for the first time
    stays where it is. Whoever is shown and cannot be read is set aside. Raises: ApiError; what was read before is kept.
    """
    n_slices, after, until = due
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
        n_differing += read_these_people(
            warehouse, client, columns, ids, partial(_move, stream=PEOPLE, then=Due(n_slices, after, until))
        )
    return n_differing


def read_these_people(
    warehouse: Warehouse, client: Marketo, columns: PersonColumns, ids: Sequence[int], done: Done
) -> int:
    """Read these people of the mirror again; `done` runs in the transaction that takes the last of it in.

    Returns how many differed. Raises: ApiError; AnswerUnreadable where new fields are being read and somebody was not.
    """
    with warehouse.reading() as connection:
        asked_for = with_partition(connection, columns.names)
    people = client.people("id", [str(person_id) for person_id in ids], asked_for)
    found = [int(person_id) for person_id in people.column("id").to_pylist()]
    known = columns.fields.person_fields  # of a field that is new the mirror holds nothing that a feed should have told
    names = columns.mirror_of_own | {name: name for name in known}
    booleans = [columns.own.is_deleted, *(name for name, kind in known.items() if kind is FieldType.BOOLEAN)]
    compared = [*columns.mirror_of_own.values(), *columns.kinds]
    with warehouse.transaction() as connection:
        land_people(connection, columns, people)
        note_partitions(connection, people)
        _keep_differing(connection, "inbox.marketo_people", "mirror.marketo_people", "person_id", compared)
        note_differences(connection, PERSON, names, booleans, warehouse.now())
        n_differing = take_in_people(connection, warehouse.now())
    missing = sorted(set(ids) - set(found))
    confirm_people(warehouse, client, columns, missing, is_census=True)
    with warehouse.transaction() as connection:
        n_unknown = scalar(connection, _NEITHER_FOUND_NOR_GONE, [missing])
        n_differing += take_in_people(connection, warehouse.now())
        if not (n_unknown and columns.fields.being_read):
            done(connection)
            return n_differing
    raise AnswerUnreadable(
        f"Marketo shows none of {n_unknown:,} people, and nobody known to live either.",
        system="marketo",
        request="GET /rest/v1/leads.json",
        next_step="See whether the API user's role may still read people, in all partitions.",
    )


_NEITHER_FOUND_NOR_GONE = """
select count(*) from (select unnest(?::bigint[]) as person_id)
where person_id not in (select person_id from inbox.marketo_people)
  and person_id::varchar not in (select key from state.unread where record_type = 'person')
"""


def census_records(
    warehouse: Warehouse, client: Dynamics, fields: FieldMap, record_type: RecordType, pace: Pace
) -> int:
    """Read the windows of one table that are due, and judge what earlier ones found; returns how many records differed.

    What fails is put off: no change waits for the census. Raises: StorageFailed.
    """
    table = TABLES[record_type]
    _judge(warehouse, record_type, table.entity_set)
    n_slices, after, until = _due(warehouse, table.entity_set, table.mirror, LARGEST_PAGE, pace)
    n_differing = 0
    while n_slices > 0:
        with warehouse.reading() as connection:
            end = end_of_window(connection, table, after)
        n_slices = 0 if end is None else n_slices - 1
        move = partial(_move, stream=table.entity_set, then=Due(n_slices, end, until))
        try:
            n_differing += read_window(warehouse, client, fields, table, (after, end), move)
        except ApiError as error:
            log.warning("The census of %s is put off: %s", table.entity_set, error)
            break
        after = end
    return n_differing


def end_of_window(connection: duckdb.DuckDBPyConnection, table: Table, start: str | None) -> str | None:
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


def read_window(
    warehouse: Warehouse,
    client: Dynamics,
    fields: FieldMap,
    table: Table,
    window: tuple[str | None, str | None],
    done: Done,
) -> int:
    """Read what was created from the first until before the second of `window`, and ask for what the mirror holds beside it.

    None is no bound. `done` runs in the transaction that takes the last of it in. Returns how many records differed.
    Raises: ApiError.
    """
    start, end = window
    kinds = dynamics_columns(fields, table.record_type)
    columns = [Column(name, kind) for name, kind in kinds.items()]
    mapped = {field.marketo_field: field.dynamics_column for field in fields.of(table.record_type)}
    names = {**{name: name for name in SYSTEM_COLUMNS if name in kinds}, **mapped}
    booleans = [name for name, column in mapped.items() if kinds[column] is FieldType.BOOLEAN]
    with warehouse.reading() as connection:
        rows = connection.execute(
            f"select {table.id_column} from {table.mirror} where not is_deleted "
            "and ($start is null or createdon >= $start) and ($end is null or createdon < $end)",
            {"start": start, "end": end},
        ).fetchall()
    missing = {row[0] for row in rows}
    n_differing = 0
    for page in client.created_between(table, columns, start, end):
        missing.difference_update(str(key).lower() for key in page.column("id").to_pylist())
        with warehouse.transaction() as connection:
            land_dynamics(connection, fields, table, page, [])
            _keep_differing(connection, table.inbox, table.mirror, table.id_column, ["etag", *kinds])
            note_differences(connection, table.record_type, names, booleans, warehouse.now())
            n_differing += take_in_dynamics(connection, warehouse.now(), table.record_type)
    confirm_records(warehouse, client, fields, table.record_type, missing, is_census=True)
    with warehouse.transaction() as connection:
        n_differing += take_in_dynamics(connection, warehouse.now(), table.record_type)
        done(connection)
    return n_differing


def _judge(warehouse: Warehouse, kind: str, stream: str) -> None:
    """Tell what earlier slices found and the feed has not told by now; call it when the feed was read."""
    with warehouse.reading() as connection:
        n_untold = scalar(connection, "select count(*) from state.untold where record_type = ?", [kind])
    if n_untold:
        with warehouse.transaction() as connection:
            n_missed = judge_untold(connection, kind, warehouse.now())
        if n_missed:
            log.warning("The census found %s changes of %s that no feed told.", f"{n_missed:,}", stream)


def _due(warehouse: Warehouse, stream: str, mirror: str, slice_size: int, pace: Pace) -> Due:
    """What is due now. The first time nothing is: everybody was just read."""
    at = warehouse.now()
    with warehouse.reading() as connection:
        round_ = read_round(connection, stream)
        n_rows = scalar(connection, f"select count(*) from {mirror} where not is_deleted")
    if round_ is None:
        with warehouse.transaction() as connection:
            _move(connection, stream, Due(0, None, at))
        return Due(0, None, at)
    n_slices, rest = pace.due(n_rows, slice_size, at - round_.since)
    return Due(n_slices, round_.after, at - rest)


def read_round(connection: duckdb.DuckDBPyConnection, stream: str) -> Round | None:
    """How far the census of a stream is; None before its first round."""
    cursor = read_cursor(connection, f"census_{stream}")
    if cursor.value is None:
        return None
    since, after = cursor.value.split(" ")
    return Round(datetime.fromisoformat(since), after or None, cursor.names)


def begin_round(connection: duckdb.DuckDBPyConnection, stream: str, since: datetime, new: Collection[str]) -> None:
    """Begin at the first row again, now also with the columns `new`, which are known of all rows when the round ends."""
    move_cursor(connection, f"census_{stream}", f"{since.isoformat()} ", new, is_loaded=True)


def forget_round(connection: duckdb.DuckDBPyConnection, stream: str) -> None:
    """Let the census of a stream go on from now, when everybody is being read anyhow."""
    connection.execute("delete from state.cursors where stream = ?", [f"census_{stream}"])


def _move(connection: duckdb.DuckDBPyConnection, stream: str, then: Due) -> None:
    """Store where the census of a stream goes on, and from which time on it is due again."""
    new = read_cursor(connection, f"census_{stream}").names
    if then.after is None and new:  # the round has ended
        change_columns(connection, stream, read_cursor(connection, stream).names | new)
        new = frozenset()
    value = f"{then.until.isoformat()} {then.after or ''}"
    move_cursor(connection, f"census_{stream}", value, new, is_loaded=True)


def _keep_differing(
    connection: duckdb.DuckDBPyConnection, inbox: str, mirror: str, key: str, names: Sequence[str]
) -> None:
    """Take out of the inbox what is in the mirror just so: nobody has to compare or publish it."""
    listed = ", ".join(quoted(name) for name in (key, "is_deleted", *names))
    connection.execute(
        f"delete from {inbox} where {key} in (select {key} from (select {listed} from {inbox} "
        f"intersect select {listed} from {mirror} where {key} in (select {key} from {inbox})))"
    )
