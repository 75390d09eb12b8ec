"""Which records get a person in Marketo, line by line (`new_people.sql`), by the rows that it is about.

Each case is a record of its own. Not here: which leads became contacts (`test_conversion_rows.py`); creates in whole cycles.
"""

from __future__ import annotations

from typing import Any

from dynsync_pipeline_tests.worlds.rule_rows import (
    AT,
    BEFORE,
    SECOND,
    THIS_CYCLE,
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
    touched,
)

FIELDS = (
    "lead title jobtitle text both",
    "lead city c_city text both",
    "lead score c_score text to_dynamics",
    "contact title c_title text both",
)
STEP = "reconcile/new_people"
KEY: Row = {"record_type": "lead", "dynamics_id": "L"}
NEW = record(), touched(**KEY)


def waits(next_look_at: Any = AT, reason_code: str = "waiting", **more: Any) -> Put:
    """A record without a person that waits."""
    return "state.unsettled", KEY | {
        "attempts": 2,
        "since": BEFORE,
        "next_look_at": next_look_at,
        "reason_code": reason_code,
    } | more


def stone(side: str = "marketo", **more: Any) -> Put:
    return "state.tombstones", KEY | {"person_id": 9, "side": side, "ended_at": BEFORE} | more


def held(value: str | None, field: str = "title", column: str = "jobtitle", **more: Any) -> Put:
    """What the record held when its link ended."""
    return "state.tombstone_values", KEY | {"field": field, "dynamics_column": column, "value": value} | more


def became(table: str = "conversions", lead_id: str = "L", contact_id: str = "C") -> Put:
    return table, {"lead_id": lead_id, "contact_id": contact_id}


def adopted(decision: str, **more: Any) -> Put:
    return "state.adoption", KEY | {"decision": decision, "decided_at": BEFORE} | more


def unread(record_type: str = "lead", key: str = "L", **more: Any) -> Put:
    return "state.unread", {
        "record_type": record_type,
        "key": key,
        "has_id": True,
        "message": "no JSON",
        "attempts": 1,
    } | more


def requested(dynamics_id: str = "L") -> Put:
    return "state.requested", {"person_id": 9, "record_type": "lead", "dynamics_id": dynamics_id}


STARTED: Put = ("state.started", KEY)
OF_CONTACT = {"record_type": "contact"}
ENDED = *NEW, stone()
WITHOUT = (
    # Whether the record gets a person.
    case(True, *NEW),
    case(False, record()),
    case(True, record(), waits()),
    case(True, record(), waits(), touched(**KEY)),
    case(False, record(), waits(AT + SECOND)),
    case(False, record(), waits(person_id=1)),
    case(False, record(is_deleted=True), touched(**KEY)),
    case(False, record(merged="true"), touched(**KEY)),
    case(False, touched(**KEY)),
    case(False, record("contact", "L"), touched(**KEY)),
    case(False, *NEW, link()),
    case(True, *NEW, link(1, "contact")),
    case(True, *NEW, link(1, "lead", "M")),
    case(False, *NEW, kept_out()),
    case(True, *NEW, kept_out("contact")),
    # Whose person was deleted in Marketo, since when somebody edited the record, or let it in.
    case(False, *ENDED),
    case(True, *NEW, stone("dynamics")),
    case(True, *NEW, stone(record_type="contact")),
    case(True, *NEW, stone(dynamics_id="M")),
    case(False, record(jobtitle="a"), touched(**KEY), stone(), held("a")),
    case(True, record(jobtitle="b"), touched(**KEY), stone(), held("a")),
    case(True, record(jobtitle=None), touched(**KEY), stone(), held("a")),
    case(True, record(jobtitle="b"), touched(**KEY), stone(), held(None)),
    case(False, record(), touched(**KEY), stone(), held(None)),
    case(True, record(jobtitle="a", c_city="b"), touched(**KEY), stone(), held("a"), held("a", "city", "c_city")),
    case(False, record(jobtitle="b"), touched(**KEY), stone(), held("a", column="c_other")),
    case(False, record(jobtitle="b"), touched(**KEY), stone(), held("a", "unknown")),
    case(False, record(c_score="b"), touched(**KEY), stone(), held("a", "score", "c_score")),
    case(False, record(jobtitle="b"), touched(**KEY), stone(), held("a", record_type="contact")),
    case(False, record(jobtitle="b"), touched(**KEY), stone(), held("a", dynamics_id="M")),
    case(False, record(jobtitle="a"), record("contact", "L", c_title="b"), touched(**KEY), stone(), held("a")),
    case(False, record(jobtitle="a"), record("lead", "M", jobtitle="b"), touched(**KEY), stone(), held("a")),
    case(True, record(jobtitle="b"), waits(), stone(), held("a")),
    case(False, record(jobtitle="a"), waits(), stone(), held("a")),
    case(True, *ENDED, STARTED),
    case(True, *NEW, stone(), STARTED, stone("dynamics", dynamics_id="M")),
    case(False, *ENDED, ("state.started", KEY | OF_CONTACT)),
    # Whose person is another record's now.
    case(False, *NEW, stone("merged"), STARTED),
    case(False, record(jobtitle="b"), touched(**KEY), stone("merged"), held("a")),
    case(False, *NEW, stone("qualified"), STARTED),
    case(True, record(jobtitle="b"), touched(**KEY), stone("qualified"), held("a")),
    case(False, record(jobtitle="b"), touched(**KEY), stone("qualified"), held("a"), became("living_conversions")),
    case(True, record(jobtitle="b"), touched(**KEY), stone("qualified"), held("a"), became("living_conversions", "M")),
    case(True, record(jobtitle="b"), touched(**KEY), stone("marketo"), held("a"), became("living_conversions")),
    case(True, record("contact", "L", c_title="b"), touched(record_type="contact", dynamics_id="L"),
         stone("qualified", record_type="contact"), held("a", column="c_title", record_type="contact"),
         became("living_conversions", "M")),
    case(False, *NEW, became()),
    case(True, *NEW, became(lead_id="M", contact_id="L")),
    # Kept back by an adoption, because it cannot be read, or because its person asked for it.
    case(False, *NEW, adopted("link")),
    case(False, *NEW, adopted("skip")),
    case(True, *NEW, adopted("create")),
    case(True, *NEW, adopted("link", record_type="contact")),
    case(True, *NEW, adopted("link", dynamics_id="M")),
    case(False, *NEW, unread()),
    case(True, *NEW, unread("contact")),
    case(False, *NEW, unread("person", "9", lead_id="L")),
    case(True, *NEW, unread("person", "9", contact_id="L")),
    case(False, *NEW, requested()),
    case(True, *NEW, requested("M")),
)  # fmt: skip


