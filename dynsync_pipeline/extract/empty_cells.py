"""Empty cells of a bulk export, decided by reading the person over REST: there the word *null* and nothing look alike (R49).

A cell matters where it would clear a value, or where Dynamics' value would be written into it; whoever has such a cell is
read again, 300 a call, so that this never costs more calls than the writes that would follow. All other cells stay empty:
nothing is written for them, and the feed tells whoever is given a value.
Not here: reading the file (`warehouse/mirrors.py`, `land_people`, which also notes who has an empty cell).
Source: docs/protocols/marketo.md#bulk-extract.
"""

from __future__ import annotations

from dynsync_pipeline.clients.systems import Marketo
from dynsync_pipeline.model.field_map import OF_OPTIONS, Direction, FieldType
from dynsync_pipeline.model.records import PERSON_TYPES, TABLES, RecordType
from dynsync_pipeline.warehouse.columns import quoted
from dynsync_pipeline.warehouse.connection import Warehouse, scalar
from dynsync_pipeline.warehouse.mirrors import PersonColumns, land_people, take_in_people


def decide_empty_cells(warehouse: Warehouse, client: Marketo, columns: PersonColumns) -> int:
    """Read again whose empty cells matter; call it when both systems' streams are in. Returns how many people were read.

    Raises: ApiError; what is not decided yet is then decided in the next cycle, before its plan.
    """
    with warehouse.reading() as connection:
        if not scalar(connection, "select count(*) from state.empty_cells"):
            return 0
        rows = connection.execute(_cells_that_matter(columns)).fetchall()
    ids = [str(row[0]) for row in rows]
    people = client.people("id", ids, columns.names) if ids else None
    with warehouse.transaction() as connection:
        if people is not None:
            land_people(connection, columns, people)
            take_in_people(connection, warehouse.now())
        connection.execute(_FORGET, [ids])
    return len(ids)


def _cells_that_matter(columns: PersonColumns) -> str:
    of_types = "\nunion\n".join(_beside_a_value(columns, record_type) for record_type in PERSON_TYPES)
    return f"select person_id from state.empty_cells where is_cleared\nunion\n{of_types}\norder by 1"


def _beside_a_value(columns: PersonColumns, record_type: RecordType) -> str:
    """People of this type with an empty cell into which Dynamics' value would be written."""
    table = TABLES[record_type]
    is_beside = " or ".join(
        ["false"]
        + [
            f"(m.{quoted(field.marketo_field)} is null and d.{quoted(field.dynamics_column)} is not null)"
            for field in columns.fields.of(record_type)
            if field.type in {FieldType.TEXT, *OF_OPTIONS}
            and field.direction is not Direction.TO_MARKETO
            and not columns.fields.is_on_company(field)
        ]
    )
    key = "dynamics_contact_id" if record_type is RecordType.CONTACT else "dynamics_lead_id"
    return (
        f"select m.person_id from state.empty_cells e join mirror.marketo_people m using (person_id) "
        f"join {table.mirror} d on d.{table.id_column} = m.{key} and not d.is_deleted "
        f"where not m.is_deleted and ({is_beside})"
    )


# Whoever bears the key of a record that was not read yet is kept until it is.
_FORGET = """
delete from state.empty_cells
where person_id in (select unnest(?::bigint[]))
   or person_id not in (select person_id from state.bearers)
   or person_id in (select person_id from state.bearers join mirror.person_records using (record_type, dynamics_id))
"""
