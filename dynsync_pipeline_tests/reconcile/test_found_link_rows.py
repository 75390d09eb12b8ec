"""Who is linked by a key or takes over a link, line by line (`merged_people.sql`, `taken_over_links.sql`, `found_links.sql`,
`started_links.sql`), by the rows that they are about.

Each case is a person, or several, of its own. Not here: the same through whole cycles (`test_merged_people.py`,
`test_taken_keys.py`, `../adoption`).
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

import duckdb
import pytest

from dynsync_pipeline_tests.worlds.rule_rows import (
    AT,
    BEFORE,
    Case,
    Put,
    after,
    case,
    link,
    person,
    record,
    rows_of,
    told,
    touched,
)

FIELDS = ("lead title jobtitle text both", "lead city c_city text both", "contact title c_title text both")


def planned(step: str, cases: Sequence[Case], *rows: Put) -> AbstractContextManager[duckdb.DuckDBPyConnection]:
    """A world of these cases in which the step ran."""
    return after(f"reconcile/{step}", *rows, *rows_of(cases), fields=FIELDS)


def bears(person_id: int = 1, contact_id: str | None = "C", lead_id: str | None = "L", **more: Any) -> Put:
    return person(person_id, dynamics_contact_id=contact_id, dynamics_lead_id=lead_id, **more)


def stone(person_id: int, record_type: str, dynamics_id: str, side: str = "marketo") -> Put:
    key = {"person_id": person_id, "record_type": record_type, "dynamics_id": dynamics_id}
    return "state.tombstones", key | {"side": side, "ended_at": BEFORE}


def merge(loser_id: int = 2, winner_id: int = 1) -> Put:
    return "inbox.merges", {"loser_id": loser_id, "winner_id": winner_id}


CONTACT, LEAD = record("contact", "C"), link()
BOTH = bears(), LEAD, CONTACT, touched(person_id=1)  # a lead's person that bears a contact's id, too
OWNED = link(2, "contact", "C"), person(2, is_deleted=True)
ORPHAN = person(1), stone(1, "contact", "X", "dynamics")  # whose own record is gone
LOST = link(2, "contact", "C"), person(2, is_deleted=True), CONTACT
TAKEN = (
    # Who takes over a record: person, its type and id, the lead that was its own, and who loses it.
    case([(1, "contact", "C", "L", 2)], *BOTH, *OWNED),
    case([(1, "contact", "C", "L", 2)], bears(), LEAD, CONTACT, touched(person_id=2), *OWNED),
    case([], bears(), LEAD, CONTACT, *OWNED),
    case([], bears(), LEAD, CONTACT, touched(person_id=3), *OWNED),
    case([], bears(), LEAD, CONTACT, touched(record_type="contact", dynamics_id="C"), *OWNED),
    case([], *BOTH, link(2, "contact", "C"), person(2)),
    case([], *BOTH, link(2, "contact", "C")),
    case([], *BOTH, link(2, "lead", "C"), person(2, is_deleted=True)),
    case([], bears(is_deleted=True), LEAD, CONTACT, touched(person_id=1), *OWNED),
    case([], bears(lead_id=None), LEAD, CONTACT, touched(person_id=1), *OWNED),
    case([], bears(contact_id=None), LEAD, CONTACT, touched(person_id=1), *OWNED),
    case([], bears(), CONTACT, touched(person_id=1), *OWNED),
    case([], bears(), link(1, "contact", "D"), CONTACT, touched(person_id=1), *OWNED),
    case([], bears(), LEAD, record("contact", "C", is_deleted=True), touched(person_id=1), *OWNED),
    case([], bears(), LEAD, record("lead", "C"), touched(person_id=1), *OWNED),
    case([], bears(), LEAD, touched(person_id=1), *OWNED),
    case([(1, "contact", "C", "L", 2)], bears(3), link(3, "lead", "M"), touched(person_id=3), *BOTH, *OWNED),
    # Whose link had ended before.
    case([(1, "contact", "C", "L", None)], *BOTH, stone(2, "contact", "C")),
    case([], *BOTH),
    case([], *BOTH, stone(2, "contact", "C", "dynamics")),
    case([], *BOTH, stone(2, "lead", "C")),
    case([], *BOTH, stone(2, "contact", "D")),
    case([], *BOTH, stone(2, "contact", "C"), link(2, "contact", "C"), person(2)),
    # Of whom the feed tells that somebody was merged into it.
    case([(1, "contact", "C", None, 2)], merge(), *ORPHAN, *LOST),
    case([], *ORPHAN, *LOST),
    case([], merge(winner_id=3), *ORPHAN, *LOST),
    case([], merge(), person(1, is_deleted=True), stone(1, "contact", "X", "dynamics"), *LOST),
    case([], merge(), stone(1, "contact", "X", "dynamics"), *LOST),
    case([], merge(), person(1), *LOST),
    case([], merge(), person(1), stone(1, "contact", "X"), *LOST),
    case([], merge(), *ORPHAN, *LOST, link(1, "lead", "other")),
    case([], merge(), *ORPHAN, link(2, "contact", "C"), person(2), CONTACT),
    case([], merge(), *ORPHAN, link(2, "contact", "C"), CONTACT),
    case([], merge(), *ORPHAN, link(2, "contact", "C"), person(2, is_deleted=True), record("contact", "C", is_deleted=True)),
    case([], merge(), *ORPHAN, link(2, "contact", "C"), person(2, is_deleted=True), record("lead", "C")),
    case([], merge(), *ORPHAN, link(2, "contact", "C"), person(2, is_deleted=True), record("contact", "D")),
    case([(1, "contact", "C", None, None)], merge(), *ORPHAN, person(2, is_deleted=True), stone(2, "contact", "C"), CONTACT),
    case([], merge(), *ORPHAN, person(2, is_deleted=True), CONTACT),
    case([], merge(), *ORPHAN, person(2, is_deleted=True), stone(2, "contact", "C", "merged"), CONTACT),
    case([], merge(), *ORPHAN, person(2, is_deleted=True), stone(2, "contact", "C"), CONTACT, link(3, "contact", "C")),
    case([(1, "contact", "C", None, 2)], merge(), *ORPHAN, *LOST, stone(2, "contact", "D"), record("contact", "D")),
    # Over several merges; the contact before the lead, who is linked before who was, the oldest at last; one record for one.
    case([(1, "contact", "C", None, 3)], merge(), merge(3, 2), *ORPHAN, person(2, is_deleted=True),
         link(3, "contact", "C"), person(3, is_deleted=True), CONTACT),
    case([(1, "contact", "C", None, 3)], merge(), merge(3), *ORPHAN, link(2, "lead", "L"), person(2, is_deleted=True), record(),
         link(3, "contact", "C"), person(3, is_deleted=True), CONTACT),
    case([(1, "contact", "C", None, 3)], merge(), merge(3), *ORPHAN, stone(2, "contact", "D"), person(2, is_deleted=True),
         record("contact", "D"), link(3, "contact", "C"), person(3, is_deleted=True), CONTACT),
    case([(1, "contact", "C", None, 2)], merge(), merge(3), *ORPHAN, *LOST, link(3, "contact", "D"),
         person(3, is_deleted=True), record("contact", "D")),
    case([(1, "contact", "C", None, None)], merge(), merge(3), *ORPHAN, stone(2, "contact", "C"), person(2, is_deleted=True),
         CONTACT, stone(3, "contact", "D"), person(3, is_deleted=True), record("contact", "D")),
    case([(1, "contact", "C", None, 2)], merge(), merge(winner_id=3), *ORPHAN, *LOST, person(3),
         stone(3, "contact", "Y", "dynamics")),
)  # fmt: skip


def test_who_was_merged_into_another_in_marketo_leaves_its_record_to_it() -> None:
    with planned("merged_people", TAKEN) as connection:
        found = connection.execute(
            "select person_id, record_type, dynamics_id, lead_id, loser_id from taken_over order by all"
        ).fetchall()
        for number, each in enumerate(TAKEN):
            assert told(number, found) == each.expected, each


OF_CONTACT = bears(), link(1, "contact", "C"), touched(person_id=1)
LEADS = (
    # The person whose lead is merged, and whether its tombstone says so.
    case(([2], []), *OF_CONTACT, link(2), person(2, is_deleted=True)),
    case(([2], []), bears(), link(1, "contact", "C"), touched(person_id=2), link(2), person(2, is_deleted=True)),
    case(([], []), *OF_CONTACT, link(2), person(2)),
    case(([], []), *OF_CONTACT, link(2)),
    case(([], []), *OF_CONTACT, link(2, "contact", "L"), person(2, is_deleted=True)),
    case(([], []), *OF_CONTACT, link(2, "lead", "M"), person(2, is_deleted=True)),
    case(([], []), bears(), link(1, "lead", "M"), touched(person_id=1), link(2), person(2, is_deleted=True)),
    case(([], []), bears(contact_id=None), link(1, "contact", "C"), touched(person_id=1), link(2), person(2, is_deleted=True)),
    case(([1], []), *BOTH, *OWNED),
    case(([], []), merge(), *ORPHAN, *LOST),
    case(([], ["merged"]), *OF_CONTACT, stone(2, "lead", "L")),
    case(([], ["dynamics"]), *OF_CONTACT, stone(2, "lead", "L", "dynamics")),
    case(([], ["marketo"]), *OF_CONTACT, stone(2, "contact", "L")),
    case(([], ["marketo"]), *OF_CONTACT, stone(2, "lead", "M")),
    case(([], ["marketo"]), bears(), touched(person_id=1), stone(2, "lead", "L")),
    case(([], ["marketo"]), bears(), link(1, "lead", "M"), touched(person_id=1), stone(2, "lead", "L")),
)  # fmt: skip


def test_a_lead_whose_person_is_a_contacts_now_is_merged() -> None:
    with planned("merged_people", LEADS) as connection:
        leads = connection.execute("select person_id, lead_id from merged_leads order by all").fetchall()
        sides = connection.execute("select person_id, side from state.tombstones where person_id % 100 = 2").fetchall()
        for number, each in enumerate(LEADS):
            assert told(number, leads) == [(person_id, "L") for person_id in each.expected[0]], each
            assert told(number, sides) == [(2, side) for side in each.expected[1]], each


BESIDE: tuple[tuple[str, dict[str, Any]], ...] = (
    ("state.base", {}),
    ("state.outdated_bases", {}),
    ("state.outdated_fields", {"field": "title", "was_filled": True}),
    ("state.base_missing", {"field": "title"}),
    ("state.standing_differences", {"field": "title", "reason_code": "undo", "since": BEFORE}),
)


@pytest.mark.parametrize("is_linked", [True, False])
def test_a_link_that_is_taken_over_takes_all_along_and_one_that_had_ended_begins_anew(is_linked: bool) -> None:
    """Person 1 takes over the lead of 2; nothing of person 3 moves."""
    taken = {"person_id": 1, "record_type": "lead", "dynamics_id": "L", "loser_id": 2 if is_linked else None}
    waits = {"record_type": "lead", "dynamics_id": "L", "field": "title", "attempts": 1, "since": BEFORE}
    rows: list[Put] = [("taken_over", taken), link(3, "contact", "L"), *([link(2)] if is_linked else [])]
    for person_id in (2, 3):
        rows += [(table, {"person_id": person_id} | more) for table, more in BESIDE]
        rows.append(("state.unsettled", waits | {"person_id": person_id}))
    for record_type, dynamics_id in (("lead", "L"), ("contact", "L"), ("lead", "M")):
        rows.append(stone(9, record_type, dynamics_id))
        value = {
            "record_type": record_type,
            "dynamics_id": dynamics_id,
            "field": "title",
            "dynamics_column": "c",
            "value": "v",
        }
        rows.append(("state.tombstone_values", value))
    rows += [stone(1, "contact", "X", "dynamics"), stone(1, "contact", "Y"), stone(3, "contact", "Z", "dynamics")]
    with planned("taken_over_links", (), *rows) as connection:
        links = connection.execute(
            "select person_id, record_type, dynamics_id, linked_at from state.links order by all"
        ).fetchall()
        assert links == [(1, "lead", "L", AT), (3, "contact", "L", BEFORE)]
        for table, _ in BESIDE:
            of = [
                person_id
                for (person_id,) in connection.execute(f"select person_id from {table} order by all").fetchall()
            ]
            fresh = {"state.base": [1, 2, 3], "state.base_missing": [1, 1, 2, 3]}
            assert of == ([1, 3] if is_linked else fresh.get(table, [2, 3])), table
        waiting = connection.execute("select person_id from state.unsettled order by all").fetchall()
        assert waiting == ([(3,)] if is_linked else [(2,), (3,)])
        stones = connection.execute("select person_id, dynamics_id, side from state.tombstones order by all").fetchall()
        assert stones == [
            (1, "X", "merged"),
            (1, "Y", "marketo"),
            (3, "Z", "dynamics"),
            (9, "L", "marketo"),
            (9, "M", "marketo"),
        ]
        values = connection.execute(
            "select record_type, dynamics_id from state.tombstone_values order by all"
        ).fetchall()
        assert values == [("contact", "L"), ("lead", "M")]
        published = connection.execute(
            "select published_table, person_id from state.unpublished order by all"
        ).fetchall()
        assert set(published) - {("people", None)} == {("people", 1), *([("people", 2)] if is_linked else [])}
        assert connection.execute("select person_id, is_receipt from inbox.touched").fetchall() == [(1, False)]


def chosen(person_id: int = 1, record_type: str = "lead", dynamics_id: str = "L") -> Put:
    return "state.unkeyed_links", {"person_id": person_id, "record_type": record_type, "dynamics_id": dynamics_id}


BY_PERSON, BY_RECORD = touched(person_id=1), touched(record_type="lead", dynamics_id="L")
OF_LEAD = bears(contact_id=None), record()
FOUND = (
    # Who is linked, and who bears the key of a record that is another's.
    case(([(1, "lead", "L")], []), *OF_LEAD, BY_PERSON),
    case(([(1, "lead", "L")], []), *OF_LEAD, BY_RECORD),
    case(([(1, "lead", "L")], []), *OF_LEAD, BY_PERSON, BY_RECORD),
    case(([], []), *OF_LEAD),
    case(([], []), *OF_LEAD, touched(person_id=2)),
    case(([], []), *OF_LEAD, touched(record_type="contact", dynamics_id="L")),
    case(([], []), *OF_LEAD, touched(record_type="lead", dynamics_id="other")),
    case(([(1, "contact", "C")], []), bears(lead_id=None), CONTACT, BY_PERSON),
    case(([(1, "contact", "C")], []), bears(), CONTACT, record(), BY_PERSON),
    case(([], []), bears(), record(), BY_PERSON),
    case(([], []), bears(contact_id=None, is_deleted=True), record(), BY_PERSON),
    case(([], []), bears(lead_id=None, is_deleted=True), CONTACT, BY_PERSON),
    case(([], []), person(1), record(), BY_PERSON),
    case(([], []), bears(contact_id=None), record(is_deleted=True), BY_PERSON),
    case(([], []), bears(contact_id=None), record("contact", "L"), BY_PERSON),
    case(([], []), bears(contact_id=None), BY_PERSON),
    case(([(1, "lead", "L")], []), person(1), record(), chosen(), BY_PERSON),
    # Neither of them is linked yet; the oldest of several has the record.
    case(([], []), *OF_LEAD, BY_PERSON, link(1, "lead", "other")),
    case(([], []), *OF_LEAD, BY_RECORD, link(1, "lead", "other")),
    case(([], [1]), *OF_LEAD, BY_PERSON, link(2)),
    case(([(1, "lead", "L")], []), *OF_LEAD, BY_PERSON, link(2, "contact", "L")),
    case(([(1, "lead", "L")], [2]), bears(2, None), *OF_LEAD, BY_RECORD),
    case(([(1, "lead", "L")], []), bears(2, None), *OF_LEAD, BY_PERSON),
)  # fmt: skip


def test_whoever_bears_the_key_of_a_living_record_is_linked_where_neither_is() -> None:
    with planned("found_links", FOUND) as connection:
        found = connection.execute(
            "select person_id, record_type, dynamics_id from found_links order by all"
        ).fetchall()
        links = connection.execute(
            f"select person_id, record_type, dynamics_id from state.links where linked_at = timestamp '{AT}'"
        ).fetchall()
        shared = connection.execute("select person_id from shared_keys order by all").fetchall()
        published = connection.execute(
            "select person_id from state.unpublished where published_table = 'people' order by all"
        ).fetchall()
        for number, each in enumerate(FOUND):
            linked, others = each.expected
            assert told(number, found) == told(number, links) == linked, each
            assert told(number, shared) == [(person_id,) for person_id in others], each
            assert told(number, published) == [(1,)] * len(linked), each
        looked_at = connection.execute("select count(*) from inbox.touched where not is_receipt").fetchall()
    n_before = sum(table == "inbox.touched" for each in FOUND for table, _ in each.rows)
    assert looked_at == [(n_before + len(found),)]


@pytest.mark.parametrize("is_restored", [True, False])
def test_who_is_linked_by_a_key_has_neither_decision_nor_tombstone_and_after_a_restore_an_outdated_base(
    is_restored: bool,
) -> None:
    restored: list[Put] = [("state.restored", {"restored_at": BEFORE, "made_at": BEFORE})] if is_restored else []
    rows: list[Put] = [("state.changed_after_backup", {"person_id": 1, "field": "city"})]
    for record_type, dynamics_id in (("lead", "L"), ("contact", "L"), ("lead", "M")):
        key = {"record_type": record_type, "dynamics_id": dynamics_id}
        rows += [
            stone(9, record_type, dynamics_id),
            ("state.adoption", key | {"decision": "link", "decided_at": BEFORE}),
        ]
        rows.append(("state.tombstone_values", key | {"field": "title", "dynamics_column": "c", "value": "v"}))
    by_sync = bears(contact_id=None, dynamics_created_on="2026"), record(), BY_PERSON
    by_hand = bears(2, None, "N"), record("lead", "N"), touched(person_id=2)
    with planned("found_links", (), *restored, *rows, *by_sync, *by_hand) as connection:
        for table in ("tombstones", "tombstone_values"):
            left = connection.execute(f"select record_type, dynamics_id from state.{table} order by all").fetchall()
            assert left == [("contact", "L"), ("lead", "M")], table
        linked = connection.execute(
            "select record_type, dynamics_id from state.adoption where decision = 'linked'"
        ).fetchall()
        assert linked == [("lead", "L")]
        outdated = connection.execute("select person_id from state.outdated_bases").fetchall()
        assert outdated == [(1,)] * is_restored
        changed = connection.execute("select person_id, field from state.changed_after_backup order by all").fetchall()
        assert changed == [(1, "city"), *([(1, "title")] if is_restored else [])]


def test_that_a_record_was_let_in_is_told_of_the_person_that_it_has_by_now() -> None:
    started: Put = ("state.started", {"record_type": "lead", "dynamics_id": "L"})
    cases = (
        case(True, started, link()),
        case(False, started, link(1, "contact")),
        case(False, started, link(1, "lead", "other")),
    )
    with planned("started_links", cases) as connection:
        logged = connection.execute("select person_id, reason_code from ledger.activities").fetchall()
        left = connection.execute("select dynamics_id from state.started").fetchall()
        for number, each in enumerate(cases):
            assert told(number, logged) == [(1, "let_in")] * each.expected, each
            assert told(number, left) == [("L",)] * (not each.expected), each
