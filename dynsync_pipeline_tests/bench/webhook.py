"""How soon the webhook says `created` while no cycle runs: `python -m dynsync_pipeline_tests.bench.webhook [calls] [per second]`.

Both emulators, the listener and the callers share this machine. Prints the share of calls that were answered `created` within a
second, and the quantiles in seconds.
"""

from __future__ import annotations

import re
import signal
import statistics
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx

from dynsync_pipeline_tests.worlds.core import CoreWorld

TOKEN = "t" * 24


def main(n_calls: int = 100, per_second: float = 5.0) -> None:
    """Call as a trigger campaign does, at a steady pace, and print how long the answers took."""
    with tempfile.TemporaryDirectory() as folder, CoreWorld(Path(folder), n_leads=1) as world:
        people = [world.create_person(lastName=f"Person {n}") for n in range(n_calls)]
        process = world.start("listen", "--port", "0", DYNSYNC_LISTEN_TOKENS=TOKEN)
        assert process.stdout is not None
        found = re.search(r"http://[\d.:]+", process.stdout.readline())
        assert found is not None
        url = found[0]

        def call(number: int) -> tuple[str, float]:
            time.sleep(max(0.0, started_s + number / per_second - time.monotonic()))
            began_s = time.monotonic()
            body = {"person_id": people[number], "as": "lead"}
            answer = httpx.post(f"{url}/requests", json=body, headers={"X-DynSync-Token": TOKEN}, timeout=40)
            return str(answer.json()["result"]), time.monotonic() - began_s

        httpx.get(f"{url}/health", timeout=40).raise_for_status()  # the listener is up
        started_s = time.monotonic()
        with ThreadPoolExecutor(50) as callers:
            answers = list(callers.map(call, range(n_calls)))
        process.send_signal(signal.SIGINT)
        process.wait()
    n_soon = sum(result == "created" and seconds <= 1 for result, seconds in answers)
    quantiles = statistics.quantiles([seconds for _, seconds in answers], n=20)
    sys.stdout.write(
        f"{n_soon} of {n_calls} answered created within 1 s; half in {quantiles[9]:.2f} s, 95 % in {quantiles[18]:.2f} s, "
        f"the slowest in {max(seconds for _, seconds in answers):.2f} s\n"
    )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:2]), *map(float, sys.argv[2:3]))
