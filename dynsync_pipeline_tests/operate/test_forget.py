"""Who is forgotten is in no file any more, and nobody brings them back; everybody else stays as they are."""

from __future__ import annotations

import csv
import os
import shutil
import sqlite3
import tempfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import duckdb
import pytest

from dynsync_pipeline.defs.development import prepare_home
from dynsync_pipeline.errors import ErasureRefused, SettingsWrong, StorageFailed
from dynsync_pipeline.extract.feed import Feed
from dynsync_pipeline.model.records import RecordType
from dynsync_pipeline.operate import erase as erasing
from dynsync_pipeline.operate import forget as forgetting
from dynsync_pipeline.operate.backup import backups, unpack, utc_now
from dynsync_pipeline.operate.forget import Forgotten, finish, forget
from dynsync_pipeline.operate.identify import identify
from dynsync_pipeline.operate.restore import restore
from dynsync_pipeline.operate.scan import POSTGRES_URL, find
from dynsync_pipeline.publish.parquet_files import read_manifest
from dynsync_pipeline.requests.store import RequestStore, Wish
from dynsync_pipeline.warehouse.connection import Warehouse
from dynsync_pipeline.warehouse.erased import FILE, read_erasures
from dynsync_pipeline.warehouse.mirrors import PersonColumns
from dynsync_pipeline.warehouse.operator_actions import Action, leave_action, named
from dynsync_pipeline_tests.properties.effort import deep, story
from dynsync_pipeline_tests.worlds.cuts import Cut
from dynsync_pipeline_tests.worlds.kept import KeptWorld
from dynsync_pipeline_tests.worlds.memory import field_map

pytestmark = story

GUID = "aaaaaaaa-0000-4000-8000-00000000000{}"
WHO, LEAD, OTHER, CHILD = (GUID.format(number) for number in range(4))
FIELDS = field_map(
    "email,emailaddress1,text,both,true", "title,jobtitle,text,both,true", "phone,telephone1,text,both,true"
)
EMAIL, OLD_EMAIL, TITLE = "Zoë.O'Brien@Example.com", "before@example.com", "Chief of 大阪 🦊"
SEARCHED = (WHO, LEAD, EMAIL, OLD_EMAIL, TITLE)
CONTACT = RecordType.CONTACT
NOBODY = 65534  # a user's number


Erased = tuple["Known", list[str], Forgotten]


class Known:
    """A contact who was a lead, with everything that an installation may hold of them, and somebody else beside."""

    away: Path  # a copy of the backup that somebody took away before

    def __init__(self) -> None:
        world = self.world = KeptWorld(FIELDS)
        world.allow(parquet_dir=world.settings.data_dir / "parquet")
        self.person = world.link(RecordType.LEAD, LEAD, email=OLD_EMAIL, title="Buyer", phone="1")
        self.other = world.link(CONTACT, OTHER, email="other@example.com", title="Buyer", phone="1")
        world.cycle()
        world.dynamics.put(CONTACT, WHO, emailaddress1=OLD_EMAIL, jobtitle="Buyer", _originatingleadid_value=LEAD)
        world.dynamics.put(RecordType.LEAD, LEAD, statecode="1")
        world.dynamics.put(CONTACT, OTHER, _parentcustomerid_value=WHO)
        world.cycle()
        self.ask_by_command()
        self.backup = world.back_up().file
        world.dynamics.put(CONTACT, WHO, emailaddress1=EMAIL)
        world.marketo.put(self.person, email="collides@example.com", title=TITLE)
        with RequestStore(world.settings.requests_file) as store:
            store.ask([Wish(self.person, CONTACT, "push"), Wish(self.other, CONTACT, "push")], utc_now())
        world.cycle()
        folder = world.settings.data_dir
        leave_action(folder, "setup --apply", {"records": named([WHO])})
        with (folder / "adoption.csv").open("w", newline="") as out:
            csv.writer(out).writerows([["id", "email"], [WHO, EMAIL], [OTHER, "line\nbreak"]])
        duckdb.execute(
            f"copy (select '{EMAIL.replace(chr(39), chr(39) * 2)}' as email union all select 'x') "
            f"to '{folder}/kept.parquet'"
        )

    def leave(self) -> None:
        """The person is deleted in both systems, and the sync has seen that."""
        self.world.dynamics.delete(CONTACT, WHO)
        self.world.dynamics.delete(RecordType.LEAD, LEAD)
        self.world.marketo.delete(self.person)
        self.world.cycle()
        self.ask_by_command()

    def ask_by_command(self) -> None:
        """The store of requests keeps a command about the person until the next cycle."""
        with RequestStore(self.world.settings.requests_file) as store:
            store.ask([], utc_now(), Action.of("assign", {"records": named([WHO])}))

    def places(self) -> list[str]:
        """Where anything of the person stands, searched by the test's own values."""
        return find([self.world.settings.data_dir], SEARCHED, self.world.settings.data_dir)


