"""Sync Leads and Delete Leads (docs/protocols/marketo.md#writing-people, #deleting-and-merging)."""

from __future__ import annotations

import pytest

from dynsync_pipeline_tests.emulators.marketo.conftest import Marketo, codes, reasons

AMY = {"email": "amy@example.com", "firstName": "Amy"}


def test_the_default_action_creates_by_email_and_then_updates(marketo: Marketo) -> None:
    (first,) = marketo.sync(AMY)
    (second,) = marketo.sync({**AMY, "firstName": "Amelia"})
    assert first == {"id": first["id"], "status": "created"}
    assert second == {"id": first["id"], "status": "updated"}
    assert marketo.person(first["id"])["firstName"] == "Amelia"


def test_update_only_answers_1004_for_nobody_and_writes_nothing(marketo: Marketo) -> None:
    (result,) = marketo.sync(AMY, action="updateOnly")
    assert result == {"status": "skipped", "reasons": [{"code": "1004", "message": "Lead not found"}]}
    assert marketo.get("leads.json", filterType="email", filterValues="amy@example.com")["result"] == []


def test_create_only_answers_1005_for_somebody_known(marketo: Marketo) -> None:
    marketo.sync(AMY)
    (result,) = marketo.sync(AMY, action="createOnly")
    assert reasons(result) == ["1005"]
    assert "id" not in result


def test_create_duplicate_makes_several_people_of_one_email_and_upserting_it_then_answers_1007(
    marketo: Marketo,
) -> None:
    (first,) = marketo.sync(AMY, action="createDuplicate")
    (second,) = marketo.sync(AMY, action="createDuplicate")
    assert first["id"] != second["id"]
    for action in ("createOrUpdate", "updateOnly"):
        (result,) = marketo.sync({**AMY, "firstName": "X"}, action=action)
        assert reasons(result) == ["1007"]
    found = marketo.get("leads.json", filterType="email", filterValues="AMY@example.com")["result"]
    assert [person["firstName"] for person in found] == ["Amy", "Amy"]


def test_lookup_by_id_updates_and_works_with_update_only_alone(marketo: Marketo) -> None:
    person_id = marketo.create(**AMY)
    (result,) = marketo.sync({"id": person_id, "lastName": "Lee"}, action="updateOnly", lookupField="id")
    assert result == {"id": person_id, "status": "updated"}
    assert marketo.person(person_id)["lastName"] == "Lee"
    answer = marketo.post("leads.json", {"input": [{"id": person_id}], "lookupField": "id"})
    assert codes(answer) == ["1003"]


def test_an_id_in_a_record_looked_up_by_something_else_answers_1003(marketo: Marketo) -> None:
    for action in ("createOnly", "createOrUpdate", "createDuplicate"):
        (result,) = marketo.sync({**AMY, "id": 7}, action=action)
        assert reasons(result) == ["1003"]


def test_a_custom_string_field_is_a_lookup_whatever_its_case(marketo: Marketo) -> None:
    (first,) = marketo.sync({"dynamicsContactId": "ABC-1", "firstName": "A"}, lookupField="dynamicsContactId")
    (second,) = marketo.sync({"dynamicsContactId": "abc-1", "firstName": "B"}, lookupField="dynamicsContactId")
    assert second == {"id": first["id"], "status": "updated"}


@pytest.mark.parametrize("lookup", ["firstName", "nope", "leadPartitionId", "dynamicsIsDeleted", "createdAt"])
def test_an_unsupported_lookup_answers_1011(marketo: Marketo, lookup: str) -> None:
    assert codes(marketo.post("leads.json", {"input": [AMY], "lookupField": lookup})) == ["1011"]


def test_a_record_without_its_lookup_value_is_skipped(marketo: Marketo) -> None:
    results = marketo.sync({"firstName": "A"}, {"email": None}, {"email": ""})
    assert [reasons(result) for result in results] == [["1003"]] * 3


