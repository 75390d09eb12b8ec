"""What the first `dynsync sync` of many contacts costs that stand in both systems, and the cycle after it.

Run it by hand: `python -m dynsync_pipeline_tests.bench.first_load 100000 1000000 --memory-mb 3000`. The emulators are filled in
this process; more than `MOST_SEEDED` contacts are copies made in SQL. Told are processor seconds and the most memory of
`dynsync sync`, a process of its own, and what it wrote: nobody's values differ, or with `--unequal 2` two of everybody's.
"""

from __future__ import annotations

import tempfile
from argparse import ArgumentParser
from math import ceil
from pathlib import Path

from dynsync_pipeline_tests.bench.equal_sides import equal_world
from dynsync_pipeline_tests.bench.multiplied_systems import multiply_systems
from dynsync_pipeline_tests.bench.whole_commands import command
from dynsync_pipeline_tests.worlds.http import HttpWorld

MOST_SEEDED = 200_000


def main(sizes: list[int], memory_mb: int | None, n_unequal: int) -> None:
    """Measure each size in a world of its own."""
    for size in sizes:
        n_copies = ceil(size / MOST_SEEDED)
        n_seeded = size // n_copies
        with tempfile.TemporaryDirectory() as folder, equal_world(Path(folder), n_seeded, n_unequal) as world:
            if n_copies > 1:
                multiply_systems(world, n_copies)
            if memory_mb:
                world.environment["DYNSYNC_MEMORY_MB"] = str(memory_mb)
            for name in ("first load", "the cycle after it"):
                seconds, memory = command(world)
                print(
                    f"{n_seeded * n_copies:10,} contacts, {name:20} {seconds:8.1f} s  {memory:6,.0f} MB  {told(world)}",
                    flush=True,
                )


def told(world: HttpWorld) -> str:
    """How many people are linked, and what the last cycle wrote and asked for."""
    ((n_links,),) = world.query("select count(*) from people where contact_id_dynamics is not null")
    ((n_writes, n_calls),) = world.query(
        "select n_companies_written + n_people_created + n_people_updated + n_records_updated, "
        "n_calls_dynamics + n_calls_marketo from cycles order by cycle_id desc limit 1"
    )
    return f"{n_links:,} links, {n_writes:,} writes, {n_calls:,} calls"


if __name__ == "__main__":
    parser = ArgumentParser()
    parser.add_argument("sizes", nargs="+", type=int)
    parser.add_argument("--memory-mb", type=int, help="DYNSYNC_MEMORY_MB of the sync")
    parser.add_argument("--unequal", type=int, default=0, help="fields in which everybody differs, five at most")
    asked = parser.parse_args()
    main(asked.sizes, asked.memory_mb, asked.unequal)
