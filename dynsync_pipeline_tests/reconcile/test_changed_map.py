"""A field map that changes makes nothing unseen; one whose lines change places is no other map."""

from __future__ import annotations

import itertools
from datetime import timedelta

import pytest

from dynsync_pipeline.errors import SettingsWrong
from dynsync_pipeline.model import field_map as field_maps
from dynsync_pipeline.model.records import RecordType
from dynsync_pipeline_tests.properties.effort import is_deep, story
from dynsync_pipeline_tests.worlds.cuts import Cut
from dynsync_pipeline_tests.worlds.memory import MemoryWorld, field_map, read_all
from dynsync_pipeline_tests.worlds.memory_marketo import KEYS

LINES = ("title,jobtitle,text,both,true", "phone,telephone1,text,both,true", "city,address1_city,text,both,true")


@story
def test_lines_that_change_places_read_nothing_again_and_forget_no_deletion() -> None:
    world = MemoryWorld(field_map(*LINES))
    gone = world.link(RecordType.CONTACT, "gone", title="A")
    stays = world.link(RecordType.LEAD, "stays", title="A")
    world.settled()
    world.marketo.delete(gone)
    world.marketo.put(stays, title="B")
    world.follow(field_map(*reversed(LINES)))
    with world.opened() as cycle:
        read_all(cycle)
        cycle.reconcile()
    counts = "n_accounts_read, n_contacts_read, n_leads_read, n_people_read"
    assert world.rows(f"select {counts} from ledger.cycles order by cycle_id desc limit 1") == [
        (0, 0, 0, 2)
    ]  # the edit and the deletion
    assert world.rows("select person_id from state.tombstones") == [(gone,)]


@story
def test_a_field_that_joins_or_leaves_leaves_no_deletion_and_no_merge_unseen() -> None:
    """The people are exported anew, which tells nothing of those who are gone; the feed goes on where it was."""
    for before, after in ((LINES[:2], LINES), (LINES, LINES[:2])):
        world = MemoryWorld(field_map(*before))
        gone = world.link(RecordType.CONTACT, "gone", title="A")
        winner = world.link(RecordType.CONTACT, "winner", title="A")
        loser = world.link(RecordType.LEAD, "loser", title="A")
        world.settled()
        world.marketo.delete(gone)
        world.marketo.merge(winner, loser)
        world.follow(field_map(*after))
        world.cycle()
        assert world.rows("select person_id from state.tombstones order by 1") == [(gone,), (loser,)]


def reads_contacts(world: MemoryWorld, cut_after: int) -> bool:
    """Begin a cycle whose process dies after so many steps; whether it came to read all contacts before."""
    world.steps.left = cut_after
    try:
        with world.opened() as cycle:
            cycle.extract_records(RecordType.CONTACT)
    except Cut:
        return False
    finally:
        world.steps.left = None
    return True


@story
def test_a_full_read_that_is_cut_anywhere_leaves_no_deletion_unseen() -> None:
    """R13, R86: what is missing from a full read is asked for by id, however often the read is cut before that."""
    maps = itertools.cycle([field_map(*LINES), field_map(*LINES[:2])])
    world = MemoryWorld(next(maps))
    world.link(RecordType.CONTACT, "stays", title="A")
    for cut_after in itertools.count(1, 1 if is_deep() else 6):
        gone = world.link(RecordType.CONTACT, f"gone-{cut_after}", title="A")
        world.cycle()
        world.dynamics.delete(RecordType.CONTACT, f"gone-{cut_after}")
        world.follow(next(maps))
        is_done = reads_contacts(world, cut_after)
        world.cycle()
        assert (gone, "dynamics") in world.rows("select person_id, side from state.tombstones"), cut_after
        if is_done:
            break
    assert cut_after > 8


@story
def test_a_full_read_that_is_cut_and_begun_anew_takes_nothing_of_the_first_one_for_read() -> None:
    """R86: what the first one read may be gone by now, and the new cursor will never tell."""
    world = MemoryWorld(field_map(*LINES[:2]))
    for cut_after in range(3, 10, 1 if is_deep() else 3):
        gone = world.link(RecordType.CONTACT, f"gone-{cut_after}", title="A")
        world.cycle()
        world.follow(field_map(*LINES))
        reads_contacts(world, cut_after)
        world.dynamics.delete(RecordType.CONTACT, f"gone-{cut_after}")
        world.follow(field_map(*LINES[:2]))
        world.cycle()
        assert (gone, "dynamics") in world.rows("select person_id, side from state.tombstones"), cut_after


@story
def test_a_field_that_is_on_offer_again_in_the_middle_of_a_cycle_joins_with_the_next_one() -> None:
    """R107: what of it was read before is nothing, and nothing of a record that was edited meanwhile is no value to write."""
    world = MemoryWorld(field_map(*LINES))
    person_id = world.link(RecordType.CONTACT, "r", title="A", phone="1", city="C")
    world.settled()
    world.dynamics.hidden = {"telephone1"}
    world.clock += timedelta(days=1)
    world.settled()
    world.dynamics.put(RecordType.CONTACT, "r", telephone1="2", jobtitle="B")
    with world.opened() as cycle:
        cycle.extract_records(RecordType.CONTACT)
        world.dynamics.hidden = set()
        world.dynamics.fields = field_map(*LINES[:2])  # the city's column went away, so that the schema is read again
        world.dynamics.put(RecordType.LEAD, "lead", jobtitle="L")
        for record_type in (RecordType.ACCOUNT, RecordType.LEAD):
            cycle.extract_records(record_type)
        cycle.extract_people()
        assert world.rows("select distinct marketo_field from state.parked_fields order by 1") == [
            ("city",),
            ("phone",),
        ]
        cycle.reconcile()
        cycle.write_dynamics()
        cycle.write_marketo()
    assert (world.both(person_id, "phone"), world.both(person_id, "title")) == (("2", "1"), ("B", "B"))
    world.settled()
    assert world.both(person_id, "phone") == ("2", "2")


