-- answered_refusals: lists what a system refused or put off, of whole operations and of single fields. What was refused is then
-- reported by report_refusals.sql.
--
-- reads    fresh_receipts, reconcile.refused_fields, reconcile.fields
-- makes    unsuccessful: one row per operation, or field of it, that was not applied
--          refusals: one row per refused record or field, as report_refusals.sql wants it
-- changes  nothing
create temp table unsuccessful as
select
    r.cycle_id, r.action, r.record_type, r.dynamics_id, r.person_id, r.is_new_person, r.operation_id, r.received_at,
    r.next_look_at, r.outcome, 'to_' || r.system as direction, r.code, r.message,
    coalesce(f.field, r.field) as field, false as is_rest_applied
from fresh_receipts r
left join reconcile.fields f on r.system = 'dynamics' and f.record_type = r.record_type and f.dynamics_column = r.field
where r.outcome <> 'applied'
union all
select
    r.cycle_id, r.action, r.record_type, r.dynamics_id, r.person_id, r.is_new_person, r.operation_id, r.received_at,
    null, 'refused', 'to_' || r.system, x.code, x.message, x.field, true
from fresh_receipts r
join reconcile.refused_fields x using (operation_id);

create temp table refusals as
select
    cycle_id, received_at as seen_at, record_type, person_id, dynamics_id, field, action as operation, direction, code, message
from unsuccessful
where outcome = 'refused';
