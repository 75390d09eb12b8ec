"""What is undone and what is left, line by line (`undone_fields.sql`, `settled_undos.sql`), by the rows that they are about.

Each case is a person of its own. Not here: an undo in whole cycles (`test_undo.py`).
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, NamedTuple

from dynsync_pipeline.sql_files import run_steps
from dynsync_pipeline_tests.worlds.rule_rows import Row, empty, make, put, put_options

AT, SECOND = datetime(2026, 1, 1), timedelta(seconds=1)  # noqa: DTZ001
SIDE = "person_id bigint, record_type varchar, dynamics_id varchar, title varchar, box varchar, rating varchar, city varchar"
VALUES = "dynamics_value varchar, marketo_value varchar"
TABLES = {
    "this_cycle": "planned_at timestamp",
    "compared_links": "person_id bigint, record_type varchar, dynamics_id varchar",
    "differing_fields": f"person_id bigint, field varchar, is_relabelled boolean, base_value varchar, {VALUES}",
    "overwritten_fields": "person_id bigint, field varchar",
    "dynamics_side": SIDE,
    "marketo_side": SIDE,
}
FIELDS = {"title": "text", "box": "boolean", "rating": "choice", "city": "text"}
WRITE = 100  # its place in the ledger
KEYS = {
    "differing_fields": ("person_id",),
    "overwritten_fields": ("person_id",),
    "ledger.observations": ("person_id", "dynamics_id"),
}


class Wanted(NamedTuple):
    """A write of a lead's title, A to B, or as `write` tells, that both sides hold, or what `sides` says; what else is known of
    its person, and what becomes of it.
    """

    verdict: str
    write: Row
    sides: tuple[str | None, str | None]
    found: tuple[tuple[str, Row], ...]


def wanted(
    verdict: str, *found: tuple[str, Row], sides: tuple[str | None, str | None] | None = None, **write: Any
) -> Wanted:
    whole = {"field": "title", "old_value": "A", "new_value": "B", "rule_code": "one_sided"} | write
    both = whole["new_value"]
    return Wanted(verdict, whole, sides or (both, both), found)


def written(**more: Any) -> tuple[str, Row]:
    """A later write of the field."""
    told = {"entry_id": WRITE + 1, "cycle_id": 2, "changed_at": AT, "direction": "to_marketo", "rule_code": "one_sided"}
    return "ledger.changes", {"field": "title"} | told | more


def seen(of: str, name: str, **more: Any) -> tuple[str, Row]:
    """A value that moved since."""
    told = {"entry_id": WRITE + 1, "cycle_id": 2, "seen_at": AT, "is_receipt": False}
    return "ledger.observations", {"object": of, "name": name} | told | more


def differs(
    field: str = "title", *, labels: bool = False, values: tuple[str | None, ...] = ("B", "B", "B")
) -> tuple[str, Row]:
    base, dynamics, marketo = values
    sides = {"base_value": base, "dynamics_value": dynamics, "marketo_value": marketo}
    return "differing_fields", {"field": field, "is_relabelled": labels} | sides


def option(verdict: str, *found: tuple[str, Row], old: str | None = "Hot", new: str = "Warm") -> Wanted:
    """An option, of which the ledger has the label and both sides the number."""
    return wanted(verdict, *found, field="rating", old_value=old, new_value=new, sides=("2", "2"))


OURS, EDITED, RELABELLED = "ours", "edited_since", "ours, and relabelled"
WRITES = (
    wanted(OURS),
    wanted("created", rule_code="new_in_dynamics"),
    wanted("created", rule_code="new_in_marketo"),
    wanted("not_synced", field="unknown"),
    wanted("not_synced", record_type="contact"),
    wanted("of_company", field="company"),
    wanted("not_compared", ("compared_links", {"dynamics_id": "another"})),
    wanted("not_compared", ("compared_links", {"record_type": "contact"})),
    # What was written since; a new label is none.
    wanted("written_since", written()),
    wanted(OURS, written(rule_code="option_renamed")),
    wanted(OURS, written(field="city")),
    wanted(OURS, written(person_id=-1)),
    wanted(OURS, written(entry_id=WRITE)),
    wanted(OURS, written(entry_id=WRITE - 1)),
    # What differs just now.
    wanted(EDITED, differs()),
    wanted(OURS, differs("city")),
    wanted(EDITED, ("overwritten_fields", {"field": "title"})),
    wanted(OURS, ("overwritten_fields", {"field": "city"})),
    wanted(EDITED, sides=("C", "B")),
    wanted(EDITED, sides=("B", "C")),
    wanted(EDITED, sides=(None, "B")),
    wanted(EDITED, sides=("B", None)),
    # What was seen to move since, also where it moved back.
    wanted(EDITED, seen("person", "title")),
    wanted(OURS, seen("person", "title", is_receipt=True)),
    wanted(OURS, seen("person", "title", entry_id=WRITE)),
    wanted(OURS, seen("person", "city")),
    wanted(OURS, seen("person", "title", person_id=-1)),
    wanted(OURS, seen("company", "title")),
    wanted(EDITED, seen("lead", "c_title")),
    wanted(OURS, seen("lead", "c_title", is_receipt=True)),
    wanted(OURS, seen("lead", "c_title", entry_id=WRITE)),
    wanted(OURS, seen("lead", "c_city")),
    wanted(OURS, seen("lead", "c_title", dynamics_id="another")),
    wanted(OURS, seen("contact", "c_title")),
    # Values that are one.
    wanted("nothing_to_undo", old_value="B"),
    wanted(OURS, old_value=None),
    wanted(OURS, new_value=None),
    wanted("nothing_to_undo", old_value=None, new_value=None),
    wanted("nothing_to_undo", field="box", old_value=None, new_value="false"),
    wanted("nothing_to_undo", field="box", old_value="false", new_value=None, sides=("false", "false")),
    wanted(OURS, field="box", old_value="true", new_value=None, sides=("false", "false")),
    # Options by their labels.
    option(OURS),
    option("option_unknown", old="Boiling"),
    option(EDITED, new="Boiling"),
    option(OURS, old=None),
    option(EDITED, differs("rating")),
    option(RELABELLED, differs("rating", labels=True, values=("2", "2", "2"))),
    option(EDITED, differs("rating", labels=True, values=("1", "2", "2"))),
    option(EDITED, differs("rating", labels=True, values=("2", "2", "1"))),
    option(EDITED, differs("rating", labels=True, values=("2", "1", "2"))),
    option(EDITED, differs("rating", labels=True, values=(None, "2", "2"))),
    option(EDITED, differs("rating", labels=True, values=("2", "2", None))),
    # One that was put off.
    wanted(OURS, next_look_at=AT),
    wanted("put off", next_look_at=AT + SECOND),
)  # fmt: skip


def rows_of(number: int, case: Wanted) -> list[tuple[str, Row]]:
    """A case, with what is not told of it."""
    key = {"person_id": number, "record_type": "lead", "dynamics_id": f"r{number}"}
    write = {"change_id": WRITE, "cycle_id": 1, "direction": "to_marketo"} | key | case.write
    name = write["field"] if write["field"] in FIELDS else "city"
    rows: list[tuple[str, Row]] = [("state.undoing", write | {"change_id": WRITE + number * 1000})]
    rows += [
        (side, key | {name: value}) for side, value in zip(("dynamics_side", "marketo_side"), case.sides, strict=True)
    ]
    if "compared_links" not in dict(case.found):
        rows.append(("compared_links", key))
    for table, row in case.found:
        keys = {name: key[name] for name in KEYS.get(table, tuple(key))}
        place = {"entry_id": row["entry_id"] + number * 1000} if "entry_id" in row else {}
        rows.append((table, keys | row | place))
    return rows


def test_what_is_undone_is_ours_still_and_the_rest_says_why_it_is_left() -> None:
    with empty() as connection:
        make(connection, TABLES)
        field = {"direction": "both", "record_type": "lead", "collision": "original"}
        put(connection, [("this_cycle", {"planned_at": AT})])
        put(connection, [
            ("reconcile.fields", field | {"field": name, "dynamics_column": f"c_{name}", "type": kind, "is_on_company": False})
            for name, kind in FIELDS.items()
        ])  # fmt: skip
        put(connection, [("reconcile.fields", field | {
            "field": "company", "dynamics_column": "c_company", "type": "text", "is_on_company": True,
        })])  # fmt: skip
        put_options(connection, "lead", "c_rating", {"1": "Hot", "2": "Warm"})
        put_options(connection, "lead", "c_other", {"3": "Boiling"})
        put_options(connection, "contact", "c_rating", {"3": "Boiling"})
        put(connection, (row for number, case in enumerate(WRITES) for row in rows_of(number, case)))
        run_steps(connection, ("reconcile/undone_fields",))
        found = {
            person_id: f"{verdict}, and relabelled" if is_relabelled else verdict
            for person_id, verdict, is_relabelled in connection.execute(
                "select person_id, verdict, is_relabelled from wanted_undos"
            ).fetchall()
        }
        for number, case in enumerate(WRITES):
            assert found.get(number, "put off") == case.verdict, case
        assert len(found) == sum(case.verdict != "put off" for case in WRITES)
        undone = connection.execute("select person_id from undone_fields order by all").fetchall()
        assert undone == [(number,) for number, case in enumerate(WRITES) if case.verdict == OURS]


RECEIPTS = {
    "fresh_receipts": "operation_id bigint, person_id bigint, outcome varchar, received_at timestamp, next_look_at timestamp",
    "applied_changes": "operation_id bigint, person_id bigint, system varchar, changed_field varchar, sent_value varchar, "
    "base_after varchar, rule_code varchar, is_mapped boolean",
    "dynamics_long": "person_id bigint, field varchar, value varchar",
    "marketo_long": "person_id bigint, field varchar, value varchar",
}


class Sent(NamedTuple):
    """An undo that went to a system: the old value was A, the base is B. What the receipt says, what was read back of
    either side, what stands afterwards as Dynamics' and Marketo's value, or nothing, and what is left to undo: how often it
    was put off, and until when; None where it is done.
    """

    stands: tuple[str | None, str | None] | None
    left: tuple[int, datetime | None] | None
    receipt: Row
    change: Row
    read: tuple[str | None, str | None] | None


def sent(
    stands: tuple[str | None, str | None] | None, left: tuple[int, datetime | None] | None = None,
    read: tuple[str | None, str | None] | None = ("B", "B"), outcome: str = "applied", next_look_at: datetime | None = None,
    **change: Any,
) -> Sent:  # fmt: skip
    receipt = {"outcome": outcome, "received_at": AT, "next_look_at": next_look_at}
    change = {
        "system": "marketo",
        "sent_value": "A",
        "base_after": "B",
        "rule_code": "undo",
        "is_mapped": True,
    } | change
    return Sent(stands, left, receipt, change, read)


TO_DYNAMICS: dict[str, Any] = {"system": "dynamics"}
ATTEMPTS = 2
IN_20_MINUTES = AT + timedelta(minutes=20)
UNTOUCHED = ATTEMPTS, None
MEANWHILE, UNREAD, ANOTHER = "edited meanwhile", "unread", "another field is edited meanwhile"
SENT = (
    sent(("B", "A"), read=("x", "A")),
    sent(("A", "B"), read=("A", "x"), **TO_DYNAMICS),
    # What the system made of it stands.
    sent(("B", "cut"), read=("x", "cut")),
    sent(("cut", "B"), read=("cut", "x"), **TO_DYNAMICS),
    sent(None, read=("x", "B")),
    sent(("B", None), read=("x", None), sent_value=None),
    sent(("B", "A"), read=("x", "later"), known=MEANWHILE),
    sent(("A", "B"), read=("later", "x"), known=MEANWHILE, **TO_DYNAMICS),
    sent(("B", "A"), read=("x", "later"), known=UNREAD),
    sent(("B", "A"), read=("x", "later"), is_mapped=False),
    sent(("B", "A"), read=None, is_mapped=False),
    sent(("B", "cut"), read=("x", "cut"), known=ANOTHER),
    sent((None, "A"), read=("x", "A"), base_after=None),
    # What was written for another reason is no undo; what was not applied stands as it was.
    sent(None, UNTOUCHED, read=("B", "A"), rule_code="one_sided"),
    sent(None, outcome="refused"),
    sent(None, UNTOUCHED, outcome="changed_meanwhile"),
    sent(None, (ATTEMPTS + 1, IN_20_MINUTES), outcome="waiting"),
    sent(None, (ATTEMPTS + 1, IN_20_MINUTES), outcome="waiting", next_look_at=AT + SECOND),
    sent(None, (ATTEMPTS + 1, IN_20_MINUTES + SECOND), outcome="waiting", next_look_at=IN_20_MINUTES + SECOND),
    sent(None, UNTOUCHED, outcome="waiting", rule_code="one_sided"),
)  # fmt: skip


def receipt_rows(number: int, case: Sent) -> list[tuple[str, Row]]:
    change = dict(case.change)
    known, is_applied = change.pop("known", None), case.receipt["outcome"] == "applied"
    key = {"person_id": number, "record_type": "lead", "dynamics_id": f"r{number}"}
    rows: list[tuple[str, Row]] = [
        ("fresh_receipts", {"operation_id": number, "person_id": number} | case.receipt),
        ("reconcile.planned_changes", {"operation_id": number, "field": "title", "rule_code": change["rule_code"]}),
        ("dynamics_long", {"person_id": number, "field": "city", "value": "of another field"}),
        ("marketo_long", {"person_id": number, "field": "city", "value": "of another field"}),
        ("state.links", key | {"linked_at": AT}),
    ]
    if case.read is not None:
        for table, value in zip(("dynamics_long", "marketo_long"), case.read, strict=True):
            rows.append((table, {"person_id": number, "field": "title", "value": value}))
    if is_applied:
        rows.append(
            ("applied_changes", {"operation_id": number, "person_id": number, "changed_field": "title"} | change)
        )
    for field in ("title", "city"):
        undoing = {
            "change_id": WRITE,
            "cycle_id": 1,
            "direction": "to_marketo",
            "rule_code": "one_sided",
            "field": field,
        }
        rows.append(("state.undoing", key | undoing | {"attempts": ATTEMPTS}))
    if known in (MEANWHILE, ANOTHER):
        field = "title" if known == MEANWHILE else "city"
        rows.append(("reconcile.edited_meanwhile", {"operation_id": number, "field": field}))
    if known == UNREAD:
        rows.append(("state.unread", {
            "record_type": "lead", "key": f"r{number}", "has_id": True, "message": "no JSON", "attempts": 1, "next_look_at": AT,
        }))  # fmt: skip
    return rows


def test_what_was_undone_stands_as_it_was_read_back_and_what_was_put_off_is_tried_later() -> None:
    with empty() as connection:
        make(connection, RECEIPTS)
        put(connection, (row for number, case in enumerate(SENT) for row in receipt_rows(number, case)))
        run_steps(connection, ("write_back/settled_undos",))
        standing = connection.execute(
            "select person_id, dynamics_value, marketo_value from state.standing_differences "
            "where (field, reason_code) = ('title', 'undo')"
        ).fetchall()
        left = connection.execute(
            "select person_id, attempts, next_look_at from state.undoing where field = 'title'"
        ).fetchall()
        stands = {person_id: values for person_id, *values in standing}
        waits = {person_id: values for person_id, *values in left}
        for number, case in enumerate(SENT):
            assert stands.get(number) == (None if case.stands is None else list(case.stands)), case
            assert waits.get(number) == (None if case.left is None else list(case.left)), case
        others = connection.execute("select attempts, count(*) from state.undoing where field = 'city' group by all")
        assert others.fetchall() == [(ATTEMPTS, len(SENT))], "an answer is about its own field"
