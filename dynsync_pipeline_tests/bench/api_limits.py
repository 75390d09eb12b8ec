"""How near a cycle comes to what the limits of the two systems allow, with many changes each way.

Run it by hand: `python -m dynsync_pipeline_tests.bench.api_limits 100000`, which takes three quarters of an hour. With few
changes the limits do not bind, unless they are lower: `… 3000 --calls-per-20-s 4`. Twice as many contacts stand in both
systems, and are linked and settled without limits; half of them are edited in Dynamics, the others in Marketo. Then comes one
cycle, over TLS, against emulators under the vendors' limits, in real time (`limited_systems.py`), with DynSync's own defaults,
except that the day's calls to Dynamics suffice and that no census is read. It fails where one value does not reach the other
side.

Told is the least time that the limits allow over the time that was taken; what they allow at once is told as no share. That
time is made of: of Marketo, so many calls in any 20 seconds, the first of them at once; of Dynamics, `--record-ms` for each
record, with as many requests under way as it advises, which is four, and four for five minutes are just the 20 minutes of
execution that it allows in these. Its 6,000 requests in five minutes are not met. Told beside it are the fewest calls that
could do it, of those that were made, and how many were under way; how busy DynSync and the emulators kept the processors, and
the load. Where these have no room left, or answers of Dynamics are late, it is the machine that binds and not the limits.
"""

from __future__ import annotations

import logging
import math
import os
import sqlite3
import tempfile
import time
from argparse import ArgumentParser
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from dynsync_pipeline.clients.dynamics.batch import LARGEST_BATCH
from dynsync_pipeline.clients.marketo.client import ENTRIES_PER_PAGE, RECORDS_PER_WRITE
from dynsync_pipeline.clients.systems import SYSTEMS
from dynsync_pipeline.cycle import Cycle
from dynsync_pipeline.emulators.dataverse.functions import DOP_HINT
from dynsync_pipeline.settings import MANY, Settings
from dynsync_pipeline.write_back.receipts import Written
from dynsync_pipeline_tests.bench.equal_sides import equal_world
from dynsync_pipeline_tests.bench.limited_systems import limited
from dynsync_pipeline_tests.worlds.http import HttpWorld, settings_from

WINDOW_S = 20.0
READ, TO_DYNAMICS, TO_MARKETO = "read", "write to Dynamics", "write to Marketo"


