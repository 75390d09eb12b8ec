"""Whatever is sent, the answer has the vendor's shape and a refused call leaves the state untouched."""

from __future__ import annotations

import itertools
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from dynsync_pipeline.emulators.marketo.app import ROUTES
from dynsync_pipeline_tests.emulators.marketo.conftest import Marketo

WORDS = [
    "id",
    "email",
    "firstName",
    "company",
    "1",
    "0",
    "-1",
    "9" * 30,
    "createOrUpdate",
    "updateOnly",
    "a@example.com",
]
TEXTS = st.one_of(
    st.sampled_from(
        [*WORDS, "' or 1=1 --", '" in (select 1)', "%", "_", "\x00", "null", "true", "٣", "²", "1e9", "+1"]
    ),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=12),
)
PARAMETERS = (
    *("filterType", "filterValues", "fields", "batchSize", "nextPageToken", "id", "name", "status", "sinceDatetime"),
    *("activityTypeIds", "leadIds", "listId", "assetIds", "offset", "maxReturn", "leadId", "format", "lookupField"),
    *("draft", "_method", "access_token"),
)
QUERIES = st.lists(st.tuples(st.sampled_from(PARAMETERS), TEXTS), max_size=6)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)
MEMBERS = ("input", "action", "lookupField", "partitionName", "dedupeBy", "deleteBy", "fields", "format", "filter")
RECORDS = st.lists(
    st.dictionaries(
        st.sampled_from(["id", "email", "firstName", "leadScore", "unsubscribed", "company", "leadId"]), JSON
    )
    | JSON,
    max_size=3,
)
BODIES = st.dictionaries(st.sampled_from(MEMBERS), RECORDS | JSON, max_size=4) | JSON
FILLED = {"id": "1", "name": "email", "object": "leads", "export_id": "x", "api_name": "x"}


def state(marketo: Marketo) -> list[Any]:
    """Everything but the counters of calls and what is only remembered for answers."""
    tables = ("people", "companies", "activities", "lists", "list_members", "custom_types", "fields", "partitions")
    with marketo.store.lock:
        return [marketo.store.db.execute(f"select * from {table}").fetchall() for table in tables]


def assert_vendors_shape(answer: httpx.Response, path: str) -> dict[str, Any]:
    if path.endswith("/file.json"):
        assert answer.status_code == 404
        return {"success": False}
    assert answer.status_code == 200, (path, answer.status_code, answer.text)
    body = answer.json()
    assert body["requestId"]
    if not body["success"]:
        assert "result" not in body
        for error in body["errors"]:
            assert isinstance(error["code"], str)
            assert error["message"]
    return dict(body)


@pytest.mark.parametrize(("method", "path"), [route[:2] for route in ROUTES if route[0] == "GET"])
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(query=QUERIES)
@example(query=[("filterType", "id"), ("filterValues", "٣")])
@example(query=[("nextPageToken", "GE======")])
@example(query=[("nextPageToken", "PBEQ====")])
def test_any_query_on_any_read_is_answered_or_refused_in_the_vendors_shape(
    shared: Marketo, method: str, path: str, query: list[tuple[str, str]]
) -> None:
    url = path.format(**FILLED)
    before = state(shared)
    assert_vendors_shape(shared.http.request(method, url, params=tuple(query)), url)
    assert state(shared) == before


@pytest.mark.parametrize(("method", "path"), [route[:2] for route in ROUTES if route[0] in ("POST", "DELETE")])
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=BODIES)
@example(body={"input": [{"email": "a@example.com", "leadScore": 10**400}]})
@example(body={"input": [{"id": 10**30}]})
def test_any_json_on_any_write_is_answered_or_refused_and_a_refused_call_changes_nothing(
    shared: Marketo, method: str, path: str, body: object
) -> None:
    url = path.format(**FILLED)
    before = state(shared)
    answer = assert_vendors_shape(shared.http.request(method, url, json=body), url)
    if not answer["success"]:
        assert state(shared) == before


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=40))
@example(b'{"input":[{"email":"a@example.com","firstName":"\\ud800"}]}')
@example(b'{"input":' + b"[" * 5000 + b"]" * 5000 + b"}")
@example(b'{"input":[{"email":"a@example.com","annualRevenue":1e999}]}')
def test_any_bytes_as_a_body_are_refused_and_change_nothing(shared: Marketo, content: bytes) -> None:
    before = state(shared)
    headers = {"Content-Type": "application/json"}
    answer = shared.http.post("/rest/v1/leads.json", content=content, headers=headers)
    body = assert_vendors_shape(answer, "/rest/v1/leads.json")
    if not body["success"]:
        assert state(shared) == before
        assert body["errors"][0]["code"] in ("609", "1001", "1002")


@settings(max_examples=60, deadline=None)
@given(st.lists(TEXTS, max_size=4))
@example(["\n"])
def test_any_path_is_610_or_known(shared: Marketo, parts: list[str]) -> None:
    path = "/rest/v1/" + "/".join(httpx.QueryParams({"x": part}).__str__()[2:] for part in parts)
    assert_vendors_shape(shared.http.get(path), "")


def test_every_route_is_known_by_one_verb_and_path() -> None:
    keys = [(method, path) for method, path, _ in ROUTES]
    assert [key for key, group in itertools.groupby(sorted(keys)) if len(list(group)) > 1] == []
