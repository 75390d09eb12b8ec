"""R109: the type in the field map is held against what the columns are in both systems."""

from __future__ import annotations

import pytest

from dynsync_pipeline.extract.field_types import type_misfit
from dynsync_pipeline.model.field_map import Direction, Field, FieldType
from dynsync_pipeline.model.records import RecordType


def misfit(kind: str, in_dynamics: str, in_marketo: str, direction: str = "both") -> str | None:
    field = Field(RecordType.CONTACT, "size", "new_size", FieldType(kind), Direction(direction))
    return type_misfit(field, in_dynamics, in_marketo)


@pytest.mark.parametrize(
    ("kind", "in_dynamics", "in_marketo"),
    [
        ("text", "String", "string"), ("text", "Memo", "text"), ("text", "String", "email"), ("text", "String", "phone"),
        ("integer", "Integer", "integer"), ("integer", "Integer", "score"), ("integer", "Integer", "string"),
        ("decimal", "Money", "currency"), ("decimal", "Decimal", "float"), ("boolean", "Boolean", "boolean"),
        ("date", "DateTime", "date"), ("datetime", "DateTime", "datetime"), ("choice", "Picklist", "string"),
        ("choice", "State", "string"), ("choices", "MultiSelectPicklist", "text"), ("text", "SomethingNew", "something_new"),
    ],
)  # fmt: skip
def test_types_that_hold_what_both_systems_hold_fit(kind: str, in_dynamics: str, in_marketo: str) -> None:
    assert misfit(kind, in_dynamics, in_marketo) is None


@pytest.mark.parametrize(
    ("kind", "in_dynamics", "in_marketo", "advice"),
    [
        ("integer", "String", "string", "text would fit"),
        ("boolean", "String", "string", "text would fit"),
        ("date", "String", "string", "text would fit"),
        ("integer", "Decimal", "float", "decimal would fit"),
        ("text", "Integer", "integer", "integer or decimal would fit"),
        ("text", "Picklist", "string", "choice or integer would fit"),
        ("choice", "MultiSelectPicklist", "string", "choices would fit"),
        ("text", "MultiSelectPicklist", "string", "choices would fit"),
        ("boolean", "DateTime", "string", "datetime or date would fit"),
        ("text", "String", "integer", "no type fits both"),
        ("choice", "Picklist", "boolean", "no type fits both"),
    ],
)
def test_a_type_that_does_not_fit_is_told_with_one_that_does(
    kind: str, in_dynamics: str, in_marketo: str, advice: str
) -> None:
    sentence = misfit(kind, in_dynamics, in_marketo)
    assert sentence is not None
    assert advice in sentence
    assert "new_size" in sentence and "size" in sentence


def test_what_is_only_read_may_be_read_as_text() -> None:
    assert misfit("text", "Integer", "string", "to_marketo") is None
    assert misfit("text", "Integer", "string", "both") is not None
    assert misfit("text", "String", "integer", "to_dynamics") is None
    assert misfit("text", "String", "integer", "to_marketo") is not None
