"""Deletions in cycles that are cut or disturbed, without the right to read, or too many at once.

R86 and docs/design.md#deletions.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from dynsync_pipeline.clients.dynamics.client import DynamicsClient
from dynsync_pipeline.clients.marketo.client import MarketoClient
from dynsync_pipeline.errors import GuardStopped
from dynsync_pipeline_tests.deletions.test_deletions import FLAG, n_people_with_key
from dynsync_pipeline_tests.faults.cut_short import cut_at_request
from dynsync_pipeline_tests.properties.effort import story
from dynsync_pipeline_tests.worlds.core import CoreWorld, just_before


@pytest.fixture
def small_world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CoreWorld]:
    with CoreWorld(tmp_path_factory.mktemp("world"), n_contacts=4, n_leads=4) as world:
        yield world


def test_r86_records_that_the_sync_user_may_no_longer_read_are_not_taken_for_deleted(small_world: CoreWorld) -> None:
    world = small_world
    people = [world.take("contact")[1] for _ in range(4)]
    world.control("dataverse", "privileges", {"user": "sync", "deny": ["prvReadContact:global"]})
    world.control("dataverse", "cursors/expire", {})
    world.marketo.forget()
    try:
        world.sync()
    except Exception as refusal:
        assert "read" in str(refusal).lower(), refusal
    assert world.marketo.writes == []
    assert [world.values(person, FLAG) for person in people] == [(False,)] * 4
    world.control("dataverse", "privileges", {"user": "sync", "deny": []})
    world.settle()
    assert world.sent == []


@story
def test_a_person_or_record_deleted_between_our_read_and_our_write_ends_like_one_deleted_before(
    small_world: CoreWorld,
) -> None:
    world = small_world
    (contact, first), (other, second) = world.take("contact"), world.take("contact")
    (lead, third), (stays, fourth) = world.take("lead"), world.take("lead")
    world.edit_record("contact", contact, jobtitle="For a person that vanishes")
    world.edit_record("contact", other, jobtitle="For one that stays")
    world.edit_person(third, title="For a record that vanishes")
    world.edit_person(fourth, title="For a record that stays")
    with (
        just_before(MarketoClient, "sync_people", lambda: world.delete_person(first)) as in_marketo,
        just_before(DynamicsClient, "write", lambda: world.delete_record("lead", lead)) as in_dynamics,
    ):
        world.sync()
    assert in_marketo == in_dynamics == [], "both were deleted in the midst of the cycle"
    world.sync()
    world.settle()
    assert world.sent == []
    assert world.values(second, "title") == ("For one that stays",)
    assert world.columns("lead", stays, "jobtitle") == ("For a record that stays",)
    assert world.values(third, FLAG) == (True,)
    assert n_people_with_key(world, "contact", contact) == 1, "a new person, with the edit (R81)"
    assert world.values(world.person_of("contact", contact), "title") == ("For a person that vanishes",)
    assert world.query("select * from unsettled") == []
    assert world.query("select state from sync_errors where state <> 'resolved'") == []


@story
def test_r81_a_person_gone_of_whom_no_feed_tells_arises_anew_with_the_edit(small_world: CoreWorld) -> None:
    world = small_world
    (contact, first), (other, second) = world.take("contact"), world.take("contact")
    (lead, third), (_, fourth) = world.take("lead"), world.take("lead")
    world.control("marketo", "behaviour", {"deletion_trail": False})
    for person in (first, third, fourth):
        world.delete_person(person)
    world.control("marketo", "behaviour", {"deletion_trail": True})
    world.edit_record("contact", contact, jobtitle="For a person that is gone")
    world.edit_record("lead", lead, jobtitle="For another")
    world.edit_record("contact", other, jobtitle="For one that stays")
    world.sync()
    world.sync()
    world.settle()
    assert world.sent == []
    assert world.values(second, "title") == ("For one that stays",)
    assert world.values(world.person_of("contact", contact), "title") == ("For a person that is gone",)
    assert world.values(world.person_of("lead", lead), "title") == ("For another",)
    assert world.query("select * from unsettled") == []
    assert world.query("select * from sync_errors") == []


@story
@pytest.mark.parametrize("is_applied", [False, True], ids=["before", "after"])
def test_a_flag_whose_writing_is_killed_is_set_and_told_exactly_once(small_world: CoreWorld, is_applied: bool) -> None:
    world = small_world
    contact, person = world.take("contact")
    world.delete_record("contact", contact)
    assert cut_at_request(world, "marketo", "POST /rest/v1/leads.json", 1, is_applied=is_applied)
    world.sync()
    assert world.values(person, FLAG) == (True,)
    assert world.query("select field, new_value from changes where person_id_marketo = ? and field = ?",
                       person, FLAG) == [(FLAG, "true")]  # fmt: skip
    world.settle()
    assert world.sent == []


@story
@pytest.mark.parametrize("is_applied", [False, True], ids=["before", "after"])
def test_r81_a_person_that_arises_anew_under_a_kill_arises_once(small_world: CoreWorld, is_applied: bool) -> None:
    world = small_world
    contact, person = world.take("contact")
    world.delete_person(person)
    world.sync()
    world.edit_record("contact", contact, jobtitle="Back again")
    assert cut_at_request(world, "marketo", "POST /rest/v1/leads.json", 1, is_applied=is_applied)
    world.first_cycle = 2
    world.sync()
    new = world.person_of("contact", contact)
    assert new != person
    assert world.activities_of(new, "New Person") == [(None, None, None)]
    world.settle()
    assert world.sent == []


@story
def test_mass_deletion_stops_the_cycle_before_any_write_until_it_is_allowed(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    with CoreWorld(tmp_path_factory.mktemp("world"), n_contacts=60, n_leads=60) as world:
        allowed = world.environment.pop("DYNSYNC_LARGEST_SHARE")
        contacts = [world.take("contact") for _ in range(60)]
        leads = [world.take("lead") for _ in range(60)]
        for contact, _ in contacts[:55]:
            world.delete_record("contact", contact)
        world.edit_record("lead", leads[0][0], jobtitle="An edit besides")
        world.marketo.forget()
        with pytest.raises(GuardStopped, match="deleted"):
            world.sync()
        assert world.marketo.writes == []
        assert world.query("select status from cycles order by cycle_id desc limit 1") == [("stopped_by_guard",)]
        world.environment["DYNSYNC_LARGEST_SHARE"] = allowed
        world.settle()
        assert all(world.values(person, FLAG) == (True,) for _, person in contacts[:55])
        assert world.values(leads[0][1], "title") == ("An edit besides",)


@story
def test_mass_clearing_stops_the_cycle_before_any_write_until_it_is_allowed(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    with CoreWorld(tmp_path_factory.mktemp("world"), n_contacts=60, n_leads=60) as world:
        allowed = world.environment.pop("DYNSYNC_LARGEST_SHARE")
        people = [world.take("contact")[1] for _ in range(60)]
        leads = [world.take("lead")[0] for _ in range(60)]
        for person in people[:55]:
            world.edit_person(person, title=None)
        world.dynamics.forget()
        with pytest.raises(GuardStopped, match="emptied"):
            world.sync()
        assert world.dynamics.writes == []
        world.environment["DYNSYNC_LARGEST_SHARE"] = allowed
        world.settle()
        assert all(world.values(person, "title") == (None,) for person in people[:55])
        assert world.columns("lead", leads[0], "jobtitle") == ("Buyer",)
