"""A working file that came back from a backup is older than the world: what people did meanwhile must not be undone by it."""

from __future__ import annotations

import json
import os
import random
import sqlite3
import zipfile
from collections.abc import Callable
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest

from dynsync_pipeline.errors import GuardStopped, ServerFailed, SettingsWrong, StorageFailed
from dynsync_pipeline.model.records import RecordType
from dynsync_pipeline.operate.backup import utc_now
from dynsync_pipeline.operate.restore import PUTTING_BACK, restore
from dynsync_pipeline.requests.store import RequestStore, Wish
from dynsync_pipeline.sql_files import sql_file
from dynsync_pipeline.warehouse.operator_actions import Action
from dynsync_pipeline.warehouse.reviews import decide, open_reviews
from dynsync_pipeline_tests.properties.effort import is_deep, story
from dynsync_pipeline_tests.worlds.cuts import Cut, Steps
from dynsync_pipeline_tests.worlds.kept import FEW, KeptWorld
from dynsync_pipeline_tests.worlds.memory import field_map
from dynsync_pipeline_tests.worlds.memory_marketo import KEYS

pytestmark = story

VALUES = {
    "title": (None, "A", "B"),
    "phone": (None, "1", "2"),
    "doNotCall": ("false", "true"),
    "source": (None, "Web", "Fair"),
    "leadScore": (None, "1", "2"),
}
OWNED_BY = {"source": "dynamics", "leadScore": "marketo"}  # fields that go one way
KINDS = {"c": RecordType.CONTACT, "l": RecordType.LEAD}
Values = dict[tuple[str, str, str], str | None]


class Edited:
    """People whom both sides edit at random; `unsynced` are the edits since the last cycle, by side, record and field."""

    def __init__(self, seed: int, n_people: int = 40) -> None:
        self.random = random.Random(seed)
        self.world = KeptWorld()
        self.people: dict[str, int] = {}
        self.unsynced: set[tuple[str, str, str]] = set()
        for number in range(n_people):
            record_id = f"{'cl'[number % 2]}{number}"
            values = {name: self.random.choice(some) for name, some in VALUES.items()}
            self.people[record_id] = self.world.link(KINDS[record_id[0]], record_id, **values)
        self.sync()

    def edit(self) -> None:
        """Edit two fields of everybody, on either side."""
        for record_id in self.people:
            for name in self.random.sample(list(VALUES), 2):
                side = self.random.choice(("dynamics", "marketo"))
                self.set(side, record_id, name, self.random.choice(VALUES[name]))

    def set(self, side: str, record_id: str, name: str, value: str | None) -> None:
        """Somebody enters a value on one side."""
        if self.value(side, record_id, name) == value:
            return
        if side == "dynamics":
            columns = {f.marketo_field: f.dynamics_column for f in self.world.fields.of(KINDS[record_id[0]])}
            self.world.dynamics.put(KINDS[record_id[0]], record_id, **{columns[name]: value})
        else:
            self.world.marketo.put(self.people[record_id], **{name: value})
        self.unsynced.add((side, record_id, name))

    def value(self, side: str, record_id: str, name: str) -> str | None:
        """What a side holds; a checkbox that nobody ever set is not set."""
        value = self.world.both(self.people[record_id], name)[side == "marketo"]
        return "false" if value is None and name == "doNotCall" else value

    def sync(self) -> None:
        """One cycle, which carries over what was edited."""
        assert self.world.cycle() is not None
        self.unsynced.clear()

    def seen(self) -> Values:
        """All values, by side, record and field."""
        return {
            (side, record_id, name): self.value(side, record_id, name)
            for side in ("dynamics", "marketo")
            for record_id in self.people
            for name in VALUES
        }

    def undone(self, before: Values) -> list[str]:
        """Edits of people, of `before`, that are not there any more."""
        after, found = self.seen(), []
        for side, record_id, name in sorted(self.unsynced):
            if OWNED_BY.get(name, side) != side:
                continue  # an edit on the side that does not own the field lasts until the other's next update (R43, R44)
            was, now = before[side, record_id, name], after[side, record_id, name]
            if was != now:
                found.append(f"{side} {record_id} {name}: {was} became {now}")
        return found


