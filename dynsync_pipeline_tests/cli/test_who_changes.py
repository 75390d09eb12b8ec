"""A command either changes nothing, or is told: in `operator_actions`, or where else this file says of each."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from dynsync_pipeline.cli.commands import COMMANDS
from dynsync_pipeline_tests.cli.conftest import Run
from dynsync_pipeline_tests.properties.effort import story
from dynsync_pipeline_tests.worlds.http import HttpWorld, settings_from

# What these show, with arguments that show it; PERSON, CYCLE, MAP and FILE stand for ones that there are.
SHOW = {
    "approve": [],
    "backfill": ["--field", "title"],
    "backup": ["--list"],
    "case": ["PERSON", "--to", "FILE"],
    "check": [],
    "errors": [],
    "explain": ["PERSON"],
    "filter": [],
    "merge": [],
    "parity": [],
    "plan": [],
    "requests": [],
    "review": [],
    "rules": ["cases"],
    "setup": [],
    "status": [],
    "undo": ["CYCLE"],
    "whatif": ["--field-map", "MAP"],
}
# Of some of those too where they are told to change something; the tests of each hold that it leaves its row.
TOLD = {
    *("adopt", "approve", "assign", "backfill", "errors", "forget", "merge", "pause", "push", "requests", "restore"),
    *("resume", "review", "setup", "task", "undo"),
}
ELSEWHERE = {
    "audit": "cycles look at what it finds, and `audit_findings` has it",
    "demo": "a folder of its own",
    "dev": "runs cycles, each of which is a row of `cycles`",
    "emulate": "no system but the emulators",
    "init": "files that are there afterwards, and no sync yet",
    "listen": "what webhooks ask for is in `requests`",
    "notify": "sends what is known",
    "pairs": "shows folders, of which this world has none",
    "sync": "a row of `cycles`",
}


def test_of_every_command_it_is_known_whether_it_changes_anything_and_where_that_is_told() -> None:
    assert COMMANDS.keys() == SHOW.keys() | TOLD | ELSEWHERE.keys()
    assert not ELSEWHERE.keys() & (SHOW.keys() | TOLD)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[HttpWorld]:
    """A contact and a lead, synced, and edited on both sides since; somebody asked for a stranger, and a backup is there."""
    with HttpWorld(tmp_path / "world") as world:
        contact = world.create_record("contact", lastname="Lovelace", jobtitle="Analyst")
        world.create_record("lead", lastname="Lead", subject="Fair")
        world.sync()
        world.edit_record("contact", contact, jobtitle="Countess")
        world.sync()
        world.edit_person(world.person_of("contact", contact), title="Duchess")
        world.edit_record("contact", contact, telephone1="1")
        assert world.dynsync("backup").returncode == 0
        yield world


def held(world: HttpWorld) -> dict[str, object]:
    """All rows of the working file, and all other files of the data folder by their content, but for the lock."""
    folder = world.data_dir
    found: dict[str, object] = {
        str(file.relative_to(folder)): file.read_bytes()
        for file in folder.rglob("*")
        if file.is_file() and not file.name.startswith(("cycle.", "dynsync.duckdb"))
    }
    with duckdb.connect(settings_from(world.environment).working_file, read_only=True) as connection:
        for schema, table in connection.execute(
            "select schema_name, table_name from duckdb_tables() where not internal order by all"
        ).fetchall():
            found[f"{schema}.{table}"] = connection.execute(f'from "{schema}"."{table}" order by all').fetchall()
    return found


@story
def test_a_command_that_shows_something_changes_nothing_and_is_not_told(run: Run, world: HttpWorld) -> None:
    ((person, cycle),) = world.query("select max(person_id_marketo), max(cycle_id) from people, cycles")
    stands_for = {
        "PERSON": str(person),
        "CYCLE": str(cycle),
        "MAP": world.environment["DYNSYNC_FIELD_MAP"],
        "FILE": str(world.folder / "case.json"),
    }
    before, marks = held(world), world.marks()
    for command, arguments in SHOW.items():
        ran = run(command, *(stands_for.get(each, each) for each in arguments), environment=world.environment)
        assert ran.code in (0, 1), f"{command}: {ran.err}"
        assert world.marks() == marks, command  # `check` asks for a company that there is not, to see whether it may
        after = held(world)
        changed = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
        assert changed == set(), command
