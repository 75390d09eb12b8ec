"""Which people are proposed to be merged, and which proposals end, line by line (`merge_proposals.sql`), by the rows that it is
about.

Each case is two people, or three, of its own. Not here: merging in whole cycles (`../qualifying/test_merging.py`).
"""

from __future__ import annotations

from typing import Any, NamedTuple

from dynsync_pipeline_tests.worlds.rule_rows import (
    AT,
    BEFORE,
    CYCLE,
    Put,
    after,
    kept_out,
    link,
    person,
    rows_of,
    told,
    touched,
)


class Proposed(NamedTuple):
    """Loser, winner, cause and state; whether it ended in this cycle."""

    loser: int
    winner: int
    winner_type: str
    winner_id: str
    cause: str
    state: str
    is_ended: bool


class Pair(NamedTuple):
    """What is known of people, and the proposals then."""

    proposals: tuple[Proposed, ...]
    rows: tuple[Put, ...]


LEAD, CONTACT = (1, "lead", "w"), (1, "contact", "w")
MERGED, QUALIFIED = "merged_in_dynamics", "qualified"


def one(
    winner: tuple[int, str, str] = LEAD,
    loser: int = 2,
    cause: str = MERGED,
    state: str = "open",
    *,
    is_ended: bool = False,
) -> Proposed:
    return Proposed(loser, *winner, cause, state, is_ended)


def proposed(*rows: Put, winner: tuple[int, str, str] = LEAD, cause: str = MERGED) -> Pair:
    return Pair((one(winner, cause=cause),), rows)


def nobody(*rows: Put) -> Pair:
    return Pair((), rows)


def merged(loser: str = "l", master: str | None = "w", record_type: str = "lead") -> Put:
    lost = {f"{record_type}id": loser, "is_deleted": False, "merged": "true", "_masterid_value": master}
    return f"mirror.dynamics_{record_type}s", lost


def near(dynamics_id: str = "l", record_type: str = "lead", table: str = "near_ancestors") -> Put:
    return table, {"record_type": record_type, "dynamics_id": dynamics_id}


def heir(person_id: int = 1, record_type: str = "lead", dynamics_id: str = "w") -> Put:
    """The link of who remains."""
    return link(person_id, record_type, dynamics_id)


def stone(person_id: int = 2, dynamics_id: str = "l", record_type: str = "lead", side: str = "dynamics") -> Put:
    key = {"person_id": person_id, "record_type": record_type, "dynamics_id": dynamics_id}
    return "state.tombstones", key | {"side": side, "ended_at": BEFORE}


def became(lead_id: str = "l", contact_id: str = "w") -> Put:
    return "conversions", {"lead_id": lead_id, "contact_id": contact_id}


