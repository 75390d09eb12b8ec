"""Runs the tests of the rules against every mutant of the rule files: a mutant that no test notices is a survivor.

Each mutant stands in a copy of package and tests, so that nobody's files are touched, and each processor has a copy of its
own. One pass without a mutant learns which statements each test runs (`learning.py`): a mutant meets the tests that run its
statement, first those in which rows come of it, the fastest before the others. Not here: what a mutant is
(`sql_mutants.py`), judging by tests of rows alone (`in_one_process.py`), which survivors are harmless (`explained.toml`).
"""

from __future__ import annotations

import argparse
import importlib
import multiprocessing
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import NamedTuple

import pytest

from dynsync_pipeline_tests.mutants.in_one_process import judged
from dynsync_pipeline_tests.mutants.learning import Learning, TestRun, learned, line_of_statement
from dynsync_pipeline_tests.mutants.sql_mutants import Mutant, mutants_of

ROOT = Path(__file__).parents[2]
PACKAGE, TESTS = "dynsync_pipeline", "dynsync_pipeline_tests"
ROOMS = ("reconcile", "write_back", "warehouse", "requests", "operate")  # whose `sql/` holds rules
IN_MEMORY = ("reconcile", "properties", "qualifying", "sync_filter", "census", "requests", "warehouse/test_macros.py")
OVER_HTTP = ("accounts", "adoption", "deletions", "refusals", "defs/test_audit.py")
EXPLAINED = Path(__file__).with_name("explained.toml")
MOST_CPU_S = 900  # a mutant that keeps the processor busy for longer has no end, which is noticed
LONGEST_S = 3600.0  # whatever waits for longer, on a busy machine perhaps, is not judged
N_RECENT = 4  # of the tests that noticed a mutant of a file, how many are tried first on its next one
NOTICED_BY = "noticed_by"  # the file in a copy that names the test that failed
# What takes long to import, so that each mutant starts in no time; nothing of ours, which a mutant may change.
PRELOADED = [
    "duckdb",
    "httpx",
    "hypothesis",
    "msal",
    "pandas",
    "pyarrow",
    "pydantic",
    "pytest",
    "stamina",
    "uvicorn",
]
_processes = multiprocessing.get_context("forkserver")
_processes.set_forkserver_preload(PRELOADED)


class Candidate(NamedTuple):
    """A mutant and the file it is of, seen from the package."""

    file: str
    mutant: Mutant


def rule_files(package: Path) -> list[Path]:
    """All SQL files with rules, in the order of their names."""
    return sorted(file for room in ROOMS for file in (package / room / "sql").rglob("*.sql"))


def candidates(package: Path, pattern: str = "*") -> list[Candidate]:
    """Every mutant of the rule files whose path fits `pattern`."""
    names = [str(file.relative_to(package)) for file in rule_files(package)]
    return [
        Candidate(name, mutant)
        for name in names
        if Path(name).match(pattern)
        for mutant in mutants_of((package / name).read_text("utf-8"))
    ]


def explained() -> dict[tuple[str, str], str]:
    """(file, mutation) of every survivor that was reviewed, and the reason why no test need notice it."""
    entries = tomllib.loads(EXPLAINED.read_text("utf-8")).get("survivor", [])
    return {(entry["file"], entry["mutation"]): entry["reason"] for entry in entries}


