"""What no feed ever told is found within the census's period, synced like anything seen, and reported once as missed.

In memory, where "behind the feed's back" is a change of a row without its version or feed entry.
Not here: how fast it may go (`test_pace.py`).
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from dynsync_pipeline.errors import RequestRefused
from dynsync_pipeline.model.records import RecordType
from dynsync_pipeline_tests.properties.effort import deep, story
from dynsync_pipeline_tests.worlds.memory import MemoryWorld
from dynsync_pipeline_tests.worlds.memory_marketo import KEYS
from dynsync_pipeline_tests.worlds.rows import Row

pytestmark = story

DAY = timedelta(days=1)
CONTACT, LEAD = RecordType.CONTACT, RecordType.LEAD


class Agreed(MemoryWorld):
    """A contact and a lead that agree with their people, and a stranger."""

    def __init__(self) -> None:
        super().__init__()
        self.contact = self.link(CONTACT, "c1", title="Buyer", phone="1", rating="1")
        self.lead = self.link(LEAD, "l1", title="Buyer", phone="1")
        self.marketo.put(self.marketo.next_id, title="Stranger")
        self.settled()


@pytest.fixture
def world() -> Agreed:
    """A world of its own for each test."""
    return Agreed()


def later(world: Agreed, days: float = 1) -> None:
    world.clock += timedelta(days=days)
    world.settled()


def tell(world: Agreed, name: str | None, old: str | None, new: str | None) -> None:
    """The feed tells of the contact's person now, by an entry of its own."""
    world.marketo.version += 1
    world.marketo._tell(world.contact, name, old, new)


def findings(world: Agreed) -> list[tuple[Any, ...]]:
    """Code, type, id and field of what was found, once the feed's overlap has passed."""
    world.clock += timedelta(minutes=10)
    world.settled()
    return world.rows(
        "select code, record_type, coalesce(dynamics_id, person_id::varchar), field from ledger.audit_findings order by all"
    )


def test_a_value_edited_behind_marketos_feed_reaches_dynamics_and_is_a_finding(world: Agreed) -> None:
    world.marketo.rows[world.contact].values["title"] = "Chief"
    later(world)
    assert world.both(world.contact, "title") == ("Chief", "Chief")
    assert findings(world) == [("edit_untold", "person", str(world.contact), "title")]


def test_a_value_edited_behind_change_tracking_reaches_marketo_and_is_a_finding(world: Agreed) -> None:
    world.dynamics.rows[LEAD, "l1"].values["jobtitle"] = "Chief"
    world.dynamics.rows[CONTACT, "c1"].values["new_rating"] = "2"
    later(world)
    assert world.both(world.lead, "title") == ("Chief", "Chief")
    assert world.both(world.contact, "rating") == ("2", "Warm")
    assert findings(world) == [
        ("edit_untold", "contact", "c1", "rating"),
        ("edit_untold", "lead", "l1", "title"),
    ]


def test_a_no_of_the_filter_that_change_tracking_never_told_is_followed_and_is_a_finding(world: Agreed) -> None:
    """R90: the census reads the filter too, and what came with the no goes nowhere."""
    world.dynamics.rows[LEAD, "l1"].values |= {"new_synctomkto": "false", "jobtitle": "Chief"}
    later(world)
    assert world.both(world.lead, "title") == ("Chief", "Buyer")
    assert findings(world) == [("edit_untold", "lead", "l1", "new_synctomkto"), ("edit_untold", "lead", "l1", "title")]


def test_a_record_that_change_tracking_never_told_becomes_a_person(world: Agreed) -> None:
    world.dynamics.rows[LEAD, "l2"] = Row({"createdon": "2019-01-01T00:00:00Z", "jobtitle": "New"}, version=0)
    later(world)
    (person,) = world.marketo.bearers(KEYS.lead_id, "l2")
    assert world.both(person, "title") == ("New", "New")
    assert findings(world) == [("creation_untold", "lead", "l2", None)]


def test_a_deletion_that_no_feed_told_makes_a_tombstone(world: Agreed) -> None:
    """R79, R81."""
    del world.dynamics.rows[CONTACT, "c1"]
    world.marketo.rows[world.lead].is_deleted = True
    later(world)
    assert world.rows("select person_id, side from state.tombstones order by all") == [
        (world.contact, "dynamics"),
        (world.lead, "marketo"),
    ]
    assert world.marketo.rows[world.contact].values[KEYS.is_deleted] == "true"
    assert findings(world) == [
        ("deletion_untold", "contact", "c1", None),
        ("deletion_untold", "person", str(world.lead), None),
    ]


def test_an_edit_that_the_feed_tells_a_few_minutes_later_is_no_finding(world: Agreed) -> None:
    world.marketo.rows[world.contact].values["title"] = "Chief"
    world.clock += DAY
    world.cycle()
    world.cycle()
    assert world.rows("select code, field from state.untold") == [("edit_untold", "title")]
    tell(world, "title", "Buyer", "Chief")
    assert findings(world) == []


@pytest.mark.parametrize("told", ["put", "delete", "merge"])
def test_a_person_whom_the_feed_tells_as_a_whole_was_not_missed(world: Agreed, told: str) -> None:
    world.marketo.rows[world.contact].values["title"] = "Chief"
    world.clock += DAY
    world.cycle()
    if told == "put":
        tell(world, None, None, None)
    elif told == "delete":
        world.marketo.delete(world.contact)
    else:
        world.marketo.merge(world.contact, world.marketo.next_id - 1)
    assert findings(world) == []


