"""Who is gone without a word is found by a write or a read that misses them, and is deleted only on proof (R81, R86)."""

from __future__ import annotations

from datetime import timedelta

import pytest

from dynsync_pipeline.errors import AnswerUnreadable, CursorExpired, GuardStopped
from dynsync_pipeline.extract.absence import confirm_people, confirm_records, suspect
from dynsync_pipeline.model.records import RecordType, Table
from dynsync_pipeline_tests.properties.effort import deep, story
from dynsync_pipeline_tests.reconcile.test_deleted_people import FIELDS, successors
from dynsync_pipeline_tests.worlds.memory import MemoryWorld

pytestmark = story

LEAD, CONTACT = RecordType.LEAD, RecordType.CONTACT
BOTH_TYPES = pytest.mark.parametrize("record_type", [LEAD, CONTACT])


def two_linked(world: MemoryWorld, record_type: RecordType) -> tuple[int, int]:
    """A person to go, and one who stays, which proves that people can be read."""
    gone = world.link(record_type, "r", title="A", phone="123", source="web")
    stays = world.link(record_type, "other", title="X")
    world.settled()
    return gone, stays


def purge(world: MemoryWorld, person_id: int) -> None:
    """A person is gone in Marketo and no feed tells."""
    world.marketo.delete(person_id)
    world.marketo.deletions.clear()


@BOTH_TYPES
def test_a_person_gone_without_a_word_whose_record_is_edited_gets_a_successor_with_the_edit(
    record_type: RecordType,
) -> None:
    world = MemoryWorld(FIELDS)
    person, _ = two_linked(world, record_type)
    purge(world, person)
    world.dynamics.put(record_type, "r", jobtitle="B")
    world.settled()
    (new,) = successors(world, record_type)
    assert new != person
    assert [world.marketo.rows[new].values.get(name) for name in ("title", "phone", "source")] == ["B", "123", "web"]
    assert world.errors() == [], "no such record is no refusal"
    assert world.rows("select * from state.suspects") == []
    assert world.settled() == 0


@BOTH_TYPES
def test_a_person_gone_without_a_word_and_an_edit_taken_back_bring_nobody(record_type: RecordType) -> None:
    world = MemoryWorld(FIELDS)
    person, _ = two_linked(world, record_type)
    purge(world, person)
    world.dynamics.put(record_type, "r", jobtitle="B")
    world.cycle()
    world.dynamics.put(record_type, "r", jobtitle="A")
    world.settled()
    assert successors(world, record_type) == []


@BOTH_TYPES
def test_a_record_gone_without_a_word_ends_its_link_when_a_write_misses_it(record_type: RecordType) -> None:
    world = MemoryWorld(FIELDS)
    person, _ = two_linked(world, record_type)
    del world.dynamics.rows[record_type, "r"]
    world.marketo.put(person, title="B")
    world.settled()
    assert world.rows("select side from state.tombstones") == [("dynamics",)]
    assert world.marketo.rows[person].values["dynamicsIsDeleted"] == "true"
    assert world.errors() == []


@deep
def test_no_such_record_is_asked_for_more_than_eight_times_and_never_quarantined() -> None:
    """Marketo shows the people, yet takes no write for them: nobody is forgotten, and nobody is deleted."""
    world = MemoryWorld(FIELDS)
    people = [world.link(record_type, record_type, title="A") for record_type in (CONTACT, LEAD)]
    world.link(CONTACT, "stays", title="A")
    world.settled()
    for record_type in (CONTACT, LEAD):
        world.dynamics.put(record_type, record_type, jobtitle="B")
    sync = world.marketo._sync

    def miss(action: str, lookup_field: str, body: dict[str, object]) -> object:
        body = dict(body)
        if str(body.get("id")) in map(str, people):
            body["id"] = "999999"
        return sync(action, lookup_field, body)

    world.marketo._sync = miss  # type: ignore[method-assign,assignment]
    for _ in range(12):
        world.cycle()
        world.clock += timedelta(days=2)
    assert world.errors() == []
    assert world.rows("select reason_code from state.unsettled") == [("missing",)] * 2
    world.marketo._sync = sync  # type: ignore[method-assign]
    world.settled()
    assert [world.marketo.rows[person].values["title"] for person in people] == ["B", "B"]


@BOTH_TYPES
def test_an_answer_that_shows_nobody_known_to_live_deletes_nobody_and_stops_no_cycle(
    record_type: RecordType, caplog: pytest.LogCaptureFixture
) -> None:
    world = MemoryWorld(FIELDS)
    person, stays = two_linked(world, record_type)
    people = world.marketo.people
    world.marketo.people = lambda filter_type, values, fields: people(filter_type, [], fields)  # type: ignore[method-assign]
    with world.warehouse.transaction() as connection:
        suspect(connection, world.warehouse, "person", [str(person)])
    assert confirm_people(world.warehouse, world.marketo, world.columns, [person]) == []
    assert "does not show 1 people who may be gone" in caplog.text
    assert world.rows("select * from inbox.marketo_people") == []
    assert world.rows("select next_look_at - since from state.suspects") == [(timedelta(days=1),)]
    world.marketo.people = people  # type: ignore[method-assign]
    purge(world, person)
    assert confirm_people(world.warehouse, world.marketo, world.columns, [person, stays]) == [person], (
        "a suspect may witness"
    )


