"""SQL files run statement by statement: an error names its place, a log line each statement, and nothing stale is read."""

from __future__ import annotations

import logging
import re
from pathlib import Path

import duckdb
import pytest

import dynsync_pipeline
from dynsync_pipeline import sql_files
from dynsync_pipeline.errors import SqlFileFailed
from dynsync_pipeline.warehouse.parsing import parsing_once
from dynsync_pipeline_tests.worlds.told import telling

HEADER = """-- {name}: does something.
--
-- reads    {reads}
-- makes    {makes}
-- changes  nothing
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in the place of the package's own SQL files."""
    (tmp_path / "room" / "sql").mkdir(parents=True)
    monkeypatch.setattr(sql_files, "files", lambda package: tmp_path)
    sql_files.sql_file.cache_clear()
    return tmp_path / "room" / "sql"


def write(package: Path, name: str, body: str, *, reads: str = "nothing", makes: str = "nothing") -> None:
    (package / f"{name}.sql").write_text(HEADER.format(name=name, reads=reads, makes=makes) + body, "utf-8")


ONE = "create temp table one as select 1 as a;\n"
MADE = "one: one row"


def test_an_error_names_file_statement_and_line_and_carries_the_statement(package: Path) -> None:
    write(package, "broken", f"{ONE}\n-- A comment.\nselect b\nfrom one;\n", makes=MADE)
    with pytest.raises(SqlFileFailed) as failed:
        sql_files.run_steps(duckdb.connect(), ("room/broken",))
    assert str(failed.value).startswith("room/sql/broken.sql, statement 2 (line 9) cannot be run: Binder Error")
    assert '"b"' in str(failed.value)
    assert failed.value.statement == "select b\nfrom one;"


@pytest.mark.parametrize("broken", ["selec 1;", "create temp table one as selec 1;"])
def test_a_text_that_is_no_sql_names_its_file_and_line(package: Path, broken: str) -> None:
    write(package, "broken", f"select 1;\n{broken}\n", makes=MADE)
    with pytest.raises(
        SqlFileFailed, match=r"broken\.sql, statement 2 \(line 7\) cannot be run: Parser Error.*selec"
    ) as failed:
        sql_files.run_steps(duckdb.connect(), ("room/broken",))
    assert failed.value.statement == broken


def test_statements_are_told_apart_as_duckdb_does() -> None:
    package = Path(dynsync_pipeline.__path__[0])
    files = sorted(package.glob("*/sql/**/*.sql"))
    assert len(files) > 70
    connection = duckdb.connect()
    for path in files:
        room, _, *names = path.relative_to(package).with_suffix("").parts
        file = sql_files.sql_file(f"{room}/{'/'.join(names)}")
        found = connection.extract_statements(file.text)
        split = sql_files.statements(file)
        lines = file.text.splitlines()
        assert [without_comments(each.sql) for each in split] == [without_comments(each.query) for each in found], path
        assert all(lines[each.line - 1] == each.sql.splitlines()[0] for each in split), path


def without_comments(sql: str) -> list[str]:
    return re.sub(r"--[^\n]*", "", sql).split()


def test_a_semicolon_in_a_comment_or_a_text_ends_no_statement(package: Path) -> None:
    body = "select 'a;''b' -- not; here, isn't it\n  , 1-2;\n\n-- Nor; here.\nselect 2\n-- The end.\n"
    write(package, "made", body)
    split = sql_files.statements(sql_files.sql_file("room/made"))
    assert [(each.number, each.line) for each in split] == [(1, 6), (2, 10)]
    assert split[0].sql == "select 'a;''b' -- not; here, isn't it\n  , 1-2;"


def test_what_a_statement_leaves_empty_has_the_columns_that_running_it_makes(package: Path) -> None:
    select = """
with few as (from given where a > 0)
select a, a / 2 as "half of", b, [b] as many, {'x': d} as packed, d::decimal(38, 10) as d, null as nothing, now() as at
from few
"""
    write(package, "made", f"create temp table one as{select};\n", reads="given", makes="one: one row per row given")
    connection = parsing_once(duckdb.connect())
    connection.execute("create table given (a integer, b varchar, d decimal(10, 2))")
    sql_files.run_steps(connection, ("room/made",))
    connection.execute(f"create temp table run as {select}")
    left, run = connection.table("temp.main.one"), connection.table("temp.main.run")
    assert (left.columns, left.types) == (run.columns, run.types)


