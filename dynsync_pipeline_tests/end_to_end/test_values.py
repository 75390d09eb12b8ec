"""Values that break careless code, in both directions: scripts, blanks, booleans, dates, choices, scores, too much of it."""

from __future__ import annotations

import pytest

from dynsync_pipeline_tests.properties.effort import story
from dynsync_pipeline_tests.worlds.http import HttpWorld

NAMES = (
    "O'Brien",
    'Anna "Ann" Müller',
    "Zoë 🎉",
    "👩‍🔬 Ada",
    "\u200fשרה\u200e",
    "𠮷郎",
    "Jose\u0301",
    "Null",
    "null",
    "0",
    "Robert'); drop table people;--",
    "a\\b\\n",
    "{{lead.Name}} %s {0} $1",
    "two  inner  spaces",
    "<b>&amp;</b>",
    "=1+1",
)


@pytest.fixture(scope="module")
def linked(shared_world: HttpWorld) -> dict[str, tuple[str, int]]:
    """A contact and a lead that are linked, with no values but a name; ids on both sides."""
    records = {kind: shared_world.create_record(kind, lastname=f"Values {kind}") for kind in ("contact", "lead")}
    shared_world.sync()
    return {kind: (record_id, shared_world.person_of(kind, record_id)) for kind, record_id in records.items()}


@story
def test_names_in_any_script_arrive_as_they_were_typed_and_stay(shared_world: HttpWorld) -> None:
    world = shared_world
    records = {name: world.create_record("contact", lastname=name, firstname=f"{name} 1") for name in NAMES}
    world.sync()
    persons = {name: world.person_of("contact", record_id) for name, record_id in records.items()}
    for name, person_id in persons.items():
        person = world.person(person_id, "lastName", "firstName")
        assert (person["lastName"], person["firstName"]) == (name, f"{name} 1")
        world.edit_person(person_id, firstName=f"{name} 2")
    world.sync()
    for name, record_id in records.items():
        record = world.record("contact", record_id)
        assert (record["lastname"], record["firstname"]) == (name, f"{name} 2")
    with world.writes_nothing():
        world.sync()


def test_empty_text_is_nothing_in_both_directions(shared_world: HttpWorld, linked: dict[str, tuple[str, int]]) -> None:
    """R47."""
    world = shared_world
    record_id, person_id = linked["contact"]
    world.edit_record("contact", record_id, jobtitle="T", telephone1="1")
    world.sync()
    world.edit_record("contact", record_id, jobtitle="")
    world.edit_person(person_id, phone="")
    world.sync()
    assert world.record("contact", record_id)["telephone1"] is None
    assert world.person(person_id, "title")["title"] is None
    with world.writes_nothing():
        world.sync()


@story
def test_line_breaks_of_either_kind_are_no_edit(shared_world: HttpWorld, linked: dict[str, tuple[str, int]]) -> None:
    world = shared_world
    record_id, person_id = linked["contact"]
    world.edit_record("contact", record_id, description="first\r\nsecond\r\nthird")
    world.sync()
    notes = world.person(person_id, "mktoPersonNotes")["mktoPersonNotes"]
    assert notes.replace("\r\n", "\n") == "first\nsecond\nthird"
    with world.writes_nothing():
        world.sync()


@story
def test_choices_arrive_as_labels_and_go_back_as_numbers(
    shared_world: HttpWorld, linked: dict[str, tuple[str, int]]
) -> None:
    world = shared_world
    record_id, person_id = linked["lead"]
    world.edit_record("lead", record_id, leadsourcecode=7)
    world.edit_person(person_id, rating="Warm")
    world.sync()
    assert world.person(person_id, "leadSource")["leadSource"] == "Trade Show"
    assert world.record("lead", record_id)["leadqualitycode"] == 2
    with world.writes_nothing():
        world.sync()


