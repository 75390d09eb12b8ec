"""What was set aside because it could not be read (R116): in `state.unread` until it is read, by its id where one was told.

Not here: reading it again (`extract/absence.py`), reporting it (`reconcile/sql/unread_records.sql`).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

import duckdb

from dynsync_pipeline.model.records import UNREAD, RecordType

if TYPE_CHECKING:
    import pyarrow as pa

PERSON, COMPANY = "person", "company"
MOST_AT_ONCE = 200  # of one kind that a cycle reads again: each may cost two calls
KEY_COLUMNS = {RecordType.CONTACT: "contact_id", RecordType.LEAD: "lead_id"}  # of `state.unread`


def set_aside_unread(
    connection: duckdb.DuckDBPyConnection,
    rows: pa.Table,
    kind: str,
    id_column: str,
    keys: Mapping[str, str] | None = None,
) -> pa.Table:
    """The rows that could be read, each id once, without `UNREAD`; the others are noted, to be read again at once.

    `rows` is a table of a client, `kind` a record type, `person` or `company`; `keys` names the columns of a person that
    hold `contact_id` and `lead_id`. What was noted before and could be read now is compared again. Call it in the
    transaction that lands the rows.
    """
    import pyarrow as pa  # not before there are rows
    import pyarrow.compute as pc

    if UNREAD in rows.column_names:
        unread, rows = rows.filter(rows[UNREAD].is_valid()), rows.filter(rows[UNREAD].is_null())
        rows = rows.drop_columns([UNREAD])
        if unread.num_rows:
            _note(connection, unread, kind, id_column, keys or {})
            rows = rows.filter(pc.invert(pc.is_in(rows[id_column], value_set=unread[id_column].combine_chunks())))
    ids = rows[id_column].to_pylist()
    if len(set(ids)) < len(ids):  # the later one counts
        last = {row_id: place for place, row_id in enumerate(ids)}
        rows = rows.take(pa.array(sorted(last.values())))
    end_unread(connection, kind, ids)
    return rows


def _note(
    connection: duckdb.DuckDBPyConnection, unread: pa.Table, kind: str, id_column: str, keys: Mapping[str, str]
) -> None:
    import pyarrow as pa  # not before there are rows

    nothing = pa.nulls(unread.num_rows, pa.string())
    told = pa.table(
        {
            "id": unread[id_column],
            "message": unread[UNREAD],
            **{name: unread[keys[name]] if name in keys else nothing for name in ("contact_id", "lead_id")},
        }
    )
    connection.register("told_rows", told)
    connection.execute(
        "create or replace temp table unread_rows as select coalesce(lower(id), message) as key, id is not null as has_id, "
        "message, canonical_guid(contact_id) as contact_id, canonical_guid(lead_id) as lead_id from told_rows "
        "qualify row_number() over (partition by key order by message) = 1"
    )
    connection.unregister("told_rows")
    connection.execute(
        "update state.unread u set message = r.message, contact_id = coalesce(r.contact_id, u.contact_id), "
        "lead_id = coalesce(r.lead_id, u.lead_id) from unread_rows r where u.record_type = ? and u.key = r.key",
        [kind],
    )
    connection.execute(
        "insert into state.unread (record_type, key, has_id, contact_id, lead_id, message, attempts, next_look_at) "
        "select ?, key, has_id, contact_id, lead_id, message, 0, null from unread_rows "
        "where (?, key) not in (select (record_type, key) from state.unread)",
        [kind, kind],
    )


def note_unread_people(connection: duckdb.DuckDBPyConnection, told: Sequence[tuple[int | None, str]]) -> None:
    """These people have to be read by id, because what told of them, and why, could not be read; None: nobody one knows of."""
    if told:
        import pyarrow as pa  # not before there are rows

        ids = [None if person_id is None else str(person_id) for person_id, _ in told]
        whys = [why for _, why in told]
        unread = pa.table({"id": pa.array(ids, pa.string()), UNREAD: pa.array(whys, pa.string())})
        _note(connection, unread, PERSON, "id", {})


def note_keys(connection: duckdb.DuckDBPyConnection, people: pa.Table) -> None:
    """Whose keys these people bear who cannot be read: `id`, `contact_id`, `lead_id`, text as sent. None tells nothing."""
    connection.register("bearers", people)
    connection.execute(
        "update state.unread u set contact_id = coalesce(canonical_guid(b.contact_id), u.contact_id), "
        "lead_id = coalesce(canonical_guid(b.lead_id), u.lead_id) "
        "from bearers b where u.record_type = 'person' and u.key = b.id"
    )
    connection.unregister("bearers")


def note_key(
    connection: duckdb.DuckDBPyConnection, record_type: RecordType, record_id: str, person_ids: Collection[str]
) -> None:
    """These people, who cannot be read, bear the key of this record."""
    connection.execute(
        f"update state.unread set {KEY_COLUMNS[record_type]} = ? "
        "where record_type = 'person' and list_contains(?::varchar[], key)",
        [record_id, list(person_ids)],
    )


def end_unread(connection: duckdb.DuckDBPyConnection, kind: str, ids: Sequence[str | None]) -> None:
    """These were read, or are known to be gone: they are compared again. Costs nothing where nothing is set aside."""
    noted = connection.execute(
        "select key, contact_id, lead_id from state.unread where record_type = ?", [kind]
    ).fetchall()
    if not noted:
        return
    seen = {row_id.lower() for row_id in ids if row_id is not None}
    for key, contact_id, lead_id in sorted(row for row in noted if row[0] in seen):
        connection.execute("delete from state.unread where record_type = ? and key = ?", [kind, key])
        connection.executemany(
            "insert into inbox.touched (record_type, dynamics_id, person_id, is_receipt) values (?, ?, ?, false)",
            _concerned(kind, key, contact_id, lead_id),
        )


def _concerned(kind: str, key: str, contact_id: str | None, lead_id: str | None) -> list[list[object]]:
    """Rows of `inbox.touched` without the last column: what was held up by what could not be read."""
    if kind == PERSON:
        records: list[list[object]] = [["contact", contact_id, None], ["lead", lead_id, None]]
        return [[None, None, int(key)], *(row for row in records if row[1] is not None)]
    if kind == COMPANY:  # of a person, a lead or a contact, or an account's
        owner, _, record_id = key.rpartition(":")
        return [[None, None, int(record_id)] if owner == PERSON else [owner or "account", record_id, None]]
    return [[kind, key, None]]


def due_unread(connection: duckdb.DuckDBPyConnection, kind: str, at: datetime) -> list[str]:
    """Ids of what is to be read again by now, `MOST_AT_ONCE` at most, the new ones first; `at` is UTC without zone."""
    rows = connection.execute(
        "select key from state.unread where record_type = ? and has_id and coalesce(next_look_at <= ?, true) "
        "order by next_look_at nulls first, key limit ?",
        [kind, at, MOST_AT_ONCE],
    ).fetchall()
    return [row[0] for row in rows]


def put_off_unread(connection: duckdb.DuckDBPyConnection, kind: str, ids: Collection[str], at: datetime) -> None:
    """Those of these that still could not be read are looked at later, at growing gaps (R116); `at` as above."""
    connection.execute(
        "update state.unread set attempts = attempts + 1, next_look_at = ?::timestamp + gap_after(attempts + 1) "
        "where record_type = ? and list_contains(?::varchar[], key)",
        [at, kind, list(ids)],
    )
