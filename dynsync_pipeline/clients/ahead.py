"""The request that is under way while somebody reads the answer before it. Not here: what follows what (`*/client.py`)."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from dynsync_pipeline.clients.transport import Request


class Ahead:
    """Asks for one answer ahead, in a thread of its own, which is not there before. Close it."""

    def __init__(self, call: Callable[[Request], bytes]) -> None:
        self._call = call
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="ahead")
        self._asked: tuple[Request, Future[bytes]] | None = None

    def ask(self, request: Request) -> None:
        """Send this, unless it is under way; what was asked before it is not wanted any more."""
        if self._asked is None or self._asked[0] != request:
            self._forget()
            self._asked = (request, self._thread.submit(self._call, request))

    def answer(self, request: Request) -> bytes | None:
        """The body of the answer, once; None where something else was asked, or nothing. Raises: what the call raises."""
        asked, self._asked = self._asked, None
        return asked[1].result() if asked is not None and asked[0] == request else None

    def close(self) -> None:
        """Want nothing any more; nobody waits for what is under way."""
        self._forget()
        self._thread.shutdown(wait=False)

    def _forget(self) -> None:
        if self._asked is not None:
            self._asked[1].cancel()
        self._asked = None
