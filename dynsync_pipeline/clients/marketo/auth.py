"""Tokens of Marketo's identity service. Not here: what the API says of a token (`refusals.py`).

Marketo gives the same token until it expires, so there is no renewing it early; identity calls cost nothing.
Source: docs/protocols/marketo.md#sign-in.
"""

from __future__ import annotations

import threading
import time
from urllib.parse import urlencode

import msgspec

from dynsync_pipeline.clients.marketo.protocol import SYSTEM
from dynsync_pipeline.clients.marketo.refusals import http_refusal
from dynsync_pipeline.clients.pieces import FAULTS
from dynsync_pipeline.clients.transport import Reply, Request, Transport, redacted
from dynsync_pipeline.errors import AnswerUnreadable, SignInRefused
from dynsync_pipeline.settings import Settings


class _Token(msgspec.Struct):
    access_token: str
    expires_in: float


class _Fault(msgspec.Struct):
    error: str
    error_description: str = ""


class MarketoTokens:
    """The bearer tokens of one custom service. Shared by threads; the first use signs in."""

    def __init__(self, settings: Settings) -> None:
        secret = settings.marketo_client_secret
        form = {
            "grant_type": "client_credentials",
            "client_id": settings.marketo_client_id,
            "client_secret": secret.get_secret_value() if secret else "",
        }
        # In the body, although the vendor's samples use the query: addresses end up in the logs of proxies.
        self._request = Request(
            "POST",
            f"{settings.marketo_url}/identity/oauth/token",
            {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"},
            urlencode(form).encode(),
            only_reads=True,
        )
        self._transport = Transport(SYSTEM, settings.marketo_url, settings)
        self._token = ""
        self._valid_until = 0.0  # on the monotonic clock
        self._lock = threading.Lock()

    def close(self) -> None:
        """End all connections."""
        self._transport.close()

    def current(self) -> str:
        """A valid token, kept or new.

        Raises: SignInRefused, Unreachable, TimedOut, RateLimited, ServerFailed, AnswerUnreadable.
        """
        with self._lock:
            if time.monotonic() >= self._valid_until:
                token = _token_of(self._transport.send(self._request), str(self._request))
                self._token = token.access_token
                self._valid_until = time.monotonic() + token.expires_in
            return self._token

    def forget(self, token: str) -> None:
        """Drop a token that the API refused, so that the next one is asked for."""
        with self._lock:
            if token == self._token:  # else another thread has renewed it already
                self._valid_until = 0.0


def _token_of(reply: Reply, request: str) -> _Token:
    if reply.status == 200:
        try:
            return msgspec.json.decode(reply.body, type=_Token)
        except FAULTS:
            raise AnswerUnreadable(
                "Marketo's identity service gave no token.",
                system=SYSTEM,
                request=request,
                next_step="Check DYNSYNC_MARKETO_URL.",
            ) from None
    try:
        fault = msgspec.json.decode(reply.body, type=_Fault)
    except FAULTS:
        refused = http_refusal(reply, request)
        if reply.status == 404:
            refused.next_step = "See whether DYNSYNC_MARKETO_URL is the address of Marketo: nobody signs in there."
        raise refused from None
    if reply.status >= 500:
        raise http_refusal(reply, request)
    raise SignInRefused(
        f"Marketo sign-in refused: {redacted(fault.error_description or fault.error, longest=200)}.",
        system=SYSTEM,
        request=request,
        code=redacted(fault.error, longest=50),
        status=reply.status,
        next_step="Check DYNSYNC_MARKETO_CLIENT_ID and DYNSYNC_MARKETO_CLIENT_SECRET (Admin, LaunchPoint).",
    )
