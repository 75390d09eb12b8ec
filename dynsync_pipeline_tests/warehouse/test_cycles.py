"""The row that a cycle opens: what it tells while the cycle runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from dynsync_pipeline.warehouse.cursors import move_cursor
from dynsync_pipeline.warehouse.cycles import begin_cycle
from dynsync_pipeline_tests.worlds.cuts import SmallWarehouse

TABLES = ["dynamics_accounts", "dynamics_contacts", "dynamics_leads"]


@pytest.mark.parametrize(
    ("loaded", "status"),
    [
        ([], "loading"),
        ([*TABLES, "census_accounts", "census_contacts", "census_leads"], "loading"),
        ([*TABLES, "marketo_people"], "running"),
    ],
)
def test_a_cycle_is_loading_until_all_four_streams_were_read_as_a_whole(loaded: list[str], status: str) -> None:
    with SmallWarehouse(Path(":memory:")) as warehouse, warehouse.transaction() as connection:
        for stream in loaded:
            move_cursor(connection, stream, "here", [], is_loaded=True)
        begin_cycle(connection, warehouse.now())
        assert connection.execute("select status from ledger.cycles").fetchall() == [(status,)]
