"""What is not settled after a plan, line by line (`backlog.sql`), by the rows that it is about.

Each case is a record of its own. Not here: what an answer leaves unsettled (`test_settled_rows.py`); what waits to be approved,
value by value (`test_approval_rows.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from dynsync_pipeline_tests.worlds.rule_rows import (
    AT,
    BEFORE,
    SECOND,
    Case,
    Put,
    after,
    case,
    link,
    parked,
    record,
    rows_of,
    told,
    touched,
)

KEY = {"record_type": "lead", "dynamics_id": "L"}
OF_PERSON = KEY | {"person_id": 1}
ACCOUNT = {"record_type": "account", "dynamics_id": "A"}
LATER, DAY, MINUTE = AT + SECOND, timedelta(days=1), timedelta(minutes=1)
NEVER = datetime(9999, 12, 31)  # noqa: DTZ001
OWN: Put = ("own_field_names", {"field": "leadKey"})
RESTS = parked("lead", "rests")


def waits(**more: Any) -> Put:
    """A title that was refused three times; a second from now it is due."""
    of = {
        "field": "title",
        "reason_code": "refused",
        "code": "c",
        "attempts": 3,
        "since": BEFORE,
        "next_look_at": LATER,
    }
    return "state.unsettled", OF_PERSON | of | more


def of_nobody(**more: Any) -> Put:
    return waits(**{"person_id": None, "field": None} | more)


def asked(**more: Any) -> Put:
    return waits(**{"reason_code": "waiting_for_approval", "code": None, "field": "rests"} | more)


def of_account(**more: Any) -> Put:
    return of_nobody(**ACCOUNT | more)


def compared(person_id: int = 1) -> Put:
    return "compared_links", OF_PERSON | {"person_id": person_id}


def written(field: str = "title", action: str = "update", person_id: int | None = 1, **more: Any) -> Put:
    """A field of a person that is going to be written."""
    return "planned_writes", KEY | {"field": field, "action": action, "person_id": person_id} | more


def decided(outcome: str, **more: Any) -> Put:
    of = {"field": "title", "outcome": outcome, "attempts": 1, "dynamics_value": "D", "marketo_value": "M"}
    return "field_outcomes", OF_PERSON | of | more


def altered(*, is_waiting: bool, **more: Any) -> Put:
    of = {
        "field": "kind",
        "error_code": "own_field_altered",
        "attempts": 2,
        "next_look_at": LATER,
        "is_waiting": is_waiting,
    }
    return "altered_own_fields", OF_PERSON | of | more


def of_it(table: str, **more: Any) -> Put:
    """The record, with what has no person, in a table of the plan."""
    return table, KEY | more


def left(cases: Sequence[Case], columns: str) -> None:
    """That of each case this is unsettled after the plan, and nothing else."""
    with after("reconcile/backlog", OWN, RESTS, *rows_of(cases)) as connection:
        found = connection.execute(f"select dynamics_id, {columns} from state.unsettled order by all").fetchall()
        for number, each in enumerate(cases):
            assert [row[1:] for row in told(number, found)] == each.expected, each


KEPT: list[Any] = [("c", 3, LATER)]
GONE: list[Any] = []
REFUSED_KEY = waits(field="leadKey", code="key_altered")
WAITING_KEY: Put = ("waiting_own_fields", waits(field="leadKey")[1])
OTHER_KEY = waits(field="leadKey", dynamics_value="J")
LOOKED_AT = (
    # Only of what was looked at is anything known.
    case(KEPT, waits()),
    case(GONE, waits(), compared()),
    case(KEPT, waits(), compared(2)),
    case(GONE, waits(), written()),
    case(KEPT, waits(), written(action="create")),
    case(KEPT, waits(), written(person_id=2)),
    # What waits for a word while its field rests.
    case([(None, 3, LATER)], asked(), compared()),
    case(GONE, waits(field="rests"), compared()),
    case(GONE, asked(field="title"), compared()),
    case(GONE, asked(field=None), compared()),
    case(GONE, asked(record_type="contact"), compared()),
    # What was refused and is not due.
    case(KEPT, waits(), compared(), decided("wait")),
    case(GONE, waits(), compared(), decided("agree")),
    case(GONE, waits(), compared(), decided("wait", field="city")),
    case(GONE, waits(), compared(), decided("wait", person_id=2)),
    case(KEPT, waits(field="leadKey"), WAITING_KEY, compared()),
    case(KEPT, waits(field="leadKey"), WAITING_KEY, written()),
    case(KEPT, waits(field="leadKey"), WAITING_KEY),
    case(KEPT, waits(field="leadKey"), WAITING_KEY, compared(2), written(person_id=2)),
    # What is written otherwise by now waits no more.
    case([(None, 0, AT)], OTHER_KEY, ("waiting_own_fields", OTHER_KEY[1]), compared(), written("leadKey")),
    # An own field that did not stay is looked at when it is due, or when its person was.
    case([("key_altered", 3, LATER)], REFUSED_KEY),
    case(GONE, waits(field="kind", code="own_field_altered", next_look_at=AT)),
    case(GONE, waits(field="leadKey", code="key_altered", next_look_at=AT)),
    case([("c", 3, AT)], waits(next_look_at=AT)),
    case(GONE, REFUSED_KEY, altered(is_waiting=False)),
    case([("key_altered", 3, LATER)], REFUSED_KEY, altered(is_waiting=False, person_id=2)),
    case(GONE, REFUSED_KEY, touched(person_id=1)),
    case([("key_altered", 3, LATER)], REFUSED_KEY, touched(person_id=2)),
    case(KEPT, waits(), touched(person_id=1)),
    # A record that nobody is.
    case(KEPT, of_nobody()),
    case(GONE, of_nobody(), of_it("records_without_person")),
    case(KEPT, waits(), of_it("records_without_person")),
    case(KEPT, of_nobody(), of_it("records_without_person", record_type="contact")),
    case(KEPT, of_nobody(), of_it("records_without_person", dynamics_id="K")),
    case(GONE, of_nobody(), link()),
    case(KEPT, waits(), link()),
    case(KEPT, of_nobody(), link(1, "contact")),
    case(GONE, of_nobody(), record(is_deleted=True)),
    case(KEPT, of_nobody(), record()),
    case(KEPT, of_nobody(), record("contact", "L", is_deleted=True)),
    case(GONE, of_nobody(), of_it("resting_records")),
    case(KEPT, of_nobody(), of_it("resting_records", record_type="contact")),
    case(KEPT, waits(), of_it("resting_records")),
)  # fmt: skip


def test_what_is_not_settled_stays_so_until_it_is_looked_at() -> None:
    left(LOOKED_AT, "code, attempts, next_look_at")


FIELDS = (
    # Reason, code, attempts, since when, and the next look.
    case([("refused", "x", 2, AT, AT + 10 * MINUTE)], decided("refuse", refusal_code="x")),
    case([("refused", "x", 8, BEFORE, NEVER)], decided("refuse", refusal_code="x", attempts=7, pending_since=BEFORE)),
    case([("refused", "oscillates", 2, AT, LATER)],
         decided("refuse", refusal_code="oscillates", oscillates_until=LATER)),
    case([("waiting_for_approval", None, 1, AT, NEVER)], decided("ask", refusal_code="x")),
    case([("planned", None, 1, AT, AT)], decided("take_dynamics", refusal_code="oscillates", oscillates_until=LATER)),
    case([("planned", None, 1, BEFORE, AT)], decided("take_marketo", pending_since=BEFORE)),
    *(case(GONE, decided(outcome)) for outcome in ("agree", "stand", "wait")),
    # What was put back and did not stay.
    case([("refused", "own_field_altered", 2, AT, LATER)], altered(is_waiting=True)),
    case([("refused", "own_field_altered", 2, BEFORE, LATER)], altered(is_waiting=True, since=BEFORE)),
    case(GONE, altered(is_waiting=False)),
    # Records without a person.
    case([("planned", None, 2, AT, AT)], of_it("new_people", attempts=2)),
    case([("planned", None, 2, BEFORE, AT)], of_it("new_people", attempts=2, pending_since=BEFORE)),
    case([("waiting_for_approval", None, 0, AT, NEVER)], of_it("asked_people")),
    case([("waiting_for_approval", None, 0, BEFORE, NEVER)], of_it("asked_people", pending_since=BEFORE)),
    case([("refused", "key_taken", 3, AT, AT + DAY)],
         of_it("kept_back", attempts=2, person_id=1), of_it("kept_back", attempts=2, person_id=2)),
    case([("refused", "key_taken", 3, BEFORE, AT + DAY)], of_it("kept_back", attempts=2, pending_since=BEFORE)),
    case([("waiting", None, 3, AT, AT)], of_it("held_back", attempts=2)),
    case([("refused", "lead_unread", 3, BEFORE, AT + DAY)],
         of_it("held_back", attempts=2, code="lead_unread", pending_since=BEFORE)),
    # A link that is set aside.
    case([("refused", "doubled_link", 1, AT, AT + DAY)], ("doubled", OF_PERSON), waits(code="doubled_link")),
    case([("refused", "c", 3, BEFORE, LATER), ("refused", "doubled_link", 1, AT, AT + DAY)], ("doubled", OF_PERSON), waits()),
    case([("refused", "doubled_link", 3, BEFORE, LATER)], waits(code="doubled_link")),
)  # fmt: skip


def test_what_a_plan_leaves_has_a_reason_and_a_next_look() -> None:
    left(FIELDS, "reason_code, code, attempts, since, next_look_at")


def test_of_a_field_it_is_kept_what_either_side_holds() -> None:
    cases = (
        case([(1, "title", "D", "M")], decided("take_dynamics")),
        case([(1, "kind", "D", "M")], altered(is_waiting=True, new_value="D", old_value="M")),
        case([(1, "leadKey", "D", "M")], written("leadKey", dynamics_value="D", marketo_value="M")),
        case([(1, None, None, None)], ("doubled", OF_PERSON)),
        case([(None, None, None, None)], of_it("new_people", attempts=0)),
    )
    left(cases, "person_id, field, dynamics_value, marketo_value")


def tried(field: str = "leadKey", **more: Any) -> Put:
    return waits(**{"field": field, "dynamics_value": "D"} | more)


PUT_BACK = written("leadKey", dynamics_value="D")
NEW, AGAIN = [("leadKey", 0, AT, AT)], [("leadKey", 3, BEFORE, AT)]
OWN_FIELDS = (
    # An own field that is written counts on how often Marketo refused this value.
    case(NEW, PUT_BACK),
    case(AGAIN, PUT_BACK, tried()),
    case(NEW, PUT_BACK, tried(dynamics_value="E")),
    case(NEW, PUT_BACK, tried(dynamics_value=None)),
    case(AGAIN, written("leadKey"), tried(dynamics_value=None)),
    case([("leadKey", 0, BEFORE, AT)], PUT_BACK, tried(code="key_altered")),
    case([("leadKey", 0, BEFORE, AT)], PUT_BACK, tried(code="own_field_altered")),
    case(NEW, PUT_BACK, tried("title")),
    case([*NEW, ("leadKey", 3, BEFORE, LATER)], PUT_BACK, tried(person_id=2)),
    case(GONE, written("leadKey", "create")),
    case(GONE, written("title")),
)


def test_an_own_field_counts_its_attempts_by_value() -> None:
    left(OWN_FIELDS, "field, attempts, since, next_look_at")


def put_account(**more: Any) -> Put:
    return record("account", "A", **more)


UPDATED: Put = ("updated_accounts", {"account_id": "A"})
COMPANY: Put = ("company_writes", {"record_type": "account", "dynamics_id": "A"})
ASKED = [("asked_differences", {"account_id": "A", "field": field}) for field in ("city", "phone")]
WAITED, APPLIED = [("refused", 3, BEFORE, LATER)], [("planned", 0, AT, AT)]
ACCOUNTS = (
    case(WAITED, of_account()),
    case(APPLIED, UPDATED, COMPANY),
    case([("planned", 3, AT, AT)], UPDATED, COMPANY, of_account()),
    case([("planned", 3, AT, AT)], UPDATED, COMPANY, of_account(field="city", attempts=1), of_account(field="phone")),
    case([*APPLIED, *WAITED], UPDATED, COMPANY, of_account(record_type="lead")),
    case([*APPLIED, *WAITED], COMPANY, of_account()),
    case(GONE, UPDATED, of_account()),
    case(GONE, ("company_writes", {"record_type": "lead", "dynamics_id": "A"})),
    case([("waiting_for_approval", 0, AT, NEVER)], of_account(), *ASKED),
    case(sorted([("waiting_for_approval", 0, AT, NEVER), *WAITED]), of_account(record_type="lead"), *ASKED),
    # One that is applied no more waits for nothing.
    case(GONE, of_account(), put_account(is_deleted=True)),
    case(GONE, of_account(), put_account(statecode="1")),
    case(WAITED, of_account(), put_account(statecode="0")),
    case(WAITED, of_account(), put_account()),
    case(WAITED, of_account(record_type="lead"), put_account(is_deleted=True)),
)


def test_an_account_waits_as_a_whole() -> None:
    left(ACCOUNTS, "reason_code, attempts, since, next_look_at")
