"""A person who bears the ids of a contact and of a lead after a merge in Marketo is its contact (R18, R25)."""

from __future__ import annotations

import pytest

from dynsync_pipeline.model.records import RecordType
from dynsync_pipeline_tests.properties.effort import story
from dynsync_pipeline_tests.worlds.memory import MemoryWorld, field_map
from dynsync_pipeline_tests.worlds.memory_marketo import KEYS

pytestmark = story

CONTACT, LEAD = RecordType.CONTACT, RecordType.LEAD
FIELDS = field_map(
    "title,jobtitle,text,both,true", "phone,telephone1,text,both,true", "city,address1_city,text,both,true"
)


def met() -> tuple[MemoryWorld, int, int]:
    """A world with a linked contact `c` and lead `l`; their people."""
    world = MemoryWorld(FIELDS)
    contact = world.link(CONTACT, "c", title="C", city="Bern")
    lead = world.link(LEAD, "l", title="L", phone="1")
    world.settled()
    return world, contact, lead


def merge(world: MemoryWorld, winner: int, loser: int) -> None:
    """A merge as Marketo does it: the winner's empty keys are filled from the loser's."""
    world.marketo.merge(winner, loser)
    held, lost = world.marketo.rows[winner].values, world.marketo.rows[loser].values
    keys = {name: lost[name] for name in (KEYS.contact_id, KEYS.lead_id) if lost.get(name) and not held.get(name)}
    world.marketo.put(winner, **keys)


def links(world: MemoryWorld) -> list[tuple[object, ...]]:
    return world.rows("select person_id, record_type, dynamics_id from state.links order by all")


def assert_is_contact(world: MemoryWorld, person: int) -> None:
    assert links(world) == [(person, "contact", "c")]
    values = world.marketo.rows[person].values
    assert (values[KEYS.contact_id], values[KEYS.lead_id]) == ("c", None)
    assert world.rows("select dynamics_id, side from state.tombstones") == [("l", "merged")]


def test_a_contact_merged_into_a_leads_person_makes_the_winner_its_contact() -> None:
    world, contact, lead = met()
    merge(world, lead, contact)
    world.settled()
    assert_is_contact(world, lead)
    values = world.marketo.rows[lead].values
    assert values[KEYS.person_type] == "Contact"
    assert values[KEYS.created_on] == "2020-01-01T00:00:00Z"
    assert [world.both(lead, name) for name in ("title", "phone", "city")] == [("L", "L"), ("1", "1"), ("Bern", "Bern")]
    assert world.errors() == []


def test_a_difference_that_stood_on_the_contact_stands_on_the_winner() -> None:
    world, contact, lead = met()
    world.dynamics.keeps = lambda name, value: value.upper() if name == "address1_city" and value else value
    world.marketo.put(contact, city="Basel")
    world.settled()
    assert world.standing() == [(contact, "city", "BASEL", "Basel")]
    merge(world, lead, contact)
    world.settled()
    assert_is_contact(world, lead)
    assert world.both(lead, "city") == ("BASEL", "Basel")
    assert world.standing() == [(lead, "city", "BASEL", "Basel")]


def test_a_lead_merged_into_a_contacts_person_is_a_tombstone_and_its_key_is_cleared() -> None:
    world, contact, lead = met()
    merge(world, contact, lead)
    world.settled()
    assert_is_contact(world, contact)
    assert [world.both(contact, name) for name in ("title", "phone")] == [("C", "C"), ("1", "1")]


@pytest.mark.parametrize(("is_lead_winner", "is_same_cycle"), [(True, False), (False, True)])
def test_edits_of_a_merged_lead_are_reported_once_and_create_nobody(is_lead_winner: bool, is_same_cycle: bool) -> None:
    world, contact, lead = met()
    winner, loser = (lead, contact) if is_lead_winner else (contact, lead)
    merge(world, winner, loser)
    if not is_same_cycle:
        world.settled()
        assert world.errors() == []
    world.dynamics.put(LEAD, "l", jobtitle="Edited")
    world.settled()
    world.dynamics.put(LEAD, "l", jobtitle="Edited again")
    world.settled()
    assert_is_contact(world, winner)
    assert [(error[0], error[3], error[5]) for error in world.errors()] == [("l", "merged_in_marketo", "waiting")]
    assert [i for i in world.marketo.rows if world.marketo.is_there(i)] == [winner]
    assert world.both(winner, "title") != ("Edited again", "Edited again")
    world.dynamics.put(LEAD, "l", jobtitle="L")
    world.settled()
    assert [error[5] for error in world.errors()] == ["resolved"], "the edit was taken back"


