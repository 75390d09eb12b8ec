"""The views and macros of the snapshot: questions that take more than one table, asked once and answered in one query.

They are part of the file, and written in SQL that every reader from DuckDB 1.2 on understands. Not here: the tables they read
(`tables.py`, `ledger_tables.py`, `state_tables.py`), queries to copy (`docs/questions.md`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from dynsync_pipeline.model.field_map import OF_OPTIONS, Field, FieldMap, FieldType
from dynsync_pipeline.model.records import PERSON_TYPES, TABLES, RecordType, logical_name
from dynsync_pipeline.warehouse.columns import mirrored_columns, quoted
from dynsync_pipeline.warehouse.observations import NEVER_OBSERVED


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
            yield f"comment on macro table {self.name} is {_literal(self.grain)}"
            return
        yield f"create view {self.name} as {self.select}"
        yield f"comment on view {self.name} is {_literal(self.grain)}"
        for column, comment in self.columns.items():
            yield f"comment on column {self.name}.{quoted(column)} is {_literal(comment)}"


def published_views(fields: FieldMap) -> tuple[PublishedView, ...]:
    """All of them for this field map; each may read those before it."""
    return (_side_by_side(fields), _person_as_of(fields), _record_as_of(fields), *_VIEWS)


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


# -- values as text, in the one spelling of the ledgers ------------------------------------------------------------------


def _as_text(value: str, kind: FieldType, labels: str | None = None) -> str:
    """The expression for a typed value as text; with `labels`, a map of an option column's labels, options as these."""
    match kind:
        case FieldType.BOOLEAN:
            return f"coalesce({value}::varchar, 'false')"
        case FieldType.DECIMAL:
            return f"regexp_replace(regexp_replace({value}::varchar, '([.][0-9]*?)0+$', '\\1'), '[.]$', '')"
        case FieldType.DATETIME:
            return f"strftime({value}::timestamp, '%Y-%m-%dT%H:%M:%SZ')"
        case FieldType.CHOICE | FieldType.CHOICES if labels is not None:
            return _labelled(f"{value}::varchar", kind, labels)
        case _:
            return f"{value}::varchar"


def _labelled(value: str, kind: FieldType, labels: str) -> str:
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


def _numbered(fields: FieldMap, record_type: RecordType) -> Iterator[tuple[Field, str | None, str]]:
    """The fields of a record type, each with the map of its labels, if it has options, and the join that brings it."""
    for number, field in enumerate(fields.of(record_type)):
        has_options = field.type in OF_OPTIONS
        yield field, f"o{number}.labels" if has_options else None, _labels(field, number) if has_options else ""


def _struct(**values: str) -> str:
    return "{" + ", ".join(f"'{name}': {value}" for name, value in values.items()) + "}"


# -- both systems and the base ------------------------------------------------------------------------------------------


