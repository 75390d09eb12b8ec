-- settled_ledger: writes into the ledger what was confirmed, from the committed plan.
--
-- reads    fresh_receipts, applied_changes, seen_edits, reconcile.planned_collisions, reconcile.planned_account_changes,
--          reconcile.planned_activities, reconcile.refused_fields, state.started
-- makes    nothing
-- changes  ledger.changes, ledger.collisions, ledger.account_changes, ledger.activities, state.started
insert into ledger.changes
    (entry_id, cycle_id, changed_at, direction, record_type, person_id, dynamics_id, field, old_value, new_value, rule_code,
     dynamics_modified_at, dynamics_modified_by, marketo_changed_at, marketo_source)
select
    nextval('ledger.entries'), cycle_id, received_at, 'to_' || system, record_type, person_id, dynamics_id,
    changed_field, old_value, new_value, rule_code,
    dynamics_modified_at, dynamics_modified_by, marketo_changed_at, marketo_source
from applied_changes c
left join seen_edits e on e.operation_id = c.operation_id and e.field = c.changed_field;

insert into ledger.collisions
    (entry_id, cycle_id, settled_at, record_type, person_id, dynamics_id, field, base_value, dynamics_value, marketo_value,
     winner, rule_code, dynamics_modified_at, dynamics_modified_by, marketo_changed_at, marketo_source)
select
    nextval('ledger.entries'), r.cycle_id, r.received_at, r.record_type, r.person_id, r.dynamics_id,
    c.field, c.base_value, c.dynamics_value, c.marketo_value, c.winner, c.rule_code,
    dynamics_modified_at, dynamics_modified_by, marketo_changed_at, marketo_source
from applied_changes r
join reconcile.planned_collisions c on c.operation_id = r.operation_id and c.field = r.changed_field
left join seen_edits e on e.operation_id = r.operation_id and e.field = c.field;

insert into ledger.account_changes
    (entry_id, cycle_id, changed_at, account_id, field, old_value, new_value, n_contacts, activities_suppressed, reason_code)
select
    nextval('ledger.entries'), r.cycle_id, r.received_at, r.dynamics_id, c.field, c.old_value, c.new_value, c.n_contacts,
    c.n_contacts > most_contacts_logged(), c.reason_code
from fresh_receipts r
join reconcile.planned_account_changes c using (operation_id)
where r.outcome = 'applied'
  and (r.operation_id, c.field) not in (select (operation_id, field) from reconcile.refused_fields);

-- One entry for every value that the sync changed on a person (R53, R66, R68); writes to Dynamics give none.
insert into ledger.activities
    (activity_id, cycle_id, activity_at, person_id, activity_type, field, old_value, new_value, reason_code, source)
select
    nextval('ledger.entries'), cycle_id, received_at, person_id, 'Change Data Value', changed_field, old_value, new_value,
    rule_code, 'Dynamics sync'
from applied_changes
where system = 'marketo' and is_mapped and not is_new_person and old_value is distinct from new_value;

insert into ledger.activities
    (activity_id, cycle_id, activity_at, person_id, activity_type, field, old_value, new_value, reason_code, source)
select
    nextval('ledger.entries'), r.cycle_id, r.received_at, a.person_id, 'Change Data Value', a.field, a.old_value, a.new_value,
    a.reason_code, 'Dynamics sync'
from fresh_receipts r
join reconcile.planned_activities a using (operation_id)
where r.outcome = 'applied'
  and (r.operation_id, a.field) not in (select (operation_id, field) from reconcile.refused_fields);

insert into ledger.activities (activity_id, cycle_id, activity_at, person_id, activity_type, reason_code, source)
select
    nextval('ledger.entries'), cycle_id, received_at, person_id, 'New Person',
    case when record_type = 'contact' then 'new_contact' else 'new_lead' end, 'Dynamics sync'
from fresh_receipts
where action = 'create' and outcome = 'applied';

-- The filter let its record in again (R89).
insert into ledger.activities (activity_id, cycle_id, activity_at, person_id, activity_type, reason_code, source)
select nextval('ledger.entries'), r.cycle_id, r.received_at, r.person_id, 'Create [StartSync]', 'let_in', 'Dynamics sync'
from fresh_receipts r
join state.started s using (record_type, dynamics_id)
where r.action = 'create' and r.outcome = 'applied';

delete from state.started s using fresh_receipts r
where r.record_type = s.record_type and r.dynamics_id = s.dynamics_id and r.action = 'create' and r.outcome = 'applied';
