-- settled_backlog: what is done is settled; what was refused is looked at again later, at last only when somebody edits it or
-- releases it (R116).
--
-- reads    fresh_receipts, applied_changes, left_out_on_create, unsuccessful, dynamics_long, marketo_long,
--          reconcile.planned_changes, reconcile.fields, state.links, state.unsettled, ledger.sync_errors
-- makes    unsuccessful_keys: one row per record, field, outcome and code that was not applied, accounts' fields left out
-- changes  state.unsettled, state.approvals, state.reviews
delete from state.unsettled u
using applied_changes c
where u.person_id = c.person_id and u.field = c.changed_field;

delete from state.unsettled u
using fresh_receipts r
where r.outcome = 'applied' and u.person_id is null and u.record_type = r.record_type and u.dynamics_id = r.dynamics_id
  and (r.action = 'create' or (r.action = 'company' and r.record_type = 'account'));

delete from state.approvals a
using applied_changes c
where a.person_id = c.person_id and a.field = c.changed_field;

-- A word that is carried out waits for nobody any more.
delete from state.reviews r
using applied_changes c
where r.person_id = c.person_id and r.field = c.changed_field;

delete from state.approvals a
using fresh_receipts r
where r.outcome = 'applied' and a.person_id is null and a.record_type = r.record_type and a.dynamics_id = r.dynamics_id
  and r.action in ('create', 'company');

insert into state.unsettled
    (record_type, dynamics_id, person_id, field, dynamics_value, marketo_value, reason_code, attempts, since, next_look_at)
select l.record_type, l.dynamics_id, l.person_id, x.field, d.value, m.value, 'planned', 0, l.linked_at, l.linked_at
from left_out_on_create x
join state.links l using (person_id)
join reconcile.fields f on f.record_type = l.record_type and f.field = x.field
left join dynamics_long d on d.person_id = x.person_id and d.field = x.field
left join marketo_long m on m.person_id = x.person_id and m.field = x.field
where not exists (from state.unsettled u where u.person_id = x.person_id and u.field = x.field);

-- A company field that Marketo refused is tried again with its account, which then is applied whole.
insert into state.unsettled
    (record_type, dynamics_id, field, reason_code, code, attempts, since, next_look_at)
select
    r.record_type, r.dynamics_id, r.field, 'refused', r.code, e.attempts, e.happened_at, next_look_at(r.received_at, e.attempts)
from unsuccessful r
join ledger.sync_errors e on e.record_type = r.record_type and e.dynamics_id = r.dynamics_id and e.code = r.code
    and e.field is not distinct from r.field and e.state <> 'resolved'
where r.record_type = 'account' and r.is_rest_applied;

create temp table unsuccessful_keys as
select distinct
    r.record_type, r.dynamics_id, r.outcome, r.code, r.received_at, r.next_look_at,
    case when r.is_rest_applied then r.field when r.is_new_person then null else c.field end as field
from unsuccessful r
left join reconcile.planned_changes c using (operation_id)
where not (r.record_type = 'account' and r.is_rest_applied);

update state.unsettled u
set reason_code = r.outcome,
    code = r.code,
    attempts = u.attempts + 1,
    next_look_at = case
        when r.outcome = 'changed_meanwhile' then r.received_at  -- settled again at once
        when r.outcome = 'refused' and u.attempts + 1 >= most_attempts() then never()
        else greatest(coalesce(r.next_look_at, r.received_at), r.received_at + gap_after(u.attempts + 1))
    end
from unsuccessful_keys r
where u.record_type = r.record_type and u.dynamics_id = r.dynamics_id and u.field is not distinct from r.field;
