"""Which values are written, to whom, and in which words, line by line (`planned_writes.sql`), by the rows that it is about.

Each case is a record of its own. Not here: what they become part of (`test_operation_rows.py`).
"""

from __future__ import annotations

from typing import Any

from dynsync_pipeline_tests.worlds.rule_rows import Put, Row, after, case, record, rows_of, told

FIELDS = (
    "account company name text to_marketo",
    "lead title jobtitle text both",
    "lead company companyname text both",
    "lead rating c_rating choice both",
    "lead tags c_tags choices both",
    "lead box c_box boolean both",
    "lead score c_score text to_dynamics",
    "lead born c_born date both",
    "lead size c_size integer both",
    "contact title c_title text both",
    "contact rating c_rating choice both",
)
OPTIONS = {
    ("lead", "c_rating"): {"1": "Hot", "2": "Warm"},
    ("contact", "c_rating"): {"1": "Mild", "2": "Cold"},
    ("lead", "c_tags"): {"1": "Red", "2": "Blue"},
}
ROUND: tuple[Put, ...] = (
    *(("state.columns", {
        "system": "marketo", "record_type": None, "name": "title", "data_type": "string", "max_length": 5, "is_readable": True,
        "is_writable": True, "read_at": "2026-01-01",
    } | more) for more in (  # the one of Marketo alone counts
        {}, {"system": "dynamics", "record_type": "lead", "max_length": 1}, {"name": "jobtitle", "max_length": 1},
    )),
    ("state.columns", {
        "system": "dynamics", "record_type": "lead", "name": "c_born", "data_type": "DateTime", "is_readable": True,
        "is_writable": True, "read_at": "2026-01-01", "time_behavior": "UserLocal",
    }),
    ("state.user_zone", {"zone": "Europe/Berlin"}),
)  # fmt: skip


def new(record_type: str = "lead", dynamics_id: str = "L") -> Put:
    return "new_people", {"record_type": record_type, "dynamics_id": dynamics_id}


NEW = (
    # Field, action, text and JSON of each value of a new person; or the code by which it is known to be refused.
    case([("title", "create", "Boss", '"Boss"')], new(), record(jobtitle="Boss")),
    case([], record(jobtitle="Boss")),
    case([], new("contact"), record(jobtitle="Boss")),
    case([], new("lead", "M"), record(jobtitle="Boss")),
    case([("title", "create", "Boss", '"Boss"')], new("contact"), record("contact", "L", c_title="Boss"), record(jobtitle="x")),
    case([("title", "too_long")], new(), record(jobtitle="Bosses")),
    case([], new(), record(c_score="5")),
    case([], new(), record(c_box="false")),
    case([("box", "create", "true", "true")], new(), record(c_box="true")),
    case([("title", "create", "false", '"false"')], new(), record(jobtitle="false")),
    case([("rating", "create", "1", '"Hot"')], new(), record(c_rating="1")),
    case([("rating", "create", "1", '"Mild"')], new("contact"), record("contact", "L", c_rating="1")),
    case([("tags", "create", "1,2", '"Red; Blue"')], new(), record(c_tags="1,2")),
    case([("company", "company", "Acme", '"Acme"')], new(), record(companyname="Acme")),
    case([("size", "create", "7", "7"), ("title", "create", "Boss", '"Boss"')], new(), record(jobtitle="Boss", c_size="7")),
)  # fmt: skip


def test_of_a_new_person_all_is_written_that_its_record_holds_and_marketo_takes() -> None:
    with after("reconcile/planned_writes", *ROUND, *rows_of(NEW), fields=FIELDS, options=OPTIONS) as connection:
        found = connection.execute(
            "select dynamics_id, field, action, value, json_value, system, rule_code, outcome, json_name, dynamics_column, "
            "person_id, record_type from planned_writes order by all"
        ).fetchall()
        misfits = connection.execute(
            "select dynamics_id, field, misfit_code from new_values where misfit_code is not null"
        ).fetchall()
        for number, each in enumerate(NEW):
            of = [row[:5] for row in found if row[0] == f"L{number}"]
            assert [tuple(row[1:]) for row in of] == [row for row in each.expected if len(row) == 4], each
            assert [row[1:] for row in told(number, misfits)] == [row for row in each.expected if len(row) == 2], each
        assert {row[5:8] for row in found} == {("marketo", "new_in_dynamics", "take_dynamics")}
        assert all(row[8] == row[1] and row[10] is None for row in found)
        columns = {row[1]: row[9] for row in found if row[11] == "lead"}
        assert columns == {
            "title": "jobtitle", "box": "c_box", "rating": "c_rating", "tags": "c_tags", "company": "companyname",
            "size": "c_size",
        }  # fmt: skip
        assert connection.execute(
            "select distinct most_characters from new_values where field = 'title'"
        ).fetchall() == [(5,)]


