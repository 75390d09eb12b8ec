"""The webhook as a door: what Marketo's flow step *Call Webhook* posts is kept, and answered once it was served (R71, R72, R78).

Marketo waits 30 seconds for an answer. Whatever takes longer, because a cycle is running say, is answered `queued` and served
as soon as that is possible. Not here: the server that runs this (`cli/listen.py`), carrying out (`desk.py`).
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import threading
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Annotated, Any, Literal, NamedTuple
from urllib.parse import parse_qsl

import msgspec
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from dynsync_pipeline.errors import ApiError, CycleRunning, DynSyncError
from dynsync_pipeline.model.records import RecordType
from dynsync_pipeline.requests.desk import Desk
from dynsync_pipeline.requests.store import (
    LONGEST_DESCRIPTION,
    LONGEST_SUBJECT,
    LONGEST_TIME_DAYS,
    Request,
    RequestStore,
    Task,
    Wish,
)
from dynsync_pipeline.requests.telling import LONGEST_GAP
from dynsync_pipeline.settings import Settings
from dynsync_pipeline.warehouse.connection import utc_now

log = logging.getLogger(__name__)

TOKEN_HEADER = "X-DynSync-Token"  # noqa: S105 (the name of a header)
MOST_BYTES = 10_000  # of a body
MOST_PER_MINUTE = 1_200
LONGEST_WAIT_S = 20.0  # for what became of a request, of the 30 s that Marketo waits
LOOK_S = 0.05  # between two looks whether a request was answered
GATHER_S = 0.1  # for which requests gather that are served together
REST_S = 0.1  # in which the lock is free between two turns, for a cycle to begin
AGAIN_S = 5.0  # after which what waits is looked at again
LONGEST_OWNER = 200


class _Call(msgspec.Struct):
    """What every call holds; each kind of it has a path of its own."""

    person_id: Annotated[int, msgspec.Meta(gt=0, lt=2**31)]

    def wish(self) -> Wish:
        """What it asks for. Raises: ValueError."""
        raise NotImplementedError


_Owner = Annotated[str, msgspec.Meta(max_length=LONGEST_OWNER)]
_PersonType = Literal["lead", "contact"]


class _RecordCall(_Call):
    record_type: _PersonType = msgspec.field(name="as")
    owner: _Owner | None = None

    def wish(self) -> Wish:
        return Wish(self.person_id, RecordType(self.record_type), "webhook", self.owner)


class _OwnerCall(_Call):
    owner: Annotated[_Owner, msgspec.Meta(min_length=1)]
    record_type: _PersonType = msgspec.field(default="lead", name="as")

    def wish(self) -> Wish:
        return Wish(self.person_id, RecordType(self.record_type), "webhook", self.owner, kind="owner")


class _TaskCall(_Call):
    subject: str
    description: str | None = None
    due_in_days: int = 5
    priority: Literal["low", "normal", "high"] = "normal"
    owner: _Owner | None = None
    record_type: _PersonType = msgspec.field(default="lead", name="as")

    def wish(self) -> Wish:
        task = Task(self.subject, self.description, self.due_in_days, self.priority)
        return Wish(self.person_id, RecordType(self.record_type), "webhook", self.owner, kind="task", task=task)


class Answer(NamedTuple):
    """What the webhook is told: an HTTP status and members for Marketo's response mapping."""

    status: int
    result: str
    dynamics_id: str = ""
    message: str = ""

    @property
    def response(self) -> JSONResponse:
        """The same as JSON."""
        told = {"result": self.result, "dynamicsId": self.dynamics_id, "message": self.message}
        return JSONResponse(told, self.status, {"Retry-After": "60"} if self.status == 429 else None)


