"""Marketo's answers: bytes in, values or a named error out, no I/O. Not here: sending.

Source: docs/protocols/marketo.md#envelope, #reading-people, #writing-people, #companies, #activities, #bulk-extract.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal, TypeVar

import msgspec

from dynsync_pipeline.clients.marketo.protocol import (
    SYSTEM,
    Activity,
    ActivityType,
    DeletedPerson,
    ExportStatus,
    FeedPage,
    FieldChange,
    MarketoField,
    PersonResult,
)
from dynsync_pipeline.clients.marketo.refusals import http_refusal, refusal
from dynsync_pipeline.clients.pages import MOST_UNREAD, too_many_unread
from dynsync_pipeline.clients.pieces import FAULTS, members, rows_of, sorted_out, told_once, what_is_wrong
from dynsync_pipeline.clients.rows import Unreadable, rows_table, text_of
from dynsync_pipeline.clients.transport import Reply
from dynsync_pipeline.errors import AnswerUnreadable, ColumnUnknown, RequestRefused
from dynsync_pipeline.model.own_fields import COMPANY_KEY
from dynsync_pipeline.model.records import UNREAD

if TYPE_CHECKING:
    import pyarrow as pa

NEW_LEAD = 12  # activity type
KEYS = ("id", COMPANY_KEY)
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


class _DescribedField(msgspec.Struct, rename="camel"):
    crm_managed: bool = False


class _DescribedPeople(msgspec.Struct):
    fields: list[_DescribedField]


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
    primary_attribute_value_id: int | None = None
    fields: list[_ChangedField] = msgspec.field(default_factory=list)
    attributes: list[_Attribute] = msgspec.field(default_factory=list)


class _RecordAnswer(msgspec.Struct):
    status: Literal["created", "updated", "added", "skipped"]
    seq: int | None = None  # of companies: the place of the record in the request
    id: int | None = None
    reasons: list[_Fault] = msgspec.field(default_factory=list)
    errors: list[_Fault] = msgspec.field(default_factory=list)  # of custom activities


class _TypeAttribute(msgspec.Struct, rename="camel"):
    api_name: str


class _ActivityType(msgspec.Struct, rename="camel"):
    id: int
    api_name: str
    status: str
    attributes: list[_TypeAttribute] = msgspec.field(default_factory=list)


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
_field_of_people = msgspec.json.Decoder(_PersonField)
_fields_of_companies = msgspec.json.Decoder(list[_CompanyTable])
_described = msgspec.json.Decoder(list[_DescribedPeople])
_jobs = msgspec.json.Decoder(list[_Job])
_records = msgspec.json.Decoder(list[_RecordAnswer])
_activity_types = msgspec.json.Decoder(list[_ActivityType])
_usage = msgspec.json.Decoder(list[_Usage])
_entries = msgspec.json.Decoder(list[Entry])
_entry = msgspec.json.Decoder(Entry)


def envelope(reply: Reply, request: str) -> Envelope:
    """The answer to a call, also where something inside its result is bad. Raises: what it describes, or AnswerUnreadable."""
    try:
        found = _envelope.decode(reply.body)
    except FAULTS:
        try:
            found = _envelope_of_pieces(reply.body)
        except FAULTS:
            if (code := _told_code(reply.body)) is not None:
                raise refusal(code, "", request, status=reply.status) from None
            if reply.status != 200:
                raise http_refusal(reply, request) from None
            raise _no_envelope(reply, request) from None
    if not found.success:
        fault = found.errors[0] if found.errors else _Fault("", "no reason given")
        raise refusal(fault.code, fault.message, request, status=reply.status)
    return found


def _told_code(body: bytes) -> str | None:
    """The code of a refusal whose message cannot be read."""
    return told_once(body, "success", "false") and told_once(body, "code", "[0-9]{3,4}")


def is_spoiled(reply: Reply) -> bool:
    """Whether an answer that cannot be read is Marketo's own: fewer records at a time may then help."""
    return reply.status == 200 and reply.body.lstrip().startswith(b"{") and b'"requestId"' in reply.body


def spoiled_feed(reply: Reply, request: str) -> Envelope:
    """What is told around the only entry of a feed's page that cannot be cut. Raises: AnswerUnreadable."""
    token, more = (
        told_once(reply.body, "nextPageToken", r'[^"\\\s]+'),
        told_once(reply.body, "moreResult", "true|false"),
    )
    if token is None or more is None:
        raise _no_envelope(reply, request)
    person_id = told_once(reply.body, "leadId", "[0-9]{1,18}")
    result = b'[{"leadId":%s}]' % person_id.encode() if person_id else b"[{}]"
    return Envelope(True, msgspec.Raw(result), next_page_token=token, more_result=more == "true")


