"""What the shared macros make of single values (`warehouse/sql/macros.sql`), value by value.

Not here: that any two equal values have one text (`../properties/test_canonical_text.py`), zones and days in whole cycles
(`../reconcile/test_days_and_places.py`).
"""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import partial
from typing import Any

import duckdb
import pytest

from dynsync_pipeline.sql_files import run_steps

NOON, MINUTE = datetime(2026, 1, 1, 12), timedelta(minutes=1)  # noqa: DTZ001
NEVER = datetime(9999, 12, 31)  # noqa: DTZ001
BERLIN = "'Europe/Berlin'"
MUCH = "9" * 29
OPTIONS = (
    "{numbers: map {'Hot': '1', 'Warm; mild': '2'}, listed_numbers: map {'Hot': '1', 'Warm, mild': '2', 'Cold': '10'}, "
    "labels: map {'1': 'Hot', '2': 'Warm; mild', '10': 'Cold'}}"
)
CANONICAL: list[tuple[str, Any]] = [
    ("canonical_text('a')", "a"),
    ("canonical_text('')", None),
    ("canonical_text('a' || chr(13) || 'b')", "a\nb"),
    ("canonical_text('a' || chr(13) || chr(13) || chr(10) || 'b' || chr(10))", "a\nb\n"),
    ("canonical_text('a' || chr(0) || 'b')", "ab"),
    ("canonical_text('a' || chr(0) || 'b' || chr(13))", "ab\n"),
    ("canonical_text('a' || chr(14) || chr(1) || chr(10) || 'b')", "a\x0e\x01\nb"),
    ("canonical_integer('+007')", "7"),
    ("canonical_integer('-7.00')", "-7"),
    ("canonical_integer('7.5')", "7.5"),
    (f"canonical_integer('{MUCH * 2}')", MUCH * 2),
    ("canonical_integer('')", None),
    ("canonical_decimal('1.50')", "1.5"),
    ("canonical_decimal('100')", "100"),
    ("canonical_decimal('1.12345678911')", "1.1234567891"),
    (f"canonical_decimal('{'9' * 28}')", "9" * 28),
    (f"canonical_decimal('0{MUCH}.0')", f"0{MUCH}.0"),
    ("canonical_decimal('much')", "much"),
    ("canonical_decimal('')", None),
    *((f"canonical_boolean('{said}')", "true") for said in ("true", "TRUE", "1")),
    *((f"canonical_boolean('{said}')", "false") for said in ("false", "False", "0")),
    ("canonical_boolean('Yes')", "Yes"),
    ("canonical_boolean('')", None),
    ("canonical_date('2026-01-02T03:04:05Z')", "2026-01-02"),
    ("canonical_date('2026-01-023')", "2026-01-02"),
    ("canonical_date('epoch')", "epoch"),
    ("canonical_date('')", None),
    ("canonical_datetime('2026-01-02T03:04:05+02:00')", "2026-01-02T01:04:05Z"),
    ("canonical_datetime('inf')", "inf"),
    ("canonical_datetime('')", None),
    ("canonical_day('2026-07-01T22:00:00Z', 'Europe/Berlin')", "2026-07-02"),
    ("canonical_day('2026-01-01T22:59:59Z', 'Europe/Berlin')", "2026-01-01"),
    ("canonical_day('soon', 'Europe/Berlin')", "soon"),
    ("canonical_day('', 'Europe/Berlin')", None),
    ("canonical_choice('')", None),
    ("canonical_choice('1')", "1"),
    ("canonical_choices(' 10, 2 ,-3,2')", "-3,2,10"),
    ("canonical_choices('10;2')", "10;2"),
    ("canonical_choices('12345678901')", "12345678901"),
    ("canonical_choices('')", None),
    ("canonical_guid('ABC')", "abc"),
    ("canonical_guid('')", None),
]
# Zones of days before 1996 are looked at as if it were the same calendar from 1996 to 2023: Berlin had no summer time in 1970.
TIMES: list[tuple[str, Any]] = [
    *((f"datepart('year', years_later(timestamp '{year}-07-01'))", later) for year, later in (
        (1996, 0), (1995, 28), (1994, 28), (1968, 28), (1967, 56), (1940, 56), (1939, 84), (1912, 84), (1911, 112))),
    (f"local_time(timestamp '1970-07-01 12:00', {BERLIN})", datetime(1970, 7, 1, 14)),  # noqa: DTZ001
    (f"local_time(timestamp '1996-01-01 12:00', {BERLIN})", datetime(1996, 1, 1, 13)),  # noqa: DTZ001
    (f"utc_time(timestamp '1970-07-01 14:00', {BERLIN})", datetime(1970, 7, 1, 12)),  # noqa: DTZ001
    (f"utc_time(timestamp '2026-01-01 13:00', {BERLIN})", NOON),
    (f"kept_time('2026-07-02', 'date', 'UserLocal', {BERLIN})", "2026-07-01T22:00:00Z"),
    (f"kept_time('soon', 'date', 'UserLocal', {BERLIN})", "soon"),
    (f"kept_time('2026-07-02', 'date', 'TimeZoneIndependent', {BERLIN})", "2026-07-02T00:00:00Z"),
    (f"kept_time('soon', 'date', 'TimeZoneIndependent', {BERLIN})", "soon"),
    (f"kept_time('2026-07-02', 'date', 'DateOnly', {BERLIN})", "2026-07-02"),
    (f"kept_time('2026-07-02', 'text', 'UserLocal', {BERLIN})", "2026-07-02"),
    (f"kept_time('2026-07-02', 'text', 'TimeZoneIndependent', {BERLIN})", "2026-07-02"),
    (f"kept_time('2026-07-02T03:04:05Z', 'datetime', 'DateOnly', {BERLIN})", "2026-07-02"),
    (f"kept_time('2026-07-02T03:04:05Z', 'datetime', 'UserLocal', {BERLIN})", "2026-07-02T03:04:05Z"),
    (f"kept_time('2026-07-02T03:04:05Z', 'text', 'DateOnly', {BERLIN})", "2026-07-02T03:04:05Z"),
    *((f"gap_after({n})", minutes * MINUTE) for n, minutes in (
        (1, 5), (2, 10), (3, 20), (8, 640), (9, 1280), (10, 1440), (11, 1440), (12, 1440), (90, 1440))),
    ("next_look_at(timestamp '2026-01-01 12:00', 7)", NOON + 320 * MINUTE),
    ("next_look_at(timestamp '2026-01-01 12:00', 8)", NEVER),
    ("next_look_at(timestamp '2026-01-01 12:00', 9)", NEVER),
    ("native_patience()", 60 * MINUTE),
    ("most_attempts()", 8),
    ("most_contacts_logged()", 5000),
    ("never()", NEVER),
]  # fmt: skip


