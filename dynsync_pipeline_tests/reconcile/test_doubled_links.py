"""Whoever is linked more than once is set aside and reported, and everybody else goes on; many stop the cycle."""

from __future__ import annotations

import pytest

from dynsync_pipeline.errors import GuardStopped
from dynsync_pipeline.model.records import RecordType
from dynsync_pipeline_tests.properties.effort import story
from dynsync_pipeline_tests.worlds.memory import MemoryWorld, field_map

pytestmark = story

CONTACT, LEAD = RecordType.CONTACT, RecordType.LEAD
FIELDS = field_map("title,jobtitle,text,both,true", "phone,telephone1,text,both,true")


def doubled_world(n: int = 1) -> tuple[MemoryWorld, list[int], int]:
    """A world in which `n` people are linked to a lead as well as to their contact, and one person is not."""
    world = MemoryWorld(FIELDS)
    people = [world.link(CONTACT, f"c{i}", title="A") for i in range(n)]
    other = world.link(CONTACT, "other", title="A")
    world.settled()
    with world.warehouse.transaction() as connection:
        for i, person in enumerate(people):
            connection.execute("insert into state.links values (?, 'lead', ?, now()::timestamp)", [person, f"l{i}"])
    for i in range(n):
        world.dynamics.put(CONTACT, f"c{i}", jobtitle="B")
    world.dynamics.put(CONTACT, "other", jobtitle="B")
    return world, people, other


def test_a_person_linked_twice_is_set_aside_and_everybody_else_is_written() -> None:
    world, (person,), other = doubled_world()
    world.cycle()
    assert world.both(other, "title") == ("B", "B")
    assert world.both(person, "title") == ("B", "A")
    assert [(row[0], row[3], row[5]) for row in world.errors()] == [
        ("c0", "doubled_link", "waiting"), ("l0", "doubled_link", "waiting"),
    ]  # fmt: skip
    assert world.settled() == 0


def test_once_the_link_is_repaired_what_was_edited_meanwhile_arrives() -> None:
    world, (person,), _ = doubled_world()
    world.cycle()
    with world.warehouse.transaction() as connection:
        connection.execute("delete from state.links where record_type = 'lead'")
    world.marketo.put(person, phone="1")
    world.settled()
    assert world.both(person, "title") == ("B", "B")
    assert world.both(person, "phone") == ("1", "1")
    assert {row[5] for row in world.errors()} == {"resolved"}


def test_more_than_fifty_links_that_are_doubled_stop_the_cycle() -> None:
    world, _, _ = doubled_world(26)
    with pytest.raises(GuardStopped, match="52 links"):
        world.cycle()
