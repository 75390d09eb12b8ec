"""What a plan begins and ends with, line by line (`empty_plan.sql`, `empty_inbox.sql`, `after_shadow.sql`), by the rows that they
are about.

Not here: the same in whole cycles (`../shadow`).
"""

from __future__ import annotations

from typing import Any

from dynsync_pipeline.sql_files import run_steps, sql_file
from dynsync_pipeline_tests.worlds.rule_rows import (
    AT,
    BEFORE,
    CYCLE,
    Put,
    after,
    any_row,
    case,
    empty,
    link,
    person,
    put,
    rows_of,
    told,
    touched,
)


def test_of_the_plan_of_the_cycle_before_nothing_is_left() -> None:
    step = "reconcile/empty_plan"
    with empty() as connection:
        put(connection, [any_row(connection, name) for name in sql_file(step).changes])
        run_steps(connection, (step,))
        for name in sql_file(step).changes:
            assert connection.execute(f"from {name}").fetchall() == [], name


END = "reconcile/empty_inbox"
RETURNED: Put = ("state.returned_fields", {"record_type": "lead", "field": "title"})
COMPARED: Put = ("compared_links", {"person_id": 1})
NO_BASE: Put = ("state.base_missing", {"person_id": 1, "field": "title"})
BEHIND: Put = ("state.refused_links", {
    "stream": "dynamics_leads", "read_anew_at": BEFORE, "waits_because": "x", "is_behind": True,
})  # fmt: skip


def test_what_was_looked_at_is_forgotten_with_the_plan() -> None:
    emptied = ("inbox.touched", "inbox.merges", "inbox.feed_entries", "state.relabelled_accounts")
    with after(END) as connection:
        put(connection, [any_row(connection, name) for name in emptied])
        run_steps(connection, (END,))
        for name in emptied:
            assert connection.execute(f"from {name}").fetchall() == [], name


def test_a_link_that_could_not_be_looked_at_meets_anew_in_a_field_that_came_back() -> None:
    cases = (
        case(1, link()),
        case(0, link(1, "contact")),
        case(0, link(), COMPARED),
        case(1, link(), ("compared_links", {"person_id": 2})),
        case(1, link(), NO_BASE),
        case(2, link(), ("state.base_missing", {"person_id": 1, "field": "city"})),
    )
    with after(END, RETURNED, *rows_of(cases)) as connection:
        found = connection.execute("select person_id from state.base_missing").fetchall()
        for number, each in enumerate(cases):
            assert told(number, found) == [(1,)] * each.expected, each
        assert connection.execute("from state.returned_fields").fetchall() == []


def test_of_a_table_that_was_not_read_yet_fields_stay_as_they_are() -> None:
    of_leads = [
        (table, {"record_type": kind, "field": "title"})
        for table in ("state.returned_fields", "state.joined_fields")
        for kind in ("lead", "contact")
    ]
    with after(END, BEHIND, link(), *of_leads) as connection:
        for table in ("returned_fields", "joined_fields"):
            assert connection.execute(f"select record_type from state.{table}").fetchall() == [("lead",)], table
        assert connection.execute("from state.base_missing").fetchall() == []


def test_what_is_not_ours_any_more_is_not_undone() -> None:
    undone = {
        "cycle_id": 1,
        "record_type": "lead",
        "dynamics_id": "L",
        "field": "title",
        "direction": "both",
        "rule_code": "x",
    }
    rows: list[Put] = [("state.undoing", undone | {"change_id": number}) for number in (1, 2, 3)]
    rows += [
        ("wanted_undos", {"change_id": 1, "verdict": "ours"}),
        ("wanted_undos", {"change_id": 2, "verdict": "created"}),
    ]
    with after(END, *rows) as connection:
        assert connection.execute("select change_id from state.undoing order by all").fetchall() == [(1,), (3,)]


BEGIN = "reconcile/after_shadow"


