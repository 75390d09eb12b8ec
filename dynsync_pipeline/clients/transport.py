"""One HTTP request, one answer; and the retries around it, which wait as long as a server asks (R128).

Not here: what an answer says (`*/protocol.py`, `*/refusals.py`).

What it promises: TLS verified; no redirect followed, no cookie kept (Dataverse pins a client with a cookie to one web
server); no token for another host; an end to every request, however slowly the server drips; nothing that is secret or
personal in a log line or an error; a write whose outcome is unknown is never sent again; and in shadow no write leaves.
"""

from __future__ import annotations

import asyncio
import logging
import math
import random
import re
import ssl
import threading
import time
import unicodedata
from collections.abc import Callable, Mapping
from concurrent.futures import CancelledError
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Generic, Protocol, Self, TypeVar
from urllib.parse import urlsplit

import httpx
import stamina

from dynsync_pipeline import __version__
from dynsync_pipeline.clients.budget import CallBudget
from dynsync_pipeline.clients.trust import trust
from dynsync_pipeline.errors import (
    AnswerUnreadable,
    ApiError,
    InShadow,
    RateLimited,
    ServerFailed,
    SettingsWrong,
    SignInRefused,
    TimedOut,
    Unreachable,
)
from dynsync_pipeline.settings import Settings
from dynsync_pipeline.tracing import span

LARGEST_BODY_BYTES = 128 * 1024 * 1024
LONGEST_CONNECT_S = 15.0
SHORT_RETRY_LIMIT_S = 30.0  # a host out of reach, or another one answering, is rather left to the next cycle
LOOPBACK = ("all://127.0.0.1", "all://localhost", "all://[::1]")
FIRST_WAIT_S = 0.5
LONGEST_WAIT_S = 30.0

_RETRIED = (Unreachable, TimedOut, RateLimited, ServerFailed, AnswerUnreadable)
_NOT_APPLIED = (Unreachable, RateLimited)  # refused before anything was done, so that a write may be sent again
_PERSONAL = re.compile(r"[^\s'\"<>/,;:()]+(?:@|%40)[^\s'\"<>/,;:()]+|eyJ[\w.-]{20,}")
_log = logging.getLogger(__name__)
Answer = TypeVar("Answer")
Kind = TypeVar("Kind", bound=ApiError)


@dataclass(frozen=True)
class Request:
    """One call: absolute URL, headers without the token, and whether it may be sent twice without harm.

    Whatever is no GET counts as a write unless `only_reads` says otherwise, such as a sign-in, a long query, or a bulk export.
    `n_calls` is what it costs. As text it is verb and path, fit for messages.
    """

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    is_repeatable: bool = True
    n_calls: int = 1
    only_reads: bool = False

    def __str__(self) -> str:
        return f"{self.method} {redacted(urlsplit(self.url).path)}"

    def __repr__(self) -> str:
        return f"<Request {self}>"

    @property
    def is_write(self) -> bool:
        """Whether it may change anything in the system."""
        return self.method != "GET" and not self.only_reads


@dataclass(frozen=True)
class Reply:
    """What came back: any status, header names in lower case, the whole body (never printed)."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)

    @property
    def retry_after_s(self) -> float | None:
        """Seconds the server asks to wait, from either form of Retry-After; None if it does not say, or nonsense."""
        text = self.headers.get("retry-after", "").strip()
        try:
            seconds = float(text)
        except ValueError:
            at = http_date(text)
            return max((at - datetime.now(UTC)).total_seconds(), 0.0) if at else None
        return max(seconds, 0.0) if math.isfinite(seconds) else None


class Tokens(Protocol):
    """Where bearer tokens come from."""

    def current(self) -> str:
        """A token that should be valid. Raises: ApiError."""

    def forget(self, token: str) -> None:
        """Drop this token, because a server refused it; the next one is new."""


def http_date(text: str) -> datetime | None:
    """The time in an HTTP header, in UTC; None if there is none."""
    try:
        return parsedate_to_datetime(text).astimezone(UTC)
    except ValueError:
        return None


def redacted(text: str, *, longest: int = 300) -> str:
    """A vendor's text made fit for messages: one line, not long, e-mail addresses and tokens replaced by dots.

    No control character is left, nor one that turns text around on a terminal.
    """
    printable = "".join(
        " " if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp") else c for c in text[: longest * 10]
    )
    return " ".join(_PERSONAL.sub("…", printable).split())[:longest]


def origin_of(url: str) -> tuple[str, str, int]:
    """Scheme, host and port of a URL. Raises: ValueError for something that is none."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username:
        raise ValueError("not an http address")
    return parts.scheme, parts.hostname.lower(), parts.port or (443 if parts.scheme == "https" else 80)


