"""Accounts go one way, to one company each, and from there to all people of the account (R51-R65, worked cases 13, 14)."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from dynsync_pipeline_tests.worlds.core import CoreWorld
from dynsync_pipeline_tests.worlds.scenarios import Scenarios, scenario


def test_r12_after_every_cycle_the_next_one_writes_nothing_and_logs_nothing(scenarios: Scenarios) -> None:
    scenarios.check_quiet()


@scenario
def test_r51_an_account_becomes_one_company_keyed_by_its_id_that_all_its_contacts_share(
    world: CoreWorld,
) -> Iterator[None]:
    """R62."""
    account = world.create_account(
        name="Škoda & Söhne", address1_city="Brno", revenue=1234567.89, industrycode=16, numberofemployees=42,
        websiteurl="https://example.com", sic="7372", telephone1="+420 1", description="first line\nsecond line",
    )  # fmt: skip
    contacts = [world.create_contact(account, lastname=f"Novák {n}") for n in range(3)]
    yield
    fields = (
        "company", "billingCity", "annualRevenue", "industry", "numberOfEmployees", "website", "sicCode", "mainPhone",
        "mktoCompanyNotes", "externalCompanyId",
    )  # fmt: skip
    expected = (
        "Škoda & Söhne", "Brno", 1234567.89, "Financial", 42, "https://example.com", "7372", "+420 1",
        "first line\nsecond line", account,
    )  # fmt: skip
    assert tuple(world.company(account, *fields).values()) == expected
    assert world.sent_to(account, "company") == ["Škoda & Söhne"]
    for contact in contacts:
        assert world.values(world.person_of("contact", contact), *fields) == expected
    shown = world.query(
        "select company, billingCity, annualRevenue::varchar, industry, account_id_dynamics from people "
        "where account_id_dynamics = ?",
        account,
    )
    assert shown == [("Škoda & Söhne", "Brno", "1234567.8900000000", "Financial", account)] * 3


@scenario
def test_r53_a_changed_account_is_written_once_and_each_contact_gets_one_entry_per_changed_field(
    world: CoreWorld,
) -> Iterator[None]:
    account, contacts = world.take_account()
    person_of = partial(world.person_of, "contact")
    _, strangers = world.take_account()
    world.edit_record("account", account, name="After", industrycode=7, revenue=10.5)
    yield
    expected = [
        ("annualRevenue", "10", "10.5"),
        ("company", "Contoso", "After"),
        ("industry", "Accounting", "Consulting"),
    ]
    for contact in contacts:
        person = person_of(contact)
        assert world.values(person, "company", "industry", "annualRevenue") == ("After", "Consulting", 10.5)
        assert world.activities_of(person) == expected
    assert world.sent_to(account, "company") == ["After"]
    assert world.sent_about(*map(person_of, contacts)) == [], "company values were written through people"
    assert world.account_changes_of(account) == [(*change, 2, False) for change in expected]
    for stranger in strangers:
        assert world.activities_of(world.person_of("contact", stranger)) == []


@scenario
def test_many_changed_accounts_are_written_once_each_in_one_call(world: CoreWorld) -> Iterator[None]:
    accounts = [world.create_account(name=f"Batch {n}") for n in range(30)]
    yield
    for n, account in enumerate(accounts):
        world.edit_record("account", account, name=f"Batch {n} renamed")
    yield
    assert all(world.sent_to(account, "company") == [f"Batch {n} renamed"] for n, account in enumerate(accounts))
    assert world.n_company_calls == 1
    assert world.company(accounts[7], "company") == {"company": "Batch 7 renamed"}


@scenario
def test_case_13_a_company_edited_in_marketo_stays_so_there_and_never_reaches_dynamics(
    world: CoreWorld,
) -> Iterator[None]:
    account, (contact, _) = world.take_account()
    person = world.person_of("contact", contact)
    world.edit_company(account, company="C", billingCity="Local")
    yield
    assert world.sent_about(account, contact, person) == []
    assert world.values(person, "company", "billingCity") == ("C", "Local")
    assert world.columns("account", account, "name", "address1_city") == ("Contoso", "Bern")
    assert world.activities_of(person) == []
    # An edit of the contact, on either side, is no update of the account.
    world.edit_record("contact", contact, jobtitle="Director")
    world.edit_person(person, phone="+41 2")
    yield
    assert world.values(person, "company", "billingCity", "title") == ("C", "Local", "Director")
    assert world.columns("contact", contact, "telephone1") == ("+41 2",)


@scenario
def test_case_14_the_next_update_of_the_account_overrides_all_local_edits(world: CoreWorld) -> Iterator[None]:
    """R52."""
    account, contacts = world.take_account()
    world.edit_company(account, company="C", industry="Banking", mainPhone="+1 local", billingState="BE")
    yield
    world.edit_record("account", account, address1_city="Basel")
    yield
    fields = ("company", "industry", "mainPhone", "billingState", "billingCity", "annualRevenue")
    expected = [
        ("billingCity", "Bern", "Basel"),
        ("billingState", "BE", None),
        ("company", "C", "Contoso"),
        ("industry", "Banking", "Accounting"),
        ("mainPhone", "+1 local", "+41 1"),
    ]
    for person in (world.person_of("contact", contact) for contact in contacts):
        assert world.values(person, *fields) == ("Contoso", "Accounting", "+41 1", None, "Basel", 10)
        assert world.activities_of(person) == expected
        reasons = world.query(
            "select field, reason from activities where person_id_marketo = ? and cycle_id >= ? order by field",
            person, world.first_cycle,
        )  # fmt: skip
        assert reasons == [
            ("billingCity", "account changed"), ("billingState", "account re-applied"),
            ("company", "account re-applied"), ("industry", "account re-applied"), ("mainPhone", "account re-applied"),
        ]  # fmt: skip
    assert world.account_changes_of(account) == [(*change, 2, False) for change in expected]
    assert world.columns("account", account, "name", "address1_stateorprovince") == ("Contoso", None)


@scenario
def test_r52_an_update_of_an_unmapped_column_of_the_account_overrides_local_edits_too(
    world: CoreWorld,
) -> Iterator[None]:
    account, (contact, _) = world.take_account()
    person = world.person_of("contact", contact)
    world.edit_company(account, company="Local name")
    world.edit_record("account", account, tickersymbol="ABC")
    yield
    assert world.values(person, "company") == ("Contoso",)
    assert world.activities_of(person) == [("company", "Local name", "Contoso")]
    assert world.query("select distinct reason from account_changes where account_id_dynamics = ?", account) == [
        ("account re-applied",)
    ]


@scenario
def test_r56_an_update_of_the_account_that_changes_no_mapped_value_writes_and_logs_nothing(
    world: CoreWorld,
) -> Iterator[None]:
    account, _ = world.take_account()
    world.edit_record("account", account, tickersymbol="XYZ", name="Contoso", revenue=10.0)
    yield
    assert world.sent_about(account) == []
    assert world.account_changes_of(account) == []


@scenario
def test_an_account_edited_on_both_sides_takes_the_value_of_dynamics(world: CoreWorld) -> Iterator[None]:
    account, (contact, _) = world.take_account()
    person = world.person_of("contact", contact)
    world.edit_record("account", account, name="B in Dynamics", address1_city="Same")
    world.edit_company(account, company="C in Marketo", billingCity="Same")
    yield
    assert world.values(person, "company", "billingCity") == ("B in Dynamics", "Same")
    assert world.columns("account", account, "name") == ("B in Dynamics",)
    assert world.activities_of(person) == [("company", "C in Marketo", "B in Dynamics")]


@scenario
def test_r51_a_company_that_only_marketo_knows_never_becomes_an_account(world: CoreWorld) -> Iterator[None]:
    body = {"action": "createOnly", "input": [{"externalCompanyId": "only-in-marketo", "company": "Ours alone"}]}
    world.answered(world.marketing.post("/rest/v1/companies.json", json=body))
    person = world.create_person(lastName="Marketer's friend", externalCompanyId="only-in-marketo")
    yield
    world.edit_company("only-in-marketo", company="Still ours")
    yield
    assert world.sent_about("only-in-marketo", person) == []
    names = world.sales.get("/api/data/v9.2/accounts", params={"$select": "name"}).json()["value"]
    assert not {"Ours alone", "Still ours"} & {account["name"] for account in names}
    assert world.values(person, "company") == ("Still ours",)


@scenario
def test_r46_a_column_cleared_in_the_account_is_cleared_in_marketo(world: CoreWorld) -> Iterator[None]:
    account, (contact, _) = world.take_account()
    person = world.person_of("contact", contact)
    world.edit_record("account", account, address1_city=None, industrycode=None, revenue=None, telephone1="")
    yield
    assert world.values(person, "billingCity", "industry", "annualRevenue", "mainPhone") == (None,) * 4
    assert world.activities_of(person) == [
        ("annualRevenue", "10", None),
        ("billingCity", "Bern", None),
        ("industry", "Accounting", None),
        ("mainPhone", "+41 1", None),
    ]


@scenario
def test_money_reaches_marketo_to_the_cent_and_is_written_once(world: CoreWorld) -> Iterator[None]:
    amounts = (0, 0.01, 1234567.89, 999999999.99, 922337203685.47)
    accounts = {amount: world.create_account(name="Money", revenue=amount) for amount in amounts}
    yield
    for amount, account in accounts.items():
        assert world.company(account, "annualRevenue") == {"annualRevenue": amount}


@scenario
def test_r58_an_account_without_contacts_syncs_and_waits_for_the_contact_that_comes_later(
    world: CoreWorld,
) -> Iterator[None]:
    account = world.create_account(name="Nobody yet", address1_city="Oslo")
    yield
    assert world.company(account, "company", "billingCity") == {"company": "Nobody yet", "billingCity": "Oslo"}
    world.edit_record("account", account, name="Still nobody")
    yield
    assert world.account_changes_of(account) == [("company", "Nobody yet", "Still nobody", 0, False)]
    contact = world.create_contact(account)
    yield
    person = world.person_of("contact", contact)
    assert world.values(person, "company", "billingCity") == ("Still nobody", "Oslo")
    assert world.activities_of(person) == [], "a new person's values are no changes"
    assert len(world.activities_of(person, "New Person")) == 1
    assert world.sent_to(account, "company") == []


@scenario
def test_r59_a_contact_that_moves_takes_all_fields_of_the_new_account_and_logs_them_once(
    world: CoreWorld,
) -> Iterator[None]:
    old, (mover, stayer) = world.take_account()
    new = world.create_account(name="New", address1_city="Bern", industrycode=2)
    person, other = world.person_of("contact", mover), world.person_of("contact", stayer)
    world.move_contact(mover, new)
    yield
    label = "Agriculture and Non-petrol Natural Resource Extraction"
    fields = ("externalCompanyId", "company", "billingCity", "industry", "mainPhone", "annualRevenue")
    assert world.values(person, *fields) == (new, "New", "Bern", label, None, None)
    assert world.activities_of(person) == [
        ("annualRevenue", "10", None),
        ("company", "Contoso", "New"),
        ("industry", "Accounting", label),
        ("mainPhone", "+41 1", None),
    ]
    assert world.values(other, *fields) == (old, "Contoso", "Bern", "Accounting", "+41 1", 10)
    assert world.activities_of(other) == []
    assert world.account_changes_of(old) == world.account_changes_of(new) == []
    assert world.query("select account_id_dynamics, company from people where person_id_marketo = ?", person) == [
        (new, "New")
    ]


@scenario
def test_r59_a_contact_without_account_that_gets_one_takes_its_fields(world: CoreWorld) -> Iterator[None]:
    contact, person = world.take("contact")
    account, _ = world.take_account()
    world.move_contact(contact, account)
    yield
    assert world.values(person, "externalCompanyId", "company", "annualRevenue") == (account, "Contoso", 10)
    assert world.activities_of(person) == [
        ("annualRevenue", None, "10"), ("billingCity", None, "Bern"), ("company", None, "Contoso"),
        ("industry", None, "Accounting"), ("mainPhone", None, "+41 1"),
    ]  # fmt: skip


@scenario
def test_r59_a_contact_that_leaves_a_company_with_local_edits_logs_what_it_really_held(
    world: CoreWorld,
) -> Iterator[None]:
    """Also where nobody had read the edit before, and where the account itself changes in the same cycle."""
    old, (mover, leaver) = world.take_account()
    new, _ = world.take_account()
    people = [world.person_of("contact", contact) for contact in (mover, leaver)]
    world.edit_company(old, company="Local name")
    world.move_contact(mover, new)
    world.move_contact(leaver, None)
    yield
    assert world.activities_of(people[0]) == [("company", "Local name", "Contoso")]
    assert world.activities_of(people[1])[2] == ("company", "Local name", None)


@scenario
def test_r59_a_contact_that_leaves_an_account_as_it_changes_logs_what_it_held_before(
    world: CoreWorld,
) -> Iterator[None]:
    old, (mover, stayer) = world.take_account()
    new, _ = world.take_account()
    person, other = world.person_of("contact", mover), world.person_of("contact", stayer)
    world.edit_record("account", old, name="Renamed as it left")
    world.move_contact(mover, new)
    yield
    assert world.values(person, "company") == ("Contoso",)
    assert world.activities_of(person) == []
    assert world.activities_of(other) == [("company", "Contoso", "Renamed as it left")]


@scenario
def test_r59_a_contact_that_moves_to_a_company_with_local_edits_logs_what_it_really_takes_on(
    world: CoreWorld,
) -> Iterator[None]:
    _, (mover, _) = world.take_account()
    new, _ = world.take_account()
    person = world.person_of("contact", mover)
    world.edit_company(new, company="Local name")
    yield
    world.move_contact(mover, new)
    yield
    (company,) = world.values(person, "company")
    assert world.activities_of(person) == ([("company", "Contoso", company)] if company != "Contoso" else [])


@scenario
def test_r60_a_contact_without_parent_any_more_stands_behind_an_empty_company_of_its_own(
    world: CoreWorld,
) -> Iterator[None]:
    account, (leaver, stayer) = world.take_account()
    person, other = world.person_of("contact", leaver), world.person_of("contact", stayer)
    world.move_contact(leaver, None)
    yield
    fields = ("company", "billingCity", "annualRevenue")
    assert world.values(person, *fields) == (None, None, None)
    assert world.activities_of(person) == [
        ("annualRevenue", "10", None), ("billingCity", "Bern", None), ("company", "Contoso", None),
        ("industry", "Accounting", None), ("mainPhone", "+41 1", None),
    ]  # fmt: skip
    assert world.values(other, *fields) == ("Contoso", "Bern", 10)
    # Later changes of the account that was left no longer reach the one who left, but a return does.
    world.edit_record("account", account, name="Left behind")
    yield
    assert world.values(person, "company") == (None,)
    assert world.activities_of(person) == []
    assert world.account_changes_of(account) == [("company", "Contoso", "Left behind", 1, False)]
    world.move_contact(leaver, account)
    yield
    assert world.values(person, *fields) == ("Left behind", "Bern", 10)


@scenario
def test_r23_a_contact_whose_parent_is_a_contact_has_no_company(world: CoreWorld) -> Iterator[None]:
    _, (boss, mover) = world.take_account()
    parent = {"parentcustomerid_contact@odata.bind": f"/contacts({boss})"}
    child = world.create_record("contact", lastname="Child", **parent)
    world.edit_record("contact", mover, **parent)
    yield
    person = world.person_of("contact", child)
    assert world.values(person, "company") == (None,)
    assert world.query("select account_id_dynamics from people where person_id_marketo = ?", person) == [(None,)]
    assert world.values(world.person_of("contact", mover), "company") == (None,), "the account's values stayed behind"


@scenario
def test_r61_the_company_of_a_deleted_account_keeps_its_values(world: CoreWorld) -> Iterator[None]:
    account, (contact, _) = world.take_account()
    world.delete_record("account", account)
    yield
    assert world.company(account, "company", "billingCity") == {"company": "Contoso", "billingCity": "Bern"}
    assert world.query("select is_deleted, name from accounts where accountid = ?", account) == [(True, "Contoso")]
    # Dynamics itself clears the parent of its contacts, so they leave the company (R60).
    assert world.columns("contact", contact, "_parentcustomerid_value") == (None,)
    assert world.values(world.person_of("contact", contact), "company") == (None,)


@scenario
def test_r61_a_deactivated_account_is_applied_no_more_and_its_people_keep_its_values(
    world: CoreWorld,
) -> Iterator[None]:
    account, (contact, _) = world.take_account()
    person = world.person_of("contact", contact)
    world.edit_record("account", account, statecode=1, name="Renamed as it fell asleep")
    yield
    assert world.sent_about(account, person) == []
    assert world.values(person, "company") == ("Contoso",)
    newcomer = world.create_contact(account)
    world.edit_record("account", account, name="Renamed in its sleep")
    yield
    assert world.values(person, "company") == ("Contoso",)
    assert world.values(world.person_of("contact", newcomer), "company") == ("Contoso",)
    world.edit_record("account", account, statecode=0)
    yield
    assert world.values(person, "company") == ("Renamed in its sleep",)
    assert world.activities_of(person) == [("company", "Contoso", "Renamed in its sleep")]


@scenario
def test_a_contact_of_an_account_that_was_never_active_while_the_sync_looked_is_created_all_the_same(
    world: CoreWorld,
) -> Iterator[None]:
    account = world.create_account(name="Never awake")
    world.edit_record("account", account, statecode=1)
    contact = world.create_contact(account)
    yield
    assert world.values(world.person_of("contact", contact), "lastName", "company") == ("Nakamura", None)


@scenario
def test_a_contact_of_an_account_that_never_was_active_gets_its_company_when_the_account_wakes(
    world: CoreWorld,
) -> Iterator[None]:
    account = world.create_account(name="Sleeper")
    world.edit_record("account", account, statecode=1)
    contact = world.create_contact(account)
    yield
    world.edit_record("account", account, statecode=0)
    yield
    person = world.person_of("contact", contact)
    assert world.values(person, "externalCompanyId", "company") == (account, "Sleeper")


@scenario
def test_r131_a_leads_own_company_text_goes_both_ways_to_a_company_of_its_own(world: CoreWorld) -> Iterator[None]:
    """R22, R63."""
    (in_dynamics, first), (in_marketo, second), (on_both, third) = (world.take("lead") for _ in range(3))
    assert world.values(first, "company", "annualRevenue", "externalCompanyId") == (
        "Lead & Co", 5, f"lead:{in_dynamics}",
    )  # fmt: skip
    world.edit_record("lead", in_dynamics, companyname="B", revenue=None)
    world.edit_company(f"lead:{in_marketo}", company="C", annualRevenue=6.25)
    world.edit_record("lead", on_both, companyname="B", revenue=7)
    world.edit_company(f"lead:{on_both}", company="C")
    yield
    assert world.values(first, "company", "annualRevenue") == ("B", None)
    assert world.activities_of(first) == [("annualRevenue", "5", None), ("company", "Lead & Co", "B")]
    # There is no feed of company changes (R131, design): the edit is seen with the lead's next change on either side.
    world.edit_record("lead", in_marketo, jobtitle="Director")
    yield
    assert world.columns("lead", in_marketo, "companyname", "revenue") == ("C", 6.25)
    assert world.activities_of(second) == [("title", "Buyer", "Director")], "writes to Dynamics are no activities"
    # Same field, lead: Marketo wins (R35), and the other edit is carried too (R34).
    assert world.columns("lead", on_both, "companyname") == ("C",)
    assert world.values(third, "company", "annualRevenue") == ("C", 7)
    assert world.query("select winner, dynamics_value from collisions where record_id_dynamics = ?", on_both) == [
        ("marketo", "B")
    ]


@scenario
def test_r131_a_lead_without_company_text_that_gets_one_gets_a_company_and_a_cleared_one_is_cleared(
    world: CoreWorld,
) -> Iterator[None]:
    lead = world.create_record("lead", lastname="Bare")
    other, person_of_other = world.take("lead")
    world.edit_record("lead", other, companyname=None)
    yield
    person = world.person_of("lead", lead)
    assert world.values(person, "company") == (None,)
    assert world.values(person_of_other, "company", "annualRevenue") == (None, 5)
    world.edit_record("lead", lead, companyname="Now & Then")
    yield
    assert world.values(person, "company", "externalCompanyId") == ("Now & Then", f"lead:{lead}")
    assert world.activities_of(person) == [("company", None, "Now & Then")]


@scenario
def test_r131_company_text_that_a_form_left_on_a_leads_person_is_an_edit_of_the_lead(
    world: CoreWorld,
) -> Iterator[None]:
    """R35: no company with a key stands behind that person; Marketo shows the text on the person all the same."""
    leads = [world.create_record("lead", lastname="Bare") for _ in range(2)]
    yield
    alone, on_both = (world.person_of("lead", lead) for lead in leads)
    assert world.values(alone, "externalCompanyId", "company") == (None, None)
    world.edit_person(alone, company="Form & Co", annualRevenue=6.25, billingCity="Bern", title="Buyer")
    world.edit_person(on_both, company="Form & Co", title="Buyer")
    world.edit_record("lead", leads[1], companyname="Sales & Co", revenue=7)
    yield
    names = ("externalCompanyId", "company", "annualRevenue", "billingCity")
    assert world.values(alone, *names) == (f"lead:{leads[0]}", "Form & Co", 6.25, "Bern")
    assert world.values(on_both, *names) == (f"lead:{leads[1]}", "Form & Co", 7, None)
    assert [world.columns("lead", lead, "companyname", "revenue") for lead in leads] == [
        ("Form & Co", 6.25), ("Form & Co", 7),
    ]  # fmt: skip
    told = "select field, dynamics_value, marketo_value, winner from collisions where person_id_marketo = ?"
    assert world.query(told, on_both) == [("company", "Sales & Co", "Form & Co", "marketo")]
    assert world.activities_of(alone) == [], "nothing changed for whoever looks at the person"
    assert world.activities_of(on_both) == [("annualRevenue", None, "7")]
