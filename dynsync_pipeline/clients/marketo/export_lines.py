"""The records of a bulk export, each by itself, so that a bad line costs that line (R116). Lines in, lines out.

Not here: fetching the file (`exports.py`), what its columns mean (`warehouse/mirrors.py`).
Source: docs/protocols/marketo.md#bulk-extract.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Iterator
from typing import BinaryIO, NamedTuple

from dynsync_pipeline.clients.pages import MOST_UNREAD
from dynsync_pipeline.clients.rows import Unreadable

LONGEST_RECORD_BYTES = 16 * 1024 * 1024
_MARK = b"\xef\xbb\xbf"  # of UTF-8, at the start of a file
_FIELD = rb'(?:"(?:[^"]|"")*+"|[^",\r\n]*+)'
Line = tuple[int, bytes]  # its number in the file, the header being 1, and its bytes


class BadLine(NamedTuple):
    """A line that cannot be read, the header being line 1; the person it tells of, and why."""

    number: int
    person_id: int | None
    why: str


def sort_lines(lines: Iterable[bytes], to: BinaryIO) -> tuple[int, list[BadLine]]:
    """Write the header and all records that can be read, one line end each; returns how many, and the lines left out.

    `lines` end with a line feed each, also inside values; NUL bytes and a byte order mark are dropped. After a line that
    cannot be read, the next one with an id in its place is taken for the next record. Raises: Unreadable where so much is bad
    that no line is at fault.
    """
    numbered = enumerate((line.replace(b"\0", b"") for line in lines), start=1)
    header = next((line for _, line in numbered), b"").removeprefix(_MARK)
    to.write(_ended(header) if header else b"")
    record = re.compile(_FIELD + rb"(?:,%s){%d}" % (_FIELD, header.count(b",")))
    n_before = next((n for n, name in enumerate(header.split(b",")) if name.strip(b' "\r\n') == b"id"), 0)
    id_of = re.compile(rb'(?:%s,){%d}"?([0-9]{1,18})"?(?=[,\r\n]|\Z)' % (_FIELD, n_before))
    n_good = 0
    bad: list[BadLine] = []
    waiting: deque[Line] = deque()
    while held := _up_to_a_closed_quote(waiting, numbered):
        text = b"".join(line for _, line in held)
        if not text.strip():
            continue
        fault = _fault(text, record, id_of)
        if fault is None:
            to.write(_ended(text))
            n_good += 1
        else:
            number, first = held[0]
            # Before an id that does not come first there may be a column too many.
            told = id_of.match(first) if not n_before or record.fullmatch(_ended(text)[:-1]) else None
            bad.append(BadLine(number, int(told[1]) if told else None, fault))
            next_record = next((n for n, (_, line) in enumerate(held) if n and id_of.match(line)), len(held))
            waiting.extendleft(reversed(held[next_record:]))
    if len(bad) > max(MOST_UNREAD, n_good):
        raise Unreadable(f"{len(bad):,} of its lines cannot be read; of the first, {bad[0].why}")
    return n_good, bad


def _up_to_a_closed_quote(waiting: deque[Line], numbered: Iterator[Line]) -> list[Line]:
    """The lines of one record, those that wait first: a quoted value may hold line ends, and lines that look like records."""
    held: list[Line] = []
    n_bytes, is_open = 0, False
    while (line := waiting.popleft() if waiting else next(numbered, None)) is not None:
        held.append(line)
        n_bytes += len(line[1])
        is_open ^= line[1].count(b'"') % 2 == 1
        if not is_open or n_bytes > LONGEST_RECORD_BYTES:
            break
    return held


def _fault(text: bytes, record: re.Pattern[bytes], id_of: re.Pattern[bytes]) -> str | None:
    """Why a record cannot be read; None if it can."""
    if len(text) > LONGEST_RECORD_BYTES:
        return "it is too long"
    if not record.fullmatch(_ended(text)[:-1]):
        return "it has other columns than the header, or a stray quote or line end"
    if not id_of.match(text):
        return "it has no id"
    try:
        text.decode()
    except UnicodeDecodeError:
        return "it holds text that is no UTF-8"
    return None


def _ended(line: bytes) -> bytes:
    return line.rstrip(b"\r\n") + b"\n"
