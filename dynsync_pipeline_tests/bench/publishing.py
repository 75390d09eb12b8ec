"""What a publication costs against copying the snapshot's file, after no change and after a thousand.

Run it by hand: `python -m dynsync_pipeline_tests.bench.publishing 1000000`; TMPDIR names a folder of another file system. The
store is that of `sizes.py`, of thirty fields with a text of their own for everybody, in a working file on the disk. Both are
told in seconds of wall time and of processor time of this process; the copy is one of each byte, and ends on the disk, as a
publication does. Ratios matter.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from dynsync_pipeline.warehouse.follow_map import move_base
from dynsync_pipeline_tests.bench.sizes import multiplied, publish
from dynsync_pipeline_tests.worlds.cuts import CutWarehouse, Steps
from dynsync_pipeline_tests.worlds.memory import MemoryWorld, field_map

N_FIELDS = 30
N_CHANGES = 1_000
REPEATS = 5
PART = 1 << 20


class OnDisk(CutWarehouse):
    """A working file that waits for the disk and uses all processors, as a real one does."""

    def __init__(self, path: Path, steps: Steps, clock: Callable[[], datetime]) -> None:
        super().__init__(path, steps, clock)
        self._connection.execute("reset fsync_mode; reset threads")


def main(n_people: int = 1_000_000) -> None:
    """Measure each several times, in turn; the middle one counts."""
    others = (f"field{number},new_field{number},text,both,true" for number in range(N_FIELDS - 1))
    fields = field_map("title,jobtitle,text,both,true", *others)
    world = multiplied(n_people, fields, warehouse=OnDisk, is_varied=True)
    snapshot = world.settings.snapshot_file
    taken: dict[str, list[tuple[float, float]]] = {}
    for _ in range(REPEATS):
        taken.setdefault("copying the file", []).append(seconds(lambda: copied(snapshot)))
        taken.setdefault("publishing no change", []).append(seconds(lambda: publish(world)))
        settle_edits(world, N_CHANGES)
        taken.setdefault(f"publishing {N_CHANGES:,} changes", []).append(seconds(lambda: publish(world)))
        world.warehouse.tidy()  # as a cycle ends
    walls, processors = zip(*(map(statistics.median, zip(*each, strict=True)) for each in taken.values()), strict=True)
    print(f"{n_people:,} people, {snapshot.stat().st_size / 1e6:,.0f} MB")
    for name, wall, processor in zip(taken, walls, processors, strict=True):
        print(
            f"{name:26} {wall:8.3f} s  ×{wall / walls[0]:.2f}   processor {processor:8.3f} s  ×{processor / processors[0]:.2f}"
        )


def settle_edits(world: MemoryWorld, n_edits: int) -> None:
    """As a cycle does that read so many edits of Marketo, wrote them to Dynamics and read them back: rows are replaced."""
    with world.warehouse.transaction() as connection:
        connection.execute(
            "create or replace temp table edited as select person_id, dynamics_id from state.links "
            f"using sample reservoir({n_edits} rows)"
        )
        for table, key, chosen, column in (
            ("mirror.marketo_people", "person_id", "select person_id from edited", "title"),
            ("mirror.dynamics_contacts", "contactid", "select dynamics_id from edited", "jobtitle"),
        ):
            connection.execute(
                f"create or replace temp table seen as select * replace ({column} || 'B' as {column}) from {table} "
                f"where {key} in ({chosen})"
            )
            connection.execute(f"delete from {table} where {key} in ({chosen})")
            connection.execute(f"insert into {table} by name from seen")
        connection.execute(
            "insert into state.unpublished (published_table, dynamics_id) select 'contacts', dynamics_id from edited"
        )
        connection.execute(
            "insert into state.base_moves (person_id, field, value) select person_id, 'title', title "
            "from mirror.marketo_people where person_id in (select person_id from edited)"
        )
        move_base(connection)


def seconds(act: Callable[[], object]) -> tuple[float, float]:
    """Of wall time, and of processor time of this process."""
    wall_s, processor_s = time.monotonic(), time.process_time()
    act()
    return time.monotonic() - wall_s, time.process_time() - processor_s


def copied(file: Path) -> None:
    """Copy a file to the disk, and remove the copy."""
    copy = file.with_name("copied")
    with file.open("rb") as read, copy.open("wb") as written:
        while part := read.read(PART):  # `shutil.copyfile` would let some file systems share the blocks
            written.write(part)
    with copy.open("rb") as written:
        os.fsync(written.fileno())
    copy.unlink()


if __name__ == "__main__":
    main(*map(int, sys.argv[1:2]))
