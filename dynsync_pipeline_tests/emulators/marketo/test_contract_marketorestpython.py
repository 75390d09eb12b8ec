"""The emulator driven by a client that never heard of it: marketorestpython, every operation within our scope."""

from __future__ import annotations

import csv
import io
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from marketorestpython.client import MarketoClient
from marketorestpython.helper import http_lib

from dynsync_pipeline_tests.emulators.marketo.conftest import Marketo, until_done

SINCE = "2020-01-01"


@pytest.fixture
def client(marketo: Marketo, monkeypatch: pytest.MonkeyPatch) -> MarketoClient:
    """The client as published; only its pauses between calls are left out and its host is ours."""
    monkeypatch.setattr(http_lib, "time", SimpleNamespace(time=time.time, sleep=lambda seconds: None))
    client = MarketoClient("123-ABC-456", marketo.store.client_id, marketo.store.client_secret, max_retry_time=1)
    client.host = str(marketo.http.base_url).rstrip("/")
    return client


def people(client: MarketoClient, n: int = 3) -> list[int]:
    leads = [{"email": f"p{number}@example.com", "firstName": f"P{number}"} for number in range(n)]
    results = client.execute(method="create_update_leads", leads=leads, action="createOnly")
    assert [result["status"] for result in results] == ["created"] * n
    return [result["id"] for result in results]


def test_people_are_created_updated_read_and_deleted(client: MarketoClient) -> None:
    ids = people(client)
    results = client.execute(
        method="create_update_leads",
        leads=[{"email": "p0@example.com", "title": "Boss"}, {"email": "bad", "title": "x"}],
        action="createOrUpdate",
        lookupField="email",
        asyncProcessing="false",
    )
    assert results[0] == {"id": ids[0], "status": "updated"}
    assert results[1]["reasons"][0]["code"] == "1003"
    (person,) = client.execute(method="get_lead_by_id", id=ids[0], fields=["email", "title", "unsubscribed"])
    assert person == {"id": ids[0], "email": "p0@example.com", "title": "Boss", "unsubscribed": False}
    found = client.execute(
        method="get_multiple_leads_by_filter_type",
        filterType="email",
        filterValues=["p0@example.com", "p2@example.com", "nobody@example.com"],
        fields=["email", "firstName"],
        batchSize=1,
    )
    assert [(person["id"], person["firstName"]) for person in found] == [(ids[0], "P0"), (ids[2], "P2")]
    assert client.execute(method="delete_lead", id=ids[:2]) == [
        {"id": ids[0], "status": "deleted"},
        {"id": ids[1], "status": "deleted"},
    ]
    assert client.execute(method="get_lead_by_id", id=ids[0]) == []
    deleted = client.execute(method="get_deleted_leads", sinceDatetime=SINCE)
    assert [(entry["leadId"], entry["primaryAttributeValue"]) for entry in deleted] == [(ids[0], "P0"), (ids[1], "P1")]


def test_errors_arrive_with_their_codes(client: MarketoClient) -> None:
    with pytest.raises(Exception, match="'code': '1011'"):
        client.execute(method="get_multiple_leads_by_filter_type", filterType="shoeSize", filterValues=["1"])
    with pytest.raises(Exception, match="'code': '1013'"):
        client.execute(method="get_multiple_leads_by_list_id", listId=99)


def test_describe_tells_the_fields_in_both_shapes(client: MarketoClient) -> None:
    names = {field["rest"]["name"] for field in client.execute(method="describe")}
    (newer,) = client.execute(method="describe2")
    assert {field["name"] for field in newer["fields"]} == names
    assert {"dynamicsLeadId", "email", "externalCompanyId"} <= names


def test_people_are_merged_and_partitions_are_listed_and_changed(client: MarketoClient, marketo: Marketo) -> None:
    marketo.control("partitions", name="EMEA")
    winner, loser, other = people(client)
    assert client.execute(method="merge_lead", id=winner, leadIds=[loser]) is True
    assert client.execute(method="get_lead_by_id", id=loser) == []
    names = [part["name"] for part in client.execute(method="get_lead_partitions")]
    assert names == ["Default", "EMEA"]
    moved = client.execute(method="update_leads_partition", input=[{"id": other, "partitionName": "EMEA"}])
    assert moved == [{"id": other, "status": "updated"}]
    assert marketo.person(other, "leadPartitionId")["leadPartitionId"] == 2


