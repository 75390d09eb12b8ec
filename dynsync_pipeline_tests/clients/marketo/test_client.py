"""The Marketo client over real HTTP: the emulator for what it does, a scripted server for what it does not."""

from __future__ import annotations

import hashlib
import json
import ssl
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
import trustme

from dynsync_pipeline import errors
from dynsync_pipeline.clients.budget import CallBudget
from dynsync_pipeline.clients.marketo import client as client_module
from dynsync_pipeline.clients.marketo.client import MarketoClient
from dynsync_pipeline.clients.marketo.protocol import ExportStatus, FieldChange
from dynsync_pipeline.emulators.running import Emulators
from dynsync_pipeline.settings import Settings
from dynsync_pipeline_tests.clients.servers import Canned, Seen, canned_json, serving

MakeSettings = Callable[..., Settings]
NOW = datetime(2026, 1, 5, 8, 0, tzinfo=UTC)


@contextmanager
def marketo(settings: Settings, budget: CallBudget | None = None) -> Iterator[MarketoClient]:
    with MarketoClient.from_settings(settings, budget or CallBudget("marketo", 10_000)) as client:
        yield client


@pytest.fixture
def client(emulator_settings: MakeSettings) -> Iterator[MarketoClient]:
    with marketo(emulator_settings()) as connected:
        yield connected


def people_texts(n: int, **values: object) -> list[str]:
    return [json.dumps({"email": f"{uuid.uuid4()}@example.com", **values}) for _ in range(n)]


def created_ids(client: MarketoClient, n: int, **values: object) -> list[str]:
    results = client.sync_people("createOnly", "email", people_texts(n, **values))
    assert [result.status for result in results] == ["created"] * n
    return [str(result.id) for result in results]


# Against the emulator


def test_a_wrong_secret_and_a_wrong_id_are_said_with_the_settings(emulator_settings: MakeSettings) -> None:
    for given in ({"marketo_client_secret": "nonsense"}, {"marketo_client_id": "nonsense"}):
        with marketo(emulator_settings(**given)) as client, pytest.raises(errors.SignInRefused) as raised:
            client.usage_today()
        assert "DYNSYNC_MARKETO_CLIENT_SECRET" in raised.value.next_step
        assert "nonsense" not in str(raised.value)


def test_an_untrusted_certificate_is_said_with_the_setting(emulator_settings: MakeSettings, tmp_path: Path) -> None:
    other = tmp_path / "other.pem"
    trustme.CA().cert_pem.write_to_path(str(other))
    with marketo(emulator_settings(ca_file=other)) as client, pytest.raises(errors.Unreachable) as raised:
        client.usage_today()
    assert "DYNSYNC_CA_FILE" in raised.value.next_step


def test_fields_are_described_with_what_the_field_map_needs(client: MarketoClient) -> None:
    fields = client.person_fields()
    assert (fields["firstName"].data_type, fields["firstName"].length) == ("string", 255)
    assert fields["createdAt"].is_read_only
    assert len({field.field_id for field in fields.values()}) == len(fields)


def test_people_are_read_by_any_number_of_values_with_every_field_as_text(client: MarketoClient) -> None:
    ids = created_ids(client, 250, firstName="Zoë", annualRevenue=123456.75, unsubscribed=True)
    ids += created_ids(client, 250, firstName="Ada")
    found = client.people("id", [*ids, *ids, "99999999"], ["firstName", "unsubscribed", "title", "numberOfEmployees"])
    rows = {row["id"]: row for row in found.to_pylist()}
    assert found.num_rows == 500
    assert rows.keys() == set(ids)
    assert rows[ids[0]] == {
        "id": ids[0],
        "firstName": "Zoë",
        "unsubscribed": "true",
        "title": None,
        "numberOfEmployees": None,
    }
    assert rows[ids[-1]]["unsubscribed"] == "false"
    assert client.people("id", [], ["title"]).column_names == ["id", "title"]


def test_an_unknown_field_of_a_read_is_named(client: MarketoClient) -> None:
    with pytest.raises(errors.RequestRefused, match="nope"):
        client.people("id", ["1"], ["nope"])


def test_a_value_with_a_comma_is_refused_instead_of_read_as_two(client: MarketoClient) -> None:
    with pytest.raises(errors.RequestRefused, match="comma") as raised:
        client.people("email", ['"a,b"@example.com'], ["title"])
    assert "a,b" not in str(raised.value)