def test_a_living_record_without_a_person_gets_one_unless_its_person_ended_or_is_anothers() -> None:
    with after(STEP, *rows_of(WITHOUT), fields=FIELDS) as connection:
        found = connection.execute("select dynamics_id, attempts, pending_since from records_without_person").fetchall()
        new = connection.execute("select dynamics_id from new_people").fetchall()
        for number, each in enumerate(WITHOUT):
            waited = any(table == "state.unsettled" for table, _ in each.rows)
            expected = [("L", 2, BEFORE) if waited else ("L", 0, None)] * each.expected
            assert told(number, found) == expected, each
            assert told(number, new) == [("L",)] * each.expected, each


def test_only_a_record_that_is_looked_at_rests() -> None:
    cases = (
        case(True, *ENDED),
        case(True, record(), stone(), waits(AT + SECOND)),
        case(False, record(), stone()),
        case(False, record(), stone(), waits(person_id=1)),
    )
    with after(STEP, *rows_of(cases), fields=FIELDS) as connection:
        found = connection.execute("select dynamics_id from resting_records").fetchall()
        for number, each in enumerate(cases):
            assert told(number, found) == [("L",)] * each.expected, each


EDITED = record(jobtitle="b"), touched(**KEY), held("a")
AFTER_MERGE = (
    # As what an edit of a lead is told whose person is a contact's.
    case("merged", *EDITED, stone("merged")),
    case("qualified", *EDITED, stone("qualified"), became("living_conversions")),
    case("qualified", *EDITED, stone("marketo"), became()),
    case(None, *EDITED, stone("qualified")),
    case(None, *EDITED, stone("qualified"), became("living_conversions", "M")),
    case(None, *EDITED, stone("marketo")),
    case(None, *EDITED, stone("marketo"), became(lead_id="M")),
    case(None, *EDITED, stone("marketo"), became("living_conversions")),
    case(None, *EDITED, stone("dynamics"), became(), became("living_conversions")),
    case(None, record("contact", "L", c_title="b"), touched(record_type="contact", dynamics_id="L"),
         stone("marketo", record_type="contact"), held("a", column="c_title", record_type="contact"), became()),
    case(None, record(jobtitle="a"), touched(**KEY), held("a"), stone("merged")),
    case(None, record(jobtitle="b"), held("a"), stone("merged")),
    case(None, record(jobtitle="b"), held("a"), stone("merged"), touched(record_type="contact", dynamics_id="L")),
    case(None, record(jobtitle="b", is_deleted=True), touched(**KEY), held("a"), stone("merged")),
    case(None, *EDITED, stone("merged"), kept_out()),
    case("merged", *EDITED, stone("merged"), kept_out("contact")),
)  # fmt: skip


