"""The items about writing (docs/protocols/dataverse.md#checklist), a test for each, under its number."""

from __future__ import annotations

import uuid

from dynsync_pipeline.emulators.dataverse.control import SchemaChange, change_schema
from dynsync_pipeline_tests.emulators.dataverse.conftest import (
    REPRESENTATION,
    Dataverse,
    batch,
    change_set,
    error,
    part,
)

BULK = "contacts/Microsoft.Dynamics.CRM."


def test_checklist_01_a_bare_patch_creates_and_if_match_star_does_not(dataverse: Dataverse) -> None:
    row_id = str(uuid.uuid4())
    missing = dataverse.http.patch(f"contacts({row_id})", json={"lastname": "x"}, headers={"If-Match": "*"})
    assert error(missing) == (404, "0x80040217")
    assert dataverse.http.patch(f"contacts({row_id})", json={"lastname": "x"}).status_code == 204
    assert dataverse.row(f"contacts({row_id})")["lastname"] == "x"
    assert dataverse.http.patch(
        f"contacts({row_id})", json={"lastname": "y"}, headers={"If-Match": "*"}
    ).status_code == 204  # fmt: skip


def test_checklist_02_if_none_match_null_changes_nothing(dataverse: Dataverse) -> None:
    headers = {"If-None-Match": "null"}
    row_id = str(uuid.uuid4())
    for _ in range(2):
        answer = dataverse.http.patch(f"contacts({row_id})", json={"lastname": "x"}, headers=headers)
        assert answer.status_code == 204
    assert dataverse.http.get(f"contacts({row_id})", headers=headers).status_code == 200
    assert dataverse.http.get("contacts", headers=headers).status_code == 200
    assert dataverse.http.delete(f"contacts({row_id})", headers=headers).status_code == 204


def test_checklist_03_writes_answer_204_with_the_url_or_the_row_if_asked(dataverse: Dataverse) -> None:
    answer = dataverse.http.post("contacts", json={"lastname": "x"})
    url = answer.headers["OData-EntityId"]
    assert (answer.status_code, answer.content) == (204, b"")
    assert url.startswith(f"{dataverse.root}contacts(")
    assert dataverse.http.patch(url, json={"lastname": "y"}).headers["OData-EntityId"] == url
    created = dataverse.http.post("contacts?$select=lastname", json={"lastname": "z"}, headers=REPRESENTATION)
    assert created.status_code == 201
    assert created.headers["Preference-Applied"] == "return=representation"
    assert created.headers["ETag"] == created.json()["@odata.etag"]
    assert "OData-EntityId" not in created.headers
    assert set(created.json()) == {"@odata.context", "@odata.etag", "contactid", "lastname"}
    updated = dataverse.http.patch(f"{url}?$select=lastname", json={"lastname": "q"}, headers=REPRESENTATION)
    assert (updated.status_code, updated.json()["lastname"]) == (200, "q")


def test_checklist_04_an_upsert_by_key_repeats_the_keys_url(dataverse: Dataverse) -> None:
    url = f"{dataverse.root}contacts(new_extid='A1')"
    for last_name in ("created", "updated"):
        answer = dataverse.http.patch("contacts(new_extid='A1')", json={"lastname": last_name})
        assert (answer.status_code, answer.headers["OData-EntityId"]) == (204, url)
    row = dataverse.row(url)
    assert (row["lastname"], row["new_extid"]) == ("updated", "A1")
    asked = dataverse.http.patch(f"{url}?$select=contactid", json={"lastname": "q"}, headers=REPRESENTATION)
    assert (asked.status_code, asked.json()["contactid"]) == (200, row["contactid"])
    assert error(dataverse.http.get("contacts(new_extid='B2')")) == (404, "0x80060891")
    assert error(dataverse.http.get("contacts(lastname='B2')"))[0] == 400


