"""Records merged in Dynamics, and the proposals to merge their people in Marketo (R97 to R99). Many stand side by side."""

from __future__ import annotations

import pytest

from dynsync_pipeline.errors import ServerFailed
from dynsync_pipeline.model.records import RecordType
from dynsync_pipeline.warehouse.operator_actions import Action, named
from dynsync_pipeline.write_back.merging import Merged, merge_people, open_proposals
from dynsync_pipeline_tests.properties.effort import story
from dynsync_pipeline_tests.qualifying.qualified import CONTACT, FIELDS, LEAD, close_lead, qualify
from dynsync_pipeline_tests.worlds.cuts import Cut
from dynsync_pipeline_tests.worlds.memory import MemoryWorld
from dynsync_pipeline_tests.worlds.memory_marketo import KEYS


def merge_records(world: MemoryWorld, record_type: RecordType, winner: str, loser: str) -> None:
    """A salesperson merges a record into another: that one is saved, this one is deactivated (R98)."""
    world.dynamics.put(record_type, winner)
    world.dynamics.put(record_type, loser, merged="true", _masterid_value=winner, statecode="1")


def proposals(world: MemoryWorld) -> list[tuple[object, ...]]:
    return world.rows(
        "select winner_person_id, loser_person_id, winner_dynamics_id, loser_dynamics_id, cause_code, state "
        "from ledger.merge_proposals order by winner_person_id, loser_person_id"
    )


def apply_all(world: MemoryWorld) -> list[Merged]:
    """Somebody carries out all that is proposed."""
    ids = [row[0] for row in world.rows("select proposal_id from ledger.merge_proposals")]
    chosen = open_proposals(world.warehouse, ids)
    action = Action.of("merge --apply", named([each.proposal_id for each in chosen]))
    return [merge_people(world.warehouse, world.marketo, world.settings.own_fields, each, action) for each in chosen]


def commands(world: MemoryWorld) -> list[tuple[object, ...]]:
    return world.rows("select command from ledger.operator_actions")


def flag(world: MemoryWorld, person: int) -> bool:
    return world.marketo.rows[person].values.get(KEYS.is_deleted) == "true"


# What the filters of loser and winner say, and whether the winner syncs; the loser never does any more.
FILTERS = {
    "a": ("true", "true", True),
    "b": ("false", "false", False),
    "c": ("false", "true", True),
    "d": ("true", "false", False),
}


def test_r98_only_the_winners_filter_decides() -> None:
    world = MemoryWorld(FIELDS)
    cases = [(kind, name, *filters) for kind in (CONTACT, LEAD) for name, filters in FILTERS.items()]
    for kind, name, of_loser, of_winner, _ in cases:
        world.dynamics.put(kind, f"{kind} w-{name}", jobtitle="A", new_synctomkto=of_winner)
        world.dynamics.put(kind, f"{kind} l-{name}", jobtitle="A", new_synctomkto=of_loser)
    world.settled()

    def bearers(kind: RecordType, record_id: str) -> list[int]:
        return world.marketo.bearers(KEYS.contact_id if kind is CONTACT else KEYS.lead_id, f"{kind} {record_id}")

    people = {(kind, name): (bearers(kind, f"w-{name}"), bearers(kind, f"l-{name}")) for kind, name, *_ in cases}
    for kind, name, *_ in cases:
        merge_records(world, kind, f"{kind} w-{name}", f"{kind} l-{name}")
        world.dynamics.put(kind, f"{kind} w-{name}", jobtitle="B")
        world.dynamics.put(kind, f"{kind} l-{name}", jobtitle="B")
    world.settled()
    for kind, name, _, _, syncs in cases:
        winners, losers = people[kind, name]
        assert (bearers(kind, f"w-{name}"), bearers(kind, f"l-{name}")) == (winners, losers)
        assert [world.marketo.rows[person].values["title"] for person in winners] == ["B"] * syncs
        assert [world.marketo.rows[person].values["title"] for person in losers] == ["A"] * len(losers)
        assert all(flag(world, loser) for loser in losers)
    assert [row[2:4] for row in proposals(world)] == [(f"{kind} w-a", f"{kind} l-a") for kind in (CONTACT, LEAD)]
    assert world.errors() == []


