"""Nobody is let in because a filter column is gone, unreadable or emptied, and nobody kept out by its default, unasked (R87)."""

from __future__ import annotations

import pytest

from dynsync_pipeline.errors import GuardStopped
from dynsync_pipeline.reconcile.plan import make_plan
from dynsync_pipeline_tests.properties.effort import story
from dynsync_pipeline_tests.sync_filter.filtered import (
    ACCOUNT,
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
    starts,
)
from dynsync_pipeline_tests.worlds.memory import MemoryWorld, read_all
from dynsync_pipeline_tests.worlds.memory_marketo import KEYS

pytestmark = story

N_OUT = 3


def guarded_world() -> MemoryWorld:
    """Three leads that were never let in, and a contact who is; all by a filter."""
    world = filtered_world()
    for n in range(N_OUT):
        world.dynamics.put(LEAD, f"out{n}", **NO, jobtitle="A")
    world.link(CONTACT, "in", title="A")
    world.settled()
    world.allow(largest_share=0.2)
    return world


def stops(world: MemoryWorld, match: str) -> None:
    """A cycle is stopped, and nothing comes of it."""
    before = (world.marketo.writes[:], starts(world), kept_out(world))
    with pytest.raises(GuardStopped, match=match):
        world.cycle()
    assert before == (world.marketo.writes, starts(world), kept_out(world))


def allowed(world: MemoryWorld) -> None:
    """An operator lets one cycle pass; the next is guarded again, and has nothing to do."""
    world.allow(largest_share=1.0)
    world.cycle()
    world.allow(largest_share=0.2)
    assert world.settled() == 0


def test_a_filter_column_that_is_gone_stops_every_cycle_until_it_is_back_or_given_up() -> None:
    """Whether a read that is refused finds it, or the daily look at the definitions."""
    world = guarded_world()
    drop_filter(world, is_told=False)
    world.dynamics.put(LEAD, "out0", jobtitle="B")
    for _ in range(2):
        stops(world, r"new_synctomkto of leads.* is missing .*DYNSYNC_LARGEST_SHARE=1")
    make_filter(world)
    assert world.settled() == 0
    assert len(kept_out(world)) == N_OUT
    drop_filter(world, is_told=True)
    stops(world, "is missing")
    allowed(world)
    assert [len(people_of(world, f"out{n}")) for n in range(N_OUT)] == [1] * N_OUT
    assert len(starts(world)) == N_OUT
    assert kept_out(world) == []
    make_filter(world)
    assert world.settled() == 0
    assert sorted(kept_out(world)) == [("lead", f"out{n}") for n in range(N_OUT)], "who comes back to a no is stale"


def test_a_filter_column_that_keeps_nobody_out_may_go() -> None:
    world = filtered_world()
    world.dynamics.put(LEAD, "l", **YES)
    world.settled()
    world.allow(largest_share=0.2)
    drop_filter(world, is_told=True)
    world.settled()
    assert world.rows("from state.lost_filters") == []


def test_a_filter_column_that_may_not_be_read_stops_the_cycle_also_where_it_never_was() -> None:
    """Nobody knows whom it keeps out. Once an operator gives it up, everybody is let in, also those to come."""
    world = filtered_world()
    world.allow(largest_share=0.2)
    world.dynamics.limits["new_synctomkto"] = {"is_readable": False}
    world.dynamics.put(LEAD, "l", **NO)
    stops(world, "may not read the column new_synctomkto of accounts and .* of leads")
    allowed(world)
    world.dynamics.put(LEAD, "later", **NO)
    world.settled()
    assert [len(people_of(world, each)) for each in ("l", "later")] == [1, 1]
    make_filter(world)
    world.settled()
    assert kept_out(world) == [("lead", "l"), ("lead", "later")]


def test_a_column_that_comes_back_while_a_cycle_reads_counts_from_the_next_one_on() -> None:
    """Of what was read before nobody knows what it says."""
    world = guarded_world()
    drop_filter(world, is_told=True)
    with world.opened() as cycle:
        cycle.extract_records(ACCOUNT)
        make_filter(world)
        world.dynamics.put(LEAD, "new", **NO)
        cycle.extract_records(LEAD)
        world.dynamics.refused.add("jobtitle")  # for which the definitions are asked again
        cycle.extract_records(CONTACT)
        cycle.extract_people()
        with pytest.raises(GuardStopped, match="is missing"):
            cycle.reconcile()
    world.dynamics.refused.clear()
    world.settled()
    assert people_of(world, "new") == []
    assert len(kept_out(world)) == N_OUT + 1


def test_a_column_that_is_lost_between_two_rounds_of_writes_turns_nobody() -> None:
    """The guards stand before the first round alone; what it let pass is written."""
    world = guarded_world()
    world.dynamics.put(LEAD, "out0", **EMPTY)
    with world.opened() as cycle:
        read_all(cycle)
        with world.warehouse.transaction() as connection:
            connection.execute(
                "insert into state.lost_filters (record_type, fault_code, is_given_up) values ('lead', 'missing', false)"
            )
            at = world.now().replace(tzinfo=None)
            plan = make_plan(connection, cycle_id=1, at=at, own_fields=KEYS, limits=None)
    assert plan.n_operations == 0
    assert len(kept_out(world)) == N_OUT


def test_a_column_that_is_secured_between_two_looks_lets_nobody_in_by_its_emptiness() -> None:
    """It reads as empty, and the definitions are asked again before anybody acts on that."""
    world = guarded_world()
    world.dynamics.limits["new_synctomkto"] = {"is_secured": True}
    world.dynamics.put(LEAD, "out0", **EMPTY, jobtitle="B")
    stops(world, "may not read the column new_synctomkto")


def test_more_emptied_filters_than_the_largest_share_stop_the_cycle_and_one_passes() -> None:
    """They count by those whom they kept out, however few; whoever gets a no again stays out, and a yes is no clear."""
    world = guarded_world()
    world.dynamics.put(LEAD, "out0", **EMPTY)
    world.dynamics.put(LEAD, "out1", **EMPTY)
    stops(world, r"2 leads whose new_synctomkto was emptied, of 3 .*DYNSYNC_LARGEST_SHARE=1")
    world.dynamics.put(LEAD, "out1", **NO)
    world.settled()
    assert starts(world) == people_of(world, "out0")
    world.dynamics.put(LEAD, "out1", **EMPTY)
    world.dynamics.put(LEAD, "out2", **EMPTY)
    world.allow(largest_share=1.0)
    world.cycle()
    assert len(starts(world)) == N_OUT


def test_many_people_who_would_go_stale_at_once_stop_the_cycle() -> None:
    """As by a column that is made with the default no; a few may, and what is new may be out however many it is. So may who is
    linked by the key that it bears, as after the working file was lost.
    """
    world = filtered_world()
    world.allow(largest_share=0.2)
    for n in range(60):
        world.link(LEAD, f"r{n}")
        world.link(CONTACT, f"was{n}")
        world.dynamics.put(CONTACT, f"was{n}", **NO)
    world.settled()
    for n in range(60):
        world.dynamics.put(LEAD, f"r{n}", **NO)
        world.dynamics.put(LEAD, f"new{n}", **NO)
    stops(world, "60 people whose record the filter keeps out from now on, of 120 linked people")
    for n in range(50, 60):
        world.dynamics.put(LEAD, f"r{n}", **YES)
    world.settled()
    assert len(kept_out(world)) == 50 + 60 + 60
