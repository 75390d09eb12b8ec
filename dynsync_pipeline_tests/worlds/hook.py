"""A webhook on this machine, to be told by `DYNSYNC_NOTIFY`. Not here: what it is told (`operate/test_notify.py`)."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Hook(ThreadingHTTPServer):
    """A webhook on this machine: what it was sent, and how it answers."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.told: list[dict[str, Any]] = []
        self.status = 200
        self.delay_s = 0.0
        self.trickles = False  # whether it answers with a byte at a time, for a minute
        self.has_answered = False

    @property
    def address(self) -> str:
        return f"json://127.0.0.1:{self.server_port}/secret-path"


class _Handler(BaseHTTPRequestHandler):
    server: Hook

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        time.sleep(self.server.delay_s)
        if self.server.status == 200:
            self.server.told.append(body)
        if self.server.trickles:
            self._trickle()
        else:
            self.send_response(self.server.status)
            self.send_header("Content-Length", "0")
            self.end_headers()
        self.server.has_answered = True

    def _trickle(self) -> None:
        self.close_connection = True
        with suppress(OSError):
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 600\r\n\r\n")
            for _ in range(600):
                self.wfile.write(b".")
                self.wfile.flush()
                time.sleep(0.1)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@contextmanager
def listening() -> Iterator[Hook]:
    """A hook that is reached."""
    with Hook() as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        yield server
        server.shutdown()
