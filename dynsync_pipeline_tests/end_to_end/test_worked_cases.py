"""The worked cases of the collision rules (`worlds/cases.py`), played by people over HTTP and settled by one cycle."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from dynsync_pipeline_tests.worlds.cases import CASES, COLUMNS, Case
from dynsync_pipeline_tests.worlds.http import HttpWorld

# All cases are played at once: one cycle has to settle them side by side, and the tests only look.


@dataclass(frozen=True)
class Played:
    """A case with the record and the person it was played on."""

    case: Case
    record_id: str
    person_id: int


@pytest.fixture(scope="module")
def played(shared_world: HttpWorld) -> dict[Case, Played]:
    """All cases after the cycle that settled them, in which nothing was left for a second one."""
    world = shared_world
    record_ids = {
        case: world.create_record(
            case.record_type, lastname=case.name, **{COLUMNS[name]: value for name, value in case.base.items()}
        )
        for case in CASES
    }
    world.sync()
    played = {
        case: Played(case, record_id, world.person_of(case.record_type, record_id))
        for case, record_id in record_ids.items()
    }
    for one in played.values():
        case = one.case
        for edits in (case.detour, case.in_dynamics):
            if edits:
                values = {COLUMNS[name]: value for name, value in edits.items()}
                world.edit_record(case.record_type, one.record_id, **values)
        if case.in_marketo:
            world.edit_person(one.person_id, **case.in_marketo)
    world.sync()
    return played


@pytest.mark.parametrize("case", CASES, ids=str)
def test_both_sides_end_with_the_value_that_the_rule_names(
    case: Case, played: dict[Case, Played], shared_world: HttpWorld
) -> None:
    """R10, R35, R36."""
    one = played[case]
    record = shared_world.record(case.record_type, one.record_id)
    person = shared_world.person(one.person_id, *case.result)
    assert {name: record[COLUMNS[name]] for name in case.result} == case.result
    assert {name: person[name] for name in case.result} == case.result


@pytest.mark.parametrize("case", CASES, ids=str)
def test_every_write_stands_once_in_changes_with_its_direction_and_both_values(
    case: Case, played: dict[Case, Played], shared_world: HttpWorld
) -> None:
    one = played[case]
    rows = shared_world.query(
        "select direction, field, new_value from changes where record_id_dynamics = ? and rule not like 'R15%'",
        one.record_id,
    )
    assert sorted(direction for direction, _, _ in rows) == sorted(case.to)
    for _, name, new_value in rows:
        assert new_value == case.result[name]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_collision_keeps_both_values_and_says_who_won(
    case: Case, played: dict[Case, Played], shared_world: HttpWorld
) -> None:
    """R40."""
    rows = shared_world.query(
        "select person_id_marketo, field, base_value, dynamics_value, marketo_value, winner from collisions "
        "where record_id_dynamics = ?",
        played[case].record_id,
    )
    expected = [] if case.collision is None else [(played[case].person_id, "title", *case.collision)]
    assert rows == expected


def test_the_next_cycle_writes_nothing(played: dict[Case, Played], shared_world: HttpWorld) -> None:
    assert len(played) == len(CASES)
    with shared_world.writes_nothing():
        shared_world.sync()
