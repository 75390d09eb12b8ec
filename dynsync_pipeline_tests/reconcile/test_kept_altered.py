"""Where Marketo takes the sync's own field on a person and does not keep it, it is put back at growing gaps (R12, R116)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from dynsync_pipeline.model.records import RecordType
from dynsync_pipeline_tests.properties.effort import deep, story
from dynsync_pipeline_tests.worlds.memory import MemoryWorld, field_map
from dynsync_pipeline_tests.worlds.memory_marketo import KEYS

CONTACT = RecordType.CONTACT
FIELDS = field_map("title,jobtitle,text,both,true")
Keeps = Callable[[str, str | None], str | None]


def keeping(field: str, kept: str | None) -> Keeps:
    """Marketo keeps `kept` in this field, whatever is written to it."""
    return lambda name, value: kept if name == field else value


@story
def test_what_does_not_stick_is_written_at_growing_gaps_under_one_open_error() -> None:
    kept = {KEYS.created_on: None, KEYS.person_type: "x", KEYS.contact_id: None}
    world = MemoryWorld(FIELDS)
    people = {field: world.link(CONTACT, f"of {field}", title="A") for field in kept}
    world.settled()
    world.marketo.keeps = lambda name, value: kept.get(name, value)
    for field, person_id in people.items():
        world.marketo.put(person_id, **{field: kept[field]})
    wrote = [plan.n_operations for plan in (world.cycle() for _ in range(20)) if plan]
    assert set(wrote) == {0, len(kept)}
    assert [n for n, written in enumerate(wrote) if written] == [0, 1, 3, 7, 15], "after 5, 10, 20 and 40 minutes"
    codes = {field: "key_altered" if field == KEYS.contact_id else "own_field_altered" for field in kept}
    assert sorted(world.errors()) == sorted(
        (f"of {field}".lower(), field, "to_marketo", code, 5, "waiting") for field, code in codes.items()
    )

    # What people edit travels meanwhile, and the field still waits.
    for field in kept:
        world.dynamics.put(CONTACT, f"of {field}", jobtitle="B")
    world.cycle()
    assert {world.marketo.rows[person_id].values["title"] for person_id in people.values()} == {"B"}
    assert world.cycle().n_operations == 0  # type: ignore[union-attr]

    # It is never given up: a day apart at most.
    for _ in range(5):
        world.clock += timedelta(days=1)
        assert world.cycle().n_operations == len(kept)  # type: ignore[union-attr]
        assert world.cycle().n_operations == 0  # type: ignore[union-attr]
    assert {row[4:] for row in world.errors()} == {(10, "waiting")}

    # Once Marketo keeps it, that is over.
    world.marketo.keeps = lambda name, value: value
    world.clock += timedelta(days=1)
    world.settled()
    assert [row[5] for row in world.errors()] == ["resolved"] * len(kept)
    assert world.rows("select * from state.unsettled") == []


@deep
def test_a_new_person_whose_type_is_kept_otherwise_is_not_written_in_every_cycle() -> None:
    world = MemoryWorld(FIELDS)
    world.marketo.keeps = keeping(KEYS.person_type, "Contact ")
    world.dynamics.put(CONTACT, "r", jobtitle="A")
    wrote = [plan.n_operations for plan in (world.cycle() for _ in range(20)) if plan]
    assert [n for n, written in enumerate(wrote) if written] == [0, 1, 2, 4, 8, 16]
    assert [row[3:] for row in world.errors()] == [("own_field_altered", 5, "waiting")]


@story
def test_the_error_is_resolved_once_somebody_puts_the_value_right() -> None:
    world = MemoryWorld(FIELDS)
    person_id = world.link(CONTACT, "r", title="A")
    world.settled()
    world.marketo.keeps = keeping(KEYS.person_type, "x")
    world.marketo.put(person_id, **{KEYS.person_type: "x"})
    for _ in range(9):
        world.cycle()
    world.marketo.put(person_id, **{KEYS.person_type: "Contact"})
    assert world.settled() == 0
    assert [row[4:] for row in world.errors()] == [(4, "resolved")]


@story
def test_alterations_far_apart_are_each_put_back_at_once_and_told_once() -> None:
    world = MemoryWorld(FIELDS)
    person_id = world.link(CONTACT, "r", title="A")
    world.settled()
    for _ in range(2):
        world.marketo.put(person_id, **{KEYS.person_type: "x"})
        assert world.settled() == 1
        assert world.marketo.rows[person_id].values[KEYS.person_type] == "Contact"
        world.clock += timedelta(days=8)
    assert [row[4:] for row in world.errors()] == [(1, "resolved")] * 2
