"""What a published view is, and values as text in it, in the one spelling of the ledgers.

Not here: which views there are (`views.py`, `side_by_side.py`, `as_of.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from dynsync_pipeline.model.field_map import OF_OPTIONS, Field, FieldMap, FieldType
from dynsync_pipeline.model.records import RecordType
from dynsync_pipeline.warehouse.columns import quoted


@dataclass(frozen=True)
class PublishedView:
    """A view, or with `parameters` a table macro: its name, what a row is, its columns with what they mean, its `select`."""

    name: str
    grain: str
    columns: Mapping[str, str]
    select: str
    parameters: tuple[str, ...] = ()

    @property
    def statements(self) -> Iterator[str]:
        """What makes it, with its comments, in the database that is in use; columns of a macro bear none."""
        if self.parameters:
            yield f"create macro {self.name}({', '.join(self.parameters)}) as table {self.select}"
            yield f"comment on macro table {self.name} is {literal(self.grain)}"
            return
        yield f"create view {self.name} as {self.select}"
        yield f"comment on view {self.name} is {literal(self.grain)}"
        for column, comment in self.columns.items():
            yield f"comment on column {self.name}.{quoted(column)} is {literal(comment)}"


def literal(text: str) -> str:
    """A text as SQL writes it."""
    return "'" + text.replace("'", "''") + "'"


def as_text(value: str, kind: FieldType, labels: str | None = None) -> str:
    """The expression for a typed value as text; with `labels`, a map of an option column's labels, options as these."""
    match kind:
        case FieldType.BOOLEAN:
            return f"coalesce({value}::varchar, 'false')"
        case FieldType.DECIMAL:
            return f"regexp_replace(regexp_replace({value}::varchar, '([.][0-9]*?)0+$', '\\1'), '[.]$', '')"
        case FieldType.DATETIME:
            return f"strftime({value}::timestamp, '%Y-%m-%dT%H:%M:%SZ')"
        case FieldType.CHOICE | FieldType.CHOICES if labels is not None:
            return labelled(f"{value}::varchar", kind, labels)
        case _:
            return f"{value}::varchar"


def labelled(value: str, kind: FieldType, labels: str) -> str:
    """The expression for the numbers of options as labels, which are in the map `labels`; a number without one stays."""
    if kind is FieldType.CHOICE:
        return f"coalesce({labels}[{value}], {value})"
    each = f"coalesce(replace({labels}[number], ';', ','), number)"
    return f"array_to_string([{each} for number in string_split({value}, ',')], '; ')"


def _labels(field: Field, number: int) -> str:
    """A join of the labels of an option field, as the map `o<number>.labels`; the numbers as text are its keys."""
    return (
        f" left join (select map(list(option_value), list(label)) as labels from options "
        f"where record_type = '{field.record_type}' and dynamics_column = '{field.dynamics_column}') o{number} on true"
    )


def numbered(fields: FieldMap, record_type: RecordType) -> Iterator[tuple[Field, str | None, str]]:
    """The fields of a record type, each with the map of its labels, if it has options, and the join that brings it."""
    for number, field in enumerate(fields.of(record_type)):
        has_options = field.type in OF_OPTIONS
        yield field, f"o{number}.labels" if has_options else None, _labels(field, number) if has_options else ""


def struct(**values: str) -> str:
    """The expression for a struct of these expressions."""
    return "{" + ", ".join(f"'{name}': {value}" for name, value in values.items()) + "}"
