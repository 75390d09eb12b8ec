"""Signing in with real MSAL against a TLS server that answers as Entra does, and the sentence for each refusal."""

from __future__ import annotations

import base64
import json
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from dynsync_pipeline import errors
from dynsync_pipeline.clients.dynamics.auth import DynamicsTokens, sign_in_refusal
from dynsync_pipeline.settings import Settings
from dynsync_pipeline_tests.clients.servers import Canned, LocalServer, Seen, canned_json, serving

MakeSettings = Callable[..., Settings]
TENANT = "11111111-1111-1111-1111-111111111111"


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def tokens_in_turn(request: Seen, n_earlier: int) -> Canned:
    """A sign-in service that accepts everything: `token-N`, N the number of the request."""
    host = request.headers["host"]
    if "openid-configuration" in request.path:
        base = f"https://{host}/{TENANT}"
        return canned_json(
            {
                "issuer": f"{base}/v2.0",
                "authorization_endpoint": f"{base}/oauth2/v2.0/authorize",
                "token_endpoint": f"{base}/oauth2/v2.0/token",
            }
        )
    if "userrealm" in request.path:
        return canned_json({"ver": "1.0", "account_type": "Managed"})
    answer: dict[str, object] = {
        "token_type": "Bearer",
        "expires_in": 3599,
        "access_token": f"token-{n_earlier}",
    }
    if b"grant_type=client_credentials" not in request.body:
        claims = {"aud": "22222222-2222-2222-2222-222222222222", "iss": "i", "sub": "s", "preferred_username": "Sync"}
        answer["client_info"] = _part({"uid": "u", "utid": "t"})
        answer["id_token"] = f"{_part({'alg': 'none'})}.{_part({**claims, 'exp': 99999999999, 'iat': 0})}."
    return canned_json(answer)


def _part(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


@contextmanager
def signing_in(
    authority: trustme.CA,
    make_settings: MakeSettings,
    tmp_path: Path,
    answer: Callable[[Seen, int], Canned] = tokens_in_turn,
    **given: Any,
) -> Iterator[tuple[DynamicsTokens, LocalServer]]:
    """Tokens of a service that answers like this, with the settings given (a secret, if no other way is)."""
    trust = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(trust)
    ca_file = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(ca_file))
    if not {"dynamics_certificate_file", "dynamics_username"} & given.keys():
        given["dynamics_client_secret"] = "s3cret&=+"
    with serving(answer, trust=trust) as server:
        tokens = DynamicsTokens(make_settings(dynamics_authority=server.url, ca_file=ca_file, **given))
        try:
            yield tokens, server
        finally:
            tokens.close()


