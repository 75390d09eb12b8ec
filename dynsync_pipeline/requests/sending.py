"""What requests write to Dynamics: sent in batches, looked for where nobody knows whether it was made.

Who failed before goes alone, so that one poisons no other. Not here: what it holds, and what follows (`serving.py`,
`on_records.py`).
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
from dynsync_pipeline.model.records import UNREAD, EntitySet

MOST_RECORDS = 100  # in one $batch
MOST_FAILURES = 3  # in a row, after which Dynamics counts as down
_REFUSING = (RequestRefused, RecordMissing)
_UNPROVEN = "Dynamics does not tell whether the record exists that an earlier try may have made."
Row = Mapping[str, str | None]


class Wanted(NamedTuple):
    """A record to be made or changed: its id, what is written as JSON, and how often that was tried in vain."""

    record_id: str
    body: str
    attempts: int


class Results(Protocol):
    """What is done with what became of them."""

    def note_sent(self, record_ids: Sequence[str]) -> None:
        """They are about to leave."""

    def written(self, rows: Mapping[str, Row], *, is_new: bool) -> None:
        """They stand, as Dynamics shows them, by id; `is_new`: it took them just now."""

    def refuse(self, record_id: str, error: ApiError) -> None:
        """Dynamics will not take one."""

    def put_off(self, record_ids: Sequence[str], message: str) -> None:
        """Nothing is known of them, or not done yet; `message` says why."""


class Sending:
    """The writes to one table, in one turn. `failure` says why some of them wait, None where none does.

    `makes`: they are new records; else records that are there, whatever their version.
    """

    def __init__(
        self, dynamics: Dynamics, table: EntitySet, columns: Sequence[Column], results: Results, *, makes: bool
    ) -> None:
        self._dynamics = dynamics
        self._table = table
        self._columns = columns
        self._results = results
        self._etag = None if makes else "*"
        self._n_failures = 0
        self.failure: str | None = None

    def send(self, records: Sequence[Wanted]) -> None:
        """Send all of them."""
        fresh = [each for each in records if not each.attempts]
        batches = [fresh[start : start + MOST_RECORDS] for start in range(0, len(fresh), MOST_RECORDS)]
        for batch in [*batches, *([each] for each in records if each.attempts)]:
            self._send(batch)

    def find(self, record_ids: Sequence[str]) -> set[str]:
        """Look for records that were sent before, and pass on what is there; returns those that Dynamics says do not exist."""
        if not record_ids:
            return set()
        try:
            looked = self._dynamics.look_up(self._table, self._columns, record_ids)
        except ApiError as error:
            self._fail(record_ids, error)
            return set()
        found = {row["id"]: row for row in looked.rows.to_pylist() if row.get(UNREAD) is None}
        if found:
            self._results.written(found, is_new=False)
        missing = set(looked.missing_ids)
        self._put_off([each for each in record_ids if each not in missing and each not in found], _UNPROVEN)
        return missing

    def _send(self, batch: Sequence[Wanted]) -> None:
        if self._n_failures >= MOST_FAILURES:
            return  # they are due at once when Dynamics is up again
        ids = [each.record_id for each in batch]
        self._results.note_sent(ids)
        writes = [RecordWrite(each.record_id, each.body, self._etag) for each in batch]
        try:
            results = self._dynamics.write(self._table, self._columns, writes)
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
        """What single answers say; a record that may be there already, or was written and not shown, is looked for by its id."""
        written = {result.id: result.row for result in results if result.row is not None}
        if written:
            self._results.written(written, is_new=True)
        hidden: dict[str, ApiError] = {}
        for result in results:
            error = result.error
            if isinstance(error, RecordExists | AnswerUnreadable):
                hidden[result.id] = error
            elif isinstance(error, _REFUSING) and not isinstance(error, ColumnUnknown):
                self._results.refuse(result.id, error)
            elif error is not None:  # a right that is missing too: that is no fault of the person's
                self._put_off([result.id], str(error))
        for record_id in self.find(list(hidden)):  # what exists is another record with the same alternate key
            self._results.refuse(record_id, hidden[record_id])

    def _fail(self, record_ids: Sequence[str], error: ApiError) -> None:
        self._n_failures += 1
        self._put_off(record_ids, str(error))

    def _put_off(self, record_ids: Sequence[str], message: str) -> None:
        if record_ids:
            self.failure = message
            self._results.put_off(record_ids, message)