def test_each_record_of_a_write_has_its_own_outcome(client: MarketoClient) -> None:
    (known,) = created_ids(client, 1, title="old")
    results = client.sync_people(
        "updateOnly",
        "id",
        [
            json.dumps({"id": int(known), "title": "Chef Zoë 🌍"}),
            json.dumps({"id": 99999999, "title": "nobody"}),
            json.dumps({"id": int(known), "numberOfEmployees": "many"}),
            json.dumps({"id": int(known), "nope": "x"}),
        ],
    )
    assert [result.status for result in results] == ["updated", "skipped", "skipped", "skipped"]
    assert [type(result.error) for result in results] == [
        type(None),
        errors.RecordMissing,
        errors.RequestRefused,
        errors.ColumnUnknown,
    ]
    assert [result.error.field for result in results[2:] if result.error] == ["numberOfEmployees", "nope"]
    assert client.people("id", [known], ["title"]).to_pylist() == [{"id": known, "title": "Chef Zoë 🌍"}]


def test_the_feed_brings_changes_in_order_and_its_token_serves_the_next_cycle(client: MarketoClient) -> None:
    start = client.start_of_feed(datetime.now(UTC))
    assert abs(start.server_time - datetime.now(UTC)) < timedelta(minutes=1)
    created = created_ids(client, 3, firstName="Before")
    client.sync_people("updateOnly", "id", [json.dumps({"id": int(created[0]), "firstName": "After", "city": "Ulm"})])
    ours = [int(each) for each in created]

    def changes(token: str) -> tuple[list[FieldChange], str]:
        pages = list(client.changes(token, ["firstName", "title"]))
        assert [page.is_last for page in pages] == [False] * (len(pages) - 1) + [True]
        return [item for page in pages for item in page.items if item.person_id in ours], pages[-1].token

    items, token = changes(start.token)
    assert [item.person_id for item in items if item.field is None] == ours
    assert [(item.field, item.old_value, item.new_value) for item in items if item.field] == [
        ("firstName", "Before", "After")
    ]
    assert len({item.guid for item in items}) == len(items)
    assert all(item.at.tzinfo is UTC for item in items)
    client.sync_people("updateOnly", "id", [json.dumps({"id": ours[1], "title": "CEO"})])
    items, _ = changes(token)
    assert [(item.person_id, item.field, item.new_value) for item in items] == [(ours[1], "title", "CEO")]
    assert [item.type_id for page in client.activities(start.token, [22, 32]) for item in page.items] == []
    assert [item for page in client.deleted_people(start.token) for item in page.items] == []


def test_companies_are_written_and_read_by_their_external_id(client: MarketoClient) -> None:
    assert "company" in client.company_fields()
    key = str(uuid.uuid4())
    (first,) = client.sync_companies([json.dumps({"externalCompanyId": key, "company": "Zoë & Co"})])
    assert (first.status, first.error) == ("created", None)
    (second,) = client.sync_companies([json.dumps({"externalCompanyId": key, "website": "https://example.com"})])
    assert (second.status, second.id) == ("updated", first.id)
    assert client.companies([key, "nobody"], ["company", "website", "industry"]).to_pylist() == [
        {"id": str(first.id), "company": "Zoë & Co", "website": "https://example.com", "industry": None}
    ]


def test_a_token_that_the_emulator_ends_early_is_replaced_without_a_word(
    client: MarketoClient, emulators: Emulators
) -> None:
    client.usage_today()
    trust = ssl.create_default_context(cafile=str(emulators.tls.ca_file))
    ended = httpx.post(f"{emulators.marketo_url}/emulator/marketo/tokens/expire", verify=trust)
    assert ended.status_code == 200
    assert created_ids(client, 1)


def test_more_activity_types_than_a_call_takes_are_refused_before_sending(client: MarketoClient) -> None:
    for types in ([], list(range(11))):
        with pytest.raises(ValueError, match="activity types"):
            client.activities("token", types)


def test_a_token_that_marketo_does_not_take_means_a_new_start(client: MarketoClient) -> None:
    with pytest.raises(errors.CursorExpired):
        list(client.changes("GARBAGE", ["title"]))


