"""Which leads became which contacts, line by line (`conversions.sql`), by the rows that it is about.

Each case is a lead and a contact of its own. Not here: whose person the contact takes over (`test_qualifying_rows.py`).
"""

from __future__ import annotations

from typing import Any

from dynsync_pipeline_tests.worlds.rule_rows import (
    AT,
    BEFORE,
    SECOND,
    Put,
    Row,
    after,
    case,
    kept_out,
    link,
    record,
    rows_of,
    told,
    touched,
)

STEP = "reconcile/conversions"
BY_LEAD, BY_CONTACT = touched(record_type="lead", dynamics_id="l"), touched(record_type="contact", dynamics_id="c")


def made(contact_id: str = "c", lead_id: str | None = "l", **more: Any) -> Put:
    """A contact that was made of the lead."""
    return record("contact", contact_id, _originatingleadid_value=lead_id, createdon="2026", **more)


def lead(contact_id: str | None = None, statecode: str = "1", **more: Any) -> Put:
    """A lead that was qualified, onto that contact."""
    return record("lead", "l", statecode=statecode, _parentcontactid_value=contact_id, **more)


def merged(loser: str, master: str, **more: Any) -> Put:
    return record("contact", loser, merged="true", _masterid_value=master, **more)


def waits(record_type: str = "lead", dynamics_id: str = "l", next_look_at: Any = AT, **more: Any) -> Put:
    of = {
        "record_type": record_type,
        "dynamics_id": dynamics_id,
        "attempts": 1,
        "since": BEFORE,
        "next_look_at": next_look_at,
    }
    return "state.unsettled", of | more


def adopted(decision: str, record_type: str = "contact", dynamics_id: str = "c") -> Put:
    return "state.adoption", {
        "record_type": record_type,
        "dynamics_id": dynamics_id,
        "decision": decision,
        "decided_at": BEFORE,
    }


ONE = [("l", "c")]
BOTH = made(), lead()
FOUND = (
    # Which lead became which contact, of those that this cycle looks at.
    case(ONE, *BOTH, BY_CONTACT),
    case(ONE, *BOTH, BY_LEAD),
    case([], *BOTH),
    case([], *BOTH, touched(record_type="lead", dynamics_id="c")),
    case([], *BOTH, touched(record_type="contact", dynamics_id="l")),
    case(ONE, *BOTH, link(), link(2, "lead", "l"), touched(person_id=2)),
    case([], *BOTH, link(2, "lead", "l"), touched(person_id=1)),
    case(ONE, *BOTH, waits()),
    case(ONE, *BOTH, waits("contact", "c")),
    case([], *BOTH, waits(next_look_at=AT + SECOND)),
    case([], *BOTH, waits(person_id=2)),
    case(ONE, made(), BY_CONTACT),
    case(ONE, record("contact", "c"), lead("c"), BY_LEAD),
    case(ONE, made(), lead("c"), BY_LEAD),
    case([], record("contact", "c"), lead("c", "0"), BY_LEAD),
    case([], made(is_deleted=True), lead(), BY_LEAD),
    case([], lead("c"), BY_LEAD),
    case([], made(lead_id=None), lead(), BY_CONTACT, BY_LEAD),
    case([("l", "c"), ("l", "d")], made(), made("d"), lead(), BY_LEAD),
    case([("l", "c"), ("l", "d")], made(), made("d"), lead(), touched(record_type="contact", dynamics_id="d")),
    # A contact that was merged since is the one that it was merged into.
    case([("l", "m")], merged("c", "m", _originatingleadid_value="l"), record("contact", "m"), lead(), BY_LEAD),
    case([("l", "m")], merged("c", "m", _originatingleadid_value="l"), record("contact", "m"), lead(),
         touched(record_type="contact", dynamics_id="m")),
    case([("l", "n")], merged("c", "m", _originatingleadid_value="l"), merged("m", "n"), record("contact", "n"), lead(),
         touched(record_type="contact", dynamics_id="n")),
    case([], merged("c", "m", _originatingleadid_value="l"), record("lead", "m"), lead(), BY_LEAD),
    # Of a contact that is kept out or left alone on purpose it stays what it is.
    case([], *BOTH, BY_LEAD, kept_out("contact", "c")),
    case(ONE, *BOTH, BY_LEAD, kept_out("lead", "l")),
    case(ONE, *BOTH, BY_LEAD, kept_out("lead", "c")),
    case([], *BOTH, BY_LEAD, adopted("skip")),
    case(ONE, *BOTH, BY_LEAD, adopted("create")),
    case(ONE, *BOTH, BY_LEAD, adopted("skip", "lead")),
    case(ONE, *BOTH, BY_LEAD, adopted("skip", dynamics_id="d")),
)  # fmt: skip


def test_a_lead_became_the_living_contact_that_was_made_of_it_or_that_it_was_qualified_onto() -> None:
    with after(STEP, *rows_of(FOUND)) as connection:
        found = connection.execute("select lead_id, contact_id from conversions order by all").fetchall()
        for number, each in enumerate(FOUND):
            assert told(number, found) == each.expected, each


def suspect(record_type: str = "lead", suspect_id: str = "l") -> Put:
    return "state.suspects", {
        "record_type": record_type,
        "suspect_id": suspect_id,
        "since": BEFORE,
        "next_look_at": BEFORE,
    }


def unread(record_type: str = "lead", key: str = "l") -> Put:
    return "state.unread", {"record_type": record_type, "key": key, "has_id": True, "message": "no JSON", "attempts": 1}


def requested(dynamics_id: str = "l") -> Put:
    return "state.requested", {"person_id": 9, "record_type": "lead", "dynamics_id": dynamics_id}