@pytest.fixture(scope="module")
def erased(tmp_path_factory: pytest.TempPathFactory) -> Erased:
    """The person, where they were found before they were forgotten, and what that did."""
    known = Known()
    with pytest.raises(
        ErasureRefused, match=f"lives as contact {WHO} in Dynamics, lead {LEAD} in Dynamics, person {known.person}"
    ):
        forget(known.world.settings, EMAIL, utc_now(), blocks=False)
    known.leave()
    known.world.back_up()
    known.away = Path(shutil.copy(known.backup, tmp_path_factory.mktemp("away") / "copy.zip"))
    before = known.places()
    return known, before, forget(known.world.settings, str(known.person), utc_now(), blocks=False)


def test_every_file_held_the_person_and_none_does(erased: Erased) -> None:
    known, before, done = erased
    folder = known.world.settings.data_dir
    files = {place.removeprefix(f"{folder}/").split("/")[0].split(":")[0] for place in before}
    assert files >= {
        "dynsync.duckdb",
        "snapshot.duckdb",
        "snapshot.private.duckdb",
        "backups",
        "adoption.csv",
        "kept.parquet",
        "parquet",
        "requests.sqlite",
    }
    assert known.places() == []
    assert done.found_before
    assert done.found_after == []
    with closing(sqlite3.connect(known.world.settings.requests_file)) as store:
        assert store.execute("select distinct person_id from requests").fetchall() == [(known.other,)]


def test_nobody_else_lost_anything(erased: Erased) -> None:
    known, *_ = erased
    world = known.world
    assert world.rows("select person_id from state.links") == [(known.other,)]
    folder = world.settings.data_dir / "parquet"
    manifest = read_manifest(folder)
    assert manifest is not None
    links = [str(folder / part.file) for part in manifest.tables["state.links"].parts]
    assert duckdb.execute("select person_id from read_parquet(?)", [links]).fetchall() == [(known.other,)]
    with duckdb.connect(world.settings.snapshot_file, read_only=True) as snapshot:
        assert snapshot.execute("select email, title from people").fetchall() == [("other@example.com", "Buyer")]
    assert (world.settings.data_dir / "adoption.csv").read_text().count(OTHER) == 1
    assert world.rows("select _parentcustomerid_value from mirror.dynamics_contacts") == [(None,)]
    n_writes = len(world.dynamics.writes), len(world.marketo.writes)
    world.settled()
    assert (len(world.dynamics.writes), len(world.marketo.writes)) == n_writes


def test_the_record_of_the_erasure_names_nobody(erased: Erased) -> None:
    known, *_ = erased
    folder = known.world.settings.data_dir
    ((erasure,),) = read_erasures(folder).by_key.values()
    assert erasure.is_finished
    assert len(erasure.hashes) == 3
    assert erasure.n_removed["mirror.dynamics_contacts"] == 1
    assert oct((folder / FILE).stat().st_mode)[-3:] == "600"


def test_a_restore_of_whatever_age_brings_nobody_back(erased: Erased, tmp_path: Path) -> None:
    known, *_ = erased
    world = known.world
    whole = known.backup.read_bytes()
    unpack(known.backup, tmp_path)
    assert find([tmp_path], SEARCHED, tmp_path) == [], "it was rewritten"
    copy = known.away
    assert find([copy.parent], SEARCHED, tmp_path)
    restore(world.settings, copy, utc_now())
    world.settled()
    assert find([world.settings.data_dir], (WHO, LEAD, OLD_EMAIL), tmp_path) == []
    assert whole == known.backup.read_bytes()


@pytest.fixture(scope="module")
def blocked() -> Iterator[Known]:
    """Somebody who lives, is blocked, and whose erasure was killed at one place after another.

    It is given again while the person can still be found, and finished by hashes from then on.
    """
    known = Known()
    settings = known.world.settings

    def go_on() -> None:
        try:
            forget(settings, WHO, utc_now(), blocks=True)
        except ErasureRefused:
            finish(settings)

    in_erasing = ("rewrite_backup", "_erase", "_erase_requests", "_publish_anew")
    for module, name in ((forgetting, "_from_text_files"), *((erasing, name) for name in in_erasing)):
        with pytest.MonkeyPatch.context() as patch, pytest.raises(Cut):
            patch.setattr(module, name, _cut)
            go_on()
    go_on()
    yield known


