"""The right to run a cycle: one `flock` on one file, whoever runs it (R2). Not here: when the next cycle is due (`defs/`).

The kernel gives the lock back when its process dies, so a killed cycle never blocks the next one.
The file tells people and the sensor who holds it, or when the last holder ended.
"""

from __future__ import annotations

import fcntl
import json
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Literal

from dynsync_pipeline.errors import CycleRunning, StorageFailed

TRIES = 20
PAUSE_S = 0.05
PATIENCE_S = 60.0  # of a cycle with whoever holds cycles off
Outcome = Literal["done", "quiet", "failed"]
"""How a cycle ended: quiet is one that found nothing to do."""
OTHERS = 0o077  # whom the files that are made meanwhile are closed to


@dataclass(frozen=True)
class LastCycle:
    """What the lock file tells: `ended_at` is None while a cycle runs, or after one that was killed.

    `outcome` is what that cycle came to, None where it does not tell, as after the audit.
    """

    process_id: int
    started_at: datetime
    ended_at: datetime | None
    is_running: bool
    outcome: Outcome | None = None


class CycleLock:
    """Held from before extract to the end of publish. Raises: CycleRunning if another process holds it, at once if that is a
    cycle; a cycle waits a minute for a command, and goes before others that wait.

    `is_cycle=False` is for commands that only want cycles to stand still: the file goes on telling of the last cycle, so
    that the next one is not put off and nobody takes them for one. While it is held, new files of this process are its
    owner's alone: they hold personal data.
    """

    def __init__(self, path: Path, *, is_cycle: bool = True) -> None:
        self._path = path
        self._is_cycle = is_cycle
        self._descriptor: int | None = None
        self._umask = OTHERS
        self._started_at = datetime.now(UTC)
        self.outcome: Outcome | None = None
        """What the cycle came to; whoever runs it says so before it ends."""

    def __enter__(self) -> CycleLock:
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise _unusable(self._path.parent, str(error.strerror)) from None
        descriptor = _opened(self._path)
        with self._wanted():
            waits_until_s = time.monotonic() + (PATIENCE_S if self._is_cycle else 0.0)
            while not _locked(descriptor):
                holder = read_cycle_lock(self._path)
                is_cycle = holder is not None and holder.ended_at is None
                if not is_cycle and time.monotonic() < waits_until_s:
                    continue  # requests are being served, which takes moments
                os.close(descriptor)
                if holder is not None and is_cycle:
                    who = f"Another cycle is running, process {holder.process_id}, since {holder.started_at:%H:%M:%S} UTC."
                else:
                    who = "Another command holds cycles off, such as `dynsync plan`."
                raise CycleRunning(who, next_step="Nothing was done; wait for it to end, then try again.")
        self._descriptor = descriptor
        self._started_at = datetime.now(UTC)
        self._tell(ended_at=None)
        self._umask = os.umask(OTHERS)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._descriptor is not None:
            self._tell(ended_at=datetime.now(UTC))
            os.umask(self._umask)
            os.close(self._descriptor)
            self._descriptor = None

    @contextmanager
    def _wanted(self) -> Iterator[None]:
        """Let a cycle that waits go first: commands take the lock only where none does. Raises: CycleRunning."""
        descriptor = _opened(self._path.with_name("cycle.wanted"))
        try:
            if self._is_cycle:
                _locked(descriptor)  # where another cycle waits already, that one goes first
            else:
                fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
                fcntl.flock(descriptor, fcntl.LOCK_UN)
            yield
        except BlockingIOError:
            raise CycleRunning("A cycle is about to begin.", next_step="Wait for it to end, then try again.") from None
        finally:
            os.close(descriptor)

    def _tell(self, ended_at: datetime | None) -> None:
        if self._descriptor is None or not self._is_cycle:
            return
        text = json.dumps(
            {
                "process_id": os.getpid(),
                "started_at": self._started_at.isoformat(),
                "ended_at": ended_at.isoformat() if ended_at else None,
                "outcome": self.outcome,
            }
        )
        try:
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, text.encode(), 0)
        except OSError as error:
            # The lock itself holds also on a full disk; only what it tells is lost.
            if ended_at is None:
                raise StorageFailed(
                    f"{self._path} cannot be written: {error.strerror}.", next_step="Free space in the data folder."
                ) from None


def _opened(path: Path) -> int:
    """A descriptor of a lock file, which tells no personal data. Raises: StorageFailed, with what to do."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK, 0o644)
    except IsADirectoryError:
        raise _no_file(path, "a folder") from None
    except OSError as error:
        raise _unusable(path.parent, f"{path.name}: {error.strerror}") from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise _no_file(path, "no plain file")
    return descriptor


def _no_file(path: Path, kind: str) -> StorageFailed:
    return StorageFailed(f"{path} is {kind}, where the lock of cycles belongs.", next_step="Remove it.")


def _unusable(folder: Path, reason: str) -> StorageFailed:
    return StorageFailed(
        f"The data folder {folder} cannot be used: {reason}.",
        next_step="Make it writable, or name another one in DYNSYNC_DATA_DIR.",
    )


def _locked(descriptor: int) -> bool:
    """Take the lock; whoever only looks (`read_cycle_lock`) holds a share of it for a moment, so a second is waited."""
    for _ in range(TRIES):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            time.sleep(PAUSE_S)
    return False


def read_cycle_lock(path: Path) -> LastCycle | None:
    """What the lock file tells about the running or last cycle, or None before the first one, and to whom
    the folder is closed, or where there is none. Takes no lock for long."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
            is_running = False
        except BlockingIOError:
            is_running = True
        text = os.pread(descriptor, 4096, 0)
    except OSError:  # a folder, a pipe
        return None
    finally:
        os.close(descriptor)
    try:
        told = json.loads(text)
        ended_at = told["ended_at"]
        return LastCycle(
            process_id=int(told["process_id"]),
            started_at=datetime.fromisoformat(told["started_at"]),
            ended_at=datetime.fromisoformat(ended_at) if ended_at else None,
            is_running=is_running,
            outcome=told.get("outcome") if ended_at else None,
        )
    except (ValueError, KeyError, TypeError):
        return None
