"""Writing beyond what the checklist names: impersonation, privileges, deletion of parents, single columns."""

from __future__ import annotations

import json

from dynsync_pipeline_tests.emulators.dataverse.conftest import Dataverse, batch, error, part


def test_an_impersonated_write_names_both_users(dataverse: Dataverse) -> None:
    store = dataverse.store
    row = dataverse.row(f"systemusers({store.sales_user_id})")
    for header, value in (
        ("CallerObjectId", row["azureactivedirectoryobjectid"]),
        ("MSCRMCallerID", store.sales_user_id),
    ):
        answer = dataverse.http.post("contacts", json={"lastname": "x"}, headers={header: value})
        created = dataverse.row(answer.headers["OData-EntityId"])
        assert created["_createdby_value"] == store.sales_user_id
        assert created["_createdonbehalfby_value"] == store.sync_user_id
    unknown = dataverse.http.get("WhoAmI", headers={"MSCRMCallerID": store.organization_id})
    assert error(unknown) == (400, "0x80041d1f")


def test_a_missing_privilege_is_403_and_names_it(dataverse: Dataverse) -> None:
    contact = dataverse.create("contacts", lastname="x")
    control = f"{dataverse.url}/emulator/dataverse/privileges"
    deny = ["prvWriteContact", "prvCreateLead", "prvDeleteContact", "prvReadAccount"]
    assert dataverse.http.post(control, json={"user": "sync", "deny": deny}).status_code == 200
    for answer, privilege in (
        (dataverse.http.patch(f"contacts({contact})", json={"lastname": "y"}), "prvWriteContact"),
        (dataverse.http.post("leads", json={"lastname": "y"}), "prvCreateLead"),
        (dataverse.http.delete(f"contacts({contact})"), "prvDeleteContact"),
        (dataverse.http.get("accounts"), "prvReadAccount"),
    ):
        assert error(answer) == (403, "0x80040220")
        assert f"is missing {privilege} privilege" in answer.json()["error"]["message"]
    assert dataverse.sales.get("accounts").status_code == 200
    target = json.dumps({"@odata.id": f"contacts({contact})"})
    user = f"systemusers({dataverse.store.sync_user_id})/Microsoft.Dynamics.CRM.RetrievePrincipalAccess(Target=@t)"
    assert "WriteAccess" not in dataverse.http.get(user, params={"@t": target}).json()["AccessRights"].split(", ")


def test_the_languages_are_told(dataverse: Dataverse) -> None:
    for name in ("RetrieveAvailableLanguages", "RetrieveAvailableLanguages()"):
        assert dataverse.http.get(name).json()["LocaleIds"] == [1033]
    assert dataverse.http.get("RetrieveProvisionedLanguages()").json()["RetrieveProvisionedLanguages"] == [1033]


def test_a_user_is_told_which_of_the_privileges_asked_for_it_holds_and_how_far(dataverse: Dataverse) -> None:
    dataverse.store.deny_only(dataverse.store.sync_user_id, ["prvWriteContact", "prvReadLead:global"])
    names = json.dumps(["prvWriteContact", "prvReadLead", "prvWriteLead", "prvWriteUnicorn"])
    user = f"systemusers({dataverse.store.sync_user_id})/Microsoft.Dynamics.CRM.RetrieveUserSetOfPrivilegesByNames"
    for answer in (
        dataverse.http.get(f"{user}(PrivilegeNames=@p)", params={"@p": names}),
        dataverse.http.get(f"{user}(PrivilegeNames={names})"),
    ):
        held = {each["PrivilegeName"]: each["Depth"] for each in answer.json()["RolePrivileges"]}
        assert held == {"prvReadLead": "Basic", "prvWriteLead": "Global"}
    assert error(dataverse.http.get(f"{user}()"))[0] == 400


