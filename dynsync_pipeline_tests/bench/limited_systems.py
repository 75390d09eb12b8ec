"""Both emulators in a process of their own, under the limits that the vendors set, and a Dynamics that takes its time.

Nothing is scaled: a window of 20 seconds lasts 20 seconds. An emulated Dynamics is far quicker than a real one, and would never
meet the limits of execution time; so here each record of a batch takes a while, which counts as execution time.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple
from unittest.mock import patch

from starlette.requests import Request

from dynsync_pipeline.emulators.dataverse import app as dataverse
from dynsync_pipeline.emulators.dataverse.call import Answer
from dynsync_pipeline.emulators.dataverse.store import Store, User
from dynsync_pipeline.emulators.marketo.store import Behaviour
from dynsync_pipeline.emulators.running import Emulators

_OPERATION = b"\r\nPATCH /"


class Limited(NamedTuple):
    """The settings that reach the emulators, and the process that they run in."""

    environment: dict[str, str]
    process_id: int


@contextmanager
def limited(state: Path, record_s: float) -> Iterator[Limited]:
    """Serve what stands in the folder `state` as long as it is open; a batch takes `record_s` for each record at least."""
    processes = multiprocessing.get_context("spawn")
    ours, theirs = processes.Pipe()
    process = processes.Process(target=_serve, args=(state, record_s, theirs))
    process.start()
    assert process.pid is not None
    theirs.close()  # so that an emulator that does not start is an end of file here
    try:
        yield Limited(ours.recv(), process.pid)
    finally:
        ours.close()
        process.join()


def _serve(state: Path, record_s: float, caller: Connection) -> None:
    """Tell the caller the settings, and serve until the caller closes its end."""
    answered = dataverse._serve

    def answered_in_time(store: Store, user: User, request: Request, body: bytes) -> Answer:
        began_s = time.monotonic()
        try:
            return answered(store, user, request, body)
        finally:
            time.sleep(max(0.0, began_s + record_s * body.count(_OPERATION) - time.monotonic()))

    with patch.object(dataverse, "_serve", answered_in_time), Emulators(state) as emulators:
        emulators.marketo.set_behaviour(Behaviour())  # whatever somebody set before, the vendor's own again
        caller.send({name: value for name, value in emulators.environment.items() if name.startswith("DYNSYNC_")})
        caller.poll(None)