class Copies:
    """Copies of package and tests in `folder`, one for each processor, in which mutants are judged side by side by `tests`,
    which are files and folders of tests.

    What notices one mutant of a file mostly notices the next, so that these tests go first.
    """

    def __init__(self, folder: Path, tests: Sequence[str]) -> None:
        self.n = os.cpu_count() or 1
        self._files = _test_files(tests)
        self._runs: list[TestRun] = []
        self._recent: dict[str, list[str]] = {}
        self._idle: SimpleQueue[Path] = SimpleQueue()
        for number in range(self.n):
            self._idle.put(copied(folder / str(number)))

    def judged(self, candidate: Candidate) -> str:
        """`noticed` if a test fails or has no end with this mutant in a copy, which is put right again; else as `tested`."""
        copy = self._idle.get()
        file = copy / PACKAGE / candidate.file
        original = file.read_text("utf-8")
        recent = self._recent.setdefault(candidate.file, [])
        file.write_text(candidate.mutant.text, "utf-8")
        try:
            outcome = tested(copy, [*recent, *self._of(candidate)])
            self._remember(recent, copy / NOTICED_BY)
        finally:
            file.write_text(original, "utf-8")
            self._idle.put(copy)
        return outcome

    def learn(self) -> bool:
        """Run all tests without a mutant and learn what each runs; False if one fails."""
        shares = [self._files[number :: self.n] for number in range(self.n)]
        with ThreadPoolExecutor(self.n) as pool:
            return all(pool.map(self._learn, shares))

    def _learn(self, files: Sequence[str]) -> bool:
        copy = self._idle.get()
        try:
            passed = not files or tested(copy, files, is_learning=True) == "SURVIVED"
            self._runs += learned(copy) if files and passed else []
            return passed
        finally:
            self._idle.put(copy)

    def _of(self, candidate: Candidate) -> list[str]:
        """The tests that run the statement of a mutant, in the order in which they are tried; all where none does."""
        place = f"{candidate.file}:{line_of_statement(candidate.file, candidate.mutant.line)}"
        running = sorted(
            (not run.statements[place], run.cpu_s, run.test) for run in self._runs if place in run.statements
        )
        return [test for _, _, test in running] or self._files

    def _remember(self, recent: list[str], noticed_by: Path) -> None:
        if noticed_by.exists():
            test = noticed_by.read_text("utf-8")
            noticed_by.unlink()
            recent[:] = [test, *(other for other in recent if other != test)][:N_RECENT]


def _test_files(tests: Sequence[str]) -> list[str]:
    paths = [ROOT / TESTS / test for test in tests]
    files = [file for path in paths for file in ([path] if path.is_file() else sorted(path.rglob("test_*.py")))]
    return [str(file.relative_to(ROOT / TESTS)) for file in files]


def tested(copy: Path, tests: Sequence[str], *, is_learning: bool = False) -> str:
    """`SURVIVED` if all these tests of the copy pass, in a process of their own, `noticed` if one fails.

    Time counts as the processor's, so that on a busy machine no slow test is taken for a failed one; `UNDECIDED` is what
    did not end in an hour without using it up, or was killed from outside.
    """
    process = _processes.Process(target=_test, args=(copy, tests, is_learning))
    process.start()
    process.join(LONGEST_S)
    if process.exitcode is None:
        process.kill()
        process.join()
    return {0: "SURVIVED", int(pytest.ExitCode.TESTS_FAILED): "noticed", -signal.SIGXCPU: "noticed"}.get(
        process.exitcode or 0, "UNDECIDED"
    )


class _FirstFailure:
    """A plugin of pytest that leaves the name of the test that failed in the copy."""

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            Path(NOTICED_BY).write_text(report.nodeid.removeprefix(f"{TESTS}/"), "utf-8")


def _test(copy: Path, tests: Sequence[str], is_learning: bool) -> None:
    """Run pytest on the copy, to the first failure; our own modules are imported from there alone."""
    resource.setrlimit(resource.RLIMIT_CPU, (MOST_CPU_S, MOST_CPU_S + 60))
    os.chdir(copy)
    for name in [name for name in sys.modules if name.partition(".")[0] in (PACKAGE, TESTS)]:
        del sys.modules[name]
    sys.path.insert(0, str(copy))
    module = importlib.import_module(PACKAGE)
    assert Path(str(module.__file__)).is_relative_to(copy), "the copy is not what is tested"
    with Path(os.devnull).open("w") as nowhere:
        os.dup2(nowhere.fileno(), 1)
        os.dup2(nowhere.fileno(), 2)
    options = "-x --assert=plain -p no:cacheprovider --no-header --tb=no -p no:xdist -o timeout=0 --hypothesis-profile=mutants"
    plugins = [_FirstFailure(), *([Learning()] if is_learning else [])]
    which = ["-m", "not deep and not spark"]
    code = pytest.main([*options.split(), *which, *(f"{TESTS}/{test}" for test in tests)], plugins=plugins)
    os._exit(int(code))


