"""`$batch`: many requests in one, with change sets and continue-on-error.

The whole batch is one SQLite transaction; each request in it is a savepoint, so that a failed one leaves no trace. The
multipart grammar is read here by hand, for mail parsers are lenient in ways the service is not.
Source: docs/protocols/dataverse.md#batch, #checklist 23.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from itertools import pairwise

from dynsync_pipeline.emulators.dataverse.call import Answer, Call, split_path
from dynsync_pipeline.emulators.dataverse.errors import DataverseError, bad_request
from dynsync_pipeline.emulators.forgiving import resolved

MAX_REQUESTS = 1_000
_BOUNDARY = re.compile(r'boundary=(?:"([^"\r\n]{1,200})"|([^\s;"]{1,200}))', re.IGNORECASE)
_REQUEST_LINE = re.compile(r"(GET|POST|PATCH|PUT|DELETE) (\S.*) HTTP/1\.1")


@dataclass
class Part:
    """One request of a batch, as read: not yet resolved."""

    method: str
    url: str
    headers: dict[str, str]
    body: bytes
    content_id: str | None


@dataclass
class ChangeSet:
    """Requests that succeed or fail together."""

    parts: list[Part] = field(default_factory=list)


def parse(content_type: str, body: bytes) -> list[Part | ChangeSet]:
    """The operations of a batch. Raises DataverseError 400 for anything malformed, and for more than 1,000 requests."""
    operations: list[Part | ChangeSet] = []
    n_requests = 0
    for headers, content in _multipart(content_type, body):
        if headers.get("content-type", "").lower().startswith("multipart/mixed"):
            change_set = _parsed_change_set(headers["content-type"], content)
            operations.append(change_set)
            n_requests += len(change_set.parts)
        else:
            operations.append(_part(headers, content))
            n_requests += 1
    if n_requests > MAX_REQUESTS:
        raise bad_request(f"The batch has {n_requests} operations, the maximum is {MAX_REQUESTS}.", "0x80060888")
    return operations


def _parsed_change_set(content_type: str, body: bytes) -> ChangeSet:
    change_set = ChangeSet()
    for headers, content in _multipart(content_type, body):
        part = _part(headers, content)
        if part.method == "GET":
            raise bad_request("A query operation cannot be in a change set.")
        if part.content_id is None:
            raise bad_request("Content-ID header is missing in a request of a change set.")
        change_set.parts.append(part)
    if len({part.content_id for part in change_set.parts}) < len(change_set.parts):
        raise bad_request("A Content-ID was used more than once in a change set.")
    return change_set


def run(call: Call, answer: Callable[[Call], Answer]) -> Answer:
    """Serve a batch; `answer` serves one request. Raises DataverseError where the envelope itself is refused."""
    operations = parse(call.headers.get("content-type", ""), call.body)
    go_on = "odata.continue-on-error" in call.preferences
    boundary = f"batchresponse_{uuid.uuid4()}"
    pieces: list[bytes] = []
    status = 200
    for operation in operations:
        if isinstance(operation, ChangeSet):
            failure, piece = _change_set(call, operation, answer)
        else:
            result = _one(call, operation, answer, {})
            failure, piece = (result.status if result.status >= 400 else 0), _render(result, operation.content_id)
        pieces.append(piece)
        if failure and not go_on:
            status = failure
            break
    body = b"".join(f"--{boundary}\r\n".encode() + piece for piece in pieces) + f"--{boundary}--\r\n".encode()
    headers = {"Content-Type": f"multipart/mixed; boundary={boundary}"}
    if go_on:
        headers["Preference-Applied"] = "odata.continue-on-error"
    return Answer(status, body, headers)


def _change_set(call: Call, change_set: ChangeSet, answer: Callable[[Call], Answer]) -> tuple[int, bytes]:
    """All or nothing; a failed set answers with the failing operation alone."""
    boundary = f"changesetresponse_{uuid.uuid4()}"
    results: list[bytes] = []
    made: dict[str, str] = {}
    failure = 0
    try:
        with call.store.step():
            for part in change_set.parts:
                result = _one(call, part, answer, made)
                if result.status >= 400:
                    failure, results = result.status, [_render(result, part.content_id)]
                    raise _RolledBack
                if part.content_id and "OData-EntityId" in result.headers:
                    made[part.content_id] = result.headers["OData-EntityId"]
                results.append(_render(result, part.content_id))
    except _RolledBack:
        pass
    body = b"".join(f"--{boundary}\r\n".encode() + result for result in results) + f"--{boundary}--\r\n".encode()
    return failure, f"Content-Type: multipart/mixed; boundary={boundary}\r\n\r\n".encode() + body


class _RolledBack(Exception):
    """Leaves a change set's savepoint so that it is undone."""


