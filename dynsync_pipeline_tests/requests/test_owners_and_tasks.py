"""The record of a person gets another owner, or a task, because somebody asks; who is no record becomes one first (R78)."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from dynsync_pipeline.clients.dynamics.protocol import Owner
from dynsync_pipeline.errors import AccessDenied, RequestRefused, TimedOut
from dynsync_pipeline.model.records import RecordType
from dynsync_pipeline_tests.properties.effort import is_deep, story
from dynsync_pipeline_tests.worlds.memory_marketo import KEYS
from dynsync_pipeline_tests.worlds.requests import RequestWorld
from dynsync_pipeline_tests.worlds.rows import Values

LEAD = RecordType.LEAD
OWNER, TASK = "Change Owner in Microsoft", "Create Task in Microsoft"


@pytest.fixture
def linked(world: RequestWorld) -> int:
    """A person with the lead l1, among users Ann and Bob."""
    world.dynamics.user_names = {"u1": "Ann", "u2": "Bob"}
    ((person_id,),) = world.rows("select person_id from state.links")
    return int(person_id)


def owner_of(world: RequestWorld, record_id: str) -> str | None:
    """Who owns a lead in Dynamics."""
    return world.dynamics.rows[LEAD, record_id].values.get("_ownerid_value")


def unanswered(world: RequestWorld, n_calls: int = 1) -> None:
    """The next writes to Dynamics are carried out, and their answers lost."""
    write = world.dynamics.write
    left = [n_calls]

    def lost(*arguments: Any) -> Any:
        results = write(*arguments)
        left[0] -= 1
        if left[0] == 0:
            world.dynamics.write = write  # type: ignore[method-assign]
        raise TimedOut(f"no answer for {len(results)}", system="dynamics", request="POST")

    world.dynamics.write = lost  # type: ignore[method-assign, assignment]


@story
def test_of_two_owners_the_last_one_counts_and_is_no_edit_when_it_comes_back(world: RequestWorld, linked: int) -> None:
    first, last = world.assign(linked, "Ann"), world.assign(linked, "Bob")
    world.cycle()
    assert [world.request(each).outcome for each in (first, last)] == ["superseded", "assigned"]
    assert owner_of(world, "l1") == "u2"
    assert sorted(world.log_of(linked, OWNER)) == [("assigned", None), ("superseded", None)]
    told = world.rows("select kind, outcome_code, dynamics_id from ledger.requests order by outcome_code")
    assert told == [("owner", "assigned", None), ("owner", "superseded", None)]
    n_writes, before = len(world.dynamics.writes), world.ledger()
    assert world.settled() == 0
    assert (len(world.dynamics.writes), world.ledger()) == (n_writes, before)
    assert world.rows("select _ownerid_value from mirror.dynamics_leads") == [("u2",)]


@story
def test_an_edit_that_nobody_has_seen_survives_the_change_of_owner(world: RequestWorld, linked: int) -> None:
    """What the answer shows would pass for agreed if it were taken in while the cycle settles another value of the field."""
    world.marketo.put(linked, phone="7")
    world.dynamics.put(LEAD, "l1", jobtitle="Chief")
    write = world.dynamics.write

    def edits_before(table: Any, columns: Any, writes: Any) -> Any:
        if any("ownerid" in each.body for each in writes):
            world.dynamics.put(LEAD, "l1", jobtitle="Chief of all")
        return write(table, columns, writes)

    world.dynamics.write = edits_before  # type: ignore[method-assign]
    world.assign(linked, "Bob")
    world.settled()
    assert world.both(linked, "title") == ("Chief of all", "Chief of all")
    assert world.both(linked, "phone") == ("7", "7")
    assert owner_of(world, "l1") == "u2"


def test_who_is_no_record_becomes_one_first_and_keeps_its_owner(world: RequestWorld, linked: int) -> None:
    world.allow(default_owner="Ann")
    asked = {record_type: world.person(title="Boss") for record_type in (LEAD, RecordType.CONTACT)}
    requests = [world.assign(person_id, "Bob", record_type) for record_type, person_id in asked.items()]
    about = world.person(title="Chief")
    task = world.ask_for_task(about, owner="Bob")
    world.cycle()
    ids = dict(world.rows("select person_id, dynamics_id from state.links"))
    for (record_type, person_id), request_id in zip(asked.items(), requests, strict=True):
        assert world.dynamics.rows[record_type, ids[person_id]].values["_ownerid_value"] == "u2"
        assert world.log_of(person_id) == [("created", None)]
        assert world.log_of(person_id, OWNER) == [("assigned", None)]
        assert world.request(request_id).outcome == "assigned"
    assert world.dynamics.tasks[task]["regardingobjectid_lead_task@odata.bind"] == f"/leads({ids[about]})"
    assert (owner_of(world, ids[about]), world.dynamics.tasks[task]["ownerid@odata.bind"]) == ("u1", "/systemusers(u2)")
    assert world.settled() == 0


@story
def test_a_task_is_made_for_the_record_and_for_whoever_owns_it(world: RequestWorld, linked: int) -> None:
    world.dynamics.owner_rows = [Owner("t1", True, "Team West", None, True, "2020-01-01T00:00:00Z")]
    world.dynamics.put(LEAD, "l1", _ownerid_value="t1")
    world.clock += timedelta(days=1)
    world.cycle()
    asked_at = world.now()
    plain = world.ask_for_task(linked, "Call “Zoë”")
    urgent = world.ask_for_task(linked, owner="Bob", description="Now!", due_in_days=0, priority="high")
    world.cycle()
    due_at = f"{asked_at + timedelta(days=5):%Y-%m-%dT%H:%M:%SZ}"
    assert world.dynamics.tasks[plain] == {
        "subject": "Call “Zoë”", "description": None, "scheduledend": due_at, "prioritycode": "1",
        "regardingobjectid_lead_task@odata.bind": "/leads(l1)", "ownerid@odata.bind": "/teams(t1)",
    }  # fmt: skip
    assert world.dynamics.tasks[urgent]["ownerid@odata.bind"] == "/systemusers(u2)"
    assert (world.dynamics.tasks[urgent]["prioritycode"], world.dynamics.tasks[urgent]["description"]) == ("2", "Now!")
    assert datetime.fromisoformat(str(world.dynamics.tasks[urgent]["scheduledend"])) <= world.now()
    assert world.log_of(linked, TASK) == [("created", None)] * 2
    told = world.rows("select kind, outcome_code, dynamics_id from ledger.requests order by dynamics_id")
    assert told == [("task", "created", each) for each in sorted((plain, urgent))]
    assert world.settled() == 0


@story
def test_answers_that_are_lost_make_no_second_task_and_no_second_owner(world: RequestWorld, linked: int) -> None:
    requests = [world.ask_for_task(linked), world.assign(linked, "Bob")]
    unanswered(world, 2)
    world.cycle()
    assert [world.request(each).outcome for each in requests] == [None, None]
    world.dynamics.put(LEAD, "l1", jobtitle="Chief")
    world.settled()
    assert [world.request(each).outcome for each in requests] == ["created", "assigned"]
    assert ([*world.dynamics.tasks], owner_of(world, "l1")) == ([requests[0]], "u2")
    assert (world.log_of(linked, TASK), world.log_of(linked, OWNER)) == ([("created", None)], [("assigned", None)])
    assert world.both(linked, "title") == ("Chief", "Chief")
    assert world.ledger()["collisions"] == []


@story
def test_a_kill_anywhere_makes_one_record_one_task_and_the_right_owner(world: RequestWorld, linked: int) -> None:
    """Killed so many steps after the first write that a request sent, in one world after the other person."""
    for n_later in range(1, 9, 1 if is_deep() else 5):
        person_id = world.person(title="Boss", phone=str(n_later))
        requests = [world.ask_for_task(person_id), world.assign(person_id, "Bob")]

        def kill(key: str, values: Values, n_later: int = n_later) -> None:
            if world.steps.left is None:
                world.steps.left = n_later

        world.dynamics.refuses = kill
        assert world.cycle() is None
        world.dynamics.refuses = lambda key, values: None
        for _ in range(2):
            world.cycle()
        ((record_id,),) = world.rows("select dynamics_id from state.links where person_id = ?", person_id)
        assert [world.request(each).outcome for each in requests] == ["created", "assigned"]
        about = [task["regardingobjectid_lead_task@odata.bind"] for task in world.dynamics.tasks.values()]
        assert about.count(f"/leads({record_id})") == 1
        assert owner_of(world, record_id) == "u2"
        assert world.log_of(person_id, TASK) == [("created", None)]
        assert world.log_of(person_id, OWNER) == [("assigned", None)]
    assert len({row[0] for row in world.rows("select dynamics_id from state.links")}) == len(world.marketo.rows)
    assert world.settled() == 0


@story
def test_what_cannot_be_done_stands_on_the_person_with_its_field(world: RequestWorld, linked: int) -> None:
    """An owner whom nobody knows, a task that Dynamics refuses, a required field that is empty, nobody, and another's key."""
    world.dynamics.limits["jobtitle"] = {"is_business_required": True}
    world.follow(world.fields)
    refusal = RequestRefused("no", system="dynamics", request="PATCH", code="0x80044331", field="subject")
    world.dynamics.refuses = lambda key, values: refusal if values.get("subject") == "x" else None
    empty, stranger = world.person(phone="1"), world.person(title="Boss")
    copy = world.person(title="Boss", **{KEYS.lead_id: "l1"})
    expected = {
        world.assign(linked, "Nobody"): "owner_unknown",
        world.assign(stranger, "Nobody"): "owner_unknown",
        world.ask_for_task(linked, "x"): "refused",
        world.ask_for_task(linked, "y"): "created",
        world.assign(empty, "Bob"): "required",
        world.ask_for_task(empty): "required",
        world.ask_for_task(4711): "person_missing",
        world.assign(copy, "Bob"): "not_linked",
        world.ask_for_task(copy): "not_linked",
    }
    world.cycle()
    assert {each: world.request(each).outcome for each in expected} == expected
    assert world.log_of(linked, OWNER) == world.log_of(stranger, OWNER) == [("refused", "ownerid")]
    assert sorted(world.log_of(linked, TASK)) == [("created", None), ("refused", "subject")]
    assert world.log_of(empty, OWNER) == world.log_of(empty, TASK) == [("refused", "title")]
    assert (owner_of(world, "l1"), len(world.dynamics.tasks)) == (None, 1)
    assert world.rows("select count(*) from state.links") == [(1,)]


