"""Every error answer of Dataverse of docs/protocols/dataverse.md#errors becomes the named error with what a user needs."""

from __future__ import annotations

import json

import pytest

from dynsync_pipeline import errors
from dynsync_pipeline.clients.dynamics.refusals import proves_absence, refusal
from dynsync_pipeline.clients.transport import Reply
from dynsync_pipeline.model.records import TABLES, RecordType
from dynsync_pipeline_tests.reading.poison import POISON

ID = "0a1b2c3d-0000-4000-8000-00000000abcd"
OTHER = "ffffffff-0000-4000-8000-00000000abcd"


def answer(status: int, code: str, message: str, **headers: str) -> Reply:
    return Reply(status, headers, json.dumps({"error": {"code": code, "message": message}}).encode())


@pytest.mark.parametrize(
    ("status", "code", "message", "kind", "field"),
    [
        (410, "0x80044352", "Version stamp … has expired.", errors.CursorExpired, None),
        (400, "0x80044352", "Version stamp … has expired.", errors.CursorExpired, None),
        (400, "", "Version stamp associated with the client has expired.", errors.CursorExpired, None),
        (410, "", "Gone", errors.CursorExpired, None),
        (
            400,
            "0x80060888",
            "Could not find a property named 'nope' on type 'Microsoft.Dynamics.CRM.contact'.",
            errors.ColumnUnknown,
            "nope",
        ),
        (
            400,
            "0x80044331",
            "A validation error occurred.  The length of the 'jobtitle' attribute of the 'contact' entity exceeded the"
            " maximum allowed length of '100'.",
            errors.RequestRefused,
            "jobtitle",
        ),
        (
            400,
            "0x8004431a",
            "A validation error occurred. The value 9 of 'leadsourcecode' on record of type 'lead' is outside the valid"
            " range. Accepted Values: 1,2",
            errors.RequestRefused,
            "leadsourcecode",
        ),
        (
            400,
            "0x80044330",
            "A validation error occurred. The value of 'numberofchildren' on record of type 'contact' is outside the"
            " valid range.",
            errors.RequestRefused,
            "numberofchildren",
        ),
        (
            400,
            "0x80048d19",
            "An undeclared property 'ParentCustomerId' which only has property annotations in the payload but no"
            " property value was found",
            errors.ColumnUnknown,
            "parentcustomerid",
        ),
        (400, "0x80048d19", "Cannot convert the literal 'x' to the expected type.", errors.RequestRefused, None),
        (
            403,
            "0x8004F507",
            "Caller user with Id 1 does not have update permissions to a governmentid secured field on entity contact.",
            errors.ColumnUnknown,
            "governmentid",
        ),
        (403, "0x80040220", "Principal user is missing prvReadContact privilege", errors.AccessDenied, None),
        (403, "0x80072560", "The user is not a member of the organization.", errors.AccessDenied, None),
        (400, "0x80041d1f", "The user is disabled.", errors.AccessDenied, None),
        (403, "", "Forbidden", errors.AccessDenied, None),
        (401, "", "", errors.SignInRefused, None),
        (429, "0x80072322", "Number of requests exceeded the limit of 6000.", errors.RateLimited, None),
        (500, "0x80040216", "An unexpected error occurred.", errors.ServerFailed, None),
        (500, "0x80040333", "A duplicate already exists.", errors.RequestRefused, None),
        (412, "0x80060882", "The version of the existing record doesn't match.", errors.ChangedMeanwhile, None),
        (412, "0x80060892", "Entity Key violated.", errors.RequestRefused, None),
        (404, "0x80060888", "Resource not found for the segment 'foos'.", errors.RequestRefused, None),
        (400, "0x80072491", "Entity contact isn't enabled for change tracking.", errors.RequestRefused, None),
    ],
)
def test_the_code_decides_the_error(
    status: int, code: str, message: str, kind: type[errors.ApiError], field: str | None
) -> None:
    """R77."""
    error = refusal(answer(status, code, message), "PATCH /contacts")
    assert type(error) is kind
    assert (error.field, error.status, error.request, error.code) == (field, status, "PATCH /contacts", code.lower())


def test_a_404_is_a_missing_record_only_if_it_names_the_record_that_was_written() -> None:
    ours = answer(404, "0x80040217", f"Entity 'contact' With Id = {ID.upper()} Does Not Exist")
    target = answer(404, "0x80040217", f"Entity 'Account' With Id = {OTHER} Does Not Exist")
    assert type(refusal(ours, "PATCH /contacts", record_id=ID)) is errors.RecordMissing
    assert type(refusal(target, "PATCH /contacts", record_id=ID)) is errors.RequestRefused


def test_a_412_on_a_create_says_that_the_record_exists() -> None:
    exists = answer(412, "", "A record with matching key values already exists.")
    clash = answer(412, "0x80040237", "Cannot insert duplicate key.")
    assert type(refusal(exists, "PATCH /contacts", record_id=ID, is_create=True)) is errors.RecordExists
    assert type(refusal(clash, "PATCH /contacts", record_id=ID, is_create=True)) is errors.RecordExists


def test_a_gateways_page_is_unreadable_unless_its_status_says_more() -> None:
    def html(status: int) -> Reply:
        return Reply(status, {}, b"<html>")

    assert type(refusal(html(302), "GET /x")) is errors.AnswerUnreadable
    assert type(refusal(html(400), "GET /x")) is errors.AnswerUnreadable
    assert type(refusal(html(404), "GET /x")) is errors.RequestRefused
    assert type(refusal(html(413), "GET /x")) is errors.RequestRefused
    assert type(refusal(html(502), "GET /x")) is errors.ServerFailed


def test_messages_show_no_value_and_say_what_to_do() -> None:
    error = refusal(
        answer(400, "0x80048d19", "Cannot convert the literal 'ada@example.com 5' to 'Edm.Int32' for bob@example.com"),
        "PATCH /contacts",
    )
    assert "ada" not in str(error)
    assert "bob" not in str(error)
    assert "Edm.Int32" in str(error)
    assert "application user" in refusal(answer(403, "0x80072560", "x"), "GET /x").next_step


def test_the_wait_a_server_asks_for_is_kept() -> None:
    assert refusal(answer(429, "0x80072321", "slow", **{"retry-after": "17"}), "GET /x").retry_after_s == 17


@pytest.mark.parametrize("poison", POISON.values(), ids=POISON)
def test_a_refusal_whose_message_cannot_be_read_is_known_by_its_code(poison: bytes) -> None:
    """A system quotes what it was sent, and cuts it."""
    body = b'{"error":{"code":"0x80044331","message":%s}}' % poison
    found = refusal(Reply(400, {}, body), "PATCH contacts", record_id=ID)
    assert (type(found), found.code, found.field) == (errors.RequestRefused, "0x80044331", None)
    gone = Reply(404, {}, body.replace(b"0x80044331", b"0x80040217"))
    assert type(refusal(gone, "PATCH contacts", record_id=ID)) is errors.RecordMissing
    assert not proves_absence(gone, TABLES[RecordType.CONTACT], ID)
