"""An error answer of Dataverse as a named error. Not here: errors of sign-in (`auth.py`).

Codes decide, compared without case; the HTTP status only where there is no known code. Messages of the vendor are shown
redacted, because they may quote values.
Source: docs/protocols/dataverse.md#errors.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec

from dynsync_pipeline.clients.dynamics.protocol import SYSTEM
from dynsync_pipeline.clients.pieces import FAULTS, told_once
from dynsync_pipeline.clients.transport import Reply, redacted
from dynsync_pipeline.errors import (
    AccessDenied,
    AnswerUnreadable,
    ApiError,
    ChangedMeanwhile,
    ColumnUnknown,
    CursorExpired,
    RateLimited,
    RecordExists,
    RecordMissing,
    RequestRefused,
    ServerFailed,
    SignInRefused,
)
from dynsync_pipeline.model.records import EntitySet

_KINDS: Mapping[str, type[ApiError]] = {
    "0x80044352": CursorExpired,
    "0x80040217": RecordMissing,
    "0x80060891": RecordMissing,
    "0x80060882": ChangedMeanwhile,
    "0x80040237": RecordExists,
    "0x80060892": RecordExists,
    "0x80040220": AccessDenied,
    "0x80072560": AccessDenied,
    "0x80042f09": AccessDenied,
    "0x80041d1f": AccessDenied,
    "0x80072322": RateLimited,
    "0x80072321": RateLimited,
    "0x80072326": RateLimited,
    "0x8004f502": ColumnUnknown,  # to this user, by column security
    "0x8004f504": ColumnUnknown,
    "0x8004f506": ColumnUnknown,
    "0x8004f507": ColumnUnknown,
    "0x80040333": RequestRefused,  # a rule against duplicates (R77)
}
_NEXT_STEPS: Mapping[str, str] = {
    "0x80040220": "Give the sync's user a security role with organization-level read and the write privilege it lacks.",
    "0x80072560": "Add the app registration as an application user of this environment, and give it a security role.",
    "0x80042f09": "Give the sync's user a security role in this environment.",
    "0x80041d1f": "Enable the sync's user in this environment.",
    "0x80072491": "Switch on 'Track changes' for the table in Power Apps.",
    "0x8004f507": "Grant the sync's user a column security profile, or take the field out of the field map.",
    "0x8004f502": "Grant the sync's user a column security profile, or take the field out of the field map.",
}
_TOO_LARGE = "It is larger than Dynamics takes: shorten the record's longest texts where they were entered."
# Where a message names the column at fault.
_FIELDS = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        r"Could not find a property named '(\w+)'",
        r"length of the '(\w+)' attribute",
        r"value (?:\S+ )?of '(\w+)' on record of type",
        r"permissions to a '?(\w+)'? secured field",
        r"undeclared property '(\w+)",
        r"property '(\w+)' does not exist on type",
        r"attribute '?(\w+)'? (?:is out of range|cannot be|has an invalid)",
    )
)
_UNKNOWN_COLUMN = re.compile(
    r"Could not find a property named|undeclared property|does not exist on type", re.IGNORECASE
)
_EXPIRED = re.compile(r"version stamp\b.*\bexpired", re.IGNORECASE)  # the status and code over HTTP are not documented
_QUOTED_VALUE = re.compile(r"literal '[^']*'", re.IGNORECASE)
OBJECT_DOES_NOT_EXIST = "0x80040217"
_DOES_NOT_EXIST = re.compile(
    r"(?:Entity )?'?(\w+)'? With Ids? = ([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}) Does Not Exist\.?", re.IGNORECASE
)
_GUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


class _Fault(msgspec.Struct):
    code: str = ""
    message: str = ""


class _FaultBody(msgspec.Struct):
    error: _Fault


_fault_body = msgspec.json.Decoder(_FaultBody)


def refusal(reply: Reply, request: str, *, record_id: str | None = None, is_create: bool = False) -> ApiError:
    """The error that an answer other than 2xx describes.

    `record_id` is the record a write addressed: a 404 that names another one (a lookup's target) is no RecordMissing.
    `is_create` says that the write carried `If-None-Match: *`.
    """
    told = _fault_in(reply)
    fault = told or _Fault()
    code = fault.code.lower()
    kind = _kind(reply.status, code, fault.message, told is not None, record_id, is_create)
    field = next((found[1].lower() for pattern in _FIELDS if (found := pattern.search(fault.message))), None)
    said = redacted(_QUOTED_VALUE.sub("literal '…'", fault.message))
    return kind(
        f"Dynamics answered {request} with {reply.status}{f' {code}' if code else ''}: {said or 'no reason given'}",
        system=SYSTEM,
        request=request,
        code=code,
        status=reply.status,
        retry_after_s=reply.retry_after_s,
        field=field if issubclass(kind, RequestRefused) else None,
        next_step=_NEXT_STEPS.get(code, _TOO_LARGE if reply.status == 413 else ""),
    )


def proves_absence(reply: Reply, table: EntitySet, record_id: str) -> bool:
    """Whether an answer to `GET table(id)` says that just this record does not exist (R86).

    A right that was lost, another table's or another record's 404, and a gateway's page prove nothing.
    """
    fault = _fault_in(reply)
    named = None if fault is None else _DOES_NOT_EXIST.fullmatch(fault.message.strip())
    return (
        reply.status == 404
        and fault is not None
        and fault.code.lower() == OBJECT_DOES_NOT_EXIST
        and named is not None
        and named[1].lower() == table.name
        and named[2].lower() == record_id.lower()
    )


def _fault_in(reply: Reply) -> _Fault | None:
    """What an answer says of an error, without its message where that cannot be read; None where a proxy or gateway answered."""
    try:
        return _fault_body.decode(reply.body).error
    except FAULTS:
        code = told_once(reply.body, "code", "0x[0-9a-fA-F]{1,8}")
        return None if code is None else _Fault(code)


def _kind(
    status: int, code: str, message: str, is_vendors: bool, record_id: str | None, is_create: bool
) -> type[ApiError]:
    if status in _KINDS_OF_STATUS:
        return _KINDS_OF_STATUS[status]
    if (kind := _KINDS.get(code)) is not None:
        return _kind_of_record(kind, message, record_id, is_create)
    if status == 410 or _EXPIRED.search(message):
        return CursorExpired
    return ServerFailed if status >= 500 else _kind_of_status(status, message, is_vendors, is_create)


_KINDS_OF_STATUS: dict[int, type[ApiError]] = {401: SignInRefused, 429: RateLimited}  # whatever the code says


def _kind_of_record(kind: type[ApiError], message: str, record_id: str | None, is_create: bool) -> type[ApiError]:
    """What a code means that may speak of another record than the one addressed."""
    if kind is RecordMissing and record_id is not None and not _may_name(message, record_id):
        return RequestRefused
    if kind is RecordExists and not is_create:
        return RequestRefused  # an update that would break an alternate key
    return kind


def _may_name(message: str, record_id: str) -> bool:
    """Whether a message names this record, or none."""
    named = [found.lower() for found in _GUID.findall(message)]
    return not named or record_id.lower() in named


def _kind_of_status(status: int, message: str, is_vendors: bool, is_create: bool) -> type[ApiError]:
    """What an answer below 500 means whose code tells nothing."""
    if 300 <= status < 400 or not is_vendors:
        return AnswerUnreadable if status not in (403, 404, 405, 413) else RequestRefused
    by_status = {403: AccessDenied, 412: RecordExists if is_create else ChangedMeanwhile}
    return by_status.get(status, ColumnUnknown if _UNKNOWN_COLUMN.search(message) else RequestRefused)
