"""Rows that are fetched by their numbers are those of the keys: of rows that were there, moved, or are this transaction's."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from dynsync_pipeline.warehouse.rows_of import FIRST_OWN, rows_at, rows_of

N_ROWS = 130_000  # more than DuckDB keeps in one group
MOVES = (
    f"insert into t select {N_ROWS} + n, 'new ' || n, 'n' from range(3000) as rows(n)",
    "delete from t where id % 977 = 3",
    "update t set v = 'other' where id % 89 = 1",
    "create or replace temp table moved as from t where id % 1301 = 5",
    "delete from t using moved where moved.id = t.id",
    "insert into t from moved",
)


@pytest.mark.parametrize("step", [1, 40, 2_000])
def test_rows_fetched_by_number_are_those_of_the_keys(tmp_path: Path, step: int) -> None:
    with duckdb.connect(str(tmp_path / "file.duckdb")) as connection:
        connection.execute(
            f"create table t as select n as id, 'key ' || n as name, 'v' as v from range({N_ROWS}) as rows(n)"
        )
        connection.execute(
            f"create temp table keys as select {step} * n as id, 'key ' || {step} * n as name from range(61) as k(n) "
            f"union all select {N_ROWS} + n, 'new ' || n from range(40) as k(n) union all select -1, 'nobody'"
        )
        require_same(connection)
        connection.begin()
        for move in MOVES:
            connection.execute(move)
            require_same(connection)
        connection.commit()
        connection.execute("checkpoint")
        require_same(connection)


def require_same(connection: duckdb.DuckDBPyConnection) -> None:
    for key in ("id", "name"):
        fetched = connection.execute(
            f"with fetched as materialized ({rows_of('t', key, f'select {key} from keys')}) from fetched order by all"
        ).fetchall()
        assert fetched == connection.execute(f"from t where {key} in (select {key} from keys) order by all").fetchall()
        assert fetched


def test_the_first_row_that_a_transaction_inserts_has_the_first_number_of_its_own() -> None:
    with duckdb.connect() as connection:
        connection.execute("create table t as select n as id from range(300000) as rows(n)")
        connection.begin()
        connection.execute("insert into t values (-1)")
        assert connection.execute("select rowid from t where id = -1").fetchall() == [(FIRST_OWN,)]


# In a process of its own, because what goes wrong there may be a crash.
GAPS = f"""
import random, duckdb
dice = random.Random(1)
with duckdb.connect(config={{"threads": 1}}) as connection:
    connection.execute("create table t as select 'key ' || n as k, n, 'v' || n as v from range(5000) as rows(n)")
    connection.execute("delete from t where n % 3 = 0")
    connection.begin()
    connection.execute("insert into t select 'own ' || n, n, 'w' || n from range(1000) as rows(n)")
    there = [row[0] for row in connection.execute("select k from t order by k").fetchall()]
    for _ in range(60):
        keys = sorted(dice.sample(there, 200))
        connection.execute("create or replace temp table keys as select unnest(?::varchar[]) as k", [keys])
        for query in ({rows_of("t", "k", "select k from keys", "k")!r},
                      {rows_at("t", "select rowid from t where k in (select k from keys)", "k")!r}):
            assert sorted(row[0] for row in connection.execute(query).fetchall()) == keys
"""


def test_rows_of_the_transaction_and_others_of_a_table_with_gaps_are_found_together() -> None:
    """DuckDB 2.0 loses some of them, or crashes, where all of these row numbers are asked for at once."""
    done = subprocess.run([sys.executable, "-c", GAPS], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
