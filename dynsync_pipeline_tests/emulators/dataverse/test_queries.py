"""`$filter`, `$orderby` and FetchXML beyond what the checklist names."""

from __future__ import annotations

import uuid
from typing import Any
from urllib.parse import unquote
from xml.etree import ElementTree
from xml.sax.saxutils import quoteattr

import pytest

from dynsync_pipeline_tests.emulators.dataverse.conftest import Dataverse, error


@pytest.fixture
def people(dataverse: Dataverse) -> Dataverse:
    """Four contacts: Ann and Bob at Alpha, Cid at Beta, Dan nowhere."""
    alpha = dataverse.create("accounts", name="Alpha", revenue=100)
    beta = dataverse.create("accounts", name="Beta", revenue=200.5)
    for n, (name, account) in enumerate([("Ann", alpha), ("Bob", alpha), ("Cid", beta), ("Dan", None)]):
        bind = {"parentcustomerid_account@odata.bind": f"/accounts({account})"} if account else {}
        city = None if n == 1 else f"City {n % 2}"
        dataverse.create(
            "contacts", firstname=name, lastname="X", numberofchildren=n, address1_city=city, birthdate=f"199{n}-01-01",
            donotphone=n == 0, new_interests="1,3" if n == 2 else None, **bind,
        )  # fmt: skip
    return dataverse


def found(dataverse: Dataverse, condition: str, entity_set: str = "contacts", name: str = "firstname") -> list[str]:
    answer = dataverse.http.get(entity_set, params={"$select": name, "$filter": condition, "$orderby": name})
    assert answer.status_code == 200, answer.text
    return [row[name] for row in answer.json()["value"]]


@pytest.mark.parametrize(
    ("condition", "names"),
    [
        ("numberofchildren gt 1 and numberofchildren le 3", "Cid Dan"),
        ("2 lt numberofchildren", "Dan"),
        ("not (firstname eq 'Ann' or firstname eq 'Bob')", "Cid Dan"),
        ("address1_city ne 'City 0'", "Bob Dan"),
        ("not contains(address1_city,'0')", "Bob Dan"),
        ("address1_city eq null", "Bob"),
        ("address1_city ne null", "Ann Cid Dan"),
        ("address1_city gt null", ""),
        ("birthdate lt 1992-01-01", "Ann Bob"),
        ("donotphone eq true", "Ann"),
        ("statecode eq 0 and createdon gt 2020-01-01T00:00:00Z", "Ann Bob Cid Dan"),
        ("createdon gt 2020-01-01T02:00:00+02:00 and firstname ge 'c'", "Cid Dan"),
        ("parentcustomerid_account/name eq 'alpha'", "Ann Bob"),
        ("parentcustomerid_account/revenue gt 200", "Cid"),
        ("parentcustomerid_account/ownerid/firstname eq 'nobody'", ""),
        ("_parentcustomerid_value eq null", "Dan"),
        ("firstname lt lastname and numberofchildren lt 2", "Ann Bob"),
        ("Microsoft.Dynamics.CRM.In(PropertyName='firstname',PropertyValues=['x]', 'it''s','ann'])", "Ann"),
        ("Microsoft.Dynamics.CRM.In(PropertyName='firstname',PropertyValues=5)", None),
        ("Microsoft.Dynamics.CRM.In(PropertyName='numberofchildren',PropertyValues=[1, 2])", "Bob Cid"),
        ("Microsoft.Dynamics.CRM.In(PropertyName='numberofchildren',PropertyValues=[])", ""),
        ("Microsoft.Dynamics.CRM.In(PropertyName='firstname',PropertyValues=[\"ANN\",\"Dan\",\"it's\"])", "Ann Dan"),
        ("Microsoft.Dynamics.CRM.NotIn(PropertyName='numberofchildren',PropertyValues=[\"0\",\"1\"])", "Cid Dan"),
        ("Microsoft.Dynamics.CRM.Between(PropertyName='birthdate',PropertyValues=[\"1991-01-01\",\"1992-12-31\"])",
         "Bob Cid"),
        ("Microsoft.Dynamics.CRM.ContainValues(PropertyName='new_interests',PropertyValues=[\"3\"])", "Cid"),
        ("Microsoft.Dynamics.CRM.DoesNotContainValues(PropertyName='new_interests',PropertyValues=[\"3\"])",
         "Ann Bob Dan"),
        ("Microsoft.Dynamics.CRM.Today(PropertyName='createdon')", "Ann Bob Cid Dan"),
        ("Microsoft.Dynamics.CRM.OlderThanXDays(PropertyName='createdon',PropertyValue=1)", ""),
        ("Microsoft.Dynamics.CRM.LastXDays(PropertyName='createdon',PropertyValue=2)", "Ann Bob Cid Dan"),
        ("Microsoft.Dynamics.CRM.On(PropertyName='birthdate',PropertyValue='1993-01-01')", "Dan"),
        ("Microsoft.Dynamics.CRM.EqualUserId(PropertyName='_ownerid_value')", "Ann Bob Cid Dan"),
        ("Microsoft.Dynamics.CRM.UnderOrEqual(PropertyName='contactid',PropertyValue='x')", None),
    ],
)  # fmt: skip
def test_filters_find_what_dataverse_finds(people: Dataverse, condition: str, names: str | None) -> None:
    if names is None:
        answer = people.http.get("contacts", params={"$filter": condition})
        assert error(answer) == (400, "0x80060888")
    else:
        assert found(people, condition) == names.split()