@BOTH_TYPES
def test_a_record_that_one_may_not_read_is_not_deleted_and_blocks_no_other(record_type: RecordType) -> None:
    world = MemoryWorld(FIELDS)
    two_linked(world, record_type)
    world.dynamics.forbidden.add("r")
    del world.dynamics.rows[record_type, "other"]
    assert confirm_records(world.warehouse, world.dynamics, FIELDS, record_type, ["r", "other"]) == ["other"]
    world.settled()
    assert world.rows("select dynamics_id from state.links") == [("r",)]


def test_records_missing_from_a_full_read_are_remembered_where_the_read_ends() -> None:
    """Cut between the last page and the look at who is missing, the next cycle goes on with that look."""
    world = MemoryWorld(FIELDS)
    two_linked(world, CONTACT)
    del world.dynamics.rows[CONTACT, "r"]
    changes, look_up = world.dynamics.changes, world.dynamics.look_up

    def expired(table: Table, columns: object, cursor: str | None) -> object:
        if cursor is not None and table.record_type is CONTACT:
            world.dynamics.changes = changes  # type: ignore[method-assign]
            raise CursorExpired("Expired.", system="dynamics", request="GET")
        return changes(table, columns, cursor)  # type: ignore[arg-type]

    def fails(*_: object) -> object:
        raise AnswerUnreadable("503", system="dynamics", request="GET")

    world.dynamics.changes = expired  # type: ignore[method-assign,assignment]
    world.dynamics.look_up = fails  # type: ignore[method-assign,assignment]
    with pytest.raises(AnswerUnreadable):
        world.cycle()
    world.dynamics.look_up = look_up  # type: ignore[method-assign]
    world.settled()
    assert world.rows("select dynamics_id, side from state.tombstones") == [("r", "dynamics")]


def many(n_people: int) -> tuple[MemoryWorld, list[int]]:
    world = MemoryWorld(FIELDS, publishes=True)
    people = [world.link(CONTACT, f"r{n}", title="A") for n in range(n_people)]
    world.settled()
    world.allow(largest_share=0.1)
    return world, people


def find_gone(world: MemoryWorld, people: list[int]) -> None:
    for person in people:
        purge(world, person)
    with world.warehouse.transaction() as connection:
        suspect(connection, world.warehouse, "person", [str(person) for person in people])


def test_people_found_gone_bit_by_bit_are_counted_over_seven_days() -> None:
    world, people = many(70)
    find_gone(world, people[:30])
    world.settled()
    world.clock += timedelta(days=3)
    find_gone(world, people[30:51])
    with pytest.raises(GuardStopped, match="In the last 7 days 51 people or records"):
        world.cycle()
    with pytest.raises(GuardStopped):
        world.cycle()
    world.allow(largest_share=1.0)
    world.settled()
    world.allow(largest_share=0.1)
    find_gone(world, people[51:60])
    world.settled()
    assert world.rows("select count(*) from state.links") == [(10,)]


def test_people_found_gone_more_than_seven_days_ago_count_no_more() -> None:
    world, people = many(70)
    find_gone(world, people[:30])
    world.settled()
    world.clock += timedelta(days=7)
    find_gone(world, people[30:60])
    world.settled()
    assert world.rows("select count(*) from state.links") == [(10,)]


def test_people_of_a_partition_that_the_sync_may_not_see_any_more_are_not_gone_and_get_no_doubles(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """R86. Others are shown beside them; in the partition that is left, whoever is not shown is gone."""
    world = MemoryWorld(FIELDS)
    people = {name: world.link(CONTACT, name, title="A") for name in ("lost", "lost too", "gone", "stays")}
    for name, person in people.items():
        world.marketo.put(person, leadPartitionId="2" if name.startswith("lost") else "1")
    world.settled()
    world.clock += timedelta(days=2)
    world.settled()  # the census reads everybody
    world.marketo.lost_partitions = {"2"}
    purge(world, people["gone"])
    for name in ("lost", "gone"):
        world.dynamics.put(CONTACT, name, jobtitle="B")
    for _ in range(4):
        world.cycle()
    assert world.rows("select dynamics_id from state.tombstones") == []
    assert len(successors(world, CONTACT, "gone")) == 1
    assert "nor anybody else of their partition" in caplog.text
    world.marketo.lost_partitions = set()
    world.clock += timedelta(days=2)
    world.settled()
    assert successors(world, CONTACT, "lost") == [people["lost"]]
    assert world.both(people["lost"], "title") == ("B", "B")