def test_r99_the_losers_person_is_flagged_takes_no_edits_and_is_merged_on_somebodys_word_alone() -> None:
    world = MemoryWorld(FIELDS)
    winner = world.link(CONTACT, "w", title="Head", leadScore="10")
    loser = world.link(CONTACT, "l", title="Buyer", phone="1", leadScore="5")
    middle = world.link(CONTACT, "m", title="Clerk")
    world.settled()
    merge_records(world, CONTACT, "m", "l")
    merge_records(world, CONTACT, "w", "m")
    world.marketo.put(loser, title="Edited")  # which the loser's record never got
    world.marketo.put(winner, city="Basel")
    world.settled()
    assert (flag(world, loser), flag(world, middle), flag(world, winner)) == (True, True, False)
    assert world.dynamics.rows[CONTACT, "l"].values["jobtitle"] == "Buyer"
    assert world.both(winner, "city") == ("Basel", "Basel")
    assert proposals(world) == [
        (winner, loser, "w", "l", "merged_in_dynamics", "open"), (winner, middle, "w", "m", "merged_in_dynamics", "open"),
    ], "also over two merges"  # fmt: skip
    world.marketo.put(loser, title="Edited again")
    world.dynamics.put(CONTACT, "l", jobtitle="Changed")
    world.settled()
    assert world.dynamics.rows[CONTACT, "l"].values["jobtitle"] == "Changed"
    assert len(proposals(world)) == 2
    assert [each.reason for each in apply_all(world)] == [None, None]
    world.settled()
    assert [row[5] for row in proposals(world)] == ["merged", "merged"]
    assert [i for i in world.marketo.rows if world.marketo.is_there(i)] == [winner]
    assert world.both(winner, "title") == ("Head", "Head"), "the winner's values stay"
    assert world.both(winner, "phone") == ("1", "1"), "what it lacked is filled, and reaches its contact"
    assert world.errors() == []
    assert apply_all(world) == []


def test_r97_a_lead_qualified_onto_a_contact_is_proposed_and_merged() -> None:
    world = MemoryWorld(FIELDS)
    lead = world.link(LEAD, "l", title="Buyer", phone="1")
    contact = world.link(CONTACT, "c", title="Head")
    world.settled()
    close_lead(world, "l", "c")
    world.dynamics.put(LEAD, "never synced", statecode="1", _parentcontactid_value="c", jobtitle="New")
    world.settled()
    world.marketo.put(lead, title="Edited")
    world.settled()
    assert world.both(lead, "title") == ("Edited", "Edited"), "until then the lead's person goes on"
    assert world.marketo.bearers(KEYS.lead_id, "never synced") == [], "it is its contact, who has a person"
    assert proposals(world) == [(contact, lead, "c", "l", "qualified", "open")]
    (merged,) = apply_all(world)
    assert merged.reason is None
    world.settled()
    assert world.both(contact, "phone") == ("1", "1")
    assert world.marketo.bearers(KEYS.lead_id, "l") == []
    world.dynamics.put(LEAD, "l", jobtitle="Edited")
    world.settled()
    assert [i for i in world.marketo.rows if world.marketo.is_there(i)] == [contact]


@story
def test_a_merge_whose_answer_is_lost_is_not_sent_twice_and_one_that_is_out_of_date_is_not_sent() -> None:
    world = MemoryWorld(FIELDS)
    people = {name: world.link(CONTACT, name, title=name) for name in ("w1", "l1", "w2", "l2", "w3", "l3")}
    world.settled()
    for n in "123":
        merge_records(world, CONTACT, f"w{n}", f"l{n}")
    world.settled()
    world.marketo.put(people["w2"], **{KEYS.contact_id: "other"})
    world.marketo.delete(people["l3"])
    world.marketo.fails = ServerFailed("down", system="marketo", request="POST")
    reasons = {each.proposal.winner.dynamics_id: each.reason or "" for each in apply_all(world)}
    world.marketo.fails = None
    told = {"w1": "Nobody knows", "w2": "does not bear", "w3": "no person"}
    assert [winner for winner, words in told.items() if words not in reasons[winner]] == []
    assert [row[5] for row in proposals(world)] == ["sent", "open", "open"]
    n_merges = len(world.marketo.log)
    (again,) = [each for each in apply_all(world) if each.proposal.winner.person_id == people["w1"]]
    assert "no person" in (again.reason or "")
    world.settled()
    assert len(world.marketo.log) == n_merges == 1
    assert commands(world) == [("merge --apply",)], "nothing was sent the second time, so that nothing is told"
    assert [row[5] for row in proposals(world)] == ["merged", "open", "merged"], "the loser of the third is gone"
    world.dynamics.delete(CONTACT, "w2")
    world.settled()
    assert [row[5] for row in proposals(world)] == ["merged", "withdrawn", "merged"]


@story
def test_a_merge_that_is_killed_is_told_if_and_only_if_it_may_have_been_sent() -> None:
    world = MemoryWorld(FIELDS)
    for name in ("w", "l"):
        world.link(CONTACT, name, title=name)
    world.settled()
    merge_records(world, CONTACT, "w", "l")
    world.settled()
    for cut_after, (is_told, state) in enumerate(((False, "open"), (True, "sent"), (True, "sent"))):
        world.steps.left = cut_after
        with pytest.raises(Cut):
            apply_all(world)
        world.steps.left = None
        assert (commands(world) != [], proposals(world)[0][5]) == (is_told, state)
    world.settled()
    assert (len(world.marketo.log), proposals(world)[0][5]) == (1, "merged")


def merge_in_marketo(world: MemoryWorld, winner: int, loser: int) -> None:
    """Somebody merges two people by hand: what the winner lacks is filled, keys included."""
    world.marketo.merge(winner, loser)
    held, lost = world.marketo.rows[winner].values, world.marketo.rows[loser].values
    keys = {name: lost[name] for name in (KEYS.contact_id, KEYS.lead_id) if lost.get(name) and not held.get(name)}
    world.marketo.put(winner, **keys)


