"""What a system refuses holds nothing else back, is told once, tried again with growing gaps, released by an edit.

Rules R33, R115, R116, R117; docs/design.md#refusals.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from dynsync_pipeline_tests.properties.effort import story
from dynsync_pipeline_tests.worlds.core import CoreWorld
from dynsync_pipeline_tests.worlds.scenarios import Scenarios, scenario

LONG = "Vice President of " * 9  # 162 characters; Dynamics takes 100
assert len(LONG) > 150


def test_r12_after_every_cycle_the_next_one_writes_nothing_and_logs_nothing(scenarios: Scenarios) -> None:
    scenarios.check_quiet()


@story
def test_after_every_cycle_of_a_longer_story_too_the_next_one_is_quiet(scenarios: Scenarios) -> None:
    scenarios.check_quiet()


def sync_errors_told(world: CoreWorld, person: int) -> list[tuple[object, ...]]:
    return world.query(
        "select field from activities where person_id_marketo = ? and activity_type = 'Sync Error'", person
    )


@scenario
def test_r116_a_title_too_long_for_dynamics_is_set_aside_alone_and_good_edits_go_on(
    world: CoreWorld,
) -> Iterator[None]:
    taken = {record_type: world.take(record_type) for record_type in ("contact", "lead")}
    for _, person in taken.values():
        world.edit_person(person, title=LONG, phone="+81 3", city="Kyōto", leadScore=9)
    yield
    for kind, (record_id, person) in taken.items():
        columns = ("jobtitle", "telephone1", "address1_city", "mkt_leadscore")
        assert world.columns(kind, record_id, *columns) == ("Buyer", "+81 3", "Kyōto", 9)
        assert world.values(person, "title") == (LONG,), "nothing is ever shortened (R117)"
        assert world.errors_of(record_id) == [("to_dynamics", "update", "title", 1, "waiting")]
        assert sync_errors_told(world, person) == [("title",)]
        ((message,),) = world.query("select message from sync_errors where record_id_dynamics = ?", record_id)
        assert "Vice President" not in message
        world.edit_person(person, fax="+1 later") if kind == "lead" else world.edit_person(person, country="Japan")
    yield
    for kind, (record_id, person) in taken.items():
        assert world.columns(kind, record_id, "jobtitle") == ("Buyer",)
        assert world.errors_of(record_id) == [("to_dynamics", "update", "title", 1, "waiting")], "told once"
        assert sync_errors_told(world, person) == [("title",)]
        world.edit_person(person, title="VP")
    assert world.columns("lead", taken["lead"][0], "fax") == ("+1 later",)
    assert world.columns("contact", taken["contact"][0], "address1_country") == ("Japan",)
    yield
    for kind, (record_id, _) in taken.items():
        assert world.columns(kind, record_id, "jobtitle") == ("VP",)
        assert world.errors_of(record_id) == [("to_dynamics", "update", "title", 1, "resolved")]
        assert world.query("select * from unsettled where record_id_dynamics = ?", record_id) == []


@scenario
def test_r116_an_email_that_marketo_refuses_is_set_aside_alone_and_good_edits_go_on(
    world: CoreWorld,
) -> Iterator[None]:
    taken = {record_type: world.take(record_type) for record_type in ("contact", "lead")}
    for kind, (record_id, _) in taken.items():
        world.edit_record(kind, record_id, emailaddress1="josé@example.com", jobtitle="Seller", telephone1="+34 1")
    yield
    for kind, (record_id, person) in taken.items():
        assert world.values(person, "email", "title", "phone") == (None, "Seller", "+34 1")
        assert world.columns(kind, record_id, "emailaddress1") == ("josé@example.com",)
        assert world.errors_of(record_id) == [("to_marketo", "update", "email", 1, "waiting")]
        assert sync_errors_told(world, person) == [("email",)]
        assert world.activities_of(person) == [("phone", None, "+34 1"), ("title", "Buyer", "Seller")]
        ((message,),) = world.query("select message from sync_errors where record_id_dynamics = ?", record_id)
        assert "josé" not in message
        world.edit_record(kind, record_id, emailaddress1=f"jose.{kind}@example.com")
    yield
    for kind, (record_id, person) in taken.items():
        assert world.values(person, "email") == (f"jose.{kind}@example.com",)
        assert world.errors_of(record_id) == [("to_marketo", "update", "email", 1, "resolved")]
        assert world.activities_of(person) == [("email", None, f"jose.{kind}@example.com")]


@scenario
def test_r116_both_directions_of_one_record_are_refused_apart_from_each_other(world: CoreWorld) -> Iterator[None]:
    contact, person = world.take("contact")
    world.edit_record("contact", contact, emailaddress1="not an address", address1_city="Sevilla")
    world.edit_person(person, title=LONG, phone="+34 2")
    yield
    assert world.values(person, "email", "city", "phone", "title") == (None, "Sevilla", "+34 2", LONG)
    columns = ("emailaddress1", "address1_city", "telephone1", "jobtitle")
    assert world.columns("contact", contact, *columns) == ("not an address", "Sevilla", "+34 2", "Buyer")
    assert sorted(world.errors_of(contact)) == [
        ("to_dynamics", "update", "title", 1, "waiting"), ("to_marketo", "update", "email", 1, "waiting"),
    ]  # fmt: skip
    world.edit_person(person, title="Short")
    yield
    assert sorted(world.errors_of(contact)) == [
        ("to_dynamics", "update", "title", 1, "resolved"), ("to_marketo", "update", "email", 1, "waiting"),
    ]  # fmt: skip


@scenario
def test_r116_a_person_is_created_without_the_field_that_marketo_refuses(world: CoreWorld) -> Iterator[None]:
    contact = world.create_contact(emailaddress1="bad@", jobtitle="Seller")
    lead = world.create_record("lead", lastname="Nakamura", emailaddress1="bad@", companyname="Its own firm")
    records = (("contact", contact), ("lead", lead))
    yield
    for kind, record_id in records:
        person = world.person_of(kind, record_id)
        assert world.values(person, "email", "lastName") == (None, "Nakamura")
        assert world.columns(kind, record_id, "emailaddress1") == ("bad@",), "a refusal is no edit"
        ((direction, _, field, _, state),) = world.errors_of(record_id)
        assert (direction, field, state) == ("to_marketo", "email", "waiting")
        assert sync_errors_told(world, person) == [("email",)]
        assert len(world.activities_of(person, "New Person")) == 1
        world.edit_record(kind, record_id, emailaddress1=f"good.{kind}@example.com")
    yield
    for kind, record_id in records:
        assert world.values(world.person_of(kind, record_id), "email") == (f"good.{kind}@example.com",)
        assert [error[-1] for error in world.errors_of(record_id)] == ["resolved"]


@scenario
def test_r33_a_label_that_dynamics_does_not_know_is_refused_and_holds_nothing_back(world: CoreWorld) -> Iterator[None]:
    lead, person = world.take("lead")
    world.edit_person(person, leadSource="Carrier pigeon", title="Falconer")
    yield
    assert world.columns("lead", lead, "leadsourcecode", "jobtitle") == (None, "Falconer")
    assert world.values(person, "leadSource") == ("Carrier pigeon",)
    assert world.errors_of(lead) == [("to_dynamics", "update", "leadSource", 1, "waiting")]
    assert sync_errors_told(world, person) == [("leadSource",)]
    world.edit_person(person, leadSource="Trade Show")
    yield
    assert world.columns("lead", lead, "leadsourcecode") == (7,)
    assert world.errors_of(lead) == [("to_dynamics", "update", "leadSource", 1, "resolved")]


@scenario
def test_r116_a_refused_edit_that_is_taken_back_is_resolved_without_a_write(world: CoreWorld) -> Iterator[None]:
    lead, person = world.take("lead")
    world.edit_person(person, title=LONG, leadSource="Carrier pigeon")
    yield
    world.edit_person(person, title="Buyer", leadSource=None)
    yield
    assert world.sent_about(lead, person) == []
    assert {error[-1] for error in world.errors_of(lead)} == {"resolved"}


@scenario
def test_a_refused_field_that_dynamics_then_edits_too_is_settled_by_the_record_type(world: CoreWorld) -> Iterator[None]:
    (contact, first), (lead, second) = world.take("contact"), world.take("lead")
    world.edit_person(first, title=LONG)
    world.edit_person(second, title=LONG)
    yield
    world.edit_record("contact", contact, jobtitle="Dynamics")
    world.edit_record("lead", lead, jobtitle="Dynamics")
    yield
    assert world.values(first, "title") == world.columns("contact", contact, "jobtitle") == ("Dynamics",)
    assert world.errors_of(contact) == [("to_dynamics", "update", "title", 1, "resolved")]
    # Lead: Marketo wins (R35), and what wins is still refused.
    assert world.values(second, "title") == (LONG,)
    assert world.columns("lead", lead, "jobtitle") == ("Dynamics",)
    assert world.errors_of(lead)[0][-1] == "waiting"


@scenario
def test_errors_of_what_is_deleted_are_over(world: CoreWorld) -> Iterator[None]:
    (contact, first), (lead, second) = world.take("contact"), world.take("lead")
    world.edit_person(first, title=LONG)
    world.edit_person(second, title=LONG)
    yield
    world.delete_record("contact", contact)
    world.delete_person(second)
    yield
    for record_id in (contact, lead):
        assert [error[-1] for error in world.errors_of(record_id)] == ["resolved"]
        assert world.query("select * from unsettled where record_id_dynamics = ?", record_id) == []


@story
@scenario
def test_r116_what_was_refused_is_tried_again_after_growing_gaps(world: CoreWorld) -> Iterator[None]:
    contact, person = world.take("contact")

    def attempts() -> int:
        return int(world.errors_of(contact)[0][3])

    world.edit_person(person, title=LONG)
    yield
    assert attempts() == 1
    world.let_time_pass(contact, timedelta(minutes=6))
    yield
    assert attempts() == 2
    world.let_time_pass(contact, timedelta(minutes=6))
    yield
    assert attempts() == 2, "the second gap is longer than the first"
    world.let_time_pass(contact, timedelta(minutes=6))
    yield
    assert attempts() == 3
    assert len(world.errors_of(contact)) == len(sync_errors_told(world, person)) == 1, "told once"
    assert world.values(person, "title") == (LONG,)


@scenario
def test_a_company_value_that_marketo_refuses_is_set_aside_alone(world: CoreWorld) -> Iterator[None]:
    account, (contact, _) = world.take_account()
    person = world.person_of("contact", contact)
    world.control("dataverse", "schema", {"action": "resize", "table": "account", "column": "sic", "max_length": 100})
    world.edit_record("account", account, sic="7" * 60, name="Renamed", address1_city="Basel")
    yield
    assert world.values(person, "company", "billingCity", "sicCode") == ("Renamed", "Basel", None)
    assert world.activities_of(person) == [("billingCity", "Bern", "Basel"), ("company", "Contoso", "Renamed")]
    assert [change[0] for change in world.account_changes_of(account)] == ["billingCity", "company"]
    assert world.errors_of(account) == [("to_marketo", "company", "sicCode", 1, "waiting")]
    world.edit_record("account", account, sic="7372")
    yield
    assert world.values(person, "sicCode") == ("7372",)
    assert world.activities_of(person) == [("sicCode", None, "7372")]
    assert [error[-1] for error in world.errors_of(account)] == ["resolved"]


@scenario
def test_a_leads_company_text_too_long_for_dynamics_is_set_aside_alone(world: CoreWorld) -> Iterator[None]:
    lead, person = world.take("lead")
    world.edit_company(f"lead:{lead}", company="&" * 150, annualRevenue=6)
    world.edit_person(person, title="Seller")
    yield
    assert world.columns("lead", lead, "companyname", "revenue", "jobtitle") == ("Lead & Co", 6, "Seller")
    assert world.values(person, "company") == ("&" * 150,)
    assert world.errors_of(lead) == [("to_dynamics", "update", "company", 1, "waiting")]
    world.edit_company(f"lead:{lead}", company="Short")
    world.edit_person(person, title="Again")
    yield
    assert world.columns("lead", lead, "companyname", "jobtitle") == ("Short", "Again")
    assert [error[-1] for error in world.errors_of(lead)] == ["resolved"]


@scenario
def test_a_write_to_a_leads_company_resolves_no_error_of_the_lead(world: CoreWorld) -> Iterator[None]:
    lead, person = world.take("lead")
    world.edit_person(person, title=LONG)
    yield
    world.edit_record("lead", lead, companyname="Renamed")
    yield
    assert world.values(person, "company") == ("Renamed",)
    assert world.errors_of(lead) == [("to_dynamics", "update", "title", 1, "waiting")]


@story
@scenario
def test_of_several_people_with_one_key_the_oldest_is_linked_and_the_others_are_reported(
    world: CoreWorld,
) -> Iterator[None]:
    lead, person = world.take("lead")
    double = world.create_person(lastName="Double", dynamicsLeadId=lead)
    yield
    world.edit_record("lead", lead, jobtitle="Seller")
    yield
    assert world.values(person, "title") == ("Seller",)
    assert world.values(double, "title") == (None,), "a double is never written to"
    new_key = "11111111-2222-4333-8444-555555555555"
    people = [world.create_person(lastName="Early", dynamicsLeadId=new_key) for _ in range(2)]
    yield
    world.create_record("lead", leadid=new_key, lastname="Late", jobtitle="Buyer")
    yield
    assert {p["id"] for p in world.people("dynamicsLeadId", new_key)} == set(people), "nobody is created a third time"
    assert world.query("select person_id_marketo from links where record_id_dynamics = ?", new_key) == [(people[0],)]
    assert world.values(people[0], "title") == ("Buyer",)
    assert world.values(people[1], "title") == (None,)
    for record_id in (lead, new_key):
        assert world.query("select code from sync_errors where record_id_dynamics = ?", record_id) != []
