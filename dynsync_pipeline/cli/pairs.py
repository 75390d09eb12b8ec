"""`dynsync pairs`: all pairs, when each synced last and is due next. Opens no working file and no snapshot."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.table import Table

from dynsync_pipeline.cli.looking import cell, print_json, rough
from dynsync_pipeline.cli.output import Exit, app, prints_to
from dynsync_pipeline.errors import SettingsWrong
from dynsync_pipeline.look.pairs import PairState, read_pair
from dynsync_pipeline.settings_sources import load_installation, load_pairs

STYLES = {"cannot run": "red", "paused": "bold red", "running": "green"}


@app.command()
def pairs(as_json: Annotated[bool, typer.Option("--json", help="Print them as JSON.")] = False) -> None:
    """Show all pairs: when the last cycle of each ended and how, when the next is due, and what stands in the way.

    Exit codes: 0 shown, 1 at least one cannot run, 2 settings or options wrong, or there is no folder of pairs.
    """
    at = datetime.now(UTC)
    states = all_pairs(at)
    if as_json:
        print_json([_row(each) for each in states])
    else:
        _show(states, at)
    if any(each.state == "cannot run" for each in states):
        raise typer.Exit(Exit.FAILED)


def all_pairs(at: datetime) -> list[PairState]:
    """How every pair stands at `at` (UTC). Raises: SettingsWrong."""
    installation = load_installation()
    if installation.pairs_dir is None:
        raise SettingsWrong(
            "DYNSYNC_PAIRS_DIR names no folder of pairs.", next_step="Set it (docs/pairs.md); one pair needs none."
        )
    return [read_pair(name, found, at) for name, found in load_pairs(installation).items()]


def _row(state: PairState) -> dict[str, object]:
    last = state.last
    return {
        "pair": state.name,
        "state": state.state,
        "last_started_at": last.started_at if last else None,
        "last_ended_at": last.ended_at if last else None,
        "outcome": last.outcome if last else None,
        "due_at": state.due_at,
        "why": state.why or None,
    }


def _show(states: list[PairState], at: datetime) -> None:
    if not states:
        prints_to.print("There are no pairs yet; `dynsync init --pair NAME` makes one.", highlight=False)
        return
    table = Table()
    for name in ("Pair", "Last cycle", "Due", "State"):
        table.add_column(name, overflow="fold", no_wrap=name == "Pair")
    for each in states:
        state = f"{each.state}: {each.why}" if each.why else each.state
        table.add_row(each.name, _last(each, at), _due(each, at), cell(state, style=STYLES.get(each.state, "")))
    prints_to.print(table)


def _last(state: PairState, at: datetime) -> str:
    last = state.last
    if last is None:
        return "none yet" if state.settings else ""
    if last.ended_at is None:
        return f"began {rough(at - last.started_at)} ago" + ("" if last.is_running else ", cut off")
    return f"ended {rough(at - last.ended_at)} ago" + (f", {last.outcome}" if last.outcome else "")


def _due(state: PairState, at: datetime) -> str:
    if state.due_at is None:
        return ""
    return "now" if state.due_at <= at else f"in {rough(state.due_at - at)}"
