"""R45, stated once in SQL: values are equal exactly when their canonical texts are, and normalising twice equals once."""

from __future__ import annotations

from datetime import date, datetime, timedelta, timezone
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dynsync_pipeline.extract.feed import Feed
from dynsync_pipeline.model.field_map import FieldType
from dynsync_pipeline.model.records import RecordType
from dynsync_pipeline.warehouse.canonical import canonical as expression_of
from dynsync_pipeline.warehouse.connection import Warehouse
from dynsync_pipeline_tests.oracles.three_way_merge import normalised
from dynsync_pipeline_tests.properties.effort import examples
from dynsync_pipeline_tests.worlds.memory import MemoryWorld

many = examples(40)

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8) | st.text(
    "\r\n\0\u2028\u2029\x85\ufeff x", max_size=6
)
zones = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
# The calendar of Dynamics begins in 1753.
moments = st.tuples(st.dates(date(1753, 1, 2), date(9999, 12, 30)), st.times(), zones).map(
    lambda drawn: datetime.combine(*drawn).isoformat().replace("+00:00", "Z")
)
VALUES = {
    "text": texts,
    "guid": st.uuids().map(str) | st.uuids().map(lambda guid: str(guid).upper()),
    "integer": st.integers(-(2**31), 2**31).map(str),
    "decimal": st.decimals(-(10**12), 10**12, places=4).map(str)
    | st.integers(-(10**9), 10**9).map(lambda n: f"{n}.50"),
    "boolean": st.sampled_from(["true", "false", "True", "FALSE", "0", "1", ""]),
    "date": st.dates(date(1753, 1, 1)).map(str) | moments,
    "datetime": moments,
    "choice": st.integers(0, 10**9).map(str) | texts,
    "choices": st.lists(st.integers(-1, 10**9).map(str), max_size=4).map(",".join),
}


@pytest.fixture(scope="module")
def warehouse() -> Warehouse:
    return Warehouse(Path(":memory:"))


def canonical(warehouse: Warehouse, kind: str, values: list[str | None]) -> list[str | None]:
    with warehouse.reading() as connection:
        rows = connection.execute(
            f"select canonical_{kind}(value) from (select unnest(?::varchar[]) as value, "
            "unnest(range(?)) as place) order by place",
            [values, len(values)],
        ).fetchall()
    return [row[0] for row in rows]


@pytest.mark.parametrize("kind", VALUES)
def test_normalising_twice_equals_once(warehouse: Warehouse, kind: str) -> None:
    @many
    @given(values=st.lists(VALUES[kind] | st.none(), min_size=1, max_size=20))
    @example(values=["\r\r\n", "\r\n", "\r", "\n\r", ""])
    def holds(values: list[str | None]) -> None:
        once = canonical(warehouse, kind, values)
        assert canonical(warehouse, kind, once) == once

    holds()


@pytest.mark.parametrize("kind", ["text", "guid", "integer", "decimal", "boolean", "date", "datetime", "choices"])
def test_sql_and_oracle_normalise_alike(warehouse: Warehouse, kind: str) -> None:
    @many
    @given(values=st.lists(VALUES[kind] | st.none(), min_size=1, max_size=20))
    def holds(values: list[str | None]) -> None:
        assert canonical(warehouse, kind, values) == [normalised(value, kind) for value in values]

    holds()


@pytest.mark.parametrize(
    ("kind", "spellings"),
    [
        ("text", ["two\r\nlines", "two\nlines", "two\rlines", "two\r\r\nlines", "two\0\r\nlines"]),
        ("text", ["an end\r", "an end\n", "an end\r\n"]),
        ("text", ["\0", "", None]),
        ("text", ["", None]),
        ("guid", ["A0000000-0000-4000-8000-00000000000B", "a0000000-0000-4000-8000-00000000000b"]),
        ("integer", ["7", "7.0", "+7", "007"]),
        ("decimal", ["12.5", "12.50", "12.5000", "1.25e1"]),
        ("decimal", ["0", "0.0", "-0", "0.00000000001"]),
        ("decimal", ["100", "100.0000"]),
        ("boolean", ["true", "1", "TRUE"]),
        ("date", ["2026-02-01", "2026-02-01T23:59:59Z"]),
        ("datetime", ["2026-02-01T00:00:00Z", "2026-02-01T00:00:00.999Z", "2026-02-01T02:00:00+02:00", "2026-02-01"]),
        ("choices", ["1,3", "3,1", "3, 1,3 ", "1,03"]),
        ("choices", ["", None]),
        ("datetime", ["2026-01-31T19:00:00-0500", "2026-02-01T00:00:00+0000"]),
    ],
)
def test_spellings_of_one_value_are_equal(warehouse: Warehouse, kind: str, spellings: list[str | None]) -> None:
    assert len(set(canonical(warehouse, kind, spellings))) == 1


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("text", ["a\u2028b", "a\u2029b", "a\x85b", "a\nb", "a\ufeffb", "ab", "\ufeffab"]),
        ("text", ["a", "A", "a ", " a", "a\u0301", "\u00e1", "0", "00"]),
        ("integer", ["7", "-7", "70"]),
        (
            "decimal",
            ["10", "1", "0.1", "0.0001", "99999999999999.9999", "99999999999999.9998", "0.0000000001", "1.0000001"],
        ),
        ("boolean", ["true", "false", None, "XL"]),
        ("choices", ["1", "1,3", "13", "1;3", "-1", "1,3,", "10,2", None]),
        ("date", ["2026-02-01", "2026-02-02"]),
        ("datetime", ["2026-02-01T00:00:00Z", "2026-02-01T00:00:01Z"]),
    ],
)
def test_different_values_stay_different(warehouse: Warehouse, kind: str, values: list[str | None]) -> None:
    """Case, blanks and Unicode forms of text matter; no digit is lost."""
    assert len(set(canonical(warehouse, kind, values))) == len(values)


