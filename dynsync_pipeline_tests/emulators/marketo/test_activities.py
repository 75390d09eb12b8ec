"""The activity log and its feeds (docs/protocols/marketo.md#activities)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from dynsync_pipeline.emulators.marketo.activities import Entry, log
from dynsync_pipeline_tests.emulators.marketo.conftest import Marketo, codes, counted_steps
from dynsync_pipeline_tests.properties.effort import story


def test_a_new_person_is_logged_as_new_lead_and_each_changed_value_as_change_data_value(marketo: Marketo) -> None:
    token = marketo.cursor()
    person_id = marketo.create(email="a@example.com", firstName="A")
    marketo.sync({"email": "a@example.com", "firstName": "B", "leadScore": 5, "unsubscribed": True})
    new, *changes = marketo.feed("", token, activityTypeIds="12,13")
    assert (new["activityTypeId"], new["leadId"]) == (12, person_id)
    assert [
        (
            change["activityTypeId"],
            change["primaryAttributeValueId"],
            change["primaryAttributeValue"],
            {attribute["name"]: attribute["value"] for attribute in change["attributes"]},
        )
        for change in changes
    ] == [
        (13, number, name, {**values, "Reason": "REST API: Sync Leads", "Source": source})
        for source in ["Web service API: dynsync@api.example.com"]
        for number, name, values in [
            (53, "First Name", {"New Value": "B", "Old Value": "A"}),
            (77, "Unsubscribed", {"New Value": "true", "Old Value": "false"}),
            (105, "Person Score", {"New Value": "5"}),
        ]
    ]


def test_the_source_of_a_change_names_the_api_user_who_made_it(marketo: Marketo) -> None:
    marketo.create(email="a@example.com")
    token = marketo.cursor()
    marketo.as_other().post("/rest/v1/leads.json", json={"input": [{"email": "a@example.com", "title": "Boss"}]})
    (change,) = marketo.feed("", token, activityTypeIds="13")
    assert {"name": "Source", "value": "Web service API: colleague@api.example.com"} in change["attributes"]


def test_lead_changes_name_fields_as_rest_does_and_mix_in_new_leads(marketo: Marketo) -> None:
    token = marketo.cursor()
    person_id = marketo.create(email="a@example.com", firstName="A")
    marketo.sync({"email": "a@example.com", "firstName": None, "lastName": "L", "title": "T"})
    new, first, last = marketo.feed("/leadchanges", token, fields="firstName,lastName")
    assert (new["activityTypeId"], new["fields"]) == (12, [])
    assert first["fields"] == [{"id": 53, "name": "firstName", "newValue": None, "oldValue": "A"}]
    assert last["fields"] == [{"id": 55, "name": "lastName", "newValue": "L", "oldValue": None}]
    assert {entry["leadId"] for entry in (new, first, last)} == {person_id}
    assert len({entry["marketoGUID"] for entry in (new, first, last)}) == 3
    assert all(entry["id"] > 2**32 for entry in (new, first, last))


def test_writing_what_is_there_already_is_no_activity(marketo: Marketo) -> None:
    values = {"email": "a@example.com", "firstName": "A", "leadScore": 5, "unsubscribed": True, "company": "Acme"}
    marketo.create(**values)
    token = marketo.end_of_log()
    (result,) = marketo.sync({**values, "leadScore": "5", "lastName": None, "doNotCall": None})
    assert result["status"] == "updated"
    assert marketo.feed("", token, activityTypeIds="12,13") == []


def test_every_page_has_a_token_that_resumes_where_it_ended_also_after_a_restart(
    start: Callable[..., Marketo],
) -> None:
    marketo = start()
    token = marketo.cursor()
    empty = marketo.get("activities/leadchanges.json", nextPageToken=token, fields="email")
    assert (empty["moreResult"], "result" in empty) == (False, False)
    assert list(empty) == ["requestId", "success", "nextPageToken", "moreResult"]
    marketo.sync(*({"email": f"p{n}@example.com"} for n in range(5)))
    token = empty["nextPageToken"]
    first = marketo.get("activities/leadchanges.json", nextPageToken=token, fields="email", batchSize=3)
    assert (len(first["result"]), first["moreResult"]) == (3, True)
    marketo = start()
    rest = marketo.get("activities/leadchanges.json", nextPageToken=first["nextPageToken"], fields="email", batchSize=3)
    assert (len(rest["result"]), rest["moreResult"]) == (2, False)
    ids = [entry["leadId"] for entry in first["result"] + rest["result"]]
    assert ids == sorted(ids)
    again = marketo.get("activities/leadchanges.json", nextPageToken=token, fields="email", batchSize=3)
    assert again["result"] == first["result"]


def test_a_narrow_question_gets_pages_without_result_while_there_is_more(marketo: Marketo) -> None:
    marketo.sync(*({"email": f"p{n}@example.com"} for n in range(300)))
    token = marketo.cursor(datetime.now(UTC).isoformat())
    for round_number in range(5):
        marketo.sync(*({"email": f"p{n}@example.com", "title": f"T{round_number}"} for n in range(300)))
    marketo.sync({"email": "p1@example.com", "city": "Rome"})
    page = marketo.get("activities/leadchanges.json", nextPageToken=token, fields="city")
    assert (page["moreResult"], "result" in page) == (True, False)
    (change,) = marketo.feed("/leadchanges", token, fields="city")
    assert change["fields"][0]["newValue"] == "Rome"


def test_a_token_for_a_moment_gives_what_came_after_it(marketo: Marketo) -> None:
    marketo.create(email="a@example.com")
    marketo.control("clock", ahead_s=60)
    moment = datetime.now(UTC) + timedelta(seconds=30)
    token = marketo.cursor(moment.strftime("%Y-%m-%dT%H:%M:%SZ"))
    same = marketo.cursor((moment.astimezone()).isoformat())
    assert marketo.feed("/leadchanges", token, fields="email") == []
    second = marketo.create(email="b@example.com")
    for cursor in (token, same):
        assert [entry["leadId"] for entry in marketo.feed("/leadchanges", cursor, fields="email")] == [second]
    assert set(token) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567=")


def test_a_token_for_a_moment_leaves_out_what_is_dated_before_it_and_was_logged_later(marketo: Marketo) -> None:
    token = marketo.cursor((datetime.now(UTC) - timedelta(days=1)).isoformat())
    with marketo.store.transaction() as db:
        dates = (datetime.now(UTC) - timedelta(days=days) for days in (9, 0))
        log(db, (Entry(number, 12, at, None, None, {}) for number, at in enumerate(dates)))
    assert [entry["leadId"] for entry in marketo.feed("", token, activityTypeIds=12)] == [1]


def test_feeds_can_be_narrowed_to_people(marketo: Marketo) -> None:
    token = marketo.cursor()
    ids = [marketo.create(email=f"p{n}@example.com") for n in range(4)]
    chosen = marketo.feed("", token, activityTypeIds=12, leadIds=f"{ids[1]},{ids[3]}")
    assert [entry["leadId"] for entry in chosen] == [ids[1], ids[3]]
    assert len(marketo.feed("/leadchanges", token, fields="email", leadIds=[ids[0], ids[2]])) == 2


def test_a_deleted_person_leaves_the_name_in_the_feed_of_deletions(marketo: Marketo) -> None:
    token = marketo.cursor()
    person_id = marketo.create(firstName="Amy", lastName="Lee")
    marketo.post("leads/delete.json", {"input": [{"id": person_id}]})
    (entry,) = marketo.feed("/deletedleads", token)
    assert (entry["activityTypeId"], entry["leadId"], entry["primaryAttributeValue"]) == (37, person_id, "Amy Lee")


def test_a_score_changed_by_a_flow_is_its_own_type_and_not_among_the_lead_changes(marketo: Marketo) -> None:
    person_id = marketo.create(email="a@example.com", leadScore=10)
    token = marketo.end_of_log()
    marketo.control("score", leadId=person_id, field="leadScore", change=-3, reason="Bounced")
    assert marketo.person(person_id, "leadScore")["leadScore"] == 7
    assert marketo.feed("/leadchanges", token, fields="leadScore") == []
    (entry,) = marketo.feed("", token, activityTypeIds="22")
    assert (entry["primaryAttributeValueId"], entry["primaryAttributeValue"]) == (105, "Person Score")
    assert {attribute["name"]: attribute["value"] for attribute in entry["attributes"]} == {
        "Change Value": "-3",
        "New Value": "7",
        "Old Value": "10",
        "Reason": "Bounced",
    }


def test_deletions_are_pruned_after_14_days_changes_after_90_and_new_leads_never(marketo: Marketo) -> None:
    token = marketo.cursor()
    kept, gone = marketo.create(email="a@example.com"), marketo.create(email="b@example.com")
    marketo.sync({"email": "a@example.com", "title": "T"})
    marketo.post("leads/delete.json", {"input": [{"id": gone}]})

    def present() -> list[int]:
        marketo.sign_in(marketo.http)
        return [entry["activityTypeId"] for entry in marketo.feed("", token, activityTypeIds="12,13,37")]

    assert present() == [12, 12, 13, 37]
    marketo.control("clock", ahead_s=14 * 86_400 + 1)
    assert present() == [12, 12, 13]
    assert marketo.feed("/deletedleads", token) == []
    marketo.control("clock", ahead_s=76 * 86_400)
    assert present() == [12, 12]
    assert marketo.person(kept)["email"] == "a@example.com"


@pytest.mark.parametrize(
    ("path", "params", "code"),
    [
        ("pagingtoken", {}, "1002"),
        ("pagingtoken", {"sinceDatetime": "yesterday"}, "704"),
        ("pagingtoken", {"sinceDatetime": "2026-13-01"}, "704"),
        ("leadchanges", {"fields": "email"}, "1002"),
        ("leadchanges", {"nextPageToken": "TOKEN"}, "1002"),
        ("leadchanges", {"nextPageToken": "TOKEN", "fields": "shoeSize"}, "1006"),
        ("leadchanges", {"nextPageToken": "x'; drop", "fields": "email"}, "1003"),
        ("leadchanges", {"nextPageToken": "TOKEN", "fields": "email", "leadIds": ",".join(["1"] * 31)}, "1003"),
        ("leadchanges", {"nextPageToken": "TOKEN", "fields": "email", "leadIds": "x"}, "1001"),
        ("deletedleads", {}, "1002"),
        ("", {"nextPageToken": "TOKEN"}, "1002"),
        ("", {"nextPageToken": "TOKEN", "activityTypeIds": "1,2,3,4,5,6,7,8,9,10,11"}, "1003"),
        ("", {"nextPageToken": "TOKEN", "activityTypeIds": "twelve"}, "1001"),
    ],
)
def test_a_wrong_question_is_refused(marketo: Marketo, path: str, params: dict[str, str], code: str) -> None:
    if params.get("nextPageToken") == "TOKEN":
        params = {**params, "nextPageToken": marketo.cursor()}
    assert codes(marketo.get(f"activities{'/' if path else ''}{path}.json", **params)) == [code]


def test_types_name_their_attributes_and_new_lead_has_no_primary_one(marketo: Marketo) -> None:
    types = {kind["id"]: kind for kind in marketo.get("activities/types.json")["result"]}
    assert {12, 13, 22, 24, 25, 32, 37} <= set(types)
    assert "primaryAttribute" not in types[12]
    assert [attribute["name"] for attribute in types[13]["attributes"]] == [
        *("New Value", "Old Value", "Reason", "Source")
    ]


@story
def test_a_feed_from_a_recent_moment_costs_the_same_over_a_long_log(marketo: Marketo) -> None:
    at = datetime(2025, 1, 1, tzinfo=UTC)
    with marketo.store.transaction() as db:
        log(db, (Entry(n, 12, at, None, None, {}) for n in range(150_000)))
    with counted_steps(marketo.store) as steps:
        token = marketo.cursor(datetime.now(UTC).isoformat())
        marketo.create(email="a@example.com")
        assert len(marketo.feed("/leadchanges", token, fields="email")) == 1
    assert len(steps) < 15  # of a thousand each: a tenth of one for each row of the log
