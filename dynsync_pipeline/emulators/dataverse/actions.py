"""Actions (POST): which names exist and the code behind each."""

from __future__ import annotations

from collections.abc import Callable

from dynsync_pipeline.emulators.dataverse import bulk, sales
from dynsync_pipeline.emulators.dataverse.call import Answer, Call
from dynsync_pipeline.emulators.dataverse.schema import Table

UNBOUND: dict[str, Callable[[Call], Answer]] = {"Merge": sales.merge, "BulkDelete": sales.bulk_delete}
ON_COLLECTION: dict[str, Callable[[Call, Table], Answer]] = {
    "CreateMultiple": bulk.create_multiple,
    "UpdateMultiple": bulk.update_multiple,
    "UpsertMultiple": bulk.upsert_multiple,
    "DeleteMultiple": bulk.delete_multiple,
}
ON_ROW: dict[tuple[str, str], Callable[[Call, str], Answer]] = {("lead", "QualifyLead"): sales.qualify_lead}
