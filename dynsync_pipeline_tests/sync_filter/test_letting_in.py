"""Who takes part by the filter: new records, records that turn either way, and both sides of a stale person (R87 to R92)."""

from __future__ import annotations

from datetime import timedelta

from dynsync_pipeline.engines.on_duckdb import duckdb_engine
from dynsync_pipeline.errors import ApiError, RequestRefused
from dynsync_pipeline.reconcile.audit import run_audit
from dynsync_pipeline_tests.properties.effort import story
from dynsync_pipeline_tests.sync_filter.filtered import (
    CONTACT,
    EMPTY,
    LEAD,
    NO,
    YES,
    drop_filter,
    filtered_world,
    kept_out,
    make_filter,
    people_of,
    rests,
    starts,
)
from dynsync_pipeline_tests.worlds.memory_marketo import KEYS


def test_r87_yes_and_empty_make_a_person_and_no_makes_none() -> None:
    world = filtered_world()
    for kind in (LEAD, CONTACT):
        world.dynamics.put(kind, f"{kind}-yes", **YES, jobtitle="A")
        world.dynamics.put(kind, f"{kind}-no", **NO, jobtitle="A")
        world.dynamics.put(kind, f"{kind}-empty", **EMPTY, jobtitle="A")
        world.dynamics.put(kind, f"{kind}-never", jobtitle="A")
    world.settled()
    for kind in (LEAD, CONTACT):
        assert people_of(world, f"{kind}-no") == []
        for each in ("yes", "empty", "never"):
            assert len(people_of(world, f"{kind}-{each}")) == 1
    world.dynamics.put(LEAD, "lead-no", jobtitle="B")
    world.settled()
    assert people_of(world, "lead-no") == []
    assert starts(world) == []


def test_r88_a_column_that_is_made_later_counts_as_soon_as_it_is_there() -> None:
    """All are empty at first, so nothing changes; then it is followed."""
    world = filtered_world()
    drop_filter(world, is_told=False)
    people = [world.link(LEAD, f"r{n}", title="A") for n in range(3)]
    world.settled()
    make_filter(world)
    assert world.settled() == 0
    assert kept_out(world) == []
    world.dynamics.put(LEAD, "r0", **NO, jobtitle="B")
    world.dynamics.put(LEAD, "r1", **YES, jobtitle="B")
    world.settled()
    assert [world.both(person, "title") for person in people] == [("B", "A"), ("B", "B"), ("A", "A")]
    assert kept_out(world) == [("lead", "r0")]


def test_r90_r92_from_no_on_neither_side_gets_the_edits_of_the_other_and_nothing_is_deleted() -> None:
    """Also the edits that come together with the no, on either side, those of fields that go one way, and an altered key. Who is
    turned to and fro between two cycles is not stale.
    """
    world = filtered_world()
    people = {
        kind: world.link(kind, kind, title="A", phone="1", source="web", leadScore="1") for kind in (LEAD, CONTACT)
    }
    other, keyless = world.link(LEAD, "other", title="A"), world.link(LEAD, "keyless")
    world.settled()
    before = {person: dict(world.marketo.rows[person].values) for person in people.values()}
    for kind, person in people.items():
        world.dynamics.put(kind, kind, **NO, jobtitle="B", new_source="fair")
        world.marketo.put(person, phone="2", leadScore="9")
    world.dynamics.put(LEAD, "never", **NO)
    world.dynamics.put(LEAD, "keyless", **NO)
    world.marketo.put(keyless, **{KEYS.lead_id: None})
    for each in (NO, YES, NO, YES):
        world.dynamics.put(LEAD, "other", **each)
    world.settled()
    for kind, person in people.items():
        world.dynamics.put(kind, kind, jobtitle="C")
        world.marketo.put(person, title="D")
    world.settled()
    assert (world.dynamics.writes, world.marketo.writes) == ([], [])
    for person in people.values():
        assert world.marketo.rows[person].values == before[person] | {"phone": "2", "leadScore": "9", "title": "D"}
        assert (world.base(person, "title"), world.base(person, "phone")) == ("A", "1")
    assert world.rows("from state.unsettled") == []
    with duckdb_engine(world.warehouse) as engine:
        audit = run_audit(engine)
    assert (audit.n_missed, audit.n_damaged) == (0, 0), "what rests is no work that the cycles forgot"
    rests(world)
    world.dynamics.put(LEAD, "other", jobtitle="B")
    world.dynamics.put(LEAD, "keyless", **EMPTY)
    world.settled()
    assert world.both(other, "title") == ("B", "B")
    assert people_of(world, "keyless") == [keyless]
    assert starts(world) == [keyless]


