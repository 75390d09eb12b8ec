"""A field that two systems each put back to their own value is set aside; people who edit to and fro are not."""

from __future__ import annotations

from dynsync_pipeline.model.records import RecordType
from dynsync_pipeline_tests.worlds.memory import MemoryWorld, field_map

FIELDS = field_map("title,jobtitle,text,both,true", "phone,telephone1,text,both,true")


def test_a_field_that_both_systems_put_back_is_set_aside_and_reported() -> None:
    world = MemoryWorld(FIELDS)
    person_id = world.link(RecordType.LEAD, "r", title="A", phone="1")
    world.settled()
    for _ in range(4):
        world.marketo.put(person_id, title="B")
        world.settled()
        world.dynamics.put(RecordType.LEAD, "r", jobtitle="A")
        world.settled()
    n_writes = len([row for row in world.ledger()["changes"] if "title" in row])
    assert n_writes <= 4
    assert [error[3] for error in world.errors()] == ["oscillates"]
    world.dynamics.put(RecordType.LEAD, "r", telephone1="2")
    world.settled()
    assert world.both(person_id, "phone") == ("2", "2")


def test_edits_to_and_fro_on_one_side_travel_all_day() -> None:
    world = MemoryWorld(FIELDS)
    person_id = world.link(RecordType.LEAD, "r", title="A")
    world.settled()
    for title in ("B", "A", "B", "A", "B"):
        world.dynamics.put(RecordType.LEAD, "r", jobtitle=title)
        world.settled()
        assert world.both(person_id, "title") == (title, title)
    assert world.errors() == []
