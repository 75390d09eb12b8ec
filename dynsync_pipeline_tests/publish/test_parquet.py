"""The Parquet files tell what the working file holds, whatever was done and cut; a day's changes rewrite small files alone."""

from __future__ import annotations

import random
import stat
from datetime import timedelta
from pathlib import Path

import duckdb
import pytest

from dynsync_pipeline.model.records import RecordType
from dynsync_pipeline.publish import parquet
from dynsync_pipeline.publish.parquet import publish_parquet
from dynsync_pipeline.publish.parquet_files import MANIFEST, OURS, TABLES, Manifest, read_manifest
from dynsync_pipeline_tests.properties.effort import is_deep, story
from dynsync_pipeline_tests.publish.parquet_reading import require_true, scan_in
from dynsync_pipeline_tests.worlds.cuts import Cut
from dynsync_pipeline_tests.worlds.every_type import POOLS, RULES, column_of, in_marketo, line_of
from dynsync_pipeline_tests.worlds.memory import MemoryWorld, field_map

pytestmark = story

ACCOUNT, CONTACT, LEAD = RecordType.ACCOUNT, RecordType.CONTACT, RecordType.LEAD
FIELDS = field_map(*(line_of(name, rule) for name, rule in RULES.items()))
START = {name: POOLS[rule.type][0] for name, rule in RULES.items()}


class Published:
    """A world with two dozen people whose Parquet files are in a folder of their own."""

    def __init__(self, folder: Path) -> None:
        self.world = MemoryWorld(FIELDS, publishes=True)
        self.folder = folder / "parquet"
        self.world.allow(parquet_dir=self.folder)
        self.world.dynamics.put(ACCOUNT, "a", name="A")
        self.people = [self.world.link(kind, f"{kind}-{n}", **START) for kind in (CONTACT, LEAD) for n in range(12)]
        self.world.settled()

    def publish(self) -> Manifest:
        found = publish_parquet(self.world.warehouse, self.world.settings, is_wanted_now=True)
        assert found is not None
        return found

    def require_true(self) -> None:
        require_true(self.world.warehouse, self.folder)


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Published:
    return Published(tmp_path_factory.mktemp("published"))


def something_happens(published: Published, draw: random.Random) -> None:
    world, place = published.world, draw.randrange(24)
    kind, record_id, person = (
        (CONTACT, LEAD)[place // 12],
        f"{(CONTACT, LEAD)[place // 12]}-{place % 12}",
        published.people[place],
    )
    name = draw.choice(list(RULES))
    value = draw.choice(POOLS[RULES[name].type])
    match draw.randrange(9):
        case 0 | 1 | 2:
            world.dynamics.put(kind, record_id, **{column_of(name): value})
        case 3 | 4 if world.marketo.is_there(person):
            world.marketo.put(person, **{name: in_marketo(value, RULES[name].type)})
        case 5:
            world.dynamics.put(ACCOUNT, "a", name=draw.choice("AB"))
            world.dynamics.put(CONTACT, f"{CONTACT}-{place % 12}", _parentcustomerid_value=draw.choice(["a", None]))
        case 6 if world.marketo.is_there(person):
            world.marketo.delete(person)
        case 7:
            world.dynamics.delete(kind, record_id)
        case _:
            published.people[place] = world.link(kind, f"{record_id}-new-{world.marketo.next_id}", **START)


@pytest.mark.parametrize("seed", range(40 if is_deep() else 1))
def test_by_delta_the_files_tell_what_the_working_file_holds(published: Published, seed: int) -> None:
    draw = random.Random(seed)
    for _ in range(4):
        for _ in range(draw.randrange(3)):
            something_happens(published, draw)
        published.world.cycle()
        if draw.random() < 0.7:
            published.publish()
            published.require_true()
    published.publish()
    published.require_true()


def test_a_days_changes_rewrite_one_small_file_of_a_table_by_delta(published: Published) -> None:
    world = published.world
    with world.warehouse.transaction() as connection:
        connection.execute("delete from state.parquet")
    before = published.publish()
    world.dynamics.put(CONTACT, "contact-3", new_title="moved")
    world.settled()
    after = published.publish()
    for table in TABLES:
        if table.moved:
            assert after.tables[table.name].parts == before.tables[table.name].parts
            file = scan_in(published.folder)([after.tables[table.name].moved or ""])
            assert duckdb.execute(f"select count(*) <= 1 from {file}").fetchall() == [(True,)]
    published.require_true()


def test_a_reader_of_the_state_before_goes_on_for_a_day(published: Published) -> None:
    before = published.publish()
    published.publish()
    assert all((published.folder / file).exists() for file in before.files)
    published.world.clock += timedelta(days=1, minutes=1)
    after = published.publish()
    assert {file.name for file in published.folder.glob(OURS)} == {*after.files, *after.retired}
    assert not set(before.files) - set(after.files) & {file.name for file in published.folder.glob(OURS)}


def test_only_their_owner_may_read_them(published: Published) -> None:
    published.publish()
    assert stat.S_IMODE(published.folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in published.folder.iterdir()} == {0o600}


@pytest.mark.parametrize("place", ["_swap", "_sweep"])
def test_after_a_cut_a_reader_has_one_state_and_the_next_publication_mends_it(
    published: Published, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    published.publish()
    published.world.dynamics.put(CONTACT, "contact-4", new_title=f"cut at {place}")
    published.world.settled()

    def cut(*_: object) -> None:
        raise Cut

    with monkeypatch.context() as patch:
        patch.setattr(parquet, place, cut)
        with pytest.raises(Cut):
            published.publish()
    manifest = read_manifest(published.folder)
    assert manifest is not None
    assert all((published.folder / file).exists() for file in manifest.files)
    after = published.publish()
    published.require_true()
    assert {file.name for file in published.folder.glob(OURS)} == {*after.files, *after.retired}


def test_a_cycle_writes_them_once_an_hour(published: Published) -> None:
    before = published.publish()
    published.world.cycle()
    assert read_manifest(published.folder) == before
    published.world.clock += timedelta(hours=1)
    published.world.cycle()
    assert read_manifest(published.folder) != before


def test_where_the_setting_names_no_folder_any_more_the_files_go_and_other_files_stay(published: Published) -> None:
    """The last of the file: all its tests share a world."""
    other = published.folder / "other.parquet"
    other.touch()
    assert (published.folder / MANIFEST).exists()
    published.world.allow(parquet_dir=None)
    published.world.cycle()
    assert list(published.folder.iterdir()) == [other]
    assert published.world.rows("select count(*) from state.parquet") == [(0,)]