def test_lambdas_ask_about_related_rows(people: Dataverse) -> None:
    collection = "contact_customer_accounts"
    assert found(people, f"{collection}/any(c:c/firstname eq 'ann')", "accounts", "name") == ["Alpha"]
    assert found(people, f"{collection}/all(c:c/numberofchildren ge 2)", "accounts", "name") == ["Beta"]
    assert found(people, f"not {collection}/any(c:c/firstname eq 'ann')", "accounts", "name") == ["Beta"]


def test_aliases_stand_for_values(people: Dataverse) -> None:
    params = {"$select": "firstname", "$filter": "firstname eq @p1", "@p1": "'Bob'"}
    assert [row["firstname"] for row in people.http.get("contacts", params=params).json()["value"]] == ["Bob"]
    assert error(people.http.get("contacts?$filter=firstname eq @p2"))[0] == 400


@pytest.mark.parametrize("order", ["address1_city,firstname desc", "address1_city desc,firstname", "lastname"])
def test_ordered_pages_neither_repeat_nor_skip_also_where_keys_are_null_or_equal(people: Dataverse, order: str) -> None:
    whole = [row["contactid"] for row in people.rows(f"contacts?$select=firstname&$orderby={order}")]
    paged: list[str] = []
    url = f"contacts?$select=firstname&$orderby={order}"
    while url:
        page = people.row(url, Prefer="odata.maxpagesize=1")
        paged += [row["contactid"] for row in page["value"]]
        url = page.get("@odata.nextLink", "")
    assert len(whole) == 4
    assert paged == whole


def test_nulls_come_first_and_choices_sort_by_number(people: Dataverse) -> None:
    rows = people.rows("contacts?$select=firstname,address1_city&$orderby=address1_city,numberofchildren desc")
    assert [row["firstname"] for row in rows] == ["Bob", "Cid", "Ann", "Dan"]


def fetch(dataverse: Dataverse, inside: str, **attributes: str) -> list[str]:
    more = "".join(f' {name.replace("_", "-")}="{value}"' for name, value in attributes.items())
    xml = f'<fetch{more}><entity name="contact"><attribute name="firstname"/>{inside}</entity></fetch>'
    answer = dataverse.http.get("contacts", params={"fetchXml": xml})
    assert answer.status_code == 200, answer.text
    return [row["firstname"] for row in answer.json()["value"]]


@pytest.mark.parametrize(
    ("conditions", "names"),
    [
        ('<condition attribute="firstname" operator="eq" value="ANN"/>', "Ann"),
        ('<condition attribute="firstname" operator="like" value="_a%"/>', "Dan"),
        ('<condition attribute="address1_city" operator="null"/>', "Bob"),
        ('<condition attribute="address1_city" operator="not-like" value="%0"/>', "Bob Dan"),
        ('<condition attribute="numberofchildren" operator="in"><value>0</value><value>3</value></condition>',
         "Ann Dan"),
        ('<condition attribute="birthdate" operator="on-or-after" value="1992-01-01"/>', "Cid Dan"),
        ('<condition attribute="createdon" operator="last-x-days" value="1"/>', "Ann Bob Cid Dan"),
        ('<condition attribute="donotphone" operator="eq" value="1"/>', "Ann"),
    ],
)  # fmt: skip
def test_fetchxml_conditions(people: Dataverse, conditions: str, names: str) -> None:
    assert fetch(people, f'<filter>{conditions}</filter><order attribute="firstname"/>') == names.split()


