-- What is settled by looking: equal values move the base, one-way edits become standing differences, the rest is unsettled.
insert into state.base_moves
select person_id, field, dynamics_value from field_outcomes where outcome = 'agree';

-- A field without base that is null on both sides has no row in differing_fields: the null is agreed now.
insert into state.base_moves
select m.person_id, m.field, null
from state.base_missing m
join compared_links using (person_id)
anti join differing_fields d on d.person_id = m.person_id and d.field = m.field;

delete from state.standing_differences s
using field_outcomes o
where o.person_id = s.person_id and o.field = s.field
  and (s.dynamics_value is distinct from o.dynamics_value or s.marketo_value is distinct from o.marketo_value);

insert into state.standing_differences
select person_id, field, dynamics_value, marketo_value, rule, planned_at
from field_outcomes o, this_cycle
where outcome = 'stand'
  and not exists (from state.standing_differences s where s.person_id = o.person_id and s.field = o.field);

insert into state.base_moves
select person_id, field, dynamics_value from field_outcomes where outcome = 'stand' and not has_base;

-- A refusal that is found without asking Dynamics is reported like one that Dynamics answers.
insert into ledger.sync_errors
select
    nextval('ledger.entries'), cycle_id, planned_at, planned_at, record_type, person_id, dynamics_id, field, 'update', 'to_dynamics',
    'unknown_option', 'The label is none of the options of ' || dynamics_column || ' in Dynamics (R33).', attempts + 1, 'waiting'
from field_outcomes, this_cycle
where outcome = 'refuse'
  and not exists (
      from ledger.sync_errors e
      where e.person_id = field_outcomes.person_id and e.field = field_outcomes.field
        and e.code = 'unknown_option' and e.state = 'waiting'
  );

create or replace temp table waiting as
select u.* from state.unsettled u join field_outcomes o on o.person_id = u.person_id and o.field = u.field and o.outcome = 'wait';

delete from state.unsettled where person_id in (select person_id from compared_links);
delete from state.unsettled u using new_people n
where n.record_type = u.record_type and n.dynamics_id = u.dynamics_id and u.person_id is null;

insert into state.unsettled
select * from waiting
union all
select
    record_type, dynamics_id, person_id, field, dynamics_value, marketo_value,
    case when outcome = 'refuse' then 'refused: unknown option' else 'planned' end,
    case when outcome = 'refuse' then attempts + 1 else attempts end,
    planned_at,
    case when outcome = 'refuse' then planned_at + interval 1 day else planned_at end
from field_outcomes, this_cycle
where outcome not in ('agree', 'stand', 'wait')
union all
select record_type, dynamics_id, null, null, null, null, 'planned', attempts, planned_at, planned_at from new_people, this_cycle;

delete from inbox.touched;
