"""Whether somebody holds the sync: cycles by the sensor, the doors of requests, and the watchdog (`dynsync pause`).

A file in the data folder says so, because a cycle may have the working file open. What somebody starts by hand runs all the
same. Not here: who asks (`defs/sensors.py`, `requests/desk.py`, `cli/status.py`).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from dynsync_pipeline.warehouse.connection import storage_errors, utc_now
from dynsync_pipeline.warehouse.operator_actions import operator, write_whole

FILE = "paused.json"


@dataclass(frozen=True)
class Pause:
    """Who holds the sync, since when (UTC), and why; None where the file does not tell, which holds it all the same."""

    since: datetime | None
    who: str | None
    why: str | None

    def __str__(self) -> str:
        by = f" by {self.who}" if self.who else ""
        since = f" since {self.since:%Y-%m-%d %H:%M} UTC" if self.since else ""
        return f"Paused{by}{since}{f' ({self.why})' if self.why else ''}; `dynsync resume` ends that."


def read_pause(data_dir: Path) -> Pause | None:
    """The pause, None where nobody holds the sync. Raises: StorageFailed where nobody can tell."""
    file = data_dir / FILE
    try:
        text = file.read_text("utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except UnicodeDecodeError:
        return Pause(None, None, None)
    except OSError as error:
        with storage_errors(file):
            raise error
    try:
        told = json.loads(text)
        return Pause(datetime.fromisoformat(told["since"]).astimezone(UTC), str(told["who"]), told["why"])
    except (ValueError, KeyError, TypeError):
        return Pause(None, None, None)


def pause(data_dir: Path, why: str | None) -> None:
    """Hold the sync from now on. Raises: StorageFailed."""
    with storage_errors(data_dir / FILE):
        told = {"since": utc_now().isoformat(timespec="seconds"), "who": operator(), "why": why}
        write_whole(data_dir / FILE, json.dumps(told))


def resume(data_dir: Path) -> None:
    """Hold it no longer. Raises: StorageFailed."""
    with storage_errors(data_dir / FILE):
        (data_dir / FILE).unlink(missing_ok=True)
