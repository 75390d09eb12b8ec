"""The file of a bulk export, fetched piece by piece. Not here: the jobs (`client.py`), its lines (`export_lines.py`).

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
from dynsync_pipeline.clients.marketo.export_lines import BadLine, sort_lines
from dynsync_pipeline.clients.marketo.protocol import SYSTEM, ExportStatus
from dynsync_pipeline.clients.marketo.refusals import http_refusal
from dynsync_pipeline.clients.rows import Unreadable
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
    is_last = found is not None and int(found[2]) + 1 >= int(found[3])
    # What is wrong with the end of a file shows in the file, and asking for it again would not mend it.
    is_whole = found is not None and (is_last or int(found[2]) == start + len(reply.body) - 1)
    if found is None or int(found[1]) != start or not is_whole:
        raise AnswerUnreadable("Marketo sent another part of the file than asked for.", system=SYSTEM, request=request)
    return Piece(start, reply.body, is_last)


def _no_file(reply: Reply, request: str) -> ApiError:
    if reply.status == 404:
        return ServerFailed(
            "Marketo does not have the file of the export yet.", system=SYSTEM, request=request, code="404", status=404
        )
    return http_refusal(reply, request)


def save_export(fetch: Callable[[int], Piece], to: Path, told: ExportStatus, request: str) -> list[BadLine]:
    """Write the readable lines of the file to `to`, complete or not at all; returns the others.

    The file is held against what was `told` of it: its checksum or size, and how many records it has. `<to>.part` holds what
    was fetched so far. Raises: AnswerUnreadable for another file than was told, and for one that cannot be read as a whole;
    the next try is anew.
    """
    part = to.with_name(to.name + ".part")
    with part.open("ab") as file:
        is_last = False
        while not is_last:
            start, data, is_last = fetch(file.tell())
            file.truncate(start)
            file.write(data)
    clean = to.with_name(to.name + ".clean")
    try:
        _require_file(part, told)
        with part.open("rb") as source, clean.open("wb") as target:
            n_good, bad = sort_lines(source, target)
        if told.n_records is not None and n_good + len(bad) < told.n_records:
            raise Unreadable(f"it has {n_good + len(bad):,} of {told.n_records:,} records")
    except Unreadable as fault:
        part.unlink()
        clean.unlink(missing_ok=True)
        raise AnswerUnreadable(
            f"The file of the export cannot be read: {fault}.", system=SYSTEM, request=request
        ) from None
    clean.replace(to)
    part.unlink()
    return bad


def _require_file(part: Path, told: ExportStatus) -> None:
    """Raises: Unreadable for another file than was told. Where Marketo tells no checksum, the number of records says whether it
    is whole, or at least its size.
    """
    size = part.stat().st_size
    if told.checksum:
        with part.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != told.checksum.removeprefix("sha256:").lower():
            raise Unreadable("it differs from its checksum")
    elif told.n_records is None and told.size_bytes is not None and size != told.size_bytes:
        raise Unreadable(f"it has {size:,} of {told.size_bytes:,} bytes")
    if not size and told.n_records != 0:
        raise Unreadable("it is empty")
