"""After a restore the Parquet files are of another working file: a reader has the state of before until all of it is written
anew, wherever that is killed. Files of another installation are nobody's who restores its backup.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from dynsync_pipeline.model.records import RecordType
from dynsync_pipeline.operate.restore import restore
from dynsync_pipeline.publish import parquet
from dynsync_pipeline.publish.parquet import publish_parquet
from dynsync_pipeline.publish.parquet_files import OURS
from dynsync_pipeline_tests.properties.effort import is_deep, story
from dynsync_pipeline_tests.publish.parquet_reading import require_true, state_in, told_in
from dynsync_pipeline_tests.worlds.cuts import Cut
from dynsync_pipeline_tests.worlds.kept import KeptWorld

pytestmark = story
CONTACT, LEAD = RecordType.CONTACT, RecordType.LEAD


class PutBack:
    """A world with three contacts that was published, backed up, edited, published again or not, and put back."""

    def __init__(self, *, is_published_later: bool = True) -> None:
        self.world = KeptWorld()
        self.folder = self.world.settings.data_dir / "parquet"
        self.world.allow(parquet_dir=self.folder)
        self.people = [self.world.link(CONTACT, f"r{n}", title="A") for n in range(3)]
        self.world.cycle()
        self.backup = self.world.back_up().file
        self.world.marketo.put(self.people[0], title="B")
        self.world.marketo.delete(self.people[1])
        self.world.link(LEAD, "later", title="L")
        self.world.cycle()
        if is_published_later:
            self.publish()
        self.before = told_in(self.folder)
        restore(self.world.settings, self.backup, self.world.now().replace(tzinfo=None))

    def publish(self) -> None:
        with self.world.open() as warehouse:
            publish_parquet(warehouse, self.world.settings, is_wanted_now=True)

    def require_true(self) -> None:
        with self.world.open() as warehouse:
            require_true(warehouse, self.folder)


@pytest.fixture(scope="module")
def put_back() -> PutBack:
    return PutBack()


def test_killed_anywhere_a_reader_has_the_state_of_before_or_that_of_the_file_that_was_put_back(
    put_back: PutBack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first of the file: all its tests share a world. Killed after every file, manifest and transaction in turn."""
    every_so_many = 1 if is_deep() else 7
    kills = 0
    while is_killed(put_back, monkeypatch, after=kills):
        if told_in(put_back.folder) != put_back.before:
            put_back.require_true()
        kills += every_so_many
    assert kills > 3 * every_so_many
    put_back.require_true()
    state = state_in(put_back.folder)
    assert {file.name for file in put_back.folder.glob(OURS)} == {*state.files, *state.retired}


def is_killed(put_back: PutBack, monkeypatch: pytest.MonkeyPatch, after: int) -> bool:
    """Publish, killed after so many files and transactions; returns whether it came to that."""
    steps = put_back.world.steps
    steps.left = after
    with monkeypatch.context() as patch:
        patch.setattr(parquet, "_sync", after_a_step(put_back, parquet._sync))
        try:
            put_back.publish()
        except Cut:
            return True
        finally:
            steps.left = None
    return False


def after_a_step(put_back: PutBack, act: Callable[[Path], None]) -> Callable[[Path], None]:
    def stepped(file: Path) -> None:
        put_back.world.steps.step()
        act(file)

    return stepped


def test_whoever_began_to_read_before_the_restore_may_end(put_back: PutBack) -> None:
    began = state_in(put_back.folder)
    restore(put_back.world.settings, put_back.backup, put_back.world.now().replace(tzinfo=None))
    put_back.world.cycle()
    after = state_in(put_back.folder)
    assert set(after.files).isdisjoint(began.files), "all of it is written anew"
    assert all((put_back.folder / file).exists() for file in began.files)


def test_the_cycles_after_a_restore_keep_the_files_true(put_back: PutBack) -> None:
    world = put_back.world
    world.settled()
    world.dynamics.put(CONTACT, "r0", jobtitle="C")
    world.cycle()
    put_back.publish()
    put_back.require_true()
    assert len(told_in(put_back.folder)["state.links"]) == 3


def test_what_was_published_last_before_the_backup_is_not_gone_on_from() -> None:
    """The files are those that the backup knows, but what a restore changes is noted nowhere."""
    put_back = PutBack(is_published_later=False)
    known = state_in(put_back.folder)
    put_back.world.cycle()
    assert set(state_in(put_back.folder).files).isdisjoint(known.files)
    put_back.require_true()


def test_files_of_an_installation_whose_backup_is_put_back_elsewhere_stay(tmp_path: Path) -> None:
    """Where Parquet is switched off there, and where it is on."""
    world = KeptWorld()
    folder, elsewhere = world.settings.data_dir / "parquet", tmp_path / "parquet"
    world.allow(parquet_dir=folder)
    world.link(CONTACT, "r0", title="A")
    world.cycle()
    backup, before = world.back_up().file, {file.name for file in folder.iterdir()}
    world.allow(data_dir=tmp_path)
    for named in (None, elsewhere):
        world.allow(parquet_dir=named)
        restore(world.settings, backup, world.now().replace(tzinfo=None))
        world.cycle()
        assert elsewhere.exists() is (named is not None)
        assert {file.name for file in folder.iterdir()} == before
