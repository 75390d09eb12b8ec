"""What must never be is found, line by line (`offences/*.sql`), by the rows that they are about.

Each case has people and records of its own. Not here: the checks that ask (`../defs/test_checks.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from dynsync_pipeline_tests.worlds.rule_rows import (
    AT,
    BEFORE,
    SECOND,
    Case,
    Put,
    after,
    case,
    in_words,
    person,
    record,
    rows_of,
)

DAY = timedelta(days=1)
# The last cycle began when the clock, which was ahead, had been set back.
CYCLES: list[Put] = [
    ("ledger.cycles", {"cycle_id": 1, "started_at": AT + 400 * DAY, "status": "succeeded"}),
    ("ledger.cycles", {"cycle_id": 2, "started_at": AT, "status": "running"}),
]


def offences(name: str, cases: Sequence[Case]) -> list[list[tuple[str, str]]]:
    """What is found of each case, and the record or person with ids as the case tells them; apart in files of their own."""
    with after(f"reconcile/offences/{name}", *CYCLES, *rows_of(cases)) as connection:
        found = connection.execute(f"select offence, id from {name} order by all").fetchall()
    return [[(what, in_words(of)) for what, of in found if _case(of) == number] for number in range(len(cases))]


def _case(of: str) -> int:
    """Its number, by the record or person that a sentence begins with."""
    kind, key = of.split(",")[0].split(" ")
    return int(key) // 100 if kind == "person" or key.isdigit() else int(key[1:])


def linked(person_id: int = 1, record_type: str = "lead", dynamics_id: str = "L", *, at: Any = BEFORE) -> Put:
    of = {"person_id": person_id, "record_type": record_type, "dynamics_id": dynamics_id}
    return "state.links", of | {"linked_at": at}


def tombstone(person_id: int = 1, record_type: str = "lead", dynamics_id: str = "L") -> Put:
    of = {"person_id": person_id, "record_type": record_type, "dynamics_id": dynamics_id}
    return "state.tombstones", of | {"side": "dynamics", "ended_at": BEFORE}


def operation(action: str = "update", person_id: int | None = 1, **more: Any) -> Put:
    of = {
        "operation_id": 1,
        "cycle_id": 1,
        "system": "marketo",
        "record_type": "lead",
        "dynamics_id": "L",
        "body": "{}",
    }
    return "reconcile.operations", of | {"action": action, "person_id": person_id} | more


def receipt(outcome: str = "applied", person_id: int | None = None, *, is_settled: bool = True) -> Put:
    of = {"operation_id": 1, "outcome": outcome, "person_id": person_id, "received_at": AT}
    return "reconcile.receipts", of | {"is_settled": is_settled}


SEVERAL_LINKS = "person with several links", "person 1"
SEVERAL_PEOPLE = "record with several links", "lead L"
PAST_ITS_LINK = "update of a pair that is not linked", "lead L, person 1"
ALREADY_LINKED = "creation of a person whose record is linked", "lead L"
DOUBLED = (
    case([], linked(at=AT)),
    case([], operation(), linked()),
    # Of whom the cycle linked or writes.
    case([SEVERAL_LINKS], linked(at=AT), linked(1, "contact", "C")),
    case([SEVERAL_LINKS], linked(at=AT), linked(1, "lead", "M")),
    case([SEVERAL_LINKS], linked(at=AT + SECOND), linked(1, "contact", "C")),
    case([SEVERAL_LINKS], operation(), linked(), linked(1, "contact", "C")),
    case([SEVERAL_PEOPLE], linked(at=AT), linked(2)),
    case([SEVERAL_PEOPLE], operation("delete", None), linked(), linked(2)),
    case([], linked(), linked(1, "contact", "C"), linked(2)),
    case([], linked(at=AT - SECOND), linked(2)),
    case([], linked(at=AT), linked(2, "contact"), linked(2, "lead", "M")),
    # What is written belongs to the link, or to the one that was.
    case([PAST_ITS_LINK], operation()),
    case([PAST_ITS_LINK], operation(), linked(2)),
    case([PAST_ITS_LINK], operation(), linked(1, "lead", "M")),
    case([PAST_ITS_LINK], operation(), linked(1, "contact", "L")),
    case([], operation(), tombstone()),
    case([PAST_ITS_LINK], operation(), tombstone(2)),
    case([PAST_ITS_LINK], operation(), tombstone(1, "contact")),
    case([PAST_ITS_LINK], operation(), tombstone(1, "lead", "M")),
    case([], operation("company")),
    case([ALREADY_LINKED], operation("create", None), linked()),
    case([], operation("create", None)),
    case([], operation("create", None, sent_at=AT), linked()),
    case([], operation("create", None), linked(1, "contact", "L")),
    case([], operation("create", 1), linked(1, "lead", "M")),
    case([], operation("company", None), linked()),
)  # fmt: skip


def test_a_link_that_is_doubled_and_a_write_past_its_link_are_found_on_what_the_cycle_touched() -> None:
    for found, each in zip(offences("doubled_links", DOUBLED), DOUBLED, strict=True):
        assert found == sorted(each.expected), each


BASE: Put = "state.base", {"person_id": 1}
WHOLE = linked(), BASE, person(), record()
UNANSWERED = "write without receipt that is not in the backlog", "lead L"
NOT_SETTLED = "receipt that was not settled", "lead L"
NOT_LINKED = "confirmed write without a link", "lead L"


def rows_in(side: str, n: int) -> tuple[str, str]:
    return f"{n} rows instead of one in {side}", "person 1"


def waits(record_type: str = "lead", dynamics_id: str = "L") -> Put:
    of = {"record_type": record_type, "dynamics_id": dynamics_id, "attempts": 1, "since": BEFORE}
    return "state.unsettled", of


LOST = (
    case([], operation(), receipt(), *WHOLE),
    case([UNANSWERED], operation(), *WHOLE),
    case([], operation(), waits(), *WHOLE),
    case([UNANSWERED], operation(), waits("contact"), *WHOLE),
    case([UNANSWERED], operation(), waits("lead", "M"), *WHOLE),
    case([UNANSWERED], operation("company", None)),
    case([NOT_SETTLED], operation(), receipt(is_settled=False), *WHOLE),
    case([NOT_SETTLED], operation(), receipt("refused", is_settled=False), *WHOLE),
    # What was applied has its link, or had one.
    case([NOT_LINKED], operation(), receipt()),
    case([NOT_LINKED], operation(), receipt(), *WHOLE[1:], linked(1, "lead", "M"), record("lead", "M")),
    case([NOT_LINKED], operation(), receipt(), *WHOLE[1:], linked(1, "contact", "L"), record("contact")),
    case([NOT_LINKED], operation(), receipt(), linked(2)),
    case([], operation(), receipt(), tombstone()),
    case([NOT_LINKED], operation(), receipt(), tombstone(2)),
    case([], operation(), receipt("refused")),
    case([], operation("company", None), receipt()),
    case([], operation("create", None), receipt(person_id=1), *WHOLE),
    case([NOT_LINKED], operation("create", None), receipt(person_id=2), *WHOLE),
    # Whom the cycle linked, or wrote to, has each side once.
    case([rows_in("base", 0)], linked(at=AT), person(), record()),
    case([rows_in("base", 2)], linked(at=AT), BASE, BASE, person(), record()),
    case([rows_in("Marketo", 0)], linked(at=AT), BASE, record()),
    case([rows_in("Marketo", 2)], linked(at=AT), BASE, record(), person(), person()),
    case([rows_in("Dynamics", 0)], linked(at=AT), BASE, person()),
    case([rows_in("Dynamics", 0)], linked(at=AT), BASE, person(), record("contact"), record("lead", "M")),
    case([rows_in("Dynamics", 2)], linked(at=AT), BASE, person(), record(), record()),
    case([rows_in("base", 0)], operation(), receipt(), linked(), person(), record()),
    case([rows_in("base", 0)], operation("create", None), receipt(person_id=1), linked(), person(), record()),
    case([], linked(at=AT - SECOND)),
    case([], operation(person_id=2), receipt("refused"), linked(), BASE),
)  # fmt: skip


def test_a_write_without_an_answer_and_a_link_without_one_of_its_sides_are_found() -> None:
    for found, each in zip(offences("lost_writes", LOST), LOST, strict=True):
        assert found == sorted(each.expected), each


def unsettled(reason: str | None, look: Any, **more: Any) -> Put:
    of = {"record_type": "lead", "dynamics_id": "L", "attempts": 1, "since": BEFORE}
    return "state.unsettled", of | {"reason_code": reason, "next_look_at": look} | more


UNEXPLAINED = (
    case([], unsettled("planned", AT)),
    case([("no reason", "lead L")], unsettled(None, AT)),
    case([("no next time to look", "lead L")], unsettled("planned", None)),
    case([("no next time to look", "lead L, person 1")], unsettled(None, None, person_id=1)),
    case([("no reason", "lead L, person 1, title")], unsettled(None, AT, person_id=1, field="title")),
)


def test_what_waits_has_a_reason_and_a_time_of_the_next_look() -> None:
    for found, each in zip(offences("unsettled_without_reason", UNEXPLAINED), UNEXPLAINED, strict=True):
        assert found == each.expected, each


def finding(found_at: Any = AT, found_by: str = "census", **more: Any) -> Put:
    of = {"finding_id": 1, "code": "untold_edit", "record_type": "lead", "dynamics_id": "L", "person_id": 1}
    return "ledger.audit_findings", of | {"found_at": found_at, "found_by": found_by} | more


WEEK = 7 * DAY
UNTOLD = (
    case([("untold_edit", "lead L")], finding()),
    case([("untold_edit (title)", "lead L")], finding(field="title")),
    case([("untold_edit", "person 1")], finding(dynamics_id=None, record_type="person")),
    case([("untold_edit", "lead L")], finding(AT - WEEK + SECOND)),
    case([], finding(AT - WEEK)),
    case([], finding(found_by="audit")),
)


def test_what_the_census_found_and_no_feed_had_told_is_shown_for_a_week() -> None:
    for found, each in zip(offences("untold_changes", UNTOLD), UNTOLD, strict=True):
        assert found == each.expected, each
