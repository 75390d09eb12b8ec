"""A first load ends whatever a bulk export brings: a bad line costs that line, a bad file is split, then reported (R116)."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from dynsync_pipeline.clients.marketo.export_lines import BadLine
from dynsync_pipeline.clients.marketo.protocol import ExportStatus
from dynsync_pipeline.errors import GuardStopped
from dynsync_pipeline.extract import bad_files
from dynsync_pipeline.model.records import RecordType
from dynsync_pipeline_tests.properties.effort import story
from dynsync_pipeline_tests.reconcile.test_deleted_people import FIELDS
from dynsync_pipeline_tests.worlds.memory import MemoryWorld
from dynsync_pipeline_tests.worlds.memory_marketo import KEYS

pytestmark = story

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


def test_a_byte_order_mark_costs_nothing_and_a_bad_line_a_read_of_its_person(world: MemoryWorld) -> None:
    world.marketo.spoils = lambda file: b"\xef\xbb\xbf" + file.replace(b",A,", b",A\rA,", 1)
    world.settled()
    for name in ("r", "other"):
        (person,) = bearers(world, name)
        assert world.both(person, "title") == ("B", "B")
    assert messages(world) == []
    assert len(world.ledger()["collisions"]) == 2


def test_columns_in_another_order_than_asked_for_are_told_by_the_header(world: MemoryWorld) -> None:
    """With a bad line behind them, of which the id is told all the same."""

    def other_way_round(file: bytes) -> bytes:
        text = io.StringIO(newline="")
        csv.writer(text).writerows(row[::-1] for row in csv.reader(io.StringIO(file.decode(), newline="")))
        return text.getvalue().encode().replace(b"\nA,", b"\nA\xff,", 1)

    world.marketo.spoils = other_way_round
    people = [bearers(world, name) for name in ("r", "other")]
    world.settled()
    assert len(world.marketo.exports) == 1, "no file is asked for again"
    assert [bearers(world, name) for name in ("r", "other")] == people
    assert [world.both(person, "title") for (person,) in people] == [("B", "B")] * 2
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


def test_a_window_whose_file_stays_bad_is_read_in_ever_smaller_parts(
    world: MemoryWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.allow(marketo_oldest_person=f"{world.clock - timedelta(days=29):%Y-%m-%d}")
    create, download, spans = world.marketo.create_export, world.marketo.download_export, dict[str, timedelta]()

    def noted(fields: Sequence[str], start: datetime, end: datetime) -> str:
        spans[export_id := create(fields, start, end)] = end - start
        return export_id

    def bad_if_long(export_id: str, to: Path, told: ExportStatus) -> list[BadLine]:
        is_long = spans[export_id] > timedelta(days=8)
        world.marketo.spoils = (lambda file: b"") if is_long else bytes
        return download(export_id, to, told)

    monkeypatch.setattr(world.marketo, "create_export", noted)
    monkeypatch.setattr(world.marketo, "download_export", bad_if_long)
    world.settled()
    assert sorted(span.days for span in spans.values()) == [7] * 4 + [15] * 2 + [30] * 2
    assert messages(world) == []
    assert [world.both(person, "title") for name in ("r", "other") for person in bearers(world, name)] == [
        ("B", "B")
    ] * 2


def test_a_load_of_which_every_file_is_bad_ends_makes_nobody_twice_and_says_what_it_did_not_read(
    world: MemoryWorld,
) -> None:
    world.marketo.spoils = lambda file: b""
    people = [bearers(world, name) for name in ("r", "other")]
    world.settled()
    assert len(world.marketo.exports) <= 30
    assert [bearers(world, name) for name in ("r", "other")] == people
    assert world.both(people[0][0], "title") == ("B", "B")
    assert all("it is empty" in message for message in messages(world))
    assert messages(world)


def test_a_first_load_that_does_not_see_everybody_creates_nobody_unless_it_is_told_to(world: MemoryWorld) -> None:
    """R5."""
    world.allow(first_load="refuse")
    world.dynamics.put(CONTACT, "new", jobtitle="B")
    world.marketo.spoils = lambda file: b""
    with pytest.raises(GuardStopped):
        world.cycle()
    assert world.marketo.writes == []


def test_a_window_without_people_may_have_an_empty_file(world: MemoryWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    world.marketo.rows.clear()
    world.marketo.spoils = lambda file: b""
    statuses = world.marketo.export_statuses
    nobody = ExportStatus("Completed", 0, 0, None)
    monkeypatch.setattr(world.marketo, "export_statuses", lambda: dict.fromkeys(statuses(), nobody))
    world.settled()
    assert len(bearers(world, "r")) == 1
    assert messages(world) == []
