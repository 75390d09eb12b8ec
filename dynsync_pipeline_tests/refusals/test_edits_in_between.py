"""What happens between a write and its reading back, before a put-back, or in a late feed is not lost.

Source: docs/design.md#updates.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from dynsync_pipeline import cycle as cycle_module
from dynsync_pipeline.clients.dynamics.client import DynamicsClient
from dynsync_pipeline.clients.marketo.client import MarketoClient
from dynsync_pipeline.clients.marketo.protocol import PersonResult
from dynsync_pipeline.errors import RequestRefused, ServerFailed, TimedOut
from dynsync_pipeline.extract.feed import Feed
from dynsync_pipeline.warehouse.connection import utc_now
from dynsync_pipeline.whole_cycle import run_cycle
from dynsync_pipeline_tests.properties.effort import deep, story
from dynsync_pipeline_tests.worlds.core import CoreWorld, just_before
from dynsync_pipeline_tests.worlds.cuts import SmallWarehouse
from dynsync_pipeline_tests.worlds.http import settings_from

pytestmark = story


def sync_times(world: CoreWorld, n_times: int) -> None:
    for _ in range(n_times):
        world.sync()


def overwrite_unseen(world: CoreWorld) -> tuple[str, int]:
    """A lead whose person was edited to M after it was read and before D was written over it."""
    lead, person = world.take("lead")
    world.edit_record("lead", lead, jobtitle="D")
    with just_before(MarketoClient, "sync_people", lambda: world.edit_person(person, title="M")):
        world.sync()
    return lead, person


def assert_marketo_won(world: CoreWorld, lead: str, person: int) -> None:
    sync_times(world, 4)
    assert world.columns("lead", lead, "jobtitle") == ("M",)
    assert world.values(person, "title") == ("M",)
    assert len(world.query("select * from collisions where record_id_dynamics = ?", lead)) == 1


@pytest.mark.parametrize("kind", ["lead", "contact"])
def test_an_edit_between_our_write_and_its_reading_back_travels_like_any_other(
    world: CoreWorld, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    record, person = world.take(kind)
    world.edit_record(kind, record, jobtitle="D")
    original = MarketoClient.sync_people

    def edited_at_once(client: MarketoClient, action: str, key: str, bodies: Sequence[str]) -> list[PersonResult]:
        answer = original(client, action, key, bodies)
        world.edit_person(person, title="AFTER")
        return answer

    with monkeypatch.context() as patch:
        patch.setattr(MarketoClient, "sync_people", edited_at_once)
        world.sync()
    sync_times(world, 4)
    assert world.columns(kind, record, "jobtitle") == ("AFTER",)
    assert world.query("select * from standing_differences where person_id_marketo = ?", person) == []


def test_an_edit_to_be_put_back_survives_a_failure_of_either_system(
    world: CoreWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: Any, **__: Any) -> None:
        raise ServerFailed("It is down.", system="marketo", request="POST")

    for owner, name in ((MarketoClient, "sync_people"), (cycle_module, "write_records")):
        lead, person = overwrite_unseen(world)
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, fails)
            with suppress(ServerFailed):
                world.sync()
        assert_marketo_won(world, lead, person)


@deep
def test_an_edit_to_be_put_back_survives_a_second_round_of_the_same_cycle(world: CoreWorld) -> None:
    lead, person = overwrite_unseen(world)
    contact, other = world.take("contact")
    world.edit_person(other, title="Edit")
    with just_before(DynamicsClient, "write", lambda: world.edit_record("contact", contact, telephone1="+99")):
        world.sync()
    assert_marketo_won(world, lead, person)


@deep
def test_an_overwritten_edit_is_found_also_when_the_feed_shows_it_a_cycle_late(
    world: CoreWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    lead, person = overwrite_unseen(world)
    add = Feed.add

    def late(feed: Feed, guid: str, person_id: int, *rest: Any) -> None:
        if person_id != person:
            add(feed, guid, person_id, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(Feed, "add", late)
        world.sync()
    assert_marketo_won(world, lead, person)


def test_r81_a_person_deleted_before_it_was_read_back_arises_anew_with_the_next_edit(
    world: CoreWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    contact = world.create_record("contact", lastname="Short life", jobtitle="X")
    original = MarketoClient.sync_people

    def deleted_at_once(client: MarketoClient, action: str, key: str, bodies: Sequence[str]) -> list[PersonResult]:
        answer = original(client, action, key, bodies)
        if action != "updateOnly":
            world.marketing.post("/rest/v1/leads/delete.json", json={"input": [{"id": answer[0].id}]})
        return answer

    with monkeypatch.context() as patch:
        patch.setattr(MarketoClient, "sync_people", deleted_at_once)
        world.sync()
    sync_times(world, 2)
    world.edit_record("contact", contact, jobtitle="Y")
    sync_times(world, 2)
    assert len(world.people("dynamicsContactId", contact)) == 1


def test_r116_a_company_that_marketo_refuses_for_a_contact_is_tried_with_growing_gaps(
    world: CoreWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, team = world.take_account()
    other, _ = world.take_account()
    original = MarketoClient.sync_people
    asked: list[str] = []

    def refuse_company(client: MarketoClient, action: str, key: str, bodies: Sequence[str]) -> list[PersonResult]:
        answers = []
        for body in bodies:
            if "externalCompanyId" not in body:
                answers += original(client, action, key, [body])
                continue
            asked.append(body)
            error = RequestRefused("No.", system="marketo", request="POST", code="1021")
            answers.append(PersonResult(None, "skipped", error))
        return answers

    world.edit_record("contact", team[0], **{"parentcustomerid_account@odata.bind": f"/accounts({other})"})
    with monkeypatch.context() as patch:
        patch.setattr(MarketoClient, "sync_people", refuse_company)
        for _ in range(11):
            world.sync()
            world.let_time_pass(team[0], timedelta(minutes=6))
    assert 2 <= len(asked) <= 6


def lose_the_answer(patch: pytest.MonkeyPatch, owner: type, name: str, act: Callable[[], None]) -> None:
    """Each call of a client's method is applied, somebody acts, and the answer never comes."""
    original = getattr(owner, name)

    def lost(*arguments: Any) -> Any:
        original(*arguments)
        act()
        raise TimedOut("No answer.", system="either", request="POST")

    patch.setattr(owner, name, lost)


