"""Whose person a contact takes over and with which base, line by line (`qualified_leads.sql`, `qualified_links.sql`), by the
rows that they are about.

Each case is a lead and a contact of its own. Not here: qualifying in whole cycles (`../qualifying`).
"""

from __future__ import annotations

from typing import NamedTuple

from dynsync_pipeline_tests.worlds.rule_rows import (
    AT,
    BEFORE,
    Put,
    Row,
    after,
    apart,
    kept_out,
    link,
    person,
    record,
    rows_of,
    told,
)


class Became(NamedTuple):
    """What is known of leads that became contacts, and who is taken over: person, lead, contact, whether linked."""

    taken: tuple[tuple[int, str, str, bool], ...]
    rows: tuple[Put, ...]


def became(lead_id: str = "L", contact_id: str = "C", createdon: str = "2026-01-01") -> Put:
    return "conversions", {"lead_id": lead_id, "contact_id": contact_id, "createdon": createdon}


def bears(
    person_id: int = 1, lead_id: str | None = "L", contact_id: str | None = None, *, is_deleted: bool = False
) -> Put:
    """A person with these keys."""
    return person(person_id, is_deleted=is_deleted, dynamics_lead_id=lead_id, dynamics_contact_id=contact_id)


def unread(record_type: str, key: str, contact_id: str | None = None) -> Put:
    what = {"record_type": record_type, "key": key, "contact_id": contact_id, "has_id": True}
    return "state.unread", what | {"message": "no JSON", "attempts": 1}


def adopted(decision: str, dynamics_id: str = "C", record_type: str = "contact") -> Put:
    return "state.adoption", {
        "record_type": record_type,
        "dynamics_id": dynamics_id,
        "decision": decision,
        "decided_at": BEFORE,
    }


def requested(dynamics_id: str) -> Put:
    return "state.requested", {"person_id": 9, "record_type": "contact", "dynamics_id": dynamics_id}


def taken(*rows: Put, who: tuple[int, str, str, bool] = (1, "L", "C", True)) -> Became:
    return Became((who,), (became(), *rows))


def left(*rows: Put) -> Became:
    return Became((), (became(), *rows))


LINKED = link(), bears()
CASES = (
    taken(*LINKED),
    Became((), LINKED),
    left(link()),
    left(link(), bears(is_deleted=True)),
    left(),
    # By key, of whoever is nobody's.
    taken(bears(), who=(1, "L", "C", False)),
    left(bears(contact_id="other")),
    taken(link(), bears(contact_id="other")),
    left(bears(), link(1, "contact", "other")),
    left(bears(), link(1, "lead", "other")),
    left(bears(is_deleted=True)),
    left(bears(lead_id=None, contact_id="L")),
    left(bears(lead_id="other")),
    left(link(1, "contact", "L"), bears()),
    taken(link(2), bears(1), bears(2), who=(2, "L", "C", True)),
    taken(bears(2), bears(1), who=(1, "L", "C", False)),
    taken(link(2), link(1), bears(1), bears(2)),
    # The lead is kept out, or its person is another contact's by a merge in Marketo.
    left(*LINKED, kept_out("lead", "L")),
    taken(*LINKED, kept_out("contact", "L")),
    taken(*LINKED, kept_out("lead", "other")),
    left(*LINKED, ("taken_over", {"person_id": 1})),
    taken(*LINKED, ("taken_over", {"person_id": 2})),
    # The contact has somebody living.
    left(*LINKED, link(2, "contact", "C"), bears(2, None)),
    taken(*LINKED, link(2, "contact", "C"), bears(2, None, is_deleted=True)),
    taken(*LINKED, link(2, "contact", "C")),
    taken(*LINKED, link(2, "lead", "C"), bears(2, None)),
    taken(*LINKED, link(2, "contact", "other"), bears(2, None)),
    left(*LINKED, bears(2, None, "C")),
    taken(*LINKED, bears(2, "C", None)),
    taken(link(), bears(contact_id="C")),
    taken(*LINKED, bears(2, None, "C", is_deleted=True)),
    # The contact waits, or its person is told otherwise.
    left(*LINKED, ("awaiting_lead", {"contact_id": "C"})),
    taken(*LINKED, ("awaiting_lead", {"contact_id": "other"})),
    left(*LINKED, unread("person", "p", "C")),
    taken(*LINKED, unread("person", "p", "other")),
    left(*LINKED, unread("contact", "C")),
    taken(*LINKED, unread("lead", "C")),
    taken(*LINKED, unread("contact", "other")),
    left(*LINKED, requested("C")),
    taken(*LINKED, requested("other")),
    left(*LINKED, adopted("link")),
    taken(*LINKED, adopted("create")),
    taken(*LINKED, adopted("link", record_type="lead")),
    taken(*LINKED, adopted("link", "other")),
    # The oldest contact of several, the first lead of several.
    taken(became(contact_id="A", createdon="2026-01-02"), *LINKED),
    taken(became(contact_id="D"), *LINKED),
    taken(became(contact_id="A", createdon="2025-12-31"), *LINKED, who=(1, "L", "A", True)),
    Became(((1, "L", "A", True),), (became(contact_id="B"), became(contact_id="A"), *LINKED)),
    Became(((2, "K", "C", True),), (became("L"), became("K"), *LINKED, link(2, dynamics_id="K"), bears(2, "K"))),
)  # fmt: skip