def test_checklist_05_key_columns_in_an_upserts_body(dataverse: Dataverse) -> None:
    """Ignored on update, winning on create, refused in UpsertMultiple's create."""
    dataverse.http.patch("contacts(new_extid='A1')", json={"lastname": "x", "new_extid": "A2"})
    assert dataverse.row("contacts(new_extid='A2')")["lastname"] == "x"
    dataverse.http.patch("contacts(new_extid='A2')", json={"lastname": "y", "new_extid": "A3"})
    assert dataverse.row("contacts(new_extid='A2')")["lastname"] == "y"
    target = {
        "@odata.type": "Microsoft.Dynamics.CRM.contact", "@odata.id": "contacts(new_extid='A4')", "new_extid": "A4",
    }  # fmt: skip
    assert error(dataverse.http.post(f"{BULK}UpsertMultiple", json={"Targets": [target]}))[0] == 400


def test_checklist_11_etag_is_the_version_of_one_counter_and_equal_writes_bump_it(dataverse: Dataverse) -> None:
    contact = dataverse.create("contacts", lastname="x")
    lead = dataverse.create("leads", lastname="x")
    versions = [dataverse.row(url)["versionnumber"] for url in (f"contacts({contact})", f"leads({lead})")]
    assert versions[0] < versions[1]
    dataverse.http.patch(f"contacts({contact})", json={"lastname": "x"})
    row = dataverse.row(f"contacts({contact})")
    assert row["versionnumber"] > versions[1]
    assert row["@odata.etag"] == f'W/"{row["versionnumber"]}"'


def test_checklist_15_values_that_do_not_fit_are_refused_by_code(dataverse: Dataverse) -> None:
    for body, code in (
        ({"lastname": "x" * 51}, "0x80044331"),
        ({"description": "x" * 2001}, "0x80044331"),
        ({"lastname": "👩" * 26}, "0x80044331"),
        ({"gendercode": 9}, "0x8004431a"),
        ({"nothing": 1}, "0x80048d19"),
        ({"lastname": 5}, "0x80048d19"),
        ({"numberofchildren": "5"}, "0x80048d19"),
        ({"numberofchildren": 1.5}, "0x80048d19"),
        ({"numberofchildren": -1}, "0x80044330"),
        ({"donotphone": 1}, "0x80048d19"),
        ({"birthdate": "1990-13-01"}, "0x80048d19"),
        ({"birthdate": "1700-01-01"}, "0x80040203"),
        ({"mkt_lastinterestingmomentdate": "soon"}, "0x80048d19"),
        ({"annualincome": True}, "0x80048d19"),
        ({"_parentcustomerid_value": None}, "0x80060888"),
        ({"new_interests": "1,9"}, "0x8004431a"),
    ):
        assert error(dataverse.http.post("contacts", json=body)) == (400, code), body
    assert dataverse.rows("contacts") == []
    message = dataverse.http.post("contacts", json={"lastname": "x" * 51}).json()["error"]["message"]
    assert message == (
        "A validation error occurred.  The length of the 'lastname' attribute of the 'contact' entity exceeded the "
        "maximum allowed length of '50'."
    )


def test_checklist_15_values_not_valid_for_the_operation_are_dropped_silently(dataverse: Dataverse) -> None:
    contact = dataverse.create("contacts", fullname="ignored", createdon="2001-01-01T00:00:00Z", versionnumber=5)
    row = dataverse.row(f"contacts({contact})")
    assert row["fullname"] is None
    assert not row["createdon"].startswith("2001")
    assert row["versionnumber"] > 5
    dataverse.http.patch(f"contacts({contact})", json={"overriddencreatedon": "2001-01-01", "lastname": "x"})
    assert dataverse.row(f"contacts({contact})")["overriddencreatedon"] is None


def test_checklist_15_application_required_is_not_enforced(dataverse: Dataverse) -> None:
    contact = dataverse.create("contacts", firstname="Only")
    assert dataverse.row(f"contacts({contact})")["lastname"] is None