def _envelope_of_pieces(body: bytes) -> Envelope:
    """The envelope around a result of which something is bad. Raises: Unreadable, msgspec.DecodeError."""
    found = members(body)
    inner = found.pop("result", b"[]")
    answer = _envelope.decode(b"{%s}" % b",".join(b'"%s":%s' % (name.encode(), text) for name, text in found.items()))
    answer.result = msgspec.Raw(inner)
    return answer


def _no_envelope(reply: Reply, request: str) -> AnswerUnreadable:
    is_vendors = is_spoiled(reply)
    return AnswerUnreadable(
        "Marketo's answer is cut short or garbled."
        if is_vendors
        else "Marketo's answer is no complete JSON of its API.",
        system=SYSTEM,
        request=request,
        status=reply.status,
        next_step="The next cycle asks again; if it goes on, ask Marketo's support."
        if is_vendors
        else "If it goes on, check DYNSYNC_MARKETO_URL and whether a proxy answers instead.",
    )


def result(answer: Envelope, decoder: msgspec.json.Decoder[Item], request: str) -> Item:
    """The result inside an envelope. Raises: AnswerUnreadable if it is of another shape."""
    try:
        return decoder.decode(answer.result)
    except FAULTS as fault:
        raise _unreadable(request, fault) from None


def text_rows(answer: Envelope, names: Sequence[str], request: str) -> pa.Table:
    """Records as text columns; a field that Marketo leaves out is null, as its documentation says.

    `names` holds `id`. Of a record that cannot be read stands what can, such as its keys, and `UNREAD` (R116). Raises:
    PageSpoiled; ColumnUnknown or AnswerUnreadable where so many cannot be read that none of them is at fault.
    """
    try:
        rows = [_texts(row, names) for row in _rows.decode(answer.result)]
    except FAULTS:
        rows = _texts_of_pieces(_pieces_of(answer, "id", request), names, request)
    return rows_table(names, rows)


def unread_record(key: str, value: str) -> dict[str, str | None]:
    """The row of a record that was asked for alone, by `key`, and whose answer cannot be read."""
    why = "it cannot be told from what stands around it"
    return {key: value, UNREAD: why} if key in KEYS else {UNREAD: f"the record with one {key}: {why}"}


def _texts(row: Mapping[str, bytes | msgspec.Raw], names: Sequence[str]) -> dict[str, str | None]:
    shown = {name: _text(row, name) for name in names}
    if not re.fullmatch("[0-9]{1,18}", shown["id"] or ""):
        raise Unreadable("it has no id")
    return shown


def _text(row: Mapping[str, bytes | msgspec.Raw], name: str) -> str | None:
    try:
        return text_of(row[name]) if name in row else None
    except FAULTS as fault:
        raise Unreadable(f"the value of {name}: {what_is_wrong(fault)}", name) from None


def _texts_of_pieces(pieces: Sequence[bytes], names: Sequence[str], request: str) -> list[dict[str, str | None]]:
    rows: list[dict[str, str | None]] = []
    faults: list[Exception] = []
    for number, piece in enumerate(pieces, start=1):
        try:
            rows.append(_texts(members(piece), names))
        except FAULTS as fault:
            faults.append(fault)
            shown, why = _readable(piece, names), what_is_wrong(fault)
            rows.append(shown | {UNREAD: why if shown["id"] else f"record {number} of the answer: {why}"})
    if len(faults) > MOST_UNREAD:
        columns = {getattr(fault, "column", None) for fault in faults}
        if len(columns) == 1 and (field := columns.pop()) is not None:
            raise ColumnUnknown(
                f"Marketo's answer cannot be used: {what_is_wrong(faults[0])}.",
                system=SYSTEM,
                request=request,
                field=field,
            )
        raise too_many_unread(SYSTEM, request)
    return rows


def _readable(piece: bytes, names: Sequence[str]) -> dict[str, str | None]:
    """What can be read of a record that cannot be read as a whole: its keys, if they are told, and they alone matter."""
    shown = {}
    try:
        row = members(piece)
    except Unreadable:
        shown = {name: told_once(piece, name, r"[\w:-]+") for name in names}
    else:
        for name in names:
            with suppress(*FAULTS):
                shown[name] = _text(row, name)
    person_id = shown.get("id")
    return shown | {"id": person_id if re.fullmatch("[0-9]{1,18}", person_id or "") else None}


def _pieces_of(answer: Envelope, id_name: str, request: str) -> list[bytes]:
    try:
        return rows_of(bytes(answer.result), id_name)
    except Unreadable as fault:
        raise _unreadable(request, fault) from None


def person_fields(answer: Envelope, request: str) -> dict[str, MarketoField]:
    """The fields of people that REST can use, by REST name; one whose definition cannot be read is left out."""
    try:
        fields, _ = sorted_out(bytes(answer.result), _field_of_people.decode)
    except Unreadable as fault:
        raise _unreadable(request, fault) from None
    return {
        field.rest.name: MarketoField(
            field.rest.name, field.id, field.display_name, field.data_type, field.length, field.rest.read_only
        )
        for field in fields
        if field.rest is not None
    }