def main(n_changes: int, calls_per_20_s: int, record_ms: float) -> None:
    """Make the changes, run the cycle, and print what it took of what it might."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        edits = edited(folder, n_changes)
        with limited(folder / "emulators", record_ms / 1_000) as systems:
            settings = settings_from(
                systems.environment
                | {
                    "DYNSYNC_DATA_DIR": str(folder / "data"),
                    "DYNSYNC_MARKETO_CALLS_PER_20_S": str(calls_per_20_s),
                    "DYNSYNC_DYNAMICS_CALLS_PER_DAY": str(MANY),  # each record counts, and the default is 100,000
                    "DYNSYNC_CENSUS_SHARE": "0",
                }
            )
            steps = cycle(settings, systems.process_id)
        require_arrived(folder / "emulators", edits)
    report(steps, n_changes, settings, record_ms / 1_000)


class Edits(NamedTuple):
    """What is to stand on the other side: the title of a person by its id, and of a contact by its id."""

    people: dict[int, str]
    contacts: dict[str, str]


def edited(folder: Path, n_changes: int) -> Edits:
    """So many contacts edited in Dynamics, and as many others in Marketo, after all were linked and settled."""
    with equal_world(folder, 2 * n_changes) as world:
        for _ in range(2):
            world.sync()
        linked = world.query(
            "select person_id_marketo, contact_id_dynamics from people where contact_id_dynamics is not null "
            "order by hash(person_id_marketo)"
        )
        if len(linked) != 2 * n_changes:
            raise RuntimeError(f"{len(linked):,} people are linked, and not {2 * n_changes:,}")
        of_sales, of_marketing = linked[:n_changes], linked[n_changes:]
        edit_contacts(world, {contact_id: f"Sales {person_id}" for person_id, contact_id in of_sales})
        edit_people(world, {person_id: f"Marketing {person_id}" for person_id, _ in of_marketing})
        return Edits(
            {person_id: f"Sales {person_id}" for person_id, _ in of_sales},
            {contact_id: f"Marketing {person_id}" for person_id, contact_id in of_marketing},
        )


def edit_contacts(world: HttpWorld, titles: Mapping[str, str]) -> None:
    """A salesperson changes titles, as a bulk edit does."""
    targets = [
        {"@odata.type": "Microsoft.Dynamics.CRM.contact", "contactid": contact_id, "jobtitle": title}
        for contact_id, title in titles.items()
    ]
    for start in range(0, len(targets), LARGEST_BATCH):
        body = {"Targets": targets[start : start + LARGEST_BATCH]}
        world.sales.post("/api/data/v9.2/contacts/Microsoft.Dynamics.CRM.UpdateMultiple", json=body).raise_for_status()


def edit_people(world: HttpWorld, titles: Mapping[int, str]) -> None:
    """A marketer changes titles, as a flow step over a list does."""
    people = [{"id": person_id, "title": title} for person_id, title in titles.items()]
    for start in range(0, len(people), RECORDS_PER_WRITE):
        some = people[start : start + RECORDS_PER_WRITE]
        body = {"action": "updateOnly", "lookupField": "id", "input": some}
        world.answered(world.marketing.post("/rest/v1/leads.json", json=body))


class Step(NamedTuple):
    """What a step took: seconds on the wall, of processors here and in the emulators, of each call by system; and the load."""

    wall_s: float
    here_s: float
    emulators_s: float
    calls_s: dict[str, list[float]]
    load: float


def cycle(settings: Settings, emulators: int) -> dict[str, Step]:
    """One whole cycle, step by step; `emulators` is the process that they run in."""
    steps: dict[str, Step] = {}
    with calls_answered() as calls_s, Cycle(settings) as running:

        def write(step: Callable[[], Written]) -> None:
            if failure := step().failure:
                raise RuntimeError(failure)

        for name, step in {
            READ: lambda: (running.extract(), running.extract_companies()),
            "compare": running.reconcile,
            TO_DYNAMICS: lambda: write(running.write_dynamics),
            TO_MARKETO: lambda: write(running.write_marketo),
            "publish": running.publish,
        }.items():
            began = clocks(emulators)
            for each in calls_s.values():
                each.clear()
            step()
            wall_s, here_s, emulators_s = (end - begin for begin, end in zip(began, clocks(emulators), strict=True))
            told = {system: list(each) for system, each in calls_s.items()}
            steps[name] = Step(wall_s, here_s, emulators_s, told, os.getloadavg()[0])
            print(f"  {name}: {steps[name].wall_s:.0f} s", flush=True)
    return steps


@contextmanager
def calls_answered() -> Iterator[dict[str, list[float]]]:
    """The seconds of each call while it is open, by system, sign-in apart; what has to be sent again is printed."""
    calls_s: dict[str, list[float]] = {system: [] for system in SYSTEMS}

    class Answered(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            told = record.__dict__
            if record.levelno > logging.DEBUG:
                print(f"  {record.getMessage()}", flush=True)
            elif "oauth" not in told["request"]:
                calls_s[told["system"]].append(told["seconds"])

    logger, handler = logging.getLogger("dynsync_pipeline.clients.transport"), Answered()
    level, logger.propagate = logger.level, False
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    try:
        yield calls_s
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        logger.propagate = True


def clocks(other: int) -> tuple[float, float, float]:
    """Seconds on the wall, of processors that this process took, and that another one did."""
    _, _, figures = Path(f"/proc/{other}/stat").read_text().rpartition(")")
    other_s = sum(map(int, figures.split()[11:13])) / os.sysconf("SC_CLK_TCK")
    return time.monotonic(), time.process_time(), other_s


def require_arrived(state: Path, edits: Edits) -> None:
    """Raises: RuntimeError where a value is not on the other side."""
    for file, query, wanted in (
        ("marketo.sqlite", "select id, title from people", edits.people),
        ("dataverse.sqlite", "select contactid, jobtitle from contact", edits.contacts),
    ):
        with sqlite3.connect(state / file) as database:
            found = dict(database.execute(query).fetchall())
        if missing := [key for key, title in wanted.items() if found[key] != title]:
            raise RuntimeError(
                f"{len(missing):,} of {len(wanted):,} values did not reach {file}, such as of {missing[0]}"
            )


def report(steps: Mapping[str, Step], n_changes: int, settings: Settings, record_s: float) -> None:
    """Print what was allowed beside what was taken, of each step and of the whole."""
    per_window = settings.marketo_calls_per_20_s
    at_once = min(settings.dynamics_calls_at_once, int(DOP_HINT))
    print(
        f"{n_changes:,} changes each way; Marketo {per_window} calls in 20 s; Dynamics {record_s * 1_000:g} ms a record, "
        f"{at_once} requests at once; {os.cpu_count()} processors"
    )
    executing_s = n_changes * record_s / at_once
    fewest = {
        READ: math.ceil(n_changes / ENTRIES_PER_PAGE),
        TO_DYNAMICS: math.ceil(n_changes / LARGEST_BATCH),
        TO_MARKETO: math.ceil(n_changes / RECORDS_PER_WRITE),
    }
    allowed_s = {}
    for name, step in steps.items():
        calls_s = step.calls_s["dynamics" if name == TO_DYNAMICS else "marketo"]
        allowed_s[name] = executing_s if name == TO_DYNAMICS else marketo_s(len(calls_s), per_window)
        told = [share(allowed_s[name], step.wall_s)]
        if name in fewest:
            told.append(f"{fewest[name]:,} of {len(calls_s):,} calls, {sum(calls_s) / step.wall_s:.2f} at once")
        told.append(
            f"busy {step.here_s / step.wall_s:.2f} + {step.emulators_s / step.wall_s:.2f}, load {step.load:.1f}"
        )
        print(f"{name:18} {', '.join(told)}")
    late_s = sum(steps[TO_DYNAMICS].calls_s["dynamics"]) - n_changes * record_s
    print(f"{'':18} answers of Dynamics are late by {late_s / (n_changes * record_s):.1%} of its time")
    cycle_s = sum(step.wall_s for step in steps.values())
    n_calls = sum(len(step.calls_s["marketo"]) for step in steps.values())
    for least_s, how in (
        (sum(allowed_s.values()), "one step after the other"),
        (max(executing_s, marketo_s(n_calls, per_window)), "both systems at a time"),
        (max(executing_s, marketo_s(fewest[READ] + fewest[TO_MARKETO], per_window)), "and with the fewest calls"),
    ):
        print(f"{'whole cycle':18} {share(least_s, cycle_s)}, {how}")


def marketo_s(n_calls: int, per_window: int) -> float:
    """The least seconds in which so many calls may be sent, when there were none for a window before."""
    return WINDOW_S * max(math.ceil(n_calls / per_window) - 1, 0)


def share(allowed_s: float, taken_s: float) -> str:
    """The time allowed, taken, and the one of the other."""
    told = f"{allowed_s / taken_s:6.1%}" if allowed_s else "no limit"
    return f"{allowed_s:7.1f} s of {taken_s:7.1f} s, {told}"


if __name__ == "__main__":
    parser = ArgumentParser()
    parser.add_argument("changes", type=int, help="how many each way")
    parser.add_argument("--calls-per-20-s", type=int, default=50, help="DYNSYNC_MARKETO_CALLS_PER_20_S")
    parser.add_argument("--record-ms", type=float, default=50.0, help="what Dynamics takes for a record of a batch")
    asked = parser.parse_args()
    main(asked.changes, asked.calls_per_20_s, asked.record_ms)
