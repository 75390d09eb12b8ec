"""What becomes of base and differences after a backup was put back, line by line (`restored_links.sql`), by the rows that it is
about.

Each case is a link of its own. Not here: restores as users run them (`../operate/test_restore.py`); what the working file
forgets (`../operate/test_put_back_rows.py`).
"""

from __future__ import annotations

from typing import Any

from dynsync_pipeline_tests.worlds.rule_rows import (
    AT,
    BEFORE,
    SECOND,
    Put,
    after,
    case,
    link,
    parked,
    person,
    record,
    rows_of,
    told,
    touched,
)

STEP = "reconcile/restored_links"
FIELDS = (
    "lead title jobtitle text both",
    "lead city c_city text both",
    "lead flag c_flag boolean both",
    "lead sent c_sent text to_marketo",
    "lead taken c_taken text to_dynamics",
    "contact title c_title text to_dynamics",
    "contact nick c_nick text both",
)
COLUMNS = {"title": "jobtitle"}
LINKED = link(), ("compared_links", {"person_id": 1, "record_type": "lead", "dynamics_id": "L"})
OUTDATED: Put = ("state.outdated_bases", {"person_id": 1})


def sides(dynamics: str | None, marketo: str | None, field: str = "title", base: str | None = None) -> tuple[Put, ...]:
    """A link that is compared, and what its field holds on both sides and in the base."""
    in_dynamics: dict[str, Any] = {COLUMNS.get(field, f"c_{field}"): dynamics}
    in_marketo: dict[str, Any] = {field: marketo}
    return *LINKED, record(**in_dynamics), person(**in_marketo), ("state.base", {"person_id": 1, field: base})


def restored(*values: Any, **more: Any) -> tuple[Put, ...]:
    """Such a link whose base is that of a backup."""
    return *sides(*values, **more), OUTDATED


def without_base(field: str = "title", person_id: int = 1) -> Put:
    return "state.base_missing", {"person_id": person_id, "field": field}


def changed(field: str = "title", person_id: int = 1) -> Put:
    """The snapshot tells of a value since the backup."""
    return "state.changed_after_backup", {"person_id": person_id, "field": field}


def stands(dynamics: str | None, marketo: str | None, field: str = "title", **more: Any) -> Put:
    values = {"field": field, "dynamics_value": dynamics, "marketo_value": marketo}
    return "state.standing_differences", {"person_id": 1, "reason_code": "undo", "since": BEFORE} | values | more


STANDS, MEETS, AGREES = "stands", "meets", "agrees"
DIFFERENCES = (
    # A field that goes both ways stands, but a blank that was blank is filled.
    case(AGREES, *restored("a", "a", base="a")),
    case(AGREES, *restored("a", "a", base="b")),
    case(AGREES, *restored(None, None)),
    case(STANDS, *restored("D", "M", base="a")),
    case(STANDS, *restored("D", "M", base="D")),
    case(STANDS, *restored("D", "M")),
    case(MEETS, *restored("D", None)),
    case(MEETS, *restored(None, "M")),
    case(STANDS, *restored("D", None, base="a")),
    case(STANDS, *restored(None, "M", base="a")),
    case(STANDS, *restored("D", None), changed()),
    case(MEETS, *restored("D", None), changed("city")),
    case(MEETS, *restored("D", None), changed(person_id=2)),
    case(MEETS, *restored("D", None), without_base()),
    # No is the blank of a checkbox, and of nothing else.
    case(MEETS, *restored("true", "false", "flag")),
    case(MEETS, *restored("false", "true", "flag")),
    case(MEETS, *restored("true", "false", "flag", "false")),
    case(STANDS, *restored("true", "false", "flag", "true")),
    case(STANDS, *restored("D", None, base="false")),
    case(STANDS, *restored("D", "false")),
    case(STANDS, *restored("false", "M")),
    # What goes one way is sent where the side that does not own it is as it was (R43, R44).
    case(MEETS, *restored("D", "M", "sent", "M")),
    case(STANDS, *restored("D", "M", "sent", "a")),
    case(STANDS, *restored("D", "M", "sent", "D")),
    case(MEETS, *restored("D", None, "sent")),
    case(STANDS, *restored("D", None, "sent", "a")),
    case(STANDS, *restored("D", "M", "sent")),
    case(STANDS, *restored("D", "M", "sent", "M"), without_base("sent")),
    case(MEETS, *restored("D", "M", "sent", "M"), without_base("taken")),
    case(MEETS, *restored("D", "M", "sent", "M"), without_base("sent", 2)),
    case(MEETS, *restored("D", "M", "taken", "D")),
    case(STANDS, *restored("D", "M", "taken", "a")),
    case(STANDS, *restored("D", "M", "taken", "M")),
    case(MEETS, *restored(None, "M", "taken")),
    case(STANDS, *restored(None, "M", "taken", "a")),
    case(STANDS, *restored("D", "M", "taken")),
    case(STANDS, *restored("D", "M", "taken", "D"), without_base("taken")),
)  # fmt: skip


