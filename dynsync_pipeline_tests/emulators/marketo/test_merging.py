"""Merge Leads (docs/protocols/marketo.md#deleting-and-merging)."""

from __future__ import annotations

import pytest

from dynsync_pipeline_tests.emulators.marketo.conftest import Marketo, codes


def test_the_winner_keeps_its_values_and_fills_its_gaps_from_the_losers(marketo: Marketo) -> None:
    winner = marketo.create(email="a@example.com", firstName="Amy")
    losers = [
        marketo.create(email="b@example.com", firstName="B", title="Boss"),
        marketo.create(title="X", city="Rome"),
    ]
    answer = marketo.post(f"leads/{winner}/merge.json", leadIds=",".join(map(str, losers)))
    assert list(answer) == ["requestId", "success"]
    assert marketo.person(winner, "email", "firstName", "title", "city") == {
        "id": winner,
        "email": "a@example.com",
        "firstName": "Amy",
        "title": "Boss",
        "city": "Rome",
    }
    assert marketo.get("leads.json", filterType="id", filterValues=losers)["result"] == []


def test_false_and_zero_are_values_that_the_winner_keeps_and_the_standard_score_adds_up(marketo: Marketo) -> None:
    winner = marketo.create(email="a@example.com", unsubscribed=False, priority=0, leadScore=0)
    loser = marketo.create(email="b@example.com", unsubscribed=True, priority=1, leadScore=9)
    marketo.post(f"leads/{winner}/merge.json", leadId=loser)
    kept = marketo.person(winner, "unsubscribed", "priority", "leadScore")
    assert kept == {"id": winner, "unsubscribed": False, "priority": 0, "leadScore": 9}


def test_losers_leave_a_merge_entry_and_no_deletion_unless_the_switch_says_so(marketo: Marketo) -> None:
    token = marketo.cursor()
    winner, first, second = (marketo.create(firstName=f"P{n}") for n in range(3))
    marketo.post(f"leads/{winner}/merge.json", leadId=first)
    assert marketo.feed("/deletedleads", token) == []
    (entry,) = marketo.feed("", token, activityTypeIds="32")
    assert (entry["leadId"], entry["primaryAttributeValueId"]) == (winner, winner)
    assert {"name": "Merge IDs", "value": str(first)} in entry["attributes"]
    marketo.control("behaviour", merge_trail=True)
    marketo.post(f"leads/{winner}/merge.json", leadId=second)
    assert [entry["leadId"] for entry in marketo.feed("/deletedleads", token)] == [second]


def test_deleted_people_leave_no_trace_where_the_switch_says_so(marketo: Marketo) -> None:
    token = marketo.cursor()
    first, second = (marketo.create(firstName=f"P{n}") for n in range(2))
    marketo.control("behaviour", deletion_trail=False)
    marketo.post("leads/delete.json", {"input": [{"id": first}]})
    marketo.control("behaviour", deletion_trail=True)
    marketo.post("leads/delete.json", {"input": [{"id": second}]})
    assert marketo.get("leads.json", filterType="id", filterValues=first)["result"] == []
    assert [entry["leadId"] for entry in marketo.feed("/deletedleads", token)] == [second]


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({}, "1002"),
        ({"leadId": "x"}, "1001"),
        ({"leadId": 999}, "1004"),
        ({"leadId": 1}, "1003"),
        ({"leadIds": ",".join(map(str, range(2, 28)))}, "1080"),
        ({"leadId": 2, "mergeInCRM": "true"}, "1076"),
    ],
)
def test_a_merge_that_cannot_be_done_is_refused_and_changes_nothing(
    marketo: Marketo, params: dict[str, object], code: str
) -> None:
    ids = [marketo.create(email="a@example.com"), marketo.create(email="b@example.com")]
    assert codes(marketo.post(f"leads/{ids[0]}/merge.json", **params)) == [code]
    assert len(marketo.get("leads.json", filterType="id", filterValues=ids)["result"]) == 2
