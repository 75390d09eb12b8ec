"""The daily audit: all links compared in full, as a proof that cycles, which look at touched keys only, miss nothing.

Repairs nothing itself: keys that were missed are handed to the next cycle. Not here: when it runs (`defs/`).
"""

from __future__ import annotations

from dataclasses import dataclass

import duckdb

from dynsync_pipeline.engine import Engine
from dynsync_pipeline.sql_files import run_changes

STEPS = ("reconcile/all_links", "reconcile/differing_fields", "reconcile/audit_findings")


@dataclass(frozen=True)
class Audit:
    """What an audit found: links compared, keys handed to the next cycle, and findings that need a person.

    `kinds`: in words, record type, field, and how many; the most frequent twenty.
    """

    n_links: int
    n_missed: int
    n_damaged: int
    kinds: tuple[tuple[str, str | None, str | None, int], ...] = ()


def run_audit(engine: Engine) -> Audit:
    """Compare everything by this engine, and keep what was found: missed keys are looked at by the next cycle.

    Findings that no audit of the last seven days found go into the ledger. Raises: EngineFailed, with nothing changed;
    CycleRunning, StorageFailed.
    """
    engine.run_steps(STEPS)
    n_links = engine.count("compared_links")
    with engine.keeping("audit_findings") as (connection, at):
        run_changes(connection, STEPS)
        connection.execute(_KEPT, {"at": at})
        return Audit(
            n_links=n_links,
            n_missed=_count(connection, "select count(*) from audit_findings where is_missed"),
            n_damaged=_count(connection, "select count(*) from audit_findings where not is_missed"),
            kinds=tuple(connection.execute(_KINDS).fetchall()),
        )


_KINDS = """
select sentence, record_type, field, count(*) from audit_findings join codes using (code)
group by all order by 4 desc, 1, 2, 3 limit 20
"""
_KEPT = """
insert into ledger.audit_findings (finding_id, found_at, found_by, code, record_type, dynamics_id, person_id, field)
select nextval('ledger.entries'), $at, 'audit', code, record_type, dynamics_id, person_id, field
from (
    select code, record_type, dynamics_id, person_id, field from audit_findings
    except
    select code, record_type, dynamics_id, person_id, field from ledger.audit_findings
    where found_at > $at - interval 7 days
)
"""


def _count(connection: duckdb.DuckDBPyConnection, query: str) -> int:
    return int(connection.execute(query).fetchall()[0][0])
