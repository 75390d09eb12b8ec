"""`dynsync demo`: both emulators, a first cycle, people editing both sides, the next cycles, and what became of it.

The edits go over HTTP as a salesperson's and a marketer's would; what is shown was read back from both systems.
"""

from __future__ import annotations

import fcntl
import os
import shlex
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import duckdb
import typer
from rich.table import Table

from dynsync_pipeline.cli.asking import command_of
from dynsync_pipeline.cli.demo_scenes import COLLIDES, SCENES, Key, People, Scene
from dynsync_pipeline.cli.emulating import emulating
from dynsync_pipeline.cli.looking import cell
from dynsync_pipeline.cli.output import Exit, app, prints_to
from dynsync_pipeline.cli.rules import rules_line
from dynsync_pipeline.cli.sync import report_table
from dynsync_pipeline.cli.working import telling_progress
from dynsync_pipeline.errors import SettingsWrong
from dynsync_pipeline.model.records import RecordType
from dynsync_pipeline.requests.desk import carry_out
from dynsync_pipeline.requests.store import Wish
from dynsync_pipeline.settings import Settings
from dynsync_pipeline.warehouse.connection import storage_errors
from dynsync_pipeline.whole_cycle import CycleReport, run_cycle

if TYPE_CHECKING:
    from dynsync_pipeline.emulators.running import Emulators

LIMIT = 5_000
SIZES = (LIMIT, LIMIT + 1)
MARK = ".dynsync-demo"  # stands in every folder that the demo made, and may make anew
RULES = "R12 R15 R34 R35 R38 R53 R54 R71 R79 R96"  # which the outcome names
MARKS = {True: "[green]✓[/]", False: "[red]✗[/]"}


@app.command()
def demo(
    data: Annotated[
        Path, typer.Option(help="Folder the demo makes and leaves behind to look at; makes anew only one of its own.")
    ] = Path("data/demo"),
) -> None:
    """Sync two emulated systems with sample data, edit both sides as people would, and show what became of it.

    Exit codes: 0 everything ended as the rules say, 1 it did not, or the emulators are not installed, 2 the folder is not
    the demo's own.
    """
    with emulating():
        prints_to.print(
            f"Starting a Dynamics and a Marketo on this machine, with some 10,000 contacts; everything is kept in {data}.",
            highlight=False,
        )
        is_right = _play(data)
    if not is_right:
        raise typer.Exit(Exit.FAILED)


def _play(data: Path) -> bool:
    """Three cycles with people's edits in between; returns whether everything ended as the rules say."""
    from dynsync_pipeline.emulators.running import Emulators

    with (
        _folder_of_its_own(data),
        Emulators(
            data / "emulator", n_accounts=50, n_contacts=500, n_leads=200, n_people=200, time_scale=600
        ) as emulators,
    ):
        big_accounts = _seed_big_accounts(emulators)
        settings = _settings(emulators, data)
        first = _cycle(settings, "First cycle: everything that Dynamics holds arrives in Marketo")
        with People(emulators.environment, settings).at_work() as people:
            keys = _chosen(settings, big_accounts)
            prints_to.print("\n[bold]Now people edit both sides[/]")
            for scene, key in zip(SCENES, keys, strict=False):
                people.play(scene, key)
            people.create_lead("Ngozi", "O'Brien 🦊")
            for account_id in big_accounts:
                people.change_account(account_id, address1_city="Neustadt")
            people.delete_contact(keys[len(SCENES)])
            born = people.create_person("Amélie", "D'Souza")
            prints_to.print(
                "\n[bold]Somebody is born in Marketo, made a lead on request at once, and qualified by sales[/]"
            )
            wishes = [Wish(born, RecordType.LEAD, "push")]
            (request,), _ = carry_out(settings, wishes, command_of(wishes))
            qualified = Key(born, people.qualify(request.request_id))
            second = _cycle(settings, "Second cycle: the edits meet")
            results = [(scene, key, people.found(scene, key)) for scene, key in zip(SCENES, keys, strict=False)]
        third = _cycle(settings, "Third cycle: nobody edited anything")
    is_right = _show_edits(settings, results, second)
    is_right &= _show_outcomes(settings, keys[len(SCENES)], qualified, first, second, third)
    prints_to.print(rules_line([RULES]))
    _show_where_to_look(settings, keys[COLLIDES].person_id)
    return is_right


