"""Which people and companies a lost write made, and what else is told of it, line by line (`recognise.sql`), by the rows that it
is about.

Each case is an operation of its own. Not here: updates, value by value (`test_recognised_rows.py`).
"""

from __future__ import annotations

from typing import Any, NamedTuple

from dynsync_pipeline_tests.reconcile.test_recognised_rows import (
    SENT,
    TWO,
    change,
    operation,
    planned,
    read,
    recognised,
    told_by_feed,
)
from dynsync_pipeline_tests.worlds.rule_rows import AT, Put, Row, link, person, told

CREATE = operation(action="create", person_id=None), change(), change("city", "York", None), change("box", "true", None)
FILLED: Row = {"city": "York", "box": "true"}
IN_PARTS = operation(action="create", person_id=None, is_in_parts=True), *CREATE[1:]


class Made(NamedTuple):
    """A person who may have been made: who it is, which of the values never left, and which were edited since."""

    person_id: int | None
    unsent: tuple[str, ...]
    edited: tuple[str, ...]
    rows: tuple[Put, ...]


def made(person_id: int | None, *rows: Put, unsent: tuple[str, ...] = (), edited: tuple[str, ...] = ()) -> Made:
    return Made(person_id, unsent, edited, rows)


def bearer(person_id: int = 1, **values: Any) -> Put:
    return person(person_id, dynamics_lead_id="L", **values)


MADE = (
    made(1, *CREATE, bearer()),
    made(None, *CREATE),
    made(None, *CREATE, person(dynamics_contact_id="L")),
    made(None, *CREATE, person(dynamics_lead_id="M")),
    made(None, *CREATE, bearer(is_deleted=True)),
    made(None, *CREATE, bearer(), link(1, "lead", "M")),
    made(2, *CREATE, bearer(1), bearer(2), link(1)),
    made(1, *CREATE, bearer(2), bearer(1)),
    made(1, *CREATE, bearer(), told_by_feed("X", "New"), edited=("title",)),
    made(1, *CREATE, bearer(), told_by_feed("New", None)),
    made(1, *CREATE, bearer(title="New"), told_by_feed("X", "New"), told_by_feed("New", "X", 2), edited=("title",)),
    made(None, operation(person_id=None), change(), bearer()),
    # One who left in parts lacks what never left.
    made(1, *IN_PARTS, bearer(title="New", **FILLED)),
    made(1, *IN_PARTS, bearer(title="New"), unsent=("box", "city")),
    made(1, IN_PARTS[0], change(new=None), bearer(), told_by_feed(None, None)),
    made(1, *IN_PARTS, bearer(title="New", city="York", box="false"), unsent=("box",)),
    made(1, *IN_PARTS, bearer(), unsent=("box", "city", "title")),
    made(1, *IN_PARTS, bearer(), told_by_feed("New", None), unsent=("box", "city")),
    made(1, *IN_PARTS, bearer(title="X", **FILLED), told_by_feed("X", None), unsent=("title",), edited=("title",)),
    made(1, *IN_PARTS, bearer(title="X", **FILLED), told_by_feed("X", "New"), edited=("title",)),
    made(1, *IN_PARTS, bearer(title="Y", **FILLED), told_by_feed("Y", "X", 2), told_by_feed("X", None),
         unsent=("title",), edited=("title",)),
    made(1, *IN_PARTS, bearer(title="Y", **FILLED), told_by_feed("Y", None, 2), told_by_feed(None, "New"), edited=("title",)),
    made(1, *IN_PARTS, bearer(title="X", **FILLED), told_by_feed("X", "New", 2), told_by_feed("New", None), edited=("title",)),
    made(1, *IN_PARTS, bearer(**FILLED), told_by_feed(None, "New"), edited=("title",)),
    made(1, *IN_PARTS, bearer(title="New", **FILLED), told_by_feed("X", None, person_id=2)),
    made(1, *IN_PARTS, bearer(**FILLED), person(2, title="New"), unsent=("title",)),
)  # fmt: skip


