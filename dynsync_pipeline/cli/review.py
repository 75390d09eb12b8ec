"""`dynsync review`: fields that both sides edited and that the field map leaves to a person; shows them, and decides.

Not here: what a decision leads to (`reconcile/sql/field_outcomes.sql`).
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import typer
from rich.table import Table

from dynsync_pipeline.cli.csv_files import decoded, export, separator
from dynsync_pipeline.cli.looking import cell, now, open_snapshot, print_json, value_cell
from dynsync_pipeline.cli.output import Exit, app, errors_to, prints_to
from dynsync_pipeline.errors import StorageFailed
from dynsync_pipeline.look.reviews import read_reviews
from dynsync_pipeline.settings import Settings
from dynsync_pipeline.settings_sources import load_settings
from dynsync_pipeline.warehouse.connection import Warehouse
from dynsync_pipeline.warehouse.cycle_lock import CycleLock
from dynsync_pipeline.warehouse.operator_actions import Action, named, note_action, operator
from dynsync_pipeline.warehouse.reviews import decide, open_reviews

MOST_SHOWN = 50
COLUMNS = (
    "review_id", "choice", "person_id_marketo", "record_type", "record_id_dynamics", "field", "base_value", "dynamics_value",
    "marketo_value", "opened_at", "chosen_by", "chosen_at",
)  # fmt: skip
SIDES = ("dynamics", "marketo")
READ = ("review_id", "choice", "record_id_dynamics")  # of a file; the others are for people and are not read


class Word(NamedTuple):
    """Whose value is to stand, and, in a file, whose record it is and in which line that stands."""

    choice: str
    record_id: str | None = None
    line: int = 0


@app.command(
    help="Show fields that both sides edited and that wait for somebody's word, because the field map says review: the newest "
    "50, or all of them as JSON or CSV. With a number and --take, or with a CSV whose column choice is filled in, the word "
    "is kept; the next cycle carries it out. An edit of either side opens the review anew, under another number.\n\n"
    "Exit codes: 0 done, 1 failed, or some reviews of the file are not open any more (also: no snapshot yet), 2 settings or "
    "options wrong, 3 nothing was decided because a cycle is running."
)
def review(
    review_id: Annotated[int | None, typer.Argument(metavar="[ID]", help="The number of a review.")] = None,
    take: Annotated[
        Literal["dynamics", "marketo"] | None, typer.Option(help="Whose value is to stand on both sides.")
    ] = None,
    csv_file: Annotated[
        str | None,
        typer.Option(
            "--csv", metavar="FILE", help="Write all of them as CSV, to fill in choice; - is the standard output."
        ),
    ] = None,
    apply: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Decide what this CSV says, as --csv wrote it and you filled it in."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print them, or what was decided, as JSON.")] = False,
) -> None:
    """Print the reviews, or decide some. Raises: DynSyncError."""
    settings = load_settings()
    if take is None and apply is None:
        _look(settings, review_id, csv_file, as_json=as_json)
        return
    if (apply is not None and (take or review_id)) or csv_file is not None or (take and review_id is None):
        raise typer.BadParameter("--take goes with one number, --apply with neither; --csv only writes.")
    words = _read(apply) if apply else {review_id or 0: Word(str(take))}
    unknown = _decide(settings, words, apply)
    n_decided = len(words) - len(unknown)
    if as_json:
        print_json({"n_decided": n_decided, "not_open": unknown})
    else:
        then = "It is carried out once the sync is live." if settings.is_shadow else "The next cycle carries it out."
        prints_to.print(f"Decided: {n_decided:,}. {then if n_decided else ''}".rstrip(), highlight=False)
    if unknown:
        told = ", ".join(map(str, unknown[:MOST_SHOWN]))
        errors_to.print(
            f"Not open any more, because a side was edited or they are settled: {told}. `dynsync review` shows what is open.",
            highlight=False,
        )
        raise typer.Exit(Exit.FAILED)


def _look(settings: Settings, review_id: int | None, csv_file: str | None, *, as_json: bool) -> None:
    with open_snapshot(settings) as connection:
        found = [row for row in read_reviews(connection) if review_id in (None, row["review_id"])]
    if csv_file is not None:
        export(found, COLUMNS, csv_file, "reviews")
    elif as_json:
        print_json(found)
    else:
        _show(found)


def _decide(settings: Settings, words: Mapping[int, Word], file: Path | None) -> list[int]:
    """Keep the words for reviews that are open; returns the others.

    Raises: typer.BadParameter for a single one that is not, and for a file of other reviews.
    """
    with CycleLock(settings.lock_file, is_cycle=False):
        if not settings.working_file.exists():
            raise StorageFailed(
                f"{settings.working_file} does not exist yet.", next_step="Run `dynsync sync`, which makes it."
            )
        with Warehouse(settings.working_file) as warehouse, warehouse.transaction() as connection:
            known = open_reviews(connection)
            unknown = sorted(words.keys() - known.keys())
            if unknown and file is None:
                raise typer.BadParameter(f"No open review has the number {unknown[0]}; `dynsync review` shows them.")
            _require_same_records(words, known, file)
            chosen = {number: word.choice for number, word in words.items() if number in known}
            if chosen:
                counts = {side: list(chosen.values()).count(side) for side in SIDES}
                note_action(connection, Action.of("review", {"reviews": named(sorted(chosen)), **counts}))
                decide(connection, chosen, operator(), now())
    return unknown


def _require_same_records(words: Mapping[int, Word], known: Mapping[int, str], file: Path | None) -> None:
    """Raise typer.BadParameter where a file names another record than the open review of that number: numbers are alike
    everywhere, so that it may be another pair's, or of before the working file was lost.
    """
    for number, word in words.items():
        if word.record_id is not None and known.get(number, word.record_id) != word.record_id:
            raise typer.BadParameter(
                f"{file}, line {word.line}: review {number} is of another record here, so the file may be another pair's; "
                "nothing was decided. `dynsync review --csv FILE` writes what is open.",
                param_hint="--apply",
            )


def _read(path: Path) -> dict[int, Word]:
    """What a CSV decides, whatever separator a spreadsheet gave it; lines without a choice wait. Raises: typer.BadParameter."""
    try:
        text = decoded(path.read_bytes(), errors="replace")  # what is read of it is ASCII
    except OSError as error:
        raise typer.BadParameter(f"{path} cannot be read: {error.strerror}.", param_hint="--apply") from None
    rows = csv.DictReader(io.StringIO(text, newline=""), delimiter=separator(text))
    words: dict[int, Word] = {}
    try:
        if missing := [name for name in READ if name not in (rows.fieldnames or ())]:
            raise typer.BadParameter(f"{path} has no column {missing[0]}; nothing was decided.", param_hint="--apply")
        for row in rows:
            number, choice, record_id = ((row[name] or "").strip().lower() for name in READ)
            if not choice:
                continue
            if choice not in SIDES or not (number.isascii() and number.isdecimal() and len(number) < 19):
                raise typer.BadParameter(
                    f"{path}, line {rows.line_num}: a choice is dynamics or marketo, a review_id a number; nothing was decided.",
                    param_hint="--apply",
                )
            if words.setdefault(int(number), Word(choice, record_id, rows.line_num)).choice != choice:
                raise typer.BadParameter(
                    f"{path}, line {rows.line_num}: review {number} is decided twice, and not alike; nothing was decided.",
                    param_hint="--apply",
                )
    except csv.Error:
        raise typer.BadParameter(f"{path} cannot be read as CSV.", param_hint="--apply") from None
    return words


def _show(found: list[dict[str, Any]]) -> None:
    if not found:
        prints_to.print("Nothing waits for anybody's word.")
        return
    table = Table(title=f"Waiting for a word: {len(found):,} (times are UTC)", title_justify="left", show_lines=True)
    for name in ("Review", "Field", "Before", "Dynamics", "Marketo"):
        table.add_column(name, overflow="fold")
    for row in found[:MOST_SHOWN]:
        said = f"\n{row['choice']}, by {row['chosen_by']}" if row["choice"] else ""
        table.add_row(
            cell(f"{row['review_id']}\n{row['opened_at']:%Y-%m-%d %H:%M}{said}"),
            cell(f"{row['field']}\n{row['record_type']}, person {row['person_id_marketo']}"),
            *(value_cell(row[f"{side}_value"]) for side in ("base", "dynamics", "marketo")),
        )
    prints_to.print(table)
    if len(found) > MOST_SHOWN:
        prints_to.print(f"{len(found) - MOST_SHOWN:,} older ones are not shown: --csv FILE has all.", highlight=False)
    prints_to.print("`dynsync review ID --take dynamics` or `--take marketo` decides one.", highlight=False)
