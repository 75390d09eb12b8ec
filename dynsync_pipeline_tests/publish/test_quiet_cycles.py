"""A cycle without changes swaps no snapshot in, and readers of snapshot and `status.json` miss nothing all the same (R3)."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest

from dynsync_pipeline.errors import ServerFailed
from dynsync_pipeline.look.reading import reading_snapshot
from dynsync_pipeline.model.records import RecordType
from dynsync_pipeline.publish.status_file import MOVING
from dynsync_pipeline.publish.tables import published_tables
from dynsync_pipeline.warehouse.back_fills import ask_back_fill
from dynsync_pipeline_tests.properties.effort import deep, story
from dynsync_pipeline_tests.worlds.memory import SAME_FOR_BOTH_TYPES, MemoryWorld, field_map

pytestmark = story

CONTACT, LEAD = RecordType.CONTACT, RecordType.LEAD


@pytest.fixture
def world() -> Iterator[MemoryWorld]:
    world = MemoryWorld(publishes=True)
    world.link(CONTACT, "c", title="A")
    world.link(LEAD, "l", title="A")
    world.settled()
    world.cycle()
    yield world


def swaps(world: MemoryWorld) -> int:
    """Another number after each swap."""
    return world.settings.snapshot_file.stat().st_ino


def told(world: MemoryWorld) -> dict[str, list[str]]:
    with reading_snapshot(world.settings.snapshot_file) as snapshot:
        names = [
            row[0] for row in snapshot.execute("select table_name from duckdb_tables() where not temporary").fetchall()
        ]
        return {
            name: sorted(map(str, snapshot.execute(f"from {name}").fetchall())) for name in names if name != "layout"
        }


def stored(world: MemoryWorld) -> dict[str, list[str]]:
    rows = {}
    for table in published_tables(world.fields):
        gone = "m.is_deleted" if table.name == "people" else "false"
        types = {column.name: column.type for column in table.columns}
        casts = ", ".join(f'"{name}"::{sql_type}' for name, sql_type in types.items())
        rows[table.name] = sorted(map(str, world.rows(f"select {casts} from ({table.select} where not {gone})")))
    return rows


def test_a_quiet_cycle_swaps_nothing_in_and_is_told_by_status_json_an_hour_at_most(world: MemoryWorld) -> None:
    before = swaps(world)
    for _ in range(3):
        world.cycle()
        assert told(world) == stored(world)
    assert swaps(world) == before
    file = world.settings.snapshot_file.with_name("status.json")
    content = json.loads(file.read_text("utf-8"))
    assert set(content) == {"publication", "figures", "standing", *MOVING}
    assert file.stat().st_mode & 0o777 == 0o444
    last = content["cycles"][-1]
    assert (last["status"], last["cycle_id"]) == (
        "succeeded",
        world.rows("select max(cycle_id) from ledger.cycles")[0][0],
    )
    world.clock += timedelta(hours=1)
    world.cycle()
    assert swaps(world) != before
    assert told(world) == stored(world)
    assert len(json.loads(file.read_text("utf-8"))["cycles"]) == 1, "the snapshot tells the others"


def map_grows(world: MemoryWorld) -> None:
    world.follow(field_map(*SAME_FOR_BOTH_TYPES, "city,address1_city,text,both,true"))


def edit_both(
    world: MemoryWorld, record_type: RecordType, record_id: str, person: int, in_dynamics: str, in_marketo: str
) -> None:
    world.dynamics.put(record_type, record_id, jobtitle=in_dynamics)
    world.marketo.put(person, title=in_marketo)


def asked_for_again(world: MemoryWorld) -> None:
    with world.warehouse.transaction() as connection:
        ask_back_fill(connection, ["title"], [CONTACT], (None, None), world.warehouse.now())


def found(world: MemoryWorld) -> None:
    world.rows(
        "insert into ledger.audit_findings (finding_id, found_at, found_by, code, record_type) "
        "values (nextval('ledger.entries'), ?, 'extract', 'feed_forgot', 'contact')",
        world.warehouse.now(),
    )


EVENTS: dict[str, Callable[[MemoryWorld, int, int], Any]] = {
    "an edit in Dynamics": lambda world, contact, lead: world.dynamics.put(CONTACT, "c", jobtitle="B"),
    "an edit in Marketo": lambda world, contact, lead: world.marketo.put(contact, title="C"),
    "the same edit on both sides": lambda world, contact, lead: edit_both(world, CONTACT, "c", contact, "D", "D"),
    "a collision": lambda world, contact, lead: edit_both(world, LEAD, "l", lead, "B", "C"),
    "a refusal": lambda world, contact, lead: world.marketo.put(contact, rating="No such label"),
    "a new record": lambda world, contact, lead: world.dynamics.put(CONTACT, "new", jobtitle="B"),
    "an account": lambda world, contact, lead: world.dynamics.put(RecordType.ACCOUNT, "a", name="Contoso"),
    "a finding": lambda world, contact, lead: found(world),
    "another field": lambda world, contact, lead: map_grows(world),
    "a back-fill": lambda world, contact, lead: asked_for_again(world),
    "a merge in Marketo": lambda world, contact, lead: world.marketo.merge(contact, lead),
    "a deletion in Marketo": lambda world, contact, lead: world.marketo.delete(contact),
    "a deletion in Dynamics": lambda world, contact, lead: world.dynamics.delete(CONTACT, "new"),
}


@deep
def test_whatever_happens_is_told_at_the_end_of_its_cycle(world: MemoryWorld) -> None:
    contact, lead = (world.rows("select person_id from state.links where dynamics_id = ?", i)[0][0] for i in ("c", "l"))
    for event, happens in EVENTS.items():
        before = swaps(world)
        happens(world, contact, lead)
        world.cycle()
        assert told(world) == stored(world), event
        assert swaps(world) != before, event
        world.cycle()
        assert told(world) == stored(world), f"the cycle after {event}"


def test_a_cycle_that_ends_otherwise_than_the_one_before_is_swapped_in_though_it_did_nothing(
    world: MemoryWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    def down(*_: object) -> None:
        raise ServerFailed("down", system="dynamics", request="GET accounts", status=503)

    n_swaps = []
    for is_down in (True, True, False, False):
        before = swaps(world)
        with monkeypatch.context() as patch:
            if is_down:
                patch.setattr(world.dynamics, "changes", down)
                with pytest.raises(ServerFailed):
                    world.cycle()
            else:
                world.cycle()
        assert told(world) == stored(world)
        n_swaps.append(swaps(world) != before)
    assert n_swaps == [True, False, True, False]


def test_files_that_were_removed_or_are_none_of_ours_are_not_believed_and_come_back(world: MemoryWorld) -> None:
    snapshot_file = world.settings.snapshot_file
    file = snapshot_file.with_name("status.json")
    for content in ("", "[]", "{", '{"publication": "another one", "cycles": []}', None):
        file.unlink()
        if content is not None:
            file.write_text(content, "utf-8")
        with reading_snapshot(snapshot_file) as snapshot:
            assert snapshot.execute("select count(*) from duckdb_tables() where temporary").fetchall() == [(0,)]
        world.cycle()
        assert told(world) == stored(world)
    snapshot_file.unlink()
    world.cycle()
    assert told(world) == stored(world)


def test_a_status_file_that_cannot_be_written_fails_no_cycle_that_is_done(world: MemoryWorld) -> None:
    file = world.settings.snapshot_file.with_name("status.json")
    file.unlink()
    file.mkdir()
    world.cycle()
    assert told(world) == stored(world), "nothing goes on from it, so the snapshot itself tells"
    assert world.rows("select status from ledger.cycles order by cycle_id desc limit 1") == [("succeeded",)]
