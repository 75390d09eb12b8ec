"""What waits to be approved, line by line (`approvals.sql`), by the rows that it is about.

Each case is a record of its own. Not here: what waits and what a word leads to, in whole cycles (`test_approvals.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from dynsync_pipeline_tests.worlds.rule_rows import AT, Put, Row, after, parked

PARKED = "parked"
OLD = -1  # number of what waited before


class Kept(NamedTuple):
    """A value that waited, as `waited` tells it beside title, D and M of a lead to Marketo; what the plan found of its record,
    each a table with a row, and whether it goes on waiting.
    """

    is_kept: bool
    waited: Row
    found: tuple[tuple[str, Row], ...]


def kept(*found: tuple[str, Row], **waited: Any) -> Kept:
    return Kept(True, waited, found)


def gone(*found: tuple[str, Row], **waited: Any) -> Kept:
    return Kept(False, waited, found)


def outcome(word: str, direction: str = "to_marketo", **more: Any) -> tuple[str, Row]:
    """The field was decided so."""
    return "field_outcomes", {"outcome": word, "written_direction": direction, "is_approved": False} | more


def let_go(**more: Any) -> tuple[str, Row]:
    return outcome("take_dynamics", **{"is_approved": True} | more)


def told(table: str, *, is_known: bool = True, **more: Any) -> tuple[str, Row]:
    """An account's value differs from its company's, and waits or is written."""
    asked = {"is_known": is_known, "cause": "account", "cause_name": "a", "n_reached": 9}
    return table, {"field": "title", "old_value": "M", "new_value": "D"} | (asked if "asked" in table else {}) | more


LOOKED: tuple[str, Row] = ("compared_links", {})
OF_ACCOUNT = {"record_type": "account"}
CREATED = {"field": None, "dynamics_value": None, "marketo_value": None, "new_value": None}
APPROVED = {"approved_at": AT}
HELD: Row = {"field": "title", "dynamics_value": "D", "marketo_value": "M", "direction": "to_marketo", "new_value": "D"}
WAITED = (
    # Only of what was looked at is anything known.
    kept(),
    gone(LOOKED),
    gone(("ended_links", {})),
    gone(("inbox.touched", {"is_receipt": False})),
    gone(("records_without_person", {}), **CREATED),
    gone(("due_accounts", {}), **OF_ACCOUNT),
    kept(("compared_links", {"record_type": "contact"})),
    kept(("ended_links", {"record_type": "contact"})),
    kept(("inbox.touched", {"record_type": "contact", "is_receipt": False})),
    kept(("records_without_person", {"record_type": "contact"})),
    kept(("due_accounts", {})),
    # While its field is parked it rests.
    kept(LOOKED, field=PARKED),
    gone(LOOKED, field=PARKED, record_type="contact"),
    # A field that is asked of, while it is the same.
    kept(LOOKED, outcome("ask")),
    gone(LOOKED, outcome("ask", dynamics_value="other")),
    gone(LOOKED, outcome("ask", marketo_value="other")),
    gone(LOOKED, outcome("ask", field="another")),
    gone(LOOKED, outcome("ask", record_type="contact")),
    gone(LOOKED, outcome("ask", dynamics_id="another")),
    gone(LOOKED, outcome("ask", "to_dynamics")),
    kept(LOOKED, outcome("ask"), dynamics_value=None, new_value=None),
    kept(LOOKED, outcome("ask"), marketo_value=None),
    kept(LOOKED, outcome("ask"), dynamics_value=None, new_value=None, **APPROVED),
    kept(LOOKED, outcome("ask", "to_dynamics"), direction="to_dynamics", new_value="M"),
    # A word on a label is none on the next one (R33), in either direction; without a word the question is the same.
    gone(LOOKED, outcome("ask"), new_value="old label", **APPROVED),
    kept(LOOKED, outcome("ask"), new_value="old label"),
    kept(LOOKED, outcome("ask"), **APPROVED),
    gone(LOOKED, outcome("ask", "to_dynamics"), direction="to_dynamics", new_value="old label", **APPROVED),
    kept(LOOKED, outcome("ask", "to_dynamics"), direction="to_dynamics", new_value="M", **APPROVED),
    # What was approved, until it is written; and what waits for something else.
    kept(LOOKED, let_go(), **APPROVED),
    gone(LOOKED, let_go(is_approved=False), **APPROVED),
    gone(LOOKED, let_go(written_direction="to_dynamics"), **APPROVED),
    gone(LOOKED, let_go(dynamics_value="other"), **APPROVED),
    kept(LOOKED, outcome("wait"), **APPROVED),
    kept(LOOKED, outcome("wait", "to_dynamics"), **APPROVED),
    gone(LOOKED, outcome("wait", marketo_value="other"), **APPROVED),
    gone(LOOKED, outcome("stand")),
    # An account waits as a whole: where one of its values is asked of anew, so are all.
    kept(("due_accounts", {}), told("asked_differences"), **OF_ACCOUNT),
    gone(("due_accounts", {}), told("asked_differences", new_value="other"), **OF_ACCOUNT),
    gone(("due_accounts", {}), told("asked_differences", old_value="other"), **OF_ACCOUNT),
    gone(
        ("due_accounts", {}), told("asked_differences"), told("asked_differences", field="another", is_known=False),
        **OF_ACCOUNT,
    ),
    kept(("due_accounts", {}), told("company_differences"), **OF_ACCOUNT, **APPROVED),
    gone(("due_accounts", {}), told("company_differences", new_value="other"), **OF_ACCOUNT, **APPROVED),
    # Somebody new.
    kept(("records_without_person", {}), ("people_to_create", {"is_asked": True, "is_approved": False}), **CREATED),
    kept(("records_without_person", {}), ("people_to_create", {"is_asked": False, "is_approved": True}), **CREATED),
    gone(("records_without_person", {}), ("people_to_create", {"is_asked": False, "is_approved": False}), **CREATED),
)  # fmt: skip


def rows_of(number: int, case: Kept) -> Iterator[tuple[str, Row]]:
    """A case, with what is not told of it."""
    waited = {"record_type": "lead", "dynamics_id": f"r{number}"} | HELD | case.waited
    asked = {"approval_id": OLD, "cause": "field", "cause_name": "title", "n_people": 3, "asked_at": AT}
    yield "state.approvals", asked | waited
    key = {name: waited[name] for name in ("record_type", "dynamics_id")}
    for table, row in case.found:
        if table in ("due_accounts", "asked_differences", "company_differences"):
            yield table, {"account_id": key["dynamics_id"]} | row
        elif table == "field_outcomes":
            values = {name: waited[name] for name in ("field", "dynamics_value", "marketo_value")}
            yield table, key | values | {"person_id": number, "type": "text", "n_reached": 9} | row
        else:
            yield table, key | row


def test_what_waits_goes_on_waiting_as_long_as_it_is_the_same() -> None:
    rows = [row for number, case in enumerate(WAITED) for row in rows_of(number, case)]
    with after("reconcile/approvals", *rows, parked("lead", PARKED)) as connection:
        left = connection.execute(f"select dynamics_id from state.approvals where approval_id = {OLD}").fetchall()
        for number, case in enumerate(WAITED):
            assert ((f"r{number}",) in left) is case.is_kept, case


ASKED = {"outcome": "ask", "record_type": "lead", "written_direction": "to_marketo", "n_reached": 3}
TITLE = ASKED | {
    "field": "title",
    "type": "text",
    "dynamics_column": "jobtitle",
    "dynamics_value": "D",
    "marketo_value": "M",
}
RATING = ASKED | {
    "field": "rating",
    "type": "choice",
    "dynamics_column": "c",
    "dynamics_value": "1",
    "marketo_value": "2",
}
ASKED_OF = (
    # what is asked of; the rest of it as `dynamics_id`, `person_id` tell, and what is told: cause, name, old value, new value
    ("field_outcomes", TITLE | {"dynamics_id": "a", "person_id": 1}, ("field", "title", "M", "D")),
    ("field_outcomes", TITLE | {"dynamics_id": "b", "person_id": 2}, ("field", "title", "M", "D")),
    ("field_outcomes", TITLE | {"dynamics_id": "c", "person_id": 3, "written_direction": "to_dynamics"},
     ("field", "title", "D", "M")),
    ("field_outcomes", TITLE | {"dynamics_id": "d", "person_id": 4, "outcome": "take_dynamics"}, None),
    ("field_outcomes", TITLE | {"dynamics_id": "waited", "person_id": 5}, None),
    ("field_outcomes", RATING | {"dynamics_id": "a", "person_id": 1}, ("field", "rating", "Warm", "Hot")),
    ("field_outcomes", RATING | {"dynamics_id": "relabelled", "person_id": 6}, ("field", "rating", "Lukewarm", "Hot")),
    ("field_outcomes", RATING | {"dynamics_id": "f", "person_id": 7, "marketo_value": "3"}, ("field", "rating", "Cold", "Hot")),
    ("field_outcomes", RATING | {"dynamics_id": "g", "person_id": 8, "record_type": "contact"}, ("field", "rating", "2", "1")),
    ("field_outcomes", RATING | {"dynamics_id": "h", "person_id": 9, "dynamics_column": "other"}, ("field", "rating", "2", "1")),
    ("asked_differences", {"account_id": "x", "cause": "account", "cause_name": "x", "n_reached": 3, "is_known": False,
                           "field": "company", "old_value": "M", "new_value": "D"}, ("account", "x", "M", "D")),
    ("asked_people", {"record_type": "lead", "dynamics_id": "n", "n_reached": 3}, ("create", "lead", None, None)),
    ("asked_people", {"record_type": "contact", "dynamics_id": "n", "n_reached": 3}, ("create", "contact", None, None)),
    ("asked_people", {"record_type": "contact", "dynamics_id": "waited", "n_reached": 3}, None),
)  # fmt: skip
WAITED_BEFORE: tuple[Row, ...] = (
    {"record_type": "lead", "dynamics_id": "waited", "person_id": 5} | HELD,
    {"record_type": "contact", "dynamics_id": "a", "person_id": 1} | HELD,
    {"record_type": "lead", "dynamics_id": "z", "person_id": 1} | HELD,
    {"record_type": "lead", "dynamics_id": "a", "person_id": 1} | HELD | {"field": "city"},
    {"record_type": "contact", "dynamics_id": "waited"} | HELD | CREATED,
)
OLD_LABEL = {"person_id": 6, "record_type": "lead", "field": "rating", "option_value": "2", "label": "Lukewarm"}


def test_what_is_asked_of_is_told_as_people_read_it_with_one_number_for_each_cause() -> None:
    """The old value is that of the side that gets another; of an option, the label that Marketo still holds where it is known."""
    others = ({"person_id": 16}, {"record_type": "contact"}, {"field": "title"}, {"option_value": "1"})
    asked = {"approval_id": OLD, "cause": "field", "cause_name": "title", "n_people": 3, "asked_at": AT}
    rows: list[Put] = [
        *((table, row) for table, row, _ in ASKED_OF),
        *(("state.approvals", asked | row) for row in WAITED_BEFORE),
        *(("state.old_labels", OLD_LABEL | {"label": "another"} | other) for other in others),
        ("state.old_labels", OLD_LABEL),
    ]
    options = {("lead", "c"): {"1": "Hot", "2": "Warm", "3": "Cold"}}
    with after("reconcile/approvals", *rows, options=options) as connection:
        new = connection.execute(
            "select record_type, dynamics_id, field, cause, cause_name, old_value, new_value, direction, approval_id "
            f"from state.approvals where approval_id <> {OLD} and (n_people, asked_at) = (3, timestamp '{AT}')"
        ).fetchall()
    expected = [
        (row.get("record_type", "account"), row.get("dynamics_id", row.get("account_id")), row.get("field"), *told)
        for _, row, told in ASKED_OF
        if told
    ]
    assert sorted((row[:7] for row in new), key=str) == sorted(expected, key=str)
    causes = {(record_type, cause, name, direction) for record_type, _, _, cause, name, _, _, direction, _ in new}
    assert len({row[-1] for row in new}) == len(causes) == 7
