"""What clients in many languages do to a request that means the same: dots, form encoding, compression, absolute lines."""

from __future__ import annotations

import gzip
import http.client
import json
import re
import socket
import zlib
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import httpx
import pytest

from dynsync_pipeline.emulators.running import Emulators

PAGE = "odata.maxpagesize=5"


@pytest.fixture(scope="module")
def emulators(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulators]:
    """Both over plain HTTP, with twelve contacts."""
    with Emulators(tmp_path_factory.mktemp("forgiving"), n_contacts=12, plain_http=True, time_scale=600) as running:
        yield running


@pytest.fixture(scope="module")
def tokens(emulators: Emulators) -> dict[str, str]:
    """Of a salesperson and of another tool, by address."""
    form = {
        "grant_type": "client_credentials",
        "client_id": emulators.marketo.other_client_id,
        "client_secret": emulators.marketo.other_client_secret,
    }
    answer = httpx.get(f"{emulators.marketo_url}/identity/oauth/token", params=form)
    return {
        emulators.dataverse_url: emulators.dataverse.sales_token(),
        emulators.marketo_url: answer.json()["access_token"],
    }


def asked(
    tokens: dict[str, str], url: str, line: str, verb: str = "GET", body: bytes | None = None, **headers: str
) -> tuple[int, Any]:
    """Status and body of a request whose line is sent as it stands, which httpx does not do."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=10)
    try:
        told = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(verb, line, body, {"Authorization": f"Bearer {tokens[url]}", **told})
        answer = connection.getresponse()
        text = answer.read()
        return answer.status, json.loads(text) if text else None
    finally:
        connection.close()


def form_encoded(link: str) -> str:
    """A link as a client passes it on that takes its query apart and encodes it as a form."""
    parts = urlsplit(link)
    return f"{parts.path}?{urlencode(parse_qsl(parts.query))}"


@pytest.mark.parametrize("preference", [PAGE, f"odata.track-changes,{PAGE}"])
@pytest.mark.parametrize(
    "query", ["$select=lastname", "$select=lastname&$filter=lastname ne 'a+b'", "sql=select contactid from contact"]
)
def test_pages_go_on_by_links_whose_query_was_encoded_as_a_form(
    emulators: Emulators, tokens: dict[str, str], query: str, preference: str
) -> None:
    if "track" in preference and query != "$select=lastname":
        return  # changes take no other option
    line = f"/api/data/v9.2/contacts?{urlencode(parse_qsl(query))}"
    found: list[str] = []
    for _ in range(3):
        status, page = asked(tokens, emulators.dataverse_url, line, Prefer=preference)
        assert status == 200, page
        found += [row["contactid"] for row in page["value"]]
        if "@odata.nextLink" not in page:
            break
        assert page["@odata.nextLink"].count("skiptoken") == 1
        line = form_encoded(page["@odata.nextLink"])
    assert len(found) == len(set(found)) == 12


@pytest.mark.parametrize(
    "line",
    [
        "/rest/../bulk/v1/leads/export.json",
        "/rest/v1/.././../bulk/v1/leads/export.json",
        "/rest/%2e%2E/bulk/v1/./leads/export.json",
        "/../bulk/v1/leads/export.json",
        "/bulk/v1/leads/export.json?status=Completed&x=/../y",
        "/bulk/v1/leads/export.json/",
        "/bulk//v1/leads/export.json?&&=&status=&status=Completed",
    ],
)
def test_marketo_resolves_dots_in_the_path_and_takes_a_slash_at_its_end(
    emulators: Emulators, tokens: dict[str, str], line: str
) -> None:
    status, answer = asked(tokens, emulators.marketo_url, line)
    assert (status, answer["success"]) == (200, True)


@pytest.mark.parametrize(
    "line",
    [
        "/api/../api/data/v9.2/./contacts?$top=1",
        "/api/data/v9.1/%2e%2e/v9.2/contacts?$top=1",
        "/api/data/v9.2/accounts/../contacts?$top=1",
        "http://anywhere.example/api/data/v9.2/contacts?$top=1",
        "HTTP://anywhere.example:99/API/Data/V9.2/contacts/?$top=1",
        "//api/data/v9.2//contacts?$top=1&&=&$select=&$orderby=&$expand=&other=1&other=2",
    ],
)
def test_dataverse_resolves_dots_and_takes_a_whole_address_in_any_case(
    emulators: Emulators, tokens: dict[str, str], line: str
) -> None:
    status, answer = asked(tokens, emulators.dataverse_url, line)
    assert status == 200
    assert len(answer["value"]) == 1


def test_a_path_of_dots_leads_no_further_than_the_root(emulators: Emulators, tokens: dict[str, str]) -> None:
    assert asked(tokens, emulators.dataverse_url, "/api/data/v9.2/../../../../../etc/passwd")[0] == 404


CONTACT, PERSON = (
    b'{"lastname":"Zip"}',
    b'{"action":"createDuplicate","lookupField":"email","input":[{"email":"z@example.com"}]}',
)
PACKED: list[tuple[str, Callable[[bytes], bytes]]] = [
    ("gzip", gzip.compress),
    ("X-GZIP", gzip.compress),
    ("deflate", zlib.compress),
    ("gzip, gzip", lambda body: gzip.compress(gzip.compress(body))),
    ("gzip", lambda body: gzip.compress(body[:5]) + gzip.compress(body[5:])),
    ("identity", lambda body: body),
    ("identity", lambda body: b"\xef\xbb\xbf" + body),
]


@pytest.mark.parametrize(("coding", "packed"), PACKED)
def test_both_take_compressed_and_marked_bodies(
    emulators: Emulators, tokens: dict[str, str], coding: str, packed: Callable[[bytes], bytes]
) -> None:
    headers = {"Content_Type": "application/json", "Content_Encoding": coding}
    for url, line, body, status in (
        (emulators.dataverse_url, "/api/data/v9.2/contacts", CONTACT, 204),
        (emulators.marketo_url, "/rest/v1/leads.json", PERSON, 200),
    ):
        found, answer = asked(tokens, url, line, "POST", packed(body), **headers)
        assert (found, answer is None or answer["success"]) == (status, True), answer


def test_a_part_of_a_batch_may_write_its_address_as_any_request_may(
    emulators: Emulators, tokens: dict[str, str]
) -> None:
    lines = [
        "/api/data/v9.2/accounts/../contacts?$top=1",
        "/API/data/v9.2/./contacts?$top=1",
        "http://anywhere.example/api/data/v9.1/%2e%2e/v9.2/contacts/?$filter=lastname+ne+'a%2Bb'&$top=1",
    ]
    part = "--b\r\nContent-Type: application/http\r\n\r\nGET {} HTTP/1.1\r\n\r\n\r\n"
    body = ("".join(part.format(line) for line in lines) + "--b--\r\n").encode()
    connection = http.client.HTTPConnection(urlsplit(emulators.dataverse_url).netloc, timeout=10)
    token = tokens[emulators.dataverse_url]
    headers = {"authorization": f"bearer {token}", "CONTENT-TYPE": "Multipart/Mixed;Boundary=b"}
    connection.request("POST", "/api/data/v9.2/$batch", body, headers)
    assert connection.getresponse().read().count(b"HTTP/1.1 200 OK") == len(lines)
    connection.close()


def spoken(url: str, *requests: bytes) -> list[int]:
    """The statuses of what one connection answers to requests sent one after the other, until it is closed."""
    with socket.create_connection((urlsplit(url).hostname, urlsplit(url).port), timeout=10) as connection:
        connection.sendall(b"".join(requests))
        answers = b"".join(iter(lambda: connection.recv(65536), b""))
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d+) [A-Z]", answers)]


def test_a_connection_goes_on_after_errors_chunks_and_expectations(
    emulators: Emulators, tokens: dict[str, str]
) -> None:
    def request(url: str, line: str, body: bytes = b"", **headers: str) -> bytes:
        told = {"host": "x", "AUTHORIZATION": f"BEARER {tokens[url]}", **headers}
        told = {name.replace("_", "-"): value for name, value in told.items()}
        if body and "TRANSFER-ENCODING" not in told:
            told["content-length"] = str(len(body))
        return (f"{line} HTTP/1.1\r\n" + "".join(f"{n}: {v}\r\n" for n, v in told.items()) + "\r\n").encode() + body

    def chunked(body: bytes) -> bytes:
        return (
            b"5;name=value\r\n" + body[:5] + b"\r\n%x\r\n" % len(body[5:]) + body[5:] + b"\r\n0\r\nTrailer: x\r\n\r\n"
        )

    json_type = {"content_type": "application/json"}
    dataverse, marketo = emulators.dataverse_url, emulators.marketo_url
    contacts, people = "POST /api/data/v9.2/contacts", "POST /rest/v1/leads.json"
    assert spoken(
        dataverse,
        request(dataverse, contacts, b"{nope", **json_type),
        request(dataverse, contacts, b"x" * 100_000, AUTHORIZATION="none"),
        request(dataverse, "HEAD /api/data/v9.2/WhoAmI"),
        request(dataverse, contacts, chunked(CONTACT), TRANSFER_ENCODING="Chunked", **json_type),
        request(
            dataverse, contacts, chunked(gzip.compress(CONTACT)), TRANSFER_ENCODING="chunked", Content_Encoding="gzip"
        ),
        request(dataverse, "GET /api/data/v9.2/contacts?$filter=" + "x" * 40_000),
        request(dataverse, "GET /api/data/v9.2/WhoAmI", connection="close"),
    ) == [400, 401, 405, 204, 204, 414, 200]
    assert spoken(
        marketo,
        request(marketo, people, b"x" * 2_000_000, **json_type),
        request(marketo, "GET /rest/v1/leads.json?x=" + "y" * 9_000),
        request(marketo, "HEAD /rest/v1/leads/describe.json"),
        request(marketo, people, chunked(PERSON), TRANSFER_ENCODING="chunked", **json_type),
        request(marketo, "GET /bulk/v1/leads/export/x/file.json"),
        request(marketo, "GET /rest/v1/leads/describe.json", connection="close"),
    ) == [413, 414, 200, 200, 404, 200]
    java = {
        "Connection": "Upgrade, HTTP2-Settings",
        "Upgrade": "h2c",
        "HTTP2-Settings": "AAEAAEAAAAIAAAAB",
        **json_type,
    }
    for url, line, body, status in ((dataverse, contacts, CONTACT, 204), (marketo, people, PERSON, 200)):
        upgrade, last = request(url, line, body, **java), request(url, line, body, connection="close", **json_type)
        assert spoken(url, upgrade, last) == [status, status]
        assert spoken(url, request(url, line, body, expect="100-Continue", connection="close", **json_type))[0] == 100


def test_marketo_answers_head_as_get_without_a_body(emulators: Emulators, tokens: dict[str, str]) -> None:
    line = f"{emulators.marketo_url}/rest/v1/leads/describe2.json"
    headers = {"Authorization": f"Bearer {tokens[emulators.marketo_url]}", "Accept-Encoding": "identity"}
    whole, head = httpx.get(line, headers=headers), httpx.head(line, headers=headers)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-type"] == whole.headers["content-type"]
    assert abs(int(head.headers["content-length"]) - int(whole.headers["content-length"])) < 5  # requestId differs


def test_a_body_that_is_not_what_it_is_called_is_refused_as_any_bad_body(
    emulators: Emulators, tokens: dict[str, str]
) -> None:
    bomb = gzip.compress(bytes(200 * 1024 * 1024), 1)
    for body in (b"this is no gzip", gzip.compress(b"{}")[:-9], bomb):
        status, _ = asked(
            tokens, emulators.dataverse_url, "/api/data/v9.2/contacts", "POST", body, Content_Encoding="gzip"
        )
        assert status in (400, 413)
    assert asked(tokens, emulators.dataverse_url, "/api/data/v9.2/WhoAmI")[0] == 200
