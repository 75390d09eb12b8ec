"""Guards: what is too unlikely to act on stops the cycle before any write (docs/design.md#guards)."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from dynsync_pipeline.errors import GuardStopped
from dynsync_pipeline.model.records import RecordType
from dynsync_pipeline_tests.properties.effort import sampled, story
from dynsync_pipeline_tests.worlds.memory import MemoryWorld, field_map
from dynsync_pipeline_tests.worlds.memory_marketo import KEYS

CONTACT, LEAD = RecordType.CONTACT, RecordType.LEAD


FIELDS = field_map("title,jobtitle,text,both,true")


def test_a_first_load_next_to_strangers_waits_for_a_word() -> None:
    """R5: people in both systems would stand twice. Nothing is written, and nothing is forgotten."""
    world = MemoryWorld(FIELDS, publishes=True)
    world.allow(max_creates=1000, first_load="refuse")
    world.marketo.put(1001, title="somebody")
    world.dynamics.put(LEAD, "l", jobtitle="A")
    for _ in range(2):
        with pytest.raises(GuardStopped, match="DYNSYNC_FIRST_LOAD=create"):
            world.cycle()
    assert world.marketo.writes == []
    assert world.rows("select count(*) from state.links") == [(0,)]
    world.allow(max_creates=1000, first_load="create")
    world.settled()
    assert sorted(world.marketo.rows) == [1001, 1002]


@story
def test_a_first_load_into_an_empty_marketo_needs_no_word() -> None:
    world = MemoryWorld(FIELDS, publishes=True)
    world.allow(max_creates=0, first_load="refuse")
    world.dynamics.put(LEAD, "l", jobtitle="A")
    world.settled()
    assert sorted(world.marketo.rows) == [1001]


@story
def test_a_first_load_next_to_people_that_all_bear_ids_needs_no_word() -> None:
    world = MemoryWorld(FIELDS, publishes=True)
    world.allow(max_creates=1000, first_load="refuse")
    world.marketo.put(1001, **{KEYS.lead_id: "l", "title": "A"})
    world.dynamics.put(LEAD, "l", jobtitle="A")
    world.dynamics.put(LEAD, "new", jobtitle="A")
    world.settled()
    assert sorted(world.marketo.rows) == [1001, 1002]


@story
def test_r5_a_first_load_of_an_empty_dynamics_leaves_the_guard_where_it_is() -> None:
    """Nobody has decided yet whether the contacts that come later are the people that are there."""
    world = MemoryWorld(FIELDS, publishes=True)
    world.allow(first_load="refuse")
    for place in range(30):
        world.marketo.put(1001 + place, title="somebody")
    for _ in range(2):
        world.settled()
    for place in range(20):
        world.dynamics.put(CONTACT, f"c{place}", jobtitle="A")
    with pytest.raises(GuardStopped, match=r"30 people .* create 20 more"):
        world.cycle()
    assert world.marketo.writes == []
    world.allow(first_load="create")
    world.settled()
    world.allow(first_load="refuse")
    world.dynamics.put(CONTACT, "later", jobtitle="A")
    world.settled()
    assert len(world.marketo.rows) == 51


@story
def test_r5_a_first_load_is_over_also_where_all_who_were_linked_are_gone() -> None:
    world = MemoryWorld(FIELDS, publishes=True)
    world.link(LEAD, "first", title="A")
    world.settled()
    world.allow(first_load="refuse")
    world.marketo.put(2001, title="somebody")
    world.dynamics.delete(LEAD, "first")
    world.settled()
    world.dynamics.put(CONTACT, "later", jobtitle="A")
    world.settled()
    assert len(world.marketo.writes) == 2, "the flag and a new person"


@story
def test_mass_creation_later_stops_with_the_number_and_goes_on_when_allowed() -> None:
    world = MemoryWorld(FIELDS, publishes=True)
    world.link(LEAD, "first", title="A")
    world.settled()
    world.allow(max_creates=2, first_load="create")
    for place in range(3):
        world.dynamics.put(CONTACT, f"c{place}", jobtitle="A")
    with pytest.raises(GuardStopped, match=r"create 3 people .* more than 2\..*DYNSYNC_MAX_CREATES"):
        world.cycle()
    assert world.marketo.writes == []
    world.allow(max_creates=3, first_load="create")
    world.settled()
    assert len(world.marketo.rows) == 4


@story
def test_as_many_as_allowed_are_created() -> None:
    world = MemoryWorld(FIELDS, publishes=True)
    world.link(LEAD, "first", title="A")
    world.settled()
    world.allow(max_creates=2, first_load="create")
    for place in range(2):
        world.dynamics.put(CONTACT, f"c{place}", jobtitle="A")
    world.settled()
    assert len(world.marketo.rows) == 3


@story
@pytest.mark.parametrize("cut_after", sampled(range(8, 20, 2), 2))
def test_a_first_load_that_was_cut_goes_on_as_a_first_load(cut_after: int) -> None:
    """The next cycle must end as if there had been no cut, however many people are still to be created."""
    world = MemoryWorld(FIELDS, publishes=True)
    world.allow(max_creates=2, first_load="create")
    for place in range(3):
        world.dynamics.put(CONTACT, f"c{place}", jobtitle="A")
        world.dynamics.put(LEAD, f"l{place}", jobtitle="A")
    world.cycle(cut_after=cut_after)
    world.settled()
    assert len(world.marketo.rows) == 6
    assert world.rows("select count(*), count(distinct person_id) from state.links") == [(6, 6)]
    assert len(world.ledger()["changes"]) == 6


CLEARED = field_map(
    "title,jobtitle,text,both,true", "phone,telephone1,text,both,true", "doNotCall,donotphone,boolean,both,true"
)
N_LINKS, SHARE = 120, 0.5  # a share of 60 links


def many_links() -> MemoryWorld:
    world = MemoryWorld(FIELDS, publishes=True)
    for place in range(N_LINKS):
        world.link(LEAD, f"r{place}", title="A")
    world.settled()
    world.allow(largest_share=SHARE)
    return world


def clear_titles(world: MemoryWorld, place: int) -> None:
    world.dynamics.put(LEAD, f"r{place}", jobtitle=None)


def clear_in_marketo(world: MemoryWorld, place: int) -> None:
    world.marketo.put(1001 + place, title=None)


def delete_records(world: MemoryWorld, place: int) -> None:
    world.dynamics.delete(LEAD, f"r{place}")


def delete_people(world: MemoryWorld, place: int) -> None:
    world.marketo.delete(1001 + place)


def collide(world: MemoryWorld, place: int) -> None:
    world.dynamics.put(LEAD, f"r{place}", jobtitle="D")
    world.marketo.put(1001 + place, title="M")


@story
@pytest.mark.parametrize("strike", [clear_titles, clear_in_marketo, delete_records, delete_people, collide])
def test_a_change_of_too_many_people_at_once_stops_before_any_write(strike: Callable[[MemoryWorld, int], None]) -> None:
    """A side that comes back empty, a careless import: the cycle says what it saw, and an operator may go on."""
    world = many_links()
    for place in range(61):
        strike(world, place)
    for _ in range(2):
        with pytest.raises(GuardStopped, match=r"saw 61 .* of 120 .*DYNSYNC_LARGEST_SHARE"):
            world.cycle()
    assert world.marketo.writes == []
    assert world.dynamics.writes == []
    assert world.rows("select count(*) from state.links") == [(N_LINKS,)]
    world.allow(largest_share=1.0)
    assert world.settled() <= 1


@story
@pytest.mark.parametrize("strike", sampled([clear_titles, delete_people, collide], 1))
def test_a_change_of_fewer_people_passes(strike: Callable[[MemoryWorld, int], None]) -> None:
    world = many_links()
    for place in range(60):
        strike(world, place)
    assert world.settled() <= 1


@story
def test_records_that_were_merged_long_ago_are_no_mass_deletion_and_fresh_merges_are() -> None:
    """R99. An upgrade learns of merges that were made in years."""
    world = many_links()
    merged = {"merged": "true", "_masterid_value": "r119"}
    for place in range(61):
        world.dynamics.put(LEAD, f"r{place}", **merged)
        world.dynamics.rows[LEAD, f"r{place}"].values["modifiedon"] = "2020-01-01T00:00:00Z"
    world.settled()
    flagged = [row for row in world.marketo.rows.values() if row.values.get(KEYS.is_deleted) == "true"]
    assert len(flagged) == 61
    for place in range(61, 112):
        world.dynamics.put(LEAD, f"r{place}", **merged)
    with pytest.raises(GuardStopped, match=r"saw 51 .* of 59 .*DYNSYNC_LARGEST_SHARE"):
        world.cycle()


@story
def test_r48_a_column_that_few_hold_and_that_comes_back_empty_stops_before_any_write() -> None:
    """Of 300 people 100 have a phone; that column alone comes back empty."""
    world = MemoryWorld(CLEARED, publishes=True)
    for place in range(300):
        world.link(LEAD, f"r{place}", title="A", phone="1" if place < 100 else None)
    world.settled()
    world.allow(largest_share=0.5)
    for place in range(60):
        world.dynamics.put(LEAD, f"r{place}", telephone1=None)
    with pytest.raises(GuardStopped, match=r"saw 60 .*phone.* of 100 .*DYNSYNC_LARGEST_SHARE"):
        world.cycle()
    assert world.marketo.writes == []
    world.allow(largest_share=1.0)
    world.settled()
    assert len(world.marketo.writes) == 60


@story
def test_r48_a_field_of_both_record_types_that_marketo_shows_empty_is_one() -> None:
    world = MemoryWorld(CLEARED, publishes=True)
    people = [world.link((LEAD, CONTACT)[place % 2], f"r{place}", phone="1") for place in range(100)]
    world.settled()
    world.allow(largest_share=0.5)
    for person_id in people[:60]:
        world.marketo.put(person_id, phone=None)
    with pytest.raises(GuardStopped, match=r"saw 60 .*phone.* of 100 "):
        world.cycle()
    assert world.dynamics.writes == []


@story
def test_a_yes_that_is_lost_is_a_clear_too() -> None:
    """R45, R132: a column of consent that comes back empty would subscribe everybody again."""
    world = MemoryWorld(CLEARED, publishes=True)
    for place in range(200):
        world.link(CONTACT, f"r{place}", doNotCall="true" if place < 80 else "false")
    world.settled()
    world.allow(largest_share=0.5)
    for place in range(200):
        world.dynamics.put(CONTACT, f"r{place}", donotphone=None)
    with pytest.raises(GuardStopped, match=r"saw 80 .*doNotCall.* of 80 "):
        world.cycle()
    assert world.marketo.writes == []


@story
def test_a_column_of_accounts_that_comes_back_empty_stops_before_any_company_is_written() -> None:
    world = MemoryWorld(CLEARED, publishes=True)
    for place in range(60):
        world.dynamics.put(RecordType.ACCOUNT, f"a{place}", name="Contoso")
    world.settled()
    world.allow(largest_share=0.5)
    for place in range(60):
        world.dynamics.put(RecordType.ACCOUNT, f"a{place}", name=None)
    with pytest.raises(GuardStopped, match=r"saw 60 .*company.* of 60 "):
        world.cycle()
    assert {values["company"] for values in world.marketo.company_rows.values()} == {"Contoso"}
