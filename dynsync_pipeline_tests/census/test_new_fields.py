"""A field of people that joins the map is read of everybody beside the feed, and synced when that is done (R100, R102)."""

from __future__ import annotations

import itertools
import random
from datetime import timedelta
from typing import Any

import pytest

from dynsync_pipeline.errors import ServerFailed
from dynsync_pipeline.extract import census
from dynsync_pipeline.model.records import RecordType
from dynsync_pipeline.warehouse import cycles
from dynsync_pipeline_tests.properties.effort import deep, story
from dynsync_pipeline_tests.worlds.cuts import Cut
from dynsync_pipeline_tests.worlds.memory import MemoryWorld, field_map

TITLE = "title,jobtitle,text,both,true"
PHONE = "phone,telephone1,text,both,true"
CITY = "city,address1_city,text,both,true"
# What the two sides of six contacts hold of the field that joins, and what both hold after the first meeting (R42, R35).
PHONES = {
    "in marketo": (None, "M", "M"),
    "in dynamics": ("D", None, "D"),
    "in both": ("D", "M", "D"),
    "alike": ("S", "S", "S"),
    "nowhere": (None, None, None),
    "called null": ("D", "null", "D"),
}
CONTACT = RecordType.CONTACT
LEARNED = 5  # steps into a cycle: it knows its fields, and has read nobody
PARKED = "select distinct marketo_field, reason_code from state.parked_fields order by 1"


