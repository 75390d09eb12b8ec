-- approvals: keeps what waits until somebody approves it, value by value, one number for each cause. A word holds for that value
-- alone: one that was edited since is decided anew, and asked of again only where its cause is too large by itself. What was
-- approved is kept until it is written, because a cut in between must not ask twice. That of a parked field rests.
--
-- reads    this_cycle, compared_links, ended_links, inbox.touched, records_without_person, due_accounts, field_outcomes,
--          people_to_create, asked_people, asked_differences, company_differences, state.option_maps, state.old_labels,
--          state.parked_fields, state.approvals
-- makes    asked_values: one row per value that waits, with its cause and how many people that reaches
-- changes  state.approvals
create temp table asked_values as
select
    'field' as cause, f.field as cause_name, f.n_reached, f.record_type, f.dynamics_id, f.person_id, f.field,
    f.written_direction as direction, f.dynamics_value, f.marketo_value,
    shown_options(f.dynamics_value, f.type, o) as dynamics_shown,
    coalesce(x.label, shown_options(f.marketo_value, f.type, o)) as marketo_shown
from field_outcomes f
left join state.option_maps o on o.record_type = f.record_type and o.dynamics_column = f.dynamics_column
left join state.old_labels x on x.person_id = f.person_id and x.record_type = f.record_type and x.field = f.field
    and x.option_value = f.marketo_value
where f.outcome = 'ask'
union all by name
select
    cause, cause_name, n_reached, 'account' as record_type, account_id as dynamics_id, field, 'to_marketo' as direction,
    new_value as dynamics_value, old_value as marketo_value, new_value as dynamics_shown, old_value as marketo_shown
from asked_differences
union all by name
select 'create' as cause, record_type as cause_name, n_reached, record_type, dynamics_id, 'to_marketo' as direction
from asked_people;

delete from state.approvals a
where (a.record_type, a.dynamics_id) in (
        select (record_type, dynamics_id) from compared_links
        union all
        select (record_type, dynamics_id) from ended_links
        union all
        select (record_type, dynamics_id) from inbox.touched
        union all
        select (record_type, dynamics_id) from records_without_person
        union all
        select ('account', account_id) from due_accounts
    )
  and (a.record_type, coalesce(a.field, '')) not in (select (record_type, marketo_field) from state.parked_fields)
  and not exists (
      from (
          select record_type, dynamics_id, field, dynamics_value, marketo_value, direction,
              case when direction = 'to_marketo' then dynamics_shown else marketo_shown end as shown
          from asked_values where person_id is not null
          union all by name
          select record_type, dynamics_id, field, dynamics_value, marketo_value, written_direction as direction
          from field_outcomes where is_approved
          union all by name
          select record_type, dynamics_id, field, dynamics_value, marketo_value from field_outcomes where outcome = 'wait'
          union all by name
          select 'account' as record_type, account_id as dynamics_id, field, new_value as dynamics_value, old_value as marketo_value
          from (from asked_differences qualify bool_and(is_known) over (partition by account_id))
          union all by name
          select 'account' as record_type, account_id as dynamics_id, field, new_value as dynamics_value, old_value as marketo_value
          from company_differences
          union all by name
          select record_type, dynamics_id from people_to_create where is_asked or is_approved
      ) v
      where v.record_type = a.record_type and v.dynamics_id = a.dynamics_id and v.field is not distinct from a.field
        and v.dynamics_value is not distinct from a.dynamics_value and v.marketo_value is not distinct from a.marketo_value
        and coalesce(v.direction = a.direction, true)
        -- A word on a new label is none on the label after it (R33).
        and (a.approved_at is null or coalesce(v.shown = a.new_value, true))
  );

insert into state.approvals
    (approval_id, cause, cause_name, n_people, record_type, dynamics_id, person_id, field, direction, old_value, new_value,
     dynamics_value, marketo_value, asked_at)
with new_values as (
    from asked_values v
    where not exists (
        from state.approvals a
        where a.record_type = v.record_type and a.dynamics_id = v.dynamics_id and a.field is not distinct from v.field
    )
),
causes as (
    select nextval('ledger.entries') as approval_id, *
    from (select distinct cause, cause_name, record_type, direction from new_values order by all)
)
select
    approval_id, cause, cause_name, n_reached, record_type, dynamics_id, person_id, field, direction,
    case when direction = 'to_marketo' then marketo_shown else dynamics_shown end,
    case when direction = 'to_marketo' then dynamics_shown else marketo_shown end,
    dynamics_value, marketo_value, planned_at
from new_values
join causes using (cause, cause_name, record_type, direction), this_cycle;
