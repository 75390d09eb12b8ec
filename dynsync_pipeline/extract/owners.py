"""Who owns records: users and teams by name, for the snapshot alone (R24).

Nothing is decided by them and nothing of them goes to Marketo, so what cannot be read of them holds nothing up.
Not here: which record is whose, a column of the record (`model/records.py`).
"""

from __future__ import annotations

import logging
from datetime import timedelta

import duckdb

from dynsync_pipeline.clients.dynamics.protocol import Owner
from dynsync_pipeline.clients.systems import Dynamics
from dynsync_pipeline.errors import AccessDenied, AnswerUnreadable, RequestRefused, ServerFailed, TimedOut
from dynsync_pipeline.model.records import TABLES
from dynsync_pipeline.warehouse.connection import Warehouse, insert_rows

log = logging.getLogger(__name__)

WHOLE_EVERY = timedelta(days=1)
CHANGES_EVERY = timedelta(hours=1)  # two calls, which in every cycle would be a fifth of what one without changes makes
OVERLAP = timedelta(minutes=10)  # a change of then may have been on its way


def extract_owners(warehouse: Warehouse, dynamics: Dynamics) -> None:
    """Bring users and teams up to date: once an hour what changed since the last time, and all of them once a day.

    Where the sync's user may not read them, they are asked for again a day later (R26). What tells of more than owners is raised:
    Unreachable, SignInRefused, BudgetSpent, RateLimited; StorageFailed.
    """
    with warehouse.reading() as connection:
        rows = connection.execute("select read_at, asked_at, newest from state.owners_read").fetchall()
    at, since, newest = warehouse.now(), None, None
    read_at = at
    if rows and timedelta() <= at - rows[0][0] < WHOLE_EVERY:
        read_at, asked_at, newest = rows[0]
        if newest is None or timedelta() <= at - asked_at < CHANGES_EVERY:
            return
        since = f"{newest - OVERLAP:%Y-%m-%dT%H:%M:%SZ}"
    try:
        owners = dynamics.owners(since)
    except AccessDenied as error:
        log.warning("Owners have no names in the snapshot, and are asked for again in a day: %s", error)
        owners, newest = [], None
    except (AnswerUnreadable, RequestRefused, ServerFailed, TimedOut) as error:
        log.warning("Owners could not be read, the next cycle asks again, and the rest goes on: %s", error)
        return
    with warehouse.transaction() as connection:
        connection.execute(_SEEN)
        insert_rows(connection, "owners_seen", Owner._fields, owners)
        connection.execute(_CHANGED)
        if connection.execute("select 1 from owners_changed limit 1").fetchall():
            _take_in(connection)
        connection.execute("delete from state.owners_read")
        connection.execute(_READ, [read_at, at, newest])


def _take_in(connection: duckdb.DuckDBPyConnection) -> None:
    connection.execute("delete from mirror.dynamics_owners where id in (select id from owners_changed)")
    connection.execute("insert into mirror.dynamics_owners by name from owners_changed")
    connection.execute(
        "insert into state.unpublished (published_table, dynamics_id) select 'users', id from owners_changed"
    )
    for table in TABLES.values():  # what they own shows their names
        connection.execute(
            f"insert into state.unpublished (published_table, dynamics_id) select '{table.entity_set}', "
            f"{table.id_column} from {table.mirror} where lower(_ownerid_value) in (select id from owners_changed)"
        )


_SEEN = """
create or replace temp table owners_seen (
    id varchar, is_team boolean, name varchar, email varchar, is_enabled boolean, modified_on varchar
)
"""
# Dynamics counts a change of anything, also of what is not read.
_CHANGED = """
create or replace temp table owners_changed as
select id, is_team, canonical_text(name) as name, canonical_text(email) as email, is_enabled from owners_seen
except
select id, is_team, name, email, is_enabled from mirror.dynamics_owners
"""
_READ = """
insert into state.owners_read (read_at, asked_at, newest)
select $1, $2, greatest($3::timestamp, (select max(try_cast(modified_on as timestamptz) at time zone 'UTC') from owners_seen))
"""
