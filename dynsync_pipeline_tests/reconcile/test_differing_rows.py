"""Which fields differ, which edits in Marketo we overwrote, and when an edit is forgotten, line by line (`differing_fields.sql`,
`overwritten_fields.sql`, `forgotten_edits.sql`), by the rows that they are about.

Each case is a person of its own. Not here: what is decided of it (`test_field_outcomes.py`); what becomes of an edit that was
overwritten (`test_unseen_edit_rows.py`).
"""

from __future__ import annotations

from typing import Any

from dynsync_pipeline_tests.worlds.rule_rows import (
    BEFORE,
    Put,
    Row,
    after,
    case,
    kept_out,
    link,
    person,
    record,
    rows_of,
    told,
)

FIELDS = (
    "account company name text to_marketo",
    "lead title jobtitle text both",
    "lead city c_city text both",
    "lead box c_box boolean both",
    "lead rating c_rating choice both",
    "lead tags c_tags choices both",
    "lead score c_score text to_marketo",
    "lead mark c_mark choice to_dynamics",
    "lead company companyname text both",
    "contact title c_title text both",
    "contact rating c_grade choice both",
)
OPTIONS = {
    ("lead", "c_rating"): {"1": "Hot", "2": "Warm"},
    ("lead", "c_tags"): {"1": "Red", "2": "Blue"},
    ("lead", "c_mark"): {"1": "Hot"},
    ("contact", "c_rating"): {"1": "Mild"},
}
LINKED = link(), ("compared_links", {"person_id": 1, "record_type": "lead", "dynamics_id": "L"})


def sides(base: str | None, dynamics: str | None, marketo: str | None, field: str = "title") -> tuple[Put, ...]:
    """A compared lead's field: its base, and what either side holds."""
    column = {
        "title": "jobtitle",
        "box": "c_box",
        "rating": "c_rating",
        "tags": "c_tags",
        "score": "c_score",
        "mark": "c_mark",
    }
    here: Row = {column[field]: dynamics}
    there: Row = {field: marketo}
    return *LINKED, ("state.base", {"person_id": 1, field: base}), record(**here), person(**there)


def no_base(field: str = "title", person_id: int = 1) -> Put:
    return "state.base_missing", {"person_id": person_id, "field": field}


def returned(field: str, record_type: str = "lead") -> Put:
    return "state.returned_fields", {"record_type": record_type, "field": field}


RETURNED = returned("score"), returned("box"), returned("title", "contact"), returned("rating", "contact")


def old(label: str = "Boiling", value: str = "1", field: str = "rating", **more: Any) -> Put:
    """Marketo still holds that label."""
    key = {"person_id": 1, "record_type": "lead", "field": field}
    return "state.old_labels", key | {"label": label, "option_value": value} | more


