"""What is said of the sources of a statement is held against what DuckDB makes of it, for every choice of empty tables."""

from __future__ import annotations

from itertools import product

import duckdb
import pytest

from dynsync_pipeline.sql_sources import may_draw
from dynsync_pipeline.sql_trees import read_off

TABLES = ("a", "b", "c")
# The statement, and the choices of full tables among a, b and c in which it is run.
STATEMENTS = {
    "create temp table x as select i from a": "a ab ac abc",
    "create temp table x as -- Not from c.\nselect a.i from a, b": "ab abc",
    "create temp table x as from a join b using (i)": "ab abc",
    "create temp table x as from a semi join b using (i)": "ab abc",
    "create temp table x as select a.i from a left join b using (i)": "a ab ac abc",
    "create temp table x as select a.i from a anti join b using (i)": "a ab ac abc",
    "create temp table x as select b.i from a right join b using (i)": "b ab bc abc",
    "create temp table x as select b.i from a full join b using (i)": "a b ab ac bc abc",
    "create temp table x as select a.i from a cross join lateral (select a.i + 1 as j) z": "a ab ac abc",
    "create temp table x as from (select i from a) z join b using (i)": "ab abc",
    "create temp table x as with z as (from a), y as (from z) from y join b using (i)": "ab abc",
    "create temp table x as with a as (from b) from a": "b ab bc abc",
    "create temp table x as with z as (from a) select * from (with z as (from b) from z) union all from c": "b c ab ac bc abc",
    "create temp table x as from a union all by name from b": "a b ab ac bc abc",
    "create temp table x as from a union from b union all from c": "a b c ab ac bc abc",
    "create temp table x as from a except from b": " a b c ab ac bc abc",
    "create temp table x as from a where i in (select i from b)": "ab abc",
    "create temp table x as from a where i not in (select i from b)": "a ab ac abc",
    "create temp table x as from a where not exists (from b)": "a ab ac abc",
    "create temp table x as from a where i <> all (select i from b)": "a ab ac abc",
    "create temp table x as from a where i > 0 and i in (select i from b) and exists (from c)": "abc",
    "create temp table x as from a where i in (select i from b) or i in (select i from c)": "ab ac abc",
    "create temp table x as from a where i = 1 or i in (select i from c)": "a ab ac abc",
    "create temp table x as from a where (i in (select i from b)) is not true": "a ab ac abc",
    "create temp table x as from a where coalesce(i in (select i from b), true)": "a ab ac abc",
    "create temp table x as select count(*) from a": " a b c ab ac bc abc",
    "create temp table x as select 1 + coalesce(max(i), 0) from a": " a b c ab ac bc abc",
    "create temp table x as select i, count(*) from a group by i": "a ab ac abc",
    "create temp table x as select i, count(*) from a group by all": "a ab ac abc",
    "create temp table x as select count(*) from a group by all": " a b c ab ac bc abc",
    "create temp table x as select i, count(*) from a group by rollup (i)": " a b c ab ac bc abc",
    "create temp table x as select 1 from a having count(*) = 0": " a b c ab ac bc abc",
    "create temp table x as select count(*) over () from a": "a ab ac abc",
    "create temp table x as select (select count(*) from a) from b": "b ab bc abc",
    "create temp table x as select i, row_number() over () from a qualify count(*) over () > 0": "a ab ac abc",
    "create temp table x as with z as (from a) from long_of('z')": "a ab ac abc",
    "create temp table x as from long_of('a') join b on true": "ab abc",
    "create temp table x as select 1": " a b c ab ac bc abc",
    "create temp table x as values (1)": " a b c ab ac bc abc",
    "insert into c (i) select i from a": "a ab ac abc",
    "insert into c by name from a": "a ab ac abc",
    "insert into c (i) with z as (from a) select i from z join b using (i)": "ab abc",
    "insert into c (i) values (1)": " a b c ab ac bc abc",
    "delete from a": "a ab ac abc",
    "delete from a where i in (select i from b)": "ab abc",
    "delete from a z using b where b.i = z.i": "ab abc",
    "delete from a using b y, c where y.i = a.i": "abc",
    "delete from a z where exists (from b where b.i = z.i)": "ab abc",
    "update a set i = 2": "a ab ac abc",
    "update a z set i = b.i from b where b.i = z.i": "ab abc",
    "update a set i = b.i\nfrom b, c where b.i = a.i": "ab abc",
    "update a set i = (select max(i) from b)": "a ab ac abc",
    "update a set j = i is distinct from j": "a ab ac abc",
    "select i from a": " a b c ab ac bc abc",
}


@pytest.fixture(scope="module")
def connection() -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    connection.execute("create temp macro long_of(wide) as table from query_table(wide)")
    return connection


@pytest.mark.parametrize(("sql", "runs"), STATEMENTS.items())
def test_a_statement_is_run_wherever_it_does_something(
    connection: duckdb.DuckDBPyConnection, sql: str, runs: str
) -> None:
    drawn = read_off(connection, [sql])[sql]
    for choice in product((False, True), repeat=len(TABLES)):
        full = [table for table, is_full in zip(TABLES, choice, strict=True) if is_full]
        for table in TABLES:
            connection.execute(f"create or replace table {table} as select 1 as i, 1 as j where {table in full}")
        may_do = may_draw(drawn, full.__contains__)
        assert may_do == ("".join(full) in runs.split(" ")), full
        connection.execute("drop table if exists temp.x")
        counted = connection.execute(sql).fetchall()
        assert may_do or counted == [(0,)], full
