"""How many calls a system may still get: per day, and within a sliding window (R126). Not here: sending them.

Both vendors share one allowance between all integrations of a customer, so DynSync keeps to its part by itself.
"""

from __future__ import annotations

import threading
import time
from collections import deque

from dynsync_pipeline.errors import BudgetSpent


class CallBudget:
    """The calls one system may get today. Shared by threads.

    `used` is what was spent before in these 24 hours; `calls_per_window` limits the calls in any `window_s` seconds.
    """

    def __init__(
        self,
        system: str,
        calls_per_day: int,
        *,
        used: int = 0,
        calls_per_window: int | None = None,
        window_s: float = 20.0,
    ) -> None:
        self._system = system
        self._calls_per_day = calls_per_day
        self._used = used
        self._calls_per_window = calls_per_window
        self._window_s = window_s
        self._sent_at: deque[float] = deque()
        self._lock = threading.Lock()

    @property
    def used(self) -> int:
        """Calls spent in these 24 hours, those given at the start included."""
        return self._used

    def spend(self, request: str, *, n_calls: int = 1) -> None:
        """Take `n_calls` from the budget, waiting until the window has room; a `$batch` counts each of its operations.

        Raises: BudgetSpent if the day has fewer left; then nothing was taken.
        """
        while (wait_s := self._take(request, n_calls)) > 0:
            time.sleep(wait_s)

    def _take(self, request: str, n_calls: int) -> float:
        """Take the calls and return 0, or return the seconds until the window has room."""
        with self._lock:
            if self._used + n_calls > self._calls_per_day:
                setting = f"DYNSYNC_{self._system.upper()}_CALLS_PER_DAY"
                raise BudgetSpent(
                    f"The {self._calls_per_day} calls a day that DynSync may send to {self._system} are used up.",
                    system=self._system,
                    request=request,
                    next_step=f"Work goes on when the day is over; raise {setting} to allow more.",
                )
            if self._calls_per_window is not None:
                now = time.monotonic()
                while self._sent_at and self._sent_at[0] <= now - self._window_s:
                    self._sent_at.popleft()
                # A request bigger than the whole window goes out alone, or it would wait for ever.
                if self._sent_at and len(self._sent_at) + n_calls > self._calls_per_window:
                    return max(self._sent_at[0] + self._window_s - now, 0.001)
                self._sent_at.extend([now] * n_calls)
            self._used += n_calls
            return 0.0
