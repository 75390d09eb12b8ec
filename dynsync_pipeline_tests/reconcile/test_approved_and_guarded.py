"""What somebody approved value by value counts for no guard, and everything beside it does (docs/design.md#guards).

Not here: guards where nobody was asked (`test_guards.py`), asking (`test_approvals.py`).
"""

from __future__ import annotations

import pytest

from dynsync_pipeline.errors import GuardStopped
from dynsync_pipeline.model.records import RecordType
from dynsync_pipeline.warehouse.approvals import approve_causes
from dynsync_pipeline_tests.properties.effort import deep, story
from dynsync_pipeline_tests.worlds.memory import MemoryWorld, field_map

pytestmark = story

LEAD = RecordType.LEAD
FIELDS = field_map("title,jobtitle,text,both,true", "doNotCall,donotphone,boolean,both,true")
N_MANY = 55  # more than the small number that passes every guard
N_ALL = 2 * N_MANY


def linked() -> tuple[MemoryWorld, dict[str, int]]:
    """Leads of whom half are more than a guard lets pass, and more than may be unasked."""
    world = MemoryWorld(FIELDS, publishes=True)
    people = {f"p{number}": world.link(LEAD, f"p{number}", title="A", doNotCall="true") for number in range(N_ALL)}
    world.settled()
    world.allow(largest_share=0.2, ask_above=N_MANY - 1)
    return world, people


def yes(world: MemoryWorld) -> int:
    with world.warehouse.transaction() as connection:
        return approve_causes(connection, None, "somebody", world.warehouse.now())


def test_what_was_approved_passes_every_guard_on_fields() -> None:
    """Emptied values, a yes that becomes a no, and collisions, each of more people than would pass unasked."""
    world, people = linked()
    half, others = list(people)[:N_MANY], list(people)[N_MANY:]
    for name in half:
        world.dynamics.put(LEAD, name, jobtitle=None, donotphone="false")
    for name in others:
        world.dynamics.put(LEAD, name, jobtitle="D")
        world.marketo.put(people[name], title="M")
    world.settled()
    assert {world.both(people[name], "title") for name in half} == {(None, "A")}
    assert {world.both(people[name], "title") for name in others} == {("D", "M")}
    assert yes(world) == 2 * N_MANY + N_MANY
    world.settled()
    assert {world.both(people[name], "title") for name in half} == {(None, None)}
    assert {world.both(people[name], "doNotCall") for name in half} == {("false", "false")}
    assert {world.both(people[name], "title") for name in others} == {("M", "M")}
    assert world.rows("from state.approvals") == world.rows("from state.unsettled") == []


@deep
def test_a_word_on_some_is_none_on_others_and_outlives_the_guard_that_these_meet() -> None:
    world, people = linked()
    half, others = list(people)[:N_MANY], list(people)[N_MANY:]
    for name in half:
        world.dynamics.put(LEAD, name, jobtitle=None)
    world.settled()
    yes(world)
    world.allow(ask_above=N_ALL)
    for name in others:
        world.dynamics.put(LEAD, name, jobtitle=None)
    for _ in range(2):
        with pytest.raises(
            GuardStopped, match=f"saw {N_MANY} people or records with a field emptied|saw {N_MANY} leads"
        ):
            world.cycle()
    assert {world.both(person_id, "title") for person_id in people.values()} == {(None, "A")}
    for name in others:
        world.dynamics.put(LEAD, name, jobtitle="A")
    world.settled()
    assert {world.both(people[name], "title") for name in half} == {(None, None)}
    assert {world.both(people[name], "title") for name in others} == {("A", "A")}
    assert world.rows("from state.approvals") == []