@deep
def test_an_erasure_that_was_killed_again_and_again_is_whole_in_the_end(blocked: Known) -> None:
    settings = blocked.world.settings
    assert blocked.places() == []
    assert all(each.is_finished for some in read_erasures(settings.data_dir).by_key.values() for each in some)
    assert len(backups(settings)) == 1
    n_erasures = sum(len(some) for some in read_erasures(settings.data_dir).by_key.values())
    told = dict(blocked.world.rows("select command, count(*) from ledger.operator_actions group by all"))
    assert told["forget"] == n_erasures, "each is told, whenever it was killed"


def _cut(*_: Any, **__: Any) -> None:
    raise Cut


def test_who_is_blocked_is_kept_out_though_they_live_and_are_edited(blocked: Known) -> None:
    known, world = blocked, blocked.world
    n_people = len(world.marketo.rows)
    world.dynamics.put(CONTACT, WHO, jobtitle="Edited")
    world.marketo.put(known.person, title=f"{TITLE}!")
    world.clock += world.clock - world.clock.replace(hour=0)
    world.cycle()
    assert len(world.marketo.rows) == n_people
    assert world.dynamics.rows[CONTACT, WHO].values["jobtitle"] == "Edited"
    assert world.marketo.rows[known.person].values["title"] == f"{TITLE}!"
    assert known.places() == []
    with RequestStore(world.settings.requests_file) as store:
        store.ask([Wish(known.person, RecordType.LEAD, "push")], utc_now())
    n_records = len(world.dynamics.rows)
    world.cycle()
    assert len(world.dynamics.rows) == n_records


def test_what_the_feed_tells_of_whom_is_erased_is_not_even_landed(blocked: Known) -> None:
    """A step later it would be swept; a kill in between would leave it in the file."""
    settings = blocked.world.settings
    feed = Feed(PersonColumns(FIELDS, settings.own_fields))
    for person_id, value in ((blocked.person, TITLE), (blocked.other, "Buyer")):
        feed.add(f"{person_id}#1", person_id, utc_now(), "title", None, value)
    with Warehouse(settings.working_file) as warehouse, warehouse.transaction() as connection:
        feed.note_told(connection)
        told = connection.execute("select person_id, value from inbox.told_changes").fetchall()
        connection.execute("delete from inbox.told_changes")
    assert told == [(blocked.other, "Buyer")]


@pytest.mark.parametrize("key", ["nobody@example.com", "4711", GUID.format(9), "O'Brien", "x@y' or 1=1 --"])
def test_who_is_not_known_is_not_forgotten(key: str, erased: Erased) -> None:
    with pytest.raises(ErasureRefused):
        forget(erased[0].world.settings, key, utc_now(), blocks=True)


def test_whom_a_cut_erasure_has_taken_out_of_the_working_file_is_not_said_to_be_unknown(erased: Erased) -> None:
    """Their requests and the snapshot are still there then, and nobody finds them by name any more."""
    with Warehouse(erased[0].world.settings.working_file) as warehouse, warehouse.reading() as connection:
        for is_cut in (True, False):
            with pytest.raises(ErasureRefused) as refused:
                identify(connection, "4711", is_cut=is_cut)
            assert ("dynsync forget --finish" in str(refused.value)) is is_cut


@pytest.mark.parametrize("make", ["sqlite", "zip", "text"])
def test_the_search_finds_a_value_in_any_kind_of_file(make: str, tmp_path: Path) -> None:
    makers: dict[str, Callable[[], object]] = {
        "sqlite": lambda: sqlite3.connect(tmp_path / "a.db").executescript(
            f"create table t (v); insert into t values ('{TITLE}')"
        ),
        "zip": lambda: zipfile.ZipFile(tmp_path / "a.zip", "w").writestr("b/c.txt", TITLE),
        "text": lambda: (tmp_path / "a.log").write_text("x" * ((1 << 20) - 8) + TITLE),
    }
    assert find([tmp_path], [TITLE], tmp_path) == []
    makers[make]()
    assert len(find([tmp_path], [TITLE.upper()], tmp_path)) == 1


def test_the_search_copies_nothing_out_of_the_data_folder_and_names_what_it_cannot_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kill in the middle would leave whole copies of the working file wherever temporary files go."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    duckdb.connect(tmp_path / "a.duckdb").execute(f"create table t as select '{TITLE}' as v").close()
    zipfile.ZipFile(tmp_path / "b.zip", "w").writestr("c.txt", TITLE)
    (tmp_path / "d.parquet").write_bytes(b"PAR1 damaged")
    assert find([tmp_path], [TITLE], tmp_path) == [
        f"{tmp_path}/a.duckdb: main.t",
        f"{tmp_path}/b.zip/c.txt",
        f"{tmp_path}/d.parquet: cannot be opened",
    ]


@contextmanager
def as_nobody() -> Iterator[None]:
    """Root may look into everything; whoever is not root is left as they are."""
    is_root = os.geteuid() == 0
    if is_root:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        if is_root:
            os.seteuid(0)


