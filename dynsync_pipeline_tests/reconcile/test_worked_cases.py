"""The worked cases of the collision rules (`worlds/cases.py`) in memory: values, base, ledger and what is sent."""

from __future__ import annotations

import pytest

from dynsync_pipeline_tests.worlds.cases import CASES, COLUMNS, Case
from dynsync_pipeline_tests.worlds.memory import MemoryWorld, field_map


@pytest.fixture(scope="module")
def world() -> MemoryWorld:
    """All cases at once, a link each: what happens to one must not depend on its neighbours."""
    world = MemoryWorld(field_map(*(f"{name},{column},text,both,true" for name, column in COLUMNS.items())))
    for place, case in enumerate(CASES):
        world.link(case.record_type, f"r{place}", **case.base)
    assert world.settled() == 0, "equal values at a first meeting need no write"
    for place, case in enumerate(CASES):
        for edits in (case.detour, case.in_dynamics):
            if edits:
                world.dynamics.put(case.record_type, f"r{place}", **{COLUMNS[name]: v for name, v in edits.items()})
        if case.in_marketo:
            world.marketo.put(1001 + place, **case.in_marketo)
    world.settled(n_most=1)
    return world


@pytest.mark.parametrize("case", CASES, ids=str)
def test_worked_case(world: MemoryWorld, case: Case) -> None:
    """Both sides and the base end with the result; the ledger tells every write, and a collision's loser (R40).

    A cleared value is one like any other (R48, R50).
    """
    place = CASES.index(case)
    person_id, record_id = 1001 + place, f"r{place}"
    for name, value in case.result.items():
        assert world.both(person_id, name) == (value, value)
        assert world.base(person_id, name) == value
    written = world.rows(
        "select direction, field, old_value, new_value from ledger.changes where dynamics_id = ?", record_id
    )
    assert sorted(direction for direction, *_ in written) == sorted(case.to)
    for direction, name, old, new in written:
        loser = case.in_marketo if direction == "to_marketo" else case.in_dynamics
        assert (old, new) == (loser.get(name, case.base.get(name)), case.result[name])
    collisions = world.rows(
        "select base_value, dynamics_value, marketo_value, winner from ledger.collisions where dynamics_id = ?",
        record_id,
    )
    assert collisions == ([] if case.collision is None else [case.collision])


def test_nothing_stands_and_only_the_fields_that_changed_are_sent(world: MemoryWorld) -> None:
    """R34: the collision is per field; one record is written once on each side."""
    assert world.standing() == []
    for place, case in enumerate(CASES):
        if case.name.startswith("12"):
            assert [sent for record, sent in world.dynamics.writes if record == f"r{place}"] == [{"address1_city": "Q"}]
            assert [sent for person, sent in world.marketo.writes if person == 1001 + place] == [{"title": "B"}]
    assert world.settled() == 0
