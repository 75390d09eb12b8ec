-- backlog: rewrites what is not settled of everything that was looked at. Whatever still differs has a row with a reason and a
-- next time to look; what waits keeps its count of attempts.
--
-- reads    this_cycle, compared_links, doubled, field_outcomes, planned_writes, company_writes, updated_accounts, asked_differences,
--          records_without_person, resting_records, new_people, asked_people, kept_back, held_back, waiting_own_fields, altered_own_fields, own_field_names, state.links, state.unsettled,
--          state.parked_fields, inbox.touched, mirror.person_records, mirror.dynamics_accounts
-- makes    still_waiting: one row per field that was refused and is not due
--          tried_accounts: one row per account that is applied in this cycle and was tried before
--          tried_own_fields: one row per person and own field that is not settled
--          waiting_records: one row per record without a person that has waited until now
-- changes  state.unsettled
create temp table still_waiting as
select u.* from state.unsettled u join field_outcomes o on o.person_id = u.person_id and o.field = u.field and o.outcome = 'wait'
union all
-- A company that is not the person's any more waits no more where another one is going to be written.
select w.*
from waiting_own_fields w
anti join planned_writes p on p.person_id = w.person_id and p.field = w.field
where w.person_id in (select person_id from compared_links) or w.person_id in (select person_id from planned_writes);

create temp table tried_accounts as
select dynamics_id as account_id, max(attempts) as attempts from state.unsettled
where record_type = 'account' and dynamics_id in (select account_id from updated_accounts)
group by dynamics_id;

create temp table tried_own_fields as
select
    person_id, field, dynamics_value, since,
    case when code in ('key_altered', 'own_field_altered') then 0 else attempts end as attempts  -- which Marketo refused
from state.unsettled
where field in (select field from own_field_names);

delete from state.unsettled
where record_type = 'account' and dynamics_id in (select account_id from updated_accounts union all select account_id from asked_differences);

-- An account that is applied no more (R61) waits for nothing.
delete from state.unsettled
where record_type = 'account'
  and dynamics_id in (select accountid from mirror.dynamics_accounts where is_deleted or coalesce(statecode, '0') <> '0');

delete from state.unsettled
where (person_id in (select person_id from compared_links)
       or person_id in (select person_id from planned_writes where action = 'update'))
  -- What waits for somebody's word rests while its field is parked.
  and not (reason_code = 'waiting_for_approval'
           and (record_type, coalesce(field, '')) in (select (record_type, marketo_field) from state.parked_fields));

-- Of own fields that did not stay, also those of people without a link that were looked at.
delete from state.unsettled u
using this_cycle
where u.code in ('key_altered', 'own_field_altered')
  and (u.next_look_at <= planned_at or u.person_id in (select person_id from altered_own_fields)
       or u.person_id in (select person_id from inbox.touched));

delete from state.unsettled u using records_without_person n
where n.record_type = u.record_type and n.dynamics_id = u.dynamics_id and u.person_id is null;

create temp table waiting_records as
select distinct record_type, dynamics_id from state.unsettled where person_id is null;

-- A record that got a link on its own, is gone, or whose edit was taken back after its person was deleted, waits for nobody.
delete from state.unsettled
where person_id is null and (record_type, dynamics_id) in (
    select (l.record_type, l.dynamics_id)
    from state.links l
    semi join waiting_records w on w.record_type = l.record_type and w.dynamics_id = l.dynamics_id
    union all
    select (r.record_type, r.dynamics_id)
    from mirror.person_records r
    semi join waiting_records w on w.record_type = r.record_type and w.dynamics_id = r.dynamics_id
    where r.is_deleted
    union all
    select (record_type, dynamics_id) from resting_records
);

insert into state.unsettled by name
select * from still_waiting;

-- Fields.
insert into state.unsettled
    (record_type, dynamics_id, person_id, field, dynamics_value, marketo_value, reason_code, code, attempts, since, next_look_at)
