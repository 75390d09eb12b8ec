-- planned_writes. Grain: one row per value to write.
-- Values are canonical; `value` is what the target must come to hold, as compared (an option's number for a choice).
create or replace temp table planned_writes as
with new_values as (
    select record_type, dynamics_id, field, value
    from (
        unpivot (from state.dynamics_records where (record_type, dynamics_id) in (select (record_type, dynamics_id) from new_people))
        on columns(* exclude (record_type, dynamics_id)) into name field value value
    )
),
writes as (
    select
        case when outcome in ('take_dynamics', 'collision_dynamics_wins') then 'marketo' else 'dynamics' end as system,
        'update' as action,
        record_type, dynamics_id, person_id, field, dynamics_column, type, rule, outcome, attempts,
        base_value, dynamics_value, marketo_value
    from field_outcomes
    where outcome in ('take_dynamics', 'take_marketo', 'collision_dynamics_wins', 'collision_marketo_wins')
    union all
    select
        'marketo', 'create', n.record_type, n.dynamics_id, null, n.field, f.dynamics_column, f.type,
        'R15 new in Dynamics', 'take_dynamics', 0, null, n.value, null
    from new_values n
    join reconcile.fields f on f.record_type = n.record_type and f.field = n.field
    where f.direction <> 'to_dynamics'
      and not (f.type = 'boolean' and n.value = 'false')  -- what Marketo reads anyway
),
shown as (
    select
        w.*,
        case when w.system = 'marketo' then w.dynamics_value else w.marketo_value end as value,
        case when w.type = 'choice' then coalesce(b.label, w.base_value) else w.base_value end as base_shown,
        case when w.type = 'choice' then coalesce(d.label, w.dynamics_value) else w.dynamics_value end as dynamics_shown,
        case when w.type = 'choice' then coalesce(m.label, ltrim(w.marketo_value, '?')) else w.marketo_value end
            as marketo_shown
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
    case
        when value is null then 'null'
        when type in ('integer', 'decimal') and try_cast(value as decimal(38, 4)) is not null then value
        when type = 'boolean' then value
        when type = 'choice' and system = 'dynamics' then value
        when system = 'marketo' then to_json(dynamics_shown)::varchar
        else to_json(value)::varchar
    end as json_value,
    case when system = 'marketo' then field else dynamics_column end as json_name
from shown;
