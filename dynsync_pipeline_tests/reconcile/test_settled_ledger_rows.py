"""What is told of what was applied, and what waits of what was not, line by line (`seen_edits.sql`, `settled_ledger.sql`,
`settled_backlog.sql`), by the rows that they are about.

Each case is an operation of its own. Not here: the same through whole cycles (`test_cycle.py`, `test_refusals.py`).
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from dynsync_pipeline_tests.reconcile.test_settled_rows import (
    applied,
    error,
    held,
    left_out,
    receipt,
    refused,
    settled,
    waits,
)
from dynsync_pipeline_tests.worlds.rule_rows import AT, BEFORE, SECOND, Put, case, link, told

DAY = timedelta(days=1)
NEVER = datetime(9999, 12, 31)  # noqa: DTZ001


def change(field: str = "title") -> Put:
    return "reconcile.planned_changes", {"operation_id": 1, "field": field, "rule_code": "one_sided"}


def collision(field: str = "title") -> Put:
    return "reconcile.planned_collisions", {"operation_id": 1, "field": field, "winner": "dynamics", "rule_code": "c"}


def seen(of: str, who: str, name: str | None, entry_id: int = 1, **more: Any) -> Put:
    """A value that was seen to move: of Dynamics by whom, of Marketo from where."""
    is_person = of == "person"
    key = {"person_id": 1} if is_person else {"dynamics_id": "L"}
    told = {"changed_at": BEFORE, "source" if is_person else "changed_by": who, "seen_at": AT, "is_receipt": False}
    return "ledger.observations", {"entry_id": entry_id, "cycle_id": 1, "object": of, "name": name} | key | told | more


SEEN = (
    # By whom in Dynamics, and from where in Marketo; None where nothing is known of either.
    case(("ann", None), receipt(), change(), seen("lead", "ann", "jobtitle")),
    case((None, "form"), receipt(), change(), seen("person", "form", "title")),
    case(("ann", "form"), receipt(), change(), seen("lead", "ann", "jobtitle"), seen("person", "form", "title")),
    case(("ann", None), receipt(), collision(), seen("lead", "ann", "jobtitle")),
    case(("ann", None), receipt(), change(), collision(), seen("lead", "ann", "jobtitle")),
    case(None, receipt(), seen("lead", "ann", "jobtitle")),
    case(None, receipt(), change("unknown"), seen("lead", "ann", "jobtitle")),
    case(None, receipt("refused"), change(), seen("lead", "ann", "jobtitle")),
    case(None, receipt(), change()),
    # The last of the record's column, or of all of it, and none of our own.
    case(("bob", None), receipt(), change(), seen("lead", "ann", "jobtitle"), seen("lead", "bob", "jobtitle", 2)),
    case(("ann", None), receipt(), change(), seen("lead", "ann", "jobtitle", 2), seen("lead", "bob", "jobtitle")),
    case(("ann", None), receipt(), change(), seen("lead", "ann", None)),
    case(None, receipt(), change(), seen("lead", "ann", "c_city")),
    case(None, receipt(), change(), seen("lead", "ann", "jobtitle", dynamics_id="other")),
    case(None, receipt(), change(), seen("contact", "ann", "jobtitle")),
    case(None, receipt(record_type="contact"), change(), seen("contact", "ann", "jobtitle")),
    case(("ann", None), receipt(record_type="contact"), change(), seen("contact", "ann", "c_title")),
    case(None, receipt(), change(), seen("lead", "ann", "jobtitle", is_receipt=True)),
    case(None, receipt(), change(), seen("lead", "ann", "jobtitle", seen_at=AT - DAY)),
    case(("ann", None), receipt(), change(), seen("lead", "ann", "jobtitle", seen_at=AT - DAY + SECOND)),
    # The last of the person's field.
    case((None, "web"), receipt(), change(), seen("person", "form", "title"), seen("person", "web", "title", 2)),
    case(None, receipt(), change(), seen("person", "form", "city")),
    case(None, receipt(), change(), seen("person", "form", None)),
    case(None, receipt(), change(), seen("person", "form", "title", person_id=2)),
    case(None, receipt(), change(), seen("company", "form", "title", person_id=1)),
    case(None, receipt(), change(), seen("person", "form", "title", is_receipt=True)),
)  # fmt: skip


def test_who_edited_what_was_applied_is_known_where_it_was_seen_within_a_day() -> None:
    earlier = case(None, receipt(received_at=AT - DAY))  # the newest receipt counts
    with settled("seen_edits", (*SEEN, earlier)) as connection:
        found = connection.execute(
            "select operation_id, dynamics_modified_by, marketo_source from seen_edits"
        ).fetchall()
        fields = connection.execute("select distinct field from seen_edits").fetchall()
        for number, each in enumerate(SEEN):
            assert told(number, found) == ([] if each.expected is None else [(1, *each.expected)]), each
    assert fields == [("title",)]


EDITED: Put = ("seen_edits", {"operation_id": 1, "field": "title", "dynamics_modified_by": "ann"})
CHANGES = (
    # Changes, and collisions, each with who edited what is behind it.
    case((["ann"], []), applied(), EDITED),
    case(([None], []), applied()),
    case(([None], []), applied("city"), EDITED),
    case((["ann"], ["ann"]), applied(), collision(), EDITED),
    case(([None], [None]), applied(), collision()),
    case(([None], []), applied(), collision("city")),
    case(([], []), collision()),
)  # fmt: skip


def test_each_value_that_was_applied_is_a_change_and_each_collision_behind_it_has_its_row() -> None:
    with settled("settled_ledger", CHANGES) as connection:
        for table, which in (("changes", 0), ("collisions", 1)):
            rows = connection.execute(f"select person_id, dynamics_modified_by from ledger.{table}").fetchall()
            for number, each in enumerate(CHANGES):
                assert told(number, rows) == [(1, who) for who in each.expected[which]], (table, each)


def account_change(n_contacts: int = 1) -> Put:
    told = {"operation_id": 1, "field": "title", "n_contacts": n_contacts, "reason_code": "account_changed"}
    return "reconcile.planned_account_changes", told


ACCOUNT_CHANGES = (
    # Whether activities are suppressed; None where nothing is told.
    case(False, receipt(), account_change()),
    case(False, receipt(), account_change(5000)),
    case(True, receipt(), account_change(5001)),
    case(None, receipt("refused"), account_change()),
    case(None, receipt(), account_change(), refused("title")),
    case(False, receipt(), account_change(), refused("city")),
)


def test_an_account_that_was_applied_has_a_row_for_each_field_that_was_not_refused() -> None:
    with settled("settled_ledger", ACCOUNT_CHANGES) as connection:
        found = connection.execute("select account_id, activities_suppressed from ledger.account_changes").fetchall()
        for number, each in enumerate(ACCOUNT_CHANGES):
            assert told(number, found) == ([] if each.expected is None else [("L", each.expected)]), each


def activity(field: str = "title") -> Put:
    return "reconcile.planned_activities", {"operation_id": 1, "person_id": 1, "field": field, "reason_code": "moved"}


STARTED: Put = ("state.started", {"record_type": "lead", "dynamics_id": "L"})
VALUE, PERSON, LET_IN = "Change Data Value", "New Person", "Create [StartSync]"
OLD_AND_NEW = {"old_value": "a", "new_value": "b"}
ACTIVITIES = (
    # A value that was changed on a person in Marketo.
    case([(VALUE, "one_sided")], applied(**OLD_AND_NEW)),
    case([(VALUE, "one_sided")], applied(old_value=None, new_value="b")),
    case([], applied(old_value=None, new_value=None)),
    case([], applied(old_value="a", new_value="a")),
    case([], applied(system="dynamics", **OLD_AND_NEW)),
    case([], applied(is_mapped=False, **OLD_AND_NEW)),
    case([], applied(is_new_person=True, **OLD_AND_NEW)),
    # What an account did to a person.
    case([(VALUE, "moved")], receipt(), activity()),
    case([], receipt("refused"), activity()),
    case([], receipt(), activity(), refused("title")),
    case([(VALUE, "moved")], receipt(), activity(), refused("city")),
    # Somebody new, whom the filter perhaps let in.
    case([(PERSON, "new_lead")], receipt(action="create")),
    case([(PERSON, "new_contact")], receipt(action="create", record_type="contact")),
    case([], receipt("refused", "create")),
    case([], receipt()),
    case([(LET_IN, "let_in"), (PERSON, "new_lead")], receipt(action="create"), STARTED),
    case([(PERSON, "new_contact"), "started"], receipt(action="create", record_type="contact"), STARTED),
    case([(PERSON, "new_lead"), "started"], receipt(action="create", dynamics_id="other"), STARTED),
    case(["started"], receipt("refused", "create"), STARTED),
    case(["started"], receipt(), STARTED),
)  # fmt: skip


def test_each_activity_of_the_sync_is_logged_once() -> None:
    with settled("settled_ledger", ACTIVITIES) as connection:
        found = connection.execute(
            "select person_id, activity_type, reason_code from ledger.activities order by all"
        ).fetchall()
        started = connection.execute("select dynamics_id from state.started").fetchall()
        for number, each in enumerate(ACTIVITIES):
            assert told(number, found) == [(1, *row) for row in each.expected if row != "started"], each
            assert told(number, started) == [("L",)] * ("started" in each.expected), each


def waiting(field: str | None = "title", **more: Any) -> Put:
    """A field that is not settled, or all of a record without a person."""
    of: dict[str, Any] = {"person_id": 1 if field else None, "field": field, "reason_code": "planned"}
    return waits("c", **of | more)


def approval(field: str | None = "title") -> Put:
    asked = {"approval_id": 1, "cause": "field", "cause_name": "title", "n_people": 3, "direction": "to_marketo"}
    key = {"record_type": "lead", "dynamics_id": "L", "person_id": 1 if field else None, "field": field}
    return "state.approvals", asked | key | {"asked_at": BEFORE}


def review(field: str = "title") -> Put:
    key = {"person_id": 1, "record_type": "lead", "dynamics_id": "L", "field": field}
    return "state.reviews", key | {"review_id": 1, "opened_at": BEFORE}


ALL: tuple[Put, ...] = waiting(), approval(), review()
OF_RECORD: tuple[Put, ...] = waiting(None), approval(None)
COMPANY = {"action": "company", "record_type": "account"}


def of(record_type: str, *rows: Put) -> tuple[Put, ...]:
    return tuple((table, row | {"record_type": record_type}) for table, row in rows)


DONE = (
    # How many of what waits, is asked of and is open is left.
    case((0, 0, 0), applied(), *ALL),
    case((1, 1, 1), *ALL),
    case((1, 1, 1), applied("city"), *ALL),
    case((1, 1, 1), applied(person_id=2), *ALL),
    case((0, 0, 0), receipt(action="create"), *OF_RECORD),
    case((0, 0, 0), receipt(**COMPANY), *of("account", *OF_RECORD)),
    case((1, 0, 0), receipt(action="company"), *OF_RECORD),
    case((1, 1, 0), receipt(), *OF_RECORD),
    case((1, 1, 0), receipt("refused", "create"), *OF_RECORD),
    case((1, 1, 0), receipt(action="create", dynamics_id="other"), *OF_RECORD),
    case((1, 1, 0), receipt(action="create"), *of("contact", *OF_RECORD)),
    case((1, 1, 1), receipt(action="create"), *ALL),
)  # fmt: skip


def test_what_was_applied_waits_for_nothing_and_nobody_any_more() -> None:
    with settled("settled_backlog", DONE) as connection:
        for place, table in enumerate(("unsettled", "approvals", "reviews")):
            left = connection.execute(f"select dynamics_id from state.{table}").fetchall()
            for number, each in enumerate(DONE):
                assert len(told(number, left)) == each.expected[place], (table, each)


LEFT_OUT = (
    # What is noted of a field that was left out as its person was made: Dynamics' and Marketo's value.
    case([("R", "x")], link(), left_out(), *held("R", "x")),
    case([("R", None)], link(), left_out(), *held("R", None)),
    case([(None, "x")], link(), left_out(), *held(None, "x")),
    case([(None, None)], link(), left_out(), *held("R", "x", "city")),
    case([], left_out(), *held("R", "x")),
    case([], link(), left_out("grade")),
    case([(None, None)], link(1, "contact"), left_out("grade")),
    case([("old", None)], link(), left_out(), *held("R", "x"), waiting(dynamics_value="old")),
    case([("R", "x"), ("old", None)], link(), left_out(), *held("R", "x"), waiting("city", dynamics_value="old")),
    case([("R", "x"), ("old", None)], link(), left_out(), *held("R", "x"), waiting(person_id=2, dynamics_value="old")),
)  # fmt: skip


def test_a_field_that_was_left_out_on_create_waits_once() -> None:
    with settled("settled_backlog", LEFT_OUT) as connection:
        found = connection.execute(
            "select dynamics_id, dynamics_value, marketo_value from state.unsettled order by all"
        ).fetchall()
        for number, each in enumerate(LEFT_OUT):
            assert told(number, found) == [("L", *row) for row in each.expected], each


def failed(outcome: str = "refused", *, is_rest_applied: bool = False, **more: Any) -> Put:
    row = {name: value for name, value in receipt(outcome, code="new")[1].items() if name != "system"}
    return "unsuccessful", row | {"direction": "to_marketo", "is_rest_applied": is_rest_applied} | more


def gap(minutes: int) -> datetime:
    return AT + timedelta(minutes=minutes)


AGAIN = (
    # Reason, attempts and next look of what waits; it had one attempt.
    case([("refused", 2, gap(10))], failed(), change(), waiting()),
    case([("refused", 1, gap(5))], failed(), change(), waiting(attempts=0)),
    case([("planned", 1, BEFORE)], failed(), change("city"), waiting()),
    case([("planned", 1, BEFORE)], failed(), waiting()),
    case([("planned", 1, BEFORE)], failed(dynamics_id="other"), change(), waiting()),
    case([("planned", 1, BEFORE)], failed(record_type="contact"), change(), waiting()),
    case([("refused", 2, gap(10))], failed(field="title", is_rest_applied=True), change("city"), waiting()),
    case([("planned", 1, BEFORE)], failed(field="city", is_rest_applied=True), change(), waiting()),
    case([("refused", 2, gap(10))], failed(is_new_person=True), change(), waiting(None)),
    case([("refused", 2, gap(10))], failed(is_new_person=True), waiting(None)),
    case([("planned", 1, BEFORE)], failed(is_new_person=True), change(), waiting()),
    case([("refused", 2, gap(10))], failed(field="title", is_rest_applied=True, is_new_person=True), change(), waiting()),
    # Until it is tried no more; what is put off is tried for ever, and what was changed meanwhile at once.
    case([("refused", 7, gap(320))], failed(), change(), waiting(attempts=6)),
    case([("refused", 8, NEVER)], failed(), change(), waiting(attempts=7)),
    case([("refused", 9, NEVER)], failed(), change(), waiting(attempts=8)),
    case([("waiting", 8, gap(640))], failed("waiting"), change(), waiting(attempts=7)),
    case([("changed_meanwhile", 2, AT)], failed("changed_meanwhile"), change(), waiting()),
    case([("waiting", 2, gap(60))], failed("waiting", next_look_at=gap(60)), change(), waiting()),
    case([("waiting", 2, gap(10))], failed("waiting", next_look_at=gap(1)), change(), waiting()),
    # A company field that Marketo refused is tried again with its account.
    case([("refused", 2, gap(10))], failed(field="title", is_rest_applied=True, record_type="account"),
         error(code="new", record_type="account")),
    case([("refused", 8, NEVER)], failed(field="title", is_rest_applied=True, record_type="account"),
         error(code="new", record_type="account", attempts=8)),
    case([], failed(field="title", record_type="account"), error(code="new", record_type="account")),
    case([], failed(field="title", is_rest_applied=True), error(code="new")),
    case([], failed(field="title", is_rest_applied=True, record_type="account"), error(record_type="account")),
    case([], failed(field="title", is_rest_applied=True, record_type="account"), error("city", "new", record_type="account")),
    case([], failed(field="title", is_rest_applied=True, record_type="account"), error(code="new")),
    case([], failed(field="title", is_rest_applied=True, record_type="account"),
         error(code="new", record_type="account", dynamics_id="other")),
    case([], failed(field="title", is_rest_applied=True, record_type="account"),
         error(code="new", record_type="account", state="resolved")),
    case([("refused", 2, gap(10))], failed(is_rest_applied=True, record_type="account"),
         error(None, "new", record_type="account")),
)  # fmt: skip


def test_what_was_not_applied_is_looked_at_again_later_and_at_last_no_more() -> None:
    with settled("settled_backlog", AGAIN) as connection:
        found = connection.execute(
            "select dynamics_id, reason_code, attempts, next_look_at from state.unsettled"
        ).fetchall()
        for number, each in enumerate(AGAIN):
            assert told(number, found) == [("L", *row) for row in each.expected], each