@pytest.fixture(autouse=True)
def slowly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four people a cycle, as if they were many."""
    monkeypatch.setattr(census, "PEOPLE_PER_CALL", 4)
    monkeypatch.setattr(cycles, "MOST_CALLS", 1)


def six_contacts(*lines: str) -> tuple[MemoryWorld, dict[str, int]]:
    """A settled world that syncs these lines, with the contacts of `PHONES`; each has the title A."""
    world = MemoryWorld(field_map(*lines))
    people = {}
    for name, (there, here, _) in PHONES.items():
        people[name] = world.link(CONTACT, name, title="A")
        world.dynamics.put(CONTACT, name, telephone1=there)
        world.marketo.put(people[name], phone=here)
    world.settled()
    world.marketo.feed.clear()  # it was long ago
    world.marketo.exports.clear()
    return world, people


def phones(world: MemoryWorld, people: dict[str, int]) -> dict[str, tuple[str | None, str | None]]:
    """What both sides hold."""
    there = {name: world.dynamics.rows[CONTACT, name].values.get("telephone1") for name in people}
    return {
        name: (there[name], world.marketo.rows[person_id].values.get("phone")) for name, person_id in people.items()
    }


MET = {name: (both, both) for name, (_, _, both) in PHONES.items()}
UNMET = {name: (there, here) for name, (there, here, _) in PHONES.items()}


def test_edits_of_other_fields_cross_in_every_cycle_of_a_back_fill_and_nobody_is_exported() -> None:
    world, people = six_contacts(TITLE)
    world.follow(field_map(TITLE, PHONE))
    # A cycle that was cut left behind what it had read of everybody, before the field joined.
    world.rows("insert into inbox.marketo_people by name select 0 as landing, * from mirror.marketo_people")
    world.marketo.put(people["alike"], title="M")
    world.dynamics.put(CONTACT, "nowhere", jobtitle="D")
    world.cycle()
    assert world.both(people["alike"], "title") == ("M", "M")
    assert world.both(people["nowhere"], "title") == ("D", "D")
    assert phones(world, people) == UNMET
    ((reason, code),) = world.rows("select reason, reason_code from state.parked_fields where record_type = 'contact'")
    assert code == "being_read"
    assert "4 of 6" in reason
    world.cycle()
    assert phones(world, people) == MET
    assert world.settled() == 0
    assert not world.marketo.exports
    assert world.rows("select * from ledger.audit_findings") == []
    assert {row[-1] for row in world.ledger()["collisions"]} == {"first_meeting_dynamics_wins"}


@deep
def test_a_back_fill_that_is_cut_anywhere_reads_everybody_all_the_same() -> None:
    """Begun, part by part, and where the field joins, so that all links are compared."""
    world, people = six_contacts(TITLE)
    n_steps = 0
    for cut_after in itertools.count(2):
        world.follow(field_map(TITLE))
        prepare(world)
        for person_id in people.values():
            world.marketo.put(person_id, phone=f"M{cut_after}")
        world.marketo.feed.clear()  # so that nothing but the back-fill tells
        world.follow(field_map(TITLE, PHONE))
        for _ in range(2):
            prepare(world, cut_after)
            n_steps = max(n_steps, prepare(world))
        assert world.rows(PARKED) == []
        held = world.rows("select count(*), any_value(phone) from mirror.marketo_people group by phone")
        assert held == [(6, f"M{cut_after}")], cut_after
        assert world.rows("select count(distinct person_id) from inbox.touched") == [(6,)]
        if cut_after >= n_steps:
            break
    assert cut_after > 10
    world.cycle()
    assert {here for _, here in phones(world, people).values()} == {f"M{cut_after}", "D", "S"}
    assert world.settled() == 0


def prepare(world: MemoryWorld, cut_after: int | None = None) -> int:
    """The part of a cycle that back-fills, cut after so many steps; returns how many were taken."""
    world.steps.left, before = cut_after, world.steps.taken
    try:
        with world.opened() as cycle:
            cycle.prepare()
    except Cut:
        pass
    finally:
        world.steps.left = None
    return world.steps.taken - before


@story
def test_what_happens_to_people_during_a_back_fill_is_not_lost() -> None:
    """Before and after each part that is read: an edit and a clear in either system, somebody new, a deletion, a merge."""
    world = MemoryWorld(field_map(TITLE))
    stages = range(4)
    # In this order, so that each stage has people who were read before and people who are read later.
    names = [f"{what} {stage}" for what in ("edited", "cleared", "winner") for stage in stages]
    people = {name: world.link(CONTACT, name, title="A") for name in names}
    gone = [world.link(CONTACT, f"gone {stage}", title="A") for stage in stages]
    losers = [world.link(RecordType.LEAD, f"loser {stage}", title="A") for stage in stages]
    for name, person_id in people.items():
        if name.startswith("cleared"):
            world.marketo.put(person_id, phone="1")
            world.dynamics.put(CONTACT, name, telephone1="1")
    for loser in losers:
        world.marketo.put(loser, phone="L")
    world.settled()
    world.follow(field_map(TITLE, PHONE))
    new = []
    for stage in stages:
        world.marketo.put(people[f"edited {stage}"], phone=f"M{stage}")
        world.marketo.put(people[f"cleared {stage}"], phone=None)
        world.marketo.merge(people[f"winner {stage}"], losers[stage])
        world.marketo.delete(gone[stage])
        new.append(world.marketo.next_id)
        world.marketo.put(new[-1], phone="N")
        world.dynamics.put(CONTACT, f"edited {(stage + 1) % 4}", telephone1=f"D{stage}")
        world.cycle()
        assert world.rows(PARKED) == [("phone", "being_read")]
    while world.rows(PARKED):
        world.cycle()
    assert world.settled() == 0
    for stage in stages:
        both = f"D{(stage - 1) % 4}"  # two values at a first meeting: Dynamics wins for a contact
        assert world.both(people[f"edited {stage}"], "phone") == (both, both)
        assert world.both(people[f"cleared {stage}"], "phone") == (
            "1",
            "1",
        )  # a blank is no edit at a first meeting (R42)
        assert world.both(people[f"winner {stage}"], "phone") == ("L", "L")
    assert {row[0] for row in world.rows("select person_id from state.tombstones")} == {*gone, *losers}
    assert world.rows("select person_id, phone from mirror.marketo_people where phone = 'N' order by 1") == [
        (person_id, "N") for person_id in new
    ]
    assert world.rows("select * from ledger.audit_findings") == []


@story
def test_a_second_new_field_waits_for_the_first_and_then_has_its_turn() -> None:
    world, people = six_contacts(TITLE)
    world.dynamics.put(CONTACT, "alike", address1_city="Bern")
    world.follow(field_map(TITLE, PHONE))
    prepare(world)
    world.follow(field_map(TITLE, PHONE, CITY))
    prepare(world, LEARNED)
    assert world.rows(PARKED) == [("city", "to_be_read"), ("phone", "being_read")]
    world.cycle()
    assert world.rows(PARKED) == [("city", "being_read")]
    assert phones(world, people) == MET
    world.cycle()
    world.cycle()
    assert world.both(people["alike"], "city") == ("Bern", "Bern")
    assert world.settled() == 0


@story
def test_fields_may_leave_the_map_during_a_back_fill_also_the_new_one() -> None:
    world, people = six_contacts(TITLE, CITY)
    world.follow(field_map(TITLE, CITY, PHONE))
    prepare(world)
    world.follow(field_map(TITLE, PHONE))  # an old one
    prepare(world, LEARNED)
    assert world.rows(PARKED) == [("phone", "being_read")]
    world.follow(field_map(TITLE))  # the new one
    world.cycle()
    assert world.rows(PARKED) == []
    assert phones(world, people) == UNMET
    world.marketo.put(people["in marketo"], phone="unheard")
    world.cycle()
    world.follow(field_map(TITLE, PHONE))  # and it comes back: what was read of it before is old
    world.cycle()
    world.cycle()
    assert phones(world, people) == MET | {"in marketo": ("unheard", "unheard")}
    assert world.settled() == 0


@story
def test_a_field_that_was_hidden_is_read_anew_and_what_it_lost_meanwhile_is_no_clear() -> None:
    """R107, at both ends of a back-fill and in the middle of one."""
    world, people = six_contacts(TITLE, PHONE)
    assert phones(world, people) == MET
    world.dynamics.hidden = {"telephone1"}
    world.clock += timedelta(days=1)
    world.cycle()
    for name in PHONES:
        world.dynamics.put(CONTACT, name, telephone1=None)
    world.marketo.put(people["alike"], phone="S2")
    world.dynamics.hidden = set()
    world.clock += timedelta(days=1)
    world.cycle()
    assert world.rows(PARKED) == [("phone", "being_read")]
    world.dynamics.hidden = {"telephone1"}
    world.clock += timedelta(days=1)
    world.cycle()
    assert world.rows(PARKED) == [("phone", "not_offered")]
    world.dynamics.hidden = set()
    world.clock += timedelta(days=1)
    for _ in range(2):
        world.cycle()
    assert phones(world, people) == MET | {"alike": ("S2", "S2")}
    assert world.settled() == 0


@story
def test_a_day_without_calls_left_puts_a_back_fill_off_and_holds_up_nothing() -> None:
    world, people = six_contacts(TITLE)
    world.follow(field_map(TITLE, PHONE))
    world.cycle()
    world.allow(marketo_calls_per_day=1, call_reserve=0)  # of which a half is no call
    world.marketo.put(people["alike"], title="B")
    world.cycle()
    assert world.both(people["alike"], "title") == ("B", "B")
    assert world.rows(PARKED) == [("phone", "being_read")]
    world.clock += timedelta(minutes=45)  # of an hour, with the cycles before and after
    world.allow(marketo_calls_per_day=48, call_reserve=0)  # a half of them is one an hour, which is saved up
    prepare(world)
    assert world.rows(PARKED) == [("phone", "being_read")]
    prepare(world)
    assert world.rows(PARKED) == []


@story
def test_a_read_that_fails_or_shows_nobody_is_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever is not shown, and not proven gone, was not read: what he holds is not nothing."""
    world, people = six_contacts(TITLE)
    world.follow(field_map(TITLE, PHONE))
    world.cycle()
    whole = world.marketo.people

    def failing(*_: Any) -> Any:
        raise ServerFailed("no", system="marketo", request="GET")

    def empty(filter_type: str, values: list[str], fields: list[str]) -> Any:
        return whole(filter_type, [], fields)

    for bent in (failing, empty):
        monkeypatch.setattr(world.marketo, "people", bent)
        prepare(world)
        prepare(world)
    monkeypatch.setattr(world.marketo, "people", whole)
    assert world.rows(PARKED) == [("phone", "being_read")]
    world.cycle()
    assert phones(world, people) == MET
    assert world.settled() == 0


