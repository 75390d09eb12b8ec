"""One whole cycle in one process, and the report of it: what `dynsync sync` runs.

Not here: the steps and their order under the lock (`cycle.py`), their runs in Dagster (`defs/`).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from dynsync_pipeline.cycle import Cycle, OpenWarehouse
from dynsync_pipeline.publish.snapshot import Published
from dynsync_pipeline.reconcile.plan import Plan
from dynsync_pipeline.settings import Settings
from dynsync_pipeline.warehouse.connection import Warehouse
from dynsync_pipeline.write_back.receipts import Written


@dataclass(frozen=True)
class CycleReport:
    """What one whole cycle did, for whoever started it."""

    cycle_id: int
    n_read: dict[str, int]
    plan: Plan
    to_dynamics: Written
    to_marketo: Written
    published: Published
    seconds: float

    @property
    def failures(self) -> list[str]:
        """Why some of the plan was not written, a sentence for each system that failed."""
        return [*filter(None, (self.to_dynamics.failure, self.to_marketo.failure))]


def run_cycle(
    settings: Settings,
    progress: Callable[[str], None] = lambda sentence: None,
    *,
    warehouse: OpenWarehouse = Warehouse,
) -> CycleReport:
    """Run one whole cycle; `progress` gets a sentence at each step. Raises: DynSyncError."""
    started_s = time.monotonic()
    with Cycle(settings, warehouse=warehouse) as cycle:
        progress("Reading both systems")
        n_read = cycle.extract()
        cycle.extract_companies()
        progress("Comparing")
        plan = cycle.reconcile()
        progress(f"Writing {plan.n_updates_to_dynamics:,} records to Dynamics")
        to_dynamics = cycle.write_dynamics()
        progress(f"Writing {plan.n_creates + plan.n_updates_to_marketo:,} people to Marketo")
        to_marketo = cycle.write_marketo()
        progress("Publishing the snapshot")
        published = cycle.publish()
        seconds = time.monotonic() - started_s
        return CycleReport(cycle.cycle_id, n_read, plan, to_dynamics, to_marketo, published, seconds)
