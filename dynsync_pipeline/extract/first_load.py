"""What the first load will cost: rows, calls to each system, and how long it may take (R4). Not here: how far it is
(`warehouse/first_load.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import ceil

from dynsync_pipeline.clients.systems import Dynamics
from dynsync_pipeline.errors import AccessDenied, AnswerUnreadable, RequestRefused, ServerFailed, TimedOut
from dynsync_pipeline.extract.bulk_load import WINDOW
from dynsync_pipeline.model.records import PERSON_TYPES, TABLES, RecordType
from dynsync_pipeline.settings import Settings
from dynsync_pipeline.warehouse.connection import Warehouse
from dynsync_pipeline.warehouse.first_load import expect_rows, forget_progress, is_first_load, log, note_progress

ROWS_A_PAGE = 5_000
PEOPLE_A_CALL = 300
EXPORTS_AT_ONCE = 2  # that Marketo works on (R126)
# No vendor tells these; they are on the slow side of what is usual.
PAGE_LENGTH = timedelta(seconds=2)
EXPORT_LENGTH = timedelta(minutes=3)
WRITE_LENGTH = timedelta(seconds=4)  # of a call that writes 300, and of the one that reads them back
DAY = timedelta(days=1)


@dataclass(frozen=True)
class Estimate:
    """What the first load will cost: rows by record type, calls by system, and about how long it takes."""

    n_rows: Mapping[RecordType, int]
    n_calls: Mapping[str, int]
    length: timedelta

    def __str__(self) -> str:
        rows = ", ".join(f"{n:,} {TABLES[record_type].entity_set}" for record_type, n in self.n_rows.items())
        calls = " and ".join(f"{n:,} calls of {system.capitalize()}" for system, n in self.n_calls.items())
        return f"about {rows}: {calls}, {_rough(self.length)}"


def estimate(n_rows: Mapping[RecordType, int], settings: Settings, at: datetime) -> Estimate:
    """What a first load of so many rows costs at `at`, UTC without zone; a budget that does not suffice costs days."""
    n_windows = max(ceil((at - datetime.fromisoformat(settings.marketo_oldest_person)) / WINDOW), 1)
    export_length = EXPORT_LENGTH * ceil(n_windows / EXPORTS_AT_ONCE)
    n_polls = ceil(export_length / timedelta(seconds=settings.marketo_poll_s))
    n_pages = sum(ceil(n / ROWS_A_PAGE) for n in n_rows.values())
    # Each batch is written and read back, that of companies is read before, too.
    n_batches = sum(ceil(n_rows.get(record_type, 0) / PEOPLE_A_CALL) for record_type in PERSON_TYPES)
    n_writes = 2 * n_batches + 3 * ceil(n_rows.get(RecordType.ACCOUNT, 0) / PEOPLE_A_CALL)
    n_calls = {"dynamics": n_pages + len(TABLES), "marketo": 3 * n_windows + n_polls + n_writes}
    per_second = settings.marketo_calls_per_20_s / 20
    writing = max(WRITE_LENGTH * n_writes, timedelta(seconds=n_writes / per_second))
    per_day = {"dynamics": settings.dynamics_calls_per_day, "marketo": settings.marketo_calls_per_day}
    n_days = max((n - 1) // per_day[system] for system, n in n_calls.items())
    return Estimate(n_rows, n_calls, max(PAGE_LENGTH * n_pages, export_length) + writing + DAY * n_days)


def tell_first_load(warehouse: Warehouse, dynamics: Dynamics, settings: Settings) -> None:
    """Tell what lies before a first load, and note what is expected; nothing to do in later cycles. Raises: StorageFailed.

    A Dynamics that does not tell its numbers holds nothing up.
    """
    with warehouse.reading() as connection:
        if not is_first_load(connection):
            forget_progress(connection, warehouse.path.parent)  # of a cycle that was killed
            return
    try:
        n_rows = dynamics.record_counts(list(TABLES.values()))
    except (AccessDenied, AnswerUnreadable, RequestRefused, ServerFailed, TimedOut) as error:
        log.info("First load: Dynamics does not tell how many rows it has. %s", error)
        return
    with warehouse.transaction() as connection:
        expect_rows(connection, n_rows)
    told = str(estimate(n_rows, settings, warehouse.now()))
    note_progress(warehouse.path.parent, "estimate", told)
    log.info("First load: %s.", told)


def _rough(length: timedelta) -> str:
    hours = length / timedelta(hours=1)
    if hours < 2:
        return f"about {max(ceil(hours * 60), 1)} min"
    return f"about {hours:.0f} h" if hours < 48 else f"about {hours / 24:.0f} d"