class Transport:
    """Sends requests of one client to one system. Shared by threads; close it, or use it in `with`.

    httpx limits each read but not the whole answer, unless it runs on asyncio: so a thread of its own runs a loop.
    """

    def __init__(
        self,
        system: str,
        origin: str,
        settings: Settings,
        *,
        budget: CallBudget | None = None,
        tokens: Tokens | None = None,
    ) -> None:
        for name in ("httpx", "httpcore"):  # they log whole URLs and headers
            logging.getLogger(name).setLevel(logging.WARNING)
        stamina.instrumentation.set_on_retry_hooks([_announce])
        self._system = system
        self._origin = origin_of(origin)
        self._timeout_s = settings.request_timeout_s
        self.retry_limit_s = settings.retry_limit_s
        self._is_shadow = settings.is_shadow
        self._budget = budget
        self._tokens = tokens
        self._http = _http_client(settings)
        self._told: tuple[datetime, float] | None = None  # its last Date, and our monotonic clock then
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=f"http-{system}", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the connections; requests under way in other threads are cut. Closing twice is fine."""
        if self._thread.is_alive():
            asyncio.run_coroutine_threadsafe(self._cut_all(), self._loop).result()
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()

    async def _cut_all(self) -> None:
        under_way = asyncio.all_tasks() - {asyncio.current_task()}
        for task in under_way:
            task.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)
        await self._http.aclose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def is_own(self, url: str) -> bool:
        """Whether an absolute link leads to the system this transport belongs to."""
        try:
            return origin_of(url) == self._origin
        except ValueError:
            return False

    def call(self, request: Request, decode: Callable[[Reply], Answer]) -> Answer:
        """Send with a token, within the budget, and decode; retry what may succeed later, while it does no harm.

        `decode` returns the answer or raises the error it describes: SignInRefused for a refused token, which is
        renewed once. A wait that the server asks for is never cut short: if it exceeds what is left of
        `retry_limit_s`, the error goes to the caller.
        """
        attempts = _Attempts(self, request, decode)
        # `wait_s` ends the retries, so stamina needs no limit of its own.
        for attempt in stamina.retry_context(
            on=attempts.wait_s, attempts=None, timeout=None, wait_initial=FIRST_WAIT_S, wait_max=LONGEST_WAIT_S
        ):
            with attempt:
                return attempts.once()
        raise AssertionError("the loop above returns or raises")

    def now(self) -> datetime:
        """The system's own clock (UTC), as its last answer told, at most a second behind; this host's until one did."""
        if self._told is None:
            return datetime.now(UTC)
        date, heard_at_s = self._told
        return date + timedelta(seconds=time.monotonic() - heard_at_s)

    def token(self) -> str | None:
        """The token to send; None where the system asks for none. Raises: ApiError."""
        return self._tokens.current() if self._tokens else None

    def forget(self, token: str) -> None:
        """Drop a token that was refused."""
        if self._tokens:
            self._tokens.forget(token)

    def spend(self, request: Request) -> None:
        """Take the request out of the budget, if there is one. Raises: BudgetSpent, InShadow."""
        self._refuse_write_in_shadow(request)
        if self._budget:
            self._budget.spend(str(request), n_calls=request.n_calls)

    def send(self, request: Request, token: str | None = None) -> Reply:
        """Send once, whatever the answer.

        Raises: InShadow for a write in shadow, Unreachable (nothing was sent), TimedOut (the outcome is unknown),
        AnswerUnreadable (too big or not decodable; also before sending a token to another host).
        """
        self._refuse_write_in_shadow(request)
        headers = dict(request.headers)
        if token is not None:
            if not self.is_own(request.url):
                raise self._error(AnswerUnreadable, request, "A link leads to another host; no token is sent there.")
            headers["Authorization"] = f"Bearer {token}"
        started = time.monotonic()
        status: int | str = "no answer"
        future = asyncio.run_coroutine_threadsafe(self._exchange(request, headers), self._loop)
        try:
            with span(str(request), system=self._system):
                reply = future.result()
            status = reply.status
            if date := http_date(reply.headers.get("date", "")):
                self._told = (date, time.monotonic())
        except CancelledError:
            closed = self._error(TimedOut, request, "The client was closed while the request was under way.")
            closed.retry_helps = False
            raise closed from None
        except BaseException:  # also when the user interrupts
            future.cancel()
            raise
        finally:
            seconds = time.monotonic() - started
            details = {"system": self._system, "request": str(request), "status": status, "seconds": round(seconds, 3)}
            _log.debug("%s %s: %s in %.3f s", self._system, request, status, seconds, extra=details)
        return reply

    def _refuse_write_in_shadow(self, request: Request) -> None:
        """The one place that keeps shadow from writing, whoever calls, and before a call counts. Raises: InShadow."""
        if self._is_shadow and request.is_write:
            raise InShadow(f"{self._system.capitalize()}: {request}")

    async def _exchange(self, request: Request, headers: Mapping[str, str]) -> Reply:
        host = self._host_of(request)
        try:
            async with (
                asyncio.timeout(self._timeout_s),
                self._http.stream(request.method, request.url, headers=headers, content=request.body) as answer,
            ):
                body = bytearray()
                async for piece in answer.aiter_bytes():
                    body += piece
                    if len(body) > LARGEST_BODY_BYTES:
                        raise self._error(AnswerUnreadable, request, f"The answer of {host} is too big to be true.")
                return Reply(answer.status_code, {k.lower(): v for k, v in answer.headers.items()}, bytes(body))
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError) as error:
            raise self._unreachable(request, host, error) from None
        except (httpx.TimeoutException, TimeoutError):
            raise self._error(TimedOut, request, f"{host} gave no complete answer in {self._timeout_s:g} s.") from None
        except httpx.DecodingError:
            raise self._error(AnswerUnreadable, request, f"The answer of {host} is garbled.") from None
        except httpx.InvalidURL:
            raise self._error(AnswerUnreadable, request, f"{host} gave a link that is no address.") from None
        except (httpx.TransportError, OSError):
            raise self._error(
                TimedOut, request, f"{host} broke the connection before its answer was complete."
            ) from None

    def _unreachable(self, request: Request, host: str, error: httpx.TransportError) -> Unreachable:
        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, ssl.SSLCertVerificationError):
                refused = self._error(
                    Unreachable,
                    request,
                    f"The certificate of {host} is not trusted: {redacted(cause.verify_message)}.",
                    "Give the PEM file of its certificate authority in DYNSYNC_CA_FILE.",
                )
                refused.retry_helps = False
                return refused
            cause = cause.__cause__ or cause.__context__
        what = (
            "did not accept a connection in time" if isinstance(error, httpx.TimeoutException) else "cannot be reached"
        )
        told = f": {said}" if (said := redacted(str(error))) else ""
        return self._error(
            Unreachable,
            request,
            f"{host} {what}{told}.",
            "Check the address in the settings, the network and the proxy (HTTPS_PROXY, NO_PROXY).",
        )

    def _host_of(self, request: Request) -> str:
        """Whom a request goes to, as a sentence begins: the system, and by which host."""
        return f"{self._system.capitalize()} ({urlsplit(request.url).netloc})"

    def _error(self, kind: type[Kind], request: Request, message: str, next_step: str = "") -> Kind:
        return kind(message, system=self._system, request=str(request), next_step=next_step)


class _Attempts(Generic[Answer]):
    """One call of `Transport.call` while it is tried: whether it was sent, and how long it may go on."""

    def __init__(self, transport: Transport, request: Request, decode: Callable[[Reply], Answer]) -> None:
        self._transport = transport
        self._request = request
        self._decode = decode
        self._started = time.monotonic()
        self._is_sent = False

    def once(self) -> Answer:
        """Send with the token at hand; where that is refused, once more with a new one. Raises: ApiError."""
        for is_renewed in (False, True):
            self._is_sent = False
            token = self._transport.token()
            self._transport.spend(self._request)
            self._is_sent = True
            try:
                return self._decode(self._transport.send(self._request, token))
            except SignInRefused:
                if token is None or is_renewed:
                    raise
                self._transport.forget(token)
        raise AssertionError("the second round returns or raises")

    def wait_s(self, error: Exception) -> bool | float:
        """Whether to try again, or after how many seconds; false ends the retries with this error."""
        if not isinstance(error, _RETRIED) or not error.retry_helps:
            return False
        left_s = self._left_s(error)
        if error.retry_after_s is not None and error.retry_after_s > left_s:
            error.next_step = error.next_step or (
                f"It asks to wait {error.retry_after_s:,.0f} s, longer than the {self._transport.retry_limit_s:g} s of "
                "DYNSYNC_RETRY_LIMIT_S; start the next cycle after that, or let the sensor do it."
            )
            return False
        if self._may_do_harm(error):
            return False
        if error.retry_after_s is None:
            return left_s > 0
        return error.retry_after_s + random.uniform(0, 0.5)  # noqa: S311

    def _may_do_harm(self, error: Exception) -> bool:
        """Whether the request may have been applied, and must not be applied twice."""
        return self._is_sent and not self._request.is_repeatable and not isinstance(error, _NOT_APPLIED)

    def _left_s(self, error: Exception) -> float:
        limit_s = self._transport.retry_limit_s
        if isinstance(error, (Unreachable, AnswerUnreadable)):
            limit_s = min(limit_s, SHORT_RETRY_LIMIT_S)
        return limit_s - (time.monotonic() - self._started)


def _announce(details: stamina.instrumentation.RetryDetails) -> None:
    """Say that a request will be sent again, before the wait. Replaces stamina's own hook, which prints to stdout."""
    error = details.caused_by
    request = error.request if isinstance(error, ApiError) else ""
    _log.warning("%s: %s Trying again in %.1f s.", request, error, details.wait_for)


def _http_client(settings: Settings) -> httpx.AsyncClient:
    """A client with our certificates and limits, and the proxies of the environment. Raises: SettingsWrong."""
    timeout = httpx.Timeout(settings.request_timeout_s, connect=min(LONGEST_CONNECT_S, settings.request_timeout_s))
    verify = trust(settings)
    try:
        return httpx.AsyncClient(
            verify=verify,
            timeout=timeout,
            headers={"User-Agent": f"dynsync/{__version__}"},
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
            follow_redirects=False,
            mounts=dict.fromkeys(LOOPBACK),  # None: no proxy leads back to this machine
        )
    except (ImportError, ValueError, httpx.InvalidURL):
        raise SettingsWrong(
            "The proxy that HTTPS_PROXY, HTTP_PROXY or ALL_PROXY names cannot be used, or NO_PROXY holds what is no host.",
            next_step="Give a proxy as http://HOST:PORT (SOCKS is not supported) and NO_PROXY as HOST,HOST, or unset them.",
        ) from None
