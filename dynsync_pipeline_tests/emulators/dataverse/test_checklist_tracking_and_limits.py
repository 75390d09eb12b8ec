"""The items about change tracking, sign-in and limits, a test for each, under its number.

Source: docs/protocols/dataverse.md#checklist.
"""

from __future__ import annotations

import time
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest

from dynsync_pipeline.emulators.dataverse.control import SchemaChange, change_schema
from dynsync_pipeline_tests.emulators.dataverse.conftest import ALL_ANNOTATIONS, Dataverse, batch, error, part


def control(dataverse: Dataverse, name: str, body: object = None) -> None:
    answer = dataverse.http.post(f"{dataverse.url}/emulator/dataverse/{name}", json=body)
    assert answer.status_code == 200, answer.text


def test_checklist_20_the_delta_link_stands_on_the_last_page_only(dataverse: Dataverse) -> None:
    for name in "abcde":
        dataverse.create("contacts", lastname=name)
    answer = dataverse.http.get(
        "contacts?$select=lastname", headers={"Prefer": "odata.track-changes,odata.maxpagesize=2"}
    )
    assert "odata.track-changes" in answer.headers["Preference-Applied"]
    pages = [answer.json()]
    while "@odata.nextLink" in pages[-1]:
        assert "@odata.deltaLink" not in pages[-1]
        pages.append(dataverse.row(pages[-1]["@odata.nextLink"], Prefer="odata.maxpagesize=2"))
    assert [len(page["value"]) for page in pages] == [2, 2, 1]
    assert pages[-1]["@odata.deltaLink"].startswith(f"{dataverse.root}contacts?$select=lastname&$deltatoken=")


def test_checklist_20_a_delta_shows_each_row_once_with_all_columns_and_deletions_last(dataverse: Dataverse) -> None:
    first, second, third = (dataverse.create("contacts", lastname=name, jobtitle="j") for name in "abc")
    link = dataverse.delta_link("contacts?$select=lastname,jobtitle")
    dataverse.http.delete(f"contacts({second})")
    dataverse.http.patch(f"contacts({third})", json={"lastname": "c1"})
    dataverse.http.patch(f"contacts({first})", json={"lastname": "a1"})
    dataverse.http.patch(f"contacts({third})", json={"lastname": "c2"})
    short_lived = dataverse.create("contacts", lastname="d")
    dataverse.http.delete(f"contacts({short_lived})")
    page = dataverse.row(link)
    assert page["@odata.context"].endswith("/$delta")
    assert [(row.get("lastname"), row.get("jobtitle")) for row in page["value"][:2]] == [("a1", "j"), ("c2", "j")]
    context = f"{dataverse.root}$metadata#contacts/$deletedEntity"
    assert page["value"][2:] == [
        {"@odata.context": context, "id": gone, "reason": "deleted"} for gone in (second, short_lived)
    ]
    again = dataverse.row(page["@odata.deltaLink"])
    assert again["value"] == []
    assert again["@odata.deltaLink"]
    assert dataverse.http.get(link.replace("contacts?", "contacts/$count?")).content == b"\xef\xbb\xbf4"


def test_checklist_20_a_delta_is_paged_and_keeps_its_order_over_the_pages(dataverse: Dataverse) -> None:
    ids = [dataverse.create("contacts", lastname=str(n)) for n in range(7)]
    link = dataverse.delta_link("contacts?$select=lastname")
    for one in ids[:3]:
        dataverse.http.delete(f"contacts({one})")
    for one in reversed(ids[3:]):
        dataverse.http.patch(f"contacts({one})", json={"jobtitle": "x"})
    expected = [*reversed(ids[3:]), *ids[:3]]
    for size in (1, 2, 3, 4, 7, 8):
        seen, url = [], link
        while url:
            page = dataverse.row(url, Prefer=f"odata.maxpagesize={size}")
            seen += [row.get("contactid") or row["id"] for row in page["value"]]
            url = page.get("@odata.nextLink", "")
        assert seen == expected


def test_checklist_20_an_edit_made_while_paging_comes_with_the_next_delta(dataverse: Dataverse) -> None:
    ids = sorted(dataverse.create("contacts", lastname=str(n)) for n in range(4))
    first = dataverse.row("contacts?$select=lastname", Prefer="odata.track-changes,odata.maxpagesize=2")
    dataverse.http.patch(f"contacts({ids[0]})", json={"lastname": "late"})
    second = dataverse.row(first["@odata.nextLink"], Prefer="odata.maxpagesize=2")
    changed = dataverse.rows(second["@odata.deltaLink"])
    assert [(row["contactid"], row["lastname"]) for row in changed] == [(ids[0], "late")]


def test_checklist_20_a_row_deleted_and_created_again_is_an_update(dataverse: Dataverse) -> None:
    row_id = dataverse.create("contacts", lastname="x")
    link = dataverse.delta_link("contacts?$select=lastname")
    dataverse.http.delete(f"contacts({row_id})")
    dataverse.http.patch(f"contacts({row_id})", json={"lastname": "again"})
    assert [row["lastname"] for row in dataverse.rows(link)] == ["again"]


@pytest.mark.parametrize("option", ["$filter=lastname eq 'x'", "$orderby=lastname", "$expand=masterid", "$top=1"])
def test_checklist_21_change_tracking_refuses_other_options(dataverse: Dataverse, option: str) -> None:
    answer = dataverse.http.get(f"contacts?{option}", headers={"Prefer": "odata.track-changes"})
    assert error(answer)[0] == 400
    assert "isn't supported when Change Tracking is enabled" in answer.json()["error"]["message"]


