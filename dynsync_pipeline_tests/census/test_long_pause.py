"""A pause longer than a feed remembers: everybody is read again, and whoever went meanwhile is found gone."""

from __future__ import annotations

from datetime import timedelta

import pytest

from dynsync_pipeline.model.records import RecordType
from dynsync_pipeline_tests.properties.effort import story
from dynsync_pipeline_tests.worlds.memory import MemoryWorld
from dynsync_pipeline_tests.worlds.memory_marketo import KEYS


@pytest.fixture
def world() -> MemoryWorld:
    """A contact and two leads that agree with their people."""
    world = MemoryWorld()
    world.link(RecordType.CONTACT, "c1", title="Buyer")
    for lead in ("l1", "l2"):
        world.link(RecordType.LEAD, lead, title="Buyer")
    world.settled()
    return world


def forget(world: MemoryWorld, *, days: int) -> None:
    """So many days pass, of which Marketo remembers 14 of deletions and 90 of values."""
    world.clock += timedelta(days=days)
    world.marketo.deletions = [d for d in world.marketo.deletions if d.at > world.clock - timedelta(days=14)]
    world.marketo.feed = [c for c in world.marketo.feed if c.at > world.clock - timedelta(days=90)]


@pytest.mark.parametrize("days", [20, 100, 400])
def test_what_happened_in_a_long_pause_is_found_in_the_first_cycle_after_it(world: MemoryWorld, days: int) -> None:
    """R7."""
    contact, lead, _ = sorted(world.marketo.rows)
    world.marketo.put(contact, title="Chief")
    world.marketo.delete(lead)
    world.dynamics.put(RecordType.LEAD, "l1", jobtitle="Head")
    forget(world, days=days)
    world.cycle()
    assert world.both(contact, "title") == ("Chief", "Chief")
    (successor,) = world.marketo.bearers(KEYS.lead_id, "l1")
    assert world.both(successor, "title") == ("Head", "Head")
    assert world.rows("select found_by, code, record_type from ledger.audit_findings") == [
        ("extract", "feed_forgot", "person")
    ]
    assert world.settled() == 0
    assert world.rows("select count(*) from ledger.audit_findings") == [(1,)]


def test_a_pause_that_the_feed_remembers_reads_nobody_again(world: MemoryWorld) -> None:
    world.marketo.exports.clear()
    forget(world, days=10)
    world.cycle()
    assert not world.marketo.exports


@story
def test_a_load_after_a_long_pause_that_is_cut_anywhere_still_finds_who_is_gone(world: MemoryWorld) -> None:
    _, lead, _ = sorted(world.marketo.rows)
    world.marketo.delete(lead)
    forget(world, days=20)
    cut = 4
    while world.cycle(cut_after=cut) is None:
        cut += 3
    assert world.rows("select person_id, side from state.tombstones") == [(lead, "marketo")]
