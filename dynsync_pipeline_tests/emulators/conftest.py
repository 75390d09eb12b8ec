"""What tests of both emulators share: one HTTP server for all of them, whose application each test exchanges."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from dynsync_pipeline.emulators.serving import Server


class Host:
    """A server in a thread; exchanging the application behind it is faster than starting one per test."""

    def __init__(self) -> None:
        self.app: Any = None
        self.server = Server(self._serve)
        self.url = self.server.url

    async def _serve(self, scope: Any, receive: Any, send: Any) -> None:
        await self.app(scope, receive, send)


@pytest.fixture(scope="session")
def loopback_host() -> Iterator[Host]:
    """A server without an application yet."""
    host = Host()
    yield host
    host.server.stop()
