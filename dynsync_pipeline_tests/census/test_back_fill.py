"""A back-fill on request: fields are read of chosen records and people again, and what stands unequal is sent once more."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

import duckdb
import pyarrow as pa
import pytest

from dynsync_pipeline.clients.dynamics import protocol
from dynsync_pipeline.clients.dynamics.protocol import Column
from dynsync_pipeline.errors import AnswerUnreadable, RequestRefused, ServerFailed
from dynsync_pipeline.extract import census
from dynsync_pipeline.model.field_map import parse_field_map
from dynsync_pipeline.model.records import RecordType, Table
from dynsync_pipeline.warehouse.back_fills import ask_back_fill, stop_back_fill
from dynsync_pipeline_tests.properties.effort import is_deep, story
from dynsync_pipeline_tests.sync_filter.filtered import NO, YES
from dynsync_pipeline_tests.worlds.memory import HEADER, MemoryWorld, field_map

CONTACT, LEAD, ACCOUNT = RecordType.CONTACT, RecordType.LEAD, RecordType.ACCOUNT
FIELDS = (
    "title,jobtitle,text,both,true",
    "source,new_source,text,to_marketo,true",
    "code,new_code,text,to_marketo,true",
    "leadScore,mkt_leadscore,integer,to_dynamics,true",
)


def ask(
    world: MemoryWorld,
    *fields: str,
    types: tuple[RecordType, ...] = (CONTACT, LEAD),
    created: datetime | None = None,
    modified: datetime | None = None,
) -> int:
    """Somebody asks for a back-fill between two cycles; returns its number."""
    with world.warehouse.transaction() as connection:
        return ask_back_fill(connection, fields, types, (created, modified), world.warehouse.now())


def back_fills(world: MemoryWorld) -> list[tuple[object, ...]]:
    return world.rows(
        "select record_type, n_chosen, n_read, n_again, outcome_code from state.back_fills order by back_fill_id, record_type"
    )


def edited_here(world: MemoryWorld, person_id: int, **values: str | None) -> None:
    world.marketo.put(person_id, **values)
    world.settled()


@story
@pytest.mark.parametrize("record_type", [CONTACT, LEAD])
def test_r100_the_value_of_dynamics_comes_back_to_marketo_nulls_too_and_other_fields_stay(
    record_type: RecordType,
) -> None:
    world = MemoryWorld(field_map(*FIELDS))
    person, empty = world.link(record_type, "a", source="D", code="D"), world.link(record_type, "b", title="T")
    world.settled()
    edited_here(world, person, source="M", code="M")
    assert world.both(person, "source") == ("D", "M")
    ask(world, "source")
    world.marketo.put(empty, source="M")  # after it was asked for, and before it is read
    assert world.settled() == 1
    assert world.both(person, "source") == ("D", "D")
    assert world.both(empty, "source") == (None, None)
    assert world.both(person, "code") == ("D", "M")
    assert [row for row in back_fills(world) if row[0] == record_type] == [(record_type, 2, 2, 2, "done")]


@story
def test_r104_what_marketo_or_dynamics_kept_differently_is_sent_once_more_the_way_it_went_and_is_no_collision() -> None:
    world = MemoryWorld(field_map(*FIELDS))
    people = {name: world.link(kind, name, title="A") for name, kind in (("c", CONTACT), ("l", LEAD), ("d", LEAD))}
    world.settled()
    world.marketo.keeps = world.dynamics.keeps = lambda name, value: value and value[:4]
    world.dynamics.put(CONTACT, "c", jobtitle="from there")
    world.dynamics.put(LEAD, "l", jobtitle="from there")
    world.marketo.put(people["d"], title="from here")
    world.settled()
    assert world.both(people["l"], "title") == ("from there", "from")
    assert world.both(people["d"], "title") == ("from", "from here")
    world.marketo.keeps = world.dynamics.keeps = lambda name, value: value
    assert world.settled() == 0
    ask(world, "title")
    assert world.settled() == 1
    assert {world.both(people[name], "title") for name in ("c", "l")} == {("from there", "from there")}
    assert world.both(people["d"], "title") == ("from here", "from here")
    assert world.ledger()["collisions"] == []
    assert [row[-1] for row in world.ledger()["changes"][-3:]] == ["sent_again"] * 3
    assert world.standing() == []


@story
def test_r104_the_value_of_marketo_comes_back_to_dynamics_where_marketo_owns_the_field() -> None:
    world = MemoryWorld(field_map(*FIELDS))
    person = world.link(LEAD, "a", leadScore="7")
    world.settled()
    world.dynamics.put(LEAD, "a", mkt_leadscore="1")
    world.settled()
    assert world.both(person, "leadScore") == ("1", "7")
    ask(world, "leadScore", types=(LEAD,))
    assert world.settled() == 1
    assert world.both(person, "leadScore") == ("7", "7")


@story
def test_an_edit_that_nobody_has_carried_over_yet_is_decided_by_its_rule_and_not_by_the_back_fill() -> None:
    world = MemoryWorld(field_map(*FIELDS))
    cleared, both = world.link(LEAD, "a", title="A"), world.link(CONTACT, "b", title="A")
    world.settled()
    ask(world, "title")
    world.marketo.put(cleared, title=None)
    world.marketo.put(both, title="M")
    world.dynamics.put(CONTACT, "b", jobtitle="D")
    world.settled()
    assert world.both(cleared, "title") == (None, None)
    assert world.both(both, "title") == ("D", "D")
    assert [row[-1] for row in world.ledger()["collisions"]] == ["dynamics_wins"]
    assert [row[3] for row in back_fills(world)] == [0, 0], "an edit is not sent again"


@story
def test_what_no_feed_told_on_either_side_is_found_in_the_records_that_were_chosen() -> None:
    world = MemoryWorld(field_map(*FIELDS))
    people = [world.link(CONTACT, name, title="A") for name in ("a", "b")]
    world.settled()
    world.dynamics.rows[CONTACT, "a"].values["jobtitle"] = "D"
    world.marketo.rows[people[1]].values["title"] = "M"
    assert world.settled() == 0
    ask(world, "title", types=(CONTACT,))
    world.settled()
    assert [world.both(person, "title") for person in people] == [("D", "D"), ("M", "M")]


def test_r101_only_records_created_or_modified_since_are_chosen() -> None:
    world = MemoryWorld(field_map(*FIELDS))
    people = {}
    for day, name in enumerate(("old", "touched", "new"), 1):
        world.dynamics.put(CONTACT, name, createdon=f"2024-01-0{day}T00:00:00Z")
        people[name] = world.link(CONTACT, name, source="D")
    world.settled()
    for person in people.values():
        world.marketo.put(person, source="M")
    world.settled()
    since = world.clock
    world.clock += timedelta(days=1)
    world.dynamics.put(CONTACT, "touched", jobtitle="T", new_source="D")
    world.settled()
    world.marketo.put(people["touched"], source="M")
    world.settled()
    ask(world, "source", types=(CONTACT,), modified=since.astimezone(UTC).replace(tzinfo=None))
    world.settled()
    assert {name: world.both(person, "source")[1] for name, person in people.items()} == {
        "old": "M", "touched": "D", "new": "M",
    }  # fmt: skip
    ask(world, "source", types=(CONTACT,), created=datetime(2024, 1, 3))  # noqa: DTZ001
    world.settled()
    assert {name: world.both(person, "source")[1] for name, person in people.items()} == {
        "old": "M", "touched": "D", "new": "D",
    }  # fmt: skip
    assert [row[1:] for row in back_fills(world)] == [(1, 1, 1, "done"), (1, 1, 1, "done")]


@story
def test_r92_nobody_is_filled_again_whom_the_sync_filter_keeps_out() -> None:
    world = MemoryWorld(field_map(*FIELDS))
    people = [world.link(CONTACT, name, source="D") for name in ("in", "out")]
    world.settled()
    for person in people:
        world.marketo.put(person, source="M")
    world.settled()
    world.dynamics.put(CONTACT, "out", **NO)
    world.settled()
    ask(world, "source", types=(CONTACT,))
    world.settled()
    assert [world.both(person, "source")[1] for person in people] == ["D", "M"]
    assert [row[1:] for row in back_fills(world)] == [(1, 1, 1, "done")]


@story
def test_r89_whoever_is_let_in_by_the_cycle_that_reads_them_is_filled_again_too() -> None:
    """By that cycle, and not by the one before; whoever is kept out by it rests, and waits for nothing."""
    world = MemoryWorld(field_map(*FIELDS))
    people = {name: world.link(CONTACT, name, title="A") for name in ("let in", "kept out", "always out")}
    world.settled()
    world.marketo.keeps = lambda name, value: value and value[:4]
    for name in people:
        world.dynamics.put(CONTACT, name, jobtitle="from there")
    world.settled()
    world.marketo.keeps = lambda name, value: value
    for name in ("let in", "always out"):
        world.dynamics.put(CONTACT, name, **NO)
    world.settled()
    ask(world, "title", types=(CONTACT,))
    world.dynamics.put(CONTACT, "let in", **YES)
    world.dynamics.put(CONTACT, "kept out", **NO)
    world.settled()
    assert {name: world.both(person, "title")[1] for name, person in people.items()} == {
        "let in": "from there", "kept out": "from", "always out": "from",
    }  # fmt: skip
    assert [row[-1] for row in back_fills(world)] == ["done"]
    assert world.rows("from state.unsettled") == []


@story
def test_r98_a_record_that_lost_a_merge_is_none_of_those_that_are_filled_again() -> None:
    world = MemoryWorld(field_map(*FIELDS))
    people = [world.link(CONTACT, name, source="D") for name in ("winner", "loser")]
    world.settled()
    for person in people:
        world.marketo.put(person, source="M")
    world.dynamics.put(CONTACT, "loser", merged="true", _masterid_value="winner", statecode="1")
    world.settled()
    ask(world, "source", types=(CONTACT,))
    world.settled()
    assert [world.both(person, "source")[1] for person in people] == ["D", "M"]
    assert [row[1:] for row in back_fills(world)] == [(1, 1, 1, "done")]


def many(n: int) -> tuple[MemoryWorld, list[int]]:
    """A world whose contacts were made on days of their own, each with a source that somebody edited in Marketo."""
    world = MemoryWorld(field_map(*FIELDS))
    people = []
    for number in range(n):
        world.dynamics.put(CONTACT, f"r{number}", createdon=f"2024-01-0{number + 1}T00:00:00Z")
        people.append(world.link(CONTACT, f"r{number}", source="D"))
    world.settled()
    for person in people:
        world.marketo.put(person, source="M")
    world.settled()
    return world, people


def n_filled(world: MemoryWorld, people: list[int]) -> int:
    return sum(world.both(person, "source")[1] == "D" for person in people)


@pytest.fixture
def slowly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two records a window, one window a cycle."""
    monkeypatch.setattr(census, "LARGEST_PAGE", 2)
    monkeypatch.setattr("dynsync_pipeline.warehouse.cycles.MOST_CALLS", 1)
    assert protocol.LARGEST_PAGE > 2