def test_deleting_a_parent_empties_the_lookups_that_point_at_it(dataverse: Dataverse) -> None:
    account = dataverse.create("accounts", name="A")
    child = dataverse.create(
        "contacts", lastname="x", **{"parentcustomerid_account@odata.bind": f"accounts({account})"}
    )
    link = dataverse.delta_link("contacts?$select=_parentcustomerid_value")
    assert dataverse.http.delete(f"accounts({account})").status_code == 204
    assert [(row["contactid"], row["_parentcustomerid_value"]) for row in dataverse.rows(link)] == [(child, None)]
    assert error(dataverse.http.delete(f"accounts({account})")) == (404, "0x80040217")


def test_one_column_is_read_set_and_cleared_alone(dataverse: Dataverse) -> None:
    contact = dataverse.create("contacts", lastname="x")
    url = f"contacts({contact})/jobtitle"
    assert dataverse.http.get(url).status_code == 204
    assert dataverse.http.put(url, json={"value": "Chief"}).status_code == 204
    assert dataverse.row(url)["value"] == "Chief"
    assert dataverse.http.delete(url).status_code == 204
    assert dataverse.row(f"contacts({contact})")["jobtitle"] is None
    assert error(dataverse.http.get(f"contacts({contact})/nothing"))[0] == 400


def test_an_empty_text_is_stored_as_null_and_null_clears(dataverse: Dataverse) -> None:
    contact = dataverse.create("contacts", lastname="", firstname="x", birthdate="1990-01-01")
    assert dataverse.row(f"contacts({contact})")["lastname"] is None
    dataverse.http.patch(f"contacts({contact})", json={"firstname": None, "birthdate": None})
    row = dataverse.row(f"contacts({contact})")
    assert (row["firstname"], row["birthdate"], row["fullname"]) == (None, None, None)


def test_times_are_stored_in_utc_whole_seconds(dataverse: Dataverse) -> None:
    column = "mkt_lastinterestingmomentdate"
    for sent, stored in (
        ("2026-05-01T10:00:00", "2026-05-01T10:00:00Z"),
        ("2026-05-01T10:00:00-08:00", "2026-05-01T18:00:00Z"),
        ("2026-05-01T10:00:00.1234567Z", "2026-05-01T10:00:00Z"),
    ):
        contact = dataverse.create("contacts", **{column: sent})
        assert dataverse.row(f"contacts({contact})")[column] == stored


def test_an_owner_is_set_with_a_bind_and_is_never_empty(dataverse: Dataverse) -> None:
    sales = dataverse.store.sales_user_id
    contact = dataverse.create("contacts", lastname="x", **{"ownerid@odata.bind": f"/systemusers({sales})"})
    assert dataverse.row(f"contacts({contact})")["_ownerid_value"] == sales
    cleared = dataverse.http.patch(f"contacts({contact})", json={"ownerid@odata.bind": None})
    assert error(cleared)[0] == 400


def test_bulk_delete_takes_what_its_query_finds(dataverse: Dataverse) -> None:
    ids = [dataverse.create("contacts", lastname=name) for name in "abc"]
    condition = {
        "AttributeName": "contactid", "Operator": "In",
        "Values": [{"Value": one, "Type": "System.Guid"} for one in ids[:2]],
    }  # fmt: skip
    query = {"EntityName": "contact", "Criteria": {"FilterOperator": "And", "Conditions": [condition]}}
    answer = dataverse.http.post("BulkDelete", json={"QuerySet": [query], "JobName": "x"})
    assert answer.json()["JobId"]
    assert [row["contactid"] for row in dataverse.rows("contacts")] == ids[2:]
    bad = {**query, "Criteria": {"Conditions": [{**condition, "Operator": "Resembles"}]}}
    assert error(dataverse.http.post("BulkDelete", json={"QuerySet": [bad]}))[0] == 400
    assert len(dataverse.rows("contacts")) == 1


def test_a_query_in_a_batch_may_hold_plain_spaces(dataverse: Dataverse) -> None:
    dataverse.create("contacts", lastname="van den Berg")
    body, headers = batch(part("GET", "contacts?$select=lastname&$filter=lastname eq 'van den Berg'"))
    answer = dataverse.http.post("$batch", content=body, headers=headers)
    assert '"lastname":"van den Berg"' in answer.text
