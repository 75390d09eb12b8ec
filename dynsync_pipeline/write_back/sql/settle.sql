-- Settles receipts: what a remote system confirmed becomes link, base and ledger; what it refused gets a reason and a time.
-- Runs in one transaction, after the observed rows were taken into the mirror. Ledger rows come from the committed plan.

-- New people: a link, and as base what Dynamics held, so that nothing looks like an edit (R15).
create or replace temp table new_links as
select r.person_id, o.record_type, o.dynamics_id, r.received_at
from reconcile.receipts r
join reconcile.operations o using (operation_id)
where not r.is_settled and o.action = 'create' and r.outcome = 'applied'
  and r.person_id not in (select person_id from state.links)
  and (o.record_type, o.dynamics_id) not in (select (record_type, dynamics_id) from state.links);

insert into state.links select * from new_links;

insert into state.base by name select person_id from new_links;

delete from state.tombstones t using new_links n where n.record_type = t.record_type and n.dynamics_id = t.dynamics_id;
delete from state.tombstone_values t using new_links n where n.record_type = t.record_type and n.dynamics_id = t.dynamics_id;

create or replace temp table fresh_receipts as
select
    o.cycle_id, o.system, o.action, o.record_type, o.dynamics_id, o.person_id is null as is_new_person,
    coalesce(o.person_id, r.person_id, l.person_id) as person_id,
    r.* exclude (person_id)
from reconcile.receipts r
join reconcile.operations o using (operation_id)
left join state.links l on l.record_type = o.record_type and l.dynamics_id = o.dynamics_id
where not r.is_settled;

-- What was applied, value by value: the plan less the fields that were refused while the rest was taken.
create or replace temp table applied_changes as
select r.*, c.field as changed_field, c.old_value, c.new_value, c.sent_value, c.base_after, c.rule, f.field is not null as is_mapped
from fresh_receipts r
join reconcile.planned_changes c using (operation_id)
left join reconcile.fields f on f.record_type = r.record_type and f.field = c.field
where r.outcome = 'applied'
  and (r.operation_id, c.field) not in (select (operation_id, field) from reconcile.refused_fields);

create or replace temp table refused_on_create as
select r.person_id, x.field
from fresh_receipts r
join reconcile.refused_fields x using (operation_id)
where r.is_new_person and r.person_id is not null;

create or replace temp table dynamics_long as
select person_id, field, value
from (
    unpivot (
        select * exclude (record_type, dynamics_id) from state.dynamics_values
        where person_id in (select person_id from fresh_receipts where outcome = 'applied')
    ) on columns(* exclude (person_id)) into name field value value
);

create or replace temp table marketo_long as
select person_id, field, value
from (
    unpivot (
        select * exclude (record_type, dynamics_id) from state.marketo_values
        where person_id in (select person_id from fresh_receipts where outcome = 'applied')
    ) on columns(* exclude (person_id)) into name field value value
);

insert into state.base_moves
select person_id, field, value
from dynamics_long
where person_id in (select person_id from new_links)
  and (person_id, field) not in (select (person_id, field) from refused_on_create);

insert into state.base_moves
select person_id, changed_field, base_after from applied_changes where is_mapped and not is_new_person;

-- What a system made of our value was read back: where it keeps another one, that is settled, and no edit by a person.
create or replace temp table written_fields as
select person_id, system, changed_field as field, sent_value is distinct from base_after as is_put_back
from applied_changes
where is_mapped and not is_new_person
  and (operation_id, changed_field) not in (select (operation_id, field) from reconcile.edited_meanwhile)
union all
select n.person_id, 'marketo', f.field, false
from new_links n
join reconcile.fields f using (record_type)
where (n.person_id, f.field) not in (select (person_id, field) from refused_on_create)
  and (n.person_id, f.field) not in (
      select (r.person_id, e.field) from reconcile.edited_meanwhile e join fresh_receipts r using (operation_id)
  );

delete from state.standing_differences s
using written_fields w
where w.person_id = s.person_id and w.field = s.field;

insert into state.standing_differences
select
    w.person_id, w.field, d.value, m.value,
    case when f.direction = 'to_dynamics' and w.system = 'marketo' then 'R44 one-way field, Marketo owns it'
         else 'kept differently by ' || w.system end,
    now() at time zone 'UTC'
