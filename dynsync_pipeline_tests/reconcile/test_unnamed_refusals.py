"""A refusal that names no field: the fields are sent in halves until what is refused is alone (R116)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from dynsync_pipeline.clients.marketo.protocol import CompanyResult
from dynsync_pipeline.errors import AnswerUnreadable, ApiError, RequestRefused, TimedOut
from dynsync_pipeline.model.field_map import parse_field_map
from dynsync_pipeline.model.records import RecordType
from dynsync_pipeline_tests.properties.effort import story
from dynsync_pipeline_tests.worlds.memory import HEADER, MemoryWorld, field_map
from dynsync_pipeline_tests.worlds.memory_marketo import KEYS

pytestmark = story

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


@pytest.mark.parametrize("side", ["dynamics", "marketo"])
def test_a_refusal_without_field_and_code_is_told_once_beside_others_and_alone(side: str) -> None:
    """Old versions of Dynamics send neither."""
    world, person = world_of(side)
    no = RequestRefused("no", system=side, request="PATCH", code="")
    getattr(world, side).refuses = lambda key, values: no if "bad" in values.values() else None
    world.cycle()
    world.marketo.put(person, f12="A")
    world.dynamics.put(CONTACT, "r", new_f12="A")
    world.clock += timedelta(days=1)
    world.cycle()
    assert sorted((row[1], row[3], row[4], row[5]) for row in world.errors()) == [
        ("f12", "RequestRefused", 1, "resolved"),
        ("f3", "RequestRefused", 2, "waiting"),
    ]


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


def test_of_a_new_person_whose_search_is_cut_off_whatever_never_left_arrives_in_the_next_cycle() -> None:
    """Of `near` one part left, of `far` two; then a marketer edits what had left, and enters what had not."""
    world = MemoryWorld(FIELDS)
    for name in ("near", "far"):
        columns: dict[str, str | None] = dict.fromkeys((f"new_{each}" for each in NAMES), "B")
        world.dynamics.put(CONTACT, name, **columns | {"new_f15": "bad"})
    world.marketo.refuses = lambda key, values: NO if "bad" in values.values() else None
    sync, n_taken = world.marketo.sync_people, Counter[str]()

    def cut_off(action: str, lookup_field: str, records: Sequence[str]) -> Any:
        name = msgspec.json.decode(records[0])[KEYS.contact_id]
        if len(records) == 1 and n_taken[name] == {"near": 1, "far": 2}[name]:
            raise TimedOut("no answer", system="marketo", request="POST")
        results = sync(action, lookup_field, records)
        n_taken[name] += results[0].error is None
        return results

    world.marketo.sync_people = cut_off  # type: ignore[method-assign]
    world.cycle()
    world.marketo.sync_people = sync  # type: ignore[method-assign]
    (near,), (far,) = (world.marketo.bearers(KEYS.contact_id, name) for name in ("near", "far"))
    held = {name: world.marketo.rows[far].values.get(name) for name in NAMES}
    assert (held["f0"], held["f9"], world.marketo.rows[near].values.get("f0")) == ("B", None, "B")
    world.marketo.put(far, f0="Later", f9="Met")
    world.cycle()
    expected = dict.fromkeys(NAMES[:-1], ("B", "B"))
    assert {name: world.both(near, name) for name in NAMES[:-1]} == expected
    assert {name: world.both(far, name) for name in NAMES[:-1]} == expected | {"f0": ("Later", "Later")}
    assert [row[3:8] for row in world.ledger()["collisions"]] == [("f9", None, "B", "Met", "dynamics")]
    assert world.standing() == []
    changes = Counter((row[2], row[4], row[6]) for row in world.ledger()["changes"])
    assert changes == Counter(
        {(who, name, "B"): 1 for who in (near, far) for name in NAMES[:-1]} | {(far, "f0", "Later"): 1}
    )
    assert sorted((row[0], row[1], row[5]) for row in world.errors()) == [
        ("far", "f15", "waiting"),
        ("near", "f15", "waiting"),
    ]


def test_of_a_new_company_whose_search_is_cut_off_whatever_never_left_arrives_in_the_next_cycle() -> None:
    names = NAMES[:6]
    lines = (f"account,{name},new_{name},text,to_marketo,true\n" for name in names)
    world = MemoryWorld(parse_field_map(HEADER + "".join(lines), "test.csv"))
    columns: dict[str, str | None] = dict.fromkeys((f"new_{name}" for name in names), "B")
    world.dynamics.put(RecordType.ACCOUNT, "a", **columns | {"new_f4": "bad"})
    sync, n_asked = world.marketo.sync_companies, 0

    def refuse(records: Sequence[str]) -> Any:
        nonlocal n_asked
        n_asked += 1
        if n_asked == 3:  # the whole, then the half that is taken
            raise TimedOut("no answer", system="marketo", request="POST")
        return [CompanyResult(None, "skipped", NO)] if "bad" in records[0] else sync(records)

    world.marketo.sync_companies = refuse  # type: ignore[method-assign]
    world.cycle()
    assert [world.marketo.company_rows["a"].get(name) for name in names] == ["B", "B", "B", None, None, None]
    world.cycle()
    assert [world.marketo.company_rows["a"].get(name) for name in names] == ["B", "B", "B", "B", None, "B"]
    assert [(row[0], row[1], row[5]) for row in world.errors()] == [("a", "f4", "waiting")]


def test_a_record_whose_search_fails_each_time_is_told_and_ends_no_other_s_turn() -> None:
    world, person = world_of("dynamics")
    other = world.link(CONTACT, "other", f0="A")
    world.settled()
    write = world.dynamics.write

    def failing(table: Any, columns: Any, writes: Sequence[Any]) -> Any:
        if len(writes) == 1 and writes[0].id == "r" and len(msgspec.json.decode(writes[0].body)) < len(NAMES):
            raise TimedOut("no answer", system="dynamics", request="PATCH")
        return write(table, columns, writes)

    world.dynamics.write = failing  # type: ignore[method-assign]
    world.dynamics.refuses = lambda key, values: NO if key == "r" else None
    for title in "BCD":
        world.marketo.put(person, **dict.fromkeys(NAMES, title))
        world.marketo.put(other, f0=title)
        world.cycle()
        assert world.both(other, "f0") == (title, title)
    world.marketo.put(other, f0="E")
    world.cycle()
    assert [(row[0], row[3]) for row in world.errors()] == [("r", "TimedOut")]