select
    record_type, dynamics_id, person_id, field, dynamics_value, marketo_value,
    case outcome when 'refuse' then 'refused' when 'ask' then 'waiting_for_approval' else 'planned' end,
    case when outcome = 'refuse' then refusal_code end,
    case when outcome = 'refuse' then attempts + 1 else attempts end,
    coalesce(pending_since, planned_at),
    case
        when outcome = 'ask' then never()
        when outcome <> 'refuse' then planned_at
        when refusal_code = 'oscillates' then oscillates_until
        else next_look_at(planned_at, attempts + 1)
    end
from field_outcomes, this_cycle
where outcome not in ('agree', 'stand', 'wait');

-- Records without a person.
insert into state.unsettled (record_type, dynamics_id, reason_code, attempts, since, next_look_at)
select record_type, dynamics_id, 'planned', attempts, coalesce(pending_since, planned_at), planned_at
from new_people, this_cycle;

insert into state.unsettled (record_type, dynamics_id, reason_code, attempts, since, next_look_at)
select record_type, dynamics_id, 'waiting_for_approval', 0, coalesce(pending_since, planned_at), never()
from asked_people, this_cycle;

insert into state.unsettled (record_type, dynamics_id, reason_code, code, attempts, since, next_look_at)
select distinct
    record_type, dynamics_id, 'refused', 'key_taken', attempts + 1, coalesce(pending_since, planned_at),
    planned_at + interval 1 day
from kept_back, this_cycle;

insert into state.unsettled (record_type, dynamics_id, reason_code, code, attempts, since, next_look_at)
select
    record_type, dynamics_id, case when code is null then 'waiting' else 'refused' end, code, attempts + 1,
    coalesce(pending_since, planned_at), case when code is null then planned_at else planned_at + interval 1 day end
from held_back, this_cycle;

-- The sync's own fields on a person.
insert into state.unsettled
    (record_type, dynamics_id, person_id, field, dynamics_value, marketo_value, reason_code, attempts, since, next_look_at)
select
    w.record_type, w.dynamics_id, w.person_id, w.field, w.dynamics_value, w.marketo_value, 'planned', coalesce(t.attempts, 0),
    coalesce(t.since, planned_at), planned_at
from planned_writes w
cross join this_cycle
left join tried_own_fields t
    on t.person_id = w.person_id and t.field = w.field and t.dynamics_value is not distinct from w.dynamics_value
where w.action = 'update' and w.field in (select field from own_field_names);

-- Those that were put back and did not stay.
insert into state.unsettled
    (record_type, dynamics_id, person_id, field, dynamics_value, marketo_value, reason_code, code, attempts, since, next_look_at)
select
    record_type, dynamics_id, person_id, field, new_value, old_value, 'refused', error_code, attempts,
    coalesce(since, planned_at), next_look_at
from altered_own_fields, this_cycle
where is_waiting;

-- Whole accounts.
insert into state.unsettled (record_type, dynamics_id, reason_code, attempts, since, next_look_at)
select 'account', c.dynamics_id, 'planned', coalesce(t.attempts, 0), planned_at, planned_at
from company_writes c
left join tried_accounts t on t.account_id = c.dynamics_id, this_cycle
where c.record_type = 'account';

insert into state.unsettled (record_type, dynamics_id, reason_code, attempts, since, next_look_at)
select distinct 'account', account_id, 'waiting_for_approval', 0, planned_at, never()
from asked_differences, this_cycle;

-- Links that are set aside are looked at again once a day: whoever repairs them wants what was edited meanwhile compared.
delete from state.unsettled where person_id in (select person_id from doubled) and code = 'doubled_link';

insert into state.unsettled (record_type, dynamics_id, person_id, reason_code, code, attempts, since, next_look_at)
select record_type, dynamics_id, person_id, 'refused', 'doubled_link', 1, planned_at, planned_at + interval 1 day
from doubled, this_cycle;
