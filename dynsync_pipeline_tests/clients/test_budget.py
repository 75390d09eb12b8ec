"""The call budget keeps to its limits, whoever calls."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from dynsync_pipeline.clients.budget import CallBudget
from dynsync_pipeline.errors import BudgetSpent


def test_a_spent_day_refuses_and_takes_nothing() -> None:
    """R126."""
    budget = CallBudget("dynamics", 10, used=7)
    budget.spend("GET /x")
    with pytest.raises(BudgetSpent) as raised:
        budget.spend("POST /$batch", n_calls=3)
    assert budget.used == 8
    assert raised.value.request == "POST /$batch"
    assert "DYNSYNC_DYNAMICS_CALLS_PER_DAY" in raised.value.next_step
    budget.spend("POST /$batch", n_calls=2)
    assert budget.used == 10


def test_no_window_ever_holds_more_calls_than_allowed_even_with_many_threads() -> None:
    budget = CallBudget("marketo", 1000, calls_per_window=5, window_s=0.2)
    times: list[float] = []

    def call(_: int) -> None:
        budget.spend("GET /x")
        times.append(time.monotonic())

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(call, range(17)))
    times.sort()
    # The clock is read a little after the call was let through, so a window may look a touch shorter than it was.
    assert all(later - earlier > 0.15 for earlier, later in zip(times, times[5:], strict=False))
    assert budget.used == 17
    assert times[-1] - times[0] >= 0.55


def test_a_request_bigger_than_the_window_goes_out_alone_instead_of_waiting_for_ever() -> None:
    budget = CallBudget("dynamics", 1000, calls_per_window=5, window_s=0.1)
    budget.spend("GET /x")
    started = time.monotonic()
    budget.spend("POST /$batch", n_calls=50)
    assert time.monotonic() - started > 0.05
    assert budget.used == 51
