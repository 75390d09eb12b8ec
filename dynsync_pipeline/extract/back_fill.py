"""Back-fill: fields that somebody asked for are read again of chosen records and their people, beside the sync (R100 to R104).

A part in each cycle, once its streams are in: records in windows of their creation, as the census reads them, and whoever
they are linked to. What was read is an observation like any other; then what stands unequal is sent once more.
Not here: fields that are new in the map, which nobody has to ask for (`new_fields.py`). Source: docs/design.md#back-fill.
"""

from __future__ import annotations

import logging
from functools import partial

import duckdb

from dynsync_pipeline.clients.systems import Systems
from dynsync_pipeline.errors import AnswerUnreadable, ApiError, ColumnUnknown, RequestRefused
from dynsync_pipeline.extract.census import end_of_window, read_these_people, read_window
from dynsync_pipeline.model.own_fields import COMPANY_KEY
from dynsync_pipeline.model.records import TABLES, RecordType
from dynsync_pipeline.warehouse.back_fills import (
    BackFill,
    Window,
    choose_records,
    decide_again,
    move_back_fill,
    next_window,
    open_back_fills,
    set_aside,
    synced_fields,
)
from dynsync_pipeline.warehouse.connection import Warehouse
from dynsync_pipeline.warehouse.cycles import DAY, calls_due
from dynsync_pipeline.warehouse.mirrors import PersonColumns, land_companies, take_in_companies

log = logging.getLogger(__name__)


def read_back_fills(warehouse: Warehouse, systems: Systems, columns: PersonColumns, n_calls_left: int) -> int:
    """Read what is due of the back-fills that somebody asked for; returns how many people, companies and records differed.

    `n_calls_left` has the day, of the system that has fewer. What cannot be read is set aside; no change waits for a back-fill.
    One of a field that is parked now waits. Raises: ColumnUnknown, StorageFailed.
    """
    n_differing = 0
    at = warehouse.now()
    with warehouse.reading() as connection:
        pending = [asked for asked in open_back_fills(connection) if _is_synced(connection, asked)]
        window = next_window(connection, pending, at)
    if window is None:
        return 0
    last_read_at = window.asked.last_read_at
    n_due = calls_due(n_calls_left, at - last_read_at if last_read_at else DAY)
    while window is not None and n_due > 0:
        with warehouse.reading() as connection:
            end = _end_of(connection, window)
        n_before = systems.n_calls("marketo")
        try:
            n_differing += _read_window(warehouse, systems, columns, window, end)
        except ColumnUnknown:
            raise
        except ApiError as error:
            log.warning("A part of back-fill %s is set aside: %s", window.asked.back_fill_id, error)
            with warehouse.transaction() as connection:
                set_aside(connection, window, end, str(error), at)
            if not isinstance(error, _OF_ONE_WINDOW):
                break
        n_due -= max(systems.n_calls("marketo") - n_before, 1)
        with warehouse.reading() as connection:
            window = next_window(connection, pending, at)
    return n_differing


# What is said of what was asked for; after anything else the system is not asked for more in this cycle.
_OF_ONE_WINDOW = (AnswerUnreadable, RequestRefused)


def _is_synced(connection: duckdb.DuckDBPyConnection, asked: BackFill) -> bool:
    if waiting := set(asked.fields) - synced_fields(connection, asked.record_type):
        log.info("Back-fill %s waits for %s, which is parked.", asked.back_fill_id, ", ".join(sorted(waiting)))
    return not waiting


def _end_of(connection: duckdb.DuckDBPyConnection, window: Window) -> str | None:
    """Up to where a window is read at once."""
    end = end_of_window(connection, TABLES[window.asked.record_type], window.start)
    return min(filter(None, (end, window.end)), default=None)


def _read_window(
    warehouse: Warehouse, systems: Systems, columns: PersonColumns, window: Window, end: str | None
) -> int:
    """Read a window up to before `end`; returns what differed. Raises: ApiError."""
    asked = window.asked
    table = TABLES[asked.record_type]
    with warehouse.transaction() as connection:
        choose_records(connection, asked, (window.start, end))
        rows = connection.execute("select dynamics_id, person_id from chosen_records order by all").fetchall()
    n_differing = 0
    if asked.record_type is RecordType.ACCOUNT:
        n_differing += _read_companies(warehouse, systems, columns, [row[0] for row in rows])
    elif people := [row[1] for row in rows if row[1] is not None]:
        n_differing += read_these_people(warehouse, systems.marketo, columns, people, _nothing)
    done = partial(_decide, warehouse=warehouse, window=window, end=end)
    return n_differing + read_window(warehouse, systems.dynamics, columns.fields, table, (window.start, end), done)


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
        return take_in_companies(connection, warehouse.now())


def _decide(connection: duckdb.DuckDBPyConnection, warehouse: Warehouse, window: Window, end: str | None) -> None:
    asked, at = window.asked, warehouse.now()
    choose_records(connection, asked, (window.start, end))  # as they are now
    read = decide_again(connection, asked, at)
    if move_back_fill(connection, window, end, read, at):
        log.info("Back-fill %s of %s has read all %ss.", asked.back_fill_id, ", ".join(asked.fields), asked.record_type)
