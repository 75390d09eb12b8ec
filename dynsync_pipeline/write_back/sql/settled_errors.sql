-- settled_errors: closes the errors of what was applied. Of an own field of a person that did not stay before, the next look
-- tells whether it does now.
--
-- reads    fresh_receipts, applied_changes, reconcile.refused_fields, state.unsettled
-- makes    nothing
-- changes  ledger.sync_errors
update ledger.sync_errors e
set state = 'resolved'
from applied_changes c
where e.state <> 'resolved' and e.field = c.changed_field
  and e.dynamics_id = c.dynamics_id and e.record_type = c.record_type and e.direction = 'to_' || c.system
  and not (e.code in ('key_altered', 'own_field_altered') and e.attempts > 1);

update ledger.sync_errors e
set state = 'resolved'
from fresh_receipts r
where r.outcome = 'applied' and r.action = 'company' and r.record_type = 'account' and e.state <> 'resolved'
  and e.dynamics_id = r.dynamics_id and e.record_type = r.record_type
  and (r.operation_id, coalesce(e.field, '')) not in (select (operation_id, field) from reconcile.refused_fields);

-- An error that names no field is over when nothing of its record waits for it any more.
update ledger.sync_errors e
set state = 'resolved'
from fresh_receipts r
where r.outcome = 'applied' and e.state <> 'resolved' and e.field is null and e.operation = r.action
  and e.dynamics_id = r.dynamics_id and e.record_type = r.record_type and e.direction = 'to_' || r.system
  and not exists (
      from state.unsettled u
      where u.record_type = e.record_type and u.dynamics_id = e.dynamics_id and u.reason_code = 'refused' and u.code = e.code
  );
