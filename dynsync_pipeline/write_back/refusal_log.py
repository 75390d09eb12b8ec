"""Tells refusals in the person's own activity log in Marketo, where a setting names an activity type for it (R115).

Marketo's activities are write-once. So an entry that was sent and has no answer is looked for in the log, by the number that
it bears, for as long as the log may be late; what is not there then is given up and said, because sent again it might stand
there twice. Not here: what is a refusal (`warehouse/sql/report_refusals.sql`).
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import duckdb

from dynsync_pipeline.clients.marketo.protocol import PersonResult
from dynsync_pipeline.clients.systems import Marketo
from dynsync_pipeline.errors import OUTCOME_UNKNOWN, ApiError, RecordMissing
from dynsync_pipeline.model.refusal_entry import ENTRY, ENTRY_NAME, LONGEST_MESSAGE, MESSAGE
from dynsync_pipeline.warehouse.connection import Warehouse

log = logging.getLogger(__name__)

LATE = timedelta(hours=1)  # the log shows an entry minutes after it was written; nobody says how many at most
CLOCKS_APART = timedelta(minutes=1)
PER_CALL = 100  # of the 300 that Marketo takes, so that a request stays under its 1 MB
PEOPLE_PER_READ = 30
MOST_CALLS = 20  # of a cycle, a tenth of what the day has left at most
SHARE = 0.1


class Entry(NamedTuple):
    """An entry to tell; times are UTC without zone."""

    activity_id: int
    person_id: int
    happened_at: datetime
    field: str | None
    message: str
    sent_at: datetime | None


def tell_refusals(warehouse: Warehouse, client: Marketo, type_id: int | None, cycle_id: int, n_calls_left: int) -> None:
    """Tell what was refused since the last time; `type_id` None: it is off, and what is refused meanwhile is never told.

    Call it when the receipts of both systems are settled. What fails is put off. Raises: StorageFailed.
    """
    with warehouse.transaction() as connection:
        if type_id is None:
            connection.execute("delete from state.told_until")
            connection.execute("delete from state.untold_entries")
            return
        _hand_over(connection)
        waiting = _waiting(connection)
    n_calls = min(MOST_CALLS, int(SHARE * n_calls_left))
    if not waiting or n_calls < 1:
        return
    try:
        if not _is_ready(client, type_id):
            return
        sent = [entry for entry in waiting if entry.sent_at is not None]
        for some in _groups(sorted(sent, key=lambda entry: entry.person_id), n_calls):
            _look_for(warehouse, client, type_id, cycle_id, some)
        with warehouse.reading() as connection:
            due = [entry for entry in _waiting(connection) if entry.sent_at is None]
        for start in range(0, min(len(due), n_calls * PER_CALL), PER_CALL):
            _send(warehouse, client, type_id, cycle_id, due[start : start + PER_CALL])
    except ApiError as error:
        log.warning("Telling refusals in Marketo's activity log is put off: %s", error)


def _hand_over(connection: duckdb.DuckDBPyConnection) -> None:
    """Take over the refusals since the last time; where that was never, none of the past."""
    if connection.execute("select 1 from state.told_until").fetchall():
        connection.execute(_REFUSED)
        connection.execute("delete from state.told_until")
    connection.execute(
        "insert into state.told_until (activity_id) select coalesce(max(activity_id), 0) from ledger.activities"
    )


_REFUSED = f"""
insert into state.untold_entries (activity_id, person_id, happened_at, field, message)
select a.activity_id, a.person_id, a.activity_at, a.field, left(coalesce(a.message, ''), {LONGEST_MESSAGE})
from ledger.activities a, state.told_until t
where a.activity_id > t.activity_id and a.activity_type = 'Sync Error' and a.person_id is not null
"""


def _waiting(connection: duckdb.DuckDBPyConnection) -> list[Entry]:
    rows = connection.execute(_WAITING).fetchall()
    return [Entry(*row) for row in rows]


# Nothing is sent to a stale person (R92).
_WAITING = """
select activity_id, person_id, happened_at, field, message, sent_at
from state.untold_entries
where sent_at is not null or person_id not in (
    select l.person_id
    from state.links l
    join state.filtered_out f on f.record_type = l.record_type and f.dynamics_id = l.dynamics_id
)
order by activity_id
"""


def _is_ready(client: Marketo, type_id: int) -> bool:
    """Whether Marketo has that type, approved and with the attributes; says so where not."""
    found = next((each for each in client.custom_types() if each.type_id == type_id), None)
    is_ready = found is not None and found.is_approved and {MESSAGE, ENTRY} <= found.attributes
    if not is_ready:
        log.warning(
            "Refusals wait to be told in Marketo's activity log: it has no approved custom activity type %s with the "
            "attributes %s and %s. `dynsync setup` makes one; then set DYNSYNC_MARKETO_ACTIVITY_TYPE.",
            type_id,
            MESSAGE,
            ENTRY,
        )
    return is_ready


def _groups(entries: Sequence[Entry], n_most: int) -> Iterator[list[Entry]]:
    """The entries of up to 30 people each."""
    people = sorted({entry.person_id for entry in entries})
    for start in range(0, min(len(people), n_most * PEOPLE_PER_READ), PEOPLE_PER_READ):
        some = set(people[start : start + PEOPLE_PER_READ])
        yield [entry for entry in entries if entry.person_id in some]


def _look_for(warehouse: Warehouse, client: Marketo, type_id: int, cycle_id: int, entries: Sequence[Entry]) -> None:
    """See which of these stand in the log; of the others, those that should by now are given up."""
    since = min(entry.sent_at for entry in entries if entry.sent_at is not None) - CLOCKS_APART
    people = sorted({entry.person_id for entry in entries})
    start = client.start_of_feed(since.replace(tzinfo=UTC))
    there = {
        (item.person_id, item.attributes.get(ENTRY_NAME))
        for page in client.activities(start.token, [type_id], people)
        for item in page.items
    }
    is_over = start.server_time.astimezone(UTC).replace(tzinfo=None) - LATE
    with warehouse.transaction() as connection:
        for entry in entries:
            if (entry.person_id, str(entry.activity_id)) in there:
                _end(connection, cycle_id, entry, "told")
            elif entry.sent_at is not None and entry.sent_at < is_over:
                _end(connection, cycle_id, entry, "given_up")
                log.warning(
                    "Whether the refusal %s of person %s stands in Marketo's activity log, nobody knows; it is not sent again.",
                    entry.activity_id,
                    entry.person_id,
                )


def _send(warehouse: Warehouse, client: Marketo, type_id: int, cycle_id: int, entries: Sequence[Entry]) -> None:
    """Send up to a hundred. Raises: ApiError; they are then noted as sent where they may have been."""
    ids = [entry.activity_id for entry in entries]
    with warehouse.transaction() as connection:
        connection.execute(
            "update state.untold_entries set sent_at = ? where list_contains(?::bigint[], activity_id)",
            [client.now().astimezone(UTC).replace(tzinfo=None), ids],
        )
    try:
        results = client.add_activities([_body(entry, type_id) for entry in entries])
    except ApiError as error:
        if not isinstance(error, OUTCOME_UNKNOWN):
            with warehouse.transaction() as connection:
                connection.execute(
                    "update state.untold_entries set sent_at = null where list_contains(?::bigint[], activity_id)",
                    [ids],
                )
        raise
    with warehouse.transaction() as connection:
        for entry, result in zip(entries, results, strict=True):
            _end(connection, cycle_id, entry, *_outcome(result))


def _outcome(result: PersonResult) -> tuple[str, str | None]:
    if result.error is None:
        return "told", None
    if isinstance(result.error, RecordMissing):
        return "refused", "The person is not there any more."
    return "refused", result.error.message


def _body(entry: Entry, type_id: int) -> str:
    return json.dumps(
        {
            "leadId": entry.person_id,
            "activityDate": f"{entry.happened_at:%Y-%m-%dT%H:%M:%SZ}",
            "activityTypeId": type_id,
            "primaryAttributeValue": entry.field or "record",
            "attributes": [
                {"apiName": MESSAGE, "value": entry.message},
                {"apiName": ENTRY, "value": str(entry.activity_id)},
            ],
        },
        ensure_ascii=False,
    )


def _end(
    connection: duckdb.DuckDBPyConnection, cycle_id: int, entry: Entry, outcome: str, message: str | None = None
) -> None:
    connection.execute("delete from state.untold_entries where activity_id = ?", [entry.activity_id])
    connection.execute(
        "insert into ledger.marketo_entries (entry_id, cycle_id, activity_id, person_id, ended_at, outcome_code, message) "
        "values (nextval('ledger.entries'), ?, ?, ?, now() at time zone 'UTC', ?, ?)",
        [cycle_id, entry.activity_id, entry.person_id, outcome, message],
    )