def test_people_are_exported_in_bulk(client: MarketoClient, tmp_path: Path) -> None:
    ids = created_ids(client, 5, firstName='Zoë "Z", newline\n', lastName="null?")
    job = client.create_export(["id", "firstName"], datetime.now(UTC) - timedelta(days=1), datetime.now(UTC))
    assert client.enqueue_export(job)
    assert client.enqueue_export(job)  # as after an answer that was lost
    deadline = time.monotonic() + 60
    while (status := client.export_statuses()[job]).status != "Completed":
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert status.n_records is not None
    assert status.n_records >= 5
    assert status.checksum is not None
    client.download_export(job, tmp_path / "people.csv", status)
    text = (tmp_path / "people.csv").read_text("utf-8")
    assert text.startswith("id,firstName")
    assert all(f'{each},"Zoë ""Z"", newline' in text for each in ids)


def test_the_usage_of_the_day_is_marketos_own_count(client: MarketoClient) -> None:
    before = client.usage_today()
    client.person_fields()
    assert client.usage_today() > before


# What the emulator does not do


@contextmanager
def scripted(
    make_settings: MakeSettings, answer: Callable[[Seen, int], Canned], **given: object
) -> Iterator[tuple[MarketoClient, list[Seen]]]:
    """A client of a server that answers API calls so, and gives a new token, `t0`, `t1`, …, for each sign-in."""
    calls: list[Seen] = []
    n_signed_in = 0

    def both(request: Seen, _: int) -> Canned:
        nonlocal n_signed_in
        if request.path == "/identity/oauth/token":
            assert request.verb == "POST"
            n_signed_in += 1
            return canned_json({"access_token": f"t{n_signed_in - 1}", "token_type": "bearer", "expires_in": 3599})
        calls.append(request)
        return answer(request, len(calls) - 1)

    with serving(both) as server, marketo(make_settings(marketo_url=server.url, **given)) as client:
        yield client, calls


def success(result: object = None, **more: object) -> Canned:
    return canned_json({"requestId": "1#2", "success": True, **({} if result is None else {"result": result}), **more})


def failure(code: str, message: str = "no") -> Canned:
    return canned_json({"requestId": "1#2", "success": False, "errors": [{"code": code, "message": message}]})


def query(request: Seen) -> dict[str, str]:
    text = request.body.decode() if "_method=GET" in request.path else urlsplit(request.path).query
    return {name: values[0] for name, values in parse_qs(text).items()}


def test_the_secret_travels_in_the_body_and_never_in_an_address(make_settings: MakeSettings) -> None:
    def answer(_: Seen, __: int) -> Canned:
        return canned_json({"access_token": "t", "expires_in": 100})

    with serving(answer) as server, marketo(make_settings(marketo_url=server.url)) as client:
        with pytest.raises(errors.AnswerUnreadable):
            client.usage_today()
        assert server.requests[0].path == "/identity/oauth/token"
        assert b"client_secret=the-marketo-secret" in server.requests[0].body
        assert all("secret" not in request.path and "token=" not in request.path for request in server.requests)


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (Canned(200, b"<html>"), errors.AnswerUnreadable),
        (Canned(302, b""), errors.AnswerUnreadable),
        (Canned(429, b"", {"Retry-After": "1"}), errors.RateLimited),
        (Canned(503, b'{"error":"unavailable"}'), errors.ServerFailed),
        (canned_json({"error": "unauthorized"}, 401), errors.SignInRefused),
    ],
)
def test_what_can_go_wrong_with_signing_in_is_told_apart(
    make_settings: MakeSettings, answer: Canned, kind: type[errors.ApiError]
) -> None:
    with serving(lambda *_: answer) as server, marketo(make_settings(marketo_url=server.url)) as client:
        with pytest.raises(errors.ApiError) as raised:
            client.sync_people("createOnly", "email", ["{}"])
        assert type(raised.value) is kind
        assert {request.path for request in server.requests} == {"/identity/oauth/token"}


def test_a_passing_fault_of_signing_in_is_waited_out_even_for_a_write(make_settings: MakeSettings) -> None:
    def answer(request: Seen, n_earlier: int) -> Canned:
        if n_earlier == 0:
            return Canned(503, b"")
        if request.path == "/identity/oauth/token":
            return canned_json({"access_token": "t", "expires_in": 100})
        return success([{"id": 1, "status": "created"}])

    with serving(answer) as server, marketo(make_settings(marketo_url=server.url)) as client:
        assert client.sync_people("createOnly", "email", ["{}"])[0].id == 1


