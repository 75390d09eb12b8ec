"""The field map: one row of data per synced field, by its name in either system and never by a label (R30).
Adding a field adds a row here; no rule changes.

Not here: lengths and option labels (Dynamics metadata, read by `extract/`), the sync's own fields (`own_fields.py`).
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cached_property, lru_cache
from importlib.resources import files
from pathlib import Path

from dynsync_pipeline.errors import FieldMapWrong
from dynsync_pipeline.model.own_fields import OwnFields
from dynsync_pipeline.model.records import TABLES, RecordType

_DEFAULT = "default_field_map.csv"
LONGEST_TOLD = 200  # characters of a file that is no field map at all
COLUMNS = ("record_type", "marketo_field", "dynamics_column", "type", "direction", "enabled", "collision")
BEFORE_COLLISIONS = COLUMNS[:-1]  # those of maps from before anybody could choose who wins
# Columns that the tables need for themselves.
_TAKEN_IN_MARKETO = frozenset(
    {"id", "person_id", "record_type", "dynamics_id", "account_id", "landing", "is_deleted", "is_deleted_in_dynamics"}
    | {"rowid"}  # by which DuckDB numbers the rows of any table
    | {"dynamics_lead_id", "dynamics_contact_id", "external_company_id", "externalcompanyid"}
    | {"dynamics_type", "dynamics_created_on", "created_at", "updated_at"}
    # and columns of the published tables
    | {"person_id_marketo", "contact_id_dynamics", "lead_id_dynamics", "account_id_dynamics", "record_id_dynamics"}
    | {"company_id_marketo", "account_state", "is_linked", "is_stale", "stale_since", "fields_without_base"}
    | {"owner_id_dynamics", "owner_name", "owner_email", "created_in_marketo_at", "updated_in_marketo_at"}
)
_TAKEN_IN_DYNAMICS = frozenset(
    {"landing", "etag", "is_deleted", "record_type", "dynamics_id", "record_id_dynamics", "account_id_dynamics"}
    | {"rowid"}
    | {"owner_name", "owner_email", "modified_at", "modified_by", "parent_is_contact"}
)
_MARKETO_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_DYNAMICS_NAME = re.compile(r"[a-z][a-z0-9_]*")


class FieldType(StrEnum):
    """How values of a field are compared (R45) and typed in the snapshot."""

    TEXT = "text"
    INTEGER = "integer"
    DECIMAL = "decimal"
    BOOLEAN = "boolean"
    DATE = "date"
    DATETIME = "datetime"
    CHOICE = "choice"  # an option number in Dynamics, its label in Marketo (R33)
    CHOICES = "choices"  # several option numbers in Dynamics, their labels in one text in Marketo (R29)


OF_OPTIONS = frozenset({FieldType.CHOICE, FieldType.CHOICES})  # numbers in Dynamics, text in Marketo


class Direction(StrEnum):
    """Which way a field's updates travel."""

    BOTH = "both"
    TO_MARKETO = "to_marketo"
    TO_DYNAMICS = "to_dynamics"


class Collision(StrEnum):
    """Who wins where both sides edited a field that goes both ways; an empty cell is the original's rule (R35)."""

    ORIGINAL = "original"  # of a lead Marketo, of a contact Dynamics
    DYNAMICS = "dynamics"
    MARKETO = "marketo"
    NEWEST = "newest"  # where both times are known well enough, else the original's rule
    RESTRICTIVE = "restrictive"  # of a boolean, the side with the value that forbids (R132)
    NEVER_CLEAR = "never_clear"  # the original's rule, and what is emptied on one side stays filled on the other (R48)
    REVIEW = "review"  # a person decides


# Columns in Dynamics that say whom not to reach, and how; true forbids (R132).
CONSENT = frozenset(
    {
        "donotphone",
        "donotbulkemail",
        "donotemail",
        "donotfax",
        "donotsendmm",
        "donotpostalmail",
        "donotbulkpostalmail",
    }
)
FORBIDS = ("true", "false")  # after a colon, the value of a boolean that forbids


