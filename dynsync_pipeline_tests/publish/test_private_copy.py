"""The snapshot tells what this working file holds, also where that file was removed or came back from a backup."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from dynsync_pipeline.publish import snapshot
from dynsync_pipeline_tests.properties.effort import deep, sampled, story
from dynsync_pipeline_tests.worlds.cuts import Cut
from dynsync_pipeline_tests.worlds.http import HttpWorld

pytestmark = story

LEDGERS = ("changes", "cycles", "activities")


@pytest.fixture
def world(tmp_path: Path) -> Iterator[HttpWorld]:
    """A contact that was edited and synced twice."""
    with HttpWorld(tmp_path) as world:
        world.environment["DYNSYNC_FIRST_LOAD"] = "create"
        world.create_record("contact", lastname="One")
        world.sync()
        edit_and_sync(world, "A")
        yield world


def edit_and_sync(world: HttpWorld, title: str) -> None:
    (record,) = world.records("contact")
    world.edit_record("contact", record["contactid"], jobtitle=title)
    world.sync()


def told(world: HttpWorld) -> tuple[list[tuple[object, ...]], ...]:
    """The ledgers as analysts see them."""
    return tuple(world.query(f"select count(*), max(cycle_id) from {name}") for name in LEDGERS)


def kept(world: HttpWorld) -> tuple[list[tuple[object, ...]], ...]:
    """The ledgers as the working file keeps them."""
    with duckdb.connect(world.data_dir / "dynsync.duckdb", read_only=True) as working:
        return tuple(
            working.execute(f"select count(*), max(cycle_id) from ledger.{name}").fetchall() for name in LEDGERS
        )


def test_after_the_working_file_was_removed_the_snapshot_tells_of_the_new_one(world: HttpWorld) -> None:
    for file in world.data_dir.glob("dynsync.duckdb*"):
        file.unlink()
    edit_and_sync(world, "B")
    edit_and_sync(world, "C")
    assert told(world) == kept(world)
    assert world.query("select new_value from changes order by change_id desc limit 1") == [("C",)]


@pytest.mark.parametrize("n_lost", sampled([3, 1], 1))
def test_after_the_working_file_came_back_from_a_backup_the_snapshot_tells_what_it_holds(
    world: HttpWorld, n_lost: int
) -> None:
    backup = shutil.copy(world.data_dir / "dynsync.duckdb", world.folder / "backup.duckdb")
    for number in range(n_lost):
        edit_and_sync(world, f"Lost {number}")
    shutil.copy(backup, world.data_dir / "dynsync.duckdb")
    edit_and_sync(world, "After it")
    assert told(world) == kept(world)
    assert world.query("select title from people") == [("After it",)]


@deep
def test_the_copy_is_kept_from_one_publication_to_the_next_also_where_one_was_cut(
    world: HttpWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R3: making it anew costs the whole database."""
    with duckdb.connect(world.data_dir / "snapshot.private.duckdb") as private:
        private.execute("create table left_by_this_test (a integer)")

    def cut(*_: object) -> None:
        raise Cut

    for title, place in (("B", "write_delta"), ("C", "end_publication")):
        with monkeypatch.context() as patch, pytest.raises(Cut):
            patch.setattr(snapshot, place, cut)
            edit_and_sync(world, title)
        world.sync()
        assert told(world) == kept(world)
        assert world.query("select title from people") == [(title,)]
        assert world.query("select count(*) from duckdb_tables() where table_name = 'left_by_this_test'") == [(1,)]
