"""The right to run a cycle: one `flock` on one file, whoever runs it (R2). Not here: when the next cycle is due (`defs/`).

The kernel gives the lock back when its process dies, so a killed cycle never blocks the next one.
The file tells people and the sensor who holds it, or when the last holder ended.
"""

from __future__ import annotations

import fcntl
import json
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType

from dynsync_pipeline.errors import CycleRunning, StorageFailed


@dataclass(frozen=True)
class LastCycle:
    """What the lock file tells: `ended_at` is None while a cycle runs, or after one that was killed."""

    process_id: int
    started_at: datetime
    ended_at: datetime | None
    is_running: bool


class CycleLock:
    """Held from before extract to the end of publish. Raises: CycleRunning if another process holds it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None
        self._started_at = datetime.now(UTC)

    def __enter__(self) -> CycleLock:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise StorageFailed(
                f"The data folder {self._path.parent} cannot be used: {error.strerror}.",
                next_step="Make it writable, or name another one in DYNSYNC_DATA_DIR.",
            ) from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            holder = read_cycle_lock(self._path)
            since = f", process {holder.process_id}, since {holder.started_at:%H:%M:%S} UTC" if holder else ""
            raise CycleRunning(
                f"Another cycle is running{since}.", next_step="Nothing was done; wait for it to end, then try again."
            ) from None
        self._descriptor = descriptor
        self._started_at = datetime.now(UTC)
        self._tell(ended_at=None)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._descriptor is not None:
            self._tell(ended_at=datetime.now(UTC))
            os.close(self._descriptor)
            self._descriptor = None

    def _tell(self, ended_at: datetime | None) -> None:
        if self._descriptor is None:
            return
        text = json.dumps(
            {
                "process_id": os.getpid(),
                "started_at": self._started_at.isoformat(),
                "ended_at": ended_at.isoformat() if ended_at else None,
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


def read_cycle_lock(path: Path) -> LastCycle | None:
    """What the lock file tells about the running or last cycle, or None before the first one. Takes no lock for long."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
            is_running = False
        except BlockingIOError:
            is_running = True
        text = os.pread(descriptor, 4096, 0)
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
        )
    except (ValueError, KeyError, TypeError):
        return None
