"""Refusals: per record and direction, reported once, retried with growing gaps, in nobody's way (R115, R116)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from dynsync_pipeline.errors import ApiError, RateLimited, RequestRefused, ServerFailed
from dynsync_pipeline.model.records import RecordType
from dynsync_pipeline_tests.properties.effort import story
from dynsync_pipeline_tests.worlds.memory import MemoryWorld, field_map
from dynsync_pipeline_tests.worlds.rows import Values

CONTACT, LEAD = RecordType.CONTACT, RecordType.LEAD
FIELDS = field_map("title,jobtitle,text,both,true", "phone,telephone1,text,both,true")


class Refusing:
    """Refuses what `is_bad` says, and counts how often it was asked for it."""

    def __init__(self, is_bad: Callable[[str, Values], bool], error: ApiError) -> None:
        self.is_bad, self.error, self.n_asked = is_bad, error, 0

    def __call__(self, key: str, values: Values) -> ApiError | None:
        if not self.is_bad(key, values):
            return None
        self.n_asked += 1
        return self.error


def refused(code: str = "0x80044331") -> ApiError:
    return RequestRefused("The text is too long.", system="dynamics", request="PATCH", code=code)


@story
def test_a_refused_record_moves_nothing_and_holds_no_other_back() -> None:
    world = MemoryWorld(FIELDS)
    bad, good = world.link(LEAD, "bad", title="A"), world.link(LEAD, "good", title="A")
    world.settled()
    world.dynamics.refuses = Refusing(lambda key, values: key == "bad", refused())
    world.marketo.put(bad, title="B")
    world.marketo.put(good, title="B")
    world.cycle()
    assert world.both(bad, "title") == ("A", "B")
    assert world.base(bad, "title") == "A"
    assert world.both(good, "title") == ("B", "B")
    assert [row[3] for row in world.ledger()["changes"]] == ["good"]
    assert world.errors() == [("bad", None, "to_dynamics", "0x80044331", 1, "waiting")]


@story
def test_it_is_retried_with_growing_gaps_and_reported_once() -> None:
    """Cycles are five minutes apart; the gaps are 5, 10, 20, 40 minutes, and so on."""
    world = MemoryWorld(FIELDS)
    person_id = world.link(LEAD, "r", title="A")
    world.settled()
    world.dynamics.refuses = refuses = Refusing(lambda key, values: True, refused())
    world.marketo.put(person_id, title="B")
    asked = []
    for _ in range(9):
        world.cycle()
        asked.append(refuses.n_asked)
    assert asked == [1, 2, 2, 3, 3, 3, 3, 4, 4]
    assert [row[3:] for row in world.errors()] == [("0x80044331", 4, "waiting")]


@story
def test_what_waits_is_sent_at_once_when_somebody_edits_it() -> None:
    world = MemoryWorld(FIELDS)
    person_id = world.link(LEAD, "r", title="A")
    world.settled()
    world.dynamics.refuses = Refusing(lambda key, values: values.get("jobtitle") == "B", refused())
    world.marketo.put(person_id, title="B")
    for _ in range(3):
        world.cycle()
    world.marketo.put(person_id, title="C")
    world.cycle()
    assert world.both(person_id, "title") == ("C", "C")
    assert [row[5] for row in world.errors()] == ["resolved"]


@story
def test_what_waits_is_sent_when_its_time_comes_and_its_error_is_resolved() -> None:
    world = MemoryWorld(FIELDS)
    person_id = world.link(LEAD, "r", title="A")
    world.settled()
    world.dynamics.refuses = Refusing(lambda key, values: True, refused())
    world.marketo.put(person_id, title="B")
    world.cycle()
    world.dynamics.refuses = lambda key, values: None
    world.cycle()
    assert world.both(person_id, "title") == ("B", "B")
    assert [row[5] for row in world.errors()] == ["resolved"]
    assert len(world.ledger()["changes"]) == 1


@story
def test_a_waiting_field_holds_no_other_field_of_its_record_back() -> None:
    """And the success of the other field resolves nothing."""
    world = MemoryWorld(FIELDS)
    person_id = world.link(LEAD, "r", title="A", phone="1")
    world.settled()
    world.dynamics.refuses = Refusing(lambda key, values: "jobtitle" in values, refused())
    world.marketo.put(person_id, title="B")
    for _ in range(2):
        world.cycle()
    world.marketo.put(person_id, phone="2")
    world.cycle()
    assert world.both(person_id, "phone") == ("2", "2")
    assert world.both(person_id, "title") == ("A", "B")
    assert [row[5] for row in world.errors()] == ["waiting"]


@story
def test_a_refused_field_that_is_put_back_is_resolved() -> None:
    world = MemoryWorld(FIELDS)
    person_id = world.link(LEAD, "r", title="A")
    world.settled()
    world.dynamics.refuses = Refusing(lambda key, values: True, refused())
    world.marketo.put(person_id, title="B")
    world.cycle()
    world.marketo.put(person_id, title="A")
    world.cycle()
    assert [row[5] for row in world.errors()] == ["resolved"]
    assert world.rows("select count(*) from state.unsettled") == [(0,)]


@story
def test_a_refused_winner_stays_the_winner_until_it_is_taken() -> None:
    """A collision whose write waits is told once, when it is applied, with the values that met."""
    world = MemoryWorld(FIELDS)
    person_id = world.link(LEAD, "r", title="A")
    world.settled()
    world.dynamics.refuses = Refusing(lambda key, values: True, refused())
    world.marketo.put(person_id, title="M")
    world.dynamics.put(LEAD, "r", jobtitle="D")
    world.cycle()
    assert world.ledger()["collisions"] == []
    world.dynamics.refuses = lambda key, values: None
    world.settled()
    assert world.both(person_id, "title") == ("M", "M")
    assert [row[4:8] for row in world.ledger()["collisions"]] == [("A", "D", "M", "marketo")]


@story
def test_a_refused_creation_waits_and_is_made_once() -> None:
    world = MemoryWorld(FIELDS)
    error = RequestRefused("no", system="marketo", request="POST", code="1006")
    world.marketo.refuses = refuses = Refusing(lambda key, values: True, error)
    world.dynamics.put(CONTACT, "bad", jobtitle="A")
    for _ in range(4):
        world.cycle()
    n_asked = refuses.n_asked
    world.cycle()
    assert refuses.n_asked == n_asked, "it waits"
    assert world.errors() == [("bad", None, "to_marketo", "1006", 3, "waiting")]
    world.marketo.refuses = lambda key, values: None
    for _ in range(4):
        world.cycle()
    assert list(world.marketo.rows) == [1001]
    assert [row[5] for row in world.errors()] == ["resolved"]


@story
def test_a_system_that_is_down_leaves_everything_to_the_next_cycle() -> None:
    """Nothing waits longer than the fault lasts, and no record is blamed."""
    world = MemoryWorld(FIELDS)
    person_id = world.link(CONTACT, "r", title="A", phone="1")
    world.settled()
    world.dynamics.put(CONTACT, "r", jobtitle="B")
    world.marketo.put(person_id, phone="2")
    world.dynamics.fails = ServerFailed("down", system="dynamics", request="POST", code="503")
    world.cycle()
    assert world.both(person_id, "title") == ("B", "B"), "one direction never waits for the other"
    world.dynamics.fails = None
    world.cycle()
    assert world.both(person_id, "title") == ("B", "B")
    assert world.both(person_id, "phone") == ("2", "2")
    assert world.errors() == []
    assert len(world.ledger()["changes"]) == 2


@story
def test_an_edit_between_read_and_write_is_never_overwritten() -> None:
    """If-Match fails, the record is read again, and what nobody had seen takes part in the decision."""
    world = MemoryWorld(FIELDS)
    person_id = world.link(CONTACT, "r", title="A", phone="1")
    world.settled()
    world.marketo.put(person_id, title="M")
    write = world.dynamics.write

    def edited_just_before(*arguments: object) -> object:
        world.dynamics.write = write  # type: ignore[method-assign]
        world.dynamics.put(CONTACT, "r", jobtitle="unseen")
        return write(*arguments)  # type: ignore[arg-type]

    world.dynamics.write = edited_just_before  # type: ignore[assignment, method-assign]
    world.cycle()
    world.settled()
    assert world.both(person_id, "title") == ("unseen", "unseen")
    assert [row[4:8] for row in world.ledger()["collisions"]] == [("A", "unseen", "M", "dynamics")]
    assert world.errors() == [], "a 412 is nobody's fault"


@story
@pytest.mark.parametrize("system", ["dynamics", "marketo"])
def test_a_refusal_that_names_a_field_sets_that_field_alone_aside(system: str) -> None:
    """The rest of the record is written in the same cycle, and the error names the field as Marketo does."""
    world = MemoryWorld(FIELDS)
    person_id = world.link(LEAD, "r", title="A", phone="1")
    world.settled()
    at_fault = "jobtitle" if system == "dynamics" else "title"
    error = RequestRefused("too long", system=system, request="PATCH", code="1077", field=at_fault)
    getattr(world, system).refuses = Refusing(lambda key, values: at_fault in values, error)
    if system == "dynamics":
        world.marketo.put(person_id, title="B", phone="2")
    else:
        world.dynamics.put(LEAD, "r", jobtitle="B", telephone1="2")
    world.cycle()
    assert world.both(person_id, "phone") == ("2", "2")
    assert set(world.both(person_id, "title")) == {"A", "B"}
    assert [row[4] for row in world.ledger()["changes"]] == ["phone"]
    assert world.errors() == [("r", "title", f"to_{system}", "1077", 1, "waiting")]
    getattr(world, system).refuses = lambda key, values: None
    world.clock += timedelta(days=2)
    world.settled()
    assert world.both(person_id, "title") == ("B", "B")
    assert [row[5] for row in world.errors()] == ["resolved"]


def test_r116_after_eight_attempts_one_is_quarantined_until_somebody_edits_it() -> None:
    world = MemoryWorld(FIELDS)
    person_id = world.link(LEAD, "r", title="A")
    world.settled()
    world.dynamics.refuses = refuses = Refusing(lambda key, values: True, refused())
    world.marketo.put(person_id, title="B")
    for _ in range(10):
        world.clock += timedelta(days=2)
        world.cycle()
    assert refuses.n_asked == 8
    assert world.errors() == [("r", None, "to_dynamics", "0x80044331", 8, "quarantined")]
    world.dynamics.refuses = lambda key, values: None
    world.marketo.put(person_id, title="C")
    world.cycle()
    assert world.both(person_id, "title") == ("C", "C")
    assert [row[5] for row in world.errors()] == ["resolved"]


@story
def test_a_field_that_is_refused_before_and_after_its_person_is_made_is_one_error() -> None:
    """R115: reported once per record, field, direction and code; the row learns who the person is."""
    world = MemoryWorld(FIELDS)
    world.dynamics.put(CONTACT, "r", jobtitle="bad", telephone1="1")

    def refuse(key: str, values: Values) -> ApiError | None:
        """First the title, then what is left of the record."""
        field, code = ("title", "1003") if "title" in values else (None, "1007")
        return RequestRefused("No.", system="marketo", request="POST", code=code, field=field)

    world.marketo.refuses = refuse
    world.cycle()
    assert {error[1:4] for error in world.errors()} == {("title", "to_marketo", "1003"), (None, "to_marketo", "1007")}
    world.marketo.refuses = lambda key, values: refuse(key, values) if "title" in values else None
    world.clock += timedelta(days=1)
    world.cycle()
    (person,) = world.marketo.rows
    rows = world.rows(
        "select person_id, attempts from ledger.sync_errors where field = 'title' and state <> 'resolved'"
    )
    assert rows == [(person, 2)]


@story
def test_a_record_waits_as_long_as_the_system_says_but_no_longer_than_a_day() -> None:
    """R116: what a system says of the far future is no reason to forget a record, and none to fall over."""
    world = MemoryWorld(FIELDS)
    slow, fast = world.link(LEAD, "slow", title="A"), world.link(LEAD, "fast", title="A")
    world.settled()
    wait = RateLimited("Later.", system="dynamics", request="PATCH", code="429", retry_after_s=1e300)
    refusing = world.dynamics.refuses = Refusing(lambda key, values: key == "slow", wait)
    for person_id in (slow, fast):
        world.marketo.put(person_id, title="B")
    world.cycle()
    assert world.both(fast, "title") == ("B", "B")
    for _ in range(3):
        world.cycle()
    assert refusing.n_asked == 1
    world.clock += timedelta(days=1)
    world.cycle()
    assert refusing.n_asked == 2
