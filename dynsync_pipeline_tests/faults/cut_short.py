"""Cycles that die: a real process, killed by SIGKILL at a chosen moment. Not here: what must hold afterwards (the tests)."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from dynsync_pipeline.warehouse.connection import Warehouse
from dynsync_pipeline.whole_cycle import run_cycle
from dynsync_pipeline_tests.worlds.cuts import SmallWarehouse
from dynsync_pipeline_tests.worlds.http import HttpWorld, Watch, let_pass, settings_from
from dynsync_pipeline_tests.worlds.processes import forked

LIMIT_S = 240.0


def cut_after_step(world: HttpWorld, n_steps: int) -> bool:
    """Run a cycle that is killed right after its `n_steps`-th step; False if it ended before it got there.

    A step is a commit to the working file, or one of the file operations that swap the snapshot in.
    """
    process = forked(_cycle, world.environment, n_steps)
    process.start()
    return _has_died(process)


def cut_at_request(world: HttpWorld, system: str, path: str, n: int, *, is_applied: bool) -> bool:
    """Run a cycle that is killed when its n-th request to `path` arrives, or when it `is_applied` and unanswered.

    Returns False if the cycle ended before it got there. `path` is the end of `POST /rest/v1/leads.json` or the like.
    """
    watch: Watch = world.dynamics if system == "dynamics" else world.marketo
    watch.forget()
    struck: list[str] = []
    process = forked(_cycle, world.environment, 0)

    def strike(request: str, is_applied_now: bool) -> bool:
        n_seen = sum(seen.endswith(path) for seen in watch.paths)
        if struck or n_seen != n or is_applied_now != is_applied or not request.endswith(path):
            # What was on its way when the process died arrives nevertheless, as on a real network.
            return True
        struck.append(request)
        os.kill(process.pid or 0, signal.SIGKILL)
        return False

    watch.on_request = strike
    try:
        process.start()
        has_died = _has_died(process)
    finally:
        watch.on_request = let_pass
    assert has_died == bool(struck)
    return has_died


def _has_died(process: BaseProcess) -> bool:
    process.join(LIMIT_S)
    assert process.exitcode in (0, -signal.SIGKILL), f"the cycle ended with {process.exitcode}"
    return process.exitcode != 0


def _cycle(environment: dict[str, str], n_steps: int) -> None:
    os.environ.clear()
    if n_steps:
        _die_after(n_steps)
    run_cycle(settings_from(environment), warehouse=SmallWarehouse)


def _die_after(n_steps: int) -> None:
    left = n_steps

    def step() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    transaction = Warehouse.transaction

    @contextmanager
    def counted(self: Warehouse) -> Iterator[Any]:
        with transaction(self) as connection:
            yield connection
        step()

    Warehouse.transaction = counted  # type: ignore[method-assign]
    shutil.copyfile = _then(shutil.copyfile, step)
    Path.replace = _then(Path.replace, step)  # type: ignore[method-assign]
    Path.unlink = _then(Path.unlink, step)  # type: ignore[method-assign]
    os.fsync = _then(os.fsync, step)


def _then(function: Callable[..., Any], step: Callable[[], None]) -> Callable[..., Any]:
    def called(*arguments: Any, **options: Any) -> Any:
        answer = function(*arguments, **options)
        step()
        return answer

    return called