def test_another_field_told_of_the_same_person_does_not_hide_a_missed_one(world: Agreed) -> None:
    world.marketo.rows[world.contact].values["title"] = "Chief"
    world.clock += DAY
    world.cycle()
    world.marketo.put(world.contact, phone="2")
    assert findings(world) == [("edit_untold", "person", str(world.contact), "title")]


def test_a_record_that_change_tracking_tells_later_was_not_missed(world: Agreed) -> None:
    world.dynamics.rows[CONTACT, "c1"].values["jobtitle"] = "Chief"
    world.dynamics.rows[LEAD, "l2"] = Row({"createdon": "2019-01-01T00:00:00Z", "jobtitle": "New"}, version=0)
    world.clock += DAY
    world.cycle()
    world.dynamics.put(CONTACT, "c1")
    world.dynamics.put(LEAD, "l2")
    assert findings(world) == []


def test_our_own_writes_and_their_echoes_are_no_findings(world: Agreed) -> None:
    world.dynamics.put(CONTACT, "c1", jobtitle="Chief", donotphone="true")
    world.marketo.put(world.lead, phone="2")
    world.clock += DAY
    world.cycle()
    later(world)
    later(world)
    assert findings(world) == []


def test_a_value_that_a_system_keeps_otherwise_is_no_finding(world: Agreed) -> None:
    """R31: Marketo keeps its beginning, and reads a boolean nobody set as false."""
    world.marketo.keeps = lambda name, value: value[:3] if name == "title" and value else value
    world.dynamics.put(CONTACT, "c1", jobtitle="Chief")
    world.settled()
    later(world)
    assert findings(world) == []
    assert world.both(world.contact, "title") == ("Chief", "Chi")


def test_an_edit_and_a_deletion_behind_the_feeds_on_both_sides_settle_as_if_they_were_told(world: Agreed) -> None:
    """R81: the record has an edit that its deleted person never got."""
    world.dynamics.rows[CONTACT, "c1"].values["jobtitle"] = "Chief"
    world.marketo.rows[world.contact].is_deleted = True
    later(world)
    later(world)
    (person,) = world.marketo.bearers(KEYS.contact_id, "c1")
    assert person != world.contact
    assert world.both(person, "title") == ("Chief", "Chief")


def test_the_same_edit_planted_on_both_sides_settles_without_a_write(world: Agreed) -> None:
    """R38."""
    world.dynamics.rows[CONTACT, "c1"].values["jobtitle"] = "Chief"
    world.marketo.rows[world.contact].values["title"] = "Chief"
    world.marketo.writes.clear()
    later(world)
    assert world.base(world.contact, "title") == "Chief"
    assert not world.marketo.writes


def test_a_refused_census_holds_up_no_edit_and_goes_on_where_it_was(
    world: Agreed, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> Any:
        raise RequestRefused("No.", system="dynamics", request="GET", code="0x80040216")

    world.dynamics.rows[LEAD, "l1"].values["jobtitle"] = "Chief"
    with monkeypatch.context() as patch:
        patch.setattr(world.dynamics, "created_between", refused)
        world.marketo.put(world.contact, phone="2")
        later(world)
        assert world.both(world.contact, "phone") == ("2", "2")
        assert world.both(world.lead, "title") == ("Chief", "Buyer")
    world.settled()
    assert world.both(world.lead, "title") == ("Chief", "Chief")


def test_a_cycle_in_which_no_slice_is_due_asks_for_nothing(world: Agreed, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    for system, name in ((world.dynamics, "created_between"), (world.marketo, "people")):
        monkeypatch.setattr(system, name, lambda *arguments, **_: asked.append(arguments))
    for _ in range(5):
        world.cycle()
    assert asked == []


def test_what_is_unchanged_is_neither_compared_nor_published(world: Agreed) -> None:
    world.clock += DAY
    plan = world.cycle()
    assert plan is not None
    assert plan.n_compared == 0


@deep
def test_it_finds_what_was_planted_also_when_every_cycle_is_cut_once(world: Agreed) -> None:
    world.dynamics.rows[LEAD, "l1"].values["jobtitle"] = "Chief"
    world.marketo.rows[world.contact].is_deleted = True
    world.dynamics.rows[CONTACT, "c1"].values["telephone1"] = "2"
    world.clock += DAY
    cut = 0
    while world.cycle(cut_after=cut) is None:
        cut += 1
    world.settled()
    assert world.both(world.lead, "title") == ("Chief", "Chief")
    (person,) = world.marketo.bearers(KEYS.contact_id, "c1")
    assert world.both(person, "phone") == ("2", "2")
    found = findings(world)
    assert len(found) == len(set(found)) == 3


def test_a_clock_that_was_set_back_does_not_stop_it(world: Agreed) -> None:
    ahead = timedelta(days=400)
    right = world.marketo.now
    world.clock += ahead
    world.marketo.now = lambda: right() - ahead
    world.cycle()
    world.clock -= ahead
    world.marketo.now = right
    world.marketo.rows[world.contact].values["title"] = "Chief"
    later(world)
    assert world.both(world.contact, "title") == ("Chief", "Chief")
    assert findings(world) == [("edit_untold", "person", str(world.contact), "title")]


def test_r86_nobody_is_gone_when_marketo_shows_nobody_at_all(world: Agreed, monkeypatch: pytest.MonkeyPatch) -> None:
    people = world.marketo.people
    with monkeypatch.context() as patch:
        patch.setattr(world.marketo, "people", lambda by, values, fields: people(by, [], fields))
        later(world)
    assert world.rows("select count(*) from mirror.marketo_people where is_deleted") == [(0,)]
    assert findings(world) == []
