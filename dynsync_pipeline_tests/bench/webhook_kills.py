"""Whether an acknowledged call is lost when listener and cycles are killed:
`python -m dynsync_pipeline_tests.bench.webhook_kills [calls]`.

Callers post all the time, as trigger campaigns do; the listener is killed (SIGKILL) and begun again, and cycles are started
beside it of which every other one is killed. Afterwards nothing is killed any more until all is settled. Prints how many calls
were acknowledged and how many kills fell, and ends with 1 where an acknowledged call made no record, or more than one.
"""

from __future__ import annotations

import random
import re
import sys
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx

from dynsync_pipeline.requests.store import RequestStore
from dynsync_pipeline_tests.worlds.core import CoreWorld
from dynsync_pipeline_tests.worlds.http import settings_from

TOKEN = "t" * 24
CALLERS = 25
LONGEST_REST_S = 900.0


class Listener:
    """The listener, which is killed and begun again, always on the same port."""

    def __init__(self, world: CoreWorld) -> None:
        self._world = world
        self._port = "0"
        self._begin()

    def _begin(self) -> None:
        self.process = self._world.start("listen", "--port", self._port, DYNSYNC_LISTEN_TOKENS=TOKEN)
        assert self.process.stdout is not None
        found = re.search(r"http://[\d.]+:(\d+)", self.process.stdout.readline())
        assert found is not None
        self._port = found[1]
        self.url = f"http://127.0.0.1:{self._port}/requests"

    def kill(self) -> None:
        """Kill it, and begin it again."""
        self.process.kill()
        self.process.communicate()
        self._begin()


def main(n_calls: int = 1_000) -> int:
    """Call, kill, settle, count; returns the exit code."""
    chance = random.Random(7)
    with tempfile.TemporaryDirectory() as folder, CoreWorld(Path(folder), n_leads=1) as world:
        people = [world.create_person(lastName=f"Person {n}") for n in range(n_calls)]
        listener = Listener(world)
        acknowledged: dict[int, str] = {}
        kills: Counter[str] = Counter()
        is_done = threading.Event()

        def call(person_id: int) -> None:
            """Until it is answered: a call without an answer was not acknowledged."""
            body = {"person_id": person_id, "as": "lead" if person_id % 2 else "contact"}
            while person_id not in acknowledged:
                try:
                    answer = httpx.post(listener.url, json=body, headers={"X-DynSync-Token": TOKEN}, timeout=40)
                    if answer.status_code == 200:
                        acknowledged[person_id] = str(answer.json()["result"])
                except httpx.TransportError:
                    time.sleep(0.5)  # while it begins again

        def kill_listener() -> None:
            while not is_done.wait(chance.uniform(4, 12)):
                listener.kill()
                kills["listener"] += 1

        def kill_cycles() -> None:
            while not is_done.wait(chance.uniform(1, 4)):
                cycle = world.start("sync")
                if chance.random() < 0.5:
                    time.sleep(chance.uniform(1, 6))
                    cycle.kill()
                    kills["cycle"] += cycle.wait() < 0
                cycle.communicate()

        killers = [threading.Thread(target=kill_listener), threading.Thread(target=kill_cycles)]
        for killer in killers:
            killer.start()
        with ThreadPoolExecutor(CALLERS) as callers:
            list(callers.map(call, people))
        is_done.set()
        for killer in killers:
            killer.join()
        listener.process.kill()
        listener.process.communicate()
        ends_s = time.monotonic() + LONGEST_REST_S
        with RequestStore(settings_from(world.environment).requests_file) as store:
            while store.unfinished() and time.monotonic() < ends_s:  # what was put off waits for its next try
                world.sync()
                time.sleep(5)
        world.settle()
        return _judge(world, people, acknowledged, kills)


def _judge(world: CoreWorld, people: list[int], acknowledged: dict[int, str], kills: Counter[str]) -> int:
    made: Counter[str] = Counter()
    for kind in ("leads", "contacts"):
        rows = world.sales.get(f"/api/data/v9.2/{kind}", params={"$select": "lastname"}).json()["value"]
        made.update(row["lastname"] for row in rows)
    n_of = {person_id: made[f"Person {n}"] for n, person_id in enumerate(people)}
    lost = [person_id for person_id in acknowledged if n_of[person_id] != 1]
    n_doubled = sum(n > 1 for n in n_of.values())
    keys = "select count(*) from people where contact_id_dynamics is not null or lead_id_dynamics is not null"
    ((n_linked,),) = world.query(keys)
    sys.stdout.write(
        f"{len(acknowledged):,} of {len(people):,} calls acknowledged ({dict(Counter(acknowledged.values()))}), "
        f"kills: {dict(kills)}; {len(lost)} lost, {n_doubled} doubled; "
        f"{sum(n_of.values()):,} records, {n_linked - 1:,} people with a key\n"
    )
    return 1 if lost or n_doubled else 0


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:2])))
