"""The next page of a read is under way while one is worked on, and nothing that comes ahead is trusted any further."""

from __future__ import annotations

import threading
import time

import pytest

from dynsync_pipeline.clients.ahead import Ahead
from dynsync_pipeline.clients.transport import Request
from dynsync_pipeline.errors import ServerFailed
from dynsync_pipeline_tests.clients.dynamics.test_client import (
    COLUMNS,
    CONTACTS,
    MakeSettings,
    all_changes,
    row,
    rows_of,
    scripted,
)
from dynsync_pipeline_tests.clients.servers import Canned, Seen, canned_json

WAIT_S = 60.0


def page(request: Seen, n_earlier: int, n_pages: int = 3) -> Canned:
    """The page that follows so many earlier ones, the last with a cursor."""
    here = f"http://{request.headers['host']}/api/data/v9.2/contacts?$skiptoken={n_earlier + 1}"
    link = {"@odata.nextLink": here} if n_earlier < n_pages - 1 else {"@odata.deltaLink": here}
    return canned_json({"value": [row(n_earlier + 1)], **link})


def test_the_next_page_is_asked_for_before_anybody_wants_it_and_no_further_one(make_settings: MakeSettings) -> None:
    second = threading.Event()

    def answer(request: Seen, n_earlier: int) -> Canned:
        if n_earlier == 1:
            second.set()
        return page(request, n_earlier)

    with scripted(make_settings, answer) as (client, server):
        pages = client.changes(CONTACTS, COLUMNS, None)
        next(pages)
        assert second.wait(WAIT_S)
        time.sleep(0.2)
        assert len(server.requests) == 2
        assert len(list(pages)) == 2
        assert len(server.requests) == 3


def test_what_came_ahead_and_cannot_be_used_is_asked_for_again(make_settings: MakeSettings) -> None:
    def answer(request: Seen, n_earlier: int) -> Canned:
        return Canned(body=b'{"value":{}}') if n_earlier == 1 else page(request, max(n_earlier - 1, 0), n_pages=2)

    with scripted(make_settings, answer) as (client, server):
        assert len(rows_of(all_changes(client, None))) == 2
        assert [seen.path.partition("?")[2] for seen in server.requests][1:] == ["$skiptoken=1"] * 2


def test_a_fault_that_came_ahead_is_raised_where_its_page_would_be(make_settings: MakeSettings) -> None:
    def answer(request: Seen, n_earlier: int) -> Canned:
        return canned_json({}, 503) if n_earlier else page(request, 0)

    with scripted(make_settings, answer) as (client, _):
        pages = client.changes(CONTACTS, COLUMNS, None)
        assert next(pages).n_rows == 1
        with pytest.raises(ServerFailed):
            next(pages)


def test_only_the_very_request_that_was_asked_ahead_gets_its_answer() -> None:
    sent: list[str] = []
    one, other = Request("GET", "https://a/1"), Request("GET", "https://a/1", {"Prefer": "odata.maxpagesize=500"})

    def call(request: Request) -> bytes:
        sent.append(request.headers.get("Prefer", "none"))
        return b"{}"

    ahead = Ahead(call)
    ahead.ask(one)
    ahead.ask(one)
    assert ahead.answer(one) == b"{}"
    assert ahead.answer(one) is None
    ahead.ask(one)
    assert ahead.answer(other) is None
    ahead.close()
    assert set(sent) == {"none"}
