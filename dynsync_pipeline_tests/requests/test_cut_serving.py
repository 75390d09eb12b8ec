"""A request that is cut, or of which an answer, the store or the working file is lost, makes one record and one person."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

import pyarrow as pa
import pytest

from dynsync_pipeline.errors import RequestRefused, TimedOut
from dynsync_pipeline.model.records import RecordType
from dynsync_pipeline.requests.serving import Serving
from dynsync_pipeline.requests.store import RequestStore
from dynsync_pipeline_tests.properties.effort import is_deep, story
from dynsync_pipeline_tests.worlds.cuts import Cut
from dynsync_pipeline_tests.worlds.memory import SAME_FOR_BOTH_TYPES, MemorySystems, field_map
from dynsync_pipeline_tests.worlds.memory_marketo import KEYS
from dynsync_pipeline_tests.worlds.requests import RequestWorld

pytestmark = story

CONTACT, LEAD = RecordType.CONTACT, RecordType.LEAD


def two_asked() -> tuple[RequestWorld, list[int], list[str]]:
    """A world with two people, for each of whom somebody asked."""
    world = RequestWorld()
    world.link(LEAD, "l1", title="Boss")
    world.settled()
    people = [world.person(title="Chief", phone="1") for _ in range(2)]
    return world, people, [world.ask(person_id, CONTACT) for person_id in people]


@pytest.fixture(scope="module")
def n_steps_before() -> int:
    """How many steps a cycle takes before it sends the first of two new records."""
    world, *_ = two_asked()
    started, sent = world.steps.taken, []
    world.dynamics.refuses = lambda key, values: sent.append(world.steps.taken - started)
    world.cycle()
    return int(sent[0])


@pytest.mark.parametrize("n_later", range(-2, 10, 1 if is_deep() else 5))
def test_a_cut_anywhere_leaves_one_record_and_one_person_each(
    n_steps_before: int, n_later: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kill may fall before the commits of the store, too. Of one of the two both sides are edited before the next cycle."""
    world, people, requests = two_asked()
    writing = RequestStore._writing

    def killable(self: RequestStore) -> AbstractContextManager[sqlite3.Connection]:
        world.steps.step()
        return writing(self)

    monkeypatch.setattr(RequestStore, "_writing", killable)
    assert world.cycle(cut_after=n_steps_before + n_later) is None
    is_made = (CONTACT, requests[1]) in world.dynamics.rows
    world.marketo.put(people[1], title="Chief of all")
    if is_made:
        world.dynamics.put(CONTACT, requests[1], telephone1="2")
    world.cycle()
    world.settled()
    assert sorted(i for kind, i in world.dynamics.rows if kind is CONTACT) == sorted(requests)
    links = world.rows("select person_id, dynamics_id from state.links where record_type = 'contact'")
    assert dict(links) == dict(zip(people, requests, strict=True))
    assert len(world.marketo.rows) == 3
    assert [world.marketo.rows[person].values[KEYS.contact_id] for person in people] == requests
    for person_id, title, phone in ((people[0], "Chief", "1"), (people[1], "Chief of all", "2" if is_made else "1")):
        assert [world.base(person_id, name) for name in ("title", "phone")] == [title, phone]
        assert (world.both(person_id, "title"), world.both(person_id, "phone")) == ((title, title), (phone, phone))
        assert world.log_of(person_id) == [("created", None)]
    made = "select count(*) from ledger.changes where rule_code = 'new_in_marketo' and field = 'title'"
    assert world.rows(made) == [(2,)]
    assert world.ledger()["collisions"] == []
    assert world.errors() == []
    assert [world.request(each).state for each in requests] == ["ended", "ended"]
    assert world.rows("select * from state.requested") == world.rows("select * from state.requested_values") == []


