"""What Accept asks an answer to tell about itself, and the raw value of a column."""

from __future__ import annotations

from typing import Any

import pytest

from dynsync_pipeline_tests.emulators.dataverse.conftest import Dataverse, batch, part

JSON = "application/json"
QUERY = "accounts?$select=name,revenue&$expand=primarycontactid($select=lastname)&$count=true"


@pytest.fixture
def account(dataverse: Dataverse) -> str:
    """The id of an account with a primary contact."""
    answer = dataverse.http.post(
        "accounts?$select=accountid",
        json={"name": "A", "revenue": 100.5, "primarycontactid": {"lastname": "X"}},
        headers={"Prefer": "return=representation"},
    )
    return str(answer.json()["accountid"])


def read(dataverse: Dataverse, accept: str, url: str = QUERY) -> tuple[dict[str, Any], str]:
    """Body and content type of a read with a header Accept."""
    answer = dataverse.http.get(url, headers={"Accept": accept})
    assert answer.status_code == 200, answer.text
    return dict(answer.json()), answer.headers["content-type"]


@pytest.mark.parametrize(
    "accept",
    [JSON, "*/*", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "application/xml", "nonsense",
     f"{JSON};odata.metadata=minimal;odata.streaming=true", "application/JSON; charset=utf-8, text/plain, */*", ""],
)  # fmt: skip
def test_whatever_is_accepted_json_comes_with_what_is_usual(dataverse: Dataverse, account: str, accept: str) -> None:
    body, content_type = read(dataverse, accept)
    assert content_type == f"{JSON}; odata.metadata=minimal"
    assert body["value"][0]["@odata.etag"]


def test_no_metadata_leaves_values_links_and_counts(dataverse: Dataverse, account: str) -> None:
    dataverse.create("accounts", name="B")
    body, content_type = read(dataverse, f"{JSON};odata.metadata=none")
    assert content_type == f"{JSON}; odata.metadata=none"
    assert set(body) == {"@odata.count", "value"}
    row = next(row for row in body["value"] if row["name"] == "A")
    assert (row["revenue"], set(row["primarycontactid"])) == (100.5, {"lastname", "contactid"})
    assert not any("@odata" in name for name in row)
    answer = dataverse.http.get(
        QUERY, headers={"Accept": f"{JSON};odata.metadata=none", "Prefer": "odata.maxpagesize=1"}
    )
    assert "@odata.nextLink" in answer.json()


def test_full_metadata_tells_types_and_addresses_of_rows_and_rows_within(dataverse: Dataverse, account: str) -> None:
    row = read(dataverse, f"{JSON};odata.metadata=full")[0]["value"][0]
    assert row["@odata.type"] == "#Microsoft.Dynamics.CRM.account"
    assert row["@odata.id"] == f"{dataverse.root}accounts({account})"
    assert row["@odata.editLink"] == f"accounts({account})"
    assert (row["accountid@odata.type"], row["revenue@odata.type"]) == ("#Guid", "#Decimal")
    assert row["primarycontactid"]["@odata.type"] == "#Microsoft.Dynamics.CRM.contact"
    single = read(dataverse, f"{JSON};odata.metadata=full", f"accounts({account})?$select=name")[0]
    assert single["@odata.id"] == row["@odata.id"]


def test_long_numbers_come_as_text_where_asked_for_also_in_a_batch(dataverse: Dataverse, account: str) -> None:
    accept = f"{JSON};IEEE754Compatible=true"
    url = f"accounts({account})?$select=revenue,versionnumber,numberofemployees"
    body, content_type = read(dataverse, accept, url)
    assert content_type.endswith("IEEE754Compatible=true")
    assert body["revenue"] == "100.5000"
    assert body["versionnumber"].isdigit()
    assert body["numberofemployees"] is None
    sent, headers = batch(part("GET", url, Accept=accept))
    assert '"revenue":"100.5000"' in dataverse.http.post("$batch", content=sent, headers=headers).text


def test_a_column_can_be_read_as_text(dataverse: Dataverse, account: str) -> None:
    for name, text in (("name", "A"), ("revenue", "100.5000"), ("donotemail", "false")):
        answer = dataverse.http.get(f"accounts({account})/{name}/$value")
        assert (answer.text, answer.headers["content-type"].split(";")[0]) == (text, "text/plain")
    assert dataverse.http.get(f"accounts({account})/description/$value").status_code == 204
    assert dataverse.http.get(f"accounts({account})/name/$nothing").status_code == 404
    assert dataverse.http.put(f"accounts({account})/name/$value", json={"value": "B"}).status_code == 405
