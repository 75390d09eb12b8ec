"""Deletions on either side, what comes back and what does not (R79-R86, tombstones)."""

from __future__ import annotations

from collections.abc import Iterator

from dynsync_pipeline_tests.properties.effort import story
from dynsync_pipeline_tests.worlds.core import CoreWorld
from dynsync_pipeline_tests.worlds.scenarios import Scenarios, scenario

FLAG = "dynamicsIsDeleted"
KEYS = {"contact": "dynamicsContactId", "lead": "dynamicsLeadId"}


def n_people_with_key(world: CoreWorld, record_type: str, record_id: str) -> int:
    return len(world.people(KEYS[record_type], record_id))


def is_published(world: CoreWorld, person: int) -> list[tuple[object, ...]]:
    return world.query(
        "select record_type, is_deleted_in_dynamics, title from people where person_id_marketo = ?", person
    )


def test_r12_after_every_cycle_the_next_one_writes_nothing_and_logs_nothing(scenarios: Scenarios) -> None:
    scenarios.check_quiet()


@story
def test_after_every_cycle_of_a_longer_story_too_the_next_one_is_quiet(scenarios: Scenarios) -> None:
    scenarios.check_quiet()


@scenario
def test_r79_a_record_deleted_in_dynamics_leaves_its_person_in_marketo_with_the_flag(
    world: CoreWorld,
) -> Iterator[None]:
    taken = {record_type: world.take(record_type) for record_type in ("contact", "lead")}
    for record_type, (record_id, _) in taken.items():
        world.delete_record(record_type, record_id)
    yield
    for record_type, (record_id, person) in taken.items():
        assert world.values(person, "title", "lastName", FLAG) == ("Buyer", "Nakamura", True)
        assert [(write.field, write.value) for write in world.sent_about(person)] == [(FLAG, True)]
        assert is_published(world, person) == [(record_type, True, "Buyer")]
        assert world.errors_of(record_id) == []
        assert world.query("select field, new_value from changes where record_id_dynamics = ? and rule like 'R79%'",
                           record_id) == [(FLAG, "true")]  # fmt: skip


@scenario
def test_r84_an_edit_of_a_flagged_person_stays_in_marketo_without_an_error(world: CoreWorld) -> Iterator[None]:
    contact, person = world.take("contact")
    world.delete_record("contact", contact)
    yield
    world.edit_person(person, title="Retired", leadScore=7)
    yield
    assert world.sent_about(contact, person) == []
    assert world.errors_of(contact) == []
    assert world.values(person, "title", FLAG) == ("Retired", True)
    assert is_published(world, person) == [("contact", True, "Retired")]


@scenario
def test_a_flag_that_a_marketer_turns_by_hand_is_put_right(world: CoreWorld) -> Iterator[None]:
    gone, flagged = world.take("contact")
    _, alive = world.take("contact")
    world.delete_record("contact", gone)
    yield
    world.edit_person(flagged, **{FLAG: False})
    world.edit_person(alive, **{FLAG: True})
    yield
    assert world.values(flagged, FLAG) == (True,)
    assert world.values(alive, FLAG) == (False,)
    assert is_published(world, alive) == [("contact", False, "Buyer")]


@scenario
def test_r80_a_person_deleted_in_marketo_leaves_dynamics_untouched(world: CoreWorld) -> Iterator[None]:
    taken = {record_type: world.take(record_type) for record_type in ("contact", "lead")}
    before = {kind: world.columns(kind, record_id, "versionnumber") for kind, (record_id, _) in taken.items()}
    for _, person in taken.values():
        world.delete_person(person)
    yield
    for kind, (record_id, person) in taken.items():
        assert world.columns(kind, record_id, "versionnumber") == before[kind]
        assert world.sent_about(record_id, person) == []
        assert is_published(world, person) == []
        assert n_people_with_key(world, kind, record_id) == 0