BOTH = person(1), person(2)
ONE_IN_DYNAMICS = merged(), heir(), stone(), *BOTH
ONE_BY_QUALIFYING = heir(1, "contact"), heir(2, "lead", "l"), *BOTH
FOUND = (
    proposed(near(), *ONE_IN_DYNAMICS),
    nobody(*ONE_IN_DYNAMICS),
    nobody(near(record_type="contact"), *ONE_IN_DYNAMICS),
    proposed(near(record_type="contact"), merged(record_type="contact"), heir(1, "contact"),
             stone(record_type="contact"), *BOTH, winner=CONTACT),
    nobody(near(), merged(), heir(1, "contact"), stone(), *BOTH),
    nobody(near(), merged(), heir(), stone(record_type="contact"), *BOTH),
    nobody(near(), merged(), heir(), stone(dynamics_id="other"), *BOTH),
    nobody(near(), merged(), heir(1, "lead", "other"), stone(), *BOTH),
    nobody(near(), merged(master=None), heir(), stone(), *BOTH),
    nobody(near(), merged(), heir(), stone(side="marketo"), *BOTH),
    nobody(near(), *ONE_IN_DYNAMICS, heir(2, "lead", "other")),
    # Over several merges; of a record of one type alone.
    proposed(near(), merged(master="v"), merged("v"), heir(), stone(), *BOTH),
    nobody(near("v"), merged(master="v"), merged("v"), heir(), stone(), *BOTH),
    nobody(near(), merged(master="v"), merged("v", record_type="contact"), heir(), stone(), *BOTH),
    proposed(near(), merged(master="v"), merged("v"), heir(), heir(3, "lead", "v"), stone(), *BOTH, person(3)),
    proposed(near(), merged(master="v"), merged("v"), heir(3), heir(1, "lead", "v"), stone(), *BOTH, person(3),
             winner=(1, "lead", "v")),
    # Merged into a lead that was qualified since.
    proposed(near(), merged(master="v"), became("v"), heir(1, "contact"), stone(), *BOTH, winner=CONTACT),
    nobody(near(), merged(master="v"), became("other"), heir(1, "contact"), stone(), *BOTH),
    nobody(near(), merged(master="v"), became("v"), heir(), stone(), *BOTH),
    nobody(near(), merged(master="v"), became("v", "other"), heir(1, "contact"), stone(), *BOTH),
    nobody(near(), merged(master="v"), became("v"), heir(1, "contact"), stone(side="marketo"), *BOTH),
    nobody(near(), merged(master="v"), became("v"), heir(1, "contact"), stone(record_type="contact"), *BOTH),
    nobody(near(), merged(master="v"), became("v"), heir(1, "contact"), stone(dynamics_id="other"), *BOTH),
    nobody(near(), merged(master="v"), became("v"), heir(1, "contact"), stone(), *BOTH, heir(2, "lead", "other")),
    nobody(near(record_type="contact"), merged(master="v", record_type="contact"), became("v"), heir(1, "contact"),
           stone(record_type="contact"), *BOTH),
    # Qualified onto a contact with a person.
    proposed(became(), *ONE_BY_QUALIFYING, winner=CONTACT, cause=QUALIFIED),
    nobody(*ONE_BY_QUALIFYING),
    nobody(became("other"), *ONE_BY_QUALIFYING),
    nobody(became(contact_id="other"), *ONE_BY_QUALIFYING),
    nobody(became(), heir(), heir(2, "lead", "l"), *BOTH),
    nobody(became(), heir(1, "contact"), heir(2, "contact", "l"), *BOTH),
    nobody(became(), heir(1, "contact"), heir(1, "lead", "l"), *BOTH),
    # Both live, and nobody is kept out who would win (R98).
    nobody(near(), merged(), heir(), stone(), person(1), person(2, is_deleted=True)),
    nobody(near(), merged(), heir(), stone(), person(1, is_deleted=True), person(2)),
    nobody(near(), merged(), heir(), stone(), person(1)),
    nobody(near(), merged(), heir(), stone(), person(2)),
    nobody(near(), *ONE_IN_DYNAMICS, kept_out("lead", "w")),
    proposed(near(), *ONE_IN_DYNAMICS, kept_out("contact", "w")),
    proposed(near(), *ONE_IN_DYNAMICS, kept_out("lead", "l")),
)  # fmt: skip


def proposal(cause: str = MERGED, state: str = "open", **more: Any) -> Put:
    record_type = "lead" if cause == MERGED else "contact"
    winner = {"winner_person_id": 1, "winner_record_type": record_type, "winner_dynamics_id": "w"}
    loser = {"loser_person_id": 2, "loser_record_type": "lead", "loser_dynamics_id": "l"}
    told = {"proposal_id": 1, "cycle_id": 1, "seen_at": BEFORE, "cause_code": cause, "state": state}
    return "ledger.merge_proposals", told | winner | loser | more


def concerned(state: str, *rows: Put, cause: str = MERGED, was: str = "open", by: Put | None = None) -> Pair:
    """A proposal at which this cycle looks, and what becomes of it."""
    winner = LEAD if cause == MERGED else CONTACT
    expected = one(winner, cause=cause, state=state, is_ended=state != was)
    return Pair((expected,), (proposal(cause, was), by or touched(person_id=1), *rows))