def lose_and_restore(world: KeptWorld, backup: Path) -> None:
    """The working file is lost, and comes back as it was."""
    world.settings.working_file.unlink()
    restore(world.settings, backup, world.now().replace(tzinfo=None))


def test_a_base_older_than_the_world_undoes_nobodys_edits() -> None:
    edited = Edited(seed=1)
    backup = edited.world.back_up().file
    for _ in range(2):
        edited.edit()
        edited.sync()
    edited.edit()
    before = edited.seen()
    lose_and_restore(edited.world, backup)
    edited.world.settled()
    assert edited.undone(before) == []


class Story:
    """What befell people between a backup and the loss of the working file, each of them named by it."""

    def __init__(self) -> None:
        world = self.world = KeptWorld()
        contact, lead = RecordType.CONTACT, RecordType.LEAD
        self.ids = {
            name: world.link(kind, name, title="Before", phone=None if name in ("filled", "alike") else "1")
            for name, kind in {
                **dict.fromkeys(("deleted", "edited and deleted", "cleared", "filled", "changed back", "stood"), contact),
                **dict.fromkeys(("merged contact", "gone", "unreadable", "alike"), contact),
                **dict.fromkeys(("merged lead", "qualified"), lead),
            }.items()
        }  # fmt: skip
        world.dynamics.put(RecordType.ACCOUNT, "a", name="Company")
        world.marketo.keeps = lambda name, value: "As kept" if value == "Sent" else value
        world.dynamics.put(contact, "stood", jobtitle="Sent")
        world.settled()
        self.backup = world.back_up().file
        world.dynamics.put(contact, "edited and deleted", jobtitle="Edited")
        world.dynamics.put(contact, "changed back", jobtitle="Between")
        world.dynamics.put(contact, "new", jobtitle="New", telephone1="1")
        for name in ("new and deleted", "new and cleared", "new and unread"):
            world.dynamics.put(contact, name, jobtitle="New")
        world.dynamics.put(contact, "alike", telephone1="2")
        world.marketo.put(self.ids["alike"], phone="2")
        world.settled()
        self.between = world.clock.replace(tzinfo=None)
        self.ids |= {
            name: world.marketo.bearers(KEYS.contact_id, name)[0]
            for name in ("new", "new and deleted", "new and cleared", "new and unread")
        }
        for name in ("deleted", "edited and deleted", "new and deleted"):
            world.marketo.delete(self.ids[name])
        world.marketo.merge(self.ids["merged contact"], self.ids["merged lead"])
        world.dynamics.put(RecordType.ACCOUNT, "a", name="Company, renamed")
        world.settled()
        world.dynamics.delete(contact, "gone")
        world.dynamics.put(contact, "cleared", jobtitle=None)
        world.marketo.put(self.ids["filled"], phone="2")
        world.marketo.put(self.ids["changed back"], title="Before")
        world.marketo.put(self.ids["new"], title="By marketing")
        world.marketo.put(self.ids["new and cleared"], title=None)
        world.marketo.put(self.ids["new and unread"], title="By marketing")
        world.dynamics.put(contact, "alike", telephone1=None)
        world.marketo.put_company("a", company="Company, local")
        world.marketo.put(self.ids["unreadable"], title="By marketing")
        world.dynamics.put(contact, "heir", jobtitle="Before", telephone1="1", _originatingleadid_value="qualified")
        world.dynamics.put(lead, "qualified", statecode="1", jobtitle="Before")
        self.n_people = len(world.marketo.rows)
        world.dynamics.put(contact, "unreadable", telephone1="2")
        world.dynamics.unreadable |= {"unreadable": "jobtitle", "new and unread": "jobtitle"}
        with duckdb.connect(world.settings.snapshot_file, read_only=True) as snapshot:
            newest = "select max(change_id), max(cycle_id) from changes"
            ((self.newest_change, self.newest_cycle),) = snapshot.execute(newest).fetchall()
        lose_and_restore(world, self.backup)

    def both(self, name: str, field: str) -> tuple[str | None, str | None]:
        """A field of one of them: Dynamics, Marketo."""
        return self.world.both(self.ids[name], field)


