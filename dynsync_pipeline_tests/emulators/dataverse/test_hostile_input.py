"""Bad input of every kind gets the vendor's error shape and leaves the state untouched."""

from __future__ import annotations

import json
import logging
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dynsync_pipeline.emulators.dataverse import batch as batches
from dynsync_pipeline.emulators.dataverse.errors import DataverseError
from dynsync_pipeline_tests.emulators.conftest import Host
from dynsync_pipeline_tests.emulators.dataverse.conftest import Dataverse, batch, error, part
from dynsync_pipeline_tests.properties.effort import story

FUZZ = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True
)
WORDS = [
    "lastname", "firstname", "statecode", "createdon", "contactid", "birthdate", "annualincome", "donotphone",
    "_parentcustomerid_value", "parentcustomerid_account/name", "eq", "ne", "gt", "and", "or", "not", "null", "true",
    "'x'", "'O''Neil'", "'%_[a-z]'", "5", "-1.5", "2026-01-01", "2026-01-01T00:00:00Z", "99999999999999999999",
    "00000000-0000-0000-0000-000000000001", "(", ")", ",", "contains(lastname,'a')", "startswith(", "@p1", "[", "]",
    "Microsoft.Dynamics.CRM.In(PropertyName='lastname',PropertyValues=[\"a\"])", "add", "/", "any(c:c/lastname eq 'x')",
    "contact_customer_contacts/", "'", '"', ";", "\x00", "é", "💥", "duration'P1D'", "in", "has", "--", "1=1",
]  # fmt: skip


@pytest.fixture(scope="module")
def shared(loopback_host: Host, template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dataverse]:
    """One emulator for all fuzzing, for nothing here may change it."""
    path = tmp_path_factory.mktemp("fuzz") / "dataverse.sqlite"
    path.write_bytes(template.read_bytes())
    running = Dataverse(loopback_host, path)
    running.create("contacts", lastname="Untouched", annualincome=5)
    yield running
    running.close()


@pytest.fixture
def fuzzed(shared: Dataverse, loopback_host: Host, caplog: pytest.LogCaptureFixture) -> Iterator[Dataverse]:
    """The shared emulator; at the end it must be as it was, without an error of its own in the log."""
    loopback_host.app = shared.app
    before = shared.http.get("contacts").text
    yield shared
    shared.http.post(f"{shared.url}/emulator/dataverse/limits", json={})
    assert shared.http.get("contacts").text == before
    assert [record.message for record in caplog.records if record.levelno >= logging.ERROR] == []


def refused_or_answered(answer: httpx.Response) -> None:
    """An answer is either a page or the vendor's error; never a defect of the emulator."""
    if answer.status_code != 200:
        status, code = error(answer)
        assert status in (400, 404, 414), answer.text
        assert code


@FUZZ
@given(words=st.lists(st.sampled_from(WORDS), max_size=9), glue=st.sampled_from([" ", "", "  "]))
def test_any_filter_is_answered_or_refused(fuzzed: Dataverse, words: list[str], glue: str) -> None:
    refused_or_answered(fuzzed.http.get("contacts", params={"$filter": glue.join(words)}))


@FUZZ
@given(text=st.text(max_size=60))
@story
def test_any_text_as_a_filter_order_selection_or_cursor_is_answered_or_refused(fuzzed: Dataverse, text: str) -> None:
    text = text.encode("utf-8", "replace").decode()
    for option in ("$filter", "$orderby", "$select", "$expand", "$skiptoken", "$deltatoken", "fetchXml"):
        refused_or_answered(fuzzed.http.get("contacts", params={option: text}))


@FUZZ
@given(text=st.text(max_size=40))
def test_any_literal_finds_only_what_equals_it(fuzzed: Dataverse, text: str) -> None:
    """Quotes, wildcards and control characters in a literal never break out of it."""
    quoted = text.encode("utf-8", "replace").decode().replace("'", "''")
    answer = fuzzed.http.get("contacts", params={"$filter": f"lastname eq '{quoted}' and statecode eq 0"})
    refused_or_answered(answer)
    assert answer.status_code != 200 or answer.json()["value"] == []


