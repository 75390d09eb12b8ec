"""A PostgreSQL of a test's own, from Debian's packages; no container, and none where the package is missing."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MISSING = "PostgreSQL is not installed, so nothing was tried with it: apt-get install postgresql"
LIMIT_S = 60


def tools() -> Path | None:
    """The folder of `initdb` and `pg_ctl`, of the newest version that is installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda file: int(file.parts[4]))
    return found[-1].parent if found else None


@contextmanager
def postgres(folder: Path) -> Iterator[str]:
    """A server on 127.0.0.1 as long as the context lasts; yields the address of its database."""
    programs = folder if tools() is None else tools()
    assert programs is not None
    # It does not run as root.
    user = "postgres" if os.getuid() == 0 else None
    home = Path(tempfile.mkdtemp(prefix="postgres-"))
    if user is not None:
        os.chown(home, pwd.getpwnam(user).pw_uid, -1)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]

    def run(program: str, *arguments: str) -> None:
        subprocess.run(
            [programs / program, *arguments],
            user=user,
            cwd=home,
            check=True,
            timeout=LIMIT_S,
            stdout=subprocess.DEVNULL,
        )

    data = str(home / "data")
    run("initdb", "-D", data, "-U", "dynsync", "--auth=trust", "--no-sync")
    options = f"-h 127.0.0.1 -p {port} -k {home} -c fsync=off"
    run("pg_ctl", "-D", data, "-w", "-o", options, "-l", str(home / "log"), "start")
    try:
        yield f"postgresql+psycopg2://dynsync@127.0.0.1:{port}/postgres"
    finally:
        run("pg_ctl", "-D", data, "-w", "-m", "immediate", "stop")
        shutil.rmtree(home)