def cycle(cycle_id: int, *, is_shadow: bool, is_whole: bool = True) -> Put:
    return "ledger.cycles", {
        "cycle_id": cycle_id, "started_at": BEFORE, "status": "done", "is_shadow": is_shadow, "is_whole": is_whole,
    }  # fmt: skip


IN_SHADOW = cycle(1, is_shadow=True), cycle(CYCLE, is_shadow=False, is_whole=False)
LEFT = ("left_by_native", "left_at_first_meeting", "kept_by_native", "undo")


def stood(*codes: str) -> list[Put]:
    """A difference that stands for each of these reasons, of a field of its name."""
    of: dict[str, Any] = {"person_id": 1, "since": BEFORE}
    return [("state.standing_differences", of | {"field": code, "reason_code": code}) for code in codes]


def waits(reason_code: str, number: int) -> Put:
    of = {"record_type": "lead", "dynamics_id": f"L{number}", "attempts": 1, "since": BEFORE, "next_look_at": BEFORE}
    return "state.unsettled", of | {"reason_code": reason_code}


def test_with_the_first_cycle_that_writes_all_is_due_that_shadow_left() -> None:
    rows = *stood(*LEFT), waits("planned", 1), waits("refused", 2)
    of_another = ("state.standing_differences", stood("undo")[0][1] | {"person_id": 2, "field": "left_by_native"})
    missing: Put = ("state.base_missing", {"person_id": 1, "field": "left_at_first_meeting"})
    for cycles, is_ended in (
        (IN_SHADOW, True),
        ((*IN_SHADOW, cycle(2, is_shadow=False)), False),
        ((*IN_SHADOW, cycle(2, is_shadow=False, is_whole=False)), True),
        ((cycle(2, is_shadow=False), *IN_SHADOW), False),
        ((cycle(1, is_shadow=True), cycle(CYCLE, is_shadow=True, is_whole=False)), False),
        ((cycle(1, is_shadow=True),), True),
        ((cycle(1, is_shadow=False),), False),
        ((), False),
    ):
        for known in ((), (missing,)):
            with after(BEGIN, *cycles, *rows, of_another, *known) as connection:
                stands = connection.execute(
                    "select field, person_id from state.standing_differences order by all"
                ).fetchall()
                kept = (
                    [("undo", 1), ("left_by_native", 2)]
                    if is_ended
                    else [*((code, 1) for code in LEFT), ("left_by_native", 2)]
                )
                assert stands == sorted(kept), cycles
                due = connection.execute(
                    "select dynamics_id from state.unsettled where next_look_at = ?", [AT]
                ).fetchall()
                assert due == [("L1",)] * is_ended
                looked_at = connection.execute("select person_id, is_receipt from inbox.touched").fetchall()
                assert looked_at == [(1, False)] * is_ended
                no_base = connection.execute("select field from state.base_missing").fetchall()
                assert no_base == [("left_at_first_meeting",)] * (is_ended or bool(known))


def test_whoever_bears_the_key_by_now_is_linked_by_it() -> None:
    def unkeyed(record_type: str = "lead") -> Put:
        return "state.unkeyed_links", {"person_id": 1, "record_type": record_type, "dynamics_id": "L"}

    by_person = touched(person_id=1)
    cases = (
        case(False, unkeyed(), person(dynamics_lead_id="L"), by_person),
        case(True, unkeyed(), person(dynamics_lead_id="L")),
        case(True, unkeyed(), person(), by_person),
        case(True, unkeyed(), person(dynamics_contact_id="L"), by_person),
        case(False, unkeyed("contact"), person(dynamics_contact_id="L"), by_person),
        case(True, unkeyed("contact"), person(dynamics_lead_id="L"), by_person),
        case(True, unkeyed(), person(2, dynamics_lead_id="L"), by_person),
        case(True, unkeyed(), person(dynamics_lead_id="L"), touched(person_id=2)),
    )
    with after(BEGIN, *rows_of(cases)) as connection:
        found = connection.execute("select person_id from state.unkeyed_links").fetchall()
        for number, each in enumerate(cases):
            assert told(number, found) == [(1,)] * each.expected, each
