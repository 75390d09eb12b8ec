"""Warehouses of tests, and kills: how far a cycle comes before its process dies.

Not here: processes that really die (`../faults/cut_short.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb

from dynsync_pipeline.warehouse.connection import IN_MEMORY, Warehouse, utc_now


class Cut(BaseException):
    """The process was killed here. Not an Exception: nothing may catch it."""


@dataclass
class Steps:
    """Counts what a kill can fall between: transactions and remote writes. At `left` = 0 no further step is taken."""

    left: int | None = None
    taken: int = 0

    def step(self) -> None:
        if self.left is not None:
            if self.left == 0:
                raise Cut
            self.left -= 1
        self.taken += 1


class SmallWarehouse(Warehouse):
    """A warehouse for a handful of rows, where planning a statement takes longer than running it.

    A second thread has nothing to do on them, and a sixth of the time goes into it; the optimiser takes a fourth.
    """

    def __init__(self, path: Path, clock: Callable[[], datetime] = utc_now) -> None:
        super().__init__(path, clock)
        self._connection.execute("set threads = 1; pragma disable_optimizer")


class CutWarehouse(SmallWarehouse):
    """A warehouse whose process can be killed before any transaction. The machine under it is not: nothing waits for a disk.

    It begins as a copy of a new working file, because making the tables of one takes as long as a cycle.
    """

    def __init__(self, path: Path, steps: Steps, clock: Callable[[], datetime]) -> None:
        self.steps = steps
        if path != IN_MEMORY and not path.exists():
            path.write_bytes(_new_file())
        super().__init__(path, clock)
        self._connection.execute("set fsync_mode = 'NONE'")

    @contextmanager
    def transaction(self) -> Iterator[duckdb.DuckDBPyConnection]:
        self.steps.step()
        with super().transaction() as connection:
            yield connection


class MemoryWarehouse(CutWarehouse):
    """One in memory, for stores that are large and made at once; `path` is where its file would be."""

    def __init__(self, path: Path, steps: Steps, clock: Callable[[], datetime]) -> None:
        super().__init__(IN_MEMORY, steps, clock)
        self.path = path


@cache
def _new_file() -> bytes:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "new.duckdb"
        Warehouse(path).close()
        return path.read_bytes()
