"""`dynsync status`: what it counts, what it warns of, and its exit codes."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

import duckdb
import pytest

from dynsync_pipeline.cli import status as command
from dynsync_pipeline.cli.looking import now
from dynsync_pipeline.model.records import RecordType
from dynsync_pipeline.requests.store import RequestStore, Task, Wish
from dynsync_pipeline.warehouse.connection import Warehouse
from dynsync_pipeline.warehouse.cycle_lock import CycleLock
from dynsync_pipeline.warehouse.erased import Erasure, Erasures, keep_erasures
from dynsync_pipeline_tests.cli.conftest import HandMade, Looked, Run
from dynsync_pipeline_tests.properties.effort import story

AT = datetime.fromisoformat("2026-03-10 14:20:00")

CURSOR = "insert into state.cursors (stream, cursor, columns, is_loaded, moved_at) values"


@pytest.fixture
def at_twenty_past_two(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock of the command stands still."""
    monkeypatch.setattr(command, "now", lambda: AT)


def figures(run: Run, hand_made: HandMade) -> dict[str, Any]:
    return dict(json.loads(run("status", "--json", environment=hand_made.environment).out))


def unsettled(
    record_type: str,
    record: str,
    person: int | None,
    field: str | None,
    dynamics: str | None,
    marketo: str | None,
    since: str = "2026-03-10 12:00:00",
) -> str:
    values = ", ".join(
        "null" if v is None else f"'{v}'" for v in (record_type, record, person, field, dynamics, marketo)
    )
    return f"insert into state.unsettled values ({values}, 'planned', null, 0, '{since}', '{since}')"


def linked(person: int, record_type: str, **base: str) -> list[str]:
    names = "".join(f', "{name}"' for name in base)
    values = "".join(f", '{value}'" for value in base.values())
    return [
        f"insert into state.links values ({person}, '{record_type}', '{record_type}-{person}', '2026-01-01')",
        f"insert into state.base (person_id{names}) values ({person}{values})",
        f"insert into state.unpublished values ('people', null, {person})",
    ]


def backlog(run: Run, hand_made: HandMade) -> dict[str, tuple[int, int]]:
    return {row["object"]: (row["n_inserts"], row["n_updates"]) for row in figures(run, hand_made)["backlog"]}


def test_a_record_without_a_person_is_an_insert_and_the_oldest_is_told(run: Run, hand_made: HandMade) -> None:
    hand_made.publish(
        unsettled("lead", "a", None, None, None, None, "2026-03-10 12:00:00"),
        unsettled("lead", "b", None, None, None, None, "2026-03-09 12:00:00"),
    )
    lead = next(row for row in figures(run, hand_made)["backlog"] if row["object"] == "lead")
    assert (lead["n_inserts"], lead["oldest_insert_at"]) == (2, "2026-03-09T12:00:00Z")
    assert (lead["n_updates"], lead["oldest_update_at"]) == (0, None)


def test_an_edit_counts_on_the_side_where_it_was_made_and_a_record_once(run: Run, hand_made: HandMade) -> None:
    """R118."""
    hand_made.publish(
        *linked(1, "contact", title="A", city="P"),
        unsettled("contact", "contact-1", 1, "title", "B", "A"),
        unsettled("contact", "contact-1", 1, "city", "Q", "P"),
        *linked(2, "lead", title="A"),
        unsettled("lead", "lead-2", 2, "title", "A", "C"),
    )
    assert backlog(run, hand_made) == {"account": (0, 0), "contact": (0, 1), "lead": (0, 0), "person": (0, 1)}


def test_a_collision_is_an_update_on_both_sides(run: Run, hand_made: HandMade) -> None:
    hand_made.publish(*linked(1, "lead", title="A"), unsettled("lead", "lead-1", 1, "title", "B", "C"))
    assert backlog(run, hand_made) == {"account": (0, 0), "contact": (0, 0), "lead": (0, 1), "person": (0, 1)}


def test_a_boolean_without_a_value_is_false_and_no_edit(run: Run, hand_made: HandMade) -> None:
    hand_made.publish(*linked(1, "lead"), unsettled("lead", "lead-1", 1, "doNotCall", "false", "true"))
    assert backlog(run, hand_made)["lead"] == (0, 0)
    assert backlog(run, hand_made)["person"] == (0, 1)


