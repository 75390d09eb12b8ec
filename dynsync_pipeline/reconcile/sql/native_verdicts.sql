-- native_verdicts: lays what the native sync wrote beside what the rules make of the same values, and goes on from what it left:
-- what it wrote is agreed, or stands where Marketo holds another value than Dynamics.
--
-- reads    this_cycle, native_writes, field_outcomes, state.option_maps
-- makes    native_verdicts: one row per value that the native sync wrote or left, with what ours would have made of it
-- changes  ledger.shadow_changes, state.standing_differences, state.base_moves, state.unpublished, inbox.touched
create temp table native_verdicts as
with decided as (
    select
        n.*,
        case
            when o.outcome in ('take_dynamics', 'collision_dynamics_wins') then 'to_marketo'
            when o.outcome in ('take_marketo', 'collision_marketo_wins') then 'to_dynamics'
        end as our_direction,
        coalesce(n.reason_code, o.refusal_code, o.rule_code) as rule_code,
        case kind when 'wrote_marketo' then 'to_marketo' when 'wrote_dynamics' then 'to_dynamics' end as their_direction
    from native_writes n
    left join field_outcomes o on n.reason_code is null and o.person_id = n.person_id and o.field = n.field
)
select
    *,
    case our_direction when 'to_marketo' then dynamics_before when 'to_dynamics' then marketo_before end as our_value,
    case
        when reason_code is not null then 'cannot_tell'
        when our_direction is not distinct from their_direction and our_value is not distinct from their_value then 'same'
        else 'differs'
    end as verdict
from decided;

insert into ledger.shadow_changes
    (entry_id, cycle_id, seen_at, person_id, record_type, dynamics_id, field, base_value, dynamics_value, marketo_value,
     our_direction, our_value, their_direction, their_value, verdict, rule_code)
select
    nextval('ledger.entries'), cycle_id, planned_at, v.person_id, v.record_type, v.dynamics_id, v.field,
    shown_options(v.base_value, v.type, o), shown_options(v.dynamics_before, v.type, o),
    shown_options(v.marketo_before, v.type, o), v.our_direction, shown_options(v.our_value, v.type, o), v.their_direction,
    shown_options(v.their_value, v.type, o), v.verdict, v.rule_code
from native_verdicts v
cross join this_cycle
left join state.option_maps o on o.record_type = v.record_type and o.dynamics_column = v.dynamics_column;

delete from state.standing_differences s
using native_verdicts v
where v.rule_code <> 'several_writes' and v.person_id = s.person_id and v.field = s.field;

insert into state.standing_differences (person_id, field, dynamics_value, marketo_value, reason_code, since)
select
    person_id, field, dynamics_before, case kind when 'left' then marketo_before else their_value end,
    case when kind <> 'left' then 'kept_by_native' when has_base then 'left_by_native' else 'left_at_first_meeting' end,
    planned_at
from native_verdicts, this_cycle
where verdict <> 'cannot_tell'
  and (kind = 'left' or kind = 'wrote_marketo' and dynamics_before is distinct from their_value);

-- What it wrote is what both last showed, also where nobody can tell what was there before.
insert into state.base_moves (person_id, field, value)
select person_id, field, case kind when 'left' then dynamics_before else their_value end
from native_verdicts
where rule_code <> 'several_writes' and (kind <> 'left' or not has_base);

-- Whoever moved again since is compared with that.
insert into inbox.touched (person_id, is_receipt)
select distinct person_id, false from native_verdicts where kind <> 'left';

insert into state.unpublished (published_table, person_id)
select distinct 'people', person_id from native_verdicts;