def _one(call: Call, part: Part, answer: Callable[[Call], Answer], made: dict[str, str]) -> Answer:
    """Serve one part; `made` maps the Content-IDs of this change set to the URLs they created."""
    try:
        url, body = _resolve_references(call, part, made)
        path, _, query = url.partition("?")
        inner = replace(
            call, method=part.method, segments=_segments(call, path), query=query, headers=part.headers, body=body
        )
        if inner.segments == ["$batch"]:
            raise bad_request("A batch cannot hold another batch.")
        if part.method == "GET":
            return answer(inner)
        with call.store.step():
            return answer(inner)
    except DataverseError as error:
        return Answer.of_error(error)


def _resolve_references(call: Call, part: Part, made: dict[str, str]) -> tuple[str, bytes]:
    """Replace `$1` at the start of the URL and in binds by what request 1 created."""

    def known(content_id: str) -> str:
        if content_id not in made:
            raise bad_request(f"Content-ID Reference: '${content_id}' does not exist in the batch context.")
        return made[content_id]

    url = part.url
    match = re.match(r"^/?\$(\d+)(?=$|[/?])", url)
    if match:
        url = known(match[1]) + url[match.end() :]
    body = re.sub(
        rb'(@odata\.(?:bind|id)"\s*:\s*)"/?\$(\d+)"',
        lambda m: m[1] + b'"' + known(m[2].decode()).encode() + b'"',
        part.body,
    )
    return url, body


def _segments(call: Call, url: str) -> list[str]:
    """The path parts after `/api/data/v9.2/` of an absolute, rooted or relative URL."""
    path = url.partition("://")[2].partition("/")[2] if "://" in url else url
    path = resolved(b"/" + path.lstrip("/").encode()).decode().lstrip("/")
    if path.lower().startswith("api/data/"):
        path = path.split("/", 3)[3] if path.count("/") >= 3 else ""
    return split_path(path)


def _render(answer: Answer, content_id: str | None) -> bytes:
    """One part of the reply."""
    head = ["Content-Type: application/http", "Content-Transfer-Encoding: binary"]
    if content_id is not None:
        head.append(f"Content-ID: {content_id}")
    phrase = HTTPStatus(answer.status).phrase
    inner = [f"HTTP/1.1 {answer.status} {phrase}"]
    headers = {**answer.headers, "OData-Version": "4.0"}
    if answer.status >= 400:
        headers["REQ_ID"] = str(uuid.uuid4())
    inner.extend(f"{name}: {value}" for name, value in headers.items())
    return "\r\n".join([*head, "", *inner, "", ""]).encode() + answer.body + b"\r\n"


def _multipart(content_type: str, body: bytes) -> list[tuple[dict[str, str], bytes]]:
    """The parts of a multipart body as (headers, content); CRLF and LF both end lines."""
    match = _BOUNDARY.search(content_type)
    if not content_type.lower().lstrip().startswith("multipart/mixed") or not match:
        raise bad_request("The content type of a batch must be 'multipart/mixed' with a boundary.")
    mark = b"--" + re.escape((match[1] or match[2]).encode())
    found = list(re.finditer(rb"(?:^|\r?\n)" + mark + rb"(--)?[ \t]*(?=\r?\n|$)", body))
    if not found or found[-1][1] is None:
        raise bad_request("The batch is malformed: its boundary, or the end of it, was not found.")
    parts = []
    for here, there in pairwise(found):
        if here[1] is not None:
            break
        parts.append(_headers_and_body(body[here.end() : there.start()]))
    if not parts:
        raise bad_request("The batch holds no request.")
    return parts


def _headers_and_body(text: bytes) -> tuple[dict[str, str], bytes]:
    text = re.sub(rb"^\r?\n", b"", text, count=1)
    if re.match(rb"\r?\n", text):
        return {}, re.sub(rb"^\r?\n", b"", text, count=1)
    head, _, body = _cut(text)
    headers: dict[str, str] = {}
    for line in head.splitlines():
        name, colon, value = line.partition(b":")
        if not colon:
            raise bad_request("The batch is malformed: a header has no colon.")
        key, value_text = name.decode("latin-1").strip().lower(), value.decode("latin-1").strip()
        headers[key] = f"{headers[key]},{value_text}" if key in headers else value_text
    return headers, body


def _cut(text: bytes) -> tuple[bytes, bytes, bytes]:
    """Head, blank line, rest."""
    match = re.search(rb"\r?\n\r?\n", text)
    return (text[: match.start()], match[0], text[match.end() :]) if match else (text, b"", b"")


def _part(headers: dict[str, str], content: bytes) -> Part:
    if not headers.get("content-type", "").lower().startswith("application/http"):
        raise bad_request("A part of a batch must have the content type 'application/http'.")
    line, _, rest = content.partition(b"\n")
    match = _REQUEST_LINE.fullmatch(line.decode("latin-1").strip())
    if not match:
        raise bad_request("The batch is malformed: a part does not start with a request line.")
    inner_headers, body = _headers_and_body(b"\n" + rest)
    content_id = headers.get("content-id") or inner_headers.get("content-id")
    return Part(match[1], match[2], inner_headers, body.strip(), content_id)
