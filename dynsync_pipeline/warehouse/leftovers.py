"""What killed processes leave in the data folder: files with personal data that nobody will ask for again.

Not here: the write-ahead log, which belongs to the working file.
"""

from __future__ import annotations

import shutil
from pathlib import Path

EXPORT, SCRATCH = "export-", "plan-"  # folders of a bulk export that is read, and of a plan on a copy


def remove_leftovers(folder: Path) -> None:
    """Remove them from the data folder; call it with the cycle lock held, or they may be in use."""
    for prefix in (EXPORT, SCRATCH):
        for stale in folder.glob(f"{prefix}*"):
            shutil.rmtree(stale, ignore_errors=True)
