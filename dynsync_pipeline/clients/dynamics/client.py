"""Calls to one Dataverse environment: pages, records, metadata, writes. Not here: understanding the answers."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Self, TypeVar
from urllib.parse import quote

import msgspec

from dynsync_pipeline.clients.ahead import Ahead
from dynsync_pipeline.clients.blame import told_of_field
from dynsync_pipeline.clients.budget import CallBudget
from dynsync_pipeline.clients.dynamics.auth import DynamicsTokens
from dynsync_pipeline.clients.dynamics.batch import batch_body, batch_results, read_results, reads_body
from dynsync_pipeline.clients.dynamics.metadata import (
    column_queries,
    counts_query,
    record_counts,
    table_metadata,
    table_query,
)
from dynsync_pipeline.clients.dynamics.owners import owners_queries, read_owners
from dynsync_pipeline.clients.dynamics.privileges import Right, privilege_depths, privileges_query
from dynsync_pipeline.clients.dynamics.protocol import (
    API_PATH,
    IDS_PER_READ,
    LARGEST_PAGE,
    SYSTEM,
    ChangesPage,
    Column,
    LookedUp,
    Owner,
    RecordWrite,
    RowReader,
    Rows,
    TableMetadata,
    WriteResult,
    created_query,
    guid,
    records_query,
    select_of,
)
from dynsync_pipeline.clients.dynamics.refusals import refusal
from dynsync_pipeline.clients.dynamics.time_zones import definition_query, settings_query, zone_code, zone_name
from dynsync_pipeline.clients.pages import MOST_UNREAD, PageSize, PageSpoiled, Progress, too_many_unread
from dynsync_pipeline.clients.pieces import FAULTS, what_is_wrong
from dynsync_pipeline.clients.rows import Unreadable, all_rows
from dynsync_pipeline.clients.transport import Reply, Request, Transport
from dynsync_pipeline.errors import (
    AccessDenied,
    AnswerUnreadable,
    ApiError,
    ColumnUnknown,
    CursorExpired,
    LinkRefused,
    RecordMissing,
    RequestRefused,
)
from dynsync_pipeline.model.records import UNREAD, EntitySet, RecordType, Table
from dynsync_pipeline.settings import Settings

if TYPE_CHECKING:
    import pyarrow as pa

_WHO_ANSWERS = (
    "If it goes on, see whether DYNSYNC_DYNAMICS_URL is the address of Dynamics, and whether a proxy answers instead."
)
READS_PER_BATCH = 100  # each counts as a call
Answer = TypeVar("Answer")
_LINK_AT_FAULT = (400, 404, 414)  # what may be said of a link that cannot be read; a lost right is no fault of it
_HEADERS = {"Accept": "application/json", "OData-Version": "4.0", "OData-MaxVersion": "4.0"}


class _WhoAmI(msgspec.Struct):
    user_id: str = msgspec.field(name="UserId")


class _User(msgspec.Struct):
    id: str = msgspec.field(name="systemuserid")


class _Users(msgspec.Struct):
    value: list[_User]


class DynamicsClient:
    """One Dataverse environment, as the sync's user. Shared by threads; use it in `with`.

    Every method raises ApiError: Unreachable, TimedOut, SignInRefused, AccessDenied, BudgetSpent, RateLimited,
    ServerFailed, AnswerUnreadable, and what it names itself.
    """

    def __init__(self, origin: str, transport: Transport, tokens: DynamicsTokens) -> None:
        self._base = origin + API_PATH
        self._transport = transport
        self._tokens = tokens
        self._advised_at_once: int | None = None

    @classmethod
    def from_settings(cls, settings: Settings, budget: CallBudget) -> Self:
        """A client for the environment the settings name; nothing is sent yet. Raises: SettingsWrong."""
        tokens = DynamicsTokens(settings)
        transport = Transport(SYSTEM, settings.dynamics_url, settings, budget=budget, tokens=tokens)
        return cls(settings.dynamics_url, transport, tokens)

    def close(self) -> None:
        """End all connections."""
        self._transport.close()
        self._tokens.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def advised_at_once(self) -> int | None:
        """How many requests at a time its last answer advised; None until one did (docs/protocols/dataverse.md#limits)."""
        return self._advised_at_once

    def now(self) -> datetime:
        """The clock of Dynamics (UTC), as its last answer told, at most a second behind."""
        return self._transport.now()

    def who_am_i(self) -> str:
        """The user id of the sync's user, in lower case; the cheapest probe there is."""
        return self._get("WhoAmI", lambda body: msgspec.json.decode(body, type=_WhoAmI).user_id.lower())

    def table_metadata(self, table: Table) -> TableMetadata:
        """What Dynamics says of a table and its columns, lookups also under `_name_value`. Twelve calls: keep it."""
        name = table.record_type.value
        definition = self._get(table_query(name), bytes)
        columns = tuple(self._get(query, bytes) for query in column_queries(name))
        try:
            return table_metadata(definition, columns)
        except FAULTS as fault:
            why = fault if isinstance(fault, msgspec.DecodeError) else what_is_wrong(fault)  # it tells what is missing
            raise self._unreadable(self._request(table_query(name)), why) from None

    def time_zone(self) -> str | None:
        """The time zone of the sync's user, by its IANA name, in three calls; None where Dynamics does not tell it."""
        try:
            code = self._get(settings_query(self.who_am_i()), zone_code)
            return None if code is None else self._get(definition_query(code), zone_name)
        except (AccessDenied, RequestRefused, RecordMissing, AnswerUnreadable):
            return None

    def depths(self, right: Right, tables: Sequence[EntitySet]) -> dict[str, str | None]:
        """How far the sync's user has a right to each table: Global is every record, None none; two calls (R125).

        Raises: AccessDenied where the user may not ask for its own privileges.
        """
        return self._get(
            privileges_query(self.who_am_i(), right, tables), partial(privilege_depths, right=right, tables=tables)
        )

    def users(self, name: str) -> list[str]:
        """The ids of the enabled users whose full name or primary e-mail address this is, compared without case.

        Source: docs/protocols/dataverse.md#users.
        """
        wanted = quote("'" + name.replace("'", "''") + "'")
        query = (
            "systemusers?$select=systemuserid&$filter="
            f"isdisabled%20eq%20false%20and%20(fullname%20eq%20{wanted}%20or%20internalemailaddress%20eq%20{wanted})"
        )
        return self._get(query, lambda body: [user.id.lower() for user in msgspec.json.decode(body, type=_Users).value])

    def record_counts(self, tables: Sequence[Table]) -> dict[RecordType, int]:
        """About how many rows these tables have: what Dynamics counted within the last day (R4)."""
        counts = self._get(counts_query([table.record_type.value for table in tables]), record_counts)
        return {RecordType(name): n for name, n in counts.items()}

    def owners(self, since: str | None) -> list[Owner]:
        """All users and teams, or those that changed at `since` (YYYY-MM-DDThh:mm:ssZ) or later, disabled ones too (R24).

        Raises: AccessDenied where the sync's user may not read them.
        """
        found: list[Owner] = []
        for query in owners_queries(since):
            request, progress = self._request(query), Progress(SYSTEM)
            owners, link = self._call(request, read_owners)
            while link is not None:
                if not self._transport.is_own(link):
                    raise self._unreadable(request, "its link leads to another host")
                progress.note(link, repr(owners).encode(), str(request))
                found += owners
                request = Request("GET", link, _HEADERS)
                owners, link = self._call(request, read_owners)
            found += owners
        return found

    def changes(
        self, table: Table, columns: Sequence[Column], cursor: str | None, *, page_size: int = LARGEST_PAGE
    ) -> Iterator[ChangesPage]:
        """All rows (`cursor` None), or what changed since the cursor of a last page, or the rest of a cut read.

        The pages are as fresh as their request: the server takes no snapshot. The column list is part of the cursor.
        Raises: CursorExpired, LinkRefused for any other refusal of a link that Dynamics gave, ColumnUnknown, RequestRefused if
        the table has no change tracking.
        """
        reader = RowReader(table, columns)
        url = cursor or f"{self._base}/{table.entity_set}?{select_of(columns)}"
        if not self._transport.is_own(url):
            raise CursorExpired(
                "The cursor belongs to another address of Dynamics; a full read must follow.",
                system=SYSTEM,
                request=f"GET {API_PATH}/{table.entity_set}",
            )
        size, is_link = PageSize(SYSTEM, page_size), cursor is not None
        pages = self._pages(url, reader, size, is_tracked=True, is_link=is_link)
        for request, rows in pages if is_link else self._blaming(pages, table, columns):
            cursor = rows.next_link or rows.delta_link
            if cursor is None:
                raise RequestRefused(
                    f"Dynamics gave no cursor for {table.entity_set}: change tracking is off for this table.",
                    system=SYSTEM,
                    request=str(request),
                    next_step="Switch on 'Track changes' for the table in Power Apps.",
                )
            yield ChangesPage(rows.rows, rows.deleted_ids, cursor, is_last=rows.next_link is None)

    def records(self, table: EntitySet, columns: Sequence[Column], ids: Sequence[str]) -> pa.Table:
        """These records as they are now, any number, in no order; those that do not exist are absent.

        Raises: ColumnUnknown.
        """
        reader = RowReader(table, columns)
        found: list[pa.Table] = []
        alone: list[dict[str, str | None]] = []
        unique = list(dict.fromkeys(ids))
        pending = [unique[start : start + IDS_PER_READ] for start in range(0, len(unique), IDS_PER_READ)]
        while pending:
            some = pending.pop()
            url = f"{self._base}/{table.entity_set}?{records_query(table, columns, some)}"
            try:
                found += [rows.rows for _, rows in self._pages(url, reader) if rows.rows is not None]
            except PageSpoiled:
                if len(some) > 1:
                    pending += [some[: len(some) // 2], some[len(some) // 2 :]]
                    continue
                alone.append({"id": some[0].lower(), UNREAD: "it cannot be told from what stands around it"})
                if len(alone) > MOST_UNREAD:
                    raise too_many_unread(SYSTEM, f"GET {API_PATH}/{table.entity_set}") from None
        return all_rows([reader.table(alone), *found])

    def created_between(
        self, table: Table, columns: Sequence[Column], start: str | None, end: str | None
    ) -> Iterator[pa.Table]:
        """The records created from `start` until before `end` (YYYY-MM-DDThh:mm:ssZ; None: no bound), page by page.

        Pages have up to 5,000 rows, those of `ChangesPage`, in no order. Raises: ColumnUnknown.
        """
        url = f"{self._base}/{table.entity_set}?{created_query(columns, start, end)}"
        for _, rows in self._pages(url, RowReader(table, columns), PageSize(SYSTEM, LARGEST_PAGE)):
            if rows.rows is not None:
                yield rows.rows

    def look_up(self, table: EntitySet, columns: Sequence[Column], ids: Sequence[str]) -> LookedUp:
        """These records as they are now, each that a query does not show asked for by its own address (R86).

        Only the answer "does not exist" that names this table and this id makes a record missing. Raises: ColumnUnknown.
        """
        reader = RowReader(table, columns)
        rows = self.records(table, columns, ids)
        found = [rows.filter(rows["id"].is_valid())]  # a row without an id is asked for by itself, too
        shown = set(found[0].column("id").to_pylist())
        hidden = sorted({guid(record_id) for record_id in ids} - shown)
        missing: list[str] = []
        unproven: dict[str, ApiError] = {}
        for start in range(0, len(hidden), READS_PER_BATCH):
            some = hidden[start : start + READS_PER_BATCH]
            boundary = f"batch_{uuid.uuid4()}"
            request = self._batch(boundary, reads_body(table, columns, some, boundary), len(some), only_reads=True)

            def decode(reply: Reply, request: Request = request, some: Sequence[str] = some) -> LookedUp:
                _require_multipart(reply, request)
                return read_results(reply, table, some, reader)

            looked = self._transport.call(request, decode)
            found.append(looked.rows)
            missing += looked.missing_ids
            unproven |= looked.unproven
        return LookedUp(all_rows(found), tuple(missing), unproven)

    def write(self, table: EntitySet, columns: Sequence[Column], writes: Sequence[RecordWrite]) -> list[WriteResult]:
        """Send up to 1,000 updates and creates in one `$batch`; one result each, in order, with the record afterwards.

        Each result has its own `error`: ChangedMeanwhile, RecordExists, RecordMissing, RequestRefused (with `field`
        where Dynamics names it), AccessDenied, RateLimited, ServerFailed, AnswerUnreadable (written, but not shown).
        An error *raised* says nothing of the single writes: after TimedOut, ServerFailed or AnswerUnreadable any of
        them may have been applied, so nothing is repeated; after any other error none was.
        """
        if not writes:
            return []
        boundary = f"batch_{uuid.uuid4()}"
        body = batch_body(table, columns, writes, boundary)
        request = self._batch(boundary, body, len(writes), only_reads=False)

        def decode(reply: Reply) -> list[WriteResult]:
            _require_multipart(reply, request)
            return batch_results(reply, table, columns, writes)

        return self._transport.call(request, decode)

    def _batch(self, boundary: str, body: bytes, n_calls: int, *, only_reads: bool) -> Request:
        """A `$batch` whose operations are answered one by one, whatever becomes of the others."""
        headers = {"Content-Type": f'multipart/mixed; boundary="{boundary}"', "Prefer": "odata.continue-on-error"}
        url = f"{self._base}/$batch"
        return Request(
            "POST", url, _HEADERS | headers, body, is_repeatable=only_reads, n_calls=n_calls, only_reads=only_reads
        )

    def _pages(
        self,
        url: str,
        reader: RowReader,
        size: PageSize | None = None,
        *,
        is_tracked: bool = False,
        is_link: bool = False,
    ) -> Iterator[tuple[Request, Rows]]:
        """The pages from `url` on, following each nextLink byte for byte; `is_link`: Dynamics gave the first one, too.

        The next page travels while the rows of one are read.
        A page whose rows cannot be told from each other is asked for again in smaller ones by `size`, until the bad row is
        alone. Raises: PageSpoiled where there is none.
        """
        progress = Progress(SYSTEM)
        with closing(Ahead(lambda request: self._call(request, bytes))) as ahead:
            while True:
                request = self._page_request(url, size, is_tracked=is_tracked)
                try:
                    rows = self._page(request, reader, size, ahead, is_tracked=is_tracked)
                except PageSpoiled:
                    if size is None:
                        raise
                    size.shrink()
                    continue
                except RequestRefused as error:
                    raise _refused_link(error, request) if is_link else error from None
                is_link = True
                self._require_progress(request, rows, progress, is_tracked=is_tracked)
                yield request, rows
                if rows.next_link is None:
                    return
                url = rows.next_link

    def _page_request(self, url: str, size: PageSize | None, *, is_tracked: bool) -> Request:
        tracking = "odata.track-changes," if is_tracked else ""
        n_rows = LARGEST_PAGE if size is None else size.n_rows
        return Request("GET", url, _HEADERS | {"Prefer": f"{tracking}odata.maxpagesize={n_rows}"})

    def _require_progress(self, request: Request, rows: Rows, progress: Progress, *, is_tracked: bool) -> None:
        """That a page leads on. Raises: AnswerUnreadable, or LinkRefused where pages of changes lead nowhere."""
        link = rows.next_link or rows.delta_link
        if link is not None and not self._transport.is_own(link):
            raise self._unreadable(request, "its link leads to another host")
        try:
            if rows.next_link == request.url:
                raise self._unreadable(request, "its link does not move on")
            progress.note(rows.next_link, rows.content, str(request))
        except AnswerUnreadable as error:
            raise _of_link(error) if is_tracked else error from None

    def _blaming(
        self, pages: Iterator[tuple[Request, Rows]], table: Table, columns: Sequence[Column]
    ) -> Iterator[tuple[Request, Rows]]:
        """The same pages; a refusal that names no column is told of the one at fault. Raises: ColumnUnknown."""
        kinds = {column.name: column for column in columns}
        try:
            yield from pages
        except RequestRefused as error:
            if error.status != 400:
                raise
            raise told_of_field(
                error,
                list(kinds),
                lambda few: self._get(f"{table.entity_set}?{select_of([kinds[name] for name in few])}&$top=1", bytes),
            ) from None

    def _page(
        self, request: Request, reader: RowReader, size: PageSize | None, ahead: Ahead, *, is_tracked: bool
    ) -> Rows:
        """One page, also of one row that cannot be told from what stands around it. Raises: PageSpoiled."""

        def follow(link: str) -> None:
            if self._transport.is_own(link) and link != request.url:
                ahead.ask(self._page_request(link, size, is_tracked=is_tracked))

        try:
            rows = self._read(request, partial(reader.read, leads_to=follow), ahead)
        except PageSpoiled:
            if size is None or not size.is_alone:
                raise
            try:
                rows = self._call(request, partial(reader.read_alone, is_tracked=is_tracked))
            except AnswerUnreadable as error:
                raise _of_link(error) if is_tracked else error from None
            size.passed_alone(str(request))
        else:
            if size is not None:
                size.passed(rows.n_rows)
        return rows

    def _read(self, request: Request, read: Callable[[bytes], Rows], ahead: Ahead) -> Rows:
        """What came ahead; where that cannot be read it is asked for again, as is any answer."""
        body = ahead.answer(request)
        try:
            if body is not None:
                return read(body)
        except FAULTS:
            pass
        return self._call(request, read)

    def _request(self, path: str) -> Request:
        return Request("GET", f"{self._base}/{path}", _HEADERS)

    def _get(self, path: str, read: Callable[[bytes], Answer]) -> Answer:
        return self._call(self._request(path), read)

    def _call(self, request: Request, read: Callable[[bytes], Answer]) -> Answer:
        def decode(reply: Reply) -> Answer:
            self._note_advice(reply)
            if not 200 <= reply.status < 300:
                raise refusal(reply, str(request))
            try:
                return read(reply.body)
            except FAULTS as fault:
                if isinstance(fault, Unreadable) and fault.column is not None:
                    raise ColumnUnknown(
                        f"Dynamics' answer cannot be used: {fault}.",
                        system=SYSTEM,
                        request=str(request),
                        field=fault.column,
                    ) from None
                raise self._unreadable(request, what_is_wrong(fault)) from None

        return self._transport.call(request, decode)

    def _note_advice(self, reply: Reply) -> None:
        advice = reply.headers.get("x-ms-dop-hint", "")
        if advice.isascii() and advice.isdigit() and int(advice) > 0:
            self._advised_at_once = int(advice)

    def _unreadable(self, request: Request, why: object) -> AnswerUnreadable:
        return AnswerUnreadable(
            f"Dynamics' answer cannot be used: {why}.", system=SYSTEM, request=str(request), next_step=_WHO_ANSWERS
        )


def _refused_link(error: RequestRefused, request: Request) -> RequestRefused | LinkRefused:
    """What a refusal of a link that Dynamics gave means: the link is at fault, unless what it says is of columns or rights."""
    if isinstance(error, ColumnUnknown) or error.status not in _LINK_AT_FAULT:
        return error
    return LinkRefused(error.message, system=SYSTEM, request=str(request), code=error.code, status=error.status)


def _of_link(error: AnswerUnreadable) -> LinkRefused:
    """Pages of changes that lead nowhere are a link at fault: its table is read as a whole, once, and then waits alone."""
    return LinkRefused(
        error.message, system=SYSTEM, request=error.request, status=error.status, next_step=error.next_step
    )


def _require_multipart(reply: Reply, request: Request) -> None:
    if not reply.headers.get("content-type", "").lower().startswith("multipart/"):
        raise refusal(reply, str(request))
