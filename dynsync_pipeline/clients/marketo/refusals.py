"""An error of Marketo as a named error (R127): whole calls and single records alike. Not here: sign-in.

The code decides, a string inside an answer with status 200; messages are shown redacted.
Source: docs/protocols/marketo.md#errors.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from dynsync_pipeline.clients.marketo.protocol import SYSTEM
from dynsync_pipeline.clients.transport import Reply, redacted
from dynsync_pipeline.errors import (
    AccessDenied,
    AnswerUnreadable,
    ApiError,
    BudgetSpent,
    ColumnUnknown,
    RateLimited,
    RecordExists,
    RecordMissing,
    RequestRefused,
    ServerFailed,
    SignInRefused,
    TimedOut,
    Unreachable,
)

_KINDS: Mapping[str, type[ApiError]] = {
    "500": ServerFailed,
    "502": ServerFailed,
    "601": SignInRefused,  # the token, not the credentials: renewed once
    "602": SignInRefused,
    "603": AccessDenied,
    "604": TimedOut,
    "606": RateLimited,
    "607": BudgetSpent,
    "608": Unreachable,  # "API temporarily unavailable": nothing was executed
    "611": ServerFailed,
    "614": ServerFailed,
    "615": RateLimited,
    "713": ServerFailed,
    "1004": RecordMissing,
    "1005": RecordExists,
    "1006": ColumnUnknown,
    "1007": RecordExists,
    "1013": RecordMissing,
}
_CREDENTIALS = "Check DYNSYNC_MARKETO_CLIENT_ID and DYNSYNC_MARKETO_CLIENT_SECRET."
_NEXT_STEPS: Mapping[str, str] = {
    "601": _CREDENTIALS,
    "602": _CREDENTIALS,
    "603": "Give the API user of the service a role with read-write access to persons, companies and activities, "
    "and see whether an IP allow-list keeps this host out.",
    "607": "The quota comes back at midnight US Central time; other integrations share it.",
    "609": "Report this answer to the makers of DynSync; if only some records are refused so, look for odd signs in their texts.",
    "610": "Check DYNSYNC_MARKETO_URL: the address without /rest.",
    "1007": "Several people have this key in Marketo; merge them there.",
    "1018": "This Marketo has a native CRM sync, which alone may write companies; switch it off first.",
    "1029": "The queue or the daily quota of bulk extracts is used up; it is shared with other integrations.",
}
_FIELD = re.compile(r"\b(?:field|attribute) '([^']+)'", re.IGNORECASE)
_QUOTA = re.compile(r"daily quota", re.IGNORECASE)


def refusal(code: str, message: str, request: str, *, status: int = 200) -> ApiError:
    """The error that a code and its message describe, of a call or of a record in it."""
    kind = _KINDS.get(code, ServerFailed if status >= 500 else RequestRefused)
    if code == "1029" and _QUOTA.search(message):
        kind = BudgetSpent
    field = _FIELD.search(message) if issubclass(kind, RequestRefused) else None
    return kind(
        f"Marketo answered {request} with {code}: {redacted(message) or 'no reason given'}",
        system=SYSTEM,
        request=request,
        code=code,
        status=status,
        field=field[1] if field else None,
        next_step=_NEXT_STEPS.get(code, ""),
    )


def http_refusal(reply: Reply, request: str) -> ApiError:
    """The error behind an HTTP status other than 200 whose body is not Marketo's own."""
    kind: type[ApiError] = RequestRefused
    next_step = ""
    if reply.status == 429:
        kind = RateLimited
    elif reply.status >= 500:
        kind = ServerFailed
    elif reply.status == 413:
        next_step = (
            "It is larger than the 1 MB that Marketo takes: shorten the record's longest texts where they were entered."
        )
    elif reply.status < 400 or reply.status in (401, 403, 407):
        kind = AnswerUnreadable
        next_step = "Something between here and Marketo may have answered: check DYNSYNC_MARKETO_URL and the proxy."
    return kind(
        f"Marketo answered {request} with HTTP {reply.status}.",
        system=SYSTEM,
        request=request,
        code=str(reply.status),
        status=reply.status,
        retry_after_s=reply.retry_after_s,
        next_step=next_step,
    )
