"""The items about reading (docs/protocols/dataverse.md#checklist), a test for each, under its number."""

from __future__ import annotations

import re
from urllib.parse import unquote
from xml.etree import ElementTree

from dynsync_pipeline.emulators.dataverse.control import SchemaChange, change_schema
from dynsync_pipeline_tests.emulators.dataverse.conftest import ALL_ANNOTATIONS, Dataverse, error


def people(dataverse: Dataverse, *last_names: str) -> list[str]:
    return [dataverse.create("contacts", lastname=name) for name in last_names]


def test_checklist_06_next_link_is_absolute_and_opaque_and_keeps_the_query(dataverse: Dataverse) -> None:
    ids = sorted(people(dataverse, *"abcdefg"))
    first = dataverse.row("contacts?$select=lastname&tag=x", Prefer="odata.maxpagesize=3")
    link = first["@odata.nextLink"]
    assert link.startswith(f"{dataverse.root}contacts?$select=lastname&tag=x&$skiptoken=")
    token = link.partition("$skiptoken=")[2]
    outer = re.fullmatch(r'<cookie pagenumber="2" pagingcookie="(.*)" istracking="False" />', unquote(token))
    assert outer is not None
    assert unquote(unquote(outer[1])).startswith('<cookie page="1">')
    # The size is that of each request's own header: 2, then the rest.
    second = dataverse.row(link, Prefer="odata.maxpagesize=2")
    third = dataverse.row(second["@odata.nextLink"])
    pages = [[row["contactid"] for row in page["value"]] for page in (first, second, third)]
    assert pages == [ids[:3], ids[3:5], ids[5:]]
    assert "@odata.nextLink" not in third


def test_checklist_06_no_page_is_larger_than_5000(dataverse: Dataverse) -> None:
    with dataverse.store.write() as connection:
        connection.executemany(
            "insert into contact (contactid, lastname, versionnumber) values (?, 'x', ?)",
            ((f"00000000-0000-0000-0000-{n:012d}", n) for n in range(5_001)),
        )
    for headers in ({}, {"Prefer": "odata.maxpagesize=6000"}):
        page = dataverse.row("contacts?$select=lastname", **headers)
        assert len(page["value"]) == 5_000
        assert len(dataverse.rows(page["@odata.nextLink"])) == 1


def test_checklist_07_top_is_ignored_beside_a_page_size_and_skip_is_refused(dataverse: Dataverse) -> None:
    people(dataverse, *"abcde")
    assert len(dataverse.rows("contacts?$top=2")) == 2
    page = dataverse.row("contacts?$top=2", Prefer="odata.maxpagesize=3")
    assert len(page["value"]) == 3
    assert "@odata.nextLink" in page
    for option in ("$skip=1", "$search=a", "$format=json", "$apply=x", "$Top=1"):
        assert error(dataverse.http.get(f"contacts?{option}")) == (400, "0x80060888")


def test_checklist_08_counts_are_capped_at_5000_and_slash_count_starts_with_a_bom(dataverse: Dataverse) -> None:
    with dataverse.store.write() as connection:
        connection.executemany(
            "insert into contact (contactid, lastname, versionnumber) values (?, ?, ?)",
            ((f"00000000-0000-0000-0000-{n:012d}", str(n % 2), n) for n in range(5_002)),
        )
    small = {"Prefer": 'odata.include-annotations="*",odata.maxpagesize=1'}
    page = dataverse.row("contacts?$select=lastname&$count=true", **small)
    assert (page["@odata.count"], page["@Microsoft.Dynamics.CRM.totalrecordcountlimitexceeded"]) == (5_000, True)
    without = dataverse.row("contacts?$select=lastname", **small)
    assert "@odata.count" not in without
    assert without["@Microsoft.Dynamics.CRM.totalrecordcount"] == -1
    answer = dataverse.http.get("contacts/$count?$filter=lastname eq '1'")
    assert (answer.content, answer.headers["content-type"]) == (b"\xef\xbb\xbf2501", "text/plain")
    counted = dataverse.row("RetrieveTotalRecordCount(EntityNames=['contact','lead'])")["EntityRecordCountCollection"]
    assert dict(zip(counted["Keys"], counted["Values"], strict=True)) == {"contact": 5_002, "lead": 0}


