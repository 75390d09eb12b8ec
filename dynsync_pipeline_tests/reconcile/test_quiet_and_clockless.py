"""What must not happen: writes without a change (R12, R38, R39), decisions by time (R41), clears by absence (R49).

A lead and a contact stand side by side in each world.
"""

from __future__ import annotations

from dynsync_pipeline.model.field_map import parse_field_map
from dynsync_pipeline.model.records import RecordType
from dynsync_pipeline_tests.properties.effort import story
from dynsync_pipeline_tests.worlds.memory import SAME_FOR_BOTH_TYPES, MemoryWorld, field_map
from dynsync_pipeline_tests.worlds.rows import Values

CONTACT, LEAD = RecordType.CONTACT, RecordType.LEAD
TYPES = (LEAD, CONTACT)
VALUES: Values = {
    "title": "Söhne & Töchter",
    "doNotCall": "true",
    "revenue": "12.5",
    "employees": "3",
    "birth": "1990-02-28",
    "seen": "2026-01-01T10:00:00Z",
    "rating": "2",
    "source": "web",
    "leadScore": "5",
}


def linked(world: MemoryWorld, name: str = "r", /, **values: str | None) -> dict[RecordType, int]:
    """A lead and a contact of that id, each with a person that agrees; the people."""
    return {record_type: world.link(record_type, name, **values) for record_type in TYPES}


def edit(
    world: MemoryWorld, people: dict[RecordType, int], dynamics: Values | None = None, marketo: Values | None = None
) -> None:
    """Edit both records `r`, and then both people."""
    for record_type, person_id in people.items():
        if dynamics is not None:
            world.dynamics.put(record_type, "r", **dynamics)
        if marketo is not None:
            world.marketo.put(person_id, **marketo)


def test_a_cycle_that_finds_no_change_writes_nothing() -> None:
    """R12, for every type of field, and also when both feeds repeat everything (R9)."""
    world = MemoryWorld()
    people = linked(world, **VALUES)
    assert world.settled() == 0
    edit(world, people, {}, {})
    assert world.settled() == 0
    assert world.ledger() == {"changes": [], "collisions": []}


@story
def test_every_type_travels_both_ways_and_comes_to_rest() -> None:
    """R9: our own write comes back as a change, and is recognised by its value."""
    world = MemoryWorld()
    down, up = linked(world, "down", **VALUES), linked(world, "up", **VALUES)
    world.settled()
    new = {
        "title": 'O\'Brien "the" \\ 王\n2',
        "doNotCall": "false",
        "revenue": "-0.0001",
        "employees": "-7",
        "birth": "2000-02-29",
        "seen": "2026-06-30T23:59:59Z",
        "rating": "3",
    }
    for record_type in TYPES:
        columns = {f.marketo_field: f.dynamics_column for f in world.fields.of(record_type)}
        world.dynamics.put(record_type, "down", **{columns[name]: value for name, value in new.items()})
        world.marketo.put(up[record_type], **(new | {"rating": "Cold"}))
    assert world.settled() == 1
    for person_id in (*down.values(), *up.values()):
        for name, value in new.items():
            assert world.both(person_id, name) == (value, "Cold" if name == "rating" else value)
    assert world.standing() == []
    assert len(world.ledger()["changes"]) == 4 * len(new)


def test_another_spelling_of_the_same_value_is_no_edit() -> None:
    """R45, on both sides."""
    world = MemoryWorld()
    people = linked(world, **VALUES | {"title": "two\nlines"})
    world.settled()
    edit(
        world, people,
        {"jobtitle": "two\r\nlines", "new_revenue": "12.5000", "new_seen": "2026-01-01T12:00:00.9+02:00"},
        {"revenue": "12.50", "employees": "3.0", "seen": "2026-01-01T10:00:00Z", "birth": "1990-02-28T00:00:00Z", "phone": ""},
    )  # fmt: skip
    assert world.settled() == 0
    assert world.ledger() == {"changes": [], "collisions": []}


@story
def test_for_booleans_null_and_false_are_one_value() -> None:
    world = MemoryWorld()
    people = linked(world, doNotCall=None)
    world.settled()
    edit(world, people, {"donotphone": "false"}, {"doNotCall": None})
    assert world.settled() == 0
    edit(world, people, marketo={"doNotCall": "true"})
    world.settled()
    edit(world, people, {"donotphone": None})
    world.settled()
    for person_id in people.values():
        assert world.both(person_id, "doNotCall") == (None, "false")
    assert world.ledger()["collisions"] == []