def _side_by_side(fields: FieldMap) -> PublishedView:
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
    for field, labels, join in _numbered(fields, record_type):
        joins += join
        name, column = quoted(field.marketo_field), quoted(logical_name(field.dynamics_column))
        base = f"regexp_replace(b.{name}, '^[?]', '')" if labels else f"b.{name}"
        in_marketo = FieldType.TEXT if labels else field.type
        values.append(
            _struct(
                field=_literal(field.marketo_field),
                dynamics_column=_literal(field.dynamics_column),
                direction=_literal(field.direction),
                base_value=_labelled(base, field.type, labels) if labels else _base_text(base, field.type),
                dynamics_value=_as_text(f"r.{column}", field.type, labels),
                marketo_value=_as_text(f"p.{name}", in_marketo),
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


# -- as of a time -------------------------------------------------------------------------------------------------------

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


def _person_as_of(fields: FieldMap) -> PublishedView:
    def held(kinds: Mapping[str, FieldType], of_company: str) -> str:
        """One struct per field with its value now, as text; options are labels in Marketo."""
        return ", ".join(
            _struct(
                field=_literal(name),
                is_of_company=of_company,
                value=_as_text(f"h.{quoted(name)}", FieldType.TEXT if kind in OF_OPTIONS else kind),
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


def _record_as_of(fields: FieldMap) -> PublishedView:
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
    for field, labels, join in _numbered(fields, record_type):
        joins += join
        mapped[field.dynamics_column] = (_literal(field.marketo_field), labels)
    kinds = {name: kind for name, kind in mirrored_columns(fields, record_type).items() if name not in NEVER_OBSERVED}
    values = []
    for column, kind in {**kinds, "is_deleted": FieldType.BOOLEAN}.items():
        rest_name, labels = mapped.get(column, ("null::varchar", None))
        values.append(
            _struct(
                field=rest_name,
                dynamics_column=_literal(logical_name(column)),
                value=_as_text(f"r.{quoted(logical_name(column))}", kind, labels),
                blank="'false'" if kind is FieldType.BOOLEAN else "null::varchar",
            )
        )
    return f"""
select '{record_type}' as record_type, unnest([{", ".join(values)}], recursive := true)
from {table.entity_set} r{joins}
where r.{table.id_column} = record"""


# -- views that are the same for every field map ---------------------------------------------------------------------

_TODAY = "make_timestamp(epoch_us(now()))::date"  # the day in UTC, whatever zone the reader's session has

_VIEWS = (
    PublishedView(
        "changes_today",
        "One row per value that the sync wrote to a person, contact or lead since midnight UTC, and who had edited it.",
        {
            "change_id": "Key; grows with time.",
            "cycle_id": "The cycle whose plan decided it; see cycles.",
            "changed_at": "When the system confirmed the write, UTC.",
            "direction": "to_marketo or to_dynamics.",
            "record_type": "lead or contact.",
            "person_id_marketo": "Id of the person in Marketo.",
            "record_id_dynamics": "Id of the contact or lead in Dynamics.",
            "field": "REST name of the field in Marketo.",
            "old_value": "What the target held before, as text; options as labels.",
            "new_value": "What was written, as text; options as labels.",
            "rule_code": "The rule that decided it; new_in_dynamics are all values of a new person.",
            "rule": "The same by number and in words, which may change.",
            "edited_at": "When the source was edited, as far as it tells: of Dynamics the record, of Marketo the field.",
            "edited_by": "Of Dynamics the name of the record's last editor, of Marketo where the change came from.",
        },
        f"""
select
    c.* exclude (dynamics_modified_at, dynamics_modified_by, marketo_changed_at, marketo_source),
    case when c.direction = 'to_marketo' then c.dynamics_modified_at else c.marketo_changed_at end as edited_at,
    case when c.direction = 'to_marketo' then coalesce(u.name, c.dynamics_modified_by) else c.marketo_source end as edited_by
from changes c
left join users u on u.user_id = c.dynamics_modified_by
where c.changed_at >= {_TODAY}
""",
    ),
    PublishedView(
        "field_history",
        "One row per value of a linked person or its record that was seen to move, in either system, whoever moved it; new "
        "people and records have one row without field. Ask for a person, a record or a field.",
        {
            "observation_id": "Key; grows with time.",
            "seen_at": "When the sync saw it, UTC.",
            "cycle_id": "The cycle that was running, or had run last; see cycles.",
            "system": "dynamics or marketo: whose value it is.",
            "person_id_marketo": "Id of the person in Marketo; of a record of its person now.",
            "record_type": "lead or contact; of a person that of its record now.",
            "record_id_dynamics": "Id of the contact or lead; of a person that of its record now.",
            "field": "REST name of the field in Marketo; null where somebody was first seen, or the column is not mapped.",
            "dynamics_column": "Logical name of the column in Dynamics; null of a person.",
            "old_value": "The value before, as text; options as labels.",
            "new_value": "The value after that, likewise.",
            "changed_at": "Of a record when it was last modified, of a person when the feed tells that the field changed, UTC.",
            "changed_by": "Name of the record's last editor in Dynamics, who may be the sync itself.",
            "source": "Where a change in Marketo came from, as its feed tells.",
            "is_own_write": "The sync wrote that value in that cycle.",
            "rule": "The rule by which it did.",
        },
        """
select
    o.observation_id, o.seen_at, o.cycle_id, o.system, coalesce(o.person_id_marketo, r.person_id_marketo) as person_id_marketo,
    coalesce(p.record_type, case when o.system = 'dynamics' then o.object end) as record_type,
    coalesce(o.record_id_dynamics, p.record_id_dynamics) as record_id_dynamics, o.field, o.dynamics_column, o.old_value,
    o.new_value, o.changed_at, coalesce(u.name, o.changed_by) as changed_by, o.source, c.change_id is not null as is_own_write,
    c.rule
from observations o
left join links p on p.person_id_marketo = o.person_id_marketo
left join links r on r.record_type = o.object and r.record_id_dynamics = o.record_id_dynamics
left join users u on u.user_id = o.changed_by
left join changes c
    on c.cycle_id = o.cycle_id and c.field = o.field and c.direction = 'to_' || o.system
    and c.new_value is not distinct from o.new_value
    and case when o.system = 'marketo' then c.person_id_marketo = o.person_id_marketo
        else c.record_type = o.object and c.record_id_dynamics = o.record_id_dynamics end
where o.object in ('person', 'contact', 'lead')
""",
    ),
    PublishedView(
        "sync_lag",
        "One row per day (UTC), direction and record type: how long values took from their edit to the confirmed write.",
        {
            "day": "Day of the write, UTC.",
            "direction": "to_marketo or to_dynamics.",
            "record_type": "lead or contact.",
            "n_values": "Values whose source tells when it was edited.",
            "median_s": "Seconds that half of them took at most.",
            "p95_s": "Seconds that 95 of a hundred took at most.",
            "longest_s": "Seconds that the slowest took.",
        },
        """
select
    changed_at::date as day, direction, record_type, count(*) as n_values, median(lag_s) as median_s,
    quantile_cont(lag_s, 0.95) as p95_s, max(lag_s) as longest_s
from (
    select
        *, epoch(changed_at)
            - epoch(case when direction = 'to_marketo' then dynamics_modified_at else marketo_changed_at end) as lag_s
    from changes
)
where lag_s is not null
group by all
""",
    ),
    PublishedView(
        "errors_daily",
        "One row per day (UTC), object, direction, field and code: attempts that were refused.",
        {
            "day": "Day of the attempts, UTC.",
            "object": "account, contact or lead; person or company in Marketo that cannot be read.",
            "direction": "to_marketo or to_dynamics.",
            "field": "The field at fault, where the system names one.",
            "code": "The system's error code, or ours.",
            "n_attempts": "Attempts that were refused.",
            "n_errors": "Errors that these were of.",
            "n_new": "Of these errors, those that were new that day.",
        },
        """
select
    a.attempted_at::date as day, e.object, e.direction, e.field, e.code, count(*) as n_attempts,
    count(distinct e.error_id) as n_errors,
    count(distinct case when e.happened_at::date = a.attempted_at::date then e.error_id end) as n_new
from error_attempts a
join sync_errors e on e.error_id = a.error_id
group by all
""",
    ),
    PublishedView(
        "history_of_account_contacts",
        "One row per contact and field that an account's change reached without an activity of its own, because the account had "
        "more than 5,000 contacts (R54): derived from account_changes and from where each contact stood at that time.",
        {
            "account_change_id": "The row of account_changes.",
            "cycle_id": "The cycle whose plan decided it; see cycles.",
            "changed_at": "When Marketo confirmed it, UTC.",
            "account_id_dynamics": "Id of the account in Dynamics.",
            "record_id_dynamics": "Id of the contact.",
            "person_id_marketo": "Id of its person now; null: it has none.",
            "field": "REST name of the field in Marketo.",
            "old_value": "What the company held in Marketo before.",
            "new_value": "What the account holds.",
        },
        """
with moves as (
    select
        record_id_dynamics, seen_at, old_value, new_value,
        lag(seen_at) over (partition by record_id_dynamics order by observation_id) as since,
        lead(seen_at) over (partition by record_id_dynamics order by observation_id) as next_move
    from observations where object = 'contact' and dynamics_column = 'parentcustomerid'
),
stays as (
    select record_id_dynamics, lower(old_value) as account_id_dynamics, since, seen_at as until from moves
    union all
    select record_id_dynamics, lower(new_value), seen_at, null from moves where next_move is null
    union all
    select contactid, lower(parentcustomerid), null, null from contacts
    where contactid not in (select record_id_dynamics from moves)
),
deletions as (
    select record_id_dynamics, min(seen_at) as gone_at from observations
    where object = 'contact' and dynamics_column = 'is_deleted' and new_value = 'true' group by record_id_dynamics
)
select
    a.account_change_id, a.cycle_id, a.changed_at, a.account_id_dynamics, s.record_id_dynamics, l.person_id_marketo, a.field,
    a.old_value, a.new_value
from account_changes a
join stays s
    on s.account_id_dynamics = a.account_id_dynamics
    and (s.since is null or s.since <= a.changed_at) and (s.until is null or s.until > a.changed_at)
join contacts c on c.contactid = s.record_id_dynamics and c.createdon <= a.changed_at
left join deletions d on d.record_id_dynamics = s.record_id_dynamics
left join links l on l.record_type = 'contact' and l.record_id_dynamics = s.record_id_dynamics
where a.activities_suppressed
  and (case when d.gone_at is null then not c.is_deleted else d.gone_at > a.changed_at end)
""",
    ),
    PublishedView(
        "unlinked",
        "One row per person without a contact or lead, and per living contact or lead without a person: who has no row in links.",
        {
            "object": "person, contact or lead.",
            "person_id_marketo": "Id of the person in Marketo; null of a record.",
            "record_id_dynamics": "Id of the contact or lead in Dynamics; null of a person.",
            "reason_code": "Of a person only_in_marketo, or deleted_in_dynamics; of a record kept_out by the filter, merged, "
            "qualified, waiting for what a refusal or rule says in reason, or new.",
            "reason": "What it waits for, in words.",
        },
        """
select
    'person' as object, person_id_marketo, null::varchar as record_id_dynamics,
    case when is_deleted_in_dynamics then 'deleted_in_dynamics' else 'only_in_marketo' end as reason_code,
    null::varchar as reason
from people where not is_linked
union all
select
    r.object, null, r.record_id_dynamics,
    case when r.new_synctomkto is false then 'kept_out' when r.merged then 'merged' when r.is_qualified then 'qualified'
        when u.record_id_dynamics is not null then 'waiting' else 'new' end,
    u.reason
from (
    select 'contact' as object, contactid as record_id_dynamics, new_synctomkto, merged, false as is_qualified
    from contacts where not is_deleted
    union all
    select 'lead', leadid, new_synctomkto, merged, statecode = 1 from leads where not is_deleted
) r
left join (
    select record_type, record_id_dynamics, any_value(reason) as reason from unsettled
    where person_id_marketo is null group by all
) u on u.record_type = r.object and u.record_id_dynamics = r.record_id_dynamics
where (r.object, r.record_id_dynamics) not in (select (record_type, record_id_dynamics) from links)
""",
    ),
)