def test_a_contact_takes_over_the_living_person_of_its_lead_unless_it_has_one_or_waits() -> None:
    with after("reconcile/qualified_leads", *rows_of(CASES)) as connection:
        found = connection.execute(
            "select person_id, lead_id, contact_id, was_linked from qualified order by all"
        ).fetchall()
    for number, case in enumerate(CASES):
        assert told(number, found) == list(case.taken), case


FIELDS = (
    "lead title jobtitle text both",
    "contact title c_title text both",
    "lead rating c_rating choice both",
    "contact rating c_grade choice both",
    "lead score c_score text to_dynamics",
    "contact score c_score text to_dynamics",
    "lead box c_box boolean both",
    "contact box c_box boolean both",
    "contact own c_own text both",
    "lead industry c_industry text both",
)
OPTIONS = {
    ("lead", "c_rating"): {"1": "Hot", "2": "Warm", "3": "Mild"},
    ("contact", "c_grade"): {"1": "Hot", "2": "Cold", "4": "Ice"},
    ("contact", "c_rating"): {"1": "Warm", "2": "Hot"},
    ("lead", "c_grade"): {"1": "Ice", "2": "Cold"},
}
COLUMNS = {"title": "c_title", "rating": "c_grade", "score": "c_score", "box": "c_box", "own": "c_own"}


class Met(NamedTuple):
    """A field of a contact that takes over a person, which holds R and has the base B, or as told; whether it has a base then."""

    is_first: bool
    field: str
    rows: tuple[Put, ...]


def met(
    is_first: bool,
    *rows: Put,
    field: str = "title",
    holds: str | None = "R",
    base: str | None = "B",
    was_linked: bool = True,
) -> Met:
    held: Row = {COLUMNS[field]: holds}
    taken_over: Row = {"person_id": 1, "lead_id": "L", "contact_id": "C", "was_linked": was_linked}
    known = (("state.base", {"person_id": 1, field: base}),) if was_linked and field != "own" else ()
    return Met(is_first, field, (("qualified", taken_over), record("contact", "C", **held), *known, *rows))


def started(dynamics_id: str = "C", record_type: str = "contact") -> Put:
    return "state.started", {"record_type": record_type, "dynamics_id": dynamics_id}


