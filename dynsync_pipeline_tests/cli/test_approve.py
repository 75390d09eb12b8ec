"""`dynsync approve`: shows what waits because it reaches many people, and approves a number, all, or the lines of a file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dynsync_pipeline.warehouse.connection import Warehouse
from dynsync_pipeline_tests.cli.conftest import HandMade, Run
from dynsync_pipeline_tests.properties.effort import story

pytestmark = story


@pytest.fixture
def waiting(hand_made: HandMade) -> HandMade:
    """Three causes; values that a spreadsheet takes for formulas, of several lines, and none."""
    hand_made.publish(
        hand_made.cycle(1, "2026-01-01 12:00"),
        "insert into state.approvals (approval_id, cause, cause_name, n_people, record_type, dynamics_id, person_id, field, "
        "direction, old_value, new_value, asked_at) values "
        "(7, 'field', 'title', 3, 'lead', 'a', 1, 'title', 'to_marketo', '=A', null, now()), "
        "(7, 'field', 'title', 3, 'lead', 'b', 2, 'title', 'to_marketo', 'A', 'שלום 🧯', now()), "
        "(7, 'field', 'title', 3, 'lead', 'c', 3, 'title', 'to_marketo', null, e'[bold]x\\r\\n\"y\"', now()), "
        "(8, 'account', 'acme', 5001, 'account', 'acme', null, 'company', 'to_marketo', 'A', 'B', now()), "
        "(9, 'create', 'contact', 4, 'contact', 'new', null, null, 'to_marketo', null, null, now())",
        "insert into state.unsettled (record_type, dynamics_id, person_id, field, reason_code, attempts, since, next_look_at) "
        "select record_type, dynamics_id, person_id, case when record_type <> 'account' then field end, 'waiting_for_approval', "
        "0, asked_at, never() from state.approvals",
    )
    return hand_made


def approved(hand_made: HandMade) -> set[str]:
    """Whose values are, all of which are looked at again."""
    with Warehouse(hand_made.settings.working_file) as warehouse, warehouse.reading() as connection:
        due = connection.execute("select dynamics_id from state.unsettled where next_look_at < never()").fetchall()
        rows = connection.execute("select dynamics_id from state.approvals where approved_at is not null").fetchall()
    assert {row[0] for row in due} == {row[0] for row in rows}
    return {row[0] for row in rows}


def test_what_waits_is_shown_by_cause_and_approved_by_number(run: Run, waiting: HandMade) -> None:
    shown = run("approve", environment=waiting.environment, width=110)
    assert shown.code == 0
    assert [
        name
        for name in ("account acme", "new people of contacts", "title of leads, to Marketo")
        if name not in shown.out
    ] == []
    narrow = run("approve", environment=waiting.environment, width=80)
    assert max(map(len, narrow.out.splitlines())) <= 80
    values = run("approve", "7", environment=waiting.environment)
    assert all(text in values.out for text in ("[bold]x", "שלום 🧯", "=A"))
    found = json.loads(run("approve", "--json", environment=waiting.environment).out)
    assert [(row["approval_id"], row["n_people"], row["n_values"]) for row in found["causes"]] == [
        (8, 5001, 1),
        (9, 4, 1),
        (7, 3, 3),
    ]
    assert len(found["values"]) == 5
    for wrong in (["7", "--accept", "7"], ["--accept", "x"], ["--accept", "99"], ["--accept", "8", "--apply", "x.csv"]):
        assert run("approve", *wrong, environment=waiting.environment).code == 2
    assert approved(waiting) == set()
    assert run("approve", "--accept", "8", environment=waiting.environment).code == 0
    assert approved(waiting) == {"acme"}
    assert waiting.actions() == [("approve", {"approvals": {"n": 1, "ids": [8]}, "n_values": 1})]
    assert run("approve", "--accept", "8", environment=waiting.environment).code == 2
    assert "4 values" in run("approve", "--accept", "all", environment=waiting.environment).out
    assert approved(waiting) == {"acme", "new", "a", "b", "c"}
    assert run("approve", "--accept", "all", environment=waiting.environment).code == 0, (
        "nothing waits, which is no fault"
    )
    status = run("status", environment=waiting.environment)
    assert "account acme" in status.out.partition("Waiting to be approved")[2], "as of the snapshot"


def test_the_lines_that_are_left_in_a_file_are_approved(run: Run, waiting: HandMade, tmp_path: Path) -> None:
    """Through a spreadsheet with another separator and line ends; what does not wait as it stands there is counted."""
    file = tmp_path / "approved.csv"
    assert run("approve", "7", "--csv", str(file), environment=waiting.environment).code == 0
    lines = file.read_bytes().decode().split("\r\n")
    assert len(lines) == 6, "a header, three values of which one has two lines, and the end"
    for bad in (b"", b"record_type,field\nlead,title\n", b"\xff\xfe", b"a\0"):
        file.write_bytes(bad)
        assert run("approve", "--apply", str(file), environment=waiting.environment).code == 2, bad
    assert run("approve", "--apply", str(tmp_path), environment=waiting.environment).code == 2
    kept = [line.replace(",", ";") for line in lines if not line.startswith(("7,field,title,3,2,",))]
    other = "7;field;title;3;9;lead;z;title;to_marketo;A;B;"
    file.write_bytes(b"\xef\xbb\xbf" + "\r\n".join([*kept[:-1], other, other, ""]).encode())
    ran = run("approve", "--apply", str(file), "--json", environment=waiting.environment)
    assert (ran.code, json.loads(ran.out)) == (1, {"n_approved": 2, "n_not_waiting": 1})
    assert approved(waiting) == {"a", "c"}


def test_nothing_is_approved_while_a_cycle_runs_and_nothing_waits_before_the_first(run: Run, unborn: HandMade) -> None:
    assert run("approve", "--accept", "all", environment=unborn.environment).code == 1
    assert run("approve", environment=unborn.environment).code == 1
    unborn.publish(unborn.cycle(1, "2026-01-01 12:00"))
    assert "Nothing waits" in run("approve", environment=unborn.environment).out
