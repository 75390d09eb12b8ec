"""The cost of a cycle follows the changes: what its statements read does not grow with the number of people (R3).

Counted is what DuckDB scans, rows times columns, and not time. A statement that reads more than a few rows of a large store
stands on the short list below with the number of columns that it may go through, or the test fails.
Not here: joins that compare all with all (`test_join_plans.py`), times (`../bench/sizes.py`).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import duckdb
import pytest

from dynsync_pipeline_tests.bench.owned_rules import Edited, run_statements_once
from dynsync_pipeline_tests.bench.sizes import edit, multiplied, plan_of, publish
from dynsync_pipeline_tests.properties.effort import deep
from dynsync_pipeline_tests.worlds.memory import MemoryWorld

N_PEOPLE = 200_000
N_CHANGES = 100
A_FEW = 0.2  # columns: what looks at some rows of a table reads a block of it
# How many columns of the store each may read once something changed: the narrow ones in which keys are looked for. The rows of
# whoever changed, which lie all over the store, are fetched by their numbers.
READS_COLUMNS = {
    "create temp table company_links": 4,
    "create temp table ended_links": 3,
    "create temp table wanted_own_fields": 5,
    "create temp table gone_errors": 1,
    "create temp table base_side": 1,
    "create temp table compared_links": 1,
    "create temp table doubled": 1,
    "create temp table dynamics_side": 1,
    "create temp table looked_at_records": 1,
    "create temp table marketo_side": 1,
    "create temp table near_links": 1,
    "create temp table near_records": 1,
    "create temp table touched_bearers": 1,
    "create temp table touched_links": 1,
    "create temp table unlike_links": 1,
    "create or replace temp table fetched": 1,
    "create or replace temp table of_dynamics_contacts": 1,
    "create or replace temp table of_links": 1,
    "delete from published.base": 1,
    "delete from published.links": 1,
    "delete from published.people": 1,
    "with unlike as": 1,
}


# And what a whole cycle reads besides: moving what was read to the mirrors, settling receipts, and what the plan does where
# records of Dynamics moved too; for an undo the rows of those whom it concerns.
IN_WHOLE_CYCLES = READS_COLUMNS | {
    "create or replace temp table compared_links": 7,
    "create or replace temp table edited": 6,
    "create temp table company_links": 5,
    "create temp table touched_bearers": 3,
    "create or replace temp table known": 2,
    "create temp table touched_links": 2,
    "insert into state.marketo_edits": 2,
    "select dynamics_id from concerned_records": 2,
    "create or replace temp table concerned_contacts": 1,
    "create or replace temp table concerned_links": 1,
    "create or replace temp table concerned_people": 1,
    "create or replace temp table moved": 1,
    "create or replace temp table published_keys": 1,
    "create temp table applied_links": 1,
    "create temp table dynamics_long": 1,
    "create temp table fresh_receipts": 1,
    "create temp table key_bearers": 1,
    "create temp table looked_at as": 1,
    "create temp table marketo_long": 1,
    "create temp table records_without_person": 1,
    "create temp table seen_filters": 1,
    "delete from published.contacts": 1,
    "delete from state.base": 1,
    "select m.person_id::varchar from mirror.marketo_people": 1,
    "update newest": 1,
}


class Scanning:
    """A connection that counts what each of its statements scans, in cells: rows times columns."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection
        self._last: str | None = None
        self.cells: Counter[str] = Counter()
        connection.execute("pragma enable_profiling = 'no_output'; set profiling_coverage = 'ALL'")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def execute(self, statement: Any, parameters: object = None) -> duckdb.DuckDBPyConnection:
        self.note()
        self._last = statement if isinstance(statement, str) else statement.query
        return self._connection.execute(statement, parameters)

    def note(self) -> None:
        """Count the last statement, whose rows were fetched by now."""
        if self._last is not None:
            told = json.loads(self._connection.get_profiling_information(format="json"))
            self.cells[shortened(self._last)] += sum(map(scanned, told.get("operator", [])))
            self._last = None


