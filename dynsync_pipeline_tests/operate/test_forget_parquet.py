"""Wherever an erasure is killed, Parquet files hold nobody whom the working file does not, and a reader has one state or none.

Each kill falls into the same data folder, which is put back before: of somebody who is deleted in both systems.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from types import ModuleType

import pytest

from dynsync_pipeline.errors import ErasureRefused
from dynsync_pipeline.model.records import RecordType
from dynsync_pipeline.operate import erase as erasing
from dynsync_pipeline.operate.backup import utc_now
from dynsync_pipeline.operate.forget import finish, forget
from dynsync_pipeline.operate.scan import find
from dynsync_pipeline.publish import parquet
from dynsync_pipeline.publish.parquet_files import MANIFEST, OURS
from dynsync_pipeline.requests.store import RequestStore
from dynsync_pipeline_tests.properties.effort import sampled, story
from dynsync_pipeline_tests.publish.parquet_reading import require_true, told_in
from dynsync_pipeline_tests.worlds.cuts import Cut
from dynsync_pipeline_tests.worlds.kept import KeptWorld

pytestmark = story
CONTACT = RecordType.CONTACT
WHO, OTHER = (f"aaaaaaaa-0000-4000-8000-00000000000{number}" for number in range(2))
TITLE = "Chief of 大阪 🦊"


class Left:
    """Somebody who left both systems and is in all files yet, of Parquet also in those of older states."""

    def __init__(self) -> None:
        world = self.world = KeptWorld()
        self.home = world.settings.data_dir
        self.folder = self.home / "parquet"
        world.allow(parquet_dir=self.folder)
        self.settings = world.settings
        person = world.link(CONTACT, WHO, title=TITLE, phone="1")
        for number in range(12):  # so that one who moves is few
            world.link(CONTACT, OTHER[:-1] + f"{number + 1:x}", title="Buyer", phone="1")
        world.cycle()
        world.dynamics.put(CONTACT, WHO, jobtitle=TITLE + "!")
        self.later()
        world.dynamics.delete(CONTACT, WHO)
        world.marketo.delete(person)
        self.later()
        RequestStore(self.settings.requests_file).close()

    def later(self) -> None:
        """A cycle that brings the Parquet files up to date."""
        self.world.clock += timedelta(hours=1)
        self.world.cycle()

    def places(self, folder: Path) -> list[str]:
        return find([folder], [WHO, TITLE], self.home)

    def go_on(self) -> None:
        """What the pages say of an erasure that was cut."""
        try:
            forget(self.settings, WHO, utc_now(), blocks=False)
        except ErasureRefused:
            finish(self.settings)


@pytest.fixture(scope="module")
def left_once(tmp_path_factory: pytest.TempPathFactory) -> tuple[Left, Path]:
    left = Left()
    return left, Path(shutil.copytree(left.home, tmp_path_factory.mktemp("left") / "data"))


@pytest.fixture
def left(left_once: tuple[Left, Path]) -> Iterator[Left]:
    left, before = left_once
    yield left
    shutil.rmtree(left.home)
    shutil.copytree(before, left.home)


def half_of_them(folder: Path) -> None:
    (folder / MANIFEST).unlink(missing_ok=True)
    for file in sorted(folder.glob(OURS))[::2]:
        file.unlink()
    raise Cut


def killed(*_: object, **__: object) -> None:
    raise Cut


PLACES = (
    (erasing, "_remove_parquet", killed),
    (erasing, "remove_files", half_of_them),
    (erasing, "_erase_requests", killed),
    (erasing, "_erase", killed),
    (erasing, "_publish_anew", killed),
    (parquet, "_sync", killed),
    (parquet, "_swap", killed),
    (parquet, "_sweep", killed),
)


@pytest.mark.parametrize(("module", "name", "cut"), sampled(PLACES, 1))
def test_after_a_kill_and_a_cycle_the_files_hold_nobody_whom_the_working_file_does_not(
    left: Left, monkeypatch: pytest.MonkeyPatch, module: ModuleType, name: str, cut: object
) -> None:
    assert len(left.places(left.folder)) > 2
    with monkeypatch.context() as patch, pytest.raises(Cut):
        patch.setattr(module, name, cut)
        forget(left.settings, WHO, utc_now(), blocks=False)
    if (left.folder / MANIFEST).exists():
        told_in(left.folder)
    left.later()
    with left.world.open() as warehouse, warehouse.reading() as connection:
        is_known = bool(
            connection.execute("select 1 from mirror.person_records where dynamics_id = ?", [WHO]).fetchall()
        )
    assert bool(left.places(left.folder)) is is_known
    with left.world.open() as warehouse:
        require_true(warehouse, left.folder)
    left.go_on()
    assert left.places(left.home) == []
    with left.world.open() as warehouse:
        require_true(warehouse, left.folder)
