"""Every statement that Spark is to run has a translation; what nobody looked at has none, and says where it stands."""

from __future__ import annotations

import pytest

from dynsync_pipeline.engines.spark_sql import Macro, parse, spark_query
from dynsync_pipeline.errors import SqlFileFailed
from dynsync_pipeline.publish.parquet_files import TABLES as PUBLISHED
from dynsync_pipeline.sql_files import sql_file, statements
from dynsync_pipeline.warehouse.views import SIDES_OF_LINKS, side_by_side_query
from dynsync_pipeline_tests.spark.both_engines import ADOPTION, AUDIT, OUTCOMES, WHATIF

TABLES = {"side_by_side": Macro(("people",), parse(side_by_side_query(["title", "flag"])))} | {
    name: Macro(("links",), parse(query)) for name, query in SIDES_OF_LINKS.items()
}


def said(query: str) -> str:
    return spark_query(query, "a.sql, statement 1 (line 1)", lambda table: ["person_id", "title", "flag"], TABLES)


@pytest.mark.parametrize("step", [*AUDIT, *OUTCOMES, *ADOPTION, *WHATIF])
def test_every_statement_that_makes_a_table_has_a_translation(step: str) -> None:
    for statement in statements(sql_file(step)):
        if statement.makes:
            assert said(statement.query).startswith(("SELECT", "WITH"))


def test_every_table_that_these_files_read_is_published_made_or_given() -> None:
    files = [sql_file(step) for step in (*AUDIT, *OUTCOMES, *ADOPTION, *WHATIF)]
    known = {table.name for table in PUBLISHED} | {name for file in files for name in file.makes}
    given = {"this_cycle", "people_shown", "records_shown", "held_ids"}
    given |= {"tried_rules", "tried_since", "fields_now", "outcomes_now"}
    assert {name for file in files for name in file.reads} - known == given


@pytest.mark.parametrize(
    ("query", "what"),
    [
        ("select 1 from a where (x, y) in (select (x, y) from b)", "Tuple"),
        ("select 1 from a where (x, y) not in (select x, y from b)", "Tuple"),
        ("select string_agg(x, ',') from a", "GroupConcat"),
        ("select string_agg(x, ',' order by x) from a", "GroupConcat"),
        ("select x / y from a", "Div"),
        ("select x // y from a", "may be zero"),
        ("select x % 2 from a", "Mod"),
        ("select x::decimal(38, 10) + y::decimal(38, 10) from a", "decimal"),
        ("unpivot a on columns(*) into name field value value", "Pivot"),
        ("select x ->> '$.y' from a", "JSONExtractScalar"),
        ("select hash(x) from a", "hash"),
        ("select x[1:2] from a", "slice"),
        ("select strftime(x, '%d') from a", "strftime"),
        ("select date_diff('day', x, y) from a", "date_diff of days"),
        ("select timezone('UTC', x) from a", "timezone"),
        ("select list_zip(x, y) from a", "the function list_zip|ArraysZip"),
        ("select any_value(x) from a", "AnyValue|IgnoreNulls"),
        ("select 1 from a union all by name select 2 from b", "by name"),
    ],
)
def test_what_nobody_looked_at_is_an_error_that_names_file_and_statement(query: str, what: str) -> None:
    with pytest.raises(
        SqlFileFailed, match=rf"a\.sql, statement 1 \(line 1\) cannot be run on Spark: .*({what})"
    ) as failed:
        said(query)
    assert failed.value.statement == query


def test_a_rows_hash_is_the_row_itself_so_that_a_moved_value_shows() -> None:
    assert (
        said("select hash(*columns(* exclude (person_id))) as h from side")
        == "SELECT STRUCT(`flag`, `title`) AS h FROM side"
    )


def test_a_macro_is_put_in_where_it_is_called() -> None:
    assert said("select listed_label(k.labels[x]) from a").count("TRY_ELEMENT_AT(k.labels, x)") == 1


def test_a_cast_that_may_fail_stays_one() -> None:
    assert (
        said("select try_cast(x as decimal(38, 10)), try_cast(x as double), try_cast(x as date) from a").count(
            "TRY_CAST("
        )
        == 3
    )
