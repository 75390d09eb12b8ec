"""What failed (R120, R121): `sync_errors` of the snapshot, by filters and by cause, with names, values and links.

Not here: how it is shown (`cli/errors.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby

import duckdb

from dynsync_pipeline.look.explain import as_text, labels_of
from dynsync_pipeline.look.links import dynamics_link, marketo_link
from dynsync_pipeline.look.reading import Row, select
from dynsync_pipeline.model.records import TABLES, RecordType
from dynsync_pipeline.settings import Settings
from dynsync_pipeline.warehouse.columns import quoted


@dataclass(frozen=True)
class ErrorFilter:
    """Which errors to show; None means any.

    `seen_after` is UTC without zone and compared with the last refusal; `search` is looked for, whatever the case, in
    code, field, message and Dynamics id.
    """

    state: str | None = None
    direction: str | None = None
    object: str | None = None
    code: str | None = None
    search: str | None = None
    person_id: int | None = None
    seen_after: datetime | None = None


def read_errors(connection: duckdb.DuckDBPyConnection, wanted: ErrorFilter) -> list[Row]:
    """The rows of `sync_errors` that `wanted` lets through, last seen first."""
    chosen = {
        "state = ?": wanted.state,
        "direction = ?": wanted.direction,
        "object = ?": wanted.object,
        "lower(code) = lower(?)": wanted.code,
        "contains(lower(concat_ws(chr(10), code, field, message, record_id_dynamics)), lower(?))": wanted.search,
        "person_id_marketo = ?": wanted.person_id,
        "last_seen_at >= ?": wanted.seen_after,
    }
    used = {condition: value for condition, value in chosen.items() if value is not None}
    where = "".join(f" and {condition}" for condition in used)
    return select(
        connection,
        f"from sync_errors where true{where} order by last_seen_at desc, error_id desc",
        list(used.values()),
    )


@dataclass(frozen=True)
class Cause:
    """Errors that one thing explains: they are of one object, operation, direction, field and code.

    `message` is that of the newest; `rows` are its errors, last seen first, each with `name`, `refused_value` and links.
    """

    object: str
    operation: str
    direction: str
    field: str | None
    code: str
    message: str
    rows: list[Row]


def by_cause(errors: Sequence[Row]) -> list[Cause]:
    """The errors by what explains them, the most frequent cause first."""

    def key(row: Row) -> tuple[str, ...]:
        return tuple(row[name] or "" for name in ("object", "operation", "direction", "field", "code"))

    causes = []
    for (kind, operation, direction, field, code), found in groupby(sorted(errors, key=key), key=key):
        rows = list(found)
        causes.append(Cause(kind, operation, direction, field or None, code, rows[0]["message"], rows))
    return sorted(causes, key=lambda cause: -len(cause.rows))


def name_them(connection: duckdb.DuckDBPyConnection, errors: Sequence[Row], settings: Settings) -> list[Row]:
    """The errors with `name` of the person or account, `refused_value` as the side that sent it has it now, and links.

    Each is None where nobody can tell it.
    """
    values = [value for cause in by_cause(errors) for value in _refused_values(connection, cause).items()]
    names, refused = _names(connection, errors), dict(values)
    return [
        row
        | {
            "name": names.get(row["record_id_dynamics"]) or names.get(row["person_id_marketo"]),
            "refused_value": refused.get(row["error_id"]),
            "dynamics_link": dynamics_link(settings, row["object"], row["record_id_dynamics"]),
            "marketo_link": marketo_link(settings, row["person_id_marketo"]),
        }
        for row in errors
    ]


def _refused_values(connection: duckdb.DuckDBPyConnection, cause: Cause) -> dict[int, str | None]:
    """What stands on the side that was to be written from, by error; nothing of a field that is not mapped any more."""
    mapped = select(connection, "from field_map where record_type = ? and field = ?", [cause.object, cause.field or ""])
    if not mapped:
        return {}
    (field,) = mapped
    if cause.direction == "to_dynamics":
        table, key, column, id_name = "people", "person_id_marketo", field["field"], "person_id_marketo"
    else:
        of = TABLES[RecordType(cause.object)]
        table, key, column, id_name = of.entity_set, of.id_column, field["dynamics_column"], "record_id_dynamics"
    waiting = [row for row in cause.rows if row["state"] != "resolved"]  # of others another value stands there by now
    found = select(
        connection,
        f"select {key} as id, {quoted(column)}::varchar as value from {table} where {key} in (select unnest(?))",
        [[row[id_name] for row in waiting]],
    )
    labels = labels_of(connection, field)
    values = {row["id"]: as_text(row["value"], field["type"], labels) for row in found}
    return {row["error_id"]: values.get(row[id_name]) for row in waiting}


def _names(connection: duckdb.DuckDBPyConnection, errors: Sequence[Row]) -> dict[object, str]:
    """Names of records and people as Dynamics, or else Marketo, has them, by id."""
    names: dict[object, str] = {}
    people = [row["person_id_marketo"] for row in errors if row["person_id_marketo"] is not None]
    names |= _named(connection, "people", "person_id_marketo", _columns(connection, None), people)
    for record_type in RecordType:
        table = TABLES[record_type]
        ids = [row["record_id_dynamics"] for row in errors if row["object"] == record_type]
        names |= _named(connection, table.entity_set, table.id_column, _columns(connection, record_type), ids)
    return names


_NAMES = ("firstName", "lastName")


def _columns(connection: duckdb.DuckDBPyConnection, record_type: RecordType | None) -> list[str]:
    """The columns that hold a name, as far as the field map has them: of a record of this type, or of a person."""
    wanted = ("company",) if record_type is RecordType.ACCOUNT else _NAMES
    column = "field" if record_type is None else "dynamics_column"
    rows = connection.execute(
        f"select distinct {column}, field from field_map where list_contains(?, field) and "
        "(record_type = $2 or $2 is null and record_type <> 'account') order by field",
        [list(wanted), record_type],
    ).fetchall()
    return [row[0] for row in rows]


def _named(
    connection: duckdb.DuckDBPyConnection, table: str, key: str, columns: Sequence[str], ids: Sequence[object]
) -> dict[object, str]:
    if not columns or not ids:
        return {}
    name = f"concat_ws(' ', {', '.join(map(quoted, columns))})"
    rows = connection.execute(
        f"select {key}, {name} from {table} where {key} in (select unnest(?)) and {name} <> ''", [list(ids)]
    ).fetchall()
    return dict(rows)
