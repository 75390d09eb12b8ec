"""What was parsed of a text is remembered, of as many texts as may be, and those in use stay."""

from __future__ import annotations

import duckdb
import pytest

from dynsync_pipeline.warehouse import parsing
from dynsync_pipeline.warehouse.parsing import parsing_once


def test_texts_with_a_number_of_their_own_push_out_no_text_that_is_used_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parsing, "MOST_TEXTS", 10)
    monkeypatch.setattr(parsing, "_PARSED", {})
    connection = parsing_once(duckdb.connect())
    connection.execute("select 'again'")
    (kept,) = parsing._PARSED["select 'again'"]
    for number in range(50):
        assert connection.execute(f"select {number}").fetchall() == [(number,)]
        assert connection.execute("select 'again'").fetchall() == [("again",)]
    assert parsing._PARSED["select 'again'"] == [kept]
    assert len(parsing._PARSED) == 10
