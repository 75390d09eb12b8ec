"""One request, one answer: limits, retries, redaction, trust."""

from __future__ import annotations

import gzip
import logging
import socket
import ssl
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest
import stamina
import trustme

from dynsync_pipeline.clients import transport as transport_module
from dynsync_pipeline.clients.budget import CallBudget
from dynsync_pipeline.clients.transport import Reply, Request, Transport, redacted
from dynsync_pipeline.clients.trust import trust
from dynsync_pipeline.errors import (
    AnswerUnreadable,
    ApiError,
    BudgetSpent,
    RateLimited,
    ServerFailed,
    SettingsWrong,
    SignInRefused,
    TimedOut,
    Unreachable,
)
from dynsync_pipeline.settings import Settings
from dynsync_pipeline_tests.clients.servers import Canned, LocalServer, Seen, serving

MakeSettings = Callable[..., Settings]
LONGEST_S = 45  # what drips goes on for longer than that, and a machine may be busy


class FixedTokens:
    """Tokens `token-0`, `token-1`, …: the next one after each that was refused."""

    def __init__(self) -> None:
        self.n_forgotten = 0

    def current(self) -> str:
        return f"token-{self.n_forgotten}"

    def forget(self, token: str) -> None:
        assert token == self.current()
        self.n_forgotten += 1


def decoded(reply: Reply) -> bytes:
    """The body, or an error by status as a protocol module would raise it."""
    kinds: dict[int, type[ApiError]] = {401: SignInRefused, 429: RateLimited, 500: ServerFailed, 503: ServerFailed}
    if reply.status in kinds:
        raise kinds[reply.status](
            "refused", system="dynamics", request="GET /x", status=reply.status, retry_after_s=reply.retry_after_s
        )
    return reply.body


def get(server: LocalServer, path: str = "/x") -> Request:
    return Request("GET", server.url + path)


def write(server: LocalServer) -> Request:
    return Request("POST", server.url + "/x", {}, b"body", is_repeatable=False)


def test_a_body_that_drips_in_is_cut_at_the_total_limit(make_settings: MakeSettings) -> None:
    with (
        serving(lambda *_: Canned(body=b"x" * 1000, drip_s=0.05)) as server,
        Transport("dynamics", server.url, make_settings(request_timeout_s=0.5)) as transport,
    ):
        started = time.monotonic()
        with pytest.raises(TimedOut, match=r"no complete answer in 0\.5 s"):
            transport.send(get(server))
        assert 0.4 < time.monotonic() - started < LONGEST_S


def test_headers_that_drip_in_are_cut_at_the_total_limit(make_settings: MakeSettings) -> None:
    with (
        serving(lambda *_: Canned(drip_s=0.05), drips_headers=True) as server,
        Transport("dynamics", server.url, make_settings(request_timeout_s=0.5)) as transport,
    ):
        started = time.monotonic()
        with pytest.raises(TimedOut):
            transport.send(get(server))
        assert 0.4 < time.monotonic() - started < LONGEST_S


@pytest.mark.parametrize("n_bytes", [0, 3])
def test_a_connection_broken_before_the_end_of_the_answer_leaves_the_outcome_unknown(
    make_settings: MakeSettings, n_bytes: int
) -> None:
    with (
        serving(lambda *_: Canned(body=b"0123456789", stop_after_bytes=n_bytes)) as server,
        Transport("dynamics", server.url, make_settings()) as transport,
        pytest.raises(TimedOut, match="broke the connection"),
    ):
        transport.send(get(server))


def test_nothing_listening_is_unreachable_and_says_which_host(make_settings: MakeSettings) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, not listening
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with Transport("dynamics", url, make_settings()) as transport, pytest.raises(Unreachable) as raised:
            transport.send(Request("GET", url + "/x"))
    assert url.removeprefix("http://") in raised.value.message
    assert raised.value.retry_helps


def test_an_unknown_host_name_is_unreachable(make_settings: MakeSettings) -> None:
    url = "https://no-such-host.invalid"
    with (
        Transport("dynamics", url, make_settings()) as transport,
        pytest.raises(Unreachable, match=r"no-such-host\.invalid"),
    ):
        transport.send(Request("GET", url))


