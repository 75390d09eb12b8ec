"""`dynsync sync`: one cycle, the same steps the sensor's job runs, told as they begin (R4)."""

from __future__ import annotations

import dataclasses
import json
from typing import Annotated

import typer
from rich.table import Table

from dynsync_pipeline.cli.output import EXIT_CODES, Exit, app, errors_to, prints_to
from dynsync_pipeline.cli.working import telling_progress
from dynsync_pipeline.errors import DynSyncError
from dynsync_pipeline.operate.notify import notify_quietly
from dynsync_pipeline.settings import SHADOW_SENTENCE
from dynsync_pipeline.settings_sources import load_settings
from dynsync_pipeline.warehouse.cycles import NOT_ALL_WRITTEN
from dynsync_pipeline.whole_cycle import CycleReport, run_cycle


@app.command(help=f"Run one cycle: read both systems, compare, write back, publish the snapshot.\n\n{EXIT_CODES}")
def sync(as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False) -> None:
    """Run one cycle and print its figures; where not everything was written, say why and end with 1. Raises: DynSyncError."""
    settings = load_settings()
    try:
        with telling_progress(settings.data_dir) as tell:
            report = run_cycle(settings, tell)
    except DynSyncError:
        notify_quietly(settings)  # the lock is free by now
        raise
    if as_json:
        print(json.dumps(dataclasses.asdict(report)))  # noqa: T201 (programs read this, not people)
    else:
        prints_to.print(report_table(report))
        if settings.is_shadow:
            prints_to.print(SHADOW_SENTENCE, highlight=False)
        prints_to.print(
            f"Snapshot: {settings.snapshot_file} (see tables changes, collisions, sync_errors)", highlight=False
        )
    notify_quietly(settings)
    if report.failures:
        errors_to.print(f"{NOT_ALL_WRITTEN} {' '.join(report.failures)}", markup=False, highlight=False)
        raise typer.Exit(Exit.FAILED)


def report_table(report: CycleReport) -> Table:
    """The figures of one cycle as a table."""
    table = Table(title=f"Cycle {report.cycle_id}, {report.seconds:.1f} s", title_justify="left", show_header=False)
    table.add_column("what", style="bold")
    table.add_column("how many", justify="right")
    asked = [("Waiting for `dynsync approve` from now on", report.plan.n_asked)] if report.plan.n_asked else []
    for name, number in (
        *((f"Read: {'people' if name == 'person' else name + 's'}", n) for name, n in report.n_read.items()),
        ("Companies written in Marketo", report.to_marketo.n_companies),
        ("Created in Marketo", report.to_marketo.n_created),
        ("Updated in Marketo", report.to_marketo.n_updated),
        ("Updated in Dynamics", report.to_dynamics.n_updated),
        ("Collisions settled", report.plan.n_collisions),
        *asked,
        ("Refused (see sync_errors)", report.to_marketo.n_refused + report.to_dynamics.n_refused),
    ):
        table.add_row(name, f"{number:,}")
    return table
