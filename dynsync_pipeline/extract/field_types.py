"""Which type of the field map fits what a column is in either system (R45, R109).

A value read as a type that it is not would be compared as something else than it is; such a field is parked.
Sources: docs/protocols/dataverse.md#metadata, docs/protocols/marketo.md#field-types.
"""

from __future__ import annotations

from dynsync_pipeline.model.field_map import Direction, Field, FieldType

_TEXT, _INTEGER, _DECIMAL, _BOOLEAN, _DATE, _DATETIME, _CHOICE, _CHOICES = FieldType
# The first one is what is advised. Kinds that are not named here fit everything.
_OF_DYNAMICS: dict[str, tuple[FieldType, ...]] = {
    **dict.fromkeys(("String", "Memo", "Uniqueidentifier", "Lookup", "Customer", "Owner", "EntityName"), (_TEXT,)),
    **dict.fromkeys(("Integer", "BigInt"), (_INTEGER, _DECIMAL)),
    **dict.fromkeys(("Decimal", "Double", "Money"), (_DECIMAL,)),
    **dict.fromkeys(("Picklist", "State", "Status"), (_CHOICE, _INTEGER)),
    "MultiSelectPicklist": (_CHOICES,),
    "Boolean": (_BOOLEAN,),
    "DateTime": (_DATETIME, _DATE),
}
_OF_MARKETO: dict[str, tuple[FieldType, ...]] = {
    **dict.fromkeys(("integer", "score", "percent"), (_INTEGER, _DECIMAL)),
    **dict.fromkeys(("float", "currency"), (_DECIMAL, _INTEGER)),
    "boolean": (_BOOLEAN,),
    "date": (_DATE, _DATETIME),
    "datetime": (_DATETIME, _DATE),
}


def type_misfit(field: Field, in_dynamics: str, in_marketo: str) -> str | None:
    """Why the type in the map does not fit what Dynamics and Marketo call the type of their field; None where it does.

    As text a field may be read from a system that is not written to, whatever it is there.
    """
    fitting = [
        kind
        for kind in FieldType
        if _fits(kind, _OF_DYNAMICS.get(in_dynamics), is_written=field.direction is not Direction.TO_MARKETO)
        and _fits(kind, _OF_MARKETO.get(in_marketo), is_written=field.direction is not Direction.TO_DYNAMICS)
    ]
    if field.type in fitting:
        return None
    advised = [kind for kind in (_OF_DYNAMICS.get(in_dynamics) or ()) if kind in fitting] or fitting
    advice = (
        f"{' or '.join(advised[:2])} would fit: correct the type in the field map."
        if advised
        else "no type fits both: map another field, or disable the line in the field map."
    )
    return (
        f"{field.dynamics_column} is {in_dynamics} in Dynamics and {field.marketo_field} is {in_marketo} in Marketo, which the "
        f"field map calls {field.type}; {advice}"
    )


def _fits(kind: FieldType, held: tuple[FieldType, ...] | None, *, is_written: bool) -> bool:
    return held is None or kind in held or (kind is FieldType.TEXT and not is_written)
