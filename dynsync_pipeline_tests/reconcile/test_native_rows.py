"""What a native sync wrote, line by line (`native_writes.sql`), by the rows that it is about.

Each case is a person of its own. Not here: what is made of it (`test_native_verdict_rows.py`), parity in whole cycles
(`../shadow/test_parity.py`).
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from typing import Any

import duckdb

from dynsync_pipeline_tests.worlds.rule_rows import (
    AT,
    BEFORE,
    CYCLE,
    Case,
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

FIELDS = (
    "account company name text to_marketo",
    "lead title jobtitle text both",
    "lead city c_city text both",
    "lead phone c_phone text both",
    "lead company companyname text both",
    "contact title c_title text both",
    "contact nick c_nick text both",
)
FIELD = (
    "person_id bigint, record_type varchar, dynamics_id varchar, field varchar, dynamics_column varchar, type varchar, "
    "direction varchar, collision varchar, forbids varchar, has_base boolean, base_value varchar, dynamics_value varchar, "
    "marketo_value varchar, is_relabelled boolean"
)
TABLES = {"native_sync": "source varchar", "native_users": "user_id varchar", "differing_fields": FIELD}
OURS, SOURCE, SOMEBODY = "native", "Dynamics", "somebody"
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
SECOND = timedelta(seconds=1)
APART = timedelta(seconds=10)  # by which Dynamics' clock is ahead of Marketo's
NOON = datetime(2026, 1, 1, 12)  # noqa: DTZ001  # on Marketo's clock
LONG = AT - HOUR  # since which is long enough


def looked(cases: Iterable[Case], *, is_known: bool = True) -> AbstractContextManager[duckdb.DuckDBPyConnection]:
    """Rows of these cases after the step; `is_known`: somebody said who the native sync is."""
    cycle = {"cycle_id": CYCLE, "planned_at": AT, "clocks_apart": APART, "is_first_load": False}
    who: list[Put] = [("native_sync", {"source": SOURCE.lower() if is_known else None})]
    who += [("native_users", {"user_id": OURS})] * is_known
    return after("reconcile/native_writes", ("this_cycle", cycle), *who, *rows_of(cases), fields=FIELDS, tables=TABLES)


def sides(
    dynamics: str | None, marketo: str | None, base: str | None = "A", by: str | None = OURS, at: datetime = NOON
) -> tuple[Put, ...]:
    """What a lead's title is now in both systems, and who modified the record last."""
    then: dict[str, Any] = {"_modifiedby_value": by, "modifiedon": (at + APART).isoformat()}
    return (
        *(link(), ("state.base", {"person_id": 1, "title": base}), touched(person_id=1)),
        *(record(jobtitle=dynamics, **then), person(title=marketo)),
    )


def feed(
    old: str | None, new: str | None, source: str | None = "DYNAMICS sync", at: datetime = NOON, **more: Any
) -> Put:
    of = {"person_id": 1, "field": "title", "old_value": old, "new_value": new, "source": source, "changed_at": at}
    return "inbox.feed_entries", of | {"place": 1} | more


def form(old: str | None, new: str | None, **more: Any) -> Put:
    return feed(old, new, "Web form by Dynamics", NOON - MINUTE, **more)


def seen(dynamics: str | None, marketo: str | None, reason: str = "planned", since: datetime = AT, **more: Any) -> Put:
    """What both sides were when a cycle looked last."""
    of = {"person_id": 1, "record_type": "lead", "dynamics_id": "L", "field": "title", "reason_code": reason}
    how = {"dynamics_value": dynamics, "marketo_value": marketo, "since": since, "attempts": 1, "next_look_at": AT}
    return "state.unsettled", of | how | more


def stood(dynamics: str | None, marketo: str | None) -> Put:
    of = {"person_id": 1, "field": "title", "dynamics_value": dynamics, "marketo_value": marketo}
    return "state.standing_differences", of | {"reason_code": "kept_by_native", "since": BEFORE}