def scanned(operator: dict[str, Any]) -> int:
    """Cells. Rows that are fetched by their numbers are counted themselves: no more than the stretch around each is read."""
    told = operator.get("extra_info", {})
    columns = told.get("Projections", [])
    width = len(columns) if isinstance(columns, list) else 1
    is_fetched = "rowid" in str(told.get("Dynamic Filters", ""))
    n_rows = operator["intermediate_rows"] if is_fetched else operator.get("rows_scanned", 0)
    return int(n_rows) * width + sum(map(scanned, operator.get("children", [])))


def shortened(sql: str) -> str:
    lines = [line.strip() for line in sql.splitlines() if line.strip() and not line.strip().startswith("--")]
    return " ".join(lines)[:110]


@contextmanager
def scanning(world: MemoryWorld) -> Iterator[Counter[str]]:
    """What the statements of the working file scan in it while this is open."""
    plain = world.warehouse._connection
    connection = Scanning(plain)
    world.warehouse._connection = connection  # type: ignore[assignment]
    try:
        yield connection.cells
        connection.note()
    finally:
        world.warehouse._connection = plain
        plain.execute("pragma disable_profiling")


def too_much(cells: Counter[str], may_read: Mapping[str, int] = READS_COLUMNS) -> dict[str, float]:
    """Statements that scan more of the store than they may, with the number of columns."""
    read = {sql: n_cells / N_PEOPLE for sql, n_cells in cells.items()}
    allowed = {sql: n for sql in read for known, n in may_read.items() if sql.startswith(known)}
    return {sql: round(n, 1) for sql, n in read.items() if n > allowed.get(sql, 0) + A_FEW}


# What a store holds that is not new: errors, open and resolved, and links that ended.
HISTORY = (
    """
insert into ledger.sync_errors by name
select
    900000 + n as error_id, 1 as cycle_id, 'contact' as record_type, 'c0-' || n as dynamics_id, n * 100000 + 1 as person_id,
    'title' as field, 'update' as operation, 'to_marketo' as direction, 'too_long' as code, 'It is too long.' as message,
    1 as attempts, state, timestamp '2026-01-01' as happened_at, timestamp '2026-01-01' as last_seen_at
from range(1, 3) as errors(n), (select unnest(['refused', 'resolved']) as state)
""",
    """
insert into state.tombstones by name
select
    900000000 + n as person_id, 'lead' as record_type, 'gone-' || n as dynamics_id, timestamp '2026-01-01' as ended_at, side
from range(3) as tombstones(n), (select unnest(['dynamics', 'marketo', 'merged', 'qualified']) as side)
""",
)


def test_what_a_cycle_scans_follows_the_changes_and_not_the_people(monkeypatch: pytest.MonkeyPatch) -> None:
    world = multiplied(N_PEOPLE)
    with world.warehouse.transaction() as connection:
        for statement in HISTORY:
            connection.execute(statement)
    world.cycle()  # publishes that
    with scanning(world) as cells:
        world.cycle()
    assert sum(cells.values()) < A_FEW * N_PEOPLE, "a cycle without changes reads no column of the store"

    edit(world, N_CHANGES)
    with scanning(world) as cells:
        plan_of(world)
        publish(world)
    assert too_much(cells) == {}


@deep
def test_what_approvals_reviews_chosen_rules_and_undo_scan_follows_the_changes_and_not_the_people() -> None:
    """Whole cycles, and the commands in between. What waits costs a cycle without changes nothing of the store."""
    run_statements_once()
    edited = Edited(N_PEOPLE)
    for title, run in edited.story():
        with scanning(edited.world) as cells:
            run()
        may_read = {} if title.startswith("nothing happened") else IN_WHOLE_CYCLES
        assert too_much(cells, may_read) == {}, title
    edited.require_all_done()
