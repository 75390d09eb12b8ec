"""A field that two machines put back by the clock is set aside for two hours; people who edit to and fro are not."""

from __future__ import annotations

from datetime import timedelta

from dynsync_pipeline.model.records import RecordType
from dynsync_pipeline_tests.properties.effort import deep, story
from dynsync_pipeline_tests.worlds.memory import MemoryWorld, field_map

FIELDS = field_map(
    "title,jobtitle,text,both,true", "phone,telephone1,text,both,true", "doNotCall,donotphone,boolean,both,true"
)
LEAD = RecordType.LEAD


def n_writes(world: MemoryWorld) -> int:
    return len([row for row in world.ledger()["changes"] if "title" in row])


def fight(world: MemoryWorld, person_id: int, n_cycles: int) -> None:
    """Two workflows, each of which puts its own value back whenever it sees the other's."""
    for _ in range(n_cycles):
        dynamics, marketo = world.both(person_id, "title")
        if marketo == "A":
            world.marketo.put(person_id, title="B")
        elif dynamics == "B":
            world.dynamics.put(LEAD, "r", jobtitle="A")
        world.cycle()


def fought() -> tuple[MemoryWorld, int]:
    world = MemoryWorld(FIELDS)
    person_id = world.link(LEAD, "r", title="A", phone="1")
    world.settled()
    fight(world, person_id, 8)
    return world, person_id


@story
def test_two_workflows_that_fight_are_caught_after_six_writes_and_the_rest_of_the_record_goes_on() -> None:
    world, person_id = fought()
    assert n_writes(world) == 6
    assert [(error[1], error[3], error[5]) for error in world.errors()] == [("title", "oscillates", "waiting")]
    world.dynamics.put(LEAD, "r", telephone1="2")
    world.settled()
    assert world.both(person_id, "phone") == ("2", "2")
    world.marketo.put(person_id, title="Something else")  # another value than the two
    world.settled()
    assert world.both(person_id, "title") == ("Something else", "Something else")
    assert {error[5] for error in world.errors()} == {"resolved"}


@deep
def test_a_fight_that_lasts_costs_a_few_writes_every_two_hours_and_is_never_quarantined() -> None:
    world, person_id = fought()
    world.clock += timedelta(hours=2)
    fight(world, person_id, 9)
    assert n_writes(world) <= 6 * 2 + 1
    (error,) = {(error[1], error[3]) for error in world.errors()}
    assert error == ("title", "oscillates")
    assert "quarantined" not in [error[5] for error in world.errors()]
    assert world.rows("select count(*) from state.unsettled where next_look_at > timestamp '9000-01-01'") == [(0,)]


@story
def test_when_the_fight_is_over_the_field_goes_on_by_itself_with_the_last_edit() -> None:
    world, person_id = fought()
    dynamics, marketo = world.both(person_id, "title")
    assert dynamics != marketo
    world.clock += timedelta(hours=2)
    world.settled()
    assert world.both(person_id, "title") == ("B", "B"), "the last edit was Marketo's"
    assert {error[5] for error in world.errors()} == {"resolved"}


@story
def test_honest_clicks_on_a_checkbox_travel_from_both_sides_all_day() -> None:
    """Four at once, then irregularly within minutes, then by the clock and slower than machines."""
    world = MemoryWorld(FIELDS)
    person_id = world.link(LEAD, "r", title="A", doNotCall="false")
    world.settled()
    for n, pause in enumerate((0, 0, 0, 0, 13, 0, 14, 0, *[31] * 6)):
        world.clock += timedelta(minutes=pause)
        value = "false" if n % 2 else "true"
        if n % 2:
            world.marketo.put(person_id, doNotCall=value)
        else:
            world.dynamics.put(LEAD, "r", donotphone=value)
        world.cycle()
        assert world.both(person_id, "doNotCall") == (value, value), f"click {n}"
    assert world.errors() == []


@deep
def test_edits_to_and_fro_on_one_side_travel_all_day() -> None:
    world = MemoryWorld(FIELDS)
    person_id = world.link(LEAD, "r", title="A")
    world.settled()
    for title in ("B", "A", "B", "A", "B", "A", "B"):
        world.dynamics.put(LEAD, "r", jobtitle=title)
        world.settled()
        assert world.both(person_id, "title") == (title, title)
    assert world.errors() == []