def test_whoever_is_not_root_searches_the_snapshot_too() -> None:
    """It is read only; root opens such a file for writing all the same, and a server is not root."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        duckdb.connect(folder / "snapshot.duckdb").execute(f"create table t as select '{TITLE}' as v").close()
        (folder / "snapshot.duckdb").chmod(0o444)
        if os.geteuid() == 0:
            os.chown(folder, NOBODY, -1)
        with as_nobody():
            found = find([folder], [TITLE], folder)
    assert found == [f"{folder}/snapshot.duckdb: main.t"]


def test_the_search_names_a_folder_that_it_may_not_look_into() -> None:
    """What lies in there was not searched, and whoever is told "nothing was found" would believe that it was."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "logs").mkdir()
        (folder / "logs" / "a.log").write_text(TITLE)
        (folder / "logs").chmod(0)
        with as_nobody():
            found = find([folder], [TITLE], folder)
            left_out = find([folder], [TITLE], folder, [folder / "logs"])
        (folder / "logs").chmod(0o700)
    assert (found, left_out) == ([f"{folder}/logs: cannot be opened"], [])


def test_the_search_goes_on_where_others_remove_folders_meanwhile(tmp_path: Path) -> None:
    """Dagster's services do, with runs that have become old."""
    (tmp_path / "run" / "logs").mkdir(parents=True)
    (tmp_path / "a.log").write_text(TITLE)
    ended = threading.Event()

    def remove_and_make() -> None:
        while not ended.is_set():
            shutil.rmtree(tmp_path / "run")
            (tmp_path / "run" / "logs").mkdir(parents=True)

    with ThreadPoolExecutor() as beside:
        removing = beside.submit(remove_and_make)
        try:
            found = [find([tmp_path], [TITLE], tmp_path) for _ in range(20)]
        finally:
            ended.set()
        removing.result()
    assert found == [[f"{tmp_path}/a.log"]] * 20


def test_nobody_is_erased_while_the_postgres_of_dagster_cannot_be_searched(
    erased: Erased, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, other = erased[0].world.settings, str(erased[0].other)
    before = read_erasures(settings.data_dir)
    home = prepare_home(settings, has_postgres=True)
    try:
        monkeypatch.delenv(POSTGRES_URL, raising=False)
        with pytest.raises(SettingsWrong, match=POSTGRES_URL):
            forget(settings, other, utc_now(), blocks=True)
        monkeypatch.setenv(POSTGRES_URL, "postgresql+psycopg2://nobody@127.0.0.1:1/none")
        with pytest.raises(StorageFailed, match="cannot be searched"):
            forget(settings, other, utc_now(), blocks=True)
    finally:
        shutil.rmtree(home)
    assert read_erasures(settings.data_dir) == before


def test_words_that_others_bear_too_are_searched_for_nowhere_and_cost_nobody_a_line() -> None:
    """Labels, days, words of the sync, and texts that are a part of another's; also where a kill left an unpacked backup."""
    fields = (
        *(
            "email,emailaddress1,text,both,true",
            "title,jobtitle,text,both,true",
            "source,new_source,text,to_marketo,true",
        ),
        *(
            "seenOn,new_seenon,date,both,true",
            "rating,new_rating,choice,both,true",
            "revenue,new_revenue,decimal,both,true",
        ),
    )
    world = KeptWorld(field_map(*fields))
    folder, today = world.settings.data_dir, world.clock.date().isoformat()
    theirs = {"title": "contact", "source": "Marketo", "seenOn": today, "rating": "1", "revenue": "100000"}
    person = world.link(CONTACT, WHO, email="ann.lee@example.com", **theirs)
    world.link(CONTACT, OTHER, email="joann.lee@example.com", title="Buyer", rating="2", revenue="1000009")
    world.cycle()
    world.dynamics.delete(CONTACT, WHO)
    world.marketo.delete(person)
    world.cycle()
    lines = [["contact", WHO, ""], ["contact", OTHER, ""], ["contact", "", "ann.lee@example.com"]]
    with (folder / "adoption.csv").open("w", newline="") as out:
        csv.writer(out).writerows(lines)
    (folder / "killed.csv.new").write_text("ann.lee@example.com")
    (folder / "backup-killed").mkdir()
    (folder / "backup-killed" / "requests.sqlite").write_text(WHO)
    before = (folder / "fields.csv").read_text()
    done = forget(world.settings, str(person), utc_now(), blocks=False)
    assert done.found_after == []
    with (folder / "adoption.csv").open(newline="") as kept:
        assert list(csv.reader(kept)) == lines[1:2]
    assert not (folder / "killed.csv.new").exists(), "what a killed proposal had written by then"
    assert (folder / "fields.csv").read_text() == before
