"""Judges mutants by tests of rows, all of them in one process: a quarter of a second a mutant, where a process takes seconds.

Only for tests that touch nothing but DuckDB (`worlds/rule_rows.py`), and run the files with `run_steps`: the mutant stands in
memory alone. Not here: which mutants there are (`check.py`).
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from types import FrameType

import pytest
from _pytest.runner import runtestprotocol

from dynsync_pipeline import sql_files
from dynsync_pipeline_tests.mutants.sql_mutants import Mutant
from dynsync_pipeline_tests.worlds.rule_rows import opened

MOST_CPU_S = 30.0  # a mutant that keeps the processor busy for longer has no end, which is noticed


class Judging:
    """A plugin of pytest that runs the tests once as they are, and then for each mutant up to the first that fails.

    `candidates` are pairs of a file, seen from the package, and its mutant; `survived` tells for each whether no test failed.
    """

    def __init__(self, candidates: Sequence[tuple[str, Mutant]]) -> None:
        self._candidates = candidates
        self.survived: list[bool] = []

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        items = list(session.items)
        if not items or not all(map(_passes, items)):
            raise session.Failed("The tests fail without any mutant; mend that first.")
        for file, mutant in self._candidates:
            with _standing(file, mutant.text):
                failed = next((item for item in items if not _passes(item)), None)
            self.survived.append(failed is None)
            print(
                f"{file}:{mutant.line} {mutant.mutation}: {'SURVIVED' if failed is None else 'noticed'}",
                file=sys.stderr,
            )
            if failed is not None:  # what notices one mutant of a file mostly notices the next
                items.remove(failed)
                items.insert(0, failed)
        return True


def judged(candidates: Sequence[tuple[str, Mutant]], tests: Sequence[str]) -> list[bool]:
    """Whether each mutant survives these files of tests. Raises: SystemExit where a test fails without any mutant."""
    judging = Judging(candidates)
    code = pytest.main(
        [
            "-q",
            "-s",
            "--assert=plain",
            "--no-header",
            "-p",
            "no:cacheprovider",
            "-p",
            "no:xdist",
            "-o",
            "timeout=0",
            *tests,
        ],
        plugins=[judging],
    )
    if len(judging.survived) < len(candidates):
        raise SystemExit(int(code) or 1)
    return judging.survived


def _passes(item: pytest.Item) -> bool:
    with _no_longer_than(MOST_CPU_S):
        reports = runtestprotocol(item, log=False, nextitem=None)
    return not any(report.failed for report in reports)


@contextmanager
def _no_longer_than(cpu_s: float) -> Iterator[None]:
    def stop(number: int, frame: FrameType | None) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, cpu_s)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


@contextmanager
def _standing(file: str, text: str) -> Iterator[None]:
    """In the place of a file stands this text; what a working file is opened with is read anew."""
    original = sql_files.sql_file
    is_of_opening = file.startswith("warehouse/")

    def sql_file(step: str) -> sql_files.SqlFile:
        found = original(step)
        return replace(found, text=text) if found.path == file else found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sql_files, "sql_file", sql_file)
        if is_of_opening:
            opened.cache_clear()
        try:
            yield
        finally:
            if is_of_opening:
                opened.cache_clear()
