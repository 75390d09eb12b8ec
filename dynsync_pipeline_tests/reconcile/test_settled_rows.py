"""What a receipt settles, line by line (`new_links.sql`, `missing.sql`, `settled_base.sql`, `settled_differences.sql`,
`settled_errors.sql`, `settled_doubts.sql`, `settled_receipts.sql`), by the rows that they are about.

Each case is a person, or an operation, of its own. Not here: writes and their answers in whole cycles (`test_cycle.py`,
`test_refusals.py`, `test_standing_differences.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

import duckdb

from dynsync_pipeline_tests.worlds.rule_rows import (
    AT,
    BEFORE,
    SECOND,
    Case,
    Put,
    after,
    case,
    link,
    rows_of,
    told,
)

FIELDS = (
    "lead title jobtitle text both",
    "lead city c_city text both",
    "lead score c_score text to_dynamics",
    "contact title c_title text both",
    "contact grade c_grade text both",
)
OPERATION = {"operation_id": 1, "cycle_id": 1, "record_type": "lead", "dynamics_id": "L", "person_id": 1}


def settled(step: str, cases: Sequence[Case]) -> AbstractContextManager[duckdb.DuckDBPyConnection]:
    """A world of these cases in which the step ran."""
    return after(f"write_back/{step}", *rows_of(cases), fields=FIELDS)


def receipt(outcome: str = "applied", action: str = "update", system: str = "marketo", **more: Any) -> Put:
    answer = {"outcome": outcome, "action": action, "system": system, "received_at": AT, "is_new_person": False}
    return "fresh_receipts", OPERATION | answer | more


def applied(field: str = "title", system: str = "marketo", **more: Any) -> Put:
    """A value that was applied: it was sent as it is the base from now on."""
    values = {"changed_field": field, "sent_value": "B", "base_after": "B", "is_mapped": True, "rule_code": "one_sided"}
    return "applied_changes", receipt(system=system)[1] | values | more


def held(dynamics: str | None, marketo: str | None, field: str = "title") -> tuple[Put, ...]:
    """What was read back of either side."""
    sides = {"dynamics_long": dynamics, "marketo_long": marketo}
    return tuple((side, {"person_id": 1, "field": field, "value": v}) for side, v in sides.items() if v is not None)


def new(record_type: str = "lead") -> Put:
    return "new_links", {"person_id": 1, "record_type": record_type, "dynamics_id": "L", "received_at": AT}


def left_out(field: str = "title") -> Put:
    return "left_out_on_create", {"person_id": 1, "field": field}


def written(outcome: str = "applied", action: str = "create", *, is_settled: bool = False) -> tuple[Put, ...]:
    """A plan's operation with its receipt."""
    operation = {"system": "marketo", "action": action, "body": "{}"} | {
        n: v for n, v in OPERATION.items() if n != "person_id"
    }
    answer = {"operation_id": 1, "outcome": outcome, "person_id": 1, "received_at": AT, "is_settled": is_settled}
    return ("reconcile.operations", operation), ("reconcile.receipts", answer)


def test_who_was_created_is_linked_once_and_its_tombstone_is_gone() -> None:
    stones: list[Put] = []
    for record_type in ("lead", "contact"):
        key = {"record_type": record_type, "dynamics_id": "L"}
        stones.append(("state.tombstones", key | {"person_id": 9, "side": "marketo", "ended_at": BEFORE}))
        stones.append(("state.tombstone_values", key | {"field": "title", "dynamics_column": "c", "value": "v"}))
    cases = (
        case(True, *written(), *stones),
        case(False, *written("refused"), *stones),
        case(False, *written(action="update"), *stones),
        case(False, *written(is_settled=True), *stones),
        case(False, *written(), *stones, link(1, "lead", "other")),
        case(False, *written(), *stones, link(2, "lead", "L")),
        case(True, *written(), *stones, link(2, "contact", "L")),
    )
    with settled("new_links", cases) as connection:
        links = connection.execute(
            f"select person_id, record_type, dynamics_id from state.links where linked_at = timestamp '{AT}'"
        )
        linked = links.fetchall()
        base = connection.execute("select person_id from state.base").fetchall()
        left = connection.execute("select dynamics_id, record_type from state.tombstones order by all").fetchall()
        values = connection.execute(
            "select dynamics_id, record_type from state.tombstone_values order by all"
        ).fetchall()
        for number, each in enumerate(cases):
            assert told(number, linked) == [(1, "lead", "L")] * each.expected, each
            assert told(number, base) == [(1,)] * each.expected, each
            kept = [("L", "contact")] + [("L", "lead")] * (not each.expected)
            assert told(number, left) == told(number, values) == kept, each


