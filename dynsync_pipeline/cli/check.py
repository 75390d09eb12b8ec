"""`dynsync check`: the pre-flight, one line per question, with what to do where the answer is no; and proposing a field map.

Not here: the questions (`preflight.py`).
"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from dynsync_pipeline.cli.output import Exit, app, errors_to, prints_to
from dynsync_pipeline.cli.preflight import Finding, findings
from dynsync_pipeline.clients.budget import CallBudget
from dynsync_pipeline.clients.marketo.client import MarketoClient
from dynsync_pipeline.model.field_map import default_map_text, load_field_map, map_text
from dynsync_pipeline.model.proposed_map import propose_map
from dynsync_pipeline.settings import Settings
from dynsync_pipeline.settings_sources import load_settings


@app.command()
def check(
    as_json: Annotated[bool, typer.Option("--json", help="Print the answers as JSON.")] = False,
    proposes_map: Annotated[
        bool,
        typer.Option(
            "--propose-map", help="Print the field map, with names that Marketo's labels suggest, and ask no more."
        ),
    ] = False,
) -> None:
    """Ask both systems whether a sync can run: addresses, sign-in, rights, change tracking, fields, budgets.

    Changes nothing, in neither system. With --propose-map its output is a field map, in which every proposal is off until
    somebody accepts it.

    Exit codes: 0 all answers are yes, or the map was printed, 1 at least one is no, 2 settings, options or field map wrong.
    """
    settings = load_settings()
    settings.require_systems()
    fields = load_field_map(settings.field_map, settings.own_fields)
    if proposes_map:
        if as_json:
            raise typer.BadParameter("a proposed field map is CSV; leave one of the two out.", param_hint="--json")
        _propose_map(settings)
        return
    found: list[Finding] = []
    with errors_to.status("Asking") as status:
        for finding in findings(settings, fields):
            found.append(finding)
            status.update(f"{finding.question} …")
    if as_json:
        print(json.dumps([asdict(finding) for finding in found]))  # noqa: T201 (programs read this, not people)
    else:
        prints_to.print(_findings_table(found))
    if not all(finding.is_ok for finding in found):
        raise typer.Exit(Exit.FAILED)


def _propose_map(settings: Settings) -> None:
    """Print the field map with names by label, and to stderr what is new in it. Raises: DynSyncError."""
    with MarketoClient.from_settings(settings, CallBudget("marketo", settings.marketo_calls_per_day)) as marketo:
        offered = marketo.person_fields().values()
    labels: dict[str, list[str]] = {}
    for field in offered:
        labels.setdefault(field.display_name, []).append(field.name)
    proposed = propose_map(map_text(settings.field_map), default_map_text(), labels)
    print(proposed.text, end="")  # noqa: T201 (it is redirected into a file)
    for title, lines in (("Named by label", proposed.named), ("Several fields have the label", proposed.ambiguous)):
        for line in lines:
            errors_to.print(f"{title}: {line}", markup=False, highlight=False)
    errors_to.print(
        "All proposals are off. Keep the map in a file, set `enabled` to true where a name is right, and name the file in "
        "DYNSYNC_FIELD_MAP (docs/field-map.md).",
        highlight=False,
    )


def _findings_table(found: list[Finding]) -> Table:
    table = Table(title="Pre-flight", title_justify="left")
    for name in ("", "Question", "Answer"):
        table.add_column(name)
    for finding in found:
        mark = Text("✓", "green") if finding.is_ok else Text("✗", "red")
        answer = f"{finding.answer} {finding.next_step}".strip()
        table.add_row(mark, finding.question, Text(answer))  # a system's own words are no markup
    return table