def test_an_unknown_field_answers_1006_and_a_read_only_one_1003_naming_it(marketo: Marketo) -> None:
    unknown, read_only = marketo.sync({**AMY, "shoeSize": 4}, {**AMY, "updatedAt": "2026-01-01T00:00:00Z"})
    assert unknown["reasons"] == [{"code": "1006", "message": "Field 'shoeSize' not found"}]
    assert read_only["reasons"] == [{"code": "1003", "message": "Invalid value for field 'updatedAt'"}]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("leadScore", 14.1),
        ("leadScore", "14.1"),
        ("leadScore", True),
        ("leadScore", 2**31),
        ("urgency", "14c"),
        ("urgency", [1]),
        ("unsubscribed", "other"),
        ("unsubscribed", 2),
        ("emailSuspendedAt", "yesterday"),
        ("emailSuspendedAt", "2026-02-30T00:00:00Z"),
        ("dateOfBirth", "31.12.1999"),
        ("dateOfBirth", 1999),
        ("email", "bademail"),
        ("email", "a@b@example.com"),
        ("email", "grüße@example.com"),
        ("firstName", "x" * 256),
        ("firstName", {"a": 1}),
        ("sicCode", "x" * 41),
        ("mktoPersonNotes", "ü" * 15_001),
        ("annualRevenue", "1e999"),
    ],
)
def test_a_value_of_the_wrong_type_or_size_answers_1003_naming_the_field(
    marketo: Marketo, field: str, value: object
) -> None:
    record = {"dynamicsLeadId": "1", "lastName": "Lee", field: value}
    (result,) = marketo.sync(record, lookupField="dynamicsLeadId")
    assert result == {
        "status": "skipped",
        "reasons": [{"code": "1003", "message": f"Invalid value for field '{field}'"}],
    }


@pytest.mark.parametrize(
    ("field", "value", "shown"),
    [
        ("leadScore", "14", 14),
        ("leadScore", 14.0, 14),
        ("urgency", "1.5", 1.5),
        ("annualRevenue", 12, 12.0),
        ("unsubscribed", "TRUE", True),
        ("unsubscribed", None, False),
        ("emailSuspendedAt", "2026-01-02T03:04:05.678Z", "2026-01-02T03:04:05Z"),
        ("emailSuspendedAt", "2026-01-02T03:04:05+02:00", "2026-01-02T01:04:05Z"),
        ("dateOfBirth", "1999-12-31", "1999-12-31"),
        ("firstName", "", None),
        ("firstName", "👩‍🔬 \u202eO'Brien", "👩‍🔬 \u202eO'Brien"),
        ("mktoPersonNotes", "ü" * 15_000, "ü" * 15_000),
    ],
)
def test_a_good_value_reads_back_as_the_vendor_stores_it(
    marketo: Marketo, field: str, value: object, shown: object
) -> None:
    person_id = marketo.create(email="a@example.com", **{field: value})
    assert marketo.person(person_id, field)[field] == shown


def test_null_and_empty_text_clear_a_field(marketo: Marketo) -> None:
    person_id = marketo.create(**AMY, lastName="Lee", unsubscribed=True)
    marketo.sync({"email": AMY["email"], "firstName": None, "lastName": "", "unsubscribed": None})
    cleared = marketo.person(person_id, "firstName", "lastName", "unsubscribed")
    assert cleared == {"id": person_id, "firstName": None, "lastName": None, "unsubscribed": False}


def test_one_bad_field_skips_the_whole_record_and_the_others_go_through(marketo: Marketo) -> None:
    marketo.sync(AMY)
    bad, good = marketo.sync({**AMY, "firstName": "New", "leadScore": "many"}, {"email": "bob@example.com"})
    assert reasons(bad) == ["1003"]
    assert good["status"] == "created"
    (amy,) = marketo.get("leads.json", filterType="email", filterValues=AMY["email"])["result"]
    assert amy["firstName"] == "Amy"


def test_a_key_repeated_in_one_call_creates_once_and_updates_then(marketo: Marketo) -> None:
    first, second = marketo.sync(AMY, {**AMY, "firstName": "B"})
    assert (first["status"], second["status"]) == ("created", "updated")
    assert first["id"] == second["id"]


def test_three_hundred_records_are_one_call_and_one_more_is_refused(marketo: Marketo) -> None:
    records = [{"email": f"p{n}@example.com", "firstName": "A", "title": "T"} for n in range(300)]
    results = marketo.sync(*records)
    assert [result["status"] for result in results] == ["created"] * 300
    assert codes(marketo.post("leads.json", {"input": [*records, AMY]})) == ["1003"]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, "1002"),
        ({"input": []}, "1002"),
        ({"input": None}, "1002"),
        ({"input": {"email": "a@example.com"}}, "1001"),
        ({"input": ["a"]}, "1001"),
        ({"input": [AMY], "action": "upsert"}, "1003"),
        ({"input": [AMY], "action": 5}, "1001"),
        ({"input": [AMY], "lookupField": []}, "1001"),
        ([AMY], "609"),
    ],
)
def test_a_malformed_call_is_refused_as_a_whole(marketo: Marketo, body: object, code: str) -> None:
    assert codes(marketo.post("leads.json", body)) == [code]


