"""Runs the rules in order, from what was seen to a plan. Pure: tables in, tables out; the caller owns the transaction.

The rules themselves are the files in `sql/`; the collision rule is `sql/field_outcomes.sql`.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass
from datetime import datetime, timedelta
from typing import Literal

import duckdb

from dynsync_pipeline.errors import GuardStopped
from dynsync_pipeline.model.own_fields import OwnFields
from dynsync_pipeline.sql_files import run_steps

# In this order, which the headers of the files are held against (docs/steps.md).
STEPS = (
    "reconcile/merged_people",
    "reconcile/ended_links",
    "reconcile/taken_over_links",
    "reconcile/found_links",
    "reconcile/compared_links",
    "reconcile/differing_fields",
    "reconcile/field_outcomes",
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
    "reconcile/found_refusals",
    "warehouse/report_refusals",
    "reconcile/backlog",
    "reconcile/resolved_errors",
    "reconcile/unread_records",
    "reconcile/empty_inbox",
)


@dataclass(frozen=True)
class Limits:
    """What a plan may not exceed; `first_load` is what an operator allowed for the first one.

    `largest_share` is the part of all links that one plan may delete, clear or collide; small numbers always pass.
    """

    max_creates: int
    largest_share: float
    first_load: Literal["refuse", "create", "adopt"]


@dataclass(frozen=True)
class Plan:
    """Counts of one plan: links compared, operations per kind, collisions settled by it."""

    n_compared: int
    n_companies: int
    n_creates: int
    n_updates_to_marketo: int
    n_updates_to_dynamics: int
    n_collisions: int

    @property
    def n_operations(self) -> int:
        """All remote writes of the plan."""
        return self.n_companies + self.n_creates + self.n_updates_to_marketo + self.n_updates_to_dynamics


def make_plan(
    connection: duckdb.DuckDBPyConnection, *, cycle_id: int, at: datetime, own_fields: OwnFields, limits: Limits | None
) -> Plan:
    """Replace the plan in `reconcile` by one made from mirrors, base and `inbox.touched`, and empty the latter.

    `at` is UTC without zone; `limits` None plans a later round of what passed the guards.
    Moves of the base are left in `state.base_moves` for the caller to apply in the same
    transaction. Raises: GuardStopped, on which the caller must roll back.
    """
    connection.execute(
        "create or replace temp table this_cycle (cycle_id bigint not null, planned_at timestamp not null)"
    )
    connection.execute("insert into this_cycle (cycle_id, planned_at) values (?, ?)", [cycle_id, at])
    connection.execute("delete from reconcile.own_fields")
    connection.execute(
        "insert into reconcile.own_fields (lead_id, contact_id, person_type, is_deleted, created_on, company) "
        "values (?, ?, ?, ?, ?, ?)",
        list(astuple(own_fields)),
    )
    is_first = _count(connection, "select count(*) from ledger.cycles where is_whole") == 0
    n_links = _count(connection, "select count(*) from state.links")
    run_steps(connection, STEPS)
    plan = Plan(
        n_compared=_count(connection, "select count(*) from compared_links"),
        n_companies=_operations(connection, "marketo", "company"),
        n_creates=_operations(connection, "marketo", "create"),
        n_updates_to_marketo=_operations(connection, "marketo", "update"),
        n_updates_to_dynamics=_operations(connection, "dynamics", "update"),
        n_collisions=_count(connection, "select count(*) from reconcile.planned_collisions"),
    )
    _stop_on_doubled_links(connection)
    if limits is not None:
        _stop_on_mass_creation(connection, plan, limits, is_first=is_first)
        _stop_on_mass_change(connection, limits, n_links)
        _stop_on_mass_absence(connection, limits, n_links, at)
    return plan


def _stop_on_doubled_links(connection: duckdb.DuckDBPyConnection) -> None:
    """A few are set aside; many mean that the working file is not what it was (docs/design.md#guards)."""
    n_doubled = _count(connection, "select count(*) from doubled")
    if n_doubled > SMALL_NUMBER:
        raise GuardStopped(
            f"{n_doubled:,} links of people or records that are linked more than once. Nothing was written.",
            next_step="Restore the working file from a backup, or start a new one: people are linked again by their keys.",
        )


def _stop_on_mass_creation(
    connection: duckdb.DuckDBPyConnection, plan: Plan, limits: Limits, *, is_first: bool
) -> None:
    if is_first:
        strangers = _count(
            connection,
            "select count(*) from mirror.marketo_people "
            "where dynamics_contact_id is null and dynamics_lead_id is null and not is_deleted",
        )
        # Who cannot be read may be anybody; a window of a bulk export counts as one.
        strangers += _count(
            connection,
            "select count(*) from state.unread where record_type = 'person' and contact_id is null and lead_id is null",
        )
        if not plan.n_creates or not strangers or limits.first_load == "create":
            return
        if limits.first_load == "refuse":
            raise GuardStopped(
                f"Marketo already holds {strangers:,} people without a Dynamics id, and this first cycle would create "
                f"{plan.n_creates:,} more: people in both systems would stand twice (R5). Nothing was written.",
                next_step="Run `dynsync adopt` and set DYNSYNC_FIRST_LOAD=adopt to link those who are in both, or set "
                "DYNSYNC_FIRST_LOAD=create to create them all; then start the next cycle.",
            )
        undecided = _count(connection, UNDECIDED)
        if undecided:
            raise GuardStopped(
                f"Nobody has decided yet what becomes of {undecided:,} contacts and leads in a Marketo that already holds "
                f"{strangers:,} people without a Dynamics id. Nothing was written.",
                next_step="Run `dynsync adopt`, review the file it writes, then run `dynsync adopt --apply FILE`.",
            )
    elif plan.n_creates > limits.max_creates:
        raise GuardStopped(
            f"This cycle would create {plan.n_creates:,} people in Marketo, more than {limits.max_creates:,}. "
            "Nothing was written.",
            next_step="If that is what you want, raise DYNSYNC_MAX_CREATES and start the next cycle.",
        )


def _stop_on_mass_change(connection: duckdb.DuckDBPyConnection, limits: Limits, n_links: int) -> None:
    """A side that comes back empty, or that a careless import went over, must not empty the other (docs/design.md#guards)."""
    most = max(SMALL_NUMBER, limits.largest_share * n_links)
    for what, query in MASS_CHANGES.items():
        n_found = _count(connection, query)
        if n_found > most:
            raise GuardStopped(
                f"This cycle saw {n_found:,} {what}, of {n_links:,} linked people. Nothing was written.",
                next_step="If that is what happened, set DYNSYNC_LARGEST_SHARE=1 for one cycle; else look at the "
                "system it came from, repair it, and start the next cycle.",
            )


def _stop_on_mass_absence(connection: duckdb.DuckDBPyConnection, limits: Limits, n_links: int, at: datetime) -> None:
    """Who is found gone by absence is found bit by bit, so these are counted over seven days (docs/design.md#guards).

    What an operator let pass is not counted again.
    """
    connection.execute("delete from state.found_absent where found_at <= ?", [at - ABSENCE_REMEMBERED])
    connection.execute(_SEEN_AGAIN)
    if limits.largest_share >= 1:
        connection.execute("delete from state.found_absent")
    n_found = _count(connection, "select count(*) from state.found_absent")
    if n_found > max(SMALL_NUMBER, limits.largest_share * n_links):
        raise GuardStopped(
            f"In the last {ABSENCE_REMEMBERED.days} days {n_found:,} people or records were found gone of which no feed told, "
            f"of {n_links:,} linked people. Nothing was written.",
            next_step="If they are gone, set DYNSYNC_LARGEST_SHARE=1 for one cycle; else see whether the sync's users may "
            "still read everybody, and start the next cycle.",
        )


# What existed when the last adoption was applied must have been decided on; later records are new business.
UNDECIDED = """
select count(*) from new_people n
anti join state.adoption a on a.record_type = n.record_type and a.dynamics_id = n.dynamics_id
where coalesce(n.createdon <= (select strftime(max(decided_at), '%Y-%m-%dT%H:%M:%SZ') from state.adoption), true)
"""
SMALL_NUMBER = 50
ABSENCE_REMEMBERED = timedelta(days=7)
_SEEN_AGAIN = """
delete from state.found_absent
where (record_type = 'person' and suspect_id in (
        select person_id::varchar from mirror.marketo_people
        where not is_deleted and person_id in (select suspect_id::bigint from state.found_absent where record_type = 'person')))
   or (record_type, suspect_id) in (
        select (record_type, dynamics_id) from mirror.person_records
        where not is_deleted and dynamics_id in (select suspect_id from state.found_absent))
"""
MASS_CHANGES = {
    "people or records deleted": "select count(*) from ended_links",
    "people or records with a field emptied": """
        select count(distinct (record_type, dynamics_id)) from planned_writes
        where action = 'update' and value is null and dynamics_column is not null""",
    "people with a collision": """
        select count(distinct person_id) from field_outcomes
        where has_base and outcome in ('collision_dynamics_wins', 'collision_marketo_wins')""",
}


def _operations(connection: duckdb.DuckDBPyConnection, system: str, action: str) -> int:
    return _count(
        connection, "select count(*) from reconcile.operations where system = ? and action = ?", system, action
    )


def _count(connection: duckdb.DuckDBPyConnection, query: str, *values: str) -> int:
    return int(connection.execute(query, list(values)).fetchall()[0][0])