def test_a_certificate_of_an_unknown_authority_is_refused_at_once_and_the_setting_named(
    make_settings: MakeSettings, tmp_path: Path
) -> None:
    authority = trustme.CA()
    trust = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(trust)
    ca_file = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(ca_file))
    with serving(lambda *_: Canned(body=b"fine"), trust=trust) as server:
        with Transport("dynamics", server.url, make_settings()) as transport, pytest.raises(Unreachable) as raised:
            transport.call(get(server), decoded)
        assert "not trusted" in raised.value.message
        assert "DYNSYNC_CA_FILE" in raised.value.next_step
        assert not raised.value.retry_helps
        with Transport("dynamics", server.url, make_settings(ca_file=ca_file)) as transport:
            assert transport.send(get(server)).body == b"fine"


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_a_ca_file_that_cannot_be_used_is_a_sentence_about_the_setting(
    make_settings: MakeSettings, tmp_path: Path, content: str | None
) -> None:
    ca_file = tmp_path / "ca.pem"
    if content is not None:
        ca_file.write_text(content)
    with pytest.raises(SettingsWrong, match="DYNSYNC_CA_FILE"):
        Transport("dynamics", "https://example.com", make_settings(ca_file=ca_file))


def test_the_clock_is_the_systems_own_from_its_last_answer_on(make_settings: MakeSettings) -> None:
    headers = {"Date": "Tue, 01 Jan 2030 00:00:00 GMT"}
    with (
        serving(lambda *_: Canned(200, b"", headers)) as server,
        Transport("dynamics", server.url, make_settings()) as transport,
    ):
        assert transport.now().year < 2030
        transport.send(get(server))
        assert (transport.now().year, transport.now().utcoffset()) == (2030, timedelta())


def test_redirects_are_not_followed_and_cookies_not_kept(make_settings: MakeSettings) -> None:
    headers = {"Location": "/elsewhere", "Set-Cookie": "ARRAffinity=one; Path=/"}
    with (
        serving(lambda *_: Canned(302, b"", headers)) as server,
        Transport("dynamics", server.url, make_settings()) as transport,
    ):
        assert transport.send(get(server)).status == 302
        transport.send(get(server))
    assert [request.path for request in server.requests] == ["/x", "/x"]
    assert all("cookie" not in request.headers for request in server.requests)


def test_closing_ends_the_requests_of_other_threads(make_settings: MakeSettings) -> None:
    with serving(lambda *_: Canned(body=b"x" * 1000, drip_s=0.05)) as server, ThreadPoolExecutor() as pool:
        transport = Transport("dynamics", server.url, make_settings())
        waiting = pool.submit(transport.call, get(server), decoded)
        while not server.requests:
            time.sleep(0.01)
        transport.close()
        transport.close()
        with pytest.raises(TimedOut, match="closed"):
            waiting.result(timeout=LONGEST_S)


def test_no_token_goes_to_another_host(make_settings: MakeSettings) -> None:
    with (
        serving(lambda *_: Canned()) as server,
        Transport("dynamics", "https://org.example.com", make_settings(), tokens=FixedTokens()) as transport,
        pytest.raises(AnswerUnreadable, match="another host"),
    ):
        transport.call(get(server), decoded)
    assert server.requests == []


@pytest.mark.parametrize(
    "url",
    [
        "https://org.example.com.evil.example/x",
        "https://org.example.com@evil.example/x",
        "https://org.example.com:8443/x",
        "http://org.example.com/x",
        "/x",
        "https://[org.example.com/x",
        "https://org.example.com:port/x",
    ],
)
def test_a_link_that_only_looks_like_our_own_is_not(make_settings: MakeSettings, url: str) -> None:
    with Transport("dynamics", "https://org.example.com", make_settings()) as transport:
        assert not transport.is_own(url)
        assert transport.is_own("https://ORG.example.com:443/x?$skiptoken=1")


def test_an_answer_that_is_too_big_is_refused(make_settings: MakeSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport_module, "LARGEST_BODY_BYTES", 1000)
    bomb = Canned(body=gzip.compress(b"x" * 1_000_000), headers={"Content-Encoding": "gzip"})
    with (
        serving(lambda *_: bomb) as server,
        Transport("dynamics", server.url, make_settings()) as transport,
        pytest.raises(AnswerUnreadable, match="too big"),
    ):
        transport.send(get(server))


def test_a_garbled_compression_is_unreadable(make_settings: MakeSettings) -> None:
    with (
        serving(lambda *_: Canned(body=b"no gzip", headers={"Content-Encoding": "gzip"})) as server,
        Transport("dynamics", server.url, make_settings()) as transport,
        pytest.raises(AnswerUnreadable, match="garbled"),
    ):
        transport.send(get(server))


