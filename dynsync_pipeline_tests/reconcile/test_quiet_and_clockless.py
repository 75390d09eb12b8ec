"""What must not happen: writes without a change (R12, R38, R39), decisions by time (R41), clears by absence (R49)."""

from __future__ import annotations

import pytest

from dynsync_pipeline.model.field_map import parse_field_map
from dynsync_pipeline.model.records import RecordType
from dynsync_pipeline_tests.properties.effort import story
from dynsync_pipeline_tests.worlds.memory import SAME_FOR_BOTH_TYPES, MemoryWorld, field_map

CONTACT, LEAD = RecordType.CONTACT, RecordType.LEAD
BOTH_TYPES = pytest.mark.parametrize("record_type", [LEAD, CONTACT])
VALUES = {
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


@BOTH_TYPES
def test_a_cycle_that_finds_no_change_writes_nothing(record_type: RecordType) -> None:
    """R12, for every type of field, and also when both feeds repeat everything (R9)."""
    world = MemoryWorld()
    person_id = world.link(record_type, "r", **VALUES)
    assert world.settled() == 0
    world.dynamics.put(record_type, "r")
    world.marketo.put(person_id)
    assert world.settled() == 0
    assert world.ledger() == {"changes": [], "collisions": []}


@story
@BOTH_TYPES
def test_every_type_travels_both_ways_and_comes_to_rest(record_type: RecordType) -> None:
    """R9: our own write comes back as a change, and is recognised by its value."""
    world = MemoryWorld()
    down = world.link(record_type, "down", **VALUES)
    up = world.link(record_type, "up", **VALUES)
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
    columns = {f.marketo_field: f.dynamics_column for f in world.fields.of(record_type)}
    world.dynamics.put(record_type, "down", **{columns[name]: value for name, value in new.items()})
    world.marketo.put(up, **(new | {"rating": "Cold"}))
    assert world.settled() == 1
    for name, value in new.items():
        in_marketo = "Cold" if name == "rating" else value
        assert world.both(down, name) == (value, in_marketo)
        assert world.both(up, name) == (value, in_marketo)
    assert world.standing() == []
    assert len(world.ledger()["changes"]) == 2 * len(new)


@BOTH_TYPES
def test_another_spelling_of_the_same_value_is_no_edit(record_type: RecordType) -> None:
    """R45, on both sides."""
    world = MemoryWorld()
    person_id = world.link(record_type, "r", **VALUES | {"title": "two\nlines"})
    world.settled()
    world.dynamics.put(
        record_type, "r", jobtitle="two\r\nlines", new_revenue="12.5000", new_seen="2026-01-01T12:00:00.9+02:00"
    )
    world.marketo.put(
        person_id, revenue="12.50", employees="3.0", seen="2026-01-01T10:00:00Z", birth="1990-02-28T00:00:00Z", phone=""
    )
    assert world.settled() == 0
    assert world.ledger() == {"changes": [], "collisions": []}


@story
@BOTH_TYPES
def test_for_booleans_null_and_false_are_one_value(record_type: RecordType) -> None:
    world = MemoryWorld()
    person_id = world.link(record_type, "r", doNotCall=None)
    world.settled()
    world.dynamics.put(record_type, "r", donotphone="false")
    world.marketo.put(person_id, doNotCall=None)
    assert world.settled() == 0
    world.marketo.put(person_id, doNotCall="true")
    world.settled()
    world.dynamics.put(record_type, "r", donotphone=None)
    world.settled()
    assert world.both(person_id, "doNotCall") == (None, "false")
    assert world.ledger()["collisions"] == []


@BOTH_TYPES
def test_changed_and_changed_back_between_two_cycles_is_no_change(record_type: RecordType) -> None:
    """R39: it neither writes nor collides with an edit of the other side."""
    world = MemoryWorld(field_map("title,jobtitle,text,both,true"))
    person_id = world.link(record_type, "r", title="A")
    world.settled()
    world.dynamics.put(record_type, "r", jobtitle="B")
    world.dynamics.put(record_type, "r", jobtitle="A")
    world.marketo.put(person_id, title="M")
    world.settled()
    assert world.both(person_id, "title") == ("M", "M")
    assert world.ledger()["collisions"] == []


@BOTH_TYPES
def test_a_later_edit_on_the_losing_side_still_loses(record_type: RecordType) -> None:
    """R41: no clock takes part, in whatever order the two edits came."""
    world = MemoryWorld(field_map("title,jobtitle,text,both,true"))
    first, second = world.link(record_type, "r1", title="A"), world.link(record_type, "r2", title="A")
    world.settled()
    world.dynamics.put(record_type, "r1", jobtitle="D")
    world.marketo.put(first, title="M")
    world.marketo.put(second, title="M")
    world.dynamics.put(record_type, "r2", jobtitle="D")
    world.settled()
    winner = "M" if record_type is LEAD else "D"
    assert world.both(first, "title") == world.both(second, "title") == (winner, winner)


@BOTH_TYPES
def test_a_field_that_is_gone_for_a_while_clears_nothing_and_keeps_its_base(record_type: RecordType) -> None:
    """R49 while it is gone, R107 when it is back: what was edited meanwhile is a one-sided edit, a clear too."""
    both, one = (field_map(*lines) for lines in (SAME_FOR_BOTH_TYPES[:2], SAME_FOR_BOTH_TYPES[:1]))
    world = MemoryWorld(both)
    person_id = world.link(record_type, "r", title="A", phone="1")
    world.settled()
    world.follow(one)
    world.dynamics.put(record_type, "r", jobtitle="B")
    world.settled()
    assert world.dynamics.rows[record_type, "r"].values["telephone1"] == "1"
    assert world.marketo.rows[person_id].values["phone"] == "1"
    world.marketo.put(person_id, phone=None)
    world.settled()
    world.follow(both)
    world.dynamics.put(record_type, "r")
    world.marketo.put(person_id)
    world.settled()
    assert world.both(person_id, "phone") == (None, None)
    assert world.both(person_id, "title") == ("B", "B")
    assert world.ledger()["collisions"] == []


@BOTH_TYPES
def test_a_field_that_joins_the_map_has_no_base_on_old_links(record_type: RecordType) -> None:
    """R42, R104: filled from the filled side, by type where both are filled; old fields keep their base."""
    both, one = (field_map(*lines) for lines in (SAME_FOR_BOTH_TYPES[:2], SAME_FOR_BOTH_TYPES[:1]))
    world = MemoryWorld(one)
    person_id = world.link(record_type, "r", title="A")
    world.settled()
    world.follow(both)
    world.dynamics.put(record_type, "r", telephone1="D")
    world.marketo.put(person_id, phone="M", title="B")
    world.settled()
    winner = "M" if record_type is LEAD else "D"
    assert world.both(person_id, "phone") == (winner, winner)
    assert world.both(person_id, "title") == ("B", "B")
    assert world.ledger()["collisions"][0][-1].startswith("first_meeting_")


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
