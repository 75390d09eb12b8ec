"""What the two systems offer: columns, lengths, option labels. Read at the first cycle and once a day, once an hour while a
field is missing, at once for another field map or on a schema error, and in every cycle while a filter is lost.

A mapped field that a system does not offer is parked with its reason, and the others go on (R14, R26, R106, R107).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import datetime, timedelta

import duckdb

from dynsync_pipeline.clients.dynamics.protocol import TableMetadata
from dynsync_pipeline.clients.systems import Dynamics, Marketo
from dynsync_pipeline.errors import ApiError, ColumnUnknown, RequestRefused, SettingsWrong
from dynsync_pipeline.extract.changed_columns import follow_columns, note_columns
from dynsync_pipeline.extract.field_types import type_misfit
from dynsync_pipeline.extract.new_fields import Parked, set_new_fields_apart
from dynsync_pipeline.extract.shipped_fields import set_new_lines_apart
from dynsync_pipeline.extract.sync_filter import follow_filters
from dynsync_pipeline.model.field_map import Field, FieldMap, FieldType
from dynsync_pipeline.model.records import TABLES, RecordType, logical_name
from dynsync_pipeline.settings import Settings
from dynsync_pipeline.warehouse.columns import digest, with_offered
from dynsync_pipeline.warehouse.connection import Warehouse, insert_rows, scalar
from dynsync_pipeline.warehouse.follow_map import follow_field_map
from dynsync_pipeline.warehouse.labels import follow_labels, note_labels
from dynsync_pipeline.warehouse.mirrors import PersonColumns
from dynsync_pipeline.warehouse.places import follow_places
from dynsync_pipeline.warehouse.refused_columns import note_refused_column

log = logging.getLogger(__name__)

LONGEST_AGE = timedelta(hours=24)
LONGEST_AGE_WHILE_PARKED = timedelta(hours=1)  # who makes the field that is missing should not wait a day


def learn_schema(
    warehouse: Warehouse,
    dynamics: Dynamics,
    marketo: Marketo,
    settings: Settings,
    wanted: FieldMap,
    *,
    at: datetime,
    running: FieldMap | None = None,
    is_forced: bool = False,
    met: ApiError | None = None,
) -> FieldMap:
    """The part of `wanted` that both systems offer, with columns and views made to fit; `at` is UTC without zone.

    `running`: the fields of a cycle that has begun to read. It may only lose some, because of one that joins it would know
    nothing where it has read already, and nothing is a value.
    `met`: the error for which it is learned again; a field that it names, and that is on offer all the same, is parked.
    Raises: SettingsWrong when Marketo lacks one of the sync's own fields, or has it with another type;
    RequestRefused when a table has no change tracking; ApiError.
    """
    asked_for = _asked_for(wanted, settings)
    with warehouse.reading() as connection:
        is_parked = scalar(connection, "select count(*) from state.parked_fields where reason_code = 'not_offered'")
        oldest = at - (LONGEST_AGE_WHILE_PARKED if is_parked else LONGEST_AGE)
        is_fresh = scalar(connection, _FRESH, [oldest, at, asked_for])
    if is_forced or not is_fresh or _faults_of_own_fields(warehouse, settings):
        _read_schema(warehouse, dynamics, marketo, at, asked_for)
    _require_own_fields(warehouse, settings)
    _follow_refused(warehouse, wanted, met)
    parked = {field: ("not_offered", reason) for field, reason in _parked(warehouse, wanted).items()}
    if running is not None:
        late = set(wanted.fields).difference(running.fields, running.being_read, parked)
        parked |= dict.fromkeys(late, ("not_offered", "It is on offer again, and joins with the next cycle."))
    with warehouse.transaction() as connection:
        parked |= set_new_lines_apart(connection, wanted, is_own_map=settings.field_map is not None)
        offered = PersonColumns(wanted.without(parked), settings.own_fields)
        fields, new = set_new_fields_apart(connection, offered, at, running)
        fields = with_offered(connection, fields, running)
        follow_filters(connection, fields, running)
        _park(connection, fields, parked | new)
        follow_field_map(connection, fields)
    return fields


def _asked_for(wanted: FieldMap, settings: Settings) -> str:
    """A digest of what the definitions are asked for: lines of the field map in any order, and the names of the own fields."""
    return digest(sorted(map(repr, wanted.fields)), settings.own_fields)


_FRESH = """
select count(*) from state.columns
where read_at > ? and read_at <= ? and ? in (select asked_for from state.definitions_read)
  and not exists (from state.lost_filters where not is_given_up)  -- every cycle stops until it is back
