"""Many rows may wait to be approved, for long: of these a publication writes what moved, and the snapshot has them all."""

from __future__ import annotations

import duckdb

from dynsync_pipeline.model.records import RecordType
from dynsync_pipeline.warehouse.approvals import approve_values
from dynsync_pipeline_tests.properties.effort import story
from dynsync_pipeline_tests.worlds.memory import MemoryWorld, field_map, read_all

LEAD = RecordType.LEAD
WAITING = ("unsettled", "approvals")


def published(world: MemoryWorld) -> tuple[int, ...]:
    """A cycle; how many rows of what waits it wrote. The snapshot has what the working file has."""
    with world.opened() as cycle:
        read_all(cycle)
        cycle.reconcile()
        cycle.write_dynamics()
        cycle.write_marketo()
        n_rows = cycle.publish().n_rows
    of_values = (
        "record_type, dynamics_id, person_id, field, dynamics_value, marketo_value, reason_code, attempts, since"
    )
    told = of_values.replace("dynamics_id", "record_id_dynamics").replace("person_id", "person_id_marketo")
    with duckdb.connect(str(world.settings.snapshot_file), read_only=True) as snapshot:
        for there, here, columns in (
            (told, of_values, "unsettled"),
            *[("approval_id, field, old_value, new_value, asked_at, approved_at, approved_by",) * 2 + ("approvals",)],
        ):
            rows = snapshot.execute(f"select {there} from {columns} order by all").fetchall()
            assert rows == world.rows(f"select {here} from state.{columns} order by all"), columns
    return tuple(n_rows.get(name, 0) for name in WAITING)


@story
def test_what_waits_is_written_once_and_goes_once_it_is_settled() -> None:
    world = MemoryWorld(field_map("title,jobtitle,text,both,true", "city,address1_city,text,both,true"), publishes=True)
    for name in "abcd":
        world.link(LEAD, name, title="A", city="A")
    world.settled()
    world.allow(ask_above=2)
    for name in "abc":
        world.dynamics.put(LEAD, name, jobtitle="B")
    assert published(world) == (3, 3)
    world.dynamics.put(LEAD, "d", address1_city="B")
    assert published(world) == (0, 0)
    world.dynamics.put(LEAD, "a", jobtitle=None)
    assert published(world) == (0, 0), "that of one whose value was edited since goes"
    value = ("lead", "b", "title", "to_marketo", "A", "B")
    with world.warehouse.transaction() as connection:
        approve_values(connection, [value], "somebody", world.warehouse.now())
    assert published(world) == (0, 0)
    assert world.rows("select dynamics_id from state.unsettled") == [("c",)]
