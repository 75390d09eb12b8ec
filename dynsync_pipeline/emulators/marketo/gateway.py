"""What every request passes, whatever its path: sizes, forms, token, limits, route, envelope, compression.

The paths are in `app.py`.
Source: docs/protocols/marketo.md#envelope, #limits, #announced-changes, #checklist 1.
"""

from __future__ import annotations

import dataclasses
import gzip
import re
from collections.abc import AsyncGenerator, Callable, Sequence
from itertools import count
from typing import Any
from urllib.parse import unquote

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocketClose

from dynsync_pipeline.emulators.marketo import control, limits
from dynsync_pipeline.emulators.marketo.access import check_token, issue_token
from dynsync_pipeline.emulators.marketo.protocol import (
    FORM,
    MULTIPART,
    Call,
    Params,
    Refused,
    envelope,
    form_params,
    refusal,
)
from dynsync_pipeline.emulators.marketo.store import Store

Handler = Callable[[Call], dict[str, Any] | Response]

JSON = "application/json;charset=UTF-8"
IDENTITY = "/identity/oauth/token"
IMPORT = "/bulk/v1/leads.json"
URI_LIMIT_BYTES = 8192
BODY_LIMIT_BYTES = 1_048_576
IMPORT_LIMIT_BYTES = 10_485_760
GZIP_FROM_BYTES = 1024


class Gateway:
    """The ASGI application. `routes` are verb, path with `{names}` for its variable parts, and handler."""

    def __init__(self, store: Store, routes: Sequence[tuple[str, str, Handler]]) -> None:
        self._store = store
        self._routes = [(method, _pattern(path), handler) for method, path, handler in routes]
        self._counter = limits.CallCounter(store)
        self._numbers = count(1)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; websockets are refused."""
        if scope["type"] == "http":
            response = await self._answer(Request(scope, receive))
            await response(scope, receive, send)
        else:
            await WebSocketClose()(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        path = unquote(request.url.path)
        if not self._store.behaviour.refuse_double_slash:
            path = re.sub("/+", "/", path)  # refusing them is announced, without a date
        path = path.rstrip("/") or "/"
        # What a GET would answer; the server leaves the body out.
        method = "GET" if request.method == "HEAD" else request.method
        if len(request.scope.get("raw_path", b"")) + len(request.scope["query_string"]) > URI_LIMIT_BYTES:
            return PlainTextResponse("Request-URI Too Long", 414)
        body = await _body(request, IMPORT_LIMIT_BYTES if path == IMPORT else BODY_LIMIT_BYTES)
        if body is None:
            return PlainTextResponse("Request Entity Too Large", 413)
        if path.startswith(control.PREFIX):
            return await run_in_threadpool(control.answer, self._store, method, path, body)
        content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        params = form_params(request.scope["query_string"])
        form: Params = form_params(body) if content_type == FORM else {}
        files: dict[str, bytes] = {}
        if content_type == MULTIPART and path == IMPORT:
            form, files = await _multipart(request.headers, body)
        for name, values in form.items():
            params.setdefault(name, []).extend(values)
        if path == IDENTITY:
            return await run_in_threadpool(self._identity, method, params)
        call = Call(
            store=self._store,
            method=params.get("_method", ["POST"])[0].upper() if method == "POST" else method,
            path=path,
            request_id=f"{next(self._numbers):x}#{int(self._store.now().timestamp() * 1000):x}",
            api_user="",
            content_type=content_type,
            body=body,
            params=params,
            files=files,
        )
        response = await run_in_threadpool(self._admit, call, _bearer(request, self._store))
        if "gzip" in request.headers.get("accept-encoding", "") and not path.startswith("/bulk/"):
            _compress(response)
        return response

    def _identity(self, method: str, params: Params) -> Response:
        if method not in ("GET", "POST"):
            return PlainTextResponse("Method Not Allowed", 405)
        status, answer = issue_token(self._store, params)
        headers = {"Cache-Control": "no-store", "Pragma": "no-cache"}
        return Response(msgspec.json.encode(answer), status, headers, JSON)

    def _admit(self, call: Call, token: str | None) -> Response:
        """Check, count, run. Refusals of every level but the record's end here, as HTTP 200."""
        api_user = ""
        code: str | None = None
        try:
            api_user = check_token(self._store, token)
            self._counter.enter()
            try:
                handler, match = self._route(call)
                answer = handler(dataclasses.replace(call, api_user=api_user, match=match))
            except Refused as error:
                if error.code in limits.UNCOUNTED:
                    self._counter.forget()
                raise
            finally:
                self._counter.leave()
        except Refused as error:
            code = error.code
            return Response(refusal(call.request_id, error), media_type=JSON)
        finally:
            self._counter.record(api_user, code)
        return answer if isinstance(answer, Response) else Response(envelope(call.request_id, answer), media_type=JSON)

    def _route(self, call: Call) -> tuple[Handler, dict[str, str]]:
        if call.path != IMPORT and call.content_type == MULTIPART:
            raise Refused("612", "Invalid Content Type")
        is_known = False
        for method, pattern, handler in self._routes:
            found = pattern.fullmatch(call.path)
            if found and method == call.method:
                return handler, found.groupdict()
            is_known = is_known or found is not None
        if is_known:
            raise Refused("605", f"HTTP Method '{call.method[:20]}' is not supported")
        raise Refused("610", "Requested resource not found")


def _pattern(path: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"\\{(\w+)\\}", r"(?P<\1>[^/]+?)", re.escape(path)))


async def _body(request: Request, limit_bytes: int) -> bytes | None:
    """The body, or None as soon as it is too large."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit_bytes:
            return None
    return bytes(body)


def _bearer(request: Request, store: Store) -> str | None:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and token:
        return token.strip()
    return None if store.behaviour.refuse_token_in_query else request.query_params.get("access_token")


async def _multipart(headers: Headers, body: bytes) -> tuple[Params, dict[str, bytes]]:
    """Fields and files of a multipart body; none when it is malformed, which the handler refuses as 613."""

    async def stream() -> AsyncGenerator[bytes, None]:
        yield body

    try:
        form = await MultiPartParser(headers, stream(), max_part_size=IMPORT_LIMIT_BYTES).parse()
    except (MultiPartException, KeyError, UnicodeDecodeError):
        return {}, {}
    fields: Params = {}
    files: dict[str, bytes] = {}
    for name, value in form.multi_items():
        if isinstance(value, str):
            fields.setdefault(name, []).append(value)
        else:
            files[name] = await value.read()
    return fields, files


def _compress(response: Response) -> None:
    if response.status_code == 200 and len(response.body) >= GZIP_FROM_BYTES:
        response.body = gzip.compress(bytes(response.body), compresslevel=1)
        response.headers["Content-Length"] = str(len(response.body))
        response.headers["Content-Encoding"] = "gzip"
        response.headers["Vary"] = "Accept-Encoding"