MET = (
    met(False),
    met(False, base=None),
    met(False, holds="false"),
    # What the contact does not hold, or the lead did not have, or never was agreed on.
    met(True, holds=None),
    met(True, was_linked=False),
    met(True, field="own"),
    met(True, field="score"),
    met(False, field="box", holds="true", base="true"),
    met(True, field="box", holds="false", base="false"),
    met(True, field="box", holds=None, base="true"),
    # One that is let in only now has what the base went on with, or has not.
    met(True, started()),
    met(True, started(), base=None),
    met(False, started(), base="R"),
    met(False, started(), record("lead", "C", jobtitle="other"), base="R"),
    met(False, started("other")),
    met(False, started(record_type="lead")),
    # An option of the same meaning.
    met(False, field="rating", holds="1", base="1"),
    met(False, field="rating", holds="2", base="1"),
    met(True, field="rating", holds="2", base="2"),
    met(False, field="rating", holds="2", base=None),
    met(True, field="rating", holds="2", base="3"),
    met(True, field="rating", holds="2", base="4"),
)  # fmt: skip


def test_a_contacts_base_is_its_leads_where_it_holds_a_value_of_the_same_meaning() -> None:
    with after("reconcile/qualified_links", *rows_of(MET), fields=FIELDS, options=OPTIONS) as connection:
        first = connection.execute("select person_id, field from first_met").fetchall()
        links = connection.execute("select person_id, record_type, dynamics_id, linked_at from state.links").fetchall()
        base = connection.execute("select person_id, count(*) from state.base group by all order by all").fetchall()
        missing = connection.execute("select person_id, field from state.base_missing").fetchall()
    for number, case in enumerate(MET):
        assert ((1, case.field) in told(number, first)) is case.is_first, case
        assert told(number, [row[:3] for row in links]) == [(1, "contact", "C")]
    assert len(set(first)) == len(first)
    assert sorted(missing) == sorted(first)
    assert {at for *_, at in links} == {AT}
    assert base == [(number * 100 + 1, 1) for number, case in enumerate(MET) if case.field != "own"]


def test_what_was_known_of_the_lead_beside_its_base_is_left_where_the_contact_has_it() -> None:
    """The person's fields are `title`, which is met again, `box`, which is not, and `industry`, which contacts do not have."""
    rows: list[Put] = [("this_cycle", {"planned_at": AT})]
    for number, is_taken in enumerate((True, False)):
        for table, more in (
            ("state.base_missing", {}),
            ("state.standing_differences", {"reason_code": "undo", "since": BEFORE}),
        ):
            rows += apart(
                number, ((table, {"person_id": 1, "field": field} | more) for field in ("title", "box", "industry"))
            )
        taken_over: Row = {"person_id": 1, "lead_id": "L", "contact_id": "C", "was_linked": True}
        stone: Row = {"person_id": 9, "side": "marketo", "ended_at": BEFORE}
        value: Row = {"field": "title", "dynamics_column": "c", "value": "v"}
        for record_type in ("contact", "lead"):
            key = {"record_type": record_type, "dynamics_id": "C"}
            rows += apart(number, [("state.tombstones", stone | key), ("state.tombstone_values", value | key)])
        base: Put = ("state.base", {"person_id": 1, "title": "B", "box": "true"})
        rows += apart(
            number, [base, record("contact", "C", c_box="true"), *([("qualified", taken_over)] if is_taken else [])]
        )
    with after("reconcile/qualified_links", *rows, fields=FIELDS) as connection:
        missing = connection.execute("select person_id, field from state.base_missing order by all").fetchall()
        stands = connection.execute("select person_id, field from state.standing_differences order by all").fetchall()
        stones = connection.execute("select dynamics_id, record_type from state.tombstones order by all").fetchall()
        values = connection.execute(
            "select dynamics_id, record_type from state.tombstone_values order by all"
        ).fetchall()
        published = connection.execute("select published_table, person_id from state.unpublished").fetchall()
        looked_at = connection.execute(
            "select record_type, dynamics_id, person_id, is_receipt from inbox.touched"
        ).fetchall()
    others = [(101, "box"), (101, "industry"), (101, "title")]
    assert missing == [(1, "box"), (1, "own"), (1, "rating"), (1, "score"), (1, "title"), *others]
    assert stands == [(1, "box"), *others]
    assert stones == values == [("C0", "lead"), ("C1", "contact"), ("C1", "lead")]
    assert published == [("people", 1)]
    assert looked_at == [(None, None, 1, False)]
