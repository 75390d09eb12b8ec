"""The view `side_by_side`: what both systems hold of each synced field, beside what they last agreed on."""

from __future__ import annotations

from dynsync_pipeline.model.field_map import FieldMap, FieldType
from dynsync_pipeline.model.records import PERSON_TYPES, TABLES, RecordType, logical_name
from dynsync_pipeline.publish.view import PublishedView, as_text, labelled, literal, numbered, struct
from dynsync_pipeline.warehouse.columns import quoted


def side_by_side(fields: FieldMap) -> PublishedView:
    """One row per link and synced field."""
    sides = [_sides(fields, record_type) for record_type in PERSON_TYPES if fields.of(record_type)]
    halves = "\nunion all\n".join([_NO_SIDES, *sides])
    return PublishedView(
        "side_by_side",
        "One row per link and synced field: what both sides last agreed on, and what each of them held when it was last read.",
        {
            "person_id_marketo": "Id of the person in Marketo.",
            "record_type": "lead or contact.",
            "record_id_dynamics": "Id of the contact or lead in Dynamics.",
            "field": "REST name of the field in Marketo.",
            "dynamics_column": "Logical name of the column in Dynamics.",
            "direction": "both, to_marketo or to_dynamics.",
            "base_value": "What both sides last agreed on; null also where they never did (has_base).",
            "dynamics_value": "What Dynamics holds, as text; options as labels.",
            "marketo_value": "What Marketo holds, as text; options as labels.",
            "has_base": "Whether both sides ever agreed on the field (R42).",
            "differs": "The two texts are not the same.",
            "state": "agree; unsettled: to be synced yet, or refused; standing_difference: accepted; stale: the sync filter "
            "keeps the record out; not_compared: they differ, not yet compared or only in places that Dynamics does not keep.",
            "reason": "Why it is unsettled, or accepted, in words.",
        },
        f"""
with sides as (
{halves}
)
select
    s.*, list_position(b.fields_without_base, s.field) is null and b.person_id_marketo is not null as has_base,
    s.dynamics_value is distinct from s.marketo_value as differs,
    case
        when u.field is not null then 'unsettled'
        when s.dynamics_value is not distinct from s.marketo_value then 'agree'
        when d.field is not null then 'standing_difference'
        when p.is_stale then 'stale'
        else 'not_compared'
    end as state,
    coalesce(u.reason, case when s.dynamics_value is distinct from s.marketo_value then d.reason end) as reason
from sides s
join people p on p.person_id_marketo = s.person_id_marketo
left join base b on b.person_id_marketo = s.person_id_marketo
left join unsettled u on u.person_id_marketo = s.person_id_marketo and u.field = s.field
left join standing_differences d on d.person_id_marketo = s.person_id_marketo and d.field = s.field
""",
    )


# A map may have no field of either type.
_NO_SIDES = """
select
    null::bigint as person_id_marketo, null::varchar as record_type, null::varchar as record_id_dynamics, null::varchar as field,
    null::varchar as dynamics_column, null::varchar as direction, null::varchar as base_value, null::varchar as dynamics_value,
    null::varchar as marketo_value
where false"""


def _sides(fields: FieldMap, record_type: RecordType) -> str:
    table, joins, values = TABLES[record_type], "", []
    for field, labels, join in numbered(fields, record_type):
        joins += join
        name, column = quoted(field.marketo_field), quoted(logical_name(field.dynamics_column))
        base = f"regexp_replace(b.{name}, '^[?]', '')" if labels else f"b.{name}"
        in_marketo = FieldType.TEXT if labels else field.type
        values.append(
            struct(
                field=literal(field.marketo_field),
                dynamics_column=literal(field.dynamics_column),
                direction=literal(field.direction),
                base_value=labelled(base, field.type, labels) if labels else _base_text(base, field.type),
                dynamics_value=as_text(f"r.{column}", field.type, labels),
                marketo_value=as_text(f"p.{name}", in_marketo),
            )
        )
    return f"""
select l.person_id_marketo, l.record_type, l.record_id_dynamics, unnest([{", ".join(values)}], recursive := true)
from links l
join {table.entity_set} r on r.{table.id_column} = l.record_id_dynamics
join people p on p.person_id_marketo = l.person_id_marketo
left join base b on b.person_id_marketo = l.person_id_marketo{joins}
where l.record_type = '{record_type}'"""


def _base_text(value: str, kind: FieldType) -> str:
    return f"coalesce({value}, 'false')" if kind is FieldType.BOOLEAN else value
