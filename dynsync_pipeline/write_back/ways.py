"""What a way of sending operations is, and what it answers. The ways are in `dynamics.py` and `marketo.py`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple, Protocol, TypeVar

import duckdb

from dynsync_pipeline.errors import ApiError
from dynsync_pipeline.write_back.receipts import PlannedWrite

Item = TypeVar("Item")
Landing = Callable[[duckdb.DuckDBPyConnection], None]


class Answer(NamedTuple):
    """What became of one operation: the error, or what the system tells: an id (Marketo), the record (Dynamics)."""

    error: ApiError | None = None
    target_id: int | None = None
    row: dict[str, str | None] | None = None


class Way(Protocol):
    """How operations of one kind are sent. `kind` names it; `keys` are the members of a body that say which record is meant."""

    @property
    def kind(self) -> str:
        """What a system may refuse as a kind, whatever the record."""

    @property
    def keys(self) -> Collection[str]:
        """Never sent alone, and never left out."""

    def send(self, writes: Sequence[PlannedWrite]) -> list[Answer]:
        """One request; one answer each, in order. Raises: ApiError, where the whole request failed."""

    def observe(self, done: Sequence[tuple[PlannedWrite, Answer]]) -> Landing:
        """What the system made of applied operations, ready to land. Raises: ApiError."""


def halves(items: Sequence[Item]) -> list[list[Item]]:
    """The first half, which is the smaller one, and the second."""
    middle = len(items) // 2
    return [list(items[:middle]), list(items[middle:])]
