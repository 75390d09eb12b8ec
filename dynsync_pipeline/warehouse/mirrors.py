"""Observations: rows land in the inbox in canonical text (R45, R47), then are taken into the mirror, newest sighting first.

Extract lands what it reads, write back lands what a write left behind; both are observations and treated alike.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb

from dynsync_pipeline.errors import AnswerUnreadable
from dynsync_pipeline.model.field_map import FieldMap, FieldType
from dynsync_pipeline.model.own_fields import COMPANY_KEY, KEYLESS, OwnFields
from dynsync_pipeline.model.records import TABLES, RecordType, Table, logical_name
from dynsync_pipeline.warehouse.canonical import canonical, canonical_in_marketo, kind_in_marketo
from dynsync_pipeline.warehouse.columns import dynamics_columns, quoted, zones_of_days
from dynsync_pipeline.warehouse.connection import scalar
from dynsync_pipeline.warehouse.edit_times import note_dynamics_edits
from dynsync_pipeline.warehouse.erased import drop_erased, has_erased
from dynsync_pipeline.warehouse.labels import follow_companies, follow_people
from dynsync_pipeline.warehouse.observations import (
    OF_COMPANIES,
    OF_PEOPLE,
    OF_RECORDS,
    Mirrored,
    observe,
    observed_columns,
)
from dynsync_pipeline.warehouse.rows_of import PLACE, deleting, rows_at, rows_of
from dynsync_pipeline.warehouse.unread import COMPANY, PERSON, end_unread, set_aside_unread

if TYPE_CHECKING:
    import pyarrow as pa


def land_dynamics(
    connection: duckdb.DuckDBPyConnection,
    fields: FieldMap,
    table: Table,
    rows: pa.Table | None,
    deleted_ids: Sequence[str],
) -> None:
    """Put rows of one Dynamics table into the inbox.

    `rows` (None: none): columns `id`, `etag` and those of `dynamics_columns`, all text as the system sent it. Deletions follow
    the rows. What could not be read is set aside (R116).
    """
    if rows is not None:
        rows = set_aside_unread(connection, rows, table.record_type, "id")
    end_unread(connection, table.record_type, deleted_ids)
    landing = _next_landing(connection)
    columns = dynamics_columns(fields, table.record_type)
    names = ", ".join(quoted(name) for name in columns)
    zones = zones_of_days(connection, table.record_type, columns)
    values = ", ".join(
        f"canonical_day({quoted(name)}, {_literal(zones[name])})" if name in zones else canonical(name, kind, rows)
        for name, kind in columns.items()
    )
    if rows is not None and rows.num_rows:
        connection.register("landed_rows", rows)
        connection.execute(
            f"insert into {table.inbox} (landing, {table.id_column}, etag, is_deleted, {names}) "
            f"select {landing}, canonical_guid(id), etag, false, {values} from landed_rows"
        )
        connection.unregister("landed_rows")
        if has_erased(connection):
            drop_erased(connection, [table.inbox])
    if deleted_ids:
        connection.execute(
            f"insert into {table.inbox} (landing, {table.id_column}, is_deleted) "
            f"select {landing}, lower(unnest(?::varchar[])), true",
            [list(deleted_ids)],
        )


MODIFIED_BY = "_modifiedby_value"
# Columns that every reading fills, whatever the field map says.
STRUCTURE = frozenset(
    {"etag", "is_deleted", "external_company_id", "is_deleted_in_dynamics", "dynamics_lead_id", "dynamics_contact_id"}
    | {"dynamics_type", "dynamics_created_on", "created_at", "updated_at"}
).union(*(table.system_columns for table in TABLES.values()))


# Marketo's own times of a person, which it moves by itself, with the mirror's names for them.
TIMES = {"createdAt": "created_at", "updatedAt": "updated_at"}


@dataclass(frozen=True)
class PersonColumns:
    """What is read of a Marketo person: what the sync itself needs, then the mapped fields, those being back-filled too."""

    fields: FieldMap
    own: OwnFields

    @property
    def mirror_of_own(self) -> dict[str, str]:
        """REST names of the own fields, with the mirror's names for them."""
        return {
            self.own.lead_id: "dynamics_lead_id",
            self.own.contact_id: "dynamics_contact_id",
            self.own.company: "external_company_id",
            self.own.is_deleted: "is_deleted_in_dynamics",
            self.own.person_type: "dynamics_type",
            self.own.created_on: "dynamics_created_on",
        }

    @property
    def names(self) -> list[str]:
        """REST names to ask for, `id` left out, in an order that does not depend on that of the field map."""
        return list(dict.fromkeys([*self.mirror_of_own, *TIMES, *sorted(self.kinds)]))

    @property
    def told(self) -> list[str]:
        """REST names that the feed is asked for: Marketo's own times change with whatever else does."""
        return [*self.mirror_of_own, *sorted(self.kinds)]

    @property
    def kinds(self) -> dict[str, FieldType]:
        """REST names of the mapped fields that are read, with their types; the mirror has them by the same names."""
        return self.fields.read_of_people

    @property
    def read_as(self) -> list[str]:
        """What was read, as a cursor keeps it: a field that has another type from now on is another one (R109)."""
        return [*self.mirror_of_own, *(f"{name} {kind}" for name, kind in self.kinds.items())]


