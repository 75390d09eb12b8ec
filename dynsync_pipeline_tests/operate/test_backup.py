"""A backup holds one moment whole, and says so only after it was read back; it can be had at any time."""

from __future__ import annotations

import shutil
import sqlite3
import threading
import time
import zipfile
from collections.abc import Callable
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path

import duckdb
import pytest

from dynsync_pipeline.errors import CycleRunning, StorageFailed
from dynsync_pipeline.model.records import RecordType
from dynsync_pipeline.operate.backup import (
    FIELD_MAP,
    REQUESTS,
    WORKING,
    backups,
    made_at,
    make_backup,
    read_contents,
    unpack,
    utc_now,
)
from dynsync_pipeline.operate.wish import back_up
from dynsync_pipeline.requests.store import RequestStore, Wish
from dynsync_pipeline.warehouse.cycle_lock import CycleLock
from dynsync_pipeline_tests.properties.effort import story
from dynsync_pipeline_tests.worlds.kept import KeptWorld

pytestmark = story

LIMIT = timedelta(minutes=4)
MADE_AT = datetime.fromisoformat("2026-01-02T03:04:05.678")


@pytest.fixture(scope="module")
def world() -> KeptWorld:
    """A synced contact, and a request that is open."""
    world = KeptWorld()
    world.link(RecordType.CONTACT, "c1", title="O'Brien 🦊")
    world.settled()
    with RequestStore(world.settings.requests_file) as store:
        store.ask([Wish(4711, RecordType.LEAD, "push")], utc_now())
    return world


def begin_cycle(world: KeptWorld) -> Callable[[], None]:
    """Begin a cycle in another thread, as another process would; returns what ends it."""
    has_begun, may_end = threading.Event(), threading.Event()

    def run() -> None:
        with world.opened() as cycle:
            cycle.extract()
            has_begun.set()
            may_end.wait(LIMIT.total_seconds())
            cycle.reconcile()
            cycle.write_dynamics()
            cycle.write_marketo()
            cycle.publish()

    thread = threading.Thread(target=run)
    thread.start()
    has_begun.wait(LIMIT.total_seconds())

    def end() -> None:
        may_end.set()
        thread.join()

    return end


def test_it_holds_working_file_requests_field_map_and_versions_for_the_owner_alone(
    world: KeptWorld, tmp_path: Path
) -> None:
    made = make_backup(world.settings, MADE_AT)
    assert made.file.name == "dynsync-20260102T030405.678.zip"
    assert made_at(made.file) == MADE_AT
    assert [oct(path.stat().st_mode)[-3:] for path in (made.file, made.file.parent)] == ["600", "700"]
    told = unpack(made.file, tmp_path)
    assert told == made.contents
    assert (told.schema, told.n_people, told.n_requests) == (3, 1, 1)
    assert told.systems == {"dynamics": "dynamics.test", "marketo": "marketo.test"}
    with duckdb.connect(tmp_path / WORKING) as copy:
        assert copy.execute("select title from state.base").fetchall() == [("O'Brien 🦊",)]
    with closing(sqlite3.connect(tmp_path / REQUESTS)) as store:
        assert store.execute("select person_id from requests").fetchall() == [(4711,)]
    assert (tmp_path / FIELD_MAP).read_text() == (world.settings.data_dir / "fields.csv").read_text()


