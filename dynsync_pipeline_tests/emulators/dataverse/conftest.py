"""A Dataverse emulator per test over a copied file, and clients that speak to it over real HTTP."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from dynsync_pipeline.emulators.dataverse.app import build_app
from dynsync_pipeline.emulators.dataverse.store import Store
from dynsync_pipeline_tests.emulators.conftest import Host

API = "/api/data/v9.2/"
ALL_ANNOTATIONS = {"Prefer": 'odata.include-annotations="*"'}
REPRESENTATION = {"Prefer": "return=representation"}


class Dataverse:
    """An emulator behind `host`; `http` is signed in as the application user, `sales` as the salesperson."""

    def __init__(self, host: Host, path: Path) -> None:
        self.store = Store(path, time_scale=60.0)
        self.app = host.app = build_app(self.store)
        self.url = host.url
        self.root = host.url + API
        self.http = self.client(self.store.new_token(self.store.sync_user_id))
        self.sales = self.client(self.store.sales_token())

    def client(self, token: str | None) -> httpx.Client:
        """A client with a bearer token."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return httpx.Client(base_url=self.root, headers=headers, timeout=30, verify=False)

    def close(self) -> None:
        """End the emulator."""
        self.http.close()
        self.sales.close()
        self.store.close()

    def create(self, entity_set: str, **values: Any) -> str:
        """Create a row as the application user and return its id."""
        answer = self.http.post(entity_set, json=values)
        assert answer.status_code == 204, answer.text
        return answer.headers["OData-EntityId"][-37:-1]

    def rows(self, url: str, **headers: str) -> list[dict[str, Any]]:
        """The rows of a collection, its first page only."""
        answer = self.http.get(url, headers=headers)
        assert answer.status_code == 200, answer.text
        return list(answer.json()["value"])

    def row(self, url: str, **headers: str) -> dict[str, Any]:
        """One row."""
        answer = self.http.get(url, headers=headers)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def delta_link(self, url: str) -> str:
        """The delta link of a first read that fits one page."""
        return str(self.row(url, Prefer="odata.track-changes")["@odata.deltaLink"])


def error(answer: httpx.Response) -> tuple[int, str]:
    """Status and code of an answer that must be an error in the vendor's shape."""
    body = answer.json()
    assert set(body) == {"error"}, body
    assert set(body["error"]) == {"code", "message"}
    assert body["error"]["message"]
    return answer.status_code, body["error"]["code"].lower()


def batch(*parts: str) -> tuple[str, dict[str, str]]:
    """Body and headers of a `$batch` made of ready parts."""
    body = "".join(f"--b\r\n{part}\r\n" for part in parts) + "--b--\r\n"
    return body, {"Content-Type": "multipart/mixed; boundary=b"}


def part(method: str, url: str, body: str = "", *, content_id: str | None = None, **headers: str) -> str:
    """One request of a batch."""
    head = "Content-Type: application/http\r\nContent-Transfer-Encoding: binary\r\n"
    head += f"Content-ID: {content_id}\r\n" if content_id else ""
    inner = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return f"{head}\r\n{method} {url} HTTP/1.1\r\nContent-Type: application/json\r\n{inner}\r\n{body}\r\n"


def change_set(*parts: str) -> str:
    """A change set of ready parts."""
    inner = "".join(f"--c\r\n{one}\r\n" for one in parts) + "--c--\r\n"
    return f"Content-Type: multipart/mixed; boundary=c\r\n\r\n{inner}"


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of an emulator without rows, to copy."""
    path = tmp_path_factory.mktemp("dataverse") / "template.sqlite"
    Store(path).close()
    return path


@pytest.fixture
def dataverse(loopback_host: Host, template: Path, tmp_path: Path) -> Iterator[Dataverse]:
    """An emulator without rows."""
    path = tmp_path / "dataverse.sqlite"
    shutil.copy(template, path)
    running = Dataverse(loopback_host, path)
    yield running
    running.close()