def never_agreed(field: str = "title", person_id: int = 1) -> Put:
    return "state.base_missing", {"person_id": person_id, "field": field}


def wrote_marketo(before: str | None, was: str | None, now: str | None, base: str | None = "A") -> tuple[Any, ...]:
    """What Dynamics held, and what it made of Marketo's value."""
    return "wrote_marketo", base, before, was, now, None


def wrote_dynamics(was: str | None, now: str | None, base: str | None = "A") -> tuple[Any, ...]:
    return "wrote_dynamics", base, was, now, now, None


def left(dynamics: str | None, marketo: str | None, base: str | None = "A") -> tuple[Any, ...]:
    return "left", base, dynamics, marketo, None, None


def unclear(reason: str, what: tuple[Any, ...]) -> tuple[Any, ...]:
    return *what[:-1], reason


ALIVE = link(), record(), person()
UNREAD: Put = "state.unread", {"record_type": "lead", "key": "L", "has_id": True, "message": "m", "attempts": 1}
LOOKED = (
    # Whether a link that nothing else is known of is looked at.
    case(True, *ALIVE, touched(person_id=1)),
    case(True, *ALIVE, touched(record_type="lead", dynamics_id="L")),
    case(True, *ALIVE, feed("A", "B")),
    case(True, *ALIVE, seen("B", "A", since=LONG)),
    case(False, *ALIVE),
    case(False, *ALIVE, touched(person_id=2), feed("A", "B", person_id=2), seen("B", "A", since=LONG, person_id=2)),
    case(False, *ALIVE, touched(record_type="contact", dynamics_id="L")),
    case(False, *ALIVE, touched(record_type="lead", dynamics_id="M")),
    case(False, *ALIVE, seen("B", "A", since=LONG + SECOND)),
    case(False, *ALIVE, seen("B", "A", "waiting", since=LONG)),
    case(False, *ALIVE, seen("B", "A", since=LONG, field="unknown")),
    case(False, *ALIVE, seen("B", "A", since=LONG, field="nick")),
    case(False, *ALIVE, seen("B", "A", since=LONG, person_id=None)),
    case(False, link(), record(is_deleted=True), person(), touched(person_id=1)),
    case(False, link(), record(), person(is_deleted=True), touched(person_id=1)),
    case(False, link(), record("contact"), person(), touched(person_id=1)),
    case(False, link(), record("lead", "M"), person(), touched(person_id=1)),
    case(False, link(), record(), person(2), touched(person_id=1)),
    case(False, *ALIVE, touched(person_id=1), kept_out()),
    case(True, *ALIVE, touched(person_id=1), kept_out("contact")),
    case(True, *ALIVE, touched(person_id=1), kept_out("lead", "M")),
    case(False, *ALIVE, touched(person_id=1), UNREAD),
)  # fmt: skip


def test_looked_at_is_who_moved_or_waits_for_long_and_takes_part() -> None:
    with looked(LOOKED) as connection:
        found = connection.execute("select person_id, record_type, dynamics_id from native_looked_at").fetchall()
    for number, each in enumerate(LOOKED):
        assert told(number, found) == [(1, "lead", "L")] * each.expected, each