@story
def test_a_label_that_dynamics_does_not_know_is_reported_and_changes_nothing(
    shared_world: HttpWorld, linked: dict[str, tuple[str, int]]
) -> None:
    world = shared_world
    record_id, person_id = linked["lead"]
    before = world.record("lead", record_id)["leadsourcecode"]
    world.edit_person(person_id, leadSource="Carrier pigeon", city="Along with it")
    world.sync()
    record = world.record("lead", record_id)
    assert record["leadsourcecode"] == before
    assert record["address1_city"] == "Along with it"
    assert world.query(
        "select field, direction, state from sync_errors where record_id_dynamics = ?", record_id
    ) == [("leadSource", "to_dynamics", "waiting")]  # fmt: skip
    with world.writes_nothing():
        world.sync()
    world.edit_person(person_id, leadSource="Web")
    world.sync()
    assert world.record("lead", record_id)["leadsourcecode"] == 8
    assert world.query("select state from sync_errors where record_id_dynamics = ?", record_id) == [("resolved",)]


@story
def test_booleans_cross_both_ways_and_nothing_is_the_same_as_no(
    shared_world: HttpWorld, linked: dict[str, tuple[str, int]]
) -> None:
    world = shared_world
    record_id, person_id = linked["contact"]
    world.edit_record("contact", record_id, donotbulkemail=True)
    world.edit_person(person_id, doNotCall=True)
    world.sync()
    assert world.person(person_id, "unsubscribed")["unsubscribed"] is True
    assert world.record("contact", record_id)["donotphone"] is True
    world.edit_record("contact", record_id, donotbulkemail=False)
    world.edit_person(person_id, doNotCall=False)
    world.sync()
    assert world.person(person_id, "unsubscribed")["unsubscribed"] is False
    assert world.record("contact", record_id)["donotphone"] is False
    with world.writes_nothing():
        world.sync()


@story
def test_a_day_stays_that_day_in_both_directions(shared_world: HttpWorld, linked: dict[str, tuple[str, int]]) -> None:
    world = shared_world
    record_id, person_id = linked["contact"]
    for day in ("1980-02-29", "2004-12-31"):
        world.edit_record("contact", record_id, birthdate=day)
        world.sync()
        assert world.person(person_id, "dateOfBirth")["dateOfBirth"] == day
    world.edit_person(person_id, dateOfBirth="1999-01-01")
    world.sync()
    assert world.record("contact", record_id)["birthdate"] == "1999-01-01"
    assert world.query("select dateOfBirth::varchar from people where person_id_marketo = ?", person_id) == [
        ("1999-01-01",)
    ]
    with world.writes_nothing():
        world.sync()


def test_a_score_goes_to_dynamics_and_never_back(shared_world: HttpWorld, linked: dict[str, tuple[str, int]]) -> None:
    """R44."""
    world = shared_world
    record_id, person_id = linked["contact"]
    world.edit_person(person_id, leadScore=41)
    world.sync()
    assert world.record("contact", record_id)["mkt_leadscore"] == 41
    world.control("marketo", "score", {"leadId": person_id, "field": "leadScore", "change": 1})
    world.sync()
    assert world.record("contact", record_id)["mkt_leadscore"] == 42
    world.edit_record("contact", record_id, mkt_leadscore=7)
    with world.writes_nothing():
        world.sync()
    assert world.person(person_id, "leadScore")["leadScore"] == 42
    assert world.query("select count(*) from collisions where field = 'leadScore'") == [(0,)]
    # Else the person's next change, in the next test, would bring the score along.
    world.edit_record("contact", record_id, mkt_leadscore=42)
    world.sync()


def test_the_state_goes_to_marketo_and_a_marketers_edit_of_it_is_overwritten_later(
    shared_world: HttpWorld, linked: dict[str, tuple[str, int]]
) -> None:
    """R130."""
    world = shared_world
    record_id, person_id = linked["contact"]
    assert world.person(person_id, "leadStatus")["leadStatus"] == "Active"
    world.edit_person(person_id, leadStatus="Made up")
    with world.writes_nothing():
        world.sync()
    world.edit_record("contact", record_id, jobtitle="The record's next change")
    world.sync()
    assert world.person(person_id, "leadStatus")["leadStatus"] == "Active"
    with world.writes_nothing():
        world.sync()


