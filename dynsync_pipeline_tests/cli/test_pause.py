"""`dynsync pause`, `dynsync resume`, and what is told of whoever gives a command that changes anything."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import dagster as dg
import pytest
from pydantic import SecretStr

from dynsync_pipeline.definitions import build_definitions
from dynsync_pipeline.errors import StorageFailed
from dynsync_pipeline.model.records import RecordType
from dynsync_pipeline.requests.desk import Desk
from dynsync_pipeline.requests.store import RequestStore
from dynsync_pipeline.settings import Settings
from dynsync_pipeline.warehouse.operator_actions import FOLDER, leave_action, operator
from dynsync_pipeline.warehouse.pause import FILE, read_pause
from dynsync_pipeline_tests.cli.conftest import HandMade, Run
from dynsync_pipeline_tests.properties.effort import story
from dynsync_pipeline_tests.worlds.memory import MemoryWorld, field_map

pytestmark = story

WHY = "O'Brien imports 🧯 שלום"


def skipped(settings: Settings, sensor: str) -> str:
    repository = build_definitions(settings).get_repository_def()
    with dg.DagsterInstance.ephemeral() as instance:
        context = dg.build_sensor_context(instance=instance, repository_def=repository)
        return repository.get_sensor_def(sensor).evaluate_tick(context).skip_message or ""


def test_a_pause_holds_sensor_doors_and_watchdog_until_it_is_ended(run: Run, hand_made: HandMade) -> None:
    """And tells who holds them, and why, wherever somebody asks."""
    hand_made.publish(hand_made.cycle(1, "2020-01-01 00:00:00"))
    settings = Settings(
        data_dir=hand_made.settings.data_dir,
        dynamics_url="https://dynamics.test",
        dynamics_tenant_id="tenant",
        dynamics_client_id="client",
        dynamics_client_secret=SecretStr("no secret"),
        marketo_url="https://marketo.test",
        marketo_client_id="client",
        marketo_client_secret=SecretStr("no secret"),
    )
    watch = ("status", "--fail-if-older-than", "1h")
    assert run(*watch, environment=hand_made.environment).code == 1
    held = run("pause", "--why", WHY, environment=hand_made.environment)
    assert held.code == 0
    told = held.out.strip()
    assert told.startswith(f"Paused by {operator()} since ")
    assert told.endswith(f"({WHY}); `dynsync resume` ends that.")
    assert skipped(settings, "cycle_sensor") == told
    with RequestStore(settings.requests_file) as store, Desk(settings, store) as desk:
        assert desk.serve() == f"{told} What is queued is kept until then."
    watched = run(*watch, environment=hand_made.environment, width=200)
    assert (watched.code, told in watched.out) == (0, True)
    figures = json.loads(run(*watch, "--json", environment=hand_made.environment).out)
    assert figures["paused"]["why"] == WHY
    again = run("pause", "--why", "another", environment=hand_made.environment)
    assert again.out.strip() == told, "a pause stays whose it was"
    assert run("resume", environment=hand_made.environment).code == 0
    assert skipped(settings, "cycle_sensor") == ""
    assert run(*watch, environment=hand_made.environment).code == 1
    assert "Nobody has paused it" in run("resume", environment=hand_made.environment).out


def test_a_pause_that_cannot_be_read_holds_all_the_same(tmp_path: Path) -> None:
    for text in (b"", b"\xff", b"[]", b'{"since": 5}', b"null"):
        (tmp_path / FILE).write_bytes(text)
        assert str(read_pause(tmp_path)) == "Paused; `dynsync resume` ends that."
    (tmp_path / FILE).unlink()
    assert read_pause(tmp_path) is None
    (tmp_path / FILE).mkdir()
    with pytest.raises(StorageFailed, match=FILE):
        read_pause(tmp_path)


def test_a_pause_in_a_folder_that_is_none_yet_and_one_without_a_why(run: Run, tmp_path: Path) -> None:
    environment = {"DYNSYNC_DATA_DIR": str(tmp_path / "new" / "data")}
    assert run("pause", environment=environment).out.startswith("Paused by")
    assert "(" not in str(read_pause(tmp_path / "new" / "data"))
    assert stat.S_IMODE((tmp_path / "new" / "data").stat().st_mode) == 0o700
    assert run("pause", "--why", "a\x1b[31mb", environment=environment).code == 2


@pytest.fixture(scope="module")
def world() -> MemoryWorld:
    world = MemoryWorld(field_map("title,jobtitle,text,both,true"), publishes=True)
    world.link(RecordType.LEAD, "r1", title="A")
    world.cycle()
    return world


def told(world: MemoryWorld) -> list[tuple[str, dict[str, object]]]:
    rows = world.rows("select command, plan from ledger.operator_actions order by entry_id")
    return [(command, json.loads(plan)) for command, plan in rows]


def test_an_action_reaches_the_ledger_once_whatever_is_killed(
    world: MemoryWorld, caplog: pytest.LogCaptureFixture
) -> None:
    """What stands in the folder again after the commit, as after a kill, is known by its id; what nobody can read stays."""
    folder = world.settings.data_dir / FOLDER
    leave_action(world.settings.data_dir, "merge --apply", {"proposals": {"n": 1, "ids": [7]}})
    leave_action(world.settings.data_dir, "resume", {})
    (file, _) = sorted(folder.iterdir())
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    text = file.read_bytes()
    (folder / "half.json").write_text('{"acted_at": "2026-01')
    (folder / "x.json.123.new").write_text("what a kill left")
    world.cycle()
    assert told(world) == [("merge --apply", {"proposals": {"n": 1, "ids": [7]}}), ("resume", {})]
    assert not file.exists()
    assert "half.json" in caplog.text
    file.write_bytes(text)
    world.cycle()
    assert len(told(world)) == 2
    assert not file.exists()
    assert world.rows("select distinct who from ledger.operator_actions") == [(operator(),)]


def test_whoever_gives_a_command_by_sudo_is_told_by_their_own_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUDO_USER", "anna")
    assert operator() == "anna"


def test_a_command_that_changes_something_is_told_and_one_that_is_refused_is_not(run: Run, hand_made: HandMade) -> None:
    """Of what it was about the ids and numbers are told, and no value of anybody's."""
    error = "1, 1, now(), now(), 'lead', 10, 'aaa', 'title', 'update', 'to_dynamics', '1', 'Too long', 2, 'waiting'"
    columns = (
        "error_id, cycle_id, happened_at, last_seen_at, record_type, person_id, dynamics_id, field, operation, direction, code, "
        "message, attempts, state"
    )
    hand_made.publish(f"insert into ledger.sync_errors ({columns}) values ({error})")
    assert run("errors", "--release", "9", environment=hand_made.environment).code == 2
    assert hand_made.actions() == []
    assert run("errors", "--release", "1", environment=hand_made.environment).code == 0
    assert hand_made.actions() == [("errors --release", {"errors": {"n": 1, "ids": [1]}})]
