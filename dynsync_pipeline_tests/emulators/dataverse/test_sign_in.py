"""Sign-in: the real MSAL against the emulator's identity provider over TLS."""

from __future__ import annotations

import base64
import ssl
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus

import httpx
import msal
import pytest
from cryptography.hazmat.primitives import hashes

from dynsync_pipeline.emulators.dataverse.certificate import load_certificate, new_client_pem
from dynsync_pipeline.emulators.running import Emulators


class MsalHttp:
    """httpx as MSAL's client: assertions decoded, and the port put back on the user-realm call."""

    def __init__(self, http: httpx.Client, port: int) -> None:
        self.http = http
        self.port = port
        self.asked: list[str] = []

    def post(
        self, url: str, *, data: dict[str, Any], headers: dict[str, str] | None = None, **_: Any
    ) -> httpx.Response:
        self.asked.append(url)
        plain = {name: value.decode() if isinstance(value, bytes) else value for name, value in data.items()}
        return self.http.post(url, data=plain, headers=headers)

    def get(self, url: str, *, params: dict[str, str] | None = None, **_: Any) -> httpx.Response:
        url = url.replace("https://127.0.0.1/", f"https://127.0.0.1:{self.port}/")
        self.asked.append(url)
        return self.http.get(url, params=params)

    def close(self) -> None:
        self.http.close()


@pytest.fixture(scope="module")
def emulators(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulators]:
    with Emulators(tmp_path_factory.mktemp("state")) as running:
        yield running


@pytest.fixture
def http(emulators: Emulators) -> Iterator[MsalHttp]:
    context = ssl.create_default_context(cafile=emulators.environment["DYNSYNC_CA_FILE"])
    client = MsalHttp(httpx.Client(verify=context), emulators.dataverse_server.port)
    yield client
    client.close()


def app(emulators: Emulators, http: MsalHttp, credential: Any, **more: Any) -> msal.ConfidentialClientApplication:
    env = emulators.environment
    tenant = more.pop("tenant", env["DYNSYNC_DYNAMICS_TENANT_ID"])
    return msal.ConfidentialClientApplication(
        more.pop("client_id", env["DYNSYNC_DYNAMICS_CLIENT_ID"]),
        client_credential=credential,
        authority=f"{env['DYNSYNC_DYNAMICS_AUTHORITY']}/{tenant}",
        instance_discovery=False,
        http_client=http,
    )


def scope(emulators: Emulators) -> list[str]:
    return [f"{emulators.environment['DYNSYNC_DYNAMICS_URL']}/.default"]


def who_am_i(emulators: Emulators, http: MsalHttp, token: str) -> httpx.Response:
    url = f"{emulators.environment['DYNSYNC_DYNAMICS_URL']}/api/data/v9.2/WhoAmI"
    return http.http.get(url, headers={"Authorization": f"Bearer {token}"})


def certificate_credential(pem: str) -> dict[str, str]:
    return {"private_key": pem, "thumbprint": load_certificate(pem).fingerprint(hashes.SHA1()).hex()}


def test_a_client_secret_signs_in_as_the_application_user(emulators: Emulators, http: MsalHttp) -> None:
    secret = emulators.environment["DYNSYNC_DYNAMICS_CLIENT_SECRET"]
    answer = app(emulators, http, secret).acquire_token_for_client(scope(emulators))
    me = who_am_i(emulators, http, answer["access_token"])
    assert me.json()["UserId"] == emulators.dataverse.sync_user_id
    assert answer["expires_in"] > 300


def test_a_wrong_secret_is_a_401_that_msal_does_not_replay(emulators: Emulators, http: MsalHttp) -> None:
    signing_in = app(emulators, http, "wrong")
    for _ in range(2):
        answer = signing_in.acquire_token_for_client(scope(emulators))
        assert (answer["error"], answer["error_codes"]) == ("invalid_client", [7000215])
    assert len([url for url in http.asked if url.endswith("/token")]) == 2


@pytest.mark.parametrize("style", ["thumbprint", "thumbprint and certificate", "certificate alone"])
def test_a_certificate_signs_in_in_every_style_of_msal(emulators: Emulators, http: MsalHttp, style: str) -> None:
    pem = emulators.certificate_file.read_text()
    credential = {**certificate_credential(pem), "public_certificate": pem[pem.index("-----BEGIN CERT") :]}
    if style == "thumbprint":
        del credential["public_certificate"]
    elif style == "certificate alone":
        del credential["thumbprint"]
    answer = app(emulators, http, credential).acquire_token_for_client(scope(emulators))
    assert who_am_i(emulators, http, answer["access_token"]).json()["UserId"] == emulators.dataverse.sync_user_id


def test_a_certificate_that_is_not_registered_is_refused(emulators: Emulators, http: MsalHttp) -> None:
    stranger = new_client_pem()
    answer = app(emulators, http, certificate_credential(stranger)).acquire_token_for_client(scope(emulators))
    assert (answer["error"], answer["error_codes"]) == ("invalid_client", [700027])


def test_a_foreign_key_under_the_right_thumbprint_is_refused(emulators: Emulators, http: MsalHttp) -> None:
    """The signature is verified, not only the thumbprint in the header."""
    right = certificate_credential(emulators.certificate_file.read_text())
    forged = {**right, "private_key": new_client_pem()}
    answer = app(emulators, http, forged).acquire_token_for_client(scope(emulators))
    assert answer["error_codes"] == [700027]


