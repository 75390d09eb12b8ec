"""Pages of Dataverse as tables of text: no digit lost, no absent column taken for null."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import partial
from types import FrameType
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynsync_pipeline.clients.dynamics.protocol import Column, RowReader, guid, records_query, select_of
from dynsync_pipeline.clients.pages import PageSpoiled
from dynsync_pipeline.clients.rows import Unreadable
from dynsync_pipeline.model.field_map import FieldType
from dynsync_pipeline.model.records import TABLES, UNREAD, RecordType
from dynsync_pipeline_tests.worlds.rows import found

CONTACTS = TABLES[RecordType.CONTACT]
COLUMNS = (
    Column("firstname", FieldType.TEXT),
    Column("annualincome", FieldType.DECIMAL),
    Column("numberofchildren", FieldType.INTEGER),
    Column("donotemail", FieldType.BOOLEAN),
    Column("statecode", FieldType.CHOICE),
    Column("birthdate", FieldType.DATE),
    Column("modifiedon", FieldType.DATETIME),
    Column("_parentcustomerid_value", FieldType.TEXT),
)
ID = "0a1b2c3d-0000-4000-8000-00000000abcd"
PAGE = rb"""{"@odata.context":"https://org.example.com/api/data/v9.2/$metadata#contacts(firstname)","@odata.deltaLink":
"https://org.example.com/api/data/v9.2/contacts?$select=firstname&$deltatoken=919042%2108%2f22%2f2017%2008%3a10%3a44",
"value":[{"@odata.etag":"W/\"1072301\"","contactid":"0A1B2C3D-0000-4000-8000-00000000ABCD",
"firstname":"Zo\u00eb \ud83c\udf0d","annualincome":123456789012345.6700,
"numberofchildren":0,"donotemail":false,"statecode":1,"birthdate":"1815-12-10",
"modifiedon":"2026-01-05T08:00:01Z","_parentcustomerid_value":null,"fullname":"not asked for"},
{"@odata.context":"https://org.example.com/api/data/v9.2/$metadata#contacts/$deletedEntity",
"id":"0A1B2C3D-0000-4000-8000-00000000FFFF","reason":"deleted"}]}"""


def page(**changed: object) -> bytes:
    """The one row of `PAGE`, some of its values changed, `...` for absent."""
    row = {**json.loads(PAGE)["value"][0], **changed}
    return json.dumps({"value": [{name: value for name, value in row.items() if value is not ...}]}).encode()


def test_a_page_keeps_every_digit_and_tells_deletions_apart() -> None:
    rows = RowReader(CONTACTS, COLUMNS).read(PAGE)
    assert found(rows).to_pylist() == [
        {
            "id": ID,
            "etag": 'W/"1072301"',
            "firstname": "Zoë 🌍",
            "annualincome": "123456789012345.6700",
            "numberofchildren": "0",
            "donotemail": "false",
            "statecode": "1",
            "birthdate": "1815-12-10",
            "modifiedon": "2026-01-05T08:00:01Z",
            "_parentcustomerid_value": None,
        }
    ]
    assert {str(column.type) for column in found(rows).schema} == {"string"}
    assert rows.deleted_ids == ("0a1b2c3d-0000-4000-8000-00000000ffff",)
    assert rows.next_link is None
    assert rows.delta_link is not None
    assert "%2f22%2f2017" in rows.delta_link  # followed byte for byte


def test_a_page_without_rows_has_no_table() -> None:
    rows = RowReader(CONTACTS, COLUMNS).read(b'{"value":[]}')
    assert (rows.rows, rows.n_rows) == (None, 0)


@pytest.mark.parametrize("column", [column.name for column in COLUMNS])
def test_an_explicit_null_is_null_in_every_type(column: str) -> None:
    assert found(RowReader(CONTACTS, COLUMNS).read(page(**{column: None})))[column].to_pylist() == [None]


@pytest.mark.parametrize("column", [*(column.name for column in COLUMNS), "contactid", "@odata.etag"])
def test_an_absent_column_is_an_error_and_never_a_null(column: str) -> None:
    """R49, R116."""
    (row,) = found(RowReader(CONTACTS, COLUMNS).read(page(**{column: ...}))).to_pylist()
    assert column in row[UNREAD]


@pytest.mark.parametrize(
    ("column", "value", "text"),
    [
        ("firstname", 12.50, "12.5"),
        ("birthdate", True, "true"),
        ("statecode", "1,3", "1,3"),
        ("annualincome", "7.10", "7.10"),
        ("donotemail", 1, "1"),
        ("statecode", True, "true"),
        ("numberofchildren", 1.0, "1.0"),
        ("numberofchildren", 2**70, str(2**70)),
    ],
)
def test_a_value_of_another_kind_than_the_field_map_says_keeps_its_text(column: str, value: object, text: str) -> None:
    assert found(RowReader(CONTACTS, COLUMNS).read(page(**{column: value})))[column].to_pylist() == [text]


@pytest.mark.parametrize("column", ["firstname", "statecode"])
def test_a_value_that_is_no_single_value_names_its_column_and_not_itself(column: str) -> None:
    (row,) = found(RowReader(CONTACTS, COLUMNS).read(page(**{column: ["ada@example.com"]}))).to_pylist()
    assert row[UNREAD] == f"the value of {column}: it is no single value"


@pytest.mark.parametrize("body", [b"", b"<html>", PAGE[:-20], b"[]", b'{"error":{}}', b'{"value":{}}', b"\xff\xfe"])
def test_half_a_page_or_a_page_of_something_else_is_never_read_as_rows(body: bytes) -> None:
    with pytest.raises((Unreadable, PageSpoiled)):
        RowReader(CONTACTS, COLUMNS).read(body)


def test_a_row_whose_key_is_no_guid_is_refused() -> None:
    with pytest.raises(Unreadable, match="contactid"):
        RowReader(CONTACTS, COLUMNS).read_one(json.dumps(json.loads(page(contactid="x"))["value"][0]).encode())


@given(text=st.text(), number=st.decimals(allow_nan=False, allow_infinity=False, places=4))
def test_any_text_and_any_number_arrive_as_they_were_sent(text: str, number: Decimal) -> None:
    body = page(firstname=text).replace(b'"annualincome": 123456789012345.67', f'"annualincome": {number:f}'.encode())
    (row,) = found(RowReader(CONTACTS, COLUMNS).read(body)).to_pylist()
    assert (row["firstname"], row["annualincome"]) == (text, f"{number:f}")


@given(count=st.one_of(st.integers(), st.none()), flag=st.one_of(st.booleans(), st.none()))
def test_any_whole_number_and_any_yes_or_no_arrive_as_they_were_sent(count: int | None, flag: bool | None) -> None:
    body = page(numberofchildren=count, donotemail=flag, statecode=count)
    (row,) = found(RowReader(CONTACTS, COLUMNS).read(body)).to_pylist()
    sent = None if count is None else str(count)
    assert (row["numberofchildren"], row["statecode"]) == (sent, sent)
    assert row["donotemail"] == (None if flag is None else str(flag).lower())


def test_queries_name_the_columns_and_quote_nothing_but_guids() -> None:
    assert select_of(COLUMNS[:2]) == "$select=firstname,annualincome"
    query = unquote(records_query(CONTACTS, COLUMNS[:1], [ID.upper(), ID.replace("a", "b")]))
    assert query.endswith(
        "&$filter=Microsoft.Dynamics.CRM.In(PropertyName='contactid',"
        'PropertyValues=["0a1b2c3d-0000-4000-8000-00000000abcd","0b1b2c3d-0000-4000-8000-00000000bbcd"])'
    )
    with pytest.raises(ValueError, match="GUID"):
        records_query(CONTACTS, COLUMNS, ["x') or (1 eq 1"])
    with pytest.raises(ValueError, match="GUID"):
        guid(ID + "\n")


def test_rows_are_decoded_together_and_not_one_by_one_in_python() -> None:
    columns = [
        Column(f"c{n}", (FieldType.TEXT, FieldType.TEXT, FieldType.DATETIME, FieldType.INTEGER)[n % 4])
        for n in range(30)
    ]
    row = {column.name: (n if column.type is FieldType.INTEGER else f"value {n}") for n, column in enumerate(columns)}
    reader = RowReader(CONTACTS, columns)
    assert python_calls(partial(reader.read, contacts(row, 5_000))) < 1_000


def contacts(row: Mapping[str, object], n_rows: int) -> bytes:
    """An answer of Dynamics with `n_rows` times the same contact."""
    return json.dumps({"value": [{"@odata.etag": 'W/"1"', "contactid": ID, **row}] * n_rows}).encode()


def python_calls(do: Callable[[], object]) -> int:
    """How many functions written in Python `do` calls in this thread."""
    calls = 0

    def count(_frame: FrameType, event: str, _argument: object) -> None:
        nonlocal calls
        calls += event == "call"

    sys.setprofile(count)
    try:
        do()
    finally:
        sys.setprofile(None)
    return calls
