"""Which links end and what goes with them, line by line (`ended_links.sql`), by the rows that it is about.

Each case is a person of its own. Not here: what a tombstone keeps (`test_tombstone_rows.py`); deletions, merges and
qualifying in whole cycles (`../deletions`, `../qualifying`).
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any, NamedTuple

import duckdb
import pytest

from dynsync_pipeline_tests.worlds.rule_rows import (
    AT,
    BEFORE,
    Put,
    after,
    link,
    person,
    record,
    rows_of,
    told,
    touched,
)

FIELDS = (
    "lead title jobtitle text both",
    "lead rating c_rating choice both",
    "lead city c_city text to_marketo",
    "lead score c_score text to_dynamics",
    "lead industry c_industry text both",
    "lead box c_box boolean both",
    "contact title c_title text both",
    "contact rating c_grade choice both",
    "contact city c_town text both",
)


OPTIONS = {
    ("lead", "c_rating"): {"1": "Hot", "2": "Warm"},
    ("contact", "c_grade"): {"8": "Warm", "9": "Hot"},
    ("contact", "c_rating"): {"9": "Warm", "8": "Hot"},
    ("lead", "c_grade"): {"1": "Warm", "2": "Hot"},
}


def planned(*rows: Put) -> AbstractContextManager[duckdb.DuckDBPyConnection]:
    """A world of these rows in which the step ran."""
    taken_over: Put = ("taken_over", {"loser_id": None})
    return after("reconcile/ended_links", taken_over, *rows, fields=FIELDS, options=OPTIONS)


def qualified(**more: Any) -> Put:
    return "qualified", {"person_id": 1, "lead_id": "L", "contact_id": "C", "was_linked": True} | more


KEY = {"person_id": 1, "record_type": "lead", "dynamics_id": "L"}
MERGED: Put = ("merged_leads", {"lead_id": "L"})
TAKEN_OVER: Put = ("taken_over", {"loser_id": 1})
BY_PERSON, BY_RECORD = touched(person_id=1), touched(record_type="lead", dynamics_id="L")
GONE = record(is_deleted=True), person()
LOST = record(), person(is_deleted=True)
ALIVE = record(), person()


class Looked(NamedTuple):
    """A link, what is known of it, and on which side it ends: None where it does not."""

    side: str | None
    rows: tuple[Put, ...]


ENDS = (
    Looked(None, (link(), *ALIVE, BY_PERSON, BY_RECORD)),
    # Gone on one side; Dynamics' is the one that is told.
    Looked("dynamics", (link(), *GONE, BY_RECORD)),
    Looked("dynamics", (link(), *GONE, BY_PERSON)),
    Looked("dynamics", (link(), record(is_deleted=True), BY_PERSON)),
    Looked("dynamics", (link(), record(is_deleted=True), person(is_deleted=True), BY_PERSON)),
    Looked("marketo", (link(), *LOST, BY_PERSON)),
    Looked("marketo", (link(), *LOST, BY_RECORD)),
    Looked("marketo", (link(1, "contact"), record("contact"), person(is_deleted=True), BY_PERSON)),
    # Nobody looked, or only at another.
    Looked(None, (link(), *GONE)),
    Looked(None, (link(), *LOST)),
    Looked(None, (link(), *GONE, touched(record_type="contact", dynamics_id="L"))),
    Looked(None, (link(), *GONE, touched(record_type="lead", dynamics_id="other"))),
    Looked(None, (link(), *GONE, touched(person_id=2))),
    Looked(None, (link(), record("contact", is_deleted=True), *ALIVE, BY_PERSON)),
    Looked(None, (link(), record("lead", "other", is_deleted=True), *ALIVE, BY_PERSON)),
    Looked(None, (link(), person(2, is_deleted=True), *ALIVE, BY_PERSON)),
    # Merged in Marketo into a contact's person: of a lead alone, whoever was touched.
    Looked("merged", (link(), *ALIVE, MERGED)),
    Looked("merged", (link(), record(), MERGED)),
    Looked("merged", (link(), *LOST, MERGED)),
    Looked("merged", (link(), *GONE, MERGED)),
    Looked("merged", (link(), *ALIVE, MERGED, qualified())),
    Looked(None, (link(1, "contact"), record("contact"), person(), MERGED)),
    Looked(None, (link(1, "contact"), record("contact"), person(), MERGED, BY_PERSON)),
    # Qualified, by its own person.
    Looked("qualified", (link(), *ALIVE, qualified())),
    Looked("qualified", (link(), *GONE, qualified())),
    Looked("qualified", (link(), *LOST, qualified())),
    Looked("qualified", (*ALIVE, qualified(was_linked=False))),
    Looked(None, (link(), *ALIVE, qualified(person_id=2), BY_PERSON)),
    Looked(None, (link(), *ALIVE, qualified(lead_id="other"), BY_PERSON)),
    Looked(None, (link(1, "contact"), record("contact"), person(), qualified())),
    # Whose link goes to the person that it was merged into.
    Looked(None, (link(), *LOST, BY_PERSON, TAKEN_OVER)),
    Looked(None, (link(), *GONE, BY_PERSON, TAKEN_OVER)),
    Looked("merged", (link(), *ALIVE, MERGED, TAKEN_OVER)),
    Looked("qualified", (link(), *ALIVE, qualified(), TAKEN_OVER)),
)  # fmt: skip


def test_a_link_ends_where_one_side_is_gone_or_its_lead_became_another_record() -> None:
    with planned(*rows_of(ENDS)) as connection:
        ended = connection.execute("select person_id, record_type, dynamics_id, side from ended_links").fetchall()
        stones = connection.execute(
            f"select person_id, record_type, dynamics_id, side from state.tombstones where ended_at = timestamp '{AT}'"
        ).fetchall()
        links = connection.execute("select person_id, record_type, dynamics_id from state.links").fetchall()
    assert sorted(ended) == sorted(stones)
    for number, case in enumerate(ENDS):
        linked = [
            (row["person_id"], row["record_type"], row["dynamics_id"])
            for table, row in case.rows
            if table == "state.links"
        ]
        [key] = linked or [(1, "lead", "L")]
        assert told(number, ended) == [(*key, case.side)] * (case.side is not None), case
        assert told(number, links) == (linked if case.side is None else []), case


OTHER = {"person_id": 2, "record_type": "lead", "dynamics_id": "M"}
STONE = {"side": "marketo", "ended_at": BEFORE}
HELD = {"field": "title", "dynamics_column": "jobtitle", "value": "old"}
UNSETTLED = {"attempts": 1, "since": BEFORE, "next_look_at": BEFORE}
KEPT_WHILE_QUALIFIED: tuple[tuple[str, Any], ...] = (
    ("state.base", {}),
    ("state.outdated_bases", {}),
    ("state.base_missing", {"field": "box"}),
    ("state.standing_differences", {"field": "box", "reason_code": "undo", "since": BEFORE}),
)


def everything_of(key: Any) -> list[Put]:
    """All that a link may have beside it."""
    person_id = {"person_id": key["person_id"]}
    return [
        *((table, person_id | more) for table, more in KEPT_WHILE_QUALIFIED),
        ("state.unsettled", key | {"field": "box"} | UNSETTLED),
    ]


@pytest.mark.parametrize("side", ["dynamics", "marketo", "merged", "qualified"])
def test_what_a_link_had_beside_it_goes_with_it_and_its_contacts_base_stays(side: str) -> None:
    how = {
        "dynamics": (*GONE, BY_PERSON),
        "marketo": (*LOST, BY_PERSON),
        "merged": (*ALIVE, MERGED),
        "qualified": (*ALIVE, qualified()),
    }[side]
    former: list[Put] = [  # ends before, of the same record, of its namesake, and of another
        ("state.tombstones", key | STONE) for key in (KEY | {"person_id": 9}, KEY | {"record_type": "contact"}, OTHER)
    ]
    former += [
        ("state.tombstone_values", {name: key[name] for name in ("record_type", "dynamics_id")} | HELD)
        for key in (KEY, KEY | {"record_type": "contact"}, OTHER)
    ]
    rows: list[Put] = [
        link(),
        *how,
        ("state.links", OTHER | {"linked_at": BEFORE}),
        *everything_of(KEY),
        *everything_of(OTHER),
        *former,
    ]
    with planned(*rows) as connection:
        for table, _ in KEPT_WHILE_QUALIFIED:
            left = connection.execute(f"select person_id from {table} order by all").fetchall()
            assert left == ([(1,), (2,)] if side == "qualified" else [(2,)]), table
        assert connection.execute("select person_id from state.unsettled").fetchall() == [(2,)]
        assert connection.execute("select person_id from state.links").fetchall() == [(2,)]
        stones = connection.execute(
            "select person_id, record_type, dynamics_id, side from state.tombstones order by all"
        )
        assert stones.fetchall() == [
            (1, "contact", "L", "marketo"),
            (1, "lead", "L", side),
            (2, "lead", "M", "marketo"),
        ]
        values = connection.execute(
            "select record_type, dynamics_id from state.tombstone_values where value = 'old' order by all"
        )
        assert values.fetchall() == [("contact", "L"), ("lead", "M")]
        told = connection.execute(
            "select record_type, dynamics_id, person_id from inbox.touched where is_receipt"
        ).fetchall()
        assert told == [(None, None, 1) if side == "dynamics" else ("lead", "L", None)]
        published = connection.execute(
            "select published_table, dynamics_id, person_id from state.unpublished"
        ).fetchall()
        assert published == [("people", None, 1)]


def error(
    record_type: str,
    dynamics_id: str,
    person_id: int = 1,
    field: str = "title",
    code: str = "c",
    state: str = "waiting",
) -> Put:
    told = {"error_id": 1, "cycle_id": 1, "happened_at": BEFORE, "last_seen_at": BEFORE, "attempts": 1, "message": "m"}
    told |= {"operation": "update", "direction": "to_marketo"}
    key = {"record_type": record_type, "dynamics_id": dynamics_id, "person_id": person_id, "field": field, "code": code}
    return "ledger.sync_errors", told | key | {"state": state}


def test_of_what_is_gone_no_error_is_left_but_that_its_flag_does_not_stay() -> None:
    unsettled = {"record_type": "lead", "dynamics_id": "D", "person_id": 5, "field": "title", "code": "c"} | UNSETTLED
    open_still = [
        error("lead", "D", 5),
        error("contact", "L"),
        error("lead", "alive"),
    ]
    mended = [
        error("lead", "L"),
        error("lead", "L", state="quarantined"),
        error("lead", "D", 6),
        error("lead", "D", 5, "city"),
        error("lead", "D", 5, code="other"),
    ]
    rows = [
        link(),
        *LOST,
        BY_PERSON,
        record("lead", "D", is_deleted=True),
        record("lead", "alive"),
        ("state.unsettled", unsettled),
    ]
    with planned(*rows, *open_still, *mended) as connection:
        left = connection.execute(
            "select record_type, dynamics_id, person_id from ledger.sync_errors where state <> 'resolved'"
        ).fetchall()
        assert len(left) == len(open_still), left
        assert set(left) == {("lead", "D", 5), ("contact", "L", 1), ("lead", "alive", 1)}