@pytest.fixture(scope="module")
def after() -> Story:
    """The story, restored and synced."""
    after = Story()
    after.world.settled()
    return after


def test_what_was_edited_on_one_side_since_stands_on_both_as_it_is(after: Story) -> None:
    assert after.both("changed back", "title") == ("Between", "Before")
    assert after.both("cleared", "title") == (None, "Before")
    assert after.both("new", "title") == ("New", "By marketing")
    assert after.both("new and cleared", "title") == ("New", None)
    reasons = dict(
        after.world.rows("select person_id, reason_code from state.standing_differences where field = 'title'")
    )
    assert reasons == {
        **{after.ids[name]: "restored" for name in ("changed back", "cleared", "new", "new and cleared")},
        after.ids["stood"]: "kept_by_marketo",
    }


def test_what_differs_waits_for_somebodys_word_and_is_written_as_that_says(after: Story) -> None:
    world = after.world
    reviews = dict(world.rows("select person_id, review_id from state.reviews"))
    assert reviews.keys() == {
        after.ids[name] for name in ("changed back", "cleared", "new", "new and cleared", "alike")
    }
    n_writes = writes(world)
    world.cycle()
    assert writes(world) == n_writes
    with world.open() as warehouse, warehouse.transaction() as connection:
        decide(connection, {reviews[after.ids["new"]]: "marketo"}, "somebody", utc_now())
    world.settled()
    assert after.both("new", "title") == ("By marketing", "By marketing")
    assert after.both("changed back", "title") == ("Between", "Before")


def test_a_blank_that_was_blank_is_filled(after: Story) -> None:
    """R42."""
    assert after.both("filled", "phone") == ("2", "2")


def test_what_both_sides_entered_alike_and_one_emptied_is_not_filled_again(after: Story) -> None:
    """No ledger tells equal edits; observations do."""
    assert after.both("alike", "phone") == (None, "2")


def test_what_was_between_a_backup_and_its_return_is_not_known(after: Story) -> None:
    with duckdb.connect(after.world.settings.snapshot_file, read_only=True) as snapshot:
        held = "select value, is_known from person_as_of(?, ?) where field = 'title'"
        person = after.ids["changed back"]
        assert snapshot.execute(held, [person, after.between]).fetchall() == [(None, False)]
        now = after.world.clock.replace(tzinfo=None)
        assert snapshot.execute(held, [person, now]).fetchall() == [("Before", True)]
        held_by_record = "select value, is_known from record_as_of('changed back', ?) where field = 'title'"
        assert snapshot.execute(held_by_record, [after.between]).fetchall() == [(None, False)]


def test_who_was_deleted_stays_so_and_nobody_is_made_anew(after: Story) -> None:
    """R79, R81: also a person of a record that the backup does not know."""
    world = after.world
    assert len(world.marketo.rows) == after.n_people
    assert world.marketo.rows[after.ids["gone"]].values[KEYS.is_deleted] == "true"
    ended = dict(world.rows("select dynamics_id, side from state.tombstones"))
    assert (
        ended.items() >= {"deleted": "marketo", "edited and deleted": "marketo", "new and deleted": "marketo"}.items()
    )


def test_merges_and_qualifying_since_are_followed(after: Story) -> None:
    """R25, R96: Marketo's feed alone tells of a merge."""
    links = dict(after.world.rows("select dynamics_id, person_id from state.links"))
    assert links["merged contact"] == after.ids["merged contact"]
    assert links["heir"] == after.ids["qualified"]
    assert "merged lead" not in links