@pytest.mark.parametrize("code", ["601", "602"])
def test_a_token_that_ended_is_renewed_once_also_for_a_write(make_settings: MakeSettings, code: str) -> None:
    def answer(request: Seen, _: int) -> Canned:
        if request.headers["authorization"] == "Bearer t0":
            return failure(code)
        return success([{"id": 1, "status": "created"}])

    with scripted(make_settings, answer) as (client, calls):
        assert client.sync_people("createOnly", "email", ["{}"])[0].id == 1
        assert client.sync_people("createOnly", "email", ["{}"])[0].id == 1
        assert [call.headers["authorization"] for call in calls] == ["Bearer t0", "Bearer t1", "Bearer t1"]


def test_a_token_is_used_until_it_ends_and_not_longer(make_settings: MakeSettings) -> None:
    n_signed_in = 0

    def answer(request: Seen, _: int) -> Canned:
        nonlocal n_signed_in
        if request.path == "/identity/oauth/token":
            n_signed_in += 1
            return canned_json({"access_token": f"t{n_signed_in}", "expires_in": 0 if n_signed_in == 1 else 100})
        return success([{"total": 1}])

    with serving(answer) as server, marketo(make_settings(marketo_url=server.url)) as client:
        for _ in range(3):
            client.usage_today()
    assert n_signed_in == 2


def test_denied_access_is_not_taken_for_an_old_token(make_settings: MakeSettings) -> None:
    with scripted(make_settings, lambda *_: failure("603", "Access denied")) as (client, calls):
        with pytest.raises(errors.AccessDenied) as raised:
            client.usage_today()
        assert "role" in raised.value.next_step
        assert len(calls) == 1


@pytest.mark.parametrize("code", ["502", "604", "606", "608", "611", "614", "615", "713"])
def test_a_passing_fault_of_a_read_is_waited_out(make_settings: MakeSettings, code: str) -> None:
    with scripted(make_settings, lambda _, n: failure(code) if n < 2 else success([{"total": 7}])) as (client, calls):
        assert client.usage_today() == 7
        assert len(calls) == 3


@pytest.mark.parametrize("code", ["606", "608", "615"])
def test_a_write_that_was_refused_before_execution_is_sent_again(make_settings: MakeSettings, code: str) -> None:
    done = success([{"id": 1, "status": "updated"}])
    with scripted(make_settings, lambda _, n: failure(code) if n == 0 else done) as (client, calls):
        assert client.sync_people("updateOnly", "id", ["{}"])[0].status == "updated"
        assert len(calls) == 2


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (failure("604"), errors.TimedOut),
        (failure("611"), errors.ServerFailed),
        (Canned(502, b"<html>"), errors.ServerFailed),
        (Canned(200, b'{"requestId":"1#2","succ'), errors.AnswerUnreadable),
        (Canned(body=b"0123456789", stop_after_bytes=0), errors.TimedOut),
        (success([]), errors.AnswerUnreadable),
    ],
)
def test_a_write_whose_outcome_is_unknown_is_never_sent_again(
    make_settings: MakeSettings, answer: Canned, kind: type[errors.ApiError]
) -> None:
    writes: tuple[Callable[[MarketoClient], object], ...] = (
        lambda client: client.sync_people("createOnly", "email", ["{}"]),
        lambda client: client.sync_companies(["{}"]),
    )
    for write in writes:
        with scripted(make_settings, lambda *_: answer) as (client, calls):
            with pytest.raises(errors.ApiError) as raised:
                write(client)
            assert type(raised.value) is kind
            assert len(calls) == 1


def test_a_write_that_takes_too_long_ends_with_its_outcome_unknown(make_settings: MakeSettings) -> None:
    slow = Canned(body=b"x" * 1000, drip_s=0.05)
    with scripted(make_settings, lambda *_: slow, request_timeout_s=0.5) as (client, calls):
        with pytest.raises(errors.TimedOut):
            client.sync_people("createOnly", "email", ["{}"])
        assert len(calls) == 1


def test_a_spent_daily_quota_ends_the_call_at_once(make_settings: MakeSettings) -> None:
    with scripted(make_settings, lambda *_: failure("607")) as (client, calls):
        with pytest.raises(errors.BudgetSpent, match="607"):
            client.usage_today()
        assert len(calls) == 1


def test_pages_of_people_are_followed_while_there_is_a_token(make_settings: MakeSettings) -> None:
    def answer(request: Seen, n_earlier: int) -> Canned:
        assert query(request).get("nextPageToken") == (f"T{n_earlier}" if n_earlier else None)
        more = {"nextPageToken": f"T{n_earlier + 1}"} if n_earlier < 2 else {}
        return success([{"id": n_earlier}], **more)

    with scripted(make_settings, answer) as (client, calls):
        found = client.people("dynamicsContactId", ["a"], ["title"]).to_pylist()
        assert [row["id"] for row in found] == ["0", "1", "2"]
        assert len(calls) == 3


