"""Sample data: the same rows for the same seed, odd enough to be worth syncing, mostly acceptable to both systems."""

from __future__ import annotations

import unicodedata
from itertools import islice

import pytest

from dynsync_pipeline.emulators.marketo.fields import STANDARD_FIELDS
from dynsync_pipeline.emulators.marketo.values import BadValue, stored_value
from dynsync_pipeline.emulators.sample_data import sample_accounts, sample_contacts, sample_leads, sample_people
from dynsync_pipeline.model.field_map import load_field_map
from dynsync_pipeline.model.records import RecordType

MAKERS = {
    "accounts": sample_accounts,
    "contacts": lambda n, seed: sample_contacts(n, ["a", "b"], seed),
    "leads": sample_leads,
    "people": sample_people,
}


@pytest.mark.parametrize("kind", MAKERS)
def test_same_number_and_seed_give_the_same_rows_and_another_seed_others(kind: str) -> None:
    make = MAKERS[kind]
    assert list(make(300, 5)) == list(make(300, 5))
    assert list(make(300, 5)) != list(make(300, 6))


@pytest.mark.parametrize("kind", MAKERS)
def test_a_longer_run_begins_with_the_rows_of_a_shorter_one(kind: str) -> None:
    make = MAKERS[kind]
    assert list(islice(make(10_000, 5), 50)) == list(make(50, 5))


@pytest.mark.parametrize(
    ("record_type", "kind"),
    [(RecordType.ACCOUNT, "accounts"), (RecordType.CONTACT, "contacts"), (RecordType.LEAD, "leads")],
)
def test_every_mapped_column_that_people_fill_is_filled_in_some_rows(record_type: RecordType, kind: str) -> None:
    by_people = {
        field.dynamics_column
        for field in load_field_map().of(record_type)
        if field.direction != "to_dynamics" and field.dynamics_column != "statecode"
    }
    filled = {name for row in MAKERS[kind](500, 1) for name, value in row.items() if value is not None}
    assert by_people <= filled


def test_ids_are_unique_and_differ_between_seeds() -> None:
    ids = [row["contactid"] for seed in (1, 2) for row in sample_contacts(1000, [], seed)]
    assert len(set(ids)) == 2000


def test_contacts_point_to_a_given_account_or_to_none() -> None:
    parents = {row["parentcustomerid_account"] for row in sample_contacts(200, ["a", "b"], 1)}
    assert parents == {"a", "b", None}
    assert {row["parentcustomerid_account"] for row in sample_contacts(50, [], 1)} == {None}


def test_names_come_in_many_scripts_and_some_are_odd() -> None:
    people = list(sample_people(2000, 3))
    scripts = {
        unicodedata.name(letter, "?").split()[0]
        for person in people
        for letter in str(person["lastName"])
        if letter.isalpha()
    }
    assert {"LATIN", "CYRILLIC", "GREEK", "HEBREW", "ARABIC", "CJK", "HANGUL", "DEVANAGARI", "THAI"} <= scripts
    names = {person["lastName"] for person in people} | {person["firstName"] for person in people}
    assert {"O'Brien", "Zoë 🎉", "Null", None} <= names
    assert max(len(str(person["lastName"])) for person in people) == 50


def test_only_a_few_contacts_and_leads_have_an_email_that_marketo_refuses() -> None:
    email = next(field for field in STANDARD_FIELDS if field.name == "email")
    for rows in (list(sample_contacts(2000, [], 1)), list(sample_leads(2000, 1))):
        refused = 0
        for row in rows:
            try:
                stored_value(email, row["emailaddress1"])
            except BadValue:
                refused += 1
                assert not str(row["emailaddress1"]).isascii()
        assert 1 <= refused <= 10


def test_marketo_takes_every_sample_person_and_dynamics_refuses_the_title_of_a_few() -> None:
    fields = {field.name: field for field in STANDARD_FIELDS}
    people = list(sample_people(2000, 1))
    for person in people:
        for name, value in person.items():
            stored_value(fields[name], value)
    assert 1 <= sum(len(str(person["title"])) > 100 for person in people) <= 10


def test_addresses_are_in_domains_reserved_for_examples() -> None:
    emails = [str(person["email"]) for person in sample_people(1000, 1) if person["email"]]
    assert {email.rpartition("@")[2] for email in emails} == {"example.com", "example.org", "example.net"}