def test_after_a_restore_two_values_stand_and_a_blank_is_filled() -> None:
    with after(STEP, *rows_of(DIFFERENCES), fields=FIELDS) as connection:
        standing = connection.execute(
            "select person_id, dynamics_value, marketo_value, reason_code, since from state.standing_differences"
        ).fetchall()
        without = connection.execute("select person_id, field from state.base_missing").fetchall()
        base = connection.execute("select person_id, title, city, flag, sent, taken from state.base").fetchall()
        for number, each in enumerate(DIFFERENCES):
            field, dynamics, marketo = _told_sides(each.rows)
            assert told(number, standing) == [(1, dynamics, marketo, "restored", AT)] * (each.expected == STANDS), each
            assert ((1, field) in told(number, without)) == (each.expected == MEETS), each
            (held,) = told(number, base)
            others = {name: BLANKS.get(name) for name in FIELDS_OF_LEADS}
            assert held[1:] == tuple((others | {field: dynamics}).values()), each


FIELDS_OF_LEADS, BLANKS = ("title", "city", "flag", "sent", "taken"), {"flag": "false"}


def _told_sides(rows: tuple[Put, ...]) -> tuple[str, str | None, str | None]:
    """The field of a case, and what Dynamics and Marketo hold."""
    (_, found), (_, of_person) = rows[2], rows[3]
    field = next(name for name in of_person if name in FIELDS_OF_LEADS)
    return field, found[COLUMNS.get(field, f"c_{field}")], of_person[field]


OF_BACKUP = [("title", "D", "M", "undo")]
TWO_FIELDS = *LINKED, record(jobtitle="D", c_city="X"), person(title="M"), ("state.base", {"person_id": 1}), OUTDATED
STOOD = (
    # What stands, and which fields have no base.
    case((OF_BACKUP, []), *restored("D", "M"), stands("D", "M")),
    case(([("title", "D", "M", "restored")], []), *restored("D", "M"), stands("D", "N")),
    case(([("title", "D", "M", "restored")], []), *restored("D", "M"), stands("E", "M")),
    case(([("title", "D", "M", "restored")], []), *restored("D", "M"), stands(None, "M")),
    case(([("title", "D", None, "undo")], []), *restored("D", None), stands("D", None)),
    case(([("title", None, "M", "undo")], []), *restored(None, "M"), stands(None, "M")),
    case(([], []), *restored("D", "D"), stands("D", "M")),
    case(([], []), *restored("D", "D"), stands("D", "M", "city")),
    case(([("title", "D", "M", "restored")], []), *restored("D", "M"), stands("D", "M", "city")),
    case(([], []), *restored("D", "D"), without_base()),
    case(([], ["title"]), *restored("D", None), without_base()),
    case(([("title", "D", "M", "restored")], ["city"]), *TWO_FIELDS),
    # The base of others is as good as it was.
    case((OF_BACKUP, ["city", "title"]), *sides("D", "N"), stands("D", "M"), without_base(), without_base("city")),
    case((OF_BACKUP, []), stands("D", "M"), OUTDATED),
)  # fmt: skip


def test_what_stood_before_a_backup_goes_on_as_long_as_it_shows() -> None:
    with after(STEP, *rows_of(STOOD), fields=FIELDS) as connection:
        standing = connection.execute(
            "select person_id, field, dynamics_value, marketo_value, reason_code from state.standing_differences order by all"
        ).fetchall()
        without = connection.execute("select person_id, field from state.base_missing order by all").fetchall()
        for number, each in enumerate(STOOD):
            expected, missing = each.expected
            assert [row[1:] for row in told(number, standing)] == expected, each
            assert [field for _, field in told(number, without)] == missing, each


GONE: Put = ("state.known_fields", {"record_type": "lead", "field": "gone", "dynamics_column": "c"})
KNOWN: Put = ("state.known_fields", {"record_type": "lead", "field": "title", "dynamics_column": "jobtitle"})
OF_CONTACTS: Put = ("state.known_fields", {"record_type": "contact", "field": "city", "dynamics_column": "c"})
PARKED = parked("lead", "parked"), parked("lead", "gone"), parked("contact", "other"), parked("lead", "title")
OLD: Put = ("state.outdated_fields", {"person_id": 1, "field": "gone", "was_filled": False})


