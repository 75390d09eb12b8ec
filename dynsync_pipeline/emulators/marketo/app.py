"""The way in: every path of the Marketo emulator, and the steps a request takes before and after its handler.

Parts: `store` state · `fields`, `values` what is stored · `protocol` calls and answers · `access`, `limits` who and how
often · `leads` reads · `lead_sync` writes and deletes · `people_writes` what a write does · `companies`, `merging`,
`partitions`, `lists`, `assets`, `schema_fields` · `activities`, `activity_types` the log and its feeds ·
`custom_types`, `custom_activities` · `bulk_extract`, `bulk_requests`, `bulk_files` exports · `bulk_import`,
`import_rows` imports · `bulk_worker` the pace of both · `control` what only an emulator has · `seeding` bulk insert.

Control endpoints, which need no token and never count: see `control.py`.
"""

from __future__ import annotations

import dataclasses
import gzip
import re
from collections.abc import AsyncGenerator, Callable
from itertools import count
from typing import Any
from urllib.parse import unquote

import msgspec
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocketClose

from dynsync_pipeline.emulators.marketo import (
    activities,
    assets,
    bulk_extract,
    bulk_import,
    companies,
    control,
    custom_types,
    leads,
    limits,
    lists,
    partitions,
    schema_fields,
)
from dynsync_pipeline.emulators.marketo.access import check_token, issue_token
from dynsync_pipeline.emulators.marketo.bulk_worker import BulkWorker
from dynsync_pipeline.emulators.marketo.custom_activities import add_activities
from dynsync_pipeline.emulators.marketo.lead_sync import delete_leads, sync_leads
from dynsync_pipeline.emulators.marketo.merging import merge_leads
from dynsync_pipeline.emulators.marketo.protocol import FORM, MULTIPART, Call, Refused, envelope, form_params, refusal
from dynsync_pipeline.emulators.marketo.store import Store

Handler = Callable[[Call], dict[str, Any] | Response]

JSON = "application/json;charset=UTF-8"
IDENTITY = "/identity/oauth/token"
IMPORT = "/bulk/v1/leads.json"
URI_LIMIT_BYTES = 8192
BODY_LIMIT_BYTES = 1_048_576
IMPORT_LIMIT_BYTES = 10_485_760
GZIP_FROM_BYTES = 1024

