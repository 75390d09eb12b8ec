"""The first load is told before it begins, while it runs, and when it has ended (R4)."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta

import pytest

from dynsync_pipeline.cli.looking import first_load_sentence
from dynsync_pipeline.errors import AccessDenied
from dynsync_pipeline.extract.first_load import estimate
from dynsync_pipeline.model.records import RecordType
from dynsync_pipeline.settings import Settings
from dynsync_pipeline.warehouse import first_load
from dynsync_pipeline_tests.properties.effort import story
from dynsync_pipeline_tests.worlds.memory import MemoryWorld, field_map

AT = datetime.fromisoformat("2026-01-01")
ACCOUNT, CONTACT, LEAD = RecordType.ACCOUNT, RecordType.CONTACT, RecordType.LEAD


def test_an_estimate_follows_rows_budgets_and_the_oldest_person() -> None:
    small = Settings(marketo_oldest_person="2025-12-01")
    few = estimate({ACCOUNT: 1, CONTACT: 1, LEAD: 0}, small, AT)
    assert few.n_rows == {ACCOUNT: 1, CONTACT: 1, LEAD: 0}
    assert few.n_calls["dynamics"] == 2 + 3
    assert few.length < timedelta(minutes=10)
    many = estimate({ACCOUNT: 60_000, CONTACT: 900_000, LEAD: 100_000}, small, AT)
    assert many.n_calls["dynamics"] == 12 + 180 + 20 + 3
    writes = 2 * (3_000 + 334) + 3 * 200
    assert writes < many.n_calls["marketo"] < writes + 20
    assert timedelta(hours=8) < many.length < timedelta(hours=9)
    told = str(many)
    assert told.startswith("about 60,000 accounts, 900,000 contacts, 100,000 leads: 215 calls of Dynamics and 7,2")
    assert told.endswith("about 8 h")
    tight = small.model_copy(update={"marketo_calls_per_day": 1_000})
    assert estimate(many.n_rows, tight, AT).length > timedelta(days=7)
    old = small.model_copy(update={"marketo_oldest_person": "2006-01-01"})
    assert estimate(few.n_rows, old, AT).length > timedelta(hours=6), "244 bulk exports"


def test_a_first_load_is_told_before_while_and_after_and_later_cycles_are_silent(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO, logger="dynsync_pipeline.first_load")
    monkeypatch.setattr(first_load, "GAP_S", 0.0)
    world = MemoryWorld(field_map("title,jobtitle,text,both,true"))
    world.publishes = True
    for n in range(3):
        world.dynamics.put(CONTACT, f"c{n}", jobtitle="A")
    world.dynamics.put(LEAD, "l", jobtitle="A")
    world.cycle(cut_after=2)
    refuses, seen = world.marketo.refuses, list[str]()
    world.marketo.refuses = lambda key, values: seen.append(first_load_sentence(world.settings))
    world.settled()
    world.marketo.refuses = refuses
    assert seen[0].startswith("First load: about 0 accounts, 3 contacts, 1 leads: "), "for `dynsync status`"
    assert "So far 0 of about 0 accounts read, 3 of about 3 contacts read, 1 of about 1 leads read" in seen[0]
    assert "of about 4 people created in Marketo" in seen[-1]
    assert first_load_sentence(world.settings) == ""

    def told() -> list[str]:
        return [record.getMessage() for record in caplog.records if record.name == "dynsync_pipeline.first_load"]

    lines = told()
    assert lines[0].startswith("First load: about 0 accounts, 3 contacts, 1 leads: ")
    assert "First load: 3 of about 3 contacts read." in lines
    assert "First load: 4 of about 4 people created in Marketo." in lines
    assert lines[-1] == "The first load has ended: 4 people are linked, 0 errors are open (`dynsync errors`)."
    assert sum("has ended" in line for line in lines) == 1
    assert world.rows("from state.expected_rows") == []
    n_lines = len(lines)
    world.dynamics.put(CONTACT, "c9", jobtitle="A")
    world.settled()
    assert len(told()) == n_lines


@story
def test_a_later_cycle_that_writes_for_long_tells_how_far_it_is_until_it_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(first_load, "LONG_S", 0.0)
    world = MemoryWorld(field_map("title,jobtitle,text,both,true"))
    world.publishes = True
    world.link(LEAD, "l", title="A")
    person_id = world.link(CONTACT, "c", title="A")
    world.settled()
    first_load.note_progress(world.settings.data_dir, "people created in Marketo", "300 of about 900")
    assert first_load_sentence(world.settings) == "", "none runs any more"
    seen = list[dict[str, str]]()
    refuses = world.marketo.refuses
    world.marketo.refuses = lambda key, values: seen.append(first_load.progress(world.settings.data_dir))
    world.dynamics.put(LEAD, "l", jobtitle="B")
    world.marketo.put(person_id, title="C")
    world.cycle()
    assert "people created in Marketo" not in seen[0], "a killed cycle told that"
    assert seen[0]["records updated in Dynamics"] == "1 of about 1 records updated in Dynamics"
    assert first_load.progress(world.settings.data_dir) == {}
    assert first_load_sentence(world.settings) == ""
    world.marketo.refuses = refuses
    world.settled()
    assert world.both(person_id, "title") == ("C", "C")


def test_a_dynamics_that_does_not_count_holds_nothing_up(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO, logger="dynsync_pipeline.first_load")
    world = MemoryWorld(field_map("title,jobtitle,text,both,true"))
    world.dynamics.counts_fail = AccessDenied(
        "No.", system="dynamics", request="GET RetrieveTotalRecordCount", status=403
    )
    person_id = world.link(LEAD, "l", title="A")
    world.settled()
    assert world.base(person_id, "title") == "A"
    assert "does not tell how many rows" in caplog.text
