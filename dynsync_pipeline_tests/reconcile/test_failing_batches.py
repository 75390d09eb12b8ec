"""A record that makes each request fail that it is in is found, told, and holds nobody else up (R116).

Source: docs/design.md#refusals.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from dynsync_pipeline.errors import ApiError, RequestRefused, ServerFailed
from dynsync_pipeline.model.records import RecordType
from dynsync_pipeline_tests.properties.effort import story
from dynsync_pipeline_tests.worlds.memory import MemoryWorld, field_map
from dynsync_pipeline_tests.worlds.memory_marketo import KEYS

pytestmark = story

CONTACT, ACCOUNT = RecordType.CONTACT, RecordType.ACCOUNT
FIELDS = field_map("title,jobtitle,text,both,true")
FAILED = ServerFailed("It failed.", system="either", request="POST", code="500", status=500)
NATIVE_SYNC = RequestRefused("CRM Enabled", system="marketo", request="POST", code="1018")


class FailingWorld(MemoryWorld):
    """Linked contacts, some of which somebody edits where the other side is `side`; a request with the word `bad` fails."""

    def __init__(self, side: str, n_contacts: int) -> None:
        super().__init__(FIELDS)
        self.side = side
        self.people = {f"r{n}": self.link(CONTACT, f"r{n}", title="A") for n in range(n_contacts)}
        self.settled()
        self.requests: list[int] = []

    def edit(self, name: str, title: str) -> None:
        """Somebody enters a title on the side that is not written to."""
        if self.side == "dynamics":
            self.marketo.put(self.people[name], title=title)
        else:
            self.dynamics.put(CONTACT, name, jobtitle=title)

    def fail(self, word: str = "bad", error: ApiError = FAILED) -> None:
        """From now on requests of updates with this word fail, and nothing of them is applied; their sizes are kept."""
        system: Any = self.dynamics if self.side == "dynamics" else self.marketo
        name = "write" if self.side == "dynamics" else "sync_people"
        original = getattr(type(system), name)

        def failing(*arguments: Any) -> Any:
            self.requests.append(len(arguments[-1]))
            if word in str(arguments[-1]):
                raise error
            return original(system, *arguments)

        setattr(system, name, failing)

    def arrived(self, title: str) -> set[str]:
        """Whose title is this one on both sides."""
        return {name for name, person in self.people.items() if self.both(person, "title") == (title, title)}


@pytest.mark.parametrize("side", ["dynamics", "marketo"])
def test_a_record_that_fails_its_whole_batch_is_found_in_halves_and_told_and_holds_nobody_up(side: str) -> None:
    world = FailingWorld(side, 7)
    world.fail()
    for name in list(world.people)[:6]:
        world.edit(name, "bad" if name == "r2" else "B")
    world.cycle()
    assert world.requests == [6]
    world.edit("r6", "B")
    world.cycle()
    assert world.arrived("B") == {"r6"}, "who comes new is not put among those that failed"
    for _ in range(3):
        world.cycle()
    assert world.arrived("B") == {*world.people} - {"r2"}
    world.cycle()
    assert world.errors() == [("r2", None, f"to_{side}", "500", 1, "waiting")]
    assert "r2" in world.rows("select message from ledger.sync_errors")[0][0]
    n_requests = len(world.requests)
    for _ in range(6):
        world.cycle()
    assert len(world.requests) - n_requests <= 3, "it is tried at growing gaps"
    assert world.errors()[0][4] > 1
    world.edit("r2", "cured")
    world.settled()
    assert world.arrived("cured") == {"r2"}
    assert world.errors()[0][5] == "resolved"
    assert len(world.ledger()["changes"]) == 7
    assert world.rows("select * from state.doubts") == []


@pytest.mark.parametrize("side", ["dynamics", "marketo"])
def test_records_that_fail_alone_from_the_first_time_on_are_told_and_hold_nobody_up(
    side: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last batch of one, and of four batches the first; then one heals while it is looked for."""
    for module in ("dynamics", "marketo"):
        monkeypatch.setattr(f"dynsync_pipeline.write_back.{module}.MOST_RECORDS", 3)
    world = FailingWorld(side, 7)
    world.fail()
    for name in world.people:
        world.edit(name, "bad" if name in ("r0", "r6") else "B")
    world.cycle()
    assert world.requests == [3, 3, 1]
    for _ in range(4):
        world.cycle()
    assert world.arrived("B") == {*world.people} - {"r0", "r6"}
    assert {(row[0], row[5]) for row in world.errors()} <= {("r0", "waiting"), ("r6", "waiting")}
    world.fail("never")
    world.cycle()
    world.clock += timedelta(days=1)
    world.settled()
    assert world.arrived("bad") == {"r0", "r6"}
    assert len(world.ledger()["changes"]) == 7
    assert {row[5] for row in world.errors()} <= {"resolved"}


