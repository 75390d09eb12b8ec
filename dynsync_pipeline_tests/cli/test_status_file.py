"""`dynsync status` by `status.json` alone: the same words as by the snapshot, no database opened, never of another one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from dynsync_pipeline.cli import looking
from dynsync_pipeline.cli import status as command
from dynsync_pipeline.model.records import RecordType
from dynsync_pipeline.publish.snapshot import publish_snapshot
from dynsync_pipeline.publish.status_file import status_file, told_standing, write_status_files
from dynsync_pipeline.requests.store import RequestStore, Wish
from dynsync_pipeline.warehouse.connection import Warehouse, utc_now
from dynsync_pipeline.warehouse.cycles import ended
from dynsync_pipeline.warehouse.erased import CUT, Erasure, Erasures, keep_erasures
from dynsync_pipeline_tests.cli.conftest import HandMade, Run

NOW = datetime.now(UTC).replace(tzinfo=None)
ASKED_AFTER = (1.0, 3_599.0, 7_201.0, 90_000.0, 6.9 * 86_400, 7.1 * 86_400)  # seconds
_LOADED = (
    "import sys; from dynsync_pipeline.cli import main; sys.argv = ['dynsync', *sys.argv[1:]]\n"
    "try: main()\n"
    "except SystemExit: pass\n"
    "print([name for name in ('duckdb', 'pandas', 'pyarrow', 'httpx', 'dagster') if name in sys.modules], file=sys.stderr)"
)


def ago(**span: float) -> str:
    return f"timestamp '{NOW - timedelta(**span)}'"


def everything() -> list[str]:
    """Something of whatever `dynsync status` tells."""
    return [
        *(
            "insert into ledger.cycles (cycle_id, started_at, ended_at, status, message, is_whole, n_calls_dynamics, "
            f"n_calls_marketo, n_waiting) values ({n}, {ago(hours=hours)}, {ago(hours=hours - 0.01)}, '{status}', "
            f"nullif('{message}', ''), {status == 'succeeded'}, 7, 11, 3)"
            for n, (hours, status, message) in enumerate([(30, "succeeded", ""), (5, "succeeded", ""), (1, "failed", "[No]")], 1)
        ),
        f"insert into ledger.calls_between values ({ago(hours=23)}, 'marketo', 5), ({ago(hours=1)}, 'dynamics', 2)",
        "insert into ledger.budget_days values "
        f"('marketo', {ago(hours=9)}, {ago(hours=-3)}, {ago(hours=1)}, 9, 50, 100, 60, 1, 2)",
        "insert into state.cursors (stream, cursor, columns, is_loaded, moved_at) values "
        f"('dynamics_leads', 'x', '', true, {ago(days=6)}), ('marketo_people', 'x', '', false, {ago(hours=1)})",
        *(
            f"insert into ledger.backlog_hours values (date_trunc('hour', {ago(hours=hours)}), '{kind}', 2, {2 * n}, 1, {n}, {n})"
            for hours, n in ((7, 3), (6, 9), (0, 4))
            for kind in ("contact", "lead")
        ),
        "insert into ledger.changes (cycle_id, field, rule_code, entry_id, changed_at, direction, record_type, dynamics_id) "
        f"select 1, 'title', 'one_sided', * from values (1, {ago(hours=1)}, 'to_marketo', 'contact', 'a'), "
        f"(2, {ago(hours=1)}, 'to_marketo', 'contact', 'b'), (3, {ago()}, 'to_dynamics', 'lead', 'c')",
        "insert into ledger.audit_findings (finding_id, found_at, found_by, code, record_type, person_id, field) values "
        f"(1, {ago(days=6)}, 'census', 'edit_untold', 'person', 1, 'title'), "
        f"(2, {ago(days=1)}, 'census', 'edit_untold', 'person', 2, 'title'), "
        f"(3, {ago(days=2)}, 'census', 'deletion_untold', 'person', 3, null)",
        "insert into ledger.sync_errors (error_id, state, cycle_id, happened_at, last_seen_at, record_type, dynamics_id, "
        f"operation, direction, code, message, attempts) values (1, 'waiting', 1, {ago()}, {ago()}, 'lead', 'x', 'update', "
        "'to_dynamics', 'c', 'm', 1)",
        "insert into state.parked_fields (record_type, marketo_field, dynamics_column, reason, reason_code, was_gone) "
        "values ('lead', 'fax', 'fax', 'Dynamics has no column fax.', 'not_offered', true)",
        "insert into state.approvals (approval_id, cause, cause_name, n_people, record_type, dynamics_id, direction, asked_at) "
        f"values (4, 'account', 'a-1', 12000, 'account', 'a-1', 'to_marketo', {ago(hours=2)})",
        "insert into state.back_fills values "
        f"(5, 'contact', ['title', 'city'], '2026-01-01', null, {ago(hours=3)}, null, 900, 100, 0, null, null)",
        f"insert into state.back_fill_windows values (5, 'contact', null, null, 2, {ago(hours=-1)}, 'It is too long.')",
        f"insert into state.unsettled values ('lead', 'l', null, null, null, null, 'planned', null, 0, {ago(hours=2)}, {ago()})",
        "insert into state.links values (1, 'contact', 'contact-1', '2026-01-01')",
        "insert into state.base (person_id, title) values (1, 'A')",
        f"insert into state.unsettled values ('contact', 'contact-1', 1, 'title', 'B', 'C', 'planned', null, 0, {ago(hours=4)}, "
        f"{ago()})",
        "insert into mirror.marketo_people (person_id, dynamics_contact_id, is_deleted) values (1, 'contact-1', false)",
        f"insert into state.filtered_out values ('contact', 'contact-1', {ago(days=1)})",
        "insert into state.unpublished values ('people', null, 1)",
    ]  # fmt: skip


@pytest.fixture
def told(hand_made: HandMade) -> HandMade:
    """A data folder in which everything is told, by the snapshot and by `status.json`."""
    hand_made.publish(*everything())
    with Warehouse(hand_made.settings.working_file) as warehouse:
        write_status_files(warehouse, hand_made.settings, hand_made.fields)
    return hand_made


@pytest.fixture
def asked_at(monkeypatch: pytest.MonkeyPatch) -> Callable[[datetime], None]:
    return lambda at: monkeypatch.setattr(command, "now", lambda: at)


def shown(run: Run, folder: HandMade) -> tuple[str, Any]:
    text = run("status", environment=folder.environment)
    figures = run("status", "--json", environment=folder.environment)
    assert (text.code, figures.code) == (0, 0)
    return text.out, json.loads(figures.out)


def loaded(folder: HandMade) -> str:
    """Which of the heavy libraries a process needs for `dynsync status`."""
    ran = subprocess.run(
        [sys.executable, "-c", _LOADED, "status"],
        env=os.environ | folder.environment,
        cwd=folder.settings.data_dir,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "Status at" in ran.stdout
    return ran.stderr.strip()


def put_another_there(folder: HandMade) -> None:
    """As another snapshot looks that was swapped in, or copied there."""
    os.utime(folder.settings.snapshot_file, (1, 1))


def test_status_json_alone_is_told_in_the_same_words_as_the_snapshot_whenever_it_is_asked(
    run: Run, told: HandMade, asked_at: Callable[[datetime], None]
) -> None:
    moments = [looking.now() + timedelta(seconds=each) for each in ASKED_AFTER]
    by_file = []
    for at in moments:
        asked_at(at)
        assert told_standing(told.settings.snapshot_file, at) is not None
        by_file.append(shown(run, told))
    put_another_there(told)
    for at, seen in zip(moments, by_file, strict=True):
        asked_at(at)
        assert told_standing(told.settings.snapshot_file, at) is None
        assert shown(run, told) == seen
    figures = by_file[0][1]
    assert all(figures[name] for name in figures.keys() - {"requests", "paused", "is_running", "running_since"})
    assert figures["stale"] == {"contact": 1}
    assert [row["n"] for row in figures["findings"]] == [1, 2]


def test_no_database_is_opened_where_status_json_tells_it(told: HandMade) -> None:
    assert loaded(told) == "[]"
    put_another_there(told)
    assert "duckdb" in loaded(told)


def test_what_was_told_of_another_snapshot_by_another_version_or_later_is_not_taken(told: HandMade) -> None:
    snapshot = told.settings.snapshot_file
    file, later = status_file(snapshot), looking.now() + timedelta(minutes=1)
    content = json.loads(file.read_text("utf-8"))
    assert told_standing(snapshot, later) is not None
    assert told_standing(snapshot, later - timedelta(hours=1)) is None, "a clock that was set back"
    wrong: list[object] = [None, [], {}, {"publication": content["publication"]}, {"standing": 5}, {"standing": []}]
    for name in content["standing"]:
        wrong.append({"standing": {key: value for key, value in content["standing"].items() if key != name}})
        wrong.append({"standing": content["standing"] | {name: "x"}})
    file.chmod(0o600)
    for each in wrong:
        file.write_text(json.dumps(each), "utf-8")
        assert told_standing(snapshot, later) is None, each
    file.write_bytes(json.dumps(content).encode()[:-40])
    assert told_standing(snapshot, later) is None
    file.unlink()
    assert told_standing(snapshot, later) is None


def test_what_was_selected_by_a_clock_that_was_set_back_since_is_not_taken(hand_made: HandMade) -> None:
    """A cycle of which only some steps ran swaps nothing in: what it tells was selected for later than it tells it."""
    settings, fields = hand_made.settings, hand_made.fields
    with Warehouse(settings.working_file, lambda: utc_now() + timedelta(hours=6)) as ahead:
        publish_snapshot(ahead, settings, fields, ended(0, ahead.now(), is_whole=True, failures=[]))
    with Warehouse(settings.working_file) as warehouse:
        write_status_files(warehouse, settings, fields)
    assert told_standing(settings.snapshot_file, looking.now()) is None
    assert told_standing(settings.snapshot_file, looking.now() + timedelta(hours=7)) is not None


def test_what_is_too_much_for_status_json_is_left_to_the_snapshot(hand_made: HandMade) -> None:
    """It is written again in every cycle, also in one in which nothing happened."""
    hand_made.publish(
        "insert into state.approvals (approval_id, cause, cause_name, n_people, record_type, dynamics_id, direction, asked_at) "
        "select n, 'account', uuid()::varchar, 12, 'account', uuid()::varchar, 'to_marketo', now()::timestamp "
        "from range(5000) r(n)"
    )
    with Warehouse(hand_made.settings.working_file) as warehouse:
        write_status_files(warehouse, hand_made.settings, hand_made.fields)
    assert status_file(hand_made.settings.snapshot_file).stat().st_size < 100_000
    assert told_standing(hand_made.settings.snapshot_file, looking.now()) is None


def test_what_happened_since_the_last_cycle_is_told_all_the_same(run: Run, told: HandMade) -> None:
    """Nobody writes `status.json` when a pause, a request or an erasure begins."""
    settings = told.settings
    with RequestStore(settings.requests_file) as store:
        store.ask([Wish(1, RecordType.LEAD, "webhook")], looking.now())
    keep_erasures(settings.data_dir, Erasures({"key": [Erasure("2026-03-10", ["h"])]}))
    assert run("pause", "--why", "an import", environment=told.environment).code == 0
    assert told_standing(settings.snapshot_file, looking.now()) is not None
    text, figures = shown(run, told)
    words = " ".join(text.split())
    assert "(an import)" in words and CUT in words and "Requests: 1 open" in words
    assert (figures["paused"]["why"], figures["requests"]["n_open"]) == ("an import", 1)


def test_without_the_snapshot_status_json_tells_nothing(run: Run, told: HandMade) -> None:
    Path(told.settings.snapshot_file).unlink()
    ran = run("status", environment=told.environment)
    assert (ran.code, ran.out) == (1, "")
    assert "There is no snapshot" in ran.err