def certificate_file(folder: Path, *, passphrase: bytes | None = None, name: str = "client.pem") -> Path:
    """A self-signed certificate with its RSA key in one PEM file."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return _pem_file(folder / name, key, passphrase)


def _pem_file(path: Path, key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey, passphrase: bytes | None) -> Path:
    from datetime import UTC, datetime, timedelta

    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "dynsync")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(datetime.now(UTC))
        .not_valid_after(datetime.now(UTC) + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    locked = serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption()
    path.write_bytes(
        certificate.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, locked)
    )
    return path


def forms(server: LocalServer) -> list[dict[str, str]]:
    """The token requests that arrived."""
    posts = [request for request in server.requests if request.verb == "POST"]
    return [{name: values[0] for name, values in parse_qs(request.body.decode()).items()} for request in posts]


def test_a_secret_is_exchanged_for_a_token_that_is_kept(
    authority: trustme.CA, make_settings: MakeSettings, tmp_path: Path
) -> None:
    with signing_in(authority, make_settings, tmp_path) as (tokens, server):
        assert tokens.current() == tokens.current() == "token-1"
        (form,) = forms(server)
    assert form["client_secret"] == "s3cret&=+"
    assert form["scope"] == "https://org.example.com/.default"
    assert form["grant_type"] == "client_credentials"


def test_a_token_that_was_refused_is_replaced_once_for_all_threads(
    authority: trustme.CA, make_settings: MakeSettings, tmp_path: Path
) -> None:
    with signing_in(authority, make_settings, tmp_path) as (tokens, _):
        first = tokens.current()
        tokens.forget(first)
        second = tokens.current()
        tokens.forget(first)  # another thread, late
        assert (first, second, tokens.current()) == ("token-1", "token-2", "token-2")


@pytest.mark.parametrize("passphrase", [None, b"open sesame"])
def test_a_certificate_signs_an_assertion_that_its_public_key_verifies(
    authority: trustme.CA, make_settings: MakeSettings, tmp_path: Path, passphrase: bytes | None
) -> None:
    file = certificate_file(tmp_path, passphrase=passphrase)
    given: dict[str, Any] = {"dynamics_certificate_file": file}
    if passphrase:
        given["dynamics_certificate_passphrase"] = passphrase.decode()
    with signing_in(authority, make_settings, tmp_path, **given) as (tokens, server):
        tokens.current()
        (form,) = forms(server)
    head, claims, signature = form["client_assertion"].split(".")
    public_key = x509.load_pem_x509_certificate(file.read_bytes()).public_key()
    assert isinstance(public_key, rsa.RSAPublicKey)
    pss = padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.DIGEST_LENGTH)
    public_key.verify(_bytes(signature), f"{head}.{claims}".encode(), pss, hashes.SHA256())
    assert json.loads(_bytes(claims))["iss"] == "22222222-2222-2222-2222-222222222222"
    assert "client_secret" not in form


def _bytes(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def test_user_name_and_password_sign_in_on_a_port_of_their_own_and_are_renewed_silently(
    authority: trustme.CA, make_settings: MakeSettings, tmp_path: Path
) -> None:
    given: dict[str, Any] = {"dynamics_username": "sync@org.example.com", "dynamics_password": "pa&ss"}
    with signing_in(authority, make_settings, tmp_path, **given) as (tokens, server):
        first = tokens.current()
        assert tokens.current() == first
        tokens.forget(first)
        assert tokens.current() != first
        paths = [request.path for request in server.requests]
        found = forms(server)
    assert any(path.startswith("/common/userrealm/sync@org.example.com") for path in paths)
    assert (found[0]["grant_type"], found[0]["password"]) == ("password", "pa&ss")


def test_no_host_but_the_authority_is_ever_asked(
    authority: trustme.CA, make_settings: MakeSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(request: Seen, n_earlier: int) -> Canned:
        if request.verb == "POST":
            return canned_json({"error": "invalid_client", "error_codes": [7000215]}, 401)
        return tokens_in_turn(request, n_earlier)

    asked: list[object] = []
    from dynsync_pipeline.clients.transport import Request, Transport

    send = Transport.send

    def watched(self: Transport, request: Request, token: str | None = None) -> object:
        asked.append(request.url.split("/")[2])
        return send(self, request, token)

    monkeypatch.setattr(Transport, "send", watched)
    with signing_in(authority, make_settings, tmp_path, refuse) as (tokens, server):
        for _ in range(2):
            with pytest.raises(errors.SignInRefused):
                tokens.current()
        assert set(asked) == {server.url.removeprefix("https://")}


@pytest.mark.parametrize(
    ("number", "kind", "setting"),
    [
        (7000215, "secret is wrong", "DYNSYNC_DYNAMICS_CLIENT_SECRET"),
        (7000222, "secret has expired", "DYNSYNC_DYNAMICS_CLIENT_SECRET"),
        (700027, "certificate", "DYNSYNC_DYNAMICS_CERTIFICATE_FILE"),
        (7000218, "demands a secret", "DYNSYNC_DYNAMICS_CLIENT_SECRET"),
        (700016, "client id is unknown", "DYNSYNC_DYNAMICS_CLIENT_ID"),
        (90002, "tenant is unknown", "DYNSYNC_DYNAMICS_TENANT_ID"),
        (500011, "environment is unknown", "DYNSYNC_DYNAMICS_URL"),
        (70011, "scope", "DYNSYNC_DYNAMICS_URL"),
        (50126, "password is wrong", "DYNSYNC_DYNAMICS_PASSWORD"),
        (50034, "user does not exist", "DYNSYNC_DYNAMICS_USERNAME"),
        (50055, "password has expired", "DYNSYNC_DYNAMICS_PASSWORD"),
        (50076, "multi-factor", "DYNSYNC_DYNAMICS_CERTIFICATE_FILE"),
        (53003, "conditional access", "DYNSYNC_DYNAMICS_CERTIFICATE_FILE"),
    ],
)
def test_each_cause_has_a_sentence_and_names_the_setting(number: int, kind: str, setting: str) -> None:
    error = sign_in_refusal({"error": "x", "error_codes": [number], "error_description": "for ada@example.com"}, 401)
    assert type(error) is errors.SignInRefused
    assert kind in error.message
    assert setting in error.next_step
    assert error.code == f"AADSTS{number}"


def test_an_unknown_cause_is_shown_without_personal_data() -> None:
    error = sign_in_refusal(
        {"error": "invalid_grant", "error_codes": [1], "error_description": "AADSTS1: no ada@example.com"}, 400
    )
    assert "AADSTS1: no …" in error.message


def test_a_refused_sign_in_is_an_error_with_its_code(
    authority: trustme.CA, make_settings: MakeSettings, tmp_path: Path
) -> None:
    def refuse(request: Seen, n_earlier: int) -> Canned:
        if request.verb == "POST":
            return canned_json({"error": "invalid_client", "error_codes": [7000222], "error_description": "x"}, 401)
        return tokens_in_turn(request, n_earlier)

    with (
        signing_in(authority, make_settings, tmp_path, refuse) as (tokens, _),
        pytest.raises(errors.SignInRefused, match="has expired") as raised,
    ):
        tokens.current()
    assert "s3cret" not in str(raised.value)


@pytest.mark.parametrize(
    ("discovery", "kind"),
    [
        (canned_json({"error": "invalid_tenant"}, 400), errors.SignInRefused),
        (Canned(200, b"<html>"), errors.AnswerUnreadable),
        (Canned(200, b"{}"), errors.AnswerUnreadable),
        (Canned(503, b""), errors.ServerFailed),
        (Canned(429, b"", {"Retry-After": "600"}), errors.RateLimited),
        (Canned(stop_after_bytes=0), errors.TimedOut),
    ],
)
def test_what_can_go_wrong_with_discovery_is_told_apart(
    authority: trustme.CA, make_settings: MakeSettings, tmp_path: Path, discovery: Canned, kind: type[errors.ApiError]
) -> None:
    with (
        signing_in(authority, make_settings, tmp_path, lambda *_: discovery) as (tokens, _),
        pytest.raises(errors.ApiError) as raised,
    ):
        tokens.current()
    assert type(raised.value) is kind
    if kind is errors.RateLimited:
        assert raised.value.retry_after_s == 600
    if kind is errors.SignInRefused:
        assert "DYNSYNC_DYNAMICS_TENANT_ID" in raised.value.next_step


@pytest.mark.parametrize(
    ("answer", "kind"), [(Canned(500, b""), errors.ServerFailed), (Canned(200, b"<html>"), errors.AnswerUnreadable)]
)
def test_a_token_endpoint_that_fails_or_lies_is_told_apart(
    authority: trustme.CA, make_settings: MakeSettings, tmp_path: Path, answer: Canned, kind: type[errors.ApiError]
) -> None:
    def failing(request: Seen, n_earlier: int) -> Canned:
        return answer if request.verb == "POST" else tokens_in_turn(request, n_earlier)

    with signing_in(authority, make_settings, tmp_path, failing) as (tokens, _), pytest.raises(kind):
        tokens.current()


def test_a_certificate_file_that_is_missing_is_a_sentence(make_settings: MakeSettings, tmp_path: Path) -> None:
    with pytest.raises(errors.SettingsWrong, match=r"DYNSYNC_DYNAMICS_CERTIFICATE_FILE.*no such file"):
        DynamicsTokens(make_settings(dynamics_certificate_file=tmp_path / "none.pem"))


def test_a_certificate_file_without_what_it_needs_is_a_sentence(make_settings: MakeSettings, tmp_path: Path) -> None:
    garbage = tmp_path / "garbage.pem"
    garbage.write_bytes(b"\xff no pem")
    only_key = certificate_file(tmp_path, name="key.pem")
    only_key.write_bytes(only_key.read_bytes().partition(b"-----END CERTIFICATE-----\n")[2])
    locked = certificate_file(tmp_path, passphrase=b"right", name="locked.pem")
    for given in (
        {"dynamics_certificate_file": garbage},
        {"dynamics_certificate_file": only_key},
        {"dynamics_certificate_file": locked},
        {"dynamics_certificate_file": locked, "dynamics_certificate_passphrase": "wrong"},
        {"dynamics_certificate_file": certificate_file(tmp_path), "dynamics_certificate_passphrase": "needless"},
    ):
        with pytest.raises(errors.SettingsWrong, match="DYNSYNC_DYNAMICS_CERTIFICATE_FILE") as raised:
            DynamicsTokens(make_settings(**given))
        assert "wrong" not in str(raised.value)


def test_a_key_that_is_not_rsa_is_a_sentence(make_settings: MakeSettings, tmp_path: Path) -> None:
    file = _pem_file(tmp_path / "ec.pem", ec.generate_private_key(ec.SECP256R1()), None)
    with pytest.raises(errors.SettingsWrong, match="not RSA"):
        DynamicsTokens(make_settings(dynamics_certificate_file=file))


def test_an_authority_without_tls_is_refused_before_anything_is_sent(make_settings: MakeSettings) -> None:
    with pytest.raises(errors.SettingsWrong, match="DYNSYNC_DYNAMICS_AUTHORITY"):
        DynamicsTokens(make_settings(dynamics_authority="http://127.0.0.1:1", dynamics_client_secret="x"))
