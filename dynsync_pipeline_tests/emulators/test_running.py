"""Both emulators together: state that survives, settings that fit the pipeline, loopback alone."""

from __future__ import annotations

import ssl
from pathlib import Path

import httpx
import pytest
from dotenv import dotenv_values

from dynsync_pipeline.emulators.running import Emulators
from dynsync_pipeline.emulators.serving import Server
from dynsync_pipeline.settings import Settings
from dynsync_pipeline.settings_sources import load_settings


def sales(env: dict[str, str]) -> httpx.Client:
    context = ssl.create_default_context(cafile=env["DYNSYNC_CA_FILE"])
    headers = {"Authorization": f"Bearer {env['DATAVERSE_TOKEN']}"}
    return httpx.Client(base_url=f"{env['DATAVERSE_URL']}/api/data/v9.2/", headers=headers, verify=context)


def counts(http: httpx.Client) -> dict[str, int]:
    url = "RetrieveTotalRecordCount(EntityNames=['account','contact','lead'])"
    found = http.get(url).json()["EntityRecordCountCollection"]
    return dict(zip(found["Keys"], found["Values"], strict=True))


def test_a_restart_keeps_rows_ports_credentials_and_authority(tmp_path: Path) -> None:
    with Emulators(tmp_path, n_accounts=3, n_contacts=20, n_leads=10, n_people=5) as first:
        env = first.environment
        with sales(env) as http:
            assert counts(http) == {"account": 3, "contact": 20, "lead": 10}
            created = http.post("contacts", json={"lastname": "Kept"}).headers["OData-EntityId"]
            link = http.get("contacts?$select=lastname", headers={"Prefer": "odata.track-changes"}).json()
    with Emulators(tmp_path, n_accounts=3, n_contacts=20, n_leads=10, n_people=5) as second:
        assert second.environment == env
        with sales(env) as http:
            assert counts(http) == {"account": 3, "contact": 21, "lead": 10}
            assert http.get(created).json()["lastname"] == "Kept"
            assert http.get(link["@odata.deltaLink"]).json()["value"] == []


def test_the_same_seed_makes_the_same_rows(tmp_path: Path) -> None:
    def rows(name: str, seed: int) -> str:
        with (
            Emulators(tmp_path / name, n_accounts=2, n_contacts=5, seed=seed) as running,
            sales(running.environment) as http,
        ):
            return str(http.get("contacts?$select=fullname,emailaddress1,_parentcustomerid_value").json()["value"])

    assert rows("one", 1) == rows("again", 1)
    assert rows("two", 2) != rows("one", 1)


def test_the_env_file_holds_every_setting_the_pipeline_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(f"DYNSYNC_{name.upper()}", raising=False)
    with Emulators(tmp_path, time_scale=60) as running:
        path = tmp_path / "emulator.env"
        assert dotenv_values(path) == running.environment
        found = load_settings(path)
        found.require_systems()
        assert found.first_load == "create"
        assert found.marketo_poll_s == 1.0
        names = {f"DYNSYNC_{name.upper()}" for name in Settings.model_fields}
        assert {name for name in running.environment if name.startswith("DYNSYNC_")} <= names


def test_plain_http_serves_everything_and_the_pipelines_authority_stays_tls(tmp_path: Path) -> None:
    with Emulators(tmp_path, plain_http=True) as running:
        env = running.environment
        assert env["DYNSYNC_DYNAMICS_AUTHORITY"].startswith("https://")
        for name in ("DATAVERSE_URL", "DATAVERSE_TOKEN_URL", "MARKETO_URL", "DYNSYNC_DYNAMICS_URL"):
            assert env[name].startswith("http://127.0.0.1:")
        form = {
            "grant_type": "client_credentials",
            "client_id": env["DYNSYNC_DYNAMICS_CLIENT_ID"],
            "client_secret": env["DYNSYNC_DYNAMICS_CLIENT_SECRET"],
            "scope": f"{env['DATAVERSE_URL']}/.default",
        }
        token = httpx.post(env["DATAVERSE_TOKEN_URL"], data=form).json()["access_token"]
        me = httpx.get(f"{env['DATAVERSE_URL']}/api/data/v9.2/WhoAmI", headers={"Authorization": f"Bearer {token}"})
        assert me.json()["UserId"] == running.dataverse.sync_user_id


def test_faults_reach_both_emulators(tmp_path: Path) -> None:
    with Emulators(tmp_path, plain_http=True) as running:
        env = running.environment
        for url in (env["DATAVERSE_URL"], env["MARKETO_URL"]):
            assert httpx.post(f"{url}/emulator/faults", json={"status": 502, "code": "502"}).status_code == 200
            assert httpx.get(f"{url}/anything").status_code == 502
        assert httpx.get(f"{env['MARKETO_URL']}/rest/v1/leads.json").status_code == 200


def test_a_port_that_is_taken_is_an_error_if_asked_for_and_avoided_if_not(tmp_path: Path) -> None:
    with Emulators(tmp_path) as first:
        port = first.dataverse_server.port
        with pytest.raises(OSError, match="in use"):
            Emulators(tmp_path / "other", dataverse_port=port)
    with Emulators(tmp_path / "third") as occupying:
        (tmp_path / "ports.json").write_text(f'{{"dataverse": {occupying.dataverse_server.port}}}')
        with Emulators(tmp_path) as again:
            assert again.dataverse_server.port != occupying.dataverse_server.port


def test_only_loopback_is_served_unless_told_otherwise() -> None:
    async def app(scope: object, receive: object, send: object) -> None:
        raise AssertionError("not asked")

    for host in ("0.0.0.0", "192.0.2.1", "example.com", "::"):
        with pytest.raises(ValueError, match="Refusing to serve"):
            Server(app, host=host)