def test_fetchxml_nests_filters_limits_and_orders(people: Dataverse) -> None:
    inside = (
        '<filter type="or"><condition attribute="firstname" operator="eq" value="Ann"/><filter>'
        '<condition attribute="firstname" operator="gt" value="b"/>'
        '<condition attribute="numberofchildren" operator="lt" value="3"/></filter></filter>'
        '<order attribute="firstname" descending="true"/>'
    )
    assert fetch(people, inside) == ["Cid", "Bob", "Ann"]
    assert fetch(people, inside, top="2") == ["Cid", "Bob"]
    assert fetch(people, inside, count="2", page="2") == ["Ann"]


def fetched(dataverse: Dataverse, attributes: str, order: str, annotations: str) -> dict[str, Any]:
    """The answer to a FetchXML read of first names."""
    xml = f'<fetch {attributes}><entity name="contact"><attribute name="firstname"/>{order}</entity></fetch>'
    headers = {"Prefer": f'odata.include-annotations="{annotations}"'} if annotations else {}
    answer = dataverse.http.get("contacts", params={"fetchXml": xml}, headers=headers)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


@pytest.mark.parametrize("order", ["", '<order attribute="address1_city"/><order attribute="birthdate"/>',
    '<order attribute="numberofchildren" descending="true"/>'])  # fmt: skip
def test_fetchxml_goes_on_after_the_last_row_of_a_page_by_its_cookie(people: Dataverse, order: str) -> None:
    whole = [row["firstname"] for row in fetched(people, "", order, "")["value"]]
    paged: list[str] = []
    cookie, page = "", 1
    while True:
        answer = fetched(people, f'count="1" page="{page}"{cookie}', order, "Microsoft.Dynamics.CRM.*")
        paged += [row["firstname"] for row in answer["value"]]
        if "@Microsoft.Dynamics.CRM.morerecords" not in answer:
            break
        told = ElementTree.fromstring(answer["@Microsoft.Dynamics.CRM.fetchxmlpagingcookie"])
        page += 1
        assert (told.get("pagenumber"), told.get("istracking")) == (str(page), "False")
        cookie = f" paging-cookie={quoteattr(unquote(unquote(told.get('pagingcookie', ''))))}"
        if page == 2:
            people.create(
                "contacts", firstname="New", lastname="X", contactid=str(uuid.UUID(int=1)), birthdate="1950-01-01"
            )
    assert [name for name in paged if name != "New"] == whole
    assert "@Microsoft.Dynamics.CRM.fetchxmlpagingcookie" not in answer


def test_fetchxml_tells_of_further_pages_only_who_asks(people: Dataverse) -> None:
    assert not [name for name in fetched(people, 'count="1"', "", "") if "CRM" in name]
    assert not [name for name in fetched(people, 'count="1"', "", "OData.Community.Display.V1.*") if "paging" in name]
    one = fetched(people, 'count="1"', "", "Microsoft.Dynamics.CRM.morerecords")
    assert one["@Microsoft.Dynamics.CRM.morerecords"] is True
    assert "@Microsoft.Dynamics.CRM.fetchxmlpagingcookie" not in one
    people.create("contacts", firstname="\x01", lastname="no XML", contactid=str(uuid.UUID(int=1)))
    simple = fetched(people, 'count="1"', '<order attribute="firstname"/>', "*")
    assert "@Microsoft.Dynamics.CRM.fetchxmlpagingcookie" not in simple
    assert simple["@Microsoft.Dynamics.CRM.morerecords"] is True


