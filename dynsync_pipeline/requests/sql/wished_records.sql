-- wished_records: finds the records for which something is asked: another owner, or a task (R78). Whoever is linked to none yet is
-- to become one first. To a record that its filter keeps out nothing goes (R90). One whose last write has an unknown outcome waits:
-- the next cycle finds out by its version what became of that, and our own write would move it.
--
-- reads    wished_requests, state.links, state.filtered_out, mirror.dynamics_contacts, mirror.dynamics_leads,
--          mirror.dynamics_owners, reconcile.operations, reconcile.receipts
-- makes    wished_records: one row per request; `verdict` is absent, kept_out, uncertain or ready; `owner_id` is who owns the record
-- changes  nothing
create temp table wished_records as
with uncertain as (
    select record_type, dynamics_id
    from reconcile.operations
    where system = 'dynamics' and sent_at is not null and operation_id not in (select operation_id from reconcile.receipts)
),
linked as (
    select q.request_id, l.record_type, l.dynamics_id
    from wished_requests q join state.links l on l.person_id = q.person_id
),
owned as (
    select contactid as dynamics_id, lower(_ownerid_value) as owner_id
    from mirror.dynamics_contacts where contactid in (select dynamics_id from linked)
    union all
    select leadid, lower(_ownerid_value) from mirror.dynamics_leads where leadid in (select dynamics_id from linked)
)
select
    q.request_id, l.record_type, l.dynamics_id, o.owner_id, coalesce(w.is_team, false) as is_owned_by_team,
    case
        when l.dynamics_id is null then 'absent'
        when (l.record_type, l.dynamics_id) in (select (record_type, dynamics_id) from state.filtered_out) then 'kept_out'
        when (l.record_type, l.dynamics_id) in (select (record_type, dynamics_id) from uncertain) then 'uncertain'
        else 'ready'
    end as verdict
from wished_requests q
left join linked l on l.request_id = q.request_id
left join owned o on o.dynamics_id = l.dynamics_id
left join mirror.dynamics_owners w on w.id = o.owner_id;
