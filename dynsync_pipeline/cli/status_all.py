"""`dynsync status --all`: a line for every pair. Reads each pair's snapshot by itself; what one has wrong hides no other."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from rich.table import Table

from dynsync_pipeline.cli.looking import cell, find_status, print_json, rough
from dynsync_pipeline.cli.output import prints_to
from dynsync_pipeline.cli.pairs import STYLES, all_pairs
from dynsync_pipeline.errors import DynSyncError
from dynsync_pipeline.look.pairs import PairState
from dynsync_pipeline.look.status import Status
from dynsync_pipeline.settings import Settings

_FIGURES = ("last_success_at", "status", "n_waiting", "n_open_errors", "share_of_calls", "message")


def show_all(*, as_json: bool, limit: timedelta | None) -> list[str]:
    """Print the status of all pairs; returns the names of those whose last success is older than `limit`, and not on purpose.

    Raises: SettingsWrong.
    """
    at = datetime.now(UTC)
    states = all_pairs(at)
    rows = [_row(each, at.replace(tzinfo=None)) for each in states]
    print_json(rows) if as_json else prints_to.print(_table(rows, at.replace(tzinfo=None)))
    if limit is None:
        return []
    return [
        row["pair"]
        for row in rows
        if row["state"] != "paused"
        and (row["last_success_at"] is None or at.replace(tzinfo=None) - row["last_success_at"] > limit)
    ]


def _row(state: PairState, at: datetime) -> dict[str, Any]:
    row: dict[str, Any] = {"pair": state.name, "state": state.state, **dict.fromkeys(_FIGURES)}
    if state.settings is None:
        return row | {"message": state.why}
    try:
        found = find_status(state.settings, at)
    except DynSyncError as error:
        return row | {"message": state.why or str(error)}
    return row | _figures(state, state.settings, found)


def _figures(state: PairState, settings: Settings, found: Status) -> dict[str, Any]:
    last = found.last_cycle or {}
    limits = settings.calls_per_day
    return {
        "last_success_at": found.last_success and found.last_success["ended_at"],
        "status": last.get("status"),
        "n_waiting": sum(row["n_inserts"] + row["n_updates"] for row in found.backlog),
        "n_open_errors": sum(found.open_errors.values()),
        "share_of_calls": round(max(found.calls[system] / n for system, n in limits.items()), 3),
        "message": state.why or last.get("message"),
    }


def _table(rows: list[dict[str, Any]], at: datetime) -> Table:
    table = Table()
    for name in ("Pair", "State", "Last success", "Last cycle", "Waiting", "Errors", "Calls", "Message"):
        table.add_column(name, overflow="fold", no_wrap=name == "Pair", justify="right" if name in _NUMBERS else "left")
    for row in rows:
        ago = f"{rough(at - row['last_success_at'])} ago" if row["last_success_at"] else "never"
        numbers = (f"{row[name]:,}" if row[name] is not None else "" for name in ("n_waiting", "n_open_errors"))
        calls = f"{row['share_of_calls']:.0%}" if row["share_of_calls"] is not None else ""
        state = cell(row["state"], style=STYLES.get(row["state"], ""))
        table.add_row(row["pair"], state, ago, cell(row["status"]), *numbers, calls, cell(row["message"]))
    return table


_NUMBERS = ("Waiting", "Errors", "Calls")