@FUZZ
@given(state=st.lists(st.one_of(st.none(), st.integers(), st.text(max_size=5), st.lists(st.integers())), max_size=4))
@story
def test_forged_cursors_are_answered_or_refused(fuzzed: Dataverse, state: list[Any]) -> None:
    inner = json.dumps(state).replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")
    cookie = f'<cookie page="1"><state value="{inner}"/></cookie>'
    for tracking in ("True", "False"):
        token = f'<cookie pagenumber="2" pagingcookie="{cookie}" istracking="{tracking}" />'
        for more in ({}, {"$orderby": "lastname"}, {"$deltatoken": "1000000!11/21/2026 00:00:00"}):
            refused_or_answered(fuzzed.http.get("contacts", params={**more, "$skiptoken": token}))


SQL = [
    "select", "from", "where", "group by", "order by", "offset", "top 5", "lastname", "contact", "account", "c", "c.", "on",
    "join", "left", "*", "count(", "count(*)", ")", ",", "=", "'x'", "'", "5", "and", "not", "in", "like", "is null", "as",
    "sqlite_master", "--", ";", "/*", "union", "pragma", "fold(", "load_extension(", "[", "]", "randomblob(", "\x00", "é",
]  # fmt: skip


@FUZZ
@given(words=st.lists(st.sampled_from(SQL), max_size=10), start=st.sampled_from(["", "select lastname from contact "]))
def test_any_sql_is_answered_or_refused(fuzzed: Dataverse, words: list[str], start: str) -> None:
    refused_or_answered(fuzzed.http.get("contacts", params={"sql": start + " ".join(words)}))


@pytest.mark.parametrize(
    "sql",
    [
        "select name from sqlite_master",
        "select value from setting",
        "select token from token",
        "select load_extension('x') from contact",
        "select lastname from contact where lastname = (select 'x')",
        "select lastname from contact union select 'x'",
        "delete from contact",
        "select * from contact",
        "select lastname from contact; drop table contact",
        "select lastname from contact, account",
        "select modifiedon from contact c join account a on a.accountid = c.parentcustomerid",
    ],
)
def test_sql_reaches_nothing_but_columns_of_tables(dataverse: Dataverse, sql: str) -> None:
    answer = dataverse.http.get("contacts", params={"sql": sql})
    if ", account" in sql:
        assert answer.json()["value"] == []
    else:
        assert error(answer)[0] == 400


@FUZZ
@given(
    pieces=st.lists(
        st.sampled_from(
            [
                b"--b", b"--b--", b"\r\n", b"\n", b"\r\n\r\n", b"Content-Type: application/http", b"Content-ID: 1",
                b"Content-Type: multipart/mixed; boundary=c", b"--c", b"--c--", b"PATCH contacts(1) HTTP/1.1",
                b"GET contacts HTTP/1.1", b"{", b"{}", b'{"lastname":"x"}', b":", b"\x00\xff", b"POST $batch HTTP/1.1",
            ]
        ),
        max_size=16,
    )
)  # fmt: skip
def test_any_batch_is_parsed_or_refused(pieces: list[bytes]) -> None:
    try:
        batches.parse("multipart/mixed; boundary=b", b"".join(pieces))
    except DataverseError as refused:
        assert refused.status == 400


@FUZZ
@given(body=st.binary(max_size=80))
def test_any_body_of_a_write_is_refused_or_makes_no_defect(fuzzed: Dataverse, body: bytes) -> None:
    missing = f"contacts({uuid.UUID(int=7)})"
    answer = fuzzed.http.patch(missing, content=body, headers={"If-Match": "*"})
    assert error(answer)[0] in (400, 404)


