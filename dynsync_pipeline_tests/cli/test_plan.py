"""`dynsync plan`: it shows what the next cycle then does, and changes nothing anywhere."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

from dynsync_pipeline.cli import plan as command
from dynsync_pipeline.look.step import read_step, step_tables
from dynsync_pipeline.warehouse import cycle_lock
from dynsync_pipeline.warehouse.cycle_lock import CycleLock
from dynsync_pipeline_tests.cli.conftest import HandMade, Run
from dynsync_pipeline_tests.properties.effort import story
from dynsync_pipeline_tests.worlds.http import HttpWorld, settings_from

pytestmark = story


class Edited:
    """A synced world in which people then edited both sides."""

    def __init__(self, world: HttpWorld) -> None:
        self.world = world
        self.account_id = world.create_record("account", name="Fabrikam", address1_city="Oslo")
        self.contact_id = world.create_record(
            "contact",
            lastname="Contact",
            jobtitle="Analyst",
            **{"parentcustomerid_account@odata.bind": f"/accounts({self.account_id})"},
        )
        self.lead_id = world.create_record("lead", lastname="Lead", subject="Fair", address1_city="Bern")
        world.sync()
        world.sync()
        self.contact = world.person_of("contact", self.contact_id)
        self.lead = world.person_of("lead", self.lead_id)
        world.edit_record("contact", self.contact_id, jobtitle="Countess")
        world.edit_record("account", self.account_id, address1_city="Bergen")
        world.edit_record("lead", self.lead_id, address1_city="Genf")
        world.edit_person(self.lead, city="Bâle", phone="+41")
        self.new_id = world.create_record("lead", lastname="Newcomer", subject="Fair")


@pytest.fixture(scope="module")
def edited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edited]:
    """The last test of this file syncs it; the others leave it as it is."""
    with HttpWorld(tmp_path_factory.mktemp("planned")) as world:
        yield Edited(world)


def fingerprints(folder: Path) -> dict[str, str]:
    """Every file of a data folder by its content, except what the lock file tells."""
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.iterdir()
        if path.name != "cycle.lock"
    }


def planned(run: Run, edited: Edited) -> dict[str, Any]:
    ran = run("plan", "--json", environment=edited.world.environment)
    assert ran.code == 0, ran.err
    return dict(json.loads(ran.out))


def test_a_plan_holds_every_operation_with_its_values_and_rules(run: Run, edited: Edited) -> None:
    found = planned(run, edited)
    assert {(row["system"], row["action"], row["record_type"]): row["n"] for row in found["groups"]} == {
        ("dynamics", "update", "lead"): 1,
        ("marketo", "company", "account"): 1,
        ("marketo", "create", "lead"): 1,
        ("marketo", "update", "contact"): 1,
    }
    by_record = {row["record_id_dynamics"]: row for row in found["operations"]}
    assert by_record[edited.contact_id]["changes"] == [
        {
            "field": "title",
            "old_value": "Analyst",
            "new_value": "Countess",
            "rule_code": "one_sided",
            "rule": "R34 edited on one side",
        }
    ]
    assert by_record[edited.contact_id]["body"] == {"id": edited.contact, "title": "Countess"}
    assert by_record[edited.lead_id]["body"] == {"address1_city": "Bâle", "telephone1": "+41"}
    assert by_record[edited.new_id]["body"]["lastName"] == "Newcomer"
    (city,) = by_record[edited.account_id]["changes"]
    assert (city["field"], city["old_value"], city["new_value"]) == ("billingCity", "Oslo", "Bergen")
    assert found["n_collisions"] == 1
    (collision,) = found["collisions"]
    assert (collision["person_id_marketo"], collision["field"]) == (edited.lead, "city")
    assert (collision["base_value"], collision["dynamics_value"], collision["marketo_value"]) == (
        "Bern",
        "Genf",
        "Bâle",
    )


def test_a_plan_changes_neither_system_nor_any_file(run: Run, edited: Edited) -> None:
    before = fingerprints(edited.world.data_dir)
    with edited.world.writes_nothing():
        first = planned(run, edited)
        second = planned(run, edited)
    assert fingerprints(edited.world.data_dir) == before
    assert first == second


def test_people_see_a_table_per_kind_of_write(run: Run, edited: Edited) -> None:
    for width in (80, 120):
        shown = run("plan", environment=edited.world.environment, width=width).out
        assert "Update in Marketo: 1 × contact" in shown
        assert "Countess" in shown
        assert "Collisions: 1" in shown
        assert "4 writes, 1 collision. Nothing was changed" in shown
        assert max(len(line) for line in shown.splitlines()) <= width


def step(run: Run, edited: Edited, table: str, *options: str) -> list[dict[str, Any]]:
    ran = run("plan", "--json", "--step", table, *options, environment=edited.world.environment)
    assert ran.code == 0, ran.err
    return list(json.loads(ran.out))


def test_a_step_shows_its_table_for_all_people_or_for_one(run: Run, edited: Edited) -> None:
    """So that a stuck person can be looked at without writing Python."""
    rows = step(run, edited, "differing_fields")
    assert {(row["person_id"], row["field"]) for row in rows} == {
        (edited.contact, "title"), (edited.lead, "city"), (edited.lead, "phone")
    }  # fmt: skip
    (row,) = step(run, edited, "differing_fields", "--person", str(edited.contact))
    assert (row["base_value"], row["dynamics_value"], row["marketo_value"]) == ("Analyst", "Countess", "Analyst")
    assert step(run, edited, "differing_fields", "--person", "999999") == []


def test_every_table_of_the_plan_can_be_shown_for_one_person(edited: Edited) -> None:
    shown = command.planned(
        settings_from(edited.world.environment),
        lambda connection: {table: len(read_step(connection, table, edited.lead)) for table in step_tables()},
    )
    assert {table for table, n in shown.items() if n} >= {"compared_links", "field_outcomes", "planned_writes"}


def test_people_see_a_step_as_one_box_a_row(run: Run, edited: Edited) -> None:
    shown = run("plan", "--step", "field_outcomes", environment=edited.world.environment, width=80).out
    assert "field_outcomes: one row per differing link and field" in shown
    assert "take_dynamics" in shown
    assert max(len(line) for line in shown.splitlines()) <= 80


@pytest.mark.parametrize(
    ("options", "said"),
    [(("--step", "nosuch"), "is no table of the plan"), (("--person", "1"), "name one with --step")],
)
def test_what_is_no_step_is_one_sentence(run: Run, edited: Edited, options: tuple[str, ...], said: str) -> None:
    ran = run("plan", *options, environment=edited.world.environment)
    assert ran.code == 2
    assert said in " ".join(ran.err.replace("│", " ").split())


def test_what_is_not_shown_is_counted(run: Run, edited: Edited, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "MOST_SHOWN", 0)
    shown = run("plan", environment=edited.world.environment).out
    assert shown.count("1 more are not shown: --json has all.") == 4
    assert "Countess" not in shown


def test_no_plan_while_a_cycle_runs(run: Run, edited: Edited) -> None:
    before = fingerprints(edited.world.data_dir)
    with CycleLock(edited.world.data_dir / "cycle.lock"):
        ran = run("plan", environment=edited.world.environment)
    assert ran.code == 3
    assert fingerprints(edited.world.data_dir) == before


def test_a_plan_is_not_taken_for_a_cycle(run: Run, edited: Edited, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cycle_lock, "PATIENCE_S", 0)
    lock_file = edited.world.data_dir / "cycle.lock"
    told = lock_file.read_bytes()
    planned(run, edited)
    assert lock_file.read_bytes() == told
    with CycleLock(lock_file, is_cycle=False):
        assert "Running now: no." in run("status", environment=edited.world.environment).out
        assert "Another command holds cycles off" in run("sync", environment=edited.world.environment).err


def test_a_plan_that_a_guard_stops_ends_with_4_and_leaves_nothing(run: Run, edited: Edited) -> None:
    before = fingerprints(edited.world.data_dir)
    ran = run("plan", environment=edited.world.environment | {"DYNSYNC_MAX_CREATES": "0"})
    assert ran.code == 4
    assert "would create 1 people" in ran.err
    assert fingerprints(edited.world.data_dir) == before


def test_a_plan_whose_system_is_away_ends_with_1_and_leaves_nothing(run: Run, edited: Edited, tmp_path: Path) -> None:
    """The folder is a copy that was made with an address at which nobody answers."""
    folder, nobody = tmp_path / "data", "127.0.0.1:9"
    shutil.copytree(edited.world.data_dir, folder)
    with duckdb.connect(folder / "dynsync.duckdb") as connection:
        connection.execute("update state.systems set host = ? where system = 'marketo'", [nobody])
    before = fingerprints(folder)
    away = {
        "DYNSYNC_DATA_DIR": str(folder),
        "DYNSYNC_MARKETO_URL": f"https://{nobody}",
        "DYNSYNC_RETRY_LIMIT_S": "0",
    }
    ran = run("plan", environment=edited.world.environment | away)
    assert ran.code == 1, ran.err
    assert "Traceback" not in ran.err
    assert fingerprints(folder) == before


def test_what_a_killed_plan_left_is_removed_by_the_next(run: Run, edited: Edited) -> None:
    left = edited.world.data_dir / "plan-killed"
    left.mkdir()
    (left / "dynsync.duckdb").write_bytes(b"half a copy")
    planned(run, edited)
    assert not left.exists()


def test_without_systems_in_the_settings_a_plan_ends_with_2(run: Run, hand_made: HandMade) -> None:
    ran = run("plan", environment=hand_made.environment)
    assert ran.code == 2
    assert not hand_made.settings.lock_file.exists()


def test_a_first_plan_needs_no_working_file_and_makes_none(run: Run, edited: Edited, tmp_path: Path) -> None:
    environment = edited.world.environment | {"DYNSYNC_DATA_DIR": str(tmp_path / "new")}
    ran = run("plan", "--json", environment=environment)
    assert ran.code == 0, ran.err
    assert {row["action"] for row in json.loads(ran.out)["groups"]} >= {"create"}
    assert {path.name for path in (tmp_path / "new").iterdir()} == {"cycle.lock", "cycle.wanted"}


def test_a_write_ahead_log_that_a_kill_left_is_part_of_the_copy(run: Run, edited: Edited, tmp_path: Path) -> None:
    folder = tmp_path / "killed"
    shutil.copytree(edited.world.data_dir, folder)
    with duckdb.connect(folder / "dynsync.duckdb") as working:
        working.execute("set checkpoint_threshold = '1 TB'")
        working.execute("pragma disable_checkpoint_on_shutdown")
        working.execute("update state.base set title = 'Countess' where title = 'Analyst'")
    assert (folder / "dynsync.duckdb.wal").exists()
    environment = edited.world.environment | {"DYNSYNC_DATA_DIR": str(folder)}
    groups = json.loads(run("plan", "--json", environment=environment).out)["groups"]
    # With that base it is Marketo's title that differs, so the write goes the other way.
    assert ("dynamics", "contact") in {(row["system"], row["record_type"]) for row in groups}
    assert (folder / "dynsync.duckdb.wal").exists()


def test_nothing_of_a_record_is_logged(run: Run, edited: Edited, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="dynsync_pipeline"):
        run("plan", environment=edited.world.environment)
    assert "Countess" not in caplog.text
    assert "Newcomer" not in caplog.text


def test_the_next_cycle_does_what_the_plan_showed(run: Run, edited: Edited) -> None:
    found = planned(run, edited)
    edited.world.sync()
    cycle = edited.world.query("select max(cycle_id) from cycles")[0][0]
    done = edited.world.query(
        "select record_id_dynamics, field, old_value, new_value, rule from changes where cycle_id = ?", cycle
    )
    shown = [
        (row["record_id_dynamics"], change["field"], change["old_value"], change["new_value"], change["rule"])
        for row in found["operations"]
        if row["record_type"] != "account"
        for change in row["changes"]
    ]
    assert sorted(map(str, done)) == sorted(map(str, shown))
    assert "Nothing to write" in run("plan", environment=edited.world.environment).out