def _of_options(macro: str, value: str | None, kind: str) -> str:
    return f"{macro}({'null' if value is None else repr(value)}, '{kind}', {OPTIONS})"


meant, compared, shown = (partial(_of_options, name) for name in ("meant_options", "compared_options", "shown_options"))
OF_OPTIONS: list[tuple[str, Any]] = [
    ("blanks()", " \t\n"),
    ("listed_label(chr(9) || ' a;b ' || chr(10))", "a,b"),
    ("labels_in(' a;;' || chr(9) || 'b ; ')", ["a", "b"]),
    ("in_order(['10', '2', '2', '-1'])", "-1,2,10"),
    (meant("Hot", "choice"), "1"),
    (meant("Cold", "choice"), None),
    (meant("Cold; Hot;", "choices"), "1,10"),
    (meant("Warm, mild", "choices"), "2"),
    (meant("Cold; Mild", "choices"), None),
    (meant(" ; ", "choices"), None),
    (meant("Hot", "text"), "Hot"),
    (compared("Hot", "choice"), "1"),
    (compared("Mild", "choice"), "?Mild"),
    (compared("Hot; Mild", "choices"), "?Hot; Mild"),
    (compared("Hot", "text"), "Hot"),
    (compared(None, "choice"), None),
    (shown("1", "choice"), "Hot"),
    (shown("2", "choice"), "Warm; mild"),
    (shown("3", "choice"), "3"),
    (shown("?Mild", "choice"), "Mild"),
    (shown("?Mild", "text"), "?Mild"),
    (shown("1", "text"), "1"),
    (shown("1,2,3", "choices"), "Hot; Warm, mild; 3"),
    (shown("?Mild; Hot", "choices"), "Mild; Hot"),
    (f"labels_in_order('Cold; Hot; Cold', {OPTIONS})", "Hot; Cold"),
    (f"labels_in_order('Mild; Hot', {OPTIONS})", "Mild; Hot"),
]


