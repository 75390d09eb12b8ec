"""A pause and kills: whatever is killed, what was asked to stand still does, and what goes on loses and doubles nothing.

Not here: what a pause holds (`cli/test_pause.py`).
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest

from dynsync_pipeline.defs.sensors import build_cycle_sensor
from dynsync_pipeline.model.records import RecordType
from dynsync_pipeline.requests.desk import Desk
from dynsync_pipeline.requests.store import RequestStore
from dynsync_pipeline.warehouse.operator_actions import leave_action
from dynsync_pipeline.warehouse.pause import FILE, pause, read_pause, resume
from dynsync_pipeline_tests.properties.effort import deep, sampled, story
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


def hold(world: RequestWorld) -> None:
    """What `dynsync pause` does."""
    leave_action(world.settings.data_dir, "pause", {"why": None})
    pause(world.settings.data_dir, None)


def let_go(world: RequestWorld) -> None:
    """What `dynsync resume` does."""
    leave_action(world.settings.data_dir, "resume", {})
    resume(world.settings.data_dir)


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
    hold(world)
    assert world.cycle(cut_after=cut_after) is None
    written = len(world.dynamics.writes) + len(world.marketo.writes)
    request = world.ask(stranger)
    told = tick(world)
    assert told is not None
    assert told == str(read_pause(world.settings.data_dir))
    assert served(world) == f"{told} What is queued is kept until then."
    world.dynamics.put(LEAD, "r1", telephone1="C")
    assert len(world.dynamics.writes) + len(world.marketo.writes) == written
    let_go(world)
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
        hold(world)
        cycle.reconcile()
        cycle.write_dynamics()
        cycle.write_marketo()
        cycle.publish()
    assert (world.both(person, "title"), world.both(person, "phone")) == (("B", "B"), ("B", "B"))
    assert world.request(request).outcome == "created"
    assert "Paused" in str(tick(world))


def test_a_pause_or_its_end_that_is_killed_half_way_is_asked_for_again_and_holds_or_does_not() -> None:
    """The word is kept before anything is done, so that it may stand in the ledger once more than it took effect."""
    world, _, _ = begun()
    leave_action(world.settings.data_dir, "pause", {"why": None})
    (world.settings.data_dir / f"{FILE}.half.new").write_text('{"since": ')
    assert tick(world) is None
    hold(world)
    leave_action(world.settings.data_dir, "resume", {})
    assert tick(world) is not None
    let_go(world)
    assert tick(world) is None
    world.settled()
    assert world.rows("select command, count(*) from ledger.operator_actions group by all order by all") == [
        ("pause", 2), ("resume", 2),
    ]  # fmt: skip