def test_a_field_that_is_out_of_the_map_is_compared_with_nothing_that_came_back() -> None:
    cases = (
        case((["gone"], [("gone", True), ("parked", False)]), *restored("D", "D")),
        case((["gone"], [("gone", True), ("parked", True)]), *restored("D", "D"), changed("parked")),
        case((["gone"], [("gone", True), ("parked", False)]), *restored("D", "D"), changed("parked", 2), changed()),
        case((["gone"], [("gone", True), ("parked", False)]), *restored("D", "D"), OLD),
        case(([], [("gone", False)]), *sides("D", "D"), OLD),
    )
    with after(STEP, GONE, KNOWN, OF_CONTACTS, *PARKED, *rows_of(cases), fields=FIELDS) as connection:
        without = connection.execute("select person_id, field from state.base_missing").fetchall()
        outdated = connection.execute("select person_id, field, was_filled from state.outdated_fields order by all")
        found = outdated.fetchall()
        for number, each in enumerate(cases):
            missing, later = each.expected
            assert [field for _, field in told(number, without)] == missing, each
            assert [row[1:] for row in told(number, found)] == later, each


def was_parked(field: str = "title", *, was_filled: bool = False) -> Put:
    return "state.outdated_fields", {"person_id": 1, "field": field, "was_filled": was_filled}


AS_CONTACT = link(1, "contact", "C"), ("compared_links", {"person_id": 1, "record_type": "contact", "dynamics_id": "C"})
STAND: Any = ([("D", "M", "restored")], [], [])
WITHOUT: Any = ([], ["title"], [])
MEETING = (
    # What stands, which fields have no base, and which meet later.
    case(STAND, *sides("D", "M"), was_parked(), without_base()),
    case(WITHOUT, *sides("D", None), was_parked(), without_base()),
    case(WITHOUT, *sides(None, "M"), was_parked(), without_base()),
    case(([("D", None, "restored")], [], []), *sides("D", None), was_parked(was_filled=True), without_base()),
    case(([(None, "M", "restored")], [], []), *sides(None, "M"), was_parked(was_filled=True), without_base()),
    case(WITHOUT, *sides("D", "D"), was_parked(was_filled=True), without_base()),
    case(([], ["flag"], []), *sides("true", "false", "flag"), was_parked("flag"), without_base("flag")),
    case(([], ["flag"], []), *sides("false", "true", "flag"), was_parked("flag"), without_base("flag")),
    case(([("D", "false", "restored")], [], []), *sides("D", "false"), was_parked(), without_base()),
    case(([("D", "M", "restored")], ["city"], []), *sides("D", "M"), was_parked(), without_base(), without_base("city")),
    case(([("D", "M", "undo")], [], []), *sides("D", "M"), was_parked(), without_base(), stands("D", "M")),
    case(WITHOUT, *sides("D", "M"), was_parked("city"), without_base()),
    case(([], ["title"], ["gone"]), *sides("D", "M"), was_parked("gone"), without_base()),
    case(([("D", "M", "restored")], [], ["gone"]), *sides("D", "M"), was_parked("gone"), was_parked()),
    case(([], ["title"], ["title"]), *sides("D", "M")[:1], was_parked(), without_base()),
    case(([], ["flag"], ["flag"]), *AS_CONTACT, record("contact", "C"), person(), was_parked("flag"), without_base("flag")),
    # What came back with the backup itself is judged by its base.
    case(WITHOUT, *restored("D", None), was_parked(was_filled=True)),
)  # fmt: skip


def test_a_field_that_was_parked_meets_the_same_once_it_is_on_offer() -> None:
    with after(STEP, *rows_of(MEETING), fields=FIELDS) as connection:
        standing = connection.execute(
            "select person_id, dynamics_value, marketo_value, reason_code from state.standing_differences"
        ).fetchall()
        without = connection.execute("select person_id, field from state.base_missing order by all").fetchall()
        later = connection.execute("select person_id, field from state.outdated_fields").fetchall()
        for number, each in enumerate(MEETING):
            stand, missing, waiting = each.expected
            assert [row[1:] for row in told(number, standing)] == stand, each
            assert [field for _, field in told(number, without)] == missing, each
            assert [field for _, field in told(number, later)] == waiting, each


def test_whose_base_was_made_anew_is_published() -> None:
    cases = (
        case(1, *restored("D", "D")),
        case(1, *sides("D", "M"), was_parked()),
        case(0, *sides("D", None), was_parked()),
        case(0, *sides("D", "M")),
    )
    with after(STEP, *rows_of(cases), fields=FIELDS) as connection:
        found = connection.execute("select person_id, published_table, dynamics_id from state.unpublished").fetchall()
        for number, each in enumerate(cases):
            assert told(number, found) == [(1, "people", None)] * each.expected, each


def put_back(*, reread_at: Any = None) -> Put:
    return "state.restored", {"restored_at": AT, "made_at": BEFORE, "reread_at": reread_at}