def misfit(value: str | None, kind: str, **held: Any) -> str:
    """Why a column with these properties refuses the value."""
    column = {"system": "dynamics", "is_writable": True, "is_required": False, "data_type": "String", "max_length": 4}
    column |= {"minimum": -1, "maximum": 1, "time_behavior": None} | held
    literals = ", ".join(f"{name}: {_literal(each)}" for name, each in column.items())
    return f"misfit({_literal(value)}, '{kind}', {{{literals}}}, {BERLIN})"


def _literal(value: Any) -> str:
    return "null" if value is None else repr(value)


LONG = 40
MISFITS: list[tuple[str, Any]] = [
    (misfit("abcd", "text"), None),
    (misfit("abcde", "text"), "too_long"),
    (misfit("ab\U0001f600", "text"), None),
    (misfit("abc\U0001f600", "text"), "too_long"),
    (misfit("a", "text", is_writable=False), "not_writable"),
    (misfit(None, "text"), None),
    (misfit(None, "text", is_required=True), "required"),
    (misfit("a", "text", is_required=True), None),
    *((misfit(said, "boolean", max_length=LONG), None) for said in ("true", "false")),
    (misfit("Yes", "boolean"), "wrong_type"),
    (misfit("Yes", "text"), None),
    (misfit("true", "integer"), "wrong_type"),
    (misfit("2026-01-02", "date", max_length=LONG), None),
    *((misfit(said, "date", max_length=LONG), "wrong_type") for said in ("soon", "2026-02-30", "epoch", "inf", "12026-01-02")),
    (misfit("soon", "text"), None),
    (misfit("2026-01-02T03:04:05Z", "datetime", max_length=LONG), None),
    *((misfit(said, "datetime", max_length=LONG), "wrong_type") for said in (
        "soon", "2026-02-30T03:04:05Z", "infinity", "2026-01-02 03:04:05")),
    # Dynamics' calendar begins in 1753, for a day of a user-local column by the moment that it begins.
    (misfit("1753-01-01", "date", max_length=LONG), None),
    (misfit("1752-12-31", "date", max_length=LONG), "out_of_range"),
    (misfit("1753-01-01", "date", max_length=LONG, time_behavior="UserLocal"), "out_of_range"),
    (misfit("1752-12-31T23:59:59Z", "datetime", max_length=LONG), "out_of_range"),
    (misfit("1752-12-31", "date", max_length=LONG, system="marketo"), None),
    (misfit("1752", "text"), None),
    (misfit("1", "integer"), None),
    (misfit("-1", "integer"), None),
    (misfit("2", "integer"), "out_of_range"),
    (misfit("-2", "integer"), "out_of_range"),
    (misfit("2", "text"), None),
    (misfit("0.5", "decimal"), None),
    (misfit("1.5", "decimal"), "out_of_range"),
    (misfit("9", "integer", minimum=None, maximum=None), None),
    (misfit("much", "decimal"), "wrong_type"),
    (misfit(MUCH, "decimal", max_length=LONG, minimum=None, maximum=None), "wrong_type"),
    (misfit("9" * 28, "decimal", max_length=LONG, minimum=None, maximum=None), None),
    (misfit("0.1", "decimal", data_type="Decimal"), None),
    *((misfit("0.5", "decimal", data_type=whole), "wrong_type") for whole in (
        "Integer", "BigInt", "integer", "score", "percent")),
    *((misfit(said, "text", data_type="Integer"), None) for said in ("7", "-7")),
    (misfit("a", "text", data_type="Integer"), "wrong_type"),
    # Rounding to a column's places.
    ("rounded('1.25', 1)", "1.3"),
    ("rounded('-1.25', 1)", "-1.3"),
    ("rounded('1.24', 1)", "1.2"),
    ("rounded('1.2', 0)", "1"),
    ("rounded('0.5', 0)", "1"),
    ("rounded('1.1234567894', 9)", "1.123456789"),
    ("rounded('1.1234567895', 9)", "1.12345679"),
    ("rounded('1.1234567891', 10)", "1.1234567891"),
    ("rounded('1.25', null)", "1.25"),
    ("rounded('much', 1)", "much"),
    (f"rounded('{'9' * 28}.9', 0)", f"{'9' * 28}.9"),
    (f"rounded('{'9' * 28}', 0)", "9" * 28),
    (f"rounded('1{'0' * 27}.7', 0)", f"1{'0' * 26}1"),
    ("cut_to('1.2500000000', 1)", "1.2"),
    # As JSON.
    ("json_text(null, 'text')", "null"),
    ("json_text('a\"b', 'text')", '"a\\"b"'),
    ("json_text('true', 'boolean')", "true"),
    ("json_text('false', 'boolean')", "false"),
    ("json_text('Yes', 'boolean')", '"Yes"'),
    ("json_text('true', 'text')", '"true"'),
    ("json_text('7', 'integer')", "7"),
    ("json_text('7.5', 'decimal')", "7.5"),
    ("json_text('7', 'text')", '"7"'),
    ("json_text('much', 'decimal')", '"much"'),
    (f"json_text('{MUCH}', 'decimal')", f'"{MUCH}"'),
    (f"json_text('{'9' * 28}', 'decimal')", "9" * 28),
]  # fmt: skip
WORDS: list[tuple[str, Any]] = [
    ("outcome_word('stand', 'in_review')", "review"),
    ("outcome_word('take_dynamics', 'r')", "to_marketo"),
    ("outcome_word('take_marketo', 'r')", "to_dynamics"),
    ("outcome_word('collision_dynamics_wins', 'r')", "dynamics_wins"),
    ("outcome_word('collision_marketo_wins', 'r')", "marketo_wins"),
    ("outcome_word('stand', 'r')", "nothing"),
]


