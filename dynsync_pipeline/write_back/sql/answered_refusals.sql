-- answered_refusals: lists what a system refused or put off, of whole operations and of single fields. What was refused is then
-- reported by report_refusals.sql.
--
-- reads    fresh_receipts, reconcile.refused_fields, reconcile.planned_changes, reconcile.fields, ledger.sync_errors
-- makes    unsuccessful: one row per operation, or field of it, that was not applied
--          refusals: one row per refused record or field, as report_refusals.sql wants it
-- changes  nothing
create temp table unsuccessful as
-- A field that was found in a search names itself no more when it is sent again alone.
with found_before as (
    select r.operation_id, any_value(c.field) as field
    from fresh_receipts r
    join reconcile.planned_changes c using (operation_id)
    left join ledger.sync_errors e on e.state <> 'resolved' and e.record_type = r.record_type and e.dynamics_id = r.dynamics_id
        and e.direction = 'to_' || r.system and e.code = r.code and e.field = c.field
    where r.outcome = 'refused'
    group by r.operation_id
    having count(distinct c.field) = 1 and count(e.field) > 0
)
select
    r.cycle_id, r.action, r.record_type, r.dynamics_id, r.person_id, r.is_new_person, r.operation_id, r.received_at,
    r.next_look_at, r.outcome, 'to_' || r.system as direction, r.code, r.message,
    coalesce(f.field, r.field, b.field) as field, false as is_rest_applied
from fresh_receipts r
left join reconcile.fields f on r.system = 'dynamics' and f.record_type = r.record_type and f.dynamics_column = r.field
left join found_before b on b.operation_id = r.operation_id
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