@dataclass(frozen=True)
class Field:
    """One synced field of one record type. `forbids`: the value that wins where the stricter one does."""

    record_type: RecordType
    marketo_field: str
    dynamics_column: str
    type: FieldType
    direction: Direction
    collision: Collision = Collision.ORIGINAL
    forbids: str | None = None


@dataclass(frozen=True)
class FieldMap:
    """All enabled rows, in file order. `being_read`: new ones of people that are read as yet, and not synced.

    `offered`: those of the tables' `offered_columns` that Dynamics offers, each with its record type. `parked_of_accounts`:
    Marketo names of the fields of accounts that were taken out.
    """

    fields: tuple[Field, ...]
    being_read: tuple[Field, ...] = ()
    offered: frozenset[tuple[RecordType, str]] = frozenset()
    parked_of_accounts: frozenset[str] = frozenset()

    def of(self, *record_types: RecordType) -> tuple[Field, ...]:
        """The fields of these record types."""
        return tuple(field for field in self.fields if field.record_type in record_types)

    @cached_property
    def company_fields(self) -> dict[str, FieldType]:
        """Marketo names of the company fields with their type: those of accounts (R62, R64).

        A lead's stays one where the account's is parked: it lives on the company all the same (R63).
        """
        of_leads = (field for field in self.of(RecordType.LEAD) if field.marketo_field in self.parked_of_accounts)
        return {field.marketo_field: field.type for field in (*of_leads, *self.of(RecordType.ACCOUNT))}

    @cached_property
    def linked_fields(self) -> dict[str, FieldType]:
        """Marketo names of the fields that have a base: those of contacts and leads, a lead's company text included."""
        return {field.marketo_field: field.type for field in self.of(RecordType.CONTACT, RecordType.LEAD)}

    @cached_property
    def person_fields(self) -> dict[str, FieldType]:
        """Marketo names of the fields read of and written to a person; company fields go to the company record (R63)."""
        return {name: kind for name, kind in self.linked_fields.items() if name not in self.company_fields}

    @cached_property
    def read_of_people(self) -> dict[str, FieldType]:
        """The person fields and those that are only read as yet."""
        return self.person_fields | {field.marketo_field: field.type for field in self.being_read}

    def is_on_company(self, field: Field) -> bool:
        """Whether the field lives on the company record in Marketo."""
        return field.marketo_field in self.company_fields

    def without(self, gone: Iterable[Field]) -> FieldMap:
        """The map less the fields that a system no longer offers (R107)."""
        parked = set(gone)
        of_accounts = {field.marketo_field for field in parked if field.record_type is RecordType.ACCOUNT}
        return replace(
            self,
            fields=tuple(field for field in self.fields if field not in parked),
            parked_of_accounts=self.parked_of_accounts | of_accounts,
        )


def load_field_map(path: Path | None = None, own: OwnFields | None = None) -> FieldMap:
    """Read the field map at `path`, or the one in the package; `own` are the fields of the sync, which it may not map.

    Raises: FieldMapWrong with file, line and column of the first fault.
    """
    return parse_field_map(map_text(path), path.name if path else _DEFAULT, own)


def map_text(path: Path | None) -> str:
    """The CSV at `path`, or the one in the package. Raises: FieldMapWrong where it is no file of text."""
    if path is None:
        return default_map_text()
    return csv_text(path, "The field map", "Name a CSV in DYNSYNC_FIELD_MAP, or unset it to use the default.")


def csv_text(path: Path, what: str, otherwise: str) -> str:
    """The text of the file at `path`, which messages call `what`; `otherwise`: what to do where it is none.

    Raises: FieldMapWrong.
    """
    try:
        return path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        if isinstance(error, UnicodeDecodeError):
            why, step = "it is no UTF-8 text", "Save it as UTF-8; spreadsheets call that CSV UTF-8."
        else:
            why = "it is a folder" if isinstance(error, IsADirectoryError) else (error.strerror or "").lower()
            step = otherwise
        raise FieldMapWrong(f"{what} {path} cannot be read: {why}.", next_step=step) from None


def default_map_text() -> str:
    """The field map of the package, as CSV: all rows that the vendor's sync maps."""
    return files("dynsync_pipeline.model").joinpath(_DEFAULT).read_text("utf-8")