"""


def _park(connection: duckdb.DuckDBPyConnection, fields: FieldMap, parked: Parked) -> None:
    """Note what is parked now, and let what was until now, and is in `fields`, meet all its links."""
    rows = connection.execute("select record_type, marketo_field, was_gone from state.parked_fields").fetchall()
    was_gone = {(row[0], row[1]): row[2] for row in rows}
    joining = [field for field in fields.fields if (field.record_type, field.marketo_field) in was_gone]
    for record_type in {field.record_type for field in joining}:
        connection.execute(
            "insert into inbox.touched (person_id, is_receipt) select person_id, false from state.links where record_type = ?",
            [record_type],
        )
    for field in joining:
        connection.execute(
            "insert into state.joined_fields (record_type, field) values (?, ?)",
            [field.record_type, field.marketo_field],
        )
        if was_gone[field.record_type, field.marketo_field]:
            connection.execute(
                "insert into state.returned_fields (record_type, field) select $1, $2 "
                "where ($1, $2) not in (select (record_type, field) from state.returned_fields)",
                [field.record_type, field.marketo_field],
            )
    connection.execute("delete from state.parked_fields")
    for field, (code, reason) in parked.items():
        is_offered = code != "not_offered"
        log.log(
            logging.INFO if is_offered else logging.WARNING,
            "Parked: %s of %ss. %s",
            field.marketo_field,
            field.record_type,
            reason,
        )
        connection.execute(
            "insert into state.parked_fields (record_type, marketo_field, dynamics_column, reason, reason_code, was_gone) "
            "values (?, ?, ?, ?, ?, ?)",
            [
                field.record_type,
                field.marketo_field,
                field.dynamics_column,
                reason,
                code,
                was_gone.get((field.record_type, field.marketo_field), False) if is_offered else True,
            ],
        )


def _read_schema(warehouse: Warehouse, dynamics: Dynamics, marketo: Marketo, at: datetime, asked_for: str) -> None:
    tables = {record_type: dynamics.table_metadata(table) for record_type, table in TABLES.items()}
    for record_type, metadata in tables.items():
        _require_change_tracking(record_type, metadata)
    columns = [row for record_type, metadata in tables.items() for row in _column_rows(record_type, metadata, at)]
    columns += _field_rows(marketo, at)
    zone = dynamics.time_zone()
    options = [row for record_type, metadata in tables.items() for row in _option_rows(record_type, metadata)]
    with warehouse.transaction() as connection:
        before = connection.execute(_OFFERED).fetchall()
        note_labels(connection)
        note_columns(connection)
        connection.execute("delete from state.columns")
        connection.execute("delete from state.options")
        connection.execute("delete from state.user_zone")
        connection.execute("delete from state.definitions_read")
        connection.execute("insert into state.definitions_read (asked_for) values (?)", [asked_for])
        if zone is not None:
            connection.execute("insert into state.user_zone (zone) values (?)", [zone])
        insert_rows(connection, "state.columns", _COLUMNS, columns)
        insert_rows(connection, "state.options", ("record_type", "dynamics_column", "option_value", "label"), options)
        connection.execute(
            "update state.options set label = canonical_text(label) where canonical_text(label) <> label"
        )
        follow_labels(connection)
        follow_places(connection)
        follow_columns(connection, at)
        if before and connection.execute(_OFFERED).fetchall() != before:
            # The rule that refused a value may be another now (R116): everything refused is tried again.
            connection.execute(
                "update state.unsettled set next_look_at = ?, attempts = 0 where reason_code = 'refused'", [at]
            )
            connection.execute(
                "update ledger.sync_errors set attempts = 0, state = 'waiting' where state <> 'resolved'"
            )


def _require_change_tracking(record_type: RecordType, metadata: TableMetadata) -> None:
    if not metadata.is_change_tracked:
        raise RequestRefused(
            f"Change tracking is off for {record_type}s in Dynamics.",
            system="dynamics",
            request=f"GET EntityDefinitions(LogicalName='{record_type}')",
            next_step="Switch on 'Track changes' in the table's properties in Power Apps, then start the next cycle.",
        )


_COLUMNS = (
    *("system", "record_type", "name", "data_type", "label", "max_length", "is_readable", "is_writable", "read_at"),
    *("precision", "time_behavior", "metadata_id", "minimum", "maximum", "is_required", "is_business_required"),
)
_OFFERED = """
select
    system, record_type, name, data_type, max_length, minimum, maximum, is_required, precision, time_behavior, is_readable,
    is_writable
