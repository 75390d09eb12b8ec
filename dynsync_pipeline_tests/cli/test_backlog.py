"""The backlog by hour: counted by every cycle, told with its trend, exported (R123)."""

from __future__ import annotations

import json
from datetime import datetime, timedelta

import pytest

from dynsync_pipeline.model.records import RecordType
from dynsync_pipeline_tests.cli.conftest import HandMade, Run
from dynsync_pipeline_tests.properties.effort import story
from dynsync_pipeline_tests.worlds.memory import MemoryWorld, field_map

NOON = datetime.fromisoformat("2026-03-10 12:00:00")


def hours(*numbers: int) -> list[str]:
    """One hour after the other, the last one at noon, with so many contacts, and two accounts in each."""
    return [
        f"insert into ledger.backlog_hours values ('{NOON - timedelta(hours=place)}', '{kind}', 2, {2 * n}, {n - 1}, "
        f"{n + 1}, {n})"
        for place, number in enumerate(reversed(numbers))
        for kind, n in (("contact", number), ("account", 2))
    ]


@pytest.mark.parametrize(
    ("numbers", "told"),
    [
        ((10, 20, 30, 40, 50, 60, 70), "72 records at the last look, 12 six hours before; it grows."),
        (
            (98, 20, 30, 40, 50, 60, 38),
            "40 records at the last look, 100 six hours before; at that pace it is cleared in about 4 h.",
        ),
        ((5, 1, 1, 1, 1, 1, 5), "7 records at the last look, 7 six hours before; it does not grow."),
        ((5,), "7 records at the last look."),
        ((), "0 records at the last look."),
    ],
)
def test_where_the_backlog_goes_is_told_in_a_sentence(
    hand_made: HandMade, run: Run, numbers: tuple[int, ...], told: str
) -> None:
    hand_made.publish(hand_made.cycle(1, str(NOON)), *hours(*numbers))
    assert f"Backlog: {told}" in run("status", environment=hand_made.environment).out


def test_hours_days_and_blocks_are_shown_and_exported(hand_made: HandMade, run: Run) -> None:
    hand_made.publish(hand_made.cycle(1, str(NOON)), *hours(*[30] * 5, *[10] * 24))
    shown = run("status", "--backlog", "--json", environment=hand_made.environment)
    found = json.loads(shown.out)
    assert found["day"] == [
        {"object": "account", "n_least": 1, "n_mean": 2.0, "n_most": 3},
        {"object": "contact", "n_least": 9, "n_mean": 10.0, "n_most": 11},
    ]
    assert [(row["n_least"], row["n_mean"], row["n_most"]) for row in found["blocks"]] == [
        (30, 32.0, 34), (10, 17.0, 34), *[(10, 12.0, 14)] * 6,
    ]  # fmt: skip
    lines = run("status", "--backlog", "--csv", "-", environment=hand_made.environment).out.splitlines()
    assert lines[0] == "hour_at,object,n_least,n_mean,n_most,n_last"
    assert lines[-1] == "2026-03-10 12:00:00,contact,9,10.0,11,10"
    assert len(lines) == 1 + 2 * 29
    assert "Last five days" in run("status", "--backlog", environment=hand_made.environment).out
    assert run("status", "--csv", "-", environment=hand_made.environment).code == 2


@story
def test_every_cycle_counts_what_it_plans_and_what_is_left_and_five_days_are_kept() -> None:
    world = MemoryWorld(field_map("rating,new_rating,choice,both,true", "title,jobtitle,text,both,true"))
    world.clock = world.clock.replace(minute=0)
    people = [world.link(RecordType.CONTACT, f"c{n}", title="A", rating="1") for n in range(3)]
    world.cycle()
    for person_id in people:
        world.marketo.put(person_id, title="B")
    world.marketo.put(people[0], rating="Boiling")
    world.clock += timedelta(hours=1)
    world.publishes = True
    world.cycle()
    hours = (
        "select n_looks, n_least, n_most, n_last from ledger.backlog_hours where object = 'contact' order by hour_at"
    )
    assert world.rows(hours)[-1] == (2, 1, 3, 1), "three are written, and a label that there is not waits"
    for _ in range(3):
        world.clock += timedelta(days=2)
        world.cycle()
    assert world.rows("select count(distinct hour_at), count(*) from ledger.backlog_hours") == [(3, 9)]
