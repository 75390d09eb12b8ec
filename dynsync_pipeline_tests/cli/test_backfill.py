"""`dynsync backfill`: the price before anything begins, beginning, looking, stopping."""

from __future__ import annotations

import json
from datetime import datetime, timedelta

import pytest

from dynsync_pipeline.cli.backfill import pace_sentence
from dynsync_pipeline.warehouse.connection import Warehouse
from dynsync_pipeline.warehouse.cycle_lock import CycleLock
from dynsync_pipeline_tests.cli.conftest import HandMade, Looked, Run
from dynsync_pipeline_tests.properties.effort import story

pytestmark = story


def test_the_price_counts_what_would_be_read_and_sent_and_nothing_begins(run: Run, looked: Looked) -> None:
    environment = looked.world.environment
    ran = run("backfill", "--field", "leadStatus", "--json", environment=environment)
    assert ran.code == 0, ran.err
    told = json.loads(ran.out)
    chosen = {row["record_type"]: (row["n_records"], row["n_people"]) for row in told["chosen"]}
    assert chosen == {"contact": (2, 2), "lead": (1, 1)}
    counts = {name: n for name, n in told.items() if name.startswith("n_")}
    assert counts == {
        "n_calls_dynamics": 2, "n_calls_marketo": 3, "n_to_marketo": 1, "n_to_dynamics": 0, "n_collisions": 0,
        "n_activities": 1,
    }  # fmt: skip
    assert told["back_fill_id"] is None
    again = run("backfill", "--field", "title", environment=environment)
    assert "0 to Marketo, 1 to Dynamics; 0 of them collide." in again.out  # the title that Dynamics refused
    assert "--start begins it" in again.out
    with Warehouse(looked.world.data_dir / "dynsync.duckdb") as warehouse, warehouse.reading() as connection:
        for table, n in (("state.back_fills", 0), ("state.unsettled where field = 'leadStatus'", 0)):
            assert connection.execute(f"select count(*) from {table}").fetchall() == [(n,)]


def test_one_that_is_begun_is_shown_until_it_ends_and_can_be_stopped_once(run: Run, hand_made: HandMade) -> None:
    environment = hand_made.environment
    hand_made.publish()
    assert "Nobody has asked" in run("backfill", environment=environment).out
    since = ("--created-since", "2026-01-02", "--modified-since", "2026-02-03T04:05:06")
    begun = run("backfill", "--field", "title", "--field", "company", *since, "--start", environment=environment)
    assert begun.code == 0, begun.err
    assert "Back-fill 1 begins with the next cycle" in begun.out
    hand_made.publish()
    shown = run("backfill", environment=environment)
    assert "contact: title" in shown.out
    assert "account: company" in shown.out
    (account, contact, lead) = sorted(
        json.loads(run("backfill", "--json", environment=environment).out), key=lambda row: str(row["record_type"])
    )
    assert (account["fields"], contact["fields"], lead["fields"]) == (["company"], ["title"], ["title", "company"])
    assert (lead["created_since"][:10], lead["modified_since"][:19]) == ("2026-01-02", "2026-02-03T04:05:06")
    assert "is stopped" in run("backfill", "--stop", "1", environment=environment).out
    assert run("backfill", "--stop", "1", environment=environment).code == 2


@pytest.mark.parametrize(
    ("n_read", "told"),
    [(0, ""), (300, "Back-fill 1 reads 150 contacts an hour: about 6 h left."), (1_200, "")],
)
def test_a_back_fill_tells_its_pace_and_the_time_left_while_there_is_any(n_read: int, told: str) -> None:
    at = datetime.fromisoformat("2026-02-03T04:00:00")
    row = {"back_fill_id": 1, "record_type": "contact", "asked_at": at - timedelta(hours=2), "n_records": 1_200}
    assert pace_sentence({**row, "n_read": n_read, "ended_at": None}, at) == told
    assert pace_sentence({**row, "n_read": n_read, "ended_at": at}, at) == ""


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--field", "titel"), "did you mean title?"),
        (("--field", "O'Brien 🎉"), "is no field that is synced"),
        (("--field", "title", "--table", "account"), "is no field that is synced"),
        (("--start",), "name the fields"),
        (("--stop", "1", "--field", "title"), "goes with no other option"),
        (("--stop", "7"), "no back-fill 7 goes on"),
        (("--field", "title", "--created-since", "yesterday"), "does not match the formats"),
    ],
)
def test_what_cannot_be_asked_for_is_one_sentence(
    run: Run, hand_made: HandMade, options: tuple[str, ...], said: str
) -> None:
    hand_made.publish()
    ran = run("backfill", *options, environment=hand_made.environment)
    assert ran.code == 2
    assert said in " ".join(ran.err.replace("│", " ").split())


def test_none_begins_while_a_cycle_runs(run: Run, hand_made: HandMade) -> None:
    hand_made.publish()
    with CycleLock(hand_made.settings.lock_file):
        assert run("backfill", "--field", "title", "--start", environment=hand_made.environment).code == 3


def test_without_a_working_file_it_says_what_makes_one(run: Run, unborn: HandMade) -> None:
    ran = run("backfill", "--field", "title", environment=unborn.environment)
    assert ran.code == 1
    assert "dynsync sync" in ran.err
