"""Signing in to Dataverse by secret, certificate, or user name and password, with MSAL.

Not here: what Dataverse says of a token afterwards (`refusals.py`), reading the certificate (`certificate.py`).
Source: docs/protocols/dataverse.md#sign-in.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode, urlsplit

import msal
from msal.exceptions import MsalServiceError

from dynsync_pipeline.clients.dynamics.protocol import SYSTEM
from dynsync_pipeline.clients.transport import Reply, Request, Transport, redacted
from dynsync_pipeline.errors import AnswerUnreadable, ApiError, RateLimited, ServerFailed, SettingsWrong, SignInRefused
from dynsync_pipeline.settings import Settings

_REQUEST = "sign-in to Dynamics"
_SECRET = "Check DYNSYNC_DYNAMICS_CLIENT_SECRET: the secret's value, not its id."  # noqa: S105 a sentence
_CERTIFICATE = (
    "Upload the certificate of DYNSYNC_DYNAMICS_CERTIFICATE_FILE to the app registration, or give the right one."
)
_USER = "Check DYNSYNC_DYNAMICS_USERNAME and DYNSYNC_DYNAMICS_PASSWORD."
_MFA = (
    "A user who must confirm the sign-in cannot run unattended: use DYNSYNC_DYNAMICS_CLIENT_SECRET or "
    "DYNSYNC_DYNAMICS_CERTIFICATE_FILE instead of DYNSYNC_DYNAMICS_USERNAME."
)
_TENANT = "Check DYNSYNC_DYNAMICS_TENANT_ID and DYNSYNC_DYNAMICS_AUTHORITY."
# Number of the cause: what happened, what to do. Entra asks to branch on `error`, but only these tell causes apart.
_CAUSES: Mapping[int, tuple[str, str]] = {
    7000215: ("the client secret is wrong", _SECRET),
    7000222: ("the client secret has expired", "Make a new one and set DYNSYNC_DYNAMICS_CLIENT_SECRET."),
    700027: ("the certificate is not one of the app registration", _CERTIFICATE),
    7000218: (
        "the app registration demands a secret or certificate",
        "Set DYNSYNC_DYNAMICS_CLIENT_SECRET or DYNSYNC_DYNAMICS_CERTIFICATE_FILE, or allow public client flows.",
    ),
    700016: (
        "the client id is unknown in this tenant",
        "Check DYNSYNC_DYNAMICS_CLIENT_ID and DYNSYNC_DYNAMICS_TENANT_ID.",
    ),
    90002: ("the tenant is unknown", _TENANT),
    900023: ("the tenant is unknown", _TENANT),
    500011: ("the environment is unknown in this tenant", "Check DYNSYNC_DYNAMICS_URL and DYNSYNC_DYNAMICS_TENANT_ID."),
    70011: ("the environment's address is not accepted as a scope", "Check DYNSYNC_DYNAMICS_URL."),
    50126: ("user name or password is wrong", _USER),
    50034: ("the user does not exist in this tenant", _USER),
    50053: ("the user is locked", "Unlock the user of DYNSYNC_DYNAMICS_USERNAME, or wait."),
    50055: ("the password has expired", "Renew it and set DYNSYNC_DYNAMICS_PASSWORD."),
    50057: ("the user is disabled", "Enable the user of DYNSYNC_DYNAMICS_USERNAME."),
    50076: ("the user must confirm the sign-in (multi-factor)", _MFA),
    50079: ("the user must set up multi-factor confirmation", _MFA),
    53003: ("a conditional access policy blocks the sign-in", _MFA),
    65001: ("nobody has consented to the app's access", "Grant admin consent to the app registration in Entra."),
}


class DynamicsTokens:
    """The bearer tokens of the sync's user. Shared by threads; the first use signs in."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._authority = f"{settings.dynamics_authority}/{settings.dynamics_tenant_id}"
        if not self._authority.startswith("https://"):
            raise SettingsWrong(
                "DYNSYNC_DYNAMICS_AUTHORITY is not an https:// address; MSAL signs in over TLS only.",
                next_step="Use the https:// address; an emulator's certificate authority goes into DYNSYNC_CA_FILE.",
            )
        self._credential = _credential(settings)
        self._http = _MsalHttp(Transport(SYSTEM, settings.dynamics_authority, settings), settings.dynamics_authority)
        self._app: Any = None  # made at first use, because making it sends a request
        self._token = ""
        self._lock = threading.Lock()

    def close(self) -> None:
        """End all connections."""
        self._http.close()

    def current(self) -> str:
        """A valid token, kept or new.

        Raises: SignInRefused, Unreachable, TimedOut, RateLimited, ServerFailed.
        """
        with self._lock:
            try:
                answer = self._user_answer() if self._settings.dynamics_username else self._app_answer()
            except MsalServiceError:
                raise ServerFailed("The sign-in service failed.", system=SYSTEM, request=_REQUEST) from None
            except ValueError:
                raise self._unreadable() from None
            if "access_token" in answer:
                self._token = str(answer["access_token"])
                return self._token
            raise sign_in_refusal(answer, self._http.last_status, self._http.last_retry_after_s)

    def forget(self, token: str) -> None:
        """Drop a token that Dataverse refused, so that the next one is new."""
        with self._lock:
            if token != self._token:  # another thread has renewed it already
                return
            if self._settings.dynamics_username:
                for account in self._app.get_accounts():
                    self._app.remove_account(account)
            else:
                self._app.remove_tokens_for_client()

    def _app_answer(self) -> dict[str, Any]:
        if self._app is None:
            self._app = self._made(msal.ConfidentialClientApplication, client_credential=self._credential)
        answer: dict[str, Any] = self._app.acquire_token_for_client([f"{self._settings.dynamics_url}/.default"])
        return answer

    def _user_answer(self) -> dict[str, Any]:
        if self._app is None:
            self._app = self._made(msal.PublicClientApplication)
        scopes = [f"{self._settings.dynamics_url}/.default"]
        for account in self._app.get_accounts():  # one at most; its name may be spelt otherwise than ours
            kept: dict[str, Any] | None = self._app.acquire_token_silent(scopes, account)
            if kept:
                return kept
        password = self._settings.dynamics_password
        with warnings.catch_warnings():  # MSAL warns that this way of signing in is old; the user chose it
            warnings.simplefilter("ignore", DeprecationWarning)
            answer: dict[str, Any] = self._app.acquire_token_by_username_password(
                self._settings.dynamics_username, password.get_secret_value() if password else "", scopes
            )
        return answer

    def _unreadable(self) -> AnswerUnreadable:
        return AnswerUnreadable(
            f"{self._settings.dynamics_authority} does not answer like a sign-in service.",
            system=SYSTEM,
            request=_REQUEST,
            next_step="Check DYNSYNC_DYNAMICS_AUTHORITY, and whether a proxy answers instead.",
        )

    def _made(self, kind: Any, **credential: Any) -> Any:
        try:
            return kind(
                self._settings.dynamics_client_id,
                authority=self._authority,
                # MSAL would ask Microsoft's cloud whether it knows the host; only hosts the user named are asked.
                instance_discovery=False,
                http_client=self._http,
                **credential,
            )
        except (ValueError, KeyError):  # the discovery document is refused or is none
            if self._http.last_status == 200:
                raise self._unreadable() from None
            if self._http.last_status == 429:
                raise sign_in_refusal({}, 429, self._http.last_retry_after_s) from None
            raise SignInRefused(
                f"{self._settings.dynamics_authority} does not know the tenant {self._settings.dynamics_tenant_id!r}.",
                system=SYSTEM,
                request=_REQUEST,
                status=self._http.last_status,
                next_step=_TENANT,
            ) from None


