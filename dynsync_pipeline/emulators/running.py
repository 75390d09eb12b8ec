"""Both emulators together: state folder, ports, sample data, and the settings the pipeline needs to reach them."""

from __future__ import annotations

import fcntl
import json
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from starlette.types import ASGIApp

from dynsync_pipeline.emulators import sample_data
from dynsync_pipeline.emulators.dataverse import app as dataverse_app
from dynsync_pipeline.emulators.dataverse import seeding as dataverse_seeding
from dynsync_pipeline.emulators.dataverse.store import Store as DataverseStore
from dynsync_pipeline.emulators.errors import PortUnusable, StateUnusable
from dynsync_pipeline.emulators.faults import Faults
from dynsync_pipeline.emulators.marketo import app as marketo_app
from dynsync_pipeline.emulators.marketo import seeding as marketo_seeding
from dynsync_pipeline.emulators.marketo.store import Store as MarketoStore
from dynsync_pipeline.emulators.serving import Server
from dynsync_pipeline.emulators.tls import Tls, write_private

ENV_FILE = "emulator.env"
CERTIFICATE_FILE = "client.pem"
OLDEST_SAMPLE_PERSON = "2025-01-01"
POLL_S = 60.0
CALLS_PER_20_S = 50
_UNWRITTEN = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN)


class Emulators:
    """A Dataverse and a Marketo emulator over one state folder; a context manager that stops them.

    The first start with a state folder creates the sample rows asked for; later ones find everything as it was left,
    and take the same ports where these are free. `time_scale` makes the vendors' waits pass that many times faster.
    With `plain_http` everything is served over plain HTTP too, and `environment` names those addresses, except for the
    pipeline's authority: MSAL refuses one without TLS.
    Raises: PortUnusable if a port given is taken; StateUnusable if other emulators serve this state folder or
    another version wrote it.
    """

    def __init__(
        self,
        state_dir: Path | str,
        *,
        dataverse_port: int = 0,
        marketo_port: int = 0,
        n_accounts: int = 0,
        n_contacts: int = 0,
        n_leads: int = 0,
        n_people: int = 0,
        seed: int = 0,
        plain_http: bool = False,
        time_scale: float = 1.0,
    ) -> None:
        self.state_dir = Path(state_dir)
        try:
            for folder in (self.state_dir.parent, self.state_dir):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise StateUnusable(
                f"{self.state_dir} cannot be the folder of the emulators' state: {error.strerror}. Name another one."
            ) from None
        self._umask = os.umask(0o077)  # secrets and records stand in the files that follow
        self.time_scale = time_scale
        self.plain_http = plain_http
        self._lock = _locked(self.state_dir)
        self.servers: list[Server] = []
        with _told_of(self.state_dir):
            self.tls = Tls(self.state_dir)
            self.dataverse = DataverseStore(self.state_dir / "dataverse.sqlite", time_scale=time_scale, seed=seed)
            self.marketo = MarketoStore(self.state_dir / "marketo.sqlite", time_scale=time_scale, seed=seed)
            try:
                self._seed_once(n_accounts, n_contacts, n_leads, n_people, seed)
                self._start(dataverse_port, marketo_port)
            except BaseException:
                self.stop()
                raise

    def _start(self, dataverse_port: int, marketo_port: int) -> None:
        """Serve both, and write down where and for whom."""
        dataverse = self.dataverse_faults = Faults(dataverse_app.build_app(self.dataverse), vendor_error_dataverse)
        marketo = self.marketo_faults = Faults(marketo_app.build_app(self.marketo), vendor_error_marketo)
        self._ports: dict[str, int] = self._last_ports()
        self.dataverse_server = self._serve("dataverse", dataverse, dataverse_port, tls=True)
        self.marketo_server = self._serve("marketo", marketo, marketo_port, tls=True)
        self.plain_dataverse_server, self.plain_marketo_server = (
            self._serve(name, app, 0, tls=False) if self.plain_http else None
            for name, app in (("dataverse plain", dataverse), ("marketo plain", marketo))
        )
        self._ports_file.write_text(json.dumps(self._ports))
        self.certificate_file = self.state_dir / CERTIFICATE_FILE
        write_private(self.certificate_file, self.dataverse.client_pem.encode())
        self._write_env_file()

    @property
    def username(self) -> str:
        """The sync user who signs in by password."""
        return self.dataverse.sync_username

    @property
    def password(self) -> str:
        """The sync user's password."""
        return self.dataverse.sync_password

    @property
    def dataverse_url(self) -> str:
        """The organisation's address, as `environment` has it."""
        return (self.plain_dataverse_server or self.dataverse_server).url

    @property
    def marketo_url(self) -> str:
        """The subscription's address, as `environment` has it."""
        return (self.plain_marketo_server or self.marketo_server).url

    @property
    def environment(self) -> dict[str, str]:
        """Every setting the pipeline needs, and what anyone needs to edit records with curl."""
        return {
            "DYNSYNC_DYNAMICS_URL": self.dataverse_url,
            "DYNSYNC_DYNAMICS_AUTHORITY": self.dataverse_server.url,
            "DYNSYNC_DYNAMICS_TENANT_ID": self.dataverse.tenant_id,
            "DYNSYNC_DYNAMICS_CLIENT_ID": self.dataverse.client_id,
            "DYNSYNC_DYNAMICS_CLIENT_SECRET": self.dataverse.client_secret,
            "DYNSYNC_MARKETO_URL": self.marketo_url,
            "DYNSYNC_MARKETO_CLIENT_ID": self.marketo.client_id,
            "DYNSYNC_MARKETO_CLIENT_SECRET": self.marketo.client_secret,
            "DYNSYNC_CA_FILE": str(self.tls.ca_file.resolve()),
            "DYNSYNC_FIRST_LOAD": "create",
            "DYNSYNC_MARKETO_OLDEST_PERSON": OLDEST_SAMPLE_PERSON,
            "DYNSYNC_MARKETO_CALLS_PER_20_S": str(round(CALLS_PER_20_S * self.time_scale)),
            "DYNSYNC_MARKETO_POLL_S": f"{POLL_S / self.time_scale:.3f}",
            "DATAVERSE_URL": self.dataverse_url,
            "DATAVERSE_TOKEN": self.dataverse.sales_token(),
            "DATAVERSE_TOKEN_URL": f"{self.dataverse_url}/{self.dataverse.tenant_id}/oauth2/v2.0/token",
            "MARKETO_URL": self.marketo_url,
            "MARKETO_CLIENT_ID": self.marketo.other_client_id,
            "MARKETO_CLIENT_SECRET": self.marketo.other_client_secret,
        }

    def serve_forever(self) -> None:
        """Block until KeyboardInterrupt; the servers run in threads of their own."""
        try:
            while True:
                time.sleep(3600)
        except KeyboardInterrupt:
            return

    def stop(self) -> None:
        """Stop serving and close both stores; the state folder stays."""
        for server in self.servers:  # all at once, for each takes a fifth of a second
            server.begin_stop()
        for server in self.servers:
            server.stop()
        self.servers.clear()
        self.dataverse.close()
        self.marketo.close()
        os.umask(self._umask)
        os.close(self._lock)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def _ports_file(self) -> Path:
        return self.state_dir / "ports.json"

    def _last_ports(self) -> dict[str, int]:
        try:
            last = json.loads(self._ports_file.read_text())
        except (OSError, ValueError):
            return {}  # none yet, or a file that was cut
        return last if isinstance(last, dict) else {}

    def _serve(self, name: str, app: ASGIApp, port: int, *, tls: bool) -> Server:
        """Serve on the port given; else on the last start's, so that a stored env file stays right; else anywhere."""
        tls_file = self.tls.server_file if tls else None
        last = self._ports.get(name, 0)
        try:
            server = Server(app, port=port or last, tls_file=tls_file)
        except OSError:
            if port or not last:
                raise
            server = Server(app, tls_file=tls_file)
        self.servers.append(server)
        self._ports[name] = server.port
        return server

    def _seed_once(self, n_accounts: int, n_contacts: int, n_leads: int, n_people: int, seed: int) -> None:
        done = self.state_dir / "seeded"
        if done.exists():
            return
        accounts = list(sample_data.sample_accounts(n_accounts, seed))
        account_ids = [str(account["accountid"]) for account in accounts]
        dataverse_seeding.seed(
            self.dataverse,
            accounts,
            sample_data.sample_contacts(n_contacts, account_ids, seed),
            sample_data.sample_leads(n_leads, seed),
        )
        marketo_seeding.seed(self.marketo, sample_data.sample_people(n_people, seed))
        done.write_text(f"{n_accounts} accounts, {n_contacts} contacts, {n_leads} leads, {n_people} people\n")

    def _write_env_file(self) -> None:
        lines = "".join(f"{name}={value}\n" for name, value in self.environment.items())
        write_private(self.state_dir / ENV_FILE, lines.encode())


