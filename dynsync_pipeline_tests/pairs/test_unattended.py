"""Several pairs with Dagster's own daemon, queue and launcher over PostgreSQL, and SIGKILL: whoever was not hit goes on, and
who was heals. With more pairs, and with figures: `bench/pairs.py`."""

from __future__ import annotations

from pathlib import Path

import pytest

from dynsync_pipeline_tests.pairs.unattended import Unattended, until
from dynsync_pipeline_tests.properties.effort import deep
from dynsync_pipeline_tests.worlds.postgres import MISSING, tools


@deep
@pytest.mark.skipif(tools() is None, reason=MISSING)
def test_a_kill_of_worker_daemon_or_postgres_stops_no_pair_for_good(tmp_path: Path) -> None:
    with Unattended(tmp_path, n_pairs=3, n_busy=1, at_once=2) as world:
        with (tmp_path / "pairs" / world.names[2] / ".env").open("a") as settings:
            settings.write("DYNSYNC_MARKETO_CLIENT_SECRET=wrong\n")
        healthy = world.names[:2]
        world.start()
        until(lambda: all(world.n_cycles(name) for name in healthy), "the first cycles")

        def went_on(before: dict[str, int]) -> bool:
            return all(world.n_cycles(name) > before[name] for name in healthy)

        before = world.cycles()
        world.kill_worker(healthy[0])
        until(lambda: went_on(before), "both pairs after a worker was killed")

        before = world.cycles()
        world.kill_daemon()
        world.start()
        until(lambda: went_on(before), "both pairs after the daemon was killed")

        before = world.cycles()
        world.postgres.kill()
        world.postgres.start()
        until(lambda: went_on(before), "both pairs after PostgreSQL was killed")
        sick = world.state(world.names[2])
        assert sick.last is not None
        assert (sick.last.outcome, world.n_cycles(world.names[2])) == ("failed", 0)
