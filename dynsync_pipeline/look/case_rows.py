"""Whose rows a case holds: of every table those of one person, its records and their companies, as text.

Not here: what is hidden of them (`hidden_rows.py`), what the rules make of them (`case.py`).
"""

from __future__ import annotations

from collections.abc import Iterator

import duckdb

from dynsync_pipeline.look.reading import Row, select
from dynsync_pipeline.model.own_fields import KEYLESS
from dynsync_pipeline.model.records import PERSON_TYPES, TABLES

Tables = dict[str, list[Row]]

# What tells of the systems and of nobody; taken whole.
OF_SYSTEMS = frozenset(
    {"state.options", "state.former_labels", "state.columns", "state.user_zone", "state.lost_filters"}
)
# What tells of whole tables and of the whole file, beside what a system said; taken whole as well.
_OF_ALL = frozenset(
    {
        *("state.refused_links", "state.refused_fields", "state.parked_fields"),
        *("state.returned_fields", "state.joined_fields", "state.restored"),
    }
)
_SCHEMAS = ("mirror", "state", "ledger")
# Columns by which a row is somebody's: persons of Marketo, records of Dynamics, companies by their key.
PERSON_COLUMNS = ("person_id", "winner_person_id", "loser_person_id")
RECORD_COLUMNS = (
    *("dynamics_id", "contactid", "leadid", "accountid", "account_id", "contact_id", "lead_id"),
    *("winner_dynamics_id", "loser_dynamics_id"),
)
COMPANY_COLUMNS = ("external_company_id", "company_key")
ID_COLUMNS = frozenset({*PERSON_COLUMNS, *RECORD_COLUMNS, *COMPANY_COLUMNS})
# Of these any other column may be a field of somebody's map, whatever it is called.
_KEYS = {table.mirror: [table.id_column] for table in TABLES.values()} | {
    **{"mirror.marketo_people": ["person_id"], "state.base": ["person_id"]},
    "mirror.marketo_companies": ["external_company_id"],
}
# Tables whose rows are of anything: a person, a record or a company, by this column.
OF_ANYTHING = {"state.unread": "key", "state.suspects": "suspect_id"}


def rows_of(connection: duckdb.DuckDBPyConnection, person_id: int) -> Tables:
    """Every row that is the person's, its records' or their companies', by table, as text."""
    ids = _Ids(connection, person_id)
    tables = connection.execute(
        "select schema_name || '.' || table_name, list(column_name order by column_index) from duckdb_columns() "
        "where schema_name in (select unnest(?::varchar[])) and database_name = current_database() "
        "and table_name in (select table_name from duckdb_tables()) group by all order by 1",
        [list(_SCHEMAS)],
    ).fetchall()
    found = {
        table: _rows(connection, table, ids.condition(table, _KEYS.get(table, columns))) for table, columns in tables
    }
    # Of options and columns comes first what the others are read by.
    return {table: found[table] for table in sorted(found, key=lambda table: table not in OF_SYSTEMS) if found[table]}


def _rows(connection: duckdb.DuckDBPyConnection, table: str, condition: str) -> list[Row]:
    if table in OF_SYSTEMS | _OF_ALL:
        condition = "true"
    return select(connection, f"select columns(*)::varchar from {table} where {condition}") if condition else []


class _Ids:
    """The ids of one person's case: the person, its records, their accounts and what these were made of, and its companies."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, person_id: int) -> None:
        self._people = {str(person_id)}
        self._records = {str(row[0]).lower() for row in connection.execute(_RECORDS, {"id": person_id}).fetchall()}
        for _ in range(2):  # an account, or the lead that a contact was made of; and the account of that
            self._records |= {
                str(row[0]).lower()
                for query in _parents()
                for row in connection.execute(query, [sorted(self._records)]).fetchall()
            }

    def condition(self, table: str, columns: list[str]) -> str:
        """Which rows of a table with these columns are of them; empty where none can be."""
        companies = {key for each in self._records for key in (each, f"lead:{each}", f"contact:{each}")}
        companies |= {f"{KEYLESS}{each}" for each in self._people}
        if table in OF_ANYTHING:
            return _is_one_of(OF_ANYTHING[table], self._people | companies)
        parts = [
            _is_one_of(column, ids)
            for names, ids in (
                (PERSON_COLUMNS, self._people),
                (RECORD_COLUMNS, self._records),
                (() if "person_id" in columns else COMPANY_COLUMNS, companies),  # which a person shares with others
            )
            for column in names
            if column in columns and ids
        ]
        return " or ".join(parts)


def _is_one_of(column: str, ids: set[str]) -> str:
    return f"{column}::varchar in ({', '.join(map(_literal, sorted(ids)))})"


_RECORDS = """
select dynamics_id from state.links where person_id = $id
union
select dynamics_id from state.tombstones where person_id = $id
union
select unnest([dynamics_contact_id, dynamics_lead_id]) from mirror.marketo_people where person_id = $id
"""
_USERS = ("_ownerid_value", "_modifiedby_value")


def _parents() -> Iterator[str]:
    for record_type in PERSON_TYPES:
        table = TABLES[record_type]
        lookups = [c for c in (*table.system_columns, *table.offered_columns) if c.startswith("_") and c not in _USERS]
        for lookup in lookups:
            yield (
                f"select {lookup} from {table.mirror} where {table.id_column} in (select unnest(?::varchar[])) "
                f"and {lookup} is not null"
            )


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
