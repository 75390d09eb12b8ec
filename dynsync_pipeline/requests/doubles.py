"""Records that may be the same as one that is about to be made: told with the answer, and never linked (R16, R76).

They are looked for by e-mail address, without case, among all records that the mirrors hold; Dynamics is not asked.
"""

from __future__ import annotations

from collections.abc import Sequence

import duckdb

from dynsync_pipeline.model.field_map import FieldMap
from dynsync_pipeline.model.records import PERSON_TYPES, TABLES
from dynsync_pipeline.warehouse.columns import quoted

EMAIL = "emailaddress1"
MOST_TOLD = 5


def possible_doubles(
    connection: duckdb.DuckDBPyConnection, fields: FieldMap, request_ids: Sequence[str]
) -> dict[str, str]:
    """Of these requests, whose people stand in `requesting_people`, what is told of records with the same address, by request.

    Nobody is found by an address that the field map leaves out of Dynamics.
    """
    names = {
        record_type: field.marketo_field
        for record_type in PERSON_TYPES
        for field in fields.of(record_type)
        if field.dynamics_column == EMAIL and not fields.is_on_company(field)
    }
    if not names or not request_ids:
        return {}
    asked = "\nunion all\n".join(
        f"select q.request_id, lower(a.{quoted(name)}) as address from pending_requests q "
        f"join requesting_people a using (person_id) where q.record_type = '{record_type}'"
        for record_type, name in names.items()
    )
    held = "\nunion all\n".join(
        f"select '{record_type}' as record_type, {TABLES[record_type].id_column} as dynamics_id, lower({EMAIL}) as address "
        f"from {TABLES[record_type].mirror} where not is_deleted"
        for record_type in names
    )
    rows = connection.execute(_FOUND.format(asked=asked, held=held), [list(request_ids)]).fetchall()
    return {request_id: _told(records) for request_id, records in rows}


_FOUND = """
with asked as ({asked})
select asked.request_id, list(held.record_type || ' ' || held.dynamics_id order by held.record_type, held.dynamics_id)
from asked join ({held}) held on held.address = asked.address and held.dynamics_id <> asked.request_id
where asked.request_id in (select unnest(?::varchar[]))
group by asked.request_id
"""


def _told(records: list[str]) -> str:
    named = ", ".join(records[:MOST_TOLD])
    more = f" and {len(records) - MOST_TOLD} more" if len(records) > MOST_TOLD else ""
    return f"Created. These have the same e-mail address, and nothing was linked (R76): {named}{more}."