def test_lists_live_from_creation_to_deletion(client: MarketoClient) -> None:
    ids = people(client)
    (made,) = client.execute(method="create_list", name="Fair", folderId=1, folderType="Folder", description="In May")
    list_id = made["id"]
    assert [found["id"] for found in client.execute(method="get_list_by_name", name="Fair")] == [list_id]
    assert client.execute(method="get_list_by_id", id=list_id)[0]["description"] == "In May"
    assert client.execute(method="update_list", id=list_id, name="Expo")[0]["name"] == "Expo"
    assert [found["name"] for found in client.execute(method="get_multiple_lists")] == ["Expo"]
    assert [found["name"] for found in client.execute(method="browse_lists")] == ["Expo"]
    assert [page[0]["name"] for page in client.execute(method="browse_lists_yield")] == ["Expo"]
    added = client.execute(method="add_leads_to_list", listId=list_id, id=ids[:2])
    assert added == [{"id": ids[0], "status": "added"}, {"id": ids[1], "status": "added"}]
    members = client.execute(method="get_multiple_leads_by_list_id", listId=list_id, fields="email")
    assert [person["email"] for person in members] == ["p0@example.com", "p1@example.com"]
    pages = client.execute(method="get_multiple_leads_by_list_id_yield", listId=list_id, fields="email", batchSize=1)
    assert [[person["id"] for person in page] for page in pages] == [[ids[0]], [ids[1]]]
    states = client.execute(method="member_of_list", listId=list_id, id=[ids[0], ids[2]])
    assert [state["status"] for state in states] == ["memberof", "notmemberof"]
    removed = client.execute(method="remove_leads_from_list", listId=list_id, id=[ids[0]])
    assert removed == [{"id": ids[0], "status": "removed"}]
    assert client.execute(method="delete_list", id=list_id) == [{"id": list_id}]
    assert client.execute(method="browse_lists") == []


def test_activities_and_changes_are_read_whole_page_by_page_and_up_to_a_moment(client: MarketoClient) -> None:
    ids = people(client)
    leads = [{"email": f"p{number}@example.com", "title": "Boss", "city": "Rome"} for number in range(3)]
    client.execute(method="create_update_leads", leads=leads)
    assert 13 in [kind["id"] for kind in client.execute(method="get_activity_types")]
    new = client.execute(method="get_lead_activities", activityTypeIds=["12"], sinceDatetime=SINCE, batchSize=2)
    assert [entry["leadId"] for entry in new] == ids
    token = client.execute(method="get_paging_token", sinceDatetime=SINCE)
    narrow = client.execute(
        method="get_lead_activities", activityTypeIds=["12", "13"], nextPageToken=token, leadIds=[ids[1]]
    )
    assert [entry["activityTypeId"] for entry in narrow] == [12, 13, 13]
    pages = client.execute(method="get_lead_activities_yield", activityTypeIds=["13"], sinceDatetime=SINCE, batchSize=4)
    assert [len(page) for page in pages] == [4, 2]
    changes = client.execute(method="get_lead_changes", fields=["title"], sinceDatetime=SINCE)
    shown = [(entry["leadId"], entry["fields"][0]["newValue"]) for entry in changes if entry["fields"]]
    assert shown == [(person_id, "Boss") for person_id in ids]
    pages = client.execute(method="get_lead_changes_yield", fields=["title", "city"], sinceDatetime=SINCE, batchSize=5)
    assert sum(len(page) for page in pages) == 9
    until = (datetime.now(UTC) - timedelta(days=1)).strftime("%Y-%m-%dT%H:%M:%S+0000")
    before = client.execute(
        method="get_lead_activities", activityTypeIds=["12"], sinceDatetime=SINCE, untilDatetime=until
    )
    assert before == []


def test_companies_are_described_written_read_and_deleted(client: MarketoClient) -> None:
    assert client.execute(method="describe_company")[0]["idField"] == "id"
    records = [{"externalCompanyId": "A", "company": "Acme"}, {"externalCompanyId": "B", "company": "Beta"}]
    results = client.execute(method="create_update_companies", input=records, action="createOrUpdate")
    assert [(result["seq"], result["status"]) for result in results] == [(0, "created"), (1, "created")]
    found = client.execute(
        method="get_companies",
        filterType="externalCompanyId",
        filterValues=["A", "B"],
        fields=["company", "externalCompanyId"],
        batchSize=1,
    )
    assert [(company["externalCompanyId"], company["company"]) for company in found] == [("A", "Acme"), ("B", "Beta")]
    gone = client.execute(method="delete_companies", input=[{"externalCompanyId": "A"}], deleteBy="dedupeFields")
    assert gone == [{"seq": 0, "id": results[0]["id"], "status": "deleted"}]


