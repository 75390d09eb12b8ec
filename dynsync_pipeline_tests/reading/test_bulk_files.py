"""A first load ends whatever a bulk export brings: a bad line costs that line, a bad file is split, then reported (R116)."""

from __future__ import annotations

from datetime import timedelta

import pytest

from dynsync_pipeline.clients.marketo.protocol import ExportStatus
from dynsync_pipeline.errors import AnswerUnreadable
from dynsync_pipeline.extract import bad_files
from dynsync_pipeline.model.records import RecordType
from dynsync_pipeline_tests.reconcile.test_deleted_people import FIELDS
from dynsync_pipeline_tests.worlds.memory import MemoryWorld
from dynsync_pipeline_tests.worlds.memory_marketo import KEYS

CONTACT = RecordType.CONTACT


@pytest.fixture
def world() -> MemoryWorld:
    """Two contacts with people who agree with them but for the title, and nobody has read any of it."""
    world = MemoryWorld(FIELDS)
    for name in ("r", "other"):
        world.link(CONTACT, name, title="A", phone="1")
        world.dynamics.put(CONTACT, name, jobtitle="B")
    return world


def bearers(world: MemoryWorld, record_id: str) -> list[int]:
    return world.marketo.bearers(KEYS.contact_id, record_id)


def messages(world: MemoryWorld) -> list[str]:
    return [row[0] for row in world.rows("select message from ledger.sync_errors where state <> 'resolved'")]


@pytest.mark.parametrize(
    ("old", "new"), [(b",A,", b",A\rA,"), (b",A,", b',5" A,'), (b",A,", b",\xff,"), (b"id,", b"\xef\xbb\xbfid,")]
)
def test_a_bad_line_of_the_first_load_costs_a_read_of_its_person(world: MemoryWorld, old: bytes, new: bytes) -> None:
    world.marketo.spoils = lambda file: file.replace(old, new, 1)
    world.settled()
    for name in ("r", "other"):
        (person,) = bearers(world, name)
        assert world.both(person, "title") == ("B", "B")
    assert messages(world) == []
    assert len(world.ledger()["collisions"]) == 2


def test_a_bad_line_without_an_id_makes_nobody_twice(world: MemoryWorld) -> None:
    """R18."""
    (person,) = bearers(world, "r")
    world.marketo.spoils = lambda file: file.replace(b"\n%d," % person, b"\nx,")
    world.settled()
    assert bearers(world, "r") == [person]
    assert world.both(person, "title") == ("B", "B")
    (message,) = messages(world)
    assert "line " in message
    assert "it has no id" in message


def test_a_file_that_is_bad_once_is_asked_for_again(world: MemoryWorld) -> None:
    files = iter([b"<html>busy</html>"])
    world.marketo.spoils = lambda file: next(files, file)
    world.settled()
    assert len(world.marketo.exports) == 2
    assert messages(world) == []
    (person,) = bearers(world, "r")
    assert world.both(person, "title") == ("B", "B")


def test_the_part_of_a_window_whose_file_stays_bad_is_reported_and_the_load_ends(
    world: MemoryWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bad_files, "SMALLEST", timedelta(days=20))
    files = iter([b""] * 3)
    world.marketo.spoils = lambda file: next(files, file)
    (person,) = bearers(world, "r")
    world.settled()
    assert bearers(world, "r") == [person], "found by its key all the same"
    (message,) = messages(world)
    assert "the bulk export of people created from" in message
    assert world.rows("select * from state.export_windows") == []


def test_where_every_file_is_bad_the_cycle_says_so_and_makes_nobody(world: MemoryWorld) -> None:
    world.marketo.spoils = lambda file: b""
    with pytest.raises(AnswerUnreadable, match="it is empty"):
        world.cycle()
    assert len(world.marketo.exports) < 80
    assert world.marketo.writes == []
    world.marketo.spoils = bytes
    world.settled()
    assert world.both(bearers(world, "r")[0], "title") == ("B", "B")


def test_a_window_without_people_may_have_an_empty_file(world: MemoryWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    world.marketo.rows.clear()
    world.marketo.spoils = lambda file: b""
    statuses = world.marketo.export_statuses
    nobody = ExportStatus("Completed", 0, 0, None)
    monkeypatch.setattr(world.marketo, "export_statuses", lambda: dict.fromkeys(statuses(), nobody))
    world.settled()
    assert len(bearers(world, "r")) == 1
    assert messages(world) == []