def test_broken_json_is_609_and_another_content_type_612(marketo: Marketo) -> None:
    url, headers = "/rest/v1/leads.json", {"Content-Type": "application/json"}
    for broken in (b'{"input":[', b"", b"\xff\xfe", b"[" * 100_000):
        assert codes(marketo.answer("POST", url, content=broken, headers=headers)) == ["609"]
    assert codes(marketo.answer("POST", url, content=b"<a/>", headers={"Content-Type": "text/xml"})) == ["612"]


def test_unknown_members_and_parameters_are_tolerated(marketo: Marketo) -> None:
    answer = marketo.post("leads.json", {"input": [AMY], "asyncProcessing ": False, "colour": 1}, batchSize=300)
    assert answer["result"][0]["status"] == "created"


def test_overlapping_upserts_of_one_key_create_two_people(marketo: Marketo) -> None:
    marketo.sync_at_once([{**AMY}, {**AMY}], n_admitted=2)
    assert len(marketo.get("leads.json", filterType="email", filterValues=AMY["email"])["result"]) == 2


def test_a_partition_must_exist_and_goes_with_creating_actions_only(marketo: Marketo) -> None:
    (unknown,) = marketo.sync(AMY, partitionName="EMEA")
    (wrong,) = marketo.sync(AMY, action="updateOnly", partitionName="Default")
    (right,) = marketo.sync(AMY, action="createOnly", partitionName="Default")
    assert (reasons(unknown), reasons(wrong), right["status"]) == (["1008"], ["1010"], "created")


@pytest.mark.parametrize("form", ["body", "query", "method in query", "delete with body"])
def test_delete_works_in_every_form_clients_use(marketo: Marketo, form: str) -> None:
    person_id = marketo.create(**AMY)
    body = {"input": [{"id": person_id}, {"id": 999}]}
    if form == "body":
        answer = marketo.post("leads/delete.json", body)
    elif form == "query":
        answer = marketo.answer("POST", f"/rest/v1/leads/delete.json?id={person_id},999")
    elif form == "method in query":
        answer = marketo.post("leads.json", body, _method="DELETE")
    else:
        answer = marketo.answer("DELETE", "/rest/v1/leads.json", json=body)
    gone, missing = answer["result"]
    assert gone == {"id": person_id, "status": "deleted"}
    assert reasons(missing) == ["1004"]
    assert "id" not in missing
    assert marketo.get(f"lead/{person_id}.json")["result"] == []


def test_ids_are_never_used_again(marketo: Marketo) -> None:
    person_id = marketo.create(**AMY)
    marketo.post("leads/delete.json", {"input": [{"id": person_id}]})
    assert marketo.create(**AMY) > person_id


@pytest.mark.parametrize("bad", [None, "x", 1.5, True, 2**70, {"a": 1}])
def test_deleting_something_that_is_no_id_is_skipped(marketo: Marketo, bad: object) -> None:
    (result,) = marketo.post("leads/delete.json", {"input": [{"id": bad}]})["result"]
    assert reasons(result) == ["1003"]


def test_company_values_are_the_persons_own_until_it_has_a_company_with_a_key(marketo: Marketo) -> None:
    person_id = marketo.create(**AMY, company="Acme", billingCity="Rome")
    marketo.sync({"email": AMY["email"], "company": "Acme Ltd"})
    person = marketo.person(person_id, "company", "billingCity", "externalCompanyId", "contactCompany")
    assert (person["company"], person["billingCity"], person["externalCompanyId"]) == ("Acme Ltd", "Rome", None)
    assert person["contactCompany"] > 0


def test_an_unknown_company_key_answers_1003(marketo: Marketo) -> None:
    (result,) = marketo.sync({**AMY, "externalCompanyId": "nowhere"})
    assert result["reasons"] == [{"code": "1003", "message": "Invalid value for field 'externalCompanyId'"}]
    assert marketo.get("leads.json", filterType="email", filterValues=AMY["email"])["result"] == []
