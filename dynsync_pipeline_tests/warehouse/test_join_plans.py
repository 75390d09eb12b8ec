"""No statement of a cycle compares each row of one table with each of another: with a million people it would never end.

DuckDB joins by a hash where both sides are compared for equality; two equalities with *or* between them, or `a in (b, c)`,
make it go through all pairs, which nobody notices over a handful of rows.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from importlib import resources
from pathlib import Path
from typing import Any

import duckdb
import pytest

from dynsync_pipeline.model.records import RecordType
from dynsync_pipeline.reconcile.plan import STEPS as PLAN
from dynsync_pipeline.sql_files import sql_file, statements
from dynsync_pipeline.write_back.receipts import RECOGNISING, SETTLING
from dynsync_pipeline_tests.properties.effort import story
from dynsync_pipeline_tests.properties.test_cuts import busy_world
from dynsync_pipeline_tests.worlds.cuts import CutWarehouse, Steps

EXPLAINED = (
    "select",
    "from",
    "with",
    "insert",
    "delete",
    "update",
    "create temp table",
    "create or replace temp table",
)
# Tables of one row.
ONE_ROW = {"this_cycle", "this_moment", "own_fields", "user_zone"}


class Explaining:
    """A connection that keeps the plan of every statement it runs."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, plans: dict[str, Any]) -> None:
        self._connection = connection
        self._plans = plans

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def execute(self, statement: Any, parameters: object = None) -> duckdb.DuckDBPyConnection:
        for part in self._connection.extract_statements(statement) if isinstance(statement, str) else [statement]:
            self.explain(part.query, parameters)
        return self._connection.execute(statement, parameters)

    def explain(self, sql: str, parameters: object = None) -> None:
        """Keep how a statement would be run."""
        bare = "\n".join(line for line in sql.splitlines() if not line.startswith("--")).strip(" \n;")
        if bare.lower().startswith(EXPLAINED) and bare not in self._plans:
            told = self._connection.execute(f"explain (format json) {bare}", parameters).fetchall()
            self._plans[bare] = json.loads(told[0][1])


class ExplainingWarehouse(CutWarehouse):
    """A warehouse that hands out connections that explain themselves."""

    def __init__(self, path: Path, steps: Steps, clock: Callable[[], datetime]) -> None:
        self.plans: dict[str, Any] = {}
        super().__init__(path, steps, clock)
        self._connection.execute("set nested_loop_join_threshold = 0")  # else few rows are always joined by pairs

    @contextmanager
    def transaction(self) -> Iterator[Any]:
        with super().transaction() as connection:
            yield Explaining(connection, self.plans)

    @contextmanager
    def reading(self) -> Iterator[Any]:
        with super().reading() as connection:
            yield Explaining(connection, self.plans)


def goes_through_pairs(plan: list[dict[str, Any]]) -> bool:
    """Whether two tables are joined without a hash in it, neither of which has one row only."""
    return any(
        (
            ("NL_JOIN" in node["name"] or "NESTED_LOOP" in node["name"])
            and not any(_has_one_row(side) for side in node["children"])
        )
        or goes_through_pairs(node["children"])
        for node in plan
    )


def _has_one_row(node: dict[str, Any]) -> bool:
    table = str(node["extra_info"].get("Table", "")).rpartition(".")[2]
    return node["name"].strip() == "UNGROUPED_AGGREGATE" or table in ONE_ROW


def explain_what_was_left_out(warehouse: ExplainingWarehouse) -> None:
    """Statements of the rule files that had nothing to do; the tables that they read are still there."""
    with warehouse.reading() as connection:
        for step in {*PLAN, *SETTLING, *RECOGNISING}:
            for statement in statements(sql_file(step)):
                connection.explain(statement.sql)


def test_the_parts_of_a_window_are_each_of_one_person_record_account_or_line() -> None:
    """Over few and large parts, as one for each field is, a window takes DuckDB 2.0 the square of their rows; a join does not."""
    folder = Path(str(resources.files("dynsync_pipeline")))
    texts = {path.name: path.read_text("utf-8") for path in folder.rglob("*.sql")}
    parts = [(name, found[1]) for name, text in texts.items() for found in _PARTS.finditer(text)]
    assert len(parts) > 15
    assert [found for found in parts if "_id" not in found[1]] == []


_PARTS = re.compile(r"\(\s*partition by ([^()]+?)(?: order by [^()]+)?\s*\)")


@story
def test_no_statement_of_a_cycle_goes_through_all_pairs_of_two_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    world = busy_world(is_optimised=True, warehouse=ExplainingWarehouse)
    assert isinstance(world.warehouse, ExplainingWarehouse)
    plans = world.warehouse.plans
    world.cycle()
    # Everybody is exported again, with empty cells, beside a deletion, a cut and a person who cannot be read.
    world.rows("update state.cursors set is_loaded = false, cursor = null where stream = 'marketo_people'")
    world.rows("insert into state.unread values ('person', 'a line', false, null, null, 'No JSON.', 1, null)")
    world.dynamics.put(RecordType.LEAD, "r0", jobtitle="C")
    world.dynamics.put(RecordType.CONTACT, "later", jobtitle="C")
    world.marketo.delete(1001)
    world.cycle()
    for n_steps in range(24, 45, 4):
        world.dynamics.put(RecordType.LEAD, f"new {n_steps}", jobtitle="N")
        world.marketo.put(1002, phone=str(n_steps))
        world.cycle(cut_after=n_steps)
    world.clock += timedelta(days=3)
    world.settled()
    explain_what_was_left_out(world.warehouse)
    for rare in ("kept_back", "recognised", "delete from state.empty_cells", "anti join state.bearers"):
        assert any(rare in sql for sql in plans), rare
    assert [sql for sql, plan in plans.items() if goes_through_pairs(plan)] == []