def test_an_edit_of_a_lead_whose_person_is_a_contacts_is_told_of() -> None:
    with after(STEP, *rows_of(AFTER_MERGE), fields=FIELDS) as connection:
        found = connection.execute("select person_id, side from edited_after_merge").fetchall()
        for number, each in enumerate(AFTER_MERGE):
            assert told(number, found) == ([] if each.expected is None else [(9, each.expected)]), each


AWAITING: Put = ("awaiting_lead", {"contact_id": "L", "lead_id": "M", "code": "lead_unread"})
CONTACT = record("contact", "L"), touched(record_type="contact", dynamics_id="L")
BACK = (
    # What holds a create back: a person who bears its key already, or a lead that is not known.
    case((False, False), *NEW),
    case((True, False), *NEW, person(dynamics_lead_id="L")),
    case((False, False), *NEW, person(dynamics_contact_id="L")),
    case((False, False), *NEW, person(dynamics_lead_id="L", is_deleted=True)),
    case((True, False), *CONTACT, person(dynamics_contact_id="L")),
    case((False, True), *CONTACT, AWAITING),
    case((False, False), *NEW, AWAITING),
    case((False, False), *CONTACT, ("awaiting_lead", {"contact_id": "M", "lead_id": "L"})),
)


def test_no_record_is_created_whose_key_somebody_bears_or_whose_lead_is_not_known() -> None:
    with after(STEP, *rows_of(BACK), fields=FIELDS) as connection:
        kept = connection.execute("select dynamics_id, person_id from kept_back").fetchall()
        held_back = connection.execute("select dynamics_id, lead_id, code from held_back").fetchall()
        new = connection.execute("select dynamics_id from new_people").fetchall()
        for number, each in enumerate(BACK):
            is_kept, is_held = each.expected
            assert told(number, kept) == [("L", 1)] * is_kept, each
            assert told(number, held_back) == [("L", "M", "lead_unread")] * is_held, each
            assert told(number, new) == [("L",)] * (not is_kept and not is_held), each


def approval(*, is_approved: bool = True, **more: Any) -> Put:
    asked: Row = {"approval_id": 1, "cause": "new", "cause_name": "lead", "n_people": 9, "asked_at": BEFORE}
    how = {"direction": "to_marketo", "approved_at": AT if is_approved else None}
    return "state.approvals", asked | how | KEY | more


WAITING = record(), waits(reason_code="waiting_for_approval")
ASKED = (
    # Whether a person waits until somebody approves, where more than may be unasked are new.
    case(True, *NEW),
    case(True, *NEW),
    case(True, *WAITING),
    case(False, record(), waits()),
    case(False, *NEW, approval()),
    case(True, *NEW, approval(is_approved=False)),
    case(True, *NEW, approval(field="title")),
    case(True, *NEW, approval(record_type="contact")),
    case(True, *NEW, approval(dynamics_id="M")),
    case(False, *WAITING, approval()),
    case(True, *WAITING, touched(**KEY)),
    case(False, *CONTACT),
    case(False, *CONTACT),
)


def about(ask_above: int | None, *, is_first_load: bool = False) -> Put:
    return "this_cycle", THIS_CYCLE[1] | {"ask_above": ask_above, "is_first_load": is_first_load}


def test_more_new_people_of_a_type_than_may_be_unasked_wait_until_somebody_approves() -> None:
    """Seven leads are new, and two contacts."""
    for cycle, is_asked in (
        (about(6), True),
        (about(7), False),
        (about(None), False),
        (about(6, is_first_load=True), False),
    ):
        with after(STEP, cycle, *rows_of(ASKED), fields=FIELDS) as connection:
            asked = connection.execute("select dynamics_id, n_reached, pending_since from asked_people").fetchall()
            new = connection.execute("select dynamics_id from new_people").fetchall()
            for number, each in enumerate(ASKED):
                is_waiting = WAITING[1] in each.rows
                is_expected = each.expected and (is_asked or is_waiting)
                assert [row[:1] for row in told(number, asked)] == [("L",)] * is_expected, (cycle, each)
                assert told(number, new) == [("L",)] * (not is_expected), each
            assert {n_reached for _, n_reached, _ in asked} <= {7}
