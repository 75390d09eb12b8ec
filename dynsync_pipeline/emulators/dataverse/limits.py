"""Service protection: three limits per user over a sliding five minutes.

Source: docs/protocols/dataverse.md#limits, #checklist 28.
"""

from __future__ import annotations

import threading
import time
from collections import defaultdict, deque
from dataclasses import dataclass, field

from dynsync_pipeline.emulators.dataverse.errors import DataverseError

WINDOW_S = 300.0


@dataclass
class _Use:
    """What one user did within the window: (end time, seconds) per request."""

    requests: deque[tuple[float, float]] = field(default_factory=deque)
    spent_s: float = 0.0
    n_running: int = 0


class Limits:
    """Counts requests of each user; `time_scale` shortens the window."""

    def __init__(self, time_scale: float) -> None:
        self.window_s = WINDOW_S / time_scale
        self._uses: defaultdict[str, _Use] = defaultdict(_Use)
        self._lock = threading.Lock()
        self.restore()

    def restore(self) -> None:
        """Set the vendor's defaults and forget all use."""
        self.set(6_000, 1_200.0, 52)

    def set(self, n_requests: int, execution_s: float, n_concurrent: int) -> None:
        """Change the three limits, per user and window, and forget all use so far."""
        with self._lock:
            self.n_requests, self.execution_s, self.n_concurrent = n_requests, execution_s, n_concurrent
            for use in self._uses.values():
                use.requests.clear()
                use.spent_s = 0.0

    def enter(self, user_id: str) -> dict[str, str]:
        """Count a request in; returns the rate headers of its answer. Raises DataverseError 429."""
        with self._lock:
            use = self._uses[user_id]
            now = time.monotonic()
            while use.requests and use.requests[0][0] <= now - self.window_s:
                use.spent_s -= use.requests.popleft()[1]
            if use.n_running >= self.n_concurrent:
                raise _too_many(
                    "0x80072326", f"Number of concurrent requests exceeded the limit of {self.n_concurrent}.", 1.0
                )
            if len(use.requests) >= self.n_requests:
                raise _too_many(
                    "0x80072322",
                    f"Number of requests exceeded the limit of {self.n_requests} over time window of 300 seconds.",
                    use.requests[0][0] + self.window_s - now,
                )
            if use.requests and use.spent_s >= self.execution_s:
                raise _too_many(
                    "0x80072321",
                    "Combined execution time of incoming requests exceeded limit of "
                    f"{self.execution_s * 1000:,.0f} milliseconds over time window of 300 seconds. Decrease number of "
                    "concurrent requests or reduce the duration of requests and try again later.",
                    use.requests[0][0] + self.window_s - now,
                )
            use.n_running += 1
            return {
                "x-ms-ratelimit-burst-remaining-xrm-requests": str(self.n_requests - len(use.requests) - 1),
                "x-ms-ratelimit-time-remaining-xrm-requests": f"{self.execution_s - use.spent_s:,.2f}",
            }

    def leave(self, user_id: str, seconds: float) -> None:
        """Count a request out with its duration."""
        with self._lock:
            use = self._uses[user_id]
            use.n_running -= 1
            use.requests.append((time.monotonic(), seconds))
            use.spent_s += seconds


def _too_many(code: str, message: str, wait_s: float) -> DataverseError:
    return DataverseError(429, code, message, {"Retry-After": str(max(1, int(wait_s) + 1))})
