"""R45 for what a column can hold: the day of an instant in any zone, and a number in the column's places."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynsync_pipeline.clients.dynamics.time_zones import IANA_NAMES
from dynsync_pipeline.warehouse.connection import Warehouse
from dynsync_pipeline_tests.properties.effort import examples

zones = st.sampled_from(sorted(set(IANA_NAMES.values())))
instants = st.tuples(st.dates(date(1996, 1, 2), date(2037, 12, 30)), st.times()).map(
    lambda drawn: datetime.combine(*drawn, tzinfo=UTC).replace(microsecond=0)
)
days = st.dates(date(1753, 1, 2), date(2100, 12, 30))
SKIPPED = {date(year, 12, 30) for year in range(1759, 2012, 28)}  # Samoa crossed the date line
numbers = st.decimals(-(10**12), 10**12, places=10)


@pytest.fixture(scope="module")
def warehouse() -> Warehouse:
    return Warehouse(Path(":memory:"))


def selected(warehouse: Warehouse, expressions: list[str]) -> list[str]:
    """What these expressions give, one query for all."""
    with warehouse.reading() as connection:
        return list(connection.execute(f"select {', '.join(expressions)}").fetchall()[0])


def kept(day: date, zone: str) -> str:
    """A date as it goes to a user-local column."""
    return f"kept_time('{day}', 'date', 'UserLocal', '{zone}')"


def test_a_day_is_what_the_calendar_of_that_zone_shows(warehouse: Warehouse) -> None:
    """Since the rules that zones have now; a library of time zones that is not DuckDB's says what is right."""

    @examples(8)
    @given(drawn=st.lists(st.tuples(instants, zones), min_size=1, max_size=20))
    def holds(drawn: list[tuple[datetime, str]]) -> None:
        asked = [f"canonical_day('{at:%Y-%m-%dT%H:%M:%SZ}', '{zone}')" for at, zone in drawn]
        assert selected(warehouse, asked) == [str(at.astimezone(ZoneInfo(zone)).date()) for at, zone in drawn]

    holds()


def test_a_day_that_was_written_is_read_as_that_day_in_every_zone_and_year(warehouse: Warehouse) -> None:
    @examples(8)
    @given(drawn=st.lists(st.tuples(days.filter(lambda day: day not in SKIPPED), zones), min_size=1, max_size=20))
    def holds(drawn: list[tuple[date, str]]) -> None:
        back = [f"canonical_day({kept(day, zone)}, '{zone}')" for day, zone in drawn]
        assert selected(warehouse, back) == [str(day) for day, _ in drawn]

    holds()


def test_the_day_before_a_change_of_clocks_ends_when_the_next_one_begins(warehouse: Warehouse) -> None:
    """One second less than midnight is the day before, also where midnight itself is skipped or comes twice."""
    zone = st.sampled_from(["America/Sao_Paulo", "Africa/Cairo", "Asia/Beirut", "America/Havana", "Europe/Berlin"])

    @examples(8)
    @given(drawn=st.lists(st.tuples(st.dates(date(2000, 1, 1), date(2030, 1, 1)), zone), min_size=1, max_size=20))
    def holds(drawn: list[tuple[date, str]]) -> None:
        before = [f"canonical_day(({kept(d, z)}::timestamptz - interval 1 second)::varchar, '{z}')" for d, z in drawn]
        assert selected(warehouse, before) == [str(day - timedelta(days=1)) for day, _ in drawn]

    holds()


def test_a_number_in_places_is_rounded_once_and_for_all(warehouse: Warehouse) -> None:
    @examples(8)
    @given(drawn=st.lists(st.tuples(numbers, st.integers(0, 10)), min_size=1, max_size=20))
    def holds(drawn: list[tuple[Decimal, int]]) -> None:
        once = [f"rounded('{number}', {places})" for number, places in drawn]
        twice = [f"rounded({asked}, {places})" for asked, (_, places) in zip(once, drawn, strict=True)]
        found = selected(warehouse, once)
        expected = [number.quantize(Decimal(1).scaleb(-places), ROUND_HALF_UP) for number, places in drawn]
        assert [Decimal(text) for text in found] == expected
        assert selected(warehouse, twice) == found

    holds()
