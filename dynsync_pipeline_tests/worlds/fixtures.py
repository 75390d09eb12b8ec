"""Fixtures that several folders of tests use: a core world for a module, and the scenarios played in it.

A folder's `conftest.py` names what its worlds begin with. Not here: what a world is (`core.py`, `scenarios.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator

import pytest

from dynsync_pipeline_tests.worlds.core import CoreWorld
from dynsync_pipeline_tests.worlds.http import FEW
from dynsync_pipeline_tests.worlds.scenarios import Scenarios


def core_world(
    *, fields: Collection[str] | None = FEW, n_accounts: int, n_contacts: int, n_leads: int
) -> Callable[..., Iterator[CoreWorld]]:
    """The fixture `world`: one core world for all tests of a module."""

    @pytest.fixture(scope="module", name="world")
    def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CoreWorld]:
        folder = tmp_path_factory.mktemp("world")
        with CoreWorld(folder, fields=fields, n_accounts=n_accounts, n_contacts=n_contacts, n_leads=n_leads) as world:
            yield world

    return world


@pytest.fixture(scope="module")
def scenarios(world: CoreWorld, request: pytest.FixtureRequest) -> Scenarios:
    """The scenarios of a module, gone through."""
    return Scenarios(world, request)
