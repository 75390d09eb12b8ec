"""The call budget keeps to its limits, whoever calls."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest

from dynsync_pipeline.clients import budget as budget_module
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


def test_no_window_ever_holds_more_calls_than_allowed_even_with_many_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    looked = threading.local()

    def monotonic() -> float:
        looked.at_s = now_s = time.monotonic()
        return now_s

    monkeypatch.setattr(budget_module, "time", SimpleNamespace(monotonic=monotonic, sleep=time.sleep))
    budget = CallBudget("marketo", 1000, calls_per_window=5, window_s=0.2)

    def call(_: int) -> float:
        """When it was let through: a thread may stand still between that and its next look at a clock."""
        budget.spend("GET /x")
        return float(looked.at_s)

    with ThreadPoolExecutor(8) as pool:
        times = sorted(pool.map(call, range(17)))
    assert all(later - earlier > 0.199 for earlier, later in zip(times, times[5:], strict=False))
    assert budget.used == 17
    assert times[-1] - times[0] > 0.599


def test_a_request_bigger_than_the_window_goes_out_alone_instead_of_waiting_for_ever() -> None:
    budget = CallBudget("dynamics", 1000, calls_per_window=5, window_s=0.1)
    started = time.monotonic()
    budget.spend("GET /x")
    budget.spend("POST /$batch", n_calls=50)
    assert time.monotonic() - started > 0.099
    assert budget.used == 51