RATED = *LINKED, ("state.base", {"person_id": 1, "rating": "1"}), record(c_rating="1"), person(rating="Boiling")
DIFFERING = (
    # Field, base, both values, whether it has a base, and whether its option bears another label now.
    case([("title", "a", "b", "a", True, False)], *sides("a", "b", "a")),
    case([("title", "a", "a", "b", True, False)], *sides("a", "a", "b")),
    case([("title", "a", "b", "b", True, False)], *sides("a", "b", "b")),
    case([("title", None, "b", None, True, False)], *sides(None, "b", None)),
    case([("title", None, None, "b", True, False)], *sides(None, None, "b")),
    case([("title", "a", None, "a", True, False)], *sides("a", None, "a")),
    case([], *sides("a", "a", "a")),
    case([], *sides(None, None, None)),
    case([], *sides("false", "false", None, "box")),
    case([("box", "false", "true", "false", True, False)], *sides("false", "true", None, "box")),
    case([], *sides("a", "b", "a")[2:], link()),
    case([("title", None, "b", "a", False, False)], *sides("a", "b", "a"), no_base()),
    case([("title", None, "a", "a", False, False)], *sides("a", "a", "a"), no_base()),
    case([("title", "a", "b", "a", True, False)], *sides("a", "b", "a"), no_base("city")),
    case([("title", "a", "b", "a", True, False)], *sides("a", "b", "a"), no_base(person_id=2)),
    case([], *sides("a", "a", "a"), no_base("city")),
    # A field that came back empty has lost its base; elsewhere an empty one is a clear.
    case([("score", None, None, "a", False, False)], *sides("a", None, "a", "score")),
    case([("score", "a", "b", "a", True, False)], *sides("a", "b", "a", "score")),
    case([("score", "a", "false", "a", True, False)], *sides("a", "false", "a", "score")),
    case([("box", None, "false", "true", False, False)], *sides("true", "false", "true", "box")),
    case([("box", "false", "true", "false", True, False)], *sides("false", "true", "false", "box")),
    # An option whose label is another now goes to whoever has the old one, while it has a label.
    case([("rating", "1", "1", "1", True, True)], *RATED, old()),
    case([("rating", "1", "1", "?Boiling", True, False)], *RATED, old(person_id=2)),
    case([("rating", "1", "1", "?Boiling", True, False)], *RATED, old(field="tags")),
    case([("rating", "1", "1", "?Boiling", True, False)], *RATED, old(record_type="contact")),
    case([], *sides("1", "1", "Hot", "rating"), old("Hot")),
    case([], *LINKED, ("state.base", {"person_id": 1, "rating": "3"}), record(c_rating="3"), person(rating="Gone"),
         old("Gone", "3")),
    case([("rating", "1", "2", "1", True, True)], *LINKED, ("state.base", {"person_id": 1, "rating": "1"}), record(c_rating="2"),
         person(rating="Boiling"), old()),
    case([("tags", "1,2", "1,2", "1,2", True, True)], *sides("1,2", "1,2", "Rouge; Blue", "tags"),
         old("Rouge; Blue", "1,2", "tags")),
    case([], *sides("1,3", "1,3", "Rouge; Gone", "tags"), old("Rouge; Gone", "1,3", "tags")),
    case([], *sides("1", "1", "Boiling", "mark"), old(field="mark")),
)  # fmt: skip


def test_a_field_differs_where_its_three_values_are_not_one_or_its_option_bears_another_label() -> None:
    with after(
        "reconcile/differing_fields", *RETURNED, *rows_of(DIFFERING), fields=FIELDS, options=OPTIONS
    ) as connection:
        found = connection.execute(
            "select person_id, field, base_value, dynamics_value, marketo_value, has_base, is_relabelled from differing_fields"
        ).fetchall()
        for number, each in enumerate(DIFFERING):
            mine = [row[1:] for row in found if row[0] == number * 100 + 1]
            assert mine == each.expected, each
        kinds = connection.execute(
            "select distinct field, dynamics_column, type, direction from differing_fields "
            "where field in ('rating', 'score')"
        ).fetchall()
        assert sorted(kinds) == [("rating", "c_rating", "choice", "both"), ("score", "c_score", "text", "to_marketo")]


def test_only_who_differs_is_looked_at_value_by_value() -> None:
    with after(
        "reconcile/differing_fields", *RETURNED, *rows_of(DIFFERING), fields=FIELDS, options=OPTIONS
    ) as connection:
        looked_at = {person_id for (person_id,) in connection.execute("from differing_links").fetchall()}
    for number, each in enumerate(DIFFERING):
        is_told = any(
            table in ("state.base_missing", "state.old_labels") and row["person_id"] == 1 for table, row in each.rows
        )
        assert (number * 100 + 1 in looked_at) is (bool(each.expected) or is_told), each


def edit(value: str | None = "Edit", field: str = "title", change_id: int = 1) -> Put:
    """An edit in Marketo that our write of that entry overwrote."""
    return "state.unseen_edits", {"person_id": 1, "field": field, "value": value, "change_id": change_id}


def wrote(
    old: str | None = "Old", new: str | None = "New", rule: str = "one_sided", field: str = "title", **more: Any
) -> Put:
    of = {
        "entry_id": 1,
        "cycle_id": 1,
        "changed_at": BEFORE,
        "direction": "to_marketo",
        "record_type": "lead",
        "dynamics_id": "L",
    }
    return "ledger.changes", of | {
        "person_id": 1,
        "field": field,
        "old_value": old,
        "new_value": new,
        "rule_code": rule,
    } | more


