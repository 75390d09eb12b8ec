"""Which links begin with a base, and which without any, line by line (`first_meetings.sql`), by the rows that it is about.

Each case is a link of its own that was found in this plan. Not here: how it is found (`test_found_link_rows.py`), what is
decided of fields without a base (`test_field_outcomes.py`), whole cycles (`test_first_meeting.py`).
"""

from __future__ import annotations

import pytest

from dynsync_pipeline_tests.worlds.rule_rows import (
    AT,
    BEFORE,
    Put,
    after,
    case,
    person,
    record,
    rows_of,
    told,
)

STEP = "reconcile/first_meetings"
FIELDS = (
    "lead title jobtitle text both",
    "lead city c_city text both",
    "lead box c_box boolean both",
    "lead score c_score text to_marketo",
    "lead rating c_rating choice both",
    "contact title c_title text both",
    "contact box c_box boolean both",
)
OPTIONS: tuple[Put, ...] = tuple(
    ("state.options", {"record_type": "lead", "dynamics_column": "c_rating", "option_value": value, "label": label})
    for value, label in (("1", "Hot"), ("2", "Warm"))
)
OF_TYPE = {"lead": ["box", "city", "rating", "score", "title"], "contact": ["box", "title"]}


def key(record_type: str = "lead", dynamics_id: str = "L") -> dict[str, object]:
    return {"person_id": 1, "record_type": record_type, "dynamics_id": dynamics_id}


def found(record_type: str = "lead", dynamics_id: str = "L", *, is_compared: bool = True) -> tuple[Put, ...]:
    """A link that was found, and is compared."""
    link = key(record_type, dynamics_id)
    compared: list[Put] = [("compared_links", link)] if is_compared else []
    return ("found_links", link), ("state.links", link | {"linked_at": AT}), *compared


LEAD, CONTACT = found(), found("contact", "C")
# Whom more is to be decided of than whether they are equal.
UNSEEN: Put = "state.unseen_edits", {"field": "title", "value": "E", "change_id": 1}
RELABELLED: Put = (
    "state.old_labels",
    {"record_type": "lead", "field": "rating", "label": "Boiling", "option_value": "1"},
)
UNDONE: Put = (
    "state.undoing",
    {"change_id": 1, "cycle_id": 1, "rule_code": "one_sided", "record_type": "lead", "dynamics_id": "L"}
    | {"field": "title", "direction": "to_marketo"},
)
OUTDATED: Put = ("state.outdated_bases", {})
# Of the base: title, city, box, score and the value of the rating; and the fields that have none.
NOTHING = (None, None, None, None, None)
BLANK = (None, None, "false", None, None)
A = ("A", None, "false", None, None)
MEETINGS = (
    # Whose values are all equal has them as its base.
    case((A, []), *LEAD, record(jobtitle="A"), person(title="A")),
    case((BLANK, []), *LEAD, record(), person()),
    case(((None, "B", "true", "five", "one"), []), *LEAD, record(c_city="B", c_box="true", c_score="five", c_rating="1"),
         person(city="B", box="true", score="five", rating="Hot")),
    case((BLANK, []), *LEAD, record(c_box="false"), person()),
    case((BLANK, []), *LEAD, record(), person(box="false")),
    case((A, []), *CONTACT, record("contact", "C", c_title="A"), person(title="A")),
    case((A, []), *CONTACT, record("contact", "C", c_title="A"), person(title="A", city="B")),
    case((A, []), *LEAD, record(jobtitle="A"), person(title="A"), record("contact", "L", c_title="B")),
    # Who differs in some fields has none in these alone.
    case((BLANK, ["title"]), *LEAD, record(jobtitle="A"), person(title="B")),
    case((BLANK, ["title"]), *LEAD, record(jobtitle="A"), person()),
    case((BLANK, ["title"]), *LEAD, record(), person(title="B")),
    case((A, ["city"]), *LEAD, record(jobtitle="A", c_city="A"), person(title="A", city="B")),
    case((BLANK, ["city", "title"]), *LEAD, record(jobtitle="A", c_city="B"), person(title="B", city="A")),
    case((BLANK, ["city", "title"]), *LEAD, record(jobtitle="A"), person(city="A")),
    case((NOTHING, ["box"]), *LEAD, record(c_box="true"), person()),
    case((("A", None, None, None, None), ["box"]), *LEAD, record(jobtitle="A"), person(title="A", box="true")),
    case((A, ["score"]), *LEAD, record(jobtitle="A", c_score="five"), person(title="A")),
    case((A, ["rating"]), *LEAD, record(jobtitle="A", c_rating="1"), person(title="A", rating="Warm")),
    case((A, ["rating"]), *LEAD, record(jobtitle="A", c_rating="1"), person(title="A", rating="Unheard")),
    case((BLANK, ["title"]), *CONTACT, record("contact", "C", c_title="A"), person(title="B"), record("lead", "C", jobtitle="B")),
    case((NOTHING, ["box", "title"]), *CONTACT, record("contact", "C", c_title="A", c_box="true"), person()),
    # What is not compared.
    case(None, *found(is_compared=False), record(jobtitle="A"), person(title="A")),
    case(None, *found("contact", "C", is_compared=False), record("contact", "C", c_title="A"), person(title="A")),
    # Of whom more is to be decided.
    *(
        case(base, *LEAD, record(jobtitle="A"), person(title="A"), (table, {"person_id": person_id} | more))
        for table, more in (UNSEEN, RELABELLED, UNDONE, OUTDATED)
        for person_id, base in ((1, None), (2, (A, [])))
    ),
)  # fmt: skip


