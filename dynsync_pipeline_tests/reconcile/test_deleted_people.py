"""A person who is deleted in Marketo comes back with whatever its record holds that the person never got (R80, R81)."""

from __future__ import annotations

import itertools
from datetime import timedelta

import pytest

from dynsync_pipeline.errors import ApiError, RequestRefused
from dynsync_pipeline.model.records import RecordType
from dynsync_pipeline_tests.properties.effort import sampled, story
from dynsync_pipeline_tests.worlds.memory import MemoryWorld, field_map
from dynsync_pipeline_tests.worlds.memory_marketo import KEYS
from dynsync_pipeline_tests.worlds.rows import Values, as_is, refuse_nothing

pytestmark = story

LEAD, CONTACT = RecordType.LEAD, RecordType.CONTACT
BOTH_TYPES = pytest.mark.parametrize("record_type", [LEAD, CONTACT])
LINES = (
    "title,jobtitle,text,both,true",
    "phone,telephone1,text,both,true",
    "flag,donotphone,boolean,both,true",
    "source,new_source,text,to_marketo,true",
    "leadScore,mkt_leadscore,integer,to_dynamics,true",
)
FIELDS = field_map(*LINES)


def linked(world: MemoryWorld, record_type: RecordType) -> int:
    person = world.link(record_type, "r", title="A", phone="123", source="web", leadScore="1")
    world.settled()
    return person


def successors(world: MemoryWorld, record_type: RecordType, record_id: str = "r") -> list[int]:
    return world.marketo.bearers(KEYS.contact_id if record_type is CONTACT else KEYS.lead_id, record_id)


@BOTH_TYPES
@pytest.mark.parametrize("is_edited_first", [True, False])
def test_an_edit_that_the_deleted_person_never_got_brings_one_new_person_with_it(
    record_type: RecordType, is_edited_first: bool
) -> None:
    """R81, also where deletion and edit fall between the same two cycles, in either order."""
    edits: list[dict[str, str | None]] = [
        {"jobtitle": "B"}, {"jobtitle": None}, {"donotphone": "true"}, {"new_source": "fair"}
    ]  # fmt: skip
    world = MemoryWorld(FIELDS)
    people = [world.link(record_type, f"r{n}", title="A", source="web") for n in range(len(edits))]
    world.settled()
    for n, (person, edit) in enumerate(zip(people, edits, strict=True)):
        if is_edited_first:
            world.dynamics.put(record_type, f"r{n}", **edit)
        world.marketo.delete(person)
        if not is_edited_first:
            world.dynamics.put(record_type, f"r{n}", **edit)
    world.settled()
    for n, edit in enumerate(edits):
        (new,) = successors(world, record_type, f"r{n}")
        assert new not in people
        held = {"jobtitle": "A", "new_source": "web", "donotphone": None} | edit
        values = world.marketo.rows[new].values
        assert [values.get(name) for name in ("title", "source", "flag")] == list(held.values())


@pytest.mark.parametrize("gap", sampled([timedelta(hours=3), timedelta(seconds=3), timedelta(days=30)], 1))
def test_the_edit_brings_a_new_person_however_far_it_is_from_the_deletion(gap: timedelta) -> None:
    """Also after a stand-still, and for who lost a merge; a field that never goes to Marketo moves beside it."""
    world = MemoryWorld(FIELDS)
    cases = list(itertools.product((LEAD, CONTACT), (False, True), (False, True)))
    held = {"title": "A", "phone": "123", "source": "web", "leadScore": "1"}
    people = [world.link(case[0], f"r{n}", **held) for n, case in enumerate(cases)]
    winners = [world.link(case[0], f"other{n}", title="Winner") for n, case in enumerate(cases)]
    world.settled()
    for is_first in (True, False):
        for n, (record_type, is_merged, is_edited_first) in enumerate(cases):
            if is_edited_first is is_first:
                world.dynamics.put(record_type, f"r{n}", jobtitle="B", mkt_leadscore="9")
            elif is_merged:
                world.marketo.merge(winners[n], people[n])
            else:
                world.marketo.delete(people[n])
        world.clock += gap
    world.settled()
    for n, (record_type, *_) in enumerate(cases):
        (new,) = successors(world, record_type, f"r{n}")
        assert new not in (*people, *winners)
        values = world.marketo.rows[new].values
        assert [values.get(name) for name in ("title", "phone", "source")] == ["B", "123", "web"], cases[n]


@BOTH_TYPES
def test_a_field_without_a_base_keeps_the_value_last_seen_and_brings_back_with_what_differs(
    record_type: RecordType,
) -> None:
    world = MemoryWorld(field_map(*LINES[:1], *LINES[2:]))
    person = world.link(record_type, "r", title="A", source="web")
    world.dynamics.put(record_type, "r", telephone1="123")
    world.settled()
    world.follow(FIELDS)
    world.marketo.delete(person)
    world.settled()
    world.settled()  # only now everybody was read with the new field, and it joins
    assert successors(world, record_type) == []
    world.dynamics.put(record_type, "r", telephone1="124")
    world.settled()
    (new,) = successors(world, record_type)
    assert world.marketo.rows[new].values["phone"] == "124"


@BOTH_TYPES
def test_an_edit_that_was_refused_before_the_deletion_is_one_that_the_person_never_got(record_type: RecordType) -> None:
    world = MemoryWorld(FIELDS)
    person = linked(world, record_type)
    world.dynamics.put(record_type, "r", jobtitle="B")
    world.marketo.refuses = lambda key, values: RequestRefused("No.", system="marketo", request="POST", code="1003")
    world.cycle()
    world.marketo.refuses = refuse_nothing
    world.marketo.delete(person)
    world.settled()
    (new,) = successors(world, record_type)
    assert world.marketo.rows[new].values["title"] == "B"


