"""One cycle: extract, reconcile, write back, publish, in this order, under the cycle lock.

The Dagster assets call the steps one by one on a `Cycle`.
Not here: all of them in one go (`whole_cycle.py`), what a step does (`extract/`, `reconcile/`, `write_back/`, `publish/`),
what is kept of a cycle (`warehouse/cycles.py`), how the systems are reached (`clients/systems.py`).
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack
from contextvars import copy_context
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from dynsync_pipeline.clients.systems import SYSTEMS, RemoteSystems, System, Systems
from dynsync_pipeline.errors import ApiError, ColumnUnknown, CursorExpired, DynSyncError, FieldMapWrong, StorageFailed
from dynsync_pipeline.extract.back_fill import read_back_fills
from dynsync_pipeline.extract.census import Pace, census_people, census_records
from dynsync_pipeline.extract.companies import extract_companies
from dynsync_pipeline.extract.counterparts import read_counterparts
from dynsync_pipeline.extract.dynamics import extract_records
from dynsync_pipeline.extract.empty_cells import decide_empty_cells
from dynsync_pipeline.extract.first_load import tell_first_load
from dynsync_pipeline.extract.marketo import extract_people
from dynsync_pipeline.extract.new_fields import read_new_fields
from dynsync_pipeline.extract.owners import extract_owners
from dynsync_pipeline.extract.schema import learn_schema
from dynsync_pipeline.extract.sync_filter import has_emptied_filters
from dynsync_pipeline.extract.uncertain import reread_changed_meanwhile, reread_uncertain
from dynsync_pipeline.extract.unread import ask_for_bearers
from dynsync_pipeline.model.field_map import FieldMap, load_field_map
from dynsync_pipeline.model.records import RecordType
from dynsync_pipeline.model.rule_cases import cases_text, parse_cases
from dynsync_pipeline.operate.wish import carry_out_wish
from dynsync_pipeline.publish.parquet import publish_parquet
from dynsync_pipeline.publish.snapshot import Published, publish_snapshot
from dynsync_pipeline.publish.status_file import write_status_files
from dynsync_pipeline.reconcile.guards import Limits
from dynsync_pipeline.reconcile.parity import judge_native_writes
from dynsync_pipeline.reconcile.plan import Plan, make_plan
from dynsync_pipeline.reconcile.rule_tests import failing_cases
from dynsync_pipeline.requests.commands import taking_in_actions
from dynsync_pipeline.requests.desk import note_requests, serve_in_cycle
from dynsync_pipeline.settings import Settings
from dynsync_pipeline.tracing import span, traced
from dynsync_pipeline.warehouse.approvals import approve_within
from dynsync_pipeline.warehouse.backlog import note_backlog
from dynsync_pipeline.warehouse.budget import note_budget_days, reserved
from dynsync_pipeline.warehouse.columns import digest
from dynsync_pipeline.warehouse.connection import IN_MEMORY, Warehouse
from dynsync_pipeline.warehouse.cycle_lock import CycleLock
from dynsync_pipeline.warehouse.cycles import (
    CycleEnd,
    begin_cycle,
    calls_of_last_day,
    count,
    end_cycle,
    ended,
    failed,
    n_collisions,
)
from dynsync_pipeline.warehouse.erased import sweep_erased
from dynsync_pipeline.warehouse.first_load import end_first_load, forget_progress, is_first_load
from dynsync_pipeline.warehouse.follow_map import followed_fields, move_base
from dynsync_pipeline.warehouse.leftovers import remove_leftovers
from dynsync_pipeline.warehouse.mirrors import PersonColumns
from dynsync_pipeline.warehouse.observations import forget_ledgers, forget_observations, note_observed_fields
from dynsync_pipeline.warehouse.systems import require_same_systems
from dynsync_pipeline.write_back.dynamics import write_records
from dynsync_pipeline.write_back.lanes import CallsLeft
from dynsync_pipeline.write_back.marketo import write_people
from dynsync_pipeline.write_back.receipts import Written, recognise_own_writes, settle_receipts
from dynsync_pipeline.write_back.refusal_log import tell_refusals

log = logging.getLogger(__name__)

ROUNDS = 3
STREAMS = frozenset({*RecordType, "person"})
WHOLE = STREAMS | {"company", "reconcile", "write_dynamics", "write_marketo"}
Answer = TypeVar("Answer")
OpenSystems = Callable[[Settings, Mapping[System, int]], AbstractContextManager[Systems]]
OpenWarehouse = Callable[[Path], AbstractContextManager[Warehouse]]


class Cycle:
    """One cycle in progress; use it in `with`. Entering takes the lock and opens the working file.

    `systems` opens the two systems from the settings and the calls of the last 24 hours, `warehouse` the working file
    from its path. Raises: SettingsWrong, FieldMapWrong, CycleRunning, StorageFailed on entering; the steps say what they
    raise.
    """

    systems: Systems
    warehouse: Warehouse
    cycle_id: int

    def __init__(
        self, settings: Settings, *, systems: OpenSystems = RemoteSystems, warehouse: OpenWarehouse = Warehouse
    ) -> None:
        self.settings = settings
        self._open_systems = systems
        self._open_warehouse = warehouse
        self._wanted = load_field_map(settings.field_map, settings.own_fields)
        self._open = ExitStack()
        self._turn = threading.RLock()
        self._fields: FieldMap | None = None
        self._ran: set[str] = set()
        self._n_refused = 0
        self._n_waiting = 0
        self._failures: list[str] = []
        self._has_published = False
        self._lock = CycleLock(settings.lock_file)
        self._lock.outcome = "failed"  # unless it comes to its end
        self._found_work = False

    def __enter__(self) -> Self:
        self.settings.require_systems()
        with ExitStack() as opening:
            opening.enter_context(self._lock)
            opening.enter_context(span("cycle"))
            opening.push(self._back_up)  # once the working file is closed, and with the lock still held
            self.warehouse = opening.enter_context(self._open_warehouse(self.settings.working_file))
            settings = self.settings
            self.warehouse.limit(settings.memory_mb, settings.threads, settings.temp_dir)
            # Only now: where somebody deleted the lock, DuckDB's own is what keeps a second cycle out.
            remove_leftovers(self.settings.data_dir)
            self._test_rules()
            with taking_in_actions(self.warehouse, settings.data_dir, settings.requests_file) as connection:
                at = self.warehouse.now()
                used = {system: calls_of_last_day(connection, system, at) for system in SYSTEMS}
                self.cycle_id = begin_cycle(connection, at, is_shadow=self.settings.is_shadow)
                approve_within(connection, self.settings.ask_above, at)
            self._n_calls_before = used
            self.systems = opening.enter_context(self._open_systems(self.settings, used))
            self._open = opening.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # An interrupted cycle leaves reads under way: with the turn held, none is inside a statement while the file is closed.
        with self.warehouse.reading(), self._open:
            if error is not None or not self._has_published:
                self._end(error)

    def _end(self, error: BaseException | None) -> None:
        """Record a cycle that failed, or of which only some steps ran."""
        if error is None:
            self._lock.outcome = "done"
        try:
            self._count({"n_collisions": self._n_collisions()})
            end = failed(self.cycle_id, self.warehouse.now(), error) if error else self._ended()
            with self.warehouse.transaction() as connection:
                end_cycle(connection, end)
                forget_progress(connection, self.warehouse.path.parent)
                # One that failed before it learned the schema is published with the fields that the last one synced.
                fields = self._fields or followed_fields(connection, self._wanted)
            if error is not None and fields.fields:
                publish_snapshot(self.warehouse, self.settings, fields, end)
            self._write_status_file(fields)
        except DynSyncError as failure:  # the error that ended the cycle is on its way already
            if not isinstance(error, StorageFailed):
                log.error("The end of the cycle could not be recorded: %s", failure)

    # -- steps -----------------------------------------------------------------------------------------------------

    @traced
    def prepare(self) -> FieldMap:
        """Learn both schemas and the owners, and settle what an earlier cycle left behind; once, before the first step."""
        with self._turn:
            if self._fields is None:
                require_same_systems(self.warehouse, self.settings)
                fields = self._learn(is_forced=False)
                settle_receipts(self.warehouse, "")
                try:
                    self._reread_uncertain(fields)
                except ColumnUnknown as error:
                    fields = self._learn(is_forced=True, met=error)
                    self._reread_uncertain(fields)
                recognise_own_writes(self.warehouse)
                extract_owners(self.warehouse, self.systems.dynamics)
                tell_first_load(self.warehouse, self.systems.dynamics, self.settings)
                self._found_work |= bool(fields.being_read)
                self._fields = self._read_new_fields(fields) if fields.being_read else fields
            return self._fields

    @traced
    def extract(self) -> dict[str, int]:
        """Step 1 for all streams side by side; returns the numbers of rows read. Raises: ApiError, StorageFailed."""
        self.prepare()
        pool = ThreadPoolExecutor(max_workers=len(STREAMS), thread_name_prefix="extract")
        reads = {
            record_type.value: pool.submit(copy_context().run, self.extract_records, record_type)
            for record_type in RecordType
        }
        reads["person"] = pool.submit(copy_context().run, self.extract_people)
        try:
            n_read = {name: read.result() for name, read in reads.items()}
        except BaseException as error:
            # Who interrupts a first load does not wait for its exports; a failure lets the other reads end.
            pool.shutdown(wait=isinstance(error, Exception), cancel_futures=True)
            raise
        pool.shutdown()
        return n_read

    @traced
    def extract_records(self, record_type: RecordType) -> int:
        """Step 1 for one Dynamics table; returns the number of records read. Raises: ApiError, StorageFailed."""
        dynamics = self.systems.dynamics
        n_read = self._with_schema(
            lambda fields: extract_records(self.warehouse, dynamics, fields, record_type),
            lambda fields, error: extract_records(self.warehouse, dynamics, fields, record_type, refused=error),
        )
        pace = self._census_pace("dynamics", n_streams=len(RecordType))
        n_read += census_records(self.warehouse, dynamics, self.prepare(), record_type, pace)
        self._done(record_type, **{f"n_{record_type}s_read": n_read})
        return n_read

    @traced
    def extract_people(self) -> int:
        """Step 1 for Marketo; returns the number of people read. Raises: ApiError, StorageFailed."""
        n_read = self._with_schema(
            lambda fields: extract_people(self.warehouse, self.systems.marketo, self.settings, fields)
        )
        columns = PersonColumns(self.prepare(), self.settings.own_fields)
        pace = self._census_pace("marketo", n_streams=1)
        n_read += census_people(self.warehouse, self.systems.marketo, columns, pace)
        self._done("person", n_people_read=n_read)
        return n_read

    @traced
    def extract_companies(self) -> int:
        """The end of step 1, when all streams are in, which tell what companies concern; returns how many were read.

        Leads and contacts that are known by half, and empty cells of a bulk export, are read before.
        Raises: ApiError, StorageFailed.
        """
        if "company" not in self._ran:  # not in a later round of this cycle
            self._with_schema(self._back_fill)
        self._with_schema(lambda fields: read_counterparts(self.warehouse, self.systems.dynamics, fields))
        self._with_schema(
            lambda fields: ask_for_bearers(
                self.warehouse, self.systems.marketo, PersonColumns(fields, self.settings.own_fields)
            )
        )
        self._with_schema(
            lambda fields: decide_empty_cells(
                self.warehouse, self.systems.marketo, PersonColumns(fields, self.settings.own_fields)
            )
        )
        n_read = self._with_schema(
            lambda fields: extract_companies(self.warehouse, self.systems.marketo, fields, self._spare_calls("marketo"))
        )
        self._done("company")
        return n_read

    @traced
    def reconcile(self) -> Plan:
        """Step 2: commit the plan of this cycle. Raises: GuardStopped, with nothing changed; StorageFailed.

        Where somebody runs this step without the extraction of companies before it, that is done first.
        """
        if "company" not in self._ran:
            self.extract_companies()
        self._confirm_emptied_filters()
        settings = self.settings
        note_requests(self.warehouse, settings)
        plan = self._plan(Limits(settings.max_creates, settings.largest_share, settings.first_load, settings.is_shadow))
        with self.warehouse.transaction() as connection:
            note_observed_fields(connection, self.warehouse.now())
        self._note_backlog()
        self._done("reconcile")
        return plan

    @traced
    def write_dynamics(self) -> Written:
        """Step 3, Marketo's updates to Dynamics, whose failure is returned. Raises: PlanStale, StorageFailed.

        Where somebody edited a record after it was read, it is read again, settled again and sent again
        (docs/design.md#updates), three rounds at most; what still meets an edit then waits for the next cycle.
        Requests for new records are served after that (R71). In shadow nothing of it is done.
        """
        if self.settings.is_shadow:
            return self._written("write_dynamics", Written(), n_records_updated=0)
        dynamics = self.systems.dynamics
        written, n_rounds = self._write_records(), 1
        # After a failure a new plan would forget what was sent and has no known outcome.
        while written.n_changed_meanwhile and not written.failure and n_rounds < ROUNDS:
            try:
                reread_changed_meanwhile(self.warehouse, dynamics, self.prepare())
                self.extract_companies()
                # The cycle's first plan passed the guards, and some of it is written.
                self._plan(None)
                again = self._write_records()
            except ApiError as error:
                again = Written(failure=str(error))
            written, n_rounds = written.plus(again), n_rounds + 1
        waiting = serve_in_cycle(self.warehouse, self.systems, self.settings, self.prepare())
        written = replace(written, failure=written.failure or waiting)
        return self._written("write_dynamics", written, n_records_updated=written.n_updated)

    @traced
    def write_marketo(self) -> Written:
        """Step 3, people and companies to Marketo, whose failure is returned; then refusals to people's own log (R115).

        In shadow nothing of it is done. Raises: PlanStale, StorageFailed.
        """
        if self.settings.is_shadow:
            return self._written("write_marketo", Written(), n_people_updated=0)
        columns = PersonColumns(self.prepare(), self.settings.own_fields)
        left, at_once = self._calls_to_write("marketo"), self.settings.marketo_calls_at_once
        written = write_people(self.warehouse, self.systems.marketo, columns, self.cycle_id, left, at_once=at_once)
        type_id, n_calls_left = self.settings.marketo_activity_type, self._spare_calls("marketo")
        tell_refusals(self.warehouse, self.systems.marketo, type_id, self.cycle_id, n_calls_left)
        counts = {"n_companies_written": written.n_companies, "n_people_created": written.n_created}
        return self._written("write_marketo", written, n_people_updated=written.n_updated, **counts)

    @traced
    def publish(self) -> Published:
        """Step 4: end the cycle's row and, if there is anything new, swap the snapshot in.

        Raises: StorageFailed; the old snapshot stays.
        """
        fields = self.prepare()
        self._count({})
        self._note_backlog()
        with self.warehouse.transaction() as connection:
            at, settings = self.warehouse.now(), self.settings
            forget_observations(connection, at, settings.observation_days)
            forget_ledgers(connection, at, settings.ledger_days, settings.observation_days)
            note_budget_days(connection, at, settings.calls_per_day, settings.call_reserve)
        end = self._ended()
        published = publish_snapshot(self.warehouse, self.settings, fields, end)
        with self.warehouse.transaction() as connection:
            is_first = end.is_whole and is_first_load(connection)
            end_cycle(connection, end)
            if is_first:
                end_first_load(connection, self.warehouse.path.parent)
            forget_progress(connection, self.warehouse.path.parent)
        self._has_published = True
        is_quiet = end.is_whole and not self._found_work and not self._n_waiting
        self._lock.outcome = "failed" if self._failures else "quiet" if is_quiet else "done"
        try:
            self._write_status_file(fields)
            publish_parquet(self.warehouse, self.settings)
            self.warehouse.tidy()
        except StorageFailed as failure:  # the cycle itself is done and published
            log.warning(
                "The cycle is done, but status.json or the Parquet files could not be written, or the working file tidied: %s",
                failure,
            )
        return published

    # -- help ------------------------------------------------------------------------------------------------------

    def _back_up(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Make the backup that is wished for, or due; whoever interrupts a cycle waits for none."""
        if error is None or isinstance(error, Exception):
            carry_out_wish(self.settings)

    def _learn(self, *, is_forced: bool, met: ApiError | None = None) -> FieldMap:
        """The fields of this cycle; once it began to read, it only loses some."""
        return learn_schema(
            self.warehouse,
            self.systems.dynamics,
            self.systems.marketo,
            self.settings,
            self._wanted,
            at=self.warehouse.now(),
            running=self._fields,
            is_forced=is_forced,
            met=met,
        )

    def _test_rules(self) -> None:
        """Hold a changed field map against the cases of rules that somebody wrote (docs/field-map.md#rule-tests).

        Raises: FieldMapWrong, before anything is read.
        """
        file = self.settings.rules_test_file
        if not file.exists():
            return
        text = cases_text(file)
        tested = digest(self._wanted.fields, text)
        with self.warehouse.reading() as connection:
            if connection.execute("select digest from state.tested_rules").fetchall() == [(tested,)]:
                return
        with Warehouse(IN_MEMORY) as empty, empty.transaction() as connection:
            failing = failing_cases(connection, parse_cases(text, file.name), self._wanted)
        if failing:
            first = failing[0]
            raise FieldMapWrong(
                f"{file.name}, line {first.case.line}: by the field map the outcome is {first.found}, and not "
                f"{first.case.outcome}; {len(failing):,} cases fail. Nothing was read.",
                next_step="Change the field map back, or the cases, as `dynsync rules test` shows them.",
            )
        with self.warehouse.transaction() as connection:
            connection.execute("delete from state.tested_rules")
            connection.execute("insert into state.tested_rules (digest) values (?)", [tested])

    def _confirm_emptied_filters(self) -> None:
        """A column that was secured meanwhile reads as empty, and letting everybody in would be no act of anybody (R87)."""
        with self.warehouse.reading() as connection:
            is_emptied = has_emptied_filters(connection)
        if is_emptied:
            with self._turn:
                self._fields = self._learn(is_forced=True)

    def _read_new_fields(self, fields: FieldMap) -> FieldMap:
        """Read a part of what is new; returns the fields of this cycle, with those that were read of everybody by now."""
        columns = PersonColumns(fields, self.settings.own_fields)
        try:
            read_new_fields(self.warehouse, self.systems.marketo, columns, self._spare_calls("marketo"))
        except ColumnUnknown as error:
            return self._learn(is_forced=True, met=error)
        return self._learn(is_forced=False)

    def _back_fill(self, fields: FieldMap) -> int:
        """Read a part of what somebody wants filled again (R100)."""
        n_calls_left = min(self._spare_calls(system) for system in SYSTEMS)
        n_read = read_back_fills(
            self.warehouse, self.systems, PersonColumns(fields, self.settings.own_fields), n_calls_left
        )
        self._found_work |= bool(n_read)
        return n_read

    def _census_pace(self, system: System, *, n_streams: int) -> Pace:
        """How fast the census of one of `n_streams` streams may go: the fewer calls are left, the slower."""
        n_calls = self.settings.census_share * self._spare_calls(system) / n_streams
        return Pace(timedelta(days=self.settings.census_days), n_calls)

    def _calls_to_write(self, system: System) -> CallsLeft:
        """Reading keeps half of the reserve, so that nothing that is written makes it fail."""
        reserve = reserved(self.settings.calls_per_day[system], self.settings.call_reserve)
        return CallsLeft(self._spare_calls(system), max(self._calls_left(system) - reserve // 2, 0))

    def _spare_calls(self, system: System) -> int:
        """How many calls the day has left for what may wait."""
        reserve = reserved(self.settings.calls_per_day[system], self.settings.call_reserve)
        return max(self._calls_left(system) - reserve, 0)

    def _calls_left(self, system: System) -> int:
        """How many calls the day has left."""
        return max(self.settings.calls_per_day[system] - self._n_calls_before[system] - self.systems.n_calls(system), 0)

    def _write_records(self) -> Written:
        fields, left = self.prepare(), self._calls_to_write("dynamics")
        at_once = self.settings.dynamics_calls_at_once
        return write_records(self.warehouse, self.systems.dynamics, fields, self.cycle_id, left, at_once=at_once)

    def _reread_uncertain(self, fields: FieldMap) -> None:
        columns = PersonColumns(fields, self.settings.own_fields)
        reread_uncertain(self.warehouse, self.systems.dynamics, self.systems.marketo, fields, columns)

    def _plan(self, limits: Limits | None) -> Plan:
        own_fields = self.settings.own_fields
        with self.warehouse.transaction() as connection:
            at = self.warehouse.now()
            sweep_erased(connection)
            clocks_apart = self.systems.dynamics.now() - self.systems.marketo.now()
            if self.settings.is_shadow:
                source, user = self.settings.native_source, self.settings.native_user
                judge_native_writes(
                    connection, cycle_id=self.cycle_id, at=at, clocks_apart=clocks_apart, source=source, user=user
                )
                move_base(connection)
            plan = make_plan(
                connection,
                cycle_id=self.cycle_id,
                at=at,
                own_fields=own_fields,
                limits=limits,
                clocks_apart=clocks_apart,
                is_shadow=self.settings.is_shadow,
                ask_above=None if self.settings.is_shadow else self.settings.ask_above,
            )
            move_base(connection)
        self._found_work |= bool(plan.n_operations)
        return plan

    def _with_schema(
        self, step: Callable[[FieldMap], Answer], again: Callable[[FieldMap, ApiError], Answer] | None = None
    ) -> Answer:
        """Run a step; where a table's definition changed, learn the schema again, park what is gone or refused (R107), and
        run it again, as often as that leaves fewer fields.

        `again`, where it is another step than the first, gets what the last one met.
        """
        fields = self.prepare()
        met: ApiError | None = None
        may_learn = True
        while True:
            try:
                return again(fields, met) if again and met else step(fields)
            except (ColumnUnknown, CursorExpired) as error:
                if not may_learn:
                    raise
                met = error
            with self._turn:
                if self._fields is fields:  # not yet learned again by another thread
                    self._fields = self._learn(is_forced=True, met=met)
                before, fields = fields, self.prepare()
            may_learn = fields != before

    def _ended(self) -> CycleEnd:
        is_whole = self._ran >= WHOLE
        return ended(self.cycle_id, self.warehouse.now(), is_whole=is_whole, failures=self._failures)

    def _write_status_file(self, fields: FieldMap) -> None:
        write_status_files(self.warehouse, self.settings, fields)

    def _note_backlog(self) -> None:
        with self.warehouse.transaction() as connection:
            note_backlog(connection, self.warehouse.now())

    def _written(self, step: str, written: Written, **counts: int) -> Written:
        self._n_refused += written.n_refused
        self._n_waiting += written.n_waiting
        self._failures += filter(None, [written.failure])
        self._done(step, n_collisions=self._n_collisions(), **counts)
        return written

    def _done(self, step: str, **counts: int) -> None:
        """Note that a step ran, with its figures."""
        self._count(counts)
        self._ran.add(step)

    def _n_collisions(self) -> int:
        with self.warehouse.reading() as connection:
            return n_collisions(connection, self.cycle_id)

    def _count(self, counts: Mapping[str, int]) -> None:
        """Store figures of the cycle with each step, calls included, so that those of a cycle killed later count too."""
        calls = {f"n_calls_{system}": self.systems.n_calls(system) for system in SYSTEMS}
        with self.warehouse.transaction() as connection:
            count(
                connection,
                self.cycle_id,
                {**counts, **calls, "n_refused": self._n_refused, "n_waiting": self._n_waiting},
            )