def test_a_filter_with_too_many_matches_is_halved_until_it_fits(make_settings: MakeSettings) -> None:
    def answer(request: Seen, _: int) -> Canned:
        values = query(request)["filterValues"].split(",")
        if len(values) > 2:
            return failure("1003", "Too many results match the filter")
        return success([{"id": int(value)} for value in values])

    with scripted(make_settings, answer) as (client, _):
        found = client.people("id", [str(n) for n in range(9)], [])
        assert sorted(int(row["id"]) for row in found.to_pylist()) == list(range(9))


def test_no_more_than_300_values_and_no_long_address_leave_the_house(make_settings: MakeSettings) -> None:
    with scripted(make_settings, lambda *_: success([])) as (client, calls):
        client.people("dynamicsContactId", [str(uuid.uuid4()) for _ in range(650)], ["title"])
        assert sorted(len(query(call)["filterValues"].split(",")) for call in calls) == [50, 300, 300]
        assert all(len(call.path) < 8 * 1024 for call in calls)
        long = [call for call in calls if call.verb == "POST"]
        assert len(long) == 2
        assert all(call.path == "/rest/v1/leads.json?_method=GET" for call in long)


def test_a_feed_goes_on_over_pages_without_result(make_settings: MakeSettings) -> None:
    entry = {"marketoGUID": "g", "leadId": 1, "activityDate": "2026-01-05T08:00:01Z", "activityTypeId": 37}
    pages = [
        success(nextPageToken="T1=", moreResult=True),
        success([entry], nextPageToken="T2=", moreResult=True),
        success(nextPageToken="T3=", moreResult=False),
    ]
    with scripted(make_settings, lambda _, n: pages[n]) as (client, calls):
        found = list(client.deleted_people("T0="))
        assert [(len(page.items), page.token, page.is_last) for page in found] == [
            (0, "T1=", False),
            (1, "T2=", False),
            (0, "T3=", True),
        ]
        assert [query(call)["nextPageToken"] for call in calls] == ["T0=", "T1=", "T2="]


def test_companies_are_read_and_written_by_their_external_id(make_settings: MakeSettings) -> None:
    def answer(request: Seen, _: int) -> Canned:
        if request.verb == "POST":
            return success([{"seq": 0, "id": 7, "status": "created"}])
        if "describe" in request.path:
            field = {"name": "company", "displayName": "Company", "dataType": "string", "updateable": True}
            return success([{"name": "company", "fields": [field]}])
        return success([{"seq": 0, "id": 7, "externalCompanyId": "X", "company": "Zoë & Co"}])

    with scripted(make_settings, answer) as (client, calls):
        assert client.sync_companies(['{"externalCompanyId":"X"}']) == [(7, "created", None)]
        assert json.loads(calls[0].body) == {
            "action": "createOrUpdate",
            "dedupeBy": "dedupeFields",
            "input": [{"externalCompanyId": "X"}],
        }
        assert client.companies(["X"], ["company"]).to_pylist() == [{"id": "7", "company": "Zoë & Co"}]
        assert query(calls[1]) == {"filterType": "externalCompanyId", "filterValues": "X", "fields": "id,company"}
        assert list(client.company_fields()) == ["company"]


def test_a_native_crm_is_a_sentence_of_its_own(make_settings: MakeSettings) -> None:
    with (
        scripted(make_settings, lambda *_: failure("1018", "CRM Enabled")) as (client, _),
        pytest.raises(errors.RequestRefused) as raised,
    ):
        client.sync_companies(["{}"])
    assert "native CRM" in raised.value.next_step


def test_more_records_than_a_call_takes_are_refused_before_sending(make_settings: MakeSettings) -> None:
    with scripted(make_settings, lambda *_: success([])) as (client, calls):
        with pytest.raises(ValueError, match="300"):
            client.sync_people("createOnly", "email", ["{}"] * 301)
        assert client.sync_people("createOnly", "email", []) == []
        assert calls == []


