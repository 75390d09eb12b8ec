"""A score's entry tells a label, which may be shared or have changed: its person is read again, whatever the label says."""

from __future__ import annotations

import pytest

from dynsync_pipeline.clients.marketo.protocol import Activity
from dynsync_pipeline.extract.marketo import CHANGE_SCORE
from dynsync_pipeline.model.records import RecordType
from dynsync_pipeline_tests.properties.effort import story
from dynsync_pipeline_tests.worlds.memory import MemoryWorld, field_map

SCORES = field_map("leadScore,mkt_leadscore,integer,to_dynamics,true", "fitScore,mkt_fitscore,integer,to_dynamics,true")


def score(world: MemoryWorld, person_id: int, name: str, label: str, value: str) -> None:
    """A campaign changes a score: the feed of values is silent, and the log tells the field by a label."""
    row = world.marketo.rows[person_id]
    old = row.values.get(name)
    row.values[name] = value
    told = {"Old Value": old, "New Value": value}
    guid = f"s{len(world.marketo.log)}"
    world.marketo.log.append(Activity(guid, person_id, world.now(), CHANGE_SCORE, label, told))


@pytest.mark.parametrize(
    ("case", "label"),
    [("two fields share it", "Score"), ("it was renamed an hour ago", "Renamed"), ("it is another's now", "fitScore")],
)
@story
def test_a_score_reaches_dynamics_whatever_its_label(case: str, label: str) -> None:
    world = MemoryWorld(SCORES)
    person_id = world.link(RecordType.LEAD, "r", leadScore="1")
    world.settled()
    if case == "two fields share it":
        world.rows("update state.columns set label = 'Score' where name in ('leadScore', 'fitScore')")
    score(world, person_id, "leadScore", label, "7")
    world.cycle()
    assert world.both(person_id, "leadScore") == ("7", "7"), case
    n_read = "select n_people_read from ledger.cycles order by cycle_id desc limit 1"
    world.settled()
    world.cycle()
    assert world.rows(n_read) == [(0,)], "an entry that was taken in asks for nobody again"
