"""People are told what they have to know: once, again a day later, nothing of what has healed; by a real webhook."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import dynsync_pipeline.operate.notify as notifying
from dynsync_pipeline.errors import NotTold, SettingsWrong
from dynsync_pipeline.operate.notify import FILE, LONGEST_S, notify, notify_quietly, send_test
from dynsync_pipeline.settings import Settings
from dynsync_pipeline.warehouse.connection import utc_now
from dynsync_pipeline.warehouse.pause import pause, resume
from dynsync_pipeline_tests.cli.conftest import HandMade
from dynsync_pipeline_tests.properties.effort import story
from dynsync_pipeline_tests.worlds.hook import Hook, listening
from dynsync_pipeline_tests.worlds.ports import free_port

ERROR = (
    "insert into ledger.sync_errors (cycle_id, happened_at, error_id, last_seen_at, record_type, person_id, dynamics_id, "
    "field, operation, direction, code, message, attempts, state) "
)


@pytest.fixture
def hook() -> Iterator[Hook]:
    with listening() as server:
        yield server


@pytest.fixture
def home(tmp_path: Path) -> HandMade:
    return HandMade(tmp_path)


@pytest.fixture(scope="module")
def failed_world(tmp_path_factory: pytest.TempPathFactory) -> HandMade:
    """Where the last three cycles failed."""
    home = HandMade(tmp_path_factory.mktemp("failed"))
    home.publish(*failed(home))
    return home


@pytest.fixture
def failing(failed_world: HandMade) -> HandMade:
    """The same, of which nobody was told."""
    (failed_world.settings.data_dir / FILE).unlink(missing_ok=True)
    return failed_world


def told_by(home: HandMade, hook: Hook, **more: Any) -> Settings:
    return Settings(data_dir=home.settings.data_dir, notify=hook.address, **more)


def ago(length: timedelta) -> str:
    return f"{utc_now().replace(tzinfo=None) - length:%Y-%m-%d %H:%M:%S}"


def cycle(home: HandMade, number: int, minutes_ago: int, status: str = "succeeded", message: str = "") -> str:
    return home.cycle(number, ago(timedelta(minutes=minutes_ago)), status, message)


def codes(settings: Settings) -> list[str]:
    return [code.partition(" ")[0] for code in notify(settings)]


def failed(home: HandMade, *, n: int = 3) -> list[str]:
    cycles = [cycle(home, 10 + i, 12 - i, "failed", "Marketo does not answer.") for i in range(n)]
    return [
        cycle(home, 9, 20),
        *cycles,
        "update ledger.cycles set failure_code = 'unreachable' where status = 'failed'",
    ]


def later(settings: Settings, length: timedelta) -> None:
    """Let what was told have been told so much earlier."""
    file = settings.data_dir / FILE
    told = {code: datetime.fromisoformat(at) - length for code, at in json.loads(file.read_text()).items()}
    file.write_text(json.dumps({code: at.isoformat() for code, at in told.items()}))


@story
def test_cycles_that_fail_are_told_at_the_third_once_and_again_a_day_later(home: HandMade, hook: Hook) -> None:
    settings = told_by(home, hook)
    home.publish(*failed(home, n=2))
    assert codes(settings) == [], "one after the other is a system's own trouble"
    assert hook.told == []
    home.publish(cycle(home, 12, 1, "failed", "Marketo does not answer."))
    assert codes(settings) == ["cycles_failed"]
    assert "Marketo does not answer." in hook.told[0]["message"]
    assert codes(settings) == [], "it is told already"
    later(settings, timedelta(hours=25))
    assert codes(settings) == ["cycles_failed"], "it lasts"
    home.publish(cycle(home, 13, 0))
    assert codes(settings) == [], "what has healed is quiet"
    assert len(hook.told) == 2
    home.publish(*[cycle(home, 14 + i, 0, "failed", "Marketo does not answer.") for i in range(3)])
    assert codes(settings) == [], "it came back at once"
    later(settings, timedelta(hours=2))
    assert codes(settings) == [], "it lasts, and was told two hours ago"


@story
def test_a_night_of_failures_is_told_once_whatever_each_of_them_quotes(home: HandMade, hook: Hook) -> None:
    settings = told_by(home, hook)
    kinds = ["server_failed", "timed_out"]
    home.publish(
        *failed(home), "update ledger.cycles set failure_code = 'server_failed' where failure_code is not null"
    )
    for number in range(6):
        quoted = f"Dynamics answered 500: see activity {'abcdef'[number] * 8}."
        home.publish(
            cycle(home, 20 + number, 0, "failed", quoted),
            f"update ledger.cycles set failure_code = '{kinds[number // 2 % 2]}' where cycle_id = {20 + number}",
        )
        codes(settings)
        later(settings, timedelta(minutes=50))
    assert len(hook.told) == 2, "one for each kind of failure"


OCCASIONS = {
    "stopped_by_guard": "More than 1,000 new people.",
    "access_lost": "The user lacks prvReadContact.",
    "lag": "No cycle has succeeded since",
    "cursor_dying": "Dynamics contacts",
    "not_read": "Dynamics accounts",
    "fields_hidden": "contact.jobtitle",
    "gap_found": "2 × edit that no feed told",
    "reviews_wait": "`dynsync review`",
    "approvals_wait": "`dynsync approve`",
    "merges_wait": "`dynsync merge`",
}


@story
def test_each_occasion_is_told_with_what_to_do_until_somebody_pauses_the_sync(home: HandMade, hook: Hook) -> None:
    hour, minutes = ago(timedelta(hours=1)), ago(timedelta(minutes=9))
    merge = "1, 1, now() at time zone 'UTC', 'qualified', 1, 'contact', 'a', 2, 'lead', 'b', 'open', null"
    home.publish(
        cycle(home, 1, 61),
        *[
            f"insert into state.cursors (stream, columns, moved_at, is_loaded) values ('{stream}', 'x', '{at}', true)"
            for stream, at in {
                "dynamics_contacts": ago(timedelta(days=5, hours=2)),
                "dynamics_accounts": minutes,
            }.items()
        ],
        "insert into state.refused_links (stream, read_anew_at, waits_because, is_behind) "
        f"values ('dynamics_accounts', '{hour}', 'Bad link.', false)",
        "insert into ledger.schema_changes (entry_id, seen_at, system, record_type, name, code) "
        f"values (1, '{hour}', 'dynamics', 'contact', 'jobtitle', 'column_hidden')",
        "insert into ledger.audit_findings (finding_id, found_at, found_by, code) "
        f"select i, '{hour}', 'census', 'edit_untold' from range(2) r(i)",
        "insert into state.reviews (review_id, person_id, record_type, dynamics_id, field, opened_at) "
        f"values (1, 1, 'lead', 'b', 'city', '{hour}')",
        "insert into state.approvals (approval_id, cause, cause_name, n_people, record_type, dynamics_id, direction, asked_at) "
        f"values (1, 'account', 'acme', 9, 'account', 'acme', 'to_marketo', '{hour}')",
        f"insert into ledger.merge_proposals values ({merge})",
    )
    settings = told_by(home, hook)
    expected = [
        "lag",
        "fields_hidden",
        "not_read",
        "cursor_dying",
        "gap_found",
        "reviews_wait",
        "approvals_wait",
        "merges_wait",
    ]
    assert codes(settings) == expected
    (message,) = hook.told
    paragraphs = message["message"].split("\n\n")
    assert [OCCASIONS[code] in told for code, told in zip(expected, paragraphs, strict=True)] == [True] * len(expected)
    assert all(len(told.split("\n")) == 2 for told in paragraphs), "what happened, and below it what to do"
    assert "and 7 more" in message["title"]
    assert str(settings.data_dir.resolve()) in message["title"]

    home.publish(cycle(home, 2, 1, "stopped_by_guard", "More than 1,000 new people."))
    assert codes(settings) == ["stopped_by_guard"]
    home.publish(cycle(home, 3, 1, "stopped_by_guard", "More than 1,001 new people."))
    assert codes(settings) == [], "that is the same, a cycle later"
    home.publish(cycle(home, 4, 1, "stopped_by_guard", "More than 50 links are doubled."))
    assert codes(settings) == ["stopped_by_guard"], "that is another guard"
    denied = cycle(home, 5, 0, "failed", "The user lacks prvReadContact.")
    home.publish(denied, "update ledger.cycles set failure_code = 'access_denied' where cycle_id = 5")
    assert codes(settings) == ["access_lost"]
    assert OCCASIONS["access_lost"] in hook.told[-1]["message"]

    (settings.data_dir / FILE).unlink()
    pause(settings.data_dir, "import")
    assert codes(settings) == [], "whoever paused the sync knows"
    resume(settings.data_dir)
    assert len(codes(settings)) == len(expected) + 1


def test_refusals_are_told_once_in_a_day_by_cause_and_without_a_person(home: HandMade, hook: Hook) -> None:
    """R122."""
    home.publish(
        cycle(home, 1, 5),
        "insert into mirror.dynamics_contacts (contactid, is_deleted, lastname, emailaddress1) "
        "values ('aaa', false, 'O''Brien', 'grüße@example.com')",
        f"{ERROR} select 1, now() at time zone 'UTC', i, now() at time zone 'UTC', 'contact', null, 'aaa', 'email', "
        "'create', 'to_marketo', '1003', 'Invalid value grüße', 1, state from values (1, 'waiting'), (2, 'quarantined'), "
        "(3, 'resolved') as t(i, state)",
    )
    settings = told_by(home, hook)
    assert codes(settings) == ["refusals"]
    (message,) = hook.told
    assert "2 × 1003 at email: create contact in Marketo" in message["message"]
    assert not any(personal in json.dumps(message) for personal in ("Brien", "gr", "example.com", "aaa"))
    assert codes(settings) == []
    later(settings, timedelta(hours=24))
    assert codes(told_by(home, hook, notify_values=True)) == ["refusals"]
    assert "O'Brien (aaa): grüße@example.com" in hook.told[1]["message"], "somebody asked for it"


def test_a_message_names_the_pair_that_it_is_about_and_its_dynamics(failing: HandMade, hook: Hook) -> None:
    notify(told_by(failing, hook, pair="acme", dynamics_url="https://acme.crm.dynamics.com"))
    (message,) = hook.told
    assert message["title"].endswith("(acme, acme.crm.dynamics.com)")


def test_before_anything_is_published_a_cycle_that_ended_long_ago_is_told(home: HandMade, hook: Hook) -> None:
    settings = told_by(home, hook)
    assert codes(settings) == [], "nothing ever ran"
    began = (utc_now() - timedelta(hours=2)).isoformat()
    settings.lock_file.write_text(json.dumps({"process_id": 1, "started_at": began, "ended_at": began}))
    assert codes(settings) == ["lag"]


def test_a_message_that_nobody_took_is_sent_again_and_its_address_told_to_nobody(
    failing: HandMade, hook: Hook, caplog: pytest.LogCaptureFixture
) -> None:
    settings = told_by(failing, hook)
    hook.status = 500
    with pytest.raises(NotTold) as not_told:
        notify(settings)
    notify_quietly(settings)
    assert "secret-path" not in str(not_told.value) + caplog.text
    hook.status = 200
    assert codes(settings) == ["cycles_failed"]


def test_one_address_that_fails_keeps_the_others_from_nothing(
    failing: HandMade, hook: Hook, caplog: pytest.LogCaptureFixture
) -> None:
    address = f"json://127.0.0.1:{free_port()}/secret-path"
    settings = Settings(data_dir=failing.settings.data_dir, notify=f"{address}, {hook.address}")
    assert codes(settings) == ["cycles_failed"]
    assert len(hook.told) == 1
    assert "Not told by JSON" in caplog.text
    assert [way.is_sent for way in send_test(settings)] == [False, True]


@pytest.mark.parametrize("manner", ["hangs", "trickles"])
def test_an_address_that_does_not_come_to_an_end_holds_nobody_up_for_longer_than_the_limit(
    manner: str, failing: HandMade, hook: Hook, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the cycle, nor afterwards the process that ran it: what waits for the address is left with neither."""
    assert LONGEST_S <= 20
    monkeypatch.setattr(notifying, "LONGEST_S", 0.3)
    hook.delay_s = 60.0 if manner == "hangs" else 0.0
    hook.trickles = manner == "trickles"
    before = set(threading.enumerate())
    notify_quietly(told_by(failing, hook))
    assert not hook.has_answered
    left = set(threading.enumerate()) - before
    assert left and all(thread.daemon for thread in left), "a process waits at its end for any other"


def test_an_address_of_no_known_form_is_a_sentence_without_it(home: HandMade) -> None:
    settings = Settings(data_dir=home.settings.data_dir, notify="json://ok hunter2://pass@x")
    with pytest.raises(SettingsWrong) as wrong:
        notify(settings)
    assert "address 2 of 2" in str(wrong.value)
    assert "hunter2" not in str(wrong.value)