def test_who_was_made_is_known_by_its_key_and_lacks_what_never_left() -> None:
    with recognised(MADE) as connection:
        receipts = connection.execute("select operation_id, person_id from reconcile.receipts").fetchall()
        unsent = connection.execute("select operation_id, field from reconcile.unsent_fields order by all").fetchall()
        edits = connection.execute("select operation_id, field from reconcile.edited_meanwhile order by all").fetchall()
        changes = connection.execute(
            "select operation_id, field from reconcile.planned_changes order by all"
        ).fetchall()
        for number, case in enumerate(MADE):
            assert told(number, receipts) == [(1, case.person_id)] * (case.person_id is not None), case
            assert told(number, unsent) == [(1, field) for field in case.unsent], case
            assert told(number, edits) == [(1, field) for field in case.edited], case
            kept = sorted(set(planned(case.rows)) - set(case.unsent))
            assert told(number, changes) == [(1, field) for field in kept], case


class Company(NamedTuple):
    """A write to a company, and whether it was applied."""

    is_done: bool
    rows: tuple[Put, ...]


def company(is_done: bool, *rows: Put, **more: Any) -> Company:
    """Of an account's company `K`, or as `more` tells."""
    of = {"record_type": "account", "dynamics_id": "A", "person_id": None, "company_key": "K"}
    return Company(is_done, (operation(action="company", **of | more), *rows))


def account_change(field: str = "company", new: str | None = "Acme") -> Put:
    values = {"old_value": "Old", "new_value": new, "n_contacts": 1, "reason_code": "account_changed"}
    return "reconcile.planned_account_changes", {"operation_id": 1, "field": field} | values


def holds(external_company_id: str = "K", **values: Any) -> Put:
    return "mirror.marketo_companies", {"external_company_id": external_company_id} | values


OF_LEAD = {"record_type": "lead", "dynamics_id": "L", "person_id": 1}
COMPANIES = (
    company(True, account_change(), holds(company="Acme")),
    company(False, account_change(), holds(company="Old")),
    company(False, account_change(), holds()),
    company(False, account_change()),
    company(False, account_change(), holds(company="Old"), holds("M", company="Acme")),
    company(False, account_change(), holds(company="Old", town="Acme")),
    company(True, account_change(new=None), holds()),
    company(False, account_change(new=None), holds(company="Old")),
    company(True, account_change(), account_change("town", "York"), holds(company="Acme", town="York")),
    company(False, account_change(), account_change("town", "York"), holds(company="Acme", town="Bath")),
    # That it is there proves nothing of an account's, sent in parts, of which nothing else is to be seen.
    company(True, holds()),
    company(True, holds(), is_in_parts=False),
    company(False, holds(), is_in_parts=True),
    company(True, holds(), is_in_parts=True, record_type="lead"),
    company(True, account_change(), holds(company="Acme"), is_in_parts=True),
    # What the person then holds of it.
    company(True, holds(), link(), change(), person(title="New"), **OF_LEAD),
    company(False, holds(), link(), change(), person(title="Old"), **OF_LEAD),
    company(False, holds(), link(), change(), person(title="Old"), read(jobtitle="New"), **OF_LEAD),
    company(True, holds(), link(), change(), person(title="New"), read(jobtitle="Old"), **OF_LEAD),
    company(False, holds(), link(), change(), person(city="New"), **OF_LEAD),
    company(False, holds(), link(), change(), person(title="Old"), link(2, "lead", "M"), person(2, title="New"), **OF_LEAD),
    company(True, holds(), link(), change(sent_value="other"), person(title="New"), **OF_LEAD),
    company(True, holds(), link(), change(new=None), person(), **OF_LEAD),
    company(True, holds(), change()),
    Company(False, (operation(action="create", person_id=None, company_key="K"), change(), holds())),
    company(False, holds(), link(), change(), change("city", "York"), person(title="New", city="Bath"), **OF_LEAD),
    company(False, account_change(), link(), change(), holds(company="Acme"), person(title="Old"), **OF_LEAD),
    company(False, account_change(), link(), change(), holds(company="Old"), person(title="New"), **OF_LEAD),
)  # fmt: skip


