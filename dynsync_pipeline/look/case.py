"""One person as a file that may be shared: what every table knows of them, with other names, and what the rules make of it.

The rows go into an empty working file of their own, where the plan decides them as it would decide everybody. Texts, numbers,
days and ids become pseudonyms (`pseudonyms.py`); codes, names of fields, labels of options and times of the systems stay.
Not here: finding the person and the file on disk (`cli/case.py`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import astuple, dataclass
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import duckdb
import pyarrow as pa

from dynsync_pipeline import __version__
from dynsync_pipeline.errors import StorageFailed
from dynsync_pipeline.look.pseudonyms import Pseudonyms
from dynsync_pipeline.look.reading import Row, select
from dynsync_pipeline.model.field_map import COLUMNS, OF_OPTIONS, Collision, Field, FieldMap, FieldType, parse_field_map
from dynsync_pipeline.model.own_fields import OwnFields
from dynsync_pipeline.model.records import FILTER_COLUMN, PERSON_TYPES, TABLES
from dynsync_pipeline.reconcile.plan import make_plan
from dynsync_pipeline.warehouse.columns import follow_field_map, move_base, quoted, with_offered
from dynsync_pipeline.warehouse.connection import SCHEMA_VERSION, Warehouse
from dynsync_pipeline.warehouse.labels import follow_labels, note_labels

FORMAT = 1
Tables = dict[str, list[Row]]

# What tells of the systems and of nobody; taken whole.
_OF_SYSTEMS = (
    "state.options",
    "state.former_labels",
    "state.columns",
    "state.user_zone",
    "state.lost_filters",
)
_SCHEMAS = ("mirror", "state", "ledger")
# Columns by which a row is somebody's: persons of Marketo, records of Dynamics, companies by their key.
_PERSON_COLUMNS = ("person_id", "winner_person_id", "loser_person_id")
_RECORD_COLUMNS = (
    "dynamics_id",
    "contactid",
    "leadid",
    "accountid",
    "account_id",
    "winner_dynamics_id",
    "loser_dynamics_id",
)
_COMPANY_COLUMNS = ("external_company_id", "company_key")
# Columns that hold no text of anybody, but codes of ours and names of the systems'.
_PLAIN = frozenset(
    {
        *(
            "record_type",
            "field",
            "name",
            "dynamics_column",
            "system",
            "object",
            "action",
            "direction",
            "side",
            "state",
            "operation",
        ),
        *(
            "winner",
            "what",
            "choice",
            "kind",
            "door",
            "decision",
            "command",
            "rule_code",
            "reason_code",
            "outcome_code",
            "cause_code",
            "code",
        ),
        *("activity_type", "statecode", "dynamics_type", "winner_record_type", "loser_record_type", "found_by"),
    }
)


@dataclass(frozen=True)
class Case:
    """One person's case. `tables`: rows by table, pseudonyms in them; `field_map`: its lines as CSV; `own_fields`: the names of
    the sync's own fields; `decided_at`: UTC without zone; `outcome`: what the rules made of it then, as `decide` returns it.

    `otherwise`: fields that the real values are decided otherwise for, because their pseudonyms lost what the rules go by.
    """

    field_map: str
    own_fields: tuple[str, ...]
    tables: Tables
    decided_at: datetime
    outcome: list[Row]
    otherwise: list[str]
    version: str = __version__

    def to_json(self) -> str:
        """The text of the file."""
        versions = {"case": FORMAT, "dynsync": self.version, "schema": SCHEMA_VERSION, "duckdb": duckdb.__version__}
        told = {
            "versions": versions,
            "decided_at": self.decided_at.isoformat(),
            "field_map": self.field_map.splitlines(),
            "own_fields": self.own_fields,
            "outcome": self.outcome,
            "decided_otherwise": self.otherwise,
            "tables": self.tables,
        }
        return json.dumps(told, ensure_ascii=False, indent=1)


def read_case(text: str) -> Case:
    """The case in the text of a file. Raises: StorageFailed where it is none, or of another version of the format."""
    try:
        told = json.loads(text)
        if told["versions"]["case"] != FORMAT or told["versions"]["schema"] != SCHEMA_VERSION:
            raise StorageFailed(
                f"The case was packed by DynSync {told['versions']['dynsync']}, whose working file is another.",
                next_step="Replay it with that version.",
            )
        return Case(
            field_map="\n".join(told["field_map"]) + "\n",
            own_fields=tuple(told["own_fields"]),
            tables=told["tables"],
            decided_at=datetime.fromisoformat(told["decided_at"]),
            outcome=told["outcome"],
            otherwise=told["decided_otherwise"],
            version=told["versions"]["dynsync"],
        )
    except (ValueError, TypeError, KeyError):
        raise StorageFailed(
            "The file is no case, or is damaged.", next_step="Pack it anew with `dynsync case PERSON`."
        ) from None


def pack(connection: duckdb.DuckDBPyConnection, fields: FieldMap, own: OwnFields, person_id: int, at: datetime) -> Case:
    """The case of a person as the working file knows it; `fields` are those that are synced, `at` is UTC without zone."""
    real = _rows_of(connection, person_id)
    names = Pseudonyms()
    hidden = _Hiding(names, fields, _labels(connection))
    tables = {table: [hidden.row(table, row) for row in rows] for table, rows in real.items()}
    lines = map_as_text(fields)
    case = Case(lines, astuple(own), tables, at, [], [])
    outcome = decide(case)
    of_real = [hidden.row("outcome", row) for row in decide(Case(lines, astuple(own), real, at, [], []))]
    otherwise = sorted({str(row["field"]) for row in [*outcome, *of_real] if (row in outcome) != (row in of_real)})
    return Case(lines, astuple(own), tables, at, outcome, otherwise)


def decide(case: Case) -> list[Row]:
    """What the rules make of the case, in a working file of its own: what would be written, what collided, what waits and why.

    Each row has `what` (write, collision, waiting), `system` it would go to, `action`, `field`, three values, `winner`, `code`.
    """
    own = OwnFields(*case.own_fields)
    fields = parse_field_map(case.field_map, "the case's field map", own)
    with TemporaryDirectory(prefix="case-") as folder, Warehouse(Path(folder) / "case.duckdb") as warehouse:
        with warehouse.transaction() as connection:
            _put(connection, "state.columns", case.tables.get("state.columns", []))
            follow_field_map(connection, with_offered(connection, fields))
            note_labels(connection)
            for table, rows in case.tables.items():
                if table != "state.columns":
                    _put(connection, table, rows)
            follow_labels(connection)
            connection.execute(_TOUCHED)
        with warehouse.transaction() as connection:
            make_plan(connection, cycle_id=1, at=case.decided_at, own_fields=own, limits=None)
            move_base(connection)
        with warehouse.reading() as connection:
            return sorted(select(connection, _OUTCOME), key=str)


_TOUCHED = """
delete from inbox.touched;
insert into inbox.touched (person_id, is_receipt) select person_id, false from mirror.marketo_people;
insert into inbox.touched (record_type, dynamics_id, is_receipt)
select 'contact', contactid, false from mirror.dynamics_contacts
union all select 'lead', leadid, false from mirror.dynamics_leads
"""

_OUTCOME = """
select
    'write' as what, o.system, o.action, c.field, c.old_value, c.new_value, null as base_value, null as winner,
    c.rule_code as code