def test_a_text_too_long_is_reported_not_shortened_and_the_others_go_on(
    shared_world: HttpWorld, linked: dict[str, tuple[str, int]]
) -> None:
    """R117."""
    world = shared_world
    record_id, person_id = linked["contact"]
    (lead_id, lead_person_id) = linked["lead"]
    before = world.record("contact", record_id)["firstname"]
    long = "ä" * 100  # Marketo takes 255 characters, this column of Dynamics 50
    world.edit_person(person_id, firstName=long)
    world.edit_person(lead_person_id, firstName="Fits")
    world.sync()
    assert world.record("contact", record_id)["firstname"] == before
    assert world.record("lead", lead_id)["firstname"] == "Fits"
    assert world.person(person_id, "firstName")["firstName"] == long
    ((direction, state, attempts, message),) = world.query(
        "select direction, state, attempts, message from sync_errors where record_id_dynamics = ?", record_id
    )
    assert (direction, state, attempts) == ("to_dynamics", "waiting", 1)
    assert "firstname" in message.lower()
    assert "ä" not in message
    with world.writes_nothing():
        world.sync()
    world.edit_person(person_id, firstName="Short")
    world.sync()
    assert world.record("contact", record_id)["firstname"] == "Short"
    assert world.query("select state from sync_errors where record_id_dynamics = ?", record_id) == [("resolved",)]


@story
def test_an_address_that_marketo_refuses_is_set_aside_and_arrives_once_it_is_corrected(shared_world: HttpWorld) -> None:
    world = shared_world
    record_id = world.create_record("contact", lastname="Refused", emailaddress1="grüße@example.com")
    other_id = world.create_record("contact", lastname="Taken", emailaddress1="taken@example.com")
    world.sync()
    assert world.person_of("contact", other_id)
    # The error names the field, so that field alone waits, and the rest of the person is there.
    person_id = world.person_of("contact", record_id)
    assert world.person(person_id, "email", "lastName") == {"id": person_id, "email": None, "lastName": "Refused"}
    ((code, field, state, message),) = world.query(
        "select code, field, state, message from sync_errors where record_id_dynamics = ?", record_id
    )
    assert (code, field, state) == ("1003", "email", "waiting")
    assert "@example.com" not in message
    with world.writes_nothing():
        world.sync()
    world.edit_record("contact", record_id, emailaddress1="corrected@example.com")
    world.sync()
    assert world.person(person_id, "email")["email"] == "corrected@example.com"
    assert world.query("select state from sync_errors where record_id_dynamics = ?", record_id) == [("resolved",)]


def test_people_with_one_address_stay_as_many_people_as_records(shared_world: HttpWorld) -> None:
    """R17."""
    world = shared_world
    ids = [
        world.create_record(kind, lastname="Shared", emailaddress1="same@example.com")
        for kind in ("contact", "lead", "lead")
    ]
    world.create_person(lastName="Own", email="same@example.com")
    world.sync()
    assert len(world.people("email", "same@example.com")) == 4
    assert (
        len(
            {world.person_of(kind, record_id) for kind, record_id in zip(("contact", "lead", "lead"), ids, strict=True)}
        )
        == 3
    )


def test_a_person_that_only_marketo_knows_never_goes_to_dynamics(shared_world: HttpWorld) -> None:
    """R19."""
    world = shared_world
    person_id = world.create_person(lastName="Marketo only", email="only@example.com", title="T")
    with world.writes_nothing():
        world.sync()
    world.edit_person(person_id, title="U")
    with world.writes_nothing():
        world.sync()
    assert world.query(
        "select record_type, contact_id_dynamics, lead_id_dynamics, title from people where person_id_marketo = ?",
        person_id,
    ) == [(None, None, None, "U")]  # fmt: skip


def test_a_new_record_becomes_one_person_with_type_key_and_values(shared_world: HttpWorld) -> None:
    """R15."""
    world = shared_world
    values = {"firstname": "Ngozi", "lastname": "New", "emailaddress1": "ngozi@example.com", "donotphone": True}
    for kind in ("contact", "lead"):
        record_id = world.create_record(kind, **values)
        world.sync()
        person_id = world.person_of(kind, record_id)
        person = world.person(
            person_id, "firstName", "lastName", "email", "doNotCall", "dynamicsType", "dynamicsIsDeleted", "dynamicsCreatedOn"
        )  # fmt: skip
        assert person.pop("dynamicsCreatedOn") == world.record(kind, record_id)["createdon"]
        assert person == {
            "id": person_id,
            "firstName": "Ngozi",
            "lastName": "New",
            "email": "ngozi@example.com",
            "doNotCall": True,
            "dynamicsType": kind.title(),
            "dynamicsIsDeleted": False,
        }
        with world.writes_nothing():
            world.sync()
