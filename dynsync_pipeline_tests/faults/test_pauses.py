"""A pause and kills: whatever is killed, what was asked to stand still does, and what goes on loses and doubles nothing.

Not here: what a pause holds (`cli/test_pause.py`).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from dynsync_pipeline.defs.sensors import build_cycle_sensor
from dynsync_pipeline.model.records import RecordType
from dynsync_pipeline.requests.desk import Desk
from dynsync_pipeline.requests.store import RequestStore
from dynsync_pipeline.warehouse.action_ledger import take_in_actions
from dynsync_pipeline.warehouse.connection import IN_MEMORY, Warehouse
from dynsync_pipeline.warehouse.pause import pause, read_pause, resume
from dynsync_pipeline_tests.properties.effort import deep, sampled, story
from dynsync_pipeline_tests.worlds.cuts import Cut
from dynsync_pipeline_tests.worlds.memory import field_map, read_all
from dynsync_pipeline_tests.worlds.requests import RequestWorld

pytestmark = story

LEAD = RecordType.LEAD
FIELDS = field_map("title,jobtitle,text,both,true", "phone,telephone1,text,both,true")


def begun() -> tuple[RequestWorld, int, int]:
    """A world with a linked lead, and somebody in Marketo who is nothing yet."""
    world = RequestWorld(FIELDS, publishes=True)
    person = world.link(LEAD, "r1", title="A", phone="A")
    stranger = world.person(title="stranger")
    world.settled()
    return world, person, stranger


def tick(world: RequestWorld) -> str | None:
    """What the sensor says an hour after the last cycle; None where it starts the next one."""
    _tell_as_of_an_hour_ago(world)
    with dg.DagsterInstance.ephemeral() as instance:
        ticked = build_cycle_sensor(world.settings)(dg.build_sensor_context(instance=instance))
    return ticked.skip_message if isinstance(ticked, dg.SkipReason) else None


def _tell_as_of_an_hour_ago(world: RequestWorld) -> None:
    """And as a killed cycle leaves it: the lock tells when it began and no end."""
    told = json.loads(world.settings.lock_file.read_text())
    an_hour_ago = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
    world.settings.lock_file.write_text(json.dumps(told | {"started_at": an_hour_ago, "ended_at": None}))


def served(world: RequestWorld) -> str | None:
    with RequestStore(world.settings.requests_file) as store, Desk(world.settings, store) as desk:
        return desk.serve()


def edit(world: RequestWorld, person: int, value: str) -> None:
    world.dynamics.put(LEAD, "r1", jobtitle=value)
    world.marketo.put(person, phone=value)


@pytest.mark.parametrize("cut_after", sampled([27, 15, 19, 21, 23, 25, 29, 31, 33], 1))
def test_a_cycle_that_is_killed_in_a_pause_is_repaired_after_it_and_not_before(cut_after: int) -> None:
    """The pause begins in the middle of the cycle; people edit, and ask for leads, meanwhile."""
    world, person, stranger = begun()
    edit(world, person, "B")
    pause(world.settings.data_dir, None)
    assert world.cycle(cut_after=cut_after) is None
    written = len(world.dynamics.writes) + len(world.marketo.writes)
    request = world.ask(stranger)
    told = tick(world)
    assert told is not None
    assert told == str(read_pause(world.settings.data_dir))
    assert served(world) == f"{told} What is queued is kept until then."
    world.dynamics.put(LEAD, "r1", telephone1="C")
    assert len(world.dynamics.writes) + len(world.marketo.writes) == written
    resume(world.settings.data_dir)
    assert tick(world) is None
    assert world.cycle(cut_after=cut_after) is None, "and the cycle after the pause is killed, too"
    world.settled()
    assert world.both(person, "title") == ("B", "B")
    assert world.both(person, "phone") in (("B", "B"), ("C", "C")), "as the kill fell, a collision or a later edit"
    assert world.request(request).outcome == "created"
    assert world.rows("select command, count(*) from ledger.operator_actions group by all order by all") == [
        ("pause", 1), ("resume", 1),
    ]  # fmt: skip
    fields = world.rows(
        "select field, new_value, count(*) from ledger.changes where person_id = ? group by all", person
    )
    assert all(n == 1 for _, _, n in fields), "no value is written twice"


@deep
def test_a_cycle_that_runs_when_the_pause_begins_goes_on_to_its_end_and_no_other_follows() -> None:
    world, person, stranger = begun()
    request = world.ask(stranger)
    edit(world, person, "B")
    with world.opened() as cycle:
        read_all(cycle)
        pause(world.settings.data_dir, None)
        cycle.reconcile()
        cycle.write_dynamics()
        cycle.write_marketo()
        cycle.publish()
    assert (world.both(person, "title"), world.both(person, "phone")) == (("B", "B"), ("B", "B"))
    assert world.request(request).outcome == "created"
    assert "Paused" in str(tick(world))


@pytest.fixture(scope="module")
def moments() -> Moments:
    moments = Moments()
    sys.addaudithook(moments)
    return moments


class Moments:
    """A kill before each thing that a command does to files: `cut_after` so many of them, those of this folder alone."""

    def __init__(self) -> None:
        self.folder: Path | None = None
        self.left = 0

    def __call__(self, event: str, arguments: tuple[object, ...]) -> None:
        if self.folder is None or event not in ("open", "os.rename", "os.remove", "os.mkdir"):
            return
        if str(self.folder) in str(arguments[0]):
            if self.left == 0:
                self.folder = None
                raise Cut
            self.left -= 1

    def run(self, folder: Path, cut_after: int, command: Callable[[], None]) -> bool:
        """Whether the command came to its end."""
        self.folder, self.left = folder, cut_after
        try:
            command()
        except Cut:
            return False
        finally:
            self.folder = None
        return True


def commands(data_dir: Path) -> list[str]:
    """What the ledger has once a cycle has begun, twice, on one file of the tests' own."""
    with Warehouse(IN_MEMORY) as warehouse:
        for _ in range(2):
            with warehouse.transaction() as connection:
                take_in_actions(connection, data_dir)
        with warehouse.reading() as connection:
            return [row[0] for row in connection.execute("select command from ledger.operator_actions").fetchall()]


def test_a_pause_or_its_end_that_is_killed_anywhere_took_effect_if_and_only_if_the_ledger_tells_it(
    moments: Moments, tmp_path: Path
) -> None:
    """Whether or not a cycle began in between, and what was killed is given again."""
    n_cut = 0
    for cut_after in range(40):
        data_dir = tmp_path / str(cut_after)
        data_dir.mkdir()
        whole = moments.run(data_dir, cut_after, lambda folder=data_dir: pause(folder, "why"))  # type: ignore[misc]
        assert (read_pause(data_dir) is not None) is ("pause" in commands(data_dir))
        if not whole:
            pause(data_dir, "again")
        whole &= moments.run(data_dir, cut_after, lambda folder=data_dir: resume(folder))  # type: ignore[misc]
        is_held = read_pause(data_dir) is not None
        assert commands(data_dir) == ["pause"] if is_held else ["pause", "resume"]
        whole &= moments.run(data_dir, cut_after, lambda folder=data_dir: pause(folder, "new"))  # type: ignore[misc]
        told = commands(data_dir)
        assert told.count("resume") == (not is_held)
        assert (read_pause(data_dir) is not None) is (told[-1] == "pause")
        resume(data_dir)
        assert read_pause(data_dir) is None
        assert commands(data_dir)[-1] == "resume"
        if whole:
            break
        n_cut += 1
    assert n_cut > 5
