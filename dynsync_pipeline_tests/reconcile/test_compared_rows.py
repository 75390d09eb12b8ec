"""Whom the filter lets in, which links are looked at, and what is agreed or stands without a write, line by line
(`sync_filter.sql`, `compared_links.sql`, `open_links.sql`, `agreed_base.sql`, `standing_differences.sql`), by the rows that they
are about.

Each case is a person, or several, of its own. Not here: the same through whole cycles (`../sync_filter`,
`test_standing_differences.py`, `test_first_meeting.py`).
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from dynsync_pipeline_tests.reconcile.test_found_link_rows import planned
from dynsync_pipeline_tests.worlds.rule_rows import (
    AT,
    BEFORE,
    Case,
    Put,
    case,
    kept_out,
    link,
    parked,
    person,
    record,
    told,
    touched,
)

SECOND = timedelta(seconds=1)
BY_RECORD = touched(record_type="lead", dynamics_id="L")
KEPT_OUT = kept_out()


def filtered(answer: str | None, *, is_deleted: bool = False) -> Put:
    return record(is_deleted=is_deleted, new_synctomkto=answer)


def lost(*, is_given_up: bool = False, record_type: str = "lead") -> Put:
    return "state.lost_filters", {"record_type": record_type, "fault_code": "missing", "is_given_up": is_given_up}


TURNS = (
    # What the filter's answer turns: out, in, or in because it was emptied; and whether the record is kept out then.
    case(("out", True), filtered("false"), BY_RECORD),
    case((None, False), filtered("false")),
    case((None, False), filtered("false"), touched(record_type="contact", dynamics_id="L")),
    case((None, False), filtered("true"), BY_RECORD),
    case((None, False), filtered(None), BY_RECORD),
    case((None, False), filtered("false", is_deleted=True), BY_RECORD),
    case((None, True), filtered("false"), BY_RECORD, KEPT_OUT),
    case(("out", True), filtered("false"), BY_RECORD, kept_out("contact")),
    case(("in", False), filtered("true"), BY_RECORD, KEPT_OUT),
    case(("emptied", False), filtered(None), BY_RECORD, KEPT_OUT),
    case((None, True), filtered("true"), KEPT_OUT),
    # One that is gone is kept out of nothing.
    case((None, False), filtered("false", is_deleted=True), BY_RECORD, KEPT_OUT),
    case((None, False), filtered("true", is_deleted=True), BY_RECORD, KEPT_OUT),
    case((None, True), filtered("true", is_deleted=True), KEPT_OUT),
    # A contact of the same id is another record.
    case(("in", False), filtered("true"), BY_RECORD, KEPT_OUT, kept_out("contact")),
    case((None, False), filtered("true", is_deleted=True), BY_RECORD, KEPT_OUT, kept_out("contact")),
)  # fmt: skip


def test_a_record_is_kept_out_from_the_filters_no_on_until_its_yes() -> None:
    with planned("sync_filter", TURNS) as connection:
        turns = connection.execute(
            "select dynamics_id, is_let_in, is_emptied from filter_turns where record_type = 'lead'"
        ).fetchall()
        out = connection.execute("select dynamics_id from state.filtered_out where record_type = 'lead'").fetchall()
        contacts = connection.execute(
            "select dynamics_id from state.filtered_out where record_type = 'contact'"
        ).fetchall()
        for number, each in enumerate(TURNS):
            turn, is_out = each.expected
            assert told(number, turns) == ([] if turn is None else [("L", turn != "out", turn == "emptied")]), each
            assert told(number, out) == [("L",)] * is_out, each
            of_contact = [("L",)] * sum(row == kept_out("contact") for row in each.rows)
            assert told(number, contacts) == of_contact, each


def test_a_filter_that_is_lost_turns_nothing_until_it_is_given_up() -> None:
    cases = (case(None, filtered("false"), BY_RECORD),)
    for how, n_turns in ((lost(), 0), (lost(is_given_up=True), 1), (lost(record_type="contact"), 1)):
        with planned("sync_filter", cases, how) as connection:
            assert len(connection.execute("from filter_turns").fetchall()) == n_turns, how


def error(code: str = "c", **more: Any) -> Put:
    of = {"error_id": 1, "cycle_id": 1, "happened_at": BEFORE, "last_seen_at": BEFORE, "attempts": 2, "message": "m"}
    of |= {
        "operation": "update",
        "direction": "to_marketo",
        "state": "waiting",
        "record_type": "lead",
        "dynamics_id": "L",
    }
    return "ledger.sync_errors", of | {"code": code} | more


def waits(record_type: str = "lead", dynamics_id: str = "L", **more: Any) -> Put:
    of = {"record_type": record_type, "dynamics_id": dynamics_id, "attempts": 1, "since": BEFORE}
    return "state.unsettled", of | more


STARTED: Put = ("state.started", {"record_type": "lead", "dynamics_id": "L"})
ALL = STARTED, waits(), error(), link()
OUT, IN = (filtered("false"), BY_RECORD), (filtered("true"), BY_RECORD, KEPT_OUT)
BESIDE = (
    # What is left: started, unsettled, open errors; and whether the person's published row is out of date.
    case((0, 0, 0, 1), *OUT, *ALL),
    case((1, 1, 1, 1), *IN, *ALL),
    case((1, 0, 0, 0), *IN),
    case((1, 1, 1, 0), *ALL),
    case((1, 1, 1, 0), filtered("true"), BY_RECORD, *ALL),
    case((0, 1, 1, 0), filtered(None, is_deleted=True), BY_RECORD, *ALL),
    case((0, 0, 1, 0), *OUT, error("unread")),
    case((0, 0, 1, 0), *OUT, error("key_shared")),
    case((0, 0, 0, 0), *OUT, error(state="quarantined")),
    case((1, 1, 1, 0), *OUT, ("state.started", {"record_type": "contact", "dynamics_id": "L"}), waits("contact"),
         error(record_type="contact"), link(1, "contact")),
    case((1, 1, 1, 0), *OUT, ("state.started", {"record_type": "lead", "dynamics_id": "M"}), waits(dynamics_id="M"),
         error(dynamics_id="M"), link(1, "lead", "M")),
    case((1, 0, 1, 0), filtered(None, is_deleted=True), BY_RECORD,
         ("state.started", {"record_type": "contact", "dynamics_id": "L"}),
         error()),
    case((1, 0, 0, 0), filtered(None, is_deleted=True), BY_RECORD,
         ("state.started", {"record_type": "lead", "dynamics_id": "M"})),
    case((0, 0, 0, 0), ("mirror.dynamics_accounts", {"accountid": "L", "is_deleted": False, "new_synctomkto": "true"}),
         touched(record_type="account", dynamics_id="L"), kept_out("account")),
)  # fmt: skip


def test_nothing_of_who_is_kept_out_waits_and_who_is_let_in_begins_anew() -> None:
    with planned("sync_filter", BESIDE) as connection:
        tables = ("state.started", "state.unsettled", "ledger.sync_errors where state <> 'resolved'")
        left = [connection.execute(f"select dynamics_id from {table}").fetchall() for table in tables]
        left.append(
            connection.execute("select person_id from state.unpublished where published_table = 'people'").fetchall()
        )
        for number, each in enumerate(BESIDE):
            assert tuple(len(told(number, rows)) for rows in left) == each.expected, each


BOTH = link(), person(), record()
BY_PERSON = touched(person_id=1)


def due(seconds: int = 0, **more: Any) -> Put:
    of: dict[str, Any] = {"person_id": 1, "next_look_at": AT + seconds * SECOND}
    return waits(**of | more)


def review(choice: str | None = "dynamics", field: str = "title") -> Put:
    key = {"person_id": 1, "record_type": "lead", "dynamics_id": "L", "field": field}
    return "state.reviews", key | {"review_id": 1, "opened_at": BEFORE, "choice": choice}


def undoing(next_look_at: datetime | None = None) -> Put:
    of = {"change_id": 1, "cycle_id": 1, "person_id": 1, "record_type": "lead", "dynamics_id": "L", "field": "title"}
    return "state.undoing", of | {
        "direction": "to_marketo",
        "rule_code": "one_sided",
        "attempts": 0,
        "next_look_at": next_look_at,
    }


def stands(reason_code: str = "restored", field: str = "title", person_id: int = 1) -> Put:
    of = {"person_id": person_id, "field": field, "dynamics_value": "D", "marketo_value": "M", "since": BEFORE}
    return "state.standing_differences", of | {"reason_code": reason_code}


def unread(record_type: str = "lead", key: str = "L") -> Put:
    return "state.unread", {"record_type": record_type, "key": key, "has_id": True, "message": "no JSON", "attempts": 1}


LOOKED: tuple[Case, ...] = (
    # True: it is compared. Who was touched, is due, has a word or is to be undone.
    case(True, *BOTH, BY_PERSON),
    case(True, *BOTH, BY_RECORD),
    case(False, *BOTH),
    case(False, *BOTH, touched(person_id=2)),
    case(False, *BOTH, touched(record_type="contact", dynamics_id="L")),
    case(False, *BOTH, touched(record_type="lead", dynamics_id="M")),
    case(True, *BOTH, due()),
    case(False, *BOTH, due(1)),
    case(False, *BOTH, due(person_id=None)),
    case(True, *BOTH, review()),
    case(False, *BOTH, review(None, "guarded")),
    case(True, *BOTH, review(None)),
    case(True, *BOTH, review(None, "unknown")),
    case(False, *BOTH, review(None), stands()),
    case(True, *BOTH, review(None), stands("undo")),
    case(True, *BOTH, review(None), stands(field="city")),
    case(True, *BOTH, review(None), stands(person_id=2)),
    case(False, *BOTH, review(field="parked")),
    case(True, *BOTH, undoing()),
    case(True, *BOTH, undoing(AT)),
    case(False, *BOTH, undoing(AT + SECOND)),
    # Both are there, let in, read, and linked once.
    case(False, link(), person(is_deleted=True), record(), BY_PERSON),
    case(False, link(), record(), BY_PERSON),
    case(False, link(), person(), record(is_deleted=True), BY_PERSON),
    case(False, link(), person(), record("contact", "L"), BY_PERSON),
    case(False, link(), person(), BY_PERSON),
    case(False, *BOTH, BY_PERSON, kept_out()),
    case(True, *BOTH, BY_PERSON, kept_out("contact")),
    case(True, *BOTH, BY_PERSON, kept_out("lead", "M")),
    case(False, *BOTH, BY_PERSON, unread()),
    case(True, *BOTH, BY_PERSON, unread("contact")),
    case(False, *BOTH, BY_PERSON, link(1, "lead", "M")),
    case(False, *BOTH, BY_PERSON, link(2)),
    case(True, *BOTH, BY_PERSON, link(2, "contact", "L")),
    case(False, *BOTH, BY_PERSON, link(1, "lead", "M"), link(2, "lead", "M")),
)  # fmt: skip


def test_a_link_is_compared_where_something_happened_and_both_sides_can_be_looked_at() -> None:
    guarded = {"record_type": "lead", "field": "guarded", "dynamics_column": "c", "type": "text", "direction": "both"}
    as_review: Put = ("reconcile.fields", guarded | {"is_on_company": False, "collision": "review"})
    of_contact: Put = ("reconcile.fields", as_review[1] | {"record_type": "contact", "field": "title"})
    with planned("compared_links", LOOKED, parked("lead", "parked"), as_review, of_contact) as connection:
        found = connection.execute("select person_id, record_type, dynamics_id from compared_links").fetchall()
        for number, each in enumerate(LOOKED):
            assert told(number, found) == [(1, "lead", "L")] * each.expected, each


def test_a_table_that_waits_is_compared_no_more() -> None:
    waiting = {"stream": "dynamics_leads", "read_anew_at": BEFORE, "waits_because": "refused", "is_behind": True}
    contact = link(1, "contact", "L"), person(), record("contact", "L")
    cases = case(None, *BOTH, BY_PERSON), case(None, *contact, BY_PERSON)
    with planned("compared_links", cases, ("state.refused_links", waiting)) as connection:
        assert connection.execute("select record_type from compared_links").fetchall() == [("contact",)]


MISSING: Put = ("state.base_missing", {"person_id": 1, "field": "title"})
OPEN = (
    case(False, *BOTH),
    case(True, *BOTH, stands()),
    case(True, *BOTH, due(9)),
    case(False, *BOTH, due(person_id=None)),
    case(True, *BOTH, MISSING),
    case(True, *BOTH, review(None)),
    case(False, *BOTH, stands(person_id=2)),
    case(False, link(), person(is_deleted=True), record(), MISSING),
    case(False, link(), record(), MISSING),
    case(False, link(), person(), record(is_deleted=True), MISSING),
    case(False, link(), person(), record("contact", "L"), MISSING),
    case(False, *BOTH, MISSING, kept_out()),
    case(True, *BOTH, MISSING, kept_out("contact")),
    case(True, *BOTH, MISSING, kept_out("lead", "M")),
)


def test_a_link_is_open_where_anything_differs_or_was_never_agreed_on() -> None:
    with planned("open_links", OPEN) as connection:
        found = connection.execute("select person_id, record_type, dynamics_id from compared_links").fetchall()
        for number, each in enumerate(OPEN):
            assert told(number, found) == [(1, "lead", "L")] * each.expected, each


KEY = {"person_id": 1, "field": "title"}
COMPARED: Put = ("compared_links", {"person_id": 1, "record_type": "lead", "dynamics_id": "L"})


def differs(*, has_base: bool = True, **more: Any) -> Put:
    return "differing_fields", KEY | {"has_base": has_base} | more


def decided(
    outcome: str, *, has_base: bool = True, rule_code: str = "r", dynamics: str | None = "D", marketo: str | None = "M"
) -> Put:
    values = {"dynamics_value": dynamics, "marketo_value": marketo}
    return "field_outcomes", KEY | {"outcome": outcome, "has_base": has_base, "rule_code": rule_code} | values


AGREED = (
    # The base that a field gets, and whether it counts as without one.
    case((["D"], 0), decided("agree")),
    case(([], 0), decided("take_dynamics")),
    case((["D"], 0), decided("stand", has_base=False)),
    case(([], 0), decided("stand")),
    case(([], 0), decided("stand", has_base=False, rule_code="in_review")),
    case(([], 0), decided("wait", has_base=False)),
    case((["D"], 0), decided("agree", has_base=False, rule_code="in_review")),
    case(([], 1), differs(has_base=False)),
    case(([], 0), differs()),
    case(([], 1), differs(has_base=False), MISSING),
    case(([None], 1), MISSING, COMPARED),
    case(([], 1), MISSING),
    case(([], 1), MISSING, COMPARED, differs()),
    case(([None], 1), MISSING, COMPARED, differs(field="city")),
    case(([None], 1), MISSING, COMPARED, differs(person_id=2)),
)  # fmt: skip


def test_the_base_moves_where_both_sides_agree_or_stand_unequal_at_a_first_meeting() -> None:
    with planned("agreed_base", AGREED) as connection:
        moves = connection.execute("select person_id, value from state.base_moves where field = 'title'").fetchall()
        missing = connection.execute("select person_id from state.base_missing").fetchall()
        for number, each in enumerate(AGREED):
            values, n_missing = each.expected
            assert told(number, moves) == [(1, value) for value in values], each
            assert len(told(number, missing)) == n_missing, each


OF_CITY: Put = ("state.standing_differences", stands("undo", "city")[1] | {"dynamics_value": "x", "marketo_value": "y"})
STANDING = (
    # What stands then: why, and since when.
    case(("r", AT), COMPARED, decided("stand"), differs()),
    case(("undo", BEFORE), COMPARED, decided("stand"), differs(), stands("undo")),
    case(("r", AT), COMPARED, decided("stand", dynamics="other"), differs(), stands("undo")),
    case(("r", AT), COMPARED, decided("stand", marketo="other"), differs(), stands("undo")),
    case(("r", AT), COMPARED, decided("stand", dynamics=None), differs(), stands("undo")),
    case(("r", AT), COMPARED, decided("stand", marketo=None), differs(), stands("undo")),
    case(("undo", BEFORE), COMPARED, decided("stand"), differs(), stands("undo"), OF_CITY),
    case(None, COMPARED, decided("agree"), differs(), stands("undo")),
    case(None, COMPARED, decided("take_dynamics"), differs()),
    case(("undo", BEFORE), COMPARED, decided("take_dynamics"), differs(), stands("undo")),
    case(("undo", BEFORE), COMPARED, decided("take_dynamics", dynamics="other"), differs(), stands("undo")),
    # It ends where nothing differs, but for a field that is not compared now.
    case(None, COMPARED, stands("undo")),
    case(None, COMPARED, differs(field="city"), stands("undo")),
    case(None, COMPARED, differs(person_id=2), stands("undo")),
    case(("undo", BEFORE), stands("undo")),
    case(("undo", BEFORE), ("compared_links", COMPARED[1] | {"person_id": 2}), stands("undo")),
    case(("undo", BEFORE), COMPARED, stands("undo", "unknown")),
    case(("undo", BEFORE), ("compared_links", COMPARED[1] | {"record_type": "contact"}), stands("undo", "city")),
)  # fmt: skip


def test_a_difference_stands_until_another_takes_its_place_or_nothing_differs() -> None:
    with planned("standing_differences", STANDING) as connection:
        found = connection.execute("select person_id, reason_code, since from state.standing_differences").fetchall()
        published = connection.execute(
            "select person_id from state.unpublished where published_table = 'people'"
        ).fetchall()
        for number, each in enumerate(STANDING):
            assert told(number, found) == ([] if each.expected is None else [(1, *each.expected)]), each
            n_compared = sum(table == "compared_links" for table, _ in each.rows)
            assert len(told(number, published)) == n_compared, each


DOUBLED = (
    # Whose links are doubled, of those that this cycle looks at.
    case([], link(), touched(person_id=1)),
    case([1, 1], link(), link(1, "contact", "C"), touched(person_id=1)),
    case([1, 2], link(), link(2), touched(person_id=1)),
    case([1, 2], link(), link(2), BY_RECORD),
    case([], link(), link(2)),
    case([], link(), link(1, "contact", "C")),
    case([], link(), link(2, "contact", "L"), touched(person_id=1)),
    case([], link(), link(2, "lead", "M"), touched(person_id=1)),
    case([], link(), touched(person_id=1), link(2, "lead", "M"), link(3, "lead", "M")),
    case([], link(), touched(person_id=1), link(2, "contact", "L"), link(3, "contact", "L")),
)


def test_a_difference_stands_beside_one_of_a_field_that_is_not_mapped_any_more() -> None:
    rows = COMPARED, decided("stand"), differs(), stands("undo", "unknown")
    with planned("standing_differences", (), *rows) as connection:
        found = connection.execute(
            "select field, reason_code from state.standing_differences order by field"
        ).fetchall()
        assert found == [("title", "r"), ("unknown", "undo")]


def test_whoever_is_linked_twice_is_set_aside_with_its_record() -> None:
    cases = [case(each.expected, *each.rows, person(), record()) for each in DOUBLED]
    with planned("compared_links", cases) as connection:
        found = connection.execute("select person_id from doubled order by all").fetchall()
        compared = connection.execute("select person_id from compared_links").fetchall()
        for number, each in enumerate(DOUBLED):
            assert told(number, found) == [(person_id,) for person_id in each.expected], each
            is_compared = touched(person_id=1) in each.rows and not each.expected
            assert told(number, compared) == [(1,)] * is_compared, each
