"""What is known of the statements of the rule files beforehand is what DuckDB tells of them now."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import duckdb
import pytest

import dynsync_pipeline
from dynsync_pipeline import sql_known
from dynsync_pipeline.model.records import RecordType
from dynsync_pipeline.reconcile.plan import STEPS
from dynsync_pipeline.sql_files import run_steps, sql_file, statements
from dynsync_pipeline.sql_known import Known, known_of
from dynsync_pipeline_tests.known_file import known_file
from dynsync_pipeline_tests.worlds.memory import MemoryWorld
from dynsync_pipeline_tests.worlds.rule_rows import MADE_AROUND, empty, follow, make
from dynsync_pipeline_tests.worlds.told import telling

FIRST, *_ = statements(sql_file("reconcile/ended_links"))


def test_what_stands_in_the_file_is_what_duckdb_tells_of_the_statements() -> None:
    file = Path(dynsync_pipeline.__path__[0]) / "sql_known.json"
    assert file.read_text("utf-8") == known_file(), (
        "write it anew: python -m dynsync_pipeline_tests.known_file > dynsync_pipeline/sql_known.json"
    )


def test_a_statement_that_is_not_in_the_file_is_read_off_its_tree() -> None:
    sql = "insert into c (i) select 'of no file' from a join b using (i)"
    assert known_of(duckdb.connect(), [sql]) == {sql: Known(["every", "a", "b"], None)}


@pytest.mark.parametrize("another", ["duckdb", "files"])
def test_no_columns_are_taken_from_the_file_with_another_duckdb_or_where_an_sql_file_was_changed(
    another: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A statement that is as it was may have its columns of one that is not."""
    monkeypatch.setattr(sql_known, "_KNOWN", {})
    stored = known_of(duckdb.connect(), [FIRST.sql])[FIRST.sql]
    assert stored.columns
    monkeypatch.setattr(sql_known, "_KNOWN", {})
    if another == "duckdb":
        monkeypatch.setattr(duckdb, "__version__", "99.0.0")
    else:
        copy = tmp_path / "dynsync_pipeline"
        shutil.copytree(dynsync_pipeline.__path__[0], copy, ignore=shutil.ignore_patterns("*.pyc"))
        with (copy / "warehouse/sql/macros.sql").open("a") as file:
            file.write("-- changed")
        monkeypatch.setattr(sql_known, "files", lambda package: copy)
    sql_known._stored.cache_clear()
    try:
        assert known_of(duckdb.connect(), [FIRST.sql])[FIRST.sql] == Known(stored.sources, None)
    finally:
        sql_known._stored.cache_clear()


def test_of_a_plan_that_has_nothing_to_do_duckdb_is_asked_no_columns_that_are_in_the_file() -> None:
    made = [each for step in STEPS for each in statements(sql_file(step)) if each.makes]
    with empty() as opened:
        follow(opened, "lead title jobtitle text both")
        make(opened, MADE_AROUND)
        connection, texts = telling(opened)
        run_steps(connection, STEPS)
        known = known_of(opened, [each.sql for each in made])
    not_in_file = {f"describe {each.query}" for each in made if known[each.sql].columns is None}
    assert {text for text in texts if text.startswith("describe")} - not_in_file == set()
    assert len([text for text in texts if re.match(r"create temp table \w+ \(", text)]) > 80


def test_what_the_code_gives_the_rule_files_has_the_columns_that_the_file_was_written_with() -> None:
    """They are told by hand there, for tests of single files as well."""
    world = MemoryWorld()
    world.dynamics.put(RecordType.LEAD, "lead")
    with world.opened() as cycle:
        cycle.extract()
        cycle.reconcile()  # and nothing is sent, about which the next cycle finds out
    world.cycle()
    with world.warehouse.reading() as connection:
        for name, columns in MADE_AROUND.items():
            told = dict(each.strip().split(" ") for each in columns.split(","))
            made = {column: kind for column, kind, *_ in connection.execute(f"describe {name}").fetchall()}
            assert made == {column: kind.upper() for column, kind in told.items()}, name
