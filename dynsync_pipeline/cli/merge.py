"""`dynsync merge`: who may be merged in Marketo because their records are one in Dynamics, and merging them (R97, R99).

Not here: what is proposed (`reconcile/sql/merge_proposals.sql`), the merge itself (`write_back/merging.py`).
"""

from __future__ import annotations

import re
import sys
from typing import Annotated, Any

import typer
from rich.table import Table

from dynsync_pipeline.cli.looking import cell, open_snapshot, print_json
from dynsync_pipeline.cli.output import Exit, app, errors_to, prints_to
from dynsync_pipeline.clients.systems import SYSTEMS, RemoteSystems
from dynsync_pipeline.errors import StorageFailed
from dynsync_pipeline.look.merge_proposals import read_proposals
from dynsync_pipeline.settings import Settings
from dynsync_pipeline.settings_sources import load_settings
from dynsync_pipeline.warehouse.connection import Warehouse
from dynsync_pipeline.warehouse.cycle_lock import CycleLock
from dynsync_pipeline.warehouse.cycles import calls_of_last_day, count_between
from dynsync_pipeline.warehouse.operator_actions import Action, named
from dynsync_pipeline.warehouse.restored import require_read_again
from dynsync_pipeline.warehouse.systems import require_same_systems
from dynsync_pipeline.write_back.merging import Merged, Proposal, merge_people, open_proposals

MOST_SHOWN = 50
_IDS = re.compile(r"\s*[0-9]{1,18}\s*(,\s*[0-9]{1,18}\s*)*")


@app.command(
    help="Show which people may be merged in Marketo, because their records were merged in Dynamics, or a lead was qualified "
    "onto a contact: the newest 50, or all of them as JSON. With --apply the chosen ones are merged, which nobody can undo: "
    "the winner's values stay, its empty fields are filled, activities are kept.\n\n"
    "Exit codes: 0 done, 1 failed, or one was not merged (also: no snapshot yet), 2 settings or options wrong, 3 nothing was "
    "merged because a cycle is running."
)
def merge(
    apply: Annotated[
        str | None,
        typer.Option(metavar="ID[,ID...]", help="Merge the people of these proposals, in Marketo, for good."),
    ] = None,
    is_sure: Annotated[bool, typer.Option("--yes", help="Do not ask before merging.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the proposals, or what became of them, as JSON.")
    ] = False,
) -> None:
    """Print the open proposals, or carry some out. Raises: DynSyncError."""
    settings = load_settings()
    if apply is None:
        if is_sure:
            raise typer.BadParameter("--yes goes with --apply.")
        with open_snapshot(settings) as connection:
            found = read_proposals(connection)
        if as_json:
            print_json(found)
        else:
            _show(found)
        return
    if not _IDS.fullmatch(apply):
        raise typer.BadParameter("--apply takes ids as the first column of `dynsync merge` shows them.")
    merged = _apply(settings, {int(text) for text in apply.split(",")}, is_sure=is_sure)
    if as_json:
        print_json(
            [
                {"proposal_id": each.proposal.proposal_id, "is_merged": not each.reason, "reason": each.reason}
                for each in merged
            ]
        )
    else:
        _show_merged(merged)
    if any(each.reason for each in merged):
        raise typer.Exit(Exit.FAILED)


def _apply(settings: Settings, wanted: set[int], *, is_sure: bool) -> list[Merged]:
    settings.require_systems()
    settings.require_live("A merge")
    with CycleLock(settings.lock_file, is_cycle=False):
        if not settings.working_file.exists():
            raise StorageFailed(
                f"{settings.working_file} does not exist yet.", next_step="Run `dynsync sync`, which makes it."
            )
        with Warehouse(settings.working_file) as warehouse:
            require_same_systems(warehouse, settings)
            with warehouse.reading() as connection:
                require_read_again(connection)
            proposals = open_proposals(warehouse, wanted)
            if unknown := sorted(wanted - {each.proposal_id for each in proposals}):
                raise typer.BadParameter(
                    f"No open proposal has the id {', '.join(map(str, unknown))}; nobody was merged. `dynsync merge` shows them."
                )
            if not is_sure:
                _ask(proposals)
            return _merge_all(settings, warehouse, proposals)


def _ask(proposals: list[Proposal]) -> None:
    """Raises: typer.BadParameter where nobody can answer; typer.Abort where somebody says no."""
    if not sys.stdin.isatty():
        raise typer.BadParameter("a merge cannot be undone: add --yes where nobody can be asked.")
    for each in proposals:
        errors_to.print(f"Person {each.loser.person_id} into person {each.winner.person_id}", highlight=False)
    typer.confirm("Merge them in Marketo? This cannot be undone", abort=True, err=True)


def _merge_all(settings: Settings, warehouse: Warehouse, proposals: list[Proposal]) -> list[Merged]:
    with warehouse.reading() as connection:
        used = {system: calls_of_last_day(connection, system, warehouse.now()) for system in SYSTEMS}
    action = Action.of("merge --apply", {"proposals": named(sorted(each.proposal_id for each in proposals))})
    with RemoteSystems(settings, used) as systems:
        try:
            return [merge_people(warehouse, systems.marketo, settings.own_fields, each, action) for each in proposals]
        finally:
            with warehouse.transaction() as connection:
                count_between(connection, warehouse.now(), {"marketo": systems.n_calls("marketo")})


def _show(found: list[dict[str, Any]]) -> None:
    if not found:
        prints_to.print("Nobody is proposed to be merged.")
        return
    table = Table(title=f"People who may be merged: {len(found):,}", title_justify="left", show_lines=True)
    for name in ("Proposal", "Stays", "Is merged into it", "Because"):
        table.add_column(name, overflow="fold")
    for row in found[:MOST_SHOWN]:
        sides = [
            f"person {row[f'{side}_id_marketo']}\n{row[f'{side}_record_type']} {row[f'{side}_id_dynamics']}"
            for side in ("winner", "loser")
        ]
        said = row["cause"] + ("\nsent, and not known whether it was done" if row["state"] == "sent" else "")
        table.add_row(cell(f"{row['proposal_id']}\n{row['seen_at']:%Y-%m-%d}"), *map(cell, sides), cell(said))
    prints_to.print(table)
    if len(found) > MOST_SHOWN:
        prints_to.print(f"{len(found) - MOST_SHOWN:,} older ones are not shown: --json has all.", highlight=False)


def _show_merged(merged: list[Merged]) -> None:
    done = [each for each in merged if not each.reason]
    prints_to.print(f"People merged: {len(done):,}. The next cycle follows.", highlight=False)
    for each in merged:
        if each.reason:
            errors_to.print(cell(f"Proposal {each.proposal.proposal_id}: {each.reason}", style="red"), highlight=False)
