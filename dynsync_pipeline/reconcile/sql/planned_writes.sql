-- planned_writes. Grain: one row per value to write to one record: a contact or lead in Dynamics, a person or company in
-- Marketo. `value` is what the target must come to hold, as compared (an option's number for a choice); what is shown to
-- people is its label. The sync's own fields on a person (company, deleted flag) are written like any other.
-- The sync's own fields that Marketo refused and that wait for their next look (R116).
create or replace temp table waiting_own as
select u.*
from state.unsettled u, this_cycle, reconcile.own_fields
where u.person_id is not null and u.field in (own_fields.company, own_fields.is_deleted) and u.next_look_at > planned_at;

create or replace temp table planned_writes as
with new_values as (
    select record_type, dynamics_id, field, value
    from (
        unpivot (
            from state.dynamics_records
            where (record_type, dynamics_id) in (select (record_type, dynamics_id) from new_people)
        ) on columns(* exclude (record_type, dynamics_id)) into name field value value
    )
),
writes as (
    select
        case when outcome in ('take_dynamics', 'collision_dynamics_wins') then 'marketo' else 'dynamics' end as system,
        case when f.is_on_company and outcome in ('take_dynamics', 'collision_dynamics_wins') then 'company' else 'update' end
            as action,
        record_type, dynamics_id, person_id, field, o.dynamics_column, o.type, rule, outcome,
        base_value, dynamics_value, marketo_value
    from field_outcomes o
    join reconcile.fields f using (record_type, field)
    where outcome in ('take_dynamics', 'take_marketo', 'collision_dynamics_wins', 'collision_marketo_wins')
    union all
    select
        'marketo', case when f.is_on_company then 'company' else 'create' end, n.record_type, n.dynamics_id, null, n.field,
        f.dynamics_column, f.type, 'R15 new in Dynamics', 'take_dynamics', null, n.value, null
    from new_values n
    join reconcile.fields f on f.record_type = n.record_type and f.field = n.field
    where f.direction <> 'to_dynamics'
      and not (f.type = 'boolean' and n.value = 'false')  -- what Marketo reads anyway
    union all
    select
        'marketo', case when person_id is null then 'create' else 'update' end, record_type, dynamics_id, person_id,
        own_fields.company, null, 'text',
        case when person_id is null then 'R15 new in Dynamics' else 'R59 R131 company of the record' end, 'take_dynamics',
        null, wanted_key, held_key
    from company_links, reconcile.own_fields
    where wanted_key is distinct from held_key
      and (person_id is null or (person_id, own_fields.company, wanted_key) not in (
          select (person_id, field, dynamics_value) from waiting_own
      ))
    union all
    select
        'marketo', 'update', record_type, dynamics_id, person_id, reconcile.own_fields.is_deleted, null, 'boolean',
        'R79 deleted in Dynamics', 'take_dynamics', null, 'true', 'false'
    from state.tombstones
    join mirror.marketo_people m using (person_id), reconcile.own_fields
    where side = 'dynamics' and not m.is_deleted and m.is_deleted_in_dynamics is distinct from 'true'
      and person_id not in (select person_id from state.links)
      and (person_id in (select person_id from inbox.touched)
           or person_id in (select person_id from state.unsettled, this_cycle where next_look_at <= planned_at))
      and (person_id, own_fields.is_deleted) not in (select (person_id, field) from waiting_own)
    union all
    select
        'marketo', 'update', record_type, dynamics_id, person_id, reconcile.own_fields.is_deleted, null, 'boolean',
        'R83 in Dynamics again', 'take_dynamics', null, 'false', 'true'
    from company_links, reconcile.own_fields
    where person_id is not null and is_deleted_in_dynamics = 'true'
      and (person_id, own_fields.is_deleted) not in (select (person_id, field) from waiting_own)
),
labelled as (
    select
        w.*,
        case when w.type = 'choice' then coalesce(b.label, w.base_value) else w.base_value end as base_shown,
        case when w.type = 'choice' then coalesce(d.label, w.dynamics_value) else w.dynamics_value end as dynamics_shown,
        case when w.type = 'choice' then coalesce(m.label, ltrim(w.marketo_value, '?')) else w.marketo_value end
            as marketo_shown,
        case when w.system = 'marketo' then w.dynamics_value else w.marketo_value end as value
    from writes w
    left join state.options b on w.type = 'choice' and b.record_type = w.record_type
        and b.dynamics_column = w.dynamics_column and b.option_value = w.base_value
    left join state.options d on w.type = 'choice' and d.record_type = w.record_type
        and d.dynamics_column = w.dynamics_column and d.option_value = w.dynamics_value
    left join state.options m on w.type = 'choice' and m.record_type = w.record_type
        and m.dynamics_column = w.dynamics_column and m.option_value = w.marketo_value
)
select
    *,
    case when system = 'marketo' then field else dynamics_column end as json_name,
    case
        when value is null then 'null'
        when type in ('integer', 'decimal') and try_cast(value as decimal(38, 4)) is not null then value
        when type = 'boolean' then value
        when type = 'choice' and system = 'dynamics' then value
        when system = 'marketo' then to_json(dynamics_shown)::varchar
        else to_json(value)::varchar
    end as json_value
from labelled;