COLUMNS = {
    "title": ("jobtitle", "text"),
    "rating": ("c_rating", "choice"),
    "company": ("companyname", "text"),
    "born": ("c_born", "date"),
    "size": ("c_size", "integer"),
    "tags": ("c_tags", "choices"),
}
KEY: Row = {"record_type": "lead", "dynamics_id": "L", "person_id": 1}


def decided(
    outcome: str, field: str = "title", dynamics: str | None = "D", marketo: str | None = "M", **more: Any
) -> Put:
    """How a field of a lead was decided, beside its base B."""
    column, kind = COLUMNS[field]
    values = {"base_value": "B", "dynamics_value": dynamics, "marketo_value": marketo}
    how: Row = {"outcome": outcome, "rule_code": "one_sided", "is_dynamics_update": True, "is_marketo_update": False}
    return "field_outcomes", KEY | {"field": field, "dynamics_column": column, "type": kind} | values | how | more


def unseen(field: str = "title", person_id: int = 1, *, is_to_stand: bool = True) -> Put:
    return "overwritten_outcomes", {"person_id": person_id, "field": field, "is_to_stand": is_to_stand}


def old_label(value: str = "1", **more: Any) -> Put:
    key = {"person_id": 1, "record_type": "lead", "field": "rating"}
    return "state.old_labels", key | {"label": "Boiling", "option_value": value} | more


TITLE_THERE = ("marketo", "update", "D", "title", '"D"', "B", "D", "M")
TITLE_HERE = ("dynamics", "update", "M", "jobtitle", '"M"', "B", "D", "M")
RATING = {"field": "rating", "dynamics": "1", "marketo": "2", "base_value": "?Old"}
RATED = ("marketo", "update", "1", "rating", '"Hot"', "Old", "Hot", "Warm")
TAKEN = (
    # System, action, value, its name and JSON there; base and both values as people read them.
    case([TITLE_THERE], decided("take_dynamics")),
    case([TITLE_THERE], decided("collision_dynamics_wins")),
    case([TITLE_HERE], decided("take_marketo")),
    case([TITLE_HERE], decided("collision_marketo_wins")),
    case([], decided("agree")),
    case([], decided("stand")),
    case([], decided("wait")),
    case([("marketo", "company", "D", "company", '"D"', "B", "D", "M")], decided("take_dynamics", "company")),
    case([("dynamics", "update", "M", "companyname", '"M"', "B", "D", "M")], decided("take_marketo", "company")),
    case([("marketo", "update", None, "title", "null", "B", None, "M")], decided("take_dynamics", dynamics=None)),
    # Options are numbers in Dynamics and labels in Marketo; the label that Marketo still has of before is told.
    case([RATED], decided("take_dynamics", **RATING)),
    case([("dynamics", "update", "2", "c_rating", "2", "Old", "Hot", "Warm")], decided("take_marketo", **RATING)),
    case([("dynamics", "update", "1,2", "c_tags", '"1,2"', "B", "D", "Red; Blue")],
         decided("take_marketo", "tags", marketo="1,2")),
    case([(*RATED[:7], "Boiling")], decided("take_dynamics", **RATING), old_label("2")),
    case([RATED], decided("take_dynamics", **RATING), old_label("1")),
    case([RATED], decided("take_dynamics", **RATING), old_label("2", person_id=2)),
    case([RATED], decided("take_dynamics", **RATING), old_label("2", record_type="contact")),
    case([RATED], decided("take_dynamics", **RATING), old_label("2", field="tags")),
    # A day of a user-local column goes to Dynamics as its midnight; to Marketo as it is.
    case([("dynamics", "update", "2026-03-01", "c_born", '"2026-02-28T23:00:00Z"', "B", "D", "2026-03-01")],
         decided("take_marketo", "born", marketo="2026-03-01")),
    case([("marketo", "update", "2026-03-01", "born", '"2026-03-01"', "B", "2026-03-01", "M")],
         decided("take_dynamics", "born", dynamics="2026-03-01")),
    case([("dynamics", "update", "2026-03-01", "jobtitle", '"2026-03-01"', "B", "D", "2026-03-01")],
         decided("take_marketo", marketo="2026-03-01")),
    case([("dynamics", "update", "7", "c_size", "7", "B", "D", "7")], decided("take_marketo", "size", marketo="7")),
    # Where an edit in Marketo that we overwrote is put back, Dynamics' edit waits for it.
    case([], decided("take_dynamics"), unseen()),
    case([TITLE_THERE], decided("take_dynamics"), unseen(is_to_stand=False)),
    case([TITLE_THERE], decided("take_dynamics"), unseen("city")),
    case([TITLE_THERE], decided("take_dynamics"), unseen(person_id=2)),
    case([TITLE_THERE], decided("take_dynamics", is_dynamics_update=False), unseen()),
    case([TITLE_THERE], decided("take_dynamics", is_marketo_update=True), unseen()),
)  # fmt: skip
WRITTEN = "system, action, value, json_name, json_value, base_shown, dynamics_shown, marketo_shown"


