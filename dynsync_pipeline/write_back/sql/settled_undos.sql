-- settled_undos: what was undone stands unequal on purpose, until either side is edited. The base is what it was, so that the next
-- cycle writes it neither way. An undo that was answered is done, also where the system refused it; one that was put off is tried again
-- after as long as the system says, at growing gaps.
--
-- reads    fresh_receipts, applied_changes, dynamics_long, marketo_long, reconcile.planned_changes, reconcile.edited_meanwhile,
--          state.unread_links
-- makes    undone: one row per value that was put back, with what both sides hold of it now
-- changes  state.standing_differences, state.undoing
create temp table undone as
with written as (
    select
        c.person_id, c.system, c.changed_field as field, c.sent_value, c.base_after, d.value as dynamics_value,
        m.value as marketo_value,
        -- What was edited after ours, or is not read just now, tells nothing of what the system made of our value.
        c.is_mapped and (c.operation_id, c.changed_field) not in (select (operation_id, field) from reconcile.edited_meanwhile)
            and c.person_id not in (select person_id from state.unread_links) as is_read_back
    from applied_changes c
    left join dynamics_long d on d.person_id = c.person_id and d.field = c.changed_field
    left join marketo_long m on m.person_id = c.person_id and m.field = c.changed_field
    where c.rule_code = 'undo'
)
select
    person_id, field,
    case when system = 'marketo' then base_after when is_read_back then dynamics_value else sent_value end as dynamics_value,
    case when system = 'dynamics' then base_after when is_read_back then marketo_value else sent_value end as marketo_value
from written;

insert into state.standing_differences (person_id, field, dynamics_value, marketo_value, reason_code, since)
select person_id, field, dynamics_value, marketo_value, 'undo', now() at time zone 'UTC'
from undone
where dynamics_value is distinct from marketo_value;

delete from state.undoing u
using fresh_receipts r, reconcile.planned_changes c
where c.operation_id = r.operation_id and c.rule_code = 'undo' and r.outcome not in ('changed_meanwhile', 'waiting')
  and r.person_id = u.person_id and c.field = u.field;

update state.undoing u
set attempts = u.attempts + 1,
    next_look_at = greatest(coalesce(r.next_look_at, r.received_at), r.received_at + gap_after(u.attempts + 1))
from fresh_receipts r, reconcile.planned_changes c
where c.operation_id = r.operation_id and c.rule_code = 'undo' and r.outcome = 'waiting'
  and r.person_id = u.person_id and c.field = u.field;
