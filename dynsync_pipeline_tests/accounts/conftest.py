"""The world of the tests of accounts and activities."""

from __future__ import annotations

from dynsync_pipeline_tests.worlds.fixtures import core_world, scenarios
from dynsync_pipeline_tests.worlds.http import FEW

__all__ = ["scenarios", "world"]

world = core_world(
    fields=(*FEW, "billingState", "website", "numberOfEmployees", "mktoCompanyNotes", "sicCode"),
    n_accounts=25,
    n_contacts=20,
    n_leads=20,
)
