-- own_field_writes: decides what to write to the fields that the sync owns on a person: the key of the company, and the flag
-- that says that the record is deleted in Dynamics (R79, R83), and after a merge the lead's id, which the person of a contact bears
-- no more, with type and creation date where the person was the lead's (R25), and the key of a linked person that somebody emptied or altered
-- (R18). What Marketo refused waits for its next look (R116).
--
-- reads    this_cycle, compared_links, state.unsettled, state.links, state.tombstones, state.unread, state.unread_links, inbox.touched, mirror.marketo_people, company_links,
--          mirror.person_records, reconcile.own_fields
-- makes    waiting_own_fields: one row per person and own field that was refused and is not due
--          altered_keys: one row per compared link whose person does not bear its key any more
--          own_field_writes: one row per person, linked, ended or to be created, and own field to write
-- changes  nothing
create temp table waiting_own_fields as
select u.*
from state.unsettled u, this_cycle, reconcile.own_fields
where u.person_id is not null and u.field in (own_fields.company, own_fields.is_deleted, own_fields.lead_id, own_fields.contact_id) and u.next_look_at > planned_at;

create temp table altered_keys as
select
    c.record_type, c.dynamics_id, c.person_id, 'text' as type, 'key_put_back' as rule_code,
    case when c.record_type = 'contact' then own_fields.contact_id else own_fields.lead_id end as field,
    case when c.record_type = 'contact' then m.dynamics_contact_id else m.dynamics_lead_id end as old_value,
    c.dynamics_id as new_value
from compared_links c
join mirror.marketo_people m using (person_id)
cross join reconcile.own_fields
where old_value is distinct from c.dynamics_id
  and (c.person_id, field) not in (select (person_id, field) from waiting_own_fields);

create temp table own_field_writes as
from altered_keys
union all by name
select
    record_type, dynamics_id, person_id, own_fields.company as field, 'text' as type,
    case when person_id is null then 'new_in_dynamics' else 'company_of_record' end as rule_code,
    held_key as old_value, wanted_key as new_value
from company_links, reconcile.own_fields
where wanted_key is distinct from held_key
  and (person_id is null or (person_id, own_fields.company, wanted_key) not in (
      select (person_id, field, dynamics_value) from waiting_own_fields
  ))
union all by name
select
    t.record_type, t.dynamics_id, t.person_id, own_fields.is_deleted as field, 'boolean' as type,
    'deleted_in_dynamics' as rule_code, 'false' as old_value, 'true' as new_value
from state.tombstones t
join mirror.marketo_people m on m.person_id = t.person_id, reconcile.own_fields
where t.side = 'dynamics' and not m.is_deleted and m.is_deleted_in_dynamics is distinct from 'true'
  and t.person_id not in (select person_id from state.links)
  and t.person_id not in (select key::bigint from state.unread where record_type = 'person' and has_id)
  and (t.person_id in (select person_id from inbox.touched)
       or t.person_id in (select person_id from state.unsettled, this_cycle where next_look_at <= planned_at))
  and (t.person_id, own_fields.is_deleted) not in (select (person_id, field) from waiting_own_fields)
union all by name
select
    record_type, dynamics_id, person_id, own_fields.is_deleted as field, 'boolean' as type,
    'back_in_dynamics' as rule_code, 'true' as old_value, 'false' as new_value
from company_links, reconcile.own_fields
where person_id is not null and is_deleted_in_dynamics = 'true'
  and (person_id, own_fields.is_deleted) not in (select (person_id, field) from waiting_own_fields)
union all by name
select
    l.record_type, l.dynamics_id, l.person_id, w.field, w.type, 'merged_in_marketo' as rule_code, w.old_value, w.new_value
from mirror.marketo_people m
join state.links l on l.person_id = m.person_id and l.record_type = 'contact'
join state.tombstones t on t.side = 'merged' and t.record_type = 'lead' and t.dynamics_id = m.dynamics_lead_id
join mirror.person_records r on r.record_type = l.record_type and r.dynamics_id = l.dynamics_id
cross join reconcile.own_fields
cross join lateral (
    select unnest([
        {field: own_fields.lead_id, type: 'text', old_value: m.dynamics_lead_id, new_value: null},
        {field: own_fields.person_type, type: 'text', old_value: 'Lead', new_value: 'Contact'},
        {field: own_fields.created_on, type: 'datetime', old_value: null, new_value: r.createdon}
    ], recursive := true)
) w
where not m.is_deleted and m.person_id not in (select person_id from state.unread_links)
  and (w.field = own_fields.lead_id or t.person_id = l.person_id)
  and (m.person_id in (select person_id from inbox.touched)
       or m.person_id in (select person_id from state.unsettled, this_cycle where next_look_at <= planned_at))
  and (m.person_id, own_fields.lead_id) not in (select (person_id, field) from waiting_own_fields);