def land_people(
    connection: duckdb.DuckDBPyConnection, columns: PersonColumns, people: pa.Table | None = None, *, file: str = ""
) -> None:
    """Put Marketo people into the inbox, from a table of the client or from the `file` of a bulk extract.

    Both hold `id` and the REST names of `columns`, text as the system sent it; absent or `null` is null (R47). In a file
    the word *null* looks the same, so whoever has such a cell is noted in `state.empty_cells` (`extract/empty_cells.py`).
    """
    if people is not None:
        keys = {"contact_id": columns.own.contact_id, "lead_id": columns.own.lead_id}
        people = set_aside_unread(connection, people, PERSON, "id", keys)
        connection.register("landed_people", people)
    landing = _next_landing(connection)
    kinds = columns.kinds
    targets = ", ".join((*columns.mirror_of_own.values(), *TIMES.values(), *(quoted(name) for name in kinds)))
    values = ", ".join(
        (
            f"canonical_guid({quoted(columns.own.lead_id)})",
            f"canonical_guid({quoted(columns.own.contact_id)})",
            f"canonical_guid({quoted(columns.own.company)})",
            canonical(columns.own.is_deleted, FieldType.BOOLEAN, people),
            canonical(columns.own.person_type, FieldType.TEXT, people),
            canonical(columns.own.created_on, FieldType.DATETIME, people),
            *(canonical(name, FieldType.DATETIME, people) for name in TIMES),
            *(canonical_in_marketo(name, kind, people) for name, kind in kinds.items()),
        )
    )
    insert = (
        f"insert into inbox.marketo_people (landing, person_id, is_deleted, {targets}) "
        f"select {landing}, id::bigint, false, {values} "
    )
    if people is not None:
        connection.execute(f"{insert} from landed_people")
    else:
        header = _header(file, columns)
        try:
            connection.execute(f"{insert} from {_csv(file, header)}")
        except (duckdb.InvalidInputException, duckdb.ConversionException):
            raise _unreadable_export(
                "a line of it has other columns than its header"
            ) from None  # DuckDB quotes the line
        _note_empty_cells(connection, columns, landing)
    if people is not None:
        connection.unregister("landed_people")
    if has_erased(connection):
        drop_erased(connection, ["inbox.marketo_people", "state.empty_cells"])


def land_deleted_people(connection: duckdb.DuckDBPyConnection, person_ids: Sequence[int]) -> None:
    """Note in the inbox that Marketo deleted these people; ids the mirror never held are of no interest."""
    end_unread(connection, PERSON, [str(person_id) for person_id in person_ids])
    connection.execute(
        f"insert into inbox.marketo_people (landing, person_id, is_deleted) "
        f"select {_next_landing(connection)}, person_id, true from (select unnest(?::bigint[]) as person_id) "
        "where person_id in (select person_id from mirror.marketo_people where not is_deleted "
        "union all select person_id from inbox.marketo_people union all select person_id from state.links)",
        [list(person_ids)],
    )