def copied(folder: Path) -> Path:
    """A copy of package, tests and settings in `folder`, which is made."""
    ignored = shutil.ignore_patterns("__pycache__", ".hypothesis")
    for name in (PACKAGE, TESTS):
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


def survivors(found: Sequence[Candidate], tests: Sequence[str], minutes: float) -> Iterator[Candidate]:
    """The candidates that no test noticed, each as soon as it is known; tells on stderr how far it is."""
    deadline = time.monotonic() + minutes * 60
    with tempfile.TemporaryDirectory() as temporary:
        copies = Copies(Path(temporary), tests)
        if not copies.learn():
            raise SystemExit("The tests fail without any mutant; mend that first.")

        def judge(candidate: Candidate) -> tuple[str, float] | None:
            started = time.monotonic()
            return None if started > deadline else (copies.judged(candidate), time.monotonic() - started)

        with ThreadPoolExecutor(copies.n) as pool:
            for n, (candidate, judged) in enumerate(zip(found, pool.map(judge, found), strict=True), start=1):
                if judged is None:
                    print(f"Time is up after {n - 1} of {len(found)} mutants.", file=sys.stderr)
                    return
                outcome, seconds = judged
                name = f"{candidate.file}:{candidate.mutant.line} {candidate.mutant.mutation}"
                print(f"{n}/{len(found)} {outcome} {seconds:.0f} s {name}", file=sys.stderr, flush=True)
                if outcome != "noticed":
                    yield candidate


def by_rows(found: Sequence[Candidate], tests: Sequence[str]) -> list[Candidate]:
    """The candidates that these files of tests of rows do not notice."""
    outcomes = judged(found, [str(ROOT / TESTS / test) for test in tests])
    return [candidate for candidate, survived in zip(found, outcomes, strict=True) if survived]


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the survivors with their differences; returns 1 if any of them is not explained, else 0."""
    parser = argparse.ArgumentParser(prog="python -m dynsync_pipeline_tests.mutants", description=__doc__)
    parser.add_argument("--file", default="*", help="only files whose path ends like this pattern, e.g. 'fan_out.sql'")
    parser.add_argument("--sample", type=int, help="only this many mutants, drawn at random")
    parser.add_argument("--seed", type=int, default=0, help="draws another sample")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin no mutant after this time")
    parser.add_argument("--http", action="store_true", help=f"also run {', '.join(OVER_HTTP)}; slower")
    parser.add_argument(
        "--tests",
        nargs="+",
        help="run these files or folders of tests alone, e.g. reconcile/test_approval_rows.py: seconds a mutant",
    )
    parser.add_argument(
        "--rows",
        nargs="+",
        help="judge by these files of tests of rows in one process, in a fraction of a second a mutant",
    )
    given = parser.parse_args(arguments)

    package = ROOT / PACKAGE
    found = candidates(package, given.file)
    if given.sample is not None and given.sample < len(found):
        found = random.Random(given.seed).sample(found, given.sample)
    tests = given.tests or IN_MEMORY + (OVER_HTTP if given.http else ())
    harmless, n_survivors, n_unexplained = explained(), 0, 0
    for file, mutant in by_rows(found, given.rows) if given.rows else survivors(found, tests, given.minutes):
        n_survivors += 1
        reason = harmless.get((file, mutant.mutation))
        n_unexplained += reason is None
        print(f"\n{PACKAGE}/{file}:{mutant.line}\n  mutation: {mutant.mutation}")
        print(f"  explained: {reason}" if reason else "  not explained")
        print(mutant.diff((package / file).read_text("utf-8"), file), flush=True)
    print(f"\n{n_survivors} survivors, {n_unexplained} of them not explained.")
    return 1 if n_unexplained else 0
