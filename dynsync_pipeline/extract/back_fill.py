"""Back-fill: fields that somebody asked for are read again of chosen records and their people, beside the sync (R100 to R104).

A part in each cycle, once its streams are in: records in windows of their creation, as the census reads them, and whoever
they are linked to. What was read is an observation like any other; then what stands unequal is sent once more.
Not here: fields that are new in the map, which nobody has to ask for (`new_fields.py`). Source: docs/design.md#back-fill.
"""

from __future__ import annotations

import logging
import math
from functools import partial

import duckdb

from dynsync_pipeline.clients.systems import Systems
from dynsync_pipeline.errors import ApiError, ColumnUnknown
from dynsync_pipeline.extract.census import PEOPLE_PER_CALL, end_of_window, read_these_people, read_window
from dynsync_pipeline.model.own_fields import COMPANY_KEY
from dynsync_pipeline.model.records import TABLES, RecordType
from dynsync_pipeline.warehouse.back_fills import (
    BackFill,
    choose_records,
    decide_again,
    move_back_fill,
    open_back_fills,
    synced_fields,
)
from dynsync_pipeline.warehouse.connection import Warehouse
from dynsync_pipeline.warehouse.cycles import DAY, calls_due
from dynsync_pipeline.warehouse.mirrors import PersonColumns, land_companies, take_in_companies

log = logging.getLogger(__name__)


def read_back_fills(warehouse: Warehouse, systems: Systems, columns: PersonColumns, n_calls_left: int) -> int:
    """Read what is due of the back-fills that somebody asked for; returns how many people, companies and records differed.

    `n_calls_left` has the day, of the system that has fewer. What fails is put off: no change waits for a back-fill.
    One of a field that is parked now waits. Raises: ColumnUnknown, StorageFailed.
    """
    n_differing = 0
    with warehouse.reading() as connection:
        pending = [asked for asked in open_back_fills(connection) if _is_synced(connection, asked)]
    if not pending:
        return 0
    last_read_at = pending[0].last_read_at
    n_due = calls_due(n_calls_left, warehouse.now() - last_read_at if last_read_at else DAY)
    while pending and n_due > 0:
        try:
            n_calls, n_found, after = _read_part(warehouse, systems, columns, pending[0])
        except ColumnUnknown:
            raise
        except ApiError as error:
            log.warning("Back-fill %s is put off: %s", pending[0].back_fill_id, error)
            break
        n_due, n_differing = n_due - n_calls, n_differing + n_found
        pending[:1] = [after] if after else []
    return n_differing


def _is_synced(connection: duckdb.DuckDBPyConnection, asked: BackFill) -> bool:
    if waiting := set(asked.fields) - synced_fields(connection, asked.record_type):
        log.info("Back-fill %s waits for %s, which is parked.", asked.back_fill_id, ", ".join(sorted(waiting)))
    return not waiting


def _read_part(
    warehouse: Warehouse, systems: Systems, columns: PersonColumns, asked: BackFill
) -> tuple[int, int, BackFill | None]:
    """Read one window; returns calls to Marketo, what differed, and what is left of the back-fill."""
    table = TABLES[asked.record_type]
    with warehouse.transaction() as connection:
        end = end_of_window(connection, table, asked.read_until)
        choose_records(connection, asked, end)
        rows = connection.execute("select dynamics_id, person_id from chosen_records order by all").fetchall()
    if asked.record_type is RecordType.ACCOUNT:
        n_keys = len(rows)
        n_differing = _read_companies(warehouse, systems, columns, [row[0] for row in rows])
    else:
        people = [row[1] for row in rows if row[1] is not None]
        n_keys = len(people)
        n_differing = read_these_people(warehouse, systems.marketo, columns, people, _nothing) if people else 0
    done = partial(_decide, warehouse=warehouse, asked=asked, end=end)
    window = (asked.read_until, end)
    n_differing += read_window(warehouse, systems.dynamics, columns.fields, table, window, done)
    with warehouse.reading() as connection:
        left = [
            each for each in open_back_fills(connection, asked.back_fill_id) if each.record_type is asked.record_type
        ]
    return max(math.ceil(n_keys / PEOPLE_PER_CALL), 1), n_differing, left[0] if left else None


def _nothing(connection: duckdb.DuckDBPyConnection) -> None:
    """The window is done when its records were read, too."""


def _read_companies(warehouse: Warehouse, systems: Systems, columns: PersonColumns, keys: list[str]) -> int:
    """Bring the companies of these accounts up to date; what differs is a local edit (R65)."""
    names = [COMPANY_KEY, *columns.fields.company_fields]
    companies = systems.marketo.companies(keys, names) if keys else None
    if companies is None:
        return 0
    with warehouse.transaction() as connection:
        land_companies(connection, columns.fields, companies)
        return take_in_companies(connection)


def _decide(connection: duckdb.DuckDBPyConnection, warehouse: Warehouse, asked: BackFill, end: str | None) -> None:
    at = warehouse.now()
    choose_records(connection, asked, end)  # as they are now
    read = decide_again(connection, asked, at)
    move_back_fill(connection, asked, end, read, at)
    if end is None:
        log.info("Back-fill %s of %s has read all %ss.", asked.back_fill_id, ", ".join(asked.fields), asked.record_type)