def test_an_edited_company_is_left_to_the_accounts_next_update(after: Story) -> None:
    """R52."""
    world = after.world
    assert world.marketo.company_rows["a"]["company"] == "Company, local"
    world.dynamics.put(RecordType.ACCOUNT, "a", name="Company, again")
    world.settled()
    assert world.marketo.company_rows["a"]["company"] == "Company, again"


def test_who_could_not_be_read_meets_the_same_later(after: Story) -> None:
    world = after.world
    assert world.rows("select person_id from state.outdated_bases") == [(after.ids["unreadable"],)]
    world.dynamics.unreadable.clear()
    world.clock += timedelta(hours=1)
    world.settled()
    assert after.both("unreadable", "title") == ("Before", "By marketing")
    assert after.both("unreadable", "phone") == ("2", "1")
    assert after.both("new and unread", "title") == ("New", "By marketing")
    assert world.rows("select count(*) from state.outdated_bases") == [(0,)]


def test_the_next_edit_of_either_side_travels(after: Story) -> None:
    world = after.world
    world.marketo.put(after.ids["changed back"], title="After")
    world.dynamics.put(RecordType.CONTACT, "cleared", jobtitle="After")
    world.settled()
    assert after.both("changed back", "title") == after.both("cleared", "title") == ("After", "After")


def test_numbers_go_on_above_those_that_were_published(after: Story) -> None:
    numbered = "select min(entry_id), min(cycle_id) from ledger.changes where changed_at > (select reread_at from state.restored)"
    ((first_change, first_cycle),) = after.world.rows(numbered)
    assert first_change > after.newest_change
    assert first_cycle > after.newest_cycle


def test_the_command_is_told_with_what_it_put_back(after: Story) -> None:
    assert after.world.rows("select command from ledger.operator_actions") == [("restore",)]


def test_of_what_was_read_and_planned_when_the_backup_was_made_nothing_is_left(after: Story) -> None:
    (step,) = PUTTING_BACK
    tables = after.world.rows(
        "select schema_name || '.' || table_name from duckdb_tables() "
        "where schema_name in ('inbox', 'reconcile') and not temporary"
    )
    assert {name for (name,) in tables} - {"reconcile.fields", "reconcile.own_fields"} <= {*sql_file(step).changes}


def test_fields_that_joined_since_or_are_parked_just_then_undo_nobodys_edits() -> None:
    """R42, R107; nor does a word that was given before the backup, and carried out after it."""
    title, *others = FEW
    phone, fax = others[0], "fax,fax,text,both,true"
    reviewed = f"{title},review"
    world = KeptWorld(field_map(reviewed, fax))
    person = world.link(RecordType.CONTACT, "c1", title="Before", fax="Before")
    world.settled()
    world.dynamics.put(RecordType.CONTACT, "c1", jobtitle="By sales", telephone1="Both", fax="Both")
    world.marketo.put(person, title="By marketing")
    world.settled()
    with world.open() as warehouse, warehouse.transaction() as connection:
        decide(connection, dict.fromkeys(open_reviews(connection), "dynamics"), "somebody", utc_now())
    backup = world.back_up().file
    world.map_to(field_map(reviewed, phone, fax))
    world.settled()
    assert [world.both(person, name)[1] for name in ("title", "phone", "fax")] == ["By sales", "Both", "Both"]
    world.marketo.put(person, title="By marketing", phone="By marketing", fax="By marketing")
    world.map_to(field_map(reviewed, phone))
    lose_and_restore(world, backup)
    world.settled()
    world.map_to(field_map(reviewed, phone, fax))
    world.settled()
    world.clock += timedelta(days=1)
    world.settled()
    assert world.both(person, "title") == ("By sales", "By marketing")
    assert world.both(person, "phone") == world.both(person, "fax") == ("Both", "By marketing")
    waiting = world.rows("select field, choice from state.reviews order by field")
    assert waiting == [("fax", None), ("phone", None), ("title", None)]