def test_checklist_16_binds_are_case_sensitive_and_polymorphic_pairs_exclude_each_other(dataverse: Dataverse) -> None:
    account = dataverse.create("accounts", name="A", accountnumber="N1")
    boss = dataverse.create("contacts", lastname="Boss")
    contact = dataverse.create("contacts", lastname="x")

    def bound(**body: str | None) -> tuple[str | None, str | None]:
        sent = {name.replace("_bind", "@odata.bind"): value for name, value in body.items()}
        answer = dataverse.http.patch(f"contacts({contact})", json=sent)
        assert answer.status_code == 204, answer.text
        query = "$expand=parentcustomerid_account($select=name),parentcustomerid_contact($select=lastname)"
        row = dataverse.row(f"contacts({contact})?$select=_parentcustomerid_value&{query}")
        kind = "account" if row["parentcustomerid_account"] else "contact" if row["parentcustomerid_contact"] else None
        return row["_parentcustomerid_value"], kind

    for url in (f"/accounts({account})", f"accounts({account})", f"{dataverse.root}accounts({account})",
                "accounts(accountnumber='N1')"):  # fmt: skip
        assert bound(parentcustomerid_account_bind=None) == (None, None)
        assert bound(parentcustomerid_account_bind=url) == (account, "account")
    assert bound(parentcustomerid_contact_bind=f"/contacts({boss})") == (boss, "contact")
    assert bound(parentcustomerid_contact=None) == (None, None)
    wrong = {"parentCustomerId_account@odata.bind": f"/accounts({account})"}
    assert error(dataverse.http.patch(f"contacts({contact})", json=wrong)) == (400, "0x80048d19")


def test_checklist_16_ref_sets_and_clears_lookups_from_either_end(dataverse: Dataverse) -> None:
    account = dataverse.create("accounts", name="A")
    contact = dataverse.create("contacts", lastname="x")
    single = f"contacts({contact})/parentcustomerid_account/$ref"
    many = f"accounts({account})/contact_customer_accounts"
    assert dataverse.http.put(single, json={"@odata.id": f"{dataverse.root}accounts({account})"}).status_code == 204
    assert [row["contactid"] for row in dataverse.rows(many)] == [contact]
    assert dataverse.row(f"contacts({contact})/parentcustomerid_account")["name"] == "A"
    assert dataverse.http.delete(single).status_code == 204
    assert dataverse.rows(many) == []
    assert dataverse.http.post(f"{many}/$ref", json={"@odata.id": f"contacts({contact})"}).status_code == 204
    assert len(dataverse.rows(many)) == 1
    assert dataverse.http.delete(f"{many}({contact})/$ref").status_code == 204
    assert dataverse.rows(many) == []


def test_checklist_17_a_bind_to_nothing_is_a_404_that_names_the_referenced_table(dataverse: Dataverse) -> None:
    contact = dataverse.create("contacts", lastname="x")
    body = {"parentcustomerid_account@odata.bind": f"/accounts({uuid.uuid4()})"}
    answer = dataverse.http.patch(f"contacts({contact})", json=body)
    assert error(answer) == (404, "0x80040217")
    assert answer.json()["error"]["message"].startswith("Entity 'Account' With Id = ")


def test_checklist_18_a_secured_column_reads_null_and_refuses_the_whole_write(dataverse: Dataverse) -> None:
    contact = dataverse.create("contacts", lastname="x", jobtitle="Secret")
    change_schema(dataverse.store, SchemaChange("secure", "contact", "jobtitle"))
    assert dataverse.row(f"contacts({contact})")["jobtitle"] is None
    assert dataverse.sales.get(f"contacts({contact})").json()["jobtitle"] == "Secret"
    refused = dataverse.http.patch(f"contacts({contact})", json={"lastname": "y", "jobtitle": "z"})
    assert error(refused) == (403, "0x8004f507")
    assert dataverse.row(f"contacts({contact})")["lastname"] == "x"
    assert error(dataverse.http.post("contacts", json={"jobtitle": "z"})) == (403, "0x8004f502")
    assert error(dataverse.http.get("contacts?$filter=jobtitle eq 'a'")) == (403, "0x8004f506")