def test_a_lost_answer_is_judged_by_the_other_systems_clock_and_by_who_came_last(
    world: CoreWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a host ten seconds ahead: a marketer edits our value, a salesperson one of our two, nobody another record's two."""

    def sync_ahead() -> None:
        def ahead(path: Path) -> SmallWarehouse:
            return SmallWarehouse(path, lambda: utc_now() + timedelta(seconds=10))

        run_cycle(settings_from(world.environment), warehouse=ahead)

    (lead, marketed), (contact, sold), (alone, other) = world.take("lead"), world.take("contact"), world.take("contact")
    world.edit_record("lead", lead, jobtitle="Ours")
    world.edit_person(sold, title="Ours", phone="+2")
    world.edit_person(other, title="Ours", phone="+2")
    with monkeypatch.context() as patch:
        lose_the_answer(patch, MarketoClient, "sync_people", lambda: world.edit_person(marketed, title="Later"))
        lose_the_answer(patch, DynamicsClient, "write", lambda: world.edit_record("contact", contact, telephone1="+3"))
        sync_ahead()
    for _ in range(3):
        sync_ahead()
    assert (world.columns("lead", lead, "jobtitle"), world.values(marketed, "title")) == (("Later",), ("Later",))
    assert world.values(sold, "title", "phone") == ("Ours", "+3")
    assert world.columns("contact", alone, "jobtitle", "telephone1") == ("Ours", "+2")
    for table, n_rows in {"collisions": 0, "changes where rule_code <> 'new_in_dynamics'": 7}.items():
        of_records = f"select * from (from {table}) where record_id_dynamics in (select unnest(?))"
        assert len(world.query(of_records, [lead, contact, alone])) == n_rows
