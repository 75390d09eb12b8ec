"""`dynsync errors`: what each filter lets through, and that an export cannot become a formula."""

from __future__ import annotations

import csv
import io
import json
import stat
from datetime import timedelta

import pytest

from dynsync_pipeline.cli.csv_files import write_csv
from dynsync_pipeline.cli.errors import COLUMNS
from dynsync_pipeline.cli.looking import now
from dynsync_pipeline_tests.cli.conftest import HandMade, Looked, Run
from dynsync_pipeline_tests.properties.effort import story

INSERT = (
    "insert into ledger.sync_errors (cycle_id, happened_at, "
    "error_id, last_seen_at, record_type, person_id, dynamics_id, field, operation, direction, code, message, attempts, state)"
)


@pytest.fixture
def three(hand_made: HandMade) -> HandMade:
    """One error of today, one of four days ago, one of a week ago."""
    day = timedelta(days=1)
    times = [f"{now() - age:%Y-%m-%d %H:%M:%S}" for age in (day / 24, 4 * day, 7 * day)]
    hand_made.publish(
        f"{INSERT} select 1, now() at time zone 'UTC', * from values "
        f"(1, '{times[0]}', 'lead', 10, 'aaa', 'title', 'update', 'to_dynamics', '0x80044331', 'Too long', 2, 'waiting'), "
        f"(2, '{times[1]}', 'contact', 11, 'bbb', 'email', 'create', 'to_marketo', '1003', '100% wrong', 8, 'quarantined'), "
        f"(3, '{times[2]}', 'account', null, 'ccc', null, 'company', 'to_marketo', '1006', 'Gone', 1, 'resolved')"
    )
    return hand_made


FILTERS: list[tuple[list[str], list[int]]] = [
    ([], [1, 2]),
    (["--since", "2h"], [1]),
    (["--since", "30d"], [1, 2, 3]),
    (["--all"], [1, 2, 3]),
    (["--all", "--state", "waiting"], [1]),
    (["--all", "--state", "resolved"], [3]),
    (["--all", "--direction", "to_marketo"], [2, 3]),
    (["--all", "--object", "account"], [3]),
    (["--all", "--code", "0X80044331"], [1]),
    (["--all", "--search", "too LONG"], [1]),
    (["--all", "--search", "0%"], [2]),  # no pattern, only text
    (["--all", "--search", "_"], []),
    (["--all", "--search", "ccc"], [3]),
    (["--all", "--person", "11"], [2]),
    (["--all", "--direction", "to_marketo", "--state", "quarantined"], [2]),
]


def test_each_filter_lets_through_what_it_names_newest_first(
    run: Run, three: HandMade, subtests: pytest.Subtests
) -> None:
    """R120."""
    for arguments, ids in FILTERS:
        with subtests.test(arguments=arguments):
            ran = run("errors", "--json", *arguments, environment=three.environment)
            assert [row["error_id"] for row in json.loads(ran.out)] == ids


def test_an_unknown_state_ends_with_2(run: Run, three: HandMade) -> None:
    assert run("errors", "--state", "lost", environment=three.environment).code == 2


def test_no_error_is_a_sentence_that_says_how_far_it_looked(run: Run, three: HandMade) -> None:
    """R121."""
    ran = run("errors", "--person", "99", environment=three.environment)
    assert ran.code == 0
    assert ran.out == "No such errors in the last 5 d; --all looks further back.\n"


@pytest.mark.parametrize("begin", ["=", "+", "-", "@", "\t", "\r"])
def test_no_cell_of_an_export_can_begin_a_formula(begin: str) -> None:
    row = dict.fromkeys(COLUMNS) | {"error_id": 1, "message": f"{begin}HYPERLINK(1)", "field": "a=b", "code": begin}
    file = io.StringIO(newline="")
    write_csv([row], COLUMNS, file)
    (read,) = csv.DictReader(io.StringIO(file.getvalue(), newline=""))
    assert read["message"] == f"'{begin}HYPERLINK(1)"
    assert read["code"] == f"'{begin}"
    assert read["field"] == "a=b"
    assert read["error_id"] == "1"
    assert read["state"] == ""


def test_an_export_holds_every_column_and_every_chosen_error(run: Run, three: HandMade) -> None:
    target = three.settings.data_dir / "errors.csv"
    ran = run("errors", "--all", "--csv", str(target), environment=three.environment)
    assert (ran.code, ran.out) == (0, "")
    assert "3 errors written" in ran.err
    assert stat.S_IMODE(target.stat().st_mode) == 0o600, "records stand in it"
    with target.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["error_id"] for row in rows] == ["1", "2", "3"]
    assert tuple(rows[0]) == COLUMNS
    assert rows[1]["message"] == "100% wrong"


def test_an_export_to_the_standard_output_is_nothing_but_the_export(run: Run, three: HandMade) -> None:
    ran = run("errors", "--csv", "-", environment=three.environment)
    assert [row["error_id"] for row in csv.DictReader(io.StringIO(ran.out))] == ["1", "2"]
    assert ran.err == ""


