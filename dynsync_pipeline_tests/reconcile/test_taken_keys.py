"""A record whose key somebody else's person bears gets no person, and says so for as long as that lasts (R18)."""

from __future__ import annotations

from datetime import timedelta

from dynsync_pipeline.model.records import RecordType
from dynsync_pipeline_tests.properties.effort import deep, story
from dynsync_pipeline_tests.worlds.memory import MemoryWorld, field_map
from dynsync_pipeline_tests.worlds.memory_marketo import KEYS

FIELDS = field_map("title,jobtitle,text,both,true")


@story
def test_a_taken_key_is_one_open_error_until_the_key_is_free_and_then_the_record_gets_its_person() -> None:
    world = MemoryWorld(FIELDS)
    bearer = world.link(RecordType.CONTACT, "c", title="A")
    world.settled()
    world.marketo.put(bearer, **{KEYS.lead_id: "l"})
    world.dynamics.put(RecordType.LEAD, "l", jobtitle="L")
    world.cycle()
    assert world.errors() == [("l", None, "to_marketo", "key_taken", 1, "waiting")]

    world.marketo.put(bearer, title="B")  # an edit of the bearer does not end it
    world.dynamics.put(RecordType.LEAD, "l", jobtitle="L2")  # nor one of the record
    world.cycle()
    assert [(error[0], error[3], error[5]) for error in world.errors()] == [("l", "key_taken", "waiting")]
    assert world.both(bearer, "title") == ("B", "B")

    world.marketo.put(bearer, **{KEYS.lead_id: None})
    world.clock += timedelta(days=1)
    world.settled()
    assert [error[5] for error in world.errors()] == ["resolved"]
    (new,) = world.marketo.bearers(KEYS.lead_id, "l")
    assert world.marketo.rows[new].values["title"] == "L2"


@deep
def test_an_error_of_a_taken_key_is_never_quarantined_because_it_is_looked_at_every_day() -> None:
    world = MemoryWorld(FIELDS)
    bearer, other = (world.link(RecordType.CONTACT, f"c{n}", title="A") for n in range(2))
    world.settled()
    world.marketo.put(bearer, **{KEYS.lead_id: "l"})
    world.dynamics.put(RecordType.LEAD, "l", jobtitle="L")
    for _ in range(10):
        world.clock += timedelta(days=1)
        world.cycle()
    assert world.errors() == [("l", None, "to_marketo", "key_taken", 10, "waiting")]

    world.marketo.put(bearer, **{KEYS.lead_id: None})
    world.marketo.put(other, **{KEYS.lead_id: "l"})
    world.clock += timedelta(days=1)
    world.cycle()
    assert world.errors() == [("l", None, "to_marketo", "key_taken", 11, "waiting")], "still one error of one record"
    assert world.rows("select person_id from ledger.sync_errors") == [(other,)]
