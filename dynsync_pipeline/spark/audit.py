"""The audit by either engine. On Spark the same rule files read the Parquet files, and the findings are kept as ever.

Not here: the files that find (`reconcile/audit.py`).
"""

from __future__ import annotations

from dynsync_pipeline.reconcile.audit import STEPS, Audit, keep_findings, run_audit
from dynsync_pipeline.settings import Settings
from dynsync_pipeline.spark.state import Looking, open_state
from dynsync_pipeline.sql_files import run_changes


def audit(settings: Settings, looking: Looking, *, engine: str, master: str) -> Audit:
    """Compare everything as of now by `duckdb` or `spark`, and keep what was found.

    Raises: ExtraMissing, SettingsWrong, EngineFailed, with nothing changed; CycleRunning; StorageFailed.
    """
    if engine == "spark":
        return _audit_on_spark(settings, looking, master)
    with looking() as warehouse, warehouse.transaction() as connection:
        return run_audit(connection, warehouse.now())


def _audit_on_spark(settings: Settings, looking: Looking, master: str) -> Audit:
    """Cycles run while Spark is at work: the lock is held before and after it alone."""
    with open_state(settings, looking, master) as engine:
        engine.run_steps(STEPS)
        n_links = engine.count("compared_links")
        with looking() as warehouse, warehouse.transaction() as connection:
            engine.bring(connection, "audit_findings")
            connection.execute(_WITHOUT_ERASED)
            run_changes(connection, STEPS)
            return keep_findings(connection, warehouse.now(), n_links)


# Whoever was forgotten while Spark was at work.
_WITHOUT_ERASED = """
delete from audit_findings
where coalesce(is_erased('person:' || person_id), false) or coalesce(is_erased(lower(dynamics_id)), false)
"""
