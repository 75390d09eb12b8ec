"""Lossy round trips: what a system made of our value is settled, until one of the two values moves.

Source: docs/design.md#lossy-round-trips.

Each test runs four links at once: of a lead and a contact, one whose title Marketo keeps shorter and one whose phone
Dynamics does.
"""

from __future__ import annotations

from typing import NamedTuple

import pytest

from dynsync_pipeline.errors import ServerFailed
from dynsync_pipeline.model.records import RecordType
from dynsync_pipeline_tests.properties.effort import deep, story
from dynsync_pipeline_tests.worlds.memory import MemoryWorld, field_map

CONTACT, LEAD = RecordType.CONTACT, RecordType.LEAD
COLUMNS = {"title": "jobtitle", "phone": "telephone1", "city": "address1_city"}


class Link(NamedTuple):
    """One link with a value that one system keeps shorter."""

    record_type: RecordType
    record_id: str
    person_id: int
    field: str  # title: shortened by Marketo; phone: by Dynamics

    def edit_dynamics(self, world: MemoryWorld, value: str, field: str | None = None) -> None:
        world.dynamics.put(self.record_type, self.record_id, **{COLUMNS[field or self.field]: value})

    def edit_marketo(self, world: MemoryWorld, value: str, field: str | None = None) -> None:
        world.marketo.put(self.person_id, **{field or self.field: value})

    def edit(self, world: MemoryWorld, side: str, value: str) -> None:
        (self.edit_dynamics if side == "dynamics" else self.edit_marketo)(world, value)

    @property
    def lossy_side(self) -> str:
        return "marketo" if self.field == "title" else "dynamics"

    @property
    def true_side(self) -> str:
        return "dynamics" if self.field == "title" else "marketo"


def shortens(name: str) -> object:
    return lambda written, value: value[:3] if value and written == name else value


def lossy_world(n_each: int = 1) -> tuple[MemoryWorld, list[Link]]:
    """Links whose one side holds `long value` and the other `lon`, settled: `n_each` of each record type and lossy side."""
    world = MemoryWorld(field_map(*(f"{name},{column},text,both,true" for name, column in COLUMNS.items())))
    links = [
        Link(kind, f"{kind}-{name}-{n}", world.link(kind, f"{kind}-{name}-{n}", title="A", phone="A", city="A"), name)
        for n in range(n_each)
        for kind in (LEAD, CONTACT)
        for name in ("title", "phone")
    ]
    world.settled()
    make_lossy(world, links, "long value")
    return world, links


def make_lossy(world: MemoryWorld, links: list[Link], value: str) -> None:
    """One side of each link comes to hold `value`, and the other three characters of it."""
    world.marketo.keeps = shortens("title")  # type: ignore[assignment]
    world.dynamics.keeps = shortens("telephone1")  # type: ignore[assignment]
    for link in links:
        link.edit(world, link.true_side, value)
    world.cycle()


def keep_all(world: MemoryWorld) -> None:
    world.marketo.keeps = world.dynamics.keeps = lambda _, value: value


def test_what_a_system_made_of_our_value_is_settled_and_no_edit() -> None:
    """The shortened value does not travel back, is written once, and is listed with both values (R31, R32)."""
    world, links = lossy_world()
    assert world.settled() == 0
    assert [world.both(link.person_id, link.field) for link in links] == [
        ("long value", "lon"),
        ("lon", "long value"),
    ] * 2
    assert world.standing() == [(link.person_id, link.field, *world.both(link.person_id, link.field)) for link in links]
    assert len(world.ledger()["changes"]) == 4
    assert world.ledger()["collisions"] == []


@story
def test_it_stands_while_another_field_of_the_record_moves_on_either_side() -> None:
    world, links = lossy_world()
    before = world.standing()
    for link in links:
        link.edit_dynamics(world, "B", "city")
    world.settled()
    for link in links:
        link.edit_marketo(world, "C", "city")
    world.settled()
    assert world.standing() == before
    assert len(world.ledger()["changes"]) == 4 + 4 + 4