def test_an_edit_of_the_contact_in_the_cycle_of_the_merge_arrives() -> None:
    world, contact, lead = met()
    merge(world, lead, contact)
    world.dynamics.put(CONTACT, "c", address1_city="Basel", jobtitle="C2")
    world.settled()
    assert_is_contact(world, lead)
    assert world.both(lead, "city") == ("Basel", "Basel")
    assert world.both(lead, "title") == ("C2", "C2"), "a contact takes Dynamics' value (R35)"
    assert [row[5:8] for row in world.ledger()["collisions"]] == [("C2", "L", "dynamics")]


def test_an_edit_of_the_winner_in_the_cycle_of_the_merge_goes_to_the_contact() -> None:
    world, contact, lead = met()
    merge(world, lead, contact)
    world.marketo.put(lead, phone="2", city="Basel")
    world.settled()
    assert_is_contact(world, lead)
    assert [world.both(lead, name) for name in ("phone", "city")] == [("2", "2"), ("Basel", "Basel")]
    assert world.dynamics.rows[LEAD, "l"].values["telephone1"] == "1"


@pytest.mark.parametrize("is_lead_winner", [True, False])
def test_a_merge_whose_loser_is_told_first_ends_alike(is_lead_winner: bool) -> None:
    world, contact, lead = met()
    winner, loser = (lead, contact) if is_lead_winner else (contact, lead)
    world.marketo.delete(loser)
    world.cycle()
    key = KEYS.contact_id if is_lead_winner else KEYS.lead_id
    world.marketo.put(winner, **{key: "c" if is_lead_winner else "l"})
    world.settled()
    assert_is_contact(world, winner)


def test_a_merge_that_no_log_tells_shows_in_the_winners_keys_and_is_followed_in_the_same_cycle() -> None:
    """In either direction; an entry of the log may come later than it is read."""
    world, contact, lead = met()
    other_contact, other_lead = world.link(CONTACT, "c2", title="C"), world.link(LEAD, "l2", title="L")
    world.settled()
    merge(world, lead, contact)
    merge(world, other_contact, other_lead)
    world.marketo.log.clear()
    world.marketo.put(lead, title="Winner")
    world.cycle()
    assert links(world) == [(lead, "contact", "c"), (other_contact, "contact", "c2")]
    world.settled()
    assert world.both(lead, "title") == ("Winner", "Winner")
    assert world.dynamics.rows[LEAD, "l"].values["jobtitle"] == "L", "the lead's own is left alone"
    assert world.errors() == []


def test_a_merge_whose_keys_are_told_first_ends_alike() -> None:
    world, contact, lead = met()
    world.marketo.put(lead, **{KEYS.contact_id: "c"})
    world.cycle()
    assert (contact, "contact", "c") in links(world), "its person is alive: nothing was merged"
    world.marketo.delete(contact)
    world.settled()
    assert_is_contact(world, lead)


@pytest.mark.parametrize("is_same_cycle", [True, False])
def test_a_contact_deleted_after_the_merge_leaves_no_person_to_create(is_same_cycle: bool) -> None:
    world, contact, lead = met()
    merge(world, lead, contact)
    if not is_same_cycle:
        world.settled()
    world.dynamics.delete(CONTACT, "c")
    world.settled()
    assert [i for i in world.marketo.rows if world.marketo.is_there(i)] == [lead]
    if not is_same_cycle:
        assert world.marketo.rows[lead].values[KEYS.is_deleted] == "true"
    else:
        assert links(world) == [(lead, "lead", "l")], "with its contact gone, the person stays the lead's"


def test_a_lead_deleted_in_the_cycle_of_the_merge_leaves_the_winner_a_living_contact() -> None:
    world, contact, lead = met()
    merge(world, lead, contact)
    world.dynamics.delete(LEAD, "l")
    world.settled()
    assert_is_contact(world, lead)
    assert world.marketo.rows[lead].values.get(KEYS.is_deleted) != "true"


def test_a_winner_deleted_later_comes_back_as_the_contact_with_the_next_edit_and_never_as_the_lead() -> None:
    world, contact, lead = met()
    merge(world, lead, contact)
    world.settled()
    world.marketo.delete(lead)
    world.dynamics.put(CONTACT, "c", jobtitle="Back")
    world.settled()
    (new,) = world.marketo.bearers(KEYS.contact_id, "c")
    assert world.marketo.rows[new].values["title"] == "Back"
    assert world.marketo.bearers(KEYS.lead_id, "l") == []


@pytest.mark.parametrize("cut_after", [2, 4])
def test_a_cut_after_a_merge_changes_nothing_of_its_end(cut_after: int) -> None:
    world, contact, lead = met()
    merge(world, lead, contact)
    world.dynamics.put(CONTACT, "c", address1_city="Basel")
    world.cycle(cut_after=cut_after)
    world.settled()
    assert_is_contact(world, lead)
    assert world.both(lead, "city") == ("Basel", "Basel")
    assert world.marketo.rows[lead].values[KEYS.person_type] == "Contact"
