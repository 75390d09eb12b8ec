-- What is settled by looking: equal values move the base, one-way edits become standing differences, the rest is unsettled.
insert into state.base_moves
select person_id, field, dynamics_value from field_outcomes where outcome = 'agree';

-- A field without base that is null on both sides has no row in differing_fields: the null is agreed now.
insert into state.base_moves
select m.person_id, m.field, null
from state.base_missing m
join compared_links using (person_id)
anti join differing_fields d on d.person_id = m.person_id and d.field = m.field;

-- A standing difference ends where nothing differs any more, or a new one takes its place; where a write is planned, it
-- stays until the receipt, because a cut in between must not turn one edit into a collision.
delete from state.standing_differences s
using compared_links c
where c.person_id = s.person_id
  and (
      (s.person_id, s.field) not in (select (person_id, field) from differing_fields)
      or (s.person_id, s.field) in (select (person_id, field) from field_outcomes where outcome = 'agree')
      or (s.person_id, s.field) in (
          select (o.person_id, o.field)
          from field_outcomes o
          join state.standing_differences t on t.person_id = o.person_id and t.field = o.field
          where o.outcome = 'stand'
            and (t.dynamics_value is distinct from o.dynamics_value or t.marketo_value is distinct from o.marketo_value)
      )
  );

-- Their published rows follow also where nothing was read again, as when a field that was unsettled is looked at once more.
insert into state.unpublished
select 'people', null, person_id from compared_links;

insert into state.standing_differences
select person_id, field, dynamics_value, marketo_value, rule, planned_at
from field_outcomes o, this_cycle
where outcome = 'stand'
  and not exists (from state.standing_differences s where s.person_id = o.person_id and s.field = o.field);

insert into state.base_moves
select person_id, field, dynamics_value from field_outcomes where outcome = 'stand' and not has_base;

-- Refusals that are found without asking the other system are reported like those that it answers (R33, R115, R116).
create or replace temp table found_refusals as
select
    record_type, person_id, dynamics_id, field, 'update' as operation,
    case when decided_for = 'marketo' then 'to_dynamics' else 'to_marketo' end as direction,
    refusal as code,
    case
        when refusal = 'unknown_option' then
            'The label is none of the options of ' || dynamics_column || ' in Dynamics (R33). Choose one of these, or add the option.'
        else 'Each system puts its own value back; the field was written three times in a day. Find the rule or workflow that does it.'
    end as message
from field_outcomes
where outcome = 'refuse'
union all
select
    record_type, min(person_id), dynamics_id, null, 'create', 'to_marketo', 'key_taken',
    'A person who is linked to another record bears the key of this one, as after a merge (R18). Empty the key there, or link by hand.'
from kept_back
group by record_type, dynamics_id
union all
select
    record_type, person_id, dynamics_id, null, 'link', 'to_marketo', 'key_shared',
    'Another person bears the same key and is linked to the record (R16). Merge the two, or empty the key here.'
from shared_keys;

create or replace temp table new_errors as
select nextval('ledger.entries') as error_id, *
from found_refusals f
where not exists (
    from ledger.sync_errors e
    where e.record_type = f.record_type and e.dynamics_id = f.dynamics_id and e.code = f.code
      and e.person_id is not distinct from f.person_id and e.field is not distinct from f.field and e.state <> 'resolved'
);

update ledger.sync_errors e
set last_seen_at = planned_at, attempts = e.attempts + 1, state = case when e.attempts + 1 >= 8 then 'quarantined' else e.state end
from found_refusals f, this_cycle
where e.record_type = f.record_type and e.dynamics_id = f.dynamics_id and e.code = f.code
  and e.person_id is not distinct from f.person_id and e.field is not distinct from f.field and e.state <> 'resolved';

insert into ledger.sync_errors
select
    error_id, cycle_id, planned_at, planned_at, record_type, person_id, dynamics_id, field, operation, direction, code, message,
    1, 'waiting'
from new_errors, this_cycle;

insert into ledger.activities
select
    nextval('ledger.entries'), cycle_id, planned_at, person_id, 'Sync Error', field, null, null, code || ': ' || message,
    'Dynamics sync'
from new_errors, this_cycle
where person_id is not null;

