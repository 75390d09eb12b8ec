"""Where qualifying, merges on either side and the filter meet: one person, nobody twice, nobody written to who is kept out."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from dynsync_pipeline.clients.marketo.protocol import PersonResult
from dynsync_pipeline_tests.properties.effort import story
from dynsync_pipeline_tests.qualifying.qualified import (
    CONTACT,
    FIELDS,
    LEAD,
    assert_is_contact,
    close_lead,
    met,
    qualify,
)
from dynsync_pipeline_tests.qualifying.test_merging import merge_records, proposals
from dynsync_pipeline_tests.reconcile.test_merged_people import merge
from dynsync_pipeline_tests.sync_filter.filtered import NO, YES
from dynsync_pipeline_tests.worlds.memory import MemoryWorld
from dynsync_pipeline_tests.worlds.memory_marketo import KEYS

pytestmark = story


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


def test_r42_what_marketing_edited_before_the_contact_was_let_in_collides_and_is_kept() -> None:
    world, people = met("l", "onto")
    world.dynamics.put(CONTACT, "old", jobtitle="Head", **NO)
    qualify(world, "l", "c", **NO)
    world.settled()
    for person in people.values():
        world.marketo.put(person, title="Chief")  # which goes to the lead
    world.settled()
    close_lead(world, "onto", "old")
    for contact in ("c", "old"):
        world.dynamics.put(CONTACT, contact, **YES)
    world.settled()
    assert [(row[6], row[7]) for row in world.ledger()["collisions"]] == [("Chief", "dynamics")] * 2


def overwritten_unseen(world: MemoryWorld, person: int) -> None:
    """Sales and marketing edit the title of lead l at once, marketing in the very moment of our write."""
    world.dynamics.put(LEAD, "l", jobtitle="B")
    send = world.marketo.sync_people

    def edited_first(action: str, lookup_field: str, records: Sequence[str]) -> list[PersonResult]:
        if any("title" in record for record in records):
            world.marketo.sync_people = send  # type: ignore[method-assign]
            world.marketo.put(person, title="C")
        return send(action, lookup_field, records)

    world.marketo.sync_people = edited_first  # type: ignore[method-assign]
    world.cycle()


@pytest.mark.parametrize("is_merged", [True, False])
def test_r40_an_edit_overwritten_unseen_is_kept_as_the_loser_where_the_record_is_gone_since(is_merged: bool) -> None:
    world, people = met("l", "k")
    overwritten_unseen(world, people["l"])
    if is_merged:
        merge_records(world, LEAD, "k", "l")
    else:
        world.dynamics.delete(LEAD, "l")
    world.settled()
    assert [(row[6], row[8]) for row in world.ledger()["collisions"]] == [("C", "deleted_in_dynamics")]


def test_r92_an_edit_overwritten_unseen_rests_while_the_person_is_stale_and_is_put_back_after() -> None:
    world, people = met("l")
    overwritten_unseen(world, people["l"])
    world.dynamics.put(LEAD, "l", **NO)
    world.settled()
    assert world.both(people["l"], "title") == ("B", "B")
    world.dynamics.put(LEAD, "l", **YES)
    world.settled()
    assert world.both(people["l"], "title") == ("C", "C")


def test_r96_a_working_file_from_before_the_qualifying_takes_the_person_who_bears_the_contacts_key() -> None:
    world, people = met("l")
    qualify(world, "l", "c")
    # What a later cycle had written already, before the older working file was put back.
    world.marketo.put(people["l"], **{KEYS.contact_id: "c", KEYS.lead_id: None, KEYS.person_type: "Contact"})
    world.settled()
    assert_is_contact(world, people["l"], "l", "c")


def test_r96_what_sales_edited_on_the_lead_and_the_contact_does_not_hold_is_told() -> None:
    world, people = met("not copied", "edited after", "copied")
    world.dynamics.put(LEAD, "not copied", telephone1="2")  # no cycle has seen it
    qualify(world, "not copied", "c-not copied", telephone1=None)  # a column that Qualify does not copy
    qualify(world, "edited after", "c-edited after")
    world.dynamics.put(LEAD, "edited after", telephone1="3")
    world.dynamics.put(LEAD, "copied", telephone1="4")
    qualify(world, "copied", "c-copied")
    world.settled()
    assert world.both(people["copied"], "phone") == ("4", "4")
    assert sorted((error[0], error[3]) for error in world.errors()) == [
        ("edited after", "qualified"), ("not copied", "qualified"),
    ]  # fmt: skip


def test_r96_a_column_to_marketo_only_that_qualify_does_not_copy_leaves_the_person_as_it_is() -> None:
    world, people = met("l", source="Web")
    qualify(world, "l", "c")
    world.settled()
    assert world.both(people["l"], "source") == (None, "Web")


def test_r99_a_loser_is_proposed_when_a_later_winner_gets_its_person() -> None:
    world = MemoryWorld(FIELDS)
    loser = world.link(CONTACT, "l", title="A")
    world.dynamics.put(CONTACT, "m", jobtitle="M", **NO)
    world.settled()
    merge_records(world, CONTACT, "m", "l")
    world.settled()
    world.dynamics.put(CONTACT, "w", jobtitle="W")
    merge_records(world, CONTACT, "w", "m")
    world.settled()
    world.cycle()
    assert [row[1] for row in proposals(world)] == [loser]
