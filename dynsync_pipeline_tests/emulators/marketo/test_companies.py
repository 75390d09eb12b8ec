"""Companies and what people show of them (docs/protocols/marketo.md#companies, #field-types)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from dynsync_pipeline.emulators.marketo.seeding import seed
from dynsync_pipeline_tests.emulators.marketo.conftest import Marketo, codes, reasons
from dynsync_pipeline_tests.properties.effort import story


def sync(marketo: Marketo, *records: Mapping[str, object], **options: object) -> list[dict[str, Any]]:
    answer = marketo.post("companies.json", {"input": list(records), **options})
    assert answer["success"], answer
    return list(answer["result"])


def company(marketo: Marketo, key: str, *fields: str) -> dict[str, Any]:
    params = {"fields": ",".join(fields)} if fields else {}
    (found,) = marketo.get("companies.json", filterType="externalCompanyId", filterValues=key, **params)["result"]
    return dict(found)


def test_describe_names_keys_filters_and_fields(marketo: Marketo) -> None:
    (described,) = marketo.get("companies/describe.json")["result"]
    assert (described["idField"], described["dedupeFields"]) == ("id", ["externalCompanyId"])
    assert described["searchableFields"] == [["externalCompanyId"], ["id"], ["company"]]
    fields = {field["name"]: field for field in described["fields"]}
    assert fields["company"] == {
        "name": "company",
        "displayName": "Company Name",
        "dataType": "string",
        "length": 255,
        "updateable": True,
    }
    assert not fields["updatedAt"]["updateable"]


def test_companies_are_created_then_updated_by_key_with_a_seq_each(marketo: Marketo) -> None:
    first, second = sync(marketo, {"externalCompanyId": "A", "company": "Acme"}, {"externalCompanyId": "B"})
    assert first == {"seq": 0, "id": first["id"], "status": "created"}
    assert (second["seq"], second["status"]) == (1, "created")
    (again,) = sync(marketo, {"externalCompanyId": "a", "annualRevenue": "12.5", "numberOfEmployees": 3})
    assert again == {"seq": 0, "id": first["id"], "status": "updated"}
    assert company(marketo, "A", "company", "annualRevenue", "numberOfEmployees") == {
        "seq": 0,
        "id": first["id"],
        "company": "Acme",
        "annualRevenue": 12.5,
        "numberOfEmployees": 3,
    }
    assert set(company(marketo, "A")) == {"seq", "id", "externalCompanyId", "createdAt", "updatedAt"}


def test_companies_are_found_by_id_key_and_name_in_pages(marketo: Marketo) -> None:
    results = sync(marketo, *({"externalCompanyId": f"K{n}", "company": "Same"} for n in range(3)))
    by_id = marketo.get("companies.json", filterType="idField", filterValues=[r["id"] for r in results])
    assert [found["seq"] for found in by_id["result"]] == [0, 1, 2]
    page = marketo.get("companies.json", filterType="company", filterValues="same", batchSize=2)
    rest = marketo.get(
        "companies.json", filterType="company", filterValues="same", batchSize=2, nextPageToken=page["nextPageToken"]
    )
    assert [found["id"] for found in page["result"] + rest["result"]] == [result["id"] for result in results]
    assert "nextPageToken" not in rest
    assert marketo.get("companies.json", filterType="dedupeFields", filterValues="zz")["result"] == []
    form = {"filterType": "externalCompanyId", "filterValues": "K1"}
    assert len(marketo.answer("POST", "/rest/v1/companies.json?_method=GET", data=form)["result"]) == 1


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"filterType": "industry", "filterValues": "x"}, "1003"),
        ({"filterType": "company"}, "1002"),
        ({"filterType": "id", "filterValues": "x"}, "1001"),
        ({"filterType": "company", "filterValues": "x", "fields": "firstName"}, "1006"),
    ],
)
def test_a_wrong_question_is_refused(marketo: Marketo, params: dict[str, str], code: str) -> None:
    assert codes(marketo.get("companies.json", **params)) == [code]


@pytest.mark.parametrize(
    ("record", "options", "code"),
    [
        ({"company": "No key"}, {}, "1003"),
        ({"externalCompanyId": "x" * 51}, {}, "1003"),
        ({"externalCompanyId": "A", "numberOfEmployees": "many"}, {}, "1003"),
        ({"externalCompanyId": "A", "firstName": "x"}, {}, "1006"),
        ({"externalCompanyId": "A", "id": 5}, {}, "1003"),
        ({"externalCompanyId": "Z"}, {"action": "updateOnly"}, "1013"),
        ({"externalCompanyId": "A"}, {"action": "createOnly"}, "1005"),
        ({"id": 999, "company": "x"}, {"dedupeBy": "idField"}, "1013"),
        ({"id": 1, "externalCompanyId": "B"}, {"dedupeBy": "idField"}, "1005"),
        ({"id": 1, "externalCompanyId": None}, {"dedupeBy": "idField"}, "1003"),
    ],
)
def test_a_refused_company_is_skipped_whole_with_reasons_and_no_id(
    marketo: Marketo, record: dict[str, object], options: dict[str, str], code: str
) -> None:
    sync(marketo, {"externalCompanyId": "A", "company": "Acme"}, {"externalCompanyId": "B"})
    (result,) = sync(marketo, {"company": "Changed", **record}, **options)
    assert reasons(result) == [code]
    assert set(result) == {"seq", "status", "reasons"}
    assert company(marketo, "A", "company")["company"] == "Acme"


def test_a_key_twice_in_one_call_answers_1036_for_the_second(marketo: Marketo) -> None:
    first, second = sync(marketo, {"externalCompanyId": "A"}, {"externalCompanyId": "a"})
    assert first["status"] == "created"
    assert reasons(second) == ["1036"]


def test_by_id_a_company_is_updated_but_never_created(marketo: Marketo) -> None:
    (created,) = sync(marketo, {"externalCompanyId": "A"})
    (updated,) = sync(marketo, {"id": created["id"], "company": "New"}, dedupeBy="idField", action="updateOnly")
    assert updated["status"] == "updated"
    (untouched,) = sync(marketo, {"id": created["id"]}, dedupeBy="idField", action="updateOnly")
    assert untouched["status"] == "updated"
    answer = marketo.post("companies.json", {"input": [{"id": 1}], "dedupeBy": "idField", "action": "createOnly"})
    assert codes(answer) == ["1003"]


def test_a_native_crm_blocks_writes_and_leaves_reads(marketo: Marketo) -> None:
    sync(marketo, {"externalCompanyId": "A"})
    marketo.control("behaviour", native_crm=True)
    for path in ("companies.json", "companies/delete.json"):
        answer = marketo.post(path, {"input": [{"externalCompanyId": "A"}]})
        assert answer["errors"] == [{"code": "1018", "message": "CRM Enabled"}]
    assert company(marketo, "A")["externalCompanyId"] == "A"


def test_a_company_is_deleted_by_key_or_id_unless_people_belong_to_it(marketo: Marketo) -> None:
    results = sync(marketo, *({"externalCompanyId": key} for key in "ABC"))
    marketo.create(email="a@example.com", externalCompanyId="A")
    used, gone, missing = marketo.post("companies/delete.json", {"input": [{"externalCompanyId": k} for k in "ABZ"]})[
        "result"
    ]
    assert reasons(used) == ["1022"]
    assert gone == {"seq": 1, "id": results[1]["id"], "status": "deleted"}
    assert reasons(missing) == ["1013"]
    body = {"deleteBy": "idField", "input": [{"id": results[2]["id"]}]}
    assert marketo.post("companies/delete.json", body)["result"][0]["status"] == "deleted"


def test_values_of_the_company_show_on_every_linked_person_and_each_change_is_logged_for_each(
    marketo: Marketo,
) -> None:
    sync(marketo, {"externalCompanyId": "A", "company": "Acme", "billingCity": "Rome"})
    ids = [marketo.create(email=f"p{n}@example.com", externalCompanyId="A") for n in range(3)]
    assert marketo.person(ids[2], "company", "billingCity", "externalCompanyId") == {
        "id": ids[2],
        "company": "Acme",
        "billingCity": "Rome",
        "externalCompanyId": "A",
    }
    token = marketo.end_of_log()
    sync(marketo, {"externalCompanyId": "A", "company": "Acme Ltd", "billingCity": "Rome"})
    assert {marketo.person(person_id, "company")["company"] for person_id in ids} == {"Acme Ltd"}
    changes = marketo.feed("/leadchanges", token, fields="company,billingCity")
    assert [(entry["leadId"], entry["fields"][0]["newValue"]) for entry in changes] == [(n, "Acme Ltd") for n in ids]


def test_a_person_with_a_keyed_company_refuses_company_values_with_1021(marketo: Marketo) -> None:
    sync(marketo, {"externalCompanyId": "A", "company": "Acme"})
    marketo.create(email="a@example.com", externalCompanyId="A")
    linked, linking = marketo.sync(
        {"email": "a@example.com", "company": "Mine", "title": "Boss"},
        {"email": "b@example.com", "company": "Mine", "externalCompanyId": "A"},
    )
    assert linked == {"status": "skipped", "reasons": [{"code": "1021", "message": "Company update not allowed"}]}
    assert reasons(linking) == ["1021"]
    assert company(marketo, "A", "company")["company"] == "Acme"


def test_a_person_moves_between_companies_and_is_never_detached(marketo: Marketo) -> None:
    sync(marketo, {"externalCompanyId": "A", "company": "Acme"}, {"externalCompanyId": "B", "company": "Beta"})
    person_id = marketo.create(email="a@example.com", company="Own")
    token = marketo.end_of_log()
    for key in ("A", "B"):
        (result,) = marketo.sync({"email": "a@example.com", "externalCompanyId": key})
        assert result["status"] == "updated"
    (result,) = marketo.sync({"email": "a@example.com", "externalCompanyId": None})
    assert reasons(result) == ["1003"]
    assert marketo.person(person_id, "company")["company"] == "Beta"
    names = [entry["fields"][0]["newValue"] for entry in marketo.feed("/leadchanges", token, fields="company")]
    assert names == ["Acme", "Beta"]
    assert marketo.get("companies.json", filterType="company", filterValues="Own")["result"] == []


@story
def test_with_5000_people_a_change_is_logged_for_each_and_with_5001_for_none(marketo: Marketo) -> None:
    sync(marketo, {"externalCompanyId": "A"}, {"externalCompanyId": "B"})
    for key, n_people in (("A", 5000), ("B", 5001)):
        seed(marketo.store, ({"email": f"{key}{n}@example.com", "externalCompanyId": key} for n in range(n_people)))
    before = [marketo.person(n, "updatedAt")["updatedAt"] for n in (1, 5001)]
    token = marketo.end_of_log()
    marketo.control("clock", ahead_s=60)
    sync(marketo, {"externalCompanyId": "A", "company": "Acme"}, {"externalCompanyId": "B", "company": "Beta"})
    assert [marketo.person(n, "company")["company"] for n in (1, 5000, 5001, 10_001)] == ["Acme"] * 2 + ["Beta"] * 2
    assert len(marketo.feed("/leadchanges", token, fields="company")) == 5000
    after = [marketo.person(n, "updatedAt")["updatedAt"] for n in (1, 5001)]
    assert after[0] > before[0]
    assert after[1] == before[1]
