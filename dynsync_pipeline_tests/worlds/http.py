"""A world to sync: both emulators, people who edit over HTTP, and the command line as a subprocess.

What DynSync did is observed from outside only: over HTTP, in the requests that reached the emulators, and in the snapshot.
Not here: what any rule says (the tests do).
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any, Self

import duckdb
import httpx

from dynsync_pipeline.emulators.running import Emulators
from dynsync_pipeline.look.reading import go_on
from dynsync_pipeline.model.field_map import default_map_text
from dynsync_pipeline.publish.status_file import MOVING, status_file
from dynsync_pipeline.settings import PREFIX, Settings
from dynsync_pipeline.warehouse.connection import Warehouse
from dynsync_pipeline.whole_cycle import run_cycle
from dynsync_pipeline_tests.worlds.bending import Bend, bent
from dynsync_pipeline_tests.worlds.cuts import SmallWarehouse
from dynsync_pipeline_tests.worlds.processes import Running, command

TIMEOUT_S = 60.0
DYNSYNC = Path(sys.executable).with_name("dynsync")
LOOKUP_FIELDS = {"contact": "dynamicsContactId", "lead": "dynamicsLeadId"}
_PATCHES = re.compile(r"PATCH \S*/\w+\(([0-9a-fA-F-]{36})\)\S* HTTP/1\.1\r\n(?:[^\r\n]+\r\n)*\r\n(.*)\r\n")


@dataclasses.dataclass(frozen=True)
class Write:
    """One value that a request of the sync asked a system to store; `record` is a Dynamics id, or a person's key."""

    system: str
    record: str
    field: str
    value: object


def let_pass(request: str, is_applied: bool) -> bool:
    """What `Watch.on_request` does unless a test wants otherwise."""
    return True


async def _wait_for_the_end(receive: Any) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


class Watch:
    """An ASGI application around an emulator: keeps the requests that arrive and the values they write.

    `on_request(request, is_applied)` is called with False when a request such as `GET /path` has arrived, and with True
    when it was applied and its answer not yet sent; where it returns False the request goes no further. `bends` change the
    bytes of answers on their way (`bending.py`).
    """

    def __init__(self, app: Any, system: str) -> None:
        self._app = app
        self._system = system
        self._lock = threading.Lock()
        self.writes: list[Write] = []
        self.on_request: Callable[[str, bool], bool] = let_pass
        self.paths: list[str] = []
        self.bends: list[Bend] = []

    def forget(self) -> None:
        """Begin anew."""
        with self._lock:
            self.writes.clear()
            self.paths.clear()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http" or dict(scope["headers"]).get(b"x-observer"):
            await self._app(scope, receive, send)
            return
        body = b""
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message.get("body", b"")
            more = message.get("more_body", False)
        request = f"{scope['method']} {scope['path']}"
        with self._lock:
            self.paths.append(request)
        if not self.on_request(request, False):
            await _wait_for_the_end(receive)
            return
        waiting = [{"type": "http.request", "body": body, "more_body": False}]

        async def replayed() -> Any:
            return waiting.pop() if waiting else await receive()

        answer: list[Any] = []

        async def keep(message: Any) -> None:
            answer.append(message)

        await self._app(scope, replayed, keep)
        with self._lock:
            self.writes += self._written(scope["method"], scope["path"], body)
        if not self.on_request(request, True):
            await _wait_for_the_end(receive)
            return
        for message in bent(answer, scope, self.bends):
            await send(message)

    def _written(self, method: str, path: str, body: bytes) -> list[Write]:
        # A long read is a form sent by POST; only JSON is a write.
        is_json = body.startswith(b"{")
        if self._system == "marketo" and is_json and path.endswith(("/leads.json", "/companies.json")):
            return [write for record in json.loads(body)["input"] for write in self._person(record)]
        if self._system == "dynamics" and path.endswith("/$batch"):
            return [
                Write("dynamics", found[1].lower(), column, value)
                for found in _PATCHES.finditer(body.decode())
                for column, value in json.loads(found[2]).items()
            ]
        if self._system == "dynamics" and method in ("POST", "PATCH", "DELETE") and "/api/" in path:
            return [Write("dynamics", path, method, body.decode())]
        return []

    def _person(self, record: dict[str, object]) -> list[Write]:
        keys = ("id", *LOOKUP_FIELDS.values(), "externalCompanyId")
        key = next(str(record[name]) for name in keys if record.get(name) is not None)
        return [Write("marketo", key, name, value) for name, value in record.items() if str(value) != key]


