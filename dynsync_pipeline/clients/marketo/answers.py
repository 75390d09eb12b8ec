"""Marketo's answers: bytes in, values or a named error out, no I/O. Not here: sending.

Source: docs/protocols/marketo.md#envelope, #reading-people, #writing-people, #companies, #activities, #bulk-extract.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime
from typing import Literal, TypeVar

import msgspec
import pyarrow as pa

from dynsync_pipeline.clients.marketo.protocol import (
    SYSTEM,
    Activity,
    DeletedPerson,
    ExportStatus,
    FeedPage,
    FieldChange,
    MarketoField,
    PersonResult,
)
from dynsync_pipeline.clients.marketo.refusals import http_refusal, refusal
from dynsync_pipeline.clients.rows import text_of, text_table
from dynsync_pipeline.clients.transport import Reply
from dynsync_pipeline.errors import AnswerUnreadable, RequestRefused

NEW_LEAD = 12  # activity type
Item = TypeVar("Item")


class _Fault(msgspec.Struct):
    code: str = ""
    message: str = ""


class Envelope(msgspec.Struct, rename="camel"):
    """What every answer has around its result."""

    success: bool
    result: msgspec.Raw = msgspec.Raw(b"[]")
    errors: list[_Fault] = msgspec.field(default_factory=list)
    next_page_token: str | None = None
    more_result: bool = False


class _Rest(msgspec.Struct, rename="camel"):
    name: str
    read_only: bool = False


class _PersonField(msgspec.Struct, rename="camel"):
    id: int
    display_name: str
    data_type: str
    length: int | None = None
    rest: _Rest | None = None


class _CompanyField(msgspec.Struct, rename="camel"):
    name: str
    display_name: str
    data_type: str
    length: int | None = None
    updateable: bool = True


class _CompanyTable(msgspec.Struct):
    fields: list[_CompanyField]


class _ChangedField(msgspec.Struct, rename="camel"):
    name: str
    new_value: msgspec.Raw = msgspec.Raw(b"null")
    old_value: msgspec.Raw = msgspec.Raw(b"null")


class _Attribute(msgspec.Struct):
    name: str
    value: msgspec.Raw = msgspec.Raw(b"null")


class Entry(msgspec.Struct, rename="camel"):
    """One entry of any feed. The integer `id` is left alone: it may be missing or repeated."""

    guid: str = msgspec.field(name="marketoGUID")
    lead_id: int
    activity_date: str
    activity_type_id: int
    primary_attribute_value: msgspec.Raw = msgspec.Raw(b"null")
    fields: list[_ChangedField] = msgspec.field(default_factory=list)
    attributes: list[_Attribute] = msgspec.field(default_factory=list)


class _RecordAnswer(msgspec.Struct):
    status: Literal["created", "updated", "skipped"]
    id: int | None = None
    reasons: list[_Fault] = msgspec.field(default_factory=list)


class _Job(msgspec.Struct, rename="camel"):
    export_id: str
    status: str
    number_of_records: int | None = None
    file_size: int | None = None
    file_checksum: str | None = None


class _Usage(msgspec.Struct):
    total: int


_envelope = msgspec.json.Decoder(Envelope)
_rows = msgspec.json.Decoder(list[dict[str, msgspec.Raw]])
_fields_of_people = msgspec.json.Decoder(list[_PersonField])
_fields_of_companies = msgspec.json.Decoder(list[_CompanyTable])
_jobs = msgspec.json.Decoder(list[_Job])
_records = msgspec.json.Decoder(list[_RecordAnswer])
_usage = msgspec.json.Decoder(list[_Usage])
_entries = msgspec.json.Decoder(list[Entry])


def envelope(reply: Reply, request: str) -> Envelope:
    """The answer to a call. Raises: the error it describes, or AnswerUnreadable."""
    try:
        found = _envelope.decode(reply.body)
    except msgspec.DecodeError:
        if reply.status != 200:
            raise http_refusal(reply, request) from None
        raise AnswerUnreadable(
            "Marketo's answer is no complete JSON of its API.",
            system=SYSTEM,
            request=request,
            status=reply.status,
            next_step="If it goes on, check DYNSYNC_MARKETO_URL and whether a proxy answers instead.",
        ) from None
    if not found.success:
        fault = found.errors[0] if found.errors else _Fault("", "no reason given")
        raise refusal(fault.code, fault.message, request, status=reply.status)
    return found


def result(answer: Envelope, decoder: msgspec.json.Decoder[Item], request: str) -> Item:
    """The result inside an envelope. Raises: AnswerUnreadable if it is of another shape."""
    try:
        return decoder.decode(answer.result)
    except msgspec.DecodeError as fault:
        raise _unreadable(request, fault) from None


def text_rows(answer: Envelope, names: Sequence[str], request: str) -> pa.Table:
    """Records as text columns; a field that Marketo leaves out is null, as its documentation says."""
    rows = result(answer, _rows, request)
    try:
        return text_table({name: [text_of(row[name]) if name in row else None for row in rows] for name in names})
    except ValueError as fault:
        raise _unreadable(request, fault) from None


def person_fields(answer: Envelope, request: str) -> dict[str, MarketoField]:
    """The fields of people that REST can use, by REST name."""
    return {
        field.rest.name: MarketoField(
            field.rest.name, field.id, field.display_name, field.data_type, field.length, field.rest.read_only
        )
        for field in result(answer, _fields_of_people, request)
        if field.rest is not None
    }


def company_fields(answer: Envelope, request: str) -> dict[str, MarketoField]:
    """The fields of companies by REST name; Marketo gives them no number."""
    return {
        field.name: MarketoField(
            field.name, 0, field.display_name, field.data_type, field.length, is_read_only=not field.updateable
        )
        for table in result(answer, _fields_of_companies, request)
        for field in table.fields
    }


def feed_page(answer: Envelope, request: str, *, read: Callable[[Entry], list[Item]], token: str) -> FeedPage[Item]:
    """One page of a feed; `token` is the one that was sent.

    A page without records while `moreResult` is true is not the end; one that also repeats the token would
    never end. Raises: AnswerUnreadable.
    """
    entries = result(answer, _entries, request)
    following = answer.next_page_token
    if not following:
        raise _unreadable(request, "a feed page without nextPageToken")
    if answer.more_result and following == token:
        raise _unreadable(request, "the feed does not move on")
    try:
        items = [item for entry in entries for item in read(entry)]
    except ValueError as fault:
        raise _unreadable(request, fault) from None
    return FeedPage(items, following, is_last=not answer.more_result)


def field_changes(wanted: Collection[str]) -> Callable[[Entry], list[FieldChange]]:
    """Reads an entry of `leadchanges` as its changed fields, these ones only: Marketo may send others too."""

    def read(entry: Entry) -> list[FieldChange]:
        at = _time(entry.activity_date)
        if entry.activity_type_id == NEW_LEAD:
            return [FieldChange(entry.guid, entry.lead_id, at, None, None, None)]
        return [
            FieldChange(entry.guid, entry.lead_id, at, field.name, text_of(field.old_value), text_of(field.new_value))
            for field in entry.fields
            if field.name in wanted
        ]

    return read


def activity(entry: Entry) -> list[Activity]:
    """Reads an entry of `activities`."""
    attributes = {each.name: text_of(each.value) for each in entry.attributes}
    primary = text_of(entry.primary_attribute_value)
    at = _time(entry.activity_date)
    return [Activity(entry.guid, entry.lead_id, at, entry.activity_type_id, primary, attributes)]


def deleted_person(entry: Entry) -> list[DeletedPerson]:
    """Reads an entry of `deletedleads`, without the person's name."""
    return [DeletedPerson(entry.guid, entry.lead_id, _time(entry.activity_date))]


