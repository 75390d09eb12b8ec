"""Which statements of the rule files each test runs, learned from the log of a run of all tests.

Not here: which tests a mutant meets (`check.py`).
"""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import msgspec
import pytest

from dynsync_pipeline.sql_files import sql_file, statements

LEARNED = "learned.json"  # the file in a copy
LOG = "dynsync_pipeline.sql_files"


class TestRun(msgspec.Struct):
    """A test as pytest names it inside the folder of tests, the CPU it took, and the statements it ran, as file and line:
    whether any row came of them.
    """

    __test__ = False

    test: str
    cpu_s: float
    statements: dict[str, bool]


class Learning(logging.Handler):
    """A plugin of pytest that leaves in the working folder what each test ran. What fixtures ran counts for all tests of a
    file, because they may share it.
    """

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self._runs: list[TestRun] = []
        self._shared: dict[Path, dict[str, bool]] = defaultdict(dict)
        self._seen: dict[str, bool] = {}

    def emit(self, record: logging.LogRecord) -> None:
        """A statement ran; one that was left out is told with fewer words."""
        if isinstance(record.args, tuple) and len(record.args) == 5:
            path, _, line, n_rows, _ = record.args
            place = f"{path}:{line}"
            self._seen[place] = self._seen.get(place, False) or n_rows != "0"

    def pytest_sessionstart(self) -> None:
        log = logging.getLogger(LOG)
        log.setLevel(logging.DEBUG)
        log.addHandler(self)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        self._seen, started_s = {}, time.process_time()
        try:
            return (yield)
        finally:
            test = item.nodeid.partition("/")[2]
            self._runs.append(TestRun(test, time.process_time() - started_s, self._seen))

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> Iterator[None]:
        try:
            return (yield)
        finally:
            self._shared[item.path].update(self._seen)

    def pytest_sessionfinish(self) -> None:
        for run in self._runs:
            shared = self._shared[Path.cwd() / "dynsync_pipeline_tests" / run.test.partition("::")[0]]
            run.statements = {**shared, **run.statements}
        Path(LEARNED).write_bytes(msgspec.json.encode(self._runs))


def learned(copy: Path) -> list[TestRun]:
    """What `Learning` left in a copy, which is taken away."""
    file = copy / LEARNED
    runs = msgspec.json.decode(file.read_bytes(), type=list[TestRun])
    file.unlink()
    return runs


def line_of_statement(file: str, line: int) -> int:
    """The first line of the statement that a line of a rule file belongs to."""
    return max((first for first in _first_lines(file) if first <= line), default=line)


@cache
def _first_lines(file: str) -> list[int]:
    room, _, rest = file.partition("/sql/")
    step = f"{room}/{rest.removesuffix('.sql')}"
    return [statement.line for statement in statements(sql_file(step))]
