"""What cannot be read is set aside alone: neither compared nor written until it was read, and read again by id (R116)."""

from __future__ import annotations

from datetime import timedelta

import pytest

from dynsync_pipeline.engines.on_duckdb import duckdb_engine
from dynsync_pipeline.model.records import RecordType
from dynsync_pipeline.reconcile.audit import run_audit
from dynsync_pipeline_tests.properties.effort import sampled, story
from dynsync_pipeline_tests.reconcile.test_deleted_people import FIELDS, successors
from dynsync_pipeline_tests.worlds.memory import MemoryWorld
from dynsync_pipeline_tests.worlds.memory_marketo import KEYS

pytestmark = story

LEAD, CONTACT = RecordType.LEAD, RecordType.CONTACT
DAY = timedelta(days=1)


@pytest.fixture
def world() -> MemoryWorld:
    """A contact `r` and another, each with a person."""
    world = MemoryWorld(FIELDS)
    world.link(CONTACT, "r", title="A", phone="1")
    world.link(CONTACT, "other", title="X", phone="1")
    world.settled()
    return world


def person_of(world: MemoryWorld, record_id: str = "r") -> int:
    (person_id,) = world.marketo.bearers(KEYS.contact_id, record_id)
    return person_id


def unread(world: MemoryWorld) -> list[tuple[object, ...]]:
    return world.rows(
        "select record_type, dynamics_id, person_id, attempts from ledger.sync_errors "
        "where code = 'unread' and state <> 'resolved'"
    )


def test_a_record_that_cannot_be_read_waits_with_both_sides_edits_while_all_others_go_on(world: MemoryWorld) -> None:
    person = person_of(world)
    world.dynamics.put(CONTACT, "r", jobtitle="B")
    world.dynamics.put(CONTACT, "other", jobtitle="Y")
    world.marketo.put(person, phone="2")
    world.dynamics.put(CONTACT, "new", jobtitle="N")
    world.dynamics.unreadable = {"r": "jobtitle", "new": "jobtitle"}
    world.cycle()
    assert world.both(person_of(world, "other"), "title") == ("Y", "Y")
    assert world.both(person, "phone") == ("1", "2")
    assert world.marketo.bearers(KEYS.contact_id, "new") == []
    assert sorted(unread(world)) == [("contact", "new", None, 1), ("contact", "r", person, 1)]
    with duckdb_engine(world.warehouse) as engine:
        audit = run_audit(engine)
    assert (audit.n_missed, audit.n_damaged) == (0, 0), "nothing to say of what waits to be read"
    world.dynamics.unreadable.clear()
    world.clock += DAY
    world.settled()
    assert world.both(person, "title") == ("B", "B")
    assert world.both(person, "phone") == ("2", "2")
    assert world.marketo.rows[person_of(world, "new")].values["title"] == "N"
    assert unread(world) == []
    assert world.rows("select * from state.unread") == []
    assert world.ledger()["collisions"] == []


def test_a_person_who_cannot_be_read_waits_with_both_sides_edits_while_all_others_go_on(world: MemoryWorld) -> None:
    person, other = person_of(world), person_of(world, "other")
    world.marketo.put(person, phone="2")
    world.marketo.put(other, phone="3")
    world.dynamics.put(CONTACT, "r", jobtitle="B")
    world.marketo.unreadable[person] = "phone"
    world.cycle()
    assert world.both(other, "phone") == ("3", "3")
    assert world.both(person, "title") == ("B", "A")
    assert unread(world) == [("person", None, person, 1)]
    assert world.settled() == 0
    world.marketo.unreadable.clear()
    world.clock += DAY
    world.settled()
    assert (world.both(person, "title"), world.both(person, "phone")) == (("B", "B"), ("2", "2"))
    assert unread(world) == []


def test_what_cannot_be_read_is_asked_for_at_growing_gaps(world: MemoryWorld) -> None:
    world.dynamics.put(CONTACT, "r", jobtitle="B")
    world.dynamics.unreadable["r"] = "jobtitle"
    asked = 0
    look_up = world.dynamics.look_up

    def counted(*arguments: object) -> object:
        nonlocal asked
        asked += 1
        return look_up(*arguments)  # type: ignore[arg-type]

    world.dynamics.look_up = counted  # type: ignore[method-assign,assignment]
    for _ in range(5):
        world.cycle()
    assert asked == 3, "at once, then after 5 and 15 minutes"
    assert unread(world) == [("contact", "r", person_of(world), 3)]


