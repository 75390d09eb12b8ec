"""Judging what a native sync wrote while this one is in shadow, by the same statement that decides in a cycle.

Pure: the caller owns the transaction, and calls this before the plan. Not here: what is shown of it (`look/parity.py`).
"""

from __future__ import annotations

from datetime import datetime, timedelta

import duckdb

from dynsync_pipeline.reconcile.rule_tests import make_fields
from dynsync_pipeline.sql_files import run_steps

STEPS = ("reconcile/native_writes", "reconcile/field_outcomes", "reconcile/native_verdicts")


def judge_native_writes(
    connection: duckdb.DuckDBPyConnection,
    *,
    cycle_id: int,
    at: datetime,
    clocks_apart: timedelta,
    source: str,
    user: str,
) -> None:
    """Add what the native sync wrote since the last plan to `ledger.shadow_changes`, each value with what ours would have done.

    `at` and `clocks_apart` as for `make_plan`. `source`: how Marketo's feed begins to tell where its writes came from; `user`:
    id, name or e-mail address of its user in Dynamics; of either, empty where nobody said. Moves of the base are left in
    `state.base_moves` for the caller to apply before the plan.
    """
    make_fields(connection)
    connection.execute(
        "update this_cycle set cycle_id = ?, planned_at = ?, clocks_apart = ?", [cycle_id, at, clocks_apart]
    )
    connection.execute("create or replace temp table native_sync as select nullif(?, '') as source", [source])
    connection.execute(
        "create or replace temp table native_users as select lower($user) as user_id where $user <> '' "
        "union select lower(id) from mirror.dynamics_owners where lower($user) in (lower(name), lower(email))",
        {"user": user},
    )
    run_steps(connection, STEPS)
