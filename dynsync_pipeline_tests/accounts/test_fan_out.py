"""An account with exactly 5,000 contacts, with one more, and a fan-out that is killed (R53, R54, R57)."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

from dynsync_pipeline.emulators.dataverse.seeding import seed
from dynsync_pipeline_tests.faults.cut_short import cut_after_step, cut_at_request
from dynsync_pipeline_tests.properties.effort import is_deep, story
from dynsync_pipeline_tests.worlds.core import ACCOUNT, CONTACT, CoreWorld

LIMIT = 5_000
FIRST_STEP, STRIDE = (1, 1) if is_deep() else (14, 30)  # which moments of a cycle are tried
COMPANIES = "POST /rest/v1/companies.json"


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[CoreWorld, str, list[str]]]:
    """An account with exactly as many contacts as get entries, synced; its contacts."""
    with CoreWorld(tmp_path_factory.mktemp("world"), n_contacts=2, n_leads=1) as world:
        account = str(uuid.uuid4())
        contacts = [str(uuid.uuid4()) for _ in range(LIMIT)]
        seed(
            world.emulators.dataverse,
            [{**ACCOUNT, "accountid": account}],
            ({**CONTACT, "contactid": contact, "parentcustomerid_account": account} for contact in contacts),
            [],
        )
        world.environment["DYNSYNC_MAX_CREATES"] = "10000"
        world.sync()
        yield world, account, contacts


def n_entries(world: CoreWorld, field: str, old: str | None, new: str | None) -> tuple[int, int]:
    """How many entries of this change there are, and of how many people."""
    return world.query(
        "select count(*), count(distinct person_id_marketo) from activities "
        "where field = ? and old_value is not distinct from ? and new_value is not distinct from ?",
        field, old, new,
    )[0]  # fmt: skip


def account_changes(world: CoreWorld, new: str) -> list[tuple[object, ...]]:
    return world.query(
        "select field, n_contacts, activities_suppressed from account_changes where new_value = ? order by field", new
    )


def test_r54_the_limit_of_5000_contacts_from_below_and_above(large: tuple[CoreWorld, str, list[str]]) -> None:
    world, account, contacts = large
    newcomer, person = world.take("contact")

    world.edit_record("account", account, name="At the limit", address1_city="Basel")
    world.settle()
    assert n_entries(world, "company", "Contoso", "At the limit") == (LIMIT, LIMIT)
    assert n_entries(world, "billingCity", "Bern", "Basel") == (LIMIT, LIMIT)
    assert account_changes(world, "At the limit") == [("company", LIMIT, False)]
    assert world.sent_to(account, "company") == ["At the limit"]
    assert world.n_company_calls == 1

    # One more contact, in the very cycle of the change: nobody gets an entry but the one who moved (R55, R59).
    world.move_contact(newcomer, account)
    world.edit_record("account", account, name="Over it", address1_city="Over it")
    world.settle()
    assert account_changes(world, "Over it") == [("billingCity", LIMIT + 1, True), ("company", LIMIT + 1, True)]
    assert n_entries(world, "company", "At the limit", "Over it") == (0, 0)
    assert n_entries(world, "billingCity", "Basel", "Over it") == (0, 0)
    assert ("company", None, "Over it") in world.activities_of(person)
    assert world.query("select count(*) from people where company = 'Over it'") == [(LIMIT + 1,)]
    last = world.person_of("contact", contacts[-1])
    assert world.values(last, "company", "billingCity") == ("Over it", "Over it")


@story
def test_above_the_limit_a_local_edit_is_put_right_silently_and_who_was_deleted_does_not_count(
    large: tuple[CoreWorld, str, list[str]],
) -> None:
    world, account, contacts = large
    newcomer, person = world.take("contact")
    world.move_contact(newcomer, account)
    world.edit_record("account", account, name="Above it")
    world.settle()
    members = world.query("select contactid from contacts where parentcustomerid = ?", account)
    beyond = {member for (member,) in members} - set(contacts)
    n_contacts = LIMIT + len(beyond)
    assert account_changes(world, "Above it") == [("company", n_contacts, True)]

    # A local edit put right above the limit gives its row and no entries either.
    world.edit_company(account, company="Local")
    world.edit_record("account", account, tickersymbol="ABC")
    world.settle()
    assert account_changes(world, "Above it")[-1] == ("company", n_contacts, True)
    assert n_entries(world, "company", "Local", "Above it") == (0, 0)

    # Who is deleted in Dynamics does not count: at the limit again. The cycle is killed.
    for contact in beyond:
        world.delete_record("contact", contact)
    world.edit_record("account", account, name="Back at the limit")
    assert cut_at_request(world, "marketo", COMPANIES, 1, is_applied=True)
    world.settle()
    assert account_changes(world, "Back at the limit") == [("company", LIMIT, False)]
    assert n_entries(world, "company", "Above it", "Back at the limit") == (LIMIT, LIMIT)
    assert world.activities_of(person) == []


def check_one_fan_out(world: CoreWorld, account: str, contacts: list[str], change: tuple[str, str], city: str) -> None:
    """The account's and the contact's change both happened, once each."""
    old, new = change
    for contact in contacts:
        assert world.values(world.person_of("contact", contact), "company") == (new,)
    entries = world.query(
        "select person_id_marketo from activities where field = 'company' and old_value = ? and new_value = ? "
        "order by all", old, new,
    )  # fmt: skip
    assert entries == sorted((world.person_of("contact", contact),) for contact in contacts)
    assert account_changes(world, new) == [("company", 2, False)]
    person = world.person_of("contact", contacts[0])
    assert world.values(person, "city") == (city,)
    assert world.query("select person_id_marketo from activities where field = 'city' and new_value = ?", city) == [
        (person,)
    ]
    assert world.query("select count(*) from sync_errors") == [(0,)]


@story
def test_a_fan_out_that_is_killed_at_any_moment_is_logged_exactly_once(world: CoreWorld) -> None:
    account, contacts = world.take_account()
    names = iter(f"Name {n}" for n in range(1_000))
    old = "Contoso"

    def edit() -> str:
        new = next(names)
        world.edit_record("account", account, name=new)
        world.edit_record("contact", contacts[0], address1_city=f"City of {new}")
        return new

    for path, is_applied in ((COMPANIES, False), (COMPANIES, True), ("POST /rest/v1/leads.json", True)):
        new = edit()
        assert cut_at_request(world, "marketo", path, 1, is_applied=is_applied)
        world.sync()
        check_one_fan_out(world, account, contacts, (old, new), f"City of {new}")
        old = new
    has_died = True
    for n_steps in range(FIRST_STEP, 80, STRIDE):
        new = edit()
        has_died = cut_after_step(world, n_steps)
        world.sync()
        check_one_fan_out(world, account, contacts, (old, new), f"City of {new}")
        old = new
        if not has_died:
            break
    assert not has_died, "no kill came late enough to see the end of a cycle"
    world.settle()
    assert world.sent == []


@story
@pytest.mark.parametrize("is_applied", [False, True], ids=["before", "after"])
def test_a_move_to_another_account_that_is_killed_is_logged_exactly_once(world: CoreWorld, is_applied: bool) -> None:
    _, (mover, leaver) = world.take_account()
    account = world.create_account(name="New employer", address1_city="Bern", industrycode=1, revenue=10)
    persons = [world.person_of("contact", contact) for contact in (mover, leaver)]
    world.sync()
    world.move_contact(mover, account)
    world.move_contact(leaver, None)
    assert cut_at_request(world, "marketo", "POST /rest/v1/leads.json", 1, is_applied=is_applied)
    world.first_cycle = 0
    world.sync()
    first, second = (world.activities_of(person) for person in persons)
    assert world.values(persons[0], "company", "externalCompanyId") == ("New employer", account)
    assert first == [("company", "Contoso", "New employer"), ("mainPhone", "+41 1", None)]
    assert world.values(persons[1], "company") == (None,)
    assert [field for field, _, _ in second] == ["annualRevenue", "billingCity", "company", "industry", "mainPhone"]
    for person in persons:
        assert len(world.query("select * from changes where person_id_marketo = ? and field = 'externalCompanyId' "
                               "and old_value is not null", person)) == 1  # fmt: skip
    world.settle()
    assert world.sent == []
