"""`dynsync demo`: both emulators, a first cycle, people editing both sides, the next cycles, and what became of it.

The edits go over HTTP as a salesperson's and a marketer's would; what is shown was read back from both systems.
"""

from __future__ import annotations

import shutil
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import duckdb
import httpx
import typer
from rich.table import Table

from dynsync_pipeline.cli.output import Exit, app, errors_to, prints_to
from dynsync_pipeline.cli.sync import report_table
from dynsync_pipeline.cycle import CycleReport, run_cycle
from dynsync_pipeline.emulators.running import Emulators
from dynsync_pipeline.settings import Settings


@dataclass(frozen=True)
class Scene:
    """One thing that people do to one record between two cycles, and what must stand on both sides afterwards.

    Values are keyed by the Marketo field; `columns` names each in Dynamics.
    """

    title: str
    record_type: str
    columns: dict[str, str]
    in_dynamics: dict[str, str | None]
    in_marketo: dict[str, str | None]
    after: dict[str, str | None]


CITY = {"city": "address1_city"}
SCENES = (
    Scene("Sales changes a contact's job title", "contact", {"title": "jobtitle"}, {"title": "Head of Sales"}, {},
          {"title": "Head of Sales"}),
    Scene("Marketing changes a contact's phone", "contact", {"phone": "telephone1"}, {}, {"phone": "+1 555 0100"},
          {"phone": "+1 555 0100"}),
    Scene("Both sides change different fields of a contact", "contact", {"title": "jobtitle", "phone": "telephone1"},
          {"title": "Buyer"}, {"phone": "+1 555 0101"}, {"title": "Buyer", "phone": "+1 555 0101"}),
    Scene("Both sides change the city of a contact", "contact", CITY, {"city": "Zürich"}, {"city": "Genève"},
          {"city": "Zürich"}),
    Scene("Both sides change the city of a lead", "lead", CITY, {"city": "大阪"}, {"city": "東京"}, {"city": "東京"}),
    Scene("Sales empties a contact's phone", "contact", {"mobilePhone": "mobilephone"}, {"mobilePhone": None}, {},
          {"mobilePhone": None}),
    Scene("Marketing empties a lead's job title", "lead", {"title": "jobtitle"}, {}, {"title": None}, {"title": None}),
    Scene("Both make the same edit to a lead", "lead", CITY, {"city": "Brno"}, {"city": "Brno"}, {"city": "Brno"}),
)  # fmt: skip


@app.command()
def demo(
    data: Annotated[Path, typer.Option(help="Folder the demo makes anew and leaves behind to look at.")] = Path(
        "data/demo"
    ),
) -> None:
    """Sync two emulated systems with sample data, edit both sides as people would, and show what became of it.

    Exit codes: 0 everything ended as the rules say, 1 it did not.
    """
    shutil.rmtree(data, ignore_errors=True)
    with Emulators(
        data / "emulator", n_accounts=50, n_contacts=500, n_leads=200, n_people=200, time_scale=600
    ) as emulators:
        settings = _settings(emulators, data)
        first = _cycle(settings, "First cycle: everything that Dynamics holds arrives in Marketo")
        with _People(emulators.environment, settings).at_work() as people:
            keys = _chosen(settings)
            prints_to.print("\n[bold]Now people edit both sides[/]")
            for scene, key in zip(SCENES, keys, strict=True):
                people.play(scene, key)
            people.create_lead("Ngozi", "O'Brien 🦊")
            second = _cycle(settings, "Second cycle: the edits meet")
            results = [(scene, key, people.found(scene, key)) for scene, key in zip(SCENES, keys, strict=True)]
        third = _cycle(settings, "Third cycle: nobody edited anything")
    is_right = _show(settings, results, first, second, third)
    if not is_right:
        raise typer.Exit(Exit.FAILED)


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


@dataclass(frozen=True)
class _Key:
    person_id: int
    record_id: str


def _chosen(settings: Settings) -> list[_Key]:
    """A linked person for every scene, each with a value in the fields that the scene touches."""
    keys: list[_Key] = []
    with duckdb.connect(settings.snapshot_file, read_only=True) as snapshot:
        for scene in SCENES:
            filled = " and ".join(f'"{field}" is not null' for field in scene.columns)
            taken = ", ".join(str(key.person_id) for key in keys) or "0"
            rows = snapshot.execute(
                f"select person_id_marketo, {scene.record_type}_id_dynamics from people "
                f"where record_type = ? and {filled} and person_id_marketo not in ({taken}) order by 1 limit 1",
                [scene.record_type],
            ).fetchall()
            keys.append(_Key(*rows[0]))
    return keys


