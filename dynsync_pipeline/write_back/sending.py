"""One direction's turn of writing: each request is answered, halved or given up, and no request ends the turn of the others.

What an answer to a whole request proves decides (docs/design.md#refusals). Content that was refused is halved until what is
at fault is alone: a record, and of a record a field. Where nobody knows what was applied, the records stand as sent, and the
next cycle reads them by key. Where a system takes nothing at all, the turn is over, and what was not sent is planned anew.
Not here: the requests themselves (`dynamics.py`, `marketo.py`), what a receipt means for base and ledger (`receipts.py`).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from datetime import datetime
from itertools import chain, islice

import duckdb

from dynsync_pipeline.errors import (
    OUTCOME_UNKNOWN,
    AccessDenied,
    AnswerUnreadable,
    ApiError,
    BudgetSpent,
    RateLimited,
    RequestRefused,
    SignInRefused,
    TimedOut,
    Unreachable,
)
from dynsync_pipeline.warehouse.connection import Warehouse
from dynsync_pipeline.write_back.receipts import (
    PlannedWrite,
    mark_sent,
    mark_unsent,
    note_failure,
    note_receipts,
    note_refused_field,
)
from dynsync_pipeline.write_back.searching import FieldSearch
from dynsync_pipeline.write_back.ways import Answer, Landing, Way, halves

MOST_FAILURES = 3  # requests in a row of unknown outcome, after which a system counts as down
MOST_REFUSED = 50  # requests in a row with one record each that were refused, after which the fault is in no record
MOST_IN_VAIN = 5  # records in a row that were refused field by field, after which the fault is in no field


class Turn:
    """All requests to `system` in one cycle, whose own clock is `clock`; `at_once` of them may be under way.

    As many more threads store answers meanwhile, so that a system that takes so many always has so many to do.
    `failure` is why some operations were not sent, or have no known outcome. What is counted in a row is counted as the
    answers come, so that of a system that is down as many requests more are sent as were under way.
    """

    def __init__(self, warehouse: Warehouse, system: str, clock: Callable[[], datetime], at_once: int) -> None:
        self._warehouse = warehouse
        self._system = system
        self._clock = clock
        self._at_once = at_once
        self._places = threading.Semaphore(at_once)
        self._counting = threading.Lock()
        self.failure: ApiError | None = None
        self.is_over = False
        self._closed: set[str] = set()  # kinds of operations that the system does not take from anybody
        self._n_failures = 0
        self._n_refused = 0
        self._n_in_vain = 0

    @property
    def told(self) -> str | None:
        """The failure as a sentence."""
        return None if self.failure is None else str(self.failure)

    def send_all(self, way: Way, batches: Iterator[list[PlannedWrite]]) -> None:
        """Send batches of which no two hold the same record, several at a time. Raises: StorageFailed.

        They are begun in their order; a single one needs no thread.
        """
        first = list(islice(batches, 2))
        batches = chain(first, batches)
        if len(first) < 2 or self._at_once == 1:
            for batch in batches:
                self.send(way, batch)
            return
        n_threads = 2 * self._at_once
        pool = ThreadPoolExecutor(n_threads, thread_name_prefix=f"write-{self._system}")
        under_way: set[Future[None]] = set()
        try:
            for batch in batches:
                if len(under_way) == n_threads:
                    done, under_way = wait(under_way, return_when=FIRST_COMPLETED)
                    _raise_first(done)
                under_way.add(pool.submit(self.send, way, batch))
            done, _ = wait(under_way, return_when=FIRST_EXCEPTION)
            _raise_first(done)
        except BaseException as error:
            self.is_over = True
            # Whoever interrupts waits for no answer: what is under way stands as sent, and the next cycle finds it out.
            pool.shutdown(wait=isinstance(error, Exception), cancel_futures=True)
            raise
        pool.shutdown()

    def send(self, way: Way, batch: Sequence[PlannedWrite]) -> None:
        """Send one batch, in as many requests as its faults ask for. Raises: StorageFailed, which ends the turn."""
        try:
            self._send(way, batch)
        except BaseException:
            self.is_over = True  # or who waits for a place would still send
            raise

    def _send(self, way: Way, batch: Sequence[PlannedWrite]) -> None:
        waiting = [list(batch)]
        while waiting and not self._takes_no_more(way):
            writes = waiting.pop()
            answers = self._request(way, writes)
            if answers is None:
                continue
            if isinstance(answers, ApiError):
                if len(writes) > 1:
                    waiting += reversed(halves(writes))
                    continue
                answers = [self._alone(writes[0], answers)]
            else:
                self._n_refused = 0
            if rest := self._keep(way, writes, answers):
                waiting.append(rest)

    def _takes_no_more(self, way: Way) -> bool:
        return self.is_over or way.kind in self._closed

    # -- one request -----------------------------------------------------------------------------------------------

    def _request(
        self, way: Way, writes: Sequence[PlannedWrite], *, is_part: bool = False
    ) -> list[Answer] | ApiError | None:
        """The answers; the error, where the content was refused and nothing applied; None where the request failed, or the
        turn was over before it had its place.

        `is_part`: other parts of the same operation may have been applied, so that it stands as sent whatever comes.
        """
        with self._places:
            if not is_part and self._takes_no_more(way):
                return None
            # Not while it waits: after a cut whatever is marked counts as having left, and edits from then on as later ones.
            mark_sent(self._warehouse, writes, self._clock(), is_part=is_part)
            try:
                answers = way.send(writes)
            except ApiError as failed:
                error = failed
                if len(writes) == 1 and not _proves_nothing_applied(failed):
                    error = failed.told_of(
                        record=f"{writes[0].record_type} {writes[0].dynamics_id}, alone in its request"
                    )
                is_of_content = self._judge(way, writes, error)  # before another has this place
            else:
                self._n_failures = 0
                return answers
        if not _proves_nothing_applied(error):
            note_failure(self._warehouse, writes, error)
        elif not is_part:
            mark_unsent(self._warehouse, writes)
        return error if is_of_content else None

    def _judge(self, way: Way, writes: Sequence[PlannedWrite], error: ApiError) -> bool:
        """Whether what was sent is at fault; if not, what that means for the rest of the turn is noted."""
        if not _proves_nothing_applied(error):
            # Where its one record is known to be at fault, the system is not.
            if len(writes) > 1 or not writes[0].is_at_fault:
                self._note_failure(error)
        elif _is_of_the_kind(error):
            self._closed.add(way.kind)
            self.failure = self.failure or error
        elif isinstance(error, _OF_THE_SYSTEM) or _is_of_the_address(error):
            self._note_failure(error)
        else:
            return True
        return False

    def _note_failure(self, error: ApiError) -> None:
        self.failure = self.failure or error
        with self._counting:
            self._n_failures += 1
        self.is_over = self.is_over or _proves_nothing_applied(error) or self._n_failures >= MOST_FAILURES

    def _alone(self, write: PlannedWrite, error: ApiError) -> Answer:
        """A whole request with one record was refused: that is the record's answer; if too often, it is everybody's."""
        with self._counting:
            self._n_refused += 1
        if self._n_refused >= MOST_REFUSED:
            self.failure = self.failure or error
            self.is_over = True
        return Answer(error.told_of(record=f"{write.record_type} {write.dynamics_id}, alone in its request"))

    # -- its answers -----------------------------------------------------------------------------------------------

    def _keep(self, way: Way, writes: Sequence[PlannedWrite], answers: Sequence[Answer]) -> list[PlannedWrite]:
        """Store receipts and observations together; returns what is left to send of records of which a field was refused."""
        done = [(write, answer) for write, answer in zip(writes, answers, strict=True) if answer.error is None]
        land = self._observe(way, done)
        answered = [(write, answer) for write, answer in done if land is not None]
        rest, searched = [], []
        with self._warehouse.transaction() as connection:
            for write, answer in zip(writes, answers, strict=True):
                error = answer.error
                if error is None:
                    continue
                if isinstance(error, _UNKNOWN_OF_RECORD):
                    self.failure = self.failure or error  # and the record stands as sent
                    continue
                if error.field is not None and (less := write.without({error.field}, way.keys)):
                    note_refused_field(connection, write, self._system, error)
                    rest.append(less)
                elif self._may_search(way, write, error):
                    searched.append((write, error))
                else:
                    answered.append((write, answer))
            self._store(connection, answered, land)
        for write, error in searched:
            self._search(way, write, error)
        return rest

    def _observe(self, way: Way, done: Sequence[tuple[PlannedWrite, Answer]]) -> Landing | None:
        """What is to land; None where nothing was applied, or where it cannot be read just now and so stands as sent."""
        if not done:
            return None
        with self._places:
            try:
                return way.observe(done)
            except ApiError as error:
                self._note_failure(error)  # before another has this place
                return None

    def _store(
        self,
        connection: duckdb.DuckDBPyConnection,
        answered: Sequence[tuple[PlannedWrite, Answer]],
        land: Landing | None,
    ) -> None:
        receipts = [
            (write, None if write.company_key else answer.target_id or write.person_id, answer.error)
            for write, answer in answered
        ]
        note_receipts(connection, receipts, self._warehouse.now())
        if land is not None:
            land(connection)

    # -- a refusal that names no field -----------------------------------------------------------------------------

    def _may_search(self, way: Way, write: PlannedWrite, error: ApiError) -> bool:
        members = write.members(way.keys)
        is_unnamed = isinstance(error, RequestRefused) and error.field not in {*members, *way.keys}
        return is_unnamed and len(members) > 1 and self._n_in_vain < MOST_IN_VAIN and not self.is_over

    def _search(self, way: Way, write: PlannedWrite, error: ApiError) -> None:
        """Send a record's fields in halves, so that what is refused is alone and the rest arrives (R116).

        A search that is interrupted leaves the record as sent: what arrived of it is found out by the next cycle.
        """

        def ask(part: PlannedWrite) -> Answer | None:
            answers = self._request(way, [part], is_part=True)
            return Answer(answers) if isinstance(answers, ApiError) else answers[0] if answers else None

        search = FieldSearch(way, write, error, ask)
        answer = search.run()
        if answer is None:
            self.failure = self.failure or search.error
            return
        with self._counting:
            self._n_in_vain = 0 if search.done else self._n_in_vain + 1
        self._receive(way, write, answer, refused=search.refused)

    def _receive(self, way: Way, write: PlannedWrite, answer: Answer, refused: Sequence[ApiError] = ()) -> None:
        """Store the one receipt of a record that was sent in parts."""
        land = self._observe(way, [(write, answer)] if answer.error is None else [])
        if answer.error is None and land is None:
            return
        with self._warehouse.transaction() as connection:
            for error in refused:
                note_refused_field(connection, write, self._system, error)
            self._store(connection, [(write, answer)], land)


def _raise_first(done: Iterable[Future[None]]) -> None:
    for each in done:
        each.result()


# Of one record inside an answer: there a failure is told by the system itself, and nothing was applied.
_UNKNOWN_OF_RECORD = (TimedOut, AnswerUnreadable)
# What every other request would meet as well.
_OF_THE_SYSTEM = (Unreachable, RateLimited, BudgetSpent, SignInRefused, AccessDenied)


def _proves_nothing_applied(error: ApiError) -> bool:
    return not isinstance(error, OUTCOME_UNKNOWN)


def _is_of_the_kind(error: ApiError) -> bool:
    """Whether a system takes no operation of that kind, whatever the record: companies belong to a native sync (R21)."""
    return isinstance(error, RequestRefused) and error.code == "1018"


def _is_of_the_address(error: ApiError) -> bool:
    """Whether the answer is about where the request went, and not about what it carried."""
    return isinstance(error, RequestRefused) and (error.status in (404, 405) or error.code == "610")
