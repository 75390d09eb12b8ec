"""Bulk extract of people and activities (docs/protocols/marketo.md#bulk-extract)."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from dynsync_pipeline.emulators.marketo.seeding import seed
from dynsync_pipeline.emulators.sample_data import sample_people
from dynsync_pipeline_tests.emulators.marketo.conftest import LONGEST_S, Marketo, codes
from dynsync_pipeline_tests.properties.effort import story

TODAY = {
    "startAt": (datetime.now(UTC) - timedelta(days=2)).isoformat(timespec="seconds"),
    "endAt": (datetime.now(UTC) + timedelta(days=2)).isoformat(timespec="seconds"),
}
JANUARY = {"startAt": "2025-01-01T00:00:00Z", "endAt": "2025-01-31T23:59:59Z"}
LEADS = "/bulk/v1/leads/export"


def create(marketo: Marketo, **request: object) -> str:
    body = {"fields": ["id"], "filter": {"createdAt": JANUARY}, **request}
    return str(marketo.answer("POST", f"{LEADS}/create.json", json=body)["result"][0]["exportId"])


def shown(marketo: Marketo, export_id: str) -> dict[str, Any]:
    return dict(marketo.answer("GET", f"{LEADS}/{export_id}/status.json")["result"][0])


def rows(text: str, delimiter: str = ",") -> list[list[str]]:
    return list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter))


def test_a_job_passes_created_queued_processing_completed_and_moments_not_reached_are_absent(
    start: Callable[..., Marketo],
) -> None:
    marketo = start(time_scale=60.0)
    body = {"fields": ["id"], "format": "CSV", "filter": {"createdAt": TODAY}}
    created = marketo.answer("POST", f"{LEADS}/create.json", json=body)["result"][0]
    assert list(created) == ["exportId", "format", "status", "createdAt"]
    job = f"{LEADS}/{created['exportId']}"
    assert shown(marketo, created["exportId"])["status"] == "Created"
    queued = marketo.answer("POST", f"{job}/enqueue.json")["result"][0]
    assert list(queued) == ["exportId", "format", "status", "createdAt", "queuedAt"]
    seen = ["Queued"]
    deadline = time.monotonic() + LONGEST_S
    while seen[-1] != "Completed" and time.monotonic() < deadline:
        state = shown(marketo, created["exportId"])["status"]
        seen += [state] if state != seen[-1] else []
        time.sleep(0.02)
    assert seen[-1] == "Completed"
    assert set(seen) <= {"Queued", "Processing", "Completed"}
    done = shown(marketo, created["exportId"])
    assert list(done)[4:] == ["queuedAt", "startedAt", "finishedAt", "numberOfRecords", "fileSize", "fileChecksum"]
    assert done["numberOfRecords"] == 0


def test_the_shown_status_is_refreshed_once_a_minute(start: Callable[..., Marketo]) -> None:
    marketo = start(time_scale=1.0)
    export_id = create(marketo)
    marketo.answer("POST", f"{LEADS}/{export_id}/enqueue.json")
    marketo.control("clock", ahead_s=11)
    marketo.wait_for("select status = 'Processing' and checksum is not null from export_jobs")
    marketo.control("clock", ahead_s=31)
    marketo.wait_for("select status = 'Completed' from export_jobs")
    assert shown(marketo, export_id)["status"] == "Queued"
    marketo.control("clock", ahead_s=20)
    assert shown(marketo, export_id)["status"] == "Completed"


def test_the_file_holds_null_words_doubled_quotes_newlines_and_header_names(marketo: Marketo) -> None:
    notes = 'She said: "no",\nthen\ttwice;\rmore'
    marketo.create(email="a@example.com", mktoPersonNotes=notes, unsubscribed=True, leadScore=5, company="Acme")
    marketo.create(email="b@example.com", firstName="null", mktoPersonNotes="a lone\rcarriage return")
    fields = [
        "id",
        "email",
        "firstName",
        "unsubscribed",
        "leadScore",
        "mktoPersonNotes",
        "company",
        "dynamicsIsDeleted",
    ]
    status, text = marketo.export(
        "leads", fields=fields, columnHeaderNames={"email": "E-mail"}, filter={"createdAt": TODAY}
    )
    assert rows(text) == [
        ["id", "E-mail", *fields[2:]],
        ["1", "a@example.com", "null", "true", "5", notes, "Acme", "false"],
        ["2", "b@example.com", "null", "false", "null", "a lone\rcarriage return", "null", "false"],
    ]
    assert text.startswith("id,E-mail")
    assert status["numberOfRecords"] == 2
    assert status["fileSize"] == len(text.encode())
    assert status["fileChecksum"] == "sha256:" + hashlib.sha256(text.encode()).hexdigest()


@pytest.mark.parametrize(("file_format", "delimiter"), [("CSV", ","), ("TSV", "\t"), ("SSV", ";")])
def test_formats_differ_in_the_separator(marketo: Marketo, file_format: str, delimiter: str) -> None:
    marketo.create(email="a@example.com")
    status, text = marketo.export("leads", fields=["id", "email"], format=file_format, filter={"createdAt": TODAY})
    assert status["format"] == file_format
    assert rows(text, delimiter) == [["id", "email"], ["1", "a@example.com"]]


def test_the_window_includes_both_ends_to_the_second(marketo: Marketo) -> None:
    moments = ["2024-12-31T23:59:59Z", "2025-01-01T00:00:00Z", "2025-01-31T23:59:59Z", "2025-02-01T00:00:00Z"]
    seed(marketo.store, ({"email": f"p{n}@example.com", "createdAt": at} for n, at in enumerate(moments)))
    _, text = marketo.export("leads", fields=["id"], filter={"createdAt": JANUARY})
    assert rows(text) == [["id"], ["2"], ["3"]]


def test_the_updated_filter_follows_the_last_change_of_any_field_also_a_custom_one(marketo: Marketo) -> None:
    marketo.create(email="a@example.com", dynamicsLeadId="1")
    marketo.control("clock", ahead_s=10 * 86_400)
    marketo.sign_in(marketo.http)
    marketo.create(email="b@example.com")
    marketo.sync({"email": "a@example.com", "dynamicsLeadId": "2"})
    later = {
        "startAt": (datetime.now(UTC) + timedelta(days=9)).isoformat(timespec="seconds"),
        "endAt": (datetime.now(UTC) + timedelta(days=11)).isoformat(timespec="seconds"),
    }
    _, text = marketo.export("leads", fields=["id", "updatedAt"], filter={"updatedAt": later})
    (_, (first, updated_at), (second, _)) = rows(text)
    assert (first, second) == ("1", "2")
    assert updated_at < later["startAt"]  # custom fields leave the visible clock alone


def test_activities_are_exported_with_display_names_and_a_json_object_and_without_deletions(marketo: Marketo) -> None:
    person_id = marketo.create(email="a@example.com", firstName="A")
    marketo.sync({"email": "a@example.com", "firstName": "B"})
    marketo.post("leads/delete.json", {"input": [{"id": person_id}]})
    status, text = marketo.export("activities", filter={"createdAt": TODAY})
    header, new, change = rows(text)
    assert header == [
        *("marketoGUID", "leadId", "activityDate", "activityTypeId", "campaignId", "primaryAttributeValueId"),
        *("primaryAttributeValue", "attributes"),
    ]
    assert (new[3], new[5], new[6]) == ("12", "null", "null")
    assert (change[1], change[3], change[5], change[6]) == (str(person_id), "13", "53", "First Name")
    assert json.loads(change[7])["New Value"] == "B"
    assert status["numberOfRecords"] == 2
    _, narrow = marketo.export(
        "activities",
        fields=["leadId", "actionResult"],
        filter={"createdAt": TODAY, "activityTypeIds": [13], "primaryAttributeValues": ["First Name"]},
    )
    assert rows(narrow) == [["leadId", "actionResult"], [str(person_id), "null"]]


def test_ranges_are_206_open_ended_ones_too(marketo: Marketo) -> None:
    marketo.sync(*({"email": f"person{n}@example.com"} for n in range(100)))
    status, text = marketo.export("leads", fields=["id", "email"], filter={"createdAt": TODAY})
    url, whole, size = f"{LEADS}/{status['exportId']}/file.json", text.encode(), status["fileSize"]
    full = marketo.http.get(url)
    assert full.headers["accept-ranges"] == "bytes"
    assert full.headers["content-type"] == "text/csv;charset=UTF-8"
    for asked, first, last in [
        ("0-0", 0, 0),
        ("0-99", 0, 99),
        ("100-", 100, size - 1),
        (f"{size - 1}-", size - 1, size - 1),
    ]:
        part = marketo.http.get(url, headers={"Range": f"bytes={asked}"})
        assert part.status_code == 206
        assert part.headers["content-range"] == f"bytes {first}-{last}/{size}"
        assert part.headers["content-length"] == str(last - first + 1)
        assert part.content == whole[first : last + 1]


def test_a_file_that_is_not_ready_unknown_or_a_week_old_is_a_plain_404(marketo: Marketo) -> None:
    waiting = create(marketo)
    for export_id in (waiting, "nothing", "../marketo.sqlite", "%2e%2e%2fmarketo.sqlite"):
        answer = marketo.http.get(f"{LEADS}/{export_id}/file.json")
        if answer.headers["content-type"].startswith("text/plain"):
            assert answer.status_code == 404
        else:  # a path with more slashes than the API has
            assert codes(answer.json()) == ["610"]
    status, _ = marketo.export("leads", fields=["id"], filter={"createdAt": TODAY})
    url = f"{LEADS}/{status['exportId']}/file.json"
    assert marketo.http.get(url).status_code == 200
    marketo.control("behaviour", lose_export_files=True)
    assert marketo.http.get(url).status_code == 404
    marketo.control("behaviour", lose_export_files=False)
    marketo.control("clock", ahead_s=7 * 86_400 + 60)
    marketo.sign_in(marketo.http)
    assert marketo.http.get(url).status_code == 404
    assert (marketo.store.exports_dir / status["exportId"]).exists()
    marketo.export("leads", fields=["id"], filter={"createdAt": TODAY})
    assert not (marketo.store.exports_dir / status["exportId"]).exists()


def test_two_jobs_run_ten_wait_in_all_and_the_next_is_told_1029(start: Callable[..., Marketo]) -> None:
    marketo = start(time_scale=1.0)
    marketo.control("behaviour", calls_per_window=1000)
    ids = [create(marketo) for _ in range(11)]
    for export_id in ids[:10]:
        assert marketo.answer("POST", f"{LEADS}/{export_id}/enqueue.json")["success"]
    refused = marketo.answer("POST", f"{LEADS}/{ids[10]}/enqueue.json")
    assert refused["errors"] == [{"code": "1029", "message": "Too many jobs (10) in queue"}]
    again = marketo.answer("POST", f"{LEADS}/{ids[0]}/enqueue.json")
    assert codes(again) == ["1029"]
    assert "already queued" in again["errors"][0]["message"]
    marketo.control("clock", ahead_s=11)
    marketo.wait_for("select count(*) = 2 from export_jobs where status = 'Processing'")
    with marketo.store.lock:
        states = [row[0] for row in marketo.store.db.execute("select status from export_jobs order by rowid")]
    assert states == ["Processing"] * 2 + ["Queued"] * 8 + ["Created"]
    assert marketo.answer("POST", f"{LEADS}/{ids[9]}/cancel.json")["result"][0]["status"] == "Cancelled"
    assert marketo.answer("POST", f"{LEADS}/{ids[10]}/enqueue.json")["success"]


def test_the_daily_quota_refuses_create_and_enqueue_until_the_next_day(marketo: Marketo) -> None:
    waiting = create(marketo)
    marketo.export("leads", fields=["id"], filter={"createdAt": TODAY})
    marketo.control("behaviour", export_bytes_per_day=1)
    body = {"fields": ["id"], "filter": {"createdAt": TODAY}}
    for path in (f"{LEADS}/create.json", f"{LEADS}/{waiting}/enqueue.json"):
        answer = marketo.answer("POST", path, json=body)
        assert answer["errors"] == [{"code": "1029", "message": "Export daily quota 0MB exceeded"}]
    marketo.control("clock", ahead_s=86_400)
    marketo.sign_in(marketo.http)
    assert marketo.answer("POST", f"{LEADS}/{waiting}/enqueue.json")["success"]


def test_jobs_are_listed_by_repeated_or_comma_separated_status_in_pages_to_their_own_user_only(
    marketo: Marketo,
) -> None:
    ids = [create(marketo) for _ in range(3)]
    marketo.answer("POST", f"{LEADS}/{ids[2]}/cancel.json")
    listed = marketo.answer("GET", f"{LEADS}.json")["result"]
    assert [job["exportId"] for job in listed] == ids
    for status in ("Cancelled", "Canceled"):
        found = marketo.answer("GET", f"{LEADS}.json?status={status}&status=Failed")["result"]
        assert [job["exportId"] for job in found] == [ids[2]]
    found = marketo.answer("GET", f"{LEADS}.json?status=Created,Queued&batchSize=1")
    assert [job["exportId"] for job in found["result"]] == [ids[0]]
    rest = marketo.answer("GET", f"{LEADS}.json?status=Created,Queued&nextPageToken={found['nextPageToken']}")
    assert [job["exportId"] for job in rest["result"]] == [ids[1]]
    assert "nextPageToken" not in rest
    other = marketo.as_other()
    assert other.get(f"{LEADS}.json").json()["result"] == []
    for verb, action in (("GET", "status"), ("POST", "enqueue"), ("POST", "cancel")):
        assert codes(other.request(verb, f"{LEADS}/{ids[0]}/{action}.json").json()) == ["1013"]
    assert other.get(f"{LEADS}/{ids[0]}/file.json").status_code == 404


@pytest.mark.parametrize(
    ("kind", "request_body", "code"),
    [
        ("leads", {}, "1002"),
        ("leads", {"fields": ["id"]}, "1002"),
        ("leads", {"fields": ["id"], "filter": {}}, "1002"),
        ("leads", {"filter": {"createdAt": JANUARY}}, "1002"),
        ("leads", {"fields": "id", "filter": {"createdAt": JANUARY}}, "1001"),
        ("leads", {"fields": ["shoeSize"], "filter": {"createdAt": JANUARY}}, "1003"),
        ("leads", {"fields": ["id"], "filter": {"createdAt": JANUARY, "updatedAt": JANUARY}}, "1003"),
        ("leads", {"fields": ["id"], "filter": {"deletedAt": JANUARY}}, "1003"),
        ("leads", {"fields": ["id"], "filter": {"createdAt": "2025"}}, "1003"),
        ("leads", {"fields": ["id"], "filter": {"createdAt": {"startAt": "2025-01-01"}}}, "1003"),
        (
            "leads",
            {"fields": ["id"], "filter": {"createdAt": {"startAt": "2025-02-01", "endAt": "2025-01-01"}}},
            "1003",
        ),
        (
            "leads",
            {"fields": ["id"], "filter": {"createdAt": {"startAt": "2025-01-01", "endAt": "2025-02-02"}}},
            "1003",
        ),
        ("leads", {"fields": ["id"], "format": "XML", "filter": {"createdAt": JANUARY}}, "1003"),
        ("leads", {"fields": ["id"], "filter": {"staticListName": "x"}}, "1003"),
        ("leads", {"fields": ["id"], "filter": {"smartListId": 5}}, "1035"),
        ("activities", {"filter": {"activityTypeIds": [12]}}, "1003"),
        ("activities", {"filter": {"createdAt": JANUARY, "activityTypeIds": [37]}}, "1003"),
        ("activities", {"filter": {"createdAt": JANUARY, "activityTypeIds": ["x"]}}, "1003"),
        ("activities", {"filter": {"createdAt": JANUARY, "primaryAttributeValueIds": [1]}}, "1003"),
        ("activities", {"fields": ["email"], "filter": {"createdAt": JANUARY}}, "1003"),
    ],
)
def test_a_wrong_request_is_refused_at_create(
    marketo: Marketo, kind: str, request_body: dict[str, object], code: str
) -> None:
    assert codes(marketo.answer("POST", f"/bulk/v1/{kind}/export/create.json", json=request_body)) == [code]


def test_a_subscription_without_the_updated_filter_answers_1035_at_create(marketo: Marketo) -> None:
    marketo.control("behaviour", updated_at_filter=False)
    body = {"fields": ["id"], "filter": {"updatedAt": JANUARY}}
    assert marketo.answer("POST", f"{LEADS}/create.json", json=body)["errors"] == [
        {"code": "1035", "message": "Unsupported filter type for target subscription: updatedAt"}
    ]


def test_jobs_waiting_and_half_done_when_the_server_ended_are_finished_after_a_restart(
    start: Callable[..., Marketo],
) -> None:
    marketo = start(time_scale=1.0)
    marketo.create(email="a@example.com")
    first, second = (create(marketo, filter={"createdAt": TODAY}) for _ in range(2))
    for export_id in (first, second):
        marketo.answer("POST", f"{LEADS}/{export_id}/enqueue.json")
    with marketo.store.lock:
        marketo.store.db.execute(
            "update export_jobs set status = 'Processing', started_at = queued_at where export_id = ?", (first,)
        )
    marketo = start(time_scale=1000.0)
    deadline = time.monotonic() + LONGEST_S
    while time.monotonic() < deadline and any(
        shown(marketo, export_id)["status"] != "Completed" for export_id in (first, second)
    ):
        time.sleep(0.05)
    for export_id in (first, second):
        assert rows(marketo.http.get(f"{LEADS}/{export_id}/file.json").text) == [["id"], ["1"]]


@story
def test_fifty_thousand_people_are_exported_to_the_last(marketo: Marketo) -> None:
    people = list(sample_people(10_000, 1))
    seed(marketo.store, ({**person, "createdAt": "2025-01-15T00:00:00Z"} for _ in range(5) for person in people))
    fields = [name for name in people[0] if name != "createdAt"]
    status, text = marketo.export("leads", fields=["id", *fields], filter={"createdAt": JANUARY})
    assert status["numberOfRecords"] == 50_000
    assert sum(1 for _ in csv.reader(io.StringIO(text))) == 50_001
