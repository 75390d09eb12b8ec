"""Each value that moves in a mirror is kept as a row, whoever moved it, once, and costs nothing where nothing moves."""

from __future__ import annotations

from datetime import timedelta

import pytest

from dynsync_pipeline.model.records import RecordType
from dynsync_pipeline_tests.properties.effort import story
from dynsync_pipeline_tests.worlds.memory import SAME_FOR_BOTH_TYPES, MemoryWorld, field_map

pytestmark = story

ACCOUNT, CONTACT, LEAD = RecordType.ACCOUNT, RecordType.CONTACT, RecordType.LEAD
NEW = "select coalesce(max(entry_id), 0) from ledger.observations"


@pytest.fixture(scope="module")
def world() -> MemoryWorld:
    world = MemoryWorld()
    world.link(CONTACT, "c", title="A")
    world.link(LEAD, "l", title="A", phone="1")
    world.settled()
    world.cycle()
    return world


def moved(world: MemoryWorld, after: int, *, names: tuple[str, ...] = ()) -> list[tuple[object, ...]]:
    """What was observed since, without the columns that every write moves."""
    return world.rows(
        "select object, coalesce(dynamics_id, person_id::varchar), name, old_value, new_value, is_receipt "
        "from ledger.observations where entry_id > ? and name is distinct from '_modifiedby_value' order by entry_id",
        after,
    )


def person(world: MemoryWorld, record_id: str) -> int:
    ((person_id,),) = world.rows("select person_id from state.links where dynamics_id = ?", record_id)
    return int(person_id)


def test_a_first_load_and_a_cycle_without_changes_are_no_observations(world: MemoryWorld) -> None:
    assert world.rows("select count(*) from ledger.observations where name is not null and not is_receipt") == [(0,)]
    ((before,),) = world.rows(NEW)
    world.cycle()
    assert moved(world, before) == []


def test_an_edit_and_its_echo_on_the_other_side_are_one_row_each(world: MemoryWorld) -> None:
    ((before,),) = world.rows(NEW)
    world.dynamics.put(CONTACT, "c", jobtitle="B")
    world.cycle()
    world.cycle()
    c = str(person(world, "c"))
    assert moved(world, before) == [
        ("contact", "c", "jobtitle", "A", "B", False),
        ("person", c, "title", "A", "B", True),
    ]


def test_equal_edits_of_both_sides_which_no_ledger_tells_are_observed(world: MemoryWorld) -> None:
    ((before,),) = world.rows(NEW)
    world.dynamics.put(LEAD, "l", telephone1=None)
    world.marketo.put(person(world, "l"), phone=None)
    world.cycle()
    assert sorted(moved(world, before)) == sorted(
        [
            ("lead", "l", "telephone1", "1", None, False),
            ("person", str(person(world, "l")), "phone", "1", None, False),
        ]
    )
    assert world.rows("select count(*) from ledger.changes where field = 'phone'") == [(0,)]


def test_a_new_record_is_seen_first_in_one_row_and_its_person_too(world: MemoryWorld) -> None:
    ((before,),) = world.rows(NEW)
    world.dynamics.put(CONTACT, "new", jobtitle="O'Brien 👩‍🚀 שלום")
    world.cycle()
    assert moved(world, before) == [
        ("contact", "new", None, None, None, False),
        ("person", str(person(world, "new")), None, None, None, True),
    ]


def test_who_is_deleted_in_marketo_loses_its_values_and_who_is_in_dynamics_keeps_them(world: MemoryWorld) -> None:
    world.link(CONTACT, "gone", title="T", phone="2")
    world.settled()
    ((before,),) = world.rows(NEW)
    gone = person(world, "gone")
    world.marketo.delete(gone)
    world.cycle()
    told = moved(world, before)
    assert ("person", str(gone), "title", "T", None, False) in told
    assert ("person", str(gone), "phone", "2", None, False) in told
    assert ("person", str(gone), "is_deleted", "false", "true", False) in told
    ((before,),) = world.rows(NEW)
    world.dynamics.delete(CONTACT, "gone")
    world.cycle()
    assert moved(world, before) == [("contact", "gone", "is_deleted", "false", "true", False)]