UNREAD = ("l", "lead_unread")
ONTO = record("lead", "k", statecode="1", _parentcontactid_value="c")
AWAITING = (
    # Of which lead a contact waits to know, and whether that is an error.
    case(None, *BOTH, BY_CONTACT),
    case(UNREAD, made(), BY_CONTACT),
    case(UNREAD, *BOTH, BY_CONTACT, unread()),
    case(None, *BOTH, BY_CONTACT, unread("contact")),
    case(None, *BOTH, BY_CONTACT, unread(key="m")),
    case(UNREAD, made(), lead(statecode="0"), BY_CONTACT, suspect()),
    case(UNREAD, made(), record("lead", "l"), BY_CONTACT, suspect()),
    case(None, *BOTH, BY_CONTACT, suspect()),
    case(None, made(), lead(statecode="0", is_deleted=True), BY_CONTACT, suspect()),
    case(None, made(), lead(statecode="0"), BY_CONTACT, suspect("contact")),
    case(None, made(), lead(statecode="0"), BY_CONTACT, suspect(suspect_id="m")),
    case(None, made(), lead(statecode="0"), BY_CONTACT),
    case(("l", None), *BOTH, BY_CONTACT, requested()),
    case(("l", None), made(), BY_CONTACT, requested()),
    case(None, *BOTH, BY_CONTACT, requested("m")),
    case(None, *BOTH, BY_CONTACT, requested(), link(1, "lead", "l")),
    case(("l", None), *BOTH, BY_CONTACT, requested(), link(1, "lead", "m")),
    case(None, made(), BY_CONTACT, link(1, "contact", "c")),
    case(UNREAD, made(), BY_CONTACT, link(1, "lead", "c")),
    case(None, BY_CONTACT, record("contact", "c")),
    # Of several leads the first is told; it is an error where one of them is.
    case(("k", "lead_unread"), made(), BY_CONTACT, ONTO, unread(key="k")),
    case(("k", "lead_unread"), made(), BY_CONTACT, ONTO, requested("k"), unread(key="k"), unread()),
    case(("k", "lead_unread"), made(), BY_CONTACT, ONTO, requested("k")),
)  # fmt: skip


def test_a_contact_without_a_person_waits_until_its_lead_is_known_as_it_is_now() -> None:
    with after(STEP, *rows_of(AWAITING)) as connection:
        found = connection.execute("select contact_id, lead_id, code from awaiting_lead").fetchall()
        for number, each in enumerate(AWAITING):
            assert told(number, found) == ([] if each.expected is None else [("c", *each.expected)]), each


WAITED: Row = {"record_type": "contact", "dynamics_id": "c", "code": "lead_unread"}
LOOKED = (
    # Whether a contact that waited for its lead is looked at.
    case(True, *BOTH, BY_LEAD, waits(next_look_at=AT + SECOND, **WAITED)),
    case(False, *BOTH, BY_LEAD),
    case(False, *BOTH, waits(next_look_at=AT + SECOND, **WAITED)),
    case(False, *BOTH, BY_LEAD, unread(), waits(next_look_at=AT + SECOND, **WAITED)),
    case(False, *BOTH, BY_LEAD, waits(next_look_at=AT + SECOND, **WAITED | {"code": "key_taken"})),
    case(False, *BOTH, BY_LEAD, waits(next_look_at=AT + SECOND, **WAITED, person_id=1)),
    case(False, *BOTH, BY_LEAD, waits(next_look_at=AT + SECOND, **WAITED | {"record_type": "lead"})),
    case(False, *BOTH, BY_LEAD, waits(next_look_at=AT + SECOND, **WAITED | {"dynamics_id": "d"})),
    case(True, *BOTH, BY_LEAD, ONTO, waits(next_look_at=AT + SECOND, **WAITED)),
)  # fmt: skip


def test_whoever_waited_for_a_lead_is_looked_at_once_that_is_known() -> None:
    with after(STEP, *rows_of(LOOKED)) as connection:
        found = connection.execute(
            "select dynamics_id, is_receipt from inbox.touched where record_type = 'contact'"
        ).fetchall()
        for number, each in enumerate(LOOKED):
            assert told(number, found) == [("c", False)] * each.expected, each


def ended(side: str = "qualified", record_type: str = "lead", dynamics_id: str = "l") -> Put:
    return "state.tombstones", {
        "person_id": 1,
        "record_type": record_type,
        "dynamics_id": dynamics_id,
        "side": side,
        "ended_at": BEFORE,
    }


GONE = made(is_deleted=True), BY_CONTACT
LEFT = (
    # Whether a lead is looked at because the contact that it became is gone.
    case(True, lead(), *GONE, ended()),
    case(False, lead(), *GONE),
    case(False, lead(), *GONE, ended("marketo")),
    case(False, lead(), *GONE, ended(record_type="contact")),
    case(False, lead(), *GONE, ended(dynamics_id="m")),
    case(False, lead(), made(is_deleted=True), ended()),
    case(False, lead(), made(), BY_CONTACT, ended()),
    case(False, lead(), *GONE, made("d"), ended()),
    case(False, lead(), made(), BY_CONTACT, kept_out("contact", "c"), ended()),
    case(True, lead(), merged("c", "m", _originatingleadid_value="l"), record("contact", "m", is_deleted=True),
         touched(record_type="contact", dynamics_id="m"), ended()),
)  # fmt: skip


def test_a_qualified_lead_is_looked_at_once_its_contact_is_gone() -> None:
    with after(STEP, *rows_of(LEFT)) as connection:
        found = connection.execute(
            "select dynamics_id, is_receipt from inbox.touched where record_type = 'lead'"
        ).fetchall()
        for number, each in enumerate(LEFT):
            assert told(number, found) == [("l", False)] * each.expected, each
