"""What an account's change does to its people, line by line (`fan_out.sql`), by the rows that it is about.

Each case is an account or a contact of its own. Not here: which accounts change (`test_company_rows.py`); the limit of 5,000
contacts over HTTP (`../accounts`).
"""

from __future__ import annotations

from typing import Any

from dynsync_pipeline_tests.worlds.rule_rows import (
    Put,
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
    "account box c_box boolean to_marketo",
    "account site url text to_marketo",
    "contact title c_title text both",
)


def differs(field: str = "company", account_id: str = "a", reason: str = "account_changed") -> Put:
    values = {"old_value": "Old", "new_value": "New", "reason_code": reason}
    return "company_differences", {"account_id": account_id, "field": field} | values


def updated(account_id: str = "a", *, is_new: bool = False) -> Put:
    return "updated_accounts", {"account_id": account_id, "is_new": is_new}


def operation(action: str = "company", **more: Any) -> Put:
    of = {
        "operation_id": 1,
        "cycle_id": 1,
        "system": "marketo",
        "action": action,
        "record_type": "account",
        "dynamics_id": "a",
    }
    return "reconcile.operations", of | {"company_key": "a" if action == "company" else None, "body": "{}"} | more


def contact(number: int, parent: str | None = "a", held: str | None = "a", **values: Any) -> tuple[Put, ...]:
    """A linked contact of the account, whose person stands behind that company."""
    of = link(number, "contact", f"{'CDEF'[number - 1]}")
    return (
        of,
        person(number, external_company_id=held),
        record("contact", of[1]["dynamics_id"], _parentcustomerid_value=parent, **values),
    )


CHANGED = differs(), updated(), operation()
PEOPLE = (
    # Fields that change, of how many contacts, and who is told.
    case(([("company", 0)], []), *CHANGED),
    case(([("company", 1)], [1]), *CHANGED, *contact(1)),
    case(([("company", 2)], [1, 2]), *CHANGED, *contact(1), *contact(2)),
    case(([("company", 1), ("site", 1)], [1, 1]), *CHANGED, differs("site"), *contact(1)),
    case(([], []), updated(), operation(), *contact(1)),
    case(([], []), differs(), operation(), *contact(1)),
    case(([], []), differs(), updated(is_new=True), operation(), *contact(1)),
    case(([], []), differs(), updated(), *contact(1)),
    case(([], []), differs(), updated(), operation("update", company_key="a"), *contact(1)),
    case(([], []), differs(), updated(), operation(company_key="b"), *contact(1)),
    # Only living, linked contacts of this account that are not kept out count; leads never.
    case(([("company", 0)], []), *CHANGED, *contact(1, "b")),
    case(([("company", 0)], []), *CHANGED, *contact(1, None)),
    case(([("company", 0)], []), *CHANGED, *contact(1)[1:]),
    case(([("company", 0)], []), *CHANGED, *contact(1)[1:], link(1, "lead", "C")),
    case(([("company", 0)], []), *CHANGED, *contact(1)[1:], link(1, "contact", "X")),
    case(([("company", 0)], []), *CHANGED, *contact(1)[::2]),
    case(([("company", 0)], []), *CHANGED, contact(1)[0], contact(1)[2], person(1, external_company_id="a", is_deleted=True)),
    case(([("company", 0)], []), *CHANGED, *contact(1, is_deleted=True)),
    case(([("company", 0)], []), *CHANGED, *contact(1), kept_out("contact", "C")),
    case(([("company", 1)], [1]), *CHANGED, *contact(1), kept_out("lead", "C")),
    case(([("company", 1)], [1]), *CHANGED, *contact(1), kept_out("contact", "X")),
    # Whoever joins it now counts and is told of its move alone.
    case(([("company", 1)], []), *CHANGED, *contact(1, held="b")),
    case(([("company", 1)], []), *CHANGED, *contact(1, held=None)),
    case(([("company", 2)], [2]), *CHANGED, *contact(1, held="b"), *contact(2)),
)  # fmt: skip


def test_each_contact_of_an_account_that_changed_is_told_of_each_field() -> None:
    with after("reconcile/fan_out", *rows_of(PEOPLE), fields=FIELDS) as connection:
        changes = connection.execute(
            "select operation_id, field, n_contacts, old_value, new_value, reason_code from reconcile.planned_account_changes "
            "order by field"
        ).fetchall()
        activities = connection.execute(
            "select person_id, field, old_value, new_value, reason_code from reconcile.planned_activities order by all"
        ).fetchall()
        for number, each in enumerate(PEOPLE):
            fields, people = each.expected
            assert told(number, [row[:3] for row in changes]) == [(1, *field) for field in fields], each
            assert told(number, [row[:1] for row in activities]) == [(person_id,) for person_id in people], each
        assert {row[3:] for row in changes} == {row[2:] for row in activities} == {("Old", "New", "account_changed")}


