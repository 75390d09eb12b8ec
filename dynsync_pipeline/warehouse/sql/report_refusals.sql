-- report_refusals: reports refusals, found by the rules or answered by a system, once per record, field, direction and code,
-- in the list of errors and in the person's activity log (R115, R116). One that is open already is counted there, and learns
-- who the person is. A key that is shared or taken, a lead that was merged or qualified, or cannot be read, a doubled link, a field that oscillates, or an own field
-- that does not stay, is never quarantined: it is looked at again.
--
-- reads    refusals, ledger.sync_errors
-- makes    new_errors: one row per refusal that is not open yet
-- changes  ledger.sync_errors, ledger.error_attempts, ledger.activities
create temp table new_errors as
select nextval('ledger.entries') as error_id, *
from refusals r
where not exists (
    from ledger.sync_errors e
    where e.state <> 'resolved'
      and e.record_type = r.record_type and e.dynamics_id = r.dynamics_id
      and e.field is not distinct from r.field and e.direction = r.direction and e.code = r.code
      and (e.code <> 'key_shared' or e.person_id is not distinct from r.person_id)
);

update ledger.sync_errors e
set last_seen_at = r.seen_at,
    attempts = e.attempts + 1,
    person_id = coalesce(r.person_id, e.person_id),
    state = case
        when e.attempts + 1 >= most_attempts()
            and e.code not in (
                'key_taken', 'key_shared', 'doubled_link', 'merged_in_marketo', 'qualified', 'lead_unread', 'oscillates',
                'key_altered', 'own_field_altered'
            ) then 'quarantined'
        else e.state
    end
from refusals r
where e.state <> 'resolved'
  and e.record_type = r.record_type and e.dynamics_id = r.dynamics_id
  and e.field is not distinct from r.field and e.direction = r.direction and e.code = r.code
  and (e.code <> 'key_shared' or e.person_id is not distinct from r.person_id);

insert into ledger.sync_errors
    (error_id, cycle_id, happened_at, last_seen_at, record_type, person_id, dynamics_id, field, operation, direction, code,
     message, attempts, state)
select
    error_id, cycle_id, seen_at, seen_at, record_type, person_id, dynamics_id, field, operation, direction, code, message, 1,
    'waiting'
from new_errors;

insert into ledger.error_attempts (entry_id, error_id, cycle_id, attempted_at)
select nextval('ledger.entries'), e.error_id, r.cycle_id, r.seen_at
from refusals r
join ledger.sync_errors e
    on e.state <> 'resolved'
    and e.record_type = r.record_type and e.dynamics_id = r.dynamics_id
    and e.field is not distinct from r.field and e.direction = r.direction and e.code = r.code
    and (e.code <> 'key_shared' or e.person_id is not distinct from r.person_id);

insert into ledger.activities
    (activity_id, cycle_id, activity_at, person_id, activity_type, field, reason_code, message, source)
select
    nextval('ledger.entries'), cycle_id, seen_at, person_id, 'Sync Error', field, 'refused', code || ': ' || message,
    'Dynamics sync'
from new_errors
where person_id is not null;
