"""A PostgreSQL of a test's own, from Debian's packages; no container, and none where the package is missing."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dynsync_pipeline_tests.worlds.ports import free_port

MISSING = "PostgreSQL is not installed, so nothing was tried with it: apt-get install postgresql"
LIMIT_S = 240


def tools() -> Path | None:
    """The folder of `initdb` and `pg_ctl`, of the newest version that is installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda file: int(file.parts[4]))
    return found[-1].parent if found else None


class Postgres:
    """A server on 127.0.0.1 with a folder of its own, which can be killed and started again."""

    def __init__(self) -> None:
        programs = tools()
        assert programs is not None, MISSING
        self._programs = programs
        # It does not run as root.
        self._user = "postgres" if os.getuid() == 0 else None
        self._home = Path(tempfile.mkdtemp(prefix="postgres-"))
        if self._user is not None:
            os.chown(self._home, pwd.getpwnam(self._user).pw_uid, -1)
        self._port = free_port()
        self._run("initdb", "-D", self._data, "-U", "dynsync", "--auth=trust", "--no-sync")

    @property
    def address(self) -> str:
        """The address of its database."""
        return f"postgresql+psycopg2://dynsync@127.0.0.1:{self._port}/postgres"

    @property
    def process_id(self) -> int:
        """The process that all others of it come from."""
        return int(Path(self._data, "postmaster.pid").read_text().splitlines()[0])

    def start(self) -> None:
        """Start it; after a kill it recovers first."""
        options = f"-h 127.0.0.1 -p {self._port} -k {self._home} -c fsync=off"
        wait = ("-w", "-t", str(LIMIT_S))
        self._run("pg_ctl", "-D", self._data, *wait, "-o", options, "-l", str(self._home / "log"), "start")

    def kill(self) -> None:
        """SIGKILL; its other processes end when they see that."""
        os.kill(self.process_id, signal.SIGKILL)
        time.sleep(2)

    def remove(self) -> None:
        """Stop it, and remove its folder."""
        self._run("pg_ctl", "-D", self._data, "-w", "-m", "immediate", "stop")
        shutil.rmtree(self._home)

    @property
    def _data(self) -> str:
        return str(self._home / "data")

    def _run(self, program: str, *arguments: str) -> None:
        subprocess.run(
            [self._programs / program, *arguments],
            user=self._user,
            cwd=self._home,
            check=True,
            timeout=LIMIT_S,
            stdout=subprocess.DEVNULL,
        )


@contextmanager
def postgres() -> Iterator[str]:
    """A server as long as the context lasts; yields the address of its database."""
    server = Postgres()
    server.start()
    try:
        yield server.address
    finally:
        server.remove()
