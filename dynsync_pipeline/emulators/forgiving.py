"""What web servers understand before an application sees a request, the same for both emulators: dots in the path, an
address in another case, and compressed bodies. Not here: what a path or a body means.

Source: RFC 3986 5.2.4 for dots; RFC 9110 8.4 for compressed bodies, docs/protocols/dataverse.md#open-points.
"""

from __future__ import annotations

import re
import zlib
from urllib.parse import unquote

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LARGEST_BODY_BYTES = 128 * 1024 * 1024  # unpacked; more than any request may have
_DOTS = re.compile(rb"(?:^|/)(?:\.|%2[eE]){1,2}(?:/|$)")
_UNPACKERS = {"gzip": 16 + zlib.MAX_WBITS, "x-gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}
"""What zlib needs to know for each coding."""


class Forgiving:
    """An ASGI application around another one; `root` is the path in front of all its addresses, as `/api/data/`, which
    clients may write in any case and behind several slashes."""

    def __init__(self, app: ASGIApp, root: str = "/") -> None:
        self._app = app
        self._root = root.encode()
        self._any_root = re.compile(b"/+" + re.escape(self._root[1:]), re.IGNORECASE) if root != "/" else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand the request on in its plain form."""
        if scope["type"] == "http":
            sent_path, mark, query = scope.get("raw_path", scope["path"].encode()).partition(b"?")
            raw_path = resolved(sent_path) if _DOTS.search(sent_path) else sent_path
            if self._any_root:
                raw_path = (
                    self._any_root.sub(self._root, raw_path, count=1) if self._any_root.match(raw_path) else raw_path
                )
            if raw_path != sent_path:
                scope = {**scope, "path": unquote(raw_path.decode("latin-1")), "raw_path": raw_path + mark + query}
            told = ",".join(Headers(scope=scope).getlist("content-encoding"))
            codings = [coding.strip().lower() for coding in told.split(",")]
            if any(coding in _UNPACKERS for coding in codings):
                receive = _unpacking(receive, codings[::-1])
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


def _unpacking(receive: Receive, codings: list[str]) -> Receive:
    """The same messages with the body unpacked, the last coding first; what is not so packed stays as it is."""
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
        plain = bytes(body)
        for coding in codings:
            plain = _plain(plain, _UNPACKERS[coding]) if coding in _UNPACKERS else plain
        return {"type": "http.request", "body": plain, "more_body": False}

    return unpacked


def _plain(body: bytes, window_bits: int) -> bytes:
    """A body unpacked, all members of it; as it is where that fails or its end is missing; too much is cut short."""
    plain = bytearray()
    rest = body
    while rest and len(plain) <= LARGEST_BODY_BYTES:
        unpacker = zlib.decompressobj(window_bits)
        try:
            plain += unpacker.decompress(rest, LARGEST_BODY_BYTES + 1 - len(plain))
        except zlib.error:
            return body
        if not unpacker.eof and len(plain) <= LARGEST_BODY_BYTES:
            return body
        rest = unpacker.unused_data
    return bytes(plain)