TITLE = ("title", "Old", "New", "Edit", True)
OVERWRITTEN = (
    # Field, base, both values, and whether what we wrote was somebody's edit in Dynamics.
    case([TITLE], link(), edit(), wrote()),
    case([("title", "Old", "Old", "Edit", False)], link(), edit(), wrote(rule="undo")),
    case([("title", None, "New", None, True)], link(), edit(None), wrote(None)),
    case([TITLE], link(1, "contact", "L"), edit(), wrote()),
    case([], edit(), wrote()),
    case([], link(2), edit(), wrote()),
    case([], link(), edit()),
    case([], link(), edit(change_id=2), wrote()),
    case([], link(), edit(field="score"), wrote(field="score")),
    case([], link(), edit("1", "mark"), wrote(field="mark")),
    case([], link(), edit(field="company"), wrote(field="company")),
    case([], link(1, "contact", "L"), edit(field="city"), wrote(field="city")),
    case([], link(), edit(field="unknown"), wrote(field="unknown")),
    # Not of whom is kept out.
    case([], link(), edit(), wrote(), kept_out()),
    case([TITLE], link(), edit(), wrote(), kept_out("contact")),
    case([TITLE], link(), edit(), wrote(), kept_out("lead", "M")),
    # Options by their number, and a box that is not set like an empty one.
    case([("rating", "1", "2", "?Odd", True)], link(), edit("Odd", "rating"), wrote("Hot", "Warm", field="rating")),
    case([("rating", "?Mild", "2", "1", True)], link(), edit("Hot", "rating"), wrote("Mild", "Warm", field="rating")),
    case([("box", "false", "true", "false", True)], link(), edit(None, "box"), wrote(None, "true", field="box")),
    case([("box", "true", "false", "true", True)], link(), edit("true", "box"), wrote("true", None, field="box")),
)  # fmt: skip


def test_an_edit_that_our_write_overwrote_meets_what_we_wrote_and_what_that_replaced() -> None:
    with after("reconcile/overwritten_fields", *rows_of(OVERWRITTEN), fields=FIELDS, options=OPTIONS) as connection:
        found = connection.execute(
            "select person_id, field, base_value, dynamics_value, marketo_value, is_carried_over from overwritten_fields"
        ).fetchall()
        for number, each in enumerate(OVERWRITTEN):
            assert [row[1:] for row in found if row[0] == number * 100 + 1] == each.expected, each
        assert connection.execute("select distinct has_base, is_relabelled from overwritten_fields").fetchall() == [
            (True, False)
        ]


def decided(outcome: str = "agree", field: str = "title", person_id: int = 1) -> Put:
    return "field_outcomes", {"person_id": person_id, "field": field, "outcome": outcome}


def compared(**more: Any) -> Put:
    return "compared_links", {"person_id": 1, "record_type": "lead", "dynamics_id": "L"} | more


def ended(**more: Any) -> Put:
    return "ended_links", {"person_id": 1, "record_type": "lead", "dynamics_id": "L", "side": "dynamics"} | more


EDITS: tuple[Put, ...] = (
    ("state.dynamics_edits", {"record_type": "lead", "dynamics_id": "L", "field": "title", "after_at": BEFORE}),
    ("state.marketo_edits", {"person_id": 1, "field": "title", "value": "v", "told_at": BEFORE}),
)
FORGOTTEN = (
    # Whether it is still known when either side was edited: Dynamics, Marketo.
    case((True, True), *EDITS),
    case((False, False), *EDITS, compared()),
    case((True, True), *EDITS, compared(), decided("stand")),
    case((False, False), *EDITS, compared(), decided()),
    case((False, False), *EDITS, compared(), decided("stand", "city")),
    case((False, False), *EDITS, compared(), decided("stand", person_id=2)),
    case((True, False), *EDITS, compared(record_type="contact")),
    case((True, False), *EDITS, compared(dynamics_id="M")),
    case((False, True), *EDITS, compared(person_id=2)),
    case((False, False), *EDITS, ended(), decided("stand")),
    case((True, False), *EDITS, ended(record_type="contact")),
    case((True, False), *EDITS, ended(dynamics_id="M")),
    case((False, True), *EDITS, ended(person_id=2)),
)  # fmt: skip


def test_when_a_field_was_edited_is_forgotten_once_its_sides_agree_or_its_link_ended() -> None:
    with after("reconcile/forgotten_edits", *rows_of(FORGOTTEN), fields=FIELDS) as connection:
        dynamics = connection.execute("select dynamics_id from state.dynamics_edits").fetchall()
        marketo = connection.execute("select person_id from state.marketo_edits").fetchall()
        for number, each in enumerate(FORGOTTEN):
            kept = bool(told(number, dynamics)), bool(told(number, marketo))
            assert kept == each.expected, each