def writes(world: KeptWorld) -> int:
    return len(world.marketo.writes) + len(world.dynamics.writes)


def test_nothing_is_written_until_both_systems_were_read_as_a_whole() -> None:
    """Neither where a read fails, nor where somebody runs a later step alone."""
    world = KeptWorld()
    person = world.link(RecordType.CONTACT, "c1", title="Before")
    world.settled()
    backup = world.back_up().file
    world.dynamics.put(RecordType.CONTACT, "c1", jobtitle="After")
    world.settled()
    world.marketo.put(person, title="Before")
    lose_and_restore(world, backup)
    before = writes(world)
    with pytest.raises(GuardStopped, match="not everything was read since: dynamics_accounts"), world.opened() as cycle:
        cycle.reconcile()
    world.marketo.spoils = lambda file: _fail()
    with pytest.raises(ServerFailed):
        world.cycle()
    world.marketo.spoils = bytes
    assert writes(world) == before
    world.settled()
    assert world.both(person, "title") == ("After", "Before")


def _fail() -> bytes:
    raise ServerFailed("busy", system="marketo", request="GET file", code="502")


@pytest.fixture(scope="module")
def kept() -> tuple[KeptWorld, Path]:
    """A synced contact with an open request beside it, a backup, and a cycle after it."""
    world = KeptWorld()
    world.link(RecordType.CONTACT, "c1", title="Before")
    stranger = world.marketo.next_id
    world.marketo.put(stranger, title="Stranger")
    world.settled()
    world.dynamics.fails = ServerFailed("busy", system="dynamics", request="POST", code="503")
    with RequestStore(world.settings.requests_file) as store:
        store.ask([Wish(stranger, RecordType.LEAD, "push")], utc_now())
    backup = world.back_up().file
    world.dynamics.fails = None
    return world, backup


def leads(world: KeptWorld) -> list[str]:
    return [record_id for kind, record_id in world.dynamics.rows if kind is RecordType.LEAD]


def test_a_request_that_was_open_is_not_carried_out_before_somebody_says_so(kept: tuple[KeptWorld, Path]) -> None:
    """R71: neither where the store is lost too, nor where it is still there; also where the record was made since."""
    world, backup = kept
    world.cycle()
    (made,) = leads(world)
    for is_lost in (False, True):
        if is_lost:
            world.settings.requests_file.unlink()
        lose_and_restore(world, backup)
        world.settled()
        assert leads(world) == [made]
    with RequestStore(world.settings.requests_file) as store:
        (asking,) = store.asking()
        assert asking.request_id == made
        store.carry_on([made], utc_now())
    world.settled()
    assert leads(world) == [made]
    with RequestStore(world.settings.requests_file) as store:
        assert store.request(made).outcome in ("created", "already_in_sync")
        (again,) = store.ask([Wish(world.marketo.next_id, RecordType.LEAD, "push")], utc_now())
        assert store.ask_first() == 1
        store.withdraw([again])
        assert (store.request(again).outcome, store.unfinished()) == ("withdrawn", [])


