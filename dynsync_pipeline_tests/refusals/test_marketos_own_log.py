"""What was refused stands in the person's own activity log in Marketo, once, where an activity type is named for it (R115)."""

from __future__ import annotations

from datetime import timedelta

import pytest

from dynsync_pipeline.clients.marketo.protocol import ActivityType
from dynsync_pipeline.errors import AccessDenied, ApiError, RequestRefused, TimedOut
from dynsync_pipeline.model.records import RecordType
from dynsync_pipeline.model.refusal_entry import ENTRY, ENTRY_NAME, MESSAGE
from dynsync_pipeline_tests.properties.effort import story
from dynsync_pipeline_tests.sync_filter.filtered import NO
from dynsync_pipeline_tests.worlds.memory import MemoryWorld, field_map

TYPE_ID = 100_001
READY = ActivityType(TYPE_ID, "dynsyncSyncError", True, frozenset({MESSAGE, ENTRY}))
LOST = TimedOut("No answer.", system="marketo", request="POST /rest/v1/activities/external.json")
NOT_ALLOWED = AccessDenied("No right.", system="marketo", request="POST", code="603")


def refusing_world(n: int = 1) -> tuple[MemoryWorld, list[int]]:
    """A world that tells refusals, with `n` contacts whose title Dynamics refuses; nothing is refused yet."""
    world = MemoryWorld(field_map("title,jobtitle,text,both,true", "phone,telephone1,text,both,true"))
    world.marketo.activity_types = [READY]
    world.allow(marketo_activity_type=TYPE_ID)
    people = [world.link(RecordType.CONTACT, f"c{number}", title="A") for number in range(n)]
    world.settled()
    refuse(world, "jobtitle")
    return world, people


def refuse(world: MemoryWorld, column: str, code: str = "0x80044331") -> None:
    """Dynamics refuses whatever is written to a column."""
    refused = RequestRefused("Too long: 100.", system="dynamics", request="PATCH", code=code, field=column)
    world.dynamics.refuses = lambda key, values: refused if column in values else None


def logged(world: MemoryWorld) -> list[tuple[int, str | None]]:
    """Person and field of the entries in Marketo's log."""
    return [(entry.person_id, entry.primary_value) for entry in world.marketo.log if entry.type_id == TYPE_ID]


def outcomes(world: MemoryWorld) -> list[str]:
    return [row[0] for row in world.rows("select outcome_code from ledger.marketo_entries order by entry_id")]


def test_r115_a_refusal_is_told_once_with_field_and_message_and_not_again_at_each_attempt() -> None:
    world, (person,) = refusing_world()
    world.marketo.put(person, title="too long", phone="1")
    for _ in range(4):
        world.cycle()
    assert logged(world) == [(person, "title")]
    (entry,) = (each for each in world.marketo.log if each.type_id == TYPE_ID)
    assert "Too long: 100." in str(entry.attributes["Message"])
    ((activity_id,),) = world.rows("select activity_id from ledger.activities where activity_type = 'Sync Error'")
    assert entry.attributes[ENTRY_NAME] == str(activity_id)
    assert outcomes(world) == ["told"]
    assert world.both(person, "phone") == ("1", "1")


@story
def test_without_a_type_nothing_is_told_and_nothing_of_that_time_later() -> None:
    world, (person,) = refusing_world()
    world.allow(marketo_activity_type=None)
    world.marketo.put(person, title="too long")
    world.cycle()
    world.allow(marketo_activity_type=TYPE_ID)
    world.cycle()
    world.cycle()
    assert logged(world) == []
    refuse(world, "telephone1")
    world.marketo.put(person, phone="2")
    world.cycle()
    assert logged(world) == [(person, "phone")]


@story
@pytest.mark.parametrize("is_written", [True, False])
def test_after_a_lost_answer_it_is_looked_for_and_never_doubled_and_what_is_never_seen_is_said(
    is_written: bool, caplog: pytest.LogCaptureFixture
) -> None:
    world, people = refusing_world(2)
    for person in people:
        world.marketo.put(person, title="too long")
    world.marketo.log_fails = (LOST, is_written)
    world.marketo.log_delay = timedelta(minutes=30)
    world.cycle()
    world.marketo.log_fails = None
    for _ in range(3):  # the log may be late
        world.cycle()
    assert outcomes(world) == []
    world.clock += timedelta(hours=2)
    for _ in range(2):
        world.cycle()
    assert sorted(logged(world)) == ([(person, "title") for person in people] if is_written else [])
    assert outcomes(world) == ["told" if is_written else "given_up"] * 2
    assert ("nobody knows; it is not sent again" in caplog.text) is not is_written


@story
@pytest.mark.parametrize("error", [NOT_ALLOWED, RequestRefused("No.", system="marketo", request="POST", code="1003")])
def test_an_answer_that_nothing_was_written_is_tried_again_and_holds_up_nothing(error: ApiError) -> None:
    world, (person,) = refusing_world()
    world.marketo.log_fails = (error, False)
    world.marketo.put(person, title="too long", phone="1")
    for _ in range(3):
        world.cycle()
    assert world.both(person, "phone") == ("1", "1")
    world.marketo.log_fails = None
    world.cycle()
    assert logged(world) == [(person, "title")]


@story
@pytest.mark.parametrize(
    "types", [[], [READY._replace(is_approved=False)], [READY._replace(attributes=frozenset({MESSAGE}))]]
)
def test_a_type_that_is_missing_or_not_as_it_must_be_keeps_entries_waiting_and_is_said(
    types: list[ActivityType], caplog: pytest.LogCaptureFixture
) -> None:
    world, (person,) = refusing_world()
    world.marketo.activity_types = types
    world.marketo.put(person, title="too long")
    world.cycle()
    assert "dynsync setup" in caplog.text
    world.marketo.activity_types = [READY]
    world.cycle()
    assert logged(world) == [(person, "title")]


@story
def test_r92_nothing_is_told_in_the_log_of_a_stale_person() -> None:
    world, (person,) = refusing_world()
    world.marketo.activity_types = []
    world.marketo.put(person, title="too long")
    world.cycle()
    world.dynamics.put(RecordType.CONTACT, "c0", **NO)
    world.cycle()
    world.marketo.activity_types = [READY]
    world.cycle()
    assert logged(world) == []


@story
def test_a_person_who_is_gone_meanwhile_is_one_outcome_of_its_own_and_the_others_are_told() -> None:
    world, (first, second) = refusing_world(2)
    world.marketo.log_fails = (NOT_ALLOWED, False)
    for person in (first, second):
        world.marketo.put(person, title="too long")
    world.cycle()
    world.marketo.log_fails = None
    world.marketo.delete(first)
    world.cycle()
    assert logged(world) == [(second, "title")]
    assert sorted(outcomes(world)) == ["refused", "told"]


@story
def test_cut_at_any_step_it_is_told_at_most_once_and_its_outcome_is_known() -> None:
    world, (person,) = refusing_world()
    for n_cut, cut_after in enumerate(range(4, 28, 4), 1):
        world.marketo.put(person, title=f"too long {cut_after}")
        refuse(world, "jobtitle", f"0x{cut_after}")
        world.cycle(cut_after=cut_after)
        world.cycle()
        world.clock += timedelta(hours=2)
        world.cycle()
        assert len(outcomes(world)) == n_cut, cut_after
        assert len(logged(world)) == outcomes(world).count("told"), cut_after
