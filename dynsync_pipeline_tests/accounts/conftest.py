"""The world of the tests of accounts and activities."""

from __future__ import annotations

from dynsync_pipeline_tests.worlds.fixtures import core_world, scenarios

__all__ = ["scenarios", "world"]

world = core_world(fields=None, n_accounts=25, n_contacts=20, n_leads=20)