def test_a_full_queue_waits_and_a_spent_quota_is_an_error(make_settings: MakeSettings) -> None:
    answers = [
        failure("1029", "Too many jobs (10) in queue"),
        failure("1029", "Export daily quota 500MB exceeded."),
        failure("1029", "Export job already queued"),
        failure("1003", "Job not found"),
    ]
    with scripted(make_settings, lambda _, n: answers[n]) as (client, _):
        assert client.enqueue_export("j") is False
        with pytest.raises(errors.BudgetSpent, match="quota"):
            client.enqueue_export("j")
        assert client.enqueue_export("j") is True
        with pytest.raises(errors.RequestRefused, match="1003"):
            client.enqueue_export("j")


def test_a_file_is_fetched_in_pieces_and_a_cut_costs_one_piece(
    make_settings: MakeSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "PIECE_BYTES", 1000)
    file = b"id,lastName\n" + "1,Zoë\x00\n".encode() * 400

    def answer(request: Seen, n_earlier: int) -> Canned:
        start, end = map(int, request.headers["range"].removeprefix("bytes=").split("-"))
        data = file[start : end + 1]
        headers = {"Content-Type": "text/csv", "Content-Range": f"bytes {start}-{start + len(data) - 1}/{len(file)}"}
        return Canned(206, data, headers, stop_after_bytes=500 if n_earlier == 1 else None)

    with scripted(make_settings, answer) as (client, calls):
        told = ExportStatus("Completed", 400, len(file), "sha256:" + hashlib.sha256(file).hexdigest())
        client.download_export("j", tmp_path / "x.csv", told)
        starts = [call.headers["range"].partition("=")[2].partition("-")[0] for call in calls]
    assert starts == ["0", "1000", "1000", "2000", "3000"]
    assert (tmp_path / "x.csv").read_bytes() == file.replace(b"\0", b"")


def test_times_without_a_zone_are_refused(make_settings: MakeSettings) -> None:
    with scripted(make_settings, lambda *_: success([])) as (client, _), pytest.raises(ValueError, match="zone"):
        client.start_of_feed(datetime(2026, 1, 1))  # noqa: DTZ001


def test_times_go_out_in_utc_without_fractions(make_settings: MakeSettings) -> None:
    answer = Canned(
        body=success(nextPageToken="T").body,
        headers={"Content-Type": "application/json", "Date": "Mon, 05 Jan 2026 08:00:01 GMT"},
    )
    with scripted(make_settings, lambda *_: answer) as (client, calls):
        start = client.start_of_feed(datetime.fromisoformat("2026-01-05T00:00:00.5-08:00"))
        assert query(calls[0]) == {"sinceDatetime": "2026-01-05T08:00:00Z"}
        assert start == ("T", NOW + timedelta(seconds=1))


def test_every_call_counts_against_the_budget_but_signing_in(make_settings: MakeSettings) -> None:
    def answer(request: Seen, _: int) -> Canned:
        if request.path == "/identity/oauth/token":
            return canned_json({"access_token": "t", "expires_in": 0})
        return success([{"total": 1}])

    budget = CallBudget("marketo", 3)
    with serving(answer) as server, marketo(make_settings(marketo_url=server.url), budget) as client:
        for _ in range(3):
            client.usage_today()
        assert budget.used == 3
        with pytest.raises(errors.BudgetSpent):
            client.usage_today()


def test_a_field_that_an_export_refuses_is_named_also_where_the_answer_names_none(make_settings: MakeSettings) -> None:
    def answer(request: Seen, _: int) -> Canned:
        fields = json.loads(request.body)["fields"]
        return (
            failure("1003", "Invalid request")
            if "ghost" in fields
            else success([{"exportId": "e", "status": "Created"}])
        )

    names = ["id", *(f"f{number}" for number in range(20)), "ghost", "last"]
    with scripted(make_settings, answer) as (client, calls):
        with pytest.raises(errors.ColumnUnknown) as raised:
            client.create_export(names, datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC))
        assert (raised.value.field, len(calls) < 10) == ("ghost", True)


def test_a_field_that_reads_and_feeds_refuse_is_named(client: MarketoClient) -> None:
    since = client.start_of_feed(datetime.now(UTC) - timedelta(hours=1))
    roads: list[Callable[[], object]] = [
        lambda: client.people("id", ["1"], ["firstName", "ghost"]),
        lambda: client.companies(["X"], ["company", "ghost"]),
        lambda: list(client.changes(since.token, ["firstName", "ghost"])),
        lambda: client.create_export(["id", "ghost"], since.server_time - timedelta(days=1), since.server_time),
    ]
    for road in roads:
        with pytest.raises(errors.ColumnUnknown) as raised:
            road()
        assert raised.value.field == "ghost"
