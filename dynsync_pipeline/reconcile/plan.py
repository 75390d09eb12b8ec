"""Runs the rules in order, from what was seen to a plan. Pure: tables in, tables out; the caller owns the transaction.

The rules themselves are the files in `sql/`; the collision rule is `sql/field_outcomes.sql`.
Not here: what stops a plan (`guards.py`).
"""

from __future__ import annotations

from dataclasses import astuple, dataclass
from datetime import datetime, timedelta

import duckdb

from dynsync_pipeline.model.own_fields import OwnFields
from dynsync_pipeline.reconcile.guards import (
    Limits,
    look_before,
    stop_before_read_again,
    stop_on_doubled_links,
    stop_on_lost_filters,
    stop_on_the_unlikely,
)
from dynsync_pipeline.sql_files import run_steps

# In this order, which the headers of the files are held against (docs/steps.md).
STEPS = (
    "reconcile/after_shadow",
    "reconcile/merged_people",
    "reconcile/sync_filter",
    "reconcile/conversions",
    "reconcile/qualified_leads",
    "reconcile/ended_links",
    "reconcile/taken_over_links",
    "reconcile/qualified_links",
    "reconcile/found_links",
    "reconcile/started_links",
    "reconcile/merge_proposals",
    "reconcile/compared_links",
    "reconcile/first_meetings",
    "reconcile/foreign_companies",
    "reconcile/restored_links",
    "reconcile/overwritten_fields",
    "reconcile/differing_fields",
    "reconcile/field_outcomes",
    "reconcile/undone_fields",
    "reconcile/new_people",
    "reconcile/company_differences",
    "reconcile/company_links",
    "reconcile/own_field_writes",
    "reconcile/planned_writes",
    "reconcile/empty_plan",
    "reconcile/operations",
    "reconcile/unseen_edits",
    "reconcile/fan_out",
    "reconcile/agreed_base",
    "reconcile/standing_differences",
    "reconcile/reviews",
    "reconcile/forgotten_edits",
    "reconcile/found_refusals",
    "reconcile/reopened_errors",
    "warehouse/report_refusals",
    "reconcile/backlog",
    "reconcile/approvals",
    "reconcile/resolved_errors",
    "reconcile/unread_records",
    "reconcile/empty_inbox",
)
# After these, where nothing is sent.
RESTING = ("reconcile/resting_plan",)


@dataclass(frozen=True)
class Plan:
    """Counts of one plan: links compared, operations per kind, collisions settled by it, values that wait to be approved."""

    n_compared: int
    n_companies: int
    n_creates: int
    n_updates_to_marketo: int
    n_updates_to_dynamics: int
    n_collisions: int
    n_asked: int

    @property
    def n_operations(self) -> int:
        """All remote writes of the plan."""
        return self.n_companies + self.n_creates + self.n_updates_to_marketo + self.n_updates_to_dynamics


def make_plan(
    connection: duckdb.DuckDBPyConnection,
    *,
    cycle_id: int,
    at: datetime,
    own_fields: OwnFields,
    limits: Limits | None,
    clocks_apart: timedelta = timedelta(),
    is_shadow: bool = False,
    ask_above: int | None = None,
) -> Plan:
    """Replace the plan in `reconcile` by one made from mirrors, base and `inbox.touched`, and empty the latter.

    `at` is UTC without zone; `limits` None plans a later round of what passed the guards; `clocks_apart`: how far the clock of
    Dynamics is ahead of Marketo's; `is_shadow`: nobody is going to send it; `ask_above`: how many people one cause may reach
    before somebody approves it (None: any).
    Moves of the base are left in `state.base_moves` for the caller to apply in the same
    transaction. Raises: GuardStopped, on which the caller must roll back.
    """
    before = look_before(connection)
    connection.execute(
        "create or replace temp table this_cycle (cycle_id bigint not null, planned_at timestamp not null, "
        "clocks_apart interval not null, is_first_load boolean not null, ask_above bigint)"
    )
    connection.execute(
        "insert into this_cycle (cycle_id, planned_at, clocks_apart, is_first_load, ask_above) values (?, ?, ?, ?, ?)",
        [cycle_id, at, clocks_apart, before.is_first_load, ask_above],
    )
    connection.execute("delete from reconcile.own_fields")
    connection.execute(
        "insert into reconcile.own_fields (lead_id, contact_id, person_type, is_deleted, created_on, company) "
        "values (?, ?, ?, ?, ?, ?)",
        list(astuple(own_fields)),
    )
    stop_before_read_again(connection)
    stop_on_lost_filters(connection, limits)
    run_steps(connection, STEPS)
    if is_shadow:
        run_steps(connection, RESTING)
    plan = Plan(
        n_compared=_count(connection, "select count(*) from compared_links"),
        n_companies=_operations(connection, "marketo", "company"),
        n_creates=_operations(connection, "marketo", "create"),
        n_updates_to_marketo=_operations(connection, "marketo", "update"),
        n_updates_to_dynamics=_operations(connection, "dynamics", "update"),
        n_collisions=_count(connection, "select count(*) from reconcile.planned_collisions"),
        n_asked=_count(connection, "select count(*) from asked_values"),
    )
    stop_on_doubled_links(connection)
    if limits is not None:
        stop_on_the_unlikely(connection, limits, before, at=at)
    return plan


def _operations(connection: duckdb.DuckDBPyConnection, system: str, action: str) -> int:
    return _count(
        connection, "select count(*) from reconcile.operations where system = ? and action = ?", system, action
    )


def _count(connection: duckdb.DuckDBPyConnection, query: str, *values: str) -> int:
    return int(connection.execute(query, list(values)).fetchall()[0][0])
