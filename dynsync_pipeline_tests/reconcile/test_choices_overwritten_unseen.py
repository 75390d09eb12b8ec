"""A choice that somebody edited in Marketo between our read and our write: an edit by its number, not by its label (R33, R35)."""

from __future__ import annotations

from collections.abc import Callable

from dynsync_pipeline.model.records import RecordType
from dynsync_pipeline_tests.properties.effort import story
from dynsync_pipeline_tests.worlds.memory import MemoryWorld, field_map, read_all

pytestmark = story

CONTACT, LEAD = RecordType.CONTACT, RecordType.LEAD
FIELDS = field_map(
    "shorter,new_shorter,choice,both,true",
    "other,new_other,choice,both,true",
    "nothing,new_nothing,choice,both,true",
    "text,new_text,text,both,true",
)
RATING = field_map("rating,new_rating,choice,both,true")


def cycle_with(world: MemoryWorld, edit: Callable[[], None]) -> None:
    """A cycle in which somebody edits after the plan was made and before it is written."""
    with world.opened() as cycle:
        read_all(cycle)
        cycle.reconcile()
        edit()
        cycle.write_dynamics()
        cycle.write_marketo()


def edit_all(world: MemoryWorld, people: list[int], rating: str) -> None:
    """Somebody edits the rating of these people."""
    for person_id in people:
        world.marketo.put(person_id, rating=rating)


def test_an_edit_is_found_whatever_marketo_makes_of_our_value() -> None:
    """Kept shorter, kept as the label of another option, or not at all; of a lead the edit stands, of a contact it is kept."""
    world = MemoryWorld(FIELDS)
    names = ("nothing", "other", "shorter", "text")
    held = {"nothing": "2", "other": "2", "shorter": "2", "text": "Warm"}
    people = {kind: world.link(kind, f"r-{kind}", **held) for kind in (CONTACT, LEAD)}
    world.settled()
    for kind in people:
        world.dynamics.put(kind, f"r-{kind}", new_shorter="1", new_other="1", new_nothing="1", new_text="Hot")
    kept = {"shorter": "Ho", "other": "Warm", "nothing": None, "text": "Ho"}
    world.marketo.keeps = lambda name, value: kept[name] if value == "Hot" else value

    def edit() -> None:
        for person_id in people.values():
            world.marketo.put(person_id, **dict.fromkeys(names, "Cold"))

    cycle_with(world, edit)
    world.settled()
    assert sorted(row[:1] + row[3:8] for row in world.ledger()["collisions"]) == sorted(
        (kind, name, "Warm", "Hot", "Cold", winner)
        for kind, winner in ((CONTACT, "dynamics"), (LEAD, "marketo"))
        for name in names
    )
    assert [world.both(people[LEAD], name) for name in names] == [*[("3", "Cold")] * 3, ("Cold", "Cold")]
    assert [world.both(people[CONTACT], name)[1] for name in names] == [kept[name] for name in names]
    assert world.settled() == 0


def test_another_label_of_the_same_option_is_no_edit() -> None:
    """Such as a batch in Marketo may set it meanwhile."""
    world = MemoryWorld(RATING)
    people = [world.link(kind, f"r-{kind}", rating="2") for kind in (CONTACT, LEAD)]
    world.settled()
    world.dynamics.options["2"] = "Tepid"
    world.follow(RATING)
    world.settled()
    for kind in (CONTACT, LEAD):
        world.dynamics.put(kind, f"r-{kind}", new_rating="1")
    cycle_with(world, lambda: edit_all(world, people, "Warm"))
    world.settled()
    assert world.ledger()["collisions"] == []
    assert [world.both(person_id, "rating") for person_id in people] == [("1", "Hot")] * 2


def test_two_options_of_one_label_hide_an_edit_and_make_none() -> None:
    """What is written over that same label leaves the number in Dynamics as it is."""
    world = MemoryWorld(RATING)
    world.dynamics.options["9"] = "Warm"
    people = [world.link(kind, f"r-{kind}", rating="1") for kind in (CONTACT, LEAD)]
    world.settled()
    for number in ("9", "2"):
        for kind in (CONTACT, LEAD):
            world.dynamics.put(kind, f"r-{kind}", new_rating=number)
        world.settled()
        assert [world.both(person_id, "rating") for person_id in people] == [(number, "Warm")] * 2
        assert world.ledger()["collisions"] == []
    for kind in (CONTACT, LEAD):
        world.dynamics.put(kind, f"r-{kind}", new_rating="9")
    cycle_with(world, lambda: edit_all(world, people, "Cold"))
    world.settled()
    assert sorted(row[:1] + row[5:8] for row in world.ledger()["collisions"]) == [
        ("contact", "Warm", "Cold", "dynamics"),
        ("lead", "Warm", "Cold", "marketo"),
    ]
    assert [world.both(person_id, "rating") for person_id in people] == [("9", "Warm"), ("3", "Cold")]
