"""A running Marketo emulator on a free port, and a client that speaks to it over real HTTP."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn

from dynsync_pipeline.emulators.marketo import lead_sync
from dynsync_pipeline.emulators.marketo.app import build_app
from dynsync_pipeline.emulators.marketo.store import Store

LONGEST_S = 60  # for what a thread of the emulator does in milliseconds; a machine may be busy


class Host:
    """One HTTP server in a thread for all tests; the emulator behind it is exchanged, which is faster than starting."""

    def __init__(self) -> None:
        self.app: Any = None
        self._server = uvicorn.Server(
            uvicorn.Config(self._serve, host="127.0.0.1", port=0, interface="asgi3", log_level="warning")
        )
        self._thread = threading.Thread(target=self._server.run)
        self._thread.start()
        while not self._server.started:
            time.sleep(0.001)
        port = self._server.servers[0].sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"

    async def _serve(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            await self.app(scope, receive, send)

    def close(self) -> None:
        """End the server."""
        self._server.should_exit = True
        self._thread.join()


@contextmanager
def counted_steps(store: Store) -> Iterator[list[None]]:
    """A list that gets one more entry with each thousand steps that SQLite takes for `store` inside the block."""
    steps: list[None] = []
    store.db.set_progress_handler(lambda: steps.append(None), 1000)
    try:
        yield steps
    finally:
        store.db.set_progress_handler(None, 0)


class Marketo:
    """An emulator over the file `path`, behind `host`, and a signed-in client."""

    def __init__(self, host: Host, path: Path, *, time_scale: float = 1000.0, seed: int = 0) -> None:
        self.store = Store(path, time_scale=time_scale, seed=seed)
        host.app = build_app(self.store)
        self.http = httpx.Client(base_url=host.url, timeout=30, verify=False)  # without loading authorities: plain http
        self.sign_in(self.http)

    def close(self) -> None:
        """End the emulator; its file stays."""
        self.http.close()
        self.store.close()

    def sign_in(self, http: httpx.Client, *, other: bool = False) -> None:
        """Give `http` the token of the first API user, or of the other one."""
        store = self.store
        http.headers["Authorization"] = f"Bearer {self.token(other=other)['access_token']}"
        assert store.client_id != store.other_client_id

    def token(self, *, other: bool = False) -> dict[str, Any]:
        """The answer of the identity endpoint."""
        store = self.store
        client = (store.other_client_id, store.other_client_secret) if other else (store.client_id, store.client_secret)
        form = {"grant_type": "client_credentials", "client_id": client[0], "client_secret": client[1]}
        return dict(self.http.post("/identity/oauth/token", data=form).json())

    def identity(self, verb: str, form: dict[str, str], *, in_query: bool) -> httpx.Response:
        """What the identity endpoint answers to these parameters, in the query or in the body."""
        path = "/identity/oauth/token"
        return self.http.request(verb, path, params=form) if in_query else self.http.request(verb, path, data=form)

    def as_other(self) -> httpx.Client:
        """A client signed in as the other API user."""
        http = httpx.Client(base_url=self.http.base_url, timeout=30, verify=False)
        self.sign_in(http, other=True)
        return http

    def get(self, path: str, **params: object) -> dict[str, Any]:
        """The JSON of a GET under /rest/v1, whatever it says."""
        return self.answer("GET", f"/rest/v1/{path}", params=params)

    def post(self, path: str, body: object = None, **params: object) -> dict[str, Any]:
        """The JSON of a POST under /rest/v1, whatever it says."""
        return self.answer("POST", f"/rest/v1/{path}", json=body, params=params)

    def answer(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        """The JSON of any call; asserts HTTP 200."""
        response = self.http.request(method, path, **options)
        assert response.status_code == 200, (response.status_code, response.text)
        return dict(response.json())

    def sync(self, *records: Mapping[str, object], **options: object) -> list[dict[str, Any]]:
        """The per-record results of one Sync Leads call."""
        answer = self.post("leads.json", {"input": list(records), **options})
        assert answer["success"], answer
        return list(answer["result"])

    def create(self, **values: object) -> int:
        """The id of a new person."""
        (result,) = self.sync(values, action="createDuplicate")
        assert result["status"] == "created", result
        return int(result["id"])

    def person(self, person_id: int, *fields: str) -> dict[str, Any]:
        """One person with these fields or the default ones."""
        params = {"fields": ",".join(fields)} if fields else {}
        (person,) = self.get(f"lead/{person_id}.json", **params)["result"]
        return dict(person)

    def cursor(self, since: str = "2020-01-01T00:00:00Z") -> str:
        """A paging token for everything after `since`."""
        return str(self.get("activities/pagingtoken.json", sinceDatetime=since)["nextPageToken"])

    def end_of_log(self) -> str:
        """A paging token for everything that is logged from now on."""
        token, more = self.cursor(), True
        while more:
            page = self.get("activities.json", nextPageToken=token, activityTypeIds="12,13,22,24,25,32,37")
            token, more = page["nextPageToken"], page["moreResult"]
        return str(token)

    def feed(self, path: str, token: str, **params: object) -> list[dict[str, Any]]:
        """All entries of an activity feed from `token` on, following it as a client must."""
        found: list[dict[str, Any]] = []
        while True:
            page = self.get(f"activities{path}.json", nextPageToken=token, **params)
            assert page["success"], page
            found += page.get("result", [])
            token = page["nextPageToken"]
            if not page["moreResult"]:
                return found

    def control(self, name: str, /, **values: object) -> dict[str, Any]:
        """Use a control endpoint."""
        return self.answer("POST", f"/emulator/marketo/{name}", json=values)

    def wait_for(self, condition: str) -> None:
        """Wait until a query on the emulator's state says 1; the worker of bulk jobs has a thread of its own."""
        deadline = time.monotonic() + LONGEST_S
        while time.monotonic() < deadline:
            with self.store.lock:
                if self.store.db.execute(condition).fetchone()[0] == 1:
                    return
            time.sleep(0.005)
        raise AssertionError(condition)

    def export(self, kind: str, **request: object) -> tuple[dict[str, Any], str]:
        """A finished bulk extract: its last status and its file."""
        created = self.answer("POST", f"/bulk/v1/{kind}/export/create.json", json=request)
        assert created["success"], created
        job = f"/bulk/v1/{kind}/export/{created['result'][0]['exportId']}"
        assert self.answer("POST", f"{job}/enqueue.json")["success"]
        status = until_done(lambda: self.answer("GET", f"{job}/status.json"))
        return status, self.http.get(f"{job}/file.json").text

    def sync_at_once(self, records: list[dict[str, object]], *, n_admitted: int) -> list[dict[str, Any]]:
        """The answers of as many Sync Leads calls as there are records, all under way at once, of which some are let in.

        These go on to write when all of them have looked up their keys, and the others are answered.
        """
        self.control("behaviour", race_window_s=1.0)
        looked_up: list[None] = []
        may_write = threading.Event()

        def wait(_: float) -> None:
            looked_up.append(None)
            may_write.wait(LONGEST_S)

        n_refused = len(records) - n_admitted
        with pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor(len(records)) as callers:
            patch.setattr(lead_sync, "sleep", wait)
            calls = [callers.submit(self.post, "leads.json", {"input": [record]}) for record in records]
            while len(looked_up) < n_admitted or sum(call.done() for call in calls) < n_refused:
                time.sleep(0.005)
            may_write.set()
            return [call.result() for call in calls]


