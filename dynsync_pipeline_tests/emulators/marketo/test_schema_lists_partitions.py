"""Schema fields, partitions, static lists and the asset calls.

Source: docs/protocols/marketo.md#envelope, #describe, #reading-people, #deleting-and-merging, #checklist 6, 24.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from dynsync_pipeline.emulators.marketo.seeding import seed
from dynsync_pipeline_tests.emulators.marketo.conftest import Marketo, codes, reasons

SHOE = {"displayName": "Shoe Size", "name": "shoeSize", "dataType": "integer"}


def new_list(marketo: Marketo, name: str = "Fair") -> int:
    form = {"name": name, "folder": '{"id":1,"type":"Folder"}'}
    return int(marketo.answer("POST", "/rest/asset/v1/staticLists.json", data=form)["result"][0]["id"])


def test_a_created_field_can_be_written_read_searched_and_exported_also_after_a_restart(
    start: Callable[..., Marketo],
) -> None:
    marketo = start()
    marketo.create(email="old@example.com")
    answer = marketo.post("leads/schema/fields.json", {"input": [{**SHOE, "description": "EU", "isSensitive": True}]})
    assert answer["result"] == [{"name": "shoeSize", "status": "created"}]
    marketo = start()
    person_id = marketo.create(email="a@example.com", shoeSize="44")
    (found,) = marketo.get("leads.json", filterType="shoeSize", filterValues="44", fields="shoeSize")["result"]
    assert found == {"id": person_id, "shoeSize": 44}
    (described,) = marketo.get("leads/schema/fields/shoeSize.json")["result"]
    assert described == {
        "displayName": "Shoe Size",
        "name": "shoeSize",
        "description": "EU",
        "dataType": "integer",
        "isHidden": False,
        "isHtmlEncodingInEmail": True,
        "isSensitive": True,
        "isCustom": True,
        "isApiCreated": True,
    }
    names = {field["rest"]["name"]: field["id"] for field in marketo.get("leads/describe.json")["result"]}
    assert len(names) == 100
    assert names["shoeSize"] not in [number for name, number in names.items() if name != "shoeSize"]


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"name": "email"}, "1005"),
        ({"name": "EMAIL"}, "1005"),
        ({"name": "mktoName"}, "1005"),
        ({"name": "a b"}, "1003"),
        ({"name": 'x" integer; drop table people; --'}, "1003"),
        ({"name": None}, "1003"),
        ({"displayName": ""}, "1003"),
        ({"dataType": "reference"}, "1003"),
        ({"dataType": None}, "1003"),
        ({"isHidden": "yes"}, "1003"),
    ],
)
def test_a_field_that_cannot_be_is_skipped(marketo: Marketo, changed: dict[str, object], code: str) -> None:
    (result,) = marketo.post("leads/schema/fields.json", {"input": [{**SHOE, **changed}]})["result"]
    assert reasons(result) == [code]
    assert len(marketo.get("leads/describe.json")["result"]) == 99


def test_a_custom_field_can_be_relabelled_and_a_standard_one_not(marketo: Marketo) -> None:
    answer = marketo.post("leads/schema/fields/dynamicsType.json", {"displayName": "CRM Type"})
    assert answer["result"] == [{"name": "dynamicsType", "status": "updated"}]
    assert marketo.get("leads/schema/fields/dynamicsType.json")["result"][0]["displayName"] == "CRM Type"
    assert codes(marketo.post("leads/schema/fields/email.json", {"displayName": "X"})) == ["1003"]
    assert codes(marketo.post("leads/schema/fields/nothing.json", {"displayName": "X"})) == ["1006"]
    assert codes(marketo.get("leads/schema/fields/nothing.json")) == ["1006"]


def test_schema_fields_are_paged_and_companies_have_their_own(marketo: Marketo) -> None:
    page = marketo.get("leads/schema/fields.json", batchSize=90)
    rest = marketo.get("leads/schema/fields.json", batchSize=90, nextPageToken=page["nextPageToken"])
    assert (len(page["result"]), len(rest["result"]), "nextPageToken" in rest) == (90, 9, False)
    names = [field["name"] for field in marketo.get("companies/schema/fields.json")["result"]]
    assert "externalCompanyId" in names
    assert "email" not in names
    assert marketo.get("companies/schema/fields/company.json")["result"][0]["isApiCreated"] is False
    assert codes(marketo.get("companies/schema/fields/email.json")) == ["1006"]


def test_a_withdrawn_field_is_unknown_everywhere_until_it_comes_back_with_its_values(
    start: Callable[..., Marketo],
) -> None:
    marketo = start()
    person_id = marketo.create(email="a@example.com", rating="Hot", firstName="A")
    marketo.control("withdrawn", fields=["rating", "firstName"])
    marketo = start()
    assert codes(marketo.get(f"lead/{person_id}.json", fields="rating")) == ["1006"]
    (result,) = marketo.sync({"email": "a@example.com", "rating": "Cold"})
    assert reasons(result) == ["1006"]
    assert codes(marketo.get("activities/leadchanges.json", nextPageToken=marketo.cursor(), fields="rating")) == [
        "1006"
    ]
    window = {"startAt": "2026-01-01", "endAt": "2026-01-02"}
    body = {"fields": ["rating"], "filter": {"createdAt": window}}
    assert codes(marketo.answer("POST", "/bulk/v1/leads/export/create.json", json=body)) == ["1003"]
    assert len(marketo.get("leads/describe.json")["result"]) == 97
    assert marketo.sync({"email": "a@example.com", "title": "T"})[0]["status"] == "updated"
    marketo.control("withdrawn", fields=[])
    assert marketo.person(person_id, "rating")["rating"] == "Hot"


def test_people_move_between_partitions_and_into_one_at_creation(marketo: Marketo) -> None:
    marketo.control("partitions", name="EMEA")
    assert [part["name"] for part in marketo.get("leads/partitions.json")["result"]] == ["Default", "EMEA"]
    (created,) = marketo.sync({"email": "a@example.com"}, partitionName="EMEA")
    assert marketo.person(created["id"], "leadPartitionId")["leadPartitionId"] == 2
    moves = [
        {"id": created["id"], "partitionName": "Default"},
        {"id": 999, "partitionName": "EMEA"},
        {"id": created["id"], "partitionName": "APAC"},
        {"id": "x", "partitionName": "EMEA"},
    ]
    results = marketo.post("leads/partitions.json", {"input": moves})["result"]
    assert results[0] == {"id": created["id"], "status": "updated"}
    assert [reasons(result) for result in results[1:]] == [["1004"], ["1008"], ["1003"]]
    assert marketo.person(created["id"], "leadPartitionId")["leadPartitionId"] == 1


def test_people_are_put_on_a_list_once_found_there_and_taken_off(marketo: Marketo) -> None:
    list_id = new_list(marketo)
    ids = [marketo.create(email=f"p{n}@example.com") for n in range(3)]
    before = marketo.person(ids[0])["updatedAt"]
    token = marketo.end_of_log()
    added = marketo.post(f"lists/{list_id}/leads.json", {"input": [{"id": ids[0]}, {"id": str(ids[1])}, {"id": 999}]})[
        "result"
    ]
    assert added[:2] == [{"id": person_id, "status": "added"} for person_id in ids[:2]]
    assert added[2]["reasons"][0]["code"] == "1004"
    marketo.answer("POST", f"/rest/v1/lists/{list_id}/leads.json?id={ids[0]}&id={ids[1]}")
    assert marketo.person(ids[0])["updatedAt"] == before
    for path in ("list", "lists"):
        found = marketo.get(f"{path}/{list_id}/leads.json", fields="email")["result"]
        assert [person["email"] for person in found] == ["p0@example.com", "p1@example.com"]
    member = marketo.get(f"lists/{list_id}/leads/ismember.json", id=ids)["result"]
    assert [answer["status"] for answer in member] == ["memberof", "memberof", "notmemberof"]
    removed = marketo.answer("DELETE", f"/rest/v1/lists/{list_id}/leads.json", json={"input": [{"id": ids[0]}]})
    assert removed["result"] == [{"id": ids[0], "status": "removed"}]
    log = marketo.feed("", token, activityTypeIds="24,25")
    assert [(entry["activityTypeId"], entry["leadId"], entry["primaryAttributeValue"]) for entry in log] == [
        (24, ids[0], "Fair"),
        (24, ids[1], "Fair"),
        (25, ids[0], "Fair"),
    ]
    only = marketo.feed("", token, activityTypeIds="24", listId=list_id)
    assert [entry["leadId"] for entry in only] == [ids[1]]
    marketo.post("leads/delete.json", {"input": [{"id": ids[1]}]})
    assert marketo.get(f"lists/{list_id}/leads.json")["result"] == []


def test_lists_are_found_by_id_and_name_in_pages(marketo: Marketo) -> None:
    ids = [new_list(marketo, name) for name in ("A", "B", "C")]
    page = marketo.get("lists.json", batchSize=2)
    rest = marketo.get("lists.json", batchSize=2, nextPageToken=page["nextPageToken"])
    assert [found["id"] for found in page["result"] + rest["result"]] == ids
    assert [found["name"] for found in marketo.get("lists.json", name=["A", "C"])["result"]] == ["A", "C"]
    assert marketo.get(f"lists/{ids[1]}.json")["result"][0]["name"] == "B"
    assert codes(marketo.get("lists/99.json")) == ["1013"]
    assert codes(marketo.get("lists/99/leads.json")) == ["1013"]


def test_more_than_a_thousand_members_are_read_in_pages_and_exported(marketo: Marketo) -> None:
    list_id = new_list(marketo)
    seed(marketo.store, ({"email": f"p{n}@example.com", "createdAt": "2025-01-01T00:00:00Z"} for n in range(1100)))
    with marketo.store.transaction() as db:
        db.execute("insert into list_members select ?, id from people", (list_id,))
    seen, token = [], None
    while True:
        page = marketo.get(f"lists/{list_id}/leads.json", **({"nextPageToken": token} if token else {}))
        seen += [person["id"] for person in page["result"]]
        token = page.get("nextPageToken")
        if token is None:
            break
    assert seen == list(range(1, 1101))
    status, _ = marketo.export("leads", fields=["id"], filter={"staticListName": "Fair"})
    assert status["numberOfRecords"] == 1100
    status, _ = marketo.export("leads", fields=["id"], filter={"staticListId": list_id})
    assert status["numberOfRecords"] == 1100


def test_feeds_narrowed_to_a_very_large_list_fail_once_the_announced_switch_is_on(marketo: Marketo) -> None:
    list_id = new_list(marketo)
    with marketo.store.transaction() as db:
        db.executemany("insert into list_members values (?, ?)", ((list_id, n) for n in range(10_000)))
    params = {"nextPageToken": marketo.cursor(), "fields": "email", "listId": list_id}
    assert marketo.get("activities/leadchanges.json", **params)["success"]
    marketo.control("behaviour", refuse_large_lists=True)
    assert codes(marketo.get("activities/leadchanges.json", **params)) == ["1003"]


def test_asset_calls_have_their_own_envelope_and_dates(marketo: Marketo) -> None:
    list_id = new_list(marketo)
    for path in (f"staticList/{list_id}", "staticList/byName", "staticLists"):
        answer = marketo.answer("GET", f"/rest/asset/v1/{path}.json", params={"name": "Fair", "maxReturn": 200})
        assert (answer["errors"], answer["warnings"]) == ([], [])
        (found,) = answer["result"]
        assert found["createdAt"].endswith("Z+0000")
    path = f"/rest/asset/v1/staticList/{list_id}"
    renamed = marketo.answer("POST", f"{path}.json", data={"name": "Expo"})
    assert renamed["result"][0]["name"] == "Expo"
    assert marketo.answer("POST", f"{path}/delete.json")["result"] == [{"id": list_id}]
    assert codes(marketo.answer("POST", f"{path}/delete.json")) == ["702"]
    gone = marketo.answer("GET", f"{path}.json")
    assert gone["warnings"] == ["No assets found for the given search criteria."]
    assert "result" not in gone
    twice = {"name": "Same", "folder": "{}"}
    marketo.answer("POST", "/rest/asset/v1/staticLists.json", data=twice)
    assert codes(marketo.answer("POST", "/rest/asset/v1/staticLists.json", data=twice)) == ["709"]


def test_other_tools_find_no_programs_and_no_campaigns(marketo: Marketo) -> None:
    params = {"maxReturn": 200, "earliestUpdatedAt": "2026-01-01T00:00:00Z", "latestUpdatedAt": "2026-01-02T00:00:00Z"}
    answer = marketo.answer("GET", "/rest/asset/v1/programs.json", params=params)
    assert (answer["success"], answer["warnings"]) == (True, ["No assets found for the given search criteria."])
    assert marketo.get("campaigns.json")["result"] == []


def test_exported_people_can_be_narrowed_to_a_window_in_the_future(marketo: Marketo) -> None:
    marketo.create(email="a@example.com")
    start = datetime.now(UTC) + timedelta(days=1)
    window = {"startAt": start.isoformat(), "endAt": (start + timedelta(days=31)).isoformat()}
    status, _ = marketo.export("leads", fields=["id"], filter={"createdAt": window})
    assert (status["status"], status["numberOfRecords"]) == ("Completed", 0)


def test_a_custom_field_can_be_retyped_and_a_standard_one_not(marketo: Marketo) -> None:
    person_id = marketo.create(email="a@example.com", dynamicsType="7")
    marketo.control("retype", field="dynamicsType", type="integer")
    assert marketo.person(person_id, "dynamicsType")["dynamicsType"] == 7
    (result,) = marketo.sync({"email": "a@example.com", "dynamicsType": "Lead"})
    assert reasons(result) == ["1003"]
    found = marketo.get("leads.json", filterType="dynamicsType", filterValues="7")["result"]
    assert [person["id"] for person in found] == [person_id]
    for body in ({"field": "email", "type": "text"}, {"field": "dynamicsType", "type": "colour"}):
        assert marketo.http.post("/emulator/marketo/retype", json=body).status_code == 400


def test_a_reset_forgets_records_log_and_switches_and_keeps_users_and_fields(marketo: Marketo) -> None:
    marketo.create(email="a@example.com")
    new_list(marketo)
    marketo.post("leads/schema/fields.json", {"input": [SHOE]})
    marketo.control("behaviour", native_crm=True)
    marketo.control("withdrawn", fields=["title"])
    marketo.control("clock", ahead_s=3000)
    marketo.control("behaviour", calls_per_window=2)
    for _ in range(2):
        marketo.get("lists.json")
    behaviour = marketo.control("reset")
    assert (behaviour["native_crm"], behaviour["calls_per_window"]) == (False, 100)
    marketo.control("behaviour", calls_per_window=2)
    assert marketo.get("lists.json")["success"]
    marketo.control("behaviour", calls_per_window=100)
    assert marketo.feed("", marketo.cursor(), activityTypeIds="12") == []
    assert marketo.get("lists.json")["result"] == []
    assert marketo.create(email="a@example.com", shoeSize=4, title="T") == 1
