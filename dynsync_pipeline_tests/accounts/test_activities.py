"""What the sync changed on a person stands in the person's log, once, and nothing else does (R53-R57, R66-R69)."""

from __future__ import annotations

from collections.abc import Iterator

from dynsync_pipeline_tests.worlds.core import CoreWorld
from dynsync_pipeline_tests.worlds.scenarios import Scenarios, scenario


def test_r12_after_every_cycle_the_next_one_writes_nothing_and_logs_nothing(scenarios: Scenarios) -> None:
    scenarios.check_quiet()


@scenario
def test_r68_every_value_that_the_sync_changed_on_a_person_gives_one_entry(world: CoreWorld) -> Iterator[None]:
    (contact, first), (lead, second) = world.take("contact"), world.take("lead")
    world.edit_record(
        "contact", contact, jobtitle="Seller", firstname=None, donotphone=True, birthdate="1990-02-28",
        description="one\ntwo", nickname="unmapped",
    )  # fmt: skip
    world.edit_record("lead", lead, leadsourcecode=8, leadqualitycode=1, revenue=1.5, companyname="Other & Co", fax="1")
    yield
    assert world.activities_of(first) == [
        ("dateOfBirth", None, "1990-02-28"), ("doNotCall", "false", "true"), ("firstName", "Aiko", None),
        ("mktoPersonNotes", None, "one\ntwo"), ("title", "Buyer", "Seller"),
    ]  # fmt: skip
    assert world.activities_of(second) == [
        ("annualRevenue", "5", "1.5"), ("company", "Lead & Co", "Other & Co"), ("fax", None, "1"),
        ("leadSource", None, "Web"), ("rating", None, "Hot"),
    ]  # fmt: skip
    in_changes = world.query(
        "select field, old_value, new_value from changes where person_id_marketo = ? and cycle_id >= ? order by field",
        first, world.first_cycle,
    )  # fmt: skip
    assert in_changes == world.activities_of(first)


@scenario
def test_r68_what_the_sync_writes_to_dynamics_gives_no_entry(world: CoreWorld) -> Iterator[None]:
    for kind in ("contact", "lead"):
        record_id, person = world.take(kind)
        world.edit_person(person, title="Seller", leadScore=5, doNotCall=True)
        yield
        assert world.columns(kind, record_id, "jobtitle", "mkt_leadscore", "donotphone") == ("Seller", 5, True)
        assert world.activities_of(person) == []


@scenario
def test_r68_a_value_that_lost_a_collision_gives_an_entry_from_the_loser_to_the_winner(
    world: CoreWorld,
) -> Iterator[None]:
    (contact, first), (lead, second) = world.take("contact"), world.take("lead")
    for kind, record_id, person in (("contact", contact, first), ("lead", lead, second)):
        world.edit_record(kind, record_id, jobtitle="B")
        world.edit_person(person, title="C")
    yield
    assert world.activities_of(first) == [("title", "C", "B")]
    assert world.activities_of(second) == [], "the winner's value was written to Dynamics alone"


@scenario
def test_a_person_created_by_the_sync_gets_one_new_person_and_no_change_of_data(world: CoreWorld) -> Iterator[None]:
    account, _ = world.take_account()
    contact = world.create_contact(account, jobtitle="New")
    lead = world.create_record("lead", lastname="New", companyname="Newcomer's", donotphone=True)
    only_in_marketo = world.create_person(lastName="Ours alone", title="X")
    yield
    for kind, record_id in (("contact", contact), ("lead", lead)):
        person = world.person_of(kind, record_id)
        assert world.activities_of(person, "New Person") == [(None, None, None)]
        assert world.activities_of(person) == []
    assert world.activities_of(only_in_marketo, "New Person") == []


@scenario
def test_an_own_edit_and_a_change_of_the_account_in_one_cycle_give_each_its_entry(world: CoreWorld) -> Iterator[None]:
    account, (contact, other) = world.take_account()
    world.edit_record("contact", contact, jobtitle="Seller")
    world.edit_record("account", account, name="Renamed")
    yield
    assert world.activities_of(world.person_of("contact", contact)) == [
        ("company", "Contoso", "Renamed"), ("title", "Buyer", "Seller"),
    ]  # fmt: skip
    assert world.activities_of(world.person_of("contact", other)) == [("company", "Contoso", "Renamed")]


@scenario
def test_r55_contacts_are_counted_after_the_moves_of_the_same_cycle(world: CoreWorld) -> Iterator[None]:
    account, (stays, leaves) = world.take_account()
    other, (comes, remains) = world.take_account()
    person_of = {contact: world.person_of("contact", contact) for contact in (stays, leaves, comes, remains)}
    world.edit_record("account", account, name="Renamed")
    world.edit_record("account", other, name="Other")
    world.move_contact(leaves, None)
    world.move_contact(comes, account)
    yield
    assert world.account_changes_of(account) == [("company", "Contoso", "Renamed", 2, False)]
    assert world.account_changes_of(other) == [("company", "Contoso", "Other", 1, False)]
    assert world.activities_of(person_of[stays]) == [("company", "Contoso", "Renamed")]
    assert world.activities_of(person_of[comes]) == [("company", "Contoso", "Renamed")]
    assert world.activities_of(person_of[remains]) == [("company", "Contoso", "Other")]
    assert ("company", "Contoso", None) in world.activities_of(person_of[leaves])
    assert world.values(person_of[comes], "company") == ("Renamed",)
    assert world.values(person_of[leaves], "company") == (None,)


@scenario
def test_r55_leads_and_people_whom_only_marketo_knows_never_count_even_inside_the_accounts_company(
    world: CoreWorld,
) -> Iterator[None]:
    account, contacts = world.take_account()
    stranger = world.create_person(lastName="Visitor", externalCompanyId=account)
    _, lead_person = world.take("lead")
    world.edit_person(lead_person, externalCompanyId=account)
    yield
    world.edit_record("account", account, name="Renamed")
    yield
    assert world.account_changes_of(account) == [("company", "Contoso", "Renamed", len(contacts), False)]
    assert world.activities_of(stranger) == []
    assert ("company", "Contoso", "Renamed") not in world.activities_of(lead_person)
    assert world.values(stranger, "company") == ("Renamed",), "Marketo shows the company on all of its people"
    assert world.values(lead_person, "company") == ("Lead & Co",), "a lead has a company of its own (R131)"


@scenario
def test_a_change_and_its_reversal_between_two_cycles_give_no_entry(world: CoreWorld) -> Iterator[None]:
    account, (contact, _) = world.take_account()
    world.edit_record("account", account, name="For a moment")
    world.edit_record("contact", contact, jobtitle="For a moment")
    world.edit_record("account", account, name="Contoso")
    world.edit_record("contact", contact, jobtitle="Buyer")
    yield
    assert world.activities_of(world.person_of("contact", contact)) == []
    assert world.account_changes_of(account) == []


@scenario
def test_a_change_and_its_reversal_in_two_cycles_give_two_entries(world: CoreWorld) -> Iterator[None]:
    account, (contact, _) = world.take_account()
    person = world.person_of("contact", contact)
    world.edit_record("account", account, name="There")
    yield
    assert world.activities_of(person) == [("company", "Contoso", "There")]
    world.edit_record("account", account, name="Contoso")
    yield
    assert world.activities_of(person) == [("company", "There", "Contoso")]
    reasons = world.query("select distinct reason from account_changes where account_id_dynamics = ?", account)
    assert reasons == [("account changed",)]
