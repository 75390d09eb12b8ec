"""Faults on demand: each strikes whom it should, as often as it should, and does to the data what it says."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from dynsync_pipeline.emulators.dataverse.app import build_app
from dynsync_pipeline.emulators.dataverse.store import Store
from dynsync_pipeline.emulators.faults import Faults
from dynsync_pipeline.emulators.running import vendor_error_dataverse
from dynsync_pipeline_tests.emulators.conftest import Host


@pytest.fixture
def http(loopback_host: Host, tmp_path: Path) -> Iterator[httpx.Client]:
    store = Store(tmp_path / "dataverse.sqlite")
    loopback_host.app = Faults(build_app(store), vendor_error_dataverse)
    headers = {"Authorization": f"Bearer {store.new_token(store.sync_user_id)}"}
    with httpx.Client(base_url=f"{loopback_host.url}/api/data/v9.2/", headers=headers, timeout=10) as client:
        yield client
    store.close()


def add(http: httpx.Client, **fault: Any) -> list[dict[str, Any]]:
    answer = control(http, "faults", fault)
    assert answer.status_code == 200, answer.text
    return list(answer.json()["faults"])


def control(http: httpx.Client, name: str, body: Any) -> httpx.Response:
    return http.post(f"{str(http.base_url).partition('/api')[0]}/emulator/{name}", json=body)


def n_contacts(http: httpx.Client) -> int:
    return len(http.get("contacts").json()["value"])


def test_a_status_answers_in_the_vendors_shape_and_applies_nothing(http: httpx.Client) -> None:
    add(
        http,
        method="POST",
        path="contacts",
        skip=1,
        times=2,
        status=503,
        code="0x80040216",
        headers={"Retry-After": "7"},
    )
    statuses = [http.post("contacts", json={}) for _ in range(4)]
    assert [answer.status_code for answer in statuses] == [204, 503, 503, 204]
    assert statuses[1].json()["error"]["code"] == "0x80040216"
    assert statuses[1].headers["Retry-After"] == "7"
    assert n_contacts(http) == 2


def test_a_fault_strikes_only_requests_whose_body_matches(http: httpx.Client) -> None:
    add(http, method="POST", body='"lastname": ?"B"', status=500)
    assert [http.post("contacts", json={"lastname": name}).status_code for name in "ABA"] == [204, 500, 204]


def test_a_connection_cut_before_loses_the_write(http: httpx.Client) -> None:
    add(http, method="POST", cut="before")
    with pytest.raises(httpx.TransportError):
        http.post("contacts", json={})
    assert n_contacts(http) == 0


def test_a_connection_cut_after_keeps_the_write(http: httpx.Client) -> None:
    add(http, method="POST", cut="after")
    with pytest.raises(httpx.TransportError):
        http.post("contacts", json={})
    assert n_contacts(http) == 1


def test_half_an_answer_is_noticed_as_one(http: httpx.Client) -> None:
    http.post("contacts", json={})
    add(http, method="GET", path="contacts", half=True)
    with pytest.raises(httpx.RemoteProtocolError, match="without sending complete message body"):
        http.get("contacts")
    assert n_contacts(http) == 1


def test_a_delay_delays_and_nothing_else(http: httpx.Client) -> None:
    add(http, delay_s=0.3)
    started = time.monotonic()
    assert http.get("WhoAmI").status_code == 200
    assert time.monotonic() - started >= 0.3


def test_away_cuts_everything_but_the_control_until_it_is_over(http: httpx.Client) -> None:
    control(http, "away", {"seconds": 60})
    for _ in range(2):
        with pytest.raises(httpx.TransportError):
            http.get("WhoAmI")
    assert http.delete(f"{str(http.base_url).partition('/api')[0]}/emulator/faults").status_code == 200
    assert http.get("WhoAmI").status_code == 200


def test_a_malformed_fault_is_refused_with_a_reason(http: httpx.Client) -> None:
    bodies: tuple[object, ...] = ({"path": "("}, {"nonsense": 1}, {"status": 99}, [], {"cut": "sideways"})
    for body in bodies:
        answer = control(http, "faults", body)
        assert answer.status_code == 400
        assert answer.json()["error"]
    assert http.get("WhoAmI").status_code == 200