@story
def test_people_who_are_merged_the_other_way_round_leave_the_survivor_with_the_record_that_won() -> None:
    """Told at once, told after the deletion, over two merges, and where it was a lead's: nobody is flagged or made anew."""
    world = MemoryWorld(FIELDS)
    names = ("w", "l", "late w", "late l", "far w", "far l")
    people = {name: world.link(CONTACT, name, title="Head", phone=name) for name in names}
    people["lead w"], people["lead l"] = (world.link(LEAD, name, title="Head") for name in ("lead w", "lead l"))
    people["c"], people["lost lead"] = (
        world.link(CONTACT, "c", title="Head"),
        world.link(LEAD, "lost lead", city="Bern"),
    )
    world.link(LEAD, "won lead", title="Head")
    world.settled()
    for name in ("", "late ", "far "):
        merge_records(world, CONTACT, f"{name}w", f"{name}l")
    merge_records(world, LEAD, "lead w", "lead l")
    merge_records(world, LEAD, "won lead", "lost lead")
    world.settled()
    merge_in_marketo(world, people["l"], people["w"])
    merge_in_marketo(world, people["lead l"], people["lead w"])
    merge_in_marketo(world, people["lost lead"], people["c"])
    stranger = world.marketo.next_id
    world.marketo.put(stranger, title="Head")
    merge_in_marketo(world, stranger, people["far w"])
    merge_in_marketo(world, people["far l"], stranger)
    merge_in_marketo(world, people["late l"], people["late w"])
    (told,) = [entry for entry in world.marketo.log if entry.person_id == people["late l"]]
    world.marketo.log.remove(told)  # the deletion is told before the merge
    world.dynamics.put(CONTACT, "w", jobtitle="Chief")
    world.cycle()
    world.marketo.log.append(told)
    world.settled()
    expected = {"w": "l", "late w": "late l", "far w": "far l", "lead w": "lead l", "c": "lost lead"}
    links = dict(world.rows("select dynamics_id, person_id from state.links"))
    assert {record: links.get(record) for record in expected} == {r: people[name] for r, name in expected.items()}
    for record, name in expected.items():
        values = world.marketo.rows[people[name]].values
        keys = (values.get(KEYS.contact_id), values.get(KEYS.lead_id))
        assert keys == ((None, record) if record == "lead w" else (record, None)), name
        assert not flag(world, people[name]), name
    world.dynamics.put(CONTACT, "w", address1_city="Basel")
    n_people = len(world.marketo.rows)
    world.settled()
    assert world.both(people["l"], "city") == ("Basel", "Basel")
    assert world.both(people["l"], "title") == ("Chief", "Chief")
    assert world.both(people["lost lead"], "city") == ("Bern", "Bern"), "what the merge filled is Marketo's edit (R25)"
    assert len(world.marketo.rows) == n_people
    assert "open" not in {row[5] for row in proposals(world) if row[0] in (people["w"], people["lead w"])}
    assert world.errors() == []


@story
def test_merges_and_qualifying_in_one_cycle_leave_one_person_a_human_or_a_proposal() -> None:
    world = MemoryWorld(FIELDS)
    leads = {name: world.link(LEAD, name, title="Buyer") for name in ("taken", "onto", "won", "lost")}
    head = {name: world.link(CONTACT, name, title="Head") for name in ("w1", "w2")}
    world.settled()
    # The contact that was made is merged away before anybody saw it, or after it took over its lead's person.
    qualify(world, "onto", "c-onto")
    merge_records(world, CONTACT, "w1", "c-onto")
    qualify(world, "taken", "c-taken")
    # A lead that won a merge is qualified.
    merge_records(world, LEAD, "won", "lost")
    world.settled()
    assert world.marketo.bearers(KEYS.contact_id, "c-onto") == []
    merge_records(world, CONTACT, "w2", "c-taken")
    qualify(world, "won", "c-won")
    world.marketo.put(leads["won"], phone="2")
    world.settled()
    for lead in leads:
        world.dynamics.put(LEAD, lead, address1_city="Basel")
    world.settled()
    assert world.marketo.bearers(KEYS.contact_id, "c-won") == [leads["won"]]
    assert world.both(leads["won"], "phone") == ("2", "2")
    assert sorted(i for i in world.marketo.rows if world.marketo.is_there(i)) == sorted(
        [*leads.values(), *head.values()]
    )
    assert [flag(world, leads[name]) for name in ("taken", "onto", "lost")] == [True, False, True]
    assert sorted(row[:5] for row in proposals(world) if row[5] == "open") == sorted([
        (head["w1"], leads["onto"], "w1", "onto", "qualified"),
        (head["w2"], leads["taken"], "w2", "c-taken", "merged_in_dynamics"),
        (leads["won"], leads["lost"], "c-won", "lost", "merged_in_dynamics"),
    ])  # fmt: skip
    assert {row[5] for row in proposals(world)} == {"open", "withdrawn"}