@story
def test_a_new_field_that_marketo_refuses_is_parked_with_what_was_said() -> None:
    world, people = six_contacts(TITLE)
    world.follow(field_map(TITLE, PHONE))
    prepare(world)
    world.marketo.refused = {"phone": "people"}
    world.marketo.put(people["alike"], title="B")
    world.cycle()
    assert world.rows(PARKED) == [("phone", "not_offered")]
    assert world.both(people["alike"], "title") == ("B", "B")
    assert phones(world, people) == UNMET


@story
def test_a_field_that_joins_during_a_first_load_lets_it_end_first(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    world = MemoryWorld(field_map(TITLE, CITY))
    person_id = world.link(CONTACT, "r", title="A", city="Bern")
    world.dynamics.put(CONTACT, "r", telephone1="D")
    downloads = world.marketo.download_export

    def failing(*_: Any) -> Any:
        raise ServerFailed("no", system="marketo", request="GET")

    monkeypatch.setattr(world.marketo, "download_export", failing)
    with pytest.raises(ServerFailed):
        world.cycle()
    world.follow(field_map(TITLE, PHONE))  # and another leaves, whose file is under way
    with pytest.raises(ServerFailed):
        world.cycle()
    assert world.rows(PARKED) == [("phone", "to_be_read")]
    monkeypatch.setattr(world.marketo, "download_export", downloads)
    world.cycle()
    world.cycle()
    assert world.both(person_id, "phone") == ("D", "D")
    assert {"phone", "city"}.isdisjoint(world.marketo.exports.popitem()[1])
    assert "asked for again" not in caplog.text  # a file with the column that left is not taken for a bad one
    assert world.settled() == 0


@story
def test_a_long_pause_in_the_middle_of_a_back_fill_begins_it_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(census, "PEOPLE_PER_CALL", 2)
    world, people = six_contacts(TITLE)
    world.follow(field_map(TITLE, PHONE))
    world.cycle()
    world.marketo.put(people["in marketo"], phone="M2")
    world.marketo.feed.clear()
    world.clock += timedelta(days=20)
    world.cycle()
    assert world.marketo.exports
    for _ in range(4):
        prepare(world)
    world.cycle()
    assert phones(world, people) == MET | {"in marketo": ("M2", "M2")}
    assert world.settled() == 0


@story
def test_a_field_whose_column_was_read_before_meets_all_its_links_too() -> None:
    world = MemoryWorld(field_map(TITLE))
    person_id = world.link(CONTACT, "r", title="A")
    world.settled()
    world.follow(field_map(TITLE, "role,jobtitle,text,to_marketo,true"))
    assert world.settled() == 1
    assert world.both(person_id, "role") == ("A", "A")


@story
def test_a_field_that_gets_another_type_is_read_anew_as_that() -> None:
    """R109."""
    world = MemoryWorld(field_map(TITLE, "score,mkt_leadscore,decimal,both,true"))
    person_id = world.link(CONTACT, "r", title="A", score="12")
    world.settled()
    # As before types were kept.
    world.rows(
        "update state.cursors set columns = regexp_replace(columns, ' [a-z]+', '', 'g') where stream = 'marketo_people'"
    )
    world.rows("update mirror.marketo_people set score = '12.0'")  # as if decimals were spelled so
    world.cycle()
    assert world.rows("select score from mirror.marketo_people") == [("12.0",)]
    world.follow(field_map(TITLE, "score,mkt_leadscore,integer,both,true"))
    world.cycle()
    assert world.rows("select score from mirror.marketo_people") == [("12",)]
    assert world.settled() == 0
    assert world.both(person_id, "score") == ("12", "12")


@story
@pytest.mark.parametrize("record_type", [RecordType.LEAD, CONTACT])
@pytest.mark.parametrize(
    ("before", "after", "held", "edited"),
    [
        ("datetime", "date", "2030-01-01T00:00:00Z", "2030-01-02"),
        ("text", "integer", "012", "13"),
        ("text", "decimal", "12.50", "13.5"),
    ],
)
def test_an_edit_while_a_field_is_read_anew_as_another_type_is_one_sided(
    record_type: RecordType, before: str, after: str, held: str, edited: str
) -> None:
    """R34, R109: what was agreed on in the spelling of the old type is no edit in that of the new one."""
    world = MemoryWorld(field_map(TITLE, f"seen,new_seen,{before},both,true"))
    person_id = world.link(record_type, "r", title="A", seen=held)
    world.settled()
    world.follow(field_map(TITLE, f"seen,new_seen,{after},both,true"))
    world.dynamics.put(record_type, "r", new_seen=edited)
    world.settled()
    assert world.both(person_id, "seen") == (edited, edited)
    assert world.ledger()["collisions"] == []
    assert world.settled() == 0


@deep
def test_whatever_happens_during_a_back_fill_both_sides_agree_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Edits of old and new fields, kills, and a map that grows and shrinks: nobody's last word is lost."""
    monkeypatch.setattr(census, "PEOPLE_PER_CALL", 1)
    chance = random.Random(8)
    world, people = six_contacts(TITLE)
    last: dict[str, str] = {}
    world.follow(field_map(TITLE, PHONE))
    for number in range(10):
        name = chance.choice(list(PHONES))
        field, column = chance.choice([("title", "jobtitle"), ("phone", "telephone1")])
        last[field + name] = f"{field} {number}"
        if chance.random() < 0.5:
            # The same edit on both sides, so that it is no collision.
            world.marketo.put(people[name], **{field: last[field + name]})
            world.dynamics.put(CONTACT, name, **{column: last[field + name]})
        elif field == "title":
            world.marketo.put(people[name], title=last[field + name])
            world.cycle()
        else:
            world.dynamics.put(CONTACT, name, telephone1=last[field + name])
        if chance.random() < 0.2:
            world.follow(field_map(TITLE, PHONE, *([CITY] if chance.random() < 0.5 else [])))
        world.cycle(cut_after=chance.randrange(40) if chance.random() < 0.5 else None)
    for _ in range(20):
        prepare(world)
    world.cycle()
    assert world.settled() == 0
    assert world.rows(PARKED) == []
    for key, value in last.items():
        field, name = ("title", key[5:]) if key.startswith("title") else ("phone", key[5:])
        assert world.both(people[name], field) == (value, value), key
