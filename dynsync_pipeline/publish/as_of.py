"""The macros `person_as_of` and `record_as_of`: what was held at a time, from what is held now and each change since."""

from __future__ import annotations

from collections.abc import Mapping

from dynsync_pipeline.model.field_map import OF_OPTIONS, FieldMap, FieldType
from dynsync_pipeline.model.records import TABLES, RecordType, logical_name
from dynsync_pipeline.publish.view import PublishedView, as_text, literal, numbered, struct
from dynsync_pipeline.warehouse.columns import mirrored_columns, quoted
from dynsync_pipeline.warehouse.observations import NEVER_OBSERVED

# Whatever kind of time the reader gives: a text, a day, or an instant in the zone of the reader's session.
_UTC = "make_timestamp(epoch_us(coalesce(moment, null::timestamp)))"
_AS_OF = (
    "Null where is_known is false: before it was observed, beyond the retention (DYNSYNC_OBSERVATION_DAYS), or in the time of "
    "which a restored backup knows nothing."
)
# Between the last cycle that a backup knows and the first one after it came back, values moved that nobody knows of.
_IS_TOLD = f"""(
    select count(*) from cycles r where r.status = 'restored' and not exists (
        select 1 from cycles w
        where w.is_whole and w.ended_at between least({_UTC}, r.started_at) and greatest({_UTC}, r.started_at)
    )
) = 0"""
_AS_OF_COLUMNS = {
    "value": "What it held then, as text; options as labels.",
    "is_known": "Whether that is known. A change counts from the moment at which the sync saw it.",
}


_NOTHING_HELD = (
    "select null::varchar as field, null::boolean as is_of_company, null::varchar as value, null::varchar as blank "
    "where false"
)


def person_as_of(fields: FieldMap) -> PublishedView:
    """One row per field of a person, those of its company included."""

    def held(kinds: Mapping[str, FieldType], of_company: str) -> str:
        """One struct per field with its value now, as text; options are labels in Marketo."""
        return ", ".join(
            struct(
                field=literal(name),
                is_of_company=of_company,
                value=as_text(f"h.{quoted(name)}", FieldType.TEXT if kind in OF_OPTIONS else kind),
                blank="'false'" if kind is FieldType.BOOLEAN else "null::varchar",
            )
            for name, kind in kinds.items()
        )

    halves = [_NOTHING_HELD] + [
        f"select unnest([{held(kinds, of_company)}], recursive := true) from (select 1) left join ({now}) h on true"
        for kinds, of_company, now in (
            (fields.person_fields, "false", "from people where person_id_marketo = person"),
            (
                fields.company_fields,
                "true",
                "from companies where company_id_marketo = (select company_id from its_company)",
            ),
        )
        if kinds
    ]
    return PublishedView(
        "person_as_of",
        f"person_as_of(person_id_marketo, time): one row per field of a person as Marketo held it then. {_AS_OF}",
        {"field": "REST name of the field in Marketo.", **_AS_OF_COLUMNS},
        f"""
with later as (
    from observations where object = 'person' and person_id_marketo = person and seen_at > {_UTC}
),
its_company as (
    select case
        when (select count(*) from later where field = 'company_id_marketo') > 0
            then (select first(old_value order by observation_id) from later where field = 'company_id_marketo')
        else (select company_id_marketo from people where person_id_marketo = person)
    end as company_id
),
later_of_company as (
    from observations where object = 'company' and company_id_marketo = (select company_id from its_company) and seen_at > {_UTC}
),
seen_later as (
    select field, false as is_of_company, first(old_value order by observation_id) as old_value from later group by field
    union all
    select field, true, first(old_value order by observation_id) from later_of_company group by field
),
known as (
    select
        (select count(*) from later where is_first_seen) = 0 as is_person_known,
        (select company_id from its_company) is null
            or (select count(*) from companies where company_id_marketo = (select company_id from its_company))
                + (select count(*) from later_of_company) > 0
            and (select count(*) from later_of_company where is_first_seen) = 0 as is_company_known,
        {_IS_TOLD} as is_told
),
held as (
{chr(10).join(f"{'union all ' if number else ''}{half}" for number, half in enumerate(halves))}
),
judged as (
    select
        h.field, case when s.field is not null then coalesce(s.old_value, h.blank) else h.value end as value,
        k.is_told and k.is_person_known and (not h.is_of_company or k.is_company_known)
            and coalesce(o.since <= {_UTC}, false) as is_known
    from held h cross join known k
    left join seen_later s on s.field = h.field and s.is_of_company = h.is_of_company
    left join observed_fields o
        on o.field = h.field and o.object = case when h.is_of_company then 'company' else 'person' end
)
select field, case when is_known then value end as value, is_known from judged
where (select count(*) from people where person_id_marketo = person)
    + (select count(*) from observations where object = 'person' and person_id_marketo = person) > 0
order by field
""",
        ("person", "moment"),
    )


def record_as_of(fields: FieldMap) -> PublishedView:
    """One row per column of an account, contact or lead."""
    held = "\nunion all\n".join(_held_by_record(fields, record_type) for record_type in RecordType)
    return PublishedView(
        "record_as_of",
        "record_as_of(record_id_dynamics, time): one row per column of an account, contact or lead as Dynamics held it then. "
        + _AS_OF,
        {
            "record_type": "account, contact or lead.",
            "field": "REST name of the field in Marketo; null of a column that is not mapped, as the owner's.",
            "dynamics_column": "Logical name of the column in Dynamics.",
            **_AS_OF_COLUMNS,
        },
        f"""
with later as (
    from observations where system = 'dynamics' and record_id_dynamics = record and seen_at > {_UTC}
),
seen_later as (
    select dynamics_column, first(old_value order by observation_id) as old_value from later group by dynamics_column
),
held as (
{held}
),
judged as (
    select
        h.record_type, h.field, h.dynamics_column,
        case when s.dynamics_column is not null then coalesce(s.old_value, h.blank) else h.value end as value,
        {_IS_TOLD} and (select count(*) from later where is_first_seen) = 0
            and coalesce(o.since <= {_UTC}, false) as is_known
    from held h
    left join seen_later s on s.dynamics_column = h.dynamics_column
    left join observed_fields o on o.object = h.record_type and o.dynamics_column = h.dynamics_column
)
select record_type, field, dynamics_column, case when is_known then value end as value, is_known from judged
order by dynamics_column
""",
        ("record", "moment"),
    )


def _held_by_record(fields: FieldMap, record_type: RecordType) -> str:
    table, joins = TABLES[record_type], ""
    mapped: dict[str, tuple[str, str | None]] = {}
    for field, labels, join in numbered(fields, record_type):
        joins += join
        mapped[field.dynamics_column] = (literal(field.marketo_field), labels)
    kinds = {name: kind for name, kind in mirrored_columns(fields, record_type).items() if name not in NEVER_OBSERVED}
    values = []
    for column, kind in {**kinds, "is_deleted": FieldType.BOOLEAN}.items():
        rest_name, labels = mapped.get(column, ("null::varchar", None))
        values.append(
            struct(
                field=rest_name,
                dynamics_column=literal(logical_name(column)),
                value=as_text(f"r.{quoted(logical_name(column))}", kind, labels),
                blank="'false'" if kind is FieldType.BOOLEAN else "null::varchar",
            )
        )
    return f"""
select '{record_type}' as record_type, unnest([{", ".join(values)}], recursive := true)
from {table.entity_set} r{joins}
where r.{table.id_column} = record"""
