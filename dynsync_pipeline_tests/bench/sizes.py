"""Whether plan and publication follow the changes or the size of the database, at sizes that nobody wants to load.

Run it by hand: `python -m dynsync_pipeline_tests.bench.sizes 2000 200000 1000000`. A small world in memory is settled, then its
mirrors, links and base are multiplied in SQL, with other ids; a cycle in which nothing happened, and one with 100 edits, are
measured in processor seconds of this process, the statements that took most are listed. The systems hold none of the
copies, so nothing is read of them, and what a write answers is not part of it. Ratios matter, not times.
"""

from __future__ import annotations

import logging
import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from dynsync_pipeline.model.field_map import FieldMap, FieldType
from dynsync_pipeline.model.records import RecordType
from dynsync_pipeline.publish.snapshot import publish_snapshot
from dynsync_pipeline.publish.status_file import write_status_files
from dynsync_pipeline.reconcile.plan import make_plan
from dynsync_pipeline.warehouse.cycles import ended
from dynsync_pipeline.warehouse.follow_map import move_base
from dynsync_pipeline_tests.worlds.cuts import CutWarehouse, MemoryWarehouse
from dynsync_pipeline_tests.worlds.memory import MemoryWorld

N_SEEDS = 10
N_CHANGES = 100
SLOWEST = 5
_TOLD = re.compile(r"(?P<file>\w+)\.sql, statement \d+ \(line (?P<line>\d+)\).* (?P<ms>[\d.]+) ms")


def main() -> None:
    """Measure each size in turn, and print how many times as long as the smallest it takes."""
    sizes = [int(argument) for argument in sys.argv[1:]] or [2_000, 200_000]
    found = {size: measured(size) for size in sizes}
    for kind in found[sizes[0]]:
        smallest = found[sizes[0]][kind]
        for size in sizes:
            print(f"{kind:30} {size:>10,}  {found[size][kind]:8.3f} s  ×{found[size][kind] / smallest:.1f}")


def measured(n_people: int) -> dict[str, float]:
    """Processor seconds by kind, with the slowest statements printed."""
    world = multiplied(n_people)
    times: dict[str, float] = {}
    plan_of(world)  # the first of a process runs what is left out later
    for kind, n_changes in (("nothing happened", 0), (f"{N_CHANGES} edits", N_CHANGES)):
        edit(world, n_changes)
        with slowest_statements(f"{kind}, {n_people:,} people"):
            started_s = time.process_time()
            plan_of(world)
            times[f"plan, {kind}"] = time.process_time() - started_s
            started_s = time.process_time()
            publish(world)
            times[f"publication, {kind}"] = time.process_time() - started_s
    return times


def multiplied(
    n_people: int,
    fields: FieldMap | None = None,
    *,
    warehouse: type[CutWarehouse] = MemoryWarehouse,
    is_published: bool = True,
    is_varied: bool = False,
) -> MemoryWorld:
    """A settled world of contacts of which all but ten are copies that stand in the working file alone.

    They have a title and a phone, and of `fields`, where given, a text in each. `is_published`: whether the snapshot has them.
    `is_varied`: whether no two copies have the same text, so that files compress as little as real ones.
    """
    world = MemoryWorld(fields, is_optimised=True, publishes=True, warehouse=warehouse)
    texts = [name for name, kind in fields.person_fields.items() if kind is FieldType.TEXT] if fields else []
    filled = texts or ["title", "phone"]
    for number in range(N_SEEDS):
        world.link(RecordType.CONTACT, f"c{number}", **{name: f"{name} {number}" for name in filled})
    world.settled()
    others = {f.dynamics_column for f in world.fields.of(RecordType.CONTACT) if f.marketo_field in filled}
    varied = {
        "mirror.dynamics_contacts": sorted(others),
        "mirror.marketo_people": filled,
        "state.base": filled,
    }
    ids = {
        "mirror.dynamics_contacts": ("contactid",),
        "mirror.marketo_people": ("person_id", "dynamics_contact_id"),
        "state.links": ("person_id", "dynamics_id"),
        "state.base": ("person_id",),
    }
    with world.warehouse.transaction() as connection:
        for table, names in ids.items():
            replaced = ", ".join(
                f"{name} + n * 100000 as {name}" if name == "person_id" else f"{name} || '-' || n as {name}"
                for name in (*names, *(varied.get(table, ()) if is_varied else ()))
            )
            connection.execute(
                f"insert into {table} by name select * exclude (n) replace ({replaced}) "
                f"from {table}, range(1, ?) as copies(n)",
                [n_people // N_SEEDS],
            )
        # What was published is of ten people; a publication without one before it has everybody.
        connection.execute("delete from state.publications")
        connection.execute("delete from state.last_swap")
    with world.warehouse.reading() as connection:
        connection.execute("checkpoint")
    if is_published:
        publish(world)
    return world


def publish(world: MemoryWorld) -> None:
    """As the end of a cycle does."""
    end = ended(0, world.warehouse.now(), is_whole=False, failures=[])
    publish_snapshot(world.warehouse, world.settings, world.fields, end)
    write_status_files(world.warehouse, world.settings, world.fields)


def edit(world: MemoryWorld, n_changes: int) -> None:
    """As though the feeds had told of so many edits in Marketo, all over the table."""
    with world.warehouse.transaction() as connection:
        connection.execute(
            "create or replace temp table edited as select person_id from mirror.marketo_people "
            f"using sample reservoir({n_changes} rows) repeatable (7)"
        )
        connection.execute(
            "update mirror.marketo_people set title = 'B' where person_id in (select person_id from edited)"
        )
        connection.execute("insert into inbox.touched (person_id, is_receipt) select person_id, false from edited")


def plan_of(world: MemoryWorld) -> None:
    """One plan, as a cycle makes it; nothing is sent."""
    with world.warehouse.transaction() as connection:
        make_plan(connection, cycle_id=1, at=world.warehouse.now(), own_fields=world.settings.own_fields, limits=None)
        move_base(connection)


@contextmanager
def slowest_statements(title: str) -> Iterator[None]:
    """Print the statements of rule files that took most while it is open."""
    told: list[tuple[float, str]] = []

    class Told(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if found := _TOLD.search(record.getMessage()):
                told.append((float(found["ms"]), f"{found['file']}:{found['line']}"))

    logger, handler = logging.getLogger("dynsync_pipeline.sql_files"), Told()
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
    print(f"{title}: " + ", ".join(f"{name} {ms:.0f} ms" for ms, name in sorted(told, reverse=True)[:SLOWEST]))


if __name__ == "__main__":
    main()
