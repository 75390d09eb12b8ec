"""`dynsync explain`: whom a key names, and that every field's state says what is the case."""

from __future__ import annotations

import json
import logging
import stat
from pathlib import Path
from typing import Any

import pytest

from dynsync_pipeline_tests.cli.conftest import TOO_LONG, HandMade, Looked, Run
from dynsync_pipeline_tests.properties.effort import story
from dynsync_pipeline_tests.worlds.browser import look_at

pytestmark = story

GUID = "0a1b2c3d-0000-4000-8000-0000000000{:02}"


def explained(run: Run, environment: dict[str, str], key: str) -> dict[str, Any]:
    ran = run("explain", key, "--json", environment=environment)
    assert ran.code == 0, ran.err
    return dict(json.loads(ran.out))


def field(found: dict[str, Any], name: str) -> dict[str, Any]:
    return next(row for row in found["fields"] if row["field"] == name)


def contact(number: int, **values: str) -> list[str]:
    names = "".join(f", {name}" for name in values)
    texts = "".join(f", '{value}'" for value in values.values())
    return [
        f"insert into mirror.dynamics_contacts (contactid, is_deleted{names}) "
        f"values ('{GUID.format(number)}', false{texts})"
    ]


def person(number: int, **values: str) -> list[str]:
    names = "".join(f', "{name}"' for name in values)
    texts = "".join(f", '{value}'" for value in values.values())
    return [
        f"insert into mirror.marketo_people (person_id, is_deleted{names}) values ({number}, false{texts})",
    ]


def linked(number: int) -> list[str]:
    return [
        f"insert into state.links values ({number}, 'contact', '{GUID.format(number)}', '2026-01-01')",
        f"insert into state.base (person_id) values ({number})",
    ]


def test_id_guid_and_email_in_any_case_name_the_same_person(run: Run, looked: Looked) -> None:
    environment = looked.world.environment
    by_id = explained(run, environment, str(looked.contact))
    assert by_id["subject"] == {
        "person_id_marketo": looked.contact,
        "record_type": "contact",
        "record_id_dynamics": looked.contact_id,
        "is_linked": True,
    }
    assert explained(run, environment, f"{{{looked.contact_id.upper()}}}") == by_id
    assert explained(run, environment, "ada.l@EXAMPLE.com") == by_id


def test_every_state_is_told_with_both_sides_and_the_base(run: Run, looked: Looked) -> None:
    found = explained(run, looked.world.environment, str(looked.contact))
    assert field(found, "phone") | {"dynamics_column": ""} == {
        "field": "phone",
        "dynamics_column": "",
        "direction": "both",
        "base": "+44 20",
        "dynamics": "+44 20",
        "marketo": "+44 20",
        "state": "agree",
        "reason": None,
        "next_look_at": None,
        "last_rule": "R34 edited on one side",
    }
    title = field(found, "title")
    assert (title["base"], title["dynamics"], title["marketo"]) == ("Countess", "Countess", TOO_LONG)
    assert title["state"] == "unsettled"
    assert title["reason"].startswith("refused: too_long")
    assert title["next_look_at"] is not None
    status = field(found, "leadStatus")
    assert (status["dynamics"], status["marketo"]) == ("Active", "Inactive")  # labels, not numbers
    assert status["state"] == "standing difference"
    assert "one-way" in status["reason"]
    assert field(found, "doNotCall")["state"] == "agree"


def test_the_account_and_its_fields_are_told(run: Run, looked: Looked) -> None:
    found = explained(run, looked.world.environment, str(looked.contact))
    assert found["person"]["account_id_dynamics"] == looked.account_id
    city = next(row for row in found["account_fields"] if row["field"] == "billingCity")
    assert (city["dynamics"], city["marketo"], city["state"]) == ("Oslo", "Oslo", "agree")