def until_done(ask: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What the status of a bulk job is at its end."""
    while True:
        (status,) = ask()["result"]
        if status["status"] in ("Complete", "Completed", "Failed", "Cancelled"):
            return dict(status)
        time.sleep(0.02)


def codes(answer: dict[str, Any]) -> list[str]:
    """The codes of a refused call."""
    assert answer["success"] is False
    assert "result" not in answer
    return [error["code"] for error in answer["errors"]]


def reasons(result: dict[str, Any]) -> list[str]:
    """The codes of a skipped record."""
    assert result["status"] == "skipped"
    return [reason["code"] for reason in result["reasons"]]


@pytest.fixture(scope="session")
def host() -> Iterator[Host]:
    """The HTTP server of all tests here."""
    running = Host()
    yield running
    running.close()


@pytest.fixture
def start(tmp_path: Path, host: Host) -> Iterator[Callable[..., Marketo]]:
    """Starts the emulator with chosen options, anew over the same file when called again."""
    running: list[Marketo] = []

    def start_one(**options: Any) -> Marketo:
        if running:
            running.pop().close()
        running.append(Marketo(host, tmp_path / "marketo.sqlite", **options))
        return running[0]

    yield start_one
    if running:
        running.pop().close()


@pytest.fixture
def marketo(start: Callable[..., Marketo]) -> Marketo:
    """An empty subscription whose minutes pass in milliseconds and whose limits are out of the way."""
    emulator = start()
    emulator.control("behaviour", calls_per_window=1_000_000)
    return emulator


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Marketo]:
    """One emulator for all examples of a property test, behind a server of its own."""
    own_host = Host()
    emulator = Marketo(own_host, tmp_path_factory.mktemp("shared") / "marketo.sqlite")
    emulator.control("behaviour", calls_per_window=1_000_000)
    yield emulator
    emulator.close()
    own_host.close()
