"""What README and the pages for users name is there, and nothing they should name is missing; queries and walks run."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
import typer

from dynsync_pipeline.cli.commands import COMMANDS, app, load
from dynsync_pipeline.settings import PREFIX, Settings
from dynsync_pipeline_tests.properties.effort import story
from dynsync_pipeline_tests.worlds.http import HttpWorld

ROOT = Path(__file__).parent.parent.parent
README = (ROOT / "README.md").read_text("utf-8")
CONNECT, FIELD_MAP, OPERATE, QUESTIONS, TRY_IT = (
    (ROOT / "docs" / f"{name}.md").read_text("utf-8")
    for name in ("connect", "field-map", "operate", "questions", "try-it")
)
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
GUIDE = "\n".join([README, CONNECT, FIELD_MAP, OPERATE, QUESTIONS, TRY_IT, CONTRIBUTING])
EXAMPLES = list(dict.fromkeys(re.findall(r"```sql\n(.*?)```", GUIDE, re.DOTALL)))
load(COMMANDS)
GROUP = typer.main.get_group(app)
LOADED = {name: command for name, command in GROUP.commands.items() if not command.hidden}


def in_code(pattern: str) -> list[str]:
    """What `pattern` finds between backticks and in fenced blocks."""
    code = "\n".join(re.findall(r"```.*?```|`[^`\n]+`", GUIDE, re.DOTALL))
    return re.findall(pattern, code)


def test_the_readme_is_short() -> None:
    assert len(README.splitlines()) <= 200


def test_every_command_is_in_the_table_and_no_other() -> None:
    assert sorted(re.findall(r"^\| `dynsync ([a-z]+)", README, re.MULTILINE)) == sorted(LOADED)


def test_the_list_of_commands_says_of_each_how_its_help_begins() -> None:
    assert COMMANDS.keys() == LOADED.keys()
    for name, summary in COMMANDS.items():
        assert (LOADED[name].help or "").startswith(summary), name


def test_no_command_or_option_is_named_that_does_not_exist() -> None:
    named = {tuple(call.split()) for call in in_code(r"(?m)(?:^|`|\s)dynsync ([a-z]+(?: +(?:--[a-z-]+|[^-\s`#]\S*))*)")}
    assert {name for name, *_ in named} <= LOADED.keys()
    options = {(name, option) for name, *rest in named for word in rest for option in re.findall(r"--[a-z-]+", word)}
    assert options, "the pattern finds no option any more"
    for name, option in options:
        assert option in {text for parameter in LOADED[name].params for text in parameter.opts}, (name, option)


def test_the_exit_codes_are_those_of_each_commands_help() -> None:
    for name, codes in re.findall(r"^\| `dynsync ([a-z]+)[^|]*\|[^|]*\| ([^|]*) \|$", README, re.MULTILINE):
        told = re.split("Exit codes:", LOADED[name].help or "")[1]
        assert re.findall(r"(?:^|, )(\d)\b", codes) == re.findall(r"(?:^|,)\s*(\d)\b", told), name


def test_every_make_target_is_named_and_no_other() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    assert set(in_code(r"\bmake ([a-z]+)")) == set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))


def test_every_setting_that_is_named_exists() -> None:
    named = set(re.findall(rf"{PREFIX}([A-Z0-9_]+)", GUIDE))
    assert len(named) > 15
    assert {name.lower() for name in named} <= Settings.model_fields.keys()


def test_every_guards_setting_and_default_is_told_right() -> None:
    fields = Settings.model_fields
    assert f"`{PREFIX}MAX_CREATES` ({fields['max_creates'].default:,})" in OPERATE
    assert fields["largest_share"].default == 0.2, "operate.md says a fifth"
    assert fields["pause_s"].default == 300, "operate.md says five minutes"
    assert fields["cycle_limit_s"].default == 6 * 3600, "operate.md says six hours"
    assert f"(default {fields['marketo_calls_per_day'].default:,})" in CONNECT


def test_every_key_field_is_told_with_its_setting() -> None:
    told = dict(re.findall(rf"\| `(\w+)` \| \w+ \| [^|]+ \| `{PREFIX}(\w+)` \|", CONNECT))
    fields = {name: field.default for name, field in Settings.model_fields.items() if "marketo_field_" in name}
    assert {setting.lower(): name for name, setting in told.items()} == fields


@pytest.fixture(scope="module")
def edited_world(shared_world: HttpWorld) -> HttpWorld:
    """A world in which every question has an answer."""
    world = shared_world
    account = world.create_record("account", name="Before")
    parent = {"parentcustomerid_account@odata.bind": f"/accounts({account})"}
    contact = world.create_record("contact", lastname="Collides", jobtitle="A", **parent)
    refused = world.create_record("contact", lastname="Is refused")
    world.create_record("lead", lastname="Hot", leadqualitycode=1)
    gone = world.create_record("lead", lastname="Is deleted")
    world.create_person(lastName="Stranger")
    world.sync()
    assert world.sales.delete(f"/api/data/v9.2/leads({gone})").status_code == 204
    world.edit_person(world.person_of("contact", refused), unsubscribed=True)
    world.edit_record("account", account, name="After")
    world.edit_record("contact", contact, jobtitle="B")
    world.edit_person(world.person_of("contact", contact), title="C")
    world.edit_person(world.person_of("contact", refused), title="x" * 150)  # Dynamics takes 100 characters
    world.sync()
    return world


def test_there_are_twenty_questions_each_with_one_query() -> None:
    assert len(re.findall(r"```sql\n(.*?)```", QUESTIONS, re.DOTALL)) == 20


@pytest.mark.parametrize("query", EXAMPLES, ids=lambda query: query.split(" ", 2)[1].strip(","))
def test_every_query_runs_and_finds_something(query: str, edited_world: HttpWorld) -> None:
    ((person_id,),) = edited_world.query("select max(person_id_marketo) from collisions")
    asked = query.replace("1001", str(person_id)).replace("2026-11-01 12:00", f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S}")
    assert edited_world.query(asked)


def test_the_snippet_in_python_runs(edited_world: HttpWorld, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (snippet,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "demo").symlink_to(edited_world.data_dir)
    monkeypatch.chdir(tmp_path)
    printed: list[object] = []
    exec(compile(snippet, "README.md", "exec"), {"print": printed.append})
    assert len(printed) == 1
    assert "succeeded" in str(printed[0])


def test_the_snippet_for_pandas_runs(edited_world: HttpWorld, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (snippet,) = re.findall(r"```python\n(.*?)```", QUESTIONS, re.DOTALL)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "demo").symlink_to(edited_world.data_dir)
    monkeypatch.chdir(tmp_path)
    printed: list[object] = []
    exec(compile(snippet, "questions.md", "exec"), {"print": printed.append})
    assert "title" in str(printed[0])


@pytest.mark.skipif(not (shutil.which("curl") and shutil.which("bash")), reason="the walk is for bash and curl")
@story
def test_the_walk_by_hand_ends_as_it_says(make_world: Callable[..., HttpWorld], tmp_path: Path) -> None:
    """The blocks of docs/try-it.md, as they stand, but for the emulators, which run in this process."""
    world = make_world(fields=None, n_accounts=1, n_contacts=2)
    serve, *walk = re.findall(r"```sh\n(.*?)```", TRY_IT, re.DOTALL)
    assert "dynsync emulate --state data/try/emulator" in serve
    settings = world.emulators.environment | world.environment
    for name, text in {
        "data/try/emulator/emulator.env": "".join(f"{name}={value}\n" for name, value in settings.items()),
        ".venv/bin/activate": f"PATH={Path(sys.executable).parent}:$PATH\n",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text(text)
    environment = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    script = "set -e\n" + "\n".join(walk) + '\necho "picked $PERSON $CONTACT"\n'
    done = subprocess.run(["bash", "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    _, person, contact = done.stdout.splitlines()[-1].split()
    record = world.record("contact", contact)
    assert (record["jobtitle"], record["telephone1"]) == ("Head of Sales", "+1 555 0100")
    assert world.person(int(person), "title", "phone") | {"id": 0} == {
        "id": 0,
        "title": "Head of Sales",
        "phone": "+1 555 0100",
    }
    world.data_dir = tmp_path / "data" / "try"
    assert world.query("select field, winner from collisions") == [("title", "dynamics")]
    written = "n_people_updated + n_records_updated + n_people_created"
    assert [row[0] for row in world.query(f"select {written} from cycles order by cycle_id")][1:] == [2, 0]
