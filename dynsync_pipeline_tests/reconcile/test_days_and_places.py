"""R45: a date is the day of the sync's user where a column keeps an instant, and a number has the places of its column."""

from __future__ import annotations

from datetime import timedelta

from dynsync_pipeline.model.records import PERSON_TYPES, RecordType
from dynsync_pipeline_tests.properties.effort import story
from dynsync_pipeline_tests.worlds.memory import MemoryWorld, field_map, read_all

pytestmark = story

CONTACT, LEAD = RecordType.CONTACT, RecordType.LEAD
DAYS = field_map("local,new_local,date,both,true", "fixed,new_fixed,date,both,true", "only,new_only,date,both,true")
BEHAVIORS = {"new_local": "UserLocal", "new_fixed": "TimeZoneIndependent", "new_only": "DateOnly"}
NUMBERS = field_map("revenue,new_revenue,decimal,both,true", "title,jobtitle,text,both,true")


def world_of_days(zone: str | None) -> MemoryWorld:
    """A world whose Dynamics keeps dates in three ways."""
    world = MemoryWorld(DAYS)
    world.dynamics.behaviors, world.dynamics.zone = BEHAVIORS, zone
    return world


def test_the_day_of_an_instant_is_that_of_the_syncs_user_both_ways() -> None:
    """In summer and in winter, on either side of a change of clocks, and before the rules of a zone were written down."""
    instants = {
        "2030-06-01": "2030-05-31T22:00:00Z",
        "2030-12-01": "2030-11-30T23:00:00Z",
        "2030-03-31": "2030-03-30T23:00:00Z",
        "2030-04-01": "2030-03-31T22:00:00Z",
        "1960-07-01": "1960-06-30T22:00:00Z",
    }
    world = world_of_days("Europe/Berlin")
    up = {}
    for kind in PERSON_TYPES:
        for day, instant in instants.items():
            fixed = {"new_fixed": f"{day}T00:00:00Z", "new_only": day}
            world.dynamics.put(kind, f"down-{kind}-{day}", new_local=instant, **fixed)
            up[world.link(kind, f"up-{kind}-{day}", local=None)] = day
    world.settled()
    for person_id, day in up.items():
        world.marketo.put(person_id, local=day, fixed=day, only=day)
    world.settled()
    shown = [tuple(row.values[name] for name in ("local", "fixed", "only")) for row in world.marketo.rows.values()]
    kept = [tuple(row.values[name] for name in BEHAVIORS) for row in world.dynamics.rows.values()]
    assert sorted(shown) == sorted([(day,) * 3 for day in instants] * 4)
    assert sorted(kept) == sorted([(instant, f"{day}T00:00:00Z", day) for day, instant in instants.items()] * 4)
    assert world.standing() == [] and world.ledger()["collisions"] == []


def test_another_time_of_the_same_day_is_no_edit() -> None:
    world = world_of_days("Europe/Berlin")
    person_id = world.link(CONTACT, "r", local=None)
    world.dynamics.put(CONTACT, "r", new_local="2030-05-31T22:00:00Z")
    world.settled()
    world.dynamics.put(CONTACT, "r", new_local="2030-06-01T21:59:59Z")
    assert world.settled() == 0
    world.dynamics.put(CONTACT, "r", new_local="2030-06-01T22:00:00Z")
    world.settled()
    assert world.both(person_id, "local") == ("2030-06-01T22:00:00Z", "2030-06-02")


def test_a_date_whose_zone_nobody_tells_is_parked_and_the_others_go_on() -> None:
    world = world_of_days(None)
    person_id = world.link(LEAD, "r", local=None)
    world.dynamics.put(LEAD, "r", new_local="2030-05-31T22:00:00Z", new_only="2030-06-01")
    world.settled()
    assert (world.both(person_id, "local")[1], world.both(person_id, "only")[1]) == (None, "2030-06-01")
    ((reason,),) = world.rows("select distinct reason from state.parked_fields")
    assert "time zone" in reason
    world.dynamics.zone = "Europe/Berlin"
    world.clock += timedelta(days=1)
    world.settled()
    assert world.both(person_id, "local")[1] == "2030-06-01"