@pytest.mark.parametrize("side", ["dynamics", "marketo"])
def test_where_nothing_else_was_answered_a_failing_record_is_put_off_and_not_blamed(side: str) -> None:
    world = FailingWorld(side, 1)
    world.fail("B")
    world.edit("r0", "B")
    for _ in range(6):
        world.cycle()
    assert 2 <= len(world.requests) <= 4
    assert world.errors() == []
    world.fail("never")
    for _ in range(6):
        world.cycle()
    assert world.arrived("B") == {"r0"}
    assert len(world.ledger()["changes"]) == 1


def test_a_system_that_fails_three_requests_in_a_row_is_asked_no_more_in_that_cycle() -> None:
    world = FailingWorld("dynamics", 6)
    world.fail("B")
    for name in world.people:
        world.edit(name, "B")
    sizes = []
    for _ in range(4):
        world.requests.clear()
        world.cycle()
        sizes.append(list(world.requests))
        world.clock += timedelta(days=1)
    assert sizes == [[6], [6], [3, 3], [1, 1, 1]]


def test_a_new_record_that_fails_its_whole_batch_is_found_too_and_everybody_is_made_once() -> None:
    world = FailingWorld("marketo", 0)
    world.fail()
    for n in range(4):
        world.dynamics.put(CONTACT, f"n{n}", jobtitle="bad" if n == 3 else "B")
    for _ in range(6):
        world.cycle()
    assert [row[:4] for row in world.errors()] == [("n3", None, "to_marketo", "500")]
    world.dynamics.put(CONTACT, "n3", jobtitle="cured")
    world.settled()
    assert sorted(row.values["title"] or "" for row in world.marketo.rows.values()) == ["B", "B", "B", "cured"]
    assert [row[5] for row in world.errors()] == ["resolved"]


def test_a_kind_of_write_that_marketo_takes_from_nobody_costs_one_request_and_holds_no_people_up() -> None:
    world = FailingWorld("marketo", 2)
    calls = []

    def refused(records: object) -> None:
        calls.append(records)
        raise NATIVE_SYNC

    world.marketo.sync_companies = refused  # type: ignore[assignment, method-assign]
    for n in range(5):
        world.dynamics.put(ACCOUNT, f"a{n}", name="Firm", statecode="0")
        world.dynamics.put(CONTACT, f"c{n}", _parentcustomerid_value=f"a{n}", jobtitle="B")
    world.edit("r0", "B")
    world.cycle()
    assert len(calls) == 1
    assert world.arrived("B") == {"r0"}
    assert world.errors() == []


@pytest.mark.parametrize("is_new", [True, False])
def test_answers_in_another_order_than_what_was_sent_link_nobody_with_another_ones_record(is_new: bool) -> None:
    """R18: else a person would be that of the record beside it, and would get its key."""
    world = FailingWorld("marketo", 0 if is_new else 2)
    for name in ("r0", "r1"):
        world.dynamics.put(CONTACT, name, jobtitle=f"of {name}")
    sync_people = world.marketo.sync_people

    def backwards(*arguments: Any) -> Any:
        return sync_people(*arguments)[::-1]

    world.marketo.sync_people = backwards  # type: ignore[assignment, method-assign]
    world.cycle()
    world.marketo.sync_people = sync_people  # type: ignore[method-assign]
    world.settled()
    for name in ("r0", "r1"):
        (person,) = world.marketo.bearers(KEYS.contact_id, name)
        assert world.both(person, "title") == (f"of {name}", f"of {name}")
    assert len(world.ledger()["changes"]) == 2
    assert world.errors() == []