from reconcile.operations o join reconcile.planned_changes c using (operation_id)
union all
select
    'collision', o.system, o.action, c.field, c.dynamics_value, c.marketo_value, c.base_value, c.winner, c.rule_code
from reconcile.operations o join reconcile.planned_collisions c using (operation_id)
union all
select 'waiting', null, null, field, dynamics_value, marketo_value, null, reason_code, code
from state.unsettled where reason_code is distinct from 'planned'
"""


# -- whose rows --------------------------------------------------------------------------------------------------------


def _rows_of(connection: duckdb.DuckDBPyConnection, person_id: int) -> Tables:
    """Every row that is the person's, its records' or their companies', by table, as text."""
    ids = _Ids(connection, person_id)
    found: Tables = {table: _texts(connection, f"from {table}") for table in _OF_SYSTEMS}
    tables = connection.execute(
        "select schema_name || '.' || table_name, list(column_name order by column_index) from duckdb_columns() "
        "where schema_name in (select unnest(?::varchar[])) and database_name = current_database() "
        "and table_name in (select table_name from duckdb_tables()) group by all order by 1",
        [list(_SCHEMAS)],
    ).fetchall()
    for table, columns in tables:
        if table not in _OF_SYSTEMS and (condition := ids.condition(columns)):
            found[table] = _texts(connection, f"from {table} where {condition}")
    return {table: rows for table, rows in found.items() if rows}


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

    def condition(self, columns: list[str]) -> str:
        """Which rows of a table with these columns are of them; empty where none can be."""
        companies = {key for each in self._records for key in (each, f"lead:{each}", f"contact:{each}")}
        parts = [
            f"{column}::varchar in ({', '.join(map(_literal, sorted(ids)))})"
            for names, ids in (
                (_PERSON_COLUMNS, self._people),
                (_RECORD_COLUMNS, self._records),
                (() if "person_id" in columns else _COMPANY_COLUMNS, companies),  # which a person shares with others
            )
            for column in names
            if column in columns and ids
        ]
        return " or ".join(parts)


_RECORDS = """
select dynamics_id from state.links where person_id = $id
union
select dynamics_id from state.tombstones where person_id = $id
union
select unnest([dynamics_contact_id, dynamics_lead_id]) from mirror.marketo_people where person_id = $id
"""


