"""Answers of Marketo: values or a named error, whatever the vendor leaves out."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from dynsync_pipeline import errors
from dynsync_pipeline.clients.marketo import answers
from dynsync_pipeline.clients.marketo.protocol import Activity, DeletedPerson, ExportStatus, FieldChange, MarketoField
from dynsync_pipeline.clients.transport import Reply
from dynsync_pipeline.model.records import UNREAD
from dynsync_pipeline_tests.reading.poison import POISON

REQUEST = "GET /rest/v1/x.json"
AT = datetime(2026, 1, 5, 8, 0, 1, tzinfo=UTC)


def reply(body: object, status: int = 200, **headers: str) -> Reply:
    return Reply(status, headers, body if isinstance(body, bytes) else json.dumps(body).encode())


def success(result: object = None, **more: object) -> answers.Envelope:
    body: dict[str, object] = {"requestId": "15e66#1743e0c68f1", "success": True, **more}
    if result is not None:
        body["result"] = result
    return answers.envelope(reply(body), REQUEST)


def failure(code: str, message: str = "no") -> Reply:
    return reply({"requestId": "1#2", "success": False, "errors": [{"code": code, "message": message}]})


@pytest.mark.parametrize(
    ("code", "message", "kind", "field"),
    [
        ("502", "Bad Gateway", errors.ServerFailed, None),
        ("601", "Access token invalid", errors.SignInRefused, None),
        ("602", "Access token expired", errors.SignInRefused, None),
        ("603", "Access denied", errors.AccessDenied, None),
        ("604", "Request timed out", errors.TimedOut, None),
        ("606", "Max rate limit '100' exceeded with in '20' secs", errors.RateLimited, None),
        ("607", "Daily API Request Limit Reached", errors.BudgetSpent, None),
        ("608", "API Temporarily Unavailable", errors.Unreachable, None),
        ("610", "Requested resource not found", errors.RequestRefused, None),
        ("611", "System error", errors.ServerFailed, None),
        ("614", "Invalid subscription", errors.ServerFailed, None),
        ("615", "Concurrent access limit '10' reached", errors.RateLimited, None),
        ("713", "Transient error", errors.ServerFailed, None),
        ("1003", "Invalid value for field 'email_field'", errors.RequestRefused, "email_field"),
        ("1004", "Lead not found", errors.RecordMissing, None),
        ("1005", "Lead already exists", errors.RecordExists, None),
        ("1006", "Field 'nope' not found", errors.ColumnUnknown, "nope"),
        ("1007", "Multiple lead match lookup criteria", errors.RecordExists, None),
        ("1018", "CRM Enabled", errors.RequestRefused, None),
        ("1029", "Too many jobs (10) in queue", errors.RequestRefused, None),
        ("1029", "Export daily quota 500MB exceeded.", errors.BudgetSpent, None),
    ],
)
def test_an_error_inside_a_200_is_named_by_its_code(
    code: str, message: str, kind: type[errors.ApiError], field: str | None
) -> None:
    """R127."""
    with pytest.raises(errors.ApiError) as raised:
        answers.envelope(failure(code, message), REQUEST)
    assert type(raised.value) is kind
    assert (raised.value.code, raised.value.request) == (code, REQUEST)
    assert raised.value.field == field


def test_a_failure_without_errors_is_still_a_failure() -> None:
    with pytest.raises(errors.RequestRefused, match="no reason given"):
        answers.envelope(reply({"success": False}), REQUEST)


@pytest.mark.parametrize("body", [b"", b'{"requestId":"1#2","success":tr', b"<html>sign in</html>", b"[]", b"{}"])
def test_half_an_answer_or_a_page_of_a_proxy_is_unreadable(body: bytes) -> None:
    with pytest.raises(errors.AnswerUnreadable):
        answers.envelope(reply(body), REQUEST)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (302, errors.AnswerUnreadable),
        (401, errors.AnswerUnreadable),
        (403, errors.AnswerUnreadable),
        (404, errors.RequestRefused),
        (413, errors.RequestRefused),
        (414, errors.RequestRefused),
        (429, errors.RateLimited),
        (503, errors.ServerFailed),
    ],
)
def test_a_status_that_is_not_marketos_own_is_named_by_itself(status: int, kind: type[errors.ApiError]) -> None:
    with pytest.raises(errors.ApiError) as raised:
        answers.envelope(reply(b"plain", status, **{"retry-after": "9"}), REQUEST)
    assert type(raised.value) is kind
    assert raised.value.retry_after_s == 9


def test_messages_show_no_address() -> None:
    with pytest.raises(errors.RequestRefused) as raised:
        answers.envelope(failure("1003", "Invalid value 'ada@example.com' for field 'email'"), REQUEST)
    assert "ada" not in str(raised.value)
    assert raised.value.field == "email"


def test_people_become_text_and_an_absent_field_is_null() -> None:
    answer = answers.envelope(
        reply(
            b'{"success":true,"result":[{"id":7,"firstName":"Zo\\u00eb","annualRevenue":123456789012345.6700,'
            b'"unsubscribed":false,"title":null},{"id":8}]}'
        ),
        REQUEST,
    )
    names = ("id", "firstName", "annualRevenue", "unsubscribed", "title")
    assert answers.text_rows(answer, names, REQUEST).to_pylist() == [
        {
            "id": "7",
            "firstName": "Zoë",
            "annualRevenue": "123456789012345.6700",
            "unsubscribed": "false",
            "title": None,
        },
        {"id": "8", "firstName": None, "annualRevenue": None, "unsubscribed": None, "title": None},
    ]


def test_a_value_that_is_no_single_value_is_unreadable() -> None:
    (row,) = answers.text_rows(success([{"id": [1]}]), ["id"], REQUEST).to_pylist()
    assert row == {"id": None, UNREAD: "record 1 of the answer: the value of id: it is no single value"}


def test_fields_that_rest_cannot_use_are_left_out() -> None:
    answer = success(
        [
            {"id": 53, "displayName": "First Name", "dataType": "string", "length": 255, "rest": {"name": "firstName"}},
            {"id": 130, "displayName": "At", "dataType": "datetime", "rest": {"name": "createdAt", "readOnly": True}},
            {"id": 9, "displayName": "SOAP only", "dataType": "string", "soap": {"name": "X", "readOnly": False}},
        ]
    )
    assert answers.person_fields(answer, REQUEST) == {
        "firstName": MarketoField("firstName", 53, "First Name", "string", 255, False),
        "createdAt": MarketoField("createdAt", 130, "At", "datetime", None, True),
    }


def test_company_fields_say_whether_they_can_be_written() -> None:
    fields = [{"name": "id", "displayName": "Id", "dataType": "integer", "updateable": False}]
    found = answers.company_fields(success([{"name": "company", "fields": fields}]), REQUEST)
    assert found == {"id": MarketoField("id", 0, "Id", "integer", None, True)}


def entry(type_id: int, **more: object) -> dict[str, Any]:
    known = {"id": 1, "marketoGUID": "g1", "leadId": 7, "activityDate": "2026-01-05T08:00:01Z"}
    return {**known, "activityTypeId": type_id, **more}


def changed(name: str, old: object, new: object) -> dict[str, object]:
    return {"id": 53, "name": name, "oldValue": old, "newValue": new}


def test_changes_come_one_per_wanted_field_and_new_people_with_none() -> None:
    answer = success(
        [
            entry(
                13,
                fields=[changed("title", None, "CEO"), changed("notAskedFor", "a", "b"), changed("ok", "false", True)],
            ),
            entry(12, marketoGUID="g2", fields=[]),
            entry(12, marketoGUID="g3", primaryAttributeValue="x"),
        ],
        nextPageToken="NEXT==",
        moreResult=False,
    )
    page = answers.feed_page(answer, REQUEST, read=answers.field_changes({"title", "ok"}), token="SENT==")
    assert page.items == [
        FieldChange("g1", 7, AT, "title", None, "CEO"),
        FieldChange("g1", 7, AT, "ok", "false", "true"),
        FieldChange("g2", 7, AT, None, None, None),
        FieldChange("g3", 7, AT, None, None, None),
    ]
    assert (page.token, page.is_last) == ("NEXT==", True)


def test_a_page_without_result_is_not_the_end_while_more_is_promised() -> None:
    answer = success(nextPageToken="NEXT==", moreResult=True)
    page = answers.feed_page(answer, REQUEST, read=answers.deleted_person, token="SENT==")
    assert (page.items, page.is_last) == ([], False)


@pytest.mark.parametrize("more", [{"nextPageToken": "SENT==", "moreResult": True}, {"moreResult": False}, {}])
def test_a_feed_that_would_never_end_or_lost_its_token_is_unreadable(more: dict[str, object]) -> None:
    with pytest.raises(errors.AnswerUnreadable):
        answers.feed_page(success([], **more), REQUEST, read=answers.deleted_person, token="SENT==")


@pytest.mark.parametrize("at", ["2026-01-05T08:00:01Z", "2026-01-05T08:00:01+0000", "2026-01-05T00:00:01-08:00"])
def test_every_form_of_time_becomes_utc(at: str) -> None:
    answer = success([entry(37, activityDate=at, primaryAttributeValue="Ada")], nextPageToken="N", moreResult=False)
    page = answers.feed_page(answer, REQUEST, read=answers.deleted_person, token="S")
    assert page.items == [DeletedPerson("g1", 7, AT)]
    assert page.items[0].at.tzinfo is UTC


def test_a_time_that_is_none_is_unreadable() -> None:
    answer = success([entry(37, activityDate="yesterday")], nextPageToken="N", moreResult=False)
    page = answers.feed_page(answer, REQUEST, read=answers.deleted_person, token="S")
    assert (page.items, page.unread_ids) == ([], (7,))


def test_activities_carry_their_attributes_as_text() -> None:
    attributes = [{"name": "Merge IDs", "value": "[8, 9]"}, {"name": "Score", "value": 5}, {"name": "None"}]
    answer = success(
        [entry(32, primaryAttributeValue=None, attributes=attributes)], nextPageToken="N", moreResult=False
    )
    page = answers.feed_page(answer, REQUEST, read=answers.activity, token="S")
    assert page.items == [Activity("g1", 7, AT, 32, None, {"Merge IDs": "[8, 9]", "Score": "5", "None": None})]


def test_each_record_of_a_write_has_its_own_result_in_order() -> None:
    answer = success(
        [
            {"id": 1141, "status": "updated"},
            {"status": "skipped", "reasons": [{"code": "1003", "message": "Invalid value for field 'age'"}]},
            {"seq": 2, "id": 5, "status": "created"},
            {"status": "skipped", "reasons": [{"code": "1004", "message": "Lead not found"}]},
            {"status": "skipped"},
        ]
    )
    found = answers.record_results(answer, 5, REQUEST)
    assert [(each.id, each.status) for each in found] == [
        (1141, "updated"),
        (None, "skipped"),
        (5, "created"),
        (None, "skipped"),
        (None, "skipped"),
    ]
    assert [type(each.error) for each in found] == [
        type(None),
        errors.RequestRefused,
        type(None),
        errors.RecordMissing,
        errors.RequestRefused,
    ]
    assert found[1].error is not None
    assert found[1].error.field == "age"


def test_a_write_with_fewer_results_than_records_is_unreadable() -> None:
    with pytest.raises(errors.AnswerUnreadable, match="1 results for 2 records"):
        answers.record_results(success([{"id": 1, "status": "updated"}]), 2, REQUEST)


def test_results_of_companies_go_by_their_own_places() -> None:
    told = [
        {"seq": 1, "status": "skipped", "reasons": [{"code": "1013", "message": "no"}]},
        {"seq": 0, "id": 7, "status": "updated"},
    ]
    first, second = answers.record_results(success(told), 2, REQUEST)
    assert (first.id, first.error, type(second.error)) == (7, None, errors.RecordMissing)
    with pytest.raises(errors.AnswerUnreadable, match="which record"):
        answers.record_results(success([told[0], told[0]]), 2, REQUEST)


def test_both_spellings_of_a_cancelled_export_are_one() -> None:
    answer = success(
        [
            {"exportId": "a", "status": "Canceled", "createdAt": "2026-01-05T08:00:01Z"},
            {"exportId": "b", "status": "Cancelled"},
            {
                "exportId": "c",
                "status": "Completed",
                "numberOfRecords": 120,
                "fileSize": 9876,
                "fileChecksum": "sha256:00",
            },
        ]
    )
    assert answers.export_jobs(answer, REQUEST) == {
        "a": ExportStatus("Cancelled", None, None, None),
        "b": ExportStatus("Cancelled", None, None, None),
        "c": ExportStatus("Completed", 120, 9876, "sha256:00"),
    }


@pytest.mark.parametrize("poison", POISON.values(), ids=POISON)
def test_a_refusal_whose_message_cannot_be_read_is_known_by_its_code(poison: bytes) -> None:
    body = failure("1003", "MARK").body.replace(b'"MARK"', poison)
    with pytest.raises(errors.RequestRefused) as refused:
        answers.envelope(Reply(200, {}, body), REQUEST)
    assert refused.value.code == "1003"