BOTH_ALIKE = "wrote_marketo", "A", None, None, "E", "writer_unknown"
SEVERAL = "wrote_marketo", None, None, "A", "B", "several_writes"
OF_DYNAMICS = (
    # Dynamics was edited, and the feed tells that its value went to Marketo.
    case([wrote_marketo("B", "A", "B")], *sides("B", "B"), feed("A", "B")),
    case([wrote_marketo(None, "A", None)], *sides(None, None), feed("A", None)),
    case([wrote_marketo("B", None, "B", None)], *sides("B", "B", None), feed(None, "B")),
    case([wrote_marketo("B", "A", "b")], *sides("B", "b"), feed("A", "b")),
    # An edit in Marketo was put back, or lost a collision.
    case([wrote_marketo("A", "E", "A")], *sides("A", "A"), form("A", "E"), feed("E", "A")),
    case([wrote_marketo("B", "E", "B")], *sides("B", "B"), form("A", "E"), feed("E", "B")),
    # Who came later wrote again.
    case([wrote_marketo("B", "A", "B")], *sides("B", "E"), feed("A", "B"), feed("B", "E", "Web form", NOON + SECOND)),
    case([wrote_marketo("A", "E", "A")], *sides("E", "A"), form("A", "E"), feed("E", "A")),
    # Only the last of several can be rebuilt; what was written before is what both agreed on.
    case([SEVERAL, wrote_marketo("C", "B", "C", "B")], *sides("C", "C"), feed("A", "B", place=1), feed("B", "C", place=2)),
    case([SEVERAL, wrote_marketo("C", "B", "C", "B")], *sides("C", "C"), feed("B", "C", place=1),
         feed("A", "B", at=NOON - MINUTE, place=2)),
    case([SEVERAL, wrote_marketo("C", "E", "C", "B")], *sides("C", "C"), feed("A", "B", place=1),
         feed("B", "E", "Web form", place=2), feed("E", "C", place=3)),
    case([("wrote_marketo", None, None, "A", None, "several_writes"), wrote_marketo("C", None, "C", None)], *sides("C", "C"),
         feed("A", None, place=1), feed(None, "C", place=2)),
    # Dynamics was edited again since: what it held when its value went over is known only where that was seen.
    case([unclear("edited_since", wrote_marketo("C", "A", "B"))], *sides("C", "B", by=SOMEBODY, at=NOON + SECOND),
         feed("A", "B")),
    case([unclear("edited_since", wrote_marketo("C", "A", "B"))], *sides("C", "B", by=None, at=NOON + SECOND),
         feed("A", "B")),
    case([unclear("edited_since", wrote_marketo(None, "A", "B"))], *sides(None, "B", by=SOMEBODY, at=NOON + SECOND),
         feed("A", "B")),
    case([unclear("edited_since", wrote_marketo("C", "A", None))], *sides("C", None, by=SOMEBODY, at=NOON + SECOND),
         feed("A", None)),
    case([wrote_marketo("C", "A", "B")], *sides("C", "B", by=SOMEBODY), feed("A", "B")),
    case([wrote_marketo("C", "A", "B")], *sides("C", "B", at=NOON + SECOND), feed("A", "B")),
    case([wrote_marketo("B", "A", "B")], *sides("C", "B", by=SOMEBODY, at=NOON + SECOND), seen("B", "A"), feed("A", "B")),
    case([wrote_marketo(None, "A", None)], *sides("C", None, by=SOMEBODY, at=NOON + SECOND), seen(None, "A"),
         feed("A", None)),
    case([wrote_marketo("B", "A", "B")], *sides("B", "B", by=SOMEBODY, at=NOON + SECOND), feed("A", "B")),
    # The feed tells another value from before than was seen there.
    case([unclear("feed_has_gaps", wrote_marketo("B", "X", "B"))], *sides("B", "B"), feed("X", "B")),
    case([unclear("feed_has_gaps", wrote_marketo("B", None, "B"))], *sides("B", "B"), feed(None, "B")),
    case([unclear("feed_has_gaps", wrote_marketo("B", "E", "B"))], *sides("B", "B"), form("X", "E"), feed("E", "B")),
    case([wrote_marketo("B", "E", "B")], *sides("B", "B"), seen("B", "E"), feed("E", "B")),
    case([wrote_marketo("B", "E", "B")], *sides("B", "B"), stood("A", "E"), feed("E", "B")),
    case([wrote_marketo("B", "E", "B")], *sides("B", "B"), seen("B", "E"), stood("A", "X"), feed("E", "B")),
    # Of what nobody agreed on.
    case([unclear("never_agreed", wrote_marketo("B", "X", "B"))], *sides("B", "B"), never_agreed(), seen("B", "A"),
         feed("X", "B")),
    case([], *sides("B", "B"), never_agreed(), feed("A", "B")),
    case([wrote_marketo("B", "A", "B")], *sides("B", "B"), never_agreed("city"), never_agreed(person_id=2), feed("A", "B")),
    case([wrote_marketo("B", "A", "B")], *sides("B", "B"), feed("A", "B"), seen(None, None, field="city")),
    # Of an entry after it the feed does not tell whose it is.
    case([unclear("edited_since", wrote_marketo("E", "A", "B"))], *sides("E", "E", by=SOMEBODY, at=NOON + SECOND), feed("A", "B"),
         feed("B", "E", None, NOON + SECOND)),
    case([wrote_marketo("B", "A", "X")], *sides("B", "B"), seen("B", "A"), feed("A", "X"), feed("X", "B", None, NOON + SECOND)),
    # The feed does not tell: Marketo holds now what Dynamics held all the time.
    case([wrote_marketo("B", "A", "B")], *sides("B", "B"), seen("B", "A")),
    case([wrote_marketo(None, "A", None)], *sides(None, None), seen(None, "A")),
    case([wrote_marketo("B", None, "B", None)], *sides("B", "B", None), seen("B", None)),
    case([wrote_marketo("B", "A", "B")], *sides("B", "B"), stood("B", "A")),
    case([wrote_marketo("B", "A", "B")], *sides("B", "B"), seen("B", "A"), feed("A", "B", None)),
    case([], *sides("B", "B"), seen("B", "A"), form("A", "B")),
    case([unclear("writer_unknown", wrote_marketo("B", "E", "B"))], *sides("B", "B"), seen("B", "E")),
    case([unclear("writer_unknown", wrote_marketo("B", None, "B"))], *sides("B", "B"), seen("B", None)),
    case([unclear("never_agreed", wrote_marketo("B", "E", "B"))], *sides("B", "B"), never_agreed(), seen("B", "E")),
    case([], *sides("B", "E"), seen("B", "A")),
    # What did not move, or is no change.
    case([], *sides("A", "A")),
    case([], *sides("B", "A")),
    case([], *sides("A", "E"), form("A", "E")),
    case([], *sides("A", "A"), feed("A", "A")),
    case([], *sides(None, None, None), feed(None, None)),
)  # fmt: skip
TAKEN_BACK = sides("A", "A"), sides("A", "A", by=SOMEBODY), sides("A", "A", by=None)
OF_MARKETO = (
    # Somebody edited Marketo, and Dynamics holds that now.
    case([wrote_dynamics("A", "E")], *sides("E", "E"), form("A", "E")),
    case([wrote_dynamics("A", None)], *sides(None, None), form("A", None)),
    case([wrote_dynamics(None, "E", None)], *sides("E", "E", None), form(None, "E")),
    case([wrote_dynamics("A", "E")], *sides("E", "F"), form("A", "E"), feed("E", "F", "Web form")),
    case([wrote_dynamics("A", "E")], *sides("E", "A"), form("A", "E"), feed("E", "A", "Web form")),
    case([wrote_dynamics("A", "E")], *sides("E", "A"), form("A", "E"), feed("E", "A", None)),
    case([wrote_dynamics("A", "E")], *sides("E", "E"), seen("A", "E")),
    case([wrote_dynamics("A", None)], *sides(None, None), seen("A", None)),
    case([wrote_dynamics("A", "E")], *sides("E", "E"), stood("A", "E")),
    case([wrote_dynamics("B", "E")], *sides("E", "E"), seen("B", "E")),
    case([wrote_dynamics(None, "E")], *sides("E", "E"), seen(None, "E")),
    # Not the native sync modified the record last: Dynamics may hold it by an edit of its own, where it was not seen before.
    case([unclear("writer_unknown", wrote_dynamics("A", "E"))], *sides("E", "E", by=SOMEBODY), form("A", "E")),
    case([wrote_dynamics("A", "E")], *sides("E", "E", by=SOMEBODY), seen("A", "E")),
    case([unclear("writer_unknown", wrote_dynamics("B", "E"))], *sides("E", "E", by=SOMEBODY), seen("B", "E")),
    case([unclear("writer_unknown", wrote_dynamics(None, "E"))], *sides("E", "E", by=SOMEBODY), seen(None, "E")),
    case([wrote_dynamics(None, "E", None)], *sides("E", "E", None, by=SOMEBODY), seen(None, "E")),
    # Nobody knows who modified it.
    case([wrote_dynamics("A", "E")], *sides("E", "E", by=None), form("A", "E")),
    case([unclear("writer_unknown", wrote_dynamics("B", "E"))], *sides("E", "E", by=None), seen("B", "E")),
    # Dynamics holds what was agreed on: an edit of it was taken back, by somebody or by what Marketo held.
    case([unclear("writer_unknown", wrote_dynamics("B", "A"))], *TAKEN_BACK[0], seen("B", "A")),
    case([], *TAKEN_BACK[1], seen("B", "A")),
    case([unclear("writer_unknown", wrote_dynamics("B", "A"))], *TAKEN_BACK[2], seen("B", "A")),
    case([unclear("writer_unknown", wrote_dynamics("B", None, None))], *sides(None, None, None), seen("B", None)),
    case([unclear("writer_unknown", wrote_dynamics("B", None, None))], *sides(None, None, None), stood("B", None)),
    # Of what nobody agreed on.
    case([unclear("never_agreed", wrote_dynamics("B", "E"))], *sides("E", "E"), never_agreed(), seen("B", "E")),
    # Both came to hold the same, and nothing tells which came first.
    case([BOTH_ALIKE], *sides("E", "E")),
    case([BOTH_ALIKE], *sides("E", "E"), feed("A", "E", None)),
    case([(*BOTH_ALIKE[:4], "F", "writer_unknown")], *sides("F", "F"), form("A", "E"), feed("E", "F", None)),
    case([(*BOTH_ALIKE[:4], None, "writer_unknown")], *sides(None, None)),
    case([], *sides("E", "F")),
    # Dynamics moved, and not to what Marketo holds or held.
    case([], *sides("C", "E"), form("A", "E")),
    case([], *sides("C", "C"), form("A", "E"), feed("E", "C", "Dynamic content", NOON), seen("C", "A")),
    case([], *sides("C", "A")),
)  # fmt: skip
LEFT = (
    # What Dynamics or Marketo holds, and is not carried over in an hour.
    case([left("B", "A")], *sides("B", "A"), seen("B", "A", since=LONG)),
    case([left("A", None)], *sides("A", None), seen("A", None, since=LONG)),
    case([left("B", "A")], *sides("B", "A"), seen("B", "A", since=LONG), never_agreed()),
    case([], *sides("B", "A"), seen("B", "A", since=LONG + SECOND)),
    case([], *sides("B", "A"), seen("B", "A", "waiting", since=LONG)),
    case([], *sides("B", "A"), seen("B", "A", since=LONG), form("E", "A")),
    case([], *sides("C", "A"), seen("B", "A", since=LONG)),
    case([], *sides("B", "E"), seen("B", "A", since=LONG)),
    case([], *sides("B", "A"), stood("B", "A")),
)
WRITES = (*OF_DYNAMICS, *OF_MARKETO, *LEFT)
VALUES = "base_value, dynamics_before, marketo_before, their_value, reason_code"