def land_companies(connection: duckdb.DuckDBPyConnection, fields: FieldMap, companies: pa.Table) -> None:
    """Put Marketo companies into the inbox: columns `externalCompanyId`, or `KEYLESS` and a person's id, and the company
    fields, text as sent.
    """
    companies = set_aside_unread(connection, companies, COMPANY, COMPANY_KEY)
    connection.register("landed_companies", companies)
    names = "".join(f", {quoted(name)}" for name in fields.company_fields)
    key = f"canonical_guid({quoted(COMPANY_KEY)})"
    is_keyless = f"starts_with({key}, '{KEYLESS}')"
    values = [_held_by_company(name, kind, is_keyless, companies) for name, kind in fields.company_fields.items()]
    connection.execute(
        f"insert into inbox.marketo_companies (landing, external_company_id{names}) "
        f"select {_next_landing(connection)}, {key}, {', '.join(values)} from landed_companies "
        # The company without a key is empty behind nearly everybody, and no row says the same.
        f"where not {is_keyless} or coalesce({', '.join(values)}) is not null "
        f"or {key} in (select external_company_id from mirror.marketo_companies)"
    )
    connection.unregister("landed_companies")
    if has_erased(connection):
        drop_erased(connection, ["inbox.marketo_companies"])


def _held_by_company(name: str, kind: FieldType, is_keyless: str, companies: pa.Table) -> str:
    """The expression for a value of a company; *false*, which Marketo shows for what nobody set, is none without a key."""
    value = canonical_in_marketo(name, kind, companies)
    is_checkbox = kind is FieldType.BOOLEAN
    return f"case when not {is_keyless} or {value} <> 'false' then {value} end" if is_checkbox else value


def _note_empty_cells(connection: duckdb.DuckDBPyConnection, columns: PersonColumns, landing: int) -> None:
    texts = [quoted(name) for name, kind in columns.kinds.items() if kind_in_marketo(kind) is FieldType.TEXT]
    if not texts:
        return
    is_empty = " or ".join(f"i.{name} is null" for name in texts)
    is_cleared = " or ".join(f"(i.{name} is null and m.{name} is not null)" for name in texts)
    connection.execute(
        "insert into state.empty_cells (person_id, is_cleared) "
        f"select i.person_id, coalesce(not m.is_deleted and ({is_cleared}), false) from inbox.marketo_people i "
        "left join mirror.marketo_people m using (person_id) "
        f"where i.landing = {landing} and ({is_empty})"
    )


def _header(file: str, columns: PersonColumns) -> list[str]:
    """The names of its columns, which come in any order. Raises: AnswerUnreadable where they are not those asked for."""
    with Path(file).open(encoding="utf-8", newline="") as lines:
        header = next(csv.reader(lines), [])
    if sorted(header) != sorted(["id", *columns.names]):
        raise _unreadable_export("its columns are not those that were asked for")
    return header


def _unreadable_export(why: str) -> AnswerUnreadable:
    return AnswerUnreadable(
        f"The bulk export of people cannot be read: {why}.",
        system="marketo",
        request="GET /bulk/v1/leads/export/file.json",
        next_step="The next cycle goes on with it; if it stays so, tell the makers of DynSync.",
    )


def _csv(file: str, header: Sequence[str]) -> str:
    """A bulk-extract file as a relation: quotes doubled, line breaks inside values, the word null for nothing."""
    types = ", ".join(f"{_literal(name)}: 'varchar'" for name in header)
    return (
        f"read_csv({_literal(file)}, auto_detect = false, header = true, delim = ',', quote = '\"', escape = '\"', "
        f"nullstr = 'null', parallel = false, max_line_size = 16777216, columns = {{{types}}})"
    )


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _next_landing(connection: duckdb.DuckDBPyConnection) -> int:
    return scalar(connection, "select nextval('inbox.landings')")