@story
@FUZZ
@given(
    value=st.recursive(
        st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=10)),
        lambda inner: st.one_of(st.lists(inner, max_size=2), st.dictionaries(st.text(max_size=5), inner, max_size=2)),
        max_leaves=4,
    ),
    column=st.sampled_from(
        [
            "lastname", "gendercode", "donotphone", "birthdate", "annualincome", "numberofchildren", "contactid",
            "mkt_lastinterestingmomentdate", "new_interests", "statuscode", "parentcustomerid_account@odata.bind",
            "parentcustomerid_account", "ownerid@odata.bind",
        ]
    ),
)  # fmt: skip
def test_any_value_in_a_write_is_refused_or_makes_no_defect(fuzzed: Dataverse, value: Any, column: str) -> None:
    missing = f"contacts({uuid.UUID(int=7)})"
    body = json.dumps({column: value}).encode()
    answer = fuzzed.http.patch(missing, content=body, headers={"If-Match": "*"})
    assert error(answer)[0] in (400, 404)
    good, headers = batch(part("POST", "contacts", json.dumps({column: value, "nothing": 1})))
    assert fuzzed.http.post("$batch", content=good, headers=headers).status_code in (400, 404)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("foos", 404),
        ("contacts/foo", 404),
        ("contacts(x)", 400),
        ("contacts()", 400),
        ("contacts(new_extid='a',b='c')", 400),
        ("contacts(new_extid='unterminated)", 400),
        ("Contacts", 404),
        ("EntityDefinitions(LogicalName='foo')", 404),
        ("EntityDefinitions(LogicalName='contact')/Foos", 404),
        ("EntityDefinitions(LogicalName='contact')/Attributes/Microsoft.Dynamics.CRM.FooAttributeMetadata", 404),
        ("contacts/$count/x", 404),
        ("RetrieveTotalRecordCount(EntityNames=['foo'])", 404),
        ("RetrieveTotalRecordCount", 400),
        ("WhoAmI/x", 404),
        ("contacts?$filter=lastname eq 5", 400),
        ("contacts?$filter=statecode eq 'x'", 400),
        ("contacts?$filter=tolower(lastname) eq 'x'", 400),
        ("contacts?$filter=length(lastname) eq 1", 400),
        ("contacts?$filter=lastname in ('a','b')", 400),
        ("contacts?$filter=lastname", 400),
        ("contacts?$top=-1", 400),
        ("contacts?$count=maybe", 400),
        ("contacts?$select=lastname&$select=firstname", 400),
        ("contacts?$expand=nothing", 400),
        ("contacts?$expand=masterid($filter=x", 400),
        ("contacts?savedQuery=x", 400),
    ],
)
def test_what_does_not_exist_is_refused_in_the_vendors_shape(dataverse: Dataverse, path: str, status: int) -> None:
    assert error(dataverse.http.get(path))[0] == status


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH"])
def test_verbs_that_do_not_fit_are_405(dataverse: Dataverse, method: str) -> None:
    assert error(dataverse.http.request(method, "contacts"))[0] == 405
    assert error(dataverse.http.request(method, "WhoAmI"))[0] == 405
    assert error(dataverse.http.post("WhoAmI"))[0] == 405


def test_urls_and_bodies_that_are_too_long_are_refused(dataverse: Dataverse) -> None:
    assert error(dataverse.http.get("contacts?$filter=" + "x" * 33_000))[0] == 414
    long_filter = " or ".join(f"lastname eq '{n}'" for n in range(700))
    assert dataverse.http.get("contacts", params={"$filter": long_filter}).status_code == 200
    nested = "(" * 3_000 + "lastname eq 'x'" + ")" * 3_000
    refused_or_answered(dataverse.http.get("contacts", params={"$filter": nested}))
    deep = "not " * 500 + "lastname eq 'x'"
    assert error(dataverse.http.get("contacts", params={"$filter": deep}))[0] == 400


def test_a_hostile_like_pattern_does_not_stall_the_server(dataverse: Dataverse) -> None:
    dataverse.create("contacts", description="a" * 2_000)
    pattern = "%a" * 400 + "b"
    answer = dataverse.http.get("contacts", params={"$filter": f"contains(description,'{pattern}')"})
    assert answer.json()["value"] == []


def test_deeply_nested_json_is_refused(dataverse: Dataverse) -> None:
    body = b'{"lastname":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    assert error(dataverse.http.post("contacts", content=body))[0] == 400
    assert dataverse.rows("contacts") == []


def test_other_api_versions_and_unknown_paths_are_404(dataverse: Dataverse) -> None:
    for path in ("/api/data/v1.0/contacts", "/api/data", "/", "/api/data/v9.2x/WhoAmI"):
        assert dataverse.http.get(f"{dataverse.url}{path}").status_code == 404
