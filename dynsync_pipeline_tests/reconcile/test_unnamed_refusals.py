"""A refusal that names no field: the fields are sent in halves until what is refused is alone (R116)."""

from __future__ import annotations

import pytest

from dynsync_pipeline.errors import AnswerUnreadable, ApiError, RequestRefused
from dynsync_pipeline.model.records import RecordType
from dynsync_pipeline_tests.worlds.memory import MemoryWorld, field_map

CONTACT = RecordType.CONTACT
NAMES = [f"f{n}" for n in range(16)]
FIELDS = field_map(*(f"{name},new_{name},text,both,true" for name in NAMES))
NO = RequestRefused("no", system="either", request="PATCH", code="400")


def world_of(side: str) -> tuple[MemoryWorld, int]:
    """A linked contact all of whose fields somebody edits on one side, two of them to what the other side refuses."""
    world = MemoryWorld(FIELDS)
    person = world.link(CONTACT, "r", **dict.fromkeys(NAMES, "A"))
    world.settled()
    edits = dict.fromkeys(NAMES, "B") | {"f3": "bad", "f12": "bad"}
    if side == "dynamics":
        world.marketo.put(person, **edits)
    else:
        world.dynamics.put(CONTACT, "r", **{f"new_{name}": value for name, value in edits.items()})
    return world, person


@pytest.mark.parametrize("side", ["dynamics", "marketo"])
def test_two_values_that_are_refused_without_a_name_are_found_and_all_others_arrive(side: str) -> None:
    world, person = world_of(side)
    getattr(world, side).refuses = lambda key, values: NO if "bad" in values.values() else None
    world.cycle()
    settled = [name for name in NAMES if world.both(person, name) == ("B", "B")]
    assert settled == [name for name in NAMES if name not in ("f3", "f12")]
    assert sorted((row[1], row[4], row[5]) for row in world.errors()) == [("f12", 1, "waiting"), ("f3", 1, "waiting")]
    assert len(world.ledger()["changes"]) == 14
    world.cycle()  # five minutes later both are tried again, and nothing else
    assert sorted((row[1], row[4], row[5]) for row in world.errors()) == [("f12", 2, "waiting"), ("f3", 2, "waiting")]
    assert len(world.ledger()["changes"]) == 14


def test_a_refusal_without_a_code_is_told_once_alone_and_beside_others() -> None:
    """Old versions of Dynamics send none."""
    world, _ = world_of("dynamics")
    no = RequestRefused("no", system="dynamics", request="PATCH", code="")
    world.dynamics.refuses = lambda key, values: no if "bad" in values.values() else None
    for _ in range(2):  # beside others, then alone
        world.cycle()
        world.marketo.put(1001, f12="B")
    assert [(row[1], row[3], row[4]) for row in world.errors() if row[1] == "f3"] == [("f3", "RequestRefused", 2)]


@pytest.mark.parametrize("side", ["dynamics", "marketo"])
def test_a_record_of_which_everything_is_refused_costs_few_requests_and_is_refused_once(side: str) -> None:
    world, _ = world_of(side)
    asked = []

    def refuse(key: str, values: object) -> ApiError:
        asked.append(key)
        return NO

    getattr(world, side).refuses = refuse
    world.cycle()
    assert len(asked) <= 9
    assert len(world.errors()) == 1
    assert world.ledger()["changes"] == []


def test_a_write_that_was_taken_and_not_shown_is_looked_up_and_counts_once() -> None:
    world, person = world_of("dynamics")
    write = world.dynamics.write

    def unreadable(*arguments: object) -> object:
        world.dynamics.write = write  # type: ignore[method-assign]
        return [each._replace(row=None, error=AnswerUnreadable("?", system="dynamics", request="PATCH"))
                for each in write(*arguments)]  # type: ignore[arg-type]  # fmt: skip

    world.dynamics.write = unreadable  # type: ignore[assignment, method-assign]
    world.cycle()
    world.settled()
    assert world.both(person, "f3") == ("bad", "bad")
    assert len(world.ledger()["changes"]) == 16
    assert world.errors() == []