@story
@pytest.mark.usefixtures("slowly")
def test_a_large_one_goes_on_in_later_cycles_beside_all_else_and_can_be_stopped() -> None:
    world, people = many(6)
    number = ask(world, "source", types=(CONTACT,))
    world.dynamics.put(CONTACT, "r5", jobtitle="D")
    world.cycle()
    assert n_filled(world, people) == 3  # one window, and whose record was edited
    assert world.both(people[5], "title") == ("D", "D")
    world.cycle()
    assert back_fills(world) == [(CONTACT, 6, 4, 4, None)]
    with world.warehouse.transaction() as connection:
        assert stop_back_fill(connection, number, world.warehouse.now())
        assert not stop_back_fill(connection, number, world.warehouse.now())
    world.settled()
    assert n_filled(world, people) == 5
    assert back_fills(world) == [(CONTACT, 6, 4, 4, "stopped")]


@story
@pytest.mark.usefixtures("slowly")
def test_cut_anywhere_it_goes_on_where_it_was_and_ends() -> None:
    world, people = many(3)
    for cut_after in range(4, 40, 1 if is_deep() else 18):
        for person in people:
            world.marketo.put(person, source="M")
        world.settled()
        ask(world, "source", types=(CONTACT,))
        world.cycle(cut_after=cut_after)
        world.settled()
        world.settled()
        assert n_filled(world, people) == 3, cut_after
        assert {row[-1] for row in back_fills(world)} == {"done"}, cut_after