def test_a_field_without_a_base_counts_on_the_sides_that_hold_a_value(run: Run, hand_made: HandMade) -> None:
    """R42: without a base a blank is no edit."""
    hand_made.publish(
        *linked(2, "lead", phone="an old agreement"),
        "insert into state.base_missing values (2, 'phone')",
        unsettled("lead", "lead-2", 2, "phone", "1", "2"),
        *linked(1, "lead"),
        "insert into state.base_missing values (1, 'title')",
        unsettled("lead", "lead-1", 1, "title", "B", None),
    )
    assert backlog(run, hand_made)["lead"] == (0, 2)
    assert backlog(run, hand_made)["person"] == (0, 1)


def test_an_account_that_waits_is_an_update(run: Run, hand_made: HandMade) -> None:
    hand_made.publish(unsettled("account", "a", None, None, None, None))
    assert backlog(run, hand_made)["account"] == (0, 1)


@pytest.mark.usefixtures("at_twenty_past_two")
def test_the_last_hour_is_the_last_full_clock_hour_and_has_no_backlog(run: Run, hand_made: HandMade) -> None:
    """R119."""
    change = (
        "insert into ledger.changes (cycle_id, field, rule_code, entry_id, changed_at, direction, record_type, dynamics_id) "
        "select 1, 'title', 'one_sided', * from values "
    )
    hand_made.publish(
        f"{change} (1, '2026-03-10 12:59:59', 'to_marketo', 'contact', 'early')",
        f"{change} (2, '2026-03-10 13:00:00', 'to_marketo', 'contact', 'a')",
        f"{change} (3, '2026-03-10 13:59:59', 'to_marketo', 'contact', 'a')",
        f"{change} (4, '2026-03-10 13:30:00', 'to_marketo', 'contact', 'b')",
        f"{change} (5, '2026-03-10 13:30:00', 'to_dynamics', 'lead', 'c')",
        f"{change} (6, '2026-03-10 14:00:00', 'to_dynamics', 'lead', 'late')",
    )
    hour = figures(run, hand_made)["last_hour"]
    assert (hour["from"], hour["to"]) == ("2026-03-10T13:00:00Z", "2026-03-10T14:00:00Z")
    synced = {row["object"]: row for row in hour["synced"]}
    assert (synced["contact"]["n_to_marketo"], synced["contact"]["n_to_dynamics"]) == (2, 0)
    assert (synced["lead"]["n_to_marketo"], synced["lead"]["n_to_dynamics"]) == (0, 1)
    assert all(row["n_inserts"] is None and row["n_updates"] is None for row in hour["synced"])
    shown = run("status", environment=hand_made.environment).out
    assert "13:00–14:00 UTC" in shown
    assert shown.count("N/A") == 2 * len(hour["synced"])


@pytest.mark.usefixtures("at_twenty_past_two")
def test_calls_older_than_a_day_no_longer_count(run: Run, hand_made: HandMade) -> None:
    hand_made.publish(hand_made.cycle(1, "2026-03-09 14:00:00"), hand_made.cycle(2, "2026-03-10 14:00:00"))
    used = {row["system"]: (row["n_used"], row["n_allowed"]) for row in figures(run, hand_made)["calls"]}
    assert used == {"dynamics": (7, 100_000), "marketo": (11, 25_000)}
    between = "insert into ledger.calls_between (called_at, system, n_calls) values"
    hand_made.publish(f"{between} ('2026-03-10 14:00:00', 'marketo', 5), ('2026-03-08 14:00:00', 'marketo', 9)")
    calls = {row["system"]: row["n_used"] for row in figures(run, hand_made)["calls"]}
    assert calls == {"dynamics": 7, "marketo": 16}, "those of requests count like those of cycles"


@pytest.mark.usefixtures("at_twenty_past_two")
def test_days_left_count_from_the_last_read(run: Run, hand_made: HandMade) -> None:
    hand_made.publish(
        f"{CURSOR} ('dynamics_leads', 'x', '', true, '2026-03-04 14:20:00')",
        f"{CURSOR} ('marketo_people', 'x', '', false, '2026-03-09 14:20:00')",
    )
    left = {row["what"]: row["days_left"] for row in figures(run, hand_made)["cursors"]}
    assert left == {"Dynamics leads": 1.0, "Marketo changes": 89.0, "Marketo deletions": 13.0}
    assert "first load under way" in run("status", environment=hand_made.environment).out


