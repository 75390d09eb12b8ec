"""A plan of more writes than are held in memory is sent whole, each write once."""

from __future__ import annotations

import pytest

from dynsync_pipeline.model.records import RecordType
from dynsync_pipeline.write_back import receipts
from dynsync_pipeline_tests.worlds.memory import MemoryWorld, field_map

LEAD, CONTACT = RecordType.LEAD, RecordType.CONTACT


@pytest.mark.parametrize("at_once", [1, 2, 3])
def test_a_plan_that_is_read_in_parts_is_sent_whole_and_each_write_once(
    at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Edits of both types on both sides, and new people; three of a kind, so that parts end within one and between two."""
    monkeypatch.setattr(receipts, "AT_ONCE", at_once)
    world = MemoryWorld(field_map("title,jobtitle,text,both,true"))
    people = {
        (kind, side, n): world.link(kind, f"{kind}-{side}-{n}", title="A")
        for kind in (LEAD, CONTACT)
        for side in ("dynamics", "marketo")
        for n in range(3)
    }
    world.settled()
    world.marketo.writes.clear()
    for (kind, side, n), person in people.items():
        if side == "dynamics":
            world.dynamics.put(kind, f"{kind}-{side}-{n}", jobtitle=f"B{n}")
        else:
            world.marketo.put(person, title=f"B{n}")
    for n in range(3):
        for kind in (LEAD, CONTACT):
            world.dynamics.put(kind, f"new-{kind}-{n}", jobtitle="New")
    world.cycle()
    assert {key: world.both(person, "title") for key, person in people.items()} == {
        key: (f"B{key[2]}", f"B{key[2]}") for key in people
    }
    told = [key for key, _ in world.marketo.writes]
    assert len(told) == len(set(told)) == 12, "six edits and six new people"
    assert world.settled() == 0
