"""The worked cases of the collision rules (sync semantics, section 4), played by people over HTTP and settled by one cycle.

Cases 13 and 14 (account fields) have a file of their own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest

from dynsync_pipeline_tests.end_to_end.world import World

# All cases are played at once: one cycle has to settle them side by side, and the tests only look.

COLUMNS = {"title": "jobtitle", "city": "address1_city", "phone": "telephone1"}
Values = Mapping[str, str | None]


@dataclass(frozen=True, eq=False)
class Case:
    """Edits by Marketo field name; `result` is what both sides hold afterwards, `collision` who won it."""

    name: str
    record_type: str
    in_dynamics: Values
    in_marketo: Values
    result: Values
    to: tuple[str, ...] = ()
    collision: str | None = None
    base: Values = field(default_factory=lambda: {"title": "A", "city": "P"})


B, C, NONE = {"title": "B"}, {"title": "C"}, {"title": None}
CASES = (
    Case("1 one-sided in Dynamics", "lead", B, {}, B, ("to_marketo",)),
    Case("1 one-sided in Dynamics", "contact", B, {}, B, ("to_marketo",)),
    Case("2 one-sided in Marketo", "lead", {}, C, C, ("to_dynamics",)),
    Case("2 one-sided in Marketo", "contact", {}, C, C, ("to_dynamics",)),
    Case("3 collision on a lead", "lead", B, C, C, ("to_dynamics",), "marketo"),
    Case("4 collision on a contact", "contact", B, C, B, ("to_marketo",), "dynamics"),
    Case("5 same edit on both", "lead", B, B, B),
    Case("5 same edit on both", "contact", B, B, B),
    Case("6 cleared in Dynamics, edited in Marketo", "lead", NONE, C, C, ("to_dynamics",), "marketo"),
    Case("7 edited in Dynamics, cleared in Marketo", "lead", B, NONE, NONE, ("to_dynamics",), "marketo"),
    Case("8 cleared in Dynamics, edited in Marketo", "contact", NONE, C, NONE, ("to_marketo",), "dynamics"),
    Case("9 edited in Dynamics, cleared in Marketo", "contact", B, NONE, B, ("to_marketo",), "dynamics"),
    Case("10 cleared in Dynamics", "contact", NONE, {}, NONE, ("to_marketo",)),
    Case("10 cleared in Marketo", "lead", {}, NONE, NONE, ("to_dynamics",)),
    Case("11 cleared on both", "contact", NONE, NONE, NONE),
    Case(
        "12 different fields", "contact", B, {"city": "Q"}, {"title": "B", "city": "Q"}, ("to_dynamics", "to_marketo")
    ),
    Case("12 different fields", "lead", B, {"city": "Q"}, {"title": "B", "city": "Q"}, ("to_dynamics", "to_marketo")),
    Case("R39 changed and changed back", "contact", {"title": "A"}, {}, {"title": "A"}),
    Case("R45 case matters", "contact", {}, {"title": "a"}, {"title": "a"}, ("to_dynamics",)),
    Case("R46 filled again", "lead", {"phone": "1"}, {}, {"phone": "1"}, ("to_marketo",), base={"title": "A"}),
    Case("R49 untouched fields stay", "lead", B, {}, {"title": "B", "city": "P"}, ("to_marketo",)),
)


@dataclass(frozen=True)
class Played:
    """A case with the record and the person it was played on."""

    case: Case
    record_id: str
    person_id: int


@pytest.fixture(scope="module")
def played(shared_world: World) -> dict[Case, Played]:
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
        if case.name.startswith("R39"):
            world.edit_record(case.record_type, one.record_id, jobtitle="for a moment")
        if case.in_dynamics:
            edits = {COLUMNS[name]: value for name, value in case.in_dynamics.items()}
            world.edit_record(case.record_type, one.record_id, **edits)
        if case.in_marketo:
            world.edit_person(one.person_id, **case.in_marketo)
    world.sync()
    return played


def name_of(case: Case) -> str:
    return f"{case.record_type}: {case.name}"


@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_both_sides_end_with_the_value_that_the_rule_names(
    case: Case, played: dict[Case, Played], shared_world: World
) -> None:
    one = played[case]
    record = shared_world.record(case.record_type, one.record_id)
    person = shared_world.person(one.person_id, *case.result)
    assert {name: record[COLUMNS[name]] for name in case.result} == case.result
    assert {name: person[name] for name in case.result} == case.result


@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_every_write_stands_once_in_changes_with_its_direction_and_both_values(
    case: Case, played: dict[Case, Played], shared_world: World
) -> None:
    one = played[case]
    rows = shared_world.query(
        "select direction, field, new_value from changes where record_id_dynamics = ? and rule not like 'R15%'",
        one.record_id,
    )
    assert sorted(direction for direction, _, _ in rows) == sorted(case.to)
    for _, name, new_value in rows:
        assert new_value == case.result[name]


@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_a_collision_keeps_both_values_and_says_who_won(
    case: Case, played: dict[Case, Played], shared_world: World
) -> None:
    rows = shared_world.query(
        "select person_id_marketo, field, base_value, dynamics_value, marketo_value, winner from collisions "
        "where record_id_dynamics = ?",
        played[case].record_id,
    )
    expected = [
        (
            played[case].person_id,
            "title",
            "A",
            case.in_dynamics.get("title"),
            case.in_marketo.get("title"),
            case.collision,
        )
    ]
    assert rows == (expected if case.collision else [])


def test_the_next_cycle_writes_nothing(played: dict[Case, Played], shared_world: World) -> None:
    assert len(played) == len(CASES)
    with shared_world.writes_nothing():
        shared_world.sync()
