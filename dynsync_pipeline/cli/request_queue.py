"""What `dynsync status` and `dynsync explain` tell of requests: the store has them, also while a cycle runs.

Not here: asking (`asking.py`), what became of those that ended for good (the table `requests` of the snapshot).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from dynsync_pipeline.cli.looking import counted, moment, rough
from dynsync_pipeline.errors import StorageFailed
from dynsync_pipeline.settings import Settings

if TYPE_CHECKING:
    from dynsync_pipeline.requests.store import Request

RECENT = timedelta(days=7)
MOST_NAMED = 5
_ASKED = {"record": "to become a {}", "owner": "for another owner", "task": "for a task"}


@dataclass(frozen=True)
class Queue:
    """Requests that have not ended, oldest first, and those of the last seven days that ended in vain, newest first."""

    unfinished: list[Request]
    refused: list[Request]


def read_queue(settings: Settings, at: datetime) -> Queue | None:
    """The queue at `at` (UTC without zone), None where no door was ever used. Raises: StorageFailed."""
    if not settings.requests_file.exists():
        return None
    from dynsync_pipeline.requests.store import RequestStore  # only where there are requests

    with RequestStore(settings.requests_file) as store:
        return Queue(store.unfinished(), store.refused_since(at - RECENT))


def queue_figures(queue: Queue | None) -> dict[str, object] | None:
    """The same for programs."""
    if queue is None:
        return None
    return {
        "n_open": len(queue.unfinished),
        "n_waiting": sum(each.attempts > 0 for each in queue.unfinished),
        "oldest_asked_at": min((each.asked_at for each in queue.unfinished), default=None),
        "n_refused": len(queue.refused),
    }


def queue_lines(settings: Settings, at: datetime) -> Iterator[str]:
    """What is to be told of the queue at `at`; nothing where no door was ever used."""
    try:
        queue = read_queue(settings, at)
    except StorageFailed as error:
        yield str(error)
        return
    if queue is None:
        return
    waiting = [each for each in queue.unfinished if each.attempts and each.state != "ask"]
    n_asking = sum(each.state == "ask" for each in queue.unfinished)
    told = f"Requests: {len(queue.unfinished):,} open"
    if queue.unfinished:
        told += f", the oldest asked for {rough(at - queue.unfinished[0].asked_at)} ago; {len(waiting):,} of them wait"
    if n_asking:
        told += f"; {n_asking:,} came back from a backup, see `dynsync requests`"
    yield f"{told}. Refused in the last 7 days: {len(queue.refused):,}."
    for each in waiting[:MOST_NAMED]:
        yield f"  {request_line(each)}"
    if queue.refused:
        named = ", ".join(str(each.person_id) for each in queue.refused[:MOST_NAMED])
        yield f"  Refused, newest first: people {named}. `dynsync explain` with such an id says why; mend it, and ask again."


def requests_of(settings: Settings, person_id: int) -> list[Request]:
    """The newest requests for a person. Raises: StorageFailed."""
    if not settings.requests_file.exists():
        return []
    from dynsync_pipeline.requests.store import RequestStore

    with RequestStore(settings.requests_file) as store:
        return store.of_person(person_id)[:MOST_NAMED]


def request_line(request: Request) -> str:
    """How a request stands, and what comes next."""
    asked = _ASKED[request.kind].format(request.record_type)
    line = f"Person {request.person_id} was asked {asked} at {moment(request.asked_at)} UTC by {request.door}: "
    if request.state == "ended":
        from dynsync_pipeline.requests.store import FULFILLED

        line += " ".join(filter(None, (f"{request.outcome}.", request.message)))
        return line if request.outcome in FULFILLED else f"{line} It is not tried again by itself."
    if request.state == "ask":
        return f"{line}it came back from a backup and waits for your word: `dynsync requests`."
    if not request.attempts:
        return f"{line}open; it is served as soon as no cycle runs."
    what = (
        "its keys are to be written yet" if request.state == "linked" else f"tried {counted(request.attempts, 'time')}"
    )
    return f"{line}waits, {what}; next try after {moment(request.next_try_at)} UTC. {request.message or ''}".rstrip()
