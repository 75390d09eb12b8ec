"""What was applied before a cut is ours, and what people did to it before the next cycle is theirs.

Source: docs/design.md#after-a-cut.
"""

from __future__ import annotations

from typing import Any

import pytest

from dynsync_pipeline.errors import PlanStale, TimedOut
from dynsync_pipeline.model.records import RecordType
from dynsync_pipeline.write_back.receipts import planned_writes
from dynsync_pipeline_tests.properties.effort import story
from dynsync_pipeline_tests.worlds.cuts import Cut, Steps
from dynsync_pipeline_tests.worlds.memory import MemoryWorld, field_map, read_all

pytestmark = story

CONTACT, LEAD = RecordType.CONTACT, RecordType.LEAD
FIELDS = field_map("title,jobtitle,text,both,true", "phone,telephone1,text,both,true")
BOTH_TYPES = pytest.mark.parametrize("record_type", [LEAD, CONTACT])


def cut_when_marketo_was_written(world: MemoryWorld) -> None:
    """Find the step after Marketo's answer and before the receipt, by looking at what Marketo holds."""
    n_written = len(world.marketo.writes)
    step = Steps.step

    def cut(steps: Steps) -> None:
        if len(world.marketo.writes) > n_written:
            steps.left = 0
        step(steps)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Steps, "step", cut)
        assert world.cycle() is None
    assert len(world.marketo.writes) == n_written + 1
    assert world.rows("select count(*) from reconcile.receipts") == [(0,)]


@BOTH_TYPES
def test_an_edit_over_our_uncertain_update_is_one_sided(record_type: RecordType) -> None:
    """The feed shows that our value stood there first, so nobody collided."""
    world = MemoryWorld(FIELDS)
    person_id = world.link(record_type, "r", title="A")
    world.settled()
    world.dynamics.put(record_type, "r", jobtitle="B")
    cut_when_marketo_was_written(world)
    world.marketo.put(person_id, title="C")
    world.settled()
    assert world.both(person_id, "title") == ("C", "C")
    assert world.ledger()["collisions"] == []
    assert [row[5:7] for row in world.ledger()["changes"]] == [("A", "B"), ("B", "C")]


@BOTH_TYPES
def test_an_edit_that_another_write_read_back_before_the_outcome_was_known_is_an_edit(record_type: RecordType) -> None:
    """The write to Dynamics was applied and not answered; then the person was edited, and got a value from Dynamics."""
    world = MemoryWorld(FIELDS)
    person_id = world.link(record_type, "r", title="A", phone="1")
    world.settled()
    world.marketo.put(person_id, title="B")
    world.dynamics.put(record_type, "r", telephone1="2")
    write = world.dynamics.write

    def unanswered(*arguments: Any) -> Any:
        write(*arguments)
        world.marketo.put(person_id, title="C")
        raise TimedOut("no answer", system="dynamics", request="POST")

    world.dynamics.write = unanswered  # type: ignore[method-assign, assignment]
    world.cycle()
    world.dynamics.write = write  # type: ignore[method-assign]
    for _ in range(2):
        world.cycle()
    assert [world.both(person_id, name) for name in ("title", "phone")] == [("C", "C"), ("2", "2")]
    assert world.standing() == []
    assert world.ledger()["collisions"] == []


@BOTH_TYPES
def test_an_edit_of_a_person_created_just_before_the_cut_reaches_dynamics(record_type: RecordType) -> None:
    world = MemoryWorld(FIELDS)
    world.dynamics.put(record_type, "r", jobtitle="A", telephone1="1")
    cut_when_marketo_was_written(world)
    (person_id,) = world.marketo.rows
    world.marketo.put(person_id, phone="2")
    world.settled()
    assert list(world.marketo.rows) == [person_id], "created once"
    assert world.both(person_id, "phone") == ("2", "2")
    assert world.both(person_id, "title") == ("A", "A")
    assert world.ledger()["collisions"] == []


