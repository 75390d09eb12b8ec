"""Back-fills in the working file: which fields of which records somebody wants filled again, and how far that is (R100 to R104).

Not here: reading the records and their people (`extract/back_fill.py`), what comes of it (`reconcile/`).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import duckdb

from dynsync_pipeline.model.records import TABLES, RecordType
from dynsync_pipeline.warehouse.connection import scalar
from dynsync_pipeline.warehouse.releases import release_errors

FIRST_GAP, LONGEST_GAP = timedelta(minutes=5), timedelta(days=1)  # until what could not be read is looked at again


@dataclass(frozen=True)
class BackFill:
    """Fields of one record type that are filled again, in the order of the records' creation.

    Records count that were created and modified from these times on (as a mirror holds them; None: from ever).
    """

    back_fill_id: int
    record_type: RecordType
    fields: tuple[str, ...]
    created_since: str | None
    modified_since: str | None
    last_read_at: datetime | None


@dataclass(frozen=True)
class Window:
    """A stretch of time whose records a back-fill has yet to read, by when they were created; None: no bound.

    `attempts`: how often reading it failed.
    """

    asked: BackFill
    start: str | None
    end: str | None
    attempts: int


@dataclass(frozen=True)
class Read:
    """How many records of a window were chosen, and how many fields (of accounts: companies) are sent once more."""

    n_records: int
    n_again: int


def ask_back_fill(
    connection: duckdb.DuckDBPyConnection,
    fields: Collection[str],
    record_types: Collection[RecordType],
    since: tuple[datetime | None, datetime | None],
    at: datetime,
) -> int:
    """Keep what is to be filled again: a row for each of `record_types` that syncs one of `fields`; returns the number of all.

    `since`: created and modified from then on. All times are UTC without zone.
    """
    number = scalar(connection, "select coalesce(max(back_fill_id), 0) + 1 from state.back_fills")
    created_since, modified_since = (f"{each:%Y-%m-%dT%H:%M:%SZ}" if each else None for each in since)
    for record_type in record_types:
        synced = [name for name in fields if name in synced_fields(connection, record_type)]
        if not synced:
            continue
        choose_records(
            connection,
            BackFill(number, record_type, tuple(synced), created_since, modified_since, None),
            (created_since, None),
        )
        connection.execute(
            "insert into state.back_fills (back_fill_id, record_type, fields, created_since, modified_since, asked_at, "
            "last_read_at, n_chosen, n_read, n_again, ended_at, outcome_code) "
            "values ($number, $type, $fields, $created, $modified, $at, null, $n_chosen, 0, 0, null, null)",
            {
                "number": number,
                "type": record_type,
                "fields": synced,
                "created": created_since,
                "modified": modified_since,
                "at": at,
                "n_chosen": scalar(connection, "select count(*) from chosen_records"),
            },
        )
        connection.execute(_WINDOW, [number, record_type, created_since, None, 0, None, None])
    return number


def synced_fields(connection: duckdb.DuckDBPyConnection, record_type: RecordType) -> set[str]:
    """The fields of one record type that the last cycle synced."""
    rows = connection.execute("select field from reconcile.fields where record_type = ?", [record_type]).fetchall()
    return {row[0] for row in rows}


def open_back_fills(connection: duckdb.DuckDBPyConnection, number: int | None = None) -> list[BackFill]:
    """Those that have not ended, or those of one number, in the order that they are served in."""
    rows = connection.execute(
        "select back_fill_id, record_type, fields, created_since, modified_since, last_read_at "
        "from state.back_fills where ended_at is null and back_fill_id = coalesce(?, back_fill_id) "
        "order by back_fill_id, record_type",
        [number],
    ).fetchall()
    return [BackFill(row[0], RecordType(row[1]), tuple(row[2]), *row[3:]) for row in rows]


def next_window(connection: duckdb.DuckDBPyConnection, asked: Sequence[BackFill], at: datetime) -> Window | None:
    """What is to be read next of these back-fills: first what was set aside and is due, then one after the other."""
    back_fills = {(each.back_fill_id, each.record_type.value): each for each in asked}
    rows = connection.execute(
        "select back_fill_id, record_type, created_from, created_before, attempts from state.back_fill_windows "
        "where next_look_at is null or next_look_at <= $at or next_look_at > $latest "  # a clock was set back since
        "order by next_look_at nulls last, back_fill_id, record_type",
        {"at": at, "latest": at + LONGEST_GAP},
    ).fetchall()
    found = (Window(back_fills[row[:2]], *row[2:]) for row in rows if row[:2] in back_fills)
    return next(found, None)


def stop_back_fill(connection: duckdb.DuckDBPyConnection, number: int, at: datetime) -> bool:
    """End a back-fill where it is; what it has read stays. Returns whether there was one to stop."""
    is_open = bool(open_back_fills(connection, number))
    connection.execute("delete from state.back_fill_windows where back_fill_id = ?", [number])
    connection.execute(
        "update state.back_fills set ended_at = ?, outcome_code = 'stopped' where back_fill_id = ? and ended_at is null",
        [at, number],
    )
    return is_open


def move_back_fill(
    connection: duckdb.DuckDBPyConnection, window: Window, end: str | None, read: Read, at: datetime
) -> bool:
    """Note that a window was read up to before `end`, None: to its own; returns whether the back-fill has ended with that."""
    asked = window.asked
    _take_out(connection, window)
    if end != window.end:
        connection.execute(_WINDOW, [asked.back_fill_id, asked.record_type, end, window.end, 0, None, None])
    is_end = not scalar(
        connection,
        "select count(*) from state.back_fill_windows where back_fill_id = ? and record_type = ?",
        [asked.back_fill_id, asked.record_type],
    )
    connection.execute(
        "update state.back_fills set last_read_at = $at, n_read = n_read + $n_records, n_again = n_again + $n_again, "
        "ended_at = case when $is_end then $at end, outcome_code = case when $is_end then 'done' end "
        "where back_fill_id = $number and record_type = $type and ended_at is null",
        {
            "is_end": is_end,
            "at": at,
            "n_records": read.n_records,
            "n_again": read.n_again,
            "number": asked.back_fill_id,
            "type": asked.record_type,
        },
    )
    return is_end


def set_aside(
    connection: duckdb.DuckDBPyConnection, window: Window, end: str | None, message: str, at: datetime
) -> None:
    """Put off what a window holds before `end`, None: all of it, as it could not be read; `message` says why."""
    asked = window.asked
    _take_out(connection, window)
    gap = min(FIRST_GAP * 2 ** min(window.attempts, 10), LONGEST_GAP)
    connection.execute(
        _WINDOW, [asked.back_fill_id, asked.record_type, window.start, end, window.attempts + 1, at + gap, message]
    )
    if end != window.end:
        connection.execute(_WINDOW, [asked.back_fill_id, asked.record_type, end, window.end, 0, None, None])
    connection.execute(
        "update state.back_fills set last_read_at = ? where back_fill_id = ? and record_type = ?",
        [at, asked.back_fill_id, asked.record_type],
    )


_WINDOW = (
    "insert into state.back_fill_windows "
    "(back_fill_id, record_type, created_from, created_before, attempts, next_look_at, message) "
    "values (?, ?, ?, ?, ?, ?, ?)"
)


def _take_out(connection: duckdb.DuckDBPyConnection, window: Window) -> None:
    connection.execute(
        "delete from state.back_fill_windows where back_fill_id = ? and record_type = ? "
        "and created_from is not distinct from ?",
        [window.asked.back_fill_id, window.asked.record_type, window.start],
    )


def choose_records(
    connection: duckdb.DuckDBPyConnection, asked: BackFill, created: tuple[str | None, str | None]
) -> None:
    """Make `chosen_records`: one row per living record created from the first until before the second time of `created`, with
    its person if it has one.

    Whom the sync filter keeps out rests (R92), unless it lets them in by now: the plan of this cycle does.
    """
    table = TABLES[asked.record_type]
    connection.execute(
        f"""
        create or replace temp table chosen_records as
        select r.{table.id_column} as dynamics_id, l.person_id
        from {table.mirror} r
        left join state.links l on l.record_type = '{asked.record_type}' and l.dynamics_id = r.{table.id_column}
        anti join (
            select f.dynamics_id
            from state.filtered_out f
            left join mirror.sync_filters s using (record_type, dynamics_id)
            where f.record_type = '{asked.record_type}' and (
                s.sync_filter = 'false' or f.record_type in (select record_type from state.lost_filters where not is_given_up)
            )
        ) f on f.dynamics_id = r.{table.id_column}
        where not r.is_deleted
          and r.{table.id_column} not in (
              select dynamics_id from mirror.merged_records where record_type = '{asked.record_type}'
          )
          and ($start is null or r.createdon >= $start) and ($end is null or r.createdon < $end)
          and ($modified is null or r.modifiedon >= $modified)
        """,
        {"start": created[0], "end": created[1], "modified": asked.modified_since},
    )


def decide_again(connection: duckdb.DuckDBPyConnection, asked: BackFill, at: datetime) -> Read:
    """Make due what stands unequal in the fields of `chosen_records`, or was refused there: it is sent once more, the way it
    went before, nulls too (R100, R104). An edit of a field that goes both ways, and that no cycle has seen yet, is no such thing.

    An account whose company holds one of the fields differently counts as updated (R52). `at` is UTC without zone.
    """
    names = list(asked.fields)
    is_account = asked.record_type is RecordType.ACCOUNT
    connection.execute(_DIFFERING_ACCOUNTS if is_account else _UNEQUAL_FIELDS, {"fields": names})
    if is_account:
        connection.execute(
            "insert into inbox.touched (record_type, dynamics_id, is_receipt) "
            "select 'account', dynamics_id, false from due_again"
        )
    else:
        connection.execute(
            "insert into state.unsettled (record_type, dynamics_id, person_id, field, dynamics_value, marketo_value, "
            "reason_code, attempts, since, next_look_at) select *, 'planned', 0, $at, $at from due_again",
            {"at": at},
        )
    refused = connection.execute(_REFUSED, [asked.record_type, names]).fetchall()
    release_errors(connection, [row[0] for row in refused], at)
    return Read(
        scalar(connection, "select count(*) from chosen_records"),
        scalar(connection, "select count(*) from due_again") + len(refused),
    )


# A field that goes one way holds what its owner holds; one that goes both ways stands unequal where a system kept another value.
_UNEQUAL_FIELDS = """
create or replace temp table due_again as
with there as (
    from state.dynamics_values where person_id in (select person_id from chosen_records)
),
here as (
    from state.marketo_values where person_id in (select person_id from chosen_records)
),
there_long as (
    from long_of('there') where list_contains($fields::varchar[], field)
),
here_long as (
    from long_of('here') where list_contains($fields::varchar[], field)
),
unequal as (
    select
        coalesce(d.person_id, m.person_id) as person_id, coalesce(d.field, m.field) as field,
        d.value as dynamics_value, m.value as marketo_value
    from there_long d
    full join here_long m on m.person_id = d.person_id and m.field = d.field
    where d.value is distinct from m.value
)
select l.record_type, l.dynamics_id, u.person_id, u.field, u.dynamics_value, u.marketo_value
from unequal u
join state.links l using (person_id)
join reconcile.fields f on f.record_type = l.record_type and f.field = u.field
left join state.standing_differences s on s.person_id = u.person_id and s.field = u.field
anti join state.unsettled w on w.person_id = u.person_id and w.field = u.field
where f.direction <> 'both' or s.person_id is not null
"""
_DIFFERING_ACCOUNTS = """
create or replace temp table due_again as
with accounts as (
    from state.account_values where account_id in (select dynamics_id from chosen_records)
),
companies as (
    from state.company_values where external_company_id in (select dynamics_id from chosen_records)
),
held as (
    select external_company_id as account_id, field, value from long_of('companies')
)
select distinct k.external_company_id as dynamics_id
from long_of('accounts') a
full join held h on h.account_id = a.account_id and h.field = a.field
join companies k on k.external_company_id = coalesce(a.account_id, h.account_id)
where a.value is distinct from h.value and list_contains($fields::varchar[], coalesce(a.field, h.field))
"""
_REFUSED = """
select error_id
from ledger.sync_errors
where state <> 'resolved' and record_type = ? and dynamics_id in (select dynamics_id from chosen_records)
  and (field is null or list_contains(?::varchar[], field))
"""