def test_checklist_09_query_options_are_decoded_and_their_names_are_case_sensitive(dataverse: Dataverse) -> None:
    people(dataverse, "van den Berg")
    (row,) = dataverse.rows("contacts?%24select=firstname%2Clastname&%24filter=lastname+eq+%27van%20den+Berg%27")
    assert set(row) == {"@odata.etag", "contactid", "firstname", "lastname"}
    assert error(dataverse.http.get("contacts?$Select=lastname"))[0] == 400
    assert error(dataverse.http.get("contacts?$select=LastName"))[0] == 400


def test_checklist_10_rows_carry_etag_key_nulls_lookups_and_companions(dataverse: Dataverse) -> None:
    account = dataverse.create("accounts", name="A", revenue=20000)
    contact = dataverse.create(
        "contacts",
        lastname="x",
        address1_city="Oslo",
        **{"parentcustomerid_account@odata.bind": f"/accounts({account})"},
    )
    row = dataverse.row(f"contacts({contact})?$select=firstname,_parentcustomerid_value,address1_city")
    assert set(row) == {
        "@odata.context", "@odata.etag", "contactid", "firstname", "_parentcustomerid_value", "address1_city",
        "address1_composite",
    }  # fmt: skip
    assert (row["firstname"], row["_parentcustomerid_value"], row["address1_composite"]) == (None, account, "Oslo")
    money = dataverse.row(f"accounts({account})?$select=revenue")
    assert money["_transactioncurrencyid_value"] == dataverse.store.currency_id
    for name in ("statecodename", "parentcustomerid", "_statecode_value", "nothing"):
        assert error(dataverse.http.get(f"contacts?$select={name}")) == (400, "0x80060888")


def test_checklist_10_annotations_come_when_asked_and_never_for_nulls(dataverse: Dataverse) -> None:
    account = dataverse.create("accounts", name="Ägir")
    contact = dataverse.create(
        "contacts", lastname="x", donotphone=True, **{"parentcustomerid_account@odata.bind": f"/accounts({account})"}
    )
    plain = dataverse.row(f"contacts({contact})")
    assert not [name for name in plain if "@" in name and not name.startswith("@odata")]
    row = dataverse.row(f"contacts({contact})", **ALL_ANNOTATIONS)
    label = "@OData.Community.Display.V1.FormattedValue"
    assert row[f"_parentcustomerid_value{label}"] == "Ägir"
    assert row["_parentcustomerid_value@Microsoft.Dynamics.CRM.lookuplogicalname"] == "account"
    navigation = "@Microsoft.Dynamics.CRM.associatednavigationproperty"
    assert row[f"_parentcustomerid_value{navigation}"] == "parentcustomerid_account"
    assert f"_createdby_value{navigation}" not in row
    assert row["_createdby_value@Microsoft.Dynamics.CRM.lookuplogicalname"] == "systemuser"
    assert (row[f"donotphone{label}"], row[f"statecode{label}"]) == ("Do Not Allow", "Active")
    assert f"firstname{label}" not in row
    assert f"birthdate{label}" not in row
    only = dataverse.row(f"contacts({contact})", Prefer='odata.include-annotations="Microsoft.Dynamics.CRM.*"')
    assert f"_parentcustomerid_value{navigation}" in only
    assert f"statecode{label}" not in only


def test_checklist_12_text_filters_ignore_case_and_know_likes_wildcards(dataverse: Dataverse) -> None:
    people(dataverse, "Smith", "smythe", "ÉMILE", "100%", "a_b", "axb")

    def found(condition: str) -> list[str]:
        rows = dataverse.http.get("contacts", params={"$select": "lastname", "$filter": condition}).json()["value"]
        return sorted(row["lastname"] for row in rows)

    assert found("lastname eq 'SMITH'") == ["Smith"]
    assert found("lastname eq 'émile'") == ["ÉMILE"]
    assert found("startswith(lastname,'sm_th')") == ["Smith", "smythe"]
    assert found("contains(lastname,'m[iy]t')") == ["Smith", "smythe"]
    assert found("contains(lastname,'m[^i]t')") == ["smythe"]
    assert found("startswith(lastname,'s%e')") == ["smythe"]
    assert found("contains(lastname,'0[%]')") == ["100%"]
    assert found("lastname eq 'a_b'") == ["a_b"]
    assert found("endswith(lastname,'HE')") == ["smythe"]


