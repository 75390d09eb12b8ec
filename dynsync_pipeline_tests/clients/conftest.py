"""What the client tests share: retries without waiting, and settings that no environment changes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import stamina

from dynsync_pipeline.emulators.running import Emulators
from dynsync_pipeline.settings import PREFIX, Settings


@pytest.fixture(autouse=True)
def no_waiting() -> Iterator[None]:
    """Retries go on at once, four attempts at most."""
    with stamina.set_testing(True, attempts=4):
        yield


@pytest.fixture
def make_settings(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Settings]:
    """Settings for both systems; any of them can be given."""
    for name in os.environ:
        if name.startswith(PREFIX):
            monkeypatch.delenv(name)
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)

    def make(**given: Any) -> Settings:
        known: dict[str, Any] = {
            "dynamics_url": "https://org.example.com",
            "dynamics_tenant_id": "11111111-1111-1111-1111-111111111111",
            "dynamics_client_id": "22222222-2222-2222-2222-222222222222",
            "marketo_url": "https://123-abc-456.example.com",
            "marketo_client_id": "service",
            "marketo_client_secret": "the-marketo-secret",
            "request_timeout_s": 60.0,
        }
        return Settings(**{**known, **given})

    return make


@pytest.fixture(scope="session")
def emulators(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulators]:
    """Both emulators with a little data, where a minute of a bulk job passes in a tenth of a second."""
    folder = tmp_path_factory.mktemp("emulators")
    with Emulators(folder, n_accounts=5, n_contacts=60, n_leads=10, n_people=10, time_scale=600) as running:
        yield running


@pytest.fixture
def emulator_settings(emulators: Emulators, make_settings: Callable[..., Settings]) -> Callable[..., Settings]:
    """Settings that reach the emulators; any of them can be given otherwise, None for none."""

    def make(**given: Any) -> Settings:
        known = {
            name.removeprefix(PREFIX).lower(): value
            for name, value in emulators.environment.items()
            if name.startswith(PREFIX)
        }
        return make_settings(**{**known, **given})

    return make
