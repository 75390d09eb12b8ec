"""An installation of several pairs as a server runs it: PostgreSQL, Dagster's daemon with its queue and launcher, emulators.

Everything can be killed with SIGKILL and begun again, and is watched from outside: by lock files, by `status.json`, in /proc.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from dynsync_pipeline.look.pairs import PairState, read_pair
from dynsync_pipeline.settings import PREFIX
from dynsync_pipeline.settings_sources import load_installation, load_pairs
from dynsync_pipeline_tests.pairs.systems import names_of
from dynsync_pipeline_tests.worlds.postgres import Postgres

PYTHON = Path(sys.executable)
DYNSYNC, DAEMON = (str(PYTHON.with_name(name)) for name in ("dynsync", "dagster-daemon"))
TICKS_A_S = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class Unattended:
    """A context manager; entering starts systems and PostgreSQL, `start` the daemon. It works in its folder from then on."""

    def __init__(self, folder: Path, *, n_pairs: int, n_busy: int, at_once: int) -> None:
        self.folder = folder
        self.names = names_of(n_pairs)
        self._n_busy = n_busy
        self.postgres = Postgres()
        self.daemon: subprocess.Popen[bytes] | None = None
        (folder / ".env").write_text(f"DYNSYNC_PAIRS_DIR=pairs\nDYNSYNC_CYCLES_AT_ONCE={at_once}\n")

    def __enter__(self) -> Self:
        self._before = Path.cwd()
        os.chdir(self.folder)
        arguments = [str(self.folder), str(len(self.names)), str(self._n_busy)]
        self.systems = subprocess.Popen(
            [sys.executable, "-m", "dynsync_pipeline_tests.pairs.systems", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=Path(__file__).parents[2],
        )
        assert self.systems.stdout is not None
        assert self.systems.stdout.readline() == b"ready\n"
        self.postgres.start()
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
        self.environment["DAGSTER_POSTGRES_URL"] = self.postgres.address
        self.environment["DAGSTER_HOME"] = str(self.folder / "data" / "dagster")
        self.dynsync("init", "--postgres")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.daemon is not None:
            self.kill_daemon()
        self.systems.communicate()
        self.postgres.remove()
        os.chdir(self._before)

    def dynsync(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command in the installation."""
        command = [DYNSYNC, *arguments]
        return subprocess.run(
            command, env=self.environment, cwd=self.folder, capture_output=True, text=True, check=False
        )

    def start(self) -> None:
        """Start Dagster's daemon, in a session of its own."""
        with (self.folder / "daemon.log").open("ab") as log:
            command = [DAEMON, "run", "-w", "workspace.yaml"]
            self.daemon = subprocess.Popen(
                command, env=self.environment, cwd=self.folder, stdout=log, stderr=log, start_new_session=True
            )

    def kill_daemon(self) -> None:
        """Kill the daemon and all that it started, as a machine that goes down does."""
        assert self.daemon is not None
        os.killpg(self.daemon.pid, signal.SIGKILL)
        self.daemon.wait()

    def kill_worker(self, name: str) -> None:
        """Kill the process that runs the pair's cycle, once one does. Raises: TimeoutError."""

        def killed() -> bool:
            last = self.state(name).last
            if last is None or not last.is_running or last.ended_at is not None:
                return False
            os.kill(last.process_id, signal.SIGKILL)
            return True

        until(killed, f"a cycle of {name}", pause_s=0.05)

    def state(self, name: str) -> PairState:
        """How a pair stands now."""
        return read_pair(name, load_pairs(load_installation())[name], datetime.now(UTC))

    def n_cycles(self, name: str) -> int:
        """How many cycles of a pair have succeeded, as its `status.json` tells; 0 before the first."""
        try:
            told = json.loads((self.folder / "pairs" / name / "data" / "status.json").read_text())
        except (OSError, ValueError):
            return 0
        return max((row["cycle_id"] for row in told["cycles"] if row["status"] == "succeeded"), default=0)

    def cycles(self) -> dict[str, int]:
        """The same of all pairs."""
        return {name: self.n_cycles(name) for name in self.names}

    def spent(self) -> dict[str, tuple[float, float]]:
        """Processor seconds and memory in MB of Dagster with its cycles, of PostgreSQL, and of the systems, ended children
        included."""
        assert self.daemon is not None
        roots = {"dagster": self.daemon.pid, "postgres": self.postgres.process_id, "systems": self.systems.pid}
        return {name: _spent(root) for name, root in roots.items()}


def until(is_so: Callable[[], object], what: str, *, limit_s: float = 600.0, pause_s: float = 1.0) -> None:
    """Wait for something. Raises: TimeoutError, with `what`."""
    end_s = time.monotonic() + limit_s
    while not is_so():
        if time.monotonic() > end_s:
            raise TimeoutError(f"waited {limit_s:.0f} s for {what}")
        time.sleep(pause_s)


def _spent(root: int) -> tuple[float, float]:
    """Of a process and all below it; memory is what each has for itself (proc_pid_stat(5), proc_pid_statm(5))."""
    parents: dict[int, tuple[int, float, float]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            resident, shared = map(int, (folder / "statm").read_text().split()[1:3])
        except OSError:
            continue
        ticks = sum(map(int, fields[11:15]))  # of itself, and of its children that were waited for
        parents[int(folder.name)] = int(fields[1]), ticks / TICKS_A_S, (resident - shared) * PAGE_BYTES / 1e6
    below, grown = {root}, True
    while grown:
        more = {pid for pid, (parent, _, _) in parents.items() if parent in below} - below
        below |= more
        grown = bool(more)
    return sum(parents[pid][1] for pid in below if pid in parents), sum(
        parents[pid][2] for pid in below if pid in parents
    )
