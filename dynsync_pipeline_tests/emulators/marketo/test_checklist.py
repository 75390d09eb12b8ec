"""What naive emulators miss (docs/protocols/marketo.md#checklist): a test for each item, under its number.

The neighbouring files test the same areas in depth; here stands that no item is forgotten.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import httpx

from dynsync_pipeline.emulators.marketo.seeding import seed
from dynsync_pipeline_tests.emulators.marketo.conftest import Marketo, codes, reasons, until_done

DESCRIBE = "/rest/v1/leads/describe.json"
LEADS = "/bulk/v1/leads/export"


def window(days: int = 2) -> dict[str, str]:
    now = datetime.now(UTC)
    ends = {"startAt": now - timedelta(days=days), "endAt": now + timedelta(days=days)}
    return {name: moment.isoformat(timespec="seconds") for name, moment in ends.items()}


def pass_time(marketo: Marketo, **span: float) -> None:
    marketo.control("clock", ahead_s=timedelta(**span).total_seconds())
    marketo.sign_in(marketo.http)


def test_checklist_01_failures_are_http_200_but_for_identity_files_and_sizes(marketo: Marketo) -> None:
    http = marketo.http
    refused = [
        http.get("/nothing"),
        http.put(DESCRIBE),
        http.post("/rest/v1/leads.json", content=b"{"),
        http.get("/rest/v1/leads.json"),
        http.get(DESCRIBE, headers={"Authorization": ""}),
    ]
    assert {answer.status_code for answer in refused} == {200}
    assert [answer.json()["errors"][0]["code"] for answer in refused] == ["610", "605", "609", "1002", "603"]
    real = [
        http.get("/identity/oauth/token", params={"grant_type": "client_credentials", "client_id": "x"}),
        http.get(f"{LEADS}/nothing/file.json"),
        http.post("/rest/v1/leads.json", content=b" " * 1_100_000),
        http.get(DESCRIBE, params={"x": "y" * 8200}),
    ]
    assert [answer.status_code for answer in real] == [401, 404, 413, 414]
    assert real[1].headers["content-type"].startswith("text/plain")


def test_checklist_02_one_token_with_a_shrinking_life_then_602_once_then_601_and_603_without(marketo: Marketo) -> None:
    first = marketo.token()
    marketo.control("clock", ahead_s=100)
    second = marketo.token()
    assert second["access_token"] == first["access_token"]
    assert second["expires_in"] <= first["expires_in"] - 100
    marketo.control("clock", ahead_s=3600)
    assert [codes(marketo.answer("GET", DESCRIBE)) for _ in range(3)] == [["602"], ["601"], ["601"]]
    del marketo.http.headers["Authorization"]
    assert codes(marketo.answer("GET", DESCRIBE)) == ["603"]


def test_checklist_03_identity_by_either_verb_and_place_with_oauth_errors(marketo: Marketo) -> None:
    store = marketo.store
    good = {"grant_type": "client_credentials", "client_id": store.client_id, "client_secret": store.client_secret}
    for verb in ("GET", "POST"):
        for in_query in (True, False):
            assert marketo.identity(verb, good, in_query=in_query).status_code == 200
            bad = marketo.identity(verb, {**good, "client_secret": "x"}, in_query=in_query)
            assert (bad.status_code, "success" in bad.json(), bad.json()["error"]) == (401, False, "invalid_client")


def test_checklist_04_method_overrides_in_query_and_form_and_delete_as_a_verb(marketo: Marketo) -> None:
    ids = [marketo.create(email=f"p{n}@example.com") for n in range(4)]
    form = {"filterType": "id", "filterValues": ids[0]}
    by_form = marketo.answer("POST", "/rest/v1/leads.json", data={**form, "_method": "GET"})
    by_query = marketo.answer("POST", "/rest/v1/leads.json?_method=GET", data=form)
    assert by_form["result"] == by_query["result"]
    marketo.post("leads.json", {"input": [{"id": ids[0]}]}, _method="DELETE")
    marketo.answer("DELETE", "/rest/v1/leads.json", json={"input": [{"id": ids[1]}]})
    marketo.answer("DELETE", f"/rest/v1/leads.json?id={ids[2]}")
    left = marketo.get("leads.json", filterType="id", filterValues=ids)["result"]
    assert [person["id"] for person in left] == ids[3:]


def test_checklist_05_unknown_parameters_and_members_are_tolerated(marketo: Marketo) -> None:
    body: dict[str, object] = {"fields": ["id"], "filter": {"createdAt": window()}, "colour": "red"}
    created = marketo.answer("POST", f"{LEADS}/create.json?batchSize=300&shape=round", json=body)
    assert created["success"]
    body = {"input": [{"email": "a@example.com"}], "asyncProcessing ": "false"}
    assert marketo.post("leads.json", body, batchSize=300)["result"][0]["status"] == "created"


def test_checklist_06_lists_come_comma_separated_and_repeated(marketo: Marketo) -> None:
    ids = [marketo.create(email=f"p{n}@example.com") for n in range(3)]
    for values in (f"{ids[0]},{ids[2]}", [ids[0], ids[2]], [f"{ids[0]}", f" {ids[2]} ,"]):
        found = marketo.get("leads.json", filterType="id", filterValues=values, fields=["email,title", "city"])[
            "result"
        ]
        assert [person["id"] for person in found] == [ids[0], ids[2]]
        assert set(found[0]) == {"id", "email", "title", "city"}
    gone = marketo.answer("POST", f"/rest/v1/leads/delete.json?id={ids[0]}&id={ids[1]},{ids[2]}")["result"]
    assert [result["status"] for result in gone] == ["deleted"] * 3


def test_checklist_07_codes_are_strings_keys_are_in_order_and_empty_members_are_left_out(marketo: Marketo) -> None:
    marketo.create(email="a@example.com")
    answer = marketo.get("leads.json", filterType="email", filterValues="a@example.com")
    assert list(answer) == ["requestId", "result", "success"]
    refused = marketo.get("leads.json")
    assert list(refused) == ["requestId", "success", "errors"]
    assert isinstance(refused["errors"][0]["code"], str)


def test_checklist_08_activity_pages_always_have_a_token_and_may_be_short_or_bare_while_there_is_more(
    marketo: Marketo,
) -> None:
    records = [{"email": f"p{n}@example.com"} for n in range(300)]
    marketo.sync(*records)
    for title in ("A", "B", "C", "D"):
        marketo.sync(*({**record, "title": title} for record in records))
    marketo.sync({**records[0], "city": "Rome"})
    token, shapes = marketo.cursor(), []
    while True:
        page = marketo.get("activities/leadchanges.json", nextPageToken=token, fields="city", batchSize=250)
        shapes.append((len(page.get("result", [])), "result" in page, page["moreResult"]))
        token = page["nextPageToken"]
        if not page["moreResult"]:
            break
    assert (250, True, True) in shapes
    assert (50, True, True) in shapes  # short, and yet not the last
    assert shapes[-1] == (1, True, False)
    marketo.sync({**records[1], "city": "Oslo"})
    (entry,) = marketo.feed("/leadchanges", token, fields="city")
    assert entry["fields"][0]["newValue"] == "Oslo"
    bare = marketo.get("activities/deletedleads.json", nextPageToken=token)
    assert ("result" in bare, bare["moreResult"], bool(bare["nextPageToken"])) == (False, False, True)


def test_checklist_09_three_encodings_of_one_change(marketo: Marketo) -> None:
    marketo.create(email="a@example.com")
    token = marketo.end_of_log()
    marketo.sync({"email": "a@example.com", "unsubscribed": True})
    marketo.create(email="b@example.com")
    change, new = marketo.feed("/leadchanges", token, fields="unsubscribed")
    expected = {"id": 77, "name": "unsubscribed", "newValue": "true", "oldValue": "false"}
    assert (change["fields"], new["activityTypeId"], new["fields"]) == ([expected], 12, [])
    change = marketo.feed("", token, activityTypeIds="13")[0]
    assert (change["primaryAttributeValueId"], change["primaryAttributeValue"]) == (77, "Unsubscribed")
    assert {"name": "New Value", "value": "true"} in change["attributes"]
    _, text = marketo.export("activities", filter={"createdAt": window(), "activityTypeIds": [13]})
    _, row = csv.reader(io.StringIO(text))
    assert (row[5], row[6], json.loads(row[7])["New Value"]) == ("77", "Unsubscribed", "true")


def test_checklist_10_results_come_in_order_per_record_in_the_dialect_of_each_call(marketo: Marketo) -> None:
    bad, good = marketo.sync({"email": "a@example.com", "firstName": "A", "leadScore": "x"}, {"email": "b@example.com"})
    assert (set(bad), set(good)) == ({"status", "reasons"}, {"id", "status"})
    assert marketo.get("leads.json", filterType="email", filterValues="a@example.com")["result"] == []
    company = marketo.post("companies.json", {"input": [{"company": "No key"}, {"externalCompanyId": "A"}]})["result"]
    assert [set(result) for result in company] == [{"seq", "status", "reasons"}, {"seq", "id", "status"}]
    (activity,) = marketo.post("activities/external.json", {"input": [{"leadId": 1}]})["result"]
    assert set(activity) == {"status", "errors"}


def test_checklist_11_emails_repeat_answer_1007_and_a_race_makes_duplicates(marketo: Marketo) -> None:
    record: dict[str, object] = {"email": "a@example.com"}
    marketo.sync_at_once([record, record], n_admitted=2)
    assert len(marketo.get("leads.json", filterType="email", filterValues="a@example.com")["result"]) == 2
    assert reasons(marketo.sync(record)[0]) == ["1007"]
    assert marketo.sync(record, action="createDuplicate")[0]["status"] == "created"


def test_checklist_12_every_cap(marketo: Marketo) -> None:
    seed(marketo.store, ({"email": "same@example.com"} for _ in range(1001)))
    assert codes(marketo.get("leads.json", filterType="email", filterValues="same@example.com")) == ["1003"]
    values = ",".join(str(n) for n in range(301))
    form = {"filterType": "id", "filterValues": values, "_method": "GET"}
    assert codes(marketo.answer("POST", "/rest/v1/leads.json", data=form)) == ["1003"]
    assert marketo.http.get(DESCRIBE, params={"x": "y" * 8192}).status_code == 414
    assert marketo.http.post("/rest/v1/leads.json", content=b" " * (2**20 + 1)).status_code == 413
    token = marketo.cursor()
    too_many = {"nextPageToken": token, "activityTypeIds": "12", "leadIds": ",".join(["1"] * 31)}
    assert codes(marketo.get("activities.json", **too_many)) == ["1003"]
    too_many = {"nextPageToken": token, "activityTypeIds": ",".join(["12"] * 11)}
    assert codes(marketo.get("activities.json", **too_many)) == ["1003"]


def test_checklist_13_a_no_op_says_updated_and_moves_nothing_and_creation_may_be_after_the_update(
    marketo: Marketo,
) -> None:
    people = [{"email": f"p{n}@example.com", "title": "T"} for n in range(14)]
    marketo.sync(*people)
    found = marketo.get("leads.json", filterType="email", filterValues=[person["email"] for person in people])["result"]
    assert any(person["updatedAt"] < person["createdAt"] for person in found)
    token = marketo.end_of_log()
    pass_time(marketo, minutes=1)
    assert [result["status"] for result in marketo.sync(*people)] == ["updated"] * 14
    again = marketo.get("leads.json", filterType="email", filterValues=[person["email"] for person in people])["result"]
    assert again == found
    assert marketo.feed("", token, activityTypeIds="12,13") == []
    now = datetime.now(UTC)
    later = {"startAt": (now + timedelta(seconds=30)).isoformat(), "endAt": (now + timedelta(hours=1)).isoformat()}
    status, _ = marketo.export("leads", fields=["id"], filter={"updatedAt": later})
    assert status["numberOfRecords"] == 0


def test_checklist_14_the_updated_filter_has_a_clock_of_its_own(marketo: Marketo) -> None:
    person_id = marketo.create(email="a@example.com")
    before = marketo.person(person_id)["updatedAt"]
    pass_time(marketo, days=10)
    marketo.sync({"email": "a@example.com", "dynamicsLeadId": "1"})
    assert marketo.person(person_id)["updatedAt"] == before
    start = datetime.now(UTC) + timedelta(days=9)
    later = {"startAt": start.isoformat(), "endAt": (start + timedelta(days=2)).isoformat()}
    status, _ = marketo.export("leads", fields=["id"], filter={"updatedAt": later})
    assert status["numberOfRecords"] == 1


def test_checklist_15_nulls_are_explicit_booleans_false_milliseconds_dropped_types_checked(marketo: Marketo) -> None:
    values = {"unsubscribed": None, "emailSuspendedAt": "2026-01-02T03:04:05.999Z", "firstName": ""}
    person_id = marketo.create(email="a@example.com", **values)
    assert marketo.person(person_id, *values, "title") == {
        "id": person_id,
        "unsubscribed": False,
        "emailSuspendedAt": "2026-01-02T03:04:05Z",
        "firstName": None,
        "title": None,
    }
    wrong: dict[str, object] = {
        "leadScore": 14.1,
        "urgency": "14c",
        "unsubscribed": "other",
        "emailSuspendedAt": "yesterday",
        "email": "bademail",
    }
    for field, value in wrong.items():
        assert reasons(marketo.sync({"email": "a@example.com", field: value})[0]) == ["1003"]
    marketo.post(
        "leads/schema/fields.json", {"input": [{"name": "share", "displayName": "Share", "dataType": "percent"}]}
    )
    assert reasons(marketo.sync({"email": "a@example.com", "share": "100%"})[0]) == ["1003"]


def test_checklist_16_companies_show_on_people_refuse_under_native_crm_and_are_silent_when_large(
    marketo: Marketo,
) -> None:
    marketo.post("companies.json", {"input": [{"externalCompanyId": "A", "company": "Acme"}]})
    seed(marketo.store, ({"email": f"p{n}@example.com", "externalCompanyId": "A"} for n in range(5001)))
    token = marketo.end_of_log()
    marketo.post("companies.json", {"input": [{"externalCompanyId": "A", "company": "Acme Ltd"}]})
    assert marketo.person(5001, "company")["company"] == "Acme Ltd"
    assert marketo.feed("/leadchanges", token, fields="company") == []
    marketo.post("leads/delete.json", {"input": [{"id": 1}]})
    marketo.post("companies.json", {"input": [{"externalCompanyId": "A", "company": "Acme Inc"}]})
    assert len(marketo.feed("/leadchanges", token, fields="company")) == 5000
    marketo.control("behaviour", native_crm=True)
    assert codes(marketo.post("companies.json", {"input": [{"externalCompanyId": "A"}]})) == ["1018"]


def test_checklist_17_a_deletion_is_at_once_logged_for_14_days_and_out_of_bulk(marketo: Marketo) -> None:
    token = marketo.cursor()
    ids = [marketo.create(email=f"p{n}@example.com", firstName=f"P{n}") for n in range(2)]
    marketo.sync({"email": "p1@example.com", "title": "T"})
    marketo.post("leads/delete.json", {"input": [{"id": ids[0]}]})
    assert marketo.get("leads.json", filterType="id", filterValues=ids[0])["result"] == []
    _, text = marketo.export("leads", fields=["id"], filter={"createdAt": window()})
    assert text.split() == ["id", str(ids[1])]
    (gone,) = marketo.feed("/deletedleads", token)
    assert (gone["activityTypeId"], gone["leadId"], gone["primaryAttributeValue"]) == (37, ids[0], "P0")
    pass_time(marketo, days=14, minutes=1)
    assert marketo.feed("/deletedleads", token) == []
    assert len(marketo.feed("", token, activityTypeIds="13")) == 1
    pass_time(marketo, days=77)
    assert marketo.feed("", token, activityTypeIds="13") == []


def test_checklist_18_merged_people_vanish_and_the_trail_is_a_switch(marketo: Marketo) -> None:
    token = marketo.cursor()
    ids = [marketo.create(email=f"p{n}@example.com") for n in range(3)]
    marketo.post(f"leads/{ids[0]}/merge.json", leadId=ids[1])
    assert marketo.get(f"lead/{ids[1]}.json")["result"] == []
    assert marketo.feed("/deletedleads", token) == []
    assert len(marketo.feed("", token, activityTypeIds="32")) == 1
    marketo.control("behaviour", merge_trail=True)
    marketo.post(f"leads/{ids[0]}/merge.json", leadId=ids[2])
    assert [entry["leadId"] for entry in marketo.feed("/deletedleads", token)] == [ids[2]]


def test_checklist_19_an_export_starts_created_queues_by_two_and_ten_and_tells_the_bytes_it_serves(
    start: Callable[..., Marketo],
) -> None:
    marketo = start(time_scale=1.0)
    marketo.create(email="a@example.com")
    body = {"fields": ["id", "email"], "filter": {"createdAt": window()}}
    ids = []
    for _ in range(12):
        (job,) = marketo.answer("POST", f"{LEADS}/create.json", json=body)["result"]
        assert (job["status"], "queuedAt" in job) == ("Created", False)
        ids.append(job["exportId"])
    cancelled = marketo.answer("POST", f"{LEADS}/{ids[11]}/cancel.json")["result"][0]["status"]
    assert cancelled == "Cancelled"
    answers = [marketo.answer("POST", f"{LEADS}/{export_id}/enqueue.json") for export_id in ids[:11]]
    assert [answer["success"] for answer in answers] == [True] * 10 + [False]
    assert codes(answers[10]) == ["1029"]
    marketo.control("clock", ahead_s=11)
    marketo.wait_for("select count(*) = 2 from export_jobs where status = 'Processing' and checksum is not null")
    (shown,) = marketo.answer("GET", f"{LEADS}/{ids[0]}/status.json")["result"]
    assert shown["status"] == "Queued"  # a status is up to a minute old
    marketo.control("clock", ahead_s=50)
    marketo.wait_for("select count(*) = 2 from export_jobs where status = 'Completed'")
    (done,) = marketo.answer("GET", f"{LEADS}/{ids[0]}/status.json")["result"]
    content = marketo.http.get(f"{LEADS}/{ids[0]}/file.json").content
    assert (done["status"], done["fileSize"]) == ("Completed", len(content))
    assert done["fileChecksum"] == f"sha256:{hashlib.sha256(content).hexdigest()}"


def test_checklist_20_the_file_has_null_words_objects_newlines_ranges_and_a_type_that_is_not_json(
    marketo: Marketo,
) -> None:
    marketo.create(email="a@example.com", mktoPersonNotes="one\ntwo")
    status, text = marketo.export("leads", fields=["email", "title", "mktoPersonNotes"], filter={"createdAt": window()})
    assert text == 'email,title,mktoPersonNotes\na@example.com,null,"one\ntwo"\n'
    url = f"{LEADS}/{status['exportId']}/file.json"
    assert "json" not in marketo.http.get(url).headers["content-type"]
    for asked, part in (("0-4", text[:5]), ("5-", text[5:])):
        answer = marketo.http.get(url, headers={"Range": f"bytes={asked}"})
        assert (answer.status_code, answer.text) == (206, part)
    _, log = marketo.export("activities", fields=["attributes"], filter={"createdAt": window()})
    assert isinstance(json.loads(list(csv.reader(io.StringIO(log)))[1][0]), dict)
    marketo.control("behaviour", lose_export_files=True)
    assert marketo.http.get(url).status_code == 404


def test_checklist_21_1035_is_a_switch_and_1029_tells_queue_from_quota(marketo: Marketo) -> None:
    body = {"fields": ["id"], "filter": {"updatedAt": window()}}
    (job,) = marketo.answer("POST", f"{LEADS}/create.json", json=body)["result"]
    marketo.control("behaviour", updated_at_filter=False)
    assert codes(marketo.answer("POST", f"{LEADS}/create.json", json=body)) == ["1035"]
    enqueue = f"{LEADS}/{job['exportId']}/enqueue.json"
    marketo.answer("POST", enqueue)
    already = marketo.answer("POST", enqueue)["errors"][0]
    marketo.control("behaviour", export_bytes_per_day=0)
    body = {"fields": ["id"], "filter": {"createdAt": window()}}
    quota = marketo.answer("POST", f"{LEADS}/create.json", json=body)["errors"][0]
    assert (already["code"], quota["code"]) == ("1029", "1029")
    assert already["message"] != quota["message"]
    assert quota["message"].startswith("Export daily quota ")


def test_checklist_22_window_concurrency_and_day_are_the_subscriptions_and_usage_agrees(
    start: Callable[..., Marketo],
) -> None:
    marketo = start(time_scale=1.0)
    marketo.control("behaviour", calls_per_window=3, calls_per_day=5)
    other = marketo.as_other()
    answers = [other.get(DESCRIBE).json(), *(marketo.answer("GET", DESCRIBE) for _ in range(3))]
    assert [answer["success"] for answer in answers] == [True, True, True, False]
    assert codes(answers[3]) == ["606"]
    marketo.control("clock", ahead_s=21)
    assert codes(marketo.answer("PUT", DESCRIBE)) == ["605"]  # uncounted
    assert [marketo.answer("GET", DESCRIBE)["success"] for _ in range(2)] == [True, True]
    assert codes(marketo.answer("GET", DESCRIBE)) == ["607"]
    pass_time(marketo, days=1)
    days = marketo.get("stats/usage/last7days.json")["result"]
    assert [day["total"] for day in days[:2]] == [0, 5]
    marketo.control("behaviour", calls_per_window=100, calls_per_day=100, concurrent_calls=1)
    seen = marketo.sync_at_once([{"email": f"p{n}@example.com"} for n in "ab"], n_admitted=1)
    assert sorted(answer["success"] for answer in seen) == [False, True]
    assert codes(next(answer for answer in seen if not answer["success"])) == ["615"]


def test_checklist_23_jobs_are_seen_by_their_own_user_only(marketo: Marketo) -> None:
    status, _ = marketo.export("leads", fields=["id"], filter={"createdAt": window()})
    other = marketo.as_other()
    assert other.get(f"{LEADS}.json").json()["result"] == []
    assert other.get(f"{LEADS}/{status['exportId']}/status.json").json()["success"] is False
    assert other.get(f"{LEADS}/{status['exportId']}/file.json").status_code == 404


def test_checklist_24_gzip_from_1024_bytes_and_never_on_bulk_and_odd_dates_on_assets(marketo: Marketo) -> None:
    gzip = {"Accept-Encoding": "gzip"}
    assert marketo.http.get(DESCRIBE, headers=gzip).headers["content-encoding"] == "gzip"
    assert "content-encoding" not in marketo.http.get("/rest/v1/stats/usage.json", headers=gzip).headers
    marketo.sync(*({"email": f"person{n}@example.com"} for n in range(100)))
    status, text = marketo.export("leads", fields=["email"], filter={"createdAt": window()})
    assert len(text) > 1024
    answer = marketo.http.get(f"{LEADS}/{status['exportId']}/file.json", headers=gzip)
    assert "content-encoding" not in answer.headers
    form = {"name": "Fair", "folder": "{}"}
    (made,) = marketo.answer("POST", "/rest/asset/v1/staticLists.json", data=form)["result"]
    assert made["createdAt"].endswith("Z+0000")


def test_checklist_25_an_import_is_complete_and_an_export_completed(marketo: Marketo) -> None:
    files = {"file": ("people.csv", b"email\na@example.com\n")}
    marketo.answer("POST", "/bulk/v1/leads.json?format=csv", files=files)
    assert until_done(lambda: marketo.answer("GET", "/bulk/v1/leads/batch/1.json"))["status"] == "Complete"
    assert marketo.export("leads", fields=["id"], filter={"createdAt": window()})[0]["status"] == "Completed"


def test_checklist_26_double_slashes_are_refused_behind_a_switch(marketo: Marketo) -> None:
    url = "/rest//v1/leads/describe.json"
    identity = httpx.URL(str(marketo.http.base_url).rstrip("/") + "//identity/oauth/token")
    credentials = {
        "grant_type": "client_credentials",
        "client_id": marketo.store.client_id,
        "client_secret": marketo.store.client_secret,
    }
    assert marketo.answer("GET", url)["success"]
    assert marketo.http.get(identity, params=credentials).json()["token_type"] == "bearer"
    marketo.control("behaviour", refuse_double_slash=True)
    assert codes(marketo.answer("GET", url)) == ["610"]
    assert "access_token" not in marketo.http.get(identity, params=credentials).json()