def test_the_token_of_a_cursor_is_not_published(run: Run, hand_made: HandMade) -> None:
    hand_made.publish(f"{CURSOR} ('dynamics_leads', 'TOKEN-123', '', true, '2026-03-04')")
    assert b"TOKEN-123" not in hand_made.settings.snapshot_file.read_bytes()


@pytest.mark.usefixtures("at_twenty_past_two")
def test_a_failed_cycle_is_told_with_its_sentence_and_the_last_success(run: Run, hand_made: HandMade) -> None:
    hand_made.publish(
        hand_made.cycle(1, "2026-03-10 12:20:00"),
        hand_made.cycle(2, "2026-03-10 14:15:00", "failed", "Dynamics [cannot] be reached."),
    )
    shown = run("status", environment=hand_made.environment).out
    assert "Last cycle: 2 failed, ended 5 min ago, took 10.0 s." in shown
    assert "Dynamics [cannot] be reached." in shown
    assert "Last success: 2 h ago." in shown


@story
@pytest.mark.usefixtures("at_twenty_past_two")
@pytest.mark.parametrize(("limit", "code"), [("30m", 1), ("2h", 0), ("1d", 0), ("7199s", 1)])
def test_the_watchdog_ends_with_1_when_the_last_success_is_too_old(
    run: Run, hand_made: HandMade, limit: str, code: int
) -> None:
    hand_made.publish(
        hand_made.cycle(1, "2026-03-10 12:20:00"), hand_made.cycle(2, "2026-03-10 14:15:00", "failed", "No.")
    )
    ran = run("status", "--fail-if-older-than", limit, environment=hand_made.environment)
    assert ran.code == code
    assert ("ended 2 h ago" in ran.err) == bool(code)


@pytest.mark.usefixtures("at_twenty_past_two")
@pytest.mark.parametrize("ended_at", ["2026-03-10 15:00:00", "2027-03-10 14:20:00"])
def test_the_watchdog_does_not_trust_a_success_that_ended_in_the_future(
    run: Run, hand_made: HandMade, ended_at: str
) -> None:
    hand_made.publish(hand_made.cycle(1, ended_at))
    ran = run("status", "--fail-if-older-than", "2d", environment=hand_made.environment)
    assert ran.code == 1
    assert "the clock was set back" in ran.err


@pytest.mark.usefixtures("at_twenty_past_two")
def test_calls_of_cycles_far_in_the_future_are_not_those_of_today(run: Run, hand_made: HandMade) -> None:
    hand_made.publish(hand_made.cycle(1, "2027-03-10 14:00:00"), hand_made.cycle(2, "2026-03-10 14:00:00"))
    assert [row["n_used"] for row in figures(run, hand_made)["calls"]] == [7, 11]


@pytest.mark.usefixtures("at_twenty_past_two")
def test_a_cursor_read_in_the_future_does_not_live_longer_for_it(run: Run, hand_made: HandMade) -> None:
    hand_made.publish(f"{CURSOR} ('dynamics_leads', 'x', '', true, '2027-03-04 14:20:00')")
    assert [row["days_left"] for row in figures(run, hand_made)["cursors"]] == [7.0]


def test_the_watchdog_ends_with_1_when_no_cycle_ever_succeeded(run: Run, hand_made: HandMade) -> None:
    hand_made.publish()
    ran = run("status", "--fail-if-older-than", "30d", environment=hand_made.environment)
    assert ran.code == 1
    assert "No cycle has succeeded yet" in ran.err


@pytest.mark.parametrize("text", ["30", "m", "1w", "-5m", "1.5h"])
def test_a_malformed_span_ends_with_2(run: Run, hand_made: HandMade, text: str) -> None:
    ran = run("status", "--fail-if-older-than", text, environment=hand_made.environment)
    assert ran.code == 2
    assert "Traceback" not in ran.err


