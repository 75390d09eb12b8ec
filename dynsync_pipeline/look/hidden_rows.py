"""What is hidden of a case's rows: by what their tables and columns hold, each value gets a pseudonym or stays.

What stays are codes, names of fields, options that their column has, and times of the systems. Not here: the pseudonyms
(`pseudonyms.py`), whose rows these are (`case_rows.py`).
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Context, Decimal
from typing import Any

import duckdb

from dynsync_pipeline.look.case_rows import ID_COLUMNS, OF_ANYTHING, OF_SYSTEMS, PERSON_COLUMNS
from dynsync_pipeline.look.pseudonyms import NUMBER, Pseudonyms
from dynsync_pipeline.look.reading import Row
from dynsync_pipeline.model.field_map import OF_OPTIONS, Field, FieldMap, FieldType
from dynsync_pipeline.model.own_fields import OwnFields
from dynsync_pipeline.model.records import FILTER_COLUMN, TABLES
from dynsync_pipeline.warehouse.columns import decimal_places

# Columns that hold no text of anybody, but codes of ours and names of the systems'.
_PLAIN = frozenset(
    {
        *(
            "record_type",
            "field",
            "marketo_field",
            "name",
            "dynamics_column",
            "system",
            "object",
            "stream",
            "data_type",
        ),
        *("action", "direction", "side", "state", "operation", "winner", "what", "choice", "kind", "door", "decision"),
        *("our_direction", "their_direction", "verdict"),
        *("rule_code", "reason_code", "outcome_code", "cause_code", "code", "command", "activity_type", "statecode"),
        *("dynamics_type", "winner_record_type", "loser_record_type", "found_by"),
    }
)
# Times, counts, marks and numbers of rows, which the tables of our own name alike.
_ENDS, _BEGINS = ("_at", "since", "attempts"), ("is_", "n_", "was_", "has_")
_NUMBERS = frozenset(
    {
        *("entry_id", "cycle_id", "activity_id", "error_id", "proposal_id", "finding_id", "review_id", "change_id"),
        "activities_suppressed",
    }
)
# Of the mirrors, where any other column may be a field of somebody's map, whatever it is called.
_OF_RECORDS = frozenset({"statecode", "merged", FILTER_COLUMN, "is_deleted"})
_OF_PEOPLE = frozenset({"is_deleted"})
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]+)?(Z|[+-][0-9:]{2,6})?")
_TIMES_OF_RECORDS = ("createdon", "modifiedon")
_TYPES = frozenset({"Contact", "Lead"})


@dataclass(frozen=True)
class _Held:
    """What a column, or a field, holds. `stays`: values that tell of a system and of nobody, as do all times where `is_its_time`;
    `places`: of a decimal that is compared by no more of them.
    """

    type: FieldType = FieldType.TEXT
    stays: frozenset[str] = frozenset()
    is_its_time: bool = False
    places: int | None = None


class Hiding:
    """Puts pseudonyms into the rows of one case. `first`: the record types of its links, by whose fields its person is read."""

    def __init__(
        self, connection: duckdb.DuckDBPyConnection, fields: FieldMap, own: OwnFields, first: Iterable[str]
    ) -> None:
        self._names = Pseudonyms()
        its_own, places, options = set(first), decimal_places(connection), _options(connection)
        self._of_mirrors: dict[str, dict[str, _Held]] = {table.mirror: dict(_TIMES_HELD) for table in TABLES.values()}
        self._of_people = _held_of_people(own)
        # Of a field that two record types map otherwise, that of the case's own counts.
        for field in sorted(fields.fields, key=lambda field: field.record_type in its_own):
            held = _held(field, places.get((field.record_type, field.dynamics_column)), options)
            self._of_people[field.marketo_field] = held
            self._of_mirrors[TABLES[field.record_type].mirror].setdefault(field.dynamics_column, held)
        for field in fields.being_read:
            self._of_people.setdefault(field.marketo_field, _held(field, None, options))

    def row(self, table: str, row: Row) -> Row:
        """The same row with pseudonyms."""
        if table in OF_SYSTEMS:
            return row
        if table in self._of_mirrors:
            return {
                column: value if column in _OF_RECORDS else self._wide(column, value, self._of_mirrors[table])
                for column, value in row.items()
            }
        if table.startswith("mirror.") or table == "state.base":
            return {
                column: value if column in _OF_PEOPLE else self._wide(column, value, self._of_people)
                for column, value in row.items()
            }
        held = self._held_by(row)
        return {column: self._long(table, row, column, value, held) for column, value in row.items()}

    def _held_by(self, row: Row) -> _Held:
        """What the values of a row hold that is of one field, or of one column of a mirror."""
        of = row.get("object")
        table = next((kind.mirror for kind in TABLES.values() if kind.name == of), "")
        names = self._of_mirrors.get(table, self._of_people)
        return names.get(str(row.get("field") or row.get("name")), _Held())

    def _wide(self, column: str, value: Any, names: dict[str, _Held]) -> Any:
        if value is None:
            return None
        return (
            self._id_of("person_id", value)
            if column == "person_id"
            else self._hidden(value, names.get(column, _Held()))
        )

    def _long(self, table: str, row: Row, column: str, value: Any, held: _Held) -> Any:
        is_ours = column in _PLAIN | _NUMBERS or column.endswith(_ENDS) or column.startswith(_BEGINS)
        if value is None or is_ours:
            return value
        if column == OF_ANYTHING.get(table):
            column = "person_id" if row["record_type"] == "person" else "dynamics_id"
        return self._id_of(column, value) if column in ID_COLUMNS else self._hidden(value, held)

    def _id_of(self, column: str, value: str) -> str:
        return str(self._names.person_id(int(value))) if column in PERSON_COLUMNS else self._names.id(value)

    def _hidden(self, value: str, held: _Held) -> str:
        """An option's number or label tells nothing of a person that its field does not; any other text does."""
        if value in held.stays or (held.is_its_time and _TIME.fullmatch(value)):
            return value
        if held.type in OF_OPTIONS:
            parts = [part.strip() for part in value.replace(",", ";").split(";")]
            if all(not part or part in held.stays for part in parts):
                return value
            head = "?" if value.startswith("?") else ""
            return head + self._names.of(value.removeprefix("?"))
        if held.places is not None and NUMBER.fullmatch(value):
            return self._rounded(value, held.places)
        return self._names.of(value, held.type)

    def _rounded(self, value: str, places: int) -> str:
        """What is compared by so many places (R45) has a pseudonym by these, and no more than zeros behind them."""
        compared = Decimal(value).quantize(
            Decimal(1).scaleb(-places), ROUND_HALF_UP, Context(prec=2 * len(value) + places)
        )
        text = f"{compared:f}"
        other = self._names.of(text.rstrip("0").rstrip(".") if "." in text else text, FieldType.DECIMAL)
        n_behind = len(value.partition(".")[2])
        if n_behind <= places:
            return other
        whole, _, behind = other.partition(".")
        return f"{whole}.{behind.ljust(n_behind, '0')}"