def is_managed_by_crm(answer: Envelope, request: str) -> bool:
    """Whether a native CRM sync manages any field of people."""
    return any(field.crm_managed for each in result(answer, _described, request) for field in each.fields)


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
    items, unread_ids = _read_entries(answer, read, request)
    following = answer.next_page_token
    if not following:
        raise _unreadable(request, "a feed page without nextPageToken")
    if answer.more_result and following == token:
        raise _unreadable(request, "the feed does not move on")
    return FeedPage(items, following, not answer.more_result, unread_ids, bytes(answer.result))


def _read_entries(
    answer: Envelope, read: Callable[[Entry], list[Item]], request: str
) -> tuple[list[Item], tuple[int | None, ...]]:
    """What the entries tell, and the people of those that cannot be read. Raises: AnswerUnreadable."""
    try:
        return [item for entry in _entries.decode(answer.result) for item in read(_possible(entry))], ()
    except FAULTS:
        pieces = _pieces_of(answer, "leadId", request)
    items: list[Item] = []
    unread_ids: list[int | None] = []
    for piece in pieces:
        try:
            items += read(_possible(_entry.decode(piece)))
        except FAULTS:
            key = told_once(piece, "leadId", "[0-9]{1,18}")
            unread_ids.append(int(key) if key else None)
    if len(unread_ids) > MOST_UNREAD:
        raise too_many_unread(SYSTEM, request)
    return items, tuple(unread_ids)


def _possible(entry: Entry) -> Entry:
    if not 0 < entry.lead_id < 10**18:
        raise Unreadable("its person's id is no id")
    return entry


def field_changes(wanted: Collection[str]) -> Callable[[Entry], list[FieldChange]]:
    """Reads an entry of `leadchanges` as its changed fields, these ones only: Marketo may send others too."""

    def read(entry: Entry) -> list[FieldChange]:
        at = _time(entry.activity_date)
        if entry.activity_type_id == NEW_LEAD:
            return [FieldChange(entry.guid, entry.lead_id, at, None, None, None)]
        source = next((text_of(each.value) for each in entry.attributes if each.name == "Source"), None)
        return [
            FieldChange(
                entry.guid, entry.lead_id, at, field.name, text_of(field.old_value), text_of(field.new_value), source
            )
            for field in entry.fields
            if field.name in wanted
        ]

    return read


def activity(entry: Entry) -> list[Activity]:
    """Reads an entry of `activities`."""
    attributes = {each.name: text_of(each.value) for each in entry.attributes}
    primary = text_of(entry.primary_attribute_value)
    at = _time(entry.activity_date)
    return [
        Activity(
            entry.guid, entry.lead_id, at, entry.activity_type_id, primary, attributes, entry.primary_attribute_value_id
        )
    ]


def deleted_person(entry: Entry) -> list[DeletedPerson]:
    """Reads an entry of `deletedleads`, without the person's name."""
    return [DeletedPerson(entry.guid, entry.lead_id, _time(entry.activity_date))]


def record_results(answer: Envelope, n_records: int, request: str) -> list[PersonResult]:
    """What became of each record of a sync call, in order. Raises: AnswerUnreadable if one is missing."""
    found = result(answer, _records, request)
    if len(found) != n_records:
        raise _unreadable(request, f"{len(found)} results for {n_records} records")
    by_place = {place if each.seq is None else each.seq: each for place, each in enumerate(found)}
    if by_place.keys() != set(range(n_records)):
        raise _unreadable(request, "its results do not tell which record each is of")
    return [_record_result(by_place[place], request) for place in range(n_records)]


def _record_result(record: _RecordAnswer, request: str) -> PersonResult:
    if record.status != "skipped":
        return PersonResult(record.id, record.status, None)
    fault = next(iter((*record.reasons, *record.errors)), _Fault("", "no reason given"))
    return PersonResult(record.id, "skipped", refusal(fault.code, fault.message, request))


def activity_types(answer: Envelope, request: str) -> list[ActivityType]:
    """Custom activity types, with the attributes in force; of a draft that was never approved, those it would have."""
    return [
        ActivityType(
            each.id,
            each.api_name,
            each.status.lower().startswith("approved"),
            frozenset(attribute.api_name for attribute in each.attributes),
        )
        for each in result(answer, _activity_types, request)
    ]


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
    try:
        return at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)
    except OverflowError:  # no ValueError, and as good as one: the first and last hours of the calendar
        raise Unreadable("its time is none") from None


def _unreadable(request: str, why: str | Exception) -> AnswerUnreadable:
    said = what_is_wrong(why) if isinstance(why, Exception) else why
    return AnswerUnreadable(f"Marketo's answer cannot be used: {said}.", system=SYSTEM, request=request)