def take_in_dynamics(
    connection: duckdb.DuckDBPyConnection, at: datetime, record_type: RecordType, *, is_receipt: bool = False
) -> int:
    """Move the inbox of one Dynamics table into its mirror `at` (UTC without zone); returns the number of records seen."""
    table = TABLES[record_type]
    if not _newest(connection, table.inbox, table.mirror, table.id_column):
        return 0
    if record_type is RecordType.ACCOUNT:
        # Only an update counts (R52): a row that is read again as it was must not undo local edits of its company.
        # Nor must its last editor, of whom an upgrade learns.
        names = ", ".join(quoted(name) for name in _columns(connection, table.mirror) if name != MODIFIED_BY)
        connection.execute(
            f"insert into inbox.touched (record_type, dynamics_id, is_receipt) "
            f"select distinct 'account', {table.id_column}, false from ("
            f"select {names} from newest except "
            f"select {names} from {table.mirror} where {table.id_column} in (select id from newest_ids))"
        )
        connection.execute(_OF_ENDED_ACCOUNTS)
    else:
        connection.execute(
            "insert into inbox.touched (record_type, dynamics_id, is_receipt) select ?, id, false from newest_ids",
            [record_type],
        )
        note_dynamics_edits(connection, table)
    connection.execute(
        "insert into state.unpublished (published_table, dynamics_id) select ?, id from newest_ids", [table.entity_set]
    )
    return _replace(connection, table.inbox, OF_RECORDS[record_type], at, is_receipt=is_receipt)


# Whoever stands behind the company of an account that was deleted, or whose state changed, is shown so (R61).
_OF_ENDED_ACCOUNTS = """
insert into state.unpublished (published_table, person_id)
select 'people', person_id from mirror.marketo_people
where external_company_id in (
    select a.accountid from newest n join mirror.dynamics_accounts a using (accountid)
    where n.is_deleted <> a.is_deleted or n.statecode is distinct from a.statecode
)
"""


def take_in_people(connection: duckdb.DuckDBPyConnection, at: datetime, *, is_receipt: bool = False) -> int:
    """Move the inbox of Marketo people into the mirror `at` (UTC without zone); returns the number of people seen."""
    if not _newest(connection, "inbox.marketo_people", "mirror.marketo_people", "person_id"):
        return 0
    follow_people(connection)
    connection.execute("insert into inbox.touched (person_id, is_receipt) select id, ? from newest_ids", [is_receipt])
    connection.execute("insert into state.unpublished (published_table, person_id) select 'people', id from newest_ids")
    _drop_left_companies(connection)
    return _replace(connection, "inbox.marketo_people", OF_PEOPLE, at, is_receipt=is_receipt)


def _drop_left_companies(connection: duckdb.DuckDBPyConnection) -> None:
    """Whoever in `newest` stands behind a company with a key has left the one without, which is gone then."""
    left = connection.execute(_LEFT_COMPANIES).fetchall()
    if not left:
        return
    keys = [row[0] for row in left]
    end_unread(connection, COMPANY, keys)
    connection.execute("delete from mirror.marketo_companies where external_company_id in (select unnest(?))", [keys])
    connection.execute(
        "insert into state.unpublished (published_table, dynamics_id) select 'companies', unnest(?::varchar[])", [keys]
    )


_LEFT_COMPANIES = f"""
with left_keys as (
    select '{KEYLESS}' || person_id as key from newest where external_company_id is not null or is_deleted
)
select external_company_id from mirror.marketo_companies where external_company_id in (from left_keys)
union
select key from state.unread where record_type = '{COMPANY}' and key in (from left_keys)
"""