@BOTH_TYPES
def test_an_uncertain_update_that_marketo_kept_shorter_is_no_collision(record_type: RecordType) -> None:
    """Whether Marketo held another value there before, or nothing."""
    world = MemoryWorld(FIELDS)
    person_id = world.link(record_type, "r", title="A")
    world.settled()
    world.marketo.keeps = lambda name, value: value[:3] if value and name in ("title", "phone") else value
    world.dynamics.put(record_type, "r", jobtitle="long value", telephone1="12345")
    cut_when_marketo_was_written(world)
    world.settled()
    assert world.both(person_id, "title") == ("long value", "lon")
    assert world.both(person_id, "phone") == ("12345", "123")
    assert world.ledger()["collisions"] == []
    assert world.standing() == [(person_id, "phone", "12345", "123"), (person_id, "title", "long value", "lon")]


@BOTH_TYPES
def test_a_created_person_that_marketo_keeps_shorter_survives_a_cut(record_type: RecordType) -> None:
    world = MemoryWorld(FIELDS)
    world.marketo.keeps = lambda name, value: value[:3] if value and name == "title" else value
    world.dynamics.put(record_type, "r", jobtitle="long value")
    cut_when_marketo_was_written(world)
    world.settled()
    (person_id,) = world.marketo.rows
    assert world.both(person_id, "title") == ("long value", "lon")


@BOTH_TYPES
def test_an_edit_of_another_field_meanwhile_changes_nothing_of_ours(record_type: RecordType) -> None:
    world = MemoryWorld(FIELDS)
    person_id = world.link(record_type, "r", title="A", phone="1")
    world.settled()
    world.dynamics.put(record_type, "r", jobtitle="B")
    cut_when_marketo_was_written(world)
    world.marketo.put(person_id, phone="2")
    world.dynamics.put(record_type, "r", jobtitle="C")
    world.settled()
    assert world.both(person_id, "title") == ("C", "C")
    assert world.both(person_id, "phone") == ("2", "2")
    assert world.ledger()["collisions"] == []
    assert [row[5:7] for row in world.ledger()["changes"] if row[4] == "title"] == [("A", "B"), ("B", "C")]


@BOTH_TYPES
@pytest.mark.parametrize(
    ("name", "kind", "in_marketo", "in_dynamics"),
    [("doNotCall", "boolean", "true", "true"), ("rating", "choice", "Hot", "1")],
)
def test_one_of_a_few_values_that_somebody_chose_too_does_not_prove_that_our_lost_update_was_applied(
    record_type: RecordType, name: str, kind: str, in_marketo: str, in_dynamics: str
) -> None:
    world = MemoryWorld(field_map("title,jobtitle,text,both,true", f"{name},new_few,{kind},both,true"))
    person_id = world.link(record_type, "r", title="A")
    world.settled()
    world.marketo.put(person_id, title="M", **{name: in_marketo})

    def lost(*_: object) -> None:
        raise Cut

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(world.dynamics, "write", lost)
        assert world.cycle() is None
    world.dynamics.put(record_type, "r", new_few=in_dynamics)
    world.settled()
    assert world.both(person_id, "title") == ("M", "M")
    assert world.both(person_id, name) == (in_dynamics, in_marketo)
    assert [row[5:7] for row in world.ledger()["changes"] if row[4] == "title"] == [("A", "M")]


def test_a_plan_of_an_earlier_cycle_is_not_sent() -> None:
    world = MemoryWorld()
    contact, lead = world.link(CONTACT, "c", title="A"), world.link(LEAD, "l", title="A")
    world.settled()
    world.dynamics.put(CONTACT, "c", jobtitle="D")
    world.marketo.put(lead, title="M")
    with world.opened() as cycle:
        read_all(cycle)
        cycle.reconcile()
        for system in ("dynamics", "marketo"):
            assert len(list(planned_writes(world.warehouse, cycle.cycle_id, system, "update"))) == 1
            with pytest.raises(PlanStale, match="made by an earlier cycle"):
                next(planned_writes(world.warehouse, cycle.cycle_id + 1, system, "update"))
    with world.opened() as cycle:
        cycle.write_dynamics()
        cycle.write_marketo()
    assert (world.both(contact, "title"), world.both(lead, "title")) == (("D", "A"), ("A", "M"))
    world.settled()
    assert (world.both(contact, "title"), world.both(lead, "title")) == (("D", "D"), ("M", "M"))
