"""Every error DynSync raises on purpose. One sentence each, safe to print: no secret, e-mail address or whole record.

DynSyncError                 carries `retry_helps` and `next_step`
├── SettingsWrong            a setting is missing or contradicts another
├── FieldMapWrong            a line of the field map cannot be used
├── AdoptionWrong            a line of the reviewed adoption file cannot be applied; nothing was written
├── ExtraMissing             the emulators were not installed
├── NotTold                  no way to tell people took a message
├── PortTaken                another program listens on the port
├── ErasureRefused           nobody was erased: nobody is named so, or the person lives in a synced system
├── EngineFailed             Spark did not finish a question; nothing was changed
├── CycleRunning             another process holds the cycle lock
├── StorageFailed            the working file or the snapshot cannot be written (disk full, file locked, newer schema)
├── SqlFileFailed            a statement of one of our SQL files cannot be run; carries `statement`
├── GuardStopped             what was seen is too unlikely to act on; nothing was written
├── InShadow                 DYNSYNC_MODE is shadow: what would write to a system was refused before it left
├── PlanStale                write back was asked for a plan of another cycle
└── ApiError                 a remote system said no; carries `system`, `request`, `code`, `retry_after_s`
    ├── Unreachable          no connection: name, port, TLS or proxy
    ├── TimedOut             no answer in time; a write may or may not have been applied
    ├── SignInRefused        address, tenant, client id, secret, certificate or password refused
    ├── AccessDenied         signed in, but the privilege is missing
    ├── BudgetSpent          the daily or per-window call budget is used up
    ├── RateLimited          the server asked to slow down longer than the retry budget allows
    ├── ServerFailed         5xx or a vendor's transient code, after the retries
    ├── RequestRefused       the request itself is wrong (400s); carries `field` where the vendor names one
    │   └── ColumnUnknown    a selected column or field does not exist
    ├── CursorExpired        change tracking must start anew with a full read
    │   └── LinkRefused      the system does not take a link of its own, and does not say that it expired
    ├── ChangedMeanwhile     If-Match failed: somebody edited the record after it was read
    ├── RecordMissing        the record does not exist
    ├── RecordExists         a create met an existing key
    └── AnswerUnreadable     the body is not what the protocol promises (half a page, a proxy's page)
"""

from __future__ import annotations

from typing import Self