def test_r14_a_field_that_was_just_made_and_mapped_is_synced_in_the_next_cycle() -> None:
    """Not when the definitions are a day old."""
    world = MemoryWorld(field_map(*LINES[:2]))
    person_id = world.link(RecordType.CONTACT, "r", title="A")
    world.dynamics.put(RecordType.CONTACT, "r", address1_city="C")
    world.settled()
    world.map_to(field_map(*LINES))
    world.settled()
    assert world.rows("select marketo_field from state.parked_fields") == []
    assert world.both(person_id, "city") == ("C", "C")


@story
def test_r14_a_line_that_names_another_column_or_type_asks_for_the_definitions_of_now() -> None:
    world = MemoryWorld(field_map(*LINES[:2]))
    world.link(RecordType.CONTACT, "r", title="A")
    world.settled()
    for line in ("title,new_title,text,both,true", "title,new_title,integer,both,true"):
        world.map_to(field_map(line, LINES[1]))
        world.marketo.data_types["title"] = "integer" if "integer" in line else "string"
        world.settled()
        assert world.rows("select marketo_field, reason from state.parked_fields") == []


def test_r14_a_map_that_stays_asks_for_no_definitions_but_once_a_day() -> None:
    world = MemoryWorld(field_map(*LINES))
    world.settled()
    read_at = world.rows("select min(read_at) from state.columns")
    world.map_to(field_map(*reversed(LINES)))
    world.settled()
    assert world.rows("select max(read_at) from state.columns") == read_at


@story
def test_r107_a_mapped_field_that_somebody_makes_is_found_within_the_hour() -> None:
    world = MemoryWorld(field_map(*LINES))
    world.dynamics.hidden = {"address1_city"}
    person_id = world.link(RecordType.CONTACT, "r", title="A", city="C")
    world.settled()
    world.dynamics.hidden = set()
    for _ in range(12):
        world.cycle()
    assert world.rows("select marketo_field from state.parked_fields") == []
    assert world.both(person_id, "city") == ("C", "C")


def test_an_own_field_that_was_just_made_is_found_in_the_next_cycle() -> None:
    world = MemoryWorld(field_map(*LINES))
    world.marketo.data_types[KEYS.is_deleted] = "string"
    for _ in range(2):
        with pytest.raises(SettingsWrong, match="must be boolean"):
            world.cycle()
    world.marketo.data_types.clear()
    world.settled()


def upgraded(monkeypatch: pytest.MonkeyPatch, world: MemoryWorld, *lines: str) -> None:
    """From now on the package's own map, which `world` follows, has these lines."""
    fields = field_map(*lines)
    world.fields = world.dynamics.fields = world.marketo.fields = fields
    world.allow(field_map=None)
    text = (world.settings.data_dir / "fields.csv").read_text("utf-8").splitlines()[0] + "\n"
    text += "".join(
        f"{f.record_type},{f.marketo_field},{f.dynamics_column},{f.type},{f.direction},true\n" for f in fields.fields
    )
    monkeypatch.setattr(field_maps, "default_map_text", lambda: text)


@story
def test_lines_that_an_upgrade_brings_are_off_where_dynsync_synced_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """R132: nobody's consent of years should change because of an upgrade."""
    world = MemoryWorld(field_map(*LINES))
    upgraded(monkeypatch, world, *LINES[:2])
    person_id = world.link(RecordType.CONTACT, "r", title="A", phone="1")
    world.dynamics.put(RecordType.CONTACT, "r", address1_city="D")
    world.settled()
    upgraded(monkeypatch, world, *LINES)
    world.marketo.put(person_id, city="M", title="B")
    for _ in range(2):
        world.settled()
        assert world.rows("select distinct marketo_field, reason_code from state.parked_fields") == [
            ("city", "new_in_package")
        ]
    assert (world.both(person_id, "city"), world.both(person_id, "title")) == (("D", "M"), ("B", "B"))
    world.allow(field_map=world.settings.data_dir / "fields.csv")
    world.map_to(field_map(*LINES))
    world.settled()
    assert world.both(person_id, "city") == ("D", "D"), "R42: accepted, and met as for the first time"
    world.allow(field_map=None)
    world.settled()
    assert world.rows("select marketo_field from state.parked_fields") == [], "accepted once is accepted"


def test_a_new_installation_has_every_line_of_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    world = MemoryWorld(field_map(*LINES))
    upgraded(monkeypatch, world, *LINES)
    person_id = world.link(RecordType.CONTACT, "r", title="A", city="C")
    world.settled()
    world.dynamics.put(RecordType.CONTACT, "r", address1_city="D")
    world.settled()
    assert world.both(person_id, "city") == ("D", "D")
