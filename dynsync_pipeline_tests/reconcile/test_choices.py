"""Option sets: a label in Marketo, a number in Dynamics, compared on the number (R33)."""

from __future__ import annotations

import pytest

from dynsync_pipeline.model.records import RecordType
from dynsync_pipeline_tests.properties.effort import story
from dynsync_pipeline_tests.worlds.memory import MemoryWorld, field_map

pytestmark = story

CONTACT, LEAD = RecordType.CONTACT, RecordType.LEAD
FIELDS = field_map("rating,new_rating,choice,both,true", "phone,telephone1,text,both,true")


def test_each_system_is_given_its_own_spelling() -> None:
    """To Marketo goes the label, to Dynamics the number, and the ledger shows labels both ways."""
    world = MemoryWorld(FIELDS)
    down = world.link(CONTACT, "down", rating="1")
    up = world.link(CONTACT, "up", rating="1")
    world.dynamics.put(LEAD, "new", new_rating="3")
    world.settled()
    world.dynamics.put(CONTACT, "down", new_rating="2")
    world.marketo.put(up, rating="Cold")
    world.settled()
    assert world.both(down, "rating") == ("2", "Warm")
    assert world.both(up, "rating") == ("3", "Cold")
    assert world.both(up + 1, "rating") == ("3", "Cold")
    assert world.rows("select direction, old_value, new_value from ledger.changes order by entry_id") == [
        ("to_marketo", None, "Cold"),
        ("to_dynamics", "Hot", "Cold"),
        ("to_marketo", "Hot", "Warm"),
    ]


def test_an_unknown_label_is_refused_reported_once_and_holds_nothing_else_back() -> None:
    """A new option is never made of it; other fields of the record go on."""
    world = MemoryWorld(FIELDS)
    person_id = world.link(LEAD, "r", rating="1", phone="1")
    world.settled()
    world.marketo.put(person_id, rating="Boiling", phone="2")
    world.settled()
    world.settled()
    assert world.both(person_id, "rating") == ("1", "Boiling")
    assert world.both(person_id, "phone") == ("2", "2")
    assert [row[:4] for row in world.errors()] == [("r", "rating", "to_dynamics", "unknown_option")]
    assert world.errors()[0][5] == "waiting"


def test_a_corrected_label_travels_and_resolves_the_error() -> None:
    world = MemoryWorld(FIELDS)
    person_id = world.link(LEAD, "r", rating="1")
    world.settled()
    world.marketo.put(person_id, rating="Boiling")
    world.settled()
    world.marketo.put(person_id, rating="Warm")
    world.settled()
    assert world.both(person_id, "rating") == ("2", "Warm")
    assert [row[5] for row in world.errors()] == ["resolved"]


def test_a_label_put_back_resolves_the_error() -> None:
    """Nothing is left to write, and nothing is left to report."""
    world = MemoryWorld(FIELDS)
    person_id = world.link(LEAD, "r", rating="1")
    world.settled()
    world.marketo.put(person_id, rating="Boiling")
    world.settled()
    world.marketo.put(person_id, rating="Hot")
    assert world.settled() == 0
    assert [row[5] for row in world.errors()] == ["resolved"]
    assert world.rows("select count(*) from state.unsettled") == [(0,)]


def test_an_unknown_label_that_loses_a_collision_is_overwritten() -> None:
    """For a contact Dynamics wins, and its value is valid."""
    world = MemoryWorld(FIELDS)
    person_id = world.link(CONTACT, "r", rating="1")
    world.settled()
    world.marketo.put(person_id, rating="Boiling")
    world.dynamics.put(CONTACT, "r", new_rating="3")
    world.settled()
    assert world.both(person_id, "rating") == ("3", "Cold")
    assert world.ledger()["collisions"][0][4:8] == ("Hot", "Cold", "Boiling", "dynamics")


def test_two_options_with_one_label_do_not_make_an_edit() -> None:
    """The label cannot tell which number it was; the number that Dynamics holds stays."""
    world = MemoryWorld(FIELDS)
    world.dynamics.options["9"] = "Hot"
    person_id = world.link(CONTACT, "r", rating="2")
    world.settled()
    world.dynamics.put(CONTACT, "r", new_rating="9")
    world.settled()
    assert world.both(person_id, "rating") == ("9", "Hot")


@pytest.mark.parametrize("record_type", [LEAD, CONTACT])
def test_clearing_a_choice_travels_both_ways(record_type: RecordType) -> None:
    world = MemoryWorld(FIELDS)
    down = world.link(record_type, "down", rating="1")
    up = world.link(record_type, "up", rating="1")
    world.settled()
    world.dynamics.put(record_type, "down", new_rating=None)
    world.marketo.put(up, rating=None)
    world.settled()
    assert world.both(down, "rating") == (None, None)
    assert world.both(up, "rating") == (None, None)