def test_user_name_and_password_sign_in_as_that_user_and_renew_silently(emulators: Emulators, http: MsalHttp) -> None:
    env = emulators.environment
    public = msal.PublicClientApplication(
        env["DYNSYNC_DYNAMICS_CLIENT_ID"],
        authority=f"{env['DYNSYNC_DYNAMICS_AUTHORITY']}/{env['DYNSYNC_DYNAMICS_TENANT_ID']}",
        instance_discovery=False,
        http_client=http,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        answer = public.acquire_token_by_username_password(emulators.username, emulators.password, scope(emulators))
        refused = public.acquire_token_by_username_password(emulators.username, "wrong", scope(emulators))
    assert who_am_i(emulators, http, answer["access_token"]).json()["UserId"] == emulators.dataverse.password_user_id
    assert (refused["error"], refused["error_codes"]) == ("invalid_grant", [50126])
    assert any("/common/userrealm/" in url for url in http.asked)
    (account,) = public.get_accounts()
    assert account["username"] == emulators.username
    assert public.acquire_token_silent(scope(emulators), account, force_refresh=True)["access_token"]


def test_an_unknown_tenant_fails_at_discovery(emulators: Emulators, http: MsalHttp) -> None:
    with pytest.raises(ValueError, match="tenant"):
        app(emulators, http, "x", tenant="00000000-0000-0000-0000-000000000000")


def test_an_unknown_app_resource_or_grant_is_named_by_its_aadsts_number(emulators: Emulators, http: MsalHttp) -> None:
    env = emulators.environment
    form = {
        "client_id": env["DYNSYNC_DYNAMICS_CLIENT_ID"],
        "client_secret": env["DYNSYNC_DYNAMICS_CLIENT_SECRET"],
        "grant_type": "client_credentials",
        "scope": f"{env['DYNSYNC_DYNAMICS_URL']}/.default",
    }
    for change, status, number in (
        ({"client_id": "nobody"}, 400, 700016),
        ({"scope": "https://elsewhere.crm.dynamics.com/.default"}, 400, 500011),
        ({"scope": "nonsense"}, 400, 70011),
        ({"client_secret": None}, 401, 7000218),
        ({"grant_type": "dance"}, 400, 70003),
    ):
        sent = {name: value for name, value in {**form, **change}.items() if value is not None}
        answer = http.http.post(env["DATAVERSE_TOKEN_URL"], data=sent)
        assert (answer.status_code, answer.json()["error_codes"]) == (status, [number])
        assert f"AADSTS{number}: " in answer.json()["error_description"]


def test_a_valid_token_of_an_app_that_is_no_user_is_403(emulators: Emulators, http: MsalHttp) -> None:
    stranger = emulators.dataverse.stranger_client_id
    answer = app(emulators, http, emulators.dataverse.client_secret, client_id=stranger).acquire_token_for_client(
        scope(emulators)
    )
    refused = who_am_i(emulators, http, answer["access_token"])
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "0x80072560")


def test_expired_tokens_are_401_and_the_salespersons_goes_on(emulators: Emulators, http: MsalHttp) -> None:
    token = emulators.dataverse.new_token(emulators.dataverse.sync_user_id)
    emulators.dataverse.expire_tokens()
    refused = who_am_i(emulators, http, token)
    assert refused.status_code == 401
    assert refused.headers["WWW-Authenticate"].startswith("Bearer authorization_uri=https://127.0.0.1:")
    assert who_am_i(emulators, http, emulators.environment["DATAVERSE_TOKEN"]).status_code == 200


def test_the_emulators_certificate_is_not_trusted_without_its_authority(emulators: Emulators) -> None:
    with httpx.Client() as stranger, pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
        stranger.get(emulators.dataverse_url)


def test_secrets_stand_only_in_files_that_others_cannot_read(emulators: Emulators) -> None:
    for path in (Path(emulators.state_dir, name) for name in ("emulator.env", "client.pem", "server.pem")):
        assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("secret", "status", "number"),
    [(None, 200, None), ("wrong", 401, 7000215), ("", 401, 7000215), ("no base64", 400, 700016)],
)
def test_id_and_secret_may_stand_in_a_header_as_oauth_libraries_send_them(
    emulators: Emulators, http: MsalHttp, secret: str | None, status: int, number: int | None
) -> None:
    env = emulators.environment
    given = env["DYNSYNC_DYNAMICS_CLIENT_SECRET"] if secret is None else secret
    pair = f"{quote_plus(env['DYNSYNC_DYNAMICS_CLIENT_ID'])}:{quote_plus(given)}"
    header = "!" if secret == "no base64" else base64.b64encode(pair.encode()).decode()
    answer = http.http.post(
        f"{env['DYNSYNC_DYNAMICS_AUTHORITY']}/{env['DYNSYNC_DYNAMICS_TENANT_ID']}/oauth2/v2.0/token",
        data={"grant_type": "client_credentials", "scope": scope(emulators)[0]},
        headers={"Authorization": f"basic {header}"},
    )
    assert answer.status_code == status, answer.text
    assert answer.json().get("error_codes", [None]) == [number]
    if number is None:
        assert who_am_i(emulators, http, answer.json()["access_token"]).status_code == 200
