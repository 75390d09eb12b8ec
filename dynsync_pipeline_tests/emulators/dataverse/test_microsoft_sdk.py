"""Contract: Microsoft's own Python SDK, unchanged, against the emulator over TLS. Values are asserted, not only calls.

Out of scope here: its operations on custom tables, columns and files, which write metadata.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd
import pytest
from azure.identity import ClientSecretCredential
from PowerPlatform.Dataverse.client import DataverseClient
from PowerPlatform.Dataverse.core.errors import HttpError
from PowerPlatform.Dataverse.models.filters import col
from PowerPlatform.Dataverse.models.query_builder import ExpandOption
from PowerPlatform.Dataverse.models.record import QueryResult
from PowerPlatform.Dataverse.models.upsert import UpsertItem

from dynsync_pipeline.emulators.dataverse.control import reset
from dynsync_pipeline.emulators.dataverse.limits import Limits
from dynsync_pipeline.emulators.running import Emulators


@pytest.fixture(scope="module")
def emulators(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulators]:
    with Emulators(tmp_path_factory.mktemp("state")) as running:
        yield running


@pytest.fixture
def client(emulators: Emulators, monkeypatch: pytest.MonkeyPatch) -> Iterator[DataverseClient]:
    env = emulators.environment
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", env["DYNSYNC_CA_FILE"])
    reset(emulators.dataverse, Limits(1.0))
    credential = ClientSecretCredential(
        env["DYNSYNC_DYNAMICS_TENANT_ID"],
        env["DYNSYNC_DYNAMICS_CLIENT_ID"],
        env["DYNSYNC_DYNAMICS_CLIENT_SECRET"],
        authority=env["DYNSYNC_DYNAMICS_AUTHORITY"],
        disable_instance_discovery=True,
    )
    with DataverseClient(env["DATAVERSE_URL"], credential) as connected:
        yield connected
    credential.close()


def retrieved(client: DataverseClient, table: str, record_id: str, **options: Any) -> Any:
    """A record that must be there, with whatever the server put into it."""
    record = client.records.retrieve(table, record_id, **options)
    assert record is not None
    return record


def names(records: Any) -> list[str]:
    return [record["lastname"] for record in records]


def test_one_record_is_created_read_updated_and_deleted(client: DataverseClient) -> None:
    contact_id = client.records.create("contact", {"firstname": "Åsa", "lastname": "Öberg", "birthdate": "1990-02-03"})
    record = retrieved(client, "contact", contact_id, select=["fullname", "birthdate", "donotphone"])
    assert (record["fullname"], record["birthdate"], record["donotphone"]) == ("Åsa Öberg", "1990-02-03", False)
    client.records.update("contact", contact_id, {"jobtitle": "Chief", "donotphone": True})
    record = retrieved(client, "contact", contact_id, select=["jobtitle", "donotphone"])
    assert (record["jobtitle"], record["donotphone"]) == ("Chief", True)
    client.records.delete("contact", contact_id)
    assert client.records.retrieve("contact", contact_id) is None


def test_choice_labels_are_turned_into_numbers_from_our_metadata(client: DataverseClient) -> None:
    lead_id = client.records.create("lead", {"lastname": "x", "leadsourcecode": "Web", "leadqualitycode": "hot"})
    label = "OData.Community.Display.V1.FormattedValue"
    record = retrieved(client, "lead", lead_id, select=["leadsourcecode", "leadqualitycode"], include_annotations=label)
    assert (record["leadsourcecode"], record["leadqualitycode"]) == (8, 1)
    assert record[f"leadsourcecode@{label}"] == "Web"


def test_lists_are_created_updated_and_deleted_in_bulk(client: DataverseClient) -> None:
    ids = client.records.create("contact", [{"lastname": name} for name in "abc"])
    assert [retrieved(client, "contact", one, select=["lastname"])["lastname"] for one in ids] == ["a", "b", "c"]
    client.records.update("contact", ids, {"jobtitle": "same"})
    client.records.update("contact", ids[:2], [{"lastname": "a1"}, {"lastname": "b1"}])
    found = client.records.list("contact", select=["lastname", "jobtitle"], orderby=["lastname asc"])
    assert [(record["lastname"], record["jobtitle"]) for record in found] == [
        ("a1", "same"), ("b1", "same"), ("c", "same"),
    ]  # fmt: skip
    assert client.records.delete("contact", ids[:2])
    client.records.delete("contact", ids[2:], use_bulk_delete=False)
    assert list(client.records.list("contact", select=["lastname"])) == []


def test_upserts_by_alternate_key_create_and_update(client: DataverseClient) -> None:
    def item(key: str, last_name: str) -> UpsertItem:
        return UpsertItem(alternate_key={"new_extid": key}, record={"lastname": last_name})

    client.records.upsert("contact", [item("A1", "created")])
    client.records.upsert("contact", [item("A1", "updated"), item("A2", "new"), item("O'Neil", "quoted")])
    found = client.records.list("contact", select=["lastname", "new_extid"], orderby=["new_extid"])
    assert {record["new_extid"]: record["lastname"] for record in found} == {
        "A1": "updated", "A2": "new", "O'Neil": "quoted",
    }  # fmt: skip


def test_queries_page_filter_order_and_count(client: DataverseClient) -> None:
    client.records.create("contact", [{"lastname": f"N{n:02d}", "numberofchildren": n} for n in range(25)])
    pages = list(client.records.list_pages("contact", select=["lastname"], orderby=["lastname desc"], page_size=10))
    assert [len(page) for page in pages] == [10, 10, 5]
    assert names(record for page in pages for record in page) == [f"N{n:02d}" for n in reversed(range(25))]
    query = client.query.builder("contact").select("lastname").order_by("lastname")
    found = query.where((col("numberofchildren") >= 3) & (col("numberofchildren") < 6) | (col("lastname") == "N20"))
    assert names(found.execute()) == ["N03", "N04", "N05", "N20"]
    listed = client.query.builder("contact").select("lastname").order_by("lastname")
    assert names(listed.where(col("lastname").in_(["n01", "N02"])).execute()) == ["N01", "N02"]
    like = client.query.builder("contact").select("lastname").where(col("lastname").like("N1%")).count()
    assert len(list(like.execute())) == 10
    assert len(list(client.records.list("contact", select=["lastname"], top=4))) == 4


def test_expansion_gives_the_parent_and_its_children(client: DataverseClient) -> None:
    account_id = client.records.create("account", {"name": "Ägir", "revenue": 1234.5})
    bind = {"parentcustomerid_account@odata.bind": f"/accounts({account_id})"}
    contact_id = client.records.create("contact", {"lastname": "x", **bind})
    record = retrieved(client, "contact", contact_id, select=["lastname"], expand=["parentcustomerid_account"])
    assert record["parentcustomerid_account"]["name"] == "Ägir"
    option = ExpandOption("contact_customer_accounts").select("lastname").top(5)
    account: Any
    (account,) = client.query.builder("account").select("name", "revenue").expand(option).execute()
    assert [one["lastname"] for one in account["contact_customer_accounts"]] == ["x"]
    assert account["revenue"] == 1234.5


def test_fetchxml_pages_with_the_servers_cookie(client: DataverseClient) -> None:
    client.records.create("contact", [{"lastname": f"N{n:02d}"} for n in range(12)])
    xml = (
        '<fetch count="5"><entity name="contact"><attribute name="lastname"/><order attribute="lastname"/>'
        '<filter><condition attribute="lastname" operator="ne" value="N03"/></filter></entity></fetch>'
    )
    pages = list(client.query.fetchxml(xml).execute_pages())
    assert [len(page) for page in pages] == [5, 5, 1]
    assert names(record for page in pages for record in page) == [f"N{n:02d}" for n in range(12) if n != 3]


def test_batches_report_each_request_and_change_sets_are_atomic(client: DataverseClient) -> None:
    batch = client.batch.new()
    batch.records.create("contact", {"lastname": "first"})
    with batch.changeset() as changes:
        account = changes.records.create("account", {"name": "A"})
        changes.records.create("contact", {"lastname": "child", "parentcustomerid_account@odata.bind": account})
    result = batch.execute()
    assert [response.status_code for response in result.responses] == [204, 204, 204]
    assert all(response.entity_id for response in result.responses)
    batch = client.batch.new()
    with batch.changeset() as changes:
        changes.records.create("contact", {"lastname": "lost"})
        changes.records.create("contact", {"lastname": "x" * 51})
    batch.records.create("contact", {"lastname": "kept"})
    result = batch.execute(continue_on_error=True)
    assert [response.status_code for response in result.responses] == [400, 204]
    assert result.responses[0].error_code == "0x80044331"
    found = client.records.list("contact", select=["lastname"], orderby=["lastname"])
    assert names(found) == ["child", "first", "kept"]


def test_data_frames_go_in_and_come_out(client: DataverseClient) -> None:
    ids = client.dataframe.create("contact", pd.DataFrame([{"lastname": "a"}, {"lastname": "b"}]))
    client.dataframe.update("contact", pd.DataFrame({"contactid": ids, "jobtitle": ["x", "y"]}), id_column="contactid")
    found = client.query.builder("contact").select("lastname", "jobtitle").order_by("lastname").execute()
    assert isinstance(found, QueryResult)
    frame = found.to_dataframe()
    assert frame[["lastname", "jobtitle"]].to_numpy().tolist() == [["a", "x"], ["b", "y"]]


def test_table_information_comes_from_our_metadata(client: DataverseClient) -> None:
    info = client.tables.get("contact")
    assert info is not None
    assert (info["entity_set_name"], info["table_logical_name"]) == ("contacts", "contact")
    columns = {column["LogicalName"]: column for column in _plain(client.tables.list_columns("contact"))}
    assert columns["lastname"]["AttributeType"] == "String"
    assert {table["LogicalName"] for table in _plain(client.tables.list())} >= {"account", "contact", "lead"}
    assert [list(key.key_attributes) for key in client.tables.get_alternate_keys("contact")] == [["new_extid"]]
    relations = _plain(client.tables.list_table_relationships("contact"))
    assert "parentcustomerid_account" in {one.get("ReferencingEntityNavigationPropertyName") for one in relations}


def test_errors_reach_the_caller_with_status_and_code(client: DataverseClient) -> None:
    with pytest.raises(HttpError) as caught:
        client.records.create("contact", {"lastname": "x" * 51})
    assert (caught.value.status_code, caught.value.is_transient) == (400, False)
    assert "exceeded the maximum allowed length" in str(caught.value)
    with pytest.raises(HttpError) as caught:
        client.records.update("contact", "00000000-0000-0000-0000-000000000001", {"lastname": "x"})
    assert caught.value.status_code == 404


def test_sql_filters_orders_joins_and_groups(client: DataverseClient) -> None:
    alpha, beta = client.records.create("account", [{"name": "Alpha", "revenue": 10.5}, {"name": "Beta"}])
    for name, account in (("Ann", alpha), ("Bob", alpha), ("Cid", beta), ("Dan", None)):
        bind = {"parentcustomerid_account@odata.bind": f"/accounts({account})"} if account else {}
        client.records.create("contact", {"lastname": name, "donotphone": name == "Ann", **bind})

    def rows(sql: str) -> list[list[Any]]:
        return [[value for key, value in dict(row).items() if "@" not in key] for row in client.query.sql(sql)]

    order = "ORDER BY lastname"
    assert rows(f"SELECT TOP 2 lastname, donotphone FROM contact {order}") == [["Ann", True], ["Bob", False]]
    assert rows(f"SELECT lastname FROM contact WHERE lastname IN ('ANN','cid') {order}") == [["Ann"], ["Cid"]]
    assert rows("SELECT lastname FROM contact WHERE lastname LIKE '[ab]%' AND NOT donotphone = 1") == [["Bob"]]
    assert rows("SELECT [lastname] FROM contact c WHERE c.parentcustomerid IS NULL") == [["Dan"]]
    assert rows(f"SELECT lastname FROM contact {order} OFFSET 1 ROWS FETCH NEXT 2 ROWS ONLY") == [["Bob"], ["Cid"]]
    assert rows("SELECT name, revenue FROM account WHERE revenue > 10.4") == [["Alpha", 10.5]]
    joined = (
        "SELECT a.name, COUNT(c.contactid) AS cnt FROM account a LEFT JOIN contact c ON a.accountid = c.parentcustomerid "
        "GROUP BY a.name ORDER BY cnt DESC, a.name"
    )
    assert rows(joined) == [["Alpha", 2], ["Beta", 1]]
    assert rows("SELECT COUNT(*) AS n FROM contact WHERE lastname = 'O''Neil'") == [[0]]
    frame = client.dataframe.sql(f"SELECT lastname FROM contact {order}")
    assert frame["lastname"].tolist() == ["Ann", "Bob", "Cid", "Dan"]
    for refused in (
        "SELECT nothing FROM contact",
        "SELECT lastname FROM contact WHERE",
    ):
        with pytest.raises(HttpError) as caught:
            client.query.sql(refused)
        assert caught.value.status_code == 400


def _plain(items: Any) -> list[dict[str, Any]]:
    return [dict(item) for item in items]