def test_checklist_21_change_tracking_needs_global_read_and_a_table_that_has_it(dataverse: Dataverse) -> None:
    control(dataverse, "privileges", {"user": "sync", "deny": ["prvReadContact:global"]})
    tracking = {"Prefer": "odata.track-changes"}
    assert error(dataverse.http.get("contacts", headers=tracking)) == (403, "0x80040220")
    assert dataverse.http.get("contacts").status_code == 200
    control(dataverse, "schema", {"action": "tracking_off", "table": "lead"})
    assert error(dataverse.http.get("leads", headers=tracking)) == (400, "0x80072491")


def test_checklist_21_a_stamp_expires_by_age_by_metadata_change_and_on_demand(dataverse: Dataverse) -> None:
    expired = (400, "0x80044352")
    link = dataverse.delta_link("contacts?$select=lastname")
    other = dataverse.delta_link("leads?$select=lastname")
    change_schema(dataverse.store, SchemaChange("add", "contact", "new_size", "integer"))
    assert error(dataverse.http.get(link)) == expired
    assert dataverse.http.get(other).status_code == 200
    control(dataverse, "cursors/expire")
    assert error(dataverse.http.get(other)) == expired
    fresh = dataverse.delta_link("leads?$select=lastname")
    assert dataverse.http.get(fresh).status_code == 200
    old = fresh.replace(f"{dataverse.store.now().year}%20", "2019%20")
    assert old != fresh
    assert error(dataverse.http.get(old)) == expired
    for nonsense in ("x", "1!x", "999%2199%2F99%2F2026%2000%3A00%3A00"):
        assert error(dataverse.http.get(f"leads?$deltatoken={nonsense}"))[0] == 400


def test_checklist_27_no_token_and_a_bad_one_are_401_and_a_stranger_is_403(dataverse: Dataverse) -> None:
    for token in (None, "nonsense"):
        with dataverse.client(token) as http:
            answer = http.get("WhoAmI")
        assert answer.status_code == 401
        assert answer.headers["WWW-Authenticate"] == (
            f"Bearer authorization_uri={dataverse.url}/{dataverse.store.tenant_id}/oauth2/authorize, "
            f"resource_id={dataverse.url}/"
        )
    with dataverse.client(dataverse.store.new_token(None)) as http:
        assert error(http.get("WhoAmI")) == (403, "0x80072560")


def test_checklist_28_too_many_requests_is_429_with_an_integer_to_wait_also_for_batches(dataverse: Dataverse) -> None:
    control(dataverse, "limits", {"n_requests": 3})
    body, headers = batch(part("GET", "WhoAmI"))
    remaining = [dataverse.http.get("WhoAmI").headers["x-ms-ratelimit-burst-remaining-xrm-requests"] for _ in range(3)]
    assert remaining == ["2", "1", "0"]
    for answer in (dataverse.http.get("WhoAmI"), dataverse.http.post("$batch", content=body, headers=headers)):
        assert error(answer) == (429, "0x80072322")
        assert 1 <= int(answer.headers["Retry-After"]) <= 6
    assert dataverse.sales.get("WhoAmI").status_code == 200, "the limit is per user"
    # The window of five minutes slides; at this time scale it is five seconds.
    time.sleep(5.1)
    assert dataverse.http.get("WhoAmI").status_code == 200


def test_checklist_28_execution_time_and_concurrency_have_codes_of_their_own(dataverse: Dataverse) -> None:
    control(dataverse, "limits", {"execution_s": 0.0})
    dataverse.http.get("WhoAmI")
    assert error(dataverse.http.get("WhoAmI")) == (429, "0x80072321")
    control(dataverse, "limits", {"n_concurrent": 0})
    assert error(dataverse.http.get("WhoAmI")) == (429, "0x80072326")
    control(dataverse, "limits", {})
    with ThreadPoolExecutor(8) as pool:
        assert {answer.status_code for answer in pool.map(lambda _: dataverse.http.get("WhoAmI"), range(40))} == {200}


def test_checklist_28_every_answer_carries_rate_headers_and_a_request_id(dataverse: Dataverse) -> None:
    for answer in (dataverse.http.get("WhoAmI"), dataverse.http.get(f"contacts({uuid.uuid4()})")):
        assert answer.headers["x-ms-ratelimit-time-remaining-xrm-requests"][:2] == "1,"
        assert answer.headers["REQ_ID"] == answer.headers["x-ms-service-request-id"]
        assert answer.headers["x-ms-dop-hint"].isdigit()
        assert answer.headers["OData-Version"] == "4.0"


def test_checklist_31_discovery_realm_and_statuses_of_the_token_endpoint(dataverse: Dataverse) -> None:
    """The real MSAL is in test_sign_in.py; here is what it reads."""
    tenant = f"{dataverse.url}/{dataverse.store.tenant_id}"
    found = dataverse.http.get(f"{tenant}/v2.0/.well-known/openid-configuration").json()
    assert found["token_endpoint"] == f"{tenant}/oauth2/v2.0/token"
    assert found["issuer"] == f"{tenant}/v2.0"
    realm = dataverse.http.get(f"{dataverse.url}/common/userrealm/a@example.com?api-version=1.0").json()
    assert realm["account_type"] == "Managed"
    unknown = dataverse.http.get(f"{dataverse.url}/{uuid.uuid4()}/v2.0/.well-known/openid-configuration")
    assert (unknown.status_code, unknown.json()["error_codes"]) == (400, [90002])


def test_annotations_do_not_cost_the_delta_link_here(dataverse: Dataverse) -> None:
    """The real service lost it once with annotations; ours keeps it, so that nothing depends on that fault."""
    headers = {"Prefer": "odata.track-changes," + ALL_ANNOTATIONS["Prefer"]}
    assert "@odata.deltaLink" in dataverse.row("contacts", **headers)
