"""A long read of Dynamics asks for its next page while one is landed, and loses nothing of what came before a fault."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pyarrow as pa
import pytest

from dynsync_pipeline.clients.dynamics.protocol import ChangesPage
from dynsync_pipeline.clients.rows import rows_table
from dynsync_pipeline.errors import ServerFailed
from dynsync_pipeline.extract.read_ahead import PAGES_A_COMMIT, in_groups, landings, read_ahead
from dynsync_pipeline.model.records import TABLES, RecordType
from dynsync_pipeline.warehouse.columns import dynamics_columns
from dynsync_pipeline.warehouse.mirrors import land_dynamics, take_in_dynamics
from dynsync_pipeline_tests.worlds.memory import MemoryWorld

WAIT_S = 60.0


def page(number: int, n_pages: int) -> ChangesPage:
    return ChangesPage(pa.table({}), (), str(number), is_last=number == n_pages)


def pages_of(n_pages: int) -> Iterator[ChangesPage]:
    return (page(number, n_pages) for number in range(1, n_pages + 1))


@pytest.mark.parametrize("n_pages", [1, 2, 5])
def test_every_page_comes_once_in_its_order(n_pages: int) -> None:
    assert [each.cursor for each in read_ahead(pages_of(n_pages))] == [str(n) for n in range(1, n_pages + 1)]


def test_the_next_pages_are_fetched_before_anybody_asks_for_them_and_no_more_than_commit_together() -> None:
    fetched: list[int] = []
    enough = threading.Event()

    def pages() -> Iterator[ChangesPage]:
        for number in range(1, 10):
            fetched.append(number)
            if number == 1 + PAGES_A_COMMIT:
                enough.set()
            yield page(number, 9)

    reading = read_ahead(pages())
    next(reading)
    assert enough.wait(WAIT_S)
    time.sleep(0.05)
    assert fetched == list(range(1, 2 + PAGES_A_COMMIT))
    assert [each.cursor for each in reading] == [str(number) for number in range(2, 10)]


def test_pages_land_together_and_no_row_before_an_earlier_pages_deletions() -> None:
    def read(row_id: str, *deleted: str) -> ChangesPage:
        return ChangesPage(pa.table({"id": [row_id]}), deleted, "c", is_last=False)

    def landed(*pages: ChangesPage) -> list[tuple[list[str], tuple[str, ...]]]:
        return [([] if rows is None else rows["id"].to_pylist(), tuple(gone)) for rows, gone in landings(pages)]

    assert landed(read("1"), read("2", "1"), read("3"), read("1")) == [(["1", "2"], ("1",)), (["3", "1"], ())]
    nothing, only_gone = ChangesPage(None, (), "c", is_last=True), ChangesPage(None, ("1",), "c", is_last=False)
    assert landed(nothing) == []
    assert landed(read("1"), only_gone, read("1"), nothing) == [(["1"], ("1",)), (["1"], ())]


def test_a_record_on_two_pages_is_as_the_later_one_tells_it() -> None:
    """Whoever is edited during a long read is told again, and pages land together."""
    world = MemoryWorld()
    world.cycle()
    names = ["id", "etag", *dynamics_columns(world.fields, RecordType.CONTACT)]
    other = {"id": "b", "etag": "1"}
    for order in (("Before", "After"), ("After", "Before")):
        told = [{"id": "a", "etag": "1", "jobtitle": title} for title in order]
        pages = [ChangesPage(rows_table(names, [told[0], other]), (), "1", is_last=False)]
        pages.append(ChangesPage(rows_table(names, [other, told[1]]), (), "2", is_last=True))
        with world.warehouse.transaction() as connection:
            for rows, deleted_ids in landings(pages):
                land_dynamics(connection, world.fields, TABLES[RecordType.CONTACT], rows, deleted_ids)
            take_in_dynamics(connection, world.warehouse.now(), RecordType.CONTACT)
        assert world.rows("select jobtitle from mirror.dynamics_contacts where contactid = 'a'") == [(order[1],)]


def test_a_read_of_one_page_takes_no_thread() -> None:
    before = set(threading.enumerate())  # one of an earlier test may end meanwhile
    reading = read_ahead(pages_of(1))
    next(reading)
    assert set(threading.enumerate()) <= before


def test_what_came_before_a_fault_is_given_before_the_fault_is_raised() -> None:
    def pages() -> Iterator[ChangesPage]:
        yield from (page(number, 9) for number in range(1, 4))
        raise ServerFailed("No.", system="dynamics", request="GET")

    found: list[list[str]] = []
    with pytest.raises(ServerFailed):
        found.extend([each.cursor for each in group] for group in in_groups(read_ahead(pages()), n_most=2))
    assert found == [["1", "2"], ["3"]]


def test_who_leaves_off_does_not_wait_for_the_page_on_its_way() -> None:
    may_come = threading.Event()
    came: list[bool] = []

    def pages() -> Iterator[ChangesPage]:
        yield page(1, 2)
        came.append(may_come.wait(WAIT_S))
        yield page(2, 2)

    reading = read_ahead(pages())
    next(reading)
    reading.close()  # type: ignore[attr-defined]
    assert came == []
    may_come.set()
