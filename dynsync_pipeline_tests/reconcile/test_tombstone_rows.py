"""What a tombstone keeps of its record's values, line by line (`ended_links.sql`), by the rows that it is about.

Each case is a person of its own. Not here: which links end (`test_ended_link_rows.py`).
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple

import pytest

from dynsync_pipeline_tests.reconcile.test_ended_link_rows import BY_PERSON, GONE, MERGED, planned, qualified
from dynsync_pipeline_tests.worlds.rule_rows import AT, BEFORE, Put, Row, apart, link, person, record, rows_of


class Kept(NamedTuple):
    """What a tombstone keeps of a field that goes to Marketo, of a lead that holds R and has the base B, or as `rows` tell."""

    field: str
    value: str | None
    rows: tuple[Put, ...]


def kept(
    value: str | None,
    *rows: Put,
    field: str = "title",
    dynamics: str | None = "R",
    base: str | None = "B",
    marketo: bool = True,
) -> Kept:
    """Of somebody deleted in Marketo, or else as `rows` tell."""
    held: Row = {COLUMNS[field]: dynamics}
    side = (person(is_deleted=True), BY_PERSON) if marketo else (person(),)
    values: tuple[Put, ...] = (record(**held), ("state.base", {"person_id": 1, field: base}))
    return Kept(field, value, (link(), *side, *values, *rows))


def of_contact(value: str | None, field: str, contact_value: str | None, **more: Any) -> Kept:
    """Of a lead that was qualified, of whose contact this is known."""
    names = {"title": "c_title", "rating": "c_grade", "city": "c_town"}
    shown: Row = {names[field]: contact_value} if field in names else {}
    rows = (qualified(), record("contact", "C", **shown), *more.pop("rows", ()))
    return kept(value, *rows, field=field, marketo=False, **more)


COLUMNS = {
    "title": "jobtitle",
    "rating": "c_rating",
    "city": "c_city",
    "industry": "c_industry",
    "box": "c_box",
    "score": "c_score",
}
MISSING: Put = ("state.base_missing", {"person_id": 1, "field": "title"})
OUTDATED: Put = ("state.outdated_bases", {"person_id": 1})


def stands(value: str | None, field: str = "title", person_id: int = 1) -> Put:
    values = {"dynamics_value": value, "marketo_value": "M"}
    key = {"person_id": person_id, "field": field}
    return "state.standing_differences", key | values | {"reason_code": "undo", "since": BEFORE}


VALUES = (
    # The base, or what stands in Dynamics, or what Dynamics holds where the two never agreed.
    kept("B"),
    kept(None, base=None),
    kept("S", stands("S")),
    kept(None, stands(None)),
    kept("S", stands("S"), MISSING),
    kept("B", stands("S", "city")),
    kept("B", stands("S", person_id=2)),
    kept("R", MISSING),
    kept(None, MISSING, dynamics=None),
    kept("B", ("state.base_missing", {"person_id": 1, "field": "city"})),
    kept("B", ("state.base_missing", {"person_id": 2, "field": "title"})),
    kept("B", MERGED),
    kept("S", MERGED, stands("S")),
    # A base of before a restore tells nothing.
    kept("R", OUTDATED),
    kept("R", OUTDATED, stands("S")),
    kept("B", ("state.outdated_bases", {"person_id": 2})),
    # What the contact holds too, or cannot, is no edit of the lead.
    of_contact("R", "title", "R"),
    of_contact("B", "title", "other"),
    of_contact("B", "title", "other", rows=(record("lead", "C", jobtitle="R"),)),
    of_contact("B", "title", None),
    of_contact(None, "title", None, dynamics=None),
    of_contact("B", "title", "other", dynamics=None),
    of_contact("R", "industry", None),
    of_contact("R", "city", "other"),
    of_contact("S", "title", "other", rows=(stands("S"),)),
    of_contact("R", "title", "other", rows=(MISSING,)),
    of_contact("1", "rating", "9", dynamics="1", base="2"),
    of_contact("1", "rating", "9", dynamics="2", base="1"),
    of_contact("2", "rating", "8", dynamics="2", base="1"),
    of_contact("2", "rating", "8", dynamics="1", base="2"),
)  # fmt: skip


def test_a_tombstone_keeps_what_the_two_last_had_in_common_or_the_record_holds() -> None:
    with planned(*rows_of(VALUES)) as connection:
        values = connection.execute(
            "select dynamics_id, record_type, field, dynamics_column, value from state.tombstone_values"
        ).fetchall()
    for number, case in enumerate(VALUES):
        mine = [row for row in values if row[0] == f"L{number}"]
        column = COLUMNS[case.field]
        assert ("lead", case.field, column, case.value) in [row[1:] for row in mine], case
        assert sorted(row[2] for row in mine) == ["box", "city", "industry", "rating", "title"], case


def test_a_contact_keeps_its_own_columns_and_what_is_gone_in_dynamics_keeps_none() -> None:
    rows = (
        link(1, "contact"),
        record("contact", c_title="R"),
        ("state.base", {"person_id": 1, "title": "B"}),
        person(is_deleted=True),
        BY_PERSON,
    )
    with planned(*apart(1, rows), *apart(2, (link(), *GONE, BY_PERSON))) as connection:
        values = connection.execute("select * from state.tombstone_values order by all").fetchall()
    of_it = [("city", "c_town", None), ("rating", "c_grade", None), ("title", "c_title", "B")]
    assert values == [("contact", "L1", *value) for value in of_it]


@pytest.mark.parametrize(("reread_at", "value"), [(None, "R"), (AT, "B")])
def test_until_both_systems_were_read_again_after_a_restore_no_base_counts(
    reread_at: datetime | None, value: str
) -> None:
    restored = {"restored_at": BEFORE, "made_at": BEFORE, "reread_at": reread_at}
    with planned(("state.restored", restored), *apart(1, kept("", stands("S", "city")).rows)) as connection:
        found = connection.execute("select value from state.tombstone_values where field = 'title'").fetchall()
    assert found == [(value,)]


def joined(field: str, record_type: str = "lead") -> Put:
    return "state.joined_fields", {"record_type": record_type, "field": field}


def test_of_a_field_that_joins_a_tombstone_learns_what_dynamics_holds_unless_it_knows() -> None:
    waiting = {"stream": "dynamics_contacts", "read_anew_at": BEFORE, "waits_because": "refused", "is_behind": True}
    ended = {"person_id": 1, "ended_at": BEFORE}
    sides = {"L1": "marketo", "L2": "merged", "L3": "marketo", "L4": "dynamics"}
    stones = [ended | {"record_type": "lead", "dynamics_id": each, "side": side} for each, side in sides.items()]
    stones.append(ended | {"record_type": "contact", "dynamics_id": "C1", "side": "marketo"})
    knows = {
        "record_type": "lead",
        "dynamics_id": "L2",
        "field": "title",
        "dynamics_column": "jobtitle",
        "value": "older",
    }
    rows: list[Put] = [
        joined("title"), joined("score"), joined("title", "contact"), ("state.refused_links", waiting),
        *(("state.tombstones", stone) for stone in stones), ("state.tombstone_values", knows),
        ("state.tombstone_values", knows | {"dynamics_id": "L1", "field": "city"}),
        ("state.tombstone_values", knows | {"dynamics_id": "L1", "record_type": "contact"}),
        *(record("lead", each, jobtitle="R" if each != "L3" else None, c_city="x", c_score="s") for each in sides),
        record("contact", "C1", c_title="R"), record("contact", "L1", c_title="namesake"),
    ]  # fmt: skip
    with planned(*rows) as connection:
        values = connection.execute(
            "select dynamics_id, dynamics_column, value from state.tombstone_values "
            "where (record_type, field) = ('lead', 'title') order by all"
        ).fetchall()
        n_all = connection.execute("select count(*) from state.tombstone_values").fetchall()
    assert values == [("L1", "jobtitle", "R"), ("L2", "jobtitle", "older"), ("L3", "jobtitle", None)]
    assert n_all == [(5,)]


def test_a_field_that_returns_empty_is_compared_no_more() -> None:
    """Of a boolean, nothing and no are one."""
    cases = {
        # id: side, value of title, of box, and the fields that are kept
        "L1": ("marketo", "R", "true", ["box", "city", "title"]),
        "L2": ("marketo", None, "false", ["city"]),
        "L3": ("marketo", "false", None, ["city", "title"]),
        "L4": ("dynamics", "R", "true", ["city"]),
    }
    rows: list[Put] = [("state.returned_fields", {"record_type": "lead", "field": field}) for field in ("title", "box")]
    for each, (side, title, box, _) in cases.items():
        key = {"record_type": "lead", "dynamics_id": each}
        rows.append(record("lead", each, jobtitle=title, c_box=box, c_city="x"))
        rows.append(("state.tombstones", key | {"person_id": 1, "side": side, "ended_at": BEFORE}))
        rows += [
            ("state.tombstone_values", key | {"field": field, "dynamics_column": "c", "value": "v"})
            for field in ("title", "box", "city")
        ]
    of_contact = {"record_type": "contact", "dynamics_id": "L2", "field": "title", "dynamics_column": "c", "value": "v"}
    rows += [
        ("state.tombstone_values", of_contact),
        record("lead", "linked", jobtitle="R", c_box="true"),
        record("contact", "L1", c_title="R"),
    ]
    with planned(*rows) as connection:
        left = connection.execute(
            "select dynamics_id, list(field order by field) from state.tombstone_values where record_type = 'lead' group by all"
        )
        assert dict(left.fetchall()) == {each: fields for each, (*_, fields) in cases.items()}
        assert connection.execute(
            "select count(*) from state.tombstone_values where record_type = 'contact'"
        ).fetchall() == [(1,)]
        back = connection.execute("select record_type, dynamics_id, field from returned_values order by all").fetchall()
        assert back == [("lead", "L1", "box"), ("lead", "L1", "title"), ("lead", "L3", "title")]
