"""The one cycle that all assets of a Dagster run share: opened by the first that needs it, ended when the run ends.

Holds the cycle lock from before extract to the end of publish (R2), which works because all steps run in one process.
Not here: what the steps do (`cycle.py`), what Dagster shows of them (`assets.py`).
"""

import time
import traceback
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from contextvars import copy_context
from dataclasses import dataclass
from functools import cached_property
from operator import methodcaller
from pathlib import Path
from types import TracebackType
from typing import Any

import dagster as dg

from dynsync_pipeline.clients.systems import System
from dynsync_pipeline.cycle import Cycle
from dynsync_pipeline.defs.held import held_by
from dynsync_pipeline.defs.pairs import PAIR_TAG
from dynsync_pipeline.errors import DynSyncError, SqlFileFailed, StorageFailed
from dynsync_pipeline.model.records import TABLES, RecordType
from dynsync_pipeline.settings import Settings
from dynsync_pipeline.settings_sources import load_settings
from dynsync_pipeline.warehouse.connection import Warehouse
from dynsync_pipeline.warehouse.cycle_lock import CycleLock

CYCLE_TAG = "dynsync/cycle_id"  # leads from a run to its rows in the snapshot, where every ledger names the cycle

# Each extract asset and the step behind it; they run side by side.
READS: dict[str, Callable[[Cycle], int]] = {
    **{f"dynamics_{TABLES[kind].entity_set}": methodcaller("extract_records", kind) for kind in RecordType},
    "marketo_people": methodcaller("extract_people"),
}


@dataclass(frozen=True)
class Read:
    """What one extract step did: rows read, and the seconds it took in its own thread."""

    n_rows: int
    seconds: float


class CycleRun:
    """The cycle of one Dagster run. Nothing is read, opened or locked before an asset asks for it.

    `settings` None: they are read when the first asset runs, so that the UI loads without them: from the environment, or
    those of `pair`.
    `run` is Dagster's, which a pause holds where nobody started it by hand.
    `tell` gets the number of the cycle when it begins.
    """

    def __init__(
        self,
        settings: Settings | None = None,
        open_cycle: Callable[[Settings], Cycle] = Cycle,
        pair: str | None = None,
        run: dg.DagsterRun | None = None,
        tell: Callable[[int], None] = lambda cycle_id: None,
    ) -> None:
        self._given_settings = settings
        self._open_cycle = open_cycle
        self._pair = pair
        self._run = run
        self._tell = tell
        self._cycle: Cycle | None = None
        self._obstacle: tuple[Exception, TracebackType | None] | None = None
        self._error: BaseException | None = None
        self._pool: ThreadPoolExecutor | None = None
        self._reads: dict[str, Future[Read]] = {}
        self._open = ExitStack()
        self._told: set[str] = set()

    @cached_property
    def settings(self) -> Settings:
        """The settings of this run. Raises: SettingsWrong."""
        return self._given_settings or load_settings(pair=self._pair)

    @contextmanager
    def step(self) -> Iterator[Cycle]:
        """The cycle, for one asset's work in it. Raises: dagster.Failure with the sentence of whatever went wrong.

        Dagster tells a resource nothing of why its run failed, so the error is noted here for the ledger.
        """
        with self.as_failure():
            yield self._opened()

    @contextmanager
    def telling_once(self, log: Callable[[str], None]) -> Iterator[list[dict[str, Any]]]:
        """Around a step that others run beside: what an earlier one failed of fails the run, and is told once.

        Yields a list for what the step has to show, which stays empty in a step that only repeats a failure.
        """
        shown: list[dict[str, Any]] = []
        try:
            yield shown
        except dg.Failure as failure:
            sentence = failure.description or ""
            if sentence not in self._told:
                self._told.add(sentence)
                raise
            log("Not read: another step of this run failed, and says why.")

    @contextmanager
    def looking(self) -> Iterator[Warehouse]:
        """The working file, for checks, as `warehouse` gives it. Raises: dagster.Failure, as `step`."""
        with self.as_failure(), self.warehouse() as warehouse:
            yield warehouse

    @contextmanager
    def warehouse(self) -> Iterator[Warehouse]:
        """The working file: that of the cycle, or else opened under the lock by itself.

        A run that only looks opens no cycle and calls no system. Raises: CycleRunning, StorageFailed.
        """
        if self._cycle is not None:
            yield self._cycle.warehouse
            return
        with CycleLock(self.settings.lock_file):
            if not self.settings.working_file.exists():
                raise StorageFailed(
                    f"{self.settings.working_file} does not exist yet.",
                    next_step="Start the job sync_cycle, which makes it.",
                )
            with Warehouse(self.settings.working_file) as warehouse:
                yield warehouse

    def read(self, name: str, names_in_run: Collection[str]) -> Read:
        """Wait for the extract step `name`; the first call starts all of `names_in_run` side by side.

        Call it inside `step`. Raises: ApiError, StorageFailed.
        """
        cycle = self._opened()
        if self._pool is None:
            self._pool = ThreadPoolExecutor(max_workers=len(READS), thread_name_prefix="extract")
            for started in sorted({name, *names_in_run} & READS.keys()):
                self._reads[started] = self._pool.submit(copy_context().run, _timed, READS[started], cycle)
        return self._reads[name].result()

    def calls(self, system: System) -> int:
        """Calls that this cycle sent to `system` so far. Call it inside `step`."""
        return self._opened().systems.n_calls(system)

    def refuse(self, error: DynSyncError) -> None:
        """Note that a check ended this cycle; the first error noted is the one the ledger tells."""
        self._error = self._error or error

    def end(self) -> None:
        """End the cycle as what it came to be, and give the lock back."""
        if self._cycle is None:
            return
        cycle, self._cycle = self._cycle, None
        error = self._error  # told already, by the step it ended; the cycle learns of it here
        try:
            # An interrupted run leaves reads under way: with the turn held none of them is inside a statement while the
            # file is closed, and each ends at its next statement or request.
            with cycle.warehouse.reading():
                self._open.__exit__(type(error) if error else None, error, error.__traceback__ if error else None)
        finally:
            if self._pool is not None:
                self._pool.shutdown(wait=False, cancel_futures=True)

    def _opened(self) -> Cycle:
        """The cycle, open and prepared. What stood in the way once stands in the way of every later step of the run."""
        if self._obstacle is not None:
            error, places = self._obstacle
            raise error.with_traceback(places)
        if self._cycle is None:
            try:
                if held := held_by(self._run, self.settings):
                    raise DynSyncError(str(held), next_step="This run waited in the queue, and did nothing.")
                self._cycle = self._open.enter_context(self._open_cycle(self.settings))
                self._tell(self._cycle.cycle_id)
                self._cycle.prepare()
            except Exception as error:
                self._obstacle = error, error.__traceback__
                raise
        return self._cycle

    def _whose(self, error: DynSyncError) -> str:
        """The sentence of an error, with the pair that it is about, where there are several."""
        sentence, whose = str(error), f"Pair {self._pair}: "
        return sentence if self._pair is None or sentence.startswith(whose) else whose + sentence

    @contextmanager
    def as_failure(self) -> Iterator[None]:
        """Around work of an asset: what goes wrong is noted, and fails the run with its sentence. Raises: dagster.Failure."""
        try:
            yield
        except dg.Failure:
            raise
        except DynSyncError as error:
            self.refuse(error)
            statement = (
                {"statement": dg.MetadataValue.md(f"```sql\n{error.statement}\n```")}
                if isinstance(error, SqlFileFailed)
                else {}
            )
            raise dg.Failure(self._whose(error), metadata=statement, allow_retries=error.retry_helps) from None
        except Exception as error:
            # The message of an unforeseen error may quote a record, so only its kind and place are told.
            self._error = self._error or error
            raise dg.Failure(
                f"{type(error).__name__}: an error inside DynSync. Please report the places listed with this failure; "
                "the next cycle starts from what was committed.",
                metadata={"places": dg.MetadataValue.md(_places(error))},
                allow_retries=False,
            ) from None
        except BaseException:
            self.refuse(_ended_from_outside())
            raise