# Half of the default field map: what tests edit without caring which field it is, and one field of each type.
FEW = (
    *("company", "billingCity", "mainPhone", "annualRevenue", "industry"),
    *("firstName", "lastName", "email", "title", "phone", "city", "mktoPersonNotes", "dateOfBirth", "doNotCall"),
    *("unsubscribed", "leadScore", "leadSource", "leadStatus", "rating", "fax"),
)


def map_of(fields: Collection[str]) -> str:
    """The lines of the default field map with these Marketo fields, as CSV."""
    header, *lines = default_map_text().splitlines()
    return "\n".join([header, *(line for line in lines if line.split(",")[1] in fields)])


class HttpWorld:
    """Two systems, people who edit them, and a data folder. A context manager that ends all of it.

    `fields` are the Marketo fields that the map has, None: all of the default one. The cost of a cycle over few records
    follows their number. The marketer is another API user than DynSync, the salesperson another user than its application user.
    """

    def __init__(
        self,
        folder: Path,
        *,
        fields: Collection[str] | None = FEW,
        n_accounts: int = 0,
        n_contacts: int = 0,
        n_leads: int = 0,
        n_people: int = 0,
    ) -> None:
        self.folder = folder
        self.warehouse: type[Warehouse] = SmallWarehouse
        self.emulators = Emulators(
            folder / "emulators",
            time_scale=6_000,
            n_accounts=n_accounts,
            n_contacts=n_contacts,
            n_leads=n_leads,
            n_people=n_people,
        )
        self.dynamics = Watch(self.emulators.dataverse_faults._app, "dynamics")
        self.marketo = Watch(self.emulators.marketo_faults._app, "marketo")
        self.emulators.dataverse_faults._app = self.dynamics
        self.emulators.marketo_faults._app = self.marketo
        self._trust = ssl.create_default_context(cafile=self.emulators.tls.ca_file)
        self.sales = self.client(self.emulators.dataverse_url, self.emulators.environment["DATAVERSE_TOKEN"])
        self.control("marketo", "behaviour", {"calls_per_window": 1_000_000, "calls_per_day": 1_000_000})
        self.marketing = self.client(self.emulators.marketo_url, self._marketer_token())
        self._reader = duckdb.connect()
        self._reader_turn = threading.Lock()
        self.data_dir = folder / "data"
        yesterday = (datetime.now(UTC) - timedelta(days=1)).date()
        self.environment = {
            name: value for name, value in self.emulators.environment.items() if name.startswith("DYNSYNC_")
        } | {
            "DYNSYNC_DATA_DIR": str(self.data_dir),
            "DYNSYNC_MARKETO_OLDEST_PERSON": "2025-01-01" if n_people else yesterday.isoformat(),
            "DYNSYNC_MARKETO_POLL_S": "0.02",
            "DYNSYNC_MARKETO_CALLS_PER_20_S": "100000",
        }
        if fields is not None:
            (folder / "fields.csv").write_text(map_of(fields), "utf-8")
            self.environment["DYNSYNC_FIELD_MAP"] = str(folder / "fields.csv")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop the emulators; the folder stays."""
        self._reader.close()
        self.sales.close()
        self.marketing.close()
        self.emulators.stop()

    def client(self, url: str, token: str) -> httpx.Client:
        """A connection of somebody who is not DynSync, with their token."""
        headers = {"Authorization": f"Bearer {token}", "X-Observer": "1"}
        return httpx.Client(base_url=url, verify=self._trust, headers=headers, timeout=TIMEOUT_S, trust_env=False)

    def _marketer_token(self) -> str:
        store = self.emulators.marketo
        form = {
            "grant_type": "client_credentials",
            "client_id": store.other_client_id,
            "client_secret": store.other_client_secret,
        }
        with self.client(self.emulators.marketo_url, "none") as client:
            return str(client.post("/identity/oauth/token", data=form).json()["access_token"])

    def new_data_dir(self, name: str) -> None:
        """Forget what DynSync knows: from now on it works in another, empty folder."""
        self.data_dir = self.folder / name
        self.environment["DYNSYNC_DATA_DIR"] = str(self.data_dir)

    # -- what people do in Dynamics ------------------------------------------------------------------------------------

    def control(self, system: str, name: str, body: object) -> None:
        """Use a control endpoint of an emulator; `system` is `dataverse` or `marketo`."""
        client = self.sales if system == "dataverse" else None
        if client is None:
            with self.client(self.emulators.marketo_url, "none") as client:
                answer = client.post(f"/emulator/{system}/{name}", json=body)
        else:
            answer = client.post(f"/emulator/{system}/{name}", json=body)
        assert answer.status_code == 200, answer.text

    def create_record(self, record_type: str, **values: object) -> str:
        """A salesperson enters a record; returns its id."""
        answer = self.sales.post(f"/api/data/v9.2/{record_type}s", json=values)
        assert answer.status_code == 204, answer.text
        return str(answer.headers["OData-EntityId"][-37:-1]).lower()

    def edit_record(self, record_type: str, record_id: str, **values: object) -> None:
        """A salesperson changes a record."""
        answer = self.sales.patch(f"/api/data/v9.2/{record_type}s({record_id})", json=values, headers={"If-Match": "*"})
        assert answer.status_code == 204, answer.text

    def record(self, record_type: str, record_id: str) -> dict[str, Any]:
        """All columns of a record, as a salesperson reads them."""
        answer = self.sales.get(f"/api/data/v9.2/{record_type}s({record_id})")
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def records(self, record_type: str) -> list[dict[str, Any]]:
        """Id, row version and time of change of all records of a type."""
        answer = self.sales.get(
            f"/api/data/v9.2/{record_type}s", params={"$select": f"{record_type}id,versionnumber,modifiedon"}
        )
        assert answer.status_code == 200, answer.text
        return list(answer.json()["value"])

    # -- what people do in Marketo ---------------------------------------------------------------------------------------

    def answered(self, answer: httpx.Response) -> dict[str, Any]:
        """The body of an answer of Marketo that must be a success."""
        body = dict(answer.json())
        assert body["success"], body
        return body

    def create_person(self, **values: object) -> int:
        """A marketer enters a person; returns its id."""
        (result,) = self._sync_leads({"action": "createDuplicate", "input": [values]})
        return int(result["id"])

    def edit_person(self, person_id: int, **values: object) -> None:
        """A marketer changes a person."""
        self._sync_leads({"action": "updateOnly", "lookupField": "id", "input": [{"id": person_id, **values}]})

    def _sync_leads(self, body: dict[str, object]) -> list[dict[str, Any]]:
        results = self.answered(self.marketing.post("/rest/v1/leads.json", json=body))["result"]
        assert all(result["status"] in ("created", "updated") for result in results), results
        return list(results)

    def person(self, person_id: int, *fields: str) -> dict[str, Any]:
        """These fields of a person."""
        return self.people("id", str(person_id), *fields)[0]

    def people(self, filter_type: str, value: str, *fields: str) -> list[dict[str, Any]]:
        """These fields of the people who bear a value."""
        answer = self.marketing.get(
            "/rest/v1/leads.json",
            params={"filterType": filter_type, "filterValues": value, "fields": ",".join(("id", *fields))},
        )
        return list(self.answered(answer)["result"])

    def person_of(self, record_type: str, record_id: str) -> int:
        """The id of the one person who bears the key of a Dynamics record."""
        found = self.people(LOOKUP_FIELDS[record_type], record_id)
        assert len(found) == 1, f"{len(found)} people bear the key of one {record_type}"
        return int(found[0]["id"])

    def activities(self, since: datetime, *types: int) -> list[dict[str, Any]]:
        """What Marketo logged about people since then: 13 Change Data Value, 12 New Lead, 37 Delete Lead."""
        token = self.answered(
            self.marketing.get(
                "/rest/v1/activities/pagingtoken.json", params={"sinceDatetime": since.strftime("%Y-%m-%dT%H:%M:%SZ")}
            )
        )["nextPageToken"]
        found: list[dict[str, Any]] = []
        while True:
            page = self.answered(
                self.marketing.get(
                    "/rest/v1/activities.json",
                    params={"nextPageToken": token, "activityTypeIds": ",".join(map(str, types))},
                )
            )
            found += page.get("result", [])
            token = page["nextPageToken"]
            if not page["moreResult"]:
                return found

    # -- what DynSync does ---------------------------------------------------------------------------------------------

    def dynsync(self, *arguments: str, **other: str) -> subprocess.CompletedProcess[str]:
        """Run the command line in a process of its own; `other` settings replace those of this world."""
        return command(arguments, self.environment_with(**other), self.folder)

    def begin(self, *arguments: str, **other: str) -> Running:
        """As `dynsync`, and go on."""
        return Running(arguments, self.environment_with(**other), self.folder)

    def start(self, *arguments: str, **other: str) -> subprocess.Popen[str]:
        """Start the installed command, as a shell does, and go on. It takes seconds that `begin` does not."""
        return subprocess.Popen(
            [str(DYNSYNC), *arguments],
            env=self.environment_with(**other),
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def environment_with(self, **other: str) -> dict[str, str]:
        """The environment of a process: that of the tests without their settings, and this world's settings."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("DYNSYNC_", "COLUMNS"))}
        return kept | {"COLUMNS": "400"} | self.environment | other

    def sync(self) -> dict[str, Any]:
        """One cycle, quickly: in this process, its report as `dynsync sync --json` prints it."""
        return dataclasses.asdict(run_cycle(settings_from(self.environment), warehouse=self.warehouse))

    def query(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        """Rows of the snapshot, read as an analyst does, with what `status.json` has to add."""
        # Attaching a file takes a tenth of the time that a DuckDB of its own would.
        with self._reader_turn:
            path = str(self.data_dir / "snapshot.duckdb").replace("'", "''")
            self._reader.execute(f"attach '{path}' as snapshot (read_only)")
            try:
                self._reader.execute("use snapshot")
                if any(name in sql for name in MOVING):
                    go_on(self._reader, status_file(self.data_dir / "snapshot.duckdb"))
                return self._reader.execute(sql, list(values)).fetchall()
            finally:
                self._reader.execute("use memory")
                for name in MOVING:
                    self._reader.execute(f"drop table if exists temp.{name}")
                self._reader.execute("detach snapshot")

    @contextmanager
    def writes_nothing(self) -> Iterator[None]:
        """Fail if anything that happens inside is a write at one of the emulators, or moves a record's time of change."""
        before = self.marks()
        self.dynamics.forget()
        self.marketo.forget()
        yield
        written = self.dynamics.writes + self.marketo.writes
        assert not written, f"written without need: {written}"
        after = self.marks()
        moved = {kind: set(after[kind]) ^ set(before[kind]) for kind in after}
        assert not any(moved.values()), f"moved without need: {moved}"

    def marks(self) -> dict[str, list[tuple[Any, ...]]]:
        """What moves when anybody writes: row versions and times in Dynamics, times and the length of the log in Marketo."""
        marks: dict[str, list[tuple[Any, ...]]] = {}
        for record_type in ("account", "contact", "lead"):
            rows = self.records(record_type)
            marks[record_type] = sorted(
                (row[f"{record_type}id"], row["versionnumber"], row["modifiedon"]) for row in rows
            )
        store = self.emulators.marketo
        with store.lock:
            marks["person"] = store.db.execute("select id, updatedAt from people order by id").fetchall()
            marks["activity"] = store.db.execute("select count(*), max(position) from activities").fetchall()
        return marks


def settings_from(environment: dict[str, str]) -> Settings:
    """The settings that a process with this environment would read."""
    return _settings(frozenset(item for item in environment.items() if item[0].startswith(PREFIX)))


@lru_cache
def _settings(environment: frozenset[tuple[str, str]]) -> Settings:
    """A tenth of a cycle without changes, and the same in every cycle of a world."""
    values = {name.removeprefix(PREFIX).lower(): value for name, value in environment}
    return Settings(**values)
