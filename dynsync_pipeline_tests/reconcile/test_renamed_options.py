"""R33: what a label meant when it landed it means until it changes; a new label reaches Marketo as an ordinary update."""

from __future__ import annotations

from datetime import timedelta

import pytest

from dynsync_pipeline.errors import RequestRefused
from dynsync_pipeline.model.field_map import parse_field_map
from dynsync_pipeline.model.records import RecordType
from dynsync_pipeline_tests.properties.effort import sampled, story
from dynsync_pipeline_tests.worlds.memory import HEADER, MemoryWorld
from dynsync_pipeline_tests.worlds.memory_marketo import KEYS

pytestmark = story

TYPES = (RecordType.CONTACT, RecordType.LEAD)


def renamed(world: MemoryWorld, **labels: str) -> None:
    """An administrator renames options; the next cycle learns it."""
    world.dynamics.options.update({name.removeprefix("n"): label for name, label in labels.items()})
    world.clock += timedelta(days=1)


@pytest.mark.parametrize("record_type", TYPES)
def test_a_new_label_reaches_marketo_and_is_no_edit_of_anybody(record_type: RecordType) -> None:
    world = MemoryWorld()
    person_id = world.link(record_type, "r1", rating="2")
    other_id = world.link(record_type, "r2", rating="1")
    world.settled()
    renamed(world, n2="Tepid")
    assert world.settled() == 1
    assert world.both(person_id, "rating") == ("2", "Tepid")
    assert world.both(other_id, "rating") == ("1", "Hot")
    assert world.dynamics.writes == []
    assert world.errors() == []
    ledger = world.ledger()
    assert ledger["collisions"] == []
    assert [row[0:1] + row[4:] for row in ledger["changes"] if row[4] == "rating"] == [
        ("to_marketo", "rating", "Warm", "Tepid", "option_renamed")
    ]
    assert world.rows("from state.old_labels") == []


@pytest.mark.parametrize("record_type", TYPES)
def test_two_options_that_swap_their_labels_keep_their_numbers(record_type: RecordType) -> None:
    world = MemoryWorld()
    first, second = world.link(record_type, "r1", rating="1"), world.link(record_type, "r2", rating="2")
    world.settled()
    renamed(world, n1="Warm", n2="Hot")
    world.settled()
    assert world.both(first, "rating") == ("1", "Warm")
    assert world.both(second, "rating") == ("2", "Hot")
    assert world.dynamics.writes == []
    assert world.ledger()["collisions"] == []


@pytest.mark.parametrize("record_type", TYPES)
def test_an_edit_of_the_record_in_the_same_cycle_is_no_collision(record_type: RecordType) -> None:
    world = MemoryWorld()
    person_id = world.link(record_type, "r1", rating="2")
    world.settled()
    renamed(world, n2="Tepid")
    world.dynamics.put(record_type, "r1", new_rating="1")
    world.settled()
    assert world.both(person_id, "rating") == ("1", "Hot")
    assert world.ledger()["collisions"] == []


@pytest.mark.parametrize("record_type", TYPES)
def test_an_edit_of_the_person_in_the_same_cycle_reaches_dynamics(record_type: RecordType) -> None:
    world = MemoryWorld()
    person_id = world.link(record_type, "r1", rating="2")
    world.settled()
    renamed(world, n2="Tepid")
    world.marketo.put(person_id, rating="Cold")
    world.settled()
    assert world.both(person_id, "rating") == ("3", "Cold")
    assert world.ledger()["collisions"] == []


@pytest.mark.parametrize("record_type", TYPES)
def test_a_label_of_before_is_still_understood_and_brought_up_to_date(record_type: RecordType) -> None:
    world = MemoryWorld()
    person_id = world.link(record_type, "r1", rating="1")
    world.settled()
    renamed(world, n2="Tepid")
    world.settled()
    world.marketo.put(person_id, rating="Warm")
    world.settled()
    assert world.both(person_id, "rating") == ("2", "Tepid")
    assert world.errors() == []


@pytest.mark.parametrize("record_type", TYPES)
def test_a_removed_option_makes_no_edit_of_its_holders(record_type: RecordType) -> None:
    world = MemoryWorld()
    person_id = world.link(record_type, "r1", rating="2")
    world.settled()
    del world.dynamics.options["2"]
    world.clock += timedelta(days=1)
    assert world.settled() == 0
    assert world.both(person_id, "rating") == ("2", "Warm")
    assert world.errors() == []
    world.dynamics.put(record_type, "r1", jobtitle="T")
    world.settled()
    assert world.both(person_id, "rating") == ("2", "Warm")


