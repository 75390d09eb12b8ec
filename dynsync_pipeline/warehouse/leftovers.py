"""What killed processes leave in the data folder: files with personal data that nobody will ask for again.

Not here: the write-ahead log, which belongs to the working file.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from dynsync_pipeline.warehouse.connection import OWNER_ONLY, OWNERS_FOLDER, storage_errors

# Folders of a bulk export that is read, of a plan on a copy, and of a backup that is made or put back.
EXPORT, SCRATCH, BACKUP = "export-", "plan-", "backup-"
# A file that was to replace another, and a folder of what does not fit into DuckDB's memory.
UNFINISHED = ("*.duckdb.new", "*.duckdb.new.wal", "*.duckdb.tmp", "status.json.new")
ON_SPARK = "on-spark-*"  # folders of what does not fit into Spark's memory, each of a process that holds no cycle lock
_LOCK = "lock"


def remove_leftovers(folder: Path) -> None:
    """Remove them from the data folder.

    Call it with the cycle lock held and the working file open, or they may be in use. What cannot be removed stays.
    """
    for pattern in (f"{EXPORT}*", f"{SCRATCH}*", f"{BACKUP}*", *UNFINISHED):
        for stale in folder.glob(pattern):
            if stale.is_dir() and not stale.is_symlink():
                shutil.rmtree(stale, ignore_errors=True)
            else:
                with suppress(OSError):
                    stale.unlink()
    remove_unused(folder, ON_SPARK)


@contextmanager
def own_folder(parent: Path, pattern: str) -> Iterator[Path]:
    """A folder of this process in `parent`, with an id for the star, which goes with it; those of killed ones go before.

    Raises: StorageFailed.
    """
    with storage_errors(parent):
        parent.mkdir(mode=OWNERS_FOLDER, parents=True, exist_ok=True)
        remove_unused(parent, pattern)
        folder = parent.absolute() / pattern.replace("*", str(uuid.uuid4()))
        unseen = folder.with_name(f".{folder.name}")  # until it is locked
        unseen.mkdir(mode=OWNERS_FOLDER)
        lock = os.open(unseen / _LOCK, os.O_CREAT | os.O_RDWR, OWNER_ONLY)
    try:
        with storage_errors(parent):
            fcntl.flock(lock, fcntl.LOCK_EX)
            unseen.rename(folder)
        yield folder
    finally:
        os.close(lock)
        for each in (unseen, folder):
            shutil.rmtree(each, ignore_errors=True)


def remove_unused(parent: Path, pattern: str) -> None:
    """Remove the folders of that pattern whose process does not live any more. What cannot be removed stays."""
    for folder in parent.glob(pattern):
        if folder.is_dir() and not _is_used(folder):
            shutil.rmtree(folder, ignore_errors=True)


def _is_used(folder: Path) -> bool:
    try:
        lock = os.open(folder / _LOCK, os.O_RDWR)
    except FileNotFoundError:  # somebody was forgotten, and what its process makes is of no use
        return False
    except OSError:  # it is somebody else's
        return True
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False
