"""How often one may call: the window of 20 seconds, calls at the same time, calls per day, and the usage report.

All limits are the subscription's, shared by its API users. Bulk quotas and queues are in `bulk_extract.py`.
Source: docs/protocols/marketo.md#limits.
"""

from __future__ import annotations

from collections import deque
from datetime import datetime, timedelta
from threading import Lock
from typing import Any
from zoneinfo import ZoneInfo

from dynsync_pipeline.emulators.marketo.protocol import Call, Refused
from dynsync_pipeline.emulators.marketo.store import Store

# Answers with these codes count neither against the day nor against the window.
UNCOUNTED = frozenset({"601", "602", "604", "605", "608", "611"})


def vendor_day(moment: datetime) -> str:
    """The quota day: it turns at midnight US Central."""
    return moment.astimezone(ZoneInfo("America/Chicago")).date().isoformat()


class CallCounter:
    """Counts the calls of one running server; the totals per day are kept in the store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = Lock()
        self._recent: deque[float] = deque()
        self._n_running = 0
        self._day = vendor_day(store.now())
        self._n_today = int(_usage(store, self._day)["total"])

    def enter(self) -> None:
        """Begin a call; every `enter` that returns needs a `leave`. Raises: Refused 606, 607, 615."""
        behaviour = self._store.behaviour
        window_s = behaviour.window_s / self._store.time_scale
        with self._lock:
            now = self._store.now().timestamp()
            while self._recent and not now - window_s < self._recent[0] <= now:  # the clock may have been set back
                self._recent.popleft()
            if self._n_running >= behaviour.concurrent_calls:
                raise Refused("615", f"Concurrent access limit '{behaviour.concurrent_calls}' reached")
            if len(self._recent) >= behaviour.calls_per_window:
                raise Refused(
                    "606",
                    f"Max rate limit '{behaviour.calls_per_window}' exceeded with in '{behaviour.window_s:g}' secs",
                )
            if self._n_today >= behaviour.calls_per_day and self._day == vendor_day(self._store.now()):
                raise Refused("607", "Daily quota reached")
            self._recent.append(now)
            self._n_running += 1

    def leave(self) -> None:
        """End a call."""
        with self._lock:
            self._n_running -= 1

    def forget(self) -> None:
        """Take back the youngest call of the window: it was answered with an uncounted code."""
        with self._lock:
            if self._recent:
                self._recent.pop()

    def record(self, api_user: str, error_code: str | None) -> None:
        """Keep the outcome of a call for the day's quota and the usage report."""
        day = vendor_day(self._store.now())
        counts = error_code not in UNCOUNTED and error_code not in ("606", "607", "615")
        with self._lock:
            if day != self._day:
                self._day, self._n_today = day, 0
            self._n_today += counts
        with self._store.lock:
            if error_code is not None:
                self._store.db.execute(
                    "insert into call_errors values (?, ?, 1) on conflict do update set n_calls = n_calls + 1",
                    (day, error_code),
                )
            if counts:
                self._store.db.execute(
                    "insert into calls values (?, ?, 1) on conflict do update set n_calls = n_calls + 1",
                    (day, api_user),
                )


def usage_today(call: Call) -> dict[str, Any]:
    """Calls of the quota day so far, per API user."""
    return {"result": [_usage(call.store, vendor_day(call.store.now()))]}


def usage_last_days(call: Call) -> dict[str, Any]:
    """The same for the last seven days, newest first; days without calls included."""
    return {"result": [_usage(call.store, day) for day in _last_days(call.store)]}


def errors_today(call: Call) -> dict[str, Any]:
    """Error codes answered on the quota day so far."""
    return {"result": [_errors(call.store, vendor_day(call.store.now()))]}


def errors_last_days(call: Call) -> dict[str, Any]:
    """The same for the last seven days, newest first."""
    return {"result": [_errors(call.store, day) for day in _last_days(call.store)]}


def _last_days(store: Store) -> list[str]:
    return [vendor_day(store.now() - timedelta(days=n_back)) for n_back in range(7)]


def _usage(store: Store, day: str) -> dict[str, Any]:
    with store.lock:
        rows = store.db.execute("select api_user, n_calls from calls where day = ? order by 1", (day,)).fetchall()
    users = [{"userId": user, "count": n_calls} for user, n_calls in rows]
    return {"date": day, "total": sum(row[1] for row in rows), "users": users}


def _errors(store: Store, day: str) -> dict[str, Any]:
    with store.lock:
        rows = store.db.execute("select code, n_calls from call_errors where day = ? order by 1", (day,)).fetchall()
    errors = [{"errorCode": code, "count": n_calls} for code, n_calls in rows]
    return {"date": day, "total": sum(row[1] for row in rows), "errors": errors}
