"""Calls to one Marketo instance: people, companies, feeds, exports, writes. Not here: understanding the answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Self, TypeVar
from urllib.parse import urlencode

import msgspec

from dynsync_pipeline.clients.blame import told_of_field
from dynsync_pipeline.clients.budget import CallBudget
from dynsync_pipeline.clients.marketo import answers
from dynsync_pipeline.clients.marketo.auth import MarketoTokens
from dynsync_pipeline.clients.marketo.export_lines import BadLine
from dynsync_pipeline.clients.marketo.exports import PIECE_BYTES, Piece, piece, save_export
from dynsync_pipeline.clients.marketo.protocol import (
    SYSTEM,
    Activity,
    ActivityType,
    CompanyResult,
    DeletedPerson,
    ExportStatus,
    FeedPage,
    FeedStart,
    FieldChange,
    MarketoField,
    PersonResult,
)
from dynsync_pipeline.clients.pages import MOST_UNREAD, PageSize, PageSpoiled, Progress, too_many_unread
from dynsync_pipeline.clients.rows import all_rows, rows_table
from dynsync_pipeline.clients.transport import Reply, Request, Transport, http_date
from dynsync_pipeline.errors import AnswerUnreadable, CursorExpired, RequestRefused
from dynsync_pipeline.model.records import UNREAD
from dynsync_pipeline.settings import Settings

if TYPE_CHECKING:
    import pyarrow as pa

VALUES_PER_READ = 300
RECORDS_PER_WRITE = 300
TYPES_PER_FEED = 10
PEOPLE_PER_FEED = 30
LONGEST_QUERY_BYTES = 6_000  # of the 8 KB that an address may have; longer ones travel in the body
ENTRIES_PER_PAGE = 300
Answer = TypeVar("Answer")
Item = TypeVar("Item")

NATIVE_SYNC = "1018"
_JSON = {"Accept": "application/json", "Content-Type": "application/json"}
_ABOUT_FIELDS = ("1003", "1006", "1011")


class MarketoClient:
    """One Marketo instance, as one custom service. Shared by threads; use it in `with`.

    Every method raises ApiError: Unreachable, TimedOut, SignInRefused, AccessDenied, BudgetSpent, RateLimited,
    ServerFailed, AnswerUnreadable, RequestRefused, and what it names itself.
    """

    def __init__(self, origin: str, transport: Transport, tokens: MarketoTokens) -> None:
        self._origin = origin
        self._transport = transport
        self._tokens = tokens

    @classmethod
    def from_settings(cls, settings: Settings, budget: CallBudget) -> Self:
        """A client for the instance the settings name; nothing is sent yet. Raises: SettingsWrong."""
        tokens = MarketoTokens(settings)
        transport = Transport(SYSTEM, settings.marketo_url, settings, budget=budget, tokens=tokens)
        return cls(settings.marketo_url, transport, tokens)

    def close(self) -> None:
        """End all connections."""
        self._transport.close()
        self._tokens.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def now(self) -> datetime:
        """Marketo's own clock (UTC), as its last answer told, at most a second behind."""
        return self._transport.now()

    # People and companies

    def person_fields(self) -> Mapping[str, MarketoField]:
        """The fields of people by REST name. Changes rarely: keep it a day."""
        return self._read("/rest/v1/leads/describe.json", {}, answers.person_fields)

    def company_fields(self) -> Mapping[str, MarketoField]:
        """The fields of companies by REST name. Changes rarely: keep it a day."""
        return self._read("/rest/v1/companies/describe.json", {}, answers.company_fields)

    def people(self, filter_type: str, values: Sequence[str], fields: Sequence[str]) -> pa.Table:
        """People whose field `filter_type` has one of these values, any number, in no order: `id` and fields as text.

        Raises: ColumnUnknown; RequestRefused for a value with a comma, which Marketo would take for two.
        """
        return self._records("/rest/v1/leads.json", filter_type, values, fields)

    def companies(self, values: Sequence[str], fields: Sequence[str]) -> pa.Table:
        """Companies with these values of `externalCompanyId`: `id` and the fields as text. Raises: ColumnUnknown."""
        return self._records("/rest/v1/companies.json", "externalCompanyId", values, fields)

    def sync_people(self, action: str, lookup_field: str, records: Sequence[str]) -> list[PersonResult]:
        """Write up to 300 people (each the text of a JSON object, 1 MB in all); one result each, in order.

        `action` is createOnly, updateOnly or createOrUpdate. Each result has its own error: RecordMissing,
        RecordExists, ColumnUnknown or RequestRefused, with `field` where Marketo names it; of a refused record nothing
        was written. An error *raised* says nothing of single records: after TimedOut, ServerFailed or AnswerUnreadable
        any may have been written, so nothing is repeated; after any other error none was.
        """
        body = f'{{"action":"{action}","lookupField":"{lookup_field}","input":[{",".join(records)}]}}'
        return self._sync("/rest/v1/leads.json", body, len(records))

    def sync_companies(self, records: Sequence[str]) -> list[CompanyResult]:
        """Write up to 300 companies by `externalCompanyId`, created where missing; answers as `sync_people` does."""
        body = f'{{"action":"createOrUpdate","dedupeBy":"dedupeFields","input":[{",".join(records)}]}}'
        return self._sync("/rest/v1/companies.json", body, len(records))

    def merge_people(self, winner_id: int, loser_id: int) -> None:
        """Merge a person into another, which cannot be undone. Raises: RecordMissing where one of the two is not there.

        After TimedOut, ServerFailed or AnswerUnreadable it may have been done, so nothing is repeated.
        Source: docs/protocols/marketo.md#deleting-and-merging.
        """
        path = f"/rest/v1/leads/{winner_id}/merge.json?leadId={loser_id}"
        self._call(self._write_request(path, b""), lambda *_: None)

    def are_companies_writable(self) -> bool:
        """Whether companies take writes, which they do not while a native CRM sync is on (R21, code 1018).

        Asks to update a company that does not exist, which changes nothing.
        """
        nobody = '{"externalCompanyId":"dynsync-pre-flight","company":"-"}'
        body = f'{{"action":"updateOnly","dedupeBy":"dedupeFields","input":[{nobody}]}}'
        try:
            answer = self._sync("/rest/v1/companies.json", body, 1)[0]
        except RequestRefused as error:
            answer = PersonResult(None, "skipped", error)
        return answer.error is None or answer.error.code != NATIVE_SYNC

    def has_native_sync(self) -> bool:
        """Whether a native CRM sync manages any field of people; a read, which tells no more than that."""
        return self._read("/rest/v1/leads/describe2.json", {}, answers.is_managed_by_crm)

    # Feeds

    def start_of_feed(self, since: datetime) -> FeedStart:
        """The token of what happened after `since` (with a zone), and Marketo's clock. Raises: AnswerUnreadable."""
        request = self._request("/rest/v1/activities/pagingtoken.json", {"sinceDatetime": _iso(since)})

        def decode(reply: Reply) -> FeedStart:
            token = answers.envelope(reply, str(request)).next_page_token
            server_time = http_date(reply.headers.get("date", ""))
            if not token or server_time is None:
                raise AnswerUnreadable("Marketo gave no paging token or no Date.", system=SYSTEM, request=str(request))
            return FeedStart(token, server_time)

        return self._transport.call(request, decode)

    def changes(self, token: str, fields: Sequence[str]) -> Iterator[FeedPage[FieldChange]]:
        """Changed values of these fields and new people after the token, oldest first. Raises: CursorExpired, ColumnUnknown."""
        path = "/rest/v1/activities/leadchanges.json"

        def ask_for(some: Sequence[str]) -> None:
            self._read(path, {"fields": ",".join(some), "nextPageToken": token}, lambda *_: None)

        try:
            yield from self._feed(path, token, {"fields": ",".join(fields)}, answers.field_changes(frozenset(fields)))
        except RequestRefused as error:
            raise _told_of_field(error, fields, ask_for) from None

    def activities(
        self, token: str, type_ids: Sequence[int], people: Sequence[int] = ()
    ) -> Iterator[FeedPage[Activity]]:
        """Entries of up to ten types after the token, oldest first, of all people or of up to 30. Raises: CursorExpired."""
        if not 0 < len(type_ids) <= TYPES_PER_FEED or len(people) > PEOPLE_PER_FEED:
            raise ValueError(f"one to {TYPES_PER_FEED} activity types and {PEOPLE_PER_FEED} people a call")
        query = {"activityTypeIds": ",".join(map(str, type_ids))}
        if people:
            query["leadIds"] = ",".join(map(str, people))
        return self._feed("/rest/v1/activities.json", token, query, answers.activity)

    def add_activities(self, records: Sequence[str]) -> list[PersonResult]:
        """Log up to 300 activities of custom types (each the text of a JSON object); answers as `sync_people` does.

        Such an activity can neither be changed nor removed, so nothing is ever repeated here.
        """
        return self._sync("/rest/v1/activities/external.json", f'{{"input":[{",".join(records)}]}}', len(records))

    def custom_types(self) -> list[ActivityType]:
        """The custom activity types."""
        return self._read("/rest/v1/activities/external/types.json", {}, answers.activity_types)

    def deleted_people(self, token: str) -> Iterator[FeedPage[DeletedPerson]]:
        """People deleted after the token; Marketo remembers 14 days. Raises: CursorExpired."""
        return self._feed("/rest/v1/activities/deletedleads.json", token, {}, answers.deleted_person)

    # Static lists

    def list_members(self, list_id: int) -> list[int]:
        """The ids of the people on a static list, in no order. Raises: RecordMissing where there is no such list."""
        pages = self._pages(f"/rest/v1/lists/{list_id}/leads.json", {"fields": "id"})
        rows = (answers.text_rows(answer, ["id"], request) for answer, request in pages)
        return [int(person_id) for page in rows for person_id in page.column("id").to_pylist() if person_id is not None]

    # What an administrator sets up

    def create_fields(self, fields: Sequence[Mapping[str, str]]) -> list[PersonResult]:
        """Make custom fields of people, each with `name`, `displayName`, `dataType` and `description`; one result each."""
        body = msgspec.json.encode({"input": list(fields)}).decode()
        return self._sync("/rest/v1/leads/schema/fields.json", body, len(fields))

    def create_activity_type(
        self, definition: Mapping[str, object], attributes: Sequence[Mapping[str, str]]
    ) -> ActivityType:
        """Make a custom activity type with these attributes, and approve it. Raises: RequestRefused if there are ten."""
        path = "/rest/v1/activities/external/type"
        api_name = str(definition["apiName"])
        if api_name not in {each.api_name for each in self.custom_types()}:
            self._change(f"{path}.json", dict(definition))
        (found,) = (each for each in self.custom_types() if each.api_name == api_name)
        if missing := [each for each in attributes if each["apiName"] not in found.attributes]:
            self._change(f"{path}/{api_name}/attributes/create.json", {"attributes": missing})
        self._change(f"{path}/{api_name}/approve.json", {})
        (found,) = (each for each in self.custom_types() if each.api_name == api_name)
        return found

    # Bulk exports of people

    def create_export(self, fields: Sequence[str], start: datetime, end: datetime) -> str:
        """A job for the people created from `start` to `end`, both included, 31 days at most; returns its id.

        Raises: BudgetSpent if the exports of the day are used up; ColumnUnknown for a field that exports refuse.
        """

        def create(some: Sequence[str]) -> str:
            job = {
                "fields": list(some),
                "format": "CSV",
                "filter": {"createdAt": {"startAt": _iso(start), "endAt": _iso(end)}},
            }
            request = self._export_request("create.json", msgspec.json.encode(job))
            # Repeatable: a job that was created and not answered waits unused, and is gone in a week.
            return self._call(request, answers.export_id)

        try:
            return create(fields)
        except RequestRefused as error:
            raise _told_of_field(error, fields, create) from None

    def enqueue_export(self, export_id: str) -> bool:
        """Start a job; False if the queue is full (try later). Raises: BudgetSpent for the daily quota."""
        request = self._export_request(f"{export_id}/enqueue.json", b"")
        try:
            self._call(request, lambda *_: None)
        except RequestRefused as error:
            if answers.is_queue_full(error):
                return False
            if not answers.is_queued_already(error):
                raise
        return True

    def export_statuses(self) -> Mapping[str, ExportStatus]:
        """All jobs of the last seven days by id. Marketo refreshes them once a minute."""
        jobs: dict[str, ExportStatus] = {}
        for answer, request in self._pages("/bulk/v1/leads/export.json", {}):
            jobs |= answers.export_jobs(answer, request)
        return jobs

    def download_export(self, export_id: str, to: Path, told: ExportStatus) -> list[BadLine]:
        """Write the file of a completed job to `to`, complete or not at all, but for lines that cannot be read.

        Returns these. A download that was cut goes on where it stopped. Raises: AnswerUnreadable if it is not the file that
        was `told`, or cannot be read as a whole.
        """
        path = f"/bulk/v1/leads/export/{export_id}/file.json"

        def fetch(start: int) -> Piece:
            request = self._request(path, {}, {"Range": f"bytes={start}-{start + PIECE_BYTES - 1}"})
            return self._transport.call(request, lambda reply: piece(reply, start, str(request)))

        return save_export(fetch, to, told, f"GET {path}")

    # Usage

    def usage_today(self) -> int:
        """Calls of all integrations today, on Marketo's own count."""
        return self._read("/rest/v1/stats/usage.json", {}, answers.calls_used)

    # How a call is made

    def _records(self, path: str, filter_type: str, values: Sequence[str], fields: Sequence[str]) -> pa.Table:
        names = list(dict.fromkeys(("id", *fields)))
        unique = list(dict.fromkeys(values))
        _refuse_commas(unique, filter_type, path)
        found: list[pa.Table] = []
        alone: list[dict[str, str | None]] = []
        pending = [unique[start : start + VALUES_PER_READ] for start in range(0, len(unique), VALUES_PER_READ)]
        while pending:
            some = pending.pop()
            try:
                found.append(self._records_of(path, filter_type, some, names))
                continue
            except PageSpoiled:
                if len(some) == 1:
                    alone.append(answers.unread_record(filter_type, some[0]))
            except RequestRefused as error:
                if not answers.has_too_many_matches(error) or len(some) == 1:
                    ask_for = partial(self._ask_for_one, path, filter_type, some[0])
                    raise _told_of_field(error, names[1:], ask_for) from None
            if len(alone) > MOST_UNREAD:
                raise too_many_unread(SYSTEM, f"GET {path}")
            if len(some) > 1:
                pending += [some[: len(some) // 2], some[len(some) // 2 :]]
        return all_rows([rows_table(names, alone), *found])

    def _ask_for_one(self, path: str, filter_type: str, value: str, fields: Sequence[str]) -> None:
        """See whether these fields are taken. Raises: RequestRefused."""
        query = {"filterType": filter_type, "filterValues": value, "fields": ",".join(["id", *fields])}
        self._read(path, query, lambda *_: None)

    def _records_of(self, path: str, filter_type: str, values: Sequence[str], names: Sequence[str]) -> pa.Table:
        """The records with these values. Raises: PageSpoiled where one cannot be read and only its key would tell which."""
        query = {"filterType": filter_type, "filterValues": ",".join(values), "fields": ",".join(names)}
        pages = self._pages(path, query, is_divisible=True)
        found = all_rows([answers.text_rows(answer, names, request) for answer, request in pages])
        is_told_by_key = filter_type in answers.KEYS and UNREAD in found.column_names
        if is_told_by_key and found.filter(found[UNREAD].is_valid())[filter_type].null_count:
            raise PageSpoiled
        return found

    def _pages(
        self, path: str, query: Mapping[str, str], *, is_divisible: bool = False
    ) -> Iterator[tuple[answers.Envelope, str]]:
        """The pages of a list: it goes on while there is a token. Raises: PageSpoiled if `is_divisible`."""
        token: str | None = None
        progress = Progress(SYSTEM)
        while True:
            request = self._request(path, {**query, **({"nextPageToken": token} if token else {})})
            answer = self._call(request, lambda found, _: found, is_divisible=is_divisible)
            progress.note(answer.next_page_token or None, bytes(answer.result), str(request))
            yield answer, str(request)
            if not answer.next_page_token or answer.next_page_token == token:
                return
            token = answer.next_page_token

    def _feed(
        self, path: str, token: str, query: Mapping[str, str], read: Callable[[answers.Entry], list[Item]]
    ) -> Iterator[FeedPage[Item]]:
        """The pages of a feed: it goes on while `moreResult` says so, and always has a token for the next cycle.

        A page whose entries cannot be told from each other is asked for again in smaller ones, until the bad one is alone.
        """
        progress, size = Progress(SYSTEM), PageSize(SYSTEM, ENTRIES_PER_PAGE)
        while True:
            batch = {} if size.is_largest else {"batchSize": str(size.n_rows)}
            request = self._request(path, {**query, **batch, "nextPageToken": token})
            try:
                page = self._feed_page(request, partial(answers.feed_page, read=read, token=token), size)
            except PageSpoiled:
                size.shrink()
                continue
            except RequestRefused as error:
                if not answers.is_about_token(error):
                    raise
                raise CursorExpired(
                    "Marketo does not take the paging token any more; the feed must start anew.",
                    system=SYSTEM,
                    request=str(request),
                    code=error.code,
                ) from None
            progress.note(None if page.is_last else page.token, page.content, str(request))
            yield page
            if page.is_last:
                return
            token = page.token

    def _feed_page(
        self, request: Request, read: Callable[[answers.Envelope, str], FeedPage[Item]], size: PageSize
    ) -> FeedPage[Item]:
        """One page of a feed. Raises: PageSpoiled if it had more than one entry."""
        if not size.is_alone:
            page = self._call(request, read, is_divisible=True)
            size.passed(len(page.items) + len(page.unread_ids))
            return page
        try:
            return self._call(request, read, is_divisible=True)
        except PageSpoiled:
            size.passed_alone(str(request))
            name = str(request)
            return self._transport.call(request, lambda reply: read(answers.spoiled_feed(reply, name), name))

    def _sync(self, path: str, body: str, n_records: int) -> list[PersonResult]:
        if n_records > RECORDS_PER_WRITE:
            raise ValueError(f"at most {RECORDS_PER_WRITE} records a call, not {n_records}")
        if n_records == 0:
            return []
        request = self._write_request(path, body.encode())
        return self._call(request, lambda found, name: answers.record_results(found, n_records, name))

    def _change(self, path: str, body: Mapping[str, object]) -> None:
        self._call(self._write_request(path, msgspec.json.encode(body)), lambda *_: None)

    def _read(self, path: str, query: Mapping[str, str], read: Callable[[answers.Envelope, str], Answer]) -> Answer:
        return self._call(self._request(path, query), read)

    def _call(
        self, request: Request, read: Callable[[answers.Envelope, str], Answer], *, is_divisible: bool = False
    ) -> Answer:
        """What an answer says. Raises: PageSpoiled if `is_divisible` and Marketo's own answer cannot be read."""

        def decode(reply: Reply) -> Answer:
            try:
                found = answers.envelope(reply, str(request))
            except AnswerUnreadable:
                if is_divisible and answers.is_spoiled(reply):
                    raise PageSpoiled from None
                raise
            return read(found, str(request))

        return self._transport.call(request, decode)

    def _request(self, path: str, query: Mapping[str, str], headers: Mapping[str, str] | None = None) -> Request:
        url, text = self._origin + path, urlencode(query)
        known = {"Accept": "application/json", **(headers or {})}
        if len(text) > LONGEST_QUERY_BYTES:
            known["Content-Type"] = "application/x-www-form-urlencoded"
            return Request("POST", f"{url}?_method=GET", known, text.encode(), only_reads=True)
        return Request("GET", f"{url}?{text}" if text else url, known)

    def _write_request(self, path: str, body: bytes) -> Request:
        return Request("POST", self._origin + path, _JSON, body, is_repeatable=False)

    def _export_request(self, path: str, body: bytes) -> Request:
        """A job that reads changes nobody."""
        return Request("POST", f"{self._origin}/bulk/v1/leads/export/{path}", _JSON, body, only_reads=True)


def _iso(at: datetime) -> str:
    """A time as Marketo takes it: UTC, whole seconds. Raises: ValueError for a time without a zone."""
    if at.tzinfo is None:
        raise ValueError("a time without a zone")
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _told_of_field(
    error: RequestRefused, names: Sequence[str], ask_for: Callable[[Sequence[str]], object]
) -> RequestRefused:
    """A refusal told of the field at fault, where it may be about one."""
    return told_of_field(error, names, ask_for) if error.code in _ABOUT_FIELDS else error


def _refuse_commas(values: Sequence[str], filter_type: str, path: str) -> None:
    if any("," in value for value in values):
        raise RequestRefused(
            f"A value of {filter_type} holds a comma, which Marketo takes for the end of the value.",
            system=SYSTEM,
            request=f"GET {path}",
            field=filter_type,
        )
