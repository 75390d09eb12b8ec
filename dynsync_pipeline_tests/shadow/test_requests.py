"""Requests in shadow: no door keeps one, and what was queued before is served once the sync is live."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from dynsync_pipeline.errors import InShadow
from dynsync_pipeline.model.records import RecordType
from dynsync_pipeline.requests.desk import IN_SHADOW, Desk
from dynsync_pipeline.requests.listener import TOKEN_HEADER, Server, listener
from dynsync_pipeline.requests.store import RequestStore, Wish
from dynsync_pipeline_tests.properties.effort import story
from dynsync_pipeline_tests.worlds.requests import RequestWorld

TOKEN = "t" * 24


@story
def test_what_was_queued_waits_until_the_sync_is_live() -> None:
    world = RequestWorld()
    world.settled()
    person_id = world.person(lastName="Born in Marketo", title="A")
    request_id = world.ask(person_id, RecordType.CONTACT)
    world.allow(mode="shadow", lead_list=1)
    world.marketo.add_to_list(1, world.person(title="On a list"))
    world.cycle()
    with RequestStore(world.settings.requests_file) as store, Desk(world.settings, store) as desk:
        assert desk.serve(looks_at_lists=True) == IN_SHADOW
        assert [each.request_id for each in store.unfinished()] == [request_id], "the list was not looked at"
    assert (world.dynamics.writes, world.marketo.writes) == ([], [])
    world.allow(mode="live", lead_list=None)
    world.cycle()
    assert world.request(request_id).outcome == "created"


def test_the_webhook_refuses_with_a_sentence_and_keeps_nothing() -> None:
    world = RequestWorld()
    world.allow(mode="shadow")
    with RequestStore(world.settings.requests_file) as store:
        server = Server(world.settings, store)  # and nobody signs in
        transport = httpx.ASGITransport(listener(world.settings, server, [TOKEN]))

        async def call() -> httpx.Response:
            async with httpx.AsyncClient(transport=transport, base_url="http://door") as client:
                return await client.post(
                    "/requests", json={"person_id": 7, "as": "lead"}, headers={TOKEN_HEADER: TOKEN}
                )

        answer = asyncio.run(call())
        assert (answer.status_code, answer.json()["result"]) == (503, "refused")
        assert "is not done in shadow" in answer.json()["message"]
        with pytest.raises(InShadow):
            server.ask(Wish(7, RecordType.LEAD, "webhook"))
        assert store.unfinished() == []
