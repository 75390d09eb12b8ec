"""What web servers understand before an application sees a request, the same for both emulators: dots in the path, and
compressed bodies. Not here: what a path or a body means.

Source: RFC 3986 5.2.4 for dots; docs/protocols/dataverse.md#open-points for compressed bodies.
"""

from __future__ import annotations

import re
import zlib
from urllib.parse import unquote

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LARGEST_BODY_BYTES = 128 * 1024 * 1024  # unpacked; more than any request may have
_DOTS = re.compile(rb"(?:^|/)(?:\.|%2[eE]){1,2}(?:/|$)")
_GZIP = 16 + zlib.MAX_WBITS


class Forgiving:
    """An ASGI application around another one."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand the request on in its plain form."""
        if scope["type"] == "http":
            raw_path, mark, query = scope.get("raw_path", scope["path"].encode()).partition(b"?")
            if _DOTS.search(raw_path):
                raw_path = resolved(raw_path)
                scope = {**scope, "path": unquote(raw_path.decode("latin-1")), "raw_path": raw_path + mark + query}
            if Headers(scope=scope).get("content-encoding", "").strip().lower() == "gzip":
                receive = _unpacking(receive)
        await self._app(scope, receive, send)


def resolved(path: bytes) -> bytes:
    """A path without segments that are dots; two dots take the segment before them away, and at the root nothing."""
    kept: list[bytes] = []
    segments = path.split(b"/")[1:]
    for segment in segments:
        dots = segment.replace(b"%2e", b".").replace(b"%2E", b".")
        if dots == b"..":
            kept[-1:] = []
        elif dots != b".":
            kept.append(segment)
    ends_in_dots = bool(_DOTS.search(b"/" + segments[-1]))
    return b"/" + b"/".join(kept) + (b"/" if ends_in_dots and kept else b"")


def _unpacking(receive: Receive) -> Receive:
    """The same messages with the body unpacked; what is no gzip stays as it is, and too much is cut short."""
    is_read = False

    async def unpacked() -> Message:
        nonlocal is_read
        if is_read:
            return await receive()
        body = bytearray()
        while True:
            message = await receive()
            if message["type"] != "http.request":
                return message
            body += message.get("body", b"")
            if not message.get("more_body") or len(body) > LARGEST_BODY_BYTES:
                break
        is_read = True
        return {"type": "http.request", "body": _plain(bytes(body)), "more_body": False}

    return unpacked


def _plain(body: bytes) -> bytes:
    unpacker = zlib.decompressobj(_GZIP)
    try:
        plain = unpacker.decompress(body, LARGEST_BODY_BYTES + 1)
    except zlib.error:
        return body
    return plain if unpacker.eof or len(plain) > LARGEST_BODY_BYTES else body  # else its end is missing