def test_checklist_19_the_server_owns_names_times_authors_owner_state_and_base_amounts(dataverse: Dataverse) -> None:
    contact = dataverse.create("contacts", firstname="Åsa", middlename="M", lastname="Öberg", annualincome=12.345)
    assert dataverse.sales.patch(f"contacts({contact})", json={"jobtitle": "x"}).status_code == 204
    row = dataverse.row(f"contacts({contact})")
    store = dataverse.store
    assert row["fullname"] == "Åsa M Öberg"
    assert (row["_createdby_value"], row["_modifiedby_value"]) == (store.sync_user_id, store.sales_user_id)
    assert (row["_ownerid_value"], row["statecode"], row["statuscode"]) == (store.sync_user_id, 0, 1)
    assert (row["annualincome"], row["annualincome_base"], row["exchangerate"]) == (12.35, 12.35, 1)
    assert (row["donotphone"], row["createdon"] <= row["modifiedon"]) == (False, True)


def test_checklist_19_state_and_status_must_fit(dataverse: Dataverse) -> None:
    lead = dataverse.create("leads", lastname="x")
    url = f"leads({lead})"
    assert error(dataverse.http.patch(url, json={"statecode": 0, "statuscode": 4})) == (400, "0x80048408")
    assert dataverse.http.patch(url, json={"statecode": 2, "statuscode": 5}).status_code == 204
    assert dataverse.http.patch(url, json={"statecode": 0}).status_code == 204
    assert dataverse.row(url)["statuscode"] == 1


def test_checklist_22_a_merge_deactivates_the_loser_and_moves_its_children(dataverse: Dataverse) -> None:
    target, loser = dataverse.create("accounts", name="A"), dataverse.create("accounts", name="B")
    child = dataverse.create("contacts", lastname="x", **{"parentcustomerid_account@odata.bind": f"accounts({loser})"})
    link = dataverse.delta_link("accounts?$select=name,merged,_masterid_value,statecode")
    kind = "Microsoft.Dynamics.CRM.account"
    answer = dataverse.http.post(
        "Merge",
        json={
            "Target": {"accountid": target, "@odata.type": kind},
            "Subordinate": {"accountid": loser, "@odata.type": kind},
            "UpdateContent": {"@odata.type": kind, "telephone1": "1"},
            "PerformParentingChecks": False,
        },
    )
    assert answer.status_code == 204, answer.text
    changes = {row["accountid"]: row for row in dataverse.rows(link)}
    lost = changes[loser]
    assert (lost["merged"], lost["_masterid_value"], lost["statecode"]) == (True, target, 1)
    assert dataverse.row(f"accounts({target})")["telephone1"] == "1"
    assert dataverse.row(f"contacts({child})")["_parentcustomerid_value"] == target


def test_checklist_22_qualifying_a_lead_creates_rows_nobody_wrote(dataverse: Dataverse) -> None:
    lead = dataverse.create("leads", firstname="A", lastname="B", companyname="C", emailaddress1="a@example.com")
    body = {"CreateAccount": True, "CreateContact": True, "CreateOpportunity": False, "Status": 3}
    answer = dataverse.http.post(f"leads({lead})/Microsoft.Dynamics.CRM.QualifyLead", json=body)
    assert answer.status_code == 200, answer.text
    (contact,) = dataverse.rows("contacts")
    (account,) = dataverse.rows("accounts")
    assert [row["@odata.type"][24:] for row in answer.json()["value"]] == ["account", "contact"]
    assert (contact["fullname"], contact["emailaddress1"]) == ("A B", "a@example.com")
    assert (contact["_parentcustomerid_value"], contact["_originatingleadid_value"]) == (account["accountid"], lead)
    assert account["name"] == "C"
    row = dataverse.row(f"leads({lead})")
    assert (row["statecode"], row["statuscode"], row["_parentcontactid_value"]) == (1, 3, contact["contactid"])
    assert error(dataverse.http.post(f"leads({lead})/Microsoft.Dynamics.CRM.QualifyLead", json=body))[0] == 400
    assert len(dataverse.rows("contacts")) == 1


