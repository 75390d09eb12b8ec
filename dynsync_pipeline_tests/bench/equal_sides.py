"""Contacts that stand in both systems with equal values and know each other's keys, in emulators, as many as are wanted.

Not here: what is measured with them.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from dynsync_pipeline.emulators import sample_data
from dynsync_pipeline.emulators.dataverse import seeding as dataverse_seeding
from dynsync_pipeline.emulators.marketo import seeding as marketo_seeding
from dynsync_pipeline.model.field_map import Direction, load_field_map
from dynsync_pipeline.model.records import RecordType
from dynsync_pipeline.warehouse.connection import Warehouse
from dynsync_pipeline_tests.worlds.http import HttpWorld

CREATED_AT = "2026-01-01T00:00:00Z"
FIELDS = load_field_map()
MAY_DIFFER = ("title", "city", "phone", "country", "address")


def equal_world(folder: Path, n_contacts: int, n_unequal: int = 0) -> HttpWorld:
    """So many contacts with all fields of the default map, one account to fifty, and nothing synced yet.

    Everybody holds another text in Marketo in the first `n_unequal` of `MAY_DIFFER`.
    """
    world = HttpWorld(folder, fields=None)
    world.warehouse = Warehouse
    world.environment |= {
        "DYNSYNC_MARKETO_OLDEST_PERSON": CREATED_AT[:10],
        "DYNSYNC_DYNAMICS_CALLS_PER_DAY": "1000000",
        "DYNSYNC_MARKETO_CALLS_PER_DAY": "1000000",
        "DYNSYNC_MAX_CREATES": "1000000",
        "DYNSYNC_CENSUS_SHARE": "0",
    }
    # Without industries, whose labels only Dynamics knows: equal companies are not written by the first cycle.
    accounts = [account | {"industrycode": None} for account in sample_data.sample_accounts(n_contacts // 50, 0)]
    account_ids = [str(account["accountid"]) for account in accounts]
    dataverse_seeding.seed(world.emulators.dataverse, accounts, contacts(n_contacts, account_ids), [])
    people = as_people(contacts(n_contacts, account_ids), accounts)
    others = dict.fromkeys(MAY_DIFFER[:n_unequal], "Another")
    marketo_seeding.seed(world.emulators.marketo, (person | others for person in people))
    return world


def contacts(n_contacts: int, account_ids: list[str]) -> Iterator[dict[str, object]]:
    """Sample contacts without the addresses that Marketo refuses: a cycle that tries them again is not idle."""
    for contact in sample_data.sample_contacts(n_contacts, account_ids, 0):
        is_refused = not str(contact["emailaddress1"]).isascii()
        yield contact | {"createdon": CREATED_AT} | ({"emailaddress1": None} if is_refused else {})


def as_people(records: Iterator[dict[str, object]], accounts: list[dict[str, object]]) -> Iterator[dict[str, object]]:
    """The people that a sync would have made of these contacts."""
    mapped = [
        (field.marketo_field, field.dynamics_column)
        for field in FIELDS.of(RecordType.CONTACT)
        if field.direction is not Direction.TO_DYNAMICS and field.dynamics_column != "statecode"
    ]
    of_account = [(field.marketo_field, field.dynamics_column) for field in FIELDS.of(RecordType.ACCOUNT)]
    companies = {
        account["accountid"]: {name: account.get(column) for name, column in of_account} for account in accounts
    }
    for contact in records:
        yield (
            {name: contact.get(column) for name, column in mapped}
            | companies.get(contact["parentcustomerid_account"], {})
            | {
                "dynamicsContactId": contact["contactid"],
                "dynamicsType": "Contact",
                "dynamicsCreatedOn": CREATED_AT,
                "externalCompanyId": contact["parentcustomerid_account"],
                "leadStatus": "Active",
                "createdAt": CREATED_AT,
            }
        )