_TIMES_HELD = dict.fromkeys(_TIMES_OF_RECORDS, _Held(FieldType.DATETIME, is_its_time=True))


def _held_of_people(own: OwnFields) -> dict[str, _Held]:
    """The sync's own fields, by their names in Marketo and in the mirror, and Marketo's own times."""
    time, kind = _TIMES_HELD["createdon"], _Held(stays=_TYPES)
    is_deleted = _Held(FieldType.BOOLEAN)
    return {
        **dict.fromkeys((own.created_on, "dynamics_created_on", "created_at", "updated_at"), time),
        **dict.fromkeys((own.person_type, "dynamics_type"), kind),
        **dict.fromkeys((own.is_deleted, "is_deleted_in_dynamics"), is_deleted),
    }


def _held(field: Field, places: int | None, options: dict[tuple[str, str], frozenset[str]]) -> _Held:
    if field.type in OF_OPTIONS:
        return _Held(field.type, options.get((field.record_type, field.dynamics_column), frozenset()))
    is_decimal = field.type is FieldType.DECIMAL
    return _Held(
        field.type,
        is_its_time=field.dynamics_column in _TIMES_OF_RECORDS,
        places=places if is_decimal else None,
    )


def _options(connection: duckdb.DuckDBPyConnection) -> dict[tuple[str, str], frozenset[str]]:
    """Numbers and labels of every column's options, former ones included."""
    found: dict[tuple[str, str], set[str]] = defaultdict(set)
    for table in ("state.options", "state.former_labels"):
        query = f"select record_type, dynamics_column, option_value, label from {table}"
        for record_type, column, number, label in connection.execute(query).fetchall():
            found[record_type, column] |= {number, label, label.strip(), *map(str.strip, re.split("[,;]", label))}
    return {column: frozenset(texts) for column, texts in found.items()}
