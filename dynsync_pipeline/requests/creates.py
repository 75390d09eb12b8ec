"""New records on their way to Dynamics: sent in batches, looked for where nobody knows whether they were made.

Who failed before goes alone, so that one poisons no other. Not here: what they hold, and what follows (`serving.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from dynsync_pipeline.clients.dynamics.protocol import Column, RecordWrite, WriteResult
from dynsync_pipeline.clients.systems import Dynamics
from dynsync_pipeline.errors import (
    AnswerUnreadable,
    ApiError,
    ColumnUnknown,
    RecordExists,
    RecordMissing,
    RequestRefused,
)
from dynsync_pipeline.model.records import TABLES, UNREAD, RecordType

MOST_RECORDS = 100  # in one $batch
MOST_FAILURES = 3  # in a row, after which Dynamics counts as down
_REFUSING = (RequestRefused, RecordMissing)
_UNPROVEN = "Dynamics does not tell whether the record exists that an earlier try may have made."
Row = Mapping[str, str | None]


class NewRecord(NamedTuple):
    """A record to be made: the request's id, which it bears, its body as JSON, and how often that was tried in vain."""

    request_id: str
    body: str
    attempts: int


class Results(Protocol):
    """What is done with what became of them."""

    def note_sent(self, request_ids: Sequence[str]) -> None:
        """They are about to leave."""

    def link(self, record_type: RecordType, rows: Mapping[str, Row], *, is_new: bool) -> None:
        """They are there, as Dynamics shows them; `is_new`: made just now."""

    def refuse(self, request_id: str, error: ApiError) -> None:
        """Dynamics will not take one."""

    def put_off(self, request_ids: Sequence[str], message: str) -> None:
        """Nothing is known of them, or not made yet; `message` says why."""


class Creates:
    """The new records of one table, in one turn. `failure` says why some of them wait, None where none does."""

    def __init__(
        self, dynamics: Dynamics, record_type: RecordType, columns: Sequence[Column], results: Results
    ) -> None:
        self._dynamics = dynamics
        self._record_type = record_type
        self._columns = columns
        self._results = results
        self._n_failures = 0
        self.failure: str | None = None

    def send(self, records: Sequence[NewRecord]) -> None:
        """Send all of them."""
        fresh = [each for each in records if not each.attempts]
        batches = [fresh[start : start + MOST_RECORDS] for start in range(0, len(fresh), MOST_RECORDS)]
        for batch in [*batches, *([each] for each in records if each.attempts)]:
            self._send(batch)

    def find(self, request_ids: Sequence[str]) -> set[str]:
        """Look for records that were sent before, and pass on what is there; returns those that Dynamics says do not exist."""
        if not request_ids:
            return set()
        try:
            looked = self._dynamics.look_up(TABLES[self._record_type], self._columns, request_ids)
        except ApiError as error:
            self._fail(request_ids, error)
            return set()
        found = {row["id"]: row for row in looked.rows.to_pylist() if row.get(UNREAD) is None}
        self._results.link(self._record_type, found, is_new=False)
        missing = set(looked.missing_ids)
        self._put_off([each for each in request_ids if each not in missing and each not in found], _UNPROVEN)
        return missing

    def _send(self, batch: Sequence[NewRecord]) -> None:
        if self._n_failures >= MOST_FAILURES:
            return  # they are due at once when Dynamics is up again
        ids = [each.request_id for each in batch]
        self._results.note_sent(ids)
        writes = [RecordWrite(each.request_id, each.body, None) for each in batch]
        try:
            results = self._dynamics.write(TABLES[self._record_type], self._columns, writes)
        except ColumnUnknown as error:  # the next cycle learns which columns there are
            self._fail(ids, error)
        except _REFUSING as error:
            if len(batch) == 1:
                self._results.refuse(ids[0], error)
                return
            for half in (batch[: len(batch) // 2], batch[len(batch) // 2 :]):
                self._send(half)
        except ApiError as error:
            self._fail(ids, error)
        else:
            self._n_failures = 0
            self._answered(results)

    def _answered(self, results: Sequence[WriteResult]) -> None:
        """What single answers say; a record that may be there already, or was made and not shown, is looked for by its id."""
        made = {result.id: result.row for result in results if result.row is not None}
        self._results.link(self._record_type, made, is_new=True)
        hidden: dict[str, ApiError] = {}
        for result in results:
            error = result.error
            if isinstance(error, RecordExists | AnswerUnreadable):
                hidden[result.id] = error
            elif isinstance(error, _REFUSING) and not isinstance(error, ColumnUnknown):
                self._results.refuse(result.id, error)
            elif error is not None:  # a right that is missing too: that is no fault of the person's
                self._put_off([result.id], str(error))
        for request_id in self.find(list(hidden)):  # what exists is another record with the same alternate key
            self._results.refuse(request_id, hidden[request_id])

    def _fail(self, request_ids: Sequence[str], error: ApiError) -> None:
        self._n_failures += 1
        self._put_off(request_ids, str(error))

    def _put_off(self, request_ids: Sequence[str], message: str) -> None:
        if request_ids:
            self.failure = message
            self._results.put_off(request_ids, message)
