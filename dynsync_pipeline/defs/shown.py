"""How a step shows its figures in Dagster: tables of counts, columns and where they come from, SQL to paste.

No value of a record is among them. Not here: which figures a step has (`assets.py`, `checks.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import dagster as dg
import duckdb

from dynsync_pipeline.model.field_map import Field, FieldMap
from dynsync_pipeline.model.records import TABLES, RecordType
from dynsync_pipeline.publish.tables import published_tables

SOURCES: dict[RecordType | str, dg.AssetKey] = {
    **{kind: dg.AssetKey(["dynamics", TABLES[kind].entity_set]) for kind in RecordType},
    "person": dg.AssetKey(["marketo", "people"]),
    "company": dg.AssetKey(["marketo", "companies"]),
}
"""The tables of both systems, which the sync reads and writes and does not make."""
MIRRORS: dict[RecordType | str, dg.AssetKey] = {
    **{kind: dg.AssetKey(f"dynamics_{TABLES[kind].entity_set}") for kind in RecordType},
    "person": dg.AssetKey("marketo_people"),
    "company": dg.AssetKey("marketo_companies"),
}
"""The assets that mirror them."""


def counted(connection: duckdb.DuckDBPyConnection, query: str, values: Sequence[object] = ()) -> dg.MetadataValue:
    """What `query` counts, as a table."""
    found = connection.execute(query, list(values))
    names = [name for name, *_ in found.description]
    return table(names, found.fetchall())


def table(names: Sequence[str], rows: Iterable[Sequence[Any]]) -> dg.MetadataValue:
    """Counts as a table of these columns; of none, a word."""
    records = [dg.TableRecord(dict(zip(names, row, strict=True))) for row in rows]
    return dg.MetadataValue.table(records) if records else dg.MetadataValue.text("Nothing.")


def sql(query: str) -> dg.MetadataValue:
    """A query over the snapshot, to be pasted."""
    return dg.MetadataValue.md(f"```sql\n{query}\n```")


def mirror_columns(fields: FieldMap, kind: RecordType | str) -> dict[str, dg.MetadataValue]:
    """The mapped columns of one mirror, and from where each comes in its system."""
    mapped = _mapped(fields, kind)
    columns = [
        dg.TableColumn(name, field.type.value, f"{_other_name(field, kind)}, {field.direction.value}")
        for name, field in mapped.items()
    ]
    deps = {name: [dg.TableColumnDep(SOURCES[kind], name)] for name in mapped}
    return _described(columns, deps)


def people_columns(fields: FieldMap) -> dict[str, dg.MetadataValue]:
    """The columns of `people` in the snapshot, and the columns of both mirrors that the field map makes each of."""
    people = next(each for each in published_tables(fields) if each.name == "people")
    columns = [dg.TableColumn(column.name, column.type, column.comment) for column in people.columns]
    deps: dict[str, list[dg.TableColumnDep]] = {}
    for field in fields.fields:
        side = "company" if fields.is_on_company(field) else "person"
        own = dg.TableColumnDep(MIRRORS[side], field.marketo_field)
        known = deps.setdefault(field.marketo_field, [own])
        known.append(dg.TableColumnDep(MIRRORS[field.record_type], field.dynamics_column))
    return _described(columns, deps)


def _mapped(fields: FieldMap, kind: RecordType | str) -> dict[str, Field]:
    """The fields of one mirror, by its column."""
    if isinstance(kind, RecordType):
        return {field.dynamics_column: field for field in fields.of(kind)}
    return {field.marketo_field: field for field in fields.fields if fields.is_on_company(field) == (kind == "company")}


def _other_name(field: Field, kind: RecordType | str) -> str:
    """What the other system calls it."""
    return field.marketo_field if isinstance(kind, RecordType) else f"{field.record_type}.{field.dynamics_column}"


def _described(columns: list[dg.TableColumn], deps: dict[str, list[dg.TableColumnDep]]) -> dict[str, Any]:
    return {
        "dagster/column_schema": dg.TableSchema(columns),
        "dagster/column_lineage": dg.TableColumnLineage(deps),
    }
