"""Whether the cost of a cycle follows the changes or the size of the database.

Run it by hand: `python -m dynsync_pipeline_tests.bench.idle_cycle`; it takes some minutes.

Both systems are seeded with the people and already linked, so that the first cycle only reads; then idle cycles and cycles
with 100 changes are timed at a small and a large number of people, side by side. Ratios matter, not times.
With `--profile` the slowest functions of the last cycle of each kind are listed.
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from dynsync_pipeline.emulators import sample_data
from dynsync_pipeline.emulators.dataverse import seeding as dataverse_seeding
from dynsync_pipeline.emulators.marketo import seeding as marketo_seeding
from dynsync_pipeline.model.field_map import Direction, load_field_map
from dynsync_pipeline.model.records import RecordType
from dynsync_pipeline.warehouse.connection import Warehouse
from dynsync_pipeline_tests.worlds.http import HttpWorld

N_CHANGES = 100
REPEATS = 3
CREATED_AT = "2026-01-01T00:00:00Z"


def main() -> None:
    """Time cycles at each size in turn and print how much longer the large ones take."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs=2, default=[2_000, 200_000], metavar="N")
    parser.add_argument("--profile", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        worlds = {n: seeded_world(Path(folder) / str(n), n) for n in options.sizes}
        try:
            times = timed(worlds, is_profiled=options.profile)
        finally:
            for world in worlds.values():
                world.close()
    small, large = options.sizes
    for kind, seconds in times.items():
        ratio = seconds[large] / seconds[small]
        print(f"{kind:24} {seconds[small]:8.2f} s at {small:,}   {seconds[large]:8.2f} s at {large:,}   ×{ratio:.1f}")


def seeded_world(folder: Path, n_people: int) -> HttpWorld:
    """A world where `n_people` contacts stand in both systems with equal values, and a first cycle has linked them."""
    started_s = time.monotonic()
    world = HttpWorld(folder)
    world.warehouse = Warehouse
    world.environment |= {
        "DYNSYNC_MARKETO_OLDEST_PERSON": CREATED_AT[:10],
        "DYNSYNC_DYNAMICS_CALLS_PER_DAY": "1000000",
        "DYNSYNC_MARKETO_CALLS_PER_DAY": "1000000",
        "DYNSYNC_MAX_CREATES": "1000000",
    }
    # Without industries, whose labels only Dynamics knows: equal companies are not written by the first cycle, whose
    # writes would stand in the feed once per person and be read again for ten minutes.
    accounts = [account | {"industrycode": None} for account in sample_data.sample_accounts(n_people // 50, 0)]
    account_ids = [str(account["accountid"]) for account in accounts]
    dataverse_seeding.seed(world.emulators.dataverse, accounts, _contacts(n_people, account_ids), [])
    marketo_seeding.seed(world.emulators.marketo, _as_people(_contacts(n_people, account_ids), accounts))
    seeded_s = time.monotonic() - started_s
    report = world.sync()
    n_linked = world.query("select count(*) from people where record_type = 'contact'")[0][0]
    print(
        f"{n_people:,} people: seeded in {seeded_s:.0f} s, first cycle {report['seconds']:.0f} s, {n_linked:,} linked",
        file=sys.stderr,
    )
    world.sync()
    return world


def _contacts(n_people: int, account_ids: list[str]) -> Iterator[dict[str, object]]:
    """Sample contacts without the addresses that Marketo refuses: a cycle that tries them again is not idle."""
    for contact in sample_data.sample_contacts(n_people, account_ids, 0):
        is_refused = not str(contact["emailaddress1"]).isascii()
        yield contact | ({"emailaddress1": None} if is_refused else {})


def _as_people(contacts: Iterator[dict[str, object]], accounts: list[dict[str, object]]) -> Iterator[dict[str, object]]:
    """The people that a sync would have made of these contacts."""
    mapped = [
        (field.marketo_field, field.dynamics_column)
        for field in load_field_map().of(RecordType.CONTACT)
        if field.direction is not Direction.TO_DYNAMICS and field.dynamics_column != "statecode"
    ]
    of_account = [(field.marketo_field, field.dynamics_column) for field in load_field_map().of(RecordType.ACCOUNT)]
    companies = {
        account["accountid"]: {name: account.get(column) for name, column in of_account} for account in accounts
    }
    for contact in contacts:
        person = {name: contact.get(column) for name, column in mapped}
        yield (
            person
            | companies.get(contact["parentcustomerid_account"], {})
            | {
                "dynamicsContactId": contact["contactid"],
                "dynamicsType": "Contact",
                "externalCompanyId": contact["parentcustomerid_account"],
                "leadStatus": "Active",
                "createdAt": CREATED_AT,
            }
        )


def timed(worlds: dict[int, HttpWorld], *, is_profiled: bool) -> dict[str, dict[int, float]]:
    """Median seconds of an idle cycle and of one with 100 edits, half of them in each system, by kind and size."""
    seconds: dict[str, dict[int, list[float]]] = {
        kind: {size: [] for size in worlds} for kind in ("idle cycle", f"{N_CHANGES} changes")
    }
    # Small and large take turns, so that whatever else the machine does meets both alike.
    for n in range(REPEATS):
        for kind, n_changes in zip(seconds, (0, N_CHANGES), strict=True):
            for size, world in worlds.items():
                _edit(world, n, n_changes)
                profile = cProfile.Profile()
                if is_profiled and n == REPEATS - 1:
                    profile.enable()
                seconds[kind][size].append(_cycle_s(world, n_changes))
                profile.disable()
                if is_profiled and n == REPEATS - 1:
                    print(f"\n{kind}, {size:,} people", file=sys.stderr)
                    pstats.Stats(profile, stream=sys.stderr).sort_stats("tottime").print_stats(12)
                world.sync()  # what this cycle wrote comes back in the next one, which is no idle cycle yet
    return {kind: {size: statistics.median(times) for size, times in of.items()} for kind, of in seconds.items()}


def _edit(world: HttpWorld, n: int, n_changes: int) -> None:
    keys = world.query(
        "select person_id_marketo, contact_id_dynamics from people where record_type = 'contact' "
        "order by hash(person_id_marketo) limit ?",
        n_changes,
    )
    for number, (person_id, record_id) in enumerate(keys):
        if number % 2:
            world.edit_person(person_id, title=f"Edited {n}")
        else:
            world.edit_record("contact", record_id, jobtitle=f"Edited {n}")


def _cycle_s(world: HttpWorld, n_expected: int) -> float:
    report = world.sync()
    plan = report["plan"]
    n_updates = plan["n_updates_to_marketo"] + plan["n_updates_to_dynamics"]
    if n_updates != n_expected:
        raise RuntimeError(f"the cycle planned {n_updates} updates, not {n_expected}")
    return float(report["seconds"])


if __name__ == "__main__":
    main()