def test_a_refused_token_is_renewed_once_and_the_call_sent_again(make_settings: MakeSettings) -> None:
    def answer(request: Seen, _: int) -> Canned:
        return Canned(200 if request.headers["authorization"] == "Bearer token-1" else 401, b"ok")

    with serving(answer) as server:
        tokens, budget = FixedTokens(), CallBudget("dynamics", 100)
        with Transport("dynamics", server.url, make_settings(), budget=budget, tokens=tokens) as transport:
            assert transport.call(write(server), decoded) == b"ok"
    assert (tokens.n_forgotten, budget.used, len(server.requests)) == (1, 2, 2)


def test_a_fresh_token_that_is_refused_too_ends_the_call(make_settings: MakeSettings) -> None:
    with serving(lambda *_: Canned(401)) as server:
        with (
            Transport("dynamics", server.url, make_settings(), tokens=FixedTokens()) as transport,
            pytest.raises(SignInRefused),
        ):
            transport.call(get(server), decoded)
        assert len(server.requests) == 2


def test_a_read_is_repeated_after_a_cut_answer_a_write_is_not(make_settings: MakeSettings) -> None:
    def cut_first(_: Seen, n_earlier: int) -> Canned:
        return Canned(body=b"0123456789", stop_after_bytes=3 if n_earlier == 0 else None)

    with (
        serving(cut_first) as server,
        Transport("dynamics", server.url, make_settings()) as transport,
    ):
        assert transport.call(get(server), decoded) == b"0123456789"
        assert len(server.requests) == 2
    with serving(cut_first) as server:
        with Transport("dynamics", server.url, make_settings()) as transport, pytest.raises(TimedOut):
            transport.call(write(server), decoded)
        assert len(server.requests) == 1


def test_a_failed_server_is_asked_again_for_a_read_and_not_for_a_write(make_settings: MakeSettings) -> None:
    with serving(lambda _, n_earlier: Canned(503 if n_earlier < 2 else 200, b"ok")) as server:
        with Transport("dynamics", server.url, make_settings()) as transport:
            assert transport.call(get(server), decoded) == b"ok"
        assert len(server.requests) == 3
    with serving(lambda *_: Canned(503)) as server:
        with Transport("dynamics", server.url, make_settings()) as transport, pytest.raises(ServerFailed):
            transport.call(write(server), decoded)
        assert len(server.requests) == 1


def test_a_write_that_was_refused_for_its_rate_is_sent_again(make_settings: MakeSettings) -> None:
    with serving(lambda _, n_earlier: Canned(429 if n_earlier == 0 else 200, b"ok")) as server:
        with Transport("dynamics", server.url, make_settings()) as transport:
            assert transport.call(write(server), decoded) == b"ok"
        assert [request.body for request in server.requests] == [b"body", b"body"]


def test_retry_after_is_waited_for_in_full(make_settings: MakeSettings) -> None:
    """R128."""

    def answer(_: Seen, n_earlier: int) -> Canned:
        return Canned(429, b"", {"Retry-After": "1"}) if n_earlier == 0 else Canned(body=b"ok")

    with (
        stamina.set_testing(False),
        serving(answer) as server,
        Transport("dynamics", server.url, make_settings()) as transport,
    ):
        started = time.monotonic()
        assert transport.call(get(server), decoded) == b"ok"
        assert time.monotonic() - started >= 1


def test_a_wait_longer_than_the_retry_limit_is_not_cut_short_but_given_up(make_settings: MakeSettings) -> None:
    with serving(lambda *_: Canned(429, b"", {"Retry-After": "61"})) as server:
        with (
            stamina.set_testing(False),
            Transport("dynamics", server.url, make_settings(retry_limit_s=60)) as transport,
            pytest.raises(RateLimited) as raised,
        ):
            transport.call(get(server), decoded)
        assert raised.value.retry_after_s == 61
        assert "wait 61 s" in str(raised.value)
        assert "DYNSYNC_RETRY_LIMIT_S" in str(raised.value)
        assert len(server.requests) == 1


def test_a_write_that_may_not_be_repeated_tells_how_long_the_server_asks_to_wait_too(
    make_settings: MakeSettings,
) -> None:
    with (
        serving(lambda *_: Canned(503, b"", {"Retry-After": "7200"})) as server,
        Transport("dynamics", server.url, make_settings()) as transport,
        pytest.raises(ServerFailed, match=r"wait 7,200 s, longer than the 300 s of DYNSYNC_RETRY_LIMIT_S"),
    ):
        transport.call(write(server), decoded)


def test_a_retry_limit_of_zero_means_one_attempt(make_settings: MakeSettings) -> None:
    with serving(lambda *_: Canned(500)) as server:
        with (
            Transport("dynamics", server.url, make_settings(retry_limit_s=0)) as transport,
            pytest.raises(ServerFailed),
        ):
            transport.call(get(server), decoded)
        assert len(server.requests) == 1


