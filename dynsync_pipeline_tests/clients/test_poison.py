"""Answers of which something cannot be read, byte by byte: what is told of the bad row, and that no other is lost (R116)."""

from __future__ import annotations

import json

import pytest

from dynsync_pipeline.clients.dynamics.protocol import Column, RowReader
from dynsync_pipeline.clients.marketo import answers
from dynsync_pipeline.clients.pages import PageSpoiled
from dynsync_pipeline.clients.pieces import elements, members
from dynsync_pipeline.clients.rows import Unreadable
from dynsync_pipeline.clients.transport import Reply
from dynsync_pipeline.errors import AnswerUnreadable
from dynsync_pipeline.model.field_map import FieldType
from dynsync_pipeline.model.records import TABLES, UNREAD, RecordType
from dynsync_pipeline_tests.reading.poison import POISON
from dynsync_pipeline_tests.worlds.rows import found as shown

CONTACTS = TABLES[RecordType.CONTACT]
COLUMNS = [Column("jobtitle", FieldType.TEXT), Column("revenue", FieldType.DECIMAL)]
ANY_POISON = pytest.mark.parametrize("poison", POISON.values(), ids=POISON)
LINK = "https://org.example.com/api/data/v9.2/contacts?$skiptoken=1"


def guid(number: int) -> str:
    return f"{number:08x}-0000-0000-0000-000000000000"


def page(*values: bytes, n_before: int = 2) -> bytes:
    """A page with these raw values of jobtitle, each in a row of its own after good rows, and a good row after them."""
    titles = [b'"ok"'] * n_before + [*values, b'"ok"']
    rows = [
        b'{"@odata.etag":"W/1","contactid":"%s","jobtitle":%s,"revenue":1}' % (guid(number).encode(), title)
        for number, title in enumerate(titles)
    ]
    return b'{"@odata.context":"$metadata#contacts","value":[%s],"@odata.nextLink":"%s"}' % (
        b",".join(rows),
        LINK.encode(),
    )


@ANY_POISON
def test_a_value_that_cannot_be_read_costs_its_row_alone_and_tells_its_id(poison: bytes) -> None:
    found = RowReader(CONTACTS, COLUMNS).read(page(poison))
    rows = shown(found).to_pylist()
    assert [(row["id"], row["jobtitle"]) for row in rows if row[UNREAD] is None] == [
        (guid(number), "ok") for number in (0, 1, 3)
    ]
    (bad,) = [row for row in rows if row[UNREAD] is not None]
    assert bad["id"] == guid(2)
    assert "jobtitle" in bad[UNREAD] or "JSON" in bad[UNREAD]
    assert "HA" not in bad[UNREAD]
    assert found.next_link == LINK


@ANY_POISON
def test_a_value_of_a_column_that_nobody_asked_for_costs_nothing_or_its_row(poison: bytes) -> None:
    body = page(b'"ok"').replace(b'"revenue":1', b'"revenue":1,"other":%s' % poison, 1)
    rows = shown(RowReader(CONTACTS, COLUMNS).read(body)).to_pylist()
    assert [row["id"] for row in rows if not row.get(UNREAD)][-3:] == [guid(n) for n in (1, 2, 3)]


@pytest.mark.parametrize("number", [b"1e400", b"-1e400", b"0.1e-400", b"1" * 400])
def test_a_number_beyond_all_machines_keeps_its_text(number: bytes) -> None:
    body = page(b'"ok"').replace(b'"revenue":1', b'"revenue":%s' % number, 1)
    assert shown(RowReader(CONTACTS, COLUMNS).read(body))["revenue"].to_pylist()[0] == number.decode()


def test_a_row_without_an_id_is_told_by_its_place() -> None:
    body = page(b'"ok"').replace(f'"contactid":"{guid(1)}",'.encode(), b"")
    rows = shown(RowReader(CONTACTS, COLUMNS).read(body)).to_pylist()
    assert rows[1]["id"] is None
    assert rows[1][UNREAD].startswith("row 2 of the answer:")
    assert len(rows) == 4


def test_an_id_in_another_text_of_the_row_is_not_taken_for_its_own() -> None:
    other = b'"see \\"contactid\\":\\"%s\\","' % guid(77).encode()
    rows = shown(RowReader(CONTACTS, COLUMNS).read(page(other[:-1] + b'\x01"'))).to_pylist()
    assert rows[2]["id"] == guid(2)


@pytest.mark.parametrize("cut", [60, 150, 300, -2])
def test_a_page_that_is_cut_or_swallowed_is_asked_for_again_in_smaller_ones(cut: int) -> None:
    for body in (page(b'"ok"')[:cut], page(b'"a " quote"')):
        with pytest.raises(PageSpoiled):
            RowReader(CONTACTS, COLUMNS).read(body)


def test_a_row_alone_that_cannot_be_cut_from_its_page_has_its_id_and_the_link() -> None:
    body = page(n_before=0).replace(b'"ok"', b'"a " quote"')
    found = RowReader(CONTACTS, COLUMNS).read_alone(body, is_tracked=True)
    assert (found.next_link, shown(found)["id"].to_pylist()) == (LINK, [guid(0)])
    for bad in (body[:100], page(b'"a " quote"')):  # no link; more rows than one
        with pytest.raises(Unreadable):
            RowReader(CONTACTS, COLUMNS).read_alone(bad, is_tracked=False)


