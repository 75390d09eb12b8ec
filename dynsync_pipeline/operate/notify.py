"""Telling people by mail, chat or webhook what they have to know (`DYNSYNC_NOTIFY`); apprise knows the ways.

Each occasion is told once while it lasts, and again a day later; what has healed is quiet. A cycle never waits for this: it
runs after one, or beside it. Not here: what the occasions are (`occasions.py`).
"""

from __future__ import annotations

import fcntl
import json
import logging
import re
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from dynsync_pipeline.errors import DynSyncError, ExtraMissing, NotTold, SettingsWrong
from dynsync_pipeline.look.reading import reading_snapshot
from dynsync_pipeline.operate.occasions import Occasion, find_occasions, kind_of, refusals_digest, without_snapshot
from dynsync_pipeline.settings import Settings
from dynsync_pipeline.warehouse.connection import storage_errors, utc_now
from dynsync_pipeline.warehouse.operator_actions import write_whole

log = logging.getLogger(__name__)
# Its own lines name addresses, and these hold passwords.
logging.getLogger("apprise").setLevel(logging.CRITICAL + 1)

FILE = "told.json"
AGAIN = timedelta(days=1)  # after which what still lasts is told once more
REST = timedelta(hours=1)  # after being told, in which what healed and came back is not told anew
DIGEST = "refusals"
LONGEST_S = 20.0  # for all ways together
_SPACE = re.compile(r"[,\s]+(?=[A-Za-z][A-Za-z0-9+.-]*://)")


@dataclass(frozen=True)
class Way:
    """One of the ways by which people are told: what apprise calls it, and whether it took the message."""

    name: str
    is_sent: bool


def notify(settings: Settings) -> list[str]:
    """Tell what is new and not told yet; returns the keys of what was told, and none where no way is set.

    Raises: ExtraMissing, SettingsWrong, StorageFailed, and NotTold where no way took it, so that it is tried again.
    """
    if settings.notify is None:
        return []
    ways = _ways(settings)
    at = utc_now().replace(tzinfo=None)
    with _one_at_a_time(settings.data_dir) as is_ours:
        if not is_ours:
            return []
        occasions, digest = _at_hand(settings, at)
        told = _read(settings.data_dir / FILE)
        due = [each for each in occasions if _is_due(told.get(each.key), at)]
        digest = digest if _is_due(told.get(DIGEST), at) else None
        if due or digest:
            _require_sent(_send(ways, _title(settings, due), _body(due, digest)))
        keys = [each.key for each in due] + ([DIGEST] if digest else [])
        # A kind that comes by turns of one cause and of another has not healed.
        lasting = {each.code for each in occasions} | {DIGEST}
        kept = {key: when for key, when in told.items() if kind_of(key) in lasting or at - when < REST}
        _write(settings.data_dir / FILE, kept | dict.fromkeys(keys, at))
    return keys


def notify_quietly(settings: Settings) -> None:
    """The same after a cycle, which it must not fail: what goes wrong is logged."""
    try:
        notify(settings)
    except DynSyncError as error:
        log.warning("Nobody was told how the sync stands: %s", error)
    except Exception as error:  # of apprise, or of what it sends by; its text may hold an address
        log.warning("Nobody was told how the sync stands: %s while sending.", type(error).__name__)


def send_test(settings: Settings) -> list[Way]:
    """Send a line by each way, and tell of each whether it took it. Raises: ExtraMissing, SettingsWrong."""
    if settings.notify is None:
        raise SettingsWrong(
            "DYNSYNC_NOTIFY is not set.", next_step="Set it to the addresses to tell (docs/operate.md#be-told)."
        )
    title = f"DynSync can tell you ({_installation(settings)})"
    return _send(_ways(settings), title, "This is the test that somebody asked for with `dynsync notify --test`.")


def _at_hand(settings: Settings, at: datetime) -> tuple[list[Occasion], str | None]:
    if not settings.snapshot_file.exists():
        return without_snapshot(settings, at), None
    with reading_snapshot(settings.snapshot_file) as connection:
        digest = refusals_digest(connection, settings, with_values=settings.notify_values)
        return find_occasions(connection, settings, at), digest


