-- doubted: remembers what was in a request that failed, though the other system was there, and was not applied, as the reading
-- shows. It is sent in ever smaller company; a record that fails alone, twice, while others of the same turn were answered, is at
-- fault itself and refused like any other (R116). One that nobody else proves right is put off
-- (docs/design.md#refusals).
--
-- reads    uncertain, this_moment, reconcile.operations, reconcile.receipts, reconcile.failed_operations, state.doubts
-- makes    doubted: one row per operation that was in a request that failed, and was not applied
-- changes  state.doubts, reconcile.receipts
create temp table doubted as
select
    u.operation_id, u.system, u.action, u.record_type, u.dynamics_id, f.n_together, f.code, f.message,
    coalesce(d.n_times, 0) + 1 as n_times,
    coalesce(d.is_at_fault, false) or (
        f.n_together = 1 and coalesce(d.n_times, 0) >= 1
        and u.system in (select o.system from reconcile.operations o join reconcile.receipts using (operation_id))
    ) as is_at_fault
from uncertain u
join reconcile.failed_operations f using (operation_id)
left join state.doubts d
    on d.system = u.system and d.action = u.action and d.record_type = u.record_type and d.dynamics_id = u.dynamics_id
where u.operation_id not in (select operation_id from reconcile.receipts);

delete from state.doubts
where (system, action, record_type, dynamics_id) in (select (system, action, record_type, dynamics_id) from doubted);

insert into state.doubts (system, action, record_type, dynamics_id, n_times, n_together, is_at_fault)
select system, action, record_type, dynamics_id, n_times, n_together, is_at_fault from doubted;

insert into reconcile.receipts (operation_id, outcome, code, message, received_at, is_settled)
select
    operation_id, case when is_at_fault then 'refused' else 'waiting' end, code, message, noted_at, false
from doubted, this_moment
where n_together = 1 and n_times > 1;
