"""A small HTTP server in a thread that answers as a test says, for what no emulator does: dripping, cutting, lying."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Seen:
    """One request as it arrived."""

    verb: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Canned:
    """One answer; `stop_after_bytes` breaks the connection in the middle of the body, 0 before any answer."""

    status: int = 200
    body: bytes = b"{}"
    headers: dict[str, str] = field(default_factory=lambda: {"Content-Type": "application/json"})
    stop_after_bytes: int | None = None
    drip_s: float = 0.0


def canned_json(value: object, status: int = 200, **headers: str) -> Canned:
    names = {name.replace("_", "-"): text for name, text in headers.items()}
    return Canned(status, json.dumps(value).encode(), {"Content-Type": "application/json", **names})


@dataclass
class LocalServer:
    """Where the server listens, and what it was asked so far."""

    url: str
    requests: list[Seen]


@contextmanager
def serving(
    answer: Callable[[Seen, int], Canned], *, trust: ssl.SSLContext | None = None, drips_headers: bool = False
) -> Iterator[LocalServer]:
    """Serve `answer(request, number of earlier requests)` on a free port of 127.0.0.1."""
    seen: list[Seen] = []
    closing = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self) -> None:
            length = int(self.headers.get("Content-Length", 0))
            request = Seen(
                self.command, self.path, {k.lower(): v for k, v in self.headers.items()}, self.rfile.read(length)
            )
            seen.append(request)
            canned = answer(request, len(seen) - 1)
            if canned.stop_after_bytes == 0:
                self.close_connection = True
                return
            if drips_headers:
                self.wfile.write(b"HTTP/1.1 200 OK\r\n")
                while not closing.wait(canned.drip_s):
                    self.wfile.write(b"X-Slow: yes\r\n")
                return
            self.send_response_only(canned.status)
            for name, value in canned.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(canned.body)))
            self.end_headers()
            if canned.drip_s:
                for byte in canned.body:
                    self.wfile.write(bytes([byte]))
                    if closing.wait(canned.drip_s):
                        return
            elif canned.stop_after_bytes is not None:
                self.wfile.write(canned.body[: canned.stop_after_bytes])
                self.close_connection = True
            else:
                self.wfile.write(canned.body)

        do_GET = do_POST = do_PATCH = _answer

        def log_message(self, format: str, *args: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: object, client_address: object) -> None:
            pass  # the client went away, which is often the point

    server = Server(("127.0.0.1", 0), Handler)
    if trust is not None:
        server.socket = trust.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        scheme = "https" if trust is not None else "http"
        yield LocalServer(f"{scheme}://127.0.0.1:{server.server_port}", seen)
    finally:
        closing.set()
        server.shutdown()
        server.server_close()
        thread.join()
