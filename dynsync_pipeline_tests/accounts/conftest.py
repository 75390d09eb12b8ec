"""The world of the tests of accounts and activities."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from dynsync_pipeline_tests.accounts.core_world import CoreWorld
from dynsync_pipeline_tests.accounts.rounds import Rounds


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CoreWorld]:
    """One world for the tests of a module."""
    with CoreWorld(tmp_path_factory.mktemp("world"), n_accounts=25, n_contacts=20, n_leads=20) as world:
        yield world


@pytest.fixture(scope="module")
def rounds(world: CoreWorld, request: pytest.FixtureRequest) -> Rounds:
    """The scenarios of a module, gone through."""
    return Rounds(world, request)