def test_it_is_rebuilt_what_the_native_sync_wrote_and_what_cannot_be_has_a_reason() -> None:
    with looked(WRITES) as connection:
        found = connection.execute(
            f"select person_id, kind, {VALUES} from native_writes order by person_id, reason_code = 'several_writes' desc, kind"
        ).fetchall()
        judged = connection.execute(
            "select person_id, record_type, dynamics_id, field, dynamics_column, type, direction, collision, forbids, has_base, "
            "base_value, dynamics_value, marketo_value, is_relabelled from differing_fields"
        ).fetchall()
        waiting = connection.execute("select person_id, field from state.unsettled").fetchall()
    of_field = "lead", "L", "title", "jobtitle", "text", "both", "original", None
    for number, each in enumerate(WRITES):
        assert told(number, found) == [(1, *row) for row in each.expected], each
        agreed = not any(
            row.get("field") == "title" and row["person_id"] == 1
            for table, row in each.rows
            if table == "state.base_missing"
        )
        clear = [row for row in each.expected if row[-1] is None]
        assert told(number, judged) == [
            (1, *of_field, agreed, base if agreed else None, dynamics, marketo, False)
            for _, base, dynamics, marketo, *_ in clear
        ], each
        waited = [row["field"] for table, row in each.rows if table == "state.unsettled"]
        assert told(number, waiting) == [(1, field) for field in waited if field != "title" or not clear], each


