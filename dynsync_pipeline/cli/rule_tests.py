"""`dynsync rules`: tests who wins by the field map, on cases in a file (docs/field-map.md#rule-tests)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.table import Table

from dynsync_pipeline.cli.looking import cell, print_json, value_cell
from dynsync_pipeline.cli.output import Exit, app, prints_to
from dynsync_pipeline.model.field_map import load_field_map
from dynsync_pipeline.model.rule_cases import NEVER_AGREED, cases_text, default_cases_text, parse_cases
from dynsync_pipeline.reconcile.rule_tests import Failing, failing_cases
from dynsync_pipeline.settings import Settings
from dynsync_pipeline.settings_sources import load_settings
from dynsync_pipeline.warehouse.connection import IN_MEMORY, Warehouse

MOST_SHOWN = 50


@app.command(
    help="Test the rules of the field map: `dynsync rules test` decides each case of rules_test.csv, which stands beside the "
    "field map of yours or else in the data folder; without that file, the cases of the package. `dynsync rules cases` prints "
    "the latter, to begin a file with. Asks neither system.\n\n"
    "Exit codes: 0 every case comes out as written, or cases printed, 1 some do not, 2 settings, options, field map or file "
    "wrong."
)
def rules(
    what: Annotated[
        Literal["test", "cases"], typer.Argument(help="Test the rules, or print the cases of the package.")
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print the cases that fail as JSON.")] = False,
) -> None:
    """Print the cases that fail, or those of the package. Raises: DynSyncError."""
    if what == "cases":
        if as_json:
            raise typer.BadParameter("cases are CSV.", param_hint="--json")
        print(default_cases_text(), end="")  # noqa: T201 (it is redirected into a file)
        return
    settings = load_settings()
    file, text = _cases(settings)
    cases = parse_cases(text, file)
    fields = load_field_map(settings.field_map, settings.own_fields)
    with Warehouse(IN_MEMORY) as empty, empty.transaction() as connection:
        failing = failing_cases(connection, cases, fields)
    if as_json:
        print_json([{"line": each.case.line, "wanted": each.case.outcome, "found": each.found} for each in failing])
    else:
        _show(failing, len(cases), file)
    if failing:
        raise typer.Exit(Exit.FAILED)


def _cases(settings: Settings) -> tuple[str, str]:
    file: Path = settings.rules_test_file
    return (file.name, cases_text(file)) if file.exists() else ("cases of the package", default_cases_text())


def _show(failing: list[Failing], n_cases: int, file: str) -> None:
    if not failing:
        prints_to.print(f"{file}: all {n_cases:,} cases come out as written.", highlight=False)
        return
    table = Table(title=f"{file}: {len(failing):,} of {n_cases:,} cases come out otherwise", title_justify="left")
    for name in ("Line", "Field", "Base", "Dynamics", "Marketo", "Written", "Comes out"):
        table.add_column(name, overflow="fold")
    for each in failing[:MOST_SHOWN]:
        case = each.case
        base = value_cell(case.base) if case.has_base else cell(NEVER_AGREED)
        sides = (base, value_cell(case.dynamics), value_cell(case.marketo))
        table.add_row(str(case.line), cell(f"{case.field}, {case.record_type}"), *sides, case.outcome, each.found)
    prints_to.print(table)
    if len(failing) > MOST_SHOWN:
        prints_to.print(f"{len(failing) - MOST_SHOWN:,} more are not shown: --json has all.", highlight=False)