def take_in_companies(connection: duckdb.DuckDBPyConnection, at: datetime, *, is_receipt: bool = False) -> int:
    """Move the inbox of Marketo companies into the mirror `at` (UTC without zone); returns the number of companies seen.

    What differs from the mirror is a local edit, unless it is the answer to our own write, which ends them.
    """
    key = "external_company_id"
    if not _newest(connection, "inbox.marketo_companies", "mirror.marketo_companies", key):
        return 0
    follow_companies(connection)
    if is_receipt:
        connection.execute(f"delete from state.local_company_edits where {key} in (select id from newest_ids)")
    else:
        connection.execute(_EDITED_COMPANIES)
        connection.execute(
            "insert into state.local_company_edits (external_company_id, field, value_before) "
            "select external_company_id, field, value_before from edited_companies "
            f"where not starts_with(external_company_id, 'lead:') and not starts_with(external_company_id, '{KEYLESS}') "
            "and (external_company_id, field) not in (select (external_company_id, field) from state.local_company_edits)"
        )
        connection.execute(
            "insert into inbox.touched (record_type, dynamics_id, is_receipt) "
            "select distinct 'lead', substr(external_company_id, 6), false "
            "from edited_companies where starts_with(external_company_id, 'lead:')"
        )
        connection.execute(
            f"insert into inbox.touched (person_id, is_receipt) select {_PERSON_OF_KEYLESS}, false "
            f"from (select external_company_id as id from edited_companies union select id from newest_ids "
            f"where id not in (select {key} from mirror.marketo_companies)) where starts_with(id, '{KEYLESS}')"
        )
    connection.execute(
        "insert into state.unpublished (published_table, person_id) select 'people', person_id from mirror.marketo_people "
        "where external_company_id in (select id from newest_ids) "
        f"union select 'people', {_PERSON_OF_KEYLESS} from newest_ids where starts_with(id, '{KEYLESS}')"
    )
    connection.execute(
        "insert into state.unpublished (published_table, dynamics_id) select 'companies', id from newest_ids"
    )
    return _replace(connection, "inbox.marketo_companies", OF_COMPANIES, at, is_receipt=is_receipt)


_PERSON_OF_KEYLESS = f"substr(id, {len(KEYLESS) + 1})::bigint"
_EDITED_COMPANIES = """
create or replace temp table edited_companies as
with known as (
    from mirror.marketo_companies where external_company_id in (select id from newest_ids)
),
seen as (
    from newest where external_company_id in (select external_company_id from mirror.marketo_companies)
)
select external_company_id, field, max(value) filter (where side = 'before') as value_before
from (
    select 'before' as side, external_company_id, field, value from long_of('known')
    union all
    select 'after', external_company_id, field, value from long_of('seen')
)
group by external_company_id, field
having max(value) filter (where side = 'before') is distinct from max(value) filter (where side = 'after')
"""


def _newest(connection: duckdb.DuckDBPyConnection, inbox: str, mirror: str, key: str) -> int:
    """Let `newest` show the last sighting of every record in `inbox`; a deletion keeps the values seen before (R79)."""
    has_deletions = mirror != "mirror.marketo_companies"
    is_deleted = "is_deleted" if has_deletions else "false"
    n_landed, n_seen, n_deleted = connection.execute(
        f"select count(*), count(distinct {key}), count(*) filter (where {is_deleted}) from {inbox}"
    ).fetchall()[0]
    if not n_landed:
        return 0
    parked = _parked_columns(connection, mirror, key)
    keeps_some = (n_deleted or parked) and _knows_any(connection, inbox, mirror, key)
    if n_seen == n_landed and not keeps_some:  # as nearly always: no row is copied to be looked at
        connection.execute(f"create or replace temp view newest as select * exclude (landing) from {inbox}")
    else:
        _copy_newest(connection, inbox, key, f"landing desc, {is_deleted} desc")
        _keep_unseen(connection, mirror, key, parked, has_deletions=has_deletions)
    connection.execute(f"create or replace temp view newest_ids as select {key} as id from newest")
    return int(n_landed)


def _knows_any(connection: duckdb.DuckDBPyConnection, inbox: str, mirror: str, key: str) -> bool:
    query = f"select 1 from {mirror} where {key} in (select {key} from {inbox}) limit 1"
    return bool(connection.execute(query).fetchall())


