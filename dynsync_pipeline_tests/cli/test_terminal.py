"""What commands print where: on a terminal, into a file, on long work."""

from __future__ import annotations

import io
import logging
import re
import time
from pathlib import Path

import pytest
from rich.table import Table
from typer.testing import CliRunner

from dynsync_pipeline.cli.commands import COMMANDS, load
from dynsync_pipeline.cli.output import PlainConsole, app
from dynsync_pipeline.cli.rules import rules_line
from dynsync_pipeline.cli.working import telling_progress
from dynsync_pipeline.warehouse.first_load import Progress, progress
from dynsync_pipeline_tests.properties.effort import story


@pytest.mark.parametrize(("is_terminal", "has_lines"), [(True, True), (False, False)])
def test_a_table_has_drawn_lines_on_a_terminal_alone(is_terminal: bool, has_lines: bool) -> None:
    file = io.StringIO()
    console = PlainConsole(file=file, force_terminal=is_terminal, color_system=None)
    table = Table("Object")
    table.add_row("contact")
    console.print(table)
    assert any(character in file.getvalue() for character in "│┃━") is has_lines
    assert "contact" in file.getvalue()


def test_long_work_tells_rows_rate_and_the_time_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    at_s = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: at_s[0])
    work = Progress(tmp_path, "contacts read", 10_000)
    at_s[0] += 10
    work.add(5_000)
    assert progress(tmp_path) == {"contacts read": "5,000 of about 10,000 contacts read, 500 a second, 10 s left"}
    at_s[0] += 990
    work.add(1_000)
    assert progress(tmp_path)["contacts read"] == "6,000 of about 10,000 contacts read, 6 a second, 11 min left"
    work.add(4_000)
    assert progress(tmp_path)["contacts read"] == "10,000 of about 10,000 contacts read"


def test_a_later_cycle_tells_how_far_it_is_once_that_takes_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="dynsync_pipeline.first_load")
    at_s = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: at_s[0])
    work = Progress(tmp_path, "people updated in Marketo", 9_000, is_first=False)
    at_s[0] += 2
    work.add(300)
    assert progress(tmp_path) == {}
    at_s[0] += 58
    work.add(2_700)
    told = "3,000 of about 9,000 people updated in Marketo, 50 a second, 2 min left"
    assert list(progress(tmp_path).values()) == [told]
    assert [record.getMessage() for record in caplog.records] == [f"{told}."]


def test_a_choice_that_there_is_not_is_told_in_a_sentence_of_one_piece() -> None:
    load(["backfill", "rules"])
    told = CliRunner().invoke(app, ["backfill", "--table", "person"], env={"COLUMNS": "200"})
    assert told.exit_code == 2
    assert "Invalid value for '--table': 'person' is not one of 'account', 'contact', 'lead'." in told.output


@story
@pytest.mark.parametrize("command", sorted(COMMANDS.keys() - {"rules"}))
def test_the_help_of_a_command_breaks_no_choice_at_80_columns(command: str) -> None:
    load([command])
    told = CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "80", "TERMINAL_WIDTH": "80"}).output
    broken = [line for line in told.splitlines() if re.search(r"<[a-z_|]*\|[a-z_|]*(\s|$)", line)]
    assert broken == []


def test_without_a_terminal_each_step_is_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with telling_progress(tmp_path) as tell:
        tell("Comparing")
        tell("Writing")
    assert capsys.readouterr().err.splitlines() == ["Comparing …", "Writing …"]


def test_rules_lead_to_their_place_on_the_page() -> None:
    line = rules_line(["R35 lead: Marketo wins", None, "R5 and R35", "HR99x"])
    assert line is not None
    assert line.plain == "Rules: R5, R35 in docs/sync-rules.md"
    links = [span.style.link for span in line.spans if not isinstance(span.style, str) and span.style.link]
    assert [link.rpartition("/")[2] for link in links] == ["sync-rules.md#r5", "sync-rules.md#r35"]
    assert rules_line(["nothing"]) is None
