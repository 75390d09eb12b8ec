"""What is older than the settings say goes from the ledgers, in working file and snapshot, and nothing that is still read."""

from __future__ import annotations

from datetime import timedelta

import duckdb
import pytest

from dynsync_pipeline.errors import SettingsWrong
from dynsync_pipeline.model.records import RecordType
from dynsync_pipeline.settings_sources import load_settings
from dynsync_pipeline.warehouse.observations import forget_ledgers
from dynsync_pipeline_tests.properties.effort import deep, story
from dynsync_pipeline_tests.worlds.kept import KeptWorld


def titles(world: KeptWorld) -> tuple[list[str], list[str]]:
    """What the ledger of changes tells: the working file's, the snapshot's."""
    query = "select new_value from {} where field = 'title' order by 1"
    with duckdb.connect(world.settings.snapshot_file, read_only=True) as snapshot:
        published = [row[0] for row in snapshot.execute(query.format("changes")).fetchall()]
    return [row[0] for row in world.rows(query.format("ledger.changes"))], published


@deep
def test_ledgers_lose_what_is_too_old_but_for_what_an_undo_reads() -> None:
    world = KeptWorld()
    world.link(RecordType.CONTACT, "c1", title="A")
    world.settled()
    world.allow(ledger_days=30)
    for title in ("B", "C"):
        world.dynamics.put(RecordType.CONTACT, "c1", jobtitle=title)
        world.cycle()
    assert titles(world) == (["B", "C"], ["B", "C"])
    world.clock += timedelta(days=31)
    world.dynamics.put(RecordType.CONTACT, "c1", jobtitle="D")
    world.cycle()
    assert titles(world) == (["D"], ["D"])
    ((change,),) = world.rows("select entry_id from ledger.changes where new_value = 'D'")
    columns = dict(world.rows("select column_name, data_type from duckdb_columns() where table_name = 'undoing'"))
    values = {"change_id": str(change), "record_type": "'lead'", "dynamics_id": "'nobody'"}
    defaults = {"BIGINT": "0", "INTEGER": "0", "VARCHAR": "''", "TIMESTAMP": "now()::timestamp", "BOOLEAN": "false"}
    given = ", ".join(values.get(name, defaults[kind]) for name, kind in columns.items())
    world.rows(f"insert into state.undoing ({', '.join(columns)}) values ({given})")
    later = world.clock.replace(tzinfo=None) + timedelta(days=31)
    with world.open() as warehouse, warehouse.transaction() as connection:
        forget_ledgers(connection, later, 30, 30)
    assert titles(world)[0] == ["D"], "somebody wants it undone"
    world.rows("delete from state.undoing")
    world.clock += timedelta(days=31)
    world.cycle()
    assert titles(world) == ([], [])


def cycles(world: KeptWorld) -> tuple[list[int], list[int]]:
    """The numbers of the cycles that are kept: in the working file, in the snapshot."""
    query = "select cycle_id from {} order by 1"
    with duckdb.connect(world.settings.snapshot_file, read_only=True) as snapshot:
        published = [row[0] for row in snapshot.execute(query.format("cycles")).fetchall()]
    return [row[0] for row in world.rows(query.format("ledger.cycles"))], published


@story
def test_cycles_go_by_the_longer_age_and_the_last_whole_one_stays() -> None:
    world = KeptWorld()
    world.link(RecordType.CONTACT, "c1", title="A")
    world.cycle()
    world.cycle()
    world.allow(ledger_days=30, observation_days=50)
    world.clock += timedelta(days=40)
    world.cycle()
    assert cycles(world) == ([1, 2, 3], [1, 2, 3]), "what was observed is kept for longer"
    world.clock += timedelta(days=51)
    world.cycle()
    assert cycles(world) == ([3, 4], [3, 4]), "rules ask for the last whole one before a cycle"
    world.clock += timedelta(hours=2)
    world.cycle()
    assert cycles(world) == ([4, 5], [4, 5])


def test_fewer_days_than_rules_read_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DYNSYNC_LEDGER_DAYS", "7")
    with pytest.raises(SettingsWrong, match="LEDGER_DAYS: must be 0 or at least 30"):
        load_settings()
