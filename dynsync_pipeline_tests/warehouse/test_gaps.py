"""How long what failed waits (R116)."""

from __future__ import annotations

from pathlib import Path

from dynsync_pipeline.warehouse.connection import Warehouse


def test_the_gap_doubles_from_five_minutes_to_a_day_and_grows_no_further() -> None:
    with Warehouse(Path(":memory:")) as warehouse, warehouse.reading() as connection:
        rows = connection.execute(
            "select epoch(gap_after(n)) / 60 from unnest([1, 2, 3, 9, 10, 11, 1000]) as t(n)"
        ).fetchall()
    assert [row[0] for row in rows] == [5, 10, 20, 1280, 1440, 1440, 1440]