@pytest.mark.parametrize("n_steps", range(8) if is_deep() else (2, 5))
def test_a_kill_while_a_backup_is_put_back_leaves_the_old_or_says_to_go_on(
    kept: tuple[KeptWorld, Path], n_steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    world, backup = kept
    steps = Steps(left=n_steps)
    for holder, name in ((os, "link"), (Path, "replace"), (Path, "write_text"), (Path, "unlink")):
        monkeypatch.setattr(holder, name, cut_before(getattr(holder, name), steps))
    before = world.settings.working_file.read_bytes()
    with suppress(Cut):
        restore(world.settings, backup, utc_now())
    monkeypatch.undo()
    if (world.settings.data_dir / "restore.unfinished").exists():
        with pytest.raises(StorageFailed, match=f"Run it again: dynsync restore {backup}"):
            world.cycle()
    else:
        assert world.settings.working_file.read_bytes() == before or steps.left != 0
    restore(world.settings, backup, utc_now())
    assert world.rows("select count(*) from state.restored where reread_at is null") == [(1,)]
    assert not list(world.settings.data_dir.glob("backup-*"))


def cut_before(function: Callable[..., Any], steps: Steps) -> Callable[..., Any]:
    def called(*arguments: Any, **options: Any) -> Any:
        steps.step()
        return function(*arguments, **options)

    return called


def test_a_backup_of_other_systems_a_newer_version_or_none_at_all_changes_nothing(
    kept: tuple[KeptWorld, Path], tmp_path: Path
) -> None:
    world, backup = kept
    before = world.settings.working_file.read_bytes()
    for others in ({"dynamics_url": "https://others.test"}, {"marketo_url": "https://marketo.test:4711"}):
        with pytest.raises(SettingsWrong, match=r"of other systems: it was made with (dynamics|marketo)\.test, and"):
            restore(world.settings.model_copy(update=others), backup, utc_now())
    with zipfile.ZipFile(backup) as packed:
        packed.extractall(tmp_path)
    with duckdb.connect(tmp_path / "dynsync.duckdb") as newer:
        newer.execute("insert into schema_version (version) values (99)")
    contents = json.loads((tmp_path / "backup.json").read_text())
    contents["n_rows"]["main.schema_version"] += 1
    (tmp_path / "backup.json").write_text(json.dumps(contents))
    with zipfile.ZipFile(tmp_path / "newer.zip", "w") as packed:
        for name in ("dynsync.duckdb", "backup.json", "requests.sqlite", "fields.csv"):
            packed.write(tmp_path / name, name)
    with pytest.raises(StorageFailed, match="was written by a newer DynSync"):
        restore(world.settings, tmp_path / "newer.zip", utc_now())
    with pytest.raises(StorageFailed, match="does not exist"):
        restore(world.settings, tmp_path / "none.zip", utc_now())
    assert world.settings.working_file.read_bytes() == before


def test_a_store_of_requests_of_an_earlier_version_keeps_what_it_holds(tmp_path: Path) -> None:
    file = tmp_path / "requests.sqlite"
    with RequestStore(file) as store:
        (taken,) = store.ask([Wish(1, RecordType.LEAD, "list", list_entry="1:2")], utc_now())
    with closing(sqlite3.connect(file)) as old:
        ((schema,),) = old.execute("select sql from sqlite_schema where name = 'requests'").fetchall()
        rows = old.execute("select * from requests").fetchall()
        old.executescript(
            "alter table requests rename to new; drop index one_open_request_per_person; drop index requests_of_person; "
            f"drop index untold_requests; drop index needed_requests; {schema.replace(chr(39) + 'ask' + chr(39) + ', ', '')}; "
            "insert into requests select * from new; drop table new; "
            "create unique index one_open_request_per_person on requests (person_id, kind) "
            "where state <> 'ended' and kind <> 'task'; "
            "create index requests_of_person on requests (person_id); "
            "create index untold_requests on requests (is_told) where is_told = 0; "
            "create index needed_requests on requests (needs) where needs is not null; drop table actions; "
            "pragma user_version = 1;"
        )
    with RequestStore(file) as store:
        assert store.ask_first() == 1
        assert [each.request_id for each in store.asking()] == [taken]
        store.note_look(1, datetime.now(UTC), [Wish(1, RecordType.LEAD, "list", list_entry="1:2")], utc_now())
        assert len(store.unfinished()) == 1
    with closing(sqlite3.connect(file)) as new:
        assert len(new.execute("select * from requests").fetchall()) == len(rows)
        assert new.execute("select count(*) from sqlite_schema where name like '%before%'").fetchone() == (0,)
        new.executescript("drop table actions; pragma user_version = 2;")
    with RequestStore(file) as store:
        store.ask([], utc_now(), Action.of("push", {}))
        assert (len(store.actions()), len(store.asking())) == (1, 1)