class _People:
    """A salesperson in Dynamics and a marketer in Marketo, each with a client of their own."""

    def __init__(self, environment: dict[str, str], settings: Settings) -> None:
        self._environment = environment
        self._trust = ssl.create_default_context(cafile=settings.ca_file)

    @contextmanager
    def at_work(self) -> Iterator[_People]:
        environment = self._environment
        with (
            httpx.Client(base_url=environment["DATAVERSE_URL"], verify=self._trust) as sales,
            httpx.Client(base_url=environment["MARKETO_URL"], verify=self._trust) as marketing,
        ):
            token = marketing.get(
                "/identity/oauth/token",
                params={
                    "grant_type": "client_credentials",
                    "client_id": environment["MARKETO_CLIENT_ID"],
                    "client_secret": environment["MARKETO_CLIENT_SECRET"],
                },
            )
            marketing.headers["Authorization"] = f"Bearer {_answered(token)['access_token']}"
            sales.headers["Authorization"] = f"Bearer {environment['DATAVERSE_TOKEN']}"
            self._sales, self._marketing = sales, marketing
            yield self

    def play(self, scene: Scene, key: _Key) -> None:
        """Make the scene's edits on both sides."""
        if scene.in_dynamics:
            body = {scene.columns[field]: value for field, value in scene.in_dynamics.items()}
            self._sales.patch(
                f"/api/data/v9.2/{scene.record_type}s({key.record_id})", json=body, headers={"If-Match": "*"}
            ).raise_for_status()
        if scene.in_marketo:
            edit = {"action": "updateOnly", "lookupField": "id", "input": [{"id": key.person_id, **scene.in_marketo}]}
            _answered(self._marketing.post("/rest/v1/leads.json", json=edit))

    def create_lead(self, first: str, last: str) -> None:
        """Enter a new lead in Dynamics."""
        body = {"firstname": first, "lastname": last, "subject": "Met at the fair", "companyname": "Fabrikam"}
        self._sales.post("/api/data/v9.2/leads", json=body).raise_for_status()

    def found(self, scene: Scene, key: _Key) -> dict[str, tuple[str | None, str | None]]:
        """What now stands in Dynamics and in Marketo, by field."""
        record = self._sales.get(
            f"/api/data/v9.2/{scene.record_type}s({key.record_id})",
            params={"$select": ",".join(scene.columns.values())},
        )
        person = self._marketing.get(
            "/rest/v1/leads.json",
            params={"filterType": "id", "filterValues": str(key.person_id), "fields": ",".join(scene.columns)},
        )
        in_dynamics, in_marketo = _answered(record), _answered(person)["result"][0]
        return {field: (in_dynamics[column], in_marketo.get(field)) for field, column in scene.columns.items()}


def _answered(reply: httpx.Response) -> dict[str, Any]:
    reply.raise_for_status()
    body: dict[str, Any] = reply.json()
    if not body.get("success", True):
        raise RuntimeError(f"the emulator refused: {body['errors']}")
    return body


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


def _show(
    settings: Settings,
    results: list[tuple[Scene, _Key, dict[str, tuple[str | None, str | None]]]],
    first: CycleReport,
    second: CycleReport,
    third: CycleReport,
) -> bool:
    table = Table(title="\nWhat became of the edits", title_justify="left", show_lines=True)
    for name in ("", "What people did", "Field", "Dynamics said", "Marketo said", "Now on both sides", "Rule"):
        table.add_column(name)
    rules = _rules(settings, second.cycle_id)
    all_right = True
    for scene, key, found in results:
        is_right = all(values == (scene.after[field], scene.after[field]) for field, values in found.items())
        all_right &= is_right
        table.add_row(
            "[green]✓[/]" if is_right else "[red]✗[/]",
            scene.title,
            "\n".join(scene.columns),
            "\n".join(_said(scene.in_dynamics, field) for field in scene.columns),
            "\n".join(_said(scene.in_marketo, field) for field in scene.columns),
            "\n".join(_now(*values) for values in found.values()),
            "\n".join(rules.get((key.person_id, field), "no write (R38)") for field in scene.columns),
        )
    prints_to.print(table)
    for sentence, is_right in (
        (
            f"The new lead became a person in Marketo (R15): {second.to_marketo.n_created} created",
            second.to_marketo.n_created == 1,
        ),
        (
            f"{second.plan.n_collisions} collisions settled; the losing values are kept in the table collisions",
            second.plan.n_collisions == 2,
        ),
        ("The third cycle wrote nothing", third.plan.n_operations == 0),
        (
            f"{first.to_marketo.n_refused} sample records were refused, as they should be: see sync_errors",
            first.to_marketo.n_refused > 0,
        ),
    ):
        all_right &= is_right
        prints_to.print(f"{'[green]✓[/]' if is_right else '[red]✗[/]'} {sentence}")
    prints_to.print("\n[bold]Where to look next[/]")
    prints_to.print(
        f"  The snapshot:   {settings.snapshot_file} (tables people, contacts, leads, accounts, changes, collisions)",
        highlight=False,
    )
    prints_to.print(
        "  What changed:   select direction, field, old_value, new_value, rule from changes order by change_id desc",
        highlight=False,
    )
    prints_to.print("  In the browser: make dev", highlight=False)
    return all_right
