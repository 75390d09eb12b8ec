"""Where qualifying, merges on either side and the filter meet: one person, nobody twice, nobody written to who is kept out."""

from __future__ import annotations

from dynsync_pipeline_tests.qualifying.qualified import CONTACT, FIELDS, LEAD, assert_is_contact, met, qualify
from dynsync_pipeline_tests.qualifying.test_merging import merge_records, proposals
from dynsync_pipeline_tests.reconcile.test_merged_people import merge
from dynsync_pipeline_tests.sync_filter.filtered import NO, YES
from dynsync_pipeline_tests.worlds.memory import MemoryWorld
from dynsync_pipeline_tests.worlds.memory_marketo import KEYS


def still_open(world: MemoryWorld) -> list[tuple[object, ...]]:
    """Winner's and loser's person, and their records, of the proposals that are open."""
    return [row[:4] for row in proposals(world) if row[5] == "open"]


def test_r25_a_leads_person_that_wins_a_contacts_in_the_cycle_of_qualifying_gets_one_link_and_the_new_contact_a_person() -> (
    None
):
    world, people = met("l")
    other = world.link(CONTACT, "c2", title="Head")
    world.settled()
    qualify(world, "l", "c")
    merge(world, people["l"], other)
    world.settled()
    assert world.rows("select record_type, dynamics_id from state.links where person_id = ?", people["l"]) == [
        ("contact", "c2")
    ]
    (new,) = world.marketo.bearers(KEYS.contact_id, "c")
    assert new != people["l"]
    assert world.errors() == []


def test_r96_edits_of_a_qualified_lead_make_nobody_while_its_contact_or_the_heir_of_that_is_kept_out() -> None:
    world, people = met("l", "merged")
    world.dynamics.put(CONTACT, "w", jobtitle="Head", **NO)
    for lead in people:
        qualify(world, lead, f"c-{lead}")
    world.settled()
    world.dynamics.put(CONTACT, "c-l", **NO)
    merge_records(world, CONTACT, "w", "c-merged")
    world.settled()
    for lead in people:
        world.dynamics.put(LEAD, lead, jobtitle="Edited")
    world.settled()
    for lead in people:
        assert world.marketo.bearers(KEYS.lead_id, lead) == []
    assert len(world.marketo.rows) == len(people)
    assert [row[3] for row in world.errors()] == ["qualified", "qualified"]


def test_r96_the_heir_of_a_qualified_leads_contact_takes_the_person_over_when_it_is_let_in() -> None:
    world, people = met("l")
    world.dynamics.put(CONTACT, "w", jobtitle="Head", **NO)
    world.settled()
    qualify(world, "l", "c")
    merge_records(world, CONTACT, "w", "c")
    world.settled()
    world.dynamics.put(CONTACT, "w", **YES)
    world.settled()
    assert_is_contact(world, people["l"], "l", "w")


def test_r99_whoever_lost_over_several_merges_is_proposed_when_the_winner_is_let_in() -> None:
    world = MemoryWorld(FIELDS)
    for name in ("l", "m", "w"):
        world.link(CONTACT, name, title=name)
    world.settled()
    merge_records(world, CONTACT, "m", "l")
    merge_records(world, CONTACT, "w", "m")
    world.dynamics.put(CONTACT, "w", **NO)
    world.settled()
    assert still_open(world) == []
    world.dynamics.put(CONTACT, "w", **YES)
    world.settled()
    assert sorted(str(row[3]) for row in still_open(world)) == ["l", "m"]


def test_r99_a_lead_merged_into_one_that_is_qualified_is_proposed_when_the_contact_is_let_in() -> None:
    world, people = met("won", "lost")
    merge_records(world, LEAD, "won", "lost")
    world.settled()
    qualify(world, "won", "c", **NO)
    world.settled()
    world.dynamics.put(CONTACT, "c", **YES)
    world.settled()
    assert still_open(world) == [(people["won"], people["lost"], "c", "lost")]


def test_r98_a_proposal_is_withdrawn_while_its_winner_is_kept_out_and_made_anew() -> None:
    world = MemoryWorld(FIELDS)
    winner, loser = (world.link(CONTACT, name, title=name) for name in ("w", "l"))
    world.settled()
    merge_records(world, CONTACT, "w", "l")
    world.settled()
    assert still_open(world) == [(winner, loser, "w", "l")]
    world.dynamics.put(CONTACT, "w", **NO)
    world.settled()
    assert still_open(world) == []
    world.dynamics.put(CONTACT, "w", **YES)
    world.settled()
    assert still_open(world) == [(winner, loser, "w", "l")]
