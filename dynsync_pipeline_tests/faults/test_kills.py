"""A cycle that is killed at any moment, and the next one: together they end like one cycle that nobody disturbed."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable, Iterator

import pytest

from dynsync_pipeline_tests.faults.cut_short import cut_after_step, cut_at_request
from dynsync_pipeline_tests.properties.effort import is_deep, story
from dynsync_pipeline_tests.worlds.edit_rounds import EditRounds
from dynsync_pipeline_tests.worlds.http import HttpWorld

# Every how many-th moment is tried over HTTP; properties/test_cuts.py tries more of them in memory.
STRIDE = 1 if is_deep() else 45
N_ROWS = 10 if is_deep() else 1
MOST_MOMENTS = 200  # more than a cycle has; reaching it means that nothing was killed
MakeWorld = Callable[..., HttpWorld]


@pytest.fixture(scope="module")
def rounds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EditRounds]:
    """A world with a first load behind it and one undisturbed round; each kill happens in a round of its own."""
    with HttpWorld(tmp_path_factory.mktemp("world")) as world:
        rounds = EditRounds(world)
        rounds.begin()
        world.sync()
        rounds.check()
        yield rounds


def recover(rounds: EditRounds, moment: str) -> None:
    """The next cycle, after which all must be as without a kill."""
    rounds.keep_writes()
    rounds.world.sync()
    try:
        rounds.check()
    except AssertionError as fault:
        raise AssertionError(f"{moment}: {fault}") from fault


def test_a_kill_after_any_step_loses_and_doubles_nothing(rounds: EditRounds) -> None:
    """R11."""
    has_died = True
    for n_steps in range(1, MOST_MOMENTS, STRIDE):
        rounds.begin()
        has_died = cut_after_step(rounds.world, n_steps)
        recover(rounds, f"killed after step {n_steps}")
        if not has_died:
            break
    assert not has_died
    assert n_steps > 10


@story
def test_a_kill_of_the_cycle_that_repairs_an_earlier_kill_loses_and_doubles_nothing(rounds: EditRounds) -> None:
    dice = random.Random("kills in a row")
    for _ in range(N_ROWS):
        rounds.begin()
        moments = [dice.randint(8, 26), dice.randint(1, 26)]
        for n_steps in moments:
            cut_after_step(rounds.world, n_steps)
        recover(rounds, f"killed after steps {moments}")


@story
@pytest.mark.parametrize("is_applied", [False, True], ids=["before", "after"])
def test_a_kill_before_or_after_a_write_was_applied_loses_and_doubles_nothing(
    rounds: EditRounds, is_applied: bool
) -> None:
    """A round has two writes to Dynamics and three to Marketo: of these every other one before, and the others after."""
    n_struck = 0
    for system, path in (("dynamics", "/$batch"), ("marketo", "POST /rest/v1/leads.json")):
        for n in range(1, MOST_MOMENTS) if is_deep() else MOMENTS[system, is_applied]:
            rounds.begin()
            has_died = cut_at_request(rounds.world, system, path, n, is_applied=is_applied)
            recover(rounds, f"killed at request {n} to {path}")
            if not has_died:
                break
            n_struck += 1
    assert n_struck >= (5 if is_deep() else 2)


MOMENTS = {("dynamics", False): [1], ("dynamics", True): [2], ("marketo", False): [1, 3], ("marketo", True): [2]}


def first_load(make_world: MakeWorld) -> tuple[HttpWorld, dict[str, str]]:
    """A world that was never synced, with people in both systems."""
    world = make_world()
    records = {world.create_record("contact", lastname=f"Contact {n}", jobtitle=f"T{n}"): "contact" for n in range(4)}
    records |= {world.create_record("lead", lastname=f"Lead {n}", leadsourcecode=8): "lead" for n in range(4)}
    for n in range(3):
        world.create_person(lastName=f"Only in Marketo {n}")
    return world, records


def check_first_load(world: HttpWorld, records: dict[str, str]) -> None:
    """Every record became one person, created by one request, told once; nothing else happened."""
    for record_id, record_type in records.items():
        person_id = world.person_of(record_type, record_id)
        assert world.person(person_id, "dynamicsType")["dynamicsType"] == record_type.title()
        rows = world.query("select field from changes where record_id_dynamics = ? order by field", record_id)
        value = "title" if record_type == "contact" else "leadSource"
        assert rows == sorted([("lastName",), ("leadStatus",), (value,)])
    assert world.query("select count(*) from people") == [(len(records) + 3,)]
    with world.emulators.marketo.lock:
        n_people = world.emulators.marketo.db.execute("select count(*) from people").fetchone()
    assert n_people == (len(records) + 3,)
    assert all(world.records(record_type) for record_type in ("contact", "lead"))
    with world.writes_nothing():
        world.sync()


@story
@pytest.mark.parametrize("n_steps", [9, 20, 24, 28])
def test_a_kill_in_the_first_load_creates_nobody_twice(make_world: MakeWorld, n_steps: int) -> None:
    world, records = first_load(make_world)
    assert cut_after_step(world, n_steps), "the first load has fewer steps"
    world.sync()
    check_first_load(world, records)


@story
@pytest.mark.parametrize("is_applied", [False, True], ids=["before", "after"])
def test_a_kill_while_people_are_created_creates_nobody_twice(make_world: MakeWorld, is_applied: bool) -> None:
    world, records = first_load(make_world)
    assert cut_at_request(world, "marketo", "POST /rest/v1/leads.json", 2, is_applied=is_applied)
    sent = [write.record for write in world.marketo.writes if write.field == "dynamicsType"]
    world.marketo.forget()
    world.sync()
    sent += [write.record for write in world.marketo.writes if write.field == "dynamicsType"]
    check_first_load(world, records)
    assert sorted(sent) == sorted(records), "each person is created by one request"


def test_kill_9_of_the_command_itself_at_some_time_loses_and_doubles_nothing(rounds: EditRounds) -> None:
    """R13."""
    world = rounds.world
    for n_requests in (2, 14):  # while it reads, and while it reconciles; ten are left then
        rounds.begin()
        running = world.begin("sync")
        while len(world.dynamics.paths) + len(world.marketo.paths) < n_requests:
            time.sleep(0.005)
        os.kill(running.pid, signal.SIGKILL)
        assert running.ended().returncode == -signal.SIGKILL
        rounds.keep_writes()
        second = world.dynsync("sync")
        assert second.returncode == 0, second.stderr
        recover(rounds, f"killed after {n_requests} requests")
