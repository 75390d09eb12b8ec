"""Releasing errors by hand: what a system refused is tried again by the next cycle (R116). Not here: how it is retried."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

import duckdb

from dynsync_pipeline.warehouse.connection import scalar


def open_errors(connection: duckdb.DuckDBPyConnection) -> set[int]:
    """Ids of the errors that wait or are quarantined."""
    rows = connection.execute("select error_id from ledger.sync_errors where state <> 'resolved'").fetchall()
    return {row[0] for row in rows}


def release_errors(connection: duckdb.DuckDBPyConnection, error_ids: Collection[int], at: datetime) -> int:
    """Make what these open errors set aside due at `at` (UTC without zone), as if it had never been tried.

    An error releases its own field, and the fields that were refused along with it and have no error of their own; one
    without a field those of the whole record. Returns how many errors were released.
    """
    connection.execute("create or replace temp table released_errors as " + _CHOSEN, [list(error_ids)])
    connection.execute("create or replace temp table released_keys as " + _KEYS)
    connection.execute(
        "update state.unsettled u set attempts = 0, next_look_at = ? from released_keys k "
        "where k.record_type = u.record_type and k.dynamics_id = u.dynamics_id and k.field is not distinct from u.field",
        [at],
    )
    connection.execute(
        "update ledger.sync_errors set state = 'waiting', attempts = 0 "
        "where error_id in (select error_id from released_errors)"
    )
    connection.execute(_READ_AGAIN)
    connection.execute(_NOT_LOOKED_FOR)
    # Looked at also where nothing waits any more, so that no error stays open for ever.
    connection.execute(
        "insert into inbox.touched (record_type, dynamics_id, is_receipt) "
        "select distinct record_type, dynamics_id, false from released_errors where code <> 'unread'"
    )
    return scalar(connection, "select count(*) from released_errors")


_CHOSEN = """
select error_id, record_type, dynamics_id, person_id, field, code, message
from ledger.sync_errors
where state <> 'resolved' and error_id in (select unnest(?::bigint[]))
"""
# What could not be read is read again by its id; where no id was told, somebody looked after it.
_READ_AGAIN = """
update state.unread u set attempts = 0, next_look_at = null
from released_errors e
where e.code = 'unread' and u.has_id and u.record_type = e.record_type
  and u.key = coalesce(e.dynamics_id, e.person_id::varchar)
"""
_NOT_LOOKED_FOR = """
delete from state.unread u
using released_errors e
where not u.has_id and e.code = 'unread' and e.record_type = u.record_type and contains(e.message, u.key)
"""
_KEYS = """
select distinct u.record_type, u.dynamics_id, u.field
from state.unsettled u
join released_errors r using (record_type, dynamics_id)
left join ledger.sync_errors own
    on own.state <> 'resolved'
    and own.record_type = u.record_type and own.dynamics_id = u.dynamics_id and own.field = u.field
where own.error_id is null or own.error_id = r.error_id
"""