def test_whoever_is_not_there_is_a_suspect_since_the_first_answer_that_said_so() -> None:
    known = {"suspect_id": "L", "since": BEFORE, "next_look_at": BEFORE}
    cases = (
        case([("lead", "L", AT)], receipt("missing", system="dynamics")),
        case([("lead", "L", AT)], receipt("missing", system="dynamics"),
             receipt("missing", system="dynamics", received_at=AT + SECOND)),
        case([], receipt("refused", system="dynamics")),
        case([], receipt("missing", "create", system="dynamics")),
        case([("lead", "L", BEFORE)], receipt("missing", system="dynamics"), ("state.suspects", known | {"record_type": "lead"})),
        case([("contact", "L", BEFORE), ("lead", "L", AT)], receipt("missing", system="dynamics"),
             ("state.suspects", known | {"record_type": "contact"})),
    )  # fmt: skip
    person: Put = receipt("missing", person_id=7, dynamics_id="other")
    with settled("missing", cases) as connection:
        found = connection.execute(
            "select suspect_id, record_type, since, next_look_at from state.suspects order by all"
        ).fetchall()
        for number, each in enumerate(cases):
            assert [(kind, of, since) for of, kind, since, _ in told(number, found)] == each.expected, each
        assert all(since == look for *_, since, look in found)
    with settled("missing", [case(None, person)]) as connection:
        assert connection.execute("select record_type, suspect_id from state.suspects").fetchall() == [("person", "7")]


def test_the_base_moves_to_what_was_applied_and_of_a_new_person_to_what_dynamics_held() -> None:
    """Expected: moves, and fields without a base."""
    cases = (
        case(([("title", "R")], []), new(), *held("R", "x")),
        case(([], []), *held("R", "x")),
        case(([], ["title"]), new(), *held("R", "x"), left_out()),
        case(([("title", "R")], ["city"]), new(), *held("R", "x"), left_out("city")),
        case(([("title", "R")], []), new(), *held("R", "x"), left_out("grade")),
        case(([("title", "R")], ["grade"]), new("contact"), *held("R", "x"), left_out("grade")),
        case(([], ["title"]), new(), *held("R", "x"), left_out(), left_out()),
        case(([], []), left_out()),
        case(([("title", "B")], []), applied()),
        case(([("title", "after")], []), applied(base_after="after")),
        case(([], []), applied(is_mapped=False)),
        case(([], []), applied(is_new_person=True)),
    )
    with settled("settled_base", cases) as connection:
        moves = connection.execute("select person_id, field, value from state.base_moves order by all").fetchall()
        missing = connection.execute("select person_id, field from state.base_missing order by all").fetchall()
        for number, each in enumerate(cases):
            assert told(number, moves) == [(1, *move) for move in each.expected[0]], each
            assert told(number, missing) == [(1, field) for field in each.expected[1]], each


def meanwhile(field: str = "title") -> Put:
    return "reconcile.edited_meanwhile", {"operation_id": 1, "field": field}


