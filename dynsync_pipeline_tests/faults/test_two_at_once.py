"""Two cycles at once: there is one lock, whoever holds it, and it dies with its holder."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Callable

from dynsync_pipeline_tests.properties.effort import story
from dynsync_pipeline_tests.worlds.http import HttpWorld

RUNNING = 3
LIMIT_S = 240.0


def wait_until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_the_second_of_two_cycles_leaves_with_one_sentence_and_touches_nothing(
    make_world: Callable[..., HttpWorld],
) -> None:
    """R2."""
    world = make_world()
    record_id = world.create_record("contact", lastname="Once")
    first = world.begin("sync")
    wait_until(lambda: bool(world.dynamics.paths))
    os.kill(first.pid, signal.SIGSTOP)  # so that it is running for as long as the second one needs
    n_requests = len(world.dynamics.paths), len(world.marketo.paths)
    second = world.dynsync("sync")
    assert second.returncode == RUNNING, second.stderr
    assert re.fullmatch(r"Error: Another cycle is running, process (\d+), since [\d:]+ UTC\. .*\n", second.stderr), (
        second.stderr
    )
    assert f"process {first.pid}," in second.stderr
    os.kill(first.pid, signal.SIGCONT)
    assert (len(world.dynamics.paths), len(world.marketo.paths)) >= n_requests
    ended = first.ended()
    assert ended.returncode == 0, ended.stderr
    assert world.person_of("contact", record_id)
    assert world.query("select cycle_id, status from cycles") == [(1, "succeeded")]


@story
def test_the_lock_of_a_killed_cycle_stops_nobody(make_world: Callable[..., HttpWorld]) -> None:
    world = make_world()
    world.create_record("contact", lastname="Once")
    first = world.begin("sync")
    wait_until(lambda: bool(world.dynamics.paths))
    os.kill(first.pid, signal.SIGKILL)
    assert first.ended().returncode == -signal.SIGKILL
    second = world.dynsync("sync")
    assert second.returncode == 0, second.stderr
    assert world.query("select status from cycles order by cycle_id") == [("failed",), ("succeeded",)]


@story
def test_commands_that_only_look_work_while_a_cycle_runs(make_world: Callable[..., HttpWorld]) -> None:
    world = make_world()
    world.create_record("contact", lastname="Once")
    world.sync()
    world.dynamics.forget()
    running = world.begin("sync")
    wait_until(lambda: bool(world.dynamics.paths))
    os.kill(running.pid, signal.SIGSTOP)
    try:
        assert world.query("select count(*) from people") == [(1,)]
        assert world.dynsync("check").returncode == 0
    finally:
        os.kill(running.pid, signal.SIGCONT)
        ended = running.ended()
    assert ended.returncode == 0, ended.stderr
