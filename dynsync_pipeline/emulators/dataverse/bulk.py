"""The bulk messages: many rows, one transaction, one error without an index.

Source: docs/protocols/dataverse.md#bulk-messages, #checklist 24.
"""

from __future__ import annotations

from typing import Any

from dynsync_pipeline.emulators.dataverse.call import Answer, Call
from dynsync_pipeline.emulators.dataverse.errors import DataverseError, bad_payload, bad_request
from dynsync_pipeline.emulators.dataverse.keys import Address, resolve_reference
from dynsync_pipeline.emulators.dataverse.schema import Table
from dynsync_pipeline.emulators.dataverse.values import stored_guid
from dynsync_pipeline.emulators.dataverse.writes import create, update, upsert


def create_multiple(call: Call, table: Table) -> Answer:
    """Create all targets or none; answers the ids in input order. Raises DataverseError as a create does."""
    ids = [create(call, table, target) for target in _targets(call, table)]
    context = f"{call.root}$metadata#Microsoft.Dynamics.CRM.CreateMultipleResponse"
    return Answer.json({"@odata.context": context, "Ids": ids})


def update_multiple(call: Call, table: Table) -> Answer:
    """Update all targets or none; each names its primary key. Raises DataverseError as an update does."""
    for target in _targets(call, table):
        row_id = stored_guid(str(target.get(table.primary_id, "")))
        if row_id is None:
            raise bad_request(f"Every target of UpdateMultiple needs '{table.primary_id}'.", "0x80040203")
        update(call, table, row_id, target)
    return Answer(204)


def upsert_multiple(call: Call, table: Table) -> Answer:
    """Create or update all targets or none; each names its row in `@odata.id` or by primary key.

    Raises DataverseError as an upsert does, and 400 for key columns repeated in the body of a target that is created.
    """
    for target in _targets(call, table):
        reference = target.get("@odata.id")
        if isinstance(reference, str):
            address = resolve_reference(call, reference)
            if address.table.name != table.name:
                raise bad_payload(table.entity_set, f"'@odata.id' must name a row of '{table.entity_set}'.")
            if address.row_id is None and any(column in target for column in address.by_key):
                raise bad_request(
                    "Key columns cannot be repeated in the body of a target that is created.", "0x80048d19"
                )
        else:
            row_id = stored_guid(str(target.get(table.primary_id, "")))
            address = Address(table, row_id)
            if row_id is None:
                create(call, table, target)
                continue
        upsert(call, table, address, target)
    return Answer(204)


def delete_multiple(call: Call, table: Table) -> Answer:
    """Refused: elastic tables only."""
    raise DataverseError(400, "0x80040203", "DeleteMultiple has not yet been implemented.")


def _targets(call: Call, table: Table) -> list[dict[str, Any]]:
    targets = call.json_object().get("Targets")
    if not isinstance(targets, list) or not all(isinstance(target, dict) for target in targets):
        raise bad_payload(table.entity_set, "The property 'Targets' must be a collection of rows.")
    for target in targets:
        if str(target.get("@odata.type", "")).removeprefix("#") != f"Microsoft.Dynamics.CRM.{table.name}":
            raise bad_payload(
                table.entity_set,
                "A type named '' could not be resolved by the model. Every target needs '@odata.type': "
                f"'Microsoft.Dynamics.CRM.{table.name}'.",
            )
    return targets
