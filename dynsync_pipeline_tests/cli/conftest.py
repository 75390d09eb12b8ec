"""What the tests of the command line share: one synced world to look at, and a way to run commands in this process."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from dynsync_pipeline.cli import main
from dynsync_pipeline.cli.output import errors_to, prints_to
from dynsync_pipeline.model.field_map import load_field_map
from dynsync_pipeline.publish.snapshot import publish_snapshot
from dynsync_pipeline.settings import Settings
from dynsync_pipeline.warehouse.connection import Warehouse
from dynsync_pipeline.warehouse.cycles import ended
from dynsync_pipeline.warehouse.follow_map import follow_field_map
from dynsync_pipeline_tests.worlds.http import HttpWorld

TOO_LONG = "Senior " * 29 + "Analyst"  # Dynamics takes 100 characters of a job title
REFUSED_EMAIL = "grüße@example.com"  # Marketo refuses it


@dataclass(frozen=True)
class Ran:
    """What a command left behind."""

    code: int
    out: str
    err: str


Run = Callable[..., Ran]


@dataclass(frozen=True)
class Looked:
    """A world after four cycles, and who is in it."""

    world: HttpWorld
    account_id: str
    contact_id: str
    contact: int
    lead_id: str
    lead: int
    refused_id: str
    stranger: int


@pytest.fixture(scope="session")
def looked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Looked]:
    """An account with a contact, a lead, a contact that Marketo refuses, a person whom only Marketo knows.

    Later: an edit on one side, a collision on the lead, a title that Dynamics refuses beside a phone that it takes, and
    a one-way field edited on the wrong side.
    """
    with HttpWorld(tmp_path_factory.mktemp("looked"), fields=None) as world:
        account_id = world.create_record("account", name="Fabrikam", address1_city="Oslo")
        contact_id = world.create_record(
            "contact",
            firstname="Ada",
            lastname="[bold]Lovelace[/]",
            emailaddress1="Ada.L@example.com",
            jobtitle="Analyst",
            **{"parentcustomerid_account@odata.bind": f"/accounts({account_id})"},
        )
        lead_id = world.create_record("lead", firstname="Leo", lastname="Lead", subject="Fair", address1_city="Bern")
        refused_id = world.create_record("contact", lastname="Refused", emailaddress1=REFUSED_EMAIL)
        world.sync()
        contact, lead = world.person_of("contact", contact_id), world.person_of("lead", lead_id)
        stranger = world.create_person(lastName="Stranger", email="stranger@example.com")
        world.edit_record("contact", contact_id, jobtitle="Countess")
        world.edit_record("lead", lead_id, address1_city="Genf")
        world.edit_person(lead, city="Bâle")
        world.sync()
        world.edit_person(contact, title=TOO_LONG, phone="+44 20", leadStatus="Inactive")
        world.sync()
        world.sync()
        yield Looked(world, account_id, contact_id, contact, lead_id, lead, refused_id, stranger)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """Runs `dynsync` in this process: `run("status", "--json", environment=…, width=120)`."""

    def run(*arguments: str, environment: dict[str, str], width: int = 120) -> Ran:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.chdir(tmp_path)  # away from any .env file
        monkeypatch.setattr(prints_to, "width", width)
        monkeypatch.setattr(errors_to, "width", 400)  # sentences in one line
        monkeypatch.setattr(sys, "argv", ["dynsync", *arguments])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        return Ran(int(ended.value.code or 0), printed.out, printed.err)

    return run


class HandMade:
    """A data folder whose working file is filled by hand and published by the real publisher."""

    def __init__(self, data_dir: Path) -> None:
        self.environment = {"DYNSYNC_DATA_DIR": str(data_dir)}
        self.settings = Settings(data_dir=data_dir)
        self.fields = load_field_map()

    def publish(self, *statements: str) -> None:
        """Execute these on the working file, then swap a snapshot in."""
        with Warehouse(self.settings.working_file) as warehouse:
            with warehouse.transaction() as connection:
                follow_field_map(connection, self.fields)
                for statement in statements:
                    connection.execute(statement)
            publish_snapshot(
                warehouse, self.settings, self.fields, ended(0, warehouse.now(), is_whole=True, failures=[])
            )

    def actions(self) -> list[tuple[str, Any]]:
        """The commands that the working file tells of, with what they were about."""
        with Warehouse(self.settings.working_file) as warehouse, warehouse.reading() as connection:
            told = connection.execute("select command, plan from ledger.operator_actions order by entry_id").fetchall()
        return [(command, json.loads(plan)) for command, plan in told]

    def cycle(self, cycle_id: int, ended_at: str, status: str = "succeeded", message: str = "") -> str:
        """The statement that adds a cycle of ten seconds with 7 and 11 calls."""
        return (
            "insert into ledger.cycles (cycle_id, started_at, ended_at, status, message, is_whole, "
            f"n_calls_dynamics, n_calls_marketo) values ({cycle_id}, timestamp '{ended_at}' - interval 10 seconds, '{ended_at}', "
            f"'{status}', nullif('{message}', ''), {status == 'succeeded' and not message}, 7, 11)"
        )


@pytest.fixture(scope="session")
def published_empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with an empty working file, its snapshot swapped in; made once, because that is most of the work."""
    folder = tmp_path_factory.mktemp("empty")
    HandMade(folder).publish()
    return folder


@pytest.fixture
def unborn(tmp_path: Path) -> HandMade:
    """An empty data folder, as before the first cycle."""
    return HandMade(tmp_path)


@pytest.fixture
def hand_made(tmp_path: Path, published_empty: Path) -> HandMade:
    """A data folder of one's own in which nothing stands yet."""
    shutil.copytree(published_empty, tmp_path, dirs_exist_ok=True)
    return HandMade(tmp_path)