SHARED: tuple[Put, ...] = (  # of all cases
    ("state.returned_fields", {"record_type": "lead", "field": "phone"}),
    ("state.returned_fields", {"record_type": "contact", "field": "title"}),
)
ASKED = (
    # The fields of which it is asked what is there and what was.
    case(["title"], *sides("A", "A")),
    case(["city", "title"], *sides("A", "A"), feed("A", "B", field="city")),
    case(["city", "title"], *sides("A", "A"), seen(None, None, field="city")),
    case(["title"], *sides("A", "A"), feed("A", "B", field="unknown"), feed("A", "B", field="nick"),
         feed("A", "A", field="city")),
    case(["title"], *sides("A", "A"), feed("A", "B", field="city", person_id=2), seen("A", "B", field="city", person_id=2),
         seen("A", "B", field=None)),
    case(["title"], *sides("A", "A"), feed("A", "B", field="phone")),
    case(["title"], *sides("A", "A"), feed("A", "B", field="company"), feed("A", "B", field="name")),
    case([], *sides("A", "A"), never_agreed()),
    case(["title"], *sides("A", "A"), never_agreed(), seen("A", "A")),
    case([], *sides("A", "A"), never_agreed(), never_agreed("city"), seen("A", "A", field="phone"), stood("A", "A")),
)  # fmt: skip