@scenario
def test_r81_a_person_deleted_in_marketo_arises_anew_when_its_record_is_edited(world: CoreWorld) -> Iterator[None]:
    taken = {record_type: world.take(record_type) for record_type in ("contact", "lead")}
    for kind, (record_id, _) in taken.items():
        world.edit_record(kind, record_id, emailaddress1=f"back.{kind}@example.com")
    yield
    for _, person in taken.values():
        world.delete_person(person)
    yield
    for kind, (record_id, _) in taken.items():
        world.edit_record(kind, record_id, jobtitle="Back again")
    yield
    for kind, (record_id, person) in taken.items():
        new = world.person_of(kind, record_id)
        assert new != person
        fields = ("title", "lastName", "email", "dynamicsType", FLAG)
        assert world.values(new, *fields) == (
            "Back again", "Nakamura", f"back.{kind}@example.com", kind.title(), False,
        )  # fmt: skip
        assert len(world.activities_of(new, "New Person")) == 1
        world.edit_person(new, phone="+81 3")
        world.edit_record(kind, record_id, address1_city="Kyōto")
    assert world.values(world.person_of("lead", taken["lead"][0]), "company") == ("Lead & Co",)
    yield
    for kind, (record_id, _) in taken.items():
        assert world.columns(kind, record_id, "telephone1") == ("+81 3",)
        assert world.values(world.person_of(kind, record_id), "city") == ("Kyōto",)


@scenario
def test_r81_neither_an_unmapped_edit_nor_a_change_of_the_account_brings_a_deleted_person_back(
    world: CoreWorld,
) -> Iterator[None]:
    account, (gone, stays) = world.take_account()
    person = world.person_of("contact", gone)
    world.delete_person(person)
    yield
    world.edit_record("contact", gone, nickname="Nobody maps this")
    world.edit_record("account", account, name="Renamed")
    yield
    assert n_people_with_key(world, "contact", gone) == 0
    assert world.account_changes_of(account) == [("company", "Contoso", "Renamed", 1, False)]
    assert world.activities_of(person) == []
    assert world.activities_of(world.person_of("contact", stays)) == [("company", "Contoso", "Renamed")]


@scenario
def test_r55_the_person_of_a_deleted_contact_counts_no_more_and_gets_no_entries(world: CoreWorld) -> Iterator[None]:
    account, (gone, _) = world.take_account()
    person = world.person_of("contact", gone)
    world.delete_record("contact", gone)
    world.edit_record("account", account, name="Renamed as it went")
    yield
    assert world.account_changes_of(account) == [("company", "Contoso", "Renamed as it went", 1, False)]
    assert world.activities_of(person) == []
    assert world.values(person, FLAG) == (True,)


@scenario
def test_a_record_and_its_person_deleted_in_the_same_cycle_leave_nothing_behind(world: CoreWorld) -> Iterator[None]:
    taken = {record_type: world.take(record_type) for record_type in ("contact", "lead")}
    for kind, (record_id, person) in taken.items():
        world.delete_record(kind, record_id)
        world.delete_person(person)
    yield
    for record_id, person in taken.values():
        assert world.sent_about(record_id, person) == []
        assert world.errors_of(record_id) == []
        assert is_published(world, person) == []
        assert world.query("select * from unsettled where record_id_dynamics = ?", record_id) == []
        assert world.query("select * from links where record_id_dynamics = ?", record_id) == []


@scenario
def test_deleted_first_in_marketo_and_later_in_dynamics_leaves_nothing_behind(world: CoreWorld) -> Iterator[None]:
    contact, person = world.take("contact")
    world.delete_person(person)
    yield
    world.delete_record("contact", contact)
    yield
    assert world.sent_about(contact, person) == []
    assert world.errors_of(contact) == []
    assert world.query("select is_deleted from contacts where contactid = ?", contact) == [(True,)]