def test_every_attempt_counts_against_the_budget_and_a_spent_one_is_not_retried(make_settings: MakeSettings) -> None:
    with serving(lambda *_: Canned(503)) as server:
        budget = CallBudget("dynamics", 2)
        with (
            Transport("dynamics", server.url, make_settings(), budget=budget) as transport,
            pytest.raises(BudgetSpent),
        ):
            transport.call(get(server), decoded)
        assert len(server.requests) == 2


def test_a_retry_is_announced_without_address_or_content(
    make_settings: MakeSettings, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    # Dagster sets the level of the package's loggers when it runs in the same process.
    caplog.set_level(logging.DEBUG, logger="dynsync_pipeline.clients.transport")
    with (
        serving(lambda _, n_earlier: Canned(503 if n_earlier == 0 else 200, b"ada@example.com")) as server,
        Transport("dynamics", server.url, make_settings(), tokens=FixedTokens()) as transport,
    ):
        transport.call(get(server, "/leads?filterValues=ada@example.com&client_secret=hush"), decoded)
    text = caplog.text + str([vars(record) for record in caplog.records])
    assert "GET /x: refused Trying again in 0.0 s." in text
    assert "GET /leads" in text
    assert all(secret not in text for secret in ("ada@example.com", "hush", "token-0"))
    ours = [record for record in caplog.records if hasattr(record, "seconds")]
    assert [record.__dict__["status"] for record in ours] == [503, 200]


def test_errors_and_requests_never_show_query_token_or_body(make_settings: MakeSettings) -> None:
    with (
        serving(lambda *_: Canned(stop_after_bytes=0)) as server,
        Transport("dynamics", server.url, make_settings(), tokens=FixedTokens()) as transport,
    ):
        request = Request("POST", server.url + "/userrealm/ada@example.com?secret=hush", {}, b"secret=hush")
        with pytest.raises(TimedOut) as raised:
            transport.call(request, decoded)
    shown = f"{raised.value} {raised.value.request} {request!r} {Reply(200, {}, b'hush')!r}"
    assert all(secret not in shown for secret in ("ada@example.com", "hush", "token-0"))


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("Lookup ada.lovelace+x@example.co.uk\r\nfailed", "Lookup … failed"),
        ("Bearer eyJ0eXAiOiJKV1QiLCJhbGciOiJSUzI1NiJ9.eyJhdWQi.sig", "Bearer …"),
        ("user/ada%40example.com", "user/…"),
        ("x" * 500, "x" * 300),
        ("a\x1b[2J\x9b31m\u202eb\u2028c\x00d", "a [2J 31m b c d"),
    ],
)
def test_a_vendors_text_is_made_fit_for_messages(said: str, shown: str) -> None:
    assert redacted(said) == shown


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("7", 7.0),
        ("0", 0.0),
        ("-3", 0.0),
        ("", None),
        ("soon", None),
        ("inf", None),
        ("nan", None),
        ("1e999", None),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0.0),
    ],
)
def test_both_forms_of_retry_after_are_understood(header: str, seconds: float | None) -> None:
    assert Reply(429, {"retry-after": header}, b"").retry_after_s == seconds


def test_the_proxy_of_the_environment_is_used(make_settings: MakeSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(lambda *_: Canned(body=b"by proxy")) as proxy:
        settings = make_settings()
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        with Transport("dynamics", "http://dynamics.test", settings) as transport:
            assert transport.send(Request("GET", "http://dynamics.test/x")).body == b"by proxy"
    assert proxy.requests[0].path == "http://dynamics.test/x"


def test_all_of_an_answer_that_has_come_is_read_at_once(make_settings: MakeSettings, tmp_path: Path) -> None:
    """TLS sends records of 16 KB; read one by one, a page of 5,000 rows goes through all layers 500 times."""
    authority, served = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(served)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    there, here = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = served.wrap_bio(there, here, server_side=True)
    client = trust(make_settings(ca_file=tmp_path / "ca.pem")).wrap_bio(here, there, server_hostname="127.0.0.1")
    for side in (client, server, client, server):
        with suppress(ssl.SSLWantReadError):
            side.do_handshake()
    body = bytes(range(256)) * 400
    server.write(body)
    assert [client.read(65_536), client.read(65_536)] == [body[:65_536], body[65_536:]]
    with pytest.raises(ssl.SSLWantReadError):
        client.read(65_536)
    server.write(b"the end")
    with suppress(ssl.SSLWantReadError):
        server.unwrap()
    assert [client.read(65_536), client.read(65_536)] == [b"the end", b""]
