"""The key of a linked person is the sync's: emptied or altered by people it is put back, and told (R18)."""

from __future__ import annotations

from typing import Any

import pytest

from dynsync_pipeline.model.records import RecordType
from dynsync_pipeline_tests.properties.effort import story
from dynsync_pipeline_tests.worlds.memory import MemoryWorld, field_map
from dynsync_pipeline_tests.worlds.memory_marketo import KEYS

pytestmark = story

CONTACT, LEAD = RecordType.CONTACT, RecordType.LEAD
FIELDS = field_map("title,jobtitle,text,both,true")


@pytest.mark.parametrize("record_type", [CONTACT, LEAD])
def test_a_key_that_people_empty_or_alter_is_put_back_with_the_edits_beside_it_and_told_once(
    record_type: RecordType,
) -> None:
    world = MemoryWorld(FIELDS)
    key = KEYS.contact_id if record_type is CONTACT else KEYS.lead_id
    people = [world.link(record_type, f"r{n}", title="A") for n in range(3)]
    world.settled()
    world.marketo.put(people[0], **{key: None})
    world.marketo.put(people[1], **{key: "nobody", "title": "M"})
    world.marketo.put(people[2], **{key: None})
    world.dynamics.put(record_type, "r2", jobtitle="D")
    world.settled()
    assert [world.marketo.rows[person].values[key] for person in people] == ["r0", "r1", "r2"]
    assert [world.both(person, "title") for person in people] == [("A", "A"), ("M", "M"), ("D", "D")]
    assert len(world.marketo.rows) == 3, "nobody was made anew"
    assert sorted((e[0], e[1], e[3], e[4], e[5]) for e in world.errors()) == [
        (f"r{n}", key, "key_altered", 1, "resolved") for n in range(3)
    ]
    assert (
        world.rows("select field, rule_code from ledger.changes where rule_code = 'key_put_back'")
        == [(key, "key_put_back")] * 3
    )


def test_a_key_altered_to_another_record_s_never_writes_over_either() -> None:
    world = MemoryWorld(FIELDS)
    people = [world.link(CONTACT, f"r{n}", title=f"T{n}") for n in range(2)]
    world.settled()
    world.marketo.put(people[0], **{KEYS.contact_id: "r1"})
    world.dynamics.put(CONTACT, "new", jobtitle="N")
    world.settled()
    assert [world.marketo.rows[person].values[KEYS.contact_id] for person in people] == ["r0", "r1"]
    assert [world.both(person, "title") for person in people] == [("T0", "T0"), ("T1", "T1")]


def test_a_key_that_somebody_writes_between_our_read_and_our_own_key_gives_way_and_is_told() -> None:
    """Here a merge takes a lead's key from the person of a contact; the feed shows what that write replaced."""
    world = MemoryWorld(FIELDS)
    contact, lead = world.link(CONTACT, "c", title="A"), world.link(LEAD, "l", title="A")
    world.settled()
    world.marketo.merge(contact, lead)
    world.marketo.put(contact, **{KEYS.lead_id: "l"})
    sync = world.marketo.sync_people

    def somebody_first(*arguments: Any) -> Any:
        world.marketo.sync_people = sync  # type: ignore[method-assign]
        world.marketo.put(contact, **{KEYS.lead_id: "by hand"})
        return sync(*arguments)

    world.marketo.sync_people = somebody_first  # type: ignore[method-assign, assignment]
    world.settled()
    world.settled()
    assert world.marketo.rows[contact].values[KEYS.lead_id] is None
    assert [row[:2] + row[3:] for row in world.errors()] == [("c", KEYS.lead_id, "key_altered", 1, "resolved")]


def test_a_free_key_on_a_person_without_a_link_still_links() -> None:
    world = MemoryWorld(FIELDS)
    world.dynamics.put(CONTACT, "c", jobtitle="A")
    world.marketo.put(1001, **{KEYS.contact_id: "c", "title": "A"})
    world.settled()
    assert world.rows("select person_id from state.links") == [(1001,)]
    assert world.errors() == []
