-- answers: lays the receipts that are not settled yet beside the plan: what was applied, value by value, and what was not.
--
-- reads    reconcile.receipts, reconcile.operations, reconcile.planned_changes, reconcile.refused_fields, reconcile.unsent_fields,
--          reconcile.fields, state.links, state.dynamics_values, state.marketo_values
-- makes    fresh_receipts: one row per operation with a receipt that is not settled, `person_id` also of a new person
--          applied_changes: one row per value that was applied: the plan less the fields that were refused
--          left_out_on_create: one row per new person and field that was refused, or never left, while the rest was taken
--          dynamics_long: one row per person of an applied operation and field that is not null in Dynamics
--          marketo_long: one row per person of an applied operation and field that is not null in Marketo
-- changes  nothing
create temp table fresh_receipts as
select
    o.cycle_id, o.system, o.action, o.record_type, o.dynamics_id, o.person_id is null as is_new_person,
    coalesce(o.person_id, r.person_id, l.person_id) as person_id,
    r.* exclude (person_id)
from reconcile.receipts r
join reconcile.operations o using (operation_id)
left join state.links l on l.record_type = o.record_type and l.dynamics_id = o.dynamics_id
where not r.is_settled;

create temp table applied_changes as
select
    r.*, c.field as changed_field, c.old_value, c.new_value, c.sent_value, c.base_after, c.rule_code,
    f.field is not null as is_mapped
from fresh_receipts r
join reconcile.planned_changes c using (operation_id)
left join reconcile.fields f on f.record_type = r.record_type and f.field = c.field
where r.outcome = 'applied'
  and (r.operation_id, c.field) not in (select (operation_id, field) from reconcile.refused_fields);

create temp table left_out_on_create as
select r.person_id, x.field
from fresh_receipts r
join (
    select operation_id, field from reconcile.refused_fields union select operation_id, field from reconcile.unsent_fields
) x using (operation_id)
where r.is_new_person and r.person_id is not null;

create temp table dynamics_long as
with wide as (
    from state.dynamics_values where person_id in (select person_id from fresh_receipts where outcome = 'applied')
)
select person_id, field, value from long_of('wide');

create temp table marketo_long as
with wide as (
    from state.marketo_values where person_id in (select person_id from fresh_receipts where outcome = 'applied')
)
select person_id, field, value from long_of('wide');