@story
@pytest.mark.parametrize("side", ["dynamics", "marketo"])
def test_an_edit_on_one_side_of_it_is_one_sided_and_travels(side: str) -> None:
    world, links = lossy_world()
    for link in links:
        link.edit(world, side, "new")
    world.settled()
    assert [world.both(link.person_id, link.field) for link in links] == [("new", "new")] * 4
    assert world.ledger()["collisions"] == []
    assert world.standing() == []


@story
def test_edits_on_both_sides_of_it_collide_by_the_rule() -> None:
    world, links = lossy_world()
    for link in links:
        link.edit_dynamics(world, "one")
        link.edit_marketo(world, "two")
    world.settled()
    assert [world.both(link.person_id, link.field) for link in links] == [("two", "two")] * 2 + [("one", "one")] * 2
    assert len(world.ledger()["collisions"]) == 4


@deep
def test_an_edit_of_it_stays_one_sided_when_the_cycle_that_carries_it_is_cut() -> None:
    """The plan alone must not use up the standing difference: that is for the receipt."""
    world, links = lossy_world(n_each=2)
    for cut_after in (8, 9, 10, 11, 12):
        for link in links:
            link.edit(world, "dynamics" if link in links[:4] else "marketo", "new")
        assert world.cycle(cut_after=cut_after) is None
        world.settled()
        assert [world.both(link.person_id, link.field) for link in links] == [("new", "new")] * 8, cut_after
        assert world.ledger()["collisions"] == []
        assert world.standing() == []
        make_lossy(world, links, f"long value {cut_after}")
        assert len(world.standing()) == 8


@story
def test_an_edit_of_it_stays_one_sided_when_the_other_system_is_down() -> None:
    world, links = lossy_world()
    for link in links:
        link.edit_dynamics(world, "new")
    world.marketo.fails = ServerFailed("down", system="marketo", request="POST", code="502")
    world.cycle()
    world.marketo.fails = None
    world.settled()
    assert [world.both(link.person_id, link.field) for link in links] == [("new", "new")] * 4
    assert world.ledger()["collisions"] == []


@story
@pytest.mark.parametrize("edited_side", ["lossy_side", "true_side"])
def test_once_somebody_made_the_values_equal_the_next_edit_is_one_sided(edited_side: str) -> None:
    """Also an edit back to the very value that the lossy side had kept."""
    world, links = lossy_world()
    keep_all(world)
    for link in links:
        link.edit(world, link.lossy_side, "long value")
    world.settled()
    assert world.standing() == []
    value = "lon" if edited_side == "lossy_side" else "new"
    for link in links:
        link.edit(world, getattr(link, edited_side), value)
    world.settled()
    assert [world.both(link.person_id, link.field) for link in links] == [(value, value)] * 4
    assert world.ledger()["collisions"] == []


@story
def test_created_people_that_marketo_keeps_shorter_are_settled_too() -> None:
    world = MemoryWorld(field_map("title,jobtitle,text,both,true"))
    world.marketo.keeps = shortens("title")  # type: ignore[assignment]
    world.dynamics.put(LEAD, "a", jobtitle="long value")
    world.dynamics.put(CONTACT, "b", jobtitle="long value")
    assert world.settled() == 1
    assert {row[1:] for row in world.standing()} == {("title", "long value", "lon")}
    assert len(world.standing()) == 2


@story
def test_a_one_way_field_kept_shorter_is_not_sent_again_at_every_change_of_its_record() -> None:
    """A standing difference lapses when either value moves, and here neither does."""
    world = MemoryWorld(field_map("source,new_source,text,to_marketo,true", "phone,telephone1,text,both,true"))
    world.marketo.keeps = shortens("source")  # type: ignore[assignment]
    world.link(CONTACT, "r", source=None, phone="1")
    world.settled()
    world.dynamics.put(CONTACT, "r", new_source="long value")
    world.settled()
    for phone in ("2", "3"):
        world.dynamics.put(CONTACT, "r", telephone1=phone)
        world.settled()
    assert [row[4] for row in world.ledger()["changes"]] == ["source", "phone", "phone"]
