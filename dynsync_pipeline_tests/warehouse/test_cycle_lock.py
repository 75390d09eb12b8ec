"""The cycle lock: one holder on the machine, free when the holder dies, and telling who holds it."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from dynsync_pipeline.errors import CycleRunning, StorageFailed
from dynsync_pipeline.warehouse.cycle_lock import CycleLock, read_cycle_lock

HOLDER = """
import sys
from pathlib import Path
from dynsync_pipeline.warehouse.cycle_lock import CycleLock
with CycleLock(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def holder(lock_file: Path) -> subprocess.Popen[str]:
    """A process that holds the lock until its input ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(lock_file)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_second_process_is_refused_and_told_who_holds_it(tmp_path: Path) -> None:
    process = holder(tmp_path / "cycle.lock")
    try:
        with (
            pytest.raises(CycleRunning, match=rf"process {process.pid}, since \d\d:\d\d:\d\d UTC") as caught,
            CycleLock(tmp_path / "cycle.lock"),
        ):
            pass
        assert caught.value.retry_helps
        told = read_cycle_lock(tmp_path / "cycle.lock")
        assert told is not None
        assert (told.process_id, told.is_running, told.ended_at) == (process.pid, True, None)
    finally:
        process.communicate("")
    with CycleLock(tmp_path / "cycle.lock"):
        pass


def test_the_same_process_is_refused_too(tmp_path: Path) -> None:
    """Two threads of `dagster dev` are two cycles."""
    with CycleLock(tmp_path / "cycle.lock"), pytest.raises(CycleRunning), CycleLock(tmp_path / "cycle.lock"):
        pass


def test_a_killed_holder_frees_it_and_leaves_no_end(tmp_path: Path) -> None:
    process = holder(tmp_path / "cycle.lock")
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    told = read_cycle_lock(tmp_path / "cycle.lock")
    assert told is not None
    assert (told.process_id, told.is_running, told.ended_at) == (process.pid, False, None)
    with CycleLock(tmp_path / "cycle.lock"):
        pass


def test_the_file_tells_start_and_end_of_the_last_cycle(tmp_path: Path) -> None:
    assert read_cycle_lock(tmp_path / "cycle.lock") is None, "before the first cycle there is nothing to tell"
    before = datetime.now(UTC)
    with CycleLock(tmp_path / "cycle.lock"):
        during = read_cycle_lock(tmp_path / "cycle.lock")
        assert during is not None
        assert during.is_running
    told = read_cycle_lock(tmp_path / "cycle.lock")
    assert told is not None
    assert not told.is_running
    assert told.process_id == os.getpid()
    assert told.ended_at is not None
    assert before <= told.started_at <= told.ended_at <= datetime.now(UTC) + timedelta(seconds=1)


def test_a_cycle_that_fails_has_ended(tmp_path: Path) -> None:
    """The pause before the next one counts from there (R2)."""
    with pytest.raises(ZeroDivisionError), CycleLock(tmp_path / "cycle.lock"):
        raise ZeroDivisionError
    told = read_cycle_lock(tmp_path / "cycle.lock")
    assert told is not None
    assert told.ended_at is not None


def test_looking_at_the_lock_never_keeps_a_cycle_from_starting(tmp_path: Path) -> None:
    """The sensor looks every half minute, for a moment under a shared lock: that must not pass for a running cycle."""
    with CycleLock(tmp_path / "cycle.lock"):
        pass
    glance = os.open(tmp_path / "cycle.lock", os.O_RDONLY)
    fcntl.flock(glance, fcntl.LOCK_SH)
    timer = threading.Timer(0.05, os.close, [glance])
    timer.start()
    try:
        with CycleLock(tmp_path / "cycle.lock"):
            pass
    finally:
        timer.join()


def test_a_broken_file_tells_nothing_and_does_not_stop_a_cycle(tmp_path: Path) -> None:
    (tmp_path / "cycle.lock").write_text('{"process_id": "x"')
    assert read_cycle_lock(tmp_path / "cycle.lock") is None
    with CycleLock(tmp_path / "cycle.lock"):
        told = read_cycle_lock(tmp_path / "cycle.lock")
        assert told is not None


def test_a_child_process_does_not_inherit_it(tmp_path: Path) -> None:
    """Something a cycle started must not hold the lock after the cycle."""
    with CycleLock(tmp_path / "cycle.lock"):
        child = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
    try:
        with CycleLock(tmp_path / "cycle.lock"):
            pass
    finally:
        child.communicate(b"")


def test_a_folder_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    """A file stands where the data folder should be."""
    (tmp_path / "data").write_text("")
    with (
        pytest.raises(StorageFailed, match=r"data folder .*data .*DYNSYNC_DATA_DIR"),
        CycleLock(tmp_path / "data" / "cycle.lock"),
    ):
        pass


def test_a_cycle_waits_for_a_command_and_goes_before_the_next_one(tmp_path: Path) -> None:
    lock_file = tmp_path / "cycle.lock"
    with ThreadPoolExecutor(1) as other:
        with CycleLock(lock_file, is_cycle=False):
            waiting = other.submit(CycleLock(lock_file).__enter__)
            while not is_wanted(tmp_path / "cycle.wanted"):
                time.sleep(0.01)  # or it would hold that file too often for who wants it
            with pytest.raises(CycleRunning, match="about to begin"), CycleLock(lock_file, is_cycle=False):
                pass
        held = waiting.result(timeout=60)
        with pytest.raises(CycleRunning, match="Another cycle is running"), CycleLock(lock_file, is_cycle=False):
            pass
        held.__exit__(None, None, None)
    with CycleLock(lock_file, is_cycle=False):
        pass


def is_wanted(file: Path) -> bool:
    """Whether a cycle waits for its turn."""
    if not file.exists():
        return False
    with file.open() as opened:
        try:
            fcntl.flock(opened, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False
