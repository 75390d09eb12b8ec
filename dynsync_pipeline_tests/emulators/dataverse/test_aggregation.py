"""`$apply`: what the vendor's page on aggregating shows, and what it says is not to be had."""

from __future__ import annotations

from typing import Any

import pytest

from dynsync_pipeline.emulators.dataverse import aggregation
from dynsync_pipeline_tests.emulators.dataverse.conftest import ALL_ANNOTATIONS, Dataverse, error


@pytest.fixture
def companies(dataverse: Dataverse) -> Dataverse:
    """Three accounts, one of them without revenue, and a primary contact of two."""
    ann = dataverse.create("contacts", firstname="Ann", lastname="X")
    primary = {"primarycontactid@odata.bind": f"/contacts({ann})"}
    dataverse.create("accounts", name="A", revenue=100.5, address1_city="Rome", numberofemployees=2, **primary)
    dataverse.create("accounts", name="B", revenue=200, address1_city="rome", numberofemployees=5, **primary)
    dataverse.create("accounts", name="C", address1_city="Oslo")
    return dataverse


def applied(dataverse: Dataverse, text: str, **options: str) -> list[dict[str, Any]]:
    """The rows that `$apply` gives, asked for the way form-encoding clients do."""
    params = {"$apply": text, **{f"${name}": value for name, value in options.items()}}
    answer = dataverse.http.get("accounts", params=params)
    assert answer.status_code == 200, answer.text
    assert answer.json()["@odata.context"].endswith("$metadata#accounts")
    return list(answer.json()["value"])


def test_rows_are_grouped_counted_and_added_up_without_members_that_are_null(companies: Dataverse) -> None:
    assert applied(companies, "groupby((statuscode),aggregate($count as count))") == [{"statuscode": 1, "count": 3}]
    assert applied(companies, "aggregate(revenue with sum as total,$count as n)") == [{"total": 300.5, "n": 3}]
    towns = applied(companies, "groupby((address1_city), aggregate(revenue with average as mean))")
    assert [(row["address1_city"].lower(), row.get("mean")) for row in towns] == [("oslo", None), ("rome", 150.25)]
    assert applied(companies, "aggregate(numberofemployees with min as least,numberofemployees with max as most)") == [
        {"least": 2, "most": 5}
    ]
    assert applied(companies, "aggregate(address1_city with countdistinct as towns)") == [{"towns": 2}]
    assert applied(companies, "groupby((primarycontactid/fullname),aggregate(revenue with sum as total))") == [
        {},
        {"contact_fullname": "Ann X", "total": 300.5},
    ]
    assert applied(companies, "filter(address1_city eq 'oslo')/groupby((name))") == [{"name": "C"}]
    assert applied(companies, "groupby((name))", filter="revenue gt 1", orderby="name desc", top="1") == [{"name": "B"}]
    last = applied(companies, "aggregate(createdon with max as lastCreate)")
    assert last == [{"lastCreate": companies.rows("accounts?$orderby=createdon desc&$top=1")[0]["createdon"]}]


def test_annotations_tell_labels_and_amounts(companies: Dataverse) -> None:
    row = companies.rows(
        "accounts?$apply=groupby((statuscode),aggregate(revenue+with+sum+as+total,$count+as+n))", **ALL_ANNOTATIONS
    )[0]
    shown = {name.split("@")[0]: value for name, value in row.items() if "FormattedValue" in name}
    assert shown == {"statuscode": "Active", "total": "$300.50", "n": "3"}


def test_the_rows_behind_another_row_are_grouped_alike(companies: Dataverse) -> None:
    account = companies.create("accounts", name="D")
    bind = {"parentcustomerid_account@odata.bind": f"/accounts({account})"}
    companies.create("contacts", lastname="Y", **bind)
    path = f"accounts({account})/contact_customer_accounts?$apply=aggregate($count as n)"
    assert companies.rows(path) == [{"n": 1}]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "groupby((createdon))",
        "aggregate(name with sum as total)",
        "aggregate(revenue with median as total)",
        "aggregate(nothing with sum as total)",
        "aggregate(revenue with sum as total,revenue with max as total)",
        "groupby((name))/aggregate($count as n)",
        "filter(name eq 'A')",
        "aggregate(revenue with sum as total",
        "topcount(2,revenue)",
    ],
)
def test_what_the_service_does_not_aggregate_is_refused(companies: Dataverse, text: str) -> None:
    assert error(companies.http.get("accounts", params={"$apply": text}))[0] == 400


def test_an_order_by_an_aggregate_and_too_many_rows_are_refused(
    companies: Dataverse, monkeypatch: pytest.MonkeyPatch
) -> None:
    grouped = "accounts?$apply=groupby((name),aggregate($count as n))"
    assert error(companies.http.get(f"{grouped}&$orderby=n")) == (400, "0x80060888")
    monkeypatch.setattr(aggregation, "MAX_ROWS", 2)
    assert error(companies.http.get(grouped)) == (400, "0x8004e023")
