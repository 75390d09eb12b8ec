"""`$batch` as text and bytes: many PATCHes, or many GETs, in one request, one answer part each. No I/O.

Source: docs/protocols/dataverse.md#batch.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from dynsync_pipeline.clients.dynamics.protocol import (
    API_PATH,
    SYSTEM,
    Column,
    LookedUp,
    RecordWrite,
    RowReader,
    WriteResult,
    guid,
    select_of,
)
from dynsync_pipeline.clients.dynamics.refusals import proves_absence, refusal
from dynsync_pipeline.clients.pieces import FAULTS, what_is_wrong
from dynsync_pipeline.clients.rows import Unreadable
from dynsync_pipeline.clients.transport import Reply
from dynsync_pipeline.errors import AnswerUnreadable, ApiError, TimedOut
from dynsync_pipeline.model.records import UNREAD, EntitySet

LARGEST_BATCH = 1000  # operations
_CREATE = "If-None-Match: *\r\nMSCRM.SuppressDuplicateDetection: false"
_BOUNDARY = re.compile(r'boundary="?([^";,\s]+)"?', re.IGNORECASE)


class Cut(ValueError):
    """The answer ends before its closing boundary."""


def batch_body(table: EntitySet, columns: Sequence[Column], writes: Sequence[RecordWrite], boundary: str) -> bytes:
    """The body that updates (`If-Match`) or creates (`If-None-Match: *`) these records and asks for them back.

    Raises: ValueError for an id that is no GUID, an etag with a line break, or more writes than a batch may hold.
    """
    if len(writes) > LARGEST_BATCH:
        raise ValueError(f"a batch holds at most {LARGEST_BATCH} writes, not {len(writes)}")
    lines = []
    for write in writes:
        # Rules against duplicates are asked of creates alone: an update must not fail on another record's account (R77).
        condition = f"If-Match: {write.etag}" if write.etag is not None else _CREATE
        if write.etag is not None and ("\r" in write.etag or "\n" in write.etag):
            raise ValueError("an etag with a line break")
        lines += [
            f"--{boundary}",
            "Content-Type: application/http",
            "Content-Transfer-Encoding: binary",
            "",
            f"PATCH {API_PATH}/{table.entity_set}({guid(write.id)})?{select_of(columns)} HTTP/1.1",
            "Content-Type: application/json",
            "Accept: application/json",
            "Prefer: return=representation",
            condition,
            "",
            write.body,
        ]
    return "\r\n".join([*lines, f"--{boundary}--", ""]).encode()


def batch_results(
    reply: Reply, table: EntitySet, columns: Sequence[Column], writes: Sequence[RecordWrite]
) -> list[WriteResult]:
    """One result per write, in order. Raises: TimedOut if the answer was cut, because then the outcome is unknown, and
    AnswerUnreadable where it stands in another order.
    """
    request = f"PATCH {API_PATH}/{table.entity_set}"
    try:
        parts = answer_parts(reply)
    except Cut:
        parts = []
    if len(parts) != len(writes):
        raise TimedOut(
            f"Dynamics answered {len(parts)} of the {len(writes)} operations of a batch; the outcome is unknown.",
            system=SYSTEM,
            request=f"POST {API_PATH}/$batch",
        )
    reader = RowReader(table, columns)
    results = [_result(part, write, reader, request) for part, write in zip(parts, writes, strict=True)]
    if any(result.row is not None and result.row["id"] != result.id.lower() for result in results):
        raise AnswerUnreadable(
            "Dynamics' answers are not in the order of the operations, so that nobody knows whose they are.",
            system=SYSTEM,
            request=f"POST {API_PATH}/$batch",
            next_step="The next cycle reads what became of them.",
        )
    return results


def _result(part: Reply, write: RecordWrite, reader: RowReader, request: str) -> WriteResult:
    if not 200 <= part.status < 300:
        error = refusal(part, request, record_id=write.id, is_create=write.etag is None)
        return WriteResult(write.id, None, error)
    try:
        return WriteResult(write.id, reader.read_one(part.body), None)
    except FAULTS as fault:
        unreadable = AnswerUnreadable(
            f"Dynamics took a write, but did not show the record as asked ({what_is_wrong(fault)}).",
            system=SYSTEM,
            request=request,
        )
        return WriteResult(write.id, None, unreadable)


def reads_body(table: EntitySet, columns: Sequence[Column], ids: Sequence[str], boundary: str) -> bytes:
    """The body that asks for each of these records by its own address. Raises: ValueError for an id that is no GUID."""
    lines = []
    for record_id in ids:
        lines += [
            f"--{boundary}",
            "Content-Type: application/http",
            "Content-Transfer-Encoding: binary",
            "",
            f"GET {API_PATH}/{table.entity_set}({guid(record_id)})?{select_of(columns)} HTTP/1.1",
            "Accept: application/json",
            "",
            "",
        ]
    return "\r\n".join([*lines, f"--{boundary}--", ""]).encode()


def read_results(reply: Reply, table: EntitySet, ids: Sequence[str], reader: RowReader) -> LookedUp:
    """What was said of each of `ids`, in order; a record that is there and cannot be read has `UNREAD`.

    Raises: AnswerUnreadable if the answer was cut.
    """
    request = f"GET {API_PATH}/{table.entity_set}"
    try:
        parts = answer_parts(reply)
    except Cut:
        parts = []
    if len(parts) != len(ids):
        raise AnswerUnreadable(
            f"Dynamics answered {len(parts)} of the {len(ids)} reads of a batch.", system=SYSTEM, request=request
        )
    rows: list[dict[str, str | None]] = []
    missing: list[str] = []
    unproven: dict[str, ApiError] = {}
    for part, record_id in zip(parts, ids, strict=True):
        if 200 <= part.status < 300:
            try:
                row = reader.read_one(part.body)
                if row["id"] != record_id:
                    raise Unreadable("another record was shown")
            except FAULTS as fault:
                row = {"id": record_id, UNREAD: what_is_wrong(fault)}
            rows.append(row)
        elif proves_absence(part, table, record_id):
            missing.append(record_id)
        else:
            unproven[record_id] = refusal(part, request)
    return LookedUp(reader.table(rows), tuple(missing), unproven)


def answer_parts(reply: Reply) -> list[Reply]:
    """The answers inside a multipart answer, in order. Raises: Cut, if it is incomplete or is none."""
    found = _BOUNDARY.search(reply.headers.get("content-type", ""))
    if found is None:
        raise Cut
    edge = b"--" + found[1].encode()
    # A boundary stands at the start of a line; the body may begin with one.
    pieces = re.split(rb"(?:^|\r?\n)" + re.escape(edge), reply.body)
    return [_part(piece) for piece in pieces[1:-1]]  # the last one is the end, or was cut


def _part(piece: bytes) -> Reply:
    """The HTTP answer inside one part: part headers, status line, headers, body."""
    _, inner = _head_and_rest(piece.lstrip(b" \t").lstrip(b"\r\n"))
    head, body = _head_and_rest(inner)
    status_line, *lines = head.split("\n")
    fields = status_line.split(" ", 2)
    if len(fields) < 2 or not fields[0].startswith("HTTP/") or not fields[1].isdigit():
        raise Cut
    return Reply(int(fields[1]), _headers(lines), body.strip())


def _head_and_rest(text: bytes) -> tuple[str, bytes]:
    found = re.search(rb"\r?\n\r?\n", text)
    head, rest = (text[: found.start()], text[found.end() :]) if found else (text, b"")
    return head.decode("utf-8", "replace").replace("\r\n", "\n"), rest


def _headers(lines: Sequence[str]) -> Mapping[str, str]:
    pairs = (line.partition(":") for line in lines if ":" in line)
    return {name.strip().lower(): value.strip() for name, _, value in pairs}
