"""The file of a bulk export, fetched piece by piece. Not here: the jobs (`client.py`), reading CSV.

Pieces keep each request short, and a cut costs one piece: what is on disk already is never fetched again, also not by
the next process.
Source: docs/protocols/marketo.md#bulk-extract.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from dynsync_pipeline.clients.marketo.answers import envelope
from dynsync_pipeline.clients.marketo.protocol import SYSTEM
from dynsync_pipeline.clients.marketo.refusals import http_refusal
from dynsync_pipeline.clients.transport import Reply
from dynsync_pipeline.errors import AnswerUnreadable, ApiError, ServerFailed

PIECE_BYTES = 8 * 1024 * 1024
_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)")


class Piece(NamedTuple):
    """Some bytes of the file from `start` on; the file ends with the last one."""

    start: int
    data: bytes
    is_last: bool


def piece(reply: Reply, start: int, request: str) -> Piece:
    """The bytes asked for from `start` on, or the whole file where the server ignores ranges. Raises: ApiError."""
    if "json" in reply.headers.get("content-type", ""):
        envelope(reply, request)  # raises what it describes
    if reply.status == 200:
        return Piece(0, reply.body, is_last=True)
    if reply.status == 416:  # nothing there: the file is empty, or complete
        return Piece(start, b"", is_last=True)
    if reply.status != 206:
        raise _no_file(reply, request)
    found = _RANGE.fullmatch(reply.headers.get("content-range", ""))
    if found is None or (int(found[1]), int(found[2])) != (start, start + len(reply.body) - 1):
        raise AnswerUnreadable("Marketo sent another part of the file than asked for.", system=SYSTEM, request=request)
    return Piece(start, reply.body, is_last=int(found[2]) + 1 >= int(found[3]))


def _no_file(reply: Reply, request: str) -> ApiError:
    if reply.status == 404:
        return ServerFailed(
            "Marketo does not have the file of the export yet.", system=SYSTEM, request=request, code="404", status=404
        )
    return http_refusal(reply, request)


def save_export(fetch: Callable[[int], Piece], to: Path, checksum: str, request: str) -> None:
    """Write the file to `to`, complete or not at all: fetched, compared with `checksum`, freed of NUL bytes.

    `<to>.part` holds what was fetched so far. Raises: AnswerUnreadable if the checksum differs; the next try is anew.
    """
    part = to.with_name(to.name + ".part")
    with part.open("ab") as file:
        is_last = False
        while not is_last:
            start, data, is_last = fetch(file.tell())
            file.truncate(start)
            file.write(data)
    with part.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != checksum.removeprefix("sha256:").lower():
        part.unlink()
        raise AnswerUnreadable("The file of the export differs from its checksum.", system=SYSTEM, request=request)
    clean = to.with_name(to.name + ".clean")
    with part.open("rb") as source, clean.open("wb") as target:
        while block := source.read(PIECE_BYTES):
            target.write(block.replace(b"\0", b""))
    clean.replace(to)
    part.unlink()