def test_whoever_takes_the_other_sides_value_is_written_it_in_the_words_of_its_system() -> None:
    with after("reconcile/planned_writes", *ROUND, *rows_of(TAKEN), fields=FIELDS, options=OPTIONS) as connection:
        found = connection.execute(f"select dynamics_id, person_id, {WRITTEN} from planned_writes").fetchall()
        for number, each in enumerate(TAKEN):
            mine = [row for row in found if row[0] == f"L{number}"]
            assert [row[2:] for row in mine] == each.expected, each
            assert {row[1] for row in mine} <= {number * 100 + 1}


def own(new: str | None, old: str | None = None, person_id: int | None = 1, kind: str = "text") -> Put:
    values = {"field": "kind", "type": kind, "rule_code": "own_field_put_back", "old_value": old, "new_value": new}
    return "own_field_writes", KEY | {"person_id": person_id} | values


def undone(direction: str, before: str | None, written: str | None, field: str = "title") -> Put:
    column, kind = COLUMNS[field]
    values = {"direction": direction, "value_before": before, "value_written": written}
    return "undone_fields", KEY | {"field": field, "dynamics_column": column, "type": kind} | values


OTHERS = (
    case([("marketo", "update", "Lead", "kind", '"Lead"', None, "Lead", "Old", "own_field_put_back", "take_dynamics")],
         own("Lead", "Old")),
    case([("marketo", "create", "Lead", "kind", '"Lead"', None, "Lead", None, "own_field_put_back", "take_dynamics")],
         own("Lead", person_id=None)),
    case([("marketo", "update", "true", "kind", "true", None, "true", "false", "own_field_put_back", "take_dynamics")],
         own("true", "false", kind="boolean")),
    case([("marketo", "update", "A", "title", '"A"', "B", "A", "B", "undo", "take_dynamics")], undone("to_marketo", "A", "B")),
    case([("dynamics", "update", "A", "jobtitle", '"A"', "B", "B", "A", "undo", "take_marketo")],
         undone("to_dynamics", "A", "B")),
    case([("dynamics", "update", "1", "c_rating", "1", "Warm", "Warm", "Hot", "undo", "take_marketo")],
         undone("to_dynamics", "1", "2", "rating")),
)  # fmt: skip


def test_the_syncs_own_fields_and_what_is_undone_are_written_like_any_other() -> None:
    with after("reconcile/planned_writes", *ROUND, *rows_of(OTHERS), fields=FIELDS, options=OPTIONS) as connection:
        found = connection.execute(f"select dynamics_id, {WRITTEN}, rule_code, outcome from planned_writes").fetchall()
        for number, each in enumerate(OTHERS):
            assert [row[1:] for row in found if row[0] == f"L{number}"] == each.expected, each


def test_values_are_written_also_while_nobody_knows_the_zone_of_the_user() -> None:
    with after("reconcile/planned_writes", decided("take_dynamics"), fields=FIELDS) as connection:
        assert connection.execute("select json_value from planned_writes").fetchall() == [('"D"',)]
