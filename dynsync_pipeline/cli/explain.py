"""`dynsync explain KEY`: one person, and why every value is what it is. Only looks.

Shows names and addresses, because whoever asks for one record wants to see it; nothing of it is logged.
"""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from itertools import groupby
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from dynsync_pipeline.cli.explain_page import write_person_page
from dynsync_pipeline.cli.looking import cell, counted, moment, now, open_snapshot, print_json, value_cell
from dynsync_pipeline.cli.output import Exit, app, errors_to, prints_to
from dynsync_pipeline.cli.request_queue import request_line, requests_of
from dynsync_pipeline.cli.rules import rules_line
from dynsync_pipeline.look.explain import PERSON_ID, Explanation, Subject, explain, find_subjects, is_account
from dynsync_pipeline.look.reading import Row
from dynsync_pipeline.model.records import FILTER_COLUMN
from dynsync_pipeline.requests.store import Request
from dynsync_pipeline.settings import Settings
from dynsync_pipeline.settings_sources import load_settings

MOST_SHOWN = 40
MOST_NAMED = 10
NEVER_YEAR = 9999
ALIKE = 4  # so many values written at one moment for one reason are told together


@app.command(
    name="explain",
    help="Show one person: link, every field on both sides and in the base, why they differ, what happened to them.\n\n"
    "Works while a cycle runs. Exit codes: 0 shown, 1 nobody has the key, or several do, or there is no snapshot "
    "yet, 2 settings or key wrong.",
)
def explain_command(
    key: Annotated[str, typer.Argument(help="Marketo person id, Dynamics id of a contact or lead, or e-mail address.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
    html_file: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Write it as a page to look at in a browser.")
    ] = None,
) -> None:
    """Print one explanation. Raises: DynSyncError."""
    settings = load_settings()
    with open_snapshot(settings) as connection:
        try:
            subjects = find_subjects(connection, key)
        except ValueError as error:
            raise typer.BadParameter(f"This is {error}.", param_hint="KEY") from None
        requests = _requests(settings, key, subjects)
        if len(subjects) != 1:
            for line in map(request_line, requests):
                prints_to.print(cell(line))
            errors_to.print(_not_one(subjects, is_account(connection, key)), highlight=False, markup=False)
            raise typer.Exit(Exit.FAILED)
        found = explain(connection, subjects[0])
    if html_file is not None:
        lines = [line.plain for line in [*_link_lines(found), *map(cell, map(request_line, requests))]]
        write_person_page(found, lines, settings, now(), html_file)
        errors_to.print(f"Written to {html_file}.", markup=False, highlight=False)
    elif as_json:
        print_json(asdict(found) | {"requests": [_request(each) for each in requests]})
    else:
        _show(found, requests)


def _not_one(subjects: list[Subject], is_an_account: bool) -> str:
    if is_an_account:
        return (
            "This is an account. Explain one of its people instead: "
            "select person_id_marketo from people where account_id_dynamics = its id."
        )
    if not subjects:
        return (
            "Nobody in the snapshot has this key. People arrive with the cycle after they were entered; "
            "`dynsync status` tells when the last one ended."
        )
    keys = ", ".join(str(subject.person_id_marketo or subject.record_id_dynamics) for subject in subjects[:MOST_NAMED])
    more = f" and {len(subjects) - MOST_NAMED:,} more" if len(subjects) > MOST_NAMED else ""
    return f"{len(subjects):,} people or records have this key: {keys}{more}. Run `dynsync explain` with one of these."


def _requests(settings: Settings, key: str, subjects: list[Subject]) -> list[Request]:
    """The newest requests for the person; also for somebody whom no cycle has seen yet."""
    people = {each.person_id_marketo for each in subjects} - {None}
    if not subjects and PERSON_ID.fullmatch(key.strip()):
        people = {int(key)}
    return [found for person_id in people if person_id is not None for found in requests_of(settings, person_id)]


def _request(request: Request) -> Row:
    return {
        "kind": request.kind,
        "asked_at": request.asked_at,
        "door": request.door,
        "state": request.state,
        "result": request.outcome,
        "message": request.message,
        "next_try_at": None if request.state == "ended" else request.next_try_at,
    }


def _show(found: Explanation, requests: list[Request]) -> None:
    for line in [*_link_lines(found), *map(cell, map(request_line, requests))]:
        prints_to.print(line)
    shown = [row for row in found.fields if row["state"] not in ("agree", "not linked") or _has_value(row)]
    if shown:
        prints_to.print(_fields_table(shown))
    _show_account_fields(found.account_fields)
    if hidden := len(found.fields) - len(shown):
        prints_to.print(f"{hidden} more fields are empty on both sides.", style="dim", highlight=False)
    _show_history(found.history)
    texts = [*(row["last_rule"] for row in shown), *(row["reason"] for row in found.history[-MOST_SHOWN:])]
    if rules := rules_line(texts):
        prints_to.print(rules)


def _show_account_fields(rows: list[Row]) -> None:
    shown = [row for row in rows if row["dynamics"] is not None or row["marketo"] is not None]
    if shown:
        prints_to.print(_account_table(shown))


def _show_history(rows: list[Row]) -> None:
    if rows:
        prints_to.print(_history_table(rows[-MOST_SHOWN:]))
    if (n_older := len(rows) - MOST_SHOWN) > 0:
        prints_to.print(f"{n_older:,} older entries are not shown: --json has all.", style="dim", highlight=False)


def _link_lines(found: Explanation) -> list[Text]:
    subject, person = found.subject, found.person
    lines = [_link_line(subject, person)]
    if person["account_id_dynamics"]:
        lines.append(f"Account {person['account_id_dynamics']}.")
    if person["stale_since"]:
        lines.append(
            f"Stale since {moment(person['stale_since'])} UTC: {FILTER_COLUMN} says no to its record, so neither side gets the "
            "other's edits until it says yes (R90, R92)."
        )
    elif person["is_kept_out"] and not person["is_deleted_in_dynamics"]:
        lines.append(f"{FILTER_COLUMN} says no to the record, so it gets no person (R87).")
    if person["is_deleted_in_dynamics"]:
        lines.append("The record was deleted in Dynamics; its values are those last seen (R79).")
    if subject.person_id_marketo is not None and not person["is_in_marketo"]:
        lines.append("The person was deleted in Marketo, or merged into another.")
    lines += map(_ended_line, found.ended_links)
    if found.waiting:
        lines.append(_waiting_line(found.waiting))
    return [*map(cell, lines)]


def _link_line(subject: Subject, person: Row) -> str:
    person_id, record = subject.person_id_marketo, f"Dynamics {subject.record_type} {subject.record_id_dynamics}"
    if person_id is None:
        return f"{record}, not in Marketo."
    if subject.record_id_dynamics is None:
        return f"Marketo person {person_id}, in Marketo only: such people stay there (R19)."
    if subject.is_linked:
        return f"Marketo person {person_id} ↔ {record}, linked {moment(person['linked_at'])} UTC."
    return f"Marketo person {person_id} holds the id of {record} and is not linked to it."


def _ended_line(row: Row) -> str:
    return (
        f"A link of person {row['person_id_marketo']} and {row['record_type']} {row['record_id_dynamics']} ended "
        f"{moment(row['ended_at'])} UTC: {_ENDS[row['side']]}."
    )


_ENDS = {
    "dynamics": "deleted in Dynamics, or merged into another record there (R79, R99)",
    "marketo": "deleted in Marketo (R81)",
    "merged": "its person was merged into that of a contact (R25)",
    "qualified": "the lead was qualified, and its person is its contact's (R96)",
}


def _waiting_line(row: Row) -> str:
    return f"Not in Marketo yet: {row['reason']}; tried {counted(row['attempts'], 'time')}; {_next_look(row['next_look_at'])}."


def _next_look(at: datetime) -> str:
    """Quarantine is a next look that never comes by itself."""
    if at.year == NEVER_YEAR:
        return "quarantined until somebody edits it, the field map changes, or it is released"
    return f"next look after {moment(at)} UTC"


def _has_value(row: Row) -> bool:
    return any(row[side] not in (None, "false") for side in ("base", "dynamics", "marketo"))


def _fields_table(rows: list[Row]) -> Table:
    table = Table(title="\nFields (=: as in Dynamics, –: empty)", title_justify="left")
    for name in ("Field", "Base", "Dynamics", "Marketo", "State", "Last write"):
        table.add_column(name, overflow="fold", no_wrap=name == "Field")
    for row in rows:
        state = row["state"]
        if row["reason"]:
            state += f": {row['reason']}"
        if row["next_look_at"]:
            state += f"; {_next_look(row['next_look_at'])}"
        table.add_row(
            cell(row["field"]),
            _side(row, "base"),
            _side(row, "dynamics"),
            _side(row, "marketo"),
            cell(state, style="" if row["state"] in ("agree", "not linked") else "yellow"),
            cell(row["last_rule"]),
        )
    return table


def _account_table(rows: list[Row]) -> Table:
    table = Table(title="\nFields of the account (R51, R52)", title_justify="left")
    for name in ("Field", "Dynamics", "Marketo", "State"):
        table.add_column(name, overflow="fold")
    for row in rows:
        style = "" if row["state"] == "agree" else "yellow"
        sides = (_side(row, "dynamics"), _side(row, "marketo"))
        table.add_row(cell(row["field"]), *sides, cell(row["state"], style=style))
    return table


def _side(row: Row, side: str) -> Text:
    is_as_in_dynamics = side != "dynamics" and row[side] is not None and row[side] == row["dynamics"]
    return Text("=", "dim") if is_as_in_dynamics else value_cell(row[side])


def _history_table(rows: list[Row]) -> Table:
    table = Table(title="\nWhat happened, oldest first (times are UTC)", title_justify="left")
    for name in ("When", "Cycle", "What", "Values", "Why"):
        table.add_column(name, overflow="fold", min_width=10 if name == "When" else None)
    for (at, cycle_id, what, direction, reason), alike in groupby(rows, key=_occasion):
        group = list(alike)
        first = (f"{at:%Y-%m-%d %H:%M:%S}", str(cycle_id))
        if len(group) >= ALIKE:  # a new person: one line, not one per field
            fields = ", ".join(row["field"] for row in group)
            table.add_row(*first, cell(f"{len(group)} fields {direction}"), cell(fields), cell(reason))
            continue
        for row in group:
            told = " ".join(filter(None, (what if what != "change" else "", row["field"], direction)))
            table.add_row(*first, cell(told), _values(row), cell(reason))
    return table


def _occasion(row: Row) -> tuple[datetime, int, str, str | None, str]:
    return row["happened_at"], row["cycle_id"], row["what"], row["direction"], row["reason"]


def _values(row: Row) -> Text:
    if row["what"] == "error":
        return Text()
    old, new = value_cell(row["old_value"]), value_cell(row["new_value"])
    if row["what"] == "collision":
        return Text.assemble("Dynamics: ", old, "\nMarketo: ", new, f"\nwinner: {row['winner']}")
    return Text.assemble(old, " → ", new)
