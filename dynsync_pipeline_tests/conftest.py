"""What many tests share: worlds to sync over HTTP, and how hard property tests try. Not here: what a world is (`worlds/`).

Profile `quick` is what `make test` runs, the same examples every time; `deep` is that of `make deep`.
"""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings

from dynsync_pipeline_tests.worlds.http import FEW, HttpWorld

settings.register_profile("quick", derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
settings.register_profile(
    "deep", max_examples=20, stateful_step_count=15, deadline=None, suppress_health_check=list(HealthCheck)
)
# For `make mutants`, which asks whether a test fails and not at which smallest example.
settings.register_profile("mutants", settings.get_profile("quick"), phases=[Phase.explicit, Phase.generate])
settings.load_profile("quick")


# Their files take a second or two. Begun last, they let all processes of a run end at about the same time.
QUICK = ("clients", "emulators", "model")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--part", default="1/1", help="k/n: of n parts of the files the k-th, each with about as many tests"
    )


@pytest.hookimpl(trylast=True)  # of those tests that have the marks which were asked for
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    part, n_parts = map(int, config.getoption("part").split("/"))
    ours = files_of_parts(items, n_parts)[part - 1]
    is_ours = [item.path in ours for item in items]
    config.hook.pytest_deselected(items=[item for item, ours in zip(items, is_ours, strict=True) if not ours])
    items[:] = [item for item, ours in zip(items, is_ours, strict=True) if ours]
    items.sort(key=lambda item: item.path.relative_to(Path(__file__).parent).parts[0] in QUICK)


def files_of_parts(items: list[pytest.Item], n_parts: int) -> list[set[Path]]:
    """Of so many parts the files, those with the most tests dealt first, each to the part that has the fewest so far."""
    parts: list[set[Path]] = [set() for _ in range(n_parts)]
    n_tests = [0] * n_parts
    for file, n in sorted(Counter(item.path for item in items).items(), key=lambda found: (-found[1], found[0])):
        fewest = n_tests.index(min(n_tests))
        parts[fewest].add(file)
        n_tests[fewest] += n
    return parts


def pytest_collection_finish() -> None:
    """What was imported and collected lives to the end: the garbage collector need not go through it again and again."""
    gc.freeze()


def pytest_sessionfinish() -> None:
    gc.unfreeze()


@pytest.fixture(scope="session")
def shared_world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HttpWorld]:
    """One world for all tests of a process, which each bring records of their own and leave no faults behind."""
    with HttpWorld(tmp_path_factory.mktemp("world")) as world:
        yield world


@pytest.fixture
def make_world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., HttpWorld]]:
    """Makes worlds for one test alone, seeded as `HttpWorld` says."""
    with ExitStack() as open_worlds:

        def make(*, fields: Collection[str] | None = FEW, **seeded: int) -> HttpWorld:
            return open_worlds.enter_context(HttpWorld(tmp_path_factory.mktemp("world"), fields=fields, **seeded))

        yield make
