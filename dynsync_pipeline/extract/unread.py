"""Reads again, by id, what could not be read before (R116). Next: `reconcile`.

Who is found gone by that was deleted meanwhile. Not here: what is set aside, and until when (`warehouse/unread.py`).
"""

from __future__ import annotations

from collections.abc import Iterator

from dynsync_pipeline.clients.pages import MOST_UNREAD
from dynsync_pipeline.clients.systems import Dynamics, Marketo
from dynsync_pipeline.extract.absence import confirm_people, confirm_records
from dynsync_pipeline.model.field_map import FieldMap
from dynsync_pipeline.model.records import UNREAD, RecordType
from dynsync_pipeline.warehouse.connection import Warehouse
from dynsync_pipeline.warehouse.mirrors import PersonColumns, land_people, take_in_people
from dynsync_pipeline.warehouse.unread import KEY_COLUMNS, PERSON, due_unread, note_key, note_keys, put_off_unread


def reread_unread_records(warehouse: Warehouse, client: Dynamics, fields: FieldMap, record_type: RecordType) -> bool:
    """Land the records of one table that are due, if any are; the caller takes them in. Raises: ApiError."""
    at = warehouse.now()
    with warehouse.reading() as connection:
        due = due_unread(connection, record_type, at)
    for some in _reads(due):
        confirm_records(warehouse, client, fields, record_type, some)
        with warehouse.transaction() as connection:
            put_off_unread(connection, record_type, some, at)
    return bool(due)


def reread_unread_people(warehouse: Warehouse, client: Marketo, columns: PersonColumns) -> bool:
    """Land the people who are due, if any are; the caller takes them in.

    Of somebody without a link who cannot be read still, the keys are asked for alone: no other person is made for a record
    whose key is borne already (R18). Raises: ApiError.
    """
    at = warehouse.now()
    with warehouse.reading() as connection:
        due = due_unread(connection, PERSON, at)
    names = {columns.own.contact_id: "contact_id", columns.own.lead_id: "lead_id"}
    for some in _reads(due):
        confirm_people(warehouse, client, columns, [int(person_id) for person_id in some])
        with warehouse.transaction() as connection:
            put_off_unread(connection, PERSON, some, at)
            bearers = [row[0] for row in connection.execute(_WITHOUT_KEYS, [some]).fetchall()]
        if bearers:
            found = client.people("id", bearers, list(names))
            with warehouse.transaction() as connection:
                note_keys(connection, found.select(["id", *names]).rename_columns(["id", *names.values()]))
    return bool(due)


def _reads(ids: list[str]) -> Iterator[list[str]]:
    """The ids in reads of so few that all of one may be unreadable, and it is still single rows' fault."""
    return (ids[start : start + MOST_UNREAD] for start in range(0, len(ids), MOST_UNREAD))


def ask_for_bearers(warehouse: Warehouse, client: Marketo, columns: PersonColumns) -> int:
    """Ask by key who bears that of a new record, so that no other person is made for it, nor this one written over (R18): where a
    line or a file of people cannot be read and nobody knows whose it is, or somebody's key itself cannot be read.

    Call it when all streams are in. Returns how many people were found. Raises: ApiError.
    """
    with warehouse.reading() as connection:
        unread = connection.execute("select distinct has_id from state.unread where record_type = 'person'").fetchall()
        records = connection.execute(_WITHOUT_BEARER, {"now": warehouse.now()}).fetchall() if unread else []
    n_found = 0
    for record_type, key in ((RecordType.CONTACT, columns.own.contact_id), (RecordType.LEAD, columns.own.lead_id)):
        ids = [record_id for kind, record_id in records if kind == record_type]
        if ids and (False,) in unread:
            people = client.people(key, ids, columns.names)
            with warehouse.transaction() as connection:
                land_people(connection, columns, people)
                n_found += take_in_people(connection, warehouse.now())
        if ids:
            _ask_whose_keys(warehouse, client, key, record_type, ids)
    return n_found


def _ask_whose_keys(warehouse: Warehouse, client: Marketo, key: str, record_type: RecordType, ids: list[str]) -> None:
    """Note who bears the key of one of these records and cannot tell it, because the key itself cannot be read.

    Such a person is found by the key, with no field asked for; of several records in halves, until it is known which.
    """
    with warehouse.reading() as connection:
        unknown = [row[0] for row in connection.execute(_WITHOUT_KEY[record_type]).fetchall()]
    told = [row for some in _reads(unknown) for row in client.people("id", some, [key]).to_pylist()]
    silent = {row["id"] for row in told if row.get(UNREAD) is not None}
    pending = [ids] if silent else []
    while pending:
        some = pending.pop()
        found = silent.intersection(client.people(key, some, []).column("id").to_pylist())
        if found and len(some) > 1:
            pending += [some[: len(some) // 2], some[len(some) // 2 :]]
        elif found:
            with warehouse.transaction() as connection:
                note_key(connection, record_type, some[0], found)


_WITHOUT_KEY = {
    record_type: f"select key from state.unread where record_type = 'person' and has_id and {column} is null order by key"
    for record_type, column in KEY_COLUMNS.items()
}

_WITHOUT_BEARER = """
select distinct c.record_type, c.dynamics_id
from (
    select record_type, dynamics_id from inbox.touched
    union all
    select record_type, dynamics_id from state.unsettled where person_id is null and next_look_at <= $now
) c
join mirror.person_records r on r.record_type = c.record_type and r.dynamics_id = c.dynamics_id and not r.is_deleted
anti join state.links l on l.record_type = c.record_type and l.dynamics_id = c.dynamics_id
anti join state.bearers b on b.record_type = c.record_type and b.dynamics_id = c.dynamics_id
anti join state.unread_bearers u on u.record_type = c.record_type and u.dynamics_id = c.dynamics_id
order by all
"""

_WITHOUT_KEYS = """
select key from state.unread
where record_type = 'person' and list_contains(?::varchar[], key) and contact_id is null and lead_id is null
  and key not in (select person_id::varchar from state.links where person_id in (select key::bigint from state.unread
                  where record_type = 'person' and has_id))
order by key
"""