def test_a_cut_between_ledger_and_store_tells_the_end_of_a_request_once(
    world: RequestWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    ((linked,),) = world.rows("select person_id from state.links")
    request_id = world.ask(linked)
    with monkeypatch.context() as killed:

        def cut(store: RequestStore, ends: object) -> None:
            raise Cut

        killed.setattr(RequestStore, "ended", cut)
        assert world.cycle() is None
    assert world.request(request_id).state == "open"
    world.cycle()
    assert world.request(request_id).outcome == "already_in_sync"
    assert world.log_of(linked) == [("already_in_sync", None)]
    assert world.rows("select count(*) from ledger.requests") == [(1,)]


def sent_and_cut(world: RequestWorld, record_type: RecordType = CONTACT, **values: str) -> tuple[int, str]:
    """Somebody for whom a record was made whose answer never came."""
    person_id = world.person(**values)
    request_id = world.ask(person_id, record_type)
    write = world.dynamics.write

    def unanswered(*arguments: Any) -> Any:
        write(*arguments)
        raise TimedOut("no answer", system="dynamics", request="POST")

    world.dynamics.write = unanswered  # type: ignore[method-assign, assignment]
    world.cycle()
    world.dynamics.write = write  # type: ignore[method-assign]
    assert (CONTACT if record_type is CONTACT else LEAD, request_id) in world.dynamics.rows
    return person_id, request_id


def people_of(world: RequestWorld, request_id: str) -> list[int]:
    """Who bears the key of a record."""
    return [*world.marketo.bearers(KEYS.contact_id, request_id), *world.marketo.bearers(KEYS.lead_id, request_id)]


def test_an_edit_after_a_write_of_unknown_outcome_is_no_concern_of_a_request(world: RequestWorld) -> None:
    """The person is read by the next cycle, which finds out first what became of the write."""
    ((person_id,),) = world.rows("select person_id from state.links")
    world.marketo.put(person_id, title="Chief")
    write = world.dynamics.write

    def unanswered(*arguments: Any) -> Any:
        write(*arguments)
        world.marketo.put(person_id, title="Chief of all")
        raise TimedOut("no answer", system="dynamics", request="POST")

    world.dynamics.write = unanswered  # type: ignore[method-assign, assignment]
    world.ask(person_id)
    world.cycle()
    world.dynamics.write = write  # type: ignore[method-assign]
    world.settled()
    assert world.both(person_id, "title") == ("Chief of all", "Chief of all")


def test_keys_that_follow_later_wait_until_a_write_of_unknown_outcome_is_found_out(world: RequestWorld) -> None:
    person_id = world.person(title="Boss")
    world.marketo.refuses = lambda key, values: (
        RequestRefused("no", system="marketo", request="POST", code="1006") if KEYS.lead_id in values else None
    )
    request_id = world.ask(person_id)
    world.cycle()
    world.marketo.refuses = lambda key, values: None
    world.marketo.put(person_id, title="Chief")
    write = world.dynamics.write

    def unanswered(*arguments: Any) -> Any:
        write(*arguments)
        world.marketo.put(person_id, title="Chief of all")
        raise TimedOut("no answer", system="dynamics", request="POST")

    world.dynamics.write = unanswered  # type: ignore[method-assign, assignment]
    world.cycle()
    world.dynamics.write = write  # type: ignore[method-assign]
    for _ in range(3):
        world.cycle()
    assert world.both(person_id, "title") == ("Chief of all", "Chief of all")
    assert people_of(world, request_id) == [person_id]


def test_what_was_sent_is_linked_though_its_person_would_be_refused_now(world: RequestWorld) -> None:
    world.dynamics.limits["jobtitle"] = {"is_business_required": True}
    world.follow(world.fields)
    world.dynamics.user_names = {"u1": "Ann"}
    world.allow(default_owner="Ann")
    person_id, request_id = sent_and_cut(world, title="Chief", phone="1")
    world.marketo.put(person_id, title=None)
    world.dynamics.user_names = {}
    world.cycle()
    world.settled()
    assert world.rows("select person_id from state.links where dynamics_id = ?", request_id) == [(person_id,)]
    assert people_of(world, request_id) == [person_id]
    assert world.both(person_id, "title") == (None, None)


def test_a_record_whose_person_was_deleted_before_the_link_rests_until_somebody_edits_it(world: RequestWorld) -> None:
    person_id, request_id = sent_and_cut(world, title="Chief")
    world.marketo.delete(person_id)
    world.cycle()
    world.settled()
    assert people_of(world, request_id) == []
    assert world.request(request_id).state == "ended"
    world.dynamics.put(CONTACT, request_id, jobtitle="Chief of all")
    world.settled()
    (successor,) = people_of(world, request_id)
    assert successor != person_id
    assert world.both(successor, "title") == ("Chief of all", "Chief of all")


def test_a_record_whose_person_was_linked_otherwise_before_the_link_makes_nobody(world: RequestWorld) -> None:
    person_id, request_id = sent_and_cut(world, title="Chief")
    world.dynamics.put(CONTACT, "c9", jobtitle="Chief")
    world.marketo.put(person_id, **{KEYS.contact_id: "c9"})
    world.cycle()
    world.settled()
    assert world.rows("select dynamics_id from state.links where person_id = ?", person_id) == [("c9",)]
    assert people_of(world, request_id) == []
    assert len([row for row in world.marketo.rows.values() if not row.is_deleted]) == 2


def test_an_answer_that_shows_nobody_proves_nobody_gone(world: RequestWorld) -> None:
    person_id = world.person(title="Chief")
    request_id = world.ask(person_id)
    shows = world.marketo.people

    def shows_nobody(filter_type: str, values: Sequence[str], fields: Sequence[str]) -> pa.Table:
        found = shows(filter_type, values, fields)
        return found.slice(0, 0) if filter_type == "id" and str(person_id) in values else found

    world.marketo.people = shows_nobody  # type: ignore[method-assign]
    world.cycle()
    assert world.request(request_id).outcome is None
    world.marketo.people = shows  # type: ignore[method-assign]
    world.cycle()
    assert world.request(request_id).outcome == "created"


def test_a_working_file_that_is_older_than_the_store_makes_no_second_person(world: RequestWorld) -> None:
    people = [world.person(title="Chief", phone="1") for _ in range(2)]
    requests = [world.ask(person_id, CONTACT) for person_id in people]
    world.marketo.refuses = lambda key, values: (
        RequestRefused("no", system="marketo", request="POST", code="1006") if KEYS.contact_id in values else None
    )
    world.cycle()
    world.marketo.refuses = lambda key, values: None
    for table in ("state.links", "state.base", "mirror.dynamics_contacts", "state.requested", "state.requested_values"):
        of_them = "record_type = 'contact'" if table == "state.links" else "true"
        world.rows(f"delete from {table} where {of_them}" if table != "state.base" else
                   f"delete from state.base where person_id in ({people[0]}, {people[1]})")  # fmt: skip
    for request_id in requests:
        world.dynamics.put(CONTACT, request_id, telephone1="2")
    world.cycle()
    world.settled()
    assert [people_of(world, request_id) for request_id in requests] == [[person_id] for person_id in people]
    assert len(world.marketo.rows) == 3
    assert world.rows("select count(*), count(distinct dynamics_id) from state.links") == [(3, 3)]


def test_whoever_bears_the_key_of_a_record_that_no_cycle_saw_waits_for_the_next(world: RequestWorld) -> None:
    world.publishes = True
    world.cycle()
    world.dynamics.put(LEAD, "l9", jobtitle="New")
    person_id = world.person(title="New", **{KEYS.lead_id: "l9"})
    request_id = world.ask(person_id)
    with RequestStore(world.settings.requests_file) as store:
        systems = MemorySystems(world.dynamics, world.marketo)
        Serving(world.warehouse, systems, world.settings, world.fields, store, is_in_cycle=False).serve()
    assert world.request(request_id).outcome is None
    world.cycle()
    assert world.request(request_id).outcome == "already_in_sync"
    assert people_of(world, "l9") == [person_id]


def test_a_store_that_is_lost_sets_its_records_free(world: RequestWorld) -> None:
    _, request_id = sent_and_cut(world, title="Chief")
    world.settings.requests_file.unlink()
    world.cycle()
    world.settled()
    assert len(people_of(world, request_id)) == 1


def test_a_store_that_is_damaged_stops_nothing_else(world: RequestWorld) -> None:
    ((person_id,),) = world.rows("select person_id from state.links")
    world.settings.requests_file.write_bytes(b"no database" * 100)
    world.dynamics.put(LEAD, "l1", jobtitle="Edited")
    world.cycle()
    assert world.both(person_id, "title") == ("Edited", "Edited")


def test_a_field_that_moved_to_another_column_meets_as_for_the_first_time(world: RequestWorld) -> None:
    person_id, request_id = sent_and_cut(world, title="Chief", phone="1")
    lines = [line.replace("title,jobtitle", "title,new_title") for line in SAME_FOR_BOTH_TYPES]
    world.follow(field_map(*lines))
    world.cycle()
    world.settled()
    assert world.both(person_id, "title") == ("Chief", "Chief")
    assert world.rows("select person_id from state.links where dynamics_id = ?", request_id) == [(person_id,)]
