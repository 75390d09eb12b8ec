"""A working file of any earlier version is brought to this one, whole or not at all, and the sync goes on as if nothing were."""

from __future__ import annotations

import lzma
import shutil
from datetime import timedelta
from pathlib import Path

import duckdb
import pytest

from dynsync_pipeline.operate.backup import utc_now
from dynsync_pipeline.operate.restore import restore
from dynsync_pipeline.warehouse import connection
from dynsync_pipeline.warehouse.connection import SCHEMA_VERSION, Warehouse
from dynsync_pipeline_tests.properties.effort import story
from dynsync_pipeline_tests.releases.played import CONTACT, FIELDS, FOLDER, LEAD, play
from dynsync_pipeline_tests.worlds.cuts import Cut
from dynsync_pipeline_tests.worlds.kept import KeptWorld

pytestmark = story

STORED = sorted(FOLDER.glob("*.duckdb.xz"))
LEDGERS = ("changes", "collisions", "activities", "cycles", "sync_errors")


def unpacked(stored: Path, file: Path) -> Path:
    with lzma.open(stored) as packed, file.open("wb") as plain:
        shutil.copyfileobj(packed, plain)
    return file


def played(stored: Path) -> KeptWorld:
    """The two systems as that version left them, with its working file."""
    world = KeptWorld(FIELDS)
    play(world, world.settled)
    unpacked(stored, world.settings.working_file)
    world.dynamics.version += 1_000  # whatever number the feed had come to by then
    world.clock += timedelta(days=1)
    return world


def counts(file: Path) -> dict[str, int]:
    with duckdb.connect(file, read_only=True) as working:
        return {
            name: working.execute(f"select count(*) from {name}").fetchall()[0][0]
            for name in (*(f"ledger.{name}" for name in LEDGERS), "state.links", "state.base", "state.tombstones")
        }


def test_there_is_a_file_to_test_with() -> None:
    assert STORED


@pytest.mark.parametrize("stored", STORED, ids=lambda file: file.name.partition(".duckdb")[0])
def test_the_sync_goes_on_after_an_upgrade_and_nobodys_edits_are_lost(stored: Path) -> None:
    world = played(stored)
    before = counts(world.settings.working_file)
    with Warehouse(world.settings.working_file):
        pass
    assert counts(world.settings.working_file) == before
    n_writes = len(world.dynamics.writes), len(world.marketo.writes)
    world.dynamics.put(CONTACT, "c1", telephone1="2")
    world.marketo.put(1005, title="Chief")  # the person of l0
    world.settled()
    assert (len(world.dynamics.writes), len(world.marketo.writes)) == (n_writes[0] + 1, n_writes[1] + 1)
    assert world.both(1002, "phone") == ("2", "2")
    assert world.dynamics.rows[LEAD, "l0"].values["jobtitle"] == "Chief"
    assert world.both(1001, "title") == ("Sent", "As kept")
    assert world.errors() == []


@pytest.mark.parametrize("stored", STORED, ids=lambda file: file.name.partition(".duckdb")[0])
def test_a_backup_of_an_earlier_version_can_be_put_back(stored: Path) -> None:
    world = played(stored)
    backup = world.back_up().file
    world.settings.working_file.unlink()
    restore(world.settings, backup, utc_now())
    n_writes = len(world.dynamics.writes), len(world.marketo.writes)
    world.settled()
    assert (len(world.dynamics.writes), len(world.marketo.writes)) == n_writes


def test_a_kill_during_an_upgrade_leaves_the_file_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = unpacked(FOLDER / "schema-2.duckdb.xz", tmp_path / "dynsync.duckdb")
    before = counts(file)

    def cut(*_: object) -> None:
        raise Cut

    with monkeypatch.context() as patch, pytest.raises(Cut):
        patch.setattr(connection, "_spell_anew", cut)
        Warehouse(file)
    with duckdb.connect(file, read_only=True) as working:
        assert working.execute("select max(version) from schema_version").fetchall() == [(2,)]
    with Warehouse(file) as warehouse, warehouse.reading() as again:
        assert again.execute("select max(version) from schema_version").fetchall() == [(SCHEMA_VERSION,)]
    assert counts(file) == before