class DynSyncError(Exception):
    """Base of all errors raised on purpose.

    `retry_helps` says whether the same call may succeed later with nobody acting;
    `next_step` is one sentence to the user, or empty where the message says it all.
    """

    retry_helps = False

    def __init__(self, message: str, *, next_step: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.next_step = next_step

    def __str__(self) -> str:
        if not (self.message and self.next_step):
            return self.message or self.next_step
        # What a vendor said may end without a full stop, or with two.
        message = self.message if self.message[-1:] in ("?", "!", "…") else self.message.rstrip(".") + "."
        return f"{message} {self.next_step}"


class SettingsWrong(DynSyncError):
    """A setting is missing, malformed or contradicts another."""


class FieldMapWrong(DynSyncError):
    """A line of the field map cannot be used; the message names file, line and column."""


class AdoptionWrong(DynSyncError):
    """A line of the reviewed adoption file cannot be applied; nothing was written."""


class ExtraMissing(DynSyncError):
    """A command needs an extra of this package that was not installed."""


class NotTold(DynSyncError):
    """None of the ways by which people are told took a message; it is sent again with the next look."""

    retry_helps = True


class PortTaken(DynSyncError):
    """The port that was asked for cannot be listened on; nothing was started."""


class ErasureRefused(DynSyncError):
    """Nobody was erased, and nothing changed: nobody is named so, or the person lives in a synced system."""


class EngineFailed(DynSyncError):
    """Spark did not start, or not finish a question; nothing was changed."""

    retry_helps = True


class CycleRunning(DynSyncError):
    """Another process holds the cycle lock; nothing was read or written."""

    retry_helps = True


class StorageFailed(DynSyncError):
    """The working file, the snapshot or the data folder cannot be used."""


class SqlFileFailed(DynSyncError):
    """A statement of one of our SQL files cannot be run; the message names file and statement, `statement` is its text."""

    def __init__(self, message: str, *, statement: str, next_step: str = "") -> None:
        super().__init__(message, next_step=next_step)
        self.statement = statement


class GuardStopped(DynSyncError):
    """The cycle stopped before any remote write, because what it saw is too unlikely to act on."""


class InShadow(DynSyncError):
    """DYNSYNC_MODE is shadow: what would write to a system was refused before anything left; the message names it."""

    def __init__(self, what: str) -> None:
        super().__init__(
            f"{what} is not done in shadow, which writes to neither system. Nothing was sent.",
            next_step="Set DYNSYNC_MODE=live once the sync is to write (docs/switch-over.md).",
        )


class PlanStale(DynSyncError):
    """Write back was asked to send a plan that the running cycle did not make."""


class ApiError(DynSyncError):
    """A remote system refused or failed a request.

    `system` is `dynamics` or `marketo`, `request` is verb and path without query or values, `code` the vendor's code
    (`0x80040217`, `606`, `AADSTS7000215`), `status` the HTTP status if there was one, `retry_after_s` seconds or None,
    `field` the vendor's name of the column at fault where the answer names one.
    """

    def __init__(
        self,
        message: str,
        *,
        system: str,
        request: str,
        code: str = "",
        status: int | None = None,
        retry_after_s: float | None = None,
        field: str | None = None,
        next_step: str = "",
    ) -> None:
        super().__init__(message, next_step=next_step)
        self.system = system
        self.request = request
        self.code = code
        self.status = status
        self.retry_after_s = retry_after_s
        self.field = field

    def told_of(self, record: str = "", field: str | None = None) -> Self:
        """The same error, told of what it was found to be about: a record, which the message begins with, or a field."""
        return type(self)(
            f"{record}: {self.message}" if record else self.message,
            system=self.system,
            request=self.request,
            code=self.code,
            status=self.status,
            retry_after_s=self.retry_after_s,
            field=field or self.field,
            next_step=self.next_step,
        )


class Unreachable(ApiError):
    """No connection could be made; nothing was applied."""

    retry_helps = True


class TimedOut(ApiError):
    """No answer in time, or the connection broke while waiting: a write may or may not have been applied."""

    retry_helps = True


class SignInRefused(ApiError):
    """The identity provider refused the credentials, or a fresh token was refused."""


class AccessDenied(ApiError):
    """Signed in, but a privilege or permission is missing."""


class BudgetSpent(ApiError):
    """The call budget of the day is used up; it comes back at the vendor's midnight."""

    retry_helps = True


class RateLimited(ApiError):
    """The server asked to slow down for longer than this call may wait."""

    retry_helps = True


class ServerFailed(ApiError):
    """The server failed (5xx, or a vendor's transient code) also after the retries."""

    retry_helps = True


class RequestRefused(ApiError):
    """The server refused the content of the request; sending it again gives the same answer."""


class ColumnUnknown(RequestRefused):
    """A column or field that was asked for does not exist for the sync's user; `field` names it where the answer does."""


class CursorExpired(ApiError):
    """The change-tracking cursor is no longer valid; a full read must follow (R86: absence is no deletion)."""


class LinkRefused(CursorExpired):
    """A link that the system gave is refused for a reason that nobody has documented; a full read may help, once."""


class ChangedMeanwhile(ApiError):
    """If-Match failed: the record was edited after it was read."""

    retry_helps = True


class RecordMissing(ApiError):
    """The addressed record does not exist."""


class RecordExists(ApiError):
    """A create met a record with the same key."""


class AnswerUnreadable(ApiError):
    """The body is not what the protocol promises: half a page, or a proxy's own page."""

    retry_helps = True


# A write whose request ends so may have been applied, or not; after any other error of a system nothing was.
OUTCOME_UNKNOWN = (TimedOut, ServerFailed, AnswerUnreadable)