def test_a_move_to_another_account_and_an_edit_of_it_are_observed(world: MemoryWorld) -> None:
    for account in ("a", "b"):
        world.dynamics.put(ACCOUNT, account, name=account)
    world.dynamics.put(CONTACT, "c", _parentcustomerid_value="a")
    world.settled()
    ((before,),) = world.rows(NEW)
    world.dynamics.put(CONTACT, "c", _parentcustomerid_value="b")
    world.dynamics.put(ACCOUNT, "b", name="B & Co")
    world.cycle()
    told = moved(world, before)
    assert ("contact", "c", "_parentcustomerid_value", "a", "b", False) in told
    assert ("account", "b", "name", "b", "B & Co", False) in told
    assert ("person", str(person(world, "c")), "external_company_id", "a", "b", True) in told
    assert world.rows(
        "select company_key, name, old_value, new_value from ledger.observations where entry_id > ? and object = 'company'",
        before,
    ) == [("b", "company", "b", "B & Co")]


def test_that_an_upgrade_learns_who_modified_an_account_last_is_no_update_of_it(world: MemoryWorld) -> None:
    """R52: a local edit of its company stays, and nothing is observed to move."""
    world.dynamics.put(ACCOUNT, "u", name="Upgraded")
    world.dynamics.put(CONTACT, "of u", jobtitle="X", _parentcustomerid_value="u")
    world.settled()
    world.marketo.put_company("u", company="Local")
    world.marketo.put(person(world, "of u"), phone="2")  # whose company is read then
    world.settled()
    ((before,),) = world.rows(NEW)
    world.rows("update mirror.dynamics_accounts set _modifiedby_value = null")
    world.rows("delete from state.cursors where stream = 'dynamics_accounts'")
    world.settled()
    assert world.marketo.company_rows["u"]["company"] == "Local"
    assert moved(world, before) == []


def test_a_field_that_joins_the_map_fills_up_unobserved_and_is_observed_from_then_on() -> None:
    world = MemoryWorld()
    world.link(CONTACT, "c", title="A")
    world.settled()
    ((before,),) = world.rows(NEW)
    c = person(world, "c")
    world.marketo.rows[c].values["city"] = "Bern"
    world.dynamics.rows[CONTACT, "c"].values["address1_city"] = "Bern"
    world.follow(field_map(*SAME_FOR_BOTH_TYPES, "city,address1_city,text,both,true"))
    world.settled()
    assert moved(world, before) == []
    world.clock += timedelta(hours=1)
    world.dynamics.put(CONTACT, "c", address1_city="Chur")
    world.cycle()
    assert moved(world, before) == [
        ("contact", "c", "address1_city", "Bern", "Chur", False),
        ("person", str(c), "city", "Bern", "Chur", True),
    ]
    since = dict(world.rows("select name, since from state.observed_fields where object = 'contact'"))
    assert since["address1_city"] > since["jobtitle"]


def test_a_field_may_bear_the_name_of_what_numbers_the_rows() -> None:
    world = MemoryWorld()
    world.follow(field_map(*SAME_FOR_BOTH_TYPES, "place,place,text,both,true"))
    world.link(CONTACT, "c", place="Oslo")
    world.link(CONTACT, "d", place="Rome")
    world.settled()
    world.cycle()
    ((before,),) = world.rows(NEW)
    world.dynamics.put(CONTACT, "c", place="Bonn")
    world.dynamics.put(CONTACT, "d", title="B")
    world.cycle()
    world.cycle()
    assert [row for row in moved(world, before) if row[2] == "place"] == [
        ("contact", "c", "place", "Oslo", "Bonn", False),
        ("person", str(person(world, "c")), "place", "Oslo", "Bonn", True),
    ]