def _parents() -> Iterator[str]:
    for record_type in PERSON_TYPES:
        table = TABLES[record_type]
        lookups = [c for c in (*table.system_columns, *table.offered_columns) if c.startswith("_") and c not in _USERS]
        for lookup in lookups:
            yield (
                f"select {lookup} from {table.mirror} where {table.id_column} in (select unnest(?::varchar[])) "
                f"and {lookup} is not null"
            )


_USERS = ("_ownerid_value", "_modifiedby_value")


def _texts(connection: duckdb.DuckDBPyConnection, query: str) -> list[Row]:
    return select(connection, f"select columns(*)::varchar from ({query})")


def _put(connection: duckdb.DuckDBPyConnection, table: str, rows: list[Row]) -> None:
    """Put rows of text into a table; columns that are not in it, as those of fields that left the map, are left out."""
    if not rows:
        return
    columns = [column for column in connection.table(table).columns if column in rows[0]]
    arrays: Mapping[str, Any] = {column: pa.array([row[column] for row in rows], pa.string()) for column in columns}
    connection.register("case_rows", pa.table(arrays))
    names = ", ".join(map(quoted, columns))
    connection.execute(f"insert into {table} ({names}) select {names} from case_rows")
    connection.unregister("case_rows")


# -- what is hidden ----------------------------------------------------------------------------------------------------


class _Hiding:
    """Puts pseudonyms into rows, by what their tables and columns hold."""

    def __init__(self, names: Pseudonyms, fields: FieldMap, labels: frozenset[str]) -> None:
        self._names = names
        self._labels = labels
        self._kinds = {**fields.company_fields, **fields.read_of_people}
        self._kinds |= {field.dynamics_column: field.type for field in fields.fields}

    def row(self, table: str, row: Row) -> Row:
        """The same row with pseudonyms."""
        if table in _OF_SYSTEMS:
            return row
        kind = self._kinds.get(str(row.get("field") or row.get("name")), FieldType.TEXT)
        return {column: self._value(table, column, value, kind) for column, value in row.items()}

    def _value(self, table: str, column: str, value: Any, kind: FieldType) -> Any:
        is_wide = table.startswith(("mirror.", "state.base")) and table != "state.base_missing"
        if value is None or (column in _OF_THE_SYSTEMS if is_wide else column in _PLAIN or _is_ours(column)):
            return value
        if column in _PERSON_COLUMNS:
            return str(self._names.person_id(int(value)))
        if column in _RECORD_COLUMNS or column in _COMPANY_COLUMNS or column.startswith("_"):
            return self._names.id(value)
        return self._hidden(value, self._kinds.get(column, FieldType.TEXT) if is_wide else kind)

    def _hidden(self, value: str, kind: FieldType) -> str:
        """An option's number or label tells nothing of a person that its field does not; any other text does."""
        if kind in OF_OPTIONS:
            parts = [part.strip() for part in value.replace(",", ";").split(";")]
            if value in self._labels or all(part in self._labels or part.lstrip("-").isdigit() for part in parts):
                return value
            head = "?" if value.startswith("?") else ""
            return head + self._names.of(value.removeprefix("?"))
        return self._names.of(value, kind)


# Of the wide tables, where any other column may be a field of somebody's map, whatever it is called.
_OF_THE_SYSTEMS = frozenset(
    {
        *("createdon", "modifiedon", "statecode", "merged", FILTER_COLUMN, "is_deleted", "is_deleted_in_dynamics"),
        *("dynamics_type", "dynamics_created_on", "created_at", "updated_at"),
    }
)


def _is_ours(column: str) -> bool:
    """Times, counts, marks and numbers of rows, which the tables of our own name alike."""
    return column.endswith(("_at", "since", "attempts")) or column.startswith(("is_", "n_")) or column in _NUMBERS


_NUMBERS = frozenset(
    {
        "entry_id",
        "cycle_id",
        "activity_id",
        "error_id",
        "proposal_id",
        "finding_id",
        "activities_suppressed",
    }
)


def _labels(connection: duckdb.DuckDBPyConnection) -> frozenset[str]:
    rows = connection.execute("select label from state.options union select label from state.former_labels").fetchall()
    return frozenset(str(row[0]) for row in rows)


def map_as_text(fields: FieldMap) -> str:
    """The lines of a field map as CSV, which reads as the same fields with the same rules."""
    return (
        ",".join(COLUMNS)
        + "\n"
        + "".join(
            f"{f.record_type},{f.marketo_field},{f.dynamics_column},{f.type},{f.direction},true,{_collision(f)}\n"
            for f in fields.fields
        )
    )


def _collision(field: Field) -> str:
    rule = "" if field.collision is Collision.ORIGINAL else str(field.collision.value)
    return f"{rule}:{field.forbids}" if field.forbids else rule


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