class Server:
    """Serves requests in a thread of its own, whenever one came in and no cycle runs. Use it in `with`.

    Raises: SettingsWrong where the systems are not set.
    """

    def __init__(self, settings: Settings, store: RequestStore) -> None:
        self._settings = settings
        self._store = store
        self._desk = Desk(settings, store)
        self._asked = threading.Event()
        self._ending = threading.Event()
        self._told: str | None = None
        self._thread = threading.Thread(target=self._run, name="requests", daemon=True)

    def __enter__(self) -> Server:
        try:
            self._desk.sign_in()
        except CycleRunning:
            pass  # that takes no harm: the first request waits a second longer
        except ApiError as error:  # requests are kept all the same
            self._tell(str(error))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._asked.set()
        self._thread.join()

    def ask(self, wish: Wish) -> str:
        """Keep a wish and see that it is served soon; returns the request's id. Raises: InShadow, StorageFailed."""
        self._settings.require_live("A request")
        (request_id,) = self._store.ask([wish], _now())
        self._asked.set()
        return request_id

    def request(self, request_id: str) -> Request:
        """A request as it stands."""
        return self._store.request(request_id)

    def n_waiting(self) -> int:
        """How many requests have not ended."""
        return len(self._store.unfinished())

    def _run(self) -> None:
        with self._desk:
            while not self._ending.is_set():
                if self._asked.wait(timeout=AGAIN_S):
                    self._asked.clear()
                    self._ending.wait(GATHER_S)
                try:
                    waiting = self._turn()
                except DynSyncError as error:
                    waiting = str(error)
                except Exception as error:  # ours; it must not end the thread, which nobody would notice
                    waiting = f"{type(error).__name__}; report this to the makers of DynSync."
                    log.debug("Where it happened:", exc_info=error)
                self._tell(waiting)
                self._ending.wait(AGAIN_S if waiting else REST_S)

    def _tell(self, waiting: str | None) -> None:
        """Log why requests wait, once while that stays so."""
        if waiting and waiting != self._told:
            log.warning("Requests wait: %s", waiting)
        self._told = waiting

    def _turn(self) -> str | None:
        """Serve what is due; returns why some of it waits, None where nothing does or a cycle takes its turn."""
        if not self._store.due(_now(), LONGEST_GAP) and not self._store.untold():
            return None
        try:
            failure = self._desk.serve()
        except CycleRunning:
            self._asked.set()  # and at once when it has ended
            return None
        if self._store.due(_now(), LONGEST_GAP):
            self._asked.set()
        return failure


def listener(
    settings: Settings, server: Server, tokens: Sequence[str], figures: Callable[[], str] = lambda: ""
) -> Starlette:
    """The application: `POST /requests`, `/owners`, `/tasks`, and `GET /health` and `/metrics`.

    `figures`: what the last cycle told Prometheus. They are shown to this machine, and elsewhere to who has a token.
    """
    calls = _Calls(MOST_PER_MINUTE)

    def door(kind: type[_Call]) -> Callable[[HttpRequest], Awaitable[JSONResponse]]:
        async def ask(request: HttpRequest) -> JSONResponse:
            answer = _refused(request.headers, tokens, calls) or await _asked(request, server, kind)
            return answer.response

        return ask

    async def health(request: HttpRequest) -> JSONResponse:
        try:
            return JSONResponse({"status": "ok", "waiting": await run_in_threadpool(server.n_waiting)})
        except DynSyncError as error:
            return JSONResponse({"status": "failing", "message": error.message}, 503)

    async def metrics(request: HttpRequest) -> Response:
        if not _is_here(request) and (refused := _refused(request.headers, tokens, calls)):
            return refused.response
        try:
            n_waiting = await run_in_threadpool(server.n_waiting)
            told = await run_in_threadpool(figures)
        except (DynSyncError, OSError):
            return PlainTextResponse("", 503)
        return Response(f"{told}{_WAITING}{n_waiting}\n", media_type="text/plain; version=0.0.4")

    doors = [Route(path, door(kind), methods=["POST"]) for path, (kind, _) in _DOORS.items()]
    return Starlette(routes=[*doors, Route("/health", health), Route("/metrics", metrics)])


_WAITING = """# HELP dynsync_requests_waiting Requests that have not ended.
# TYPE dynsync_requests_waiting gauge
dynsync_requests_waiting """


def _is_here(request: HttpRequest) -> bool:
    """Whether a call comes from this machine."""
    return request.client is not None and request.client.host in ("127.0.0.1", "::1")