def test_changed_and_changed_back_between_two_cycles_is_no_change() -> None:
    """R39: it neither writes nor collides with an edit of the other side."""
    world = MemoryWorld(field_map("title,jobtitle,text,both,true"))
    people = linked(world, title="A")
    world.settled()
    edit(world, people, {"jobtitle": "B"})
    edit(world, people, {"jobtitle": "A"}, {"title": "M"})
    world.settled()
    for person_id in people.values():
        assert world.both(person_id, "title") == ("M", "M")
    assert world.ledger()["collisions"] == []


def test_a_later_edit_on_the_losing_side_still_loses() -> None:
    """R41: no clock takes part, in whatever order the two edits came."""
    world = MemoryWorld(field_map("title,jobtitle,text,both,true"))
    first, second = linked(world, "r1", title="A"), linked(world, "r2", title="A")
    world.settled()
    for record_type in TYPES:
        world.dynamics.put(record_type, "r1", jobtitle="D")
        world.marketo.put(first[record_type], title="M")
        world.marketo.put(second[record_type], title="M")
        world.dynamics.put(record_type, "r2", jobtitle="D")
    world.settled()
    for record_type, winner in ((LEAD, "M"), (CONTACT, "D")):
        for people in (first, second):
            assert world.both(people[record_type], "title") == (winner, winner)


def test_a_field_that_is_gone_for_a_while_clears_nothing_and_keeps_its_base() -> None:
    """R49 while it is gone, R107 when it is back: what was edited meanwhile is a one-sided edit, a clear too."""
    both, one = (field_map(*lines) for lines in (SAME_FOR_BOTH_TYPES[:2], SAME_FOR_BOTH_TYPES[:1]))
    world = MemoryWorld(both)
    people = linked(world, title="A", phone="1")
    world.settled()
    world.follow(one)
    edit(world, people, {"jobtitle": "B"})
    world.settled()
    for record_type, person_id in people.items():
        assert world.dynamics.rows[record_type, "r"].values["telephone1"] == "1"
        assert world.marketo.rows[person_id].values["phone"] == "1"
    edit(world, people, marketo={"phone": None})
    world.settled()
    world.follow(both)
    edit(world, people, {}, {})
    world.settled()
    for person_id in people.values():
        assert world.both(person_id, "phone") == (None, None)
        assert world.both(person_id, "title") == ("B", "B")
    assert world.ledger()["collisions"] == []


def test_a_field_that_joins_the_map_has_no_base_on_old_links() -> None:
    """R42, R104: filled from the filled side, by type where both are filled; old fields keep their base."""
    both, one = (field_map(*lines) for lines in (SAME_FOR_BOTH_TYPES[:2], SAME_FOR_BOTH_TYPES[:1]))
    world = MemoryWorld(one)
    people = linked(world, title="A")
    world.settled()
    world.follow(both)
    edit(world, people, {"telephone1": "D"}, {"phone": "M", "title": "B"})
    world.settled()
    for record_type, winner in ((LEAD, "M"), (CONTACT, "D")):
        assert world.both(people[record_type], "phone") == (winner, winner)
        assert world.both(people[record_type], "title") == ("B", "B")
    rules = [row[-1] for row in world.ledger()["collisions"]]
    assert sorted(rules) == ["first_meeting_dynamics_wins", "first_meeting_marketo_wins"]


def test_a_field_that_is_mapped_to_another_column_has_no_base() -> None:
    """What was agreed on with the old column says nothing about the new one (R108)."""
    world = MemoryWorld(field_map("title,jobtitle,text,both,true"))
    person_id = world.link(CONTACT, "r", title="A")
    world.settled()
    world.dynamics.put(CONTACT, "r", new_title=None)
    world.follow(field_map("title,new_title,text,both,true"))
    world.dynamics.put(CONTACT, "r")
    world.settled()
    assert world.both(person_id, "title") == ("A", "A"), "a blank column is filled, it does not clear"


def test_a_map_without_accounts_works() -> None:
    """Somebody who wants no company data leaves those lines out."""
    text = "record_type,marketo_field,dynamics_column,type,direction,enabled\ncontact,title,jobtitle,text,both,true\n"
    world = MemoryWorld(parse_field_map(text, "map.csv"))
    world.dynamics.put(CONTACT, "r", jobtitle="A")
    world.settled()
    world.marketo.put(1001, title="B")
    world.settled()
    assert world.both(1001, "title") == ("B", "B")