def test_asked_is_every_field_with_a_value_that_both_agreed_on_or_that_waits() -> None:
    with looked((*ASKED, case([], *SHARED))) as connection:
        found = connection.execute("select person_id, field from native_sides order by all").fetchall()
    for number, each in enumerate(ASKED):
        assert told(number, found) == [(1, field) for field in each.expected], each


UNKNOWN = (
    # Nobody said who the native sync is.
    case([BOTH_ALIKE], *sides("E", "E"), feed("A", "E")),
    case([BOTH_ALIKE], *sides("E", "E"), form("A", "E")),
    case([wrote_marketo("B", "A", "B")], *sides("B", "B"), seen("B", "A"), feed("A", "B")),
    case([wrote_dynamics("A", "E")], *sides("E", "E", by=SOMEBODY), seen("A", "E")),
    case([wrote_dynamics("A", "E")], *sides("E", "A", by=SOMEBODY), form("A", "E"), form("E", "A")),
    case([unclear("writer_unknown", wrote_dynamics("B", "A"))], *TAKEN_BACK[1], seen("B", "A")),
)


def test_where_nobody_said_who_the_native_sync_is_values_alone_tell() -> None:
    with looked(UNKNOWN, is_known=False) as connection:
        found = connection.execute(f"select person_id, kind, {VALUES} from native_writes").fetchall()
    for number, each in enumerate(UNKNOWN):
        assert told(number, found) == [(1, *row) for row in each.expected], each
