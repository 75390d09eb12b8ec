"""Whether somebody holds the sync: cycles by the sensor, the doors of requests, and the watchdog (`dynsync pause`).

A file in the data folder says so, because a cycle may have the working file open: the last word on it, which is an action like
any other. So what holds the sync and who told so cannot fall apart, whenever somebody is killed; a cycle takes the word into the
ledger, and before another one takes its place it is put where the next cycle finds it. What somebody starts by hand runs all
the same. Not here: who asks (`defs/sensors.py`, `requests/desk.py`, `cli/status.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from dynsync_pipeline.warehouse.operator_actions import Action, keep_action, write_whole
from dynsync_pipeline.warehouse.storage import storage_errors

FILE = "paused.json"
PAUSE, RESUME = "pause", "resume"


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
    text = _text(data_dir)
    if text is None:
        return None
    word = _word(text)
    if word is None:
        return Pause(None, None, None)
    if word.command == RESUME:
        return None
    why = word.plan.get("why")
    return Pause(datetime.fromisoformat(word.acted_at).astimezone(UTC), word.who, None if why is None else str(why))


def last_word(data_dir: Path) -> Action | None:
    """The last `pause` or `resume`, None where there is none, or where nobody can read it. Raises: StorageFailed."""
    return _word(_text(data_dir) or "")


def _text(data_dir: Path) -> str | None:
    file = data_dir / FILE
    try:
        return file.read_bytes().decode("utf-8", errors="replace")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        with storage_errors(file):
            raise error


def _word(text: str) -> Action | None:
    try:
        word = Action.read(text)
    except (ValueError, KeyError, TypeError):
        return None
    return word if word.command in (PAUSE, RESUME) and isinstance(word.plan, dict) else None


def pause(data_dir: Path, why: str | None) -> None:
    """Hold the sync from now on. Raises: StorageFailed."""
    _say(data_dir, Action.of(PAUSE, {"why": why}))


def resume(data_dir: Path) -> None:
    """Hold it no longer. Raises: StorageFailed."""
    word = Action.of(RESUME, {})
    _say(data_dir, word)
    keep_action(data_dir, word)
    with storage_errors(data_dir / FILE):
        (data_dir / FILE).unlink(missing_ok=True)


def _say(data_dir: Path, word: Action) -> None:
    if before := last_word(data_dir):
        keep_action(data_dir, before)
    with storage_errors(data_dir / FILE):
        write_whole(data_dir / FILE, word.text)
