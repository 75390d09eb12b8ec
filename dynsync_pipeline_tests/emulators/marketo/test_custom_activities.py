"""Custom activity types and activities (docs/protocols/marketo.md#activities)."""

from __future__ import annotations

from typing import Any

import pytest

from dynsync_pipeline_tests.emulators.marketo.conftest import Marketo, codes

TYPE = {
    "apiName": "attendConference",
    "name": "Attend Conference",
    "triggerName": "Attends Conference",
    "filterName": "Attended Conference",
    "primaryAttribute": {"apiName": "conferenceName", "name": "Conference Name"},
}
PATH = "activities/external/type/attendConference"


def add_type(marketo: Marketo) -> int:
    (created,) = marketo.post("activities/external/type.json", TYPE)["result"]
    attributes = [{"apiName": "role", "name": "Role"}, {"apiName": "days", "name": "Days", "dataType": "integer"}]
    marketo.post(f"{PATH}/attributes/create.json", {"attributes": attributes})
    return int(created["id"])


def add(marketo: Marketo, *records: dict[str, object]) -> list[dict[str, Any]]:
    return list(marketo.post("activities/external.json", {"input": list(records)})["result"])


def test_a_type_is_a_draft_until_approved_and_only_then_takes_activities(marketo: Marketo) -> None:
    number = add_type(marketo)
    person_id = marketo.create(email="a@example.com")
    record = {
        "leadId": person_id,
        "activityDate": "2026-01-02T03:04:05Z",
        "activityTypeId": number,
        "primaryAttributeValue": "Expo",
        "attributes": [{"apiName": "role", "value": "Speaker"}, {"name": "Days", "value": 2}],
    }
    (early,) = add(marketo, record)
    assert early["errors"][0]["code"] == "1003"
    assert number not in [kind["id"] for kind in marketo.get("activities/types.json")["result"]]
    (approved,) = marketo.post(f"{PATH}/approve.json")["result"]
    assert (approved["status"], approved["id"]) == ("approved", number)
    token = marketo.cursor()
    (added,) = add(marketo, record)
    assert added["status"] == "added"
    (entry,) = marketo.feed("", token, activityTypeIds=number)
    assert (entry["id"], entry["marketoGUID"]) == (added["id"], added["marketoGUID"])
    assert (entry["activityDate"], entry["primaryAttributeValue"]) == ("2026-01-02T03:04:05Z", "Expo")
    assert entry["attributes"] == [{"name": "Role", "value": "Speaker"}, {"name": "Days", "value": "2"}]
    kind = next(kind for kind in marketo.get("activities/types.json")["result"] if kind["id"] == number)
    assert kind["primaryAttribute"] == {"name": "Conference Name", "dataType": "string"}
    assert kind["attributes"][1] == {"name": "Days", "dataType": "integer"}


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"leadId": 999}, "1004"),
        ({"leadId": None}, "1002"),
        ({"leadId": "x"}, "1003"),
        ({"activityTypeId": 13}, "1003"),
        ({"activityTypeId": []}, "1003"),
        ({"activityDate": "yesterday"}, "1003"),
        ({"activityDate": 5}, "1003"),
        ({"primaryAttributeValue": ""}, "1002"),
        ({"attributes": [{"apiName": "shoe", "value": 1}]}, "1006"),
        ({"attributes": [{"apiName": ["role"], "value": 1}]}, "1006"),
        ({"attributes": [{"apiName": "days", "value": "two"}]}, "1003"),
        ({"attributes": "role"}, "1003"),
        ({"attributes": [{"apiName": "role", "value": "x" * 65_536}]}, "1049"),
    ],
)
def test_a_refused_activity_is_skipped_with_errors_instead_of_reasons_and_the_others_go_through(
    marketo: Marketo, changed: dict[str, object], code: str
) -> None:
    number = add_type(marketo)
    marketo.post(f"{PATH}/approve.json")
    good = {
        "leadId": marketo.create(email="a@example.com"),
        "activityDate": "2026-01-02T03:04:05Z",
        "activityTypeId": number,
        "primaryAttributeValue": "Expo",
    }
    bad, added = add(marketo, {**good, **changed}, good)
    assert set(bad) == {"status", "errors"}
    assert (bad["status"], [error["code"] for error in bad["errors"]]) == ("skipped", [code])
    assert added["status"] == "added"
    assert len(marketo.feed("", marketo.cursor(), activityTypeIds=number)) == 1


