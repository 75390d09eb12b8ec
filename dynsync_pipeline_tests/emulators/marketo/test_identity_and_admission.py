"""Signing in, tokens, limits, usage, and refusals before any handler.

Source: docs/protocols/marketo.md#envelope, #sign-in, #limits, #errors.
"""

from __future__ import annotations

import gzip
import time
from collections.abc import Callable

import pytest

from dynsync_pipeline_tests.emulators.marketo.conftest import Marketo, codes

DESCRIBE = "/rest/v1/leads/describe.json"


@pytest.mark.parametrize("verb", ["GET", "POST"])
@pytest.mark.parametrize("in_query", [True, False], ids=["params", "data"])
def test_credentials_are_taken_in_query_and_form_with_either_verb(marketo: Marketo, verb: str, in_query: bool) -> None:
    given = {
        "grant_type": "client_credentials",
        "client_id": marketo.store.client_id,
        "client_secret": marketo.store.client_secret,
    }
    answer = marketo.identity(verb, given, in_query=in_query)
    assert answer.json()["scope"] == "dynsync@api.example.com"
    assert answer.json()["token_type"] == "bearer"
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("wrong", [{"client_secret": "no"}, {"client_id": "no"}, {"client_secret": ""}])
def test_wrong_credentials_are_a_real_401_with_an_oauth_body(marketo: Marketo, wrong: dict[str, str]) -> None:
    given = {
        "grant_type": "client_credentials",
        "client_id": marketo.store.client_id,
        "client_secret": marketo.store.client_secret,
        **wrong,
    }
    answer = marketo.http.get("/identity/oauth/token", params=given)
    assert answer.status_code == 401
    assert answer.json().keys() == {"error", "error_description"}


def test_the_same_token_comes_back_with_shrinking_life_until_it_expires_and_survives_a_restart(
    start: Callable[..., Marketo],
) -> None:
    marketo = start()
    first = marketo.token()
    marketo.control("clock", ahead_s=600)
    second = marketo.token()
    assert second["access_token"] == first["access_token"]
    assert 2990 <= second["expires_in"] <= 3000
    marketo = start()
    assert marketo.token()["access_token"] == first["access_token"]
    marketo.control("clock", ahead_s=3001)
    third = marketo.token()
    assert third["access_token"] != first["access_token"]
    assert third["expires_in"] >= 3599


def test_an_expired_token_answers_602_once_and_601_from_then_on(marketo: Marketo) -> None:
    marketo.control("tokens/expire")
    assert [codes(marketo.answer("GET", DESCRIBE)) for _ in range(3)] == [["602"], ["601"], ["601"]]
    marketo.sign_in(marketo.http)
    assert marketo.answer("GET", DESCRIBE)["success"]


def test_no_token_answers_603_an_unknown_one_601_and_one_in_the_query_works_until_forbidden(marketo: Marketo) -> None:
    token = marketo.http.headers.pop("Authorization").removeprefix("Bearer ")
    assert codes(marketo.answer("GET", DESCRIBE)) == ["603"]
    assert codes(marketo.answer("GET", DESCRIBE, headers={"Authorization": "Bearer nonsense"})) == ["601"]
    assert marketo.answer("GET", DESCRIBE, params={"access_token": token})["success"]
    marketo.control("behaviour", refuse_token_in_query=True)
    assert codes(marketo.answer("GET", DESCRIBE, params={"access_token": token})) == ["603"]


def test_the_rate_limit_is_a_sliding_window_shared_by_all_users(start: Callable[..., Marketo]) -> None:
    marketo = start(time_scale=1.0)
    marketo.control("behaviour", calls_per_window=5)
    other = marketo.as_other()
    answers = [http.get(DESCRIBE).json() for http in (marketo.http, other) * 3]
    assert [answer["success"] for answer in answers] == [True] * 5 + [False]
    (error,) = answers[-1]["errors"]
    assert error == {"code": "606", "message": "Max rate limit '5' exceeded with in '20' secs"}
    marketo.control("clock", ahead_s=10)
    assert codes(marketo.answer("GET", DESCRIBE)) == ["606"]
    marketo.control("clock", ahead_s=10)
    assert marketo.answer("GET", DESCRIBE)["success"]


def test_the_time_scale_shortens_the_window(start: Callable[..., Marketo]) -> None:
    marketo = start(time_scale=20_000.0)  # 20 seconds pass in a millisecond
    assert all(marketo.answer("GET", "/rest/v1/activities/types.json")["success"] for _ in range(120))


def test_the_default_limits_are_the_vendors(start: Callable[..., Marketo]) -> None:
    marketo = start(time_scale=1.0)
    answers = [marketo.answer("GET", "/rest/v1/activities/types.json") for _ in range(101)]
    assert sum(answer["success"] for answer in answers) == 100
    assert codes(answers[-1]) == ["606"]


def test_more_than_ten_calls_at_once_answer_615(marketo: Marketo) -> None:
    answers = marketo.sync_at_once([{"email": f"p{number}@example.com"} for number in range(12)], n_admitted=10)
    refused = [answer for answer in answers if not answer["success"]]
    assert [codes(answer) for answer in refused] == [["615"], ["615"]]
    assert refused[0]["errors"][0]["message"] == "Concurrent access limit '10' reached"


