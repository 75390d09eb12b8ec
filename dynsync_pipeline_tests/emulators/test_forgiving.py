"""What clients in many languages do to a request that means the same: dots, form encoding, compression, absolute lines."""

from __future__ import annotations

import gzip
import http.client
import json
from collections.abc import Iterator
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
    ],
)
def test_marketo_resolves_dots_in_the_path(emulators: Emulators, tokens: dict[str, str], line: str) -> None:
    status, answer = asked(tokens, emulators.marketo_url, line)
    assert (status, answer["success"]) == (200, True)


@pytest.mark.parametrize(
    "line",
    [
        "/api/../api/data/v9.2/./contacts?$top=1",
        "/api/data/v9.1/%2e%2e/v9.2/contacts?$top=1",
        "/api/data/v9.2/accounts/../contacts?$top=1",
        "http://anywhere.example/api/data/v9.2/contacts?$top=1",
    ],
)
def test_dataverse_resolves_dots_and_takes_a_whole_address(
    emulators: Emulators, tokens: dict[str, str], line: str
) -> None:
    status, answer = asked(tokens, emulators.dataverse_url, line)
    assert status == 200
    assert len(answer["value"]) == 1


def test_a_path_of_dots_leads_no_further_than_the_root(emulators: Emulators, tokens: dict[str, str]) -> None:
    assert asked(tokens, emulators.dataverse_url, "/api/data/v9.2/../../../../../etc/passwd")[0] == 404


def test_both_take_compressed_and_marked_bodies(emulators: Emulators, tokens: dict[str, str]) -> None:
    contact, person = b'{"lastname":"Zip"}', b'{"action":"createOnly","input":[{"email":"zip@example.com"}]}'
    json_type = {"Content_Type": "application/json"}
    zipped = {**json_type, "Content_Encoding": "gzip"}
    for body, headers in (
        (gzip.compress(contact), zipped),
        (b"\xef\xbb\xbf" + contact, json_type),
    ):
        assert asked(tokens, emulators.dataverse_url, "/api/data/v9.2/contacts", "POST", body, **headers)[0] == 204
    _, answer = asked(tokens, emulators.marketo_url, "/rest/v1/leads.json", "POST", gzip.compress(person), **zipped)
    assert answer["result"][0]["status"] == "created"


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