def _refused(headers: Mapping[str, str], tokens: Sequence[str], calls: _Calls) -> Answer | None:
    """Why a call is not even read; None where it is."""
    given = headers.get(TOKEN_HEADER.lower(), "").encode()
    # Each is compared in constant time, and all of them, so that the time tells nothing.
    n_equal = sum(hmac.compare_digest(given, token.encode()) for token in tokens)
    if not n_equal:
        return Answer(401, "refused", message=f"The header {TOKEN_HEADER} holds no token of this listener.")
    if not calls.may_pass():
        return Answer(
            429, "refused", message=f"More than {MOST_PER_MINUTE} calls in a minute. Nothing was kept; call again."
        )
    return None


class _Calls:
    """How many calls came in this minute."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._minute = 0
        self._n = 0

    def may_pass(self) -> bool:
        """Count one more call; whether it is one too many."""
        minute = int(time.monotonic() // 60)
        if minute != self._minute:
            self._minute, self._n = minute, 0
        self._n += 1
        return self._n <= self._most


async def _asked(request: HttpRequest, server: Server, kind: type[_Call]) -> Answer:
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MOST_BYTES:
            return Answer(413, "refused", message=f"The body has more than {MOST_BYTES:,} bytes. Nothing was kept.")
    try:
        wish = _read(body, request.headers.get("content-type", ""), kind).wish()
    except (msgspec.MsgspecError, RecursionError, ValueError):
        return Answer(400, "refused", message=f"{_FORM}{_DOORS[request.url.path][1]} Nothing was kept.")
    try:
        request_id = await run_in_threadpool(server.ask, wish)
        return await _answered(server, request_id)
    except DynSyncError as error:
        log.error("A request was not kept: %s", error)
        return Answer(503, "refused", message=f"{error} Call again.")


_FORM = "The body must be JSON or a form with person_id (the person's id in Marketo)"
_NAMED = f"owner (a user's name or e-mail address of up to {LONGEST_OWNER} characters)"
_DOORS: dict[str, tuple[type[_Call], str]] = {
    "/requests": (_RecordCall, f" and as (lead or contact), and may have {_NAMED}."),
    "/owners": (_OwnerCall, f" and {_NAMED}, and may have as (lead or contact)."),
    "/tasks": (
        _TaskCall,
        f" and subject (of up to {LONGEST_SUBJECT} characters), and may have description (of up to {LONGEST_DESCRIPTION}), "
        f"due_in_days (0 to {LONGEST_TIME_DAYS}), priority (low, normal or high), as (lead or contact) and {_NAMED}.",
    ),
}


def _read(body: bytes, content_type: str, kind: type[_Call]) -> _Call:
    """What a call asks for. Raises: msgspec.MsgspecError, RecursionError, ValueError."""
    # curl calls whatever it sends a form.
    is_form = "form" in content_type and not body.lstrip().startswith(b"{")
    told: Any = dict(parse_qsl(body.decode())) if is_form else msgspec.json.decode(body)
    if isinstance(told, dict):  # a token of Marketo that is empty stands for what was left out
        told = {name: value for name, value in told.items() if value != ""}
    return msgspec.convert(told, kind, strict=False)  # a token of Marketo may stand between quotes


async def _answered(server: Server, request_id: str) -> Answer:
    """What became of a request within Marketo's patience."""
    ends_s = time.monotonic() + LONGEST_WAIT_S
    while True:
        found = await run_in_threadpool(server.request, request_id)
        if found.outcome is not None:
            is_put_off = (
                found.state == "linked" and found.attempts > 0
            )  # the keys follow later, which is no word for Marketo
            message = "" if is_put_off else found.message or ""
            return Answer(200, found.outcome, found.made_id or "", message)
        if time.monotonic() >= ends_s:
            return Answer(200, "queued", message=found.message or "It is kept, and served as soon as possible.")
        await asyncio.sleep(LOOK_S)


def _now() -> Any:
    return utc_now().replace(tzinfo=None)
