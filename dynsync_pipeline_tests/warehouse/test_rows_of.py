"""Rows that are fetched by their numbers are those of the keys: of rows that were there, moved, or are this transaction's."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

from dynsync_pipeline.warehouse.rows_of import rows_of

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