@lru_cache(maxsize=8)  # a process that runs cycle after cycle reads the same map each time
def parse_field_map(text: str, name: str, own: OwnFields | None = None) -> FieldMap:
    """Read the CSV `text`; `name` stands for the file in messages. Raises: FieldMapWrong."""
    found: list[Field] = []
    taken = frozenset(map(str.lower, own.types)) if own else frozenset()
    for where, values in map_lines(text, name):
        is_enabled = _choice(values, "enabled", ("true", "false"), where) == "true"
        if values["marketo_field"].lower() in taken:
            raise FieldMapWrong(
                f"{where}, marketo_field: {values['marketo_field']} is a field that the sync itself writes.",
                next_step="Remove the line, or name another field in the setting DYNSYNC_MARKETO_FIELD_... that names it.",
            )
        if is_enabled:  # a line that is off may bear a label until somebody knows the name
            _require_name(values, "marketo_field", _MARKETO_NAME, _TAKEN_IN_MARKETO, where)
        field = _field(values, where)
        if is_enabled:
            _refuse_repetition(field, found, where)
            found.append(field)
    if not found:
        raise FieldMapWrong(f"{name}: no field is enabled.", next_step="Set `enabled` to true on at least one line.")
    fields = FieldMap(tuple(found))
    _refuse_company_fields_of_contacts(fields, name)
    return fields


def map_lines(text: str, name: str) -> Iterator[tuple[str, dict[str, str]]]:
    """Each line's place, for messages, and its values by column. Raises: FieldMapWrong."""
    rows = csv.DictReader(io.StringIO(text))
    try:
        names = tuple(rows.fieldnames or ())
        lines = [(rows.line_num, row) for row in rows] if names in (COLUMNS, BEFORE_COLLISIONS) else []
    except csv.Error:
        raise FieldMapWrong(
            f"{name}, line {rows.line_num + 1}: cannot be read as CSV.",
            next_step="Save it as CSV, separated by commas.",
        ) from None
    if names not in (COLUMNS, BEFORE_COLLISIONS):
        told = ", ".join(names)[:LONGEST_TOLD]
        raise FieldMapWrong(
            f"{name}, line 1: the columns are {told or 'missing'}.",
            next_step=f"They must be {', '.join(COLUMNS)}, in this order, separated by commas.",
        )
    for number, row in lines:
        where = f"{name}, line {number}"
        if None in row or None in (row[name] for name in BEFORE_COLLISIONS):
            raise FieldMapWrong(
                f"{where}: every line needs {len(names)} columns.", next_step="Write one value per column."
            )
        yield where, dict.fromkeys(COLUMNS, "") | {column: (value or "").strip() for column, value in row.items()}


def _refuse_company_fields_of_contacts(fields: FieldMap, name: str) -> None:
    for field in fields.of(RecordType.CONTACT):
        if fields.is_on_company(field):
            raise FieldMapWrong(
                f"{name}: {field.marketo_field} is a company field and cannot be mapped for contacts too (R131).",
                next_step="A contact's company data comes from its account: remove the contact's line.",
            )


def _field(values: dict[str, str], where: str) -> Field:
    _require_name(values, "dynamics_column", _DYNAMICS_NAME, _TAKEN_IN_DYNAMICS, where)
    record_type = RecordType(_choice(values, "record_type", tuple(RecordType), where))
    direction = Direction(_choice(values, "direction", tuple(Direction), where))
    if record_type is RecordType.ACCOUNT and direction is not Direction.TO_MARKETO:
        raise FieldMapWrong(
            f"{where}, direction: {direction} on an account.",
            next_step="Accounts go to Marketo only (R51): use to_marketo.",
        )
    if values["dynamics_column"] == "statecode" and direction is not Direction.TO_MARKETO:
        raise FieldMapWrong(f"{where}, direction: statecode goes to Marketo only (R130).", next_step="Use to_marketo.")
    if values["dynamics_column"] == TABLES[record_type].id_column:
        raise FieldMapWrong(f"{where}, dynamics_column: the key is always synced.", next_step="Remove the line.")
    kind = FieldType(_choice(values, "type", tuple(FieldType), where))
    collision, forbids = _collision(values["collision"], kind, direction, where)
    return Field(record_type, values["marketo_field"], values["dynamics_column"], kind, direction, collision, forbids)


