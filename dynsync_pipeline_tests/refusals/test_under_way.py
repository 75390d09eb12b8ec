"""As many requests as the settings say are under way, and no more, also while the answers of others are stored.

Source: docs/design.md#updates.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from dynsync_pipeline.clients.dynamics.client import DynamicsClient
from dynsync_pipeline.clients.marketo.client import MarketoClient
from dynsync_pipeline.errors import RateLimited
from dynsync_pipeline.write_back import dynamics, marketo
from dynsync_pipeline.write_back.receipts import mark_sent, mark_unsent
from dynsync_pipeline.write_back.sending import Turn
from dynsync_pipeline_tests.properties.effort import story
from dynsync_pipeline_tests.worlds.http import HttpWorld

pytestmark = story

PATIENCE_S = 20.0


class UnderWay:
    """What is under way of what one turn of writing does: its requests, as they leave the client, or what precedes them."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self.n_begun = self.n_now = self.most = 0
        self.waited_in_vain = False

    def of(self, method: Callable[..., Any]) -> Callable[..., Any]:
        """The same, watched."""

        def watched(*arguments: Any, **options: Any) -> Any:
            with self._changed:
                self.n_begun += 1
                self.n_now += 1
                self.most = max(self.most, self.n_now)
                self._changed.notify_all()
            time.sleep(0.05)  # long enough for others to come
            try:
                return method(*arguments, **options)
            finally:
                with self._changed:
                    self.n_now -= 1

        return watched

    def wait_for(self, n_begun: int) -> None:
        with self._changed:
            if not self._changed.wait_for(lambda: self.n_begun >= n_begun, PATIENCE_S):
                self.waited_in_vain = True


def two_at_once(world: HttpWorld) -> list[tuple[Any, ...]]:
    """Sync everybody, and let no more than two requests be under way from now on; the person and the record of each link."""
    for _ in range(2):
        world.sync()
    world.environment |= {"DYNSYNC_DYNAMICS_CALLS_AT_ONCE": "2", "DYNSYNC_MARKETO_CALLS_AT_ONCE": "2"}
    return world.query("select person_id_marketo, record_id_dynamics from people where record_id_dynamics is not null")


@pytest.mark.parametrize(
    ("module", "client", "method"),
    [
        (dynamics, DynamicsClient, "write"),
        (marketo, MarketoClient, "sync_people"),
    ],
)
def test_requests_leave_while_the_answers_of_all_that_may_be_under_way_are_stored(
    make_world: Callable[..., HttpWorld], monkeypatch: pytest.MonkeyPatch, module: Any, client: type, method: str
) -> None:
    world = make_world(n_accounts=0, n_contacts=8, n_leads=0)
    linked = two_at_once(world)
    assert len(linked) == 8
    for person_id, record_id in linked:
        if module is dynamics:
            world.edit_person(person_id, title="Edited")
        else:
            world.edit_record("contact", record_id, jobtitle="Edited")
    under_way = UnderWay()
    kept = Turn._keep

    def kept_when_another_has_begun(*arguments: Any) -> Any:
        under_way.wait_for(3)
        return kept(*arguments)

    monkeypatch.setattr(module, "MOST_RECORDS", 2)
    monkeypatch.setattr(client, method, under_way.of(getattr(client, method)))
    monkeypatch.setattr(Turn, "_keep", kept_when_another_has_begun)
    world.sync()

    assert under_way.n_begun == 4
    assert not under_way.waited_in_vain
    assert under_way.most == 2
    found = [world.record("contact", record_id)["jobtitle"] for _, record_id in linked]
    assert found + [world.person(person_id, "title")["title"] for person_id, _ in linked] == ["Edited"] * 16


def test_nothing_is_marked_as_sent_while_it_waits_for_others_to_be_answered(
    make_world: Callable[..., HttpWorld], monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a cut it would count as applied where somebody happened to enter one of its values."""
    world = make_world(n_accounts=0, n_contacts=8, n_leads=0)
    for person_id, _ in two_at_once(world):
        world.edit_person(person_id, title="Edited")
    under_way, marks = UnderWay(), UnderWay()
    sent = DynamicsClient.write
    n_marked: list[int] = []

    def sent_late(*arguments: Any) -> Any:
        if not n_marked:
            time.sleep(0.5)  # long enough for those who wait to do what they may
            n_marked.append(marks.n_begun)
        return sent(*arguments)

    monkeypatch.setattr(dynamics, "MOST_RECORDS", 2)
    monkeypatch.setattr(DynamicsClient, "write", under_way.of(sent_late))
    monkeypatch.setattr("dynsync_pipeline.write_back.sending.mark_sent", marks.of(mark_sent))
    world.sync()

    assert n_marked[0] <= 2
    assert (marks.n_begun, under_way.n_begun) == (4, 4)


def test_what_is_read_back_counts_as_under_way(
    make_world: Callable[..., HttpWorld], monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make_world(n_accounts=0, n_contacts=12, n_leads=0)
    for _, record_id in two_at_once(world):
        world.edit_record("contact", record_id, jobtitle="Edited")
    under_way, sent = UnderWay(), MarketoClient.sync_people

    def watched_from_here(*arguments: Any) -> Any:
        monkeypatch.setattr(MarketoClient, "people", under_way.of(read))
        return under_way.of(sent)(*arguments)

    read = MarketoClient.people
    monkeypatch.setattr(marketo, "MOST_RECORDS", 1)
    monkeypatch.setattr(MarketoClient, "sync_people", watched_from_here)
    world.sync()

    assert under_way.n_begun == 24
    assert under_way.most == 2


def test_a_system_that_takes_nothing_gets_no_more_requests_than_were_under_way(
    make_world: Callable[..., HttpWorld], monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make_world(n_accounts=0, n_contacts=12, n_leads=0)
    for _, record_id in two_at_once(world):
        world.edit_record("contact", record_id, jobtitle="Edited")
    under_way = UnderWay()

    def refused(*_: Any) -> Any:
        raise RateLimited("Too many calls.", system="marketo", request="POST /rest/v1/leads.json")

    def unmarked_late(*arguments: Any) -> None:
        time.sleep(0.2)  # as where another holds the working file
        mark_unsent(*arguments)

    monkeypatch.setattr(marketo, "MOST_RECORDS", 1)
    monkeypatch.setattr("dynsync_pipeline.write_back.sending.mark_unsent", unmarked_late)
    monkeypatch.setattr(MarketoClient, "sync_people", under_way.of(refused))
    world.sync()

    assert under_way.n_begun == 2
