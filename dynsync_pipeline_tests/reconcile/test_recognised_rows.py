"""What became of updates whose answer was lost, line by line (`recognise.sql`), by the rows that it is about.

Each case is an operation of its own. Not here: creates and companies (`test_recognised_creates_rows.py`); kills and cuts in
whole cycles (`test_after_a_cut.py`, `test_cut_writes.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any, NamedTuple

import duckdb

from dynsync_pipeline_tests.worlds.rule_rows import (
    AT,
    SECOND,
    Put,
    after,
    link,
    person,
    record,
    rows_of,
    told,
)

SENT = datetime(2026, 1, 1, 12, 0, 0, 500_000)  # noqa: DTZ001
OWN = {
    "lead_id": "leadKey",
    "contact_id": "contactKey",
    "person_type": "kind",
    "is_deleted": "flag",
    "created_on": "born",
    "company": "companyKey",
}
FIELDS = (
    "account company name text to_marketo",
    "account town c_town text to_marketo",
    "lead title jobtitle text both",
    "lead city c_city text both",
    "lead box c_box boolean both",
    "lead rating c_rating choice both",
    "lead tags c_tags choices both",
    "contact title c_title text both",
    "contact flagged c_flagged boolean both",
    "contact city c_box boolean both",
)


def recognised(cases: Sequence[Any]) -> AbstractContextManager[duckdb.DuckDBPyConnection]:
    """A world of these cases in which the step ran."""
    options = [("state.options", OPTION | {"option_value": n, "label": label}) for n, label in LABELS.items()]
    return after(
        "write_back/recognise",
        ("reconcile.own_fields", OWN),
        *options,
        *rows_of(cases),
        fields=FIELDS,
        options={("lead", "c_tags"): {"1": "Red"}},
    )


OPTION = {"record_type": "lead", "dynamics_column": "c_rating"}
LABELS = {"1": "Hot", "2": "Warm"}


class Cut(NamedTuple):
    """What is known of an operation without a receipt: whether it was applied, and of its changes those that are then its own
    and those that somebody edited after it.
    """

    is_done: bool
    left: tuple[str, ...]
    edited: tuple[str, ...]
    rows: tuple[Put, ...]


def done(*rows: Put, left: tuple[str, ...] | None = None, edited: tuple[str, ...] = ()) -> Cut:
    return Cut(True, planned(rows) if left is None else left, edited, rows)


def never(*rows: Put) -> Cut:
    return Cut(False, planned(rows), (), rows)


def planned(rows: Sequence[Put]) -> tuple[str, ...]:
    return tuple(sorted(row["field"] for table, row in rows if table == "reconcile.planned_changes"))


def operation(system: str = "marketo", action: str = "update", **more: Any) -> Put:
    key = {"operation_id": 1, "cycle_id": 1, "record_type": "lead", "dynamics_id": "L", "person_id": 1, "body": "{}"}
    return "reconcile.operations", key | {"system": system, "action": action, "sent_at": SENT, "etag": "E1"} | more


def change(field: str = "title", new: str | None = "New", old: str | None = "Old", **more: Any) -> Put:
    values = {"old_value": old, "new_value": new, "sent_value": new, "base_after": new, "rule_code": "one_sided"}
    return "reconcile.planned_changes", {"operation_id": 1, "field": field} | values | more


def told_by_feed(
    value: str | None,
    old: str | None = "Old",
    place: int = 1,
    field: str = "title",
    guid: str = "g",
    person_id: int = 1,
) -> Put:
    told = {"guid": guid, "old_value": old, "value": value, "place": place}
    return "inbox.feed_after_cut", {"person_id": person_id, "field": field} | told


def refused(field: str = "title", operation_id: int = 1) -> Put:
    return "reconcile.refused_fields", {"operation_id": operation_id, "field": field, "message": "no"}


def old_label(label: str, **more: Any) -> Put:
    key = {"person_id": 1, "record_type": "lead", "field": "rating", "option_value": "2"}
    return "state.old_labels", key | {"label": label} | more


RECEIPT: Put = (
    "reconcile.receipts",
    {"operation_id": 1, "outcome": "refused", "received_at": SENT, "is_settled": True},
)
TITLE = operation(), link(), change()
RATING = operation(), link(), change("rating", "Warm", "Hot", sent_value="2", base_after="2")
TWO = *TITLE, change("city", "York", "Bath")
TO_MARKETO = (
    done(*TITLE, person(title="New")),
    never(*TITLE, person(title="Old")),
    never(*TITLE, person()),
    never(*TITLE),
    done(operation(), link(), change(new=None), person()),
    never(operation(), link(), change(new=None), person(title="Old")),
    # Only what was sent and not answered is uncertain.
    Cut(False, ("title",), (), (*TITLE, person(title="New"), RECEIPT)),
    never(operation(sent_at=None), link(), change(), person(title="New")),
    # Not by what somebody else holds, or another field.
    never(*TITLE, person(title="Old"), person(2, title="New"), link(2, "lead", "M")),
    never(*TITLE, person(title="Old", city="New")),
    # A field that was refused is none of its own.
    never(*TITLE, person(title="New"), refused()),
    done(*TITLE, person(title="New"), refused("city")),
    done(*TITLE, person(title="New"), refused(operation_id=2)),
    # What stood there until somebody edited it, as the feed tells.
    done(*TITLE, person(title="X"), told_by_feed("New"), told_by_feed("X", "New", 2), edited=("title",)),
    done(*TITLE, person(title="X"), told_by_feed("X", "New", 2), told_by_feed("New"), edited=("title",)),
    never(*TITLE, person(title="X"), told_by_feed("X")),
    never(*TITLE, person(title="X"), told_by_feed("New", field="city")),
    never(*TITLE, person(title="X"), told_by_feed("New", person_id=2)),
    done(*TITLE, person(title="New"), told_by_feed("X"), told_by_feed("New", "X", 2)),
    done(*TITLE, person(title="New"), told_by_feed("X", field="city"), edited=("city",)),
    done(operation(), link(), change(new=None), person(title="X"), told_by_feed(None), told_by_feed("X", None, 2),
         edited=("title",)),
    # Its beginning, where that is all that happened to the field.
    done(*TITLE, person(title="Ne"), told_by_feed("Ne")),
    never(*TITLE, person(title="ew"), told_by_feed("ew")),
    never(*TITLE, person(title="Ne"), told_by_feed("Ne", "Other")),
    done(operation(), link(), change(old=None), person(title="Ne"), told_by_feed("Ne", None)),
    never(*TITLE, person(title="N"), told_by_feed("Ne"), told_by_feed("N", "Ne", 2, guid="h")),
    never(*TITLE, person(title="Ne"), told_by_feed("Ne", person_id=2)),
    # What was changed in one go with a value of ours Marketo made of ours.
    done(*TWO, person(title="New", city="yo"), told_by_feed("New"), told_by_feed("yo", "Bath", 2, "city")),
    done(*TWO, person(title="New", city="yo"), told_by_feed("New"), told_by_feed("yo", "Bath", 2, "city", "h"),
         left=("title",), edited=("city",)),
    never(*TWO, person(title="X", city="yo"), told_by_feed("X"), told_by_feed("yo", "Bath", 2, "city")),
    done(*TITLE, person(title="Z"), told_by_feed("X"), told_by_feed("New", "X", 3), told_by_feed("Y", "New", 4),
         edited=("title",)),
    done(*TITLE, person(title="New"), told_by_feed("X", place=2), told_by_feed("New", "X", 3), told_by_feed("New", "X", 4)),
    done(*TITLE, person(title="Y"), told_by_feed("New", place=2), told_by_feed("Y", "New", 3), told_by_feed("New", "Y", 4),
         edited=("title",)),
    done(*TWO, person(title="New", city="b"), told_by_feed("New"), told_by_feed("a", "Bath", 2, "city"),
         told_by_feed("b", "a", 3, "city"), edited=("city",)),
    # An option that was renamed has the same number before and after.
    done(*RATING, person(rating="Warm")),
    never(*RATING, person(rating="Hot")),
    never(*RATING, person(rating="Lukewarm"), old_label("Lukewarm")),
    done(operation(), link(), change("rating", "Warm", "Hot", sent_value="2"), person(rating="Warm"), old_label("Warm")),
    done(*RATING, person(rating="Warm"), old_label("Lukewarm", person_id=2)),
    done(*RATING, person(rating="Warm"), old_label("Lukewarm", record_type="contact")),
    done(*RATING, person(rating="Warm"), old_label("Lukewarm", field="city")),
    # The sync's own fields, of whoever is linked to nobody too.
    done(operation(), change("flag", "true"), person(is_deleted_in_dynamics="true")),
    done(operation(), change("kind", "Lead"), person(dynamics_type="Lead")),
    done(operation(), change("born", "2026"), person(dynamics_created_on="2026")),
    never(operation(), change("flag", "true"), person()),
    never(operation(), change("flag", "true"), person(dynamics_type="true")),
    never(operation(), change("flag", "true"), person(), person(2, is_deleted_in_dynamics="true")),
)  # fmt: skip


def read(etag: str | None = "E2", modifiedon: datetime = AT, record_type: str = "lead", **values: Any) -> Put:
    """The record as it is now."""
    return record(record_type, etag=etag, modifiedon=f"{modifiedon:%Y-%m-%dT%H:%M:%SZ}", **values)


def last_ours(record_type: str = "lead", dynamics_id: str = "L") -> Put:
    return "inbox.last_changed_by_us", {"record_type": record_type, "dynamics_id": dynamics_id}


def knew(value: str | None, field: str = "title", person_id: int = 1) -> Put:
    key = {"record_type": "lead", "dynamics_id": "L", "person_id": person_id, "field": field}
    return "state.unsettled", key | {"dynamics_value": value, "attempts": 0, "since": SENT}


SENT_ON = operation("dynamics"), link()
NEW = *SENT_ON, change()
PAIR = *NEW, change("city", "York", "Bath")
OPTIONS = (
    change("box", "true", "false"),
    change("rating", "Hot", "Warm", sent_value="1"),
    change("tags", "Red", None, sent_value="1"),
)
TO_DYNAMICS = (
    # Nothing is ours while the version is the one that we knew.
    never(*NEW, read("E1", jobtitle="New")),
    never(*NEW, read("E1", jobtitle="New"), last_ours()),
    done(*NEW, read(jobtitle="New")),
    done(*NEW, read(jobtitle="New"), last_ours()),
    done(operation("dynamics", etag=None), link(), change(), read(jobtitle="New")),
    never(operation("dynamics", etag=None), link(), change(), read(etag=None, jobtitle="New")),
    never(*NEW, read(jobtitle="Old")),
    never(*NEW, read(jobtitle="Old"), person(title="New")),
    done(operation("dynamics"), link(), change(new=None), read()),
    done(operation("dynamics"), link(), change("rating", "Warm", "Hot", sent_value="2"), read(c_rating="2"),
         old_label("Lukewarm")),
    # What nobody else touched and is another value than before was rewritten.
    done(*NEW, read(jobtitle="new"), knew("Old"), last_ours()),
    never(*NEW, read(jobtitle="Old"), knew("Old"), last_ours()),
    done(*NEW, read(jobtitle="Old"), knew("other"), last_ours()),
    done(*NEW, read(), knew("Old"), last_ours()),
    done(*NEW, read(jobtitle="new"), knew(None), last_ours()),
    done(*PAIR, read(jobtitle="New", c_city="Bath"), knew("Bath", "city"), knew("Old"), last_ours(), left=("title",)),
    never(*NEW, read(jobtitle="new"), knew("Old")),
    never(*NEW, read(jobtitle="new"), knew("new"), knew("Old", "city"), knew("Old", person_id=2), last_ours()),
    never(*NEW, read(jobtitle="new"), knew("Old"), last_ours("contact")),
    never(*NEW, read(jobtitle="new"), knew("Old"), last_ours(dynamics_id="M")),
    # Of what left whole and of which something stands, all was applied, where the record was changed after it.
    done(*PAIR, read(jobtitle="New", c_city="X"), edited=("city",)),
    done(*PAIR, read(modifiedon=SENT, jobtitle="New", c_city="X"), edited=("city",)),
    done(*PAIR, read(modifiedon=SENT - SECOND, jobtitle="New", c_city="X"), left=("title",)),
    done(operation("dynamics", is_in_parts=True), *PAIR[1:], read(jobtitle="New", c_city="X"), left=("title",)),
    done(operation("dynamics", is_in_parts=False), *PAIR[1:], read(jobtitle="New", c_city="X"), edited=("city",)),
    done(*PAIR, read(jobtitle="New", c_city="X"), last_ours(), knew("X", "city"), left=("title",)),
    never(*PAIR, read(jobtitle="X", c_city="X")),
    done(*NEW, *OPTIONS, read(jobtitle="X", c_box="true", c_rating="1", c_tags="1"), left=("box", "rating", "tags")),
    done(operation("dynamics", record_type="contact"), link(1, "contact"), change(), change("city", "true"),
         read(record_type="contact", c_title="X", c_box="true"), left=("city",)),
    never(*NEW, read(jobtitle="X"), read(record_type="contact", c_title="New")),
)  # fmt: skip


def test_what_stands_or_stood_is_ours_and_the_rest_never_happened() -> None:
    cases = (*TO_MARKETO, *TO_DYNAMICS)
    with recognised(cases) as connection:
        receipts = connection.execute(
            "select operation_id, person_id from reconcile.receipts "
            f"where (outcome, received_at, is_settled) = ('applied', timestamp '{AT}', false)"
        ).fetchall()
        changes = connection.execute(
            "select operation_id, field from reconcile.planned_changes order by all"
        ).fetchall()
        edits = connection.execute("select operation_id, field from reconcile.edited_meanwhile order by all").fetchall()
        for number, case in enumerate(cases):
            assert told(number, receipts) == [(1, 1)] * case.is_done, case
            assert told(number, changes) == [(1, field) for field in case.left], case
            assert told(number, edits) == [(1, field) for field in case.edited], case
        assert connection.execute("from inbox.feed_after_cut").fetchall() == []
        assert connection.execute("from inbox.last_changed_by_us").fetchall() == []