UNREAD: Put = ("state.unread", {"record_type": "lead", "key": "L", "has_id": True, "message": "no JSON", "attempts": 1})
STOOD: Put = (
    "state.standing_differences",
    {
        "person_id": 1,
        "field": "title",
        "dynamics_value": "a",
        "marketo_value": "b",
        "reason_code": "undo",
        "since": BEFORE,
    },
)
TO_DYNAMICS = {"system": "dynamics"}
BY_MARKETO, BY_DYNAMICS, OWNED = "kept_by_marketo", "kept_by_dynamics", "marketo_owns"
DIFFERENCES = (
    # None: nothing stands. What Marketo made of our value.
    case((BY_MARKETO, "B", "cut"), link(), applied(), *held("B", "cut")),
    case(None, link(), applied(), *held("B", "B")),
    case(None, link(), applied()),
    case((BY_MARKETO, "B", None), link(), applied(), *held("B", None)),
    case((BY_MARKETO, None, "cut"), link(), applied(), *held(None, "cut")),
    case(None, link(), applied(), *held("B", "cut", "city")),
    case((OWNED, "B", "cut"), link(), applied("score"), *held("B", "cut", "score")),
    case((BY_DYNAMICS, "cut", "B"), link(), applied("score", **TO_DYNAMICS), *held("cut", "B", "score")),
    # What Dynamics made of it; another value in Marketo is an edit.
    case((BY_DYNAMICS, "cut", "B"), link(), applied(**TO_DYNAMICS), *held("cut", "B")),
    case(None, link(), applied(**TO_DYNAMICS), *held("cut", "edit")),
    case((BY_DYNAMICS, "cut", None), link(), applied(**TO_DYNAMICS, sent_value=None, base_after=None), *held("cut", None)),
    # What was put back, edited since, cannot be read or is not synced.
    case(None, link(), applied(base_after="was"), *held("B", "cut")),
    case(None, link(), applied(base_after=None), *held("B", "cut")),
    case(None, link(), applied(), *held("B", "cut"), meanwhile()),
    case((BY_MARKETO, "B", "cut"), link(), applied(), *held("B", "cut"), meanwhile("city")),
    case(None, link(), applied(), *held("B", "cut"), UNREAD),
    case(None, link(), applied(is_mapped=False), *held("B", "cut")),
    case(None, link(), applied(is_new_person=True), *held("B", "cut")),
    case(None, applied(), *held("B", "cut")),
    case(None, link(1, "contact"), applied("city"), *held("B", "cut", "city")),
    # A new person with all of its fields.
    case((BY_MARKETO, "B", "cut"), link(), new(), receipt(), *held("B", "cut")),
    case((OWNED, "B", "cut"), link(), new(), receipt(), *held("B", "cut", "score")),
    case(None, link(), new(), receipt(), *held("B", "B")),
    case(None, link(), new(), receipt(), *held("B", "cut", "grade")),
    case(None, link(), new(), receipt(), *held("B", "cut"), left_out()),
    case((BY_MARKETO, "B", "cut"), link(), new(), receipt(), *held("B", "cut"), left_out("city")),
    case(None, link(), new(), receipt(), *held("B", "cut"), meanwhile()),
    case((BY_MARKETO, "B", "cut"), link(), new(), receipt(), *held("B", "cut"), meanwhile("city")),
    # What stood before is over where the field was written.
    case(None, link(), applied(), *held("B", "B"), STOOD),
    case(("undo", "a", "b"), link(), applied("city"), *held("B", "B"), STOOD),
    case(("undo", "a", "b"), link(), applied(), *held("B", "cut"), STOOD, meanwhile()),
    case(("undo", "a", "b"), link(), STOOD),
)  # fmt: skip


def test_what_a_system_made_of_a_value_stands_unless_somebody_edited_it_since() -> None:
    with settled("settled_differences", DIFFERENCES) as connection:
        found = connection.execute(
            "select person_id, reason_code, dynamics_value, marketo_value from state.standing_differences"
        ).fetchall()
        for number, each in enumerate(DIFFERENCES):
            assert told(number, found) == ([] if each.expected is None else [(1, *each.expected)]), each


def test_an_edit_that_was_put_back_is_done() -> None:
    edit: Put = ("state.unseen_edits", {"person_id": 1, "field": "title", "value": "e", "change_id": 1})
    cases = (
        case(False, edit, applied(base_after="was")),
        case(False, edit, applied(base_after=None)),
        case(True, edit, applied()),
        case(True, edit, applied("city", base_after="was")),
        case(True, edit, applied(person_id=2, base_after="was")),
    )
    with settled("settled_differences", cases) as connection:
        left = connection.execute("select person_id from state.unseen_edits").fetchall()
        for number, each in enumerate(cases):
            assert told(number, left) == [(1,)] * each.expected, each


def error(field: str | None = "title", code: str = "c", **more: Any) -> Put:
    of = {"error_id": 1, "cycle_id": 1, "happened_at": BEFORE, "last_seen_at": BEFORE, "attempts": 2, "message": "m"}
    of |= {
        "operation": "update",
        "direction": "to_marketo",
        "state": "waiting",
        "record_type": "lead",
        "dynamics_id": "L",
    }
    return "ledger.sync_errors", of | {"field": field, "code": code} | more


def waits(code: str = "c", reason_code: str = "refused", **more: Any) -> Put:
    of = {"record_type": "lead", "dynamics_id": "L", "attempts": 1, "since": BEFORE, "next_look_at": BEFORE}
    return "state.unsettled", of | {"code": code, "reason_code": reason_code} | more


