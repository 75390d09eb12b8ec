"""What proves that a record does not exist, and what does not (R86)."""

from __future__ import annotations

import json

import pytest

from dynsync_pipeline.clients.dynamics.batch import read_results, reads_body
from dynsync_pipeline.clients.dynamics.protocol import Column, RowReader
from dynsync_pipeline.clients.dynamics.refusals import proves_absence
from dynsync_pipeline.clients.transport import Reply
from dynsync_pipeline.errors import AccessDenied, AnswerUnreadable
from dynsync_pipeline.model.field_map import FieldType
from dynsync_pipeline.model.records import TABLES, UNREAD, RecordType

ID, OTHER = "a0000000-0000-0000-0000-00000000000a", "b0000000-0000-0000-0000-00000000000b"
CONTACTS = TABLES[RecordType.CONTACT]
COLUMNS = [Column("jobtitle", FieldType.TEXT)]
GONE = f"Entity 'contact' With Id = {ID} Does Not Exist"


def fault(status: int, code: str, message: str) -> Reply:
    return Reply(status, {}, json.dumps({"error": {"code": code, "message": message}}).encode())


@pytest.mark.parametrize(
    "message", [GONE, GONE.replace("contact", "Contact"), GONE.upper(), f"contact With Id = {ID} Does Not Exist"]
)
def test_a_404_that_names_this_table_and_this_id_proves_absence(message: str) -> None:
    assert proves_absence(fault(404, "0x80040217", message), CONTACTS, ID)


@pytest.mark.parametrize(
    "reply",
    [
        fault(403, "0x80040220", "No right."),
        fault(403, "0x80040217", GONE),
        fault(400, "0x80040217", GONE),
        fault(404, "0x80060888", GONE),
        fault(404, "", GONE),
        fault(404, "0x80040217", GONE.replace(ID, OTHER)),
        fault(404, "0x80040217", GONE.replace("contact", "lead")),
        fault(404, "0x80040217", GONE.replace("contact", "systemuser")),
        fault(404, "0x80040217", f"{GONE}, says a plug-in"),
        fault(404, "0x80060891", "A record with the specified key values does not exist in contact entity"),
        fault(404, "0x80040217", ""),
        Reply(404, {}, b"<html>Not found</html>"),
        Reply(404, {}, b""),
        Reply(204, {}, b""),
        Reply(502, {}, b"{}"),
    ],
)
def test_any_other_answer_proves_nothing(reply: Reply) -> None:
    assert not proves_absence(reply, CONTACTS, ID)


def batch(*parts: Reply) -> Reply:
    body = "".join(
        f"--b\r\nContent-Type: application/http\r\n\r\nHTTP/1.1 {part.status} X\r\n\r\n{part.body.decode()}\r\n"
        for part in parts
    )
    return Reply(200, {"content-type": "multipart/mixed; boundary=b"}, f"{body}--b--\r\n".encode())


def row(record_id: str) -> Reply:
    return Reply(200, {}, json.dumps({"contactid": record_id, "@odata.etag": "W/1", "jobtitle": "A"}).encode())


def test_each_record_of_a_batch_is_judged_alone() -> None:
    ids = [f"{n}0000000-0000-0000-0000-000000000000" for n in range(5)]
    gone = fault(404, "0x80040217", GONE.replace(ID, ids[1]))
    answer = batch(row(ids[0]), gone, fault(403, "0x80040220", "No right."), row(ids[0]), Reply(200, {}, b""))
    looked = read_results(answer, CONTACTS, ids, RowReader(CONTACTS, COLUMNS))
    assert looked.rows.select(["id", UNREAD]).to_pylist() == [
        {"id": ids[0], UNREAD: None},
        {"id": ids[3], UNREAD: "another record was shown"},
        {"id": ids[4], UNREAD: "it is cut short or garbled"},
    ]
    assert looked.missing_ids == (ids[1],)
    assert {i: type(error) for i, error in looked.unproven.items()} == {ids[2]: AccessDenied}


def test_a_batch_that_is_cut_short_tells_nothing() -> None:
    with pytest.raises(AnswerUnreadable, match="1 of the 2 reads"):
        read_results(batch(row(ID)), CONTACTS, [ID, OTHER], RowReader(CONTACTS, COLUMNS))


def test_an_id_that_is_no_guid_is_never_sent() -> None:
    with pytest.raises(ValueError, match="not a GUID"):
        reads_body(CONTACTS, COLUMNS, ["x)?"], "b")