def test_an_error_about_a_value_does_not_tell_the_value(package: Path) -> None:
    write(package, "converts", "select 'ada@example.com'::varchar[1]::integer;\nselect a::integer from given;\n")
    connection = duckdb.connect()
    connection.execute("create table given as select 'ada@example.com' as a")
    write(package, "converts", "select a::integer from given;\n")
    with pytest.raises(SqlFileFailed) as failed:
        sql_files.run_steps(connection, ("room/converts",))
    assert "ConversionException" in str(failed.value)
    assert "ada@" not in str(failed.value) + failed.value.statement
    assert failed.value.__cause__ is None
    assert failed.value.__suppress_context__


def test_too_little_memory_is_no_fault_of_the_file(package: Path) -> None:
    """Whoever holds the connection says what to do about storage."""
    write(
        package,
        "big",
        "create temp table one as select range::varchar || 'x' as a from range(3_000_000) order by a;\n",
        makes=MADE,
    )
    connection = duckdb.connect()
    connection.execute("set memory_limit = '20MB'; set max_temp_directory_size = '1KB'")
    with pytest.raises(duckdb.OutOfMemoryException):
        sql_files.run_steps(connection, ("room/big",))


def test_a_step_in_the_wrong_place_fails_instead_of_reading_what_an_earlier_run_left(package: Path) -> None:
    write(package, "first", ONE, makes=MADE)
    write(package, "second", "create temp table two as from one;\n", reads="one", makes="two: one row")
    connection = duckdb.connect()
    sql_files.run_steps(connection, ("room/first", "room/second"))
    with pytest.raises(SqlFileFailed, match=r"second\.sql, statement 1 .*Catalog Error"):
        sql_files.run_steps(connection, ("room/second", "room/first"))


def test_at_debug_level_every_statement_is_told_with_its_rows(package: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(
        package, "made", "create temp table one as from range(3);\ndelete from one;\n", makes="one: one row per number"
    )
    with caplog.at_level(logging.DEBUG, logger="dynsync_pipeline.sql_files"):
        sql_files.run_steps(duckdb.connect(), ("room/made",))
    told = [record.getMessage().rpartition(",")[0] for record in caplog.records]
    assert told == [
        "room/sql/made.sql, statement 1 (line 6): 3 rows",
        "room/sql/made.sql, statement 2 (line 7): 3 rows",
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("select 1;\n", "does not open with"),
        (HEADER.format(name="other", reads="nothing", makes="nothing") + "select 1;\n", "opens with the name other"),
        (HEADER.format(name="bad", reads="nothing", makes="one") + ONE, "does not say what a row"),
    ],
)
def test_a_header_of_another_form_is_refused(package: Path, text: str, said: str) -> None:
    (package / "bad.sql").write_text(text, "utf-8")
    with pytest.raises(ValueError, match=said):
        sql_files.run_steps(duckdb.connect(), ("room/bad",))


def test_a_grain_may_take_several_lines(package: Path) -> None:
    write(package, "made", ONE, makes="one: one row, and\n--              no more\n--          two: another")
    assert sql_files.sql_file("room/made").makes == {"one": "one row, and no more", "two": "another"}


def test_what_a_run_left_empty_is_made_anew_only_once_there_is_something_for_it(package: Path) -> None:
    write(package, "made", "create temp table one as from given;\n", reads="given", makes="one: one row per row given")
    connection = parsing_once(duckdb.connect())
    connection.execute("create table given (a integer)")

    def made(*rows: int) -> list[tuple[int]]:
        connection.execute("delete from given")
        for row in rows:
            connection.execute("insert into given values (?)", [row])
        sql_files.run_steps(connection, ("room/made",))
        return connection.execute("from one").fetchall()

    def place() -> object:
        return connection.execute("select table_oid from duckdb_tables() where table_name = 'one'").fetchall()

    assert made() == []
    first = place()
    assert made() == []
    assert place() == first
    assert made(7) == [(7,)]
    assert made(8) == [(8,)]
    assert made() == []
    assert made(9) == [(9,)]


