"""A field that a system lists and refuses to read is parked with a sentence, and everything else goes on (R107)."""

from __future__ import annotations

from datetime import timedelta

import pytest

from dynsync_pipeline.errors import ColumnUnknown
from dynsync_pipeline.model.records import RecordType
from dynsync_pipeline_tests.properties.effort import story
from dynsync_pipeline_tests.worlds.memory import MemoryWorld, field_map
from dynsync_pipeline_tests.worlds.memory_marketo import KEYS

pytestmark = story

CONTACT = RecordType.CONTACT
TITLE, PHONE, CITY = (f"{name},{column},text,both,true" for name, column in
                      (("title", "jobtitle"), ("phone", "telephone1"), ("city", "address1_city")))  # fmt: skip


def parked(world: MemoryWorld) -> list[tuple[str, str]]:
    return world.rows(
        "select distinct marketo_field, reason from state.parked_fields where record_type = 'contact' order by 1"
    )


@pytest.mark.parametrize(("road", "is_first"), [("export", True), ("people", False), ("dynamics", False)])
def test_a_field_that_is_listed_and_refused_is_parked_and_all_others_go_on(road: str, is_first: bool) -> None:
    world = MemoryWorld(field_map(TITLE, PHONE))
    person = world.link(CONTACT, "r", title="A", phone="1")
    if not is_first:
        world.settled()
    if road == "dynamics":
        world.dynamics.refused.add("telephone1")
    else:
        world.marketo.refused["phone"] = road
    world.dynamics.put(CONTACT, "r", jobtitle="B")
    if road == "people":
        world.marketo.put(person, source="told by the feed")
        world.marketo.put(world.marketo.next_id, title="somebody new")
    world.settled()
    assert world.both(person, "title") == ("B", "B")
    ((field, reason),) = parked(world)
    assert field == "phone"
    assert "lists" in reason
    assert "refuses it" in reason


def test_several_refused_fields_are_parked_in_one_cycle() -> None:
    world = MemoryWorld(field_map(TITLE, PHONE, CITY))
    person = world.link(CONTACT, "r", title="A", phone="1", city="X")
    world.marketo.refused = {"phone": "export", "city": "people"}
    world.dynamics.put(CONTACT, "r", jobtitle="B")
    world.settled()
    assert world.both(person, "title") == ("B", "B")
    assert {field for field, _ in parked(world)} == {"phone", "city"}


def test_a_refused_field_is_asked_for_again_when_its_line_was_left_out_and_what_stood_is_no_clear() -> None:
    fields = field_map(TITLE, PHONE)
    world = MemoryWorld(fields)
    person = world.link(CONTACT, "r", title="A", phone="1")
    world.settled()
    world.dynamics.refused.add("telephone1")
    world.cycle()
    world.dynamics.refused.clear()
    world.clock += timedelta(days=2)
    world.cycle()
    assert [field for field, _ in parked(world)] == ["phone"], "nothing says that it is another field now"
    world.follow(field_map(TITLE))
    world.cycle()
    world.follow(fields)
    world.cycle()
    assert parked(world) == []
    assert world.both(person, "phone") == ("1", "1")
    world.dynamics.put(CONTACT, "r", telephone1="2")
    world.settled()
    assert world.both(person, "phone") == ("2", "2")


def test_an_own_field_that_is_refused_is_never_parked() -> None:
    world = MemoryWorld(field_map(TITLE))
    world.link(CONTACT, "r", title="A")
    world.marketo.refused[KEYS.contact_id] = "people"
    with pytest.raises(ColumnUnknown, match="dynamicsContactId"):
        world.settled()
        world.marketo.put(world.marketo.next_id, title="X")
        world.settled()


def test_a_field_that_one_may_read_and_not_write_is_refused_once_and_parked() -> None:
    """R107, R115: the right to write a column is missed by every record, so that none is tried again and again for it."""
    world = MemoryWorld(field_map(TITLE, PHONE))
    people = [world.link(CONTACT, f"r{number}", title="A", phone="1") for number in range(3)]
    world.settled()
    no = ColumnUnknown(
        "Dynamics answered PATCH contacts(id) with 403 0x8004f507: no update permissions.",
        system="dynamics",
        request="PATCH",
        code="0x8004f507",
        field="telephone1",
    )
    world.dynamics.refuses = lambda key, values: no if "telephone1" in values else None
    for person in people:
        world.marketo.put(person, phone="2", title="B")
    world.settled()
    assert [world.both(person, "title") for person in people] == [("B", "B")] * 3
    assert [(row[1], row[3], row[4]) for row in world.errors()] == [("phone", "0x8004f507", 1)] * 3
    assert len(world.rows("from ledger.activities where activity_type = 'Sync Error'")) == 3
    ((field, reason),) = parked(world)
    assert field == "phone"
    assert "no update permissions" in reason
    world.dynamics.put(CONTACT, "r0", telephone1="9")
    world.clock += timedelta(days=2)
    world.settled()
    assert [row[4] for row in world.errors()] == [1] * 3, "nothing of it is sent any more"
    assert world.marketo.rows[people[0]].values["phone"] == "2"