def test_r89_r92_from_yes_on_everything_is_compared_once_with_the_stored_base() -> None:
    """Of a field that both sides changed the lead takes Marketo's value, the contact Dynamics' (R35)."""
    world = filtered_world()
    people = {kind: world.link(kind, kind, title="A", phone="1", source="web") for kind in (LEAD, CONTACT)}
    world.settled()
    for kind in people:
        world.dynamics.put(kind, kind, **NO)
    world.settled()
    for kind, person in people.items():
        world.dynamics.put(kind, kind, jobtitle="of Dynamics", new_source="fair")
        world.marketo.put(person, title="of Marketo", phone="2")
    world.settled()
    for kind in people:
        world.dynamics.put(kind, kind, **YES)
    world.settled()
    assert world.both(people[LEAD], "title") == ("of Marketo", "of Marketo")
    assert world.both(people[CONTACT], "title") == ("of Dynamics", "of Dynamics")
    for person in people.values():
        assert world.both(person, "phone") == ("2", "2")
        assert world.both(person, "source") == ("fair", "fair")
    assert sorted(row[:7] for row in world.ledger()["collisions"]) == [
        (kind, person, kind, "title", "A", "of Dynamics", "of Marketo") for kind, person in sorted(people.items())
    ]
    assert starts(world) == sorted(people.values())
    assert kept_out(world) == []
    rests(world)


def test_r89_a_record_that_is_let_in_gets_its_person_at_once_with_an_entry() -> None:
    """Of a single record empty counts like yes (R87). The entry stands once, also where there is nothing to write."""
    world = filtered_world()
    world.allow(largest_share=0.2)
    linked = world.link(LEAD, "linked", title="A")
    world.dynamics.put(LEAD, "linked", **NO)
    for kind in (LEAD, CONTACT):
        world.dynamics.put(kind, f"{kind}-yes", **NO, jobtitle="A")
        world.dynamics.put(kind, f"{kind}-empty", **NO, jobtitle="A")
    world.settled()
    assert len(world.marketo.rows) == 1
    world.dynamics.put(LEAD, "linked", **YES)
    for kind in (LEAD, CONTACT):
        world.dynamics.put(kind, f"{kind}-yes", **YES)
        world.dynamics.put(kind, f"{kind}-empty", **EMPTY)
    plan = world.cycle()
    assert plan is not None
    assert plan.n_operations == plan.n_creates == 4
    made = [
        person for kind in (LEAD, CONTACT) for each in ("yes", "empty") for person in people_of(world, f"{kind}-{each}")
    ]
    assert sorted(starts(world)) == sorted([linked, *made])
    assert len(made) == 4


@story
def test_what_marketo_refuses_rests_with_its_record_and_is_told_of_no_more() -> None:
    """Whether it was to be a new person, or an edit; the entry of a start waits with the person."""
    world = filtered_world()
    person = world.link(LEAD, "edited", title="A")
    for name in ("stays", "leaves"):
        world.dynamics.put(LEAD, name, **NO, jobtitle="A")
    world.settled()
    refuses = world.marketo.refuses
    world.marketo.refuses = refusing
    for name in ("stays", "leaves"):
        world.dynamics.put(LEAD, name, **YES)
    world.dynamics.put(LEAD, "edited", jobtitle="B")
    world.cycle()
    assert starts(world) == []
    assert [error[-1] for error in world.errors()] == ["waiting"] * 3
    world.marketo.refuses = refuses
    world.dynamics.put(LEAD, "leaves", **NO)
    world.dynamics.put(LEAD, "edited", **NO)
    world.settled()
    (started,) = people_of(world, "stays")
    assert people_of(world, "leaves") == []
    assert starts(world) == [started]
    assert [error[-1] for error in world.errors()] == ["resolved"] * 3
    assert world.rows("from state.unsettled") == []
    world.dynamics.put(LEAD, "leaves", **YES)
    world.dynamics.put(LEAD, "edited", **YES)
    world.settled()
    assert world.both(person, "title") == ("B", "B")
    assert sorted(starts(world)) == sorted([started, person, *people_of(world, "leaves")])


@story
def test_a_field_that_came_back_while_a_person_was_stale_clears_nothing_of_it() -> None:
    """What its column lost while it was away is no clear (R107), also when the person is compared only later."""
    world = filtered_world()
    person = world.link(LEAD, "r", title="A", phone="1")
    world.settled()
    world.dynamics.put(LEAD, "r", **NO)
    world.dynamics.hidden.add("jobtitle")
    world.clock += timedelta(days=1)
    world.cycle()
    world.dynamics.put(LEAD, "r", jobtitle=None)
    world.dynamics.hidden.clear()
    world.clock += timedelta(days=1)
    world.cycle()
    world.dynamics.put(LEAD, "r", **YES)
    world.settled()
    assert world.both(person, "title") == ("A", "A")


def refusing(key: str, values: object) -> ApiError:
    """Marketo takes nothing."""
    return RequestRefused("No.", system="marketo", request="POST", code="1003")
