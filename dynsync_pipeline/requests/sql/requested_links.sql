-- requested_links: links the people whose records were made; the base is what was sent (R83), so that whatever moved since, on either
-- side, is an edit like any other, and what Dynamics filled in by itself goes to Marketo. What it made at once of a value that
-- was sent stands as a difference (R31). The fields of a company with a key, which is another's, are agreed on when the person
-- gets one of its own (R131).
-- Where the person was deleted meanwhile, or is linked otherwise, the record rests as if its person had been deleted (R81).
--
-- reads    this_serving, made_records, mirror.marketo_people, state.links, state.tombstones, state.tombstone_values,
--          state.dynamics_records, state.requested_values, reconcile.fields
-- makes    requested_links: one row per new link
--          sent_values: one row per record that was made and field that was sent, and is mapped as it was then
-- changes  state.links, state.base, state.base_moves, state.standing_differences, state.tombstones, state.tombstone_values,
--          state.unpublished, inbox.touched, ledger.changes
create temp table requested_links as
select request_id, person_id, record_type, is_new
from made_records
where person_id not in (select person_id from state.links)
  and request_id not in (select dynamics_id from state.links)
  and person_id not in (
      select person_id from mirror.marketo_people where is_deleted and person_id in (select person_id from made_records)
  );

create temp table sent_values as
with wide as (
    from state.dynamics_records where dynamics_id in (select request_id from made_records)
)
select
    m.request_id, m.person_id, m.record_type, m.is_new, v.field, v.dynamics_column, v.shown, v.value, d.value as dynamics_value,
    not f.is_on_company or p.external_company_id is null as is_agreed, l.request_id is not null as is_linked
from made_records m
join state.requested_values v on v.dynamics_id = m.request_id
join reconcile.fields f on f.record_type = m.record_type and f.field = v.field and f.dynamics_column = v.dynamics_column
left join long_of('wide') d on d.record_type = m.record_type and d.dynamics_id = m.request_id and d.field = v.field
left join requested_links l on l.request_id = m.request_id
left join mirror.marketo_people p on p.person_id = m.person_id;

insert into state.tombstones (person_id, record_type, dynamics_id, side, ended_at)
select person_id, record_type, request_id, 'marketo', served_at
from made_records, this_serving
where request_id not in (select request_id from requested_links) and request_id not in (select dynamics_id from state.links)
  and request_id not in (select dynamics_id from state.tombstones);

insert into state.tombstone_values (record_type, dynamics_id, field, dynamics_column, value)
select m.record_type, m.request_id, f.field, f.dynamics_column, v.value
from made_records m
join reconcile.fields f on f.record_type = m.record_type and f.direction <> 'to_dynamics'
left join sent_values v on v.request_id = m.request_id and v.field = f.field
where m.request_id in (select dynamics_id from state.tombstones where side = 'marketo')
  and m.request_id not in (select dynamics_id from state.tombstone_values);

delete from state.tombstone_values v
using state.tombstones t, requested_links l
where t.person_id = l.person_id and t.side = 'dynamics' and v.record_type = t.record_type and v.dynamics_id = t.dynamics_id;

delete from state.tombstones t using requested_links l where t.person_id = l.person_id and t.side = 'dynamics';

insert into state.links (person_id, record_type, dynamics_id, linked_at)
select person_id, record_type, request_id, served_at from requested_links, this_serving;

insert into state.base (person_id)
select person_id from requested_links;

insert into inbox.touched (person_id, is_receipt)
select person_id, false from requested_links;

insert into state.base_moves (person_id, field, value)
select person_id, field, value from sent_values where is_agreed and is_linked;

insert into state.standing_differences (person_id, field, dynamics_value, marketo_value, reason_code, since)
select person_id, field, dynamics_value, value, 'kept_by_dynamics', served_at
from sent_values, this_serving
where is_agreed and is_linked and is_new and value is distinct from dynamics_value;

insert into state.unpublished (published_table, person_id)
select 'people', person_id from requested_links;

insert into ledger.changes
    (entry_id, cycle_id, changed_at, direction, record_type, person_id, dynamics_id, field, old_value, new_value, rule_code)
select
    nextval('ledger.entries'), cycle_id, served_at, 'to_dynamics', record_type, person_id, request_id, field, null, shown,
    'new_in_marketo'
from sent_values, this_serving;