def test_checklist_23_a_batch_stops_at_the_first_failure_and_takes_its_status(dataverse: Dataverse) -> None:
    ids = [dataverse.create("contacts", lastname="x") for _ in range(3)]
    body, headers = batch(
        part("PATCH", f"/api/data/v9.2/contacts({ids[0]})", '{"lastname":"1"}'),
        part("PATCH", f"{dataverse.root}contacts({ids[1]})", '{"lastname":"2","nothing":1}'),
        part("PATCH", f"contacts({ids[2]})", '{"lastname":"3"}'),
    )
    answer = dataverse.http.post("$batch", content=body, headers=headers)
    assert answer.status_code == 400
    assert answer.headers["content-type"].startswith("multipart/mixed; boundary=batchresponse_")
    assert answer.text.count("HTTP/1.1 ") == 2
    assert "HTTP/1.1 400 Bad Request" in answer.text
    assert [dataverse.row(f"contacts({one})")["lastname"] for one in ids] == ["1", "x", "x"]
    carried_on = dataverse.http.post("$batch", content=body, headers={**headers, "Prefer": "odata.continue-on-error"})
    assert carried_on.status_code == 200
    assert carried_on.text.count("HTTP/1.1 204") == 2
    assert carried_on.headers["Preference-Applied"] == "odata.continue-on-error"
    assert [dataverse.row(f"contacts({one})")["lastname"] for one in ids] == ["1", "x", "3"]


def test_checklist_23_a_change_set_is_atomic_and_answers_with_the_failing_part_alone(dataverse: Dataverse) -> None:
    row_id = dataverse.create("contacts", lastname="x")
    body, headers = batch(
        change_set(
            part("PATCH", f"contacts({row_id})", '{"lastname":"changed"}', content_id="1"),
            part("POST", "contacts", '{"nothing":1}', content_id="2"),
        ),
        part("GET", f"contacts({row_id})?$select=lastname"),
    )
    answer = dataverse.http.post("$batch", content=body, headers={**headers, "Prefer": "odata.continue-on-error"})
    assert answer.status_code == 200
    assert answer.text.count("Content-ID:") == 1
    assert "Content-ID: 2" in answer.text
    assert '"lastname":"x"' in answer.text
    assert len(dataverse.rows("contacts")) == 1


def test_checklist_23_content_ids_refer_to_what_was_created(dataverse: Dataverse) -> None:
    bound = '{"lastname":"x","parentcustomerid_account@odata.bind":"$1"}'
    body, headers = batch(
        change_set(
            part("POST", "accounts", '{"name":"A"}', content_id="1"),
            part("POST", "contacts", bound, content_id="2"),
            part("PATCH", "$1", '{"telephone1":"5"}', content_id="3"),
        )
    )
    answer = dataverse.http.post("$batch", content=body, headers=headers)
    assert answer.status_code == 200, answer.text
    assert answer.text.count("Content-ID:") == 3
    (account,) = dataverse.rows("accounts")
    (contact,) = dataverse.rows("contacts")
    assert (contact["_parentcustomerid_value"], account["telephone1"]) == (account["accountid"], "5")
    unknown, headers = batch(change_set(part("PATCH", "$7", "{}", content_id="1")))
    answer = dataverse.http.post("$batch", content=unknown, headers=headers)
    assert answer.status_code == 400
    assert "Content-ID Reference: '$7' does not exist in the batch context." in answer.text


def test_checklist_23_malformed_batches_are_refused_with_plain_json(dataverse: Dataverse) -> None:
    get = part("GET", "contacts")
    for parts in (
        (change_set(part("GET", "contacts", content_id="1")),),
        (change_set(part("POST", "contacts", "{}")),),
        tuple(get for _ in range(1_001)),
        (),
    ):
        body, headers = batch(*parts)
        assert error(dataverse.http.post("$batch", content=body, headers=headers))[0] == 400
    for content_type in ("application/json", "multipart/mixed", "multipart/mixed; boundary=other"):
        answer = dataverse.http.post("$batch", content=batch(get)[0], headers={"Content-Type": content_type})
        assert error(answer)[0] == 400
    assert dataverse.rows("contacts") == []


