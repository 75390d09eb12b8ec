"""A plan of many writes is sent whole, each write once, a part in memory at a time and several requests under way."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from dynsync_pipeline.clients.marketo.protocol import PersonResult
from dynsync_pipeline.errors import ServerFailed
from dynsync_pipeline.model.records import RecordType
from dynsync_pipeline.write_back import marketo, receipts
from dynsync_pipeline_tests.properties.effort import story
from dynsync_pipeline_tests.worlds.memory import MemoryWorld, field_map

pytestmark = story

LEAD, CONTACT = RecordType.LEAD, RecordType.CONTACT
WAIT_S = 60.0


@pytest.mark.parametrize("at_once", [1, 2, 3])
def test_a_plan_that_is_read_in_parts_is_sent_whole_and_each_write_once(
    at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Edits of both types on both sides, and new people; three of a kind, so that parts end within one and between two."""
    monkeypatch.setattr(receipts, "AT_ONCE", at_once)
    world = MemoryWorld(field_map("title,jobtitle,text,both,true"))
    people = {
        (kind, side, n): world.link(kind, f"{kind}-{side}-{n}", title="A")
        for kind in (LEAD, CONTACT)
        for side in ("dynamics", "marketo")
        for n in range(3)
    }
    world.settled()
    world.marketo.writes.clear()
    for (kind, side, n), person in people.items():
        if side == "dynamics":
            world.dynamics.put(kind, f"{kind}-{side}-{n}", jobtitle=f"B{n}")
        else:
            world.marketo.put(person, title=f"B{n}")
    for n in range(3):
        for kind in (LEAD, CONTACT):
            world.dynamics.put(kind, f"new-{kind}-{n}", jobtitle="New")
    world.cycle()
    assert {key: world.both(person, "title") for key, person in people.items()} == {
        key: (f"B{key[2]}", f"B{key[2]}") for key in people
    }
    told = [key for key, _ in world.marketo.writes]
    assert len(told) == len(set(told)) == 12, "six edits and six new people"
    assert world.settled() == 0


class Process(BaseException):
    """The process dies here."""


def edited_world(monkeypatch: pytest.MonkeyPatch, n_contacts: int, at_once: int) -> tuple[MemoryWorld, list[int]]:
    """Linked contacts of which each was edited in Dynamics, one write a request, `at_once` of them under way."""
    monkeypatch.setattr(marketo, "MOST_RECORDS", 1)
    world = MemoryWorld(field_map("title,jobtitle,text,both,true"))
    people = [world.link(CONTACT, f"r{n}", title="A") for n in range(n_contacts)]
    world.settled()
    world.allow(marketo_calls_at_once=at_once)
    for n in range(n_contacts):
        world.dynamics.put(CONTACT, f"r{n}", jobtitle=f"B{n}")
    return world, people


def meeting(world: MemoryWorld, n: int) -> Callable[..., list[PersonResult]]:
    """Writes of people go on only once `n` of them are under way together."""
    together, write = threading.Barrier(n), world.marketo.sync_people

    def sync_people(*arguments: Any) -> list[PersonResult]:
        together.wait(WAIT_S)
        return write(*arguments)

    return sync_people


def test_as_many_requests_are_under_way_as_the_setting_says(monkeypatch: pytest.MonkeyPatch) -> None:
    world, people = edited_world(monkeypatch, 6, at_once=3)
    monkeypatch.setattr(world.marketo, "sync_people", meeting(world, 3))
    world.cycle()
    assert [world.both(person, "title") for person in people] == [(f"B{n}", f"B{n}") for n in range(6)]


def test_never_more_requests_are_under_way_than_the_setting_says(monkeypatch: pytest.MonkeyPatch) -> None:
    world, people = edited_world(monkeypatch, 5, at_once=2)
    under_way, most, write, turn = 0, 0, world.marketo.sync_people, threading.Lock()
    are_two = threading.Event()

    def sync_people(*arguments: Any) -> list[PersonResult]:
        nonlocal under_way, most
        with turn:
            under_way += 1
            most = max(most, under_way)
            if under_way == 2:
                are_two.set()
        are_two.wait(WAIT_S)
        time.sleep(0.02)  # for a third one
        answers = write(*arguments)
        with turn:
            under_way -= 1
        return answers

    monkeypatch.setattr(world.marketo, "sync_people", sync_people)
    world.cycle()
    assert most == 2
    assert [world.both(person, "title") for person in people] == [(f"B{n}", f"B{n}") for n in range(5)]


def test_a_request_that_fails_beside_others_holds_none_of_them_up(monkeypatch: pytest.MonkeyPatch) -> None:
    world, people = edited_world(monkeypatch, 4, at_once=2)
    write = meeting(world, 2)

    def sync_people(*arguments: Any) -> list[PersonResult]:
        answers = write(*arguments)
        if "B1" in str(arguments):
            raise ServerFailed("It failed.", system="marketo", request="POST", code="500", status=500)
        return answers

    monkeypatch.setattr(world.marketo, "sync_people", sync_people)
    world.cycle()
    assert [world.marketo.rows[person].values["title"] for person in people] == ["B0", "B1", "B2", "B3"]
    monkeypatch.undo()
    world.settled()
    assert [row[4] for row in world.ledger()["changes"] if row[5] == "A"] == ["title"] * 4, "each told once"


def test_a_process_that_dies_with_several_requests_under_way_loses_and_doubles_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world, people = edited_world(monkeypatch, 6, at_once=3)
    write = meeting(world, 3)

    def sync_people(*arguments: Any) -> list[PersonResult]:
        answers = write(*arguments)
        if "B1" in str(arguments):
            raise Process
        return answers

    monkeypatch.setattr(world.marketo, "sync_people", sync_people)
    with pytest.raises(Process):
        world.cycle()
    monkeypatch.undo()
    for n in (1, 4):  # somebody goes on editing meanwhile: a record whose write was applied, and one whose was not sent
        world.dynamics.put(CONTACT, f"r{n}", jobtitle=f"C{n}")
    world.settled()
    held = ["B0", "C1", "B2", "B3", "C4", "B5"]
    assert [world.both(person, "title") for person in people] == [(value, value) for value in held]
    assert world.ledger()["collisions"] == []


def test_who_interrupts_waits_for_no_answer_and_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    world, people = edited_world(monkeypatch, 4, at_once=2)
    write, may_answer = world.marketo.sync_people, threading.Event()
    answered: list[bool] = []

    def sync_people(*arguments: Any) -> list[PersonResult]:
        if "B1" in str(arguments):
            raise KeyboardInterrupt
        answered.append(may_answer.wait(WAIT_S))
        return write(*arguments)

    monkeypatch.setattr(world.marketo, "sync_people", sync_people)
    with pytest.raises(KeyboardInterrupt):
        world.cycle()
    assert answered == []
    may_answer.set()
    monkeypatch.undo()
    world.settled()
    assert [world.both(person, "title") for person in people] == [(f"B{n}", f"B{n}") for n in range(4)]