@story
def test_a_right_that_is_missing_makes_a_request_wait_and_a_filter_ends_it(world: RequestWorld, linked: int) -> None:
    world.dynamics.refuses = lambda key, values: AccessDenied("no assign", system="dynamics", request="PATCH")
    requests = [world.assign(linked, "Bob"), world.ask_for_task(linked)]
    world.cycle()
    assert [world.request(each).outcome for each in requests] == [None, None]
    world.dynamics.refuses = lambda key, values: None
    world.cycle()
    assert [world.request(each).outcome for each in requests] == ["assigned", "created"]
    world.dynamics.put(LEAD, "l1", new_synctomkto="false")
    world.cycle()
    requests = [world.assign(linked, "Ann"), world.ask_for_task(linked)]
    world.cycle()
    assert [world.request(each).outcome for each in requests] == ["kept_out", "kept_out"]
    assert (owner_of(world, "l1"), len(world.dynamics.tasks)) == ("u2", 1)


@story
def test_a_record_that_is_deleted_before_its_task_was_made_is_made_anew(world: RequestWorld, linked: int) -> None:
    """The cycle served both when the deletion was read already, and when the write was the first to meet it."""
    world.dynamics.delete(LEAD, "l1")
    first = world.ask_for_task(linked)
    world.cycle()
    ((record_id,),) = world.rows("select dynamics_id from state.links where person_id = ?", linked)
    assert world.dynamics.tasks[first]["regardingobjectid_lead_task@odata.bind"] == f"/leads({record_id})"
    write = world.dynamics.write

    def deletes_before(table: Any, columns: Any, writes: Any) -> Any:
        world.dynamics.write = write  # type: ignore[method-assign]
        world.dynamics.delete(LEAD, record_id)
        return write(table, columns, writes)

    world.dynamics.write = deletes_before  # type: ignore[method-assign]
    owner = world.assign(linked, "Bob")
    for _ in range(3):
        world.cycle()
    ((successor,),) = world.rows("select dynamics_id from state.links where person_id = ?", linked)
    assert (successor != record_id, owner_of(world, successor)) == (True, "u2")
    assert world.request(owner).outcome == "assigned"


@story
def test_an_owner_waits_until_a_lost_write_to_the_record_is_found_out(world: RequestWorld, linked: int) -> None:
    """Else the record's new version would pass for that write's: here it never arrived, and the edit would be lost."""
    world.marketo.put(linked, title="Chief")
    write = world.dynamics.write

    def never_arrives(table: Any, columns: Any, writes: Any) -> Any:
        world.dynamics.write = write  # type: ignore[method-assign]
        raise TimedOut("no answer", system="dynamics", request="POST")

    world.dynamics.write = never_arrives  # type: ignore[method-assign]
    request_id = world.assign(linked, "Bob")
    world.cycle()
    assert (owner_of(world, "l1"), world.request(request_id).outcome) == (None, None)
    world.settled()
    assert world.both(linked, "title") == ("Chief", "Chief")
    assert owner_of(world, "l1") == "u2"