def test_checklist_23_line_feeds_alone_are_tolerated_and_1000_requests_fit(dataverse: Dataverse) -> None:
    body, headers = batch(*(part("POST", "contacts", f'{{"lastname":"{n}"}}') for n in range(1_000)))
    answer = dataverse.http.post("$batch", content=body.replace("\r\n", "\n"), headers=headers)
    assert answer.status_code == 200
    assert answer.text.count("HTTP/1.1 204 No Content") == 1_000
    assert len(dataverse.rows("contacts?$select=lastname")) == 1_000


def test_checklist_24_bulk_messages_are_all_or_nothing(dataverse: Dataverse) -> None:
    kind = {"@odata.type": "Microsoft.Dynamics.CRM.contact"}
    created = dataverse.http.post(
        f"{BULK}CreateMultiple", json={"Targets": [{**kind, "lastname": name} for name in "abc"]}
    )
    assert created.status_code == 200
    ids = created.json()["Ids"]
    assert [dataverse.row(f"contacts({one})")["lastname"] for one in ids] == ["a", "b", "c"]
    targets = [{**kind, "contactid": one, "jobtitle": "x"} for one in ids]
    assert dataverse.http.post(f"{BULK}UpdateMultiple", json={"Targets": targets}).content == b""
    bad = [*targets[:2], {**targets[2], "jobtitle": "x" * 101}]
    bad[0]["jobtitle"] = "lost"
    assert error(dataverse.http.post(f"{BULK}UpdateMultiple", json={"Targets": bad})) == (400, "0x80044331")
    assert {row["jobtitle"] for row in dataverse.rows("contacts")} == {"x"}
    upserts = [{**kind, "@odata.id": f"contacts(new_extid='{n}')", "lastname": str(n)} for n in range(2)]
    answer = dataverse.http.post(f"{BULK}UpsertMultiple", json={"Targets": upserts})
    assert (answer.status_code, answer.content) == (204, b"")
    assert dataverse.row("contacts(new_extid='1')")["lastname"] == "1"
    assert error(dataverse.http.post(f"{BULK}CreateMultiple", json={"Targets": [{"lastname": "x"}]}))[0] == 400
    assert error(dataverse.http.post(f"{BULK}DeleteMultiple", json={"Targets": []}))[0] == 400


def test_checklist_25_412_has_four_causes_told_apart_by_code(dataverse: Dataverse) -> None:
    row_id = dataverse.create("contacts", lastname="x", new_extid="A1", emailaddress1="a@example.com")
    url = f"contacts({row_id})"
    stale = {"If-Match": 'W/"1"'}
    assert error(dataverse.http.patch(url, json={"lastname": "y"}, headers=stale)) == (412, "0x80060882")
    assert error(dataverse.http.delete(url, headers=stale)) == (412, "0x80060882")
    assert error(dataverse.http.post("contacts", json={"contactid": row_id})) == (412, "0x80040237")
    create_only = dataverse.http.patch(url, json={"lastname": "y"}, headers={"If-None-Match": "*"})
    assert error(create_only) == (412, "0x80040237")
    assert create_only.json()["error"]["message"] == "A record with matching key values already exists."
    assert error(dataverse.http.post("contacts", json={"new_extid": "a1"})) == (412, "0x80060892")
    detect = {"MSCRM.SuppressDuplicateDetection": "false"}
    again = dataverse.http.post("contacts", json={"emailaddress1": "A@example.com"}, headers=detect)
    assert error(again) == (412, "0x80040333")
    assert dataverse.row(url)["lastname"] == "x"


def test_checklist_26_duplicates_are_detected_only_when_the_header_says_false(dataverse: Dataverse) -> None:
    body = {"lastname": "x", "emailaddress1": "a@example.com"}
    dataverse.create("contacts", **body)
    dataverse.create("contacts", **body)
    for value in ("true", "nonsense"):
        headers = {"MSCRM.SuppressDuplicateDetection": value}
        assert dataverse.http.post("contacts", json=body, headers=headers).status_code == 204
    assert len(dataverse.rows("contacts")) == 4
