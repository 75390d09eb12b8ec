"""`dynsync adopt`: the first meeting with a Marketo that already holds the people. Proposes, and applies what was reviewed.

Not here: what is proposed (`reconcile/adoption.py`), the file (`adoption_file.py`), the writes (`write_back/adoption.py`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import pyarrow as pa
import typer
from rich.table import Table

from dynsync_pipeline.cli.adoption_file import read_reviewed, refused, require_new, write_pairs
from dynsync_pipeline.cli.engines import EngineOption, MasterOption, opened
from dynsync_pipeline.cli.looking import cell
from dynsync_pipeline.cli.output import Exit, app, errors_to, prints_to
from dynsync_pipeline.cycle import Cycle
from dynsync_pipeline.engines.opening import EngineName
from dynsync_pipeline.errors import AdoptionWrong, ApiError
from dynsync_pipeline.model.field_map import FieldMap
from dynsync_pipeline.reconcile.adoption import (
    Decision,
    Reviewed,
    count_undecided,
    find_faults,
    keep_decisions,
    keep_unkeyed,
    propose_pairs,
    unknown_people,
)
from dynsync_pipeline.settings import Settings
from dynsync_pipeline.settings_sources import load_settings
from dynsync_pipeline.warehouse.connection import Warehouse
from dynsync_pipeline.warehouse.mirrors import PersonColumns
from dynsync_pipeline.warehouse.operator_actions import Action, note_action
from dynsync_pipeline.warehouse.restored import require_read_again
from dynsync_pipeline.write_back.adoption import Adopted, write_keys

MOST_SHOWN = 20
PEOPLE_AT_ONCE = 3_000
Tell = Callable[[str], None]


@app.command(
    help="Link people whom Marketo already holds with the contacts and leads that they are.\n\n"
    "Without options both systems are read, nothing is written to them, and a CSV is made in which people review what to do "
    "with each contact and lead: link it with a person, create a new one, or skip it. With --apply the reviewed file is "
    "carried out: the chosen people get the ids of their records, and the next `dynsync sync` finds them by these. A file "
    "can be applied again, also after a cut. In shadow the links stand in the working file alone. With --engine spark people "
    "and records are compared by the same rule file on Spark, and cycles run meanwhile.\n\n"
    "Exit codes: 0 done, 1 failed, or Marketo did not take some of the links, 2 settings, options or the file wrong, "
    "3 a cycle is running."
)
def adopt(
    apply: Annotated[Path | None, typer.Option(metavar="FILE", help="Carry out this reviewed file.")] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write the proposal to this file, not to adoption.csv in the data folder."),
    ] = None,
    id_field: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="REST name of a Marketo field that holds ids of Dynamics records; may be given several times. It is read "
            "of all people without a link, 300 a call.",
        ),
    ] = None,
    engine: EngineOption = None,
    master: MasterOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> None:
    """Propose or apply an adoption. Raises: DynSyncError."""
    settings = load_settings()
    if apply is None:
        path = out or settings.data_dir / "adoption.csv"
        _propose(settings, path, id_field or [], engine or "duckdb", master, as_json=as_json)
    elif out or id_field or engine or master:
        raise typer.BadParameter(
            "--out, --id-field, --engine and --master are for the proposal; --apply carries out a file as it is."
        )
    else:
        _apply(settings, apply, as_json=as_json)


def _propose(
    settings: Settings, path: Path, id_fields: list[str], engine: EngineName, master: str | None, *, as_json: bool
) -> None:
    require_new(path)
    with errors_to.status("Reading both systems …") as status:
        reading = _Reading(settings, id_fields, status.update)
        with opened(settings, engine, master, reading.looking) as over_all:
            counts = write_pairs(path, propose_pairs(over_all, reading.fields, reading.id_fields, reading.held))
    n_left = len(reading.person_ids) - counts[Decision.LINK]
    if as_json:
        figures = {f"n_{decision}": counts[decision] for decision in Decision}
        print(json.dumps({"file": str(path), **figures, "n_unclear": counts["unclear"], "n_people_left": n_left}))  # noqa: T201
        return
    prints_to.print(
        _figures(
            "Proposed for the contacts and leads that no person holds the id of yet",
            ("link: with the person of the line", counts[Decision.LINK]),
            ("create: a new person", counts[Decision.CREATE]),
            ("skip: nobody is created for it until you decide otherwise", counts[Decision.SKIP]),
            ("of all these unclear, listed first", counts["unclear"]),
            ("People in Marketo whom nothing is proposed for; they stay as they are (R19)", n_left),
        )
    )
    prints_to.print(
        f"Review {path} (column decision; person_id for links), then run `dynsync adopt --apply {path}`.\n"
        "It holds personal data, names and e-mail addresses: only you may read it; delete it when you are done.",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )


class _Reading:
    """What a proposal is made of, once `looking` was entered: both systems are read, and the people without a link by id."""

    fields: FieldMap
    person_ids: list[int]
    id_fields: list[str]
    held: pa.Table | None = None

    def __init__(self, settings: Settings, id_fields: list[str], tell: Tell) -> None:
        self._settings, self._wanted, self._tell = settings, id_fields, tell

    @contextmanager
    def looking(self) -> Iterator[Warehouse]:
        """The working file under the cycle lock, up to date."""
        with Cycle(self._settings) as cycle:
            self.id_fields = _known_fields(cycle, self._wanted)
            cycle.extract()
            with cycle.warehouse.reading() as connection:
                self.person_ids = unknown_people(connection)
            if self.id_fields and self.person_ids:
                self.held = _held_ids(cycle, self.person_ids, self.id_fields, self._tell)
            self.fields = cycle.prepare()
            self._tell("Comparing …")
            yield cycle.warehouse


def _known_fields(cycle: Cycle, names: list[str]) -> list[str]:
    if not names:
        return []
    offered = {name.lower(): name for name in cycle.systems.marketo.person_fields()}
    unknown = [name for name in names if name.lower() not in offered]
    if unknown:
        raise AdoptionWrong(
            f"Marketo has no field {', '.join(unknown)}.", next_step="Give --id-field the REST name of a field."
        )
    return list(dict.fromkeys(offered[name.lower()] for name in names))


def _held_ids(cycle: Cycle, person_ids: list[int], names: list[str], tell: Tell) -> pa.Table:
    parts = []
    for first in range(0, len(person_ids), PEOPLE_AT_ONCE):
        tell(f"Reading {', '.join(names)}: {first:,} of {len(person_ids):,} people …")
        some = person_ids[first : first + PEOPLE_AT_ONCE]
        parts.append(cycle.systems.marketo.people("id", [str(person_id) for person_id in some], names))
    return pa.concat_tables(parts)


def _apply(settings: Settings, path: Path, *, as_json: bool) -> None:
    reviewed = read_reviewed(path)
    with errors_to.status("Reading both systems …") as status, Cycle(settings) as cycle:
        cycle.extract()
        with cycle.warehouse.transaction() as connection:
            require_read_again(connection)
            faults = find_faults(connection, reviewed)
            if faults:
                raise refused(path, faults)
            note_action(connection, Action.of("adopt --apply", _counts(reviewed)))
            # The decisions are stored before the first write, so that no cycle creates a person for a link under way.
            n_linked = keep_decisions(connection, reviewed, datetime.now(UTC).replace(tzinfo=None))
            n_unkeyed = keep_unkeyed(connection) if settings.is_shadow else 0
        adopted = Adopted() if settings.is_shadow else _write_keys(cycle, status.update)
        with cycle.warehouse.reading() as connection:
            n_undecided = count_undecided(connection)
    decided = _counts(reviewed)
    if as_json:
        figures = {"n_written": adopted.n_written, "n_before": adopted.n_before, "n_unkeyed": n_unkeyed}
        figures |= {"n_linked": n_linked}
        figures |= {f"n_{decision}": n for decision, n in decided.items()} | {"n_undecided": n_undecided}
        print(json.dumps({**figures, "refusals": [refusal._asdict() for refusal in adopted.refusals]}))  # noqa: T201
    else:
        _show_applied(adopted, decided, n_linked, n_undecided)
        prints_to.print(_then(settings, n_unkeyed), highlight=False)
    if adopted.refusals:
        raise typer.Exit(Exit.FAILED)


def _write_keys(cycle: Cycle, tell: Tell) -> Adopted:
    try:
        return write_keys(
            cycle.warehouse,
            cycle.systems.marketo,
            PersonColumns(cycle.prepare(), cycle.settings.own_fields),
            lambda n, n_all: tell(f"Writing ids to people in Marketo: {n:,} of {n_all:,} …"),
        )
    except ApiError:
        errors_to.print("What was written stays. Run the same command again to go on.")
        raise


def _counts(reviewed: Sequence[Reviewed]) -> dict[str, int]:
    return {decision.value: sum(line.decision is decision for line in reviewed) for decision in Decision}


def _show_applied(adopted: Adopted, decided: dict[str, int], n_linked: int, n_undecided: int) -> None:
    prints_to.print(
        _figures(
            "Applied",
            ("link: ids written to people in Marketo", adopted.n_written),
            ("link: people who bore the id already", adopted.n_before),
            ("create: in the file", decided[Decision.CREATE]),
            ("skip: in the file", decided[Decision.SKIP]),
            ("lines whose record had its link already", n_linked),
            ("link: refused", len(adopted.refusals)),
        )
    )
    for refusal in adopted.refusals[:MOST_SHOWN]:
        told = f"Person {refusal.person_id}, {refusal.record_type} {refusal.dynamics_id}: {refusal.reason}"
        errors_to.print(cell(told, style="red"), highlight=False)
    if len(adopted.refusals) > MOST_SHOWN:
        errors_to.print(f"And {len(adopted.refusals) - MOST_SHOWN:,} more; --json prints all of them.")
    if adopted.refusals:
        errors_to.print("Nobody is created for these records: change their lines and apply the file again.")
    if n_undecided:
        prints_to.print(
            f"{n_undecided:,} contacts and leads without a person are in no file yet: `dynsync adopt` lists them.",
            highlight=False,
        )


def _then(settings: Settings, n_unkeyed: int) -> str:
    if settings.is_shadow:
        return (
            f"Shadow: {n_unkeyed:,} links stand in the working file alone, and nothing was written to Marketo. "
            "Now run `dynsync sync`, which finds them."
        )
    return "Now run `dynsync sync`: it finds the links and creates who is to be created."


def _figures(title: str, *rows: tuple[str, int]) -> Table:
    table = Table(title=title, title_justify="left", show_header=False)
    table.add_column("what", overflow="fold")
    table.add_column("how many", justify="right")
    for name, number in rows:
        table.add_row(name, f"{number:,}")
    return table
