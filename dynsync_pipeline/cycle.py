"""One cycle: extract, reconcile, write back, publish, in this order, under the cycle lock.

The command line calls `run_cycle`; the Dagster assets call the same steps one by one on a `Cycle`.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from types import TracebackType
from typing import Self, TypeVar
from urllib.parse import urlsplit

from dynsync_pipeline.clients.budget import CallBudget
from dynsync_pipeline.clients.dynamics.client import DynamicsClient
from dynsync_pipeline.clients.marketo.client import MarketoClient
from dynsync_pipeline.errors import (
    ColumnUnknown,
    CursorExpired,
    DynSyncError,
    GuardStopped,
    SettingsWrong,
    StorageFailed,
)
from dynsync_pipeline.extract.companies import extract_companies
from dynsync_pipeline.extract.dynamics import extract_records
from dynsync_pipeline.extract.marketo import extract_people
from dynsync_pipeline.extract.schema import learn_schema
from dynsync_pipeline.extract.uncertain import reread_changed_meanwhile, reread_uncertain
from dynsync_pipeline.model.field_map import FieldMap, load_field_map
from dynsync_pipeline.model.records import RecordType
from dynsync_pipeline.publish.snapshot import Published, publish_snapshot
from dynsync_pipeline.reconcile.plan import Limits, Plan, make_plan
from dynsync_pipeline.settings import Settings
from dynsync_pipeline.warehouse.columns import move_base
from dynsync_pipeline.warehouse.connection import Warehouse, scalar
from dynsync_pipeline.warehouse.cycle_lock import CycleLock
from dynsync_pipeline.warehouse.cycles import begin_cycle, calls_of_last_day, count, end_cycle
from dynsync_pipeline.warehouse.mirrors import PersonColumns
from dynsync_pipeline.write_back.dynamics import write_records
from dynsync_pipeline.write_back.marketo import write_people
from dynsync_pipeline.write_back.receipts import Written, recognise_own_writes, settle_receipts

log = logging.getLogger(__name__)

ROUNDS = 3
SOME_STEPS = "Only some of the steps ran."
Answer = TypeVar("Answer")


@dataclass(frozen=True)
class CycleReport:
    """What one whole cycle did, for whoever started it."""

    cycle_id: int
    n_read: dict[str, int]
    plan: Plan
    to_dynamics: Written
    to_marketo: Written
    published: Published
    seconds: float


class Cycle:
    """One cycle in progress; use it in `with`. Entering takes the lock and opens the working file.

    Raises: SettingsWrong, FieldMapWrong, CycleRunning, StorageFailed on entering; the steps say what they raise.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._wanted = load_field_map(settings.field_map)
        self._open = ExitStack()
        self._turn = threading.RLock()
        self._fields: FieldMap | None = None
        self._has_published = False

    def __enter__(self) -> Self:
        self.settings.require_systems()
        with ExitStack() as opening:
            opening.enter_context(CycleLock(self.settings.lock_file))
            self.warehouse = opening.enter_context(Warehouse(self.settings.working_file))
            with self.warehouse.transaction() as connection:
                self._used = {system: calls_of_last_day(connection, system) for system in ("dynamics", "marketo")}
                self.cycle_id = begin_cycle(connection)
            self._open = opening.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._open:
            if error is not None or not self._has_published:
                self._end(error)

    def _end(self, error: BaseException | None) -> None:
        status, message = "succeeded", SOME_STEPS
        if error is not None:
            status = "stopped_by_guard" if isinstance(error, GuardStopped) else "failed"
            message = str(error) if isinstance(error, DynSyncError) else f"{type(error).__name__}; see the log."
        try:
            self._count({})
            with self.warehouse.transaction() as connection:
                end_cycle(connection, self.cycle_id, status, message)
            if error is not None and (fields := self._fields or self._last_fields()):
                publish_snapshot(self.warehouse, self.settings, fields)
        except DynSyncError as failure:  # the error that ended the cycle is on its way already
            if not isinstance(error, StorageFailed):
                log.error("The end of the cycle could not be recorded: %s", failure)

    def _last_fields(self) -> FieldMap | None:
        """The fields the last cycle synced, for publishing a cycle that failed before it learned the schema."""
        with self.warehouse.reading() as connection:
            rows = connection.execute("select record_type, field, dynamics_column from reconcile.fields").fetchall()
        known = set(rows)
        fields = self._wanted.without(
            field
            for field in self._wanted.fields
            if (field.record_type.value, field.marketo_field, field.dynamics_column) not in known
        )
        return fields if fields.fields else None

    # -- clients ---------------------------------------------------------------------------------------------------

    @cached_property
    def dynamics_budget(self) -> CallBudget:
        """What may still be sent to Dynamics today."""
        return CallBudget("dynamics", self.settings.dynamics_calls_per_day, used=self._used["dynamics"])

    @cached_property
    def marketo_budget(self) -> CallBudget:
        """What may still be sent to Marketo today, and in any 20 seconds."""
        return CallBudget(
            "marketo",
            self.settings.marketo_calls_per_day,
            used=self._used["marketo"],
            calls_per_window=self.settings.marketo_calls_per_20_s,
        )

    @cached_property
    def dynamics(self) -> DynamicsClient:
        """The Dynamics client of this cycle."""
        return self._open.enter_context(DynamicsClient.from_settings(self.settings, self.dynamics_budget))

    @cached_property
    def marketo(self) -> MarketoClient:
        """The Marketo client of this cycle."""
        return self._open.enter_context(MarketoClient.from_settings(self.settings, self.marketo_budget))

    # -- steps -----------------------------------------------------------------------------------------------------

    def prepare(self) -> FieldMap:
        """Learn both schemas and settle what an earlier cycle left behind; done once, before the first step."""
        with self._turn:
            if self._fields is None:
                self._require_same_systems()
                fields = self._learn(is_forced=False)
                settle_receipts(self.warehouse, "")
                try:
                    self._reread_uncertain(fields)
                except ColumnUnknown:
                    fields = self._learn(is_forced=True)
                    self._reread_uncertain(fields)
                recognise_own_writes(self.warehouse)
                self._fields = fields
            return self._fields

    def extract_records(self, record_type: RecordType) -> int:
        """Step 1 for one Dynamics table; returns the number of records read. Raises: ApiError, StorageFailed."""
        n_read = self._with_schema(
            lambda fields: extract_records(self.warehouse, self.dynamics, fields, record_type),
            lambda fields: extract_records(self.warehouse, self.dynamics, fields, record_type, is_full=True),
        )
        self._count({f"n_{record_type}s_read": n_read})
        return n_read

    def extract_people(self) -> int:
        """Step 1 for Marketo; returns the number of people read. Raises: ApiError, StorageFailed."""
        n_read = self._with_schema(lambda fields: extract_people(self.warehouse, self.marketo, self.settings, fields))
        self._count({"n_people_read": n_read})
        return n_read

    def extract(self) -> dict[str, int]:
        """Step 1 for all tables side by side; returns the numbers of rows read. Raises: ApiError, StorageFailed."""
        self.prepare()
        with ThreadPoolExecutor(max_workers=4, thread_name_prefix="extract") as pool:
            reads = {record_type.value: pool.submit(self.extract_records, record_type) for record_type in RecordType}
            reads["person"] = pool.submit(self.extract_people)
            return {name: read.result() for name, read in reads.items()}

    def reconcile(self, *, is_again: bool = False) -> Plan:
        """Step 2: commit the plan of this cycle. Raises: GuardStopped, with nothing changed; ApiError.

        The companies that the changes concern are read here, because only now is it known which these are.
        """
        self._with_schema(lambda fields: extract_companies(self.warehouse, self.marketo, fields))
        settings = self.settings
        limits = Limits(settings.max_creates, settings.largest_share, settings.first_load)
        if is_again:  # the cycle's first plan passed the guards, and some of it is written
            limits = Limits(max_creates=sys.maxsize, largest_share=1.0, first_load="create")
        with self.warehouse.transaction() as connection:
            at = datetime.now(UTC).replace(tzinfo=None)
            plan = make_plan(connection, cycle_id=self.cycle_id, at=at, own_fields=settings.own_fields, limits=limits)
            move_base(connection)
        return plan

    def write_dynamics(self) -> Written:
        """Step 3, Marketo's updates to Dynamics. Raises: PlanStale, ApiError, StorageFailed.

        Where somebody edited a record after it was read, it is read again, settled again and sent again (design,
        section 6), three rounds at most; what still meets an edit then waits for the next cycle.
        """
        written = write_records(self.warehouse, self.dynamics, self.prepare(), self.cycle_id)
        for _ in range(ROUNDS - 1):
            if not written.n_changed_meanwhile:
                break
            reread_changed_meanwhile(self.warehouse, self.dynamics, self.prepare())
            self.reconcile(is_again=True)
            written = written.plus(write_records(self.warehouse, self.dynamics, self.prepare(), self.cycle_id))
        self._count({"n_records_updated": written.n_updated})
        self._refused(written)
        return written

    def write_marketo(self) -> Written:
        """Step 3, Dynamics' new people and updates to Marketo. Raises: PlanStale, ApiError, StorageFailed."""
        columns = PersonColumns(self.prepare(), self.settings.own_fields)
        written = write_people(self.warehouse, self.marketo, columns, self.cycle_id)
        self._count(
            {
                "n_companies_written": written.n_companies,
                "n_people_created": written.n_created,
                "n_people_updated": written.n_updated,
            }
        )
        self._refused(written)
        return written

    def publish(self) -> Published:
        """Step 4: end the cycle's row and swap the snapshot in. Raises: StorageFailed; the old snapshot stays."""
        fields = self.prepare()
        self._count({})
        at = datetime.now(UTC).replace(tzinfo=None)
        published = publish_snapshot(self.warehouse, self.settings, fields, ending=(self.cycle_id, at))
        with self.warehouse.transaction() as connection:
            end_cycle(connection, self.cycle_id, "succeeded", None, at)
        self._has_published = True
        try:
            self.warehouse.tidy()
        except StorageFailed as failure:  # the cycle itself is done and published
            log.warning("The working file could not be tidied: %s", failure)
        return published

    # -- help ------------------------------------------------------------------------------------------------------

    def _learn(self, *, is_forced: bool) -> FieldMap:
        at = datetime.now(UTC).replace(tzinfo=None)
        return learn_schema(
            self.warehouse, self.dynamics, self.marketo, self.settings, self._wanted, at=at, is_forced=is_forced
        )

    def _reread_uncertain(self, fields: FieldMap) -> None:
        columns = PersonColumns(fields, self.settings.own_fields)
        reread_uncertain(self.warehouse, self.dynamics, self.marketo, fields, columns)

    def _require_same_systems(self) -> None:
        """Refuse to sync other systems into this working file: all of its links would be taken for deleted (R111)."""
        hosts = {
            "dynamics": urlsplit(self.settings.dynamics_url).hostname,
            "marketo": urlsplit(self.settings.marketo_url).hostname,
        }
        with self.warehouse.transaction() as connection:
            known = dict(connection.execute("select system, host from state.systems").fetchall())
            for system, host in hosts.items():
                if known.get(system, host) != host:
                    raise SettingsWrong(
                        f"{self.warehouse.path} was made with {known[system]}, and the settings name {host}.",
                        next_step=f"Name another folder in DYNSYNC_DATA_DIR, or set DYNSYNC_{system.upper()}_URL back.",
                    )
                if system not in known:
                    connection.execute("insert into state.systems values (?, ?)", [system, host])

    def _with_schema(
        self, step: Callable[[FieldMap], Answer], again: Callable[[FieldMap], Answer] | None = None
    ) -> Answer:
        """Run a step; where a table's definition changed, learn the schema again, park what is gone (R107), run it again."""
        fields = self.prepare()
        try:
            return step(fields)
        except (ColumnUnknown, CursorExpired):
            with self._turn:
                if self._fields is fields:  # not yet learned again by another thread
                    self._fields = self._learn(is_forced=True)
                fields = self.prepare()
            return (again or step)(fields)

    def _count(self, counts: dict[str, int]) -> None:
        """Store figures of the cycle as they come, calls included: those of a killed cycle count against the budget."""
        calls = {
            "n_calls_dynamics": self.dynamics_budget.used - self._used["dynamics"],
            "n_calls_marketo": self.marketo_budget.used - self._used["marketo"],
        }
        with self.warehouse.transaction() as connection:
            n_collisions = scalar(
                connection, "select count(*) from ledger.collisions where cycle_id = ?", [self.cycle_id]
            )
            count(connection, self.cycle_id, counts | calls | {"n_collisions": n_collisions})

    def _refused(self, written: Written) -> None:
        with self.warehouse.transaction() as connection:
            connection.execute(
                "update ledger.cycles set n_refused = n_refused + ? where cycle_id = ?",
                [written.n_refused, self.cycle_id],
            )


def run_cycle(settings: Settings, progress: Callable[[str], None] = lambda sentence: None) -> CycleReport:
    """Run one whole cycle; `progress` gets a sentence at each step. Raises: DynSyncError."""
    started_s = time.monotonic()
    with Cycle(settings) as cycle:
        progress("Reading both systems")
        n_read = cycle.extract()
        progress("Comparing")
        plan = cycle.reconcile()
        progress(f"Writing {plan.n_updates_to_dynamics:,} records to Dynamics")
        to_dynamics = cycle.write_dynamics()
        progress(f"Writing {plan.n_creates + plan.n_updates_to_marketo:,} people to Marketo")
        to_marketo = cycle.write_marketo()
        progress("Publishing the snapshot")
        published = cycle.publish()
        return CycleReport(
            cycle.cycle_id, n_read, plan, to_dynamics, to_marketo, published, time.monotonic() - started_s
        )