@pytest.mark.parametrize(
    "xml",
    [
        *(
            f"<fetch page='2' paging-cookie={quoteattr(cookie)}><entity name='contact'><order attribute='numberofchildren'/>"
            "</entity></fetch>"
            for cookie in (
                "x",
                "<cookie/>",
                "<!DOCTYPE a><cookie/>",
                "<cookie><numberofchildren last='x'/><contactid last='y'/></cookie>",
                f"<cookie><numberofchildren last='{10**30}'/><contactid last='{uuid.UUID(int=1)}'/></cookie>",
            )
        ),
        "<fetch>",
        "<fetch/>",
        '<!DOCTYPE x [<!ENTITY a "b">]><fetch><entity name="contact"/></fetch>',
        '<fetch><entity name="lead"/></fetch>',
        '<fetch aggregate="true"><entity name="contact"/></fetch>',
        '<fetch><entity name="contact"><attribute name="nothing"/></entity></fetch>',
        '<fetch><entity name="contact"><link-entity name="account"/></entity></fetch>',
        '<fetch page="-1"><entity name="contact"/></fetch>',
        '<fetch><entity name="contact"><filter><condition attribute="lastname" operator="above"/></filter>'
        "</entity></fetch>",
    ],
)
def test_fetchxml_that_cannot_be_served_is_refused(dataverse: Dataverse, xml: str) -> None:
    assert error(dataverse.http.get("contacts", params={"fetchXml": xml}))[0] == 400


def test_which_tables_take_bulk_messages_can_be_asked(dataverse: Dataverse) -> None:
    condition = "sdkmessageid/name eq 'UpsertMultiple' and primaryobjecttypecode eq 'contact'"
    params = {"$select": "sdkmessagefilterid", "$expand": "sdkmessageid($select=name)", "$filter": condition}
    rows = dataverse.http.get("sdkmessagefilters", params=params).json()["value"]
    assert [row["sdkmessageid"]["name"] for row in rows] == ["UpsertMultiple"]
    none = dataverse.rows("sdkmessagefilters?$filter=primaryobjecttypecode eq 'systemuser'")
    assert none == []


def test_related_rows_can_be_counted(people: Dataverse) -> None:
    (alpha,) = people.rows("accounts?$select=name&$filter=name eq 'Alpha'")
    url = f"accounts({alpha['accountid']})/contact_customer_accounts/$count"
    assert people.http.get(url).content == b"\xef\xbb\xbf2"
    assert people.http.get(f"{url}?$filter=firstname eq 'Bob'").content == b"\xef\xbb\xbf1"


def test_options_of_collections_are_refused_on_a_single_row(people: Dataverse) -> None:
    (row,) = people.rows("contacts?$top=1")
    for option in ("$filter=firstname eq 'Ann'", "$top=1", "$orderby=firstname", "$count=true"):
        assert error(people.http.get(f"contacts({row['contactid']})?{option}")) == (400, "0x80060888")


@pytest.mark.parametrize(
    ("path", "names"),
    [
        ("EntityDefinitions?$filter=ChangeTrackingEnabled eq true", "account contact lead task"),
        ("EntityDefinitions?$filter=CanChangeTrackingBeEnabled/Value eq true and ObjectTypeCode ne 4", "account contact task"),
        ("EntityDefinitions(LogicalName='account')/Attributes?$filter=RequiredLevel/Value eq "
         "Microsoft.Dynamics.CRM.AttributeRequiredLevel'ApplicationRequired'", "name"),
        ("EntityDefinitions(LogicalName='lead')/Attributes?$filter=AttributeType eq "
         "Microsoft.Dynamics.CRM.AttributeTypeCode'State'", "statecode"),
        ("EntityDefinitions(LogicalName='lead')/Attributes?$filter=AttributeTypeName/Value eq 'StatusType'", "statuscode"),
        ("EntityDefinitions(LogicalName='contact')/Attributes?$filter=startswith(LogicalName,'birth')", "birthdate"),
    ],
)  # fmt: skip
def test_definitions_are_filtered_also_by_complex_and_enumerated_members(
    dataverse: Dataverse, path: str, names: str
) -> None:
    assert sorted(row["LogicalName"] for row in dataverse.rows(f"{path}&$select=LogicalName")) == names.split()


def test_a_table_definition_expands_its_columns_and_keys(dataverse: Dataverse) -> None:
    query = "$select=LogicalName&$expand=Attributes($select=LogicalName;$filter=LogicalName eq 'fax'),Keys"
    row = dataverse.row(f"EntityDefinitions(LogicalName='lead')?{query}")
    assert [one["LogicalName"] for one in row["Attributes"]] == ["fax"]
    assert row["Keys"][0]["KeyAttributes"] == ["new_extid"]
    by_id = dataverse.row(f"EntityDefinitions({row['MetadataId']})?$select=EntitySetName")
    assert by_id["EntitySetName"] == "leads"