def test_what_is_damaged_on_the_way_is_no_backup_and_removes_none(
    world: KeptWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where the disk lies: what was written is not what is read."""
    world.back_up()
    before, write = backups(world.settings), zipfile.ZipFile.write

    def damaged(backup: zipfile.ZipFile, file: Path, name: str) -> None:
        copy = Path(shutil.copy(file, tmp_path / "damaged"))
        copy.write_bytes(copy.read_bytes()[: copy.stat().st_size // 2] if name == WORKING else copy.read_bytes())
        write(backup, copy, name)

    monkeypatch.setattr(zipfile.ZipFile, "write", damaged)
    with pytest.raises(StorageFailed, match="is not whole"):
        world.back_up()
    assert backups(world.settings) == before
    assert not list(before[0].parent.glob("*.new"))


@pytest.mark.parametrize("damage", [b"", b"no zip at all", "flipped", "cut"])
def test_a_backup_that_was_damaged_later_is_refused_with_a_sentence(
    world: KeptWorld, tmp_path: Path, damage: bytes | str
) -> None:
    whole = world.back_up().file.read_bytes()
    file = tmp_path / "dynsync-20260101T000000.000.zip"
    place = len(whole) // 2
    flipped = whole[:place] + bytes([whole[place] ^ 255]) + whole[place + 1 :]
    file.write_bytes(damage if isinstance(damage, bytes) else {"flipped": flipped, "cut": whole[:place]}[damage])
    with pytest.raises(StorageFailed, match=r"is no backup of DynSync|is not whole"):
        unpack(file, tmp_path)


def test_the_newest_few_are_kept_and_nothing_else_is_removed() -> None:
    world = KeptWorld()
    world.settled()
    world.allow(backups_kept=2)
    folder = world.settings.data_dir / "backups"
    folder.mkdir()
    (folder / "mine.zip").touch()
    for hour in range(4):
        make_backup(world.settings, MADE_AT + timedelta(hours=hour))
    assert [made_at(file).hour for file in backups(world.settings)] == [5, 6]
    assert (folder / "mine.zip").exists()


def test_a_store_of_requests_that_is_damaged_is_told_and_no_backup_is_made(world: KeptWorld) -> None:
    before, whole = backups(world.settings), world.settings.requests_file.read_bytes()
    world.settings.requests_file.write_bytes(b"no database" * 500)
    with pytest.raises(StorageFailed, match=r"requests\.sqlite, cannot be copied"):
        world.back_up()
    world.settings.requests_file.write_bytes(whole)
    assert backups(world.settings) == before


def test_without_a_working_file_there_is_nothing_to_back_up() -> None:
    world = KeptWorld()
    world.settings.working_file.unlink()
    with pytest.raises(StorageFailed, match="no cycle has run yet"):
        back_up(world.settings, LIMIT)
    assert not backups(world.settings)
    world.settings.snapshot_file.touch()
    with pytest.raises(StorageFailed, match=r"is gone.*put a backup back"):
        back_up(world.settings, LIMIT)


def test_one_that_is_asked_for_during_a_cycle_is_made_at_its_end_with_what_the_cycle_did(world: KeptWorld) -> None:
    world.dynamics.put(RecordType.CONTACT, "c1", jobtitle="During")
    end = begin_cycle(world)
    timer = threading.Timer(0.8, end)
    timer.start()
    made = back_up(world.settings, LIMIT)
    timer.join()
    ((newest,),) = world.rows("select max(cycle_id) from ledger.cycles")
    assert made.contents.cycle_id == newest
    assert read_contents(made.file) == made.contents
    assert not (world.settings.data_dir / "backup.wanted").exists()


def test_whoever_waits_longer_than_asked_is_told_so_and_the_wish_is_withdrawn(world: KeptWorld) -> None:
    before = backups(world.settings)
    end = begin_cycle(world)
    with pytest.raises(CycleRunning, match=r"Another cycle is running.*no backup within 0:00:00"):
        back_up(world.settings, timedelta())
    end()
    assert backups(world.settings) == before


def test_where_the_cycle_is_killed_whoever_waits_makes_it(world: KeptWorld) -> None:
    """The lock is given back without anybody having seen the wish."""
    with CycleLock(world.settings.lock_file):
        made = []
        waiting = threading.Thread(target=lambda: made.append(back_up(world.settings, LIMIT)))
        waiting.start()
        time.sleep(0.3)
    waiting.join()
    assert made[0].contents.n_people == 1


def test_cycles_make_one_when_it_is_due_and_none_otherwise() -> None:
    world = KeptWorld()
    world.cycle()
    assert backups(world.settings) == []
    world.allow(backup_hours=24.0)
    world.cycle()
    world.cycle()
    (first,) = backups(world.settings)
    yesterday = made_at(first) - timedelta(hours=25)
    first.rename(first.with_name(f"dynsync-{yesterday:%Y%m%dT%H%M%S}.000.zip"))
    world.cycle()
    assert len(backups(world.settings)) == 2


def test_a_cycle_is_done_also_where_its_backup_fails(caplog: pytest.LogCaptureFixture) -> None:
    world = KeptWorld()
    world.allow(backup_hours=24.0, backup_dir=world.settings.data_dir / "fields.csv")
    assert world.cycle() is not None
    assert "no backup could be made" in caplog.text
    assert world.rows("select status from ledger.cycles") == [("succeeded",)]
