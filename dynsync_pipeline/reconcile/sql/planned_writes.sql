-- planned_writes: lists every value to write to one record: a contact or lead in Dynamics, a person or company in Marketo.
-- `value` is what the target must come to hold, as compared (numbers of options); what is shown to people is their labels (R29,
-- R33). The sync's own fields on a person are written like any other.
--
-- reads    field_outcomes, overwritten_outcomes, undone_fields, new_people, own_field_writes, state.dynamics_records, state.option_maps, state.old_labels,
--          state.columns, state.user_zone, reconcile.fields
-- makes    new_values: one row per record to create in Marketo and field that it holds a value of; `misfit_code` where Marketo is
--              known to refuse that
--          taken_values: one row per differing field of which one side takes the other's value
--          planned_writes: one row per record of the target system, action and field to write
-- changes  nothing
create temp table new_values as
with new_records as (
    from state.dynamics_records where (record_type, dynamics_id) in (select (record_type, dynamics_id) from new_people)
),
-- A macro repeats what it is given as often as it names it, so that value and column get names first.
held_values as (
    select
        n.record_type, n.dynamics_id, n.field, n.value, f.dynamics_column, f.type, f.is_on_company,
        shown_options(n.value, f.type, o) as shown, c.held
    from long_of('new_records') n
    join reconcile.fields f on f.record_type = n.record_type and f.field = n.field
    left join (select k.system, k.name, k as held from state.columns k) c on c.system = 'marketo' and c.name = n.field
    left join state.option_maps o on o.record_type = n.record_type and o.dynamics_column = f.dynamics_column
    where f.direction <> 'to_dynamics'
      and not (f.type = 'boolean' and n.value = 'false')  -- what Marketo reads anyway
)
select
    * exclude (shown, held), misfit(shown, type, held, null) as misfit_code, held.max_length as most_characters
from held_values;

create temp table taken_values as
select o.*, f.is_on_company, o.outcome in ('take_dynamics', 'collision_dynamics_wins') as is_for_marketo
from field_outcomes o
join reconcile.fields f using (record_type, field)
-- An edit in Marketo that we overwrote unseen is put back before this one of Dynamics meets it.
anti join overwritten_outcomes w
    on w.person_id = o.person_id and w.field = o.field and w.is_to_stand and o.is_dynamics_update and not o.is_marketo_update
where o.outcome in ('take_dynamics', 'take_marketo', 'collision_dynamics_wins', 'collision_marketo_wins');

create temp table planned_writes as
with writes as (
    select
        case when is_for_marketo then 'marketo' else 'dynamics' end as system,
        case when is_for_marketo and is_on_company then 'company' else 'update' end as action,
        record_type, dynamics_id, person_id, field, dynamics_column, type, rule_code, outcome,
        base_value, dynamics_value, marketo_value, is_approved
    from taken_values
    union all by name
    select
        'marketo' as system,
        case when is_on_company then 'company' else 'create' end as action,
        record_type, dynamics_id, field, dynamics_column, type, 'new_in_dynamics' as rule_code,
        'take_dynamics' as outcome, value as dynamics_value
    from new_values
    where misfit_code is null
    union all by name
    select
        'marketo' as system,
        case when person_id is null then 'create' else 'update' end as action,
        record_type, dynamics_id, person_id, field, type, rule_code, 'take_dynamics' as outcome,
        new_value as dynamics_value, old_value as marketo_value
    from own_field_writes
    union all by name
    select
        case when direction = 'to_marketo' then 'marketo' else 'dynamics' end as system, 'update' as action,
        record_type, dynamics_id, person_id, field, dynamics_column, type, 'undo' as rule_code,
        case when direction = 'to_marketo' then 'take_dynamics' else 'take_marketo' end as outcome,
        value_written as base_value,
        case when direction = 'to_marketo' then value_before else value_written end as dynamics_value,
        case when direction = 'to_marketo' then value_written else value_before end as marketo_value
    from undone_fields
),
labelled as (
    select
        w.*,
        shown_options(w.base_value, w.type, o) as base_shown,
        shown_options(w.dynamics_value, w.type, o) as dynamics_shown,
        coalesce(x.label, shown_options(w.marketo_value, w.type, o)) as marketo_shown,
        case when w.system = 'marketo' then w.dynamics_value else w.marketo_value end as value,
        kept_time(w.marketo_value, w.type, c.time_behavior, z.zone) as kept_value
    from writes w
    left join state.columns c on w.system = 'dynamics' and c.system = 'dynamics' and c.record_type = w.record_type
        and c.name = w.dynamics_column
    left join state.user_zone z on true
    left join state.option_maps o on o.record_type = w.record_type and o.dynamics_column = w.dynamics_column
    left join state.old_labels x on x.person_id = w.person_id and x.record_type = w.record_type
        and x.field = w.field and x.option_value = w.marketo_value
)
select
    * exclude (kept_value),
    case when system = 'marketo' then field else dynamics_column end as json_name,
    case
        when system = 'marketo' then json_text(dynamics_shown, type)
        when type = 'choice' then json_text(value, 'integer')
        else json_text(kept_value, type)
    end as json_value
from labelled;
