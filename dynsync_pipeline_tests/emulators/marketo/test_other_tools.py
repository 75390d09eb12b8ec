"""The sequences of requests that two widespread extraction tools send, as docs/protocols/marketo.md#other-tools tells."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from dynsync_pipeline_tests.emulators.marketo.conftest import Marketo, until_done

LEADS = "/bulk/v1/leads/export"
ACTIVITIES = "/bulk/v1/activities/export"


@pytest.fixture
def stranger(marketo: Marketo) -> Iterator[httpx.Client]:
    """A client without a token, and three people with a change each to extract."""
    marketo.sync(*({"email": f"p{n}@example.com", "mktoPersonNotes": "a\nb"} for n in range(3)))
    marketo.sync(*({"email": f"p{n}@example.com", "title": "Boss"} for n in range(3)))
    with httpx.Client(base_url=marketo.http.base_url, timeout=30, verify=False) as http:
        yield http


def until(http: httpx.Client, url: str, **params: Any) -> dict[str, Any]:
    return until_done(lambda: dict(http.get(url, params=params).json()))


def test_a_tap_probes_the_updated_filter_lists_jobs_and_fetches_the_file_in_ranges(
    marketo: Marketo, stranger: httpx.Client
) -> None:
    store = marketo.store
    query = {"grant_type": "client_credentials", "client_id": store.client_id, "client_secret": store.client_secret}
    token = stranger.get("/identity/oauth/token", params=query).json()
    assert token["expires_in"] > 15
    stranger.headers.update({"Authorization": f"Bearer {token['access_token']}", "Accept-Encoding": "identity"})
    assert stranger.get("/rest/v1/stats/usage.json").json()["result"][0]["total"] >= 2
    start, end = (datetime.now(UTC).replace(microsecond=0) + timedelta(days=days) for days in (-29, 1))
    window = {"startAt": start.isoformat(), "endAt": end.isoformat()}  # …+00:00
    body = {"format": "CSV", "fields": ["id"], "filter": {"updatedAt": window}}
    probe = stranger.post(f"{LEADS}/create.json", json=body).json()
    assert "1035" not in json.dumps(probe)
    cancelled = stranger.post(f"{LEADS}/{probe['result'][0]['exportId']}/cancel.json").json()
    assert cancelled["result"][0]["status"] == "Cancelled"
    fields = [field["rest"]["name"] for field in stranger.get("/rest/v1/leads/describe.json").json()["result"]]
    body = {"format": "CSV", "fields": fields, "filter": {"updatedAt": window}}
    export_id = stranger.post(f"{LEADS}/create.json", json=body).json()["result"][0]["exportId"]
    listed = stranger.get(f"{LEADS}.json?status=Created&status=Queued&status=Processing").json()["result"]
    assert [job["exportId"] for job in listed] == [export_id]
    stranger.post(f"{LEADS}/{export_id}/enqueue.json")
    assert until(stranger, f"{LEADS}/{export_id}/status.json")["status"] == "Completed"
    url = f"{LEADS}/{export_id}/file.json"
    probe_range = stranger.get(url, headers={"Range": "bytes=0-0"})
    size = int(probe_range.headers["content-range"].rpartition("/")[2])
    content, step = b"", 700
    while len(content) < size:
        part = stranger.get(url, headers={"Range": f"bytes={len(content)}-{len(content) + step - 1}"})
        assert part.status_code == 206
        content += part.content
    rows = list(csv.DictReader(io.StringIO(content.decode())))
    assert [(row["email"], row["title"], row["mktoPersonNotes"], row["fax"]) for row in rows] == [
        (f"p{n}@example.com", "Boss", "a\nb", "null") for n in range(3)
    ]


def test_a_connector_checks_creates_all_windows_first_and_passes_its_batch_size_everywhere(
    marketo: Marketo, stranger: httpx.Client
) -> None:
    store = marketo.store
    form = {"grant_type": "client_credentials", "client_id": store.client_id, "client_secret": store.client_secret}
    root = str(stranger.base_url).rstrip("/") + "/"  # a trailing slash in its settings doubles one
    token = stranger.post(f"{root}/identity/oauth/token", data=form).json()["access_token"]
    stranger.headers["Authorization"] = f"Bearer {token}"
    programs: dict[str, str | int] = {
        "maxReturn": 200,
        "earliestUpdatedAt": "2025-01-01T00:00:00Z",
        "latestUpdatedAt": "2025-01-31T00:00:00Z",
    }
    assert stranger.get(f"{root}/rest/asset/v1/programs.json", params=programs).json()["success"]
    types = stranger.get(f"{root}/rest/v1/activities/types.json?batchSize=300").json()["result"]
    change = next(kind for kind in types if kind["name"] == "Change Data Value")
    now = datetime.now(UTC)
    exports = []
    for days in (60, 30, 0):
        ends = {"startAt": now - timedelta(days=days + 30), "endAt": now - timedelta(days=days - 1)}
        window = {name: moment.strftime("%Y-%m-%dT%H:%M:%SZ") for name, moment in ends.items()}
        body = {"format": "CSV", "filter": {"createdAt": window, "activityTypeIds": [change["id"]]}}
        created = stranger.post(f"{root}{ACTIVITIES}/create.json?batchSize=300", json=body).json()
        exports.append(created["result"][0]["exportId"])
    found = []
    for export_id in exports:
        url = f"{root}{ACTIVITIES}/{export_id}"
        status = stranger.get(f"{url}/status.json?batchSize=300").json()["result"][0]["status"]
        assert status == "Created"
        stranger.post(f"{url}/enqueue.json?batchSize=300")
        assert until(stranger, f"{url}/status.json", batchSize=300)["status"] == "Completed"
        answer = stranger.get(f"{url}/file.json?batchSize=300")
        assert "json" not in answer.headers["content-type"]
        header, *rows = csv.reader(io.StringIO(answer.text))
        assert all(len(row) == len(header) for row in rows)
        found += [dict(zip(header, row, strict=True)) for row in rows]
    assert [json.loads(row["attributes"])["New Value"] for row in found] == ["Boss"] * 3
    assert all(json.loads(row["attributes"]).keys() <= {a["name"] for a in change["attributes"]} for row in found)
