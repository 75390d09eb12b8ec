"""Fields that one system owns: they never collide, and a foreign edit is overwritten (R43, R44)."""

from __future__ import annotations

import pytest

from dynsync_pipeline.model.records import RecordType
from dynsync_pipeline_tests.properties.effort import story
from dynsync_pipeline_tests.worlds.memory import MemoryWorld, field_map

CONTACT, LEAD = RecordType.CONTACT, RecordType.LEAD
FIELDS = field_map(
    "title,jobtitle,text,both,true",
    "source,new_source,text,to_marketo,true",
    "leadScore,mkt_leadscore,integer,to_dynamics,true",
)


def linked(record_type: RecordType) -> tuple[MemoryWorld, int]:
    world = MemoryWorld(FIELDS)
    person_id = world.link(record_type, "r", title="A", source="S", leadScore="1")
    world.settled()
    return world, person_id


BOTH_TYPES = pytest.mark.parametrize("record_type", [LEAD, CONTACT])


@story
@BOTH_TYPES
def test_the_owner_s_edits_travel_whatever_the_type(record_type: RecordType) -> None:
    world, person_id = linked(record_type)
    world.dynamics.put(record_type, "r", new_source="T")
    world.marketo.put(person_id, leadScore="2")
    world.settled()
    assert world.both(person_id, "source") == ("T", "T")
    assert world.both(person_id, "leadScore") == ("2", "2")


@story
@BOTH_TYPES
def test_the_owner_s_clear_travels_too(record_type: RecordType) -> None:
    world, person_id = linked(record_type)
    world.dynamics.put(record_type, "r", new_source=None)
    world.marketo.put(person_id, leadScore=None)
    world.settled()
    assert world.both(person_id, "source") == (None, None)
    assert world.both(person_id, "leadScore") == (None, None)


@BOTH_TYPES
def test_two_edits_never_collide_and_the_owner_wins(record_type: RecordType) -> None:
    world, person_id = linked(record_type)
    world.dynamics.put(record_type, "r", new_source="T", mkt_leadscore="8")
    world.marketo.put(person_id, source="typed", leadScore="2")
    world.settled()
    assert world.both(person_id, "source") == ("T", "T")
    assert world.both(person_id, "leadScore") == ("2", "2")
    assert world.ledger()["collisions"] == []


@story
@BOTH_TYPES
def test_a_foreign_edit_stays_where_it_was_made_until_the_owner_s_record_changes(record_type: RecordType) -> None:
    """Then it is overwritten, as an account's local edits are (R52), once."""
    world, person_id = linked(record_type)
    world.marketo.put(person_id, source="typed")
    world.dynamics.put(record_type, "r", mkt_leadscore="8")
    world.settled()
    assert world.dynamics.rows[record_type, "r"].values["new_source"] == "S", "never carried to the owner"
    assert world.marketo.rows[person_id].values["leadScore"] == "1"
    world.dynamics.put(record_type, "r", jobtitle="B")
    world.settled()
    assert world.both(person_id, "source") == ("S", "S")
    world.marketo.put(person_id, title="C")
    world.settled()
    assert world.both(person_id, "leadScore") == ("1", "1")
    n_written = len(world.ledger()["changes"])
    assert world.settled() == 0
    assert len(world.ledger()["changes"]) == n_written


@BOTH_TYPES
def test_a_foreign_edit_alone_writes_nothing(record_type: RecordType) -> None:
    world, person_id = linked(record_type)
    world.marketo.put(person_id, source="typed")
    assert world.settled() == 0
    assert world.both(person_id, "source") == ("S", "typed")
    assert world.base(person_id, "source") == "S"


@story
@BOTH_TYPES
def test_a_foreign_edit_taken_back_leaves_no_trace(record_type: RecordType) -> None:
    world, person_id = linked(record_type)
    world.marketo.put(person_id, source="typed")
    world.settled()
    world.marketo.put(person_id, source="S")
    world.settled()
    assert world.standing() == []
    assert world.ledger()["changes"] == []


@story
@BOTH_TYPES
def test_a_foreign_edit_to_the_owner_s_next_value_is_no_write(record_type: RecordType) -> None:
    """R38 holds for one-way fields too."""
    world, person_id = linked(record_type)
    world.marketo.put(person_id, source="T")
    world.dynamics.put(record_type, "r", new_source="T")
    assert world.settled() == 0
    assert world.base(person_id, "source") == "T"
