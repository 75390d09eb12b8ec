"""The world of the tests of refusals."""

from __future__ import annotations

from dynsync_pipeline_tests.worlds.fixtures import core_world, scenarios

__all__ = ["scenarios", "world"]

world = core_world(fields=None, n_accounts=10, n_contacts=40, n_leads=40)
