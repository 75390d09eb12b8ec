-- Settles receipts: what a remote system confirmed becomes link, base and ledger; what it refused gets a reason and a time.
-- Runs in one transaction, after the observed rows were taken into the mirror. Ledger rows come from the committed plan.
create or replace temp table fresh_receipts as
select
    o.cycle_id, o.system, o.action, o.record_type, o.dynamics_id, coalesce(o.person_id, r.person_id) as person_id,
    r.* exclude (person_id)
from reconcile.receipts r
join reconcile.operations o using (operation_id)
where not r.is_settled;

-- New people: a link, and as base what Dynamics held, so that nothing looks like an edit (R15).
create or replace temp table new_links as
select person_id, record_type, dynamics_id, received_at
from fresh_receipts
where action = 'create' and outcome = 'applied' and person_id not in (select person_id from state.links);

insert into state.links select * from new_links;

insert into state.base by name select person_id from new_links;

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
select person_id, field, value from dynamics_long where person_id in (select person_id from new_links);

insert into state.base_moves
select r.person_id, c.field, c.base_after
from fresh_receipts r
join reconcile.planned_changes c using (operation_id)
where r.outcome = 'applied' and r.action = 'update';

-- What a system made of our value was read back: where it keeps another one, that is settled, and no edit by a person.
create or replace temp table written_fields as
select r.person_id, r.system, c.field
from fresh_receipts r
join reconcile.planned_changes c using (operation_id)
where r.outcome = 'applied' and r.action = 'update'
union all
select r.person_id, r.system, f.field
from fresh_receipts r
join reconcile.fields f using (record_type)
where r.outcome = 'applied' and r.action = 'create';

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
where d.value is distinct from m.value;

-- The ledger.
insert into ledger.changes
select
    nextval('ledger.entries'), r.cycle_id, r.received_at, 'to_' || r.system, r.record_type, r.person_id, r.dynamics_id,
    c.field, c.old_value, c.new_value, c.rule
from fresh_receipts r
join reconcile.planned_changes c using (operation_id)
where r.outcome = 'applied';

insert into ledger.collisions
select
    nextval('ledger.entries'), r.cycle_id, r.received_at, r.record_type, r.person_id, r.dynamics_id,
    c.field, c.base_value, c.dynamics_value, c.marketo_value, c.winner, c.rule
from fresh_receipts r
join reconcile.planned_collisions c using (operation_id)
where r.outcome = 'applied';

-- Refusals: reported once per record, direction and code, looked at again after a growing gap (R116).
create or replace temp table refusals as
select *, case when system = 'marketo' then 'to_marketo' else 'to_dynamics' end as direction
from fresh_receipts
where outcome in ('refused', 'waiting');

update ledger.sync_errors e
set last_seen_at = r.received_at, attempts = e.attempts + 1
from refusals r
where e.dynamics_id = r.dynamics_id and e.record_type = r.record_type and e.direction = r.direction
  and e.code = r.code and e.field is not distinct from r.field and e.state = 'waiting';

insert into ledger.sync_errors
select
    nextval('ledger.entries'), cycle_id, received_at, received_at, record_type, person_id, dynamics_id, field, action,
    direction, code, message, 1, 'waiting'
from refusals r
where outcome = 'refused' and not exists (
    from ledger.sync_errors e
    where e.dynamics_id = r.dynamics_id and e.record_type = r.record_type and e.direction = r.direction
      and e.code = r.code and e.field is not distinct from r.field and e.state = 'waiting'
);

update ledger.sync_errors e
set state = 'resolved'
from fresh_receipts r
where r.outcome = 'applied' and e.state = 'waiting'
  and e.dynamics_id = r.dynamics_id and e.record_type = r.record_type and e.direction = 'to_' || r.system;

update state.unsettled u
set reason = r.outcome || ': ' || r.code,
    attempts = u.attempts + 1,
    next_look_at = greatest(
        coalesce(r.next_look_at, r.received_at),
        r.received_at + least(interval 1 day, to_minutes(5 * (2 ** least(u.attempts, 10))::integer))
    )
from refusals r
left join reconcile.planned_changes c using (operation_id)
where u.record_type = r.record_type and u.dynamics_id = r.dynamics_id
  and u.field is not distinct from (case when r.action = 'update' then c.field end);

delete from state.unsettled u
using fresh_receipts r
left join reconcile.planned_changes c using (operation_id)
where r.outcome = 'applied' and u.record_type = r.record_type and u.dynamics_id = r.dynamics_id
  and u.field is not distinct from (case when r.action = 'update' then c.field end);

-- Somebody may have edited another field of the record meanwhile; the next cycle looks at it.
insert into inbox.touched
select distinct null, null, person_id from fresh_receipts where outcome = 'applied';

update reconcile.receipts set is_settled = true where not is_settled;
