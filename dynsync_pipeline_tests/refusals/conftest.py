"""The world of the tests of refusals."""

from __future__ import annotations

from dynsync_pipeline_tests.worlds.fixtures import core_world, scenarios
from dynsync_pipeline_tests.worlds.http import FEW

__all__ = ["scenarios", "world"]

world = core_world(
    fields=(*FEW, "address", "country", "billingCountry", "sicCode"), n_accounts=10, n_contacts=40, n_leads=40
)