from state.columns
union all by name
select 'option' as system, record_type, dynamics_column as name, option_value || ' ' || label as data_type from state.options
order by all
"""


def _column_rows(record_type: RecordType, metadata: TableMetadata, at: datetime) -> list[tuple[object, ...]]:
    return [
        (
            "dynamics",
            record_type,
            column.name,
            column.attribute_type,
            None,
            column.max_length,
            column.is_readable and not column.is_secured,
            column.is_updatable,
            at,
            column.precision,
            column.time_behavior,
            column.metadata_id,
            column.minimum,
            column.maximum,
            column.is_required,
            column.is_business_required,
        )
        for column in metadata.columns.values()
    ]


_ONLY_OF_DYNAMICS = (None, None, None, None, None, False, False)  # precision, time behaviour, id, bounds, required


def _field_rows(marketo: Marketo, at: datetime) -> list[tuple[object, ...]]:
    return [
        (
            "marketo",
            None,
            f.name,
            f.data_type,
            f.display_name,
            f.length,
            True,
            not f.is_read_only,
            at,
            *_ONLY_OF_DYNAMICS,
        )
        for f in marketo.person_fields().values()
    ]


def _option_rows(record_type: RecordType, metadata: TableMetadata) -> list[tuple[object, ...]]:
    return [
        (record_type, column.name, str(value), label)
        for column in metadata.columns.values()
        for value, label in column.options.items()
    ]


def _faults_of_own_fields(warehouse: Warehouse, settings: Settings) -> dict[str, str]:
    with warehouse.reading() as connection:
        rows = connection.execute("select name, data_type from state.columns where system = 'marketo'").fetchall()
    return settings.own_field_faults(dict(rows))


def _require_own_fields(warehouse: Warehouse, settings: Settings) -> None:
    if faults := _faults_of_own_fields(warehouse, settings):
        raise SettingsWrong(
            f"The sync's own fields in Marketo cannot be used: {'; '.join(faults.values())}.",
            next_step="Create the fields so in Marketo (docs/connect.md#marketo-side), or name others in "
            + ", ".join(faults)
            + ".",
        )


def _follow_refused(warehouse: Warehouse, wanted: FieldMap, met: ApiError | None) -> None:
    """Remember that a system refuses a field that it offers, until its definition changes, or nobody wants it any more."""
    named = {("marketo", field.record_type, field.marketo_field) for field in wanted.fields}
    named |= {("dynamics", field.record_type, field.dynamics_column) for field in wanted.fields}
    named |= {
        ("dynamics", kind, logical_name(name)) for kind, table in TABLES.items() for name in table.offered_columns
    }
    with warehouse.transaction() as connection:
        if isinstance(met, ColumnUnknown):
            # Of Dynamics the request names the table; in Marketo people and companies share their fields.
            met_of = [
                record_type
                for record_type, table in TABLES.items()
                if met.system == "marketo" or met.request.endswith(table.entity_set)
            ]
            note_refused_column(connection, met, met_of)
        connection.execute(_FORGET_REFUSED, [[" ".join(each) for each in sorted(named)]])


_FORGET_REFUSED = """
delete from state.refused_fields r
where not exists (
    from state.columns c
    where c.system = r.system and coalesce(c.record_type, r.record_type) = r.record_type and c.name = r.name
      and c.data_type is not distinct from r.data_type
)
or concat_ws(' ', system, record_type, name) not in (select unnest(?::varchar[]))
"""


def _parked(warehouse: Warehouse, wanted: FieldMap) -> dict[Field, str]:
    """The fields of `wanted` that cannot be synced just now, each with the sentence that says why and what to do."""
    with warehouse.reading() as connection:
        offered = {
            (row[0], row[1]): (row[2], row[3])
            for row in connection.execute(
                "select coalesce(record_type, 'person'), name, is_readable, data_type from state.columns"
            ).fetchall()
        }
        days_without_zone = connection.execute(
            "select record_type, name from state.columns "
            "where time_behavior = 'UserLocal' and not exists (from state.user_zone)"
        ).fetchall()
        refusals = connection.execute("select system, record_type, name, said from state.refused_fields").fetchall()
    refused = {
        field: f"{system.capitalize()} lists {name} and refuses it: {said.rstrip('.')}. It is asked for again once its "
        "definition changes, or when its line was left out of the field map for a cycle."
        for system, record_type, name, said in refusals
        for field in wanted.of(RecordType(record_type))
        if name == (field.marketo_field if system == "marketo" else field.dynamics_column)
    }
    days = {
        field: f"{field.dynamics_column} keeps a time, whose date depends on a time zone, and Dynamics does not tell that "
        "of the sync's user: let it read its own settings and time zones, or make the column one of dates alone."
        for field in wanted.fields
        if field.type is FieldType.DATE and (field.record_type, field.dynamics_column) in days_without_zone
    }
    reasons = {
        field: _not_offered(field, offered) or refused.get(field) or _misfit(field, offered) or days.get(field)
        for field in wanted.fields
    }
    return {field: said for field, said in reasons.items() if said}


def _not_offered(field: Field, offered: Mapping[tuple[str, str], tuple[bool, str]]) -> str | None:
    column = offered.get((field.record_type, field.dynamics_column))
    if column is None:
        return (
            f"Dynamics has no column {field.dynamics_column}, or none whose definition can be read: correct the field map, "
            "create the column, or put its names and labels right."
        )
    if not column[0]:
        return (
            f"The sync user may not read {field.dynamics_column}: it is secured or write-only. Lift column security "
            "for it, or disable the line in the field map (R26)."
        )
    if ("person", field.marketo_field) not in offered:
        return (
            f"Marketo has no field {field.marketo_field}, or none whose definition can be read: correct the field map, create "
            "the field, or put its name right."
        )
    return None


def _misfit(field: Field, offered: Mapping[tuple[str, str], tuple[bool, str]]) -> str | None:
    (_, in_dynamics), (_, in_marketo) = (
        offered[field.record_type, field.dynamics_column],
        offered["person", field.marketo_field],
    )
    return type_misfit(field, in_dynamics, in_marketo)
