"""What the end-to-end and the fault tests share: worlds to sync. Not here: what a world is (`end_to_end/world.py`)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from dynsync_pipeline_tests.end_to_end.world import World


@pytest.fixture(scope="session")
def shared_world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One world for all tests of a process, which each bring records of their own and leave no faults behind."""
    with World(tmp_path_factory.mktemp("world")) as world:
        yield world


@pytest.fixture
def make_world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., World]]:
    """Makes worlds for one test alone, seeded as `World` says."""
    with ExitStack() as open_worlds:

        def make(**seeded: int) -> World:
            return open_worlds.enter_context(World(tmp_path_factory.mktemp("world"), **seeded))

        yield make