SINCE = heir(), stone(), *BOTH  # what holds a proposal of people who are one in Dynamics
LOST = heir(), stone(), person(1), person(2, is_deleted=True)
STILL = heir(1, "contact"), heir(2, "lead", "l"), *BOTH
ENDED = (
    concerned("open", *SINCE),
    concerned("sent", *SINCE, was="sent"),
    concerned("withdrawn", *SINCE, was="withdrawn"),
    # Somebody merged them, either way round.
    concerned("merged", *LOST),
    concerned("merged", *LOST, was="sent"),
    concerned("merged", heir(2), person(1, is_deleted=True), person(2), stone()),
    concerned("withdrawn", *LOST, was="withdrawn"),
    # Who is looked at.
    concerned("merged", *LOST, by=touched(person_id=2)),
    concerned("open", *LOST, by=touched(person_id=3)),
    concerned("merged", *LOST, by=near("w", table="near_records")),
    concerned("merged", *LOST, by=near("l", table="near_records")),
    concerned("open", *LOST, by=near("w", "contact", "near_records")),
    concerned("open", *LOST, by=near("l", "contact", "near_records")),
    concerned("open", *LOST, by=near("l")),
    # The winner is another record's, or kept out by now.
    concerned("withdrawn", stone(), *BOTH),
    concerned("withdrawn", heir(3), stone(), *BOTH),
    concerned("withdrawn", heir(1, "contact"), stone(), *BOTH),
    concerned("withdrawn", heir(1, "lead", "other"), stone(), *BOTH),
    concerned("withdrawn", *SINCE, kept_out("lead", "w")),
    concerned("open", *SINCE, kept_out("contact", "w")),
    concerned("open", *SINCE, kept_out("lead", "l")),
    concerned("withdrawn", stone(), person(1)),
    # The loser is no loser any more.
    concerned("withdrawn", heir(), *BOTH),
    concerned("withdrawn", heir(), stone(3), *BOTH),
    concerned("withdrawn", heir(), stone(record_type="contact"), *BOTH),
    concerned("withdrawn", heir(), stone(dynamics_id="other"), *BOTH),
    concerned("withdrawn", *SINCE, heir(2, "lead", "other")),
    concerned("open", heir(), stone(), person(1)),
    # Qualified, while that is told wherever the lead is looked at.
    concerned("open", *STILL, cause=QUALIFIED),
    concerned("withdrawn", *STILL, near("l", table="near_records"), cause=QUALIFIED),
    concerned("open", *STILL, near("l", "contact", "near_records"), cause=QUALIFIED),
    concerned("open", *STILL, near("l", table="near_records"), became(), cause=QUALIFIED),
    concerned("withdrawn", *STILL, near("l", table="near_records"), became(contact_id="other"), cause=QUALIFIED),
    concerned("withdrawn", *STILL, near("l", table="near_records"), became("other"), cause=QUALIFIED),
    concerned("withdrawn", heir(1, "contact"), *BOTH, cause=QUALIFIED),
    concerned("withdrawn", heir(1, "contact"), heir(2, "lead", "other"), *BOTH, cause=QUALIFIED),
    concerned("withdrawn", heir(1, "contact"), heir(2, "contact", "l"), *BOTH, cause=QUALIFIED),
    concerned("withdrawn", heir(1, "contact"), heir(3, "lead", "l"), *BOTH, cause=QUALIFIED),
    # Once proposed, it is not again while that is open.
    Pair((one(),), (proposal(), near(), *ONE_IN_DYNAMICS)),
    Pair((one(state="sent"),), (proposal(state="sent"), near(), *ONE_IN_DYNAMICS)),
    Pair((one(), one(state="withdrawn")), (proposal(state="withdrawn"), near(), *ONE_IN_DYNAMICS)),
    Pair((one(), one(loser=3)), (proposal(loser_person_id=3), near(), *ONE_IN_DYNAMICS)),
    Pair((one(), one((3, "lead", "w"))), (proposal(winner_person_id=3), near(), *ONE_IN_DYNAMICS)),
)  # fmt: skip


def test_people_whose_records_are_one_are_proposed_once_and_until_that_has_no_reason_any_more() -> None:
    cases = (*FOUND, *ENDED)
    with after("reconcile/merge_proposals", *rows_of(cases)) as connection:
        found = connection.execute(
            "select loser_person_id, winner_person_id, winner_record_type, winner_dynamics_id, cause_code, state, "
            f"ended_at is not distinct from timestamp '{AT}' from ledger.merge_proposals order by all"
        ).fetchall()
        new = connection.execute(
            "select count(*), count(distinct proposal_id) from ledger.merge_proposals "
            f"where (cycle_id, seen_at) = ({CYCLE}, timestamp '{AT}')"
        ).fetchall()
    for number, case in enumerate(cases):
        assert told(number, found) == list(case.proposals), case
    n_new = sum(len(case.proposals) for case in FOUND) + 3
    assert new == [(n_new, n_new)]