def test_history_holds_changes_collisions_and_errors_in_time_order(run: Run, looked: Looked) -> None:
    lead = explained(run, looked.world.environment, str(looked.lead))
    times = [row["happened_at"] for row in lead["history"]]
    assert times == sorted(times)
    collision = next(row for row in lead["history"] if row["what"] == "collision")
    assert (collision["old_value"], collision["new_value"], collision["winner"]) == ("Genf", "Bâle", "marketo")
    assert any(row["what"] == "change" and row["new_value"] == "Bâle" for row in lead["history"])
    error = next(
        row
        for row in explained(run, looked.world.environment, str(looked.contact))["history"]
        if row["what"] == "error"
    )
    assert (error["field"], error["direction"]) == ("title", "to_dynamics")


def test_people_read_names_as_they_stand_and_long_values_cut(run: Run, looked: Looked) -> None:
    shown = run("explain", str(looked.contact), environment=looked.world.environment, width=200).out
    assert "[bold]Lovelace[/]" in shown
    assert "standing difference: R43" in shown
    assert "…" in shown
    assert "Analyst" not in shown.split("What happened")[0]  # the end of the long title
    assert "more fields are empty on both sides" in shown


def test_a_person_only_marketo_knows_stays_there(run: Run, looked: Looked) -> None:
    found = explained(run, looked.world.environment, str(looked.stranger))
    assert found["subject"]["record_type"] is None
    assert field(found, "lastName")["marketo"] == "Stranger"
    assert {row["state"] for row in found["fields"]} == {"not linked"}
    assert "Marketo only" in run("explain", str(looked.stranger), environment=looked.world.environment).out


def test_an_account_is_no_person(run: Run, looked: Looked) -> None:
    ran = run("explain", looked.account_id, environment=looked.world.environment)
    assert (ran.code, ran.out) == (1, "")
    assert "This is an account" in ran.err


@pytest.mark.parametrize("key", ["999999999", GUID.format(99), "nobody@example.com"])
def test_nobody_is_a_sentence_and_1(run: Run, looked: Looked, key: str) -> None:
    ran = run("explain", key, environment=looked.world.environment)
    assert (ran.code, ran.out) == (1, "")
    assert "Nobody in the snapshot has this key" in ran.err


@pytest.mark.parametrize("key", ["Ada", "12x", "", "'; drop table people", "1" * 40])
def test_a_key_of_no_kind_ends_with_2(run: Run, looked: Looked, key: str) -> None:
    ran = run("explain", key, environment=looked.world.environment)
    assert ran.code == 2
    assert "Traceback" not in ran.err


def test_a_shared_address_names_everybody_who_bears_it(run: Run, unborn: HandMade) -> None:
    unborn.publish(
        *person(1, email="Same@example.com"),
        *person(2, email="same@example.com"),
        *contact(3, emailaddress1="SAME@example.com"),
    )
    ran = run("explain", "same@EXAMPLE.com", environment=unborn.environment)
    assert ran.code == 1
    assert f"3 people or records have this key: 1, 2, {GUID.format(3)}." in ran.err


def test_a_contact_that_waits_for_its_person_says_why_and_until_when(run: Run, unborn: HandMade) -> None:
    unborn.publish(
        *contact(1, lastname="Waiting"),
        f"insert into state.unsettled values ('contact', '{GUID.format(1)}', null, null, null, null, 'refused', '1003', 3, "
        "'2026-01-01', '2026-01-02 03:04:05')",
    )
    shown = run("explain", GUID.format(1), environment=unborn.environment, width=200).out
    assert "not in Marketo" in shown
    assert "refused: 1003; tried 3 times; next look after 2026-01-02 03:04:05 UTC" in shown


def test_quarantine_says_what_ends_it(run: Run, unborn: HandMade) -> None:
    unborn.publish(
        *contact(1, jobtitle="A"),
        *person(1, title="B"),
        *linked(1),
        f"insert into state.unsettled values ('contact', '{GUID.format(1)}', 1, 'title', 'A', 'B', 'refused', 'x', 8, "
        "'2026-01-01', '9999-12-31')",
    )
    shown = run("explain", "1", environment=unborn.environment, width=200).out
    assert "quarantined until somebody edits it" in " ".join(shown.replace("│", " ").split())
    assert "9999" not in shown


def test_a_difference_nobody_compared_yet_is_not_called_agreed(run: Run, unborn: HandMade) -> None:
    unborn.publish(*contact(1, jobtitle="A"), *person(1, title="B"), *linked(1))
    assert field(explained(run, unborn.environment, "1"), "title")["state"] == "not compared yet"


