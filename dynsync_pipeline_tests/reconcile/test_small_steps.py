"""Steps of a statement or two, by the rows they are about. Not here: what they are for, in whole cycles (their neighbours)."""

from __future__ import annotations

from datetime import datetime

from dynsync_pipeline.sql_files import run_steps
from dynsync_pipeline.warehouse.connection import IN_MEMORY, Warehouse

DOUBTS = (
    # system, action, record type, record, whether an applied update of lead 1 in Dynamics ends it
    ("dynamics", "update", "lead", "1", True),
    ("marketo", "update", "lead", "1", False),
    ("dynamics", "create", "lead", "1", False),
    ("dynamics", "update", "contact", "1", False),
    ("dynamics", "update", "lead", "2", False),
    ("dynamics", "update", "lead", "refused", False),
    ("dynamics", "update", "lead", "settled", True),
    ("dynamics", "update", "contact", "2", True),
)


def test_a_doubt_ends_once_that_very_write_was_applied_or_nothing_of_its_record_is_left_to_do() -> None:
    with Warehouse(IN_MEMORY) as warehouse, warehouse.transaction() as connection:
        for *doubt, _ in DOUBTS:
            connection.execute("insert into state.doubts values (?, ?, ?, ?, 1, 3, false)", doubt)
        for kind, record in (("lead", "1"), ("contact", "1"), ("lead", "2"), ("lead", "refused")):
            connection.execute(
                "insert into state.unsettled (record_type, dynamics_id, reason_code, attempts, since) "
                "values (?, ?, 'planned', 0, now()::timestamp)",
                [kind, record],
            )
        connection.execute(
            "create temp table fresh_receipts as select * from (values ('dynamics', 'update', 'lead', '1', 'applied'), "
            "('dynamics', 'update', 'lead', 'refused', 'refused')) r(system, action, record_type, dynamics_id, outcome)"
        )
        run_steps(connection, ("write_back/settled_doubts",))
        found = connection.execute("select system, action, record_type, dynamics_id from state.doubts").fetchall()
        assert sorted(found) == sorted(tuple(doubt) for *doubt, is_ended in DOUBTS if not is_ended)


def test_the_plan_of_a_shadow_rests_and_what_waits_for_another_reason_does_not() -> None:
    at = datetime(2026, 1, 1)  # noqa: DTZ001
    with Warehouse(IN_MEMORY) as warehouse, warehouse.transaction() as connection:
        for record, reason in (("p", "planned"), ("r", "refused"), ("w", "waiting_for_approval")):
            connection.execute(
                "insert into state.unsettled (record_type, dynamics_id, reason_code, attempts, since, next_look_at) "
                "values ('lead', ?, ?, 0, ?, ?)",
                [record, reason, at, at],
            )
        run_steps(connection, ("reconcile/resting_plan",))
        rests = connection.execute("select dynamics_id from state.unsettled where next_look_at = never()").fetchall()
        assert rests == [("p",)]