_EXPORT = "/bulk/v1/{object}/export"
_EXTERNAL = "/rest/v1/activities/external"
_TYPE = f"{_EXTERNAL}/type/{{api_name}}"
_ASSET = "/rest/asset/v1"
ROUTES: list[tuple[str, str, Handler]] = [
    ("GET", "/rest/v1/leads/describe.json", leads.describe),
    ("GET", "/rest/v1/leads/describe2.json", leads.describe2),
    ("GET", "/rest/v1/leads/schema/fields.json", schema_fields.lead_fields),
    ("POST", "/rest/v1/leads/schema/fields.json", schema_fields.create_lead_fields),
    ("GET", "/rest/v1/leads/schema/fields/{name}.json", schema_fields.lead_field),
    ("POST", "/rest/v1/leads/schema/fields/{name}.json", schema_fields.update_lead_field),
    ("GET", "/rest/v1/leads/partitions.json", partitions.partitions),
    ("POST", "/rest/v1/leads/partitions.json", partitions.move_people),
    ("GET", "/rest/v1/lead/{id}.json", leads.lead_by_id),
    ("GET", "/rest/v1/leads.json", leads.leads_by_filter),
    ("POST", "/rest/v1/leads.json", sync_leads),
    ("DELETE", "/rest/v1/leads.json", delete_leads),
    ("POST", "/rest/v1/leads/delete.json", delete_leads),
    ("POST", "/rest/v1/leads/{id}/merge.json", merge_leads),
    ("GET", "/rest/v1/lists.json", lists.lists),
    ("GET", "/rest/v1/lists/{id}.json", lists.list_by_id),
    ("GET", "/rest/v1/list/{id}/leads.json", lists.members),
    ("GET", "/rest/v1/lists/{id}/leads.json", lists.members),
    ("POST", "/rest/v1/lists/{id}/leads.json", lists.add_members),
    ("DELETE", "/rest/v1/lists/{id}/leads.json", lists.remove_members),
    ("GET", "/rest/v1/lists/{id}/leads/ismember.json", lists.is_member),
    ("GET", "/rest/v1/companies/describe.json", companies.describe),
    ("GET", "/rest/v1/companies/schema/fields.json", schema_fields.company_fields),
    ("GET", "/rest/v1/companies/schema/fields/{name}.json", schema_fields.company_field),
    ("GET", "/rest/v1/companies.json", companies.companies_by_filter),
    ("POST", "/rest/v1/companies.json", companies.sync_companies),
    ("POST", "/rest/v1/companies/delete.json", companies.delete_companies),
    ("GET", "/rest/v1/activities/types.json", activities.types),
    ("GET", "/rest/v1/activities/pagingtoken.json", activities.paging_token),
    ("GET", "/rest/v1/activities.json", activities.activities),
    ("GET", "/rest/v1/activities/leadchanges.json", activities.lead_changes),
    ("GET", "/rest/v1/activities/deletedleads.json", activities.deleted_leads),
    ("POST", f"{_EXTERNAL}.json", add_activities),
    ("GET", f"{_EXTERNAL}/types.json", custom_types.custom_types),
    ("POST", f"{_EXTERNAL}/type.json", custom_types.create_type),
    ("POST", f"{_TYPE}.json", custom_types.update_type),
    ("GET", f"{_TYPE}/describe.json", custom_types.describe_type),
    ("POST", f"{_TYPE}/approve.json", custom_types.approve_type),
    ("POST", f"{_TYPE}/discardDraft.json", custom_types.discard_draft),
    ("POST", f"{_TYPE}/delete.json", custom_types.delete_type),
    ("POST", f"{_TYPE}/attributes/create.json", custom_types.create_attributes),
    ("POST", f"{_TYPE}/attributes/update.json", custom_types.update_attributes),
    ("POST", f"{_TYPE}/attributes/delete.json", custom_types.delete_attributes),
    ("GET", "/rest/v1/campaigns.json", assets.campaigns),
    ("GET", f"{_ASSET}/programs.json", assets.programs),
    ("GET", f"{_ASSET}/staticLists.json", assets.static_lists),
    ("POST", f"{_ASSET}/staticLists.json", assets.create_static_list),
    ("GET", f"{_ASSET}/staticList/byName.json", assets.static_list_by_name),
    ("GET", f"{_ASSET}/staticList/{{id}}.json", assets.static_list),
    ("POST", f"{_ASSET}/staticList/{{id}}.json", assets.update_static_list),
    ("POST", f"{_ASSET}/staticList/{{id}}/delete.json", assets.delete_static_list),
    ("GET", "/rest/v1/stats/usage.json", limits.usage_today),
    ("GET", "/rest/v1/stats/usage/last7days.json", limits.usage_last_days),
    ("GET", "/rest/v1/stats/errors.json", limits.errors_today),
    ("GET", "/rest/v1/stats/errors/last7days.json", limits.errors_last_days),
    ("POST", f"{_EXPORT}/create.json", bulk_extract.create),
    ("POST", f"{_EXPORT}/{{export_id}}/enqueue.json", bulk_extract.enqueue),
    ("POST", f"{_EXPORT}/{{export_id}}/cancel.json", bulk_extract.cancel),
    ("GET", f"{_EXPORT}/{{export_id}}/status.json", bulk_extract.status),
    ("GET", f"{_EXPORT}/{{export_id}}/file.json", bulk_extract.file),
    ("GET", f"{_EXPORT}.json", bulk_extract.jobs),
    ("POST", IMPORT, bulk_import.import_leads),
    ("GET", "/bulk/v1/leads/batch/{id}.json", bulk_import.import_status),
    ("GET", "/bulk/v1/leads/batch/{id}/failures.json", bulk_import.failures),
    ("GET", "/bulk/v1/leads/batch/{id}/warnings.json", bulk_import.warnings),
]


def _pattern(path: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"\\{(\w+)\\}", r"(?P<\1>[^/]+?)", re.escape(path)))


_PATTERNS = [(method, _pattern(path), handler) for method, path, handler in ROUTES]


def build_app(store: Store) -> Starlette:
    """The ASGI application over `store`, which the caller closes."""
    server = _Server(store)
    app = Starlette()
    app.router.default = server  # every path and verb, also paths that Starlette's own patterns cannot match
    app.state.store = store
    store.before_close.append(BulkWorker(store).close)
    return app


