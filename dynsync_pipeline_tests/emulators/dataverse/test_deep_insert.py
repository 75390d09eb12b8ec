"""Rows within a row that is created: made with it and linked to it, or none of them."""

from __future__ import annotations

import pytest

from dynsync_pipeline_tests.emulators.dataverse.conftest import Dataverse, batch, error, part


def test_a_create_makes_the_rows_it_holds_and_links_what_it_names(dataverse: Dataverse) -> None:
    there = dataverse.create("contacts", lastname="There already")
    body = {
        "name": "Acme",
        "primarycontactid": {"firstname": "John", "lastname": "Smith"},
        "contact_customer_accounts": [{"lastname": "One"}, {"lastname": "Two", "jobtitle": "Boss"}],
        "contact_customer_accounts@odata.bind": [f"/contacts({there})"],
    }
    answer = dataverse.http.post(
        "accounts?$select=name&$expand=primarycontactid($select=fullname),contact_customer_accounts($select=lastname)",
        json=body,
        headers={"Prefer": "return=representation"},
    )
    assert answer.status_code == 201, answer.text
    row = answer.json()
    assert row["primarycontactid"]["fullname"] == "John Smith"
    assert {inner["lastname"] for inner in row["contact_customer_accounts"]} == {"One", "Two", "There already"}


@pytest.mark.parametrize(
    "inner",
    [
        {"contact_customer_accounts": [{"lastname": "One"}, {"nothing": 1}]},
        {"primarycontactid": {"lastname": "One", "parentcustomerid_account": {"nothing": 1}}},
        {"contact_customer_accounts": [{"lastname": "One"}, 5]},
        {"contact_customer_accounts@odata.bind": ["/accounts(00000000-0000-0000-0000-000000000001)"]},
        {"createdby": {"firstname": "Nobody"}},
    ],
)
def test_one_bad_row_leaves_none_of_them(dataverse: Dataverse, inner: dict[str, object]) -> None:
    assert error(dataverse.http.post("accounts", json={"name": "Acme", **inner}))[0] in (400, 404)
    assert dataverse.rows("accounts") == dataverse.rows("contacts") == []


def test_rows_nested_without_end_are_refused(dataverse: Dataverse) -> None:
    body: dict[str, object] = {"lastname": "X"}
    for _ in range(30):
        body = {"name": "A", "primarycontactid": {"lastname": "X", "parentcustomerid_account": body}}
    assert error(dataverse.http.post("accounts", json=body))[0] == 400
    assert dataverse.rows("contacts") == []


def test_an_update_takes_no_rows_within_it_and_neither_does_an_upsert(dataverse: Dataverse) -> None:
    account = dataverse.create("accounts", name="Acme")
    deep = {"primarycontactid": {"lastname": "X"}}
    for address in (f"accounts({account})", "accounts(accountnumber='A1')"):
        answer = dataverse.http.patch(address, json=deep)
        assert error(answer) == (400, "0x80060888")
        assert "Deep update" in answer.json()["error"]["message"]
    assert error(dataverse.http.patch(f"accounts({account})", json={"contact_customer_accounts": [{}]}))[0] == 400
    assert dataverse.rows("contacts") == []


def test_a_part_of_a_batch_may_hold_rows_within_rows(dataverse: Dataverse) -> None:
    body, headers = batch(part("POST", "accounts", '{"name":"A","primarycontactid":{"lastname":"Inner"}}'))
    assert dataverse.http.post("$batch", content=body, headers=headers).status_code == 200
    assert [row["lastname"] for row in dataverse.rows("contacts?$select=lastname")] == ["Inner"]
