"""What reaches more people than may be unasked waits also where the cycles before ran in shadow, which write nothing.

Not here: asking (`reconcile/test_approvals.py`), the switch-over as people make it (`test_switch_over.py`).
"""

from __future__ import annotations

import pytest

from dynsync_pipeline.model.records import RecordType
from dynsync_pipeline.warehouse.approvals import approve_causes
from dynsync_pipeline_tests.properties.effort import deep, sampled, story
from dynsync_pipeline_tests.worlds.memory import MemoryWorld, field_map

pytestmark = story

LEAD = RecordType.LEAD
FIELDS = field_map(
    "title,jobtitle,text,both,true", "city,address1_city,text,both,true", "phone,telephone1,text,both,true"
)
HELD = {"title": "A", "city": "A", "phone": "A"}
COUNTED = (
    "select cause_name, direction, n_people, count(*) from state.approvals where approved_at is null "
    "group by all order by all"
)
ASKED = [("city", "to_dynamics", 3, 3), ("title", "to_marketo", 3, 3)]


def yes(world: MemoryWorld) -> int:
    with world.warehouse.transaction() as connection:
        return approve_causes(connection, None, "somebody", world.warehouse.now())


def rested() -> tuple[MemoryWorld, dict[str, int]]:
    """A shadow in which the titles of three people rest, for Marketo, their cities for Dynamics, and two phones."""
    world = MemoryWorld(FIELDS, publishes=True)
    people = {name: world.link(LEAD, name, **HELD) for name in "abc"}
    world.settled()
    world.allow(mode="shadow", ask_above=2, first_load="create")
    for name, person_id in people.items():
        world.dynamics.put(LEAD, name, jobtitle="B")
        world.marketo.put(person_id, city="B")
    for name in "ab":
        world.dynamics.put(LEAD, name, telephone1="B")
    for _ in range(2):
        world.cycle()
    assert world.rows("from state.approvals") == [], "a shadow asks nobody"
    return world, people


def values(world: MemoryWorld, people: dict[str, int], field: str) -> set[tuple[str | None, str | None]]:
    return {world.both(person_id, field) for person_id in people.values()}


@pytest.mark.parametrize("cut_after", sampled([23, None, 15, 19, 21, 25, 27], 1))
def test_what_rested_in_a_shadow_is_asked_of_once_it_is_live_whatever_is_killed(cut_after: int | None) -> None:
    world, people = rested()
    world.allow(mode="live")
    if cut_after is not None:
        assert world.cycle(cut_after=cut_after) is None
    world.settled()
    assert world.rows(COUNTED) == ASKED
    assert values(world, people, "title") == {("B", "A")}
    assert values(world, people, "city") == {("A", "B")}
    assert values(world, people, "phone") == {("B", "B"), ("A", "A")}, "two are not above the limit"
    yes(world)
    if cut_after is not None:
        world.cycle(cut_after=cut_after)
    world.settled()
    assert values(world, people, "title") == values(world, people, "city") == {("B", "B")}
    assert world.rows("from state.approvals") == world.rows("from state.unsettled") == []


@deep
def test_what_waits_goes_on_waiting_through_a_shadow_and_a_word_that_was_given_before_it_counts_after_it() -> None:
    world, people = rested()
    world.allow(mode="live")
    world.settled()
    (number,) = world.rows("select distinct approval_id from state.approvals where field = 'title'")[0]
    with world.warehouse.transaction() as connection:
        approve_causes(connection, [number], "somebody", world.warehouse.now())
    world.allow(mode="shadow")
    for _ in range(2):
        world.cycle()
    assert values(world, people, "title") == {("B", "A")}
    world.allow(mode="live")
    world.settled()
    assert values(world, people, "title") == {("B", "B")}
    assert values(world, people, "city") == {("A", "B")}
    assert world.rows(COUNTED) == ASKED[:1]


@deep
def test_what_the_native_sync_left_different_is_asked_of_like_any_edit() -> None:
    """It has stood for an hour or more, and is an edit again in the first live cycle."""
    world, _ = rested()
    for _ in range(15):
        world.cycle()
    world.allow(mode="live")
    world.settled()
    assert world.rows(COUNTED) == ASKED
