"""`dynsync filter`: what the sync filter does, what a condition would do, and that a condition can do nothing else (R87)."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dynsync_pipeline_tests.cli.conftest import HandMade, Run
from dynsync_pipeline_tests.properties.effort import story

pytestmark = story

ID = "0a1b2c3d-0000-4000-8000-0000000000{:02}"
# Number, whether there is a person, the filter, state, and city.
CONTACTS = (
    (1, True, "true", "0", "Bern"),
    (2, True, "false", "0", "Bern"),
    (3, True, None, "1", "Bern"),
    (4, False, "false", "0", "=Oslo"),
    (5, False, "false", "1", None),
    (6, False, "true", "1", "Bern"),
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HandMade]:
    """Six contacts, one of which is stale and two kept out; a lead and an account that are let in, and a deleted lead."""
    hand_made = HandMade(tmp_path_factory.mktemp("filter"))

    def text(value: str | None) -> str:
        return "null" if value is None else f"'{value}'"

    statements = []
    for number, has_person, says, state, city in CONTACTS:
        statements.append(
            "insert into mirror.dynamics_contacts (contactid, is_deleted, new_synctomkto, statecode, address1_city) values "
            f"('{ID.format(number)}', false, {text(says)}, '{state}', {text(city)})"
        )
        if has_person:
            statements += [
                f"insert into mirror.marketo_people (person_id, is_deleted, dynamics_contact_id, city) "
                f"values ({number}, false, '{ID.format(number)}', 'Basel')",
                f"insert into state.links values ({number}, 'contact', '{ID.format(number)}', '2026-01-01')",
                f"insert into state.base (person_id) values ({number})",
            ]
        if says == "false":
            statements.append(
                f"insert into state.filtered_out values ('contact', '{ID.format(number)}', '2026-02-03 04:05:06')"
            )
    statements += [
        f"insert into mirror.dynamics_leads (leadid, is_deleted, statecode) values ('{ID.format(11)}', false, '0')",
        f"insert into mirror.dynamics_leads (leadid, is_deleted, statecode) values ('{ID.format(12)}', true, '0')",
        "insert into mirror.dynamics_accounts (accountid, is_deleted, name, statecode) "
        f"values ('{ID.format(21)}', false, 'A', '0')",
    ]
    hand_made.publish(*statements)
    yield hand_made


def shown(run: Run, made: HandMade, *arguments: str) -> list[dict[str, Any]]:
    """What the command prints for programs, by table."""
    ran = run("filter", *arguments, "--json", environment=made.environment)
    assert ran.code == 0, ran.err
    return list(json.loads(ran.out))


def by_outcome(effect: dict[str, Any]) -> dict[str, list[str]]:
    """The last digits of the ids, by outcome."""
    found: dict[str, list[str]] = {}
    for row in effect["rows"]:
        found.setdefault(row["outcome"], []).append(row["record_id_dynamics"][-1])
    return found


def test_without_a_condition_it_tells_whom_the_filter_keeps_out_now(run: Run, made: HandMade) -> None:
    account, contact, lead = shown(run, made)
    assert by_outcome(contact) == {"kept_out": ["4", "5"], "stale": ["2"]}
    assert (contact["n_in"], contact["n_out"]) == (3, 3)
    assert [(each["n_in"], each["n_out"], each["rows"]) for each in (account, lead)] == [(1, 0, []), (1, 0, [])]


def test_a_condition_tells_who_would_start_stop_and_go_stale(run: Run, made: HandMade) -> None:
    """Where it is neither true nor false it keeps out. Deleted records take no part."""
    (contact,) = shown(run, made, "--table", "contact", "--where", "statecode = 0 and address1_city is not null")
    assert by_outcome(contact) == {"goes_stale": ["3"], "starts": ["2", "4"], "stops": ["6"]}
    assert contact["n_by_outcome"] == {"starts": 2, "goes_stale": 1, "stops": 1}
    assert (contact["n_in"], contact["n_out"], contact["n_new_people"]) == (3, 3, 1)
    stale = next(row for row in contact["rows"] if row["outcome"] == "goes_stale")
    assert (stale["person_id_marketo"], stale["statecode"], stale["address1_city"]) == (3, 1, "Bern")
    (contact,) = shown(run, made, "--table", "contact", "--where", "lower(address1_city) like 'b%' -- or so")
    assert by_outcome(contact) == {"starts": ["2"]}
    every = shown(run, made, "--where", "statecode = 1")
    assert [each["record_type"] for each in every] == ["account", "contact", "lead"]
    assert [each["n_by_outcome"] for each in every] == [{"stops": 1}, {"starts": 1, "goes_stale": 1}, {"stops": 1}]
    of_accounts = shown(run, made, "--where", "name = 'A'")
    assert [each["record_type"] for each in of_accounts] == ["account"]


def test_people_read_counts_and_rows_and_what_a_guard_would_say(run: Run, made: HandMade, tmp_path: Path) -> None:
    environment = {**made.environment, "DYNSYNC_MAX_CREATES": "0"}
    ran = run("filter", "--where", "statecode = 0", "--table", "contact", environment=environment)
    assert ran.code == 0
    assert "goes stale" in ran.out
    assert ID.format(3) in ran.out
    assert "A guard would stop the cycle that sees 1 new people" in ran.out
    assert "go stale: change few" not in ran.out, "a few may"
    ran = run("filter", "--where", "address1_city = '=Oslo'", "--csv", "out.csv", environment=made.environment)
    assert ran.code == 0
    with (tmp_path / "out.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["outcome"] for row in rows if row["address1_city"] == "'=Oslo"] == ["starts"]


@pytest.mark.parametrize(
    ("condition", "said"),
    [
        ("exists (from contacts)", "subquery"),
        ("contactid in (select leadid from leads)", "subquery"),
        ("true union select 1", "more than a condition"),
        ("true limit 1", "more than a condition"),
        ("true group by 1", "more than a condition"),
        ("true; drop table contacts", "cannot be read as SQL"),
        ("true) or (true", "cannot be read as SQL"),
        ("statecode = ", "cannot be read as SQL"),
        ("", "cannot be read as SQL"),
        ("read_text('/etc/passwd') is not null", "it calls read_text"),
        ("getenv('HOME') = 'x'", "it calls getenv"),
        ("main.lower(address1_city) = 'x'", "it calls lower"),
        ("row_number() over () = 1", "window"),
        ("count(*) > 1", "it calls count_star"),
        ("statecode = ?", "parameter"),
        ("#1 = 1", "positional reference"),
        ("columns('state') = 0", "star"),
        ("links.linked_at is null", "links.linked_at"),
        ("no_such_column = 1", "no column no_such_column"),
        ("_is_in", "no column _is_in"),
        ("statecode + address1_city = 1", ""),
        ("address1_city = 5", "does not fit"),
    ],
)
def test_what_is_no_condition_over_the_columns_is_refused_in_a_sentence(
    run: Run, made: HandMade, condition: str, said: str
) -> None:
    """It is read before it is run: no other table, no function that reads, no statement."""
    ran = run("filter", "--table", "contact", "--where", condition, environment=made.environment)
    assert ran.code == 2
    assert ran.out == ""
    told = " ".join(ran.err.replace("│", " ").split())
    assert "This is no condition" in told
    assert said in told
    assert "Basel" not in told
    assert "Bern" not in told


def test_a_condition_that_no_table_has_the_columns_of_is_refused(run: Run, made: HandMade) -> None:
    ran = run("filter", "--where", "leadid is null and contactid is null", environment=made.environment)
    assert ran.code == 2
    assert "no table has all of its columns" in " ".join(ran.err.replace("│", " ").split())


def test_status_and_explain_tell_that_a_person_is_stale_and_why(run: Run, made: HandMade) -> None:
    """R90; of a field that differs as well. A record that is kept out and has no person is told too (R87)."""
    assert json.loads(run("status", "--json", environment=made.environment).out)["stale"] == {"contact": 1}
    assert (
        "Stale people, whose records new_synctomkto keeps out: 1 contact"
        in run("status", environment=made.environment).out
    )
    ran = run("explain", "2", environment=made.environment, width=400)
    assert "Stale since 2026-02-03 04:05:06 UTC: new_synctomkto says no to its record" in ran.out
    found = json.loads(run("explain", "2", "--json", environment=made.environment).out)
    assert [row["state"] for row in found["fields"] if row["field"] == "city"] == ["stale"]
    assert found["person"]["stale_since"] == "2026-02-03T04:05:06Z"
    ran = run("explain", ID.format(4), environment=made.environment, width=400)
    assert "new_synctomkto says no to the record, so it gets no person" in ran.out
    ran = run("explain", "1", environment=made.environment, width=400)
    assert "new_synctomkto" not in ran.out