class _Server:
    def __init__(self, store: Store) -> None:
        self._store = store
        self._counter = limits.CallCounter(store)
        self._numbers = count(1)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            response = await self.answer(Request(scope, receive))
            await response(scope, receive, send)
        else:
            await WebSocketClose()(scope, receive, send)

    async def answer(self, request: Request) -> Response:
        path = unquote(request.url.path)
        if not self._store.behaviour.refuse_double_slash:
            path = re.sub("/+", "/", path)  # refusing them is announced, without a date (§11)
        uri_bytes = len(request.scope.get("raw_path", b"")) + len(request.scope["query_string"])
        if uri_bytes > URI_LIMIT_BYTES:
            return PlainTextResponse("Request-URI Too Long", 414)
        limit = IMPORT_LIMIT_BYTES if path == IMPORT else BODY_LIMIT_BYTES
        body = bytearray()
        async for chunk in request.stream():
            body += chunk
            if len(body) > limit:
                return PlainTextResponse("Request Entity Too Large", 413)
        content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if path.startswith("/emulator/marketo/"):
            return await run_in_threadpool(control.answer, self._store, request.method, path, bytes(body))
        params = form_params(request.scope["query_string"])
        files: dict[str, bytes] = {}
        form: dict[str, list[str]] = {}
        if content_type == FORM:
            form = form_params(bytes(body))
        elif content_type == MULTIPART and path == IMPORT:
            form, files = await _multipart(request.headers, bytes(body))
        for name, values in form.items():
            params.setdefault(name, []).extend(values)
        if path == IDENTITY:
            if request.method not in ("GET", "POST"):
                return PlainTextResponse("Method Not Allowed", 405)
            status, answer = await run_in_threadpool(issue_token, self._store, params)
            headers = {"Cache-Control": "no-store", "Pragma": "no-cache"}
            return Response(msgspec.json.encode(answer), status, headers, JSON)
        call = Call(
            store=self._store,
            method=params.get("_method", [request.method])[0].upper() if request.method == "POST" else request.method,
            path=path,
            request_id=f"{next(self._numbers):x}#{int(self._store.now().timestamp() * 1000):x}",
            api_user="",
            content_type=content_type,
            body=bytes(body),
            params=params,
            files=files,
        )
        response = await self._admit(call, _bearer(request, self._store))
        if "gzip" in request.headers.get("accept-encoding", "") and not path.startswith("/bulk/"):
            _compress(response)
        return response

    async def _admit(self, call: Call, token: str | None) -> Response:
        """Check, count, run. Refusals of every level but the record's end here, as HTTP 200 (§9.1)."""
        api_user = ""
        code: str | None = None
        try:
            handler, match = self._route(call)
            api_user = await run_in_threadpool(check_token, self._store, token)
            self._counter.enter()
            try:
                call = dataclasses.replace(call, api_user=api_user, match=match)
                return await run_in_threadpool(_run, handler, call)
            except Refused as error:
                if error.code in limits.UNCOUNTED:
                    self._counter.forget()
                raise
            finally:
                self._counter.leave()
        except Refused as error:
            code = error.code
            return Response(refusal(call.request_id, error), media_type=JSON)
        finally:
            await run_in_threadpool(self._counter.record, api_user, code)

    @staticmethod
    def _route(call: Call) -> tuple[Handler, dict[str, str]]:
        path = call.path
        if path != IMPORT and call.content_type == MULTIPART:
            raise Refused("612", "Invalid Content Type")
        known = False
        for method, pattern, handler in _PATTERNS:
            found = pattern.fullmatch(path)
            if found and method == call.method:
                return handler, found.groupdict()
            known = known or found is not None
        if known:
            raise Refused("605", f"HTTP Method '{call.method}' is not supported")
        raise Refused("610", "Requested resource not found")


def _run(handler: Handler, call: Call) -> Response:
    answer = handler(call)
    return answer if isinstance(answer, Response) else Response(envelope(call.request_id, answer), media_type=JSON)


def _bearer(request: Request, store: Store) -> str | None:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and token:
        return token.strip()
    return None if store.behaviour.refuse_token_in_query else request.query_params.get("access_token")


async def _multipart(headers: Headers, body: bytes) -> tuple[dict[str, list[str]], dict[str, bytes]]:
    """Fields and files of a multipart body; none when it is malformed, which the handler refuses as 613."""

    async def stream() -> AsyncGenerator[bytes, None]:
        yield body

    try:
        form = await MultiPartParser(headers, stream(), max_part_size=IMPORT_LIMIT_BYTES).parse()
    except (MultiPartException, KeyError, UnicodeDecodeError):
        return {}, {}
    fields: dict[str, list[str]] = {}
    files: dict[str, bytes] = {}
    for name, value in form.multi_items():
        if isinstance(value, str):
            fields.setdefault(name, []).append(value)
        else:
            files[name] = await value.read()
    return fields, files


def _compress(response: Response) -> None:
    if response.status_code == 200 and len(response.body) >= GZIP_FROM_BYTES:
        response.body = gzip.compress(bytes(response.body), compresslevel=1)
        response.headers["Content-Length"] = str(len(response.body))
        response.headers["Content-Encoding"] = "gzip"
        response.headers["Vary"] = "Accept-Encoding"
