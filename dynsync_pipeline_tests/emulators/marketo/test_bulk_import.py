"""Bulk import of people (docs/protocols/marketo.md#bulk-import)."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dynsync_pipeline.emulators.marketo.import_rows import FileUnusable, parse_file
from dynsync_pipeline_tests.emulators.marketo.conftest import Marketo, codes, until_done

IMPORT = "/bulk/v1/leads.json"


def send(marketo: Marketo, text: str | bytes, file_format: str = "csv", **params: object) -> dict[str, Any]:
    files = {"file": ("people.csv", text if isinstance(text, bytes) else text.encode())}
    return marketo.answer("POST", IMPORT, params={"format": file_format, **params}, files=files)


def finished(marketo: Marketo, answer: dict[str, Any]) -> dict[str, Any]:
    batch = answer["result"][0]["batchId"]
    return until_done(lambda: marketo.answer("GET", f"/bulk/v1/leads/batch/{batch}.json"))


def file_of(marketo: Marketo, status: dict[str, Any], name: str) -> list[list[str]]:
    text = marketo.http.get(f"/bulk/v1/leads/batch/{status['batchId']}/{name}.json").text
    return list(csv.reader(io.StringIO(text, newline="")))


def people(marketo: Marketo, *emails: str, fields: str = "email,firstName,leadScore") -> list[dict[str, Any]]:
    found = marketo.get("leads.json", filterType="email", filterValues=list(emails), fields=fields)["result"]
    return [{name: value for name, value in person.items() if name != "id"} for person in found]


def test_a_file_creates_and_updates_people_and_ends_complete(marketo: Marketo) -> None:
    marketo.create(email="a@example.com", firstName="Old", leadScore=3)
    text = 'email,firstName,leadScore\na@example.com,"New, with\nline",\nb@example.com,Bo,7\n'
    answer = send(marketo, text)
    assert answer["result"] == [{"batchId": 1, "importId": "1", "status": "Queued"}]
    assert finished(marketo, answer) == {
        "batchId": 1,
        "importId": "1",
        "status": "Complete",
        "numOfLeadsProcessed": 2,
        "numOfRowsFailed": 0,
        "numOfRowsWithWarning": 0,
        "message": "Import succeeded, 2 records imported",
    }
    assert people(marketo, "a@example.com", "b@example.com") == [
        {"email": "a@example.com", "firstName": "New, with\nline", "leadScore": 3},
        {"email": "b@example.com", "firstName": "Bo", "leadScore": 7},
    ]
    changes = marketo.feed("", marketo.cursor(), activityTypeIds="13")
    assert {"name": "Source", "value": "Bulk import: dynsync@api.example.com"} in changes[0]["attributes"]


@pytest.mark.parametrize(("file_format", "delimiter"), [("csv", ","), ("tsv", "\t"), ("ssv", ";")])
def test_the_format_decides_the_separator_and_may_come_as_a_form_part(
    marketo: Marketo, file_format: str, delimiter: str
) -> None:
    text = f"email{delimiter}firstName\na@example.com{delimiter}A\n"
    answer = marketo.answer("POST", IMPORT, data={"format": file_format}, files={"file": ("f", text)})
    assert finished(marketo, answer)["numOfLeadsProcessed"] == 1
    assert people(marketo, "a@example.com")[0]["firstName"] == "A"


def test_the_word_null_clears_and_an_empty_cell_leaves_alone(marketo: Marketo) -> None:
    marketo.create(email="a@example.com", firstName="A", leadScore=3)
    finished(marketo, send(marketo, "email,firstName,leadScore\na@example.com,null,\n"))
    assert people(marketo, "a@example.com") == [{"email": "a@example.com", "firstName": None, "leadScore": 3}]


def test_bad_rows_fail_alone_and_come_back_with_the_reason_and_bad_emails_are_warnings(marketo: Marketo) -> None:
    text = "email,leadScore\na@example.com,many\nbad,1\nb@example.com,2\nc@example.com\n"
    status = finished(marketo, send(marketo, text))
    counts = [status[name] for name in ("numOfLeadsProcessed", "numOfRowsFailed", "numOfRowsWithWarning")]
    assert counts == [2, 2, 1]
    assert file_of(marketo, status, "failures") == [
        ["email", "leadScore", "Import Failure Reason"],
        ["a@example.com", "many", "Invalid data type in field Person Score"],
        ["c@example.com", "The row has 1 columns instead of 2"],
    ]
    assert file_of(marketo, status, "warnings") == [
        ["email", "leadScore", "Import Warning Reason"],
        ["bad", "1", "Invalid email address in field Email Address"],
    ]
    assert people(marketo, "a@example.com", "b@example.com", "c@example.com") == [
        {"email": "b@example.com", "firstName": None, "leadScore": 2}
    ]


def test_lookup_by_id_updates_only(marketo: Marketo) -> None:
    person_id = marketo.create(email="a@example.com")
    status = finished(marketo, send(marketo, f"id,firstName\n{person_id},A\n999,B\n", lookupField="id"))
    assert (status["numOfLeadsProcessed"], status["numOfRowsFailed"]) == (1, 1)
    assert marketo.person(person_id)["firstName"] == "A"


def test_people_are_put_on_the_list_and_a_busy_list_answers_1019(start: Callable[..., Marketo]) -> None:
    marketo = start(time_scale=20.0)
    form = {"name": "Fair", "folder": '{"id":1,"type":"Folder"}'}
    list_id = marketo.answer("POST", "/rest/asset/v1/staticLists.json", data=form)["result"][0]["id"]
    text = "email\na@example.com\nb@example.com\na@example.com\n"
    answer = send(marketo, text, listId=list_id)
    assert codes(send(marketo, text, listId=list_id)) == ["1019"]
    assert finished(marketo, answer)["message"] == "Import succeeded, 3 records imported (2 members)"
    assert len(marketo.get(f"lists/{list_id}/leads.json")["result"]) == 2


def test_ten_imports_wait_and_the_next_answers_1016(start: Callable[..., Marketo]) -> None:
    marketo = start(time_scale=1.0)
    for _ in range(10):
        assert send(marketo, "email\na@example.com\n")["success"]
    assert send(marketo, "email\na@example.com\n")["errors"] == [{"code": "1016", "message": "Too many imports"}]
    (status,) = marketo.answer("GET", "/bulk/v1/leads/batch/1.json")["result"]
    assert status["status"] == "Queued"
    assert codes(marketo.answer("GET", "/bulk/v1/leads/batch/1/failures.json")) == ["1003"]


def test_a_batch_at_work_has_counts_already(start: Callable[..., Marketo]) -> None:
    marketo = start(time_scale=1.0)
    send(marketo, "email\na@example.com\n")
    with marketo.store.transaction() as db:
        # With a number of rows and a start to come, the emulator's own worker leaves it alone.
        db.execute("update import_jobs set status = 'Importing', started_at = queued_at + 3600, n_rows = 0")
    (status,) = marketo.answer("GET", "/bulk/v1/leads/batch/1.json")["result"]
    assert (status["status"], status["numOfLeadsProcessed"]) == ("Importing", 0)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\n\n",
        b"email\xff\na",
        "email,shoeSize\na@example.com,4\n",
        "firstName\nA\n",
        "email,email\na,b\n",
        "email,\na,b\n",
    ],
)
def test_a_file_that_cannot_be_imported_fails_with_a_sentence_and_writes_nothing(
    marketo: Marketo, content: bytes | str
) -> None:
    status = finished(marketo, send(marketo, content))
    assert status["status"] == "Failed"
    assert status["message"].startswith("Import failed: ")
    assert marketo.feed("", marketo.cursor(), activityTypeIds="12") == []


@pytest.mark.parametrize(
    ("params", "files", "code"),
    [
        ({}, {"file": ("f", b"email\n")}, "1002"),
        ({"format": "xml"}, {"file": ("f", b"email\n")}, "1003"),
        ({"format": "csv"}, {"other": ("f", b"email\n")}, "613"),
        ({"format": "csv", "lookupField": "city"}, {"file": ("f", b"email\n")}, "1011"),
        ({"format": "csv", "listId": "99"}, {"file": ("f", b"email\n")}, "1013"),
        ({"format": "csv", "listId": "x"}, {"file": ("f", b"email\n")}, "1001"),
        ({"format": "csv", "partitionName": "EMEA"}, {"file": ("f", b"email\n")}, "1008"),
    ],
)
def test_a_wrong_request_is_refused(marketo: Marketo, params: dict[str, str], files: dict[str, Any], code: str) -> None:
    assert codes(marketo.answer("POST", IMPORT, params=params, files=files)) == [code]


def test_malformed_multipart_is_613_ten_megabytes_are_taken_and_more_is_413(marketo: Marketo) -> None:
    broken = {"Content-Type": "multipart/form-data; boundary=x"}
    for body in (b"", b"--x\r\nnonsense", b"email\na@example.com\n"):
        answer = marketo.answer("POST", IMPORT, params={"format": "csv"}, content=body, headers=broken)
        assert codes(answer) == ["613"]
    no_boundary = {"Content-Type": "multipart/form-data"}
    answer = marketo.answer("POST", IMPORT, params={"format": "csv"}, content=b"x", headers=no_boundary)
    assert codes(answer) == ["613"]
    row = b"a@example.com," + b"x" * 986 + b"\n"
    assert send(marketo, b"email,mktoPersonNotes\n" + row * 10_000)["success"]
    large = {"file": ("f", b"email,mktoPersonNotes\n" + row * 10_500)}
    assert marketo.http.post(IMPORT, params={"format": "csv"}, files=large).status_code == 413


def test_a_batch_is_forgotten_after_a_week_and_unknown_to_others(marketo: Marketo) -> None:
    batch = finished(marketo, send(marketo, "email\na@example.com\n"))["batchId"]
    url = f"/bulk/v1/leads/batch/{batch}.json"
    assert codes(marketo.as_other().get(url).json()) == ["1013"]
    marketo.control("clock", ahead_s=7 * 86_400 + 60)
    marketo.sign_in(marketo.http)
    assert codes(marketo.answer("GET", url)) == ["1013"]


@given(st.binary(max_size=300))
def test_the_parser_reads_any_bytes_or_says_why_not(content: bytes) -> None:
    try:
        parsed = parse_file(content, ",")
    except FileUnusable as error:
        assert str(error)
    else:
        assert parsed.header
        assert len(set(parsed.header)) == len(parsed.header)


CELLS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)


@given(st.lists(st.lists(CELLS, min_size=2, max_size=2), max_size=6), st.sampled_from(",;\t"))
def test_the_parser_gives_back_what_a_csv_writer_wrote(rows: list[list[str]], delimiter: str) -> None:
    out = io.StringIO(newline="")
    lines = csv.writer(out, delimiter=delimiter)
    lines.writerow(["email", "firstName"])
    lines.writerows(rows)
    parsed = parse_file(out.getvalue().encode(), delimiter)
    assert parsed.header == ["email", "firstName"]
    assert parsed.rows == [row for row in rows if any(row)]


@settings(max_examples=25, deadline=None)
@example([["\r"], ["a@example.com", "\r\n", '"']])
@given(st.lists(st.lists(CELLS, max_size=3), max_size=4))
def test_hostile_cells_never_break_the_server_and_every_row_is_accounted_for(
    shared: Marketo, rows: list[list[str]]
) -> None:
    out = io.StringIO(newline="")
    lines = csv.writer(out)
    lines.writerow(["email", "firstName", "leadScore"])
    lines.writerows(rows)
    status = finished(shared, send(shared, out.getvalue()))
    assert status["status"] == "Complete"
    n_rows = len([line for line in csv.reader(io.StringIO(out.getvalue(), newline="")) if any(line)]) - 1
    assert status["numOfLeadsProcessed"] + status["numOfRowsFailed"] == n_rows
    assert len(file_of(shared, status, "failures")) == 1 + status["numOfRowsFailed"]
