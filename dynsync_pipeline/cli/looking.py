"""What the commands that only look share: the snapshot, spans of time, safe cells, JSON. Not here: commands."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import typer
from rich.text import Text

from dynsync_pipeline.errors import StorageFailed
from dynsync_pipeline.look.status import Status, read_status, told_status
from dynsync_pipeline.settings import Settings
from dynsync_pipeline.warehouse.cycle_lock import LastCycle, read_cycle_lock
from dynsync_pipeline.warehouse.first_load import progress

if TYPE_CHECKING:
    import duckdb

    from dynsync_pipeline.look.reading import Row

EXIT_CODES = "Exit codes: 0 done, 1 failed (also: no snapshot yet), 2 settings or options wrong."
LONGEST = 100  # characters of one value in a table; --json shows all
LONGEST_SPAN = timedelta(days=36_500)
_UNITS_S = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


@contextmanager
def open_snapshot(settings: Settings) -> Iterator[duckdb.DuckDBPyConnection]:
    """The snapshot, read-only, also while a cycle runs. Raises: StorageFailed, with what to do, when there is none."""
    from dynsync_pipeline.look.reading import reading_snapshot  # `dynsync status` seldom needs a database

    running = running_cycle(settings)
    if running and not settings.snapshot_file.exists():
        raise StorageFailed(
            f"There is no snapshot at {settings.snapshot_file} yet: the first cycle has been running since "
            f"{running.started_at:%H:%M:%S} UTC. {first_load_sentence(settings)}".rstrip(),
            next_step="It is there when that cycle ends.",
        )
    with reading_snapshot(settings.snapshot_file) as connection:
        yield connection


def find_status(settings: Settings, at: datetime) -> Status:
    """The status at `at`, UTC without zone: as `status.json` tells it, or else the snapshot, of which it goes on.

    Raises: StorageFailed, with what to do, where there is no snapshot.
    """
    if told := told_status(settings.snapshot_file, at):
        return told
    with open_snapshot(settings) as connection:
        return read_status(connection, at)


def running_cycle(settings: Settings) -> LastCycle | None:
    """The cycle that runs now, if any."""
    last = read_cycle_lock(settings.lock_file)
    return last if last and last.is_running and last.ended_at is None else None


def first_load_sentence(settings: Settings) -> str:
    """What the first load costs and how far it is, while it lasts (R4); how far a later cycle is that runs for long."""
    told = progress(settings.data_dir)
    estimated = told.pop("estimate", "")
    if not estimated and not running_cycle(settings):  # it was killed, and the next one begins anew
        return ""
    parts = [
        *([f"First load: {estimated}."] if estimated else []),
        *([f"So far {', '.join(told.values())}."] if told else []),
    ]
    return " ".join(parts)


def now() -> datetime:
    """UTC without zone, as the snapshot keeps its times."""
    return datetime.now(UTC).replace(tzinfo=None)


def span(text: str) -> timedelta:
    """A span of time as people write it: 90s, 30m, 12h, 5d."""
    found = re.fullmatch(r"(\d{1,6})([smhd])", text.strip())
    if not found:
        raise typer.BadParameter(f"{text!r} is not a span of time: write 90s, 30m, 12h or 5d.")
    length = timedelta(seconds=int(found[1]) * _UNITS_S[found[2]])
    if length > LONGEST_SPAN:
        raise typer.BadParameter(f"{text!r} is more than {LONGEST_SPAN.days:,}d.")
    return length


KEPT = "\n\u200d"  # the latter joins emoji


def rough(length: timedelta) -> str:
    """A span of time in its largest fitting unit: 12 s, 5 min, 3 h, 4 d."""
    seconds = max(length.total_seconds(), 0)
    for unit, size_s, up_to_s in (("s", 1, 120), ("min", 60, 7_200), ("h", 3_600, 172_800)):
        if seconds < up_to_s:
            return f"{seconds / size_s:.0f} {unit}"
    return f"{seconds / 86_400:.0f} d"


def moment(at: datetime | None) -> str:
    """A time to the second; the table's title says that it is UTC."""
    return f"{at:%Y-%m-%d %H:%M:%S}" if at else ""


def set_aside_sentence(row: Row) -> str:
    """What of a back-fill could not be read, why, and when it is tried again; nothing where all could."""
    if not row["n_set_aside"]:
        return ""
    return (
        f"Back-fill {row['back_fill_id']}: {row['n_set_aside']:,} parts of the {row['record_type']}s could not be read, the "
        f"first is tried again at {moment(row['next_look_at'])} UTC. {row['set_aside_because']}"
    )


def counted(n: int, noun: str) -> str:
    """A number with its noun: 1 time, 2 times."""
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def cell(value: object, *, style: str = "") -> Text:
    """A value as it stands: no markup, and no control character of it reaches the terminal, nor one that turns text around."""
    text = "" if value is None else str(value)
    return Text(
        "".join("�" if unicodedata.category(c) in ("Cc", "Cf") and c not in KEPT else c for c in text), style=style
    )


def value_cell(value: str | None) -> Text:
    """The value of a field: a dash for none, the beginning of a long one."""
    if value is None:
        return Text("–", "dim")
    return cell(value if len(value) <= LONGEST else f"{value[:LONGEST]}…")


def print_json(value: object) -> None:
    """Print for programs: times as YYYY-MM-DDThh:mm:ssZ, spans and counts as numbers."""
    print(json.dumps(value, default=plain, ensure_ascii=False))  # noqa: T201 (programs read this, not people)


def plain(value: Any) -> str:
    """A value that JSON has no kind for, as text: times as YYYY-MM-DDThh:mm:ssZ."""
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%dT%H:%M:%SZ}"
    return str(value)
