"""The mutation check breaks what it says it breaks, only in places that are code, and only into valid SQL."""

from __future__ import annotations

import subprocess
import sys

import pytest

from dynsync_pipeline_tests.mutants.check import PACKAGE, ROOT, candidates, explained, rule_files
from dynsync_pipeline_tests.mutants.learning import line_of_statement
from dynsync_pipeline_tests.mutants.sql_mutants import mutants_of
from dynsync_pipeline_tests.properties.effort import deep


def one_line(sql: str) -> set[str]:
    """All mutants of a statement, by kind and text, with single spaces."""
    return {f"{m.mutation.partition(':')[0]} | {' '.join(m.text.split())}" for m in mutants_of(sql)}


@pytest.mark.parametrize(
    ("sql", "mutant"),
    [
        ("select 'dynamics'", "'dynamics' to 'marketo' | select 'marketo'"),
        ("select a > 1", "> to >= | select a >= 1"),
        ("select a <= 1", "<= to < | select a < 1"),
        ("select a < 5000", "another number | select a < 5001"),
        ("select 2.5", "another number | select 3.5"),
        ("select a is distinct from b", "is distinct from to <> | select a <> b"),
        ("select a is not distinct from b", "is not distinct from to = | select a = b"),
        ("from t left join u on t.a = u.a", "left join to join | from t join u on t.a = u.a"),
        ("select not a", "drop not | select a"),
        ("select a is not null", "drop not | select a is null"),
        ("select a and b", "and to or | select a or b"),
        ("select a or b", "or to and | select a and b"),
        (
            "select case when a then 1 when b then case when c then 0 end else 1 end",
            "drop when | select case when a then 1 else 1 end",
        ),
        ("select a from t union all select b from u", "drop arm after union | select a from t"),
        ("select a from t union all select b from u", "drop first arm of union | select b from u"),
        (
            "create table x as (select 1 union all select 0 union all select 1)",
            "drop arm after union | create table x as (select 1 union all select 0 )",
        ),
        (
            "select a from t where a and b is null order by a",
            "drop conjunct | select a from t where b is null order by a",
        ),
        ("select a from t where a and b is null order by a", "drop conjunct | select a from t where a order by a"),
        ("select a from t where (a and b) or c group by a", "drop where | select a from t group by a"),
        ("select (select a from t where a) from u", "drop where | select (select a from t ) from u"),
        ("select 1; select 0;", "drop statement | select 1;"),
        ("from t order by a desc", "desc to asc | from t order by a asc"),
        ("select min(a)", "min to max | select max(a)"),
    ],
)
def test_each_kind_of_break_is_made(sql: str, mutant: str) -> None:
    assert mutant in one_line(sql)


@pytest.mark.parametrize(
    "sql",
    [
        "select 1 -- and not 'dynamics' > 8",
        "select 1 /* where a and b */",
        "select 'a and not b > 8; left join', \"left join\" from t",
        "select 'it''s not > ''dynamics'''",
        "select t.min, t.desc from t",
    ],
)
def test_comments_strings_and_names_are_left_alone(sql: str) -> None:
    assert one_line(sql) == set()


def test_the_and_of_between_is_no_conjunction() -> None:
    assert one_line("select a from t where a between 0 and 1 and b = 0") == {
        "and to or | select a from t where a between 0 and 1 or b = 0",
        "drop conjunct | select a from t where b = 0",
        "drop conjunct | select a from t where a between 0 and 1",
    }


def test_a_mutant_that_is_no_sql_does_not_count() -> None:
    assert one_line("create or replace temp table x as select 1") == set()  # `create and replace` is nothing
    assert "drop when" not in str(one_line("select case when a then 1 end"))


def test_a_mutant_keeps_its_name_when_it_moves_and_no_two_share_one() -> None:
    sql = "select a is distinct from b, c is distinct from d"
    names = [mutant.mutation for mutant in mutants_of(sql)]
    assert names == [f"is distinct from to <>: {sql}", f"is distinct from to <>: {sql} (2)"]
    moved = mutants_of(f"-- a comment\n\n{sql}")
    assert [mutant.mutation for mutant in moved] == names
    assert {mutant.line for mutant in moved} == {3}


def test_a_line_belongs_to_the_statement_that_begins_at_or_before_it() -> None:
    text = (ROOT / PACKAGE / "reconcile/sql/agreed_base.sql").read_text("utf-8").splitlines()
    first, second, third = (number for number, line in enumerate(text, start=1) if line.startswith("insert into"))
    places = [line_of_statement("reconcile/sql/agreed_base.sql", number) for number in range(first, len(text) + 1)]
    assert places == sorted(places)
    assert set(places) == {first, second, third}
    assert places[second - first] == second


@deep
def test_every_rule_file_has_mutants_and_every_explained_survivor_is_one_of_them() -> None:
    found = candidates(ROOT / PACKAGE)
    files = {str(file.relative_to(ROOT / PACKAGE)) for file in rule_files(ROOT / PACKAGE)}
    assert {candidate.file for candidate in found} == files
    assert len(files) > 15
    assert explained().keys() <= {(file, mutant.mutation) for file, mutant in found}
    assert all(explained().values())


@deep
def test_in_one_process_tests_of_rows_notice_the_mutants_of_their_own_file_and_of_no_other() -> None:
    for tests, code, said in (
        ("test_found_link_rows.py", 0, "0 survivors, 0 of them not explained."),
        ("test_review_rows.py", 1, "5 survivors, 5 of them not explained."),
    ):
        command = [sys.executable, "-m", "dynsync_pipeline_tests.mutants", "--file", "started_links.sql"]
        done = subprocess.run([*command, "--rows", f"reconcile/{tests}"], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout.splitlines()[-1]) == (code, said), done.stderr