def sign_in_refusal(answer: Mapping[str, Any], status: int | None, retry_after_s: float | None = None) -> ApiError:
    """The error behind an answer of MSAL without a token, to an answer of the service with this status and this wait."""
    numbers = [number for number in answer.get("error_codes") or [] if isinstance(number, int)]
    cause = next(filter(None, map(_CAUSES.get, numbers)), None)
    code = f"AADSTS{numbers[0]}" if numbers else str(answer.get("error", ""))
    if status == 429:
        return RateLimited(
            "The sign-in service asks to slow down.",
            system=SYSTEM,
            request=_REQUEST,
            status=status,
            retry_after_s=retry_after_s,
        )
    said, next_step = cause or (_said(answer), "Check the DYNSYNC_DYNAMICS_ settings.")
    return SignInRefused(
        f"Dynamics sign-in refused: {said} ({code}).",
        system=SYSTEM,
        request=_REQUEST,
        code=code,
        status=status,
        next_step=next_step,
    )


def _said(answer: Mapping[str, Any]) -> str:
    said = answer.get("error_description") or answer.get("error") or "no reason given"
    return redacted(str(said), longest=200)


def _credential(settings: Settings) -> str | dict[str, str] | None:
    """What MSAL takes as proof: the secret, or key and certificate as text; None for a user. Raises: SettingsWrong."""
    if settings.dynamics_client_secret is not None:
        return settings.dynamics_client_secret.get_secret_value()
    if settings.dynamics_certificate_file is None:
        return None
    # What reads certificates takes as long to load as MSAL itself.
    from dynsync_pipeline.clients.dynamics.certificate import read_certificate

    return read_certificate(settings.dynamics_certificate_file, settings.dynamics_certificate_passphrase)


class _MsalAnswer:
    """A reply in the shape MSAL expects."""

    def __init__(self, reply: Reply) -> None:
        self.status_code = reply.status
        self.headers = reply.headers
        self.text = reply.body.decode("utf-8", "replace")


class _MsalHttp:
    """Lets MSAL use our transport, and puts back the port that its user-realm call loses.

    Forms are encoded here, because MSAL gives assertions as bytes, of which httpx would send the Python text.
    """

    def __init__(self, transport: Transport, authority: str) -> None:
        self._transport = transport
        self._authority = urlsplit(authority)
        self.last_status: int | None = None
        self.last_retry_after_s: float | None = None

    def get(self, url: str, *, params: Mapping[str, str] | None = None, headers: Any = None, **_: Any) -> _MsalAnswer:
        parts = urlsplit(url)
        if parts.hostname == self._authority.hostname and parts.port is None:
            url = parts._replace(netloc=self._authority.netloc).geturl()
        return self._send("GET", f"{url}?{urlencode(params)}" if params else url, headers, None)

    def post(self, url: str, *, data: Mapping[str, Any] | None = None, headers: Any = None, **_: Any) -> _MsalAnswer:
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        return self._send("POST", url, {**(headers or {}), **form}, urlencode(data or {}).encode())

    def close(self) -> None:
        self._transport.close()

    def _send(self, method: str, url: str, headers: Mapping[str, Any] | None, body: bytes | None) -> _MsalAnswer:
        known = {name: str(value) for name, value in (headers or {}).items() if value is not None}
        reply = self._transport.send(Request(method, url, known, body, only_reads=True))
        self.last_status, self.last_retry_after_s = reply.status, reply.retry_after_s
        return _MsalAnswer(reply)
