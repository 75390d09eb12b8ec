-- recognise: finds out, after a cut, what became of operations that were sent and have no receipt. One is ours exactly if all
-- its values stand in the mirror now, which was read again before, or stood there until somebody edited them, as the feed
-- tells. Then it gets its receipt; otherwise it never happened and is planned anew
-- (docs/design.md#after-a-cut).
--
-- reads    reconcile.operations, reconcile.receipts, reconcile.planned_changes, reconcile.planned_account_changes,
--          reconcile.refused_fields, reconcile.own_fields, inbox.feed_after_cut, mirror.marketo_people,
--          mirror.marketo_companies, state.dynamics_values, state.marketo_values, state.company_values, state.links,
--          state.old_labels
-- makes    uncertain: one row per operation that was sent and has no receipt
--          kept_shorter: one row per operation and value that Marketo kept shorter: one change only, from what the plan knew to
--              the beginning of ours
--          held_values: one row per person of an uncertain operation, system and field that is not null there
--          values_in_place: one row per value of an uncertain update, `is_in_place` where it stands or stood
--          recognised: one row per uncertain operation that is ours
-- changes  reconcile.receipts, reconcile.edited_meanwhile, inbox.feed_after_cut
create temp table uncertain as
select * from reconcile.operations
where sent_at is not null and operation_id not in (select operation_id from reconcile.receipts);

create temp table kept_shorter as
select o.operation_id, c.field
from reconcile.operations o
join reconcile.planned_changes c using (operation_id)
join inbox.feed_after_cut f on f.person_id = o.person_id and f.field = c.field
where o.system = 'marketo' and o.sent_at is not null
group by o.operation_id, c.field, c.old_value, c.new_value
having count(*) = 1 and any_value(f.old_value) is not distinct from c.old_value and starts_with(c.new_value, any_value(f.value));

create temp table held_values as
with in_dynamics as (
    from state.dynamics_values where person_id in (select person_id from uncertain)
),
in_marketo as (
    from state.marketo_values where person_id in (select person_id from uncertain)
)
select 'dynamics' as system, person_id, field, value from long_of('in_dynamics')
union all
select 'marketo', person_id, field, value from long_of('in_marketo')
union all
select 'marketo', person_id, own_fields.company, external_company_id
from mirror.marketo_people, reconcile.own_fields where person_id in (select person_id from uncertain)
union all
select 'marketo', person_id, own_fields.is_deleted, is_deleted_in_dynamics
from mirror.marketo_people, reconcile.own_fields where person_id in (select person_id from uncertain)
union all
select 'marketo', person_id, own_fields.lead_id, dynamics_lead_id
from mirror.marketo_people, reconcile.own_fields where person_id in (select person_id from uncertain)
union all
select 'marketo', person_id, own_fields.contact_id, dynamics_contact_id
from mirror.marketo_people, reconcile.own_fields where person_id in (select person_id from uncertain);

create temp table values_in_place as
select
    u.operation_id, u.person_id, c.field,
    (h.value is not distinct from c.sent_value and coalesce(x.label = c.new_value, true))
        or (u.operation_id, c.field) in (select (operation_id, field) from kept_shorter)
        or (u.system = 'marketo' and (u.person_id, c.field, coalesce(c.new_value, '')) in (
            select (person_id, field, coalesce(value, '')) from inbox.feed_after_cut
        )) as is_in_place
from uncertain u
join reconcile.planned_changes c using (operation_id)
left join held_values h on h.system = u.system and h.person_id = u.person_id and h.field = c.field
-- An option that was renamed has the same number before and after our write.
left join state.old_labels x
    on u.system = 'marketo' and x.person_id = u.person_id and x.record_type = u.record_type and x.field = c.field
where u.action = 'update'
  -- Nobody reads these two back; they go out beside a key.
  and c.field not in (select unnest([person_type, created_on]) from reconcile.own_fields)
  and (u.operation_id, c.field) not in (select (operation_id, field) from reconcile.refused_fields);

create temp table recognised as
with companies_held as (
    from state.company_values where external_company_id in (select company_key from uncertain)
)
select operation_id, person_id from values_in_place group by operation_id, person_id having bool_and(is_in_place)
union all
select u.operation_id, min(m.person_id)
from uncertain u
join mirror.marketo_people m
    on (u.record_type = 'contact' and m.dynamics_contact_id = u.dynamics_id)
    or (u.record_type = 'lead' and m.dynamics_lead_id = u.dynamics_id)
where u.action = 'create' and not m.is_deleted and m.person_id not in (select person_id from state.links)
group by u.operation_id
union all
-- A company write repeats without harm, so one whose values all stand is taken as ours, and else it is planned anew.
select u.operation_id, u.person_id
from uncertain u
join mirror.marketo_companies k on k.external_company_id = u.company_key
left join reconcile.planned_account_changes a using (operation_id)
left join long_of('companies_held') v on v.external_company_id = u.company_key and v.field = a.field
left join reconcile.planned_changes c on c.operation_id = u.operation_id
left join held_values h on h.system = 'marketo' and h.person_id = u.person_id and h.field = c.field
where u.action = 'company'
group by u.operation_id, u.person_id
having bool_and(a.field is null or v.value is not distinct from a.new_value)
   and bool_and(c.field is null or u.person_id is null or h.value is not distinct from c.base_after);

insert into reconcile.receipts (operation_id, outcome, person_id, received_at, is_settled)
select operation_id, 'applied', person_id, now() at time zone 'UTC', false from recognised;

-- What the feed tells of a value after ours is an edit by somebody, not what Marketo made of our value.
insert into reconcile.edited_meanwhile (operation_id, field)
select distinct r.operation_id, f.field
from reconcile.receipts r
join reconcile.operations o using (operation_id)
join inbox.feed_after_cut f on f.person_id = r.person_id
left join reconcile.planned_changes c on c.operation_id = r.operation_id and c.field = f.field
where not r.is_settled and o.system = 'marketo' and o.action in ('create', 'update')
  and f.value is distinct from c.new_value
  and (r.operation_id, f.field) not in (select (operation_id, field) from kept_shorter);

delete from inbox.feed_after_cut;