def test_a_company_was_written_where_all_of_it_stands() -> None:
    with recognised(COMPANIES) as connection:
        receipts = connection.execute("select operation_id from reconcile.receipts").fetchall()
        for number, case in enumerate(COMPANIES):
            assert told(number, receipts) == [(1,)] * case.is_done, case


class Beside(NamedTuple):
    """An operation, whose collisions then are left, and whether its activities are."""

    collisions: tuple[str, ...]
    has_activities: bool
    rows: tuple[Put, ...]


def beside(*rows: Put, collisions: tuple[str, ...] = ("city", "title"), has_activities: bool = True) -> Beside:
    collision = {"operation_id": 1, "winner": "dynamics", "rule_code": "collision_dynamics"}
    activity = {"operation_id": 1, "person_id": 1, "field": "company", "reason_code": "moved"}
    return Beside(collisions, has_activities, (
        *rows, *(("reconcile.planned_collisions", collision | {"field": field}) for field in ("title", "city")),
        ("reconcile.planned_activities", activity),
    ))  # fmt: skip


MOVED = change("companyKey", "here", "there")
BESIDE = (
    beside(*TWO, MOVED, person(title="New", city="York"), collisions=("city", "title"), has_activities=False),
    beside(*TWO, person(title="New", city="Bath"), collisions=("title",)),
    beside(*TWO, person(title="Old", city="York"), collisions=("city",)),
    beside(*TWO, MOVED, person(title="Old", city="Bath")),
    beside(*TWO, MOVED, person(title="New", city="York"), told_by_feed("here", "there", 9, "companyKey")),
)


def test_what_was_not_done_leaves_neither_collision_nor_activity() -> None:
    with recognised(BESIDE) as connection:
        collisions = connection.execute(
            "select operation_id, field from reconcile.planned_collisions order by all"
        ).fetchall()
        activities = connection.execute("select operation_id, person_id from reconcile.planned_activities").fetchall()
        for number, case in enumerate(BESIDE):
            assert told(number, collisions) == [(1, field) for field in case.collisions], case
            assert told(number, activities) == [(1, 1)] * case.has_activities, case


class Undone(NamedTuple):
    """An undo, and what stands then as Dynamics' and Marketo's value, or nothing."""

    stands: tuple[str, str] | None
    rows: tuple[Put, ...]


def undone(
    stands: tuple[str, str] | None, system: str = "marketo", field: str = "parked", rule_code: str = "undo", **more: Any
) -> Undone:
    values = {"sent_value": "put back", "base_after": "was"}
    return Undone(stands, (operation(system, **more), change(field, rule_code=rule_code, **values)))


UNDONE = (
    undone(("was", "put back")),
    undone(("put back", "was"), "dynamics"),
    undone(None, field="title"),
    undone(("was", "put back"), field="flagged"),
    undone(None, rule_code="one_sided"),
    undone(None, sent_at=None),
)


def test_an_undo_of_a_field_that_is_parked_since_stands() -> None:
    with recognised(UNDONE) as connection:
        stands = connection.execute(
            "select person_id, dynamics_value, marketo_value from state.standing_differences "
            f"where (reason_code, since) = ('undo', timestamp '{AT}')"
        ).fetchall()
        for number, case in enumerate(UNDONE):
            assert told(number, stands) == ([] if case.stands is None else [(1, *case.stands)]), case


def test_only_of_receipts_of_now_an_edit_counts_as_made_meanwhile() -> None:
    receipt = {"operation_id": 1, "outcome": "applied", "person_id": 1, "received_at": SENT}
    rows = change(), person(title="X"), told_by_feed("X", "New")
    cases = [
        Undone(None, (operation(system, action), *rows, ("reconcile.receipts", receipt | {"is_settled": is_settled})))
        for system, action, is_settled in (
            ("marketo", "update", False), ("marketo", "create", False), ("marketo", "update", True),
            ("marketo", "company", False), ("dynamics", "update", False),
        )
    ]  # fmt: skip
    with recognised(cases) as connection:
        edits = connection.execute("select operation_id, field from reconcile.edited_meanwhile order by all").fetchall()
    assert edits == [(1, "title"), (101, "title")]
