"""Every line of the collision rule (`field_outcomes.sql`) by the rows it is about, with all that can be known of a field.

Each case is a field of a person of its own. Not here: the cases (`../worlds/field_cases.py`), the same through whole cycles
(`test_worked_cases.py` and its neighbours), every combination of values against the oracle (`cli/test_rules.py`).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import duckdb

from dynsync_pipeline.reconcile.rule_tests import make_fields
from dynsync_pipeline.sql_files import run_steps
from dynsync_pipeline.warehouse.connection import IN_MEMORY, Warehouse
from dynsync_pipeline_tests.worlds.field_cases import (
    ASK_ABOVE,
    BEHIND,
    CASES,
    EDITED_AT,
    HOUR,
    MINUTE,
    NOW,
    SAME,
    Case,
    Sides,
)
from dynsync_pipeline_tests.worlds.rule_rows import put as put_rows
from dynsync_pipeline_tests.worlds.rule_rows import put_options


def test_each_field_comes_out_as_its_case_says() -> None:
    cases = [each for group in CASES.values() for each in group]
    with Warehouse(IN_MEMORY) as empty, empty.transaction() as connection:
        assert outcomes(connection, put(connection, cases)) == [each.expected for each in cases]
        hold_the_rest(connection, cases)


def hold_the_rest(connection: duckdb.DuckDBPyConnection, cases: list[Case]) -> None:
    """What else is told of an outcome, and where it is told."""
    columns = "refusal_code, attempts, oscillates_until, decided_for, outcome"
    found = connection.execute(f"select person_id, field, {columns} from decided_fields").fetchall()
    of = {row[:2]: row[2:] for row in found}
    for number, each in enumerate(cases):
        refusal, attempts, until, decided_for, outcome = of[key_of(number, each)]
        oscillates = each.more.get("writes") if outcome == "refuse" else None
        assert refusal == each.more.get("refusal", refusal_of(each)), each
        assert attempts == each.more.get("attempts", attempts), each
        assert oscillates is None or until == oscillates[0][0] + 2 * HOUR, each
        is_for_dynamics = decided_for == "marketo"
        assert is_for_dynamics is (outcome in FOR_DYNAMICS) or outcome in ("refuse", "wait", "ask"), each
    n_overwritten = sum("overwritten" in each.more for each in cases)
    assert connection.execute("select count(*) from field_outcomes").fetchall() == [(len(cases) - n_overwritten,)]
    told = connection.execute(
        "select outcome, bool_and(is_to_stand) from overwritten_outcomes group by all order by all"
    )
    assert told.fetchall() == [
        ("collision_dynamics_wins", False), ("collision_marketo_wins", True), ("stand", True), ("take_marketo", True),
    ]  # fmt: skip


FOR_DYNAMICS = ("take_marketo", "collision_marketo_wins")


def refusal_of(each: Case) -> str | None:
    """Of a case that tells none."""
    if each.more.get("writes"):
        return "oscillates" if each.expected.startswith("refuse") else None
    return "unknown_option" if each.expected.startswith("refuse") else None


def key_of(number: int, each: Case) -> tuple[int, str]:
    return each.more.get("person", 100 + number), each.more.get("name", f"f{number}")


def put(connection: duckdb.DuckDBPyConnection, cases: list[Case]) -> list[Case]:
    """Make what the rule reads."""
    make_fields(connection)
    this_cycle = {"planned_at": NOW, "is_first_load": False, "ask_above": ASK_ABOVE, "clocks_apart": BEHIND}
    connection.execute(f"update this_cycle set {', '.join(f'{name} = ${name}' for name in this_cycle)}", this_cycle)
    put_rows(connection, (row for number, each in enumerate(cases) for row in _rows(number, each)))
    options = {f"c_{key_of(number, each)[1]}": each.more.get("options", {}) for number, each in enumerate(cases)}
    for column, labels in options.items():
        if labels:
            put_options(connection, "contact", column, labels)
    return cases


def _rows(number: int, each: Case) -> Iterable[tuple[str, dict[str, Any]]]:
    more, (dynamics, marketo) = each.more, each.sides
    person, name = key_of(number, each)
    key, kind = {"person_id": person, "field": name}, more.get("kind", "contact")
    sides = {"dynamics_value": dynamics, "marketo_value": marketo}
    known = key | {
        "record_type": kind, "dynamics_id": f"r{person}", "dynamics_column": f"c_{name}", "type": more.get("type", "text"),
        "direction": more.get("direction", "both"), "collision": more.get("collision", "original"),
        "forbids": more.get("forbids"), "has_base": more.get("has_base", True), "base_value": each.base,
        "is_relabelled": more.get("is_relabelled", False),
    } | sides  # fmt: skip
    if "overwritten" in more:
        yield "overwritten_fields", known | {"is_carried_over": more["overwritten"]}
    else:
        yield "differing_fields", known
    yield from _known_before(key, sides, kind, more)
    yield from _times(key, sides, kind, more)
    for system, most in more.get("held", {}).items():
        of = {"record_type": kind, "name": f"c_{name}"} if system == "dynamics" else {"record_type": None, "name": name}
        held = {"data_type": "string", "max_length": most, "is_readable": True, "is_writable": True, "read_at": NOW}
        yield "state.columns", {"system": system} | of | held


def _known_before(
    key: dict[str, Any], sides: dict[str, Any], kind: str, more: dict[str, Any]
) -> Iterable[tuple[str, dict[str, Any]]]:
    """What the working file says of the field."""
    if "stood" in more:
        reason, dynamics, marketo = more["stood"]
        yield "state.standing_differences", key | {
            "dynamics_value": dynamics, "marketo_value": marketo, "reason_code": reason or "one_sided", "since": NOW,
        }  # fmt: skip
    if "waited" in more:
        reason, minutes = more["waited"]
        yield "state.unsettled", key | told_sides(sides, more.get("waited_sides")) | {
            "record_type": kind, "dynamics_id": "r", "reason_code": reason, "attempts": 3, "since": NOW - MINUTE,
            "next_look_at": NOW + minutes * MINUTE,
        }  # fmt: skip
    if "word" in more:
        yield "state.reviews", key | told_sides(sides, more.get("word_sides")) | {
            "review_id": 1, "record_type": kind, "dynamics_id": "r", "opened_at": NOW, "choice": more["word"],
        }  # fmt: skip
    if "approved" in more:
        direction, at, value = more["approved"]
        yield "state.approvals", key | sides | {
            "approval_id": 1, "cause": "field", "cause_name": key["field"], "n_people": 3, "record_type": kind,
            "dynamics_id": "r", "direction": direction, "new_value": value, "asked_at": NOW, "approved_at": at,
        }  # fmt: skip


def _times(
    key: dict[str, Any], sides: dict[str, Any], kind: str, more: dict[str, Any]
) -> Iterable[tuple[str, dict[str, Any]]]:
    """What is told of when the field was edited or written."""
    record = {"record_type": kind, "dynamics_id": f"r{key['person_id']}"}
    if "told" in more:
        edited = record | {"field": key["field"], "after_at": EDITED_AT - MINUTE, "until_at": EDITED_AT}
        if more.get("seen", True):
            yield "state.dynamics_edits", edited
        value = sides["marketo_value"] if more["told_value"] == SAME else more["told_value"]
        for after in more["told"]:
            yield "state.marketo_edits", key | {"value": value, "told_at": EDITED_AT + after}
    for place, (at, direction, value) in enumerate(more.get("writes", ())):
        yield "ledger.changes", key | record | {
            "entry_id": 1000 - place, "cycle_id": 1, "changed_at": at, "direction": direction, "new_value": value,
            "rule_code": "one_sided",
        }  # fmt: skip


def told_sides(now: dict[str, Any], told: Sides | None) -> dict[str, Any]:
    return now if told is None else dict(zip(now, told, strict=True))


def outcomes(connection: duckdb.DuckDBPyConnection, cases: list[Case]) -> list[str]:
    run_steps(connection, ("reconcile/field_outcomes",))
    found = connection.execute("select person_id, field, outcome || ' ' || rule_code from decided_fields").fetchall()
    by_field = {(person, name): told for person, name, told in found}
    return [by_field[key_of(number, each)] for number, each in enumerate(cases)]
