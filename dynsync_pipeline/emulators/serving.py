"""Running a web application in a thread of this process, on loopback. Not here: which applications (`running.py`)."""

from __future__ import annotations

import asyncio
import ipaddress
import re
import socket
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import uvicorn
from starlette.types import ASGIApp, Scope
from uvicorn.protocols.http.auto import AutoHTTPProtocol

from dynsync_pipeline.emulators.errors import PortUnusable

HOST = "127.0.0.1"
START_LIMIT_S = 30.0
STOP_LIMIT_S = 10.0


_REQUEST = re.compile(rb"[A-Z]+ [^\r\n]+ HTTP/1\.1\r\n")
_UPGRADE = re.compile(rb"\r\nupgrade(?=[ \t]*:)", re.IGNORECASE)


class _Protocol(AutoHTTPProtocol):  # type: ignore[misc, valid-type]  # uvicorn chooses its parser at import
    """Hands each request its connection, so that a fault can cut it (`faults.py`).

    Offers to go on in HTTP/2, which Java's client makes with each first request, are passed over: the parser would take
    the body behind such a head for the other protocol.
    """

    app_state: dict[str, Any]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.app_state = {**self.app_state, "transport": transport}
        super().connection_made(transport)

    def data_received(self, data: bytes) -> None:
        if _REQUEST.match(data):
            head, blank, rest = data.partition(b"\r\n\r\n")
            if _UPGRADE.search(head):
                data = _UPGRADE.sub(b"\r\nX-Offered", head) + blank + rest
        super().data_received(data)


class Server:
    """A running web application; a context manager that stops it.

    `port` 0 takes a free one; with `tls_file` (key and chain in one PEM) it speaks TLS. Only loopback is served: any
    other `host` needs `expose_to_network=True`, for whoever reaches an emulator owns all of its data.
    Raises: ValueError for such a host, PortUnusable if the port is taken, RuntimeError if the server does not come up.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        host: str = HOST,
        port: int = 0,
        tls_file: Path | None = None,
        expose_to_network: bool = False,
    ) -> None:
        if not _is_loopback(host) and not expose_to_network:
            raise ValueError(
                f"Refusing to serve on {host}: emulators have no protection. Use 127.0.0.1, or say expose_to_network."
            )
        self._socket = _bound_socket(host, port)
        self.port: int = self._socket.getsockname()[1]
        self.url = f"{'https' if tls_file else 'http'}://{f'[{host}]' if ':' in host else host}:{self.port}"
        config = uvicorn.Config(
            app,
            http=_Protocol,
            interface="asgi3",
            ws="none",
            proxy_headers=False,
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_keep_alive=75,
            h11_max_incomplete_event_size=256 * 1024,
            ssl_certfile=tls_file,
            backlog=512,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [self._socket]}, name=f"emulator on {self.port}", daemon=True
        )
        self._thread.start()
        self._await_start()

    def _await_start(self) -> None:
        deadline = time.monotonic() + START_LIMIT_S
        while not self._server.started:
            if not self._thread.is_alive() or time.monotonic() > deadline:
                self.stop()
                raise RuntimeError(f"The emulator on {self.url} did not start.")
            time.sleep(0.005)

    def begin_stop(self) -> None:
        """Take no more requests; `stop` waits until those that are running have ended."""
        self._server.should_exit = True

    def stop(self) -> None:
        """Stop serving and wait for it; requests that are running get a moment to end."""
        self.begin_stop()
        self._thread.join(STOP_LIMIT_S / 2)
        if self._thread.is_alive():
            self._server.force_exit = True
            self._thread.join(STOP_LIMIT_S / 2)
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def _bound_socket(host: str, port: int) -> socket.socket:
    found = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        found.bind((host, port))
    except OSError as error:
        found.close()
        raise PortUnusable(f"{host}:{port} cannot be listened on: {error.strerror}.") from None
    return found


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def cut_connection(scope: Scope) -> None:
    """Abort the connection a request came over. Raises RuntimeError outside of `Server`."""
    transport: asyncio.Transport | None = scope.get("state", {}).get("transport")
    if transport is None:
        raise RuntimeError("Connections can be cut only where serving.Server runs the emulator.")
    transport.abort()
