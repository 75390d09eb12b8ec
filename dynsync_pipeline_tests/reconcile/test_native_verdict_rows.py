"""What is made of what a native sync wrote, line by line (`native_verdicts.sql`), by the rows that it is about.

Each case is a person of its own. Not here: what it wrote (`test_native_rows.py`), parity in whole cycles
(`../shadow/test_parity.py`).
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import Any

import duckdb

from dynsync_pipeline_tests.reconcile.test_native_rows import TABLES
from dynsync_pipeline_tests.worlds.rule_rows import AT, BEFORE, CYCLE, Case, Put, after, case, rows_of, told


def theirs(kind: str = "wrote_marketo", before: tuple[str | None, str | None] = ("A", "E"), **more: Any) -> Put:
    """A value that the native sync wrote, over these of Dynamics and Marketo."""
    of = {"person_id": 1, "record_type": "lead", "dynamics_id": "L", "field": "title", "dynamics_column": "jobtitle"}
    values = {"base_value": "O", "dynamics_before": before[0], "marketo_before": before[1], "type": "text"}
    value = {"wrote_marketo": before[0], "wrote_dynamics": before[1]}.get(kind)
    return "native_writes", of | values | {"kind": kind, "their_value": value, "has_base": True} | more


def decided(outcome: str, rule: str = "one_sided", **more: Any) -> Put:
    """What the rules make of the values."""
    return "field_outcomes", {"person_id": 1, "field": "title", "outcome": outcome, "rule_code": rule} | more


WRONG: dict[str, Any] = {"reason_code": "writer_unknown"}
EARLIER: dict[str, Any] = {"reason_code": "several_writes"}
TO_MARKETO, TO_DYNAMICS, NOWHERE = ("to_marketo", "A"), ("to_dynamics", "E"), (None, None)
JUDGED = (
    # Our direction and value, theirs, the verdict and the rule.
    case((TO_MARKETO, TO_MARKETO, "same", "one_sided"), theirs(), decided("take_dynamics")),
    case((TO_MARKETO, TO_MARKETO, "same", "dynamics_wins"), theirs(), decided("collision_dynamics_wins", "dynamics_wins")),
    case((TO_DYNAMICS, TO_DYNAMICS, "same", "one_sided"), theirs("wrote_dynamics"), decided("take_marketo")),
    case((TO_DYNAMICS, TO_DYNAMICS, "same", "marketo_wins"), theirs("wrote_dynamics"),
         decided("collision_marketo_wins", "marketo_wins")),
    case((("to_marketo", None), ("to_marketo", None), "same", "one_sided"), theirs(before=(None, "E")),
         decided("take_dynamics")),
    case((TO_DYNAMICS, TO_MARKETO, "differs", "marketo_wins"), theirs(), decided("collision_marketo_wins", "marketo_wins")),
    case((("to_dynamics", "A"), ("to_marketo", "A"), "differs", "marketo_wins"), theirs(before=("A", "A")),
         decided("collision_marketo_wins", "marketo_wins")),
    case((TO_MARKETO, ("to_marketo", "a"), "differs", "one_sided"), theirs(their_value="a"), decided("take_dynamics")),
    case((TO_MARKETO, ("to_marketo", None), "differs", "one_sided"), theirs(their_value=None), decided("take_dynamics")),
    case((NOWHERE, TO_MARKETO, "differs", "one_way"), theirs(), decided("stand", "one_way")),
    case((NOWHERE, TO_MARKETO, "differs", "too_long"), theirs(), decided("refuse", "one_sided", refusal_code="too_long")),
    case((TO_MARKETO, NOWHERE, "differs", "one_sided"), theirs("left"), decided("take_dynamics")),
    case((NOWHERE, NOWHERE, "same", "agreed"), theirs("left"), decided("stand", "agreed")),
    case((NOWHERE, TO_MARKETO, "cannot_tell", "writer_unknown"), theirs(**WRONG)),
    case((NOWHERE, TO_MARKETO, "cannot_tell", "writer_unknown"), theirs(**WRONG), decided("take_dynamics")),
    case((NOWHERE, TO_MARKETO, "cannot_tell", "several_writes"), theirs(**EARLIER)),
)  # fmt: skip


def stood(dynamics: str, marketo: str, **more: Any) -> Put:
    of = {"person_id": 1, "field": "title", "dynamics_value": dynamics, "marketo_value": marketo}
    return "state.standing_differences", of | {"reason_code": "kept_by_native", "since": BEFORE} | more


def judged(cases: Iterable[Case]) -> AbstractContextManager[duckdb.DuckDBPyConnection]:
    return after(
        "reconcile/native_verdicts",
        *rows_of(cases),
        options={("lead", "c_rating"): {"1": "Hot", "2": "Warm", "3": "Cold"}, ("lead", "c_grade"): {"1": "First"}},
        tables=TABLES,
    )


def test_what_it_wrote_is_laid_beside_what_the_rules_make_of_the_same_values() -> None:
    others = decided("take_marketo", field="city"), decided("take_marketo", person_id=2)
    cases = [case(each.expected, *each.rows, *others) for each in JUDGED]
    with judged(cases) as connection:
        found = connection.execute(
            "select person_id, our_direction, our_value, their_direction, their_value, verdict, rule_code "
            "from ledger.shadow_changes"
        ).fetchall()
        known = connection.execute(
            "select distinct cycle_id, seen_at, record_type, field, base_value from ledger.shadow_changes"
        ).fetchall()
        published = connection.execute(
            "select person_id from state.unpublished where published_table = 'people'"
        ).fetchall()
    for number, each in enumerate(JUDGED):
        ours, of_theirs, *what = each.expected
        assert told(number, found) == [(1, *ours, *of_theirs, *what)], each
        assert told(number, published) == [(1,)], each
    assert known == [(CYCLE, AT, "lead", "title", "O")]


def test_options_are_told_by_label() -> None:
    numbers: dict[str, Any] = {"base_value": "3", "type": "choice", "field": "rating", "dynamics_column": "c_rating"}
    cases = (case(("Cold", "Hot", "Warm", "Warm", "Hot"), theirs(before=("1", "2"), **numbers),
                  decided("take_marketo", field="rating")),)  # fmt: skip
    with judged(cases) as connection:
        values = "base_value, dynamics_value, marketo_value, our_value, their_value"
        assert connection.execute(f"select {values} from ledger.shadow_changes").fetchall() == [cases[0].expected]


AGREED = (
    # The standing difference that is there afterwards, and the moves of the base, and whether the person is touched.
    case(([], [("A",)], True), theirs(), decided("take_dynamics")),
    case(([], [("E",)], True), theirs("wrote_dynamics"), decided("take_marketo")),
    case(([], [(None,)], True), theirs(before=(None, "E")), decided("take_dynamics")),
    case(([("A", "a", "kept_by_native")], [("a",)], True), theirs(their_value="a"), decided("take_dynamics")),
    case(([("A", None, "kept_by_native")], [(None,)], True), theirs(their_value=None), decided("take_dynamics")),
    case(([("A", "E", "left_by_native")], [], False), theirs("left"), decided("take_dynamics")),
    case(([("A", "E", "left_at_first_meeting")], [("A",)], False), theirs("left", has_base=False), decided("take_dynamics")),
    case(([], [("A",)], True), theirs(**WRONG)),
    case(([], [("a",)], True), theirs(their_value="a", **WRONG)),
    case(([("A", "B", "kept_by_native")], [], True), theirs(their_value="a", **EARLIER)),
)  # fmt: skip


def test_what_it_wrote_is_agreed_and_what_it_left_stands() -> None:
    others = stood("x", "y", person_id=2), stood("x", "y", field="city")
    cases = [case(each.expected, *each.rows, stood("A", "B"), *others) for each in AGREED]
    with judged(cases) as connection:
        standing = connection.execute(
            "select person_id, dynamics_value, marketo_value, reason_code from state.standing_differences "
            "where dynamics_value <> 'x'"
        ).fetchall()
        moves = connection.execute("select person_id, value from state.base_moves where field = 'title'").fetchall()
        looked_at = connection.execute("select person_id from inbox.touched where not is_receipt").fetchall()
        since = connection.execute(
            "select distinct since from state.standing_differences where since <> ?", [BEFORE]
        ).fetchall()
        [(n_others,)] = connection.execute(
            "select count(*) from state.standing_differences where dynamics_value = 'x'"
        ).fetchall()
    for number, each in enumerate(AGREED):
        stands, moved, is_touched = each.expected
        assert told(number, standing) == [(1, *row) for row in stands], each
        assert told(number, moves) == [(1, *row) for row in moved], each
        assert told(number, looked_at) == [(1,)] * is_touched, each
    assert since == [(AT,)]
    assert n_others == 2 * len(AGREED)