from written_fields w
join state.links l on l.person_id = w.person_id
join reconcile.fields f on f.record_type = l.record_type and f.field = w.field
left join dynamics_long d on d.person_id = w.person_id and d.field = w.field
left join marketo_long m on m.person_id = w.person_id and m.field = w.field
where d.value is distinct from m.value and not w.is_put_back;

delete from state.unseen_edits u
using applied_changes c
where c.person_id = u.person_id and c.changed_field = u.field and c.sent_value is distinct from c.base_after;

-- The ledger.
insert into ledger.changes
select
    nextval('ledger.entries'), cycle_id, received_at, 'to_' || system, record_type, person_id, dynamics_id,
    changed_field, old_value, new_value, rule
from applied_changes;

insert into ledger.collisions
select
    nextval('ledger.entries'), r.cycle_id, r.received_at, r.record_type, r.person_id, r.dynamics_id,
    c.field, c.base_value, c.dynamics_value, c.marketo_value, c.winner, c.rule
from fresh_receipts r
join reconcile.planned_collisions c using (operation_id)
where r.outcome = 'applied'
  and (r.operation_id, c.field) not in (select (operation_id, field) from reconcile.refused_fields);

insert into ledger.account_changes
select
    nextval('ledger.entries'), r.cycle_id, r.received_at, r.dynamics_id, c.field, c.old_value, c.new_value, c.n_contacts,
    c.n_contacts > 5000, c.reason
from fresh_receipts r
join reconcile.planned_account_changes c using (operation_id)
where r.outcome = 'applied'
  and (r.operation_id, c.field) not in (select (operation_id, field) from reconcile.refused_fields);

-- One entry for every value that the sync changed on a person (R53, R68); writes to Dynamics give none.
insert into ledger.activities
select
    nextval('ledger.entries'), cycle_id, received_at, person_id, 'Change Data Value', changed_field, old_value, new_value, rule,
    'Dynamics sync'
from applied_changes
where system = 'marketo' and is_mapped and not is_new_person and old_value is distinct from new_value;

insert into ledger.activities
select
    nextval('ledger.entries'), r.cycle_id, r.received_at, a.person_id, 'Change Data Value', a.field, a.old_value, a.new_value,
    a.reason, 'Dynamics sync'
from fresh_receipts r
join reconcile.planned_activities a using (operation_id)
where r.outcome = 'applied'
  and (r.operation_id, a.field) not in (select (operation_id, field) from reconcile.refused_fields);

insert into ledger.activities
select
    nextval('ledger.entries'), cycle_id, received_at, person_id, 'New Person', null, null, null,
    'R15 new ' || record_type || ' in Dynamics', 'Dynamics sync'
from fresh_receipts
where action = 'create' and outcome = 'applied';

-- Refusals: reported once per record, field, direction and code, and looked at again after a growing gap (R116).
create or replace temp table refusals as
select
    r.cycle_id, r.action, r.record_type, r.dynamics_id, r.person_id, r.is_new_person, r.operation_id, r.received_at,
    r.next_look_at, r.outcome, 'to_' || r.system as direction, r.code, r.message,
    coalesce(f.field, r.field) as field, false as is_rest_applied
from fresh_receipts r
left join reconcile.fields f on r.system = 'dynamics' and f.record_type = r.record_type and f.dynamics_column = r.field
where r.outcome in ('refused', 'waiting')
union all
select
    r.cycle_id, r.action, r.record_type, r.dynamics_id, r.person_id, r.is_new_person, r.operation_id, r.received_at,
    null, 'refused', 'to_' || r.system, x.code, x.message, x.field, true
from fresh_receipts r
join reconcile.refused_fields x using (operation_id);

create or replace temp table new_errors as
select nextval('ledger.entries') as error_id, *
from refusals r
where outcome = 'refused' and not exists (
    from ledger.sync_errors e
    where e.dynamics_id = r.dynamics_id and e.record_type = r.record_type and e.direction = r.direction
      and e.code = r.code and e.field is not distinct from r.field and e.state <> 'resolved'
);

update ledger.sync_errors e
set last_seen_at = r.received_at,
    attempts = e.attempts + 1,
    state = case when e.attempts + 1 >= 8 then 'quarantined' else e.state end
from refusals r
where e.dynamics_id = r.dynamics_id and e.record_type = r.record_type and e.direction = r.direction
  and e.code = r.code and e.field is not distinct from r.field and e.state <> 'resolved';

