"""What killed processes leave in the data folder: files with personal data that nobody will ask for again.

Not here: the write-ahead log, which belongs to the working file.
"""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path

# Folders of a bulk export that is read, of a plan on a copy, and of a backup that is made or put back.
EXPORT, SCRATCH, BACKUP = "export-", "plan-", "backup-"
# A file that was to replace another, and a folder of what does not fit into DuckDB's memory.
UNFINISHED = ("*.duckdb.new", "*.duckdb.new.wal", "*.duckdb.tmp", "status.json.new")


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