def test_of_an_account_with_more_than_5000_contacts_nobody_is_told() -> None:
    for n_contacts, n_told in ((5_000, 5_000), (5_001, 0)):
        rows = [row for number in range(n_contacts) for row in some(number)]
        with after("reconcile/fan_out", *CHANGED, *rows, fields=FIELDS) as connection:
            assert connection.execute("select n_contacts from reconcile.planned_account_changes").fetchall() == [
                (n_contacts,)
            ]
            told_of = connection.execute("select count(*) from reconcile.planned_activities").fetchall()
            assert told_of == [(n_told,)]


def some(number: int) -> tuple[Put, ...]:
    return (
        link(number, "contact", f"C{number}"),
        person(number, external_company_id="a"),
        record("contact", f"C{number}", _parentcustomerid_value="a"),
    )


def moves(wanted: str | None = "b", held: str | None = "a", **more: Any) -> Put:
    key = {"person_id": 1, "record_type": "contact", "dynamics_id": "C"}
    return "company_links", key | {"held_key": held, "wanted_key": wanted} | more


def company(key: str, **values: Any) -> Put:
    return "mirror.marketo_companies", {"external_company_id": key} | values


def account(account_id: str, **values: Any) -> Put:
    return "mirror.dynamics_accounts", {"accountid": account_id, "is_deleted": False} | values


WRITE = operation("update", person_id=1)
HERE, THERE = company("a", company="Here"), company("b", company="There")
MOVED = (
    # Fields, with what they were and are.
    case([("company", "Here", "There")], moves(), WRITE, HERE, THERE),
    case([("company", "Here", None)], moves(), WRITE, HERE),
    case([("company", None, "There")], moves(), WRITE, THERE),
    case([], moves(), WRITE, company("a", company="Same"), company("b", company="Same")),
    case([("company", "Here", "There"), ("site", "x", "y")], moves(), WRITE, company("a", company="Here", site="x"),
         company("b", company="There", site="y")),
    # Without a write of its person, or a move of a contact, nothing.
    case([], moves(), HERE, THERE),
    case([], moves(), operation("update", person_id=2), HERE, THERE),
    case([], moves(), operation("update", person_id=1, system="dynamics"), HERE, THERE),
    case([], moves(), operation("create", person_id=1), HERE, THERE),
    case([], moves("a"), WRITE, HERE, THERE),
    case([], moves("a"), WRITE, HERE, account("a", name="New"), updated("a")),
    case([], moves(record_type="lead"), WRITE, HERE, THERE),
    case([("company", "Here", None)], moves(None), WRITE, HERE, THERE),
    # Whoever had no key had a company all the same.
    case([("company", "Was", "There")], moves(held=None), WRITE, company("person:1", company="Was"), THERE),
    case([("company", None, "There")], moves(held=None), WRITE, company("person:2", company="Was"), THERE, HERE),
    # Of an account that is applied now, what it holds; of another, what its company holds.
    case([("company", "Here", "New")], moves(), WRITE, HERE, THERE, account("b", name="New"), updated("b")),
    case([("company", "Here", "There")], moves(), WRITE, HERE, THERE, account("b", name="New")),
    case([("company", "Here", None)], moves(), WRITE, HERE, THERE, account("b"), updated("b")),
    case([("company", "Here", "There")], moves(), WRITE, HERE, THERE, account("a", name="New"), updated("a")),
    # A checkbox that nobody set is like none.
    case([("box", None, "true")], moves(), WRITE, company("b", box="true")),
    case([("box", "true", None)], moves(), WRITE, company("a", box="true")),
    case([], moves(), WRITE, company("a", box="false")),
    case([], moves(), WRITE, company("b", box="false")),
    case([("company", None, "false")], moves(), WRITE, company("b", company="false")),
    case([("company", "false", None)], moves(), WRITE, company("a", company="false")),
)  # fmt: skip


def test_whoever_moves_to_another_account_is_told_of_all_that_becomes_different() -> None:
    with after("reconcile/fan_out", *rows_of(MOVED), fields=FIELDS) as connection:
        found = connection.execute(
            "select operation_id, person_id, reason_code, field, old_value, new_value from reconcile.planned_activities "
            "order by all"
        ).fetchall()
        for number, each in enumerate(MOVED):
            assert told(number, found) == [(1, 1, "account_moved", *row) for row in each.expected], each
