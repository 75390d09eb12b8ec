-- settled_differences: what a system made of our value was read back. Where it keeps another one, that is settled as a standing
-- difference (R31), and no edit by a person; it holds up nothing else of its record (R32). What cannot be read back says nothing of
-- that: the mirror holds what stood there before, and our own value, once it is read, must not look like somebody's edit.
--
-- reads    new_links, fresh_receipts, applied_changes, left_out_on_create, dynamics_long, marketo_long,
--          reconcile.edited_meanwhile, reconcile.fields, state.links, state.unread_links
-- makes    written_fields: one row per person and field that was written and that nobody has edited since
-- changes  state.standing_differences, state.unseen_edits
create temp table written_fields as
select person_id, system, changed_field as field, sent_value, sent_value is distinct from base_after as is_put_back
from applied_changes
where is_mapped and not is_new_person
  and (operation_id, changed_field) not in (select (operation_id, field) from reconcile.edited_meanwhile)
union all
select n.person_id, 'marketo', f.field, null, false
from new_links n
join reconcile.fields f using (record_type)
where (n.person_id, f.field) not in (select (person_id, field) from left_out_on_create)
  and (n.person_id, f.field) not in (
      select (r.person_id, e.field) from reconcile.edited_meanwhile e join fresh_receipts r using (operation_id)
  );

delete from state.standing_differences s
using written_fields w
where w.person_id = s.person_id and w.field = s.field;

insert into state.standing_differences (person_id, field, dynamics_value, marketo_value, reason_code, since)
select
    w.person_id, w.field, d.value, m.value,
    case
        when f.direction = 'to_dynamics' and w.system = 'marketo' then 'marketo_owns'
        when w.system = 'marketo' then 'kept_by_marketo'
        else 'kept_by_dynamics'
    end,
    now() at time zone 'UTC'
from written_fields w
join state.links l on l.person_id = w.person_id
join reconcile.fields f on f.record_type = l.record_type and f.field = w.field
left join dynamics_long d on d.person_id = w.person_id and d.field = w.field
left join marketo_long m on m.person_id = w.person_id and m.field = w.field
where d.value is distinct from m.value and not w.is_put_back
  -- Another value than was sent to Dynamics is an edit in Marketo since: the person was read again by another write, say.
  and (w.system = 'marketo' or m.value is not distinct from w.sent_value)
  and w.person_id not in (select person_id from state.unread_links);

-- An edit that was put back is done.
delete from state.unseen_edits u
using applied_changes c
where c.person_id = u.person_id and c.changed_field = u.field and c.sent_value is distinct from c.base_after;
