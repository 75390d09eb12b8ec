"""The world of the tests of deletions."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from dynsync_pipeline_tests.accounts.core_world import CoreWorld
from dynsync_pipeline_tests.accounts.rounds import Rounds


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CoreWorld]:
    """One world for the tests of a module."""
    with CoreWorld(tmp_path_factory.mktemp("world"), n_accounts=10, n_contacts=40, n_leads=40) as world:
        yield world


@pytest.fixture(scope="module")
def rounds(world: CoreWorld, request: pytest.FixtureRequest) -> Rounds:
    """The scenarios of a module, gone through."""
    return Rounds(world, request)