def test_custom_activity_types_live_from_draft_to_deletion_and_take_activities(client: MarketoClient) -> None:
    (person_id, *_) = people(client)
    (made,) = client.execute(
        method="create_custom_activity_type",
        apiName="attend",
        name="Attend",
        triggerName="Attends",
        filterName="Attended",
        primaryAttributeApiName="event",
        primaryAttributeName="Event",
        description="Was there",
    )
    attributes = [{"apiName": "role", "name": "Role", "dataType": "string"}]
    client.execute(method="create_custom_activity_type_attribute", apiName="attend", attributes=attributes)
    (changed,) = client.execute(
        method="update_custom_activity_type_attribute", apiName="attend", attributes=[{"apiName": "role", "name": "As"}]
    )
    assert changed["attributes"][0]["name"] == "As"
    client.execute(method="update_custom_activity_type", apiName="attend", name="Attended")
    (approved,) = client.execute(method="approve_custom_activity_type", apiName="attend")
    assert (approved["name"], approved["status"]) == ("Attended", "approved")
    (added,) = client.execute(
        method="add_custom_activities",
        input=[
            {
                "leadId": person_id,
                "activityDate": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
                "activityTypeId": made["id"],
                "primaryAttributeValue": "Expo",
                "attributes": [{"name": "As", "value": "Guest"}],
            }
        ],
    )
    assert added["status"] == "added"
    (entry,) = client.execute(method="get_lead_activities", activityTypeIds=[str(made["id"])], sinceDatetime=SINCE)
    assert entry["attributes"] == [{"name": "As", "value": "Guest"}]
    client.execute(method="delete_custom_activity_type_attribute", apiName="attend", attributes=[{"apiName": "role"}])
    (draft,) = client.execute(method="describe_custom_activity_type", apiName="attend", draft=True)
    assert draft["attributes"] == []
    client.execute(method="discard_custom_activity_type_draft", apiName="attend")
    assert client.execute(method="get_custom_activity_types")[0]["status"] == "approved"
    client.execute(method="delete_custom_activity_type", apiName="attend")
    assert client.execute(method="get_custom_activity_types") == []


def test_usage_and_errors_of_the_day_and_the_week(client: MarketoClient) -> None:
    people(client)
    assert client.execute(method="get_daily_usage")[0]["total"] == 1
    assert client.execute(method="get_last_7_days_usage")[0]["total"] == 2
    assert client.execute(method="get_daily_errors")[0]["total"] == 0
    assert len(client.execute(method="get_last_7_days_errors")) == 7


def test_a_file_is_imported_and_its_failures_and_warnings_are_fetched(client: MarketoClient, tmp_path: Path) -> None:
    path = tmp_path / "people.csv"
    path.write_text("email,leadScore\na@example.com,5\nb@example.com,many\nbad,1\n")
    (batch,) = client.execute(method="import_lead", file=str(path), format="csv", lookupField="email")
    state = until_done(lambda: {"result": client.execute(method="get_import_lead_status", id=batch["batchId"])})
    assert (state["numOfLeadsProcessed"], state["numOfRowsFailed"], state["numOfRowsWithWarning"]) == (2, 1, 1)
    assert "b@example.com,many,Invalid data type" in client.execute(
        method="get_import_failure_file", id=batch["batchId"]
    )
    assert "bad,1,Invalid email" in client.execute(method="get_import_warning_file", id=batch["batchId"])


@pytest.mark.parametrize("kind", ["leads", "activities"])
def test_exports_run_from_creation_to_file(client: MarketoClient, kind: str) -> None:
    ids = people(client)
    window = {
        "startAt": (datetime.now(UTC) - timedelta(days=1)).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "endAt": (datetime.now(UTC) + timedelta(days=1)).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    fields = ["id", "email"] if kind == "leads" else ["leadId", "attributes"]
    create = {"method": f"create_{kind}_export_job", "fields": fields, "filters": {"createdAt": window}}
    (job,) = client.execute(**create)
    (unwanted,) = client.execute(**create)
    (cancelled,) = client.execute(method=f"cancel_{kind}_export_job", job_id=unwanted["exportId"])
    assert cancelled["status"] == "Cancelled"
    (queued,) = client.execute(method=f"enqueue_{kind}_export_job", job_id=job["exportId"])
    assert queued["status"] == "Queued"
    told = {"method": f"get_{kind}_export_job_status", "job_id": job["exportId"]}
    state = until_done(lambda: {"result": client.execute(**told)})
    content = client.execute(method=f"get_{kind}_export_job_file", job_id=job["exportId"])
    assert len(content) == state["fileSize"]
    rows = list(csv.reader(io.StringIO(content.decode())))
    assert rows[0] == fields
    assert [int(row[0]) for row in rows[1:]] == ids
    listed = client.execute(method=f"get_{kind}_export_jobs_list")
    assert [found["status"] for found in listed] == ["Completed", "Cancelled"]


def test_an_expired_token_is_renewed_by_the_client_when_its_time_has_come(
    client: MarketoClient, marketo: Marketo
) -> None:
    people(client)
    marketo.control("clock", ahead_s=3601)
    client.valid_until = 0  # its own clock cannot be advanced
    assert client.execute(method="get_lead_by_id", id=1)[0]["email"] == "p0@example.com"
