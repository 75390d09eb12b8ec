"""A cycle may be cut after any step; the next one must end as if it had not been, and the ledger tells each write once."""

from __future__ import annotations

from typing import Any

import pytest

from dynsync_pipeline.model.records import RecordType
from dynsync_pipeline_tests.properties.effort import is_deep, story
from dynsync_pipeline_tests.worlds.memory import MemoryWorld, field_map, read_all

CONTACT, LEAD = RecordType.CONTACT, RecordType.LEAD
PARTS = 2
FIELDS = field_map("title,jobtitle,text,both,true", "phone,telephone1,text,both,true")


def busy_world(**options: Any) -> MemoryWorld:
    """Work of every kind is waiting: creations, edits both ways on one record, collisions of both types."""
    world = MemoryWorld(FIELDS, **options)
    for place, record_type in enumerate((LEAD, CONTACT, LEAD, CONTACT)):
        world.link(record_type, f"r{place}", title="A", phone="1")
    world.settled()
    world.dynamics.put(LEAD, "new lead", jobtitle="N")
    world.dynamics.put(CONTACT, "new contact", jobtitle="N")
    world.dynamics.put(LEAD, "r0", jobtitle="B")
    world.marketo.put(1001, phone="2")
    world.dynamics.put(CONTACT, "r1", jobtitle=None)
    world.marketo.put(1002, title="M")
    world.dynamics.put(LEAD, "r2", jobtitle="B")
    world.marketo.put(1003, title="M")
    world.marketo.put(1004, title=None, phone="2")
    return world


def end(world: MemoryWorld) -> dict[str, Any]:
    """What must not depend on cuts; people are called by their record, because their ids depend on the order of creation."""
    names = dict(world.rows("select person_id, dynamics_id from state.links"))
    ledger = {
        table: sorted(
            (tuple(names.get(v, v) if k == "person_id" else v for k, v in row.items()) for row in rows), key=repr
        )
        for table, rows in {
            table: [
                dict(zip(columns, row, strict=True))
                for row in world.rows(f"select {', '.join(columns)} from ledger.{table}")
            ]
            for table, columns in {
                "changes": ("direction", "person_id", "dynamics_id", "field", "old_value", "new_value", "rule_code"),
                "collisions": ("person_id", "field", "base_value", "dynamics_value", "marketo_value", "winner"),
                "activities": ("person_id", "activity_type", "field", "old_value", "new_value", "reason_code"),
            }.items()
        }.items()
    }
    return ledger | {
        "held": {(name, f): world.both(person_id, f) for person_id, name in names.items() for f in ("title", "phone")},
        "n_people": len(world.marketo.rows),
        "standing": world.standing(),
        "unsettled": world.rows("select * from state.unsettled"),
        "errors": world.errors(),
    }


@pytest.fixture(scope="module")
def uncut() -> tuple[range, dict[str, Any]]:
    """The steps of a cycle that is not cut, from the plan on, and where it ends."""
    world = busy_world()
    before = world.steps.taken
    with world.opened() as cycle:
        read_all(cycle)
        n_reading = world.steps.taken - before
    world = busy_world()
    before = world.steps.taken
    world.cycle()
    n_steps = world.steps.taken - before
    assert world.settled() == 0
    assert len(end(world)["changes"]) == 8
    return range(n_reading, n_steps), end(world)


@pytest.mark.parametrize("part", [0, pytest.param(1, marks=story)])
def test_a_cycle_cut_after_any_step_and_repeated_ends_like_an_uncut_one(
    uncut: tuple[range, dict[str, Any]], part: int
) -> None:
    """Every eighth step from the plan on, with `make deep` every one; the second repetition is cut too, a bit earlier."""
    steps, expected = uncut
    for number, cut_after in list(enumerate(steps[:: 1 if is_deep() else 8]))[part::PARTS]:
        world = busy_world()
        assert world.cycle(cut_after=cut_after) is None
        if number % 2:
            world.cycle(cut_after=cut_after - 4)
        world.settled()
        assert end(world) == expected, f"cut after step {cut_after} of {steps.stop}"