def test_parked_fields_are_told_with_their_reason(run: Run, hand_made: HandMade) -> None:
    hand_made.publish(
        "insert into state.parked_fields (record_type, marketo_field, dynamics_column, reason, reason_code, was_gone) "
        "values ('lead', 'fax', 'fax', 'Dynamics has no column fax.', 'not_offered', true)"
    )
    shown = run("status", environment=hand_made.environment).out
    assert "lead.fax" in shown
    assert "Dynamics has no column fax." in shown


@pytest.mark.usefixtures("at_twenty_past_two")
def test_findings_of_the_last_week_are_counted_in_words(run: Run, hand_made: HandMade) -> None:
    hand_made.publish(
        "insert into ledger.audit_findings (finding_id, found_at, found_by, code, record_type, person_id, field) values "
        "(1, '2026-03-09', 'census', 'edit_untold', 'person', 1, 'title'), "
        "(2, '2026-03-09', 'census', 'edit_untold', 'person', 2, 'title'), "
        "(3, '2026-03-01', 'census', 'deletion_untold', 'person', 3, null)"
    )
    assert [(row["finding_code"], row["n"]) for row in figures(run, hand_made)["findings"]] == [("edit_untold", 2)]
    assert "2 × edit that no feed told" in run("status", environment=hand_made.environment).out


def test_open_errors_are_counted_by_state(run: Run, hand_made: HandMade) -> None:
    hand_made.publish(
        "insert into ledger.sync_errors (error_id, state, cycle_id, happened_at, last_seen_at, record_type, dynamics_id, "
        "operation, direction, code, message, attempts) "
        "select *, 1, timestamp '2026-01-01', timestamp '2026-01-01', 'lead', 'x', 'update', 'to_dynamics', 'c', 'm', 1 "
        "from values (1, 'waiting'), (2, 'waiting'), (3, 'quarantined'), (4, 'resolved')"
    )
    assert figures(run, hand_made)["open_errors"] == {"quarantined": 1, "waiting": 2}


@pytest.mark.usefixtures("at_twenty_past_two")
def test_the_queue_of_requests_is_told_with_what_waits_and_what_was_refused(run: Run, hand_made: HandMade) -> None:
    hand_made.publish()
    assert "Requests" not in run("status", environment=hand_made.environment).out
    with RequestStore(hand_made.settings.requests_file) as store:
        wishes = [Wish(n, RecordType.LEAD, "webhook") for n in (1, 2, 3)]
        open_one, waiting, refused = store.ask(wishes, AT - timedelta(minutes=5))
        (task,) = store.ask([Wish(1, RecordType.LEAD, "push", kind="task", task=Task("Call"))], AT)
        store.put_off(waiting, AT + timedelta(minutes=2), "Dynamics does not answer.")
        store.ended([(refused, "required", "lastName is empty in Marketo.", "lastName")])
        (old,) = store.ask([Wish(4, RecordType.LEAD, "push")], AT - timedelta(days=8))
        store.ended([(old, "refused", "long ago", None)])
        assert [each.request_id for each in store.of_person(1)] == [task, open_one]
    told = " ".join(run("status", environment=hand_made.environment).out.split())
    assert "Requests: 3 open, the oldest asked for 5 min ago; 1 of them wait. Refused in the last 7 days: 1." in told
    assert "Person 2 was asked to become a lead" in told
    assert "tried 1 time" in told and "Dynamics does not answer." in told
    assert "people 3." in told
    figures = json.loads(run("status", "--json", environment=hand_made.environment).out)["requests"]
    assert (figures["n_open"], figures["n_waiting"], figures["n_refused"]) == (3, 1, 1)
    explained = run("explain", "3", environment=hand_made.environment)
    assert "required. lastName is empty in Marketo. It is not tried again by itself." in " ".join(explained.out.split())
    assert explained.code == 1, "no cycle has seen that person"


def test_without_a_snapshot_one_sentence_names_the_next_command(run: Run, unborn: HandMade) -> None:
    for arguments in (["status"], ["errors"], ["explain", "1"]):
        ran = run(*arguments, environment=unborn.environment)
        assert ran.code == 1
        assert ran.out == ""
        assert "dynsync sync" in ran.err
        assert "Traceback" not in ran.err


