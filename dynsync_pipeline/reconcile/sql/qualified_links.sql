-- qualified_links: makes the person of a qualified lead its contact's (R96). The base is that of the contact: what it holds as the
-- lead did moves no field, and what either side edited since is an edit, which collides as a contact's (R25, R35). Qualify need
-- not copy every column: one that is blank on the contact was never agreed on, and is filled from the person (R42); so is one
-- that the lead did not have, or whose option has another meaning there; and what differs on a contact that is let in only now: the
-- base went on with the lead.
--
-- reads    this_cycle, qualified, reconcile.fields, state.option_maps, state.base_values, state.base_missing, state.dynamics_records,
--          state.started
-- makes    first_met: one row per person taken over and field of contacts that has no base
-- changes  state.links, state.base, state.base_missing, state.standing_differences, state.tombstones, state.tombstone_values,
--          state.unpublished, inbox.touched
insert into state.links (person_id, record_type, dynamics_id, linked_at)
select person_id, 'contact', contact_id, planned_at from qualified, this_cycle;

insert into state.base (person_id)
select person_id from qualified where not was_linked;

create temp table first_met as
with records as (
    from state.dynamics_records where record_type = 'contact' and dynamics_id in (select contact_id from qualified)
),
bases as (
    from state.base_values where person_id in (select person_id from qualified)
)
select q.person_id, f.field
from qualified q
join reconcile.fields f on f.record_type = 'contact'
left join reconcile.fields l on l.record_type = 'lead' and l.field = f.field
left join long_of('records') r on r.dynamics_id = q.contact_id and r.field = f.field
left join long_of('bases') b on b.person_id = q.person_id and b.field = f.field
left join state.option_maps o on o.record_type = 'lead' and o.dynamics_column = l.dynamics_column
left join state.option_maps n on n.record_type = 'contact' and n.dynamics_column = f.dynamics_column
left join state.started s on s.record_type = 'contact' and s.dynamics_id = q.contact_id
where not q.was_linked
   or l.field is null
   or f.direction = 'to_dynamics'
   or (s.dynamics_id is not null and r.value is distinct from b.value)
   or r.value is null or (f.type = 'boolean' and r.value = 'false')
   or shown_options(b.value, f.type, o) <> shown_options(b.value, f.type, n);

delete from state.base_missing m
using qualified q
where m.person_id = q.person_id and m.field not in (select field from reconcile.fields where record_type = 'contact');

insert into state.base_missing (person_id, field)
select person_id, field from first_met where (person_id, field) not in (select (person_id, field) from state.base_missing);

delete from state.standing_differences s
using qualified q
where s.person_id = q.person_id
  and (s.field not in (select field from reconcile.fields where record_type = 'contact')
       or (s.person_id, s.field) in (select (person_id, field) from first_met));

delete from state.tombstones t using qualified q where t.record_type = 'contact' and t.dynamics_id = q.contact_id;
delete from state.tombstone_values t using qualified q where t.record_type = 'contact' and t.dynamics_id = q.contact_id;

insert into state.unpublished (published_table, person_id)
select 'people', person_id from qualified;

insert into inbox.touched (person_id, is_receipt)
select person_id, false from qualified;
