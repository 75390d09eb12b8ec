"""When a day's calls get short, what matters most goes first, the rest waits without a failure, and all of it is told (R126)."""

from __future__ import annotations

import json
from datetime import datetime

import duckdb
import pytest

from dynsync_pipeline.model.records import RecordType
from dynsync_pipeline.warehouse.budget import day_of
from dynsync_pipeline_tests.properties.effort import story
from dynsync_pipeline_tests.worlds.memory import SAME_FOR_BOTH_TYPES, MemoryWorld, field_map

pytestmark = story

CONTACT, LEAD = RecordType.CONTACT, RecordType.LEAD


def cycles(world: MemoryWorld) -> tuple[object, ...]:
    return world.rows("select status, n_waiting from ledger.cycles order by cycle_id desc limit 1")[0]


@pytest.fixture(scope="module")
def world() -> MemoryWorld:
    fields = field_map(*SAME_FOR_BOTH_TYPES, "unsubscribed,donotbulkemail,boolean,both,true")
    return MemoryWorld(fields, publishes=True)


def test_collisions_and_consent_go_first_then_edits_and_what_waits_goes_when_there_are_calls(
    world: MemoryWorld,
) -> None:
    people = {f"c{n}": world.link(LEAD, f"c{n}", title="A", phone="1") for n in range(6)}
    world.settled()
    for n in range(4):
        world.marketo.put(people[f"c{n}"], phone="2")
    world.marketo.put(people["c4"], unsubscribed="true")
    world.marketo.put(people["c5"], title="Marketing")
    world.dynamics.put(LEAD, "c5", jobtitle="Sales")
    world.allow(dynamics_calls_per_day=4, call_reserve=0.5)  # two are spare, one more is for what is urgent
    world.dynamics.writes.clear()
    world.cycle()
    assert {record_id for record_id, _ in world.dynamics.writes} == {"c4", "c5"}
    assert cycles(world) == ("succeeded", 4)
    world.cycle()
    assert {record_id for record_id, _ in world.dynamics.writes} == {"c4", "c5", "c0", "c1"}
    assert cycles(world) == ("succeeded", 2)
    world.allow(dynamics_calls_per_day=100)
    world.settled()
    assert {record_id for record_id, _ in world.dynamics.writes} == set(people)
    assert cycles(world) == ("succeeded", 0)
    assert all(world.both(person, "phone")[0] == "2" for name, person in people.items() if name in ("c0", "c3"))


def test_who_has_waited_longest_goes_first_whoever_is_edited_meanwhile() -> None:
    world = MemoryWorld(field_map("phone,telephone1,text,both,true"), publishes=True)
    people = {name: world.link(LEAD, name, phone="1") for name in ("a", "b", "z")}
    world.settled()
    world.allow(dynamics_calls_per_day=1, call_reserve=0)
    world.marketo.put(people["z"], phone="2")
    for number in range(2):
        for name in ("a", "b"):
            world.marketo.put(people[name], phone=f"2{number}")
        world.cycle()
    assert world.both(people["z"], "phone") == ("2", "2")


@pytest.mark.parametrize(
    "line", ["unsubscribed,donotbulkemail,boolean,both,true", "quiet,new_quiet,boolean,both,true,restrictive:true"]
)
def test_consent_does_not_wait_for_ever_for_the_company_that_it_moves_to(line: str) -> None:
    """Consent is what Dynamics calls so, and what the field map lets only forbid."""
    field, column = line.split(",")[:2]
    world = MemoryWorld(field_map(line), publishes=True)
    world.dynamics.put(RecordType.ACCOUNT, "a", name="A")
    person = world.link(CONTACT, "c", **{field: "false"})
    world.settled()
    world.dynamics.put(RecordType.ACCOUNT, "a", name="B")
    world.dynamics.put(CONTACT, "c", **{column: "true", "_parentcustomerid_value": "a"})
    world.allow(marketo_calls_per_day=4, call_reserve=1.0)  # half of the reserve is for what is urgent
    world.cycle()
    world.cycle()
    assert world.both(person, field) == ("true", "true")


def test_new_people_wait_for_edits_and_companies_and_nobody_is_created_without_their_company(
    world: MemoryWorld,
) -> None:
    person = world.link(CONTACT, "c", title="A")
    world.settled()
    world.dynamics.put(RecordType.ACCOUNT, "a", name="New Ltd")
    world.dynamics.put(CONTACT, "c", jobtitle="B")
    world.dynamics.put(CONTACT, "new", jobtitle="X", _parentcustomerid_value="a")
    world.allow(marketo_calls_per_day=4, call_reserve=0)
    world.cycle()
    assert world.marketo.company_rows and world.both(person, "title") == ("B", "B")
    assert world.rows("select count(*) from state.links where dynamics_id = 'new'") == [(0,)]
    assert cycles(world) == ("succeeded", 1)
    world.allow(marketo_calls_per_day=0)
    world.cycle()
    assert cycles(world) == ("succeeded", 1)
    world.allow(marketo_calls_per_day=100)
    world.settled()
    assert world.rows("select count(*) from state.links where dynamics_id = 'new'") == [(1,)]


def test_the_day_of_each_system_is_told_with_what_it_will_have_used_at_its_midnight() -> None:
    world = MemoryWorld(publishes=True)
    world.link(CONTACT, "c", title="A")
    world.clock = world.clock.replace(hour=18, minute=0, second=0, microsecond=0)  # noon in US Central, or one o'clock
    world.settled()
    world.rows("update ledger.cycles set n_calls_marketo = 600, n_calls_dynamics = 0 where cycle_id = 1")
    world.rows("update ledger.cycles set started_at = started_at - interval 12 hour where cycle_id = 1")
    world.rows("insert into ledger.exports_read (read_at, n_bytes) values (?, 2500000)", world.warehouse.now())
    world.dynamics.put(CONTACT, "c", jobtitle="B")
    world.cycle()
    with duckdb.connect(world.settings.snapshot_file, read_only=True) as snapshot:
        rows = snapshot.execute(
            "select system, n_used, n_forecast, n_allowed, n_reserved, export_mb, ends_at from budget_days order by system"
        ).fetchall()
    marketo = rows[1]
    assert (marketo[0], marketo[1], marketo[3], marketo[4], marketo[5]) == ("marketo", 600, 25_000, 2_500, 2.5)
    hours_left = (marketo[6] - world.warehouse.now()).total_seconds() / 3600
    assert marketo[2] == pytest.approx(600 + 600 / 12.2 * hours_left, rel=0.05)
    told = json.loads(world.settings.snapshot_file.with_name("status.json").read_text("utf-8"))
    assert {row["system"] for row in told["budget_days"]} == {"dynamics", "marketo"}


@pytest.mark.parametrize(
    ("at", "begin", "end"),
    [
        ("2026-01-15T05:59", "2026-01-14T06:00", "2026-01-15T06:00"),
        ("2026-01-15T06:00", "2026-01-15T06:00", "2026-01-16T06:00"),
        ("2026-07-15T12:00", "2026-07-15T05:00", "2026-07-16T05:00"),
        ("2026-03-08T12:00", "2026-03-08T06:00", "2026-03-09T05:00"),  # 23 hours
        ("2026-11-01T12:00", "2026-11-01T05:00", "2026-11-02T06:00"),  # 25 hours
    ],
)
def test_marketos_day_begins_at_midnight_in_us_central_also_when_its_clocks_change(
    at: str, begin: str, end: str
) -> None:
    told = day_of("marketo", datetime.fromisoformat(at))
    assert told == (datetime.fromisoformat(begin), datetime.fromisoformat(end))
