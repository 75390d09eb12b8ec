"""`dynsync audit`: all links compared in full, by DuckDB or by Spark. Not here: what it finds (`reconcile/audit.py`)."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer
from rich.table import Table

from dynsync_pipeline.cli.engines import EngineOption, MasterOption, opened
from dynsync_pipeline.cli.looking import cell, print_json
from dynsync_pipeline.cli.output import Exit, app, errors_to, prints_to
from dynsync_pipeline.reconcile.audit import Audit, run_audit
from dynsync_pipeline.settings_sources import load_settings


@app.command(
    help="Compare all links and all that is unsettled in full, as the daily audit does. Calls no system and repairs nothing: "
    "keys that the cycles missed are looked at by the next one. With --engine spark the same rule files read the Parquet "
    "files of DYNSYNC_PARQUET_DIR on Spark, and cycles run meanwhile; DYNSYNC_AUDIT_ENGINE is the engine where none is "
    "named.\n\n"
    "Exit codes: 0 nothing found, 1 failed or something found, 2 settings or options wrong, 3 a cycle is running."
)
def audit(
    engine: EngineOption = None,
    master: MasterOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> None:
    """Print what an audit found. Raises: DynSyncError."""
    settings = load_settings()
    with (
        errors_to.status("Comparing everything …"),
        opened(settings, engine or settings.audit_engine, master) as over_all,
    ):
        found = run_audit(over_all)
    if as_json:
        print_json(asdict(found))
    else:
        _show(found)
    if found.kinds:
        raise typer.Exit(Exit.FAILED)


def _show(found: Audit) -> None:
    told = f"{found.n_links:,} links were compared: "
    if not found.kinds:
        prints_to.print(told + "nothing was found.", highlight=False)
        return
    prints_to.print(
        f"{told}{found.n_missed:,} findings go to the next cycle, {found.n_damaged:,} need a person.", highlight=False
    )
    table = Table(title="\nFindings, the most frequent", title_justify="left")
    for name in ("Finding", "Record type", "Field", "How many"):
        table.add_column(name, overflow="fold", justify="right" if name == "How many" else "left")
    for sentence, record_type, field, n_rows in found.kinds:
        table.add_row(cell(sentence), record_type or "", cell(field or ""), f"{n_rows:,}")
    prints_to.print(table)
    prints_to.print("`audit_findings` in the snapshot has each of them after the next cycle.", highlight=False)
