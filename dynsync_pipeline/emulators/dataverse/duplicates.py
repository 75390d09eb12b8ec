"""Duplicate detection, which runs only for clients that ask for it.

Source: docs/protocols/dataverse.md#duplicates, #checklist 26.
"""

from __future__ import annotations

from dynsync_pipeline.emulators.dataverse.call import Call
from dynsync_pipeline.emulators.dataverse.errors import DataverseError
from dynsync_pipeline.emulators.dataverse.schema import Table

RULES = {"account": ("name",), "contact": ("emailaddress1",), "lead": ("emailaddress1",)}
"""Columns that make two active rows duplicates if equal, as the default rules have it."""


def check(call: Call, table: Table, row: dict[str, object], row_id: str | None) -> None:
    """Raise DataverseError 412 if another active row is a duplicate and the client asked to be told."""
    if call.headers.get("mscrm.suppressduplicatedetection", "").lower() != "false":
        return
    for column in RULES.get(table.name, ()):
        if not row.get(column):
            continue
        found = call.connection.execute(
            f'select 1 from "{table.name}" where fold("{column}") = fold(?) and statecode = 0 '
            f'and "{table.primary_id}" is not ?',
            (row[column], row_id),
        ).fetchone()
        if found:
            raise DataverseError(
                412,
                "0x80040333",
                "A record was not created or updated because a duplicate of the current record already exists.",
            )
