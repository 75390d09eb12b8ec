-- unread_records: reports what could not be read when it was last asked for, and closes the errors of what was read since
-- (R116). Until then its link is neither compared nor written, and nobody is created with a key that a person who cannot be
-- read may bear.
--
-- reads    this_cycle, state.unread, state.links, ledger.sync_errors
-- makes    unread_records: one row per record, person, company or place that cannot be read, with its error's columns
-- changes  ledger.sync_errors, ledger.error_attempts
create temp table unread_records as
select
    u.record_type, case when u.has_id and u.record_type <> 'person' then u.key end as dynamics_id,
    case when u.record_type = 'person' and u.has_id then u.key::bigint else l.person_id end as person_id,
    case when u.record_type in ('person', 'company') then 'to_dynamics' else 'to_marketo' end as direction,
    greatest(u.attempts, 1) as attempts,
    'What was read of this ' || u.record_type || ' cannot be used: ' || u.message || '. Everything else went on. '
        || case when u.has_id then 'It is read again by its id, and neither side of it is written until then; mend its values where '
                    || 'they were entered.'
                else 'Its id is not told. Look for it in the system, save it there anew, and release this error.'
           end as message
from state.unread u
left join state.links l on l.record_type = u.record_type and l.dynamics_id = u.key;

update ledger.sync_errors e
set last_seen_at = planned_at, attempts = u.attempts
from unread_records u, this_cycle
where e.state <> 'resolved' and e.code = 'unread' and e.record_type = u.record_type and e.attempts <> u.attempts
  and e.dynamics_id is not distinct from u.dynamics_id and e.person_id is not distinct from u.person_id and e.message = u.message;

update ledger.sync_errors e
set state = 'resolved'
where e.state <> 'resolved' and e.code = 'unread'
  and not exists (
      from unread_records u
      where u.record_type = e.record_type and u.dynamics_id is not distinct from e.dynamics_id
        and u.person_id is not distinct from e.person_id and u.message = e.message
  );

insert into ledger.sync_errors
    (error_id, cycle_id, happened_at, last_seen_at, record_type, person_id, dynamics_id, field, operation, direction, code,
     message, attempts, state)
select
    nextval('ledger.entries'), cycle_id, planned_at, planned_at, record_type, person_id, dynamics_id, null, 'read', direction,
    'unread', message, attempts, 'waiting'
from unread_records u, this_cycle
where not exists (
    from ledger.sync_errors e
    where e.state <> 'resolved' and e.code = 'unread' and e.record_type = u.record_type
      and e.dynamics_id is not distinct from u.dynamics_id and e.person_id is not distinct from u.person_id
      and e.message = u.message
);

insert into ledger.error_attempts (entry_id, error_id, cycle_id, attempted_at)
select nextval('ledger.entries'), e.error_id, c.cycle_id, c.planned_at
from unread_records u
join this_cycle c on true
join ledger.sync_errors e
    on e.state <> 'resolved' and e.code = 'unread' and e.record_type = u.record_type and e.last_seen_at = c.planned_at
    and e.dynamics_id is not distinct from u.dynamics_id and e.person_id is not distinct from u.person_id
    and e.message = u.message;