def _is_due(told_at: datetime | None, at: datetime) -> bool:
    """Whether to tell what lasts: it is new, or was told a day ago; a time that is yet to come is of a clock set back."""
    return told_at is None or not timedelta() <= at - told_at < AGAIN


def _title(settings: Settings, due: Sequence[Occasion]) -> str:
    what = due[0].what.split(". ")[0].split(": ")[0].rstrip(".") if due else "What systems refuse"
    more = f", and {len(due) - 1} more" if len(due) > 1 else ""
    return f"DynSync: {what}{more} ({_installation(settings)})"


def _body(due: Sequence[Occasion], digest: str | None) -> str:
    parts = [f"{each.what}\n{each.next_step}" for each in due]
    return "\n\n".join([*parts, *([digest] if digest else [])])


def _installation(settings: Settings) -> str:
    """Which one it is, of several that tell the same people: its name, where it is one of several pairs, and its Dynamics."""
    dynamics = urlsplit(settings.dynamics_url).hostname or str(settings.data_dir.resolve())
    return f"{settings.pair}, {dynamics}" if settings.pair else dynamics


def _ways(settings: Settings) -> list[Any]:
    """Apprise once for each address, which it knows. Raises: ExtraMissing, SettingsWrong, which names none of them."""
    try:
        from apprise import Apprise
    except ImportError:
        raise ExtraMissing(
            "Telling people needs apprise, which is not installed.",
            next_step="Run `pip install 'dynsync-pipeline[notify]'`.",
        ) from None
    addresses = _SPACE.split(settings.notify.get_secret_value().strip()) if settings.notify else []
    ways = [Apprise() for _ in addresses]
    added = [way.add(address) for way, address in zip(ways, addresses, strict=True)]
    if wrong := [str(number) for number, is_known in enumerate(added, 1) if not is_known]:
        raise SettingsWrong(
            f"DYNSYNC_NOTIFY: apprise does not understand address {', '.join(wrong)} of {len(addresses)}.",
            next_step="Its documentation lists the forms, such as mailto://, slack://, msteams:// and json://.",
        )
    return ways


def _send(ways: Sequence[Any], title: str, body: str) -> list[Way]:
    """Send by every way, side by side, and wait for none longer than the limit.

    Each in a daemon thread, which keeps no process from ending: apprise's own time limit leaves a thread that does, and an
    address that answers a byte a second is never done.
    """
    sent: dict[int, bool] = {}

    def send(number: int, way: Any) -> None:
        try:
            sent[number] = bool(way.notify(body=body, title=title))
        except Exception:  # of apprise, or of what it sends by; its text may hold the address
            sent[number] = False

    threads = [threading.Thread(target=send, args=each, name="notify", daemon=True) for each in enumerate(ways)]
    for thread in threads:
        thread.start()
    ends_s = time.monotonic() + LONGEST_S
    for thread in threads:
        thread.join(max(0.0, ends_s - time.monotonic()))
    return [Way(str(way[0].service_name), sent.get(number, False)) for number, way in enumerate(ways)]


def _require_sent(ways: Sequence[Way]) -> None:
    """Log which ways failed, and raise NotTold where all of them did."""
    failed = [way.name for way in ways if not way.is_sent]
    if len(failed) == len(ways):
        raise NotTold(f"No way of DYNSYNC_NOTIFY took the message: {', '.join(failed)}.", next_step=_TEST)
    if failed:
        log.warning("Not told by %s. %s", ", ".join(failed), _TEST)


_TEST = "`dynsync notify --test` tries each."


@contextmanager
def _one_at_a_time(folder: Path) -> Iterator[bool]:
    """Whether nobody else tells just now: the sensor and a command may look at once."""
    with storage_errors(folder):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = (folder / "notify.lock").open("a")
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True


def _read(file: Path) -> dict[str, datetime]:
    """When what was told last, by code; nothing where the file is missing or damaged."""
    try:
        told = json.loads(file.read_text("utf-8"))
        return {str(code): datetime.fromisoformat(when) for code, when in told.items()}
    except (OSError, ValueError, AttributeError, TypeError):
        return {}


def _write(file: Path, told: dict[str, datetime]) -> None:
    with storage_errors(file):
        write_whole(file, json.dumps({code: when.isoformat(timespec="seconds") for code, when in told.items()}))