@scenario
def test_deleted_first_in_dynamics_and_later_in_marketo_leaves_nothing_behind(world: CoreWorld) -> Iterator[None]:
    contact, person = world.take("contact")
    world.delete_record("contact", contact)
    yield
    world.delete_person(person)
    yield
    assert world.sent_about(contact, person) == []
    assert is_published(world, person) == []
    assert world.errors_of(contact) == []


@scenario
def test_a_record_edited_and_deleted_in_the_same_cycle_only_sets_the_flag(world: CoreWorld) -> Iterator[None]:
    contact, person = world.take("contact")
    world.edit_record("contact", contact, jobtitle="Last words")
    world.delete_record("contact", contact)
    yield
    assert world.values(person, "title", FLAG) == ("Buyer", True)


@scenario
def test_r84_a_record_deleted_and_its_person_edited_in_the_same_cycle_keeps_the_edit_in_marketo(
    world: CoreWorld,
) -> Iterator[None]:
    lead, person = world.take("lead")
    world.delete_record("lead", lead)
    world.edit_person(person, title="Still here")
    yield
    assert world.values(person, "title", FLAG) == ("Still here", True)
    assert world.sent_about(lead) == []
    assert world.errors_of(lead) == []


@scenario
def test_a_person_deleted_and_its_record_edited_in_the_same_cycle_has_one_successor_with_the_edit(
    world: CoreWorld,
) -> Iterator[None]:
    contact, person = world.take("contact")
    world.delete_person(person)
    world.edit_record("contact", contact, jobtitle="At the same time")
    yield
    new = world.person_of("contact", contact)
    assert new != person
    assert n_people_with_key(world, "contact", contact) == 1
    assert world.values(new, "title") == ("At the same time",)
    assert world.columns("contact", contact, "jobtitle") == ("At the same time",)
    world.edit_record("contact", contact, jobtitle="And later")
    yield
    assert world.person_of("contact", contact) == new
    assert world.values(new, "title") == ("And later",)


@scenario
def test_a_person_edited_and_deleted_in_the_same_cycle_changes_nothing_in_dynamics(world: CoreWorld) -> Iterator[None]:
    contact, person = world.take("contact")
    world.edit_person(person, title="Last words")
    world.delete_person(person)
    yield
    assert world.columns("contact", contact, "jobtitle") == ("Buyer",)
    assert world.errors_of(contact) == []


@scenario
def test_r82_a_record_entered_anew_with_the_same_email_is_a_new_person(world: CoreWorld) -> Iterator[None]:
    contact, person = world.take("contact")
    world.edit_record("contact", contact, emailaddress1="anew@example.com")
    yield
    world.delete_record("contact", contact)
    yield
    again = world.create_contact(emailaddress1="anew@example.com")
    yield
    new = world.person_of("contact", again)
    assert new != person
    assert world.values(person, FLAG) == (True,)
    assert world.values(new, FLAG, "email") == (False, "anew@example.com")


@scenario
def test_r83_a_record_restored_in_dynamics_gets_its_person_back_without_the_flag(world: CoreWorld) -> Iterator[None]:
    taken = {record_type: world.take(record_type) for record_type in ("contact", "lead")}
    for kind, (record_id, _) in taken.items():
        world.delete_record(kind, record_id)
    yield
    for kind, (record_id, _) in taken.items():
        world.create_record(kind, **{f"{kind}id": record_id}, lastname="Nakamura", jobtitle="Restored")
    yield
    for kind, (record_id, person) in taken.items():
        assert world.person_of(kind, record_id) == person
        assert world.values(person, FLAG) == (False,)
        assert is_published(world, person)[0][:2] == (kind, False)
        # First meeting (R42): a blank is filled from the other side, and of two values R35 decides.
        assert world.columns(kind, record_id, "firstname") == ("Aiko",)
        title = "Restored" if kind == "contact" else "Buyer"
        assert world.values(person, "title") == world.columns(kind, record_id, "jobtitle") == (title,)
        world.edit_person(person, phone="+81 9")
    yield
    for kind, (record_id, _) in taken.items():
        assert world.columns(kind, record_id, "telephone1") == ("+81 9",)


