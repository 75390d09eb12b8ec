"""What of a plan was answered and applied, and what was not, line by line (`answers.sql`, `answered_refusals.sql`,
`doubted.sql`), by the rows that they are about.

Each case is an operation, or several, of its own. Not here: what is settled of it (`test_settled_rows.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

import duckdb

from dynsync_pipeline_tests.reconcile.test_settled_rows import OPERATION, error, receipt, refused
from dynsync_pipeline_tests.worlds.rule_rows import (
    AT,
    BEFORE,
    Case,
    Put,
    after,
    case,
    link,
    person,
    record,
    rows_of,
    told,
)

FIELDS = (
    "account company name text to_marketo",
    "account site url text to_marketo",
    "lead company companyname text both",
    "lead title jobtitle text both",
    "contact title c_title text both",
    "contact grade c_grade text both",
)


def answered(step: str, cases: Sequence[Case]) -> AbstractContextManager[duckdb.DuckDBPyConnection]:
    """A world of these cases in which the step ran."""
    return after(f"write_back/{step}", *rows_of(cases), fields=FIELDS)


def operation(action: str = "update", system: str = "marketo", **more: Any) -> Put:
    return "reconcile.operations", OPERATION | {
        "action": action,
        "system": system,
        "body": "{}",
        "sent_at": BEFORE,
    } | more


def answer(outcome: str = "applied", **more: Any) -> Put:
    told = {"operation_id": 1, "outcome": outcome, "received_at": AT, "is_settled": False}
    return "reconcile.receipts", told | more


def change(field: str = "title", **more: Any) -> Put:
    values = {"old_value": "a", "new_value": "b", "sent_value": "b", "base_after": "b", "rule_code": "one_sided"}
    return "reconcile.planned_changes", {"operation_id": 1, "field": field} | values | more


COMPANY = operation("company")
LEAVES = operation(operation_id=2)  # the write by which its person leaves the company without a key
RECEIPTS = (
    # The person, and whether it is new, of a receipt that is to be settled now.
    case([(1, False)], operation(), answer()),
    case([(1, False)], operation(), answer(person_id=2), link(3)),
    case([(2, True)], operation("create", person_id=None), answer(person_id=2), link(3)),
    case([(3, True)], operation("create", person_id=None), answer(), link(3)),
    case([(None, True)], operation("create", person_id=None), answer()),
    case([(None, True)], operation("create", person_id=None), answer(), link(3, "contact"), link(4, "lead", "other")),
    case([(1, False)], operation(), answer("refused")),
    case([], operation(), answer(is_settled=True)),
    case([], operation()),
    # A lead's company, while nobody knows whether its person left the one without a key.
    case([], COMPANY, answer(), LEAVES, person()),
    case([(1, False)], COMPANY, answer(), person()),
    case([(1, False)], COMPANY, answer(), LEAVES, person(external_company_id="K")),
    case([(1, False)], COMPANY, answer(), LEAVES),
    case([(1, False), (1, False)], COMPANY, answer(), LEAVES, answer(operation_id=2), person()),
    case([(1, False)], COMPANY, answer(), operation(operation_id=2, sent_at=None), person()),
    case([(1, False)], COMPANY, answer(), operation("create", operation_id=2), person()),
    case([(1, False)], COMPANY, answer(), operation(operation_id=2, system="dynamics"), person()),
    case([(1, False)], COMPANY, answer(), operation(operation_id=2, person_id=2), person(), person(2)),
    case([(1, False)], operation("company", record_type="account"), answer(), LEAVES, person()),
    case([(1, False)], operation(), answer(), LEAVES, person()),
)  # fmt: skip


def test_each_answer_is_settled_for_its_person_once_its_company_is_known_to_be_left() -> None:
    with answered("answers", RECEIPTS) as connection:
        found = connection.execute(
            "select operation_id, person_id, is_new_person from fresh_receipts order by all"
        ).fetchall()
        for number, each in enumerate(RECEIPTS):
            assert [row[1:] for row in told(number, found)] == each.expected, each


def shown(**values: Any) -> Put:
    return "mirror.marketo_companies", {"external_company_id": "person:1"} | values


CHANGES = (
    # The fields that were applied.
    case(["title"], operation(), answer(), change()),
    case([], operation(), answer("refused"), change()),
    case([], operation(), answer(), change(), refused("title")),
    case(["title"], operation(), answer(), change(), refused("company")),
    case(["company", "title"], operation(), answer(), change(), change("company")),
    case(["own"], operation(), answer(), change("own")),
    # What the company without a key still shows is not agreed on.
    case([], COMPANY, answer(), change("company"), person(), shown(company="other")),
    case(["company"], COMPANY, answer(), change("company"), person(), shown(site="other")),
    case(["company"], COMPANY, answer(), change("company"), person(), shown()),
    case(["company"], COMPANY, answer(), change("company"), person(external_company_id="K"), shown(company="other")),
    case(["company"], COMPANY, answer(), change("company"), person(2), shown(company="other")),
    case(["company"], operation(), answer(), change("company"), person(), shown(company="other")),
    case(["company"], operation("company", record_type="contact"), answer(), change("company"), person(), shown(company="other")),
)  # fmt: skip


def test_what_was_applied_is_the_plan_less_what_was_refused_or_is_still_shown() -> None:
    with answered("answers", CHANGES) as connection:
        found = connection.execute("select operation_id, changed_field from applied_changes order by all").fetchall()
        for number, each in enumerate(CHANGES):
            assert [field for _, field in told(number, found)] == each.expected, each
        mapped = connection.execute(
            "select distinct changed_field, is_mapped from applied_changes order by all"
        ).fetchall()
    assert mapped == [("company", False), ("company", True), ("own", False), ("title", True)]


def unsent(field: str) -> Put:
    return "reconcile.unsent_fields", {"operation_id": 1, "field": field}


CREATE = operation("create", person_id=None)
LEFT_OUT = (
    case(["title"], CREATE, answer(person_id=1), refused("title")),
    case(["title"], CREATE, answer(person_id=1), unsent("title")),
    case(["title"], CREATE, answer(person_id=1), unsent("title"), refused("title")),
    case(["company", "title"], CREATE, answer(person_id=1), unsent("title"), refused("company")),
    case([], CREATE, answer(), refused("title")),
    case([], operation(), answer(), refused("title")),
    case([], CREATE, answer(person_id=1)),
)


def test_of_a_new_person_it_is_known_what_was_left_out() -> None:
    with answered("answers", LEFT_OUT) as connection:
        found = connection.execute("select person_id, field from left_out_on_create order by all").fetchall()
        for number, each in enumerate(LEFT_OUT):
            assert [field for _, field in told(number, found)] == each.expected, each


def test_what_is_held_is_read_back_of_whoever_was_applied() -> None:
    both = link(), person(title="M"), record(jobtitle="D")
    cases = (
        case(True, operation(), answer(), *both),
        case(False, operation(), answer("refused"), *both),
        case(False, operation(), *both),
    )
    with answered("answers", cases) as connection:
        for side, value in (("dynamics", "D"), ("marketo", "M")):
            found = connection.execute(f"select person_id, field, value from {side}_long").fetchall()
            for number, each in enumerate(cases):
                assert told(number, found) == [(1, "title", value)] * each.expected, each


def of(field: str | None, **more: Any) -> Put:
    """A refusal in Dynamics, by the name of its column."""
    return receipt("refused", system="dynamics", code="c", field=field, **more)


def met(field: str = "title", **more: Any) -> Put:
    """An error in Dynamics that was met before."""
    return error(field, **{"direction": "to_dynamics"} | more)


REFUSED = (
    # Outcome, field, whether the rest was applied, for each that was not.
    case([("refused", "title", False)], of("jobtitle")),
    case([("refused", "unknown", False)], of("unknown")),
    case([("refused", "c_title", False)], of("c_title")),
    case([("refused", "title", False)], of("c_title", record_type="contact")),
    case([("refused", "jobtitle", False)], receipt("refused", field="jobtitle")),
    case([("waiting", None, False)], receipt("waiting")),
    case([], receipt()),
    case([("refused", "title", True)], receipt(), refused("title")),
    case([("refused", "title", True), ("waiting", None, False)], receipt("waiting"), refused("title")),
    # One that was found in a search names itself no more, sent alone.
    case([("refused", "title", False)], of(None), change(), met()),
    case([("refused", None, False)], of(None), change()),
    case([("refused", None, False)], of(None), change("company"), met()),
    case([("refused", None, False)], of(None), change(), change("company"), met()),
    case([("waiting", None, False)], receipt("waiting", system="dynamics", code="c"), change(), met()),
    case([("refused", "title", False)], of("jobtitle"), change("company"), met("company")),
    case([("refused", None, False)], of(None), change(), met(state="resolved")),
    case([("refused", None, False)], of(None), change(), met(record_type="contact")),
    case([("refused", None, False)], of(None), change(), met(dynamics_id="other")),
    case([("refused", None, False)], of(None), change(), met(direction="to_marketo")),
    case([("refused", None, False)], of(None), change(), met(code="d")),
    case([("refused", "title", False)], of(None), change(), met(), met(error_id=2)),
)  # fmt: skip


def test_what_was_not_applied_is_told_with_its_field_where_that_is_known() -> None:
    with answered("answered_refusals", REFUSED) as connection:
        found = connection.execute(
            "select operation_id, outcome, field, is_rest_applied from unsuccessful order by outcome, field"
        ).fetchall()
        for number, each in enumerate(REFUSED):
            assert [row[1:] for row in told(number, found)] == each.expected, each
        refusals = connection.execute("select dynamics_id, field from refusals order by all").fetchall()
        for number, each in enumerate(REFUSED):
            fields = sorted((field for outcome, field, _ in each.expected if outcome == "refused"), key=str)
            assert [field for _, field in told(number, refusals)] == fields, each


ASKED = {"operation_id": 1, "system": "marketo", "action": "update", "record_type": "lead", "dynamics_id": "L"}


def failed(n_together: int = 1) -> Put:
    return "reconcile.failed_operations", {"operation_id": 1, "n_together": n_together, "code": "c", "message": "m"}


def before(n_times: int = 1, *, is_at_fault: bool = False, **more: Any) -> Put:
    of = {name: value for name, value in ASKED.items() if name != "operation_id"}
    return "state.doubts", of | {"n_times": n_times, "n_together": 2, "is_at_fault": is_at_fault} | more


SENT: Put = ("uncertain", ASKED)
ALONE = (
    # How often it failed in a row, with how many, whether it is at fault; and the receipt that it gets.
    case(((1, 1, False), None), SENT, failed()),
    case(((1, 3, False), None), SENT, failed(3)),
    case((None, None), SENT),
    case((None, None), failed()),
    case((None, "applied"), SENT, failed(), answer()),
    case(((2, 1, False), "waiting"), SENT, failed(), before()),
    case(((2, 2, False), None), SENT, failed(2), before()),
    case(((3, 1, False), "waiting"), SENT, failed(), before(2)),
    case(((2, 1, True), "refused"), SENT, failed(), before(is_at_fault=True)),
    case(((2, 2, True), None), SENT, failed(2), before(is_at_fault=True)),
    # What was in doubt before is this record, written so to this system.
    case(((1, 1, False), None), SENT, failed(), before(system="dynamics")),
    case(((1, 1, False), None), SENT, failed(), before(action="create")),
    case(((1, 1, False), None), SENT, failed(), before(record_type="contact")),
    case(((1, 1, False), None), SENT, failed(), before(dynamics_id="M")),
)
OTHER = operation(operation_id=2), answer(operation_id=2)
BESIDE_OTHERS = (
    case(((1, 1, False), None), SENT, failed(), *OTHER),
    case(((2, 1, True), "refused"), SENT, failed(), before()),
    case(((2, 2, False), None), SENT, failed(2), before()),
    case(((2, 1, False), "waiting"), ("uncertain", ASKED | {"system": "dynamics", "dynamics_id": "D"}), failed(),
         before(system="dynamics", dynamics_id="D")),
)  # fmt: skip


def test_a_record_that_fails_alone_and_again_while_others_are_answered_is_at_fault() -> None:
    """Whether others were answered is asked of all operations of a system, so that these cases are a world of their own."""
    for cases in (ALONE, BESIDE_OTHERS):
        with answered("doubted", cases) as connection:
            doubts = connection.execute(
                "select dynamics_id, n_times, n_together, is_at_fault from state.doubts "
                "where (system, action, record_type) = ('marketo', 'update', 'lead') and starts_with(dynamics_id, 'L')"
            ).fetchall()
            outcomes = connection.execute(
                "select operation_id, outcome from reconcile.receipts where operation_id % 100 = 1"
            ).fetchall()
            others = connection.execute(
                "select n_times from state.doubts where starts_with(dynamics_id, 'M')"
            ).fetchall()
        assert others == [(1,)] * sum(before(dynamics_id="M") in each.rows for each in cases)
        for number, each in enumerate(cases):
            doubt, outcome = each.expected
            mine = told(number, doubts)
            assert mine == ([("L", *doubt)] if doubt and ("uncertain", ASKED) in each.rows else []), each
            assert told(number, outcomes) == ([] if outcome is None else [(1, outcome)]), each