def test_an_approved_type_is_changed_in_a_draft_that_can_be_discarded_or_approved(marketo: Marketo) -> None:
    add_type(marketo)
    marketo.post(f"{PATH}/approve.json")
    (changed,) = marketo.post(f"{PATH}.json", {"name": "Visit", "primaryAttribute": {"name": "Which"}})["result"]
    assert (changed["status"], changed["name"]) == ("approved with draft", "Visit")
    assert marketo.get(f"{PATH}/describe.json")["result"][0]["name"] == "Attend Conference"
    (draft,) = marketo.get(f"{PATH}/describe.json", draft="true")["result"]
    assert (draft["name"], draft["primaryAttribute"]["name"]) == ("Visit", "Which")
    (kept,) = marketo.post(f"{PATH}/discardDraft.json")["result"]
    assert (kept["status"], kept["name"]) == ("approved", "Attend Conference")
    for path in ("approve", "discardDraft"):
        assert codes(marketo.post(f"{PATH}/{path}.json")) == ["1003"]


def test_attributes_are_changed_and_deleted_by_api_name_in_the_draft(marketo: Marketo) -> None:
    add_type(marketo)
    attributes = [{"apiName": "role", "name": "Function"}]
    (updated,) = marketo.post(f"{PATH}/attributes/update.json", {"attributes": attributes})["result"]
    assert [attribute["name"] for attribute in updated["attributes"]] == ["Function", "Days"]
    (left,) = marketo.post(f"{PATH}/attributes/delete.json", {"attributes": [{"apiName": "role"}]})["result"]
    assert [attribute["apiName"] for attribute in left["attributes"]] == ["days"]
    for path, code in (("update", "1013"), ("delete", "1013")):
        answer = marketo.post(f"{PATH}/attributes/{path}.json", {"attributes": [{"apiName": "x", "name": "X"}]})
        assert codes(answer) == [code]
    answer = marketo.post(f"{PATH}/attributes/create.json", {"attributes": [{"apiName": "days", "name": "D"}]})
    assert codes(answer) == ["1005"]


def test_ten_types_and_twenty_attributes_are_the_most(marketo: Marketo) -> None:
    for number in range(10):
        assert marketo.post("activities/external/type.json", {**TYPE, "apiName": f"t{number}"})["success"]
    assert codes(marketo.post("activities/external/type.json", TYPE)) == ["1027"]
    many = [{"apiName": f"a{n}", "name": f"A{n}"} for n in range(21)]
    path = "activities/external/type/t0/attributes/create.json"
    assert codes(marketo.post(path, {"attributes": many})) == ["1028"]
    assert marketo.post(path, {"attributes": many[:20]})["success"]
    assert len(marketo.get("activities/external/types.json")["result"]) == 10
    assert marketo.post("activities/external/type/t9/delete.json")["success"]
    assert marketo.post("activities/external/type.json", TYPE)["success"]


@pytest.mark.parametrize(
    "changed",
    [{"apiName": "a b"}, {"apiName": 5}, {"name": ""}, {"primaryAttribute": {"apiName": "x"}}, {"triggerName": 1}],
)
def test_a_type_that_cannot_be_is_refused(marketo: Marketo, changed: dict[str, object]) -> None:
    assert codes(marketo.post("activities/external/type.json", {**TYPE, **changed})) == ["1003"]
    assert codes(marketo.get("activities/external/type/nothing/describe.json")) == ["1013"]