@pytest.fixture(scope="module")
def known() -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    connection.execute("set timezone = 'UTC'")
    return connection


@pytest.mark.parametrize("values", [CANONICAL, TIMES, OF_OPTIONS, MISFITS, WORDS])
def test_a_shared_macro_makes_of_each_value_what_the_rules_rely_on(
    known: duckdb.DuckDBPyConnection, values: list[tuple[str, Any]]
) -> None:
    run_steps(known, ("warehouse/macros",))
    found = known.execute(f"select {', '.join(expression for expression, _ in values)}").fetchall()[0]
    assert [(expression, value) for (expression, _), value in zip(values, found, strict=True)] == values


def test_a_wide_table_becomes_rows_of_its_values_with_all_of_its_keys(known: duckdb.DuckDBPyConnection) -> None:
    run_steps(known, ("warehouse/macros",))
    keys = {"person_id": 1, "record_type": "lead", "dynamics_id": "L", "account_id": "A", "external_company_id": "C"}
    columns = ", ".join(f"{_literal(value)} as {name}" for name, value in keys.items())
    known.execute(f"create or replace temp table wide as select {columns}, 'Buyer' as title, null::varchar as city")
    found = known.execute(f"select {', '.join(keys)}, field, value from long_of('wide')").fetchall()
    assert found == [(*keys.values(), "title", "Buyer")]


SAID = {
    "not_writable": "the column is read only for the sync. Make it writable there, or give the field another direction in the "
    "field map; it is tried again then.",
    "too_long": "The text is longer than the 4 characters that the column holds, and nothing is ever cut (R117). Shorten it in "
    "Marketo; it is tried again then.",
    "out_of_range": "The value is outside of what the column takes: from -1 to 1. Correct it in Marketo; it is tried again "
    "then.",
    "wrong_type": "The value is not of the type that the column holds (integer in the field map). Correct it in Marketo; it is "
    "tried again then.",
    "required": "The value was emptied, and the column must have one. Enter a value in Marketo; it is tried again then.",
}


def test_each_misfit_has_a_sentence_that_says_what_to_do(known: duckdb.DuckDBPyConnection) -> None:
    run_steps(known, ("warehouse/macros",))

    def said(code: str, kind: str = "integer", least: str = "-1") -> str:
        sql = f"select misfit_sentence('{code}', '{kind}', 'the column', 'Marketo', 4, {least}, 1)"
        return str(known.execute(sql).fetchall()[0][0])

    assert {code: said(code) for code in SAID} == SAID
    assert "takes: to 1. " in said("out_of_range", least="null")
    for kind in ("date", "datetime"):
        assert "takes: from 1753 on. " in said("out_of_range", kind)
