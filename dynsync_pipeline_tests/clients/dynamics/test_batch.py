"""`$batch`: what goes out, and one result per write from what comes back."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynsync_pipeline.clients.dynamics.batch import answer_parts, batch_body, batch_results
from dynsync_pipeline.clients.dynamics.protocol import Column, RecordWrite
from dynsync_pipeline.clients.transport import Reply
from dynsync_pipeline.errors import AnswerUnreadable, ChangedMeanwhile, RateLimited, RecordExists, TimedOut
from dynsync_pipeline.model.field_map import FieldType
from dynsync_pipeline.model.records import TABLES, RecordType

CONTACTS = TABLES[RecordType.CONTACT]
COLUMNS = (Column("firstname", FieldType.TEXT),)
A = "0a1b2c3d-0000-4000-8000-00000000000a"
B = "0a1b2c3d-0000-4000-8000-00000000000b"
WRITES = [RecordWrite(A.upper(), '{"firstname":"Zoë"}', 'W/"7"'), RecordWrite(B, "{}", None)]


def part(status: str, body: object = None, **headers: str) -> str:
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    text = "" if body is None else json.dumps(body)
    inner = "\r\n".join([f"HTTP/1.1 {status}", "Content-Type: application/json", *lines, "", text])
    return f"Content-Type: application/http\r\nContent-Transfer-Encoding: binary\r\n\r\n{inner}"


def answer(*parts: str, newline: str = "\r\n") -> Reply:
    text = "".join(f"--batchresponse_1\r\n{each}\r\n" for each in parts) + "--batchresponse_1--\r\n"
    headers = {"content-type": "multipart/mixed; boundary=batchresponse_1"}
    return Reply(200, headers, text.replace("\r\n", newline).encode())


def contact(record_id: str) -> dict[str, str]:
    return {"@odata.etag": 'W/"8"', "contactid": record_id, "firstname": "Zoë"}


def fault(code: str, message: str = "no") -> dict[str, dict[str, str]]:
    return {"error": {"code": code, "message": message}}


def test_the_body_asks_for_each_record_back_and_conditions_each_write() -> None:
    assert batch_body(CONTACTS, COLUMNS, WRITES, "batch_1").decode() == "\r\n".join(
        [
            "--batch_1",
            "Content-Type: application/http",
            "Content-Transfer-Encoding: binary",
            "",
            f"PATCH /api/data/v9.2/contacts({A})?$select=firstname HTTP/1.1",
            "Content-Type: application/json",
            "Accept: application/json",
            "Prefer: return=representation",
            'If-Match: W/"7"',
            "",
            '{"firstname":"Zoë"}',
            "--batch_1",
            "Content-Type: application/http",
            "Content-Transfer-Encoding: binary",
            "",
            f"PATCH /api/data/v9.2/contacts({B})?$select=firstname HTTP/1.1",
            "Content-Type: application/json",
            "Accept: application/json",
            "Prefer: return=representation",
            "If-None-Match: *",
            "MSCRM.SuppressDuplicateDetection: false",
            "",
            "{}",
            "--batch_1--",
            "",
        ]
    )


@pytest.mark.parametrize(
    "write", [RecordWrite("x)/evil", "{}", None), RecordWrite(A, "{}", 'W/"1"\r\nX: y'), RecordWrite(A, "{}", "a\nb")]
)
def test_nothing_can_be_smuggled_into_a_part(write: RecordWrite) -> None:
    with pytest.raises(ValueError, match=r"GUID|line break"):
        batch_body(CONTACTS, COLUMNS, [write], "b")


def test_more_writes_than_a_batch_holds_are_refused_before_sending() -> None:
    with pytest.raises(ValueError, match="1000"):
        batch_body(CONTACTS, COLUMNS, WRITES * 501, "b")


@pytest.mark.parametrize("newline", ["\r\n", "\n"])
def test_results_stand_in_the_order_of_the_writes(newline: str) -> None:
    reply = answer(part("200 OK", contact(A)), part("412 Precondition Failed", fault("0x80060892")), newline=newline)
    first, second = batch_results(reply, CONTACTS, COLUMNS, WRITES)
    assert first == (A.upper(), {"id": A, "etag": 'W/"8"', "firstname": "Zoë"}, None)
    assert second.row is None
    assert type(second.error) is RecordExists


def test_results_in_another_order_than_the_writes_leave_the_outcome_unknown() -> None:
    """Else an error would be taken for that of another record."""
    parts = [part("201 Created", contact(B)), part("412 Precondition Failed", fault("0x80060882"))]
    with pytest.raises(AnswerUnreadable, match="order"):
        batch_results(answer(*parts), CONTACTS, COLUMNS, WRITES)


def test_an_edit_in_between_and_a_slow_down_are_errors_of_their_part_alone() -> None:
    reply = answer(
        part("412 Precondition Failed", fault("0x80060882")),
        part("429 Too Many Requests", fault("0x80072322"), Retry_After="17"),
    )
    first, second = batch_results(reply, CONTACTS, COLUMNS, WRITES)
    assert type(first.error) is ChangedMeanwhile
    assert type(second.error) is RateLimited
    assert second.error.retry_after_s == 17


def test_a_write_that_is_not_shown_afterwards_is_reported_as_such() -> None:
    reply = answer(part("204 No Content"), part("201 Created", contact(B)))
    first, second = batch_results(reply, CONTACTS, COLUMNS, WRITES)
    assert type(first.error) is AnswerUnreadable
    assert second.error is None


def test_an_answer_cut_anywhere_leaves_the_outcome_unknown() -> None:
    whole = answer(part("200 OK", contact(A)), part("201 Created", contact(B)))
    end = whole.body.rindex(b"--\r\n")
    for length in range(end):
        cut = Reply(200, whole.headers, whole.body[:length])
        with pytest.raises(TimedOut):
            batch_results(cut, CONTACTS, COLUMNS, WRITES)


def test_an_answer_for_fewer_writes_leaves_the_outcome_unknown() -> None:
    with pytest.raises(TimedOut, match="1 of the 2"):
        batch_results(answer(part("200 OK", contact(A))), CONTACTS, COLUMNS, WRITES)


@pytest.mark.parametrize(
    "reply",
    [
        Reply(200, {"content-type": "multipart/mixed"}, b"--r\r\n"),
        answer(part("no status"), part("200 OK", contact(B))),
        answer("Content-Type: application/http\r\n\r\nnot HTTP", part("200 OK", contact(B))),
    ],
)
def test_an_answer_that_is_no_batch_leaves_the_outcome_unknown(reply: Reply) -> None:
    with pytest.raises(TimedOut):
        batch_results(reply, CONTACTS, COLUMNS, WRITES)


@given(names=st.lists(st.text(), min_size=2, max_size=2))
def test_any_value_survives_the_way_through_a_batch(names: list[str]) -> None:
    shown = [{**contact(A), "firstname": names[0]}, {**contact(B), "firstname": names[1]}]
    results = batch_results(answer(*(part("200 OK", each) for each in shown)), CONTACTS, COLUMNS, WRITES)
    assert [result.row and result.row["firstname"] for result in results] == names


def test_a_boundary_inside_a_value_does_not_split_a_part() -> None:
    parts = answer_parts(answer(part("200 OK", {**contact(A), "firstname": "x --batchresponse_1-- y"})))
    assert len(parts) == 1
    assert json.loads(parts[0].body)["firstname"] == "x --batchresponse_1-- y"
