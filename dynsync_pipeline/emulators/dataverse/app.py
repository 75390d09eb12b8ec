"""The emulator as a web application: Web API and identity provider on one host. Start reading here.

A request becomes a `Call` (`call.py`), `service.py` answers it, `$batch` splits it into several (`batch.py`).
"""

from __future__ import annotations

import logging
import time
import uuid

import msgspec
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from dynsync_pipeline.emulators.dataverse import batch, control, service, sign_in
from dynsync_pipeline.emulators.dataverse.call import MAX_URL_BYTES, Answer, Call, split_path
from dynsync_pipeline.emulators.dataverse.errors import (
    DataverseError,
    no_such_segment,
    privilege_denied,
    wrong_verb,
)
from dynsync_pipeline.emulators.dataverse.functions import DOP_HINT
from dynsync_pipeline.emulators.dataverse.limits import Limits
from dynsync_pipeline.emulators.dataverse.store import Store, User
from dynsync_pipeline.emulators.forgiving import Forgiving

MAX_BODY_BYTES = 128 * 1024 * 1024
METHODS = ["GET", "POST", "PATCH", "PUT", "DELETE", "HEAD", "OPTIONS"]


def build_app(store: Store) -> Starlette:
    """The Dataverse emulator over a store. The caller closes the store."""
    limits = Limits(store.time_scale)

    async def web_api(request: Request) -> Response:
        answer = await _answer(store, limits, request)
        request_id = str(uuid.uuid4())
        headers = {"OData-Version": "4.0", "REQ_ID": request_id, "x-ms-service-request-id": request_id}
        return Response(answer.body, answer.status, {**headers, **answer.headers})

    async def nothing(request: Request) -> Response:
        return Response(status_code=404)

    return Starlette(
        routes=[
            Route("/api/data/{version}", web_api, methods=METHODS),
            Route("/api/data/{version}/{path:path}", web_api, methods=METHODS),
            control.route(store, limits),
            *sign_in.routes(store),
            Route("/{path:path}", nothing, methods=METHODS),
        ],
        middleware=[Middleware(Forgiving, root="/api/data/")],
    )


async def _answer(store: Store, limits: Limits, request: Request) -> Answer:
    """Sign-in, limits and body first; then the work, on a thread."""
    try:
        user = _user(store, request)
        rate_headers = limits.enter(user.user_id)
    except DataverseError as error:
        return Answer.of_error(error) if error.code else Answer(error.status, error.message.encode(), error.headers)
    started = time.monotonic()
    try:
        body = await _body(request)
        answer = await run_in_threadpool(_serve, store, user, request, body)
    except DataverseError as error:
        answer = Answer.of_error(error)
    except Exception:
        # A defect of the emulator: shown where it runs, answered as the real service answers its own.
        logging.getLogger(__name__).exception("%s %s failed", request.method, request.url.path)
        answer = Answer.of_error(DataverseError(500, "0x80040216", "An unexpected error occurred."))
    finally:
        limits.leave(user.user_id, time.monotonic() - started)
    answer.headers.update(rate_headers)
    answer.headers["x-ms-dop-hint"] = DOP_HINT
    return answer


def _serve(store: Store, user: User, request: Request, body: bytes) -> Answer:
    raw_path: bytes = request.scope.get("raw_path") or request.url.path.encode()
    version = request.path_params["version"].lower()
    if version not in ("v9.0", "v9.1", "v9.2"):
        raise no_such_segment(version[:100])
    segments = split_path(
        raw_path.decode("latin-1").partition("?")[0].split("/", 4)[4] if raw_path.count(b"/") > 3 else ""
    )
    query = request.url.query
    if len(raw_path) + len(query) > MAX_URL_BYTES:
        raise DataverseError(414, "0x80060888", "The request URI is too long.")
    headers = {name: ",".join(request.headers.getlist(name)) for name in request.headers}
    root = f"{request.url.scheme}://{request.url.netloc}/api/data/{version}/"
    if request.method not in ("GET", "POST", "PATCH", "PUT", "DELETE"):
        raise wrong_verb(request.method)
    with store.read() if request.method == "GET" else store.write() as connection:
        call = Call(store, connection, user, request.method, segments, query, headers, body, root)
        return _routed(call)


def _routed(call: Call) -> Answer:
    if call.segments != ["$batch"]:
        return service.answer(call)
    if call.method != "POST":
        raise wrong_verb(call.method)
    return batch.run(call, service.answer)


def _user(store: Store, request: Request) -> User:
    """Who signed in. Raises DataverseError 401 for a missing or bad token, 403 for an app that is no user here."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    is_valid, user_id = store.token_owner(token.strip()) if scheme.lower() == "bearer" else (False, None)
    if not is_valid:
        origin = f"{request.url.scheme}://{request.url.netloc}"
        raise DataverseError(
            401,
            "",
            "HTTP Error 401 - Unauthorized: Access is denied",
            {
                "WWW-Authenticate": f"Bearer authorization_uri={origin}/{store.tenant_id}/oauth2/authorize, "
                f"resource_id={origin}/"
            },
        )
    if user_id is None:
        raise DataverseError(403, "0x80072560", "The user is not a member of the organization.")
    return _impersonated(store, request, user_id)


def _impersonated(store: Store, request: Request, user_id: str) -> User:
    """The caller, or the user the caller acts for. Raises DataverseError 400 for an unknown user, 403."""
    for header, column in (("CallerObjectId", "azureactivedirectoryobjectid"), ("MSCRMCallerID", "systemuserid")):
        wanted = request.headers.get(header)
        if not wanted:
            continue
        with store.read() as connection:
            if store.is_denied(connection, user_id, "prvActOnBehalfOfAnotherUser"):
                raise privilege_denied(user_id, "prvActOnBehalfOfAnotherUser", "systemuser", 8)
        found = store.user_with(column, wanted.strip().lower())
        if found is None:
            raise DataverseError(
                400, "0x80041d1f", f"The user with {header} {wanted[:60]} does not exist or is disabled."
            )
        return msgspec.structs.replace(store.user(found), on_behalf_by=user_id)
    return store.user(user_id)


async def _body(request: Request) -> bytes:
    """The body. Raises DataverseError 413 as soon as it is too large, 400 if the client went away."""
    chunks: list[bytes] = []
    n_bytes = 0
    try:
        async for chunk in request.stream():
            n_bytes += len(chunk)
            if n_bytes > MAX_BODY_BYTES:
                raise DataverseError(413, "0x80060888", "The request body is too large.")
            chunks.append(chunk)
    except ClientDisconnect:
        raise DataverseError(400, "0x80060888", "The client closed the connection.") from None
    return b"".join(chunks)
