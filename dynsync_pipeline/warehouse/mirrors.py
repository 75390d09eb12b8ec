"""Observations: rows land in the inbox in canonical text (R45), then are taken into the mirror, newest sighting first.

Extract lands what it reads, write back lands what a write left behind; both are observations and treated alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import duckdb
import pyarrow as pa

from dynsync_pipeline.model.field_map import FieldMap, FieldType
from dynsync_pipeline.model.records import TABLES, RecordType, Table
from dynsync_pipeline.settings import Settings
from dynsync_pipeline.warehouse.columns import dynamics_columns, quoted
from dynsync_pipeline.warehouse.connection import scalar


def land_dynamics(
    connection: duckdb.DuckDBPyConnection, fields: FieldMap, table: Table, rows: pa.Table, deleted_ids: Sequence[str]
) -> None:
    """Put rows of one Dynamics table into the inbox.

    `rows`: columns `id`, `etag` and those of `dynamics_columns`, all text as the system sent it. Deletions follow the rows.
    """
    landing = _next_landing(connection)
    columns = dynamics_columns(fields, table.record_type)
    names = ", ".join(quoted(name) for name in columns)
    values = ", ".join(f"canonical_{kind}({quoted(name)})" for name, kind in columns.items())
    if rows.num_rows:
        connection.register("landed_rows", rows)
        connection.execute(
            f"insert into {table.inbox} (landing, {table.id_column}, etag, is_deleted, {names}) "
            f"select {landing}, canonical_guid(id), etag, false, {values} from landed_rows"
        )
        connection.unregister("landed_rows")
    if deleted_ids:
        connection.execute(
            f"insert into {table.inbox} (landing, {table.id_column}, is_deleted) "
            f"select {landing}, lower(unnest(?::varchar[])), true",
            [list(deleted_ids)],
        )


@dataclass(frozen=True)
class PersonColumns:
    """The REST names read of a Marketo person: the two keys, then the mapped fields."""

    fields: FieldMap
    lead_id: str
    contact_id: str

    @classmethod
    def of(cls, settings: Settings, fields: FieldMap) -> PersonColumns:
        """The columns of this installation."""
        return cls(fields, settings.marketo_field_lead_id, settings.marketo_field_contact_id)

    @property
    def names(self) -> list[str]:
        """REST names to ask for, `id` left out."""
        return [self.lead_id, self.contact_id, *self.fields.person_fields]


def land_people(
    connection: duckdb.DuckDBPyConnection, columns: PersonColumns, people: pa.Table | None = None, *, file: str = ""
) -> None:
    """Put Marketo people into the inbox, from a table of the client or from the `file` of a bulk extract.

    Both hold `id` and the REST names of `columns`, text as the system sent it; absent or `null` is null (R47).
    """
    if people is not None:
        connection.register("landed_people", people)
    kinds = columns.fields.person_fields
    names = "".join(f", {quoted(name)}" for name in kinds)
    values = "".join(f", canonical_{_in_marketo(kind)}({quoted(name)})" for name, kind in kinds.items())
    connection.execute(
        f"insert into inbox.marketo_people (landing, person_id, dynamics_lead_id, dynamics_contact_id, is_deleted{names}) "
        f"select {_next_landing(connection)}, id::bigint, canonical_guid({quoted(columns.lead_id)}), "
        f"canonical_guid({quoted(columns.contact_id)}), false{values} "
        f"from {_csv(file, columns) if people is None else 'landed_people'}"
    )
    if people is not None:
        connection.unregister("landed_people")


def _csv(file: str, columns: PersonColumns) -> str:
    """A bulk-extract file as a relation: quotes doubled, line breaks inside values, the word null for nothing."""
    types = ", ".join(f"{_literal(name)}: 'varchar'" for name in ("id", *columns.names))
    return (
        f"read_csv({_literal(file)}, auto_detect = false, header = true, delim = ',', quote = '\"', escape = '\"', "
        f"nullstr = 'null', parallel = false, max_line_size = 16777216, columns = {{{types}}})"
    )


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _in_marketo(kind: FieldType) -> FieldType:
    return FieldType.TEXT if kind is FieldType.CHOICE else kind  # the label, R33


def _next_landing(connection: duckdb.DuckDBPyConnection) -> int:
    return scalar(connection, "select nextval('inbox.landings')")


def take_in_dynamics(connection: duckdb.DuckDBPyConnection, record_type: RecordType) -> int:
    """Move the inbox of one Dynamics table into its mirror; returns the number of records seen."""
    table = TABLES[record_type]
    # A deletion keeps the last values seen and only sets the flag (R79).
    _newest(connection, table.inbox, table.id_column)
    connection.execute(
        f"update newest set {_kept_values(connection, table)} from {table.mirror} m "
        f"where newest.is_deleted and m.{table.id_column} = newest.{table.id_column}"
    )
    connection.execute("insert into inbox.touched select ?, id, null from newest_ids", [record_type])
    connection.execute("insert into state.unpublished select ?, id, null from newest_ids", [table.entity_set])
    # A contact's columns on the published person come from its account and itself.
    return _replace(connection, table.inbox, table.mirror, table.id_column)


def _kept_values(connection: duckdb.DuckDBPyConnection, table: Table) -> str:
    rows = connection.execute(
        "select column_name from duckdb_columns() where schema_name || '.' || table_name = ?", [table.mirror]
    ).fetchall()
    kept = [row[0] for row in rows if row[0] not in (table.id_column, "is_deleted")]
    return ", ".join(f"{quoted(name)} = m.{quoted(name)}" for name in kept)


def take_in_people(connection: duckdb.DuckDBPyConnection) -> int:
    """Move the inbox of Marketo people into the mirror; returns the number of people seen."""
    _newest(connection, "inbox.marketo_people", "person_id")
    connection.execute("insert into inbox.touched select null, null, id from newest_ids")
    connection.execute("insert into state.unpublished select 'people', null, id from newest_ids")
    return _replace(connection, "inbox.marketo_people", "mirror.marketo_people", "person_id")


def _newest(connection: duckdb.DuckDBPyConnection, inbox: str, key: str) -> None:
    connection.execute(
        f"create or replace temp table newest as select * exclude (landing) from {inbox} "
        f"qualify row_number() over (partition by {key} order by landing desc, is_deleted desc) = 1"
    )
    connection.execute(f"create or replace temp view newest_ids as select {key} as id from newest")


def _replace(connection: duckdb.DuckDBPyConnection, inbox: str, mirror: str, key: str) -> int:
    # Delete and insert: on wide tables this is a thousand times cheaper than an update of all columns.
    connection.execute(f"delete from {mirror} using newest where {mirror}.{key} = newest.{key}")
    connection.execute(f"insert into {mirror} by name select * from newest")
    connection.execute(f"delete from {inbox}")
    count = scalar(connection, "select count(*) from newest")
    connection.execute("drop view newest_ids")
    connection.execute("drop table newest")
    return count
