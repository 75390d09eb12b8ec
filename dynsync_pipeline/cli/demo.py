"""`dynsync demo`: both emulators, a first cycle, people editing both sides, the next cycles, and what became of it.

The edits go over HTTP as a salesperson's and a marketer's would; what is shown was read back from both systems.
"""

from __future__ import annotations

import fcntl
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import duckdb
import typer
from rich.table import Table

from dynsync_pipeline.cli.demo_scenes import SCENES, Key, People, Scene
from dynsync_pipeline.cli.emulating import emulating
from dynsync_pipeline.cli.output import Exit, app, errors_to, prints_to
from dynsync_pipeline.cli.sync import report_table
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
            (request,), _ = carry_out(settings, [Wish(born, RecordType.LEAD, "push")])
            qualified = Key(born, people.qualify(request.request_id))
            second = _cycle(settings, "Second cycle: the edits meet")
            results = [(scene, key, people.found(scene, key)) for scene, key in zip(SCENES, keys, strict=False)]
        third = _cycle(settings, "Third cycle: nobody edited anything")
    is_right = _show_edits(settings, results, second)
    is_right &= _show_outcomes(settings, keys[len(SCENES)], qualified, first, second, third)
    _show_where_to_look(settings)
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
    return Settings(_env_file=None, **(values | {"data_dir": data}))  # type: ignore[arg-type]


def _cycle(settings: Settings, title: str) -> CycleReport:
    with errors_to.status(title):
        report = run_cycle(settings)
    prints_to.print(f"\n[bold]{title}[/]")
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
    table = Table(title="\nWhat became of the edits", title_justify="left")
    for name in ("", "What people did", "Field", "Dynamics", "Marketo", "Now on both", "Rule"):
        table.add_column(name, overflow="fold")
    rules = _rules(settings, second.cycle_id)
    all_right = True
    for scene, key, found in results:
        is_right = all(values == (scene.after[field], scene.after[field]) for field, values in found.items())
        all_right &= is_right
        of_fields = {field: rules.get((key.person_id, field), "no write (R38)") for field in scene.columns}
        table.add_row(MARKS[is_right], *_edit_cells(scene, found, of_fields), end_section=True)
    prints_to.print(table)
    return all_right


def _edit_cells(
    scene: Scene, found: dict[str, tuple[str | None, str | None]], rules: dict[str, str]
) -> tuple[str, ...]:
    """One line per field in each cell: what people did on both sides, what stands there now, and the rule."""
    return (
        scene.title,
        "\n".join(scene.columns),
        "\n".join(_said(scene.in_dynamics, field) for field in scene.columns),
        "\n".join(_said(scene.in_marketo, field) for field in scene.columns),
        "\n".join(_now(*values) for values in found.values()),
        "\n".join(rules.values()),
    )


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


def _show_where_to_look(settings: Settings) -> None:
    settings_of = f"DYNSYNC_DATA_DIR={settings.data_dir}"
    prints_to.print("\n[bold]Where to look next[/]")
    for what, how in (
        ("How it stands", f"{settings_of} dynsync status"),
        ("What was refused", f"{settings_of} dynsync errors"),
        ("One person", f"{settings_of} dynsync explain 1"),
        ("The snapshot", f"duckdb -readonly {settings.snapshot_file}"),
        ("What changed", "select direction, field, old_value, new_value, rule from changes order by change_id desc"),
        ("In the browser", "make dev"),
    ):
        prints_to.print(f"  {what:17} {how}", highlight=False, soft_wrap=True)
