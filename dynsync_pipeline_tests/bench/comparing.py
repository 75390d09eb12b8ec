"""What deciding on a hundredth of all people costs, against pandas and against one join of DuckDB over the same tables.

Run it by hand: `python -m dynsync_pipeline_tests.bench.comparing 1000000`. The store is that of `sizes.py`. Pandas takes base,
contacts and people out of it, merges them and compares field by field, as one would in a notebook; the join finds the same
cells. Both only find what differs: no rule, no plan, no request. Processor seconds of this process; ratios matter.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import pandas as pd

from dynsync_pipeline.model.records import RecordType
from dynsync_pipeline_tests.bench.sizes import edit, multiplied, plan_of
from dynsync_pipeline_tests.worlds.memory import MemoryWorld, field_map

N_FIELDS = 30
KEYS = (
    "select l.person_id, {columns} from state.links l join state.base b using (person_id) "
    "join mirror.dynamics_contacts d on d.contactid = l.dynamics_id join mirror.marketo_people m using (person_id)"
)


def main(n_people: int = 1_000_000) -> None:
    """Measure and print all three."""
    others = (f"field{number},new_field{number},text,both,true" for number in range(N_FIELDS - 1))
    world = multiplied(n_people, field_map("title,jobtitle,text,both,true", *others))
    plan_of(world)  # the first of a process runs what is left out later
    edit(world, n_people // 100)
    taken = {"plan": processor_s(lambda: plan_of(world))}
    taken["one join"] = processor_s(lambda: joined(world))
    taken["pandas"] = processor_s(lambda: merged(world))
    for name, seconds in taken.items():
        print(f"{name:10} {seconds:8.2f} s  ×{seconds / taken['plan']:.1f} of the plan")


def processor_s(act: Callable[[], object]) -> float:
    """Processor seconds of this process."""
    started_s = time.process_time()
    act()
    return time.process_time() - started_s


def fields_of(world: MemoryWorld) -> list[tuple[str, str]]:
    """The Marketo field and the Dynamics column of what is compared of a contact."""
    return [(f.marketo_field, f.dynamics_column) for f in world.fields.of(RecordType.CONTACT)]


def joined(world: MemoryWorld) -> list[tuple[object, ...]]:
    """Who differs anywhere, by one join."""
    differs = " or ".join(
        f'd."{column}" is distinct from m."{field}" or b."{field}" is distinct from m."{field}"'
        for field, column in fields_of(world)
    )
    return world.rows(KEYS.format(columns="l.dynamics_id") + f" where {differs}")


def merged(world: MemoryWorld) -> int:
    """How many cells differ, by pandas."""
    with world.warehouse.reading() as connection:
        links = connection.execute("select person_id, dynamics_id as contactid from state.links").df()
        base = connection.execute("from state.base").df()
        contacts = connection.execute("from mirror.dynamics_contacts").df()
        people = connection.execute("from mirror.marketo_people").df()
    whole = links.merge(contacts, on="contactid").merge(base, on="person_id", suffixes=("", "_base"))
    whole = whole.merge(people, on="person_id", suffixes=("", "_marketo"))
    return sum(_n_unlike(whole, column, field) for field, column in fields_of(world))


def _n_unlike(whole: pd.DataFrame, column: str, field: str) -> int:
    there = whole[column]
    here = whole[f"{field}_marketo" if f"{field}_marketo" in whole else field]
    return int(((there != here) & ~(there.isna() & here.isna())).sum())


if __name__ == "__main__":
    main(*map(int, sys.argv[1:2]))
