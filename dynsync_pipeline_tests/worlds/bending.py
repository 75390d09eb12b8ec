"""Answers bent on their way from an emulator to DynSync, over real HTTP: for what no system should send, and some do.

A test appends to `world.dynamics.bends` or `world.marketo.bends`. People in the world, who observe, get straight answers.
"""

from __future__ import annotations

import gzip
import re
from dataclasses import dataclass
from typing import Any


@dataclass
class Bend:
    """Every answer to a request whose verb and path-with-query match `request` has `old` in its body replaced by `new`.

    `new` may name groups of `old`, a regular expression over bytes. `times` 0 means for ever; `n_bent` counts.
    """

    request: str
    old: bytes
    new: bytes
    times: int = 0
    n_bent: int = 0

    def body(self, target: str, body: bytes) -> bytes:
        """The body as it arrives."""
        if (self.times and self.n_bent >= self.times) or not re.search(self.request, target):
            return body
        after, n_found = re.subn(self.old, lambda found: found.expand(self.new), body, flags=re.DOTALL)
        self.n_bent += n_found > 0
        return after


def bent(answer: list[Any], scope: Any, bends: list[Bend]) -> list[Any]:
    """The ASGI messages of an answer, bent; packed no more, and its length is made true."""
    if not bends:
        return answer
    query = scope["query_string"].decode("latin-1")
    target = f"{scope['method']} {scope['path']}{'?' if query else ''}{query}"
    body = b"".join(message.get("body", b"") for message in answer)
    start = dict(answer[0])
    if (b"content-encoding", b"gzip") in [(name.lower(), value) for name, value in start["headers"]]:
        body = gzip.decompress(body)
    for bend in bends:
        body = bend.body(target, body)
    dropped = (b"content-length", b"content-encoding")
    kept = [(name, value) for name, value in start["headers"] if name.lower() not in dropped]
    start["headers"] = [*kept, (b"content-length", str(len(body)).encode())]
    return [start, {"type": "http.response.body", "body": body, "more_body": False}]
