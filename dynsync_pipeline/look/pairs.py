"""How each pair stands, by its lock and its pause alone: what the sensor goes by, and `dynsync pairs` shows.

Opens no working file and no snapshot, so that hundreds of pairs are looked at in a moment. Not here: who starts cycles (`defs/`).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from dynsync_pipeline.errors import DynSyncError
from dynsync_pipeline.settings import Settings
from dynsync_pipeline.warehouse.cycle_lock import LastCycle, read_cycle_lock
from dynsync_pipeline.warehouse.pause import read_pause

State = Literal["cannot run", "paused", "running", "due", "waiting"]


@dataclass(frozen=True)
class PairState:
    """How a pair stands at a moment. `settings` None: they cannot be used, `why` says so. Times are UTC.

    `due_at` is None where nothing is waited for: it runs, is paused, or cannot run. `why` is a sentence, or empty.
    """

    name: str
    settings: Settings | None
    state: State
    last: LastCycle | None = None
    due_at: datetime | None = None
    why: str = ""

    @property
    def is_quiet(self) -> bool:
        """Whether the last cycle found nothing to do."""
        return self.last is not None and self.last.outcome == "quiet"


def read_pair(name: str, found: Settings | DynSyncError, now: datetime) -> PairState:
    """How the pair stands at `now`; `found`: its settings, or what is wrong with them."""
    try:
        if isinstance(found, DynSyncError):
            raise found
        found.require_systems()
        last = read_cycle_lock(found.lock_file)
        held = read_pause(found.data_dir)
    except DynSyncError as error:
        return PairState(name, found if isinstance(found, Settings) else None, "cannot run", why=str(error))
    # A command that holds cycles off is none; a cycle waits for it.
    if last is not None and last.is_running and last.ended_at is None:
        return PairState(name, found, "running", last)
    if held:
        return PairState(name, found, "paused", last, why=str(held))
    due_at = _due_at(last, now, pause_after(found, last))
    return PairState(name, found, "due" if due_at <= now else "waiting", last, due_at)


def pause_after(settings: Settings, last: LastCycle | None) -> float:
    """Seconds from the end of that cycle to the start of the next."""
    is_quiet = last is not None and last.outcome == "quiet"
    return settings.pause_quiet_s if is_quiet and settings.pause_quiet_s is not None else settings.pause_s


def seconds_to_wait(now: datetime, last: LastCycle | None, last_run_ended_at: datetime | None, pause_s: float) -> float:
    """Seconds until the next cycle may start; zero or less: now.

    The pause counts from the later of the last cycle's end and the last run's end. A killed cycle left no end: there
    it counts from the start, so that a long one is followed at once and one that dies young makes no storm.
    An end that is yet to come was told by a clock that was set back since, and does not count.
    """
    ends = [] if last is None else [last.ended_at or last.started_at]
    if last_run_ended_at is not None:
        ends.append(last_run_ended_at)
    ends = [end for end in ends if end <= now]
    return (max(ends) - now).total_seconds() + pause_s if ends else 0.0


def _due_at(last: LastCycle | None, now: datetime, pause_s: float) -> datetime:
    return now + timedelta(seconds=seconds_to_wait(now, last, None, pause_s))