def test_a_user_who_moves_to_another_zone_moves_the_days_without_a_collision() -> None:
    """The records are read again at once, so that none of them moves by being looked at later."""
    world = world_of_days("Etc/UTC")
    person_id = world.link(CONTACT, "r", local=None)
    world.dynamics.put(CONTACT, "r", new_local="2030-05-31T22:00:00Z")
    world.settled()
    assert world.both(person_id, "local")[1] == "2030-05-31"
    world.dynamics.zone = "Europe/Berlin"
    world.clock += timedelta(days=1)
    world.settled()
    assert world.both(person_id, "local") == ("2030-05-31T22:00:00Z", "2030-06-01")
    assert world.dynamics.writes == [] and world.ledger()["collisions"] == []


def test_a_time_goes_to_a_column_of_days_as_a_day() -> None:
    world = MemoryWorld(field_map("seen,new_seen,datetime,both,true"))
    world.dynamics.behaviors = {"new_seen": "DateOnly"}
    person_id = world.link(LEAD, "r", seen=None)
    world.settled()
    world.marketo.put(person_id, seen="2030-06-01T10:00:00Z")
    world.settled()
    assert world.both(person_id, "seen") == ("2030-06-01", "2030-06-01T10:00:00Z")


def world_of_numbers(places: int) -> MemoryWorld:
    """A world whose Dynamics keeps so many places."""
    world = MemoryWorld(NUMBERS)
    world.dynamics.places = {"new_revenue": places}
    return world


def test_what_marketo_holds_finer_than_the_column_is_no_difference() -> None:
    """Neither at the first meeting nor as an edit, and an edit beside it takes nothing of it along."""
    world = world_of_numbers(2)
    people = [world.link(kind, f"r-{kind}", revenue="1.23") for kind in PERSON_TYPES]
    for person_id in people:
        world.marketo.put(person_id, revenue="1.23456")
    assert world.settled() == 0
    for person_id in people:
        world.marketo.put(person_id, revenue="1.2299")
    assert world.settled() == 0
    for person_id in people:
        world.marketo.put(person_id, revenue="1.239")
    assert world.settled() == 1
    assert [world.both(person_id, "revenue") for person_id in people] == [("1.24", "1.239")] * 2
    assert world.standing() == [] and world.ledger()["collisions"] == []
    for kind in PERSON_TYPES:
        world.dynamics.put(kind, f"r-{kind}", new_revenue="2.00")
    assert world.settled() == 1
    assert [world.both(person_id, "revenue") for person_id in people] == [("2.00", "2")] * 2


def test_finer_digits_overwritten_unseen_are_no_edit() -> None:
    """The feed tells all the digits that our write replaced."""
    world = world_of_numbers(2)
    people = [world.link(kind, f"r-{kind}", revenue="1.23") for kind in PERSON_TYPES]
    world.settled()
    for kind in PERSON_TYPES:
        world.dynamics.put(kind, f"r-{kind}", new_revenue="5")
    with world.opened() as cycle:
        read_all(cycle)
        cycle.reconcile()
        for person_id in people:
            world.marketo.put(person_id, revenue="1.23456")
        cycle.write_dynamics()
        cycle.write_marketo()
    world.settled()
    assert world.ledger()["collisions"] == []
    assert [world.both(person_id, "revenue") for person_id in people] == [("5", "5")] * 2


def test_a_column_that_gets_more_or_fewer_places_moves_no_value() -> None:
    """R109: what agreed as it was rounded then, agrees until somebody edits it."""
    world = world_of_numbers(2)
    people = [world.link(kind, f"r-{kind}", revenue="1.23", title="A") for kind in PERSON_TYPES]
    for person_id in people:
        world.marketo.put(person_id, revenue="1.23456")
    world.settled()
    for places in (4, 1, 4):
        world.dynamics.places = {"new_revenue": places}
        world.clock += timedelta(days=1)
        for person_id in people:
            world.marketo.put(person_id, title=f"with {places} places")
        world.settled()
        assert [world.both(person_id, "revenue") for person_id in people] == [("1.23", "1.23456")] * 2
    assert world.rows("select distinct field from ledger.changes") == [("title",)]
    assert world.ledger()["collisions"] == []
    for person_id in people:
        world.marketo.put(person_id, revenue="1.23467")
    world.settled()
    assert [world.both(person_id, "revenue") for person_id in people] == [("1.2347", "1.23467")] * 2
    assert world.standing() == []