@scenario
def test_a_record_deleted_restored_and_deleted_again_is_flagged_again_and_told_each_time_once(
    world: CoreWorld,
) -> Iterator[None]:
    contact, person = world.take("contact")
    world.delete_record("contact", contact)
    yield
    world.create_record("contact", contactid=contact, lastname="Nakamura", firstname="Aiko", jobtitle="Buyer")
    yield
    world.delete_record("contact", contact)
    yield
    assert world.values(person, FLAG) == (True,)
    assert world.sent_to(person, FLAG) == [True]
    told = world.query(
        "select new_value from changes where person_id_marketo = ? and field = ? order by change_id", person, FLAG
    )
    assert told == [("true",), ("false",), ("true",)]


@scenario
def test_a_record_restored_after_its_flagged_person_was_deleted_gets_a_new_person(world: CoreWorld) -> Iterator[None]:
    contact, person = world.take("contact")
    world.delete_record("contact", contact)
    yield
    world.delete_person(person)
    yield
    world.create_record("contact", contactid=contact, lastname="Nakamura", jobtitle="Restored")
    yield
    new = world.person_of("contact", contact)
    assert new != person
    assert world.values(new, "title", FLAG) == ("Restored", False)
    assert len(world.activities_of(new, "New Person")) == 1


@story
@scenario
def test_r81_of_a_person_deleted_twice_only_an_edit_after_the_last_deletion_counts(world: CoreWorld) -> Iterator[None]:
    contact, gone = world.take("contact")
    winner = world.create_person(lastName="Nakamura", firstName="Aiko")
    yield
    world.merge_people(winner, gone)
    yield
    world.edit_record("contact", contact, jobtitle="An edit before the second deletion")
    yield
    world.delete_person(winner)
    yield
    assert n_people_with_key(world, "contact", contact) == 0
    world.edit_record("contact", contact, nickname="Unmapped")
    yield
    assert n_people_with_key(world, "contact", contact) == 0
    world.edit_record("contact", contact, jobtitle="An edit after it")
    yield
    assert world.values(world.person_of("contact", contact), "title") == ("An edit after it",)


@scenario
def test_a_record_deleted_and_restored_between_two_cycles_stays_as_it_was(world: CoreWorld) -> Iterator[None]:
    contact, person = world.take("contact")
    world.delete_record("contact", contact)
    world.create_record("contact", contactid=contact, lastname="Nakamura", firstname="Aiko", jobtitle="Buyer")
    yield
    assert world.person_of("contact", contact) == person
    assert world.values(person, FLAG, "title") == (False, "Buyer")


@scenario
def test_r85_deactivation_is_an_ordinary_field_change_and_no_deletion(world: CoreWorld) -> Iterator[None]:
    (contact, first), (lead, second) = world.take("contact"), world.take("lead")
    world.edit_record("contact", contact, statecode=1)
    world.edit_record("lead", lead, statecode=2, statuscode=4)
    yield
    assert world.values(first, "leadStatus", FLAG) == ("Inactive", False)
    assert world.values(second, "leadStatus", FLAG) == ("Disqualified", False)
    assert world.activities_of(first) == [("leadStatus", "Active", "Inactive")]
    assert world.activities_of(second) == [("leadStatus", "Open", "Disqualified")]
    world.edit_person(first, title="Edited while inactive")
    yield
    assert world.columns("contact", contact, "jobtitle") == ("Edited while inactive",)