insert into ledger.sync_errors
select
    error_id, cycle_id, received_at, received_at, record_type, person_id, dynamics_id, field, action, direction, code,
    message, 1, 'waiting'
from new_errors;

insert into ledger.activities
select
    nextval('ledger.entries'), cycle_id, received_at, person_id, 'Sync Error', field, null, null, code || ': ' || message,
    'Dynamics sync'
from new_errors
where person_id is not null;

update ledger.sync_errors e
set state = 'resolved'
from applied_changes c
where e.state <> 'resolved' and e.field = c.changed_field
  and e.dynamics_id = c.dynamics_id and e.record_type = c.record_type and e.direction = 'to_' || c.system;

update ledger.sync_errors e
set state = 'resolved'
from fresh_receipts r
where r.outcome = 'applied' and r.action = 'company' and r.record_type = 'account' and e.state <> 'resolved'
  and e.dynamics_id = r.dynamics_id and e.record_type = r.record_type
  and (r.operation_id, coalesce(e.field, '')) not in (select (operation_id, field) from reconcile.refused_fields);

-- What is done is settled; what was refused is looked at again later, at last only when somebody edits or releases it.
delete from state.unsettled u
using applied_changes c
where u.person_id = c.person_id and u.field = c.changed_field;

delete from state.unsettled u
using fresh_receipts r
where r.outcome = 'applied' and u.person_id is null and u.record_type = r.record_type and u.dynamics_id = r.dynamics_id
  and (r.action = 'create' or (r.action = 'company' and r.record_type = 'account'));

insert into state.unsettled
select l.record_type, l.dynamics_id, l.person_id, x.field, d.value, m.value, 'planned', 0, l.linked_at, l.linked_at
from refused_on_create x
join state.links l using (person_id)
join reconcile.fields f on f.record_type = l.record_type and f.field = x.field
left join dynamics_long d on d.person_id = x.person_id and d.field = x.field
left join marketo_long m on m.person_id = x.person_id and m.field = x.field
where not exists (from state.unsettled u where u.person_id = x.person_id and u.field = x.field);

-- A company field that Marketo refused is tried again with its account, which then is applied whole.
insert into state.unsettled
select
    r.record_type, r.dynamics_id, null, r.field, null, null, 'refused: ' || r.code, e.attempts, e.happened_at,
    case when e.attempts >= 8 then timestamp '9999-12-31'
         else r.received_at + least(interval 1 day, to_minutes(5 * (2 ** least(e.attempts - 1, 10))::integer)) end
from refusals r
join ledger.sync_errors e on e.record_type = r.record_type and e.dynamics_id = r.dynamics_id and e.code = r.code
    and e.field is not distinct from r.field and e.state <> 'resolved'
where r.record_type = 'account' and r.is_rest_applied;

create or replace temp table refused_keys as
select distinct
    r.record_type, r.dynamics_id, r.outcome, r.code, r.received_at, r.next_look_at,
    case when r.is_rest_applied then r.field when r.is_new_person then null else c.field end as field
from refusals r
left join reconcile.planned_changes c using (operation_id)
where not (r.record_type = 'account' and r.is_rest_applied);

update state.unsettled u
set reason = r.outcome || ': ' || r.code,
    attempts = u.attempts + 1,
    next_look_at = case
        when r.outcome = 'refused' and u.attempts + 1 >= 8 then timestamp '9999-12-31'
        when r.code = '0x80060882' then r.received_at  -- somebody edited it meanwhile: settled again at once
        else greatest(
            coalesce(r.next_look_at, r.received_at),
            r.received_at + least(interval 1 day, to_minutes(5 * (2 ** least(u.attempts, 10))::integer))
        )
    end
from refused_keys r
where u.record_type = r.record_type and u.dynamics_id = r.dynamics_id and u.field is not distinct from r.field;

-- An error that names no field is over when nothing of its record waits for it any more.
update ledger.sync_errors e
set state = 'resolved'
from fresh_receipts r
where r.outcome = 'applied' and e.state <> 'resolved' and e.field is null and e.operation = r.action
  and e.dynamics_id = r.dynamics_id and e.record_type = r.record_type and e.direction = 'to_' || r.system
  and not exists (
      from state.unsettled u
      where u.record_type = e.record_type and u.dynamics_id = e.dynamics_id and u.reason = 'refused: ' || e.code
  );

update reconcile.receipts set is_settled = true where not is_settled;
