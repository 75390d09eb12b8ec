"""Asking for a backup at any time: between two cycles it is made at once, and a cycle that runs makes it at its end.

A second process cannot open the working file, so whoever asks during a cycle leaves a wish in the data folder, and waits.
Not here: making one (`backup.py`).
"""

from __future__ import annotations

import logging
import time
from datetime import datetime, timedelta
from pathlib import Path

from dynsync_pipeline.errors import CycleRunning, StorageFailed
from dynsync_pipeline.operate.backup import Backup, backups, is_due, made_at, make_backup, read_contents, utc_now
from dynsync_pipeline.settings import Settings
from dynsync_pipeline.warehouse.connection import OWNER_ONLY, storage_errors
from dynsync_pipeline.warehouse.cycle_lock import CycleLock

log = logging.getLogger(__name__)

LOOK_S = 0.5


def back_up(settings: Settings, limit: timedelta) -> Backup:
    """A backup of now: made here where no cycle runs, else by the cycle at its end, or here after it.

    Raises: CycleRunning, after `limit`; the wish is withdrawn then. StorageFailed.
    """
    asked_at, asked_at_s = utc_now(), time.monotonic()
    wish = _wish(settings)
    try:
        while True:
            try:
                with CycleLock(settings.lock_file, is_cycle=False):
                    return _made_since(settings, asked_at) or make_backup(settings, utc_now())
            except CycleRunning as error:
                if made := _made_since(settings, asked_at):
                    return made
                if time.monotonic() - asked_at_s > limit.total_seconds():
                    raise CycleRunning(
                        f"{error.message} There was no backup within {limit}.",
                        next_step="Ask again with a longer --wait, or look at what runs for so long.",
                    ) from None
            with storage_errors(wish):
                wish.touch(OWNER_ONLY)
            time.sleep(LOOK_S)
    finally:
        wish.unlink(missing_ok=True)


def carry_out_wish(settings: Settings) -> None:
    """Make the backup that somebody waits for, or that is due by now; a failure is told, and ends nothing.

    Call it at the end of a cycle, with its lock held and the working file closed.
    """
    wish, at = _wish(settings), utc_now()
    if not settings.working_file.exists() or not (wish.exists() or is_due(settings, at)):
        return
    try:
        made = make_backup(settings, at)
        wish.unlink(missing_ok=True)
        log.info("Backup: %s.", made.file)
    except (StorageFailed, OSError) as error:
        log.warning("The cycle is done, but no backup could be made: %s", error)


def _made_since(settings: Settings, asked_at: datetime) -> Backup | None:
    """The newest backup, if it was made since."""
    for file in backups(settings)[-1:]:
        if made_at(file) + timedelta(milliseconds=1) > asked_at:
            return Backup(file, file.stat().st_size, read_contents(file))
    return None


def _wish(settings: Settings) -> Path:
    return settings.data_dir / "backup.wanted"