@pytest.mark.parametrize("reread_at", [BEFORE, None])
def test_what_both_sides_hold_equal_is_the_base_of_a_found_link_and_no_other_field_has_one(reread_at: object) -> None:
    """R38, R42. In the first plan after a restore nobody has one."""
    backup: Put = ("state.restored", {"restored_at": BEFORE, "made_at": BEFORE, "reread_at": reread_at})
    with after(STEP, backup, *OPTIONS, *rows_of(MEETINGS), fields=FIELDS) as connection:
        base = connection.execute(
            "select person_id, title, city, box, score, replace(rating, '1', 'one') from state.base"
        ).fetchall()
        missing = connection.execute("select person_id, field from state.base_missing order by all").fetchall()
        for number, each in enumerate(MEETINGS):
            record_type = str(each.rows[0][1]["record_type"])
            is_met = each.expected is not None and reread_at is not None
            values, without = each.expected if is_met else (NOTHING, OF_TYPE[record_type])
            assert told(number, base) == [(1, *values)], each
            assert told(number, missing) == [(1, field) for field in without], each


def test_a_link_that_is_older_keeps_its_base() -> None:
    rows: tuple[Put, ...] = (
        ("compared_links", key()),
        ("state.base", {"person_id": 1, "title": "Z"}),
        ("state.base_missing", {"person_id": 1, "field": "city"}),
    )
    with after(STEP, *rows, record(jobtitle="A"), person(title="A"), fields=FIELDS) as connection:
        assert connection.execute("select person_id, title from state.base").fetchall() == [(1, "Z")]
        assert connection.execute("select person_id, field from state.base_missing").fetchall() == [(1, "city")]


@pytest.mark.parametrize("name", ["unequal", "Unequal_Fields", "nothing", "links", "value", "name"])
def test_a_field_may_have_any_name(name: str) -> None:
    """What stands beside the fields, such as which of them are unequal, has a name that none can have."""
    shown: Put = "mirror.marketo_people", {"person_id": 1, "is_deleted": False, name: "A", "title": "B"}
    rows = (*LEAD, record(c_name="A", jobtitle="A"), shown)
    with after(STEP, *rows, fields=(f"lead {name} c_name text both", *FIELDS)) as connection:
        assert connection.execute(f'select "{name}" from state.base').fetchall() == [("A",)]
        assert connection.execute("select field from state.base_missing").fetchall() == [("title",)]