def test_many_that_cannot_be_read_one_after_the_other_end_no_cycle(world: MemoryWorld) -> None:
    """R116: of one answer with more than fifty bad rows the rows are not at fault; here each came alone."""
    for _ in range(2):
        for number in range(30):
            bearer = world.marketo.next_id
            world.marketo.put(bearer, title="T")
            world.marketo.unreadable[bearer] = KEYS.contact_id
            record_id = f"r{world.dynamics.version} {number}"
            world.dynamics.put(CONTACT, record_id, jobtitle="T")
            world.dynamics.unreadable[record_id] = "jobtitle"
        assert world.cycle() is not None
    world.clock += DAY
    world.dynamics.put(CONTACT, "r", jobtitle="B")
    assert world.cycle() is not None
    assert world.both(person_of(world), "title") == ("B", "B")
    assert world.rows("select record_type, count(*), min(attempts) from state.unread group by all order by all") == [
        ("contact", 60, 2), ("person", 60, 2),
    ]  # fmt: skip
    world.dynamics.unreadable.clear()
    world.marketo.unreadable.clear()
    world.clock += DAY
    world.settled()
    assert world.rows("from state.unread") == []


def test_of_two_that_cannot_be_read_the_one_that_is_deleted_meanwhile_ends_as_any_deleted_record(
    world: MemoryWorld,
) -> None:
    gone, stays = person_of(world), person_of(world, "other")
    for record_id in ("r", "other"):
        world.dynamics.put(CONTACT, record_id, jobtitle="B")
        world.dynamics.unreadable[record_id] = "jobtitle"
    world.cycle()
    world.dynamics.delete(CONTACT, "r")
    world.dynamics.unreadable.clear()
    world.clock += DAY
    world.settled()
    assert world.marketo.rows[gone].values[KEYS.is_deleted] == "true"
    assert world.both(stays, "title") == ("B", "B")
    assert unread(world) == []
    assert world.rows("select * from state.unread") == []


def test_a_person_gone_without_a_word_while_it_could_not_be_read_is_found_gone_by_id(world: MemoryWorld) -> None:
    """R81, R86."""
    person = person_of(world)
    world.marketo.put(person, phone="2")
    world.marketo.unreadable[person] = "phone"
    world.cycle()
    world.marketo.delete(person)
    world.marketo.deletions.clear()
    world.dynamics.put(CONTACT, "r", jobtitle="B")
    world.clock += DAY
    world.settled()
    (new,) = successors(world, CONTACT)
    assert (new != person, world.marketo.rows[new].values["title"]) == (True, "B")
    assert unread(world) == []


def test_nobody_is_made_for_a_record_whose_key_somebody_bears_who_cannot_be_read(world: MemoryWorld) -> None:
    """R18."""
    bearer = world.marketo.next_id
    world.marketo.put(bearer, title="theirs", phone="7", **{KEYS.contact_id: "new"})
    world.marketo.unreadable[bearer] = "title"
    world.dynamics.put(CONTACT, "new", jobtitle="B", telephone1="7")
    world.cycle()
    assert world.marketo.bearers(KEYS.contact_id, "new") == [bearer]
    assert world.marketo.rows[bearer].values["title"] == "theirs"
    assert world.settled() == 0
    world.marketo.unreadable.clear()
    world.clock += DAY
    world.settled()
    assert world.marketo.bearers(KEYS.contact_id, "new") == [bearer]
    assert world.both(bearer, "title") == ("B", "B")
    assert [row[3] for row in world.ledger()["collisions"]] == ["title"]