def edited(key: str) -> Put:
    return "state.local_company_edits", {"external_company_id": key, "field": "company"}


def test_the_first_plan_after_a_restore_makes_anew_what_it_compares_and_notes_the_others() -> None:
    cases = (
        case((True, []), *sides("D", "D", base="a")),
        case((True, []), *restored("D", "D", base="a")),
        case((False, [1]), *sides("D", "D", base="a")[2:], link()),
        case((False, [1]), *sides("D", "D", base="a")[2:], link(), OUTDATED),
    )
    for how in ({}, {"reread_at": BEFORE}):
        with after(STEP, put_back(**how), *rows_of(cases), changed("x", 9999), fields=FIELDS) as connection:
            base = connection.execute("select person_id, title from state.base").fetchall()
            outdated = connection.execute("select person_id from state.outdated_bases").fetchall()
            for number, each in enumerate(cases):
                is_outdated = OUTDATED in each.rows
                is_anew, left = each.expected if not how else (is_outdated and each.expected[0], [1] * (number == 3))
                assert told(number, base) == [(1, "D" if is_anew else "a")], each
                assert [person_id for (person_id,) in told(number, outdated)] == left, each
            assert connection.execute("select reread_at from state.restored").fetchall() == [(BEFORE if how else AT,)]
            assert connection.execute("from state.changed_after_backup").fetchall() == [(9999, "x")]


def test_what_was_changed_after_a_backup_is_forgotten_with_the_last_outdated_base() -> None:
    for rows, is_forgotten in (
        (restored("D", "D"), True),
        ((*restored("D", "D"), put_back()), True),
        ((*restored("D", "D"), link(2, "lead", "K"), put_back()), False),
        ((), True),
    ):
        with after(STEP, *rows, changed("x", 99), fields=FIELDS) as connection:
            found = connection.execute("from state.changed_after_backup").fetchall()
            assert found == ([] if is_forgotten else [(99, "x")]), rows


def test_a_company_that_was_edited_since_is_left_alone_by_a_restore() -> None:
    cases = (
        case(False, touched(record_type="account", dynamics_id="A"), edited("A")),
        case(True, touched(record_type="account", dynamics_id="A"), edited("B")),
        case(True, touched(record_type="lead", dynamics_id="A"), edited("A")),
    )
    for how, is_first in (({}, True), ({"reread_at": BEFORE}, False)):
        with after(STEP, put_back(**how), *rows_of(cases), fields=FIELDS) as connection:
            found = connection.execute("select dynamics_id from inbox.touched").fetchall()
            for number, each in enumerate(cases):
                assert told(number, found) == [("A",)] * (each.expected or not is_first), each


def stone(side: str = "marketo", ended_at: Any = BEFORE, record_type: str = "lead") -> Put:
    key = {"person_id": 1, "record_type": record_type, "dynamics_id": "L"}
    return "state.tombstones", key | {"side": side, "ended_at": ended_at}


AS_AGREED: Put = ("state.tombstone_values", {
    "record_type": "lead", "dynamics_id": "L", "field": "title", "dynamics_column": "jobtitle", "value": "a",
})  # fmt: skip
HELD = record(jobtitle="D", c_taken="x")
KEPT = [("lead", "title", "a")]
ANEW = [("lead", "city", None), ("lead", "flag", "false"), ("lead", "sent", None), ("lead", "title", "D")]
STONES = (
    case(ANEW, stone(), HELD, AS_AGREED),
    case(ANEW, stone("merged"), HELD, AS_AGREED),
    case(KEPT, stone("dynamics"), HELD, AS_AGREED),
    case(KEPT, stone(ended_at=AT), HELD, AS_AGREED),
    case(KEPT, stone(ended_at=AT + SECOND), HELD, AS_AGREED),
    case([("contact", "nick", "N"), *KEPT], stone(record_type="contact"), HELD, AS_AGREED, record("contact", "L", c_nick="N")),
)  # fmt: skip


def test_a_tombstone_of_a_backup_brings_nobody_back_by_what_was_edited_since() -> None:
    for how, is_first in (({}, True), ({"reread_at": BEFORE}, False)):
        with after(STEP, put_back(**how), *rows_of(STONES), fields=FIELDS) as connection:
            found = connection.execute(
                "select dynamics_id, record_type, field, value from state.tombstone_values order by all"
            ).fetchall()
            columns = connection.execute(
                "select distinct field, dynamics_column from state.tombstone_values"
            ).fetchall()
            for number, each in enumerate(STONES):
                assert [row[1:] for row in told(number, found)] == (each.expected if is_first else KEPT), each
            assert all(column == COLUMNS.get(field, f"c_{field}") for field, column in columns)