@pytest.mark.parametrize(
    "kind", ["text", "integer", "decimal", "boolean", "date", "datetime", "choice", "choices", "guid"]
)
def test_text_that_is_no_value_of_its_type_is_never_nothing(warehouse: Warehouse, kind: str) -> None:
    for text in ("xl", "1,5", "2026-13-45", "maybe", "0x10"):
        assert canonical(warehouse, kind, [text]) == [text]


@pytest.mark.parametrize("kind", FieldType)
def test_rows_that_landed_become_canonical_as_each_of_their_values_would(warehouse: Warehouse, kind: FieldType) -> None:
    """Whatever the other rows hold, and in however many pieces they came."""

    @many
    @given(pieces=st.lists(st.lists(VALUES[kind] | st.none(), max_size=3), max_size=3))
    @example(pieces=[["a"], ["\r"]])
    @example(pieces=[["a"], ["\0"]])
    @example(pieces=[[""], [None]])
    def holds(pieces: list[list[str | None]]) -> None:
        values = [value for piece in pieces for value in piece]
        column = pa.chunked_array([pa.array(piece, pa.string()) for piece in pieces], pa.string())
        rows = pa.table({"it's": column})
        with warehouse.reading() as connection:
            connection.register("landed", rows)
            expression = expression_of("it's", kind, rows)
            found = connection.execute(f"select {expression} from landed").fetchall()
            connection.unregister("landed")
        assert sorted(map(repr, found)) == sorted(repr((value,)) for value in canonical(warehouse, kind, values))

    holds()


ROADS = [
    "two\rlines",
    "an end\r",
    "\r\n\r",
    "a\0b",
    "a\u2028b\u2029c\x85d",
    "\ufeffmark",
    "m\ufeffark",
    ' "q",\n',
    "\u00e4 \U0001f389",
]


def test_a_value_is_the_same_text_on_every_road() -> None:
    """From Dynamics, from a bulk file, over REST, and as the feed tells it."""
    world = MemoryWorld()
    people = {world.link(RecordType.CONTACT, f"r{n}", title=value, phone="1"): value for n, value in enumerate(ROADS)}
    world.settled()
    in_file = dict(world.rows("select person_id, title from mirror.marketo_people"))
    in_dynamics = dict(
        world.rows(
            "select person_id, jobtitle from state.links join mirror.dynamics_contacts on contactid = dynamics_id"
        )
    )
    for person_id in people:
        world.marketo.put(person_id, phone="2")
    world.settled()
    over_rest = dict(world.rows("select person_id, title from mirror.marketo_people"))
    feed = Feed(world.columns)
    for person_id, value in people.items():
        feed.add(f"g{person_id}", person_id, world.now(), "title", "before", value)
    with world.warehouse.reading() as connection:
        assert feed.changed_people(connection) == []
    assert in_file == in_dynamics == over_rest
    assert in_file.keys() == people.keys()
    assert world.ledger()["collisions"] == []
    assert all("title" not in values for _, values in world.marketo.writes)


SPELLINGS = {
    "title": ["two\nlines", "two\r\nlines", "two\rlines", "two\r\r\nli\0nes"],
    "doNotCall": ["true", "True", "1"],
    "revenue": ["1234.5", "1234.50", "1234.5000000000", "01234.5"],
    "employees": ["7", "7.0", "+7", "007"],
    "birth": ["2030-06-01", "2030-06-01T00:00:00Z", "2030-06-01T23:59:59+0000"],
    "seen": [
        "2030-06-01T10:00:00Z",
        "2030-06-01T12:00:00+02:00",
        "2030-06-01T10:00:00.999Z",
        "2030-06-01T05:00:00-0500",
    ],
}
Row = dict[str, str | None]
spelt = st.fixed_dictionaries({name: st.sampled_from(texts) for name, texts in SPELLINGS.items()})


def test_spellings_of_one_value_are_one_on_whichever_road_each_comes() -> None:
    """A record from Dynamics, a bulk file, REST and the feed, each in a spelling of its own: nobody edited anything."""

    @examples(3)
    @given(in_dynamics=spelt, in_file=spelt, over_rest=spelt, in_feed=spelt)
    def holds(in_dynamics: Row, in_file: Row, over_rest: Row, in_feed: Row) -> None:
        world = MemoryWorld()
        columns = {f.marketo_field: f.dynamics_column for f in world.fields.of(RecordType.LEAD)}
        person_id = world.link(RecordType.LEAD, "r1", phone="1", **in_file)
        record = {columns[name]: value for name, value in in_dynamics.items()}
        world.dynamics.put(RecordType.LEAD, "r1", **record)
        assert world.settled() == 0
        world.marketo.rows[person_id].values.update(over_rest)
        world.marketo.put(person_id, phone="2")
        world.settled()
        feed = Feed(world.columns)
        for name, value in in_feed.items():
            feed.add(f"g{name}", person_id, world.now(), name, "before", value)
        with world.warehouse.reading() as connection:
            assert feed.changed_people(connection) == []
        assert [(row[0], row[4]) for row in world.ledger()["changes"]] == [("to_dynamics", "phone")]

    holds()
