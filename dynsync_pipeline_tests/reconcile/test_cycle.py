"""What the conductor itself sees to: which steps make a whole cycle, rounds after an edit in between, a changed schema."""

from __future__ import annotations

from datetime import timedelta

import pytest

from dynsync_pipeline.errors import GuardStopped
from dynsync_pipeline.model.field_map import FieldMap
from dynsync_pipeline.model.records import RecordType
from dynsync_pipeline_tests.properties.effort import story
from dynsync_pipeline_tests.worlds.memory import MemoryWorld, field_map, read_all

pytestmark = story

LEAD = RecordType.LEAD
FIELDS = field_map("title,jobtitle,text,both,true", "phone,telephone1,text,both,true")


def test_a_snapshot_alone_is_no_whole_cycle_and_opens_no_guard() -> None:
    """R5: the first load waits for a word, whatever steps somebody ran before it."""
    world = MemoryWorld(FIELDS, publishes=True)
    world.allow(first_load="refuse")
    world.marketo.put(1001, title="somebody")
    world.dynamics.put(LEAD, "l", jobtitle="A")
    with world.opened() as cycle:
        cycle.publish()
    with pytest.raises(GuardStopped, match="DYNSYNC_FIRST_LOAD"):
        world.cycle()
    told = world.rows("select status, is_whole, message is null from ledger.cycles order by cycle_id")
    assert told == [("succeeded", False, False), ("stopped_by_guard", False, False)]


def test_a_cycle_of_all_steps_is_whole() -> None:
    world = MemoryWorld(FIELDS, publishes=True)
    world.cycle()
    assert world.rows("select status, is_whole, message from ledger.cycles") == [("succeeded", True, None)]


COUNTED = "n_accounts_read, n_contacts_read, n_leads_read, n_people_read"


@pytest.mark.parametrize("cut_after", [None, 4, 8])
def test_a_load_of_everybody_is_counted_by_the_cycle_that_takes_it_in(cut_after: int | None) -> None:
    world = MemoryWorld(FIELDS)
    world.dynamics.put(RecordType.ACCOUNT, "a", name="Contoso")
    world.link(RecordType.CONTACT, "c", title="A")
    world.link(LEAD, "l", title="A")
    world.marketo.put(2001, title="somebody")
    if cut_after is not None:
        assert world.cycle(cut_after=cut_after) is None
    world.cycle()
    assert world.rows(f"select {COUNTED} from ledger.cycles order by cycle_id desc limit 1") == [(1, 1, 1, 3)]


def test_people_who_are_read_again_after_a_long_pause_are_counted() -> None:
    world = MemoryWorld(FIELDS)
    world.link(LEAD, "l", title="A")
    world.settled()
    world.clock += timedelta(days=20)
    world.cycle()
    assert world.rows("select n_people_read from ledger.cycles order by cycle_id desc limit 1") == [(1,)]


def test_a_cycle_that_was_cut_is_not_whole_and_told_as_killed_by_the_next_one() -> None:
    world = MemoryWorld(FIELDS, publishes=True)
    assert world.cycle(cut_after=20) is None
    world.cycle()
    told = world.rows("select status, is_whole from ledger.cycles order by cycle_id")
    assert told == [("failed", False), ("succeeded", True)]


def test_an_edit_between_read_and_write_is_settled_in_the_same_cycle_past_the_guards() -> None:
    """The cycle's first plan passed the guards; what a later round finds is read and settled again, and not refused."""
    world = MemoryWorld(FIELDS)
    people = [world.link(LEAD, f"r{place}", title="A", phone="1") for place in range(51)]
    world.settled()
    world.allow(largest_share=0.01)
    for person_id in people:
        world.marketo.put(person_id, title="M")
    with world.opened() as cycle:
        read_all(cycle)
        cycle.reconcile()
        for place in range(len(people)):
            world.dynamics.put(LEAD, f"r{place}", jobtitle="D")
        assert cycle.write_dynamics().n_updated == len(people)
    assert {world.both(person_id, "title") for person_id in people} == {("M", "M")}
    assert world.rows("select count(*) from ledger.collisions") == [(len(people),)]


def test_a_column_that_went_away_between_two_cycles_is_parked_and_the_other_fields_go_on() -> None:
    """R107: the schema that was learned today is learned again."""
    world = MemoryWorld(FIELDS)
    person_id = world.link(LEAD, "r", title="A", phone="1")
    world.settled()
    world.dynamics.fields = FieldMap(tuple(f for f in FIELDS.fields if f.marketo_field != "phone"))
    world.dynamics.put(LEAD, "r", jobtitle="B")
    world.settled()
    assert world.both(person_id, "title") == ("B", "B")
    assert world.marketo.rows[person_id].values["phone"] == "1", "what nobody can read is no clear"
    assert world.rows("select distinct marketo_field from state.parked_fields") == [("phone",)]
