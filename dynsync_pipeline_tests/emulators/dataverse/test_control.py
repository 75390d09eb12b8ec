"""The control endpoints: schema changes that clients see at once, starting over, refusals with a reason."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from dynsync_pipeline_tests.emulators.dataverse.conftest import Dataverse, error

CONTACTS = "EntityDefinitions(LogicalName='contact')/Attributes"


def control(dataverse: Dataverse, name: str, body: Any = None) -> httpx.Response:
    return dataverse.http.post(f"{dataverse.url}/emulator/dataverse/{name}", json=body)


def change(dataverse: Dataverse, action: str, column: str, **more: Any) -> None:
    answer = control(dataverse, "schema", {"action": action, "table": "contact", "column": column, **more})
    assert answer.status_code == 200, answer.text


def test_an_added_column_can_be_written_read_and_filtered(dataverse: Dataverse) -> None:
    change(dataverse, "add", "new_size", kind="choice", options={"1": "Small", "2": "Large"})
    contact = dataverse.create("contacts", lastname="x", new_size=2)
    assert dataverse.row(f"contacts({contact})")["new_size"] == 2
    assert len(dataverse.rows("contacts?$filter=new_size eq 2")) == 1
    assert error(dataverse.http.post("contacts", json={"new_size": 3})) == (400, "0x8004431a")


def test_a_yes_or_no_has_its_default_in_new_rows_and_nothing_in_those_that_were_there(dataverse: Dataverse) -> None:
    before = dataverse.create("contacts", lastname="x")
    change(dataverse, "add", "new_size", kind="boolean", default=1)
    after = [dataverse.create("contacts", lastname="x", **sent) for sent in ({}, {"new_size": False})]
    assert [dataverse.row(f"contacts({each})")["new_size"] for each in (before, *after)] == [None, True, False]
    cast = f"{CONTACTS}/Microsoft.Dynamics.CRM.BooleanAttributeMetadata?$select=LogicalName,DefaultValue"
    defaults = {row["LogicalName"]: row["DefaultValue"] for row in dataverse.rows(cast)}
    assert (defaults["new_size"], defaults["new_synctomkto"], defaults["donotphone"]) == (True, True, False)


def test_a_dropped_column_is_unknown_everywhere(dataverse: Dataverse) -> None:
    contact = dataverse.create("contacts", lastname="x", jobtitle="y", new_extid="z")
    for column in ("jobtitle", "new_extid"):
        change(dataverse, "drop", column)
        assert error(dataverse.http.get(f"contacts?$select={column}")) == (400, "0x80060888")
        assert error(dataverse.http.patch(f"contacts({contact})", json={column: "z"})) == (400, "0x80048d19")
        assert column not in dataverse.row(f"contacts({contact})")
        assert column not in {row["LogicalName"] for row in dataverse.rows(CONTACTS)}
    assert dataverse.rows("EntityDefinitions(LogicalName='contact')/Keys") == []


def test_a_retyped_column_is_empty_and_takes_the_new_type(dataverse: Dataverse) -> None:
    contact = dataverse.create("contacts", lastname="x", department="sales")
    change(dataverse, "retype", "department", kind="integer")
    assert dataverse.row(f"contacts({contact})")["department"] is None
    assert dataverse.http.patch(f"contacts({contact})", json={"department": 5}).status_code == 204
    assert error(dataverse.http.patch(f"contacts({contact})", json={"department": "x"})) == (400, "0x80048d19")


def test_a_resized_column_refuses_what_is_longer(dataverse: Dataverse) -> None:
    change(dataverse, "resize", "jobtitle", max_length=3)
    assert error(dataverse.http.post("contacts", json={"jobtitle": "abcd"})) == (400, "0x80044331")
    (row,) = dataverse.rows(
        f"{CONTACTS}/Microsoft.Dynamics.CRM.StringAttributeMetadata?$select=MaxLength&$filter=LogicalName eq 'jobtitle'"
    )
    assert row["MaxLength"] == 3


def test_a_column_tells_how_it_keeps_numbers_and_times_and_a_user_the_time_zone(dataverse: Dataverse) -> None:
    change(dataverse, "add", "new_size", kind="decimal", precision=1)
    change(dataverse, "add", "new_at", kind="datetime", time_behavior="TimeZoneIndependent")
    contact = dataverse.create("contacts", new_size=1.25)
    assert dataverse.row(f"contacts({contact})")["new_size"] == 1.3
    change(dataverse, "round", "new_size", precision=3)
    change(dataverse, "behave", "new_at", time_behavior="UserLocal")
    assert dataverse.http.patch(f"contacts({contact})", json={"new_size": 1.2346}).status_code == 204
    assert dataverse.row(f"contacts({contact})")["new_size"] == 1.235
    for name, kind, wanted in (
        ("new_size", "Decimal", {"Precision": 3}),
        ("new_at", "DateTime", {"DateTimeBehavior": {"Value": "UserLocal"}}),
        ("birthdate", "DateTime", {"DateTimeBehavior": {"Value": "DateOnly"}}),
    ):
        query = f"$select={','.join(wanted)}&$filter=LogicalName eq '{name}'"
        (row,) = dataverse.rows(f"{CONTACTS}/Microsoft.Dynamics.CRM.{kind}AttributeMetadata?{query}")
        assert wanted.items() <= row.items()
    user_id = dataverse.http.get("WhoAmI").json()["UserId"]
    settings = f"usersettingscollection({user_id})?$select=timezonecode"
    assert dataverse.row(settings)["timezonecode"] == 92
    assert control(dataverse, "time_zone", {"user": "sync", "code": 110}).status_code == 200
    assert dataverse.row(settings)["timezonecode"] == 110
    (zone,) = dataverse.rows("timezonedefinitions?$select=standardname&$filter=timezonecode eq 110")
    assert zone["standardname"] == "W. Europe Standard Time"


def test_schema_changes_survive_a_restart(dataverse: Dataverse) -> None:
    from dynsync_pipeline.emulators.dataverse.store import Store

    change(dataverse, "add", "new_size", kind="money")
    dataverse.store.close()
    dataverse.store = Store(dataverse.store.path)
    assert dataverse.store.schema.tables["contact"].columns["new_size"].kind == "money"


def test_reset_starts_over_with_the_same_credentials(dataverse: Dataverse) -> None:
    dataverse.create("contacts", lastname="x")
    link = dataverse.delta_link("contacts?$select=lastname")
    change(dataverse, "add", "new_size", kind="text")
    change(dataverse, "drop", "jobtitle")
    change(dataverse, "retype", "department", kind="integer")
    control(dataverse, "privileges", {"user": "sync", "deny": ["prvReadContact"]})
    control(dataverse, "limits", {"n_requests": 1})
    assert control(dataverse, "reset").status_code == 200
    assert dataverse.rows("contacts?$select=jobtitle,department") == []
    assert error(dataverse.http.get("contacts?$select=new_size"))[0] == 400
    assert error(dataverse.http.get(link)) == (400, "0x80044352")
    assert dataverse.row(f"contacts({dataverse.create('contacts', department='x')})")["department"] == "x"


def test_expired_tokens_are_401(dataverse: Dataverse) -> None:
    assert control(dataverse, "tokens/expire").status_code == 200
    assert dataverse.http.get("WhoAmI").status_code == 401


@pytest.mark.parametrize(
    ("name", "body", "status"),
    [
        ("nothing", {}, 404),
        ("schema", {}, 400),
        ("schema", {"action": "drop", "table": "foo", "column": "x"}, 404),
        ("schema", {"action": "drop", "table": "contact", "column": "x"}, 404),
        ("schema", {"action": "drop", "table": "contact", "column": "contactid"}, 400),
        ("schema", {"action": "add", "table": "contact", "column": "jobtitle"}, 400),
        ("schema", {"action": "add", "table": "contact", "column": 'x" text; --'}, 400),
        ("schema", {"action": "explode", "table": "contact"}, 400),
        ("privileges", {"user": "nobody", "deny": []}, 400),
        ("limits", {"n_requests": "many"}, 400),
    ],
)
def test_a_control_request_that_makes_no_sense_says_so(
    dataverse: Dataverse, name: str, body: dict[str, Any], status: int
) -> None:
    answer = control(dataverse, name, body)
    assert answer.status_code == status
    assert answer.json()["error"]