def test_the_daily_quota_answers_607_until_midnight_central_and_counts_across_a_restart(
    start: Callable[..., Marketo],
) -> None:
    marketo = start()
    marketo.control("behaviour", calls_per_day=3)
    assert [marketo.answer("GET", DESCRIBE)["success"] for _ in range(4)] == [True, True, True, False]
    marketo = start()
    assert codes(marketo.answer("GET", DESCRIBE)) == ["607"]
    marketo.control("clock", ahead_s=86_400)
    marketo.sign_in(marketo.http)
    assert marketo.answer("GET", DESCRIBE)["success"]


def test_usage_agrees_with_the_calls_made_and_leaves_out_the_uncounted(marketo: Marketo) -> None:
    marketo.answer("GET", DESCRIBE)
    marketo.as_other().get(DESCRIBE)
    marketo.answer("PATCH", DESCRIBE)  # 605, not counted
    marketo.get("leads.json")  # 1002, counted
    (usage,) = marketo.get("stats/usage.json")["result"]
    assert usage["total"] == 3
    assert usage["users"] == [
        {"userId": "colleague@api.example.com", "count": 1},
        {"userId": "dynsync@api.example.com", "count": 2},
    ]
    (errors,) = marketo.get("stats/errors.json")["result"]
    assert errors["errors"] == [{"errorCode": "1002", "count": 1}, {"errorCode": "605", "count": 1}]
    week = marketo.get("stats/usage/last7days.json")["result"]
    assert [day["total"] for day in week] == [5, 0, 0, 0, 0, 0, 0]
    assert len(marketo.get("stats/errors/last7days.json")["result"]) == 7


@pytest.mark.parametrize(
    ("method", "path", "code"),
    [
        ("GET", "/rest/v1/nothing.json", "610"),
        ("GET", "/rest/v1/leads", "610"),
        ("GET", "/", "610"),
        ("GET", "/bulk/v1/cats/export.json", "610"),
        ("DELETE", DESCRIBE, "605"),
        ("PUT", "/rest/v1/leads.json", "605"),
        ("GET", "/rest/v1/leads/delete.json", "605"),
    ],
)
def test_unknown_paths_answer_610_and_wrong_verbs_605(marketo: Marketo, method: str, path: str, code: str) -> None:
    assert codes(marketo.answer(method, path)) == [code]


def test_a_uri_over_8_kb_is_414_and_a_body_over_1_mb_413(marketo: Marketo) -> None:
    assert marketo.http.get(DESCRIBE, params={"x": "y" * 8100}).status_code == 200
    assert marketo.http.get(DESCRIBE, params={"x": "y" * 8200}).status_code == 414
    assert marketo.http.post("/rest/v1/leads.json", content=b" " * 1_048_577).status_code == 413


def test_bodies_of_1024_bytes_and_more_are_gzipped_on_request_but_never_bulk(marketo: Marketo) -> None:
    with marketo.http.stream("GET", DESCRIBE, headers={"Accept-Encoding": "gzip"}) as answer:
        raw = b"".join(answer.iter_raw())
        assert (answer.headers["content-encoding"], answer.headers["vary"]) == ("gzip", "Accept-Encoding")
        assert len(gzip.decompress(raw)) > 1024
    plain = {"Accept-Encoding": "identity"}
    assert "content-encoding" not in marketo.http.get(DESCRIBE, headers=plain).headers
    small = marketo.http.get("/rest/v1/stats/usage.json", headers={"Accept-Encoding": "gzip"})
    assert "content-encoding" not in small.headers
    for n in range(20):
        body = {"fields": ["id"], "filter": {"createdAt": {"startAt": "2026-01-01", "endAt": f"2026-01-{n + 1:02d}"}}}
        marketo.answer("POST", "/bulk/v1/leads/export/create.json", json=body)
    bulk = marketo.http.get("/bulk/v1/leads/export.json", headers={"Accept-Encoding": "gzip"})
    assert len(bulk.content) > 1024
    assert "content-encoding" not in bulk.headers


def test_answers_carry_a_hex_request_id_whose_second_half_is_the_clock(marketo: Marketo) -> None:
    first, second = (marketo.answer("GET", DESCRIBE)["requestId"] for _ in range(2))
    number, _, clock = first.partition("#")
    assert int(number, 16) >= 1
    assert abs(int(clock, 16) / 1000 - time.time()) < 60
    assert first != second


def test_double_slashes_work_until_the_announced_switch_is_on(marketo: Marketo) -> None:
    assert marketo.answer("GET", "/rest//v1/leads/describe.json")["success"]
    marketo.control("behaviour", refuse_double_slash=True)
    assert codes(marketo.answer("GET", "/rest//v1/leads/describe.json")) == ["610"]


def test_client_ids_and_secrets_depend_on_the_seed_and_stay_with_the_file(start: Callable[..., Marketo]) -> None:
    first = start(seed=7).store
    second = start(seed=8).store
    assert (first.client_id, first.client_secret) == (second.client_id, second.client_secret)
    assert first.client_id != first.other_client_id


def test_a_control_request_that_makes_no_sense_is_400_and_changes_nothing(marketo: Marketo) -> None:
    before = marketo.answer("GET", "/emulator/marketo/behaviour")
    for body in ('{"colour": 1}', '{"calls_per_day": "many"}', "[]", "x"):
        assert marketo.http.post("/emulator/marketo/behaviour", content=body).status_code == 400
    assert marketo.http.post("/emulator/marketo/nothing").status_code == 404
    assert marketo.answer("GET", "/emulator/marketo/behaviour") == before
