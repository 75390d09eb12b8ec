"""One person as a file that may be shared: what every table knows of them, with other names, and what the rules make of it.

The rows go into an empty working file of their own, where the plan decides them as it would decide everybody; to `newest` both
systems' clocks are one there. Not here: whose rows these are (`case_rows.py`), what is hidden of them (`hidden_rows.py`), finding
the person and the file on disk (`cli/case.py`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import astuple, dataclass
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import duckdb
import msgspec
import pyarrow as pa

from dynsync_pipeline import __version__
from dynsync_pipeline.errors import StorageFailed
from dynsync_pipeline.look.case_rows import Tables, rows_of
from dynsync_pipeline.look.hidden_rows import Hiding
from dynsync_pipeline.look.reading import Row, select
from dynsync_pipeline.model.field_map import COLUMNS, Collision, Field, FieldMap, parse_field_map
from dynsync_pipeline.model.own_fields import OwnFields
from dynsync_pipeline.reconcile.plan import make_plan
from dynsync_pipeline.warehouse.columns import quoted, with_offered
from dynsync_pipeline.warehouse.connection import SCHEMA_VERSION, Warehouse
from dynsync_pipeline.warehouse.follow_map import follow_field_map, move_base
from dynsync_pipeline.warehouse.labels import follow_labels, note_labels

FORMAT = 1


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


class _File(msgspec.Struct):
    """The file, so that one which was edited by hand is found out before anything is made of it."""

    versions: dict[str, str | int]
    decided_at: datetime
    field_map: list[str]
    own_fields: tuple[str, str, str, str, str, str]
    outcome: list[dict[str, str | None]]
    decided_otherwise: list[str]
    tables: dict[str, list[dict[str, str | None]]]


class _Versions(msgspec.Struct):
    versions: dict[str, str | int]


def read_case(text: str) -> Case:
    """The case in the text of a file. Raises: StorageFailed where it is none, or of another version of the format."""
    try:
        versions = msgspec.json.decode(text, type=_Versions).versions
        if (versions["case"], versions["schema"]) != (FORMAT, SCHEMA_VERSION):
            raise StorageFailed(
                f"The case was packed by DynSync {versions['dynsync']}, whose working file is another.",
                next_step="Replay it with that version.",
            )
        told = msgspec.json.decode(text, type=_File)
        version = str(versions["dynsync"])
    except (msgspec.DecodeError, KeyError):
        raise _damaged("The file is no case, or is damaged") from None
    return Case(
        field_map="\n".join(told.field_map) + "\n",
        own_fields=told.own_fields,
        tables=told.tables,
        decided_at=told.decided_at.replace(tzinfo=None),
        outcome=told.outcome,
        otherwise=told.decided_otherwise,
        version=version,
    )


def _damaged(what: str) -> StorageFailed:
    return StorageFailed(f"{what}.", next_step="Pack it anew with `dynsync case PERSON`.")


def replay(case: Case) -> list[Row]:
    """`decide` for a case that somebody sent. Raises: DynSyncError, also where rows of it were edited and fit no table."""
    try:
        return decide(case)
    except duckdb.Error:
        raise _damaged("The case was edited or is damaged: its rows do not fit the tables of a working file") from None


def pack(connection: duckdb.DuckDBPyConnection, fields: FieldMap, own: OwnFields, person_id: int, at: datetime) -> Case:
    """The case of a person as the working file knows it; `fields` are those that are synced, `at` is UTC without zone."""
    real = rows_of(connection, person_id)
    hidden = Hiding(connection, fields, own, [str(row["record_type"]) for row in real.get("state.links", [])])
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


def _put(connection: duckdb.DuckDBPyConnection, table: str, rows: list[Row]) -> None:
    """Put rows of text into a table; columns that are not in it, as those of fields that left the map, are left out."""
    if not rows:
        return
    columns = [column for column in connection.table(table).columns if column in rows[0]]
    arrays: Mapping[str, Any] = {column: pa.array([row.get(column) for row in rows], pa.string()) for column in columns}
    connection.register("case_rows", pa.table(arrays))
    names = ", ".join(map(quoted, columns))
    connection.execute(f"insert into {table} ({names}) select {names} from case_rows")
    connection.unregister("case_rows")


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