def test_an_export_that_cannot_be_written_is_one_sentence(run: Run, three: HandMade) -> None:
    ran = run("errors", "--csv", str(three.settings.data_dir / "none" / "x.csv"), environment=three.environment)
    assert ran.code == 1
    assert "cannot be written" in ran.err
    assert "Traceback" not in ran.err


def test_more_errors_than_fit_are_counted(run: Run, hand_made: HandMade) -> None:
    hand_made.publish(
        f"{INSERT} select 1, now() at time zone 'UTC', i, now() at time zone 'UTC', 'lead', i, 'x', null, 'update', "
        "'to_dynamics', 'c', 'm', 1, 'waiting' from range(1, 61) r(i)"
    )
    shown = run("errors", environment=hand_made.environment).out
    assert "Sync errors: 60" in shown
    assert "50 older ones are not shown" in shown


def test_what_a_system_said_is_shown_as_it_stands(run: Run, hand_made: HandMade) -> None:
    hand_made.publish(
        f"{INSERT} values (1, now() at time zone 'UTC', 1, now() at time zone 'UTC', 'lead', 1, 'x', null, 'update', "
        "'to_dynamics', 'c', '[red]no[/] ' || chr(27) || '[2J', 1, 'waiting')"
    )
    shown = run("errors", environment=hand_made.environment).out
    assert "[red]no[/] �[2J" in shown
    assert "\x1b" not in shown


def test_real_refusals_are_told_with_both_ids_and_the_field(run: Run, looked: Looked) -> None:
    found = {row["field"]: row for row in json.loads(run("errors", "--json", environment=looked.world.environment).out)}
    assert set(found) == {"title", "email"}
    assert found["title"]["person_id_marketo"] == looked.contact
    assert found["title"]["record_id_dynamics"] == looked.contact_id
    assert (found["title"]["direction"], found["title"]["operation"]) == ("to_dynamics", "update")
    assert found["email"]["record_id_dynamics"] == looked.refused_id
    assert found["email"]["direction"] == "to_marketo"
    shown = run("errors", environment=looked.world.environment, width=80).out
    assert looked.contact_id in shown  # in one piece, to copy


@story
def test_errors_of_one_cause_are_told_once_with_the_name_and_the_refused_value(run: Run, unborn: HandMade) -> None:
    """With what stands on the side that was to be written from, right-to-left, long or with a quote as it may be."""
    unborn.publish(
        "insert into mirror.dynamics_contacts (contactid, is_deleted, firstname, lastname, emailaddress1) values "
        f"('aaa', false, 'Conan', 'O''Brien', 'grüße@example.com'), ('bbb', false, 'بنان', null, '{'x' * 300}')",
        "insert into mirror.marketo_people (person_id, is_deleted, \"firstName\", title) values (7, false, '🦊', 'Chief')",
        f"{INSERT} select 1, now() at time zone 'UTC', i, now() at time zone 'UTC', object, person, record, field, 'update', "
        "direction, code, 'No.', 1, state from values "
        "(1, 'contact', null, 'aaa', 'email', 'to_marketo', '1003', 'waiting'), "
        "(2, 'contact', null, 'bbb', 'email', 'to_marketo', '1003', 'quarantined'), "
        "(3, 'lead', 7, 'ccc', 'title', 'to_dynamics', '0x1', 'waiting'), "
        "(4, 'contact', null, 'aaa', 'email', 'to_marketo', '1003', 'resolved') "
        "as t(i, object, person, record, field, direction, code, state)",
    )
    found = {row["error_id"]: row for row in json.loads(run("errors", "--json", environment=unborn.environment).out)}
    assert [found[i]["name"] for i in (1, 2, 3)] == ["Conan O'Brien", "بنان", "🦊"]
    assert [found[i]["refused_value"] for i in (1, 2, 3, 4)] == ["grüße@example.com", "x" * 300, "Chief", None]
    assert found[1]["dynamics_link"] is None, "no address is set"
    addresses = {
        "DYNSYNC_DYNAMICS_URL": "https://org.crm.dynamics.com",
        "DYNSYNC_MARKETO_APP_URL": "https://app-ab00.marketo.com/",
    }
    shown = run("errors", environment=unborn.environment | addresses, width=80).out
    assert shown.count("1003 at email: update contact in Marketo") == 1
    assert shown.index("3 × 1003") < shown.index("1 × 0x1 at title: update lead in Dynamics")
    assert all(len(line) <= 80 for line in shown.split("Open a record")[0].splitlines())
    assert "https://org.crm.dynamics.com/main.aspx?etn=contact&pagetype=entityrecord&id=ID" in shown
    found = {
        row["error_id"]: row
        for row in json.loads(run("errors", "--json", environment=unborn.environment | addresses).out)
    }
    assert found[3]["marketo_link"] == "https://app-ab00.marketo.com/leadDatabase/loadLeadDetail?leadId=7"
    assert found[1]["dynamics_link"].endswith("etn=contact&pagetype=entityrecord&id=aaa")