def vendor_error_dataverse(status: int, code: str, message: str) -> bytes:
    """Dataverse's error body."""
    return json.dumps({"error": {"code": code, "message": message}}).encode()


def vendor_error_marketo(status: int, code: str, message: str) -> bytes:
    """Marketo's error body."""
    errors = [{"code": code, "message": message}]
    return json.dumps({"requestId": "fa417#0", "success": False, "errors": errors}).encode()


@contextmanager
def _told_of(state_dir: Path) -> Iterator[None]:
    """Turn what stands in the way of the state's files into StateUnusable; a taken port passes."""
    try:
        yield
    except PortUnusable:
        raise
    except (sqlite3.Error, OSError, ValueError) as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if isinstance(error, OSError) or code in _UNWRITTEN:
            said = (error.strerror if isinstance(error, OSError) else None) or str(error)
            raise StateUnusable(
                f"The emulator state {state_dir} cannot be written: {said}. Free space, or name another folder."
            ) from None
        raise StateUnusable(
            f"The emulator state {state_dir} is damaged. Remove it, or start the emulators with another folder."
        ) from None


def _locked(state_dir: Path) -> int:
    """The descriptor that holds the state folder for this process; the kernel gives it back when the process dies."""
    descriptor = os.open(state_dir / "emulator.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise StateUnusable(
            f"Emulators run on {state_dir} already. Use those, or name another folder with --state."
        ) from None
    return descriptor