@pytest.mark.parametrize(("what", "is_first"), [("title", False), ("key", False), ("key", True)])
def test_a_person_who_cannot_be_read_is_not_written_over_and_holds_up_nobody_else(what: str, is_first: bool) -> None:
    """R18, R116: whoever is not told apart by the key they show is found by it, also where they are linked by another."""
    world = MemoryWorld(FIELDS)
    linked = world.link(CONTACT, "old", title="theirs")
    if not is_first:
        world.settled()
    bearers = {}
    for number, (record_type, key) in enumerate(((LEAD, KEYS.lead_id), (CONTACT, KEYS.contact_id))):
        bearers[key] = world.marketo.next_id
        world.marketo.put(bearers[key], title="theirs", **{key: "borne"})
        world.marketo.unreadable[bearers[key]] = key if what == "key" else "title"
        for record_id in ("borne", "free", "freely"):
            world.dynamics.put(record_type, record_id, jobtitle="B", telephone1=str(number))
    world.marketo.put(linked, **{KEYS.lead_id: "by hand"})
    world.marketo.unreadable[linked] = KEYS.lead_id
    world.dynamics.put(LEAD, "by hand", jobtitle="B")
    world.marketo.spoils = lambda file: file.replace(b",theirs", b",A\rA")
    for _ in range(3):
        world.cycle()
    assert {world.marketo.rows[person].values["title"] for person in (*bearers.values(), linked)} == {"theirs"}
    for key, bearer in bearers.items():
        assert world.marketo.bearers(key, "borne") == [bearer]
        assert [len(world.marketo.bearers(key, record_id)) for record_id in ("free", "freely")] == [1, 1]
    assert world.marketo.bearers(KEYS.lead_id, "by hand") == [linked]
    world.marketo.unreadable.clear()
    world.clock += DAY
    world.settled()
    assert world.both(bearers[KEYS.contact_id], "title") == ("B", "B")
    assert world.both(bearers[KEYS.lead_id], "title") == ("theirs", "theirs")
    assert world.both(linked, "title") == ("theirs", "theirs")
    assert world.rows("from state.unread") == []


def test_a_record_held_back_for_a_key_gets_its_person_when_the_key_turns_out_free(world: MemoryWorld) -> None:
    bearer = world.marketo.next_id
    world.marketo.put(bearer, title="theirs", **{KEYS.contact_id: "new"})
    world.marketo.unreadable[bearer] = "title"
    world.dynamics.put(CONTACT, "new", jobtitle="B")
    world.cycle()
    world.marketo.put(bearer, **{KEYS.contact_id: None})
    world.marketo.unreadable.clear()
    world.clock += DAY
    world.settled()
    assert person_of(world, "new") != bearer


def test_an_account_that_cannot_be_read_leaves_its_company_alone_until_it_can() -> None:
    world = MemoryWorld()
    world.dynamics.put(RecordType.ACCOUNT, "a", name="Old")
    world.settled()
    world.dynamics.put(RecordType.ACCOUNT, "a", name="New")
    world.dynamics.unreadable["a"] = "name"
    world.settled()
    assert world.marketo.company_rows["a"]["company"] == "Old"
    assert unread(world) == [("account", "a", None, 1)]
    world.dynamics.unreadable.clear()
    world.clock += DAY
    world.settled()
    assert world.marketo.company_rows["a"]["company"] == "New"


def test_a_cut_at_any_step_of_reading_loses_nothing_that_was_set_aside(world: MemoryWorld) -> None:
    world.dynamics.put(CONTACT, "r", jobtitle="B")
    world.dynamics.unreadable["r"] = "jobtitle"
    for cut in (1, 3, 5):
        assert world.cycle(cut_after=cut) is None
    world.dynamics.unreadable.clear()
    world.clock += DAY
    world.settled()
    assert world.both(person_of(world), "title") == ("B", "B")


@pytest.mark.parametrize("record_type", [LEAD, CONTACT])
@pytest.mark.parametrize("is_new", sampled([True, False], 1))
def test_an_edit_made_while_our_own_write_cannot_be_read_back_meets_no_edit_of_ours(
    record_type: RecordType, is_new: bool
) -> None:
    """R31, R34: what stood there before our write is no value that Marketo kept instead of ours."""
    world = MemoryWorld(FIELDS)
    if not is_new:
        world.link(record_type, "r", title="A")
    world.settled()
    world.marketo.unreadable[1001] = "title"
    world.dynamics.put(record_type, "r", jobtitle="ours")
    world.cycle()
    assert len(world.rows("from state.unread")) == 1
    world.dynamics.put(record_type, "r", jobtitle="later")
    world.cycle()
    world.marketo.unreadable.clear()
    world.clock += DAY
    world.settled()
    assert world.both(1001, "title") == ("later", "later")
    assert world.ledger()["collisions"] == []
    assert world.standing() == []
