"""A refusal that names no field: a record's fields are sent in halves, until what is refused is alone and the rest arrives.

Source: docs/design.md#refusals (R116). Not here: what an answer proves and what is kept of it (`sending.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from dynsync_pipeline.errors import ApiError, RequestRefused
from dynsync_pipeline.write_back.receipts import PlannedWrite
from dynsync_pipeline.write_back.ways import Answer, Way, halves

DEEPER = 2  # refusals in a row that a search may meet beyond those on the way down to one field


class FieldSearch:
    """The search through one refused record; `ask` sends a part of it, and gives None where nobody knows what became of it.

    `done` is the answer to the last part that was applied, `refused` has an error for each field that was not.
    """

    def __init__(
        self, way: Way, write: PlannedWrite, error: ApiError, ask: Callable[[PlannedWrite], Answer | None]
    ) -> None:
        self._way = way
        self._write = write
        self._ask = ask
        self.error = error  # the last one
        members = write.members(way.keys)
        self._most = len(members).bit_length() + DEEPER
        self._waiting = list(reversed(halves(members)))
        self._n_in_vain = 0
        self.done: Answer | None = None
        self.refused: list[ApiError] = []

    def run(self) -> Answer | None:
        """The answer to the record as a whole; None where it stands as sent, for the next cycle to find out what arrived.

        A search that meets refusals only gives up on its way, and the record is refused as a whole.
        """
        while self._waiting and (self._may_ask or self.done):
            names = self._waiting.pop()
            if not self._may_ask:
                self.refused += [self.error.told_of(field=name) for name in names]
                continue
            answer = self._ask(self._part(names))
            if answer is None:
                return None
            if answer.error is None:
                self.done, self._n_in_vain = answer, 0
            elif isinstance(answer.error, RequestRefused):
                self._narrow(names, answer.error)
            else:
                self.error = answer.error
                return answer if self.done is None else None
        return self._whole()

    @property
    def _may_ask(self) -> bool:
        return self._n_in_vain < self._most

    def _part(self, names: Sequence[str]) -> PlannedWrite:
        part = self._write.only({*names, *self._way.keys})
        if self.done is not None and self.done.row is not None:
            part = replace(part, etag=self.done.row["etag"])  # our own part has moved the version
        return part

    def _narrow(self, names: list[str], error: ApiError) -> None:
        """A part was refused: go on without the field at fault, or with halves where nobody knows which it is."""
        self._n_in_vain += 1
        self.error = error
        named = error.field if error.field in names else names[0] if len(names) == 1 else None
        if named is None:
            self._waiting += reversed(halves(names))
            return
        self.refused.append(error.told_of(field=named))
        if len(names) > 1:
            self._waiting.append([name for name in names if name != named])

    def _whole(self) -> Answer:
        if self.done is not None:
            return self.done
        if self._waiting:
            self.refused.clear()  # the search gave up
            return Answer(self.error)
        return Answer(self.refused.pop())