def test_where_more_rows_are_bad_than_chance_brings_the_column_is_at_fault() -> None:
    with pytest.raises(Unreadable, match="jobtitle") as raised:
        RowReader(CONTACTS, COLUMNS).read(page(*[b"[]"] * 51))
    assert raised.value.column == "jobtitle"


def success(result: bytes, more: bytes = b"") -> answers.Envelope:
    return answers.envelope(
        Reply(200, {}, b'{"requestId":"1","success":true,"result":[%s]%s}' % (result, more)), "GET x"
    )


@ANY_POISON
def test_a_value_of_a_person_that_cannot_be_read_costs_that_person_alone(poison: bytes) -> None:
    people = b",".join(
        b'{"id":%d,"title":%s,"dynamicsContactId":"%s"}' % (number, title, guid(number).encode())
        for number, title in enumerate([b'"ok"', poison, b'"ok"'], start=1)
    )
    names = ["id", "title", "dynamicsContactId"]
    rows = answers.text_rows(success(people), names, "GET x").to_pylist()
    assert [row["id"] for row in rows] == ["1", "2", "3"]
    assert [row[UNREAD] is None for row in rows] == [True, False, True]
    assert rows[1]["dynamicsContactId"] == guid(2), "whose key it bears is told"
    assert "HA" not in rows[1][UNREAD]


@ANY_POISON
def test_an_entry_of_a_feed_that_cannot_be_read_costs_that_entry_and_tells_its_person(poison: bytes) -> None:
    entries = b",".join(
        b'{"marketoGUID":"g%d","leadId":%d,"activityDate":"2026-01-05T08:00:01Z","activityTypeId":13,'
        b'"fields":[{"name":"title","newValue":%s}]}' % (number, number, value)
        for number, value in enumerate([b'"ok"', poison, b'"ok"'], start=1)
    )
    answer = success(entries, b',"nextPageToken":"N","moreResult":false')
    found = answers.feed_page(answer, "GET x", read=answers.field_changes({"title"}), token="S")
    assert [item.person_id for item in found.items] == [1, 3]
    assert (found.unread_ids, found.token, found.is_last) == ((2,), "N", True)


def test_the_only_entry_of_a_page_that_cannot_be_cut_tells_its_person_and_where_to_go_on() -> None:
    body = (
        b'{"requestId":"1","success":true,"nextPageToken":"N==","moreResult":true,"result":[{"leadId":7,"x":"a " b"}]}'
    )
    found = answers.feed_page(
        answers.spoiled_feed(Reply(200, {}, body), "GET x"), "GET x", read=answers.activity, token="S"
    )
    assert (found.items, found.unread_ids, found.token, found.is_last) == ([], (7,), "N==", False)
    with pytest.raises(AnswerUnreadable, match="cut short"):
        answers.spoiled_feed(Reply(200, {}, body[:40]), "GET x")


def test_marketos_own_garbled_answer_sends_nobody_to_the_proxy() -> None:
    own = Reply(200, {}, b'{"requestId":"1","success":true,"result":[{"id":7,"title":"a " b"}]}')
    with pytest.raises(AnswerUnreadable) as raised:
        answers.envelope(own, "GET x")
    assert "proxy" not in str(raised.value)
    with pytest.raises(AnswerUnreadable, match="proxy"):
        answers.envelope(Reply(200, {}, b"<html>sign in</html>"), "GET x")


def test_pieces_are_what_stands_between_the_outermost_commas() -> None:
    values = [{"a": ",]}", "b": [1, {"c": "\\"}]}, "x", [], 1.5, None]
    assert [json.loads(piece) for piece in elements(json.dumps(values).encode())] == values
    members_ = {"a": "}", "b,": [1, 2], "c": {"d": '"'}}
    assert {k: json.loads(v) for k, v in members(json.dumps(members_).encode()).items()} == members_
    assert (elements(b" [ ] "), members(b"{}")) == ([], {})
    for bad in (b"", b"[", b"[1", b"[1]]", b'["]', b"{1}"):
        with pytest.raises(Unreadable):
            elements(bad)


@pytest.mark.parametrize("at", ["0001-01-01T00:00:00+01:00", "9999-12-31T23:59:59-01:00"])
def test_an_entry_of_a_feed_whose_time_is_off_the_calendar_costs_that_entry(at: str) -> None:
    entries = b",".join(
        b'{"marketoGUID":"g%d","leadId":%d,"activityDate":"%s","activityTypeId":37}' % (number, number, time.encode())
        for number, time in enumerate([at, "2026-01-05T08:00:01Z"], start=1)
    )
    answer = success(entries, b',"nextPageToken":"N","moreResult":false')
    found = answers.feed_page(answer, "GET x", read=answers.deleted_person, token="S")
    assert ([item.person_id for item in found.items], found.unread_ids) == ([2], (1,))
