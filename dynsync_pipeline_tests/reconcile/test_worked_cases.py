"""The worked cases (docs/sync-rules.md#worked-cases), each by its number, through whole cycles."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from dynsync_pipeline.model.records import RecordType
from dynsync_pipeline_tests.reconcile.world import World, field_map

CONTACT, LEAD = RecordType.CONTACT, RecordType.LEAD


class Case(NamedTuple):
    """Base, what each side edits it to, what both must hold afterwards, who wins a collision, who is written."""

    number: int
    record_type: RecordType
    base: str | None
    dynamics: str | None
    marketo: str | None
    result: str | None
    winner: str | None
    written: str | None  # the direction of the one write


CASES = [
    Case(1, LEAD, "A", "B", "A", "B", None, "to_marketo"),
    Case(2, LEAD, "A", "A", "C", "C", None, "to_dynamics"),
    Case(3, LEAD, "A", "B", "C", "C", "marketo", "to_dynamics"),
    Case(4, CONTACT, "A", "B", "C", "B", "dynamics", "to_marketo"),
    Case(5, LEAD, "A", "B", "B", "B", None, None),
    Case(5, CONTACT, "A", "B", "B", "B", None, None),
    Case(6, LEAD, "A", None, "C", "C", "marketo", "to_dynamics"),
    Case(7, LEAD, "A", "B", None, None, "marketo", "to_dynamics"),
    Case(8, CONTACT, "A", None, "C", None, "dynamics", "to_marketo"),
    Case(9, CONTACT, "A", "B", None, "B", "dynamics", "to_marketo"),
    Case(10, CONTACT, "A", None, "A", None, None, "to_marketo"),
    Case(11, CONTACT, "A", None, None, None, None, None),
    # The same cells of the table for the other type, where the rule does not depend on it, and the mirror images.
    Case(1, CONTACT, "A", "B", "A", "B", None, "to_marketo"),
    Case(2, CONTACT, "A", "A", "C", "C", None, "to_dynamics"),
    Case(10, LEAD, "A", None, "A", None, None, "to_marketo"),
    Case(11, LEAD, "A", None, None, None, None, None),
    Case(48, LEAD, "A", "A", None, None, None, "to_dynamics"),  # R48: a clear in Marketo clears Dynamics
    Case(48, CONTACT, "A", "A", None, None, None, "to_dynamics"),
    Case(46, LEAD, None, "B", None, "B", None, "to_marketo"),  # R46: a null base is an agreed value
    Case(35, LEAD, None, "B", "C", "C", "marketo", "to_dynamics"),
    Case(35, CONTACT, None, "B", "C", "B", "dynamics", "to_marketo"),
]


@pytest.fixture(scope="module")
def world() -> World:
    """All cases at once, a link each: what happens to one must not depend on its neighbours."""
    world = World(field_map("title,jobtitle,text,both,true"), is_optimised=True)
    for place, case in enumerate(CASES):
        world.link(case.record_type, f"r{place}", title=case.base)
    assert world.settled() == 0, "equal values at a first meeting need no write"
    for place, case in enumerate(CASES):
        if case.dynamics != case.base:
            world.dynamics.put(case.record_type, f"r{place}", jobtitle=case.dynamics)
        if case.marketo != case.base:
            world.marketo.put(1001 + place, title=case.marketo)
    world.settled(n_most=1)
    return world


@pytest.mark.parametrize(
    "place", range(len(CASES)), ids=[f"case_{c.number}_{c.record_type}_{n}" for n, c in enumerate(CASES)]
)
def test_worked_case(world: World, place: int) -> None:
    """Both sides and the base end with the result; the ledger tells the one write, and a collision's loser (R40) (R48, R50)."""
    case, person_id, record_id = CASES[place], 1001 + place, f"r{place}"
    assert world.both(person_id, "title") == (case.result, case.result)
    assert world.base(person_id, "title") == case.result
    written = world.rows("select direction, old_value, new_value from ledger.changes where dynamics_id = ?", record_id)
    loser = case.marketo if case.written == "to_marketo" else case.dynamics
    assert written == ([] if case.written is None else [(case.written, loser, case.result)])
    collisions = world.rows(
        "select base_value, dynamics_value, marketo_value, winner from ledger.collisions where dynamics_id = ?",
        record_id,
    )
    assert collisions == ([] if case.winner is None else [(case.base, case.dynamics, case.marketo, case.winner)])
    assert world.standing() == []


@pytest.mark.parametrize("record_type", [LEAD, CONTACT])
def test_case_12_edits_of_different_fields_on_the_two_sides_are_both_applied(record_type: RecordType) -> None:
    """R34: the collision is per field; one record is written once on each side."""
    world = World(field_map("title,jobtitle,text,both,true", "phone,telephone1,text,both,true"))
    person_id = world.link(record_type, "r", title="A", phone="P")
    world.settled()
    world.dynamics.put(record_type, "r", jobtitle="B")
    world.marketo.put(person_id, phone="Q")
    plan = world.cycle()
    assert plan is not None
    assert (plan.n_updates_to_marketo, plan.n_updates_to_dynamics, plan.n_collisions) == (1, 1, 0)
    assert world.both(person_id, "title") == ("B", "B")
    assert world.both(person_id, "phone") == ("Q", "Q")
    assert world.dynamics.writes == [("r", {"telephone1": "Q"})], "only the field that changed is sent"
    assert world.marketo.writes == [(person_id, {"title": "B"})]
    assert world.settled() == 0