def test_a_table_that_is_not_empty_any_more_once_a_transaction_was_undone_is_dropped(package: Path) -> None:
    write(package, "made", "create temp table one as from given;\n", reads="given", makes="one: one row per row given")
    connection = parsing_once(duckdb.connect())
    connection.execute("create table given as select 7 as a")
    sql_files.run_steps(connection, ("room/made",))
    connection.begin()
    connection.execute("delete from given")
    sql_files.run_steps(connection, ("room/made",))
    connection.rollback()
    assert connection.execute("from one").fetchall() == [(7,)]
    connection.execute("delete from given")
    sql_files.run_steps(connection, ("room/made",))
    assert connection.execute("from one").fetchall() == []


def test_a_table_that_something_else_replaced_is_made_anew(package: Path) -> None:
    write(package, "made", "create temp table one as from given;\n", reads="given", makes="one: one row per row given")
    connection = parsing_once(duckdb.connect())
    connection.execute("create table given (a integer)")
    sql_files.run_steps(connection, ("room/made",))
    connection.execute("create or replace temp table one as select 'x' as b")
    sql_files.run_steps(connection, ("room/made",))
    assert connection.execute("select a from one").fetchall() == []
    connection.execute("select 1; insert into one values (7)")
    sql_files.run_steps(connection, ("room/made",))
    assert connection.execute("select a from one").fetchall() == []


def test_two_files_may_make_a_table_of_one_name_with_other_columns(package: Path) -> None:
    write(package, "made", "create temp table one as from given;\n", reads="given", makes="one: one row per row given")
    write(
        package, "other", "create temp table one as select a as b from given;\n", reads="given", makes="one: the same"
    )
    connection = parsing_once(duckdb.connect())
    connection.execute("create table given (a integer)")
    for _ in range(2):
        for step, column in (("room/made", "a"), ("room/other", "b")):
            sql_files.run_steps(connection, (step,))
            assert connection.table("temp.main.one").columns == [column]


def test_what_has_nothing_to_do_is_not_run_even_the_first_time_of_a_process(package: Path) -> None:
    """It would read all of what it joins nothing with."""
    body = "from given g left join (select nextval('read') as n from range(3)) b on b.n = g.a;  -- a comment\n"
    write(package, "made", f"create temp table one as {body}", reads="given", makes="one: one row per row given")
    connection = duckdb.connect()
    connection.execute("create table given (a integer); create sequence read")
    sql_files.run_steps(connection, ("room/made",))
    assert connection.execute("from one").fetchall() == []
    assert connection.execute("select nextval('read')").fetchall() == [(1,)]
    connection.execute("insert into given values (2)")
    sql_files.run_steps(connection, ("room/made",))
    assert connection.execute("from one").fetchall() == [(2, 2)]


def test_all_that_a_run_may_draw_from_is_looked_at_by_one_statement(
    package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sql_files, "_IS_VIEW", {})
    body = "".join(f"create temp table made_{n} as from main.given_{n};\n" for n in range(20))
    makes = "\n--          ".join(f"made_{n}: one row per row given" for n in range(20))
    write(package, "made", body, makes=makes)
    seen = "create temp table seen as from main.shown semi join main.shown_too using (a) semi join made_1 using (a);\n"
    write(package, "more", f"delete from main.given_0;\n{seen}", makes="seen: one row per row shown")
    connection = duckdb.connect()
    connection.execute("".join(f"create table given_{n} (a integer);" for n in range(20)))
    connection.execute("create view shown as from given_0; create view shown_too as from given_0")
    connection, texts = telling(connection)
    sql_files.run_steps(connection, ("room/made", "room/more"))
    assert [text.count("limit 1") for text in texts if "limit 1" in text] == [20]
    assert len([text for text in texts if "duckdb_views" in text]) == 1


def test_what_a_run_left_empty_follows_a_view_that_was_made_anew(package: Path) -> None:
    write(package, "made", "create temp table one as from main.shown semi join given using (a);\n", makes=MADE)
    connection = parsing_once(duckdb.connect())
    connection.execute("create table given (a integer)")
    for columns in (["a"], ["a", "b"], ["b", "a"]):
        connection.execute(f"create or replace view shown as select {', '.join(f'1 as {name}' for name in columns)}")
        sql_files.run_steps(connection, ("room/made",))
        assert connection.table("temp.main.one").columns == columns