-- A key that is not shared any more is no error any more.
update ledger.sync_errors e
set state = 'resolved'
where e.state <> 'resolved' and e.code = 'key_shared'
  and e.person_id in (select person_id from inbox.touched)
  and (e.person_id, e.dynamics_id) not in (select (person_id, dynamics_id) from shared_keys);

create or replace temp table waiting as
select u.* from state.unsettled u join field_outcomes o on o.person_id = u.person_id and o.field = u.field and o.outcome = 'wait';

create or replace temp table waiting_accounts as
select dynamics_id, attempts from state.unsettled
where record_type = 'account' and dynamics_id in (select account_id from updated_accounts);

create or replace temp table tried_own as
select person_id, field, dynamics_value, attempts, since
from state.unsettled, reconcile.own_fields
where person_id is not null and field in (own_fields.company, own_fields.is_deleted);

delete from state.unsettled where record_type = 'account' and dynamics_id in (select account_id from updated_accounts);
-- An account that is applied no more (R61) waits for nothing.
delete from state.unsettled
where record_type = 'account'
  and dynamics_id in (select accountid from mirror.dynamics_accounts where is_deleted or coalesce(statecode, '0') <> '0');
delete from state.unsettled
where person_id in (select person_id from compared_links)
   or person_id in (select person_id from planned_writes where action = 'update');
delete from state.unsettled u using records_without_person n
where n.record_type = u.record_type and n.dynamics_id = u.dynamics_id and u.person_id is null;
-- A record that got a link on its own, or is gone, waits for nobody.
delete from state.unsettled
where person_id is null and (record_type, dynamics_id) in (
    select (record_type, dynamics_id) from state.links
    union all
    select ('contact', contactid) from mirror.dynamics_contacts where is_deleted
    union all
    select ('lead', leadid) from mirror.dynamics_leads where is_deleted
    union all
    select ('account', accountid) from mirror.dynamics_accounts where is_deleted
);

insert into state.unsettled
select * from waiting
union all
select * from waiting_own
where person_id in (select person_id from compared_links) or person_id in (select person_id from planned_writes)
union all
select
    record_type, dynamics_id, person_id, field, dynamics_value, marketo_value,
    case when outcome = 'refuse' then 'refused: ' || refusal else 'planned' end,
    case when outcome = 'refuse' then attempts + 1 else attempts end,
    coalesce(pending_since, planned_at),
    case
        when outcome <> 'refuse' then planned_at
        when attempts + 1 >= 8 then timestamp '9999-12-31'
        else planned_at + least(interval 1 day, to_minutes(5 * (2 ** attempts)::integer))
    end
from field_outcomes, this_cycle
where outcome not in ('agree', 'stand', 'wait')
union all
select record_type, dynamics_id, null, null, null, null, 'planned', attempts, coalesce(pending_since, planned_at), planned_at
from new_people, this_cycle
union all
select distinct record_type, dynamics_id, null, null, null, null, 'refused: key_taken', attempts + 1, coalesce(pending_since, planned_at), planned_at + interval 1 day
from kept_back, this_cycle
union all
-- The sync's own fields on a person, and whole accounts.
select
    w.record_type, w.dynamics_id, w.person_id, w.field, w.dynamics_value, w.marketo_value, 'planned', coalesce(t.attempts, 0),
    coalesce(t.since, planned_at), planned_at
from planned_writes w
cross join this_cycle
cross join reconcile.own_fields
left join tried_own t
    on t.person_id = w.person_id and t.field = w.field and t.dynamics_value is not distinct from w.dynamics_value
where w.action = 'update' and w.field in (own_fields.company, own_fields.is_deleted)
union all
select 'account', c.dynamics_id, null, null, null, null, 'planned', coalesce(p.attempts, 0), planned_at, planned_at
from company_writes c
left join waiting_accounts p using (dynamics_id), this_cycle
where c.record_type = 'account';

-- An error whose difference went away without a write, because somebody took the edit back, is over.
update ledger.sync_errors e
set state = 'resolved'
where e.state <> 'resolved'
  and e.person_id in (select person_id from compared_links)
  and not exists (
      from state.unsettled u
      where u.person_id = e.person_id and u.field is not distinct from coalesce(e.field, u.field)
  );

delete from inbox.touched;
delete from state.returned_fields;
