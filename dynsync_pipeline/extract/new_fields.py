"""New fields: a field of people that joins the map is read of everybody beside the feed, before anything is made of it.

Until then it is parked as *being read*: the feed and whoever reads a person bring it already, and a round of the census that
begins at once, and goes faster than others, reads everybody who is not heard of. So the mirror itself is what is filled,
newest sighting last. Which fields everybody was read with is kept with the cursor of people; which ones a round adds, with
the round. Source: docs/design.md#new-fields, R100, R102.
Not here: reading people (`census.py`), how a field that joins meets its links (`warehouse/columns.py`, `reconcile/`).
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import datetime

import duckdb

from dynsync_pipeline.clients.systems import Marketo
from dynsync_pipeline.errors import ApiError, ColumnUnknown
from dynsync_pipeline.extract.census import DAY, Due, Round, begin_round, read_round, read_slices
from dynsync_pipeline.model.field_map import Field, FieldMap, FieldType
from dynsync_pipeline.model.records import PERSON_TYPES
from dynsync_pipeline.warehouse.columns import quoted
from dynsync_pipeline.warehouse.connection import Warehouse
from dynsync_pipeline.warehouse.cursors import PEOPLE, Cursor, change_columns, read_cursor
from dynsync_pipeline.warehouse.cycles import calls_due
from dynsync_pipeline.warehouse.mirrors import PersonColumns, take_in_people

log = logging.getLogger(__name__)

Parked = dict[Field, tuple[str, str]]


def set_new_fields_apart(
    connection: duckdb.DuckDBPyConnection, offered: PersonColumns, at: datetime, running: FieldMap | None
) -> tuple[FieldMap, Parked]:
    """The fields of `offered` less those of people that not everybody was read with; these with code and sentence.

    Begins to read new fields where none are being read; others wait until these are done. A field that is not offered is
    forgotten: what it is later is not known. `running`: the fields of a cycle that has begun to read, in which nothing
    begins and nothing ends. `at` is UTC without zone.
    """
    fields, cursor = offered.fields, read_cursor(connection, PEOPLE)
    if cursor.value is None:  # a first load reads everybody with all of them
        return fields, {}
    read_as = {name: f"{name} {kind}" for name, kind in fields.person_fields.items()}
    new = _not_read_yet(connection, offered, cursor, read_as)
    being_read = _still_being_read(connection, read_as, new)
    if running is not None:
        being_read = {field.marketo_field for field in running.being_read} & set(read_as)
    elif new and not being_read and cursor.is_loaded:
        being_read = new
        begin_round(connection, PEOPLE, at - DAY, [read_as[name] for name in new])
    parked = _parked(connection, fields, new | being_read, being_read)
    synced = fields.without(parked)
    return replace(synced, being_read=tuple(field for field in parked if field.marketo_field in being_read)), parked


def _not_read_yet(
    connection: duckdb.DuckDBPyConnection, offered: PersonColumns, cursor: Cursor, read_as: Mapping[str, str]
) -> set[str]:
    """The fields that not everybody was read with; whatever else people were read with is forgotten.

    `read_as`: how the cursor keeps each field, with its type.
    """
    # An older version kept the name alone.
    known = {name for name in read_as if cursor.names & {name, read_as[name]}}
    new = set(read_as) - known
    still = {read_as[name] for name in known} | cursor.names.intersection(offered.mirror_of_own)
    if still != cursor.names:
        kinds = offered.fields.person_fields
        _respell(connection, {name: kinds[name] for name in new}, cursor.names - still)
        change_columns(connection, PEOPLE, still)
        connection.execute("update state.export_windows set export_id = null where not is_landed")  # of another header
    return new


def _still_being_read(connection: duckdb.DuckDBPyConnection, read_as: Mapping[str, str], new: set[str]) -> set[str]:
    """Those of the new fields that the round under way reads, which forgets the others."""
    round_ = read_round(connection, PEOPLE)
    if round_ is None:
        return set()
    being_read = {name for name in new if read_as[name] in round_.new}
    if len(round_.new) > len(being_read):
        change_columns(connection, f"census_{PEOPLE}", [read_as[name] for name in being_read])
    return being_read


def _parked(connection: duckdb.DuckDBPyConnection, fields: FieldMap, new: set[str], being_read: set[str]) -> Parked:
    """The new fields of people, each with its code and sentence."""
    told = _progress(connection, read_round(connection, PEOPLE)) if being_read else ""
    return {
        field: ("being_read", told)
        if field.marketo_field in being_read
        else ("to_be_read", "It is new. It is read of everybody in Marketo after what is being read now.")
        for field in fields.of(*PERSON_TYPES)
        if field.marketo_field in new
    }


def _respell(
    connection: duckdb.DuckDBPyConnection, kinds: Mapping[str, FieldType], read_before: Collection[str]
) -> None:
    """What was agreed on, or accepted, of fields of `kinds` that had another type until now, in the spelling of the new one.

    Else both sides differ from it, and an edit of one meanwhile counts as one of both.
    """
    retyped = {name for name in kinds if any(read.startswith(f"{name} ") for read in read_before)}
    in_base = connection.table("state.base").columns
    for name in sorted(retyped):
        macro = f"canonical_{kinds[name]}"
        if name in in_base:
            connection.execute(f"update state.base set {quoted(name)} = {macro}({quoted(name)})")
        for table, columns in _VALUES_OF_FIELDS.items():
            respelled = ", ".join(f"{column} = {macro}({column})" for column in columns)
            connection.execute(f"update {table} set {respelled} where field = ?", [name])


_VALUES_OF_FIELDS = {
    "state.standing_differences": ("dynamics_value", "marketo_value"),
    "state.tombstone_values": ("value",),
}


def _progress(connection: duckdb.DuckDBPyConnection, round_: Round | None) -> str:
    n_read, n_people = connection.execute(
        "select count(*) filter (where person_id <= ?::bigint), count(*) from mirror.marketo_people where not is_deleted",
        [round_.after or 0 if round_ else 0],
    ).fetchall()[0]
    return (
        f"It is new and being read of everybody in Marketo, of {n_read:,} of {n_people:,} people so far. Then it is synced; "
        "there is nothing to do."
    )


def read_new_fields(warehouse: Warehouse, client: Marketo, columns: PersonColumns, n_calls_left: int) -> None:
    """Read a part of the people with the fields that are being read; `n_calls_left` has the day.

    Call it before the feed is read, with these fields too, which tells what happened since. What fails is put off, except
    for a field that Marketo refuses. Raises: ColumnUnknown, StorageFailed.
    """
    at = warehouse.now()
    with warehouse.transaction() as connection:
        take_in_people(connection, at)  # what a cycle that was cut left behind is older
        round_ = read_round(connection, PEOPLE)
    if round_ is None:
        return
    n_due = calls_due(n_calls_left, at - round_.since)
    try:
        read_slices(warehouse, client, columns, Due(n_due, round_.after, at))
    except ColumnUnknown:
        raise
    except ApiError as error:
        log.warning("The reading of new fields is put off: %s", error)