@story
def test_what_cannot_be_read_is_set_aside_with_its_reason_and_looked_at_at_growing_gaps_while_the_rest_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(census, "LARGEST_PAGE", 2)
    world, people = many(6)
    ask(world, "source", types=(CONTACT,))
    created_between, asked = world.dynamics.created_between, list[str | None]()

    def spoiled(table: Table, columns: Sequence[Column], start: str | None, end: str | None) -> Iterator[pa.Table]:
        asked.append(start)
        if start == "2024-01-03T00:00:00Z":
            raise AnswerUnreadable("A page is no JSON.", system="dynamics", request="GET contacts")
        return created_between(table, columns, start, end)

    monkeypatch.setattr(world.dynamics, "created_between", spoiled)
    n_tries = []
    for _ in range(6):  # of five minutes each
        world.cycle()
        n_tries.append(asked.count("2024-01-03T00:00:00Z"))
    assert n_filled(world, people) == 4
    assert n_tries == [1, 2, 2, 3, 3, 3]
    assert back_fills(world) == [(CONTACT, 6, 4, 4, None)]
    look = "select n_set_aside, set_aside_because like 'A page is no JSON.%', next_look_at > ? from back_fills"
    assert published(world, look, world.now().replace(tzinfo=None)) == [(1, True, True)]
    monkeypatch.setattr(world.dynamics, "created_between", created_between)
    world.clock += timedelta(hours=1)
    world.settled()
    assert n_filled(world, people) == 6
    assert back_fills(world) == [(CONTACT, 6, 6, 6, "done")]
    assert published(world, "select n_set_aside, set_aside_because from back_fills") == [(0, None)]


