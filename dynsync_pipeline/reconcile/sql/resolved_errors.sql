-- resolved_errors: closes the errors whose cause went away without a write.
--
-- reads    compared_links, shared_keys, new_people, resting_records, inbox.touched, state.links, state.unsettled
-- makes    nothing
-- changes  ledger.sync_errors

-- Somebody took the edit back. An error about a taken key names the person who bears it, and is none of that person's.
update ledger.sync_errors e
set state = 'resolved'
where e.state <> 'resolved' and e.code not in ('key_taken', 'merged_in_marketo', 'qualified')
  and e.person_id in (select person_id from compared_links)
  and not exists (
      from state.unsettled u
      where u.person_id = e.person_id and u.field is not distinct from coalesce(e.field, u.field)
  );

-- The record has nothing any more that its deleted person did not have.
update ledger.sync_errors e
set state = 'resolved'
where e.state <> 'resolved' and (e.record_type, e.dynamics_id) in (select (record_type, dynamics_id) from resting_records);

-- The key is not shared any more.
update ledger.sync_errors e
set state = 'resolved'
where e.state <> 'resolved' and e.code = 'key_shared'
  and e.person_id in (select person_id from inbox.touched)
  and (e.person_id, e.dynamics_id) not in (select (person_id, dynamics_id) from shared_keys);

-- The key is free, or the record was linked.
update ledger.sync_errors e
set state = 'resolved'
where e.state <> 'resolved' and e.code in ('key_taken', 'merged_in_marketo', 'qualified', 'lead_unread')
  and (e.record_type, e.dynamics_id) in (
      select (record_type, dynamics_id) from new_people
      union all
      select (record_type, dynamics_id) from state.links
  );
