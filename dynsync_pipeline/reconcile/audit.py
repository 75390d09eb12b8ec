"""The daily audit: all links compared in full, as a proof that cycles, which look at touched keys only, miss nothing.

Repairs nothing itself: keys that were missed are handed to the next cycle. Not here: when it runs (`defs/`).
"""

from __future__ import annotations

from dataclasses import dataclass

import duckdb

from dynsync_pipeline.sql_files import run_steps

STEPS = ("reconcile/all_links", "reconcile/differing_fields", "reconcile/audit_findings")


@dataclass(frozen=True)
class Audit:
    """What an audit found: links compared, keys handed to the next cycle, and findings that need a person."""

    n_links: int
    n_missed: int
    n_damaged: int


def run_audit(connection: duckdb.DuckDBPyConnection) -> Audit:
    """Compare everything and leave the findings in the temp table `audit_findings`; the caller owns the transaction."""
    if not _count(connection, "select count(*) from reconcile.fields"):
        # Before the first cycle has learned the fields there is nothing to compare, and no view to compare with.
        connection.execute(
            "create or replace temp table audit_findings (finding varchar, is_missed boolean, record_type varchar, "
            "dynamics_id varchar, person_id bigint, field varchar)"
        )
        return Audit(0, 0, 0)
    run_steps(connection, STEPS)
    return Audit(
        n_links=_count(connection, "select count(*) from compared_links"),
        n_missed=_count(connection, "select count(*) from audit_findings where is_missed"),
        n_damaged=_count(connection, "select count(*) from audit_findings where not is_missed"),
    )


def _count(connection: duckdb.DuckDBPyConnection, query: str) -> int:
    return int(connection.execute(query).fetchall()[0][0])
