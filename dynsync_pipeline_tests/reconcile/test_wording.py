"""Sentences are for people: worded anew, they change no decision (docs/decisions/0008-codes-beside-sentences.md)."""

from __future__ import annotations

from typing import Any

from dynsync_pipeline.errors import ApiError, RequestRefused
from dynsync_pipeline.model.records import RecordType
from dynsync_pipeline_tests.properties.effort import deep
from dynsync_pipeline_tests.worlds.memory import MemoryWorld, field_map
from dynsync_pipeline_tests.worlds.rows import Values, as_is, refuse_nothing

FIELDS = field_map(
    "title,jobtitle,text,both,true",
    "phone,telephone1,text,both,true",
    "rating,new_rating,choice,both,true",
    "source,new_source,text,to_marketo,true",
)


def shortened(name: str, value: str | None) -> str | None:
    return value[:3] if value and name in ("phone", "source") else value


def refuse_titles(key: str, values: Values) -> ApiError | None:
    return RequestRefused("No.", system="dynamics", request="PATCH", code="x") if "jobtitle" in values else None


def story(world: MemoryWorld) -> None:
    """Something that is decided by every kind of code: new, one-sided, collided, kept otherwise, refused, one-way, waiting."""
    lead = world.link(RecordType.LEAD, "lead", title="A", phone="1", source="web")
    contact = world.link(RecordType.CONTACT, "contact", title="A", phone="1", source="web")
    world.dynamics.put(RecordType.CONTACT, "new", jobtitle="N", telephone1="123456")
    world.marketo.keeps = shortened
    world.cycle()
    world.dynamics.put(RecordType.CONTACT, "contact", telephone1="555555", jobtitle="D", new_source="website")
    world.marketo.put(contact, title="M")
    world.marketo.put(lead, title="Refused", rating="No such label")
    world.dynamics.refuses = refuse_titles
    world.cycle()
    world.dynamics.put(RecordType.CONTACT, "contact", jobtitle="E")
    world.marketo.put(contact, phone="777")
    world.marketo.put(lead, source="elsewhere")
    world.cycle()
    world.dynamics.refuses, world.marketo.keeps = refuse_nothing, as_is
    world.marketo.put(lead, title="Taken", rating="Hot")
    for _ in range(3):
        world.cycle()


def told(world: MemoryWorld) -> dict[str, list[tuple[Any, ...]]]:
    tables = {
        name: world.rows(f"select * exclude ({times}) from {name} order by all")
        for name, times in (
            ("state.standing_differences", "since"),
            ("state.unsettled", "since, next_look_at"),
            ("ledger.activities", "activity_at"),
            ("ledger.sync_errors", "happened_at, last_seen_at"),
        )
    }
    return tables | world.ledger()


@deep
def test_sentences_that_are_worded_anew_change_no_decision() -> None:
    as_they_are, anew = MemoryWorld(FIELDS), MemoryWorld(FIELDS)
    anew.rows("update codes set sentence = 'worded anew'")
    for world in (as_they_are, anew):
        story(world)
    assert told(anew) == told(as_they_are)
    assert {row[-1] for row in as_they_are.ledger()["changes"]} >= {"new_in_dynamics", "one_sided", "dynamics_wins"}
    codes = as_they_are.rows(
        "select reason_code from state.standing_differences union select reason_code from state.unsettled"
    )
    assert {"kept_by_marketo", "one_way_edited"} <= {row[0] for row in codes}
    assert as_they_are.errors()
