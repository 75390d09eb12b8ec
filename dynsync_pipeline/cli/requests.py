"""`dynsync requests`: what was asked for and not done when a backup was made, and somebody's word on it.

Not here: asking (`push.py`).
"""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from dynsync_pipeline.cli.looking import cell, moment, print_json
from dynsync_pipeline.cli.output import app, prints_to
from dynsync_pipeline.operate.backup import utc_now
from dynsync_pipeline.requests.store import Request, RequestStore
from dynsync_pipeline.settings_sources import load_settings

_ASKED = {"record": "become a {}", "owner": "get another owner", "task": "get a task"}


@app.command()
def requests(
    send: Annotated[str, typer.Option(metavar="IDS", help="Carry these out: ids with commas between, or all.")] = "",
    drop: Annotated[
        str, typer.Option(metavar="IDS", help="End these, and do nothing: ids with commas between, or all.")
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print them as JSON.")] = False,
) -> None:
    """Show requests that came back from a backup and wait for somebody's word, and give it.

    What was asked for then may have been done since. Where its record exists, sending it again makes no second one.

    Exit codes: 0 done, 1 failed, 2 settings or options wrong.
    """
    settings = load_settings()
    if send and drop:
        raise typer.BadParameter("give one of --send and --drop.")
    if not settings.requests_file.exists():
        _chosen(send or drop, [])
        print_json([]) if as_json else prints_to.print("No request waits for a word.")
        return
    with RequestStore(settings.requests_file) as store:
        asking = store.asking()
        chosen = _chosen(send or drop, asking)
        n_answered = 0
        if send:
            n_answered = store.carry_on(chosen, utc_now())
        elif drop:
            n_answered = store.withdraw(chosen)
        left = store.asking()
    if as_json:
        print_json([_figures(each) for each in left])
        return
    if send or drop:
        then = "are carried out as soon as no cycle runs" if send else "have ended"
        prints_to.print(f"{n_answered:,} requests {then}.", highlight=False)
    _show(left)


def _chosen(ids: str, asking: list[Request]) -> list[str]:
    """The request ids that somebody named. Raises: typer.BadParameter for one that does not wait."""
    known = [each.request_id for each in asking]
    if ids == "all":
        return known
    wanted = [each.strip().lower() for each in ids.split(",") if each.strip()]
    if unknown := [each for each in wanted if each not in known]:
        raise typer.BadParameter(f"No request that waits has the id {', '.join(unknown)}; nothing was done.")
    return wanted


def _figures(request: Request) -> dict[str, object]:
    return {
        "request_id": request.request_id,
        "kind": request.kind,
        "person_id_marketo": request.person_id,
        "record_type": request.record_type,
        "asked_at": request.asked_at,
        "door": request.door,
    }


def _show(asking: list[Request]) -> None:
    if not asking:
        prints_to.print("No request waits for a word.")
        return
    table = Table(title="Requests that wait for a word; times in UTC", title_justify="left")
    for name in ("id", "person", "is to", "asked at", "by"):
        table.add_column(name, overflow="fold")
    for each in asking:
        asked = _ASKED[each.kind].format(each.record_type)
        table.add_row(each.request_id, str(each.person_id), asked, moment(each.asked_at), cell(each.door))
    prints_to.print(table)
    prints_to.print("`dynsync explain PERSON` shows who each is; --send and --drop take ids, or all.", highlight=False)