def refused(field: str) -> Put:
    return "reconcile.refused_fields", {"operation_id": 1, "field": field, "message": "no"}


COMPANY = {"action": "company", "record_type": "account"}
OF_ACCOUNT = {"record_type": "account", "direction": "to_marketo"}
ERRORS = (
    # True: it is resolved. One of the field that was applied.
    case(True, error(), applied()),
    case(True, error(direction="to_dynamics"), applied(**TO_DYNAMICS)),
    case(True, error(state="quarantined"), applied()),
    case(False, error("city"), applied()),
    case(False, error(), applied(dynamics_id="other")),
    case(False, error(), applied(record_type="contact")),
    case(False, error(), applied(**TO_DYNAMICS)),
    case(False, error(code="key_altered"), applied()),
    case(False, error(code="own_field_altered"), applied()),
    case(True, error(code="key_altered", attempts=1), applied()),
    case(True, error(code="own_field_altered", attempts=1), applied()),
    # One of an account, whose company was written, but for what was refused of that.
    case(True, error(**OF_ACCOUNT), receipt(**COMPANY)),
    case(True, error(None, **OF_ACCOUNT), receipt(**COMPANY)),
    case(True, error(**OF_ACCOUNT), receipt(**COMPANY), refused("city")),
    case(False, error(**OF_ACCOUNT), receipt(**COMPANY), refused("title")),
    case(False, error(**OF_ACCOUNT), receipt("refused", **COMPANY)),
    case(False, error(**OF_ACCOUNT), receipt(action="update", record_type="account")),
    case(False, error(), receipt(action="company", record_type="lead")),
    case(False, error(**OF_ACCOUNT), receipt(**COMPANY, dynamics_id="other")),
    case(False, error(), receipt(**COMPANY)),
    # One of no field, while nothing of its record waits for it.
    case(True, error(None), receipt()),
    case(False, error(), receipt()),
    case(False, error(None), receipt("waiting")),
    case(False, error(None), receipt(action="create")),
    case(False, error(None), receipt(dynamics_id="other")),
    case(False, error(None), receipt(record_type="contact")),
    case(False, error(None), receipt(**TO_DYNAMICS)),
    case(False, error(None), receipt(), waits()),
    case(True, error(None), receipt(), waits("another")),
    case(True, error(None), receipt(), waits(reason_code="waiting")),
    case(True, error(None), receipt(), waits(record_type="contact")),
    case(True, error(None), receipt(), waits(dynamics_id="other")),
)  # fmt: skip


def test_an_error_is_over_when_its_field_or_all_of_its_record_was_applied() -> None:
    with settled("settled_errors", ERRORS) as connection:
        states = connection.execute("select error_id, state = 'resolved' from ledger.sync_errors").fetchall()
        for number, each in enumerate(ERRORS):
            assert told(number, states) == [(1, each.expected)], each


def test_a_record_is_in_doubt_no_more_once_it_is_applied_or_nothing_of_it_is_left() -> None:
    doubt: Put = ("state.doubts", {
        "system": "marketo", "action": "update", "record_type": "lead", "dynamics_id": "L", "n_times": 1, "n_together": 1,
        "is_at_fault": False,
    })  # fmt: skip
    cases = (
        case(True, doubt, waits()),
        case(False, doubt, waits(), receipt()),
        case(True, doubt, waits(), receipt("waiting")),
        case(True, doubt, waits(), receipt(system="dynamics")),
        case(True, doubt, waits(), receipt(action="create")),
        case(True, doubt, waits(), receipt(record_type="contact")),
        case(True, doubt, waits(), receipt(dynamics_id="other")),
        case(False, doubt),
        case(False, doubt, waits(record_type="contact")),
    )
    with settled("settled_doubts", cases) as connection:
        left = connection.execute("select dynamics_id from state.doubts").fetchall()
        for number, each in enumerate(cases):
            assert told(number, left) == [("L",)] * each.expected, each


def test_a_receipt_is_settled_once_it_was_taken_into_account() -> None:
    cases = (case(True, *written(), receipt()), case(False, *written()))
    with settled("settled_receipts", cases) as connection:
        found = connection.execute("select operation_id, is_settled from reconcile.receipts").fetchall()
        for number, each in enumerate(cases):
            assert told(number, found) == [(1, each.expected)], each
