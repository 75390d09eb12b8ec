"""The views and macros of the snapshot answer in one query, for both record types, and say where they cannot know."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

import duckdb
import pytest

from dynsync_pipeline.errors import FieldMapWrong
from dynsync_pipeline.model.field_map import parse_field_map
from dynsync_pipeline.model.records import TABLES, RecordType, logical_name
from dynsync_pipeline.publish.tables import published_tables
from dynsync_pipeline_tests.properties.effort import story
from dynsync_pipeline_tests.worlds.memory import SAME_FOR_BOTH_TYPES, MemoryWorld, field_map

pytestmark = story

ACCOUNT, CONTACT, LEAD = RecordType.ACCOUNT, RecordType.CONTACT, RecordType.LEAD
EVERYTHING = {
    "title": "O'Brien 👩‍🚀",
    "phone": "שלום " * 60,
    "doNotCall": "true",
    "revenue": "10.50",
    "employees": "100",
    "birth": "1990-02-28",
    "seen": "2026-01-02T03:04:05Z",
    "rating": "2",
    "source": None,
}
SHOWN = EVERYTHING | {"revenue": "10.5", "rating": "Warm", "leadScore": None, "company": None, "phone": ("שלום " * 60)}


@contextmanager
def snapshot_of(world: MemoryWorld) -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(world.settings.snapshot_file, read_only=True) as snapshot:
        snapshot.execute("set TimeZone = 'America/Chicago'")  # nobody's session need be in UTC
        yield snapshot


def asked(world: MemoryWorld, query: str, *values: object) -> list[tuple[Any, ...]]:
    with snapshot_of(world) as snapshot:
        return snapshot.execute(query, list(values)).fetchall()


def as_of(world: MemoryWorld, macro: str, key: object, at: datetime) -> dict[str, tuple[object, bool]]:
    name = "field" if macro == "person_as_of" else "dynamics_column"
    rows = asked(world, f"select {name}, value, is_known from {macro}(?, ?)", key, at)
    return {row[0]: (row[1], row[2]) for row in rows}


def utc(world: MemoryWorld) -> datetime:
    return world.now().replace(tzinfo=None)


@pytest.fixture(scope="module")
def world() -> MemoryWorld:
    world = MemoryWorld(publishes=True)
    world.link(CONTACT, "c", **EVERYTHING)
    world.link(LEAD, "l", **EVERYTHING)
    world.settled()
    world.cycle()
    return world


@pytest.mark.parametrize("record_id", ["c", "l"])
def test_a_field_of_every_type_is_told_alike_by_both_sides_and_the_base(world: MemoryWorld, record_id: str) -> None:
    rows = asked(
        world,
        "select field, base_value, dynamics_value, marketo_value, has_base, differs, state from side_by_side "
        "where record_id_dynamics = ?",
        record_id,
    )
    shown = {name: value for name, value in SHOWN.items() if name != "company"}
    assert sorted(map(str, rows)) == sorted(
        str((name, value, value, value, True, False, "agree")) for name, value in shown.items()
    )


def test_what_a_person_and_its_record_held_is_told_for_any_time_since_they_are_observed(world: MemoryWorld) -> None:
    before_all = utc(world) - timedelta(days=1)
    ((c,),) = asked(world, "select person_id_marketo from links where record_id_dynamics = 'c'")
    times = [utc(world)]
    for title, rating in (("B", "1"), (None, None), ("D", "3")):
        world.dynamics.put(CONTACT, "c", jobtitle=title, new_rating=rating)
        world.cycle()
        times.append(utc(world))
    told = [as_of(world, "person_as_of", c, at) for at in times]
    assert [each["title"] for each in told] == [(SHOWN["title"], True), ("B", True), (None, True), ("D", True)]
    assert [each["rating"] for each in told] == [("Warm", True), ("Hot", True), (None, True), ("Cold", True)]
    assert told[0] == {name: (value, True) for name, value in SHOWN.items()}
    told = [as_of(world, "record_as_of", "c", at) for at in times]
    assert [each["jobtitle"] for each in told] == [(SHOWN["title"], True), ("B", True), (None, True), ("D", True)]
    assert [each["new_rating"] for each in told] == [("Warm", True), ("Hot", True), (None, True), ("Cold", True)]
    assert told[0]["is_deleted"] == ("false", True)
    for macro, key in (("person_as_of", c), ("record_as_of", "c")):
        assert set(as_of(world, macro, key, before_all).values()) == {(None, False)}
    assert as_of(world, "person_as_of", 4711, times[0]) == as_of(world, "record_as_of", "nobody", times[0]) == {}


def test_a_time_may_be_a_text_a_time_or_an_instant_of_another_zone(world: MemoryWorld) -> None:
    world.dynamics.put(CONTACT, "c", jobtitle="Zoned")
    world.cycle()
    ((seen_at,),) = asked(
        world, "select max(seen_at) from observations where new_value = 'Zoned' and record_id_dynamics = 'c'"
    )
    for at in (f"'{seen_at}'", f"timestamp '{seen_at}'", f"timestamptz '{seen_at}+00:00'"):
        told = [
            asked(world, f"select value from record_as_of('c', {moment}) where field = 'title'")
            for moment in (
                at,
                f"{at}::timestamptz - interval 1 second" if "tz" in at else f"({at}::timestamp - interval 1 second)",
            )
        ]
        assert told[0] == [("Zoned",)] != told[1], at


def test_who_came_later_is_not_known_before_and_who_is_deleted_is_known_until_then(world: MemoryWorld) -> None:
    before = utc(world)
    world.dynamics.put(LEAD, "late", jobtitle="New")
    world.cycle()
    meanwhile = utc(world)
    ((late,),) = asked(world, "select person_id_marketo from links where record_id_dynamics = 'late'")
    assert set(as_of(world, "record_as_of", "late", before).values()) == {(None, False)}
    assert set(as_of(world, "person_as_of", late, before).values()) == {(None, False)}
    world.marketo.delete(late)
    world.cycle()
    assert asked(world, "select count(*) from people where person_id_marketo = ?", late) == [(0,)]
    assert as_of(world, "person_as_of", late, meanwhile)["title"] == ("New", True)
    assert as_of(world, "person_as_of", late, utc(world))["title"] == (None, True)
    assert as_of(world, "record_as_of", "late", utc(world))["jobtitle"] == ("New", True)


def test_a_persons_company_is_told_as_it_was_also_after_a_move_to_another_account(world: MemoryWorld) -> None:
    for account in ("a", "b"):
        world.dynamics.put(ACCOUNT, account, name=f"{account} Ltd")
    world.dynamics.put(CONTACT, "mover", jobtitle="M", _parentcustomerid_value="a")
    world.cycle()
    ((mover,),) = asked(world, "select person_id_marketo from links where record_id_dynamics = 'mover'")
    times = [utc(world)]
    world.dynamics.put(ACCOUNT, "a", name="A & Co")
    world.cycle()
    times.append(utc(world))
    world.dynamics.put(CONTACT, "mover", _parentcustomerid_value="b")
    world.cycle()
    times.append(utc(world))
    told = [as_of(world, "person_as_of", mover, at)["company"] for at in times]
    assert told == [("a Ltd", True), ("A & Co", True), ("b Ltd", True)]
    assert as_of(world, "record_as_of", "a", times[0])["name"] == ("a Ltd", True)
    assert as_of(world, "record_as_of", "mover", times[1])["parentcustomerid"] == ("a", True)


def test_an_edit_is_told_with_who_made_it_and_when_and_so_are_its_write_and_a_collision(world: MemoryWorld) -> None:
    ((lead,),) = asked(world, "select person_id_marketo from links where record_id_dynamics = 'l'")
    world.clock += timedelta(minutes=7)
    world.dynamics.put(LEAD, "l", jobtitle="Sales says", telephone1="1")
    in_dynamics = utc(world).replace(microsecond=0)
    world.clock += timedelta(minutes=1)
    world.marketo.put(lead, title="Marketing says")
    in_marketo = utc(world)
    world.cycle()
    told = "dynamics_modified_at, dynamics_modified_by, marketo_changed_at"
    assert asked(
        world, f"select winner, {told} from collisions where person_id_marketo = ? and field = 'title'", lead
    ) == [("marketo", in_dynamics, "somebody", in_marketo)]
    assert asked(
        world,
        "select direction, edited_at, edited_by from changes_today where record_id_dynamics = 'l' and field = 'phone'",
    ) == [("to_marketo", in_dynamics, "somebody")]
    history = asked(
        world,
        "select system, old_value, new_value, changed_at, is_own_write from field_history "
        "where person_id_marketo = ? and field = 'title' order by observation_id",
        lead,
    )
    assert [(row[0], row[2], row[4]) for row in history] == [
        ("dynamics", "Sales says", False),
        ("marketo", "Marketing says", False),
        ("dynamics", "Marketing says", True),
    ]
    assert [row[3] for row in history][:2] == [in_dynamics, in_marketo]
    ((n_values, median_s, longest_s),) = asked(
        world,
        "select n_values, median_s, longest_s from sync_lag where direction = 'to_dynamics' and record_type = 'lead'",
    )
    assert n_values >= 1 and 0 < median_s <= longest_s < 3600


def test_marketos_own_times_of_a_person_are_told_and_are_no_edit(world: MemoryWorld) -> None:
    ((lead,),) = asked(world, "select person_id_marketo from links where record_id_dynamics = 'l'")
    before = len(asked(world, "from observations"))
    world.marketo.rows[lead].values.update(createdAt="2020-01-02T03:04:05Z", updatedAt="2026-02-03T04:05:06Z")
    world.marketo.put(lead, phone="9")
    world.cycle()
    times = asked(
        world,
        "select created_in_marketo_at::varchar, updated_in_marketo_at::varchar from people where person_id_marketo = ?",
        lead,
    )
    assert times == [("2020-01-02 03:04:05", "2026-02-03 04:05:06")]
    assert len(asked(world, "from observations")) == before + 2, "the phone, on either side"


def test_everybody_without_a_row_in_links_is_unlinked_for_a_reason_and_nobody_else(world: MemoryWorld) -> None:
    stranger = world.marketo.next_id
    world.marketo.put(stranger, title="Only here")
    world.dynamics.put(LEAD, "kept out", jobtitle="X", new_synctomkto="false")
    world.dynamics.put(LEAD, "gone", jobtitle="Y")
    world.cycle()
    ((gone,),) = asked(world, "select person_id_marketo from links where record_id_dynamics = 'gone'")
    world.dynamics.delete(LEAD, "gone")
    world.cycle()
    rows = asked(
        world, "select object, coalesce(person_id_marketo::varchar, record_id_dynamics), reason_code from unlinked"
    )
    assert {
        ("person", str(stranger), "only_in_marketo"),
        ("person", str(gone), "deleted_in_dynamics"),
        ("lead", "kept out", "kept_out"),
    } <= set(rows)
    assert asked(
        world, "select count(*) from unlinked where record_id_dynamics in (select record_id_dynamics from links)"
    ) == [(0,)]
    assert asked(world, "select person_id_marketo from people where is_linked order by 1") == asked(
        world, "select person_id_marketo from links order by 1"
    )


def test_each_refused_attempt_is_a_row_so_that_a_day_shows_what_was_tried(world: MemoryWorld) -> None:
    ((c,),) = asked(world, "select person_id_marketo from links where record_id_dynamics = 'c'")
    world.marketo.put(c, rating="No such label")
    for _ in range(3):
        world.cycle()
        world.clock += timedelta(hours=2)
    ((attempts,),) = asked(world, "select attempts from sync_errors where field = 'rating' and state <> 'resolved'")
    assert attempts > 1
    rows = asked(world, "select sum(n_attempts), sum(n_new) from errors_daily where field = 'rating'")
    assert rows == [(attempts, 1)]


def test_after_the_retention_nothing_is_known_and_another_field_map_makes_the_views_anew() -> None:
    world = MemoryWorld(publishes=True)
    c = world.link(CONTACT, "c", title="A")
    world.settled()
    world.allow(observation_days=10)
    world.dynamics.put(CONTACT, "c", jobtitle="B")
    world.cycle()
    then = utc(world)
    world.clock += timedelta(days=6)
    world.dynamics.put(CONTACT, "c", jobtitle="C")
    world.cycle()
    assert as_of(world, "person_as_of", c, then)["title"] == ("B", True)
    world.clock += timedelta(days=5)
    world.cycle()
    assert as_of(world, "person_as_of", c, then)["title"] == (None, False)
    assert as_of(world, "person_as_of", c, then + timedelta(days=2))["title"] == ("B", True)
    assert asked(world, "select old_value, new_value from observations where field = 'title' order by 1, 2") == [
        ("B", "C"),
        ("B", "C"),
    ]
    world.follow(field_map(*SAME_FOR_BOTH_TYPES[:1]))
    world.settled()
    assert asked(world, "select field from side_by_side") == [("title",)]


def test_each_contact_of_an_account_beyond_the_limit_has_its_history_by_where_it_stood_then(world: MemoryWorld) -> None:
    for account in ("big", "other"):
        world.dynamics.put(ACCOUNT, account, name="Before")
    for name in ("stays", "leaves"):
        world.dynamics.put(CONTACT, name, jobtitle="X", _parentcustomerid_value="big")
    world.dynamics.put(CONTACT, "elsewhere", jobtitle="X", _parentcustomerid_value="other")
    world.cycle()
    world.rows("create or replace temp macro most_contacts_logged() as 1")
    world.dynamics.put(ACCOUNT, "big", name="After")
    world.cycle()
    world.rows("create or replace temp macro most_contacts_logged() as 5000")
    world.clock += timedelta(minutes=5)
    world.dynamics.put(CONTACT, "leaves", _parentcustomerid_value="other")
    world.dynamics.put(CONTACT, "new", jobtitle="X", _parentcustomerid_value="big", createdon="2099-01-01T00:00:00Z")
    world.cycle()
    rows = asked(
        world,
        "select record_id_dynamics, person_id_marketo is not null, old_value, new_value from history_of_account_contacts "
        "where account_id_dynamics = 'big' order by 1",
    )
    assert rows == [("leaves", True, "Before", "After"), ("stays", True, "Before", "After")]


def test_every_view_and_macro_says_what_it_is(world: MemoryWorld) -> None:
    silent = asked(
        world,
        "select view_name, null from duckdb_views() where not internal and coalesce(comment, '') = '' union all "
        "select table_name, column_name from duckdb_columns() where not internal and coalesce(comment, '') = '' union all "
        "select function_name, null from duckdb_functions() where function_type = 'table_macro' and not internal "
        "and coalesce(comment, '') = ''",
    )
    assert silent == []


def test_no_field_of_a_map_may_be_called_as_a_column_of_its_published_tables() -> None:
    """Whoever maps such a field learns so when the map is read, and not from a snapshot that cannot be made."""
    fields = field_map(*SAME_FOR_BOTH_TYPES)
    mapped = {f.marketo_field for f in fields.fields}
    columns = {f.dynamics_column for f in fields.fields}
    system = {
        logical_name(name) for table in TABLES.values() for name in (*table.system_columns, *table.offered_columns)
    }
    tables = {table.name: {column.name for column in table.columns} for table in published_tables(fields)}
    of_marketo = (tables["people"] | tables["companies"] | tables["base"]) - mapped
    of_dynamics = (tables["contacts"] | tables["leads"]) - columns - system - {"contactid", "leadid"}
    assert len(of_marketo) > 15 and len(of_dynamics) > 6
    for name in of_marketo:
        with pytest.raises(FieldMapWrong, match="needs for itself"):
            field_map(f"{name},new_any,text,both,true")
    for name in of_dynamics:
        with pytest.raises(FieldMapWrong, match="needs for itself"):
            field_map(f"any,{name},text,both,true")


def test_marketos_own_times_may_be_mapped_as_well() -> None:
    world = MemoryWorld(
        field_map(*SAME_FOR_BOTH_TYPES[:1], "createdAt,new_mktcreated,datetime,to_dynamics,true"), publishes=True
    )
    person = world.link(CONTACT, "c", title="A")
    world.marketo.rows[person].values["createdAt"] = "2020-01-02T03:04:05Z"
    world.settled()
    assert world.both(person, "createdAt") == ("2020-01-02T03:04:05Z", "2020-01-02T03:04:05Z")
    assert asked(world, "select createdAt = created_in_marketo_at from people") == [(True,)]


def test_a_map_may_have_no_field_of_a_record_type_or_of_companies() -> None:
    header = "record_type,marketo_field,dynamics_column,type,direction,enabled\n"
    for lines in ("account,company,name,text,to_marketo,true\n", "contact,title,jobtitle,text,both,true\n"):
        world = MemoryWorld(parse_field_map(header + lines, "test.csv"), publishes=True)
        world.cycle()
        assert asked(world, "from side_by_side") == asked(world, "from person_as_of(1, now())") == []