def test_checklist_12_the_default_order_is_the_key_and_pages_are_live(dataverse: Dataverse) -> None:
    ids = sorted(people(dataverse, *"abcd"))
    first = dataverse.row("contacts?$select=lastname", Prefer="odata.maxpagesize=2")
    assert [row["contactid"] for row in first["value"]] == ids[:2]
    # A row that goes away between two pages is not served from a snapshot.
    assert dataverse.http.delete(f"contacts({ids[2]})").status_code == 204
    assert [row["contactid"] for row in dataverse.rows(first["@odata.nextLink"])] == ids[3:]


def test_checklist_13_values_look_as_on_the_wire(dataverse: Dataverse) -> None:
    lead = dataverse.create(
        "leads", lastname="x", revenue=20000, estimatedclosedate="2027-03-01", leadsourcecode=8, donotbulkemail=True
    )
    text = dataverse.http.get(f"leads({lead})").text
    assert '"revenue":20000.0000,' in text
    assert '"estimatedclosedate":"2027-03-01"' in text
    assert re.search(r'"createdon":"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"', text)
    assert '"leadsourcecode":8' in text
    options = dataverse.row(
        "EntityDefinitions(LogicalName='lead')/Attributes/Microsoft.Dynamics.CRM.BooleanAttributeMetadata"
        "?$filter=LogicalName eq 'donotbulkemail'&$expand=OptionSet"
    )["value"][0]["OptionSet"]
    assert options["TrueOption"]["Label"]["UserLocalizedLabel"]["Label"] == "Do Not Allow"


def test_checklist_13_money_is_exact_at_the_edge(dataverse: Dataverse) -> None:
    """Amounts that a float cannot hold come back as they were sent."""
    account = dataverse.create("accounts", name="A")
    amount = "92233720368547.07"
    body = f'{{"revenue":{amount}}}'.encode()
    assert dataverse.http.patch(f"accounts({account})", content=body).status_code == 204
    assert f'"revenue":{amount}00' in dataverse.http.get(f"accounts({account})").text


def test_checklist_14_users_carry_ownerid_and_refuse_a_named_key(dataverse: Dataverse) -> None:
    user_id = dataverse.store.sync_user_id
    row = dataverse.row(f"systemusers({user_id})?$select=fullname")
    assert (row["ownerid"], row["systemuserid"]) == (user_id, user_id)
    assert error(dataverse.http.get(f"systemusers(systemuserid={user_id})"))[0] == 400
    assert dataverse.http.get(f"systemusers(ownerid={user_id})").status_code == 200
    assert error(dataverse.http.patch(f"systemusers({user_id})", json={"firstname": "x"}))[0] == 405


def test_checklist_29_type_specific_members_need_a_cast(dataverse: Dataverse) -> None:
    base = "EntityDefinitions(LogicalName='contact')/Attributes"
    assert "MaxLength" not in dataverse.row(base)["value"][5]
    assert error(dataverse.http.get(f"{base}?$select=LogicalName,MaxLength"))[0] == 400
    rows = dataverse.rows(f"{base}/Microsoft.Dynamics.CRM.StringAttributeMetadata?$select=LogicalName,MaxLength")
    lengths = {row["LogicalName"]: row["MaxLength"] for row in rows}
    assert (lengths["firstname"], lengths["jobtitle"], lengths["address1_city"]) == (50, 100, 80)
    assert all(row["MetadataId"] for row in rows)
    picklists = dataverse.rows(
        "EntityDefinitions(LogicalName='lead')/Attributes/Microsoft.Dynamics.CRM.StatusAttributeMetadata"
        "?$select=LogicalName&$expand=OptionSet($select=Options),GlobalOptionSet"
    )
    states = {o["Value"]: o["State"] for o in picklists[0]["OptionSet"]["Options"]}
    assert states == {1: 0, 2: 0, 3: 1, 4: 2, 5: 2, 6: 2, 7: 2}