@pytest.mark.parametrize("record_type", TYPES)
def test_renamed_and_renamed_back_leaves_no_trace(record_type: RecordType) -> None:
    world = MemoryWorld()
    person_id = world.link(record_type, "r1", rating="2")
    world.settled()
    for label in ("Tepid", "Warm"):
        renamed(world, n2=label)
        world.settled()
        assert world.both(person_id, "rating") == ("2", label)
    assert world.rows("from state.old_labels") == []
    assert world.dynamics.writes == []


@pytest.mark.parametrize("record_type", TYPES)
@pytest.mark.parametrize("cut_after", sampled((2, 1, 3), 1))
def test_a_cut_while_the_new_label_is_written_loses_and_doubles_nothing(
    record_type: RecordType, cut_after: int
) -> None:
    world = MemoryWorld()
    person_id = world.link(record_type, "r1", rating="2")
    world.settled()
    n_before = len(world.ledger()["changes"])
    renamed(world, n2="Tepid")
    world.cycle(cut_after=cut_after)
    world.settled()
    assert world.both(person_id, "rating") == ("2", "Tepid")
    assert len(world.ledger()["changes"]) == n_before + 1


def test_a_refused_label_waits_and_is_reported_once() -> None:
    world = MemoryWorld()
    world.link(RecordType.CONTACT, "r1", rating="2")
    world.settled()
    renamed(world, n2="Tepid")
    world.marketo.refuses = lambda key, values: (
        RequestRefused("too long", system="marketo", request="POST", code="1003", field="rating")
        if "rating" in values
        else None
    )
    for _ in range(4):
        world.cycle()
    assert [row[1:4] for row in world.errors()] == [("rating", "to_marketo", "1003")]


@pytest.mark.parametrize("record_type", TYPES)
def test_who_first_meets_under_an_old_label_has_no_base_before_the_new_one_is_there(record_type: RecordType) -> None:
    """An edit while Marketo refuses it collides as at a first meeting (R35)."""
    world = MemoryWorld()
    world.link(record_type, "r1", rating="1")
    world.settled()
    renamed(world, n2="Tepid")
    world.settled()
    world.dynamics.put(record_type, "r2", new_rating="2")
    person_id = world.marketo.next_id
    key = {RecordType.CONTACT: KEYS.contact_id, RecordType.LEAD: KEYS.lead_id}[record_type]
    world.marketo.put(person_id, **{key: "r2"}, **world.told_of(record_type, "r2"), rating="Warm")
    refused = RequestRefused("no", system="marketo", request="POST", code="1003", field="rating")
    world.marketo.refuses = lambda _, values: refused if "rating" in values else None
    world.cycle()
    assert ("rating",) in world.rows("select field from state.base_missing where person_id = ?", person_id)
    world.marketo.refuses = lambda *_: None
    world.marketo.put(person_id, rating="Cold")
    world.settled()
    is_contact = record_type is RecordType.CONTACT
    assert world.both(person_id, "rating") == (("2", "Tepid") if is_contact else ("3", "Cold"))
    winner = "dynamics" if is_contact else "marketo"
    assert [row[-1] for row in world.ledger()["collisions"]] == [f"first_meeting_{winner}_wins"]


def companies() -> MemoryWorld:
    """An account with an option, and its company."""
    lines = "account,company,name,text,to_marketo,true\naccount,industry,industrycode,choice,to_marketo,true\n"
    world = MemoryWorld(parse_field_map(HEADER + lines + "contact,title,jobtitle,text,both,true\n", "test.csv"))
    world.dynamics.put(RecordType.ACCOUNT, "a1", name="Contoso", industrycode="2", statecode="0")
    world.settled()
    assert world.marketo.company_rows["a1"]["industry"] == "Warm"
    return world


def test_a_company_gets_the_new_label() -> None:
    world = companies()
    renamed(world, n2="Tepid")
    world.settled()
    assert world.marketo.company_rows["a1"]["industry"] == "Tepid"


def test_a_renamed_option_overrides_no_local_edit_of_a_company() -> None:
    """R52: it is no update of the account."""
    world = companies()
    renamed(world, n2="Tepid")
    world.marketo.put_company("a1", company="Edited")
    world.settled()
    assert world.marketo.company_rows["a1"] == {"externalCompanyId": "a1", "company": "Edited", "industry": "Warm"}
    world.dynamics.put(RecordType.ACCOUNT, "a1", name="Fabrikam")
    world.settled()
    assert world.marketo.company_rows["a1"]["industry"] == "Tepid"