def _collision(text: str, kind: FieldType, direction: Direction, where: str) -> tuple[Collision, str | None]:
    """The rule, and the value that forbids. Raises: FieldMapWrong, also where that rule means nothing for such a field."""
    where = f"{where}, collision"
    if not text:
        return Collision.ORIGINAL, None
    name, _, forbids = text.partition(":")
    allowed = [each.value for each in Collision if each is not Collision.ORIGINAL]
    if name not in allowed:
        raise FieldMapWrong(f"{where}: {text!r}.", next_step=f"Leave it empty, or use one of {', '.join(allowed)}.")
    if direction is not Direction.BOTH:
        raise FieldMapWrong(
            f"{where}: {text} on a field that goes {direction}, which never collides (R43, R44).",
            next_step="Leave it empty.",
        )
    rule = Collision(name)
    if (rule is Collision.RESTRICTIVE) != (forbids in FORBIDS) or (":" in text and rule is not Collision.RESTRICTIVE):
        raise FieldMapWrong(
            f"{where}: {text!r}.",
            next_step="Name the value that forbids: restrictive:true, or restrictive:false; only there.",
        )
    if rule is Collision.RESTRICTIVE and kind is not FieldType.BOOLEAN:
        raise FieldMapWrong(f"{where}: {text} on a {kind}.", next_step="Only a boolean has a value that forbids.")
    if rule is Collision.NEVER_CLEAR and kind is FieldType.BOOLEAN:
        raise FieldMapWrong(
            f"{where}: {text} on a boolean, which is never empty: nothing and false are one value (R45).",
            next_step="Use restrictive:true or restrictive:false.",
        )
    return rule, forbids or None


def _require_name(
    values: dict[str, str], column: str, pattern: re.Pattern[str], taken: frozenset[str], where: str
) -> None:
    if values[column].lower() in taken:
        raise FieldMapWrong(
            f"{where}, {column}: {values[column]} is a name that DynSync needs for itself.",
            next_step="Remove the line; what the sync needs it reads anyway.",
        )
    if not pattern.fullmatch(values[column]):
        raise FieldMapWrong(
            f"{where}, {column}: {values[column]!r} is not a name.",
            next_step="Use the REST name in Marketo, which `dynsync check --propose-map` finds by the label, and the "
            "lower-case logical name in Dynamics.",
        )


def _choice(values: dict[str, str], column: str, allowed: tuple[str, ...], where: str) -> str:
    if values[column] not in allowed:
        raise FieldMapWrong(f"{where}, {column}: {values[column]!r}.", next_step=f"Use one of {', '.join(allowed)}.")
    return values[column]


def _refuse_repetition(field: Field, found: list[Field], where: str) -> None:
    for other in found:
        _refuse_two_names(field, other, where)
        if other.record_type == field.record_type:
            _refuse_two_writers(field, other, where)
        if other.marketo_field == field.marketo_field and other.type != field.type:
            raise FieldMapWrong(
                f"{where}, type: {field.marketo_field} is {other.type} on {other.record_type}s and {field.type} here.",
                next_step="A Marketo field has one type.",
            )


def _refuse_two_names(field: Field, other: Field, where: str) -> None:
    if (other.marketo_field, other.record_type) == (field.marketo_field, field.record_type):
        raise FieldMapWrong(
            f"{where}, marketo_field: {field.marketo_field} is mapped twice for {field.record_type}s.",
            next_step="Keep one.",
        )
    if other.marketo_field != field.marketo_field and other.marketo_field.lower() == field.marketo_field.lower():
        raise FieldMapWrong(
            f"{where}, marketo_field: {field.marketo_field} and {other.marketo_field} differ only in case.",
            next_step="Spell a field alike on every line.",
        )


def _refuse_two_writers(field: Field, other: Field, where: str) -> None:
    both_write = Direction.TO_MARKETO not in (other.direction, field.direction)
    if both_write and other.dynamics_column == field.dynamics_column:
        raise FieldMapWrong(
            f"{where}, dynamics_column: two fields of {field.record_type}s would write {field.dynamics_column} (R129).",
            next_step="Give one of them the direction to_marketo.",
        )
