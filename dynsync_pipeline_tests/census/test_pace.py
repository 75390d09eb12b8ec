"""How fast the census goes: everybody once in its period, and never more calls than its share. Not here: what it finds."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from dynsync_pipeline.extract import census
from dynsync_pipeline.extract.census import Pace
from dynsync_pipeline.model.records import RecordType
from dynsync_pipeline_tests.properties.effort import deep, story
from dynsync_pipeline_tests.worlds.memory import MemoryWorld
from dynsync_pipeline_tests.worlds.rows import Row

DAY, WEEK, PAUSE = timedelta(days=1), timedelta(days=7), timedelta(minutes=5)
PLENTY = 1e9


def calls_in(pace: Pace, n_rows: int, time: timedelta, step: timedelta = PAUSE, size: int = 300) -> int:
    """The calls of cycles that come every `step`."""
    since = now = start = datetime(2026, 1, 1, tzinfo=UTC)
    n_calls = 0
    while now < start + time:
        now += step
        n_due, rest = pace.due(n_rows, size, now - since)
        if n_due:
            n_calls += n_due
            since = now - rest
    return n_calls


@pytest.mark.parametrize("n_rows", [1, 300, 301, 2_100, 100_000, 1_000_000, 10_000_000])
@pytest.mark.parametrize("step", [PAUSE, timedelta(seconds=330), timedelta(hours=7), DAY])
def test_everybody_is_read_once_in_the_period(n_rows: int, step: timedelta) -> None:
    n_slices = -(-n_rows // 300)
    n_calls = calls_in(Pace(WEEK, PLENTY), n_rows, WEEK, step)
    assert n_slices <= n_calls
    assert n_calls <= max(n_slices * 1.1 + 1, 8)


def test_a_small_database_costs_a_call_a_day() -> None:
    assert calls_in(Pace(WEEK, PLENTY), 50, WEEK) == 7


def test_no_more_calls_than_the_share_are_made_in_a_day() -> None:
    assert calls_in(Pace(WEEK, 100), 10_000_000, DAY) <= 100
    assert calls_in(Pace(WEEK, 100), 10_000_000, 10 * DAY) > 900


def test_a_share_of_nothing_is_no_census() -> None:
    assert calls_in(Pace(WEEK, 0), 50, WEEK) == 0


def test_a_long_pause_makes_no_burst() -> None:
    n_due, rest = Pace(WEEK, PLENTY).due(1_000_000, 300, timedelta(days=100))
    assert n_due <= 3_334 / 7 + 1
    assert rest < timedelta(hours=1)


def test_an_empty_system_is_still_looked_at() -> None:
    """A record that no feed told may be its first."""
    assert Pace(WEEK, PLENTY).due(0, 5_000, DAY)[0] == 1


@story
def test_a_tight_budget_slows_it_down(monkeypatch: pytest.MonkeyPatch) -> None:
    world = MemoryWorld()
    world.link(RecordType.LEAD, "l1", title="Buyer")
    world.settled()
    world.dynamics.rows[RecordType.LEAD, "l1"].values["jobtitle"] = "Chief"
    world.allow(dynamics_calls_per_day=30, call_reserve=0)  # of which the census may use three, one for each table
    world.rows(
        "insert into ledger.cycles (cycle_id, started_at, status, n_calls_dynamics) values (0, ?, 'succeeded', 29)",
        (world.clock + DAY).replace(tzinfo=None),
    )
    world.clock += DAY
    world.settled()
    assert world.both(1001, "title") == ("Chief", "Buyer")
    world.clock += DAY
    world.settled()
    assert world.both(1001, "title") == ("Chief", "Chief")


@deep
def test_slices_and_windows_cover_everybody_round_and_round(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many slices, many created in one second, some found nowhere in the mirror, some gone from the middle of a round."""
    monkeypatch.setattr(census, "PEOPLE_PER_CALL", 2)
    monkeypatch.setattr(census, "LARGEST_PAGE", 2)
    world = MemoryWorld()
    world.allow(census_days=1.0)
    created = ["2020-01-01T00:00:00Z"] * 4 + [f"2020-02-0{n}T00:00:00Z" for n in range(1, 8)]
    for number, at in enumerate(created):
        world.link(RecordType.LEAD, f"l{number}", title="Buyer")
        world.dynamics.rows[RecordType.LEAD, f"l{number}"].values["createdon"] = at
    world.settled()
    for _ in range(2):
        for row in (*world.dynamics.rows.values(), *world.marketo.rows.values()):
            key = "jobtitle" if "jobtitle" in row.values else "title"
            row.values[key] = f"{row.values[key]}+"
        world.dynamics.rows[RecordType.LEAD, f"n{len(world.dynamics.rows)}"] = Row(
            {"createdon": "2020-02-04T00:00:00Z", "jobtitle": "New"}, version=0
        )
        del world.dynamics.rows[RecordType.LEAD, f"l{len(world.dynamics.rows) % 11}"]
        for _ in range(4):
            world.clock += DAY / 4
            world.settled()
        mirror = dict(world.rows("select leadid, jobtitle from mirror.dynamics_leads where not is_deleted"))
        assert mirror == {i: row.values["jobtitle"] for (_, i), row in world.dynamics.rows.items()}
        titles = dict(world.rows("select person_id, title from mirror.marketo_people where not is_deleted"))
        assert titles == {i: row.values["title"] for i, row in world.marketo.rows.items()}