def test_a_standing_difference_whose_value_moved_no_longer_stands(run: Run, unborn: HandMade) -> None:
    unborn.publish(
        *contact(1, jobtitle="A"),
        *person(1, title="B"),
        *linked(1),
        "insert into state.standing_differences values (1, 'title', 'A', 'old', 'kept_by_marketo', '2026-01-01')",
    )
    assert field(explained(run, unborn.environment, "1"), "title")["state"] == "not compared yet"


def test_a_field_without_a_base_is_told_apart_from_an_agreed_null(run: Run, unborn: HandMade) -> None:
    unborn.publish(*contact(1), *person(1, title="B"), *linked(1), "insert into state.base_missing values (1, 'title')")
    found = explained(run, unborn.environment, "1")
    assert field(found, "title")["state"] == "no base"
    assert field(found, "city")["state"] == "agree"


def test_an_ended_link_is_told(run: Run, unborn: HandMade) -> None:
    unborn.publish(
        *person(1, lastName="Left"),
        f"update mirror.marketo_people set dynamics_contact_id = '{GUID.format(1)}'",
        f"insert into state.tombstones values (1, 'contact', '{GUID.format(1)}', 'dynamics', '2026-01-02 03:04:05')",
    )
    shown = run("explain", "1", environment=unborn.environment, width=200).out
    assert "ended 2026-01-02 03:04:05 UTC: deleted in Dynamics" in shown


def test_typed_values_are_compared_as_canonical_text(run: Run, unborn: HandMade) -> None:
    unborn.publish(
        "insert into mirror.dynamics_leads (leadid, is_deleted, revenue, leadsourcecode, donotphone) "
        f"values ('{GUID.format(1)}', false, '12.5', '3', null)",
        *person(1, leadSource="Partner", doNotCall="false"),
        "insert into state.options values ('lead', 'leadsourcecode', '3', 'Partner')",
        f"insert into state.links values (1, 'lead', '{GUID.format(1)}', '2026-01-01')",
        "insert into state.base (person_id, \"leadSource\", \"annualRevenue\") values (1, '3', '12.5')",
    )
    found = explained(run, unborn.environment, "1")
    assert field(found, "leadSource")["state"] == "agree"
    assert field(found, "leadSource")["base"] == "Partner"
    assert field(found, "doNotCall")["state"] == "agree"
    revenue = field(found, "annualRevenue")
    assert (revenue["base"], revenue["dynamics"]) == ("12.5", "12.5")


def test_nothing_of_a_record_is_logged(run: Run, looked: Looked, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        run("explain", "ada.l@example.com", environment=looked.world.environment)
    assert "lovelace" not in caplog.text.lower()
    assert "example.com" not in caplog.text.lower()


def test_the_page_of_one_person_is_its_owners_alone_and_leads_into_both_systems(
    run: Run, looked: Looked, tmp_path: Path
) -> None:
    environment = looked.world.environment | {"DYNSYNC_MARKETO_APP_URL": "https://app-ab00.marketo.com"}
    file = tmp_path / "person.html"
    ran = run("explain", str(looked.contact), "--html", str(file), environment=environment)
    assert (ran.code, ran.out, ran.err) == (0, "", f"Written to {file}.\n")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    seen = look_at(file.read_text("utf-8"), tmp_path, width=390)
    assert seen.console == []
    assert (seen.found["overflow"], seen.found["nameless"]) == (0, [])
    assert seen.found["text"].startswith("Ada [bold]Lovelace[/]\n")
    assert TOO_LONG in seen.found["text"]
    assert [link.rpartition("?")[2] for link in seen.found["links"]] == [
        f"etn=contact&pagetype=entityrecord&id={looked.contact_id}",
        f"leadId={looked.contact}",
    ]


def test_a_page_that_cannot_be_written_is_one_sentence(run: Run, looked: Looked, tmp_path: Path) -> None:
    ran = run("explain", str(looked.contact), "--html", str(tmp_path), environment=looked.world.environment)
    assert ran.code == 1
    assert ran.err == f"Error: {tmp_path} cannot be written: Is a directory. Name another file.\n"
