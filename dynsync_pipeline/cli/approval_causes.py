"""How causes that wait to be approved are shown, wherever that is. Not here: approving (`approve.py`), what waits (`look/`)."""

from __future__ import annotations

from typing import Any

from rich.table import Table

from dynsync_pipeline.cli.looking import cell, moment

MOST_SHOWN = 50


def causes_table(causes: list[dict[str, Any]], title: str) -> Table:
    """What waits, one line a cause; what a plan found has no number yet."""
    table = Table(title=title, title_justify="left")
    table.add_column("Number", no_wrap=True)
    table.add_column("Cause", overflow="fold")
    for name in ("Reaches people", "Values waiting"):
        table.add_column(name, justify="right")
    table.add_column("Since", no_wrap=True)
    for row in causes[:MOST_SHOWN]:
        figures = (f"{row['n_people']:,}", f"{row['n_values']:,}")
        cause = cause_in_words(
            row["cause"], row["cause_name"], row["record_type"], row["direction"].removeprefix("to_")
        )
        asked = (
            ("", "the next cycle") if row["approval_id"] is None else (str(row["approval_id"]), moment(row["asked_at"]))
        )
        table.add_row(asked[0], cell(cause), *figures, asked[1])
    return table


def cause_in_words(cause: str, name: str, record_type: str, system: str) -> str:
    """What reaches people: account ID, title of leads, to Marketo, or new people of contacts."""
    if cause == "account":
        return f"account {name}"
    return (
        f"new people of {record_type}s" if cause == "create" else f"{name} of {record_type}s, to {system.capitalize()}"
    )
