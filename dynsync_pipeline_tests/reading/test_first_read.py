"""A table that is read as a whole in several pages: a cut loses nothing of it, and nothing of it counts before its end."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import pytest

from dynsync_pipeline.clients.dynamics.protocol import ChangesPage, Column, LookedUp
from dynsync_pipeline.clients.rows import rows_table
from dynsync_pipeline.errors import ApiError, LinkRefused, ServerFailed
from dynsync_pipeline.extract import dynamics, read_ahead
from dynsync_pipeline.extract.dynamics import extract_records
from dynsync_pipeline.model.records import EntitySet, RecordType, Table
from dynsync_pipeline_tests.worlds.memory import MemoryWorld
from dynsync_pipeline_tests.worlds.memory_dynamics import MemoryDynamics

CONTACT = RecordType.CONTACT
MIRROR = (
    "select contactid, case when not is_deleted then jobtitle end, is_deleted from mirror.dynamics_contacts order by 1"
)
INBOX = "select contactid from inbox.dynamics_contacts"
TOUCHED = "select distinct dynamics_id from inbox.touched where record_type = 'contact' order by 1"

Told = tuple[dict[str, str], tuple[str, ...]]  # titles by id, and who is deleted


@dataclass
class Paged(MemoryDynamics):
    """A Dynamics whose contacts come in these pages, the first `n_told` of them before it fails."""

    pages: Sequence[Told] = ()
    n_told: int = 99
    fails_with: type[ApiError] = ServerFailed
    looked_up: list[str] = field(default_factory=list)

    def changes(self, table: Table, columns: Sequence[Column], cursor: str | None) -> Iterator[ChangesPage]:
        """The pages after the cursor, which is the number of the last one."""
        names = ["id", "etag", *(column.name for column in columns)]
        for number, (titles, gone) in enumerate(self.pages[int(cursor or 0) :], start=int(cursor or 0) + 1):
            if number > self.n_told:
                raise self.fails_with("It fails.", system="dynamics", request="GET", status=400)
            rows = rows_table(names, [{"id": i, "etag": "1", "jobtitle": title} for i, title in titles.items()])
            yield ChangesPage(rows, gone, str(number), is_last=number == len(self.pages))

    def look_up(self, table: EntitySet, columns: Sequence[Column], ids: Sequence[str]) -> LookedUp:
        """As it is, and noted."""
        self.looked_up += ids
        return super().look_up(table, columns, ids)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[MemoryWorld]:
    """Systems that were never read but for the definitions of their columns; two pages commit together."""
    new = MemoryWorld()
    new.cycle()
    new.rows("delete from state.cursors")
    monkeypatch.setattr(dynamics, "in_groups", lambda pages: read_ahead.in_groups(pages, n_most=2))
    yield new


def systems(world: MemoryWorld, *pages: Told) -> Paged:
    """A Dynamics with these pages."""
    return Paged(world.fields, world.steps, pages=pages)


PAGES: tuple[Told, ...] = (
    ({"a": "A", "b": "B"}, ()),
    ({"c": "C", "b": "edited while it was read"}, ()),
    ({"d": "D", "a": "edited, too"}, ("c",)),
    ({"e": "E"}, ("f",)),
    ({"g": "G"}, ()),
)
ALL = [
    ("a", "edited, too", False),
    ("b", "edited while it was read", False),
    ("c", None, True),
    ("d", "D", False),
    ("e", "E", False),
    ("f", None, True),
    ("g", "G", False),
]


@pytest.mark.parametrize("n_told", [0, 1, 2, 3, 4])
def test_a_first_read_that_is_cut_goes_on_and_everybody_is_there_once(world: MemoryWorld, n_told: int) -> None:
    system = systems(world, *PAGES)
    system.n_told = n_told
    with pytest.raises(ServerFailed):
        extract_records(world.warehouse, system, world.fields, CONTACT)
    assert world.rows(MIRROR) == [], "a table of which a part was read does not count as read"
    system.n_told = 99
    extract_records(world.warehouse, system, world.fields, CONTACT)
    assert world.rows(MIRROR) == ALL
    assert world.rows(TOUCHED) == [(row[0],) for row in ALL], "and the next plan looks at all of them"
    assert world.rows("select is_loaded from state.cursors") == [(True,)]


def test_a_first_read_whose_link_is_refused_stops_every_cycle_and_is_not_left_out(world: MemoryWorld) -> None:
    """What is left out was read as a whole once: of half a table people would be made, and the others never."""
    system = systems(world, *PAGES)
    system.n_told, system.fails_with = 3, LinkRefused
    for _ in range(2):
        with pytest.raises(LinkRefused):
            extract_records(world.warehouse, system, world.fields, CONTACT)
        assert world.rows(MIRROR) == []


def test_a_read_anew_of_a_table_that_is_held_waits_for_its_end_and_misses_who_is_gone(world: MemoryWorld) -> None:
    """R86: only the whole of a read tells who is missing from it."""
    extract_records(world.warehouse, systems(world, ({"a": "A", "b": "B"}, ())), world.fields, CONTACT)
    world.rows("delete from state.cursors")
    system = systems(world, ({"a": "anew"}, ()), ({"c": "C"}, ()), ({"d": "D"}, ()))
    system.n_told = 2
    with pytest.raises(ServerFailed):
        extract_records(world.warehouse, system, world.fields, CONTACT)
    assert world.rows(MIRROR) == [("a", "A", False), ("b", "B", False)]
    assert len(world.rows(INBOX)) == 2
    system.n_told = 99
    extract_records(world.warehouse, system, world.fields, CONTACT)
    assert system.looked_up == ["b"]
    assert world.rows(MIRROR) == [("a", "anew", False), ("b", None, True), ("c", "C", False), ("d", "D", False)]
