"""Takes into the ledger what people did by command (`operator_actions`), from wherever a command told it, each once.

A command that asks for something is kept by the store of requests, in one transaction with that, until a ledger has it for sure.
Not here: what is told in files (`../warehouse/action_ledger.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import duckdb

from dynsync_pipeline.errors import StorageFailed
from dynsync_pipeline.requests.store import RequestStore
from dynsync_pipeline.warehouse.action_ledger import remove_taken_in, take_in_actions
from dynsync_pipeline.warehouse.connection import Warehouse
from dynsync_pipeline.warehouse.operator_actions import Action


@contextmanager
def taking_in_actions(warehouse: Warehouse, data_dir: Path, requests_file: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """A transaction that begins with what was told in `data_dir` and in the store; once it is committed, neither keeps that.

    What a kill lets them keep all the same is known by its id the next time. Raises: StorageFailed, but not for the store.
    """
    with warehouse.transaction() as connection:
        kept = _kept(requests_file)
        files = take_in_actions(connection, data_dir, kept)
        yield connection
    remove_taken_in(files)
    _let_go(requests_file, kept)


def _kept(requests_file: Path) -> list[Action]:
    """Those of the store; none where nobody ever asked for anything, or where it cannot be used, which stops nobody."""
    with suppress(StorageFailed):
        if requests_file.exists():
            with RequestStore(requests_file) as store:
                return store.actions()
    return []


def _let_go(requests_file: Path, kept: Sequence[Action]) -> None:
    with suppress(StorageFailed):
        if kept:
            with RequestStore(requests_file) as store:
                store.forget_actions(kept)