def cycle_resource(
    settings: Settings | None = None, open_cycle: Callable[[Settings], Cycle] = Cycle
) -> dg.ResourceDefinition:
    """The resource `cycle`: one `CycleRun` for the whole Dagster run."""

    @dg.resource(description="One cycle under the cycle lock, shared by all steps of a run.")
    def cycle(context: dg.InitResourceContext) -> Iterator[CycleRun]:
        pair = context.run.tags.get(PAIR_TAG) if context.run is not None else None
        cycle_run = CycleRun(settings, open_cycle, pair, context.run, lambda cycle_id: _tag(context, cycle_id))
        try:
            yield cycle_run
        finally:
            if _is_canceling(context):
                cycle_run.refuse(_ended_from_outside())
            cycle_run.end()

    return cycle


def _tag(context: dg.InitResourceContext, cycle_id: int) -> None:
    """Let the run bear the number of its cycle."""
    if context.instance is not None and context.run is not None:
        context.instance.add_run_tags(context.run.run_id, {CYCLE_TAG: str(cycle_id)})


def _is_canceling(context: dg.InitResourceContext) -> bool:
    """Whether somebody, or the run monitor, ends the run; between two steps no asset is there to notice."""
    if context.instance is None or context.run is None:
        return False
    run = context.instance.get_run_by_id(context.run.run_id)
    return run is not None and run.status == dg.DagsterRunStatus.CANCELING


def _ended_from_outside() -> DynSyncError:
    return DynSyncError(
        "The run was ended before its time, by hand or because it took longer than the limit.",
        next_step="The next cycle finds out what was applied and goes on; see the run in Dagster.",
    )


def _timed(read: Callable[[Cycle], int], cycle: Cycle) -> Read:
    started_s = time.monotonic()
    n_rows = read(cycle)
    return Read(n_rows, time.monotonic() - started_s)


def _places(error: BaseException) -> str:
    """Where an error passed, as a list: file, line and function, and nothing of the values at hand."""
    frames = traceback.extract_tb(error.__traceback__)
    return "\n".join(f"- {Path(frame.filename).name}:{frame.lineno} in `{frame.name}`" for frame in frames)