@scenario
def test_two_leads_merged_in_marketo_leave_the_losers_record_untouched_until_it_is_edited(
    world: CoreWorld,
) -> Iterator[None]:
    (winner, kept), (loser, gone) = world.take("lead"), world.take("lead")
    world.edit_person(gone, fax="+1 555", title="Loser's title")
    yield
    world.merge_people(kept, gone)
    yield
    # The winner's gap was filled: an edit in Marketo like any other.
    assert world.columns("lead", winner, "fax", "jobtitle") == ("+1 555", "Buyer")
    assert world.columns("lead", loser, "fax", "jobtitle") == ("+1 555", "Loser's title")
    assert is_published(world, gone) == []
    assert world.values(kept, "dynamicsLeadId", FLAG) == (winner, False)
    assert world.errors_of(winner) == world.errors_of(loser) == []
    world.edit_record("lead", loser, jobtitle="Edited after the merge")
    yield
    new = world.person_of("lead", loser)
    assert new not in (kept, gone)
    assert world.values(new, "title") == ("Edited after the merge",)
    assert world.values(kept, "title") == ("Buyer",)


@scenario
def test_a_leads_person_merged_into_a_contacts_person_never_lets_the_lead_write_over_the_contact(
    world: CoreWorld,
) -> Iterator[None]:
    """R18."""
    (contact, kept), (lead, gone) = world.take("contact"), world.take("lead")
    world.merge_people(kept, gone)  # which fills the winner's dynamicsLeadId with the loser's
    yield
    assert world.values(kept, "dynamicsContactId", "title", FLAG) == (contact, "Buyer", False)
    assert world.errors_of(lead) == world.errors_of(contact) == []
    world.edit_record("lead", lead, jobtitle="The lead's title", address1_city="The lead's city")
    yield
    assert world.values(kept, "title", "city", "dynamicsType") == ("Buyer", None, "Contact")
    assert world.columns("contact", contact, "jobtitle", "address1_city") == ("Buyer", None)
    world.edit_record("contact", contact, jobtitle="The contact's title")
    yield
    assert world.values(kept, "title") == ("The contact's title",)
    assert world.columns("lead", lead, "jobtitle") == ("The lead's title",)


@scenario
def test_a_linked_person_merged_into_one_whom_only_marketo_knew_lives_on_as_the_winner(
    world: CoreWorld,
) -> Iterator[None]:
    contact, gone = world.take("contact")
    winner = world.create_person(lastName="Nakamura", firstName="Aiko", phone="+1 web")
    yield
    world.merge_people(winner, gone)
    yield
    assert world.person_of("contact", contact) == winner
    assert world.query("select person_id_marketo from links where record_id_dynamics = ?", contact) == [(winner,)]
    assert world.columns("contact", contact, "telephone1", "jobtitle") == ("+1 web", "Buyer")
    assert world.errors_of(contact) == []
    world.edit_record("contact", contact, jobtitle="Moved on")
    yield
    assert world.values(winner, "title") == ("Moved on",)


@scenario
def test_a_person_whom_only_marketo_knew_merged_into_a_linked_one_fills_gaps_on_both_sides(
    world: CoreWorld,
) -> Iterator[None]:
    contact, winner = world.take("contact")
    loser = world.create_person(lastName="Web form", city="Lagos", title="Visitor")
    yield
    world.merge_people(winner, loser)
    yield
    assert world.columns("contact", contact, "address1_city", "jobtitle", "lastname") == ("Lagos", "Buyer", "Nakamura")
    assert is_published(world, loser) == []


@scenario
def test_r86_deletions_and_edits_are_found_after_the_cursor_expired(
    world: CoreWorld,
) -> Iterator[None]:
    (gone, first), (edited, second), (lead, third) = world.take("contact"), world.take("contact"), world.take("lead")
    world.delete_record("contact", gone)
    world.delete_record("lead", lead)
    world.edit_record("contact", edited, jobtitle="Edited before the cursor died")
    world.control("dataverse", "cursors/expire", {})
    yield
    assert world.values(first, FLAG, "title") == (True, "Buyer")
    assert world.values(third, FLAG) == (True,)
    assert world.values(second, FLAG, "title") == (False, "Edited before the cursor died")
