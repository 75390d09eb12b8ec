"""Every list ends: pages that lead back, or never come to rows, end with a sentence and a bounded number of calls (R128)."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from itertools import cycle

import pytest

from dynsync_pipeline.clients import pages
from dynsync_pipeline.clients.pages import MOST_EMPTY_PAGES, PageSize, Progress
from dynsync_pipeline.errors import AnswerUnreadable, ApiError
from dynsync_pipeline_tests.clients.marketo.test_client import MakeSettings, scripted, success
from dynsync_pipeline_tests.clients.marketo.test_client import query as query_of
from dynsync_pipeline_tests.clients.servers import Canned, Seen


def read_all(links: Iterator[str], contents: Iterator[bytes]) -> int:
    """How many pages are read until the end is called."""
    progress = Progress("dynamics")
    for n_pages, (link, content) in enumerate(zip(links, contents, strict=False)):
        try:
            progress.note(link, content, "GET x")
        except ApiError as error:
            assert "never end" in str(error)
            return n_pages
    raise AssertionError("it never ends")


def rows() -> Iterator[bytes]:
    return (b"[%d]" % number for number in range(10_000))


def links() -> Iterator[str]:
    return (f"t{number}" for number in range(10_000))


def test_a_list_that_goes_in_circles_ends_whatever_its_rows_are() -> None:
    assert read_all(cycle("AB"), rows()) == 2
    assert read_all(cycle("ABCDE"), rows()) == 5


def test_a_list_of_ever_new_links_without_rows_ends() -> None:
    assert read_all(links(), cycle([b"[]"])) == MOST_EMPTY_PAGES - 1
    assert read_all(links(), cycle([b"[1]", b"[2]"])) == MOST_EMPTY_PAGES + 1, "nor with the same rows again and again"


def test_empty_pages_between_pages_with_rows_are_no_end() -> None:
    progress = Progress("marketo")
    for number in range(2_000):
        progress.note(f"t{number}", b"[%d]" % number if number % 50 == 0 else b"[]", "GET x")


@pytest.mark.parametrize("road", ["leadchanges", "activities", "deletedleads", "leads", "export"])
@pytest.mark.parametrize("kind", ["circle", "without rows"])
def test_no_road_of_marketo_goes_on_for_ever(
    make_settings: MakeSettings, monkeypatch: pytest.MonkeyPatch, road: str, kind: str
) -> None:
    monkeypatch.setattr(pages, "MOST_EMPTY_PAGES", 20)

    def answer(request: Seen, number: int) -> Canned:
        token = f"t{number % 2 if kind == 'circle' else number}"
        return success([], nextPageToken=token, moreResult=True)

    roads: dict[str, Callable[..., object]] = {
        "leadchanges": lambda client: list(client.changes("s", ["title"])),
        "activities": lambda client: list(client.activities("s", [32])),
        "deletedleads": lambda client: list(client.deleted_people("s")),
        "leads": lambda client: client.people("id", ["1"], ["title"]),
        "export": lambda client: client.export_statuses(),
    }
    with scripted(make_settings, answer) as (client, calls):
        with pytest.raises(AnswerUnreadable, match="never end"):
            roads[road](client)
        assert len(calls) <= 21


def test_a_bad_row_is_found_in_a_few_reads_and_the_rest_is_read_as_ever() -> None:
    size, place, n_reads, n_bad = PageSize("dynamics", 5_000), 0, 0, 0
    bad = {2_345, 2_346, 9_999}
    while place < 20_000:
        n_reads += 1
        page = range(place, min(place + size.n_rows, 20_000))
        if not bad.intersection(page):
            size.passed(len(page))
        elif not size.is_alone:
            size.shrink()
            continue
        else:
            size.passed_alone("GET x")
            n_bad += 1
        place = page.stop
    assert (n_bad, n_reads < 100) == (3, True)


def test_a_page_that_was_garbled_once_is_read_in_smaller_ones_and_then_as_ever() -> None:
    size = PageSize("dynamics", 5_000)
    size.shrink()
    for _ in range(10):
        assert size.n_rows == 500
        size.passed(500)
    assert size.is_largest


def test_where_every_row_is_bad_the_read_ends() -> None:
    size = PageSize("dynamics", 5_000)
    with pytest.raises(AnswerUnreadable, match="no single row"):
        for _ in range(1_000):
            size.passed_alone("GET x")


@pytest.mark.parametrize("n_bad", [1, 2])
def test_people_whose_answer_cannot_be_cut_are_found_by_asking_for_fewer(
    make_settings: MakeSettings, n_bad: int
) -> None:
    bad = {str(100 + number) for number in range(n_bad)}

    def answer(request: Seen, _: int) -> Canned:
        ids = query_of(request)["filterValues"].split(",")
        body = json.dumps({"requestId": "1", "success": True, "result": [{"id": int(i), "title": "x"} for i in ids]})
        if bad.intersection(ids):
            body = body[: len(body) // 2]
        return Canned(200, body.encode())

    with scripted(make_settings, answer) as (client, calls):
        found = client.people("id", [str(number) for number in range(300)], ["title"]).to_pylist()
        assert {row["id"] for row in found} == {str(number) for number in range(300)}
        assert {row["id"] for row in found if row.get("@unread")} == bad
        assert len(calls) < 25