def test_without_a_snapshot_a_first_cycle_that_runs_is_told(run: Run, unborn: HandMade) -> None:
    with CycleLock(unborn.settings.lock_file):
        ran = run("status", environment=unborn.environment)
    assert ran.code == 1
    assert "the first cycle has been running since" in ran.err


def test_a_running_cycle_is_told_and_not_waited_for(run: Run, hand_made: HandMade) -> None:
    hand_made.publish()
    with CycleLock(hand_made.settings.lock_file):
        assert "Running now: since" in run("status", environment=hand_made.environment).out
        assert figures(run, hand_made)["is_running"] is True
    assert figures(run, hand_made)["is_running"] is False


def test_a_run_that_published_nothing_is_not_hidden_by_an_older_success(run: Run, hand_made: HandMade) -> None:
    hour_ago = f"{now() - timedelta(hours=1):%Y-%m-%d %H:%M:%S}"
    hand_made.publish(hand_made.cycle(1, hour_ago))
    assert "Since then a run began" not in run("status", environment=hand_made.environment).out
    with CycleLock(hand_made.settings.lock_file):
        pass
    assert "Since then a run began" in run("status", environment=hand_made.environment).out


def test_a_snapshot_of_another_version_is_one_sentence(run: Run, unborn: HandMade) -> None:
    with duckdb.connect(unborn.settings.snapshot_file) as other:
        other.execute("create table people (id integer)")
    ran = run("status", environment=unborn.environment)
    assert ran.code == 1
    assert "another version" in ran.err


def test_a_real_world_is_told_as_it_is(run: Run, looked: Looked) -> None:
    """R123."""
    found = json.loads(run("status", "--json", environment=looked.world.environment).out)
    assert {row["object"]: (row["n_inserts"], row["n_updates"]) for row in found["backlog"]} == {
        "account": (0, 0),
        "contact": (0, 1),  # the e-mail that Marketo refused
        "lead": (0, 0),
        "person": (0, 1),  # the title that Dynamics refused
    }
    assert found["last_cycle"]["status"] == "succeeded"
    assert found["open_errors"] == {"waiting": 2}
    assert [row["what"] for row in found["cursors"] if row["days_left"] in (7.0, 14.0, 90.0)] == [
        "Dynamics accounts",
        "Dynamics contacts",
        "Dynamics leads",
        "Marketo changes",
        "Marketo deletions",
    ]
    assert all(row["n_used"] > 0 for row in found["calls"])


@story
def test_looking_works_in_another_process_while_a_cycle_holds_the_working_file(looked: Looked) -> None:
    data_dir = looked.world.data_dir
    with CycleLock(data_dir / "cycle.lock"), Warehouse(data_dir / "dynsync.duckdb"):
        for arguments in (["status"], ["errors"], ["explain", str(looked.contact)]):
            ran = looked.world.dynsync(*arguments)
            assert ran.returncode == 0, ran.stderr


@story
def test_no_line_is_wider_than_the_terminal(run: Run, looked: Looked) -> None:
    for width in (80, 120):
        for arguments in (["status"], ["errors"], ["explain", str(looked.contact)]):
            shown = run(*arguments, environment=looked.world.environment, width=width).out
            assert max(len(line) for line in shown.splitlines()) <= width


def test_an_erasure_that_was_cut_is_told_first_until_it_has_ended(run: Run, hand_made: HandMade) -> None:
    hand_made.publish()
    for is_finished in (False, True):
        keep_erasures(hand_made.settings.data_dir, Erasures({"key": [Erasure("2026-03-10", ["h"], is_finished)]}))
        shown = run("status", environment=hand_made.environment)
        assert shown.code == 0
        assert ("dynsync forget --finish" in " ".join(shown.out.split())) is not is_finished


def test_a_working_file_that_is_gone_is_told_before_a_cycle_begins_anew(run: Run, hand_made: HandMade) -> None:
    hand_made.publish()
    hand_made.settings.lock_file.touch()
    assert "is gone" not in run("status", environment=hand_made.environment).out
    hand_made.settings.working_file.unlink()
    shown = run("status", environment=hand_made.environment)
    assert (shown.code, "The working file is gone" in shown.out) == (0, True)