def published(world: MemoryWorld, query: str, *values: object) -> list[tuple[object, ...]]:
    """What the snapshot says after one more cycle."""
    world.publishes = True
    world.cycle()
    with duckdb.connect(world.settings.snapshot_file, read_only=True) as snapshot:
        return snapshot.execute(query, list(values)).fetchall()


@story
def test_a_system_that_fails_puts_it_off_and_holds_up_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    world, people = many(1)
    ask(world, "source", types=(CONTACT,))
    failed = ServerFailed("It is down.", system="dynamics", request="GET contacts", next_step="Wait.")

    def fails(*arguments: object, **options: object) -> object:
        raise failed

    with monkeypatch.context() as patch:
        patch.setattr(type(world.dynamics), "created_between", fails)
        world.dynamics.put(CONTACT, "r0", jobtitle="D", new_source="D")
        world.cycle()
    assert world.both(people[0], "title") == ("D", "D")
    assert [row[-1] for row in back_fills(world)] == [None]
    for _ in range(2):
        world.cycle()
    assert [row[-1] for row in back_fills(world)] == ["done"]


@story
def test_one_of_a_field_that_left_the_map_waits_until_it_is_back() -> None:
    world, people = many(1)
    ask(world, "source", types=(CONTACT,))
    fields = world.fields
    world.map_to(field_map(*FIELDS[:1]))
    world.cycle()
    assert [row[-1] for row in back_fills(world)] == [None]
    world.map_to(fields)
    world.settled()
    assert n_filled(world, people) == 1


@story
def test_a_refused_value_is_tried_again_at_once() -> None:
    world = MemoryWorld(field_map(*FIELDS))
    person = world.link(CONTACT, "a", title="A")
    world.settled()
    refused = RequestRefused("Too long.", system="marketo", request="POST", code="1003", field="title")
    world.marketo.refuses = lambda key, values: refused
    world.dynamics.put(CONTACT, "a", jobtitle="D")
    for _ in range(8):  # until it waits for twenty minutes
        world.cycle()
    world.marketo.refuses = lambda key, values: None
    assert world.settled() == 0
    ask(world, "title", types=(CONTACT,))
    assert world.settled() == 1
    assert world.both(person, "title") == ("D", "D")


@story
def test_r100_an_account_whose_company_was_edited_in_that_field_is_applied_again_whole_and_no_other() -> None:
    lines = "account,company,name,text,to_marketo,true\naccount,industry,new_industry,text,to_marketo,true\n"
    world = MemoryWorld(parse_field_map(HEADER + lines + "contact,title,jobtitle,text,both,true\n", "test.csv"))
    for name in ("a", "b", "c"):
        world.dynamics.put(ACCOUNT, name, name="N", new_industry="I")
    world.settled()
    world.marketo.put_company("a", industry="M", company="M")
    world.marketo.put_company("b", company="M")
    ask(world, "industry", types=(ACCOUNT,))
    assert world.settled() == 1
    companies = {key: (row["company"], row["industry"]) for key, row in world.marketo.company_rows.items()}
    assert companies == {"a": ("N", "I"), "b": ("M", "I"), "c": ("N", "I")}
    assert [row[:4] for row in back_fills(world)] == [(ACCOUNT, 3, 3, 1)]
