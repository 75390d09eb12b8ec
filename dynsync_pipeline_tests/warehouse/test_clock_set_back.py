"""A clock that was ahead and is set back: what was noted by it must hold nothing up. Not here: the sensor (`defs/`)."""

from __future__ import annotations

from datetime import timedelta

from dynsync_pipeline.errors import ServerFailed
from dynsync_pipeline.model.records import RecordType
from dynsync_pipeline.warehouse.cycles import calls_of_last_day
from dynsync_pipeline_tests.properties.effort import story
from dynsync_pipeline_tests.worlds.memory import MemoryWorld

pytestmark = story

AHEAD = timedelta(days=400)


def set_clock(world: MemoryWorld, ahead: timedelta) -> None:
    """Set the clock of the host that much further, or back; Marketo's own goes on."""
    right = world.marketo.now
    world.clock += ahead
    world.marketo.now = lambda: right() - ahead


def test_an_edit_that_could_not_be_written_while_the_clock_was_ahead_is_written_when_it_is_right_again() -> None:
    world = MemoryWorld()
    person = world.link(RecordType.CONTACT, "c1", title="Buyer")
    world.settled()
    set_clock(world, AHEAD)
    world.marketo.refuses = lambda key, values: ServerFailed("busy", system="marketo", request="POST", code="713")
    world.dynamics.put(RecordType.CONTACT, "c1", jobtitle="Head")
    world.cycle()
    world.marketo.refuses = lambda key, values: None
    set_clock(world, -AHEAD)
    world.settled()
    assert world.both(person, "title") == ("Head", "Head")


def test_a_plan_that_was_cut_while_the_clock_was_ahead_is_made_again_when_it_is_right() -> None:
    world = MemoryWorld()
    person = world.link(RecordType.CONTACT, "c1", title="Buyer")
    world.settled()
    set_clock(world, timedelta(hours=3))
    world.dynamics.put(RecordType.CONTACT, "c1", jobtitle="Head")
    with world.opened() as cycle:
        cycle.extract()
        cycle.reconcile()
    set_clock(world, -timedelta(hours=3))
    world.settled()
    assert world.both(person, "title") == ("Head", "Head")


def test_calls_that_a_clock_far_ahead_dated_do_not_use_up_the_budget_of_today() -> None:
    world = MemoryWorld()
    at = world.clock.replace(tzinfo=None)
    world.rows(
        "insert into ledger.cycles (cycle_id, started_at, status, n_calls_marketo) values "
        "(1, ?, 'succeeded', 7), (2, ?, 'succeeded', 11), (3, ?, 'succeeded', 13)",
        at + AHEAD,
        at + timedelta(hours=2),  # set back by hours: these calls were sent in the last 24 hours all the same
        at - timedelta(hours=2),
    )
    with world.warehouse.reading() as connection:
        assert calls_of_last_day(connection, "marketo", at) == 24


def test_definitions_that_a_clock_far_ahead_dated_are_read_again() -> None:
    world = MemoryWorld()
    world.link(RecordType.CONTACT, "c1", title="Buyer")
    set_clock(world, AHEAD)
    world.settled()
    set_clock(world, -AHEAD)
    world.cycle()
    ((newest,),) = world.rows("select max(read_at) from state.columns")
    assert newest <= world.clock.replace(tzinfo=None)
    ((read_at,),) = world.rows("select cursor from state.cursors where stream = 'marketo_companies'")
    assert read_at <= world.clock.replace(tzinfo=None).isoformat()


def test_an_edit_that_our_write_overwrote_is_seen_also_after_the_clock_was_set_back() -> None:
    """R35: the feed shows an old value that nobody had seen."""
    world = MemoryWorld()
    person = world.link(RecordType.CONTACT, "c1", title="Buyer", phone="1")
    world.settled()
    set_clock(world, timedelta(hours=5))
    world.dynamics.put(RecordType.CONTACT, "c1", telephone1="2")
    world.settled()
    set_clock(world, -timedelta(hours=5))
    world.dynamics.put(RecordType.CONTACT, "c1", jobtitle="Head")
    with world.opened() as cycle:
        cycle.extract()
        cycle.reconcile()
        world.marketo.put(person, title="Chief")
        cycle.write_dynamics()
        cycle.write_marketo()
    world.settled()
    assert ("Buyer", "Head", "Chief", "dynamics") in world.rows(
        "select base_value, dynamics_value, marketo_value, winner from ledger.collisions where field = 'title'"
    )