@contextmanager
def _folder_of_its_own(data: Path) -> Iterator[None]:
    """The folder, emptied, if it is the demo's: one that it made before, or one without anything in it.

    Raises: SettingsWrong, with nothing touched, for any other folder, and for one in which another demo runs.
    """
    with storage_errors(data):
        if data.exists() and not (data / MARK).exists() and (not data.is_dir() or any(data.iterdir())):
            raise SettingsWrong(
                f"{data} holds something that no demo made. Nothing was touched.",
                next_step="Name a folder that does not exist yet or is empty: `dynsync demo --data FOLDER`.",
            )
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
        mark = (data / MARK).open("a")
    with mark:
        try:
            fcntl.flock(mark, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SettingsWrong(
                f"Another demo runs in {data}. Nothing was touched.",
                next_step="End it, or name another folder: `dynsync demo --data FOLDER`.",
            ) from None
        with storage_errors(data):
            for left in data.iterdir():
                if left.is_dir() and not left.is_symlink():
                    shutil.rmtree(left)
                elif left.name != MARK:
                    left.unlink()
        yield


def _seed_big_accounts(emulators: Emulators) -> list[str]:
    """Two accounts on either side of the limit (R53, R54): one with 5,000 contacts, one with 5,001."""
    from dynsync_pipeline.emulators.dataverse.seeding import seed
    from dynsync_pipeline.emulators.sample_data import sample_accounts, sample_contacts

    accounts = [
        account | {"name": f"Account of {n:,}"} for account, n in zip(sample_accounts(2, seed=1), SIZES, strict=True)
    ]
    ids = [str(account["accountid"]) for account in accounts]
    contacts = (
        contact | {"parentcustomerid_account": account_id}
        for account_id, n in zip(ids, SIZES, strict=True)
        for contact in sample_contacts(n, [account_id], seed=n)
    )
    seed(emulators.dataverse, accounts, contacts, [])
    return ids


def _settings(emulators: Emulators, data: Path) -> Settings:
    values = {
        name.removeprefix("DYNSYNC_").lower(): value
        for name, value in emulators.environment.items()
        if name.startswith("DYNSYNC_")
    }
    return Settings(**(values | {"data_dir": data}))


def _cycle(settings: Settings, title: str) -> CycleReport:
    prints_to.print(f"\n[bold]{title}[/]")
    with telling_progress(settings.data_dir) as tell:
        report = run_cycle(settings, tell)
    prints_to.print(report_table(report))
    return report


def _chosen(settings: Settings, but_not_of: list[str]) -> list[Key]:
    """A linked person for every scene, with values in the fields that it touches; one more is to be deleted.

    None of them belongs to the accounts `but_not_of`.
    """
    keys: list[Key] = []
    wanted = [(scene.record_type, list(scene.columns)) for scene in SCENES] + [("contact", ["lastName"])]
    with duckdb.connect(settings.snapshot_file, read_only=True) as snapshot:
        for record_type, fields in wanted:
            filled = " and ".join(f'"{field}" is not null' for field in fields)
            taken = ", ".join(str(key.person_id) for key in keys) or "0"
            rows = snapshot.execute(
                f"select person_id_marketo, {record_type}_id_dynamics from people "
                f"where record_type = ? and {filled} and person_id_marketo not in ({taken}) "
                "and coalesce(account_id_dynamics, '') not in (select unnest(?)) order by 1 limit 1",
                [record_type, but_not_of],
            ).fetchall()
            keys.append(Key(*rows[0]))
    return keys


def _rules(settings: Settings, cycle_id: int) -> dict[tuple[int, str], str]:
    """The rule that decided each value which this cycle wrote, by person and field, as the snapshot tells it."""
    with duckdb.connect(settings.snapshot_file, read_only=True) as snapshot:
        rows = snapshot.execute(
            "select person_id_marketo, field, rule from changes where cycle_id = ?", [cycle_id]
        ).fetchall()
    return {(person_id, field): rule for person_id, field, rule in rows}


def _said(edits: dict[str, str | None], field: str) -> str:
    return (edits[field] or "(emptied)") if field in edits else "·"


def _now(in_dynamics: str | None, in_marketo: str | None) -> str:
    shown = [value or "(empty)" for value in (in_dynamics, in_marketo)]
    return shown[0] if shown[0] == shown[1] else " ≠ ".join(shown)


def _show_edits(
    settings: Settings,
    results: list[tuple[Scene, Key, dict[str, tuple[str | None, str | None]]]],
    second: CycleReport,
) -> bool:
    prints_to.print("\n[bold]What became of the edits[/]")
    prints_to.print(_edits_table([_HEADER], style="bold"))
    rules = _rules(settings, second.cycle_id)
    all_right = True
    for scene, key, found in results:
        is_right = all(values == (scene.after[field], scene.after[field]) for field, values in found.items())
        all_right &= is_right
        rows = [
            (field, _said(scene.in_dynamics, field), _said(scene.in_marketo, field), _now(*found[field]),
             rules.get((key.person_id, field), "no write (R38)"))
            for field in scene.columns
        ]  # fmt: skip
        prints_to.print(f"{MARKS[is_right]} {scene.title}", highlight=False)
        prints_to.print(_edits_table(rows))
    return all_right


_HEADER = ("Field", "Dynamics", "Marketo", "Now on both", "Rule")
_WIDTHS = (11, 13, 10, 13, 26)  # which fit into 80 with what stands between


def _edits_table(rows: Sequence[tuple[str, ...]], *, style: str = "") -> Table:
    """Rows of a field, what either side said, what stands now, and the rule; tables of these stand under each other."""
    table = Table(box=None, show_header=False, padding=(0, 1, 0, 0), style=style)
    table.add_column(width=1)
    for width in _WIDTHS:
        table.add_column(width=width)
    for row in rows:
        table.add_row("", *map(cell, row))
    return table


def _show_outcomes(
    settings: Settings, deleted: Key, qualified: Key, first: CycleReport, second: CycleReport, third: CycleReport
) -> bool:
    """Sentences about what the snapshot and the reports tell, each with a mark; returns whether all are as they must be."""
    with duckdb.connect(settings.snapshot_file, read_only=True) as snapshot:
        fan_outs = snapshot.execute(
            "select c.n_contacts, c.activities_suppressed, count(a.activity_id) from account_changes c "
            "left join people p on p.account_id_dynamics = c.account_id_dynamics "
            "left join activities a on a.person_id_marketo = p.person_id_marketo and a.field = c.field "
            "and a.cycle_id = c.cycle_id where c.cycle_id = ? group by all order by 1",
            [second.cycle_id],
        ).fetchall()
        flags = snapshot.execute(
            "select is_deleted_in_dynamics from people where person_id_marketo = ?", [deleted.person_id]
        ).fetchall()
        contacts = snapshot.execute(
            "select person_id_marketo, record_type from people where contact_id_dynamics = ?", [qualified.record_id]
        ).fetchall()
    n_new, n_refused = second.to_marketo.n_created, first.to_marketo.n_refused
    sentences = [
        (f"The new lead became a person in Marketo (R15): {n_new} created", n_new == 1),
        ("2 collisions were settled; the losing values stay in the table collisions", second.plan.n_collisions == 2),
        ("The contact that was deleted in Dynamics stays in Marketo, flagged (R79)", flags == [(True,)]),
        ("Two accounts changed their city: see account_changes", [row[0] for row in fan_outs] == list(SIZES)),
        *(_fan_out(*row) for row in fan_outs),
        (
            "Who was born in Marketo became a lead in Dynamics (R71), then a contact, and is the same person still (R96)",
            contacts == [(qualified.person_id, "contact")],
        ),
        (f"{n_refused} sample values were refused by Marketo, as they should be: see sync_errors", n_refused > 0),
        ("The third cycle wrote nothing (R12)", third.plan.n_operations == 0),
    ]
    for sentence, is_right in sentences:
        prints_to.print(f"{MARKS[is_right]} {sentence}", highlight=False)
    return all(is_right for _, is_right in sentences)


def _fan_out(n_contacts: int, is_suppressed: bool, n_activities: int) -> tuple[str, bool]:
    said = "more than 5,000, so no activity was logged (R54)" if is_suppressed else f"{n_activities:,} activities (R53)"
    is_right = is_suppressed == (n_contacts > LIMIT) and n_activities == (0 if is_suppressed else n_contacts)
    return f"  the one with {n_contacts:,} contacts reached all of them; {said}", is_right


def _show_where_to_look(settings: Settings, who: int) -> None:
    """Commands that work as they are printed, `who` being a person worth a look."""
    dynsync = f"DYNSYNC_DATA_DIR={shlex.quote(str(settings.data_dir))} {_this_command()}"
    prints_to.print("\n[bold]Where to look next[/]")
    for what, how in (
        ("How it stands", f"{dynsync} status"),
        ("What was refused", f"{dynsync} errors"),
        ("The person of whom both sides changed the city", f"{dynsync} explain {who}"),
        ("Everything else, in SQL", f"make query DATA={shlex.quote(str(settings.data_dir))}"),
        ("In the browser, with a sync of its own", "make dev"),
    ):
        prints_to.print(f"  {what}:\n    {how}", highlight=False, soft_wrap=True)


def _this_command() -> str:
    """How this program is called from the folder at hand, be its environment active or not."""
    called = Path(sys.argv[0])
    if called.name == sys.argv[0]:  # found on the path
        return called.name
    return shlex.quote(os.path.relpath(called) if called.is_relative_to(Path.cwd()) else str(called))