def _copy_newest(connection: duckdb.DuckDBPyConnection, inbox: str, key: str, order: str) -> None:
    # Sorted by key and age alone, and then fetched: sorting whole rows takes twice the time and much memory.
    last = f"select rowid from {inbox} qualify row_number() over (partition by {key} order by {order}) = 1"
    connection.execute(f"create or replace temp table newest_rows as {rows_at(inbox, last, '* exclude (landing)')}")
    connection.execute("create or replace temp view newest as from newest_rows")


def _keep_unseen(
    connection: duckdb.DuckDBPyConnection, mirror: str, key: str, parked: Sequence[str], *, has_deletions: bool
) -> None:
    """What a sighting does not show stays as the mirror has it: parked columns, and all of whoever is gone."""
    if parked:
        kept = ", ".join(f"{quoted(name)} = m.{quoted(name)}" for name in parked)
        connection.execute(f"update newest_rows set {kept} from {mirror} m where m.{key} = newest_rows.{key}")
    if has_deletions:
        connection.execute(
            f"update newest_rows set {_kept_values(connection, mirror, key)} from {mirror} m "
            f"where newest_rows.is_deleted and m.{key} = newest_rows.{key}"
        )


def _parked_columns(connection: duckdb.DuckDBPyConnection, mirror: str, key: str) -> list[str]:
    """Columns of fields that are out of the map now: nobody reads them, and their last values stay (R107)."""
    read = {key, *STRUCTURE}
    offered = connection.execute(
        "select record_type, name from state.columns where system = 'dynamics' and is_readable"
    )
    known = {(TABLES[RecordType(kind)].mirror, name) for kind, name in offered.fetchall()}
    read.update(c for table in TABLES.values() for c in table.offered_columns if (mirror, logical_name(c)) in known)
    for record_type, field, column, is_on_company in connection.execute(
        "select record_type, field, dynamics_column, is_on_company from reconcile.fields"
    ).fetchall():
        if mirror == TABLES[RecordType(record_type)].mirror:
            read.add(column)
        elif mirror == ("mirror.marketo_companies" if is_on_company else "mirror.marketo_people"):
            read.add(field)
    if mirror == "mirror.marketo_people":
        being_read = "select marketo_field from state.parked_fields where reason_code = 'being_read'"
        read.update(row[0] for row in connection.execute(being_read).fetchall())
    return sorted(set(_columns(connection, mirror)) - read)


def _kept_values(connection: duckdb.DuckDBPyConnection, mirror: str, key: str) -> str:
    kept = [name for name in _columns(connection, mirror) if name not in (key, "is_deleted")]
    return ", ".join(f"{quoted(name)} = m.{quoted(name)}" for name in kept)


def _columns(connection: duckdb.DuckDBPyConnection, table: str) -> list[str]:
    # Ten times faster than asking the catalogue, which lists every column of every table first.
    return connection.table(table).columns


def _replace(
    connection: duckdb.DuckDBPyConnection, inbox: str, mirrored: Mirrored, at: datetime, *, is_receipt: bool
) -> int:
    """The one place where a mirror moves."""
    mirror, key = mirrored.mirror, mirrored.key
    observed = observed_columns(connection, mirrored)
    columns = dict.fromkeys([key, *observed, *(["is_deleted"] if mirrored is OF_PEOPLE else [])])
    held = f"rowid as {PLACE}, {', '.join(map(quoted, columns))}"
    connection.execute(
        f"create or replace temp table known as {rows_of(mirror, key, f'select {key} from newest', held)}"
    )
    if observed:
        observe(connection, mirrored, observed, at, is_receipt=is_receipt)
    # Delete and insert: on wide tables this is a thousand times cheaper than an update of all columns.
    for statement in deleting(mirror, "known"):
        connection.execute(statement)
    connection.execute("drop table temp.known")
    connection.execute(f"insert into {mirror} by name select * from newest")
    count = scalar(connection, "select count(*) from newest")
    for shown in ("view newest_ids", "view newest", "table if exists newest_rows"):
        connection.execute(f"drop {shown}")
    connection.execute(f"delete from {inbox}")
    return count
