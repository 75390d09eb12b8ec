"""Releasing errors: the next cycle tries again what was refused, that alone, and at once; and the command that asks for it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest

from dynsync_pipeline.errors import RequestRefused
from dynsync_pipeline.model.records import RecordType
from dynsync_pipeline.warehouse.cycle_lock import CycleLock
from dynsync_pipeline.warehouse.releases import open_errors, release_errors
from dynsync_pipeline_tests.properties.effort import deep, story
from dynsync_pipeline_tests.worlds.http import HttpWorld
from dynsync_pipeline_tests.worlds.memory import MemoryWorld, field_map
from dynsync_pipeline_tests.worlds.rows import Values

pytestmark = story

FIELDS = field_map("title,jobtitle,text,both,true", "phone,telephone1,text,both,true")
N_TRIES = 8  # then an error is quarantined


def refuse_everything(key: str, values: Values) -> RequestRefused:
    return RequestRefused("Too long.", system="dynamics", request="PATCH", code="0x80044331")


def refuse_field(*columns: str) -> Callable[[str, Values], RequestRefused | None]:
    """Refuses a record for the first of these columns that it bears, and names it."""

    def refuse(key: str, values: Values) -> RequestRefused | None:
        for column in columns:
            if column in values:
                return RequestRefused("Too long.", system="dynamics", request="PATCH", code="0x1", field=column)
        return None

    return refuse


def quarantined(*edits: dict[str, str], refuses: Callable[[str, Values], RequestRefused | None]) -> MemoryWorld:
    """A world with a person for each of these edits in Marketo, refused until nobody tries any more."""
    world = MemoryWorld(FIELDS)
    people = [world.link(RecordType.LEAD, f"r{place}", title="A", phone="1") for place in range(len(edits))]
    world.settled()
    world.dynamics.refuses = refuses
    for person_id, edit in zip(people, edits, strict=True):
        world.marketo.put(person_id, **edit)
    for _ in range(N_TRIES):
        world.cycle()
        world.clock += timedelta(days=2)
    assert {row[5] for row in world.errors()} == {"quarantined"}
    world.dynamics.refuses = lambda key, values: None
    plan = world.cycle()
    assert plan is not None
    assert plan.n_operations == 0, "quarantined means that no cycle tries any more"
    return world


def release(world: MemoryWorld, *error_ids: int) -> int:
    with world.warehouse.transaction() as connection:
        return release_errors(connection, error_ids, world.clock.replace(tzinfo=None))


def test_a_released_error_is_tried_by_the_next_cycle_and_the_other_stays() -> None:
    world = quarantined({"title": "B"}, {"title": "B"}, refuses=refuse_everything)
    ((first,),) = world.rows("select error_id from ledger.sync_errors where dynamics_id = 'r0'")
    assert release(world, first) == 1
    assert [(row[0], *row[4:]) for row in world.errors()] == [("r0", 0, "waiting"), ("r1", N_TRIES, "quarantined")]
    world.cycle()
    assert [world.both(person_id, "title") for person_id in (1001, 1002)] == [("B", "B"), ("A", "B")]
    assert [row[5] for row in world.errors()] == ["resolved", "quarantined"]


@deep
def test_a_release_begins_the_tries_anew() -> None:
    """Refused again it waits as long as after a first try, and is not quarantined at once."""
    world = quarantined({"title": "B"}, refuses=refuse_everything)
    world.dynamics.refuses = refuse_everything
    release(world, *open_errors_of(world))
    world.cycle()
    assert [row[4:] for row in world.errors()] == [(1, "waiting")]
    world.dynamics.refuses = lambda key, values: None
    world.cycle()
    world.cycle()
    assert world.both(1001, "title") == ("B", "B")


@deep
def test_an_error_of_a_field_releases_that_field_and_no_other() -> None:
    world = quarantined({"title": "B", "phone": "2"}, refuses=refuse_field("jobtitle", "telephone1"))
    ids = dict(world.rows("select field, error_id from ledger.sync_errors"))
    assert ids.keys() == {"title", "phone"}
    release(world, ids["phone"])
    world.cycle()
    assert (world.both(1001, "phone"), world.both(1001, "title")) == (("2", "2"), ("A", "B"))
    release(world, ids["title"])
    world.cycle()
    assert world.both(1001, "title") == ("B", "B")


def test_a_record_refused_as_a_whole_is_released_with_all_its_fields() -> None:
    world = quarantined({"title": "B", "phone": "2"}, refuses=refuse_everything)
    assert release(world, *open_errors_of(world)) == 2, "each field is told by itself"
    world.cycle()
    assert (world.both(1001, "phone"), world.both(1001, "title")) == (("2", "2"), ("B", "B"))
    assert [row[5] for row in world.errors()] == ["resolved"] * 2


@deep
def test_a_release_survives_a_cycle_that_finds_nothing_left_to_do() -> None:
    """Somebody took the edit back meanwhile: the error ends as resolved, and nothing is written."""
    world = quarantined({"title": "B"}, refuses=refuse_everything)
    release(world, *open_errors_of(world))
    world.marketo.put(1001, title="A")
    plan = world.cycle()
    assert plan is not None
    assert plan.n_operations == 0
    assert [row[5] for row in world.errors()] == ["resolved"]


def open_errors_of(world: MemoryWorld) -> set[int]:
    with world.warehouse.reading() as connection:
        return open_errors(connection)


@pytest.fixture(scope="module")
def refused(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HttpWorld]:
    """A lead that the sync's user may not write."""
    with HttpWorld(tmp_path_factory.mktemp("released")) as world:
        lead_id = world.create_record("lead", lastname="Lead", jobtitle="A")
        world.sync()
        world.control("dataverse", "privileges", {"user": "sync", "deny": ["prvWriteLead"]})
        world.edit_person(world.person_of("lead", lead_id), title="B")
        world.sync()
        assert world.query("select state from sync_errors") == [("waiting",)]
        yield world


def test_the_command_releases_and_the_next_cycle_tries_again(refused: HttpWorld) -> None:
    refused.sync()
    assert refused.query("select attempts from sync_errors") == [(1,)], "five minutes have not passed"
    ended = refused.dynsync("errors", "--release", "all", "--json")
    assert (ended.returncode, json.loads(ended.stdout)) == (0, {"n_released": 1})
    refused.dynamics.forget()
    refused.sync()
    assert [write.field for write in refused.dynamics.writes] == ["jobtitle"]


@pytest.mark.parametrize(
    ("wanted", "sentence"),
    [
        ("987654", "No open error has the id 987654; nothing was released."),
        ("all,3", "--release takes ids"),
        ("-3", "--release takes ids"),
    ],
)
def test_what_is_no_open_error_is_one_sentence(refused: HttpWorld, wanted: str, sentence: str) -> None:
    ended = refused.dynsync("errors", f"--release={wanted}")
    assert ended.returncode == 2
    assert sentence in " ".join(ended.stderr.replace("│", " ").split())


def test_an_unknown_id_releases_no_known_one_either(refused: HttpWorld) -> None:
    ((known, attempts),) = refused.query("select error_id, attempts from sync_errors")
    assert refused.dynsync("errors", "--release", f"{known},987654").returncode == 2
    refused.dynamics.forget()
    refused.sync()
    assert refused.dynamics.writes == []
    assert refused.query("select attempts from sync_errors") == [(attempts,)]


def test_a_running_cycle_is_not_disturbed(refused: HttpWorld) -> None:
    with CycleLock(refused.data_dir / "cycle.lock"):
        ended = refused.dynsync("errors", "--release", "all")
    assert ended.returncode == 3
    assert "Another cycle is running" in ended.stderr
