"""R49: in a bulk export the word *null* looks like nothing, so nothing is cleared or filled by it unread."""

from __future__ import annotations

import pytest

from dynsync_pipeline.model.records import RecordType
from dynsync_pipeline_tests.properties.effort import story
from dynsync_pipeline_tests.worlds.memory import SAME_FOR_BOTH_TYPES, MemoryWorld, field_map

TYPES = (RecordType.CONTACT, RecordType.LEAD)


def test_a_person_called_null_stays_so_when_everybody_is_exported_again() -> None:
    world = MemoryWorld()
    people = [world.link(record_type, "r1", title="null", phone="Null") for record_type in TYPES]
    world.settled()
    # Forgotten: the next cycle loads everybody anew.
    world.rows("update state.cursors set is_loaded = false, cursor = null where stream = 'marketo_people'")
    assert world.settled() == 0
    assert [world.both(person_id, "title") for person_id in people] == [("null", "null")] * 2
    assert world.rows("select title, phone from mirror.marketo_people") == [("null", "Null")] * 2


@story
def test_on_a_first_load_a_person_called_null_meets_dynamics_as_such() -> None:
    """R42: two values collide; a blank would have been filled."""
    world = MemoryWorld()
    wanted = {}
    for record_type, in_dynamics, winner in (
        (RecordType.CONTACT, "Chief", "Chief"),
        (RecordType.LEAD, "Chief", "null"),
        (RecordType.CONTACT, "null", "null"),
        (RecordType.LEAD, "null", "null"),
    ):
        person_id = world.link(record_type, in_dynamics.lower(), title="null")
        world.dynamics.put(record_type, in_dynamics.lower(), jobtitle=in_dynamics)
        wanted[person_id] = (winner, winner)
    world.marketo.feed.clear()  # it was long ago
    world.settled()
    assert {person_id: world.both(person_id, "title") for person_id in wanted} == wanted
    assert world.rows("select dynamics_id from ledger.collisions order by all") == [("chief",)] * 2


@story
def test_a_field_that_joins_the_map_is_not_filled_over_a_person_called_null() -> None:
    world = MemoryWorld(field_map(*SAME_FOR_BOTH_TYPES[:1]))
    people = {record_type: world.link(record_type, "r1", title="T") for record_type in TYPES}
    world.settled()
    for record_type, person_id in people.items():
        world.dynamics.put(record_type, "r1", telephone1="1")
        world.marketo.put(person_id, phone="null")
    world.marketo.feed.clear()  # it was long ago
    world.follow(field_map(*SAME_FOR_BOTH_TYPES[:2]))
    world.settled()
    for record_type, winner in ((RecordType.LEAD, "null"), (RecordType.CONTACT, "1")):
        assert world.both(people[record_type], "phone") == (winner, winner)


def test_only_people_with_a_cell_that_matters_are_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    world = MemoryWorld()
    called_null = world.link(RecordType.CONTACT, "r1", title="null")
    filled = world.link(RecordType.CONTACT, "r2", title="T", phone="1")
    for number in range(3, 9):
        world.link(RecordType.CONTACT, f"r{number}", title="T")
    world.marketo.put(filled, phone=None)  # and Dynamics' value will be written there
    world.marketo.feed.clear()
    read: list[str] = []
    people = world.marketo.people

    def counted(filter_type: str, values: list[str], fields: list[str]) -> object:
        read.extend(values)
        return people(filter_type, values, fields)

    monkeypatch.setattr(world.marketo, "people", counted)
    with world.opened() as cycle:
        cycle.extract()
        cycle.extract_companies()
    assert read == [str(called_null), str(filled)]
    assert world.rows("select count(*) from state.empty_cells") == [(0,)]


@story
def test_what_was_not_decided_in_a_cycle_that_failed_is_decided_in_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    world = MemoryWorld()
    person_id = world.link(RecordType.LEAD, "r1", title="null")
    world.dynamics.put(RecordType.LEAD, "r1", jobtitle="Chief")
    world.marketo.feed.clear()
    with monkeypatch.context() as broken:

        def failing(*arguments: object) -> object:
            raise RuntimeError("no answer")

        broken.setattr(world.marketo, "people", failing)
        with pytest.raises(RuntimeError, match="no answer"):
            world.cycle()
    world.settled()
    assert world.both(person_id, "title") == ("null", "null")


@story
def test_a_real_clear_is_still_a_clear() -> None:
    world = MemoryWorld()
    person_id = world.link(RecordType.CONTACT, "r1", title="T")
    world.settled()
    world.marketo.put(person_id, title=None)
    world.rows("update state.cursors set is_loaded = false, cursor = null where stream = 'marketo_people'")
    world.settled()
    assert world.both(person_id, "title") == (None, None)
