"""What the daily audit looks at and finds, line by line (`all_links.sql`, `audit_findings.sql`), by the rows that they are about.

Each case is a link or a record of its own. Not here: the audit of a whole world, by either engine (`../defs/test_audit.py`,
`../spark`).
"""

from __future__ import annotations

from typing import Any

from dynsync_pipeline_tests.worlds.rule_rows import (
    BEFORE,
    Id,
    Put,
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

LEAD, CONTACT = {"record_type": "lead", "dynamics_id": "L"}, {"record_type": "contact", "dynamics_id": "C"}
BOTH_SIDES = person(), record()


def unread(record_type: str = "lead", key: str = "L", **more: Any) -> Put:
    of = {"record_type": record_type, "key": key, "has_id": True, "message": "m", "attempts": 1}
    return "state.unread", of | more


def test_every_link_that_both_sides_hold_and_the_filter_lets_in_is_compared() -> None:
    cases = (
        case(True, link(), *BOTH_SIDES),
        case(True, link(1, "contact"), person(), record("contact", "L")),
        case(False, link(), record()),
        case(False, link(), person(is_deleted=True), record()),
        case(False, link(), person(2), record()),
        case(False, link(), person()),
        case(False, link(), person(), record(is_deleted=True)),
        case(False, link(), person(), record("contact", "L")),
        case(False, link(), person(), record("lead", "K")),
        case(False, link(), *BOTH_SIDES, kept_out()),
        case(True, link(), *BOTH_SIDES, kept_out("contact")),
        case(True, link(), *BOTH_SIDES, kept_out("lead", "K")),
        case(False, link(), *BOTH_SIDES, unread()),
        case(True, link(), *BOTH_SIDES, unread("contact")),
    )
    with after("reconcile/all_links", *rows_of(cases)) as connection:
        found = connection.execute("from compared_links").fetchall()
        for number, each in enumerate(cases):
            known = [(1, row["record_type"], "L") for table, row in each.rows if table == "state.links"]
            assert told(number, found) == known * each.expected, each


BASE: Put = ("state.base", {"person_id": 1})
WHOLE = link(), *BOTH_SIDES, BASE


def differs(dynamics_value: str | None = "D", marketo_value: str | None = "M") -> Put:
    values = {"field": "title", "dynamics_value": dynamics_value, "marketo_value": marketo_value}
    return "differing_fields", LEAD | {"person_id": 1} | values


def stands(dynamics_value: str | None = "D", marketo_value: str | None = "M", **more: Any) -> Put:
    values = {"field": "title", "dynamics_value": dynamics_value, "marketo_value": marketo_value}
    return "state.standing_differences", {"person_id": 1, "reason_code": "undo", "since": BEFORE} | values | more


def waits(**more: Any) -> Put:
    of = {
        "person_id": 1,
        "field": "title",
        "reason_code": "refused",
        "attempts": 1,
        "since": BEFORE,
        "next_look_at": BEFORE,
    }
    return "state.unsettled", LEAD | of | more


def stone(side: str, **key: Any) -> Put:
    return "state.tombstones", LEAD | {"person_id": 1, "side": side, "ended_at": BEFORE} | key


def adopted(decision: str, **key: Any) -> Put:
    return "state.adoption", LEAD | {"decision": decision, "decided_at": BEFORE} | key


def requested(**key: Any) -> Put:
    return "state.requested", LEAD | {"person_id": 1} | key


def became(*, is_deleted: bool = False) -> tuple[Put, Put]:
    """A lead, and the contact that it became."""
    contact = record("contact", "C", _originatingleadid_value="l", createdon="2026", is_deleted=is_deleted)
    return record("lead", "l"), contact


OVERLOOKED = [("difference_overlooked", 1, "title")]
MISSED: list[Any] = [("record_overlooked", None, None)]
NOTHING: list[Any] = []
OF_CONTACT = link(2, "contact", "C"), person(2), ("state.base", {"person_id": 2})
FINDINGS = (
    case(NOTHING, *WHOLE),
    # A difference of which the cycles know nothing.
    case(OVERLOOKED, *WHOLE, differs()),
    case(NOTHING, *WHOLE, differs(), stands()),
    case(NOTHING, *WHOLE, differs(None), stands(None)),
    case(NOTHING, *WHOLE, differs("D", None), stands("D", None)),
    case(OVERLOOKED, *WHOLE, differs(), stands("E")),
    case(OVERLOOKED, *WHOLE, differs(), stands("D", "N")),
    case(OVERLOOKED, *WHOLE, differs(), stands(field="city")),
    case(OVERLOOKED, *WHOLE, differs(), stands(person_id=2)),
    case(NOTHING, *WHOLE, differs(), waits()),
    case(OVERLOOKED, *WHOLE, differs(), waits(field="city")),
    case(NOTHING, *WHOLE, differs(), touched(person_id=1)),
    case(NOTHING, *WHOLE, differs(), touched(**LEAD)),
    case(OVERLOOKED, *WHOLE, differs(), touched(person_id=2)),
    case(OVERLOOKED, *WHOLE, differs(), touched(record_type="contact", dynamics_id="L")),
    case(OVERLOOKED, *WHOLE, differs(), touched(record_type="lead", dynamics_id="K")),
    # A record without a person, of which they know nothing.
    case(MISSED, record()),
    case(NOTHING, record(is_deleted=True)),
    case(MISSED, *WHOLE, record("contact", "L")),
    case(NOTHING, record(), waits(person_id=None, field=None)),
    case(MISSED, record(), waits(person_id=None, field=None, record_type="contact")),
    case(MISSED, record(), waits(person_id=None, field=None, dynamics_id="K")),
    case(NOTHING, record(), touched(**LEAD)),
    case(MISSED, record(), touched(record_type="contact", dynamics_id="L")),
    case(MISSED, record(), touched(record_type="lead", dynamics_id="K")),
    # Its person was deleted or merged in Marketo (R81, R25).
    case(NOTHING, record(), stone("marketo")),
    case(NOTHING, record(), stone("merged")),
    case(MISSED, record(), stone("dynamics")),
    case(MISSED, record(), stone("marketo", record_type="contact")),
    case(MISSED, record(), stone("marketo", dynamics_id="K")),
    case(NOTHING, record(), adopted("link")),
    case(NOTHING, record(), adopted("skip")),
    case(MISSED, record(), adopted("create")),
    case(MISSED, record(), adopted("skip", record_type="contact")),
    case(MISSED, record(), adopted("skip", dynamics_id="K")),
    # Its contact has the person (R96).
    case(NOTHING, *became(), *OF_CONTACT),
    case(MISSED, *became(is_deleted=True)),
    case(MISSED, *became(), kept_out("contact", "C")),
    case(NOTHING, *became(), *OF_CONTACT, kept_out("lead", "C")),
    case(NOTHING, *became(), *OF_CONTACT, kept_out("contact", "K")),
    case(MISSED, *became(), *OF_CONTACT, record("contact", "l")),
    case(MISSED, *became(), *OF_CONTACT, record("lead", "C")),
    # Its person asked for it, or it is kept out, or cannot be read (R71, R87, R116).
    case(NOTHING, record(), requested()),
    case(MISSED, record(), requested(record_type="contact")),
    case(MISSED, record(), requested(dynamics_id="K")),
    case(NOTHING, record(), kept_out()),
    case(MISSED, record(), kept_out("contact")),
    case(MISSED, record(), kept_out("lead", "K")),
    case(NOTHING, record(), unread()),
    case(MISSED, record(), unread("contact")),
    case(MISSED, record(), unread("lead", "K")),
    case(NOTHING, record("contact", "L"), unread("person", "2", contact_id="L")),
    case(MISSED, record("contact", "L"), unread("company", "2", contact_id="L")),
    case(NOTHING, record(), unread("person", "2", lead_id="L")),
    case(MISSED, record(), unread("company", "2", lead_id="L")),
    # Damage.
    case([("link_without_person", 1, None)], link(), record(), BASE),
    case([("link_without_record", 1, None)], link(), person(), BASE),
    case([("link_without_record", 1, None)], link(), person(), BASE, record("contact", "L", is_deleted=True)),
    case([("link_without_base", 1, None)], link(), *BOTH_SIDES),
    case([("person_linked_twice", 1, None)], *WHOLE, link(1, "contact", "C"), record("contact", "C")),
    case([("record_linked_twice", None, None)], *WHOLE, link(2), person(2), ("state.base", {"person_id": 2})),
    case(NOTHING, *WHOLE, waits()),
    case([("unsettled_without_link", 1, "title")], waits()),
    case(NOTHING, waits(), stone("dynamics")),
    case([("unsettled_without_link", 1, "title")], waits(), stone("dynamics", person_id=2)),
    case([("unsettled_without_reason", 1, "title")], *WHOLE, waits(reason_code=None)),
    case([("unsettled_without_reason", 1, "title")], *WHOLE, waits(next_look_at=None)),
)  # fmt: skip
LOOKED_AT_NEXT = ("difference_overlooked", "record_overlooked")


def test_the_audit_finds_what_the_cycles_do_not_know_of_and_what_is_damaged() -> None:
    with after("reconcile/audit_findings", *rows_of(FINDINGS)) as connection:
        found = connection.execute(
            "select coalesce(dynamics_id, 'L' || person_id // 100), code, person_id, field, is_missed from audit_findings "
            "order by all"
        ).fetchall()
        for number, each in enumerate(FINDINGS):
            mine = [row[1:4] for row in told(number, found)]
            assert mine == each.expected, each
        assert all(is_missed == (code in LOOKED_AT_NEXT) for _, code, _, _, is_missed in found)


def test_the_next_cycle_looks_at_what_was_overlooked_once() -> None:
    missed = differs(), *WHOLE, ("differing_fields", differs()[1] | {"field": "city"})
    damaged = link(3, "lead", "I"), link(4, "lead", "I"), waits(person_id=2, dynamics_id=Id("J"))
    rows = (*missed, record("lead", "K"), *damaged)
    with after("reconcile/audit_findings", *rows) as connection:
        assert connection.execute("select count(*) from audit_findings").fetchall() == [(11,)]
        touches = "select record_type, dynamics_id, person_id, is_receipt from inbox.touched order by all"
        assert connection.execute(touches).fetchall() == [("lead", "K", None, False), (None, None, 1, False)]
