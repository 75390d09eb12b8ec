"""Faults on demand, the same for every emulator: errors, delays, cut connections, half answers, absence.

| request | does |
|---|---|
| `GET /emulator/faults` | the faults that wait, as JSON |
| `POST /emulator/faults` | adds one: the members of `Fault`; answers all that wait |
| `DELETE /emulator/faults` | forgets all, and ends an absence |
| `POST /emulator/away` | `{"seconds": 5}`: until then every connection is cut before its request is read |

The endpoints need no token and never fail themselves. A fault strikes the first `times` requests that match, after
letting `skip` of them pass; of several faults the oldest strikes.
"""

from __future__ import annotations

import asyncio
import re
import threading
import time
from collections.abc import Callable
from typing import Any, Literal

import msgspec
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dynsync_pipeline.emulators.serving import cut_connection

PREFIX = "/emulator/"


class Fault(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """What strikes and whom. `path` and `body` are regular expressions searched in path-with-query and in the body.

    `status` answers in the emulator's place, with `code` in the vendor's error shape, and applies nothing.
    `cut` aborts the connection `before` the request is applied, or `after` it was and before a byte of the answer.
    `half` applies the request and sends half of its answer. `delay_s` waits first; alone it does nothing else.
    `times` 0 means for ever.
    """

    method: str = ""
    path: str = ""
    body: str = ""
    skip: int = 0
    times: int = 1
    status: int = 0
    code: str = ""
    message: str = "A fault that was asked for."
    headers: dict[str, str] = {}
    delay_s: float = 0.0
    cut: Literal["", "before", "after"] = ""
    half: bool = False


class _Away(msgspec.Struct, forbid_unknown_fields=True):
    seconds: float


class Faults:
    """An ASGI application around another. `error_body(status, code, message)` makes the vendor's error body.

    `add` and `clear` are there for tests in the same process; cutting needs `serving.Server`.
    """

    def __init__(self, app: ASGIApp, error_body: Callable[[int, str, str], bytes]) -> None:
        self._app = app
        self._error_body = error_body
        self._waiting: list[Fault] = []
        self._away_until_s = 0.0
        self._lock = threading.Lock()

    def add(self, fault: Fault) -> None:
        """Let a fault wait for its requests. Raises: re.error for a bad expression, ValueError for a bad status."""
        re.compile(fault.path)
        re.compile(fault.body)
        if fault.status and not 200 <= fault.status <= 599:
            raise ValueError("A status is between 200 and 599.")
        with self._lock:
            self._waiting.append(fault)

    def clear(self) -> None:
        """Forget every fault and end an absence."""
        with self._lock:
            self._waiting.clear()
            self._away_until_s = 0.0

    def go_away(self, seconds: float) -> None:
        """Cut every connection for a while."""
        with self._lock:
            self._away_until_s = time.monotonic() + seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request, or the fault it meets."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
        elif scope["path"] in (f"{PREFIX}faults", f"{PREFIX}away"):
            await self._control(scope, receive, send)
        elif time.monotonic() < self._away_until_s:
            await _cut(scope, receive)
        elif not self._waiting or scope["path"].startswith(PREFIX):
            await self._app(scope, receive, send)
        else:
            body = await _read(receive)
            fault = self._struck(scope, body)
            replayed = _replay(body, receive)
            if fault is None:
                await self._app(scope, replayed, send)
            else:
                await self._strike(fault, scope, receive, replayed, send)

    def _struck(self, scope: Scope, body: bytes) -> Fault | None:
        target = scope["path"] + ("?" + scope["query_string"].decode("latin-1") if scope["query_string"] else "")
        text = body.decode("utf-8", "replace")
        with self._lock:
            for fault in self._waiting:
                if not _is_meant(fault, scope["method"], target, text):
                    continue
                if fault.skip > 0:
                    fault.skip -= 1
                    continue
                if fault.times == 1:
                    self._waiting.remove(fault)
                elif fault.times > 1:
                    fault.times -= 1
                return fault
        return None

    async def _strike(self, fault: Fault, scope: Scope, receive: Receive, replayed: Receive, send: Send) -> None:
        if fault.delay_s:
            await asyncio.sleep(fault.delay_s)
        if fault.cut == "before":
            await _cut(scope, receive)
        elif fault.status:
            body = self._error_body(fault.status, fault.code, fault.message)
            await _answer(send, fault.status, body, fault.headers)
        elif fault.cut == "after" or fault.half:
            await self._lose_answer(scope, replayed, send if fault.half else None)
            await _cut(scope, receive)
        else:
            await self._app(scope, replayed, send)

    async def _lose_answer(self, scope: Scope, replayed: Receive, send_half: Send | None) -> None:
        """Serve the request, and send half of the answer or nothing of it."""
        answer: list[Message] = []

        async def keep(message: Message) -> None:
            answer.append(message)

        await self._app(scope, replayed, keep)
        if send_half is not None:
            whole = b"".join(message.get("body", b"") for message in answer)
            await send_half(answer[0])
            await send_half({"type": "http.response.body", "body": whole[: len(whole) // 2], "more_body": True})
            # The half must be on its way before the connection breaks.
            await asyncio.sleep(0.05)

    async def _control(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await _read(receive)
        name, method = scope["path"].removeprefix(PREFIX), scope["method"]
        try:
            if (name, method) == ("faults", "POST"):
                self.add(msgspec.json.decode(body, type=Fault))
            elif (name, method) == ("faults", "DELETE"):
                self.clear()
            elif (name, method) == ("away", "POST"):
                self.go_away(msgspec.json.decode(body, type=_Away).seconds)
            elif (name, method) != ("faults", "GET"):
                await _answer(send, 405, b'{"error":"No such control request."}', {})
                return
        except (msgspec.DecodeError, re.error, ValueError) as error:
            await _answer(send, 400, msgspec.json.encode({"error": str(error)}), {})
            return
        with self._lock:
            waiting = msgspec.json.encode({"faults": self._waiting})
        await _answer(send, 200, waiting, {})


async def _answer(send: Send, status: int, body: bytes, headers: dict[str, str]) -> None:
    lines = {"content-type": "application/json", "content-length": str(len(body)), **headers}
    raw = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in lines.items()]
    await send({"type": "http.response.start", "status": status, "headers": raw})
    await send({"type": "http.response.body", "body": body})


async def _read(receive: Receive) -> bytes:
    chunks = []
    while True:
        message = await receive()
        chunks.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(chunks)


def _replay(body: bytes, receive: Receive) -> Receive:
    """A `receive` that hands out a body that was read already, and then whatever else comes."""
    waiting: list[Any] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replayed() -> Message:
        return waiting.pop() if waiting else await receive()

    return replayed


async def _cut(scope: Scope, receive: Receive) -> None:
    """Abort the connection and wait until the server has noticed."""
    cut_connection(scope)
    while (await receive())["type"] != "http.disconnect":
        pass


def _is_meant(fault: Fault, method: str, target: str, body: str) -> bool:
    if fault.method and fault.method.upper() != method:
        return False
    return bool(re.search(fault.path, target) and re.search(fault.body, body))
