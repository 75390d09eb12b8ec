"""Describe and reading people (docs/protocols/marketo.md#describe, #reading-people, #field-types)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from dynsync_pipeline.emulators.errors import StateUnusable
from dynsync_pipeline.emulators.marketo.seeding import seed
from dynsync_pipeline.emulators.marketo.store import Store
from dynsync_pipeline.emulators.sample_data import sample_people
from dynsync_pipeline_tests.emulators.marketo.conftest import Marketo, codes, counted_steps


def test_describe_lists_the_ninety_standard_fields_and_those_of_the_sync_with_stable_ids(marketo: Marketo) -> None:
    fields = {field["rest"]["name"]: field for field in marketo.get("leads/describe.json")["result"]}
    assert len(fields) == 99
    assert len({field["id"] for field in fields.values()}) == 99
    assert [fields[name]["id"] for name in ("company", "id", "firstName", "lastName", "email", "updatedAt")] == [
        *(4, 44, 53, 55, 56, 131)
    ]
    assert fields["firstName"] == {
        "id": 53,
        "displayName": "First Name",
        "dataType": "string",
        "length": 255,
        "rest": {"name": "firstName", "readOnly": False},
        "soap": {"name": "FirstName", "readOnly": False},
    }
    assert "length" not in fields["mktoPersonNotes"]
    assert fields["createdAt"]["rest"]["readOnly"]
    assert not fields["id"]["rest"]["readOnly"]
    types = [
        fields[f"dynamics{name}"]["dataType"] for name in ("LeadId", "ContactId", "Type", "IsDeleted", "CreatedOn")
    ]
    assert types == ["string", "string", "string", "boolean", "datetime"]


def test_describe2_lists_the_legal_filters_and_all_fields(marketo: Marketo) -> None:
    (described,) = marketo.get("leads/describe2.json")["result"]
    assert described["name"] == "API Lead"
    for name in ("id", "email", "dynamicsLeadId", "dynamicsContactId"):
        assert [name] in described["searchableFields"]
    assert ["dynamicsIsDeleted"] not in described["searchableFields"]
    email = next(field for field in described["fields"] if field["name"] == "email")
    assert email == {
        "name": "email",
        "displayName": "Email Address",
        "dataType": "email",
        "length": 255,
        "updateable": True,
        "crmManaged": False,
    }


def test_six_fields_are_given_by_default_and_nulls_are_explicit(marketo: Marketo) -> None:
    person_id = marketo.create(email="a@example.com")
    person = marketo.person(person_id)
    assert set(person) == {"id", "email", "firstName", "lastName", "createdAt", "updatedAt"}
    assert person["firstName"] is None


def test_asked_fields_come_with_the_id_and_an_unknown_one_answers_1006(marketo: Marketo) -> None:
    person_id = marketo.create(email="a@example.com", firstName="A", lastName="B")
    assert marketo.person(person_id, "mktoName", "unsubscribed") == {
        "id": person_id,
        "mktoName": "A B",
        "unsubscribed": False,
    }
    assert codes(marketo.get(f"lead/{person_id}.json", fields="email,shoeSize")) == ["1006"]


@pytest.mark.parametrize("missing", ["0", "99", "abc", "9" * 40, "-1"])
def test_a_missing_person_is_an_empty_result(marketo: Marketo, missing: str) -> None:
    answer = marketo.get(f"lead/{missing}.json")
    assert (answer["success"], answer["result"]) == (True, [])


def test_people_are_found_by_id_email_and_custom_string_fields_comma_separated_or_repeated(marketo: Marketo) -> None:
    ids = [marketo.create(email=f"p{n}@example.com", dynamicsContactId=f"C-{n}") for n in range(3)]
    by_id = marketo.get("leads.json", filterType="id", filterValues=f"{ids[0]},{ids[2]}")["result"]
    assert [person["id"] for person in by_id] == [ids[0], ids[2]]
    by_email = marketo.get("leads.json", filterType="email", filterValues=["P0@EXAMPLE.com", "p1@example.com"])
    assert [person["id"] for person in by_email["result"]] == ids[:2]
    by_key = marketo.get("leads.json", filterType="dynamicsContactId", filterValues="c-1,c-7")["result"]
    assert [person["id"] for person in by_key] == [ids[1]]
    assert by_email.keys() == {"requestId", "result", "success"}


def test_nobody_found_is_an_empty_result(marketo: Marketo) -> None:
    answer = marketo.get("leads.json", filterType="email", filterValues="x@example.com,' or 1=1 --")
    assert list(answer) == ["requestId", "result", "success"]
    assert answer["result"] == []


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({}, "1002"),
        ({"filterType": "email"}, "1002"),
        ({"filterType": "email", "filterValues": ","}, "1002"),
        ({"filterType": "firstName", "filterValues": "A"}, "1011"),
        ({"filterType": "id", "filterValues": "A"}, "1001"),
        ({"filterType": "id", "filterValues": "1;2"}, "1001"),
        ({"filterType": "email", "filterValues": "a", "fields": "x"}, "1006"),
        ({"filterType": "email", "filterValues": "a", "batchSize": "x"}, "1001"),
        ({"filterType": "email", "filterValues": "a", "nextPageToken": "x"}, "1003"),
        ({"filterType": "id", "filterValues": ",".join(map(str, range(301)))}, "1003"),
    ],
)
def test_a_wrong_filter_is_refused(marketo: Marketo, params: dict[str, str], code: str) -> None:
    assert codes(marketo.get("leads.json", **params)) == [code]


def test_a_filter_type_without_a_field_here_matches_nobody(marketo: Marketo) -> None:
    marketo.create(email="a@example.com")
    assert marketo.get("leads.json", filterType="sfdcLeadId", filterValues="1")["result"] == []


def test_pages_follow_the_token_and_the_last_one_has_none(marketo: Marketo) -> None:
    ids = [marketo.create(email="same@example.com") for _ in range(5)]
    params: dict[str, object] = {"filterType": "email", "filterValues": "same@example.com", "batchSize": 2}
    seen, pages = [], 0
    while True:
        answer = marketo.get("leads.json", **params)
        seen += [person["id"] for person in answer["result"]]
        pages += 1
        if "nextPageToken" not in answer:
            assert "moreResult" not in answer
            break
        assert answer["moreResult"] is True
        params["nextPageToken"] = answer["nextPageToken"]
    assert (seen, pages) == (ids, 3)


def test_a_thousand_matches_are_answered_and_one_more_is_1003(marketo: Marketo) -> None:
    seed(marketo.store, ({"email": "same@example.com"} for _ in range(1000)))
    assert marketo.get("leads.json", filterType="email", filterValues="same@example.com")["success"]
    marketo.create(email="same@example.com")
    answer = marketo.get("leads.json", filterType="email", filterValues="same@example.com")
    assert answer["errors"] == [{"code": "1003", "message": "Too many results match the filter"}]


@pytest.mark.parametrize("place", ["query", "form"])
def test_long_reads_go_by_post_with_method_get_in_query_or_form(marketo: Marketo, place: str) -> None:
    ids = [marketo.create(email=f"p{n}@example.com") for n in range(3)]
    form = {"filterType": "id", "filterValues": ",".join(map(str, [*ids, *range(10_000, 10_290)]))}
    if place == "form":
        answer = marketo.answer("POST", "/rest/v1/leads.json", data={**form, "_method": "GET"})
    else:
        answer = marketo.answer("POST", "/rest/v1/leads.json?_method=GET", data=form)
    assert [person["id"] for person in answer["result"]] == ids


def test_seeded_people_read_like_others_share_a_company_by_key_and_survive_a_restart(
    start: Callable[..., Marketo],
) -> None:
    marketo = start()
    people = [
        {"email": f"s{n}@example.com", "externalCompanyId": "k", "company": "Acme", "createdAt": "2025-01-02T03:04:05Z"}
        for n in range(3)
    ]
    seed(marketo.store, people)
    marketo = start()
    found = marketo.get(
        "leads.json",
        filterType="id",
        filterValues="1,2,3",
        fields="email,company,contactCompany,createdAt,unsubscribed",
    )["result"]
    assert len({person["contactCompany"] for person in found}) == 1
    assert [{**person, "contactCompany": 0} for person in found] == [
        {
            "id": n + 1,
            "email": f"s{n}@example.com",
            "company": "Acme",
            "contactCompany": 0,
            "createdAt": "2025-01-02T03:04:05Z",
            "unsubscribed": False,
        }
        for n in range(3)
    ]
    assert [entry["activityTypeId"] for entry in marketo.feed("", marketo.cursor(), activityTypeIds=12)] == [12, 12, 12]


def test_what_was_answered_is_kept_when_the_server_is_killed(marketo: Marketo) -> None:
    person_id = marketo.create(email="a@example.com")
    files = [marketo.store.path.with_name(marketo.store.path.name + end) for end in ("", "-wal")]
    copies = [path.with_name(path.name.replace("marketo", "killed")) for path in files]  # as they lie on the disk now
    for path, copy in zip(files, copies, strict=True):
        copy.write_bytes(path.read_bytes())
    store = Store(copies[0])
    assert store.db.execute("select id, email from people").fetchall() == [(person_id, "a@example.com")]
    store.close()


def test_a_state_file_of_another_version_is_refused_with_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "old.sqlite"
    store = Store(path)
    store.db.execute("pragma user_version = 99")
    store.close()
    with pytest.raises(StateUnusable, match="another version"):
        Store(path)


def test_three_hundred_of_twenty_thousand_people_are_read_without_looking_at_the_others(marketo: Marketo) -> None:
    seed(marketo.store, sample_people(20_000, 1))
    ids = ",".join(str(n) for n in range(1, 20_000, 67))
    with counted_steps(marketo.store) as steps:
        answer = marketo.get("leads.json", filterType="id", filterValues=ids, fields="email,company,lastName,title")
    assert len(answer["result"]) == 299
    assert len(steps) < 20  # of a thousand each: one for each person there is