@BOTH_TYPES
def test_a_person_deleted_with_its_last_edit_unread_comes_back_for_nothing(record_type: RecordType) -> None:
    """What only Marketo held is gone with the person (R80)."""
    world = MemoryWorld(FIELDS)
    person = linked(world, record_type)
    world.marketo.put(person, title="Last words")
    world.marketo.delete(person)
    world.settled()
    assert successors(world, record_type) == []
    assert world.dynamics.rows[record_type, "r"].values["jobtitle"] == "A"


@BOTH_TYPES
def test_a_standing_difference_brings_nobody_back_until_its_half_in_dynamics_moves(record_type: RecordType) -> None:
    world = MemoryWorld(FIELDS)
    person = linked(world, record_type)
    world.marketo.keeps = lambda name, value: value[:3] if value and name == "phone" else value
    world.dynamics.put(record_type, "r", telephone1="123456")
    world.settled()
    world.marketo.keeps = as_is
    world.dynamics.keeps = lambda name, value: "Kept" if name == "jobtitle" else value
    world.marketo.put(person, title="Sent")
    world.settled()
    assert world.standing() == [(person, "phone", "123456", "123"), (person, "title", "Kept", "Sent")]
    world.marketo.delete(person)
    world.settled()
    assert successors(world, record_type) == []
    world.dynamics.put(record_type, "r", telephone1="1234567")
    world.settled()
    (new,) = successors(world, record_type)
    assert world.marketo.rows[new].values["phone"] == "1234567"


@BOTH_TYPES
def test_a_difference_in_a_field_that_never_goes_to_marketo_brings_nobody_back(record_type: RecordType) -> None:
    world = MemoryWorld(FIELDS)
    person = linked(world, record_type)
    world.marketo.delete(person)
    world.dynamics.put(record_type, "r", mkt_leadscore="99")
    world.settled()
    assert successors(world, record_type) == []


@BOTH_TYPES
@pytest.mark.parametrize("is_before", [True, False])
def test_a_field_that_joins_the_map_is_no_edit_of_a_record_without_its_person(
    record_type: RecordType, is_before: bool
) -> None:
    """R104; neither where it joins before the deletion is seen, nor after. What is edited later is one (R81)."""
    world = MemoryWorld(field_map(*LINES[:1], *LINES[2:]))
    person = world.link(record_type, "r", title="A", source="web")
    world.settled()
    world.dynamics.put(record_type, "r", telephone1="123")  # nobody syncs it yet
    world.settled()
    if is_before:
        world.follow(FIELDS)
    world.marketo.delete(person)
    world.settled()
    if not is_before:
        world.follow(FIELDS)
    world.settled()
    assert successors(world, record_type) == []
    world.dynamics.put(record_type, "r", telephone1="456")
    world.settled()
    assert len(successors(world, record_type)) == 1


@BOTH_TYPES
def test_a_field_that_marketo_refuses_brings_the_deleted_person_back_once_and_not_for_ever(
    record_type: RecordType,
) -> None:
    """The successor never got it either, and nobody has edited it since: a person may be deleted for good (R81)."""
    world = MemoryWorld(FIELDS)
    world.marketo.refuses = refuse_bad_titles
    world.dynamics.put(record_type, "r", jobtitle="bad", telephone1="123")
    for _ in range(3):
        world.clock += timedelta(days=2)
        world.settled()
        for person in successors(world, record_type):
            world.marketo.delete(person)
    world.settled()
    assert successors(world, record_type) == []
    assert len(world.marketo.rows) == 1, "nobody came back"
    world.dynamics.put(record_type, "r", jobtitle="good")
    world.settled()
    (new,) = successors(world, record_type)
    assert world.marketo.rows[new].values["title"] == "good"


def refuse_bad_titles(key: str, values: Values) -> ApiError | None:
    if values.get("title") != "bad":
        return None
    return RequestRefused("No.", system="marketo", request="POST", code="1003", field="title")


@BOTH_TYPES
def test_a_field_that_is_mapped_to_another_column_brings_nobody_back(record_type: RecordType) -> None:
    world = MemoryWorld(FIELDS)
    person = linked(world, record_type)
    world.dynamics.put(record_type, "r", new_title="other")
    world.settled()
    world.marketo.delete(person)
    world.settled()
    world.follow(field_map("title,new_title,text,both,true", *LINES[1:]))
    world.settled()
    assert successors(world, record_type) == []


@BOTH_TYPES
@pytest.mark.parametrize("is_seen_before", [True, False])
def test_a_column_that_was_parked_and_comes_back_empty_brings_nobody_back(
    record_type: RecordType, is_seen_before: bool
) -> None:
    """R107: what it lost meanwhile is no clear."""
    world = MemoryWorld(FIELDS)
    person = linked(world, record_type)
    if is_seen_before:
        world.marketo.delete(person)
        world.settled()
    world.dynamics.hidden.add("jobtitle")
    world.clock += timedelta(days=1)
    world.settled()
    world.dynamics.hidden.clear()
    world.dynamics.put(record_type, "r", jobtitle=None)
    if not is_seen_before:
        world.marketo.delete(person)
    world.clock += timedelta(days=1)
    world.settled()
    assert successors(world, record_type) == []
    world.dynamics.put(record_type, "r", telephone1="456")
    world.settled()
    assert len(successors(world, record_type)) == 1
