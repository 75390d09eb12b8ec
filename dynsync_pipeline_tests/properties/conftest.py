"""Tells at the end how many examples met a collision."""

from __future__ import annotations

import pytest

from dynsync_pipeline_tests.properties.effort import TALLY, tally_sentence


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if TALLY["examples"]:
        terminalreporter.write_line(tally_sentence())