def test_checklist_29_a_new_column_shows_in_data_after_a_lag_and_at_once_for_strong_consistency(
    dataverse: Dataverse,
) -> None:
    dataverse.create("contacts", lastname="x")
    change_schema(dataverse.store, SchemaChange("add", "contact", "new_size", "integer", lag_s=60))
    names = [row["LogicalName"] for row in dataverse.rows("EntityDefinitions(LogicalName='contact')/Attributes")]
    assert "new_size" in names
    assert error(dataverse.http.get("contacts?$select=new_size"))[0] == 400
    assert dataverse.rows("contacts?$select=new_size", Consistency="Strong")[0]["new_size"] is None


def test_checklist_30_not_modified_only_without_expansion_and_annotations(dataverse: Dataverse) -> None:
    account = dataverse.create("accounts", name="A")
    contact = dataverse.create(
        "contacts", lastname="x", **{"parentcustomerid_account@odata.bind": f"accounts({account})"}
    )
    etag = dataverse.row(f"contacts({contact})")["@odata.etag"]
    condition = {"If-None-Match": etag}
    assert dataverse.http.get(f"contacts({contact})", headers=condition).status_code == 304
    annotated = {**condition, **ALL_ANNOTATIONS}
    assert dataverse.http.get(f"contacts({contact})", headers=annotated).status_code == 200
    expanded = "$expand=parentcustomerid_account($select=name)"
    answer = dataverse.http.get(f"contacts({contact})?{expanded}", headers=condition)
    assert answer.status_code == 200
    assert answer.json()["parentcustomerid_account"]["name"] == "A"
    assert answer.json()["parentcustomerid_account"]["@odata.etag"].startswith('W/"')
    assert dataverse.http.get(f"contacts({contact})", headers={"If-None-Match": 'W/"1"'}).status_code == 200


def test_checklist_30_an_expanded_collection_carries_a_next_link(dataverse: Dataverse) -> None:
    account = dataverse.create("accounts", name="A")
    for name in "xyz":
        dataverse.create("contacts", lastname=name, **{"parentcustomerid_account@odata.bind": f"accounts({account})"})
    inner = "$select=lastname;$orderby=lastname desc;$filter=lastname ne 'y'"
    query = f"$select=name&$expand=contact_customer_accounts({inner})"
    row = dataverse.row(f"accounts({account})?{query}")
    assert [one["lastname"] for one in row["contact_customer_accounts"]] == ["z", "x"]
    assert row["contact_customer_accounts@odata.nextLink"].startswith(f"{dataverse.root}accounts({account})/contact_")
    assert len(dataverse.rows(row["contact_customer_accounts@odata.nextLink"])) == 2
    missing = dataverse.create("contacts", lastname="alone")
    assert dataverse.row(f"contacts({missing})?$expand=parentcustomerid_account")["parentcustomerid_account"] is None


def test_checklist_32_bound_operations_need_the_namespace_and_unbound_ones_do_not(dataverse: Dataverse) -> None:
    body = {"Targets": [{"@odata.type": "Microsoft.Dynamics.CRM.contact", "lastname": "x"}]}
    assert error(dataverse.http.post("contacts/CreateMultiple", json=body))[0] == 404
    assert dataverse.http.post("contacts/Microsoft.Dynamics.CRM.CreateMultiple", json=body).status_code == 200
    assert dataverse.row("WhoAmI")["OrganizationId"] == dataverse.store.organization_id
    assert dataverse.http.get("WhoAmI").headers["x-ms-dop-hint"].isdigit()
    assert error(dataverse.http.get("Microsoft.Dynamics.CRM.WhoAmI"))[0] == 404


def test_metadata_as_csdl_is_xml_that_names_sets_and_navigations(dataverse: Dataverse) -> None:
    answer = dataverse.http.get("$metadata?annotations=true")
    root = ElementTree.fromstring(answer.text)
    text = ElementTree.tostring(root, encoding="unicode")
    assert 'Name="parentcustomerid_account"' in text
    assert 'Name="contacts"' in text
    assert "ChangeTracking" in text