def record_results(answer: Envelope, n_records: int, request: str) -> list[PersonResult]:
    """What became of each record of a sync call, in order. Raises: AnswerUnreadable if one is missing."""
    found = result(answer, _records, request)
    if len(found) != n_records:
        raise _unreadable(request, f"{len(found)} results for {n_records} records")
    return [_record_result(each, request) for each in found]


def _record_result(record: _RecordAnswer, request: str) -> PersonResult:
    if record.status != "skipped":
        return PersonResult(record.id, record.status, None)
    fault = record.reasons[0] if record.reasons else _Fault("", "no reason given")
    return PersonResult(record.id, "skipped", refusal(fault.code, fault.message, request))


def export_jobs(answer: Envelope, request: str) -> dict[str, ExportStatus]:
    """Bulk export jobs by id; both spellings of a cancelled job become `Cancelled`."""
    return {
        job.export_id: ExportStatus(
            "Cancelled" if job.status == "Canceled" else job.status,
            job.number_of_records,
            job.file_size,
            job.file_checksum,
        )
        for job in result(answer, _jobs, request)
    }


def export_id(answer: Envelope, request: str) -> str:
    """The id of the job that was created."""
    jobs = export_jobs(answer, request)
    if len(jobs) != 1:
        raise _unreadable(request, f"{len(jobs)} jobs instead of one")
    return next(iter(jobs))


def calls_used(answer: Envelope, request: str) -> int:
    """Calls of all integrations today."""
    return sum(day.total for day in result(answer, _usage, request))


def is_queue_full(error: RequestRefused) -> bool:
    """Whether a bulk job was refused because other jobs must finish first."""
    return error.code == "1029" and "too many jobs" in error.message.lower()


def is_queued_already(error: RequestRefused) -> bool:
    """Whether a bulk job was refused because it is queued already: an earlier, unanswered call did it."""
    return error.code == "1029" and "already queued" in error.message.lower()


def is_about_token(error: RequestRefused) -> bool:
    """Whether a feed was refused for its paging token: the vendor documents neither its lifetime nor the error."""
    message = error.message.lower()
    return "paging token" in message or "pagetoken" in message


def has_too_many_matches(error: RequestRefused) -> bool:
    """Whether a filter matched more records than Marketo gives for one call."""
    return error.code == "1003" and "too many results" in error.message.lower()


def _time(text: str) -> datetime:
    at = datetime.fromisoformat(text)
    return at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)


def _unreadable(request: str, why: object) -> AnswerUnreadable:
    return AnswerUnreadable(f"Marketo's answer cannot be used: {why}.", system=SYSTEM, request=request)
