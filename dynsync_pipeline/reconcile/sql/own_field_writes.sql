-- own_field_writes: decides what to write to the fields that the sync owns on a person: the key of the company, and the flag
-- that says that the record is deleted in Dynamics (R79, R83), after a merge, or once it is qualified, the lead's id, which
-- the person of a contact bears no more (R25, R96), and key, type and creation date of a linked person who lacks them, or where somebody emptied or altered them
-- (R18). What Marketo refused waits for its next look, and so does what was put back and did not stay (R12, R116).
--
-- reads    this_cycle, compared_links, looked_at_records, found_links, filter_turns, state.unsettled, state.links, state.tombstones, state.unread,
--          state.unread_links, state.requested, state.unkeyed_links, state.filtered_out, inbox.touched, mirror.marketo_people, company_links,
--          reconcile.own_fields, ledger.sync_errors, ledger.changes
-- makes    own_field_names: one row per field that the sync owns on a person
--          waiting_own_fields: one row per person and own field that was refused and is not due
--          unlike_companies: one row per linked person who stands behind another company than its own, or bears the flag
--          unlike_links: one row per compared link whose person bears another key, type or creation date than its record has
--          wanted_own_fields: one row per person and own field that is not what its record says, other than key, type and creation
--            date; `is_again` where it was written so in the last week and nothing else since
--          altered_own_fields: one row per person and own field that is not what its record says; `error_code` where somebody
--            altered it or it does not stay, `error_id` of the error that told of it last
--          own_field_writes: one row per person, linked, ended or to be created, and own field to write
-- changes  nothing
create temp table own_field_names as
select unnest([lead_id, contact_id, person_type, is_deleted, created_on, company]) as field from reconcile.own_fields;

create temp table waiting_own_fields as
select u.*
from state.unsettled u, this_cycle
where u.person_id is not null and u.field in (select field from own_field_names) and u.next_look_at > planned_at
  -- Whether these still differ is found out anew, below.
  and coalesce(u.code, '') not in ('key_altered', 'own_field_altered');

-- Nearly everybody bears what they should. Who does not is found first, so that all else has nothing to do.
create temp table unlike_companies as
select * from company_links
where person_id is not null and (wanted_key is distinct from held_key or is_deleted_in_dynamics = 'true');

create temp table unlike_links as
select
    c.record_type, c.dynamics_id, c.person_id, m.dynamics_lead_id, m.dynamics_type, m.dynamics_created_on, r.createdon,
    case when c.record_type = 'contact' then m.dynamics_contact_id else m.dynamics_lead_id end as held_key,
    case when c.record_type = 'contact' then 'Contact' else 'Lead' end as wanted_type
from compared_links c
join marketo_people_of('compared_links') m using (person_id)
join looked_at_records r on r.record_type = c.record_type and r.dynamics_id = c.dynamics_id
where c.dynamics_id <> coalesce(held_key, '') or wanted_type <> coalesce(m.dynamics_type, '')
   or r.createdon <> coalesce(m.dynamics_created_on, '');

create temp table wanted_own_fields as
with wanted as (
    select
        record_type, dynamics_id, person_id, own_fields.company as field, 'text' as type, 'company_of_record' as rule_code,
        held_key as old_value, wanted_key as new_value
    from unlike_companies, reconcile.own_fields
    where wanted_key is distinct from held_key
      and (person_id, own_fields.company, wanted_key) not in (
          select (person_id, field, dynamics_value) from waiting_own_fields
      )
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
    from unlike_companies, reconcile.own_fields
    where is_deleted_in_dynamics = 'true'
      and (person_id, own_fields.is_deleted) not in (select (person_id, field) from waiting_own_fields)
    union all by name
    select
        l.record_type, l.dynamics_id, l.person_id, own_fields.lead_id as field, 'text' as type,
        case t.side when 'merged' then 'merged_in_marketo' else 'qualified' end as rule_code,
        m.dynamics_lead_id as old_value, null as new_value
    from mirror.marketo_people m
    join state.links l on l.person_id = m.person_id and l.record_type = 'contact'
    join state.tombstones t
        on t.side in ('merged', 'qualified') and t.record_type = 'lead' and t.dynamics_id = m.dynamics_lead_id
    anti join state.filtered_out f on f.record_type = l.record_type and f.dynamics_id = l.dynamics_id  -- R92
    cross join reconcile.own_fields
    where not m.is_deleted and m.person_id not in (select person_id from state.unread_links)
      and (m.person_id in (select person_id from inbox.touched)
           or m.person_id in (select person_id from state.unsettled, this_cycle where next_look_at <= planned_at))
      and (m.person_id, own_fields.lead_id) not in (select (person_id, field) from waiting_own_fields)
),
written as (
    select c.person_id, c.field, max_by(coalesce(c.new_value, ''), c.entry_id) as last_value
    from wanted w
    join ledger.changes c on c.person_id = w.person_id and c.field = w.field
    cross join this_cycle
    where c.changed_at > planned_at - interval 7 days and c.direction = 'to_marketo'
    group by c.person_id, c.field
)
select w.*, coalesce(p.last_value = coalesce(w.new_value, ''), false) as is_again
from wanted w
left join written p on p.person_id = w.person_id and p.field = w.field;

create temp table altered_own_fields as
with altered as (
    select
        c.record_type, c.dynamics_id, c.person_id, w.field, w.type, w.old_value, w.new_value,
        case
            when t.side = 'merged' then 'merged_in_marketo'
            when t.side = 'qualified' then 'qualified'
            when (c.person_id, c.dynamics_id) in (select (person_id, dynamics_id) from state.requested) then 'new_in_marketo'
            -- Linked in shadow, which writes no key.
            when w.old_value is null and (c.record_type, c.dynamics_id, c.person_id) in (
                select (record_type, dynamics_id, person_id) from state.unkeyed_links
            ) then 'linked_by_key'
            when w.is_key then 'key_put_back'
            -- Whoever was linked by a key that was there before has the others from now on; the write may have been cut.
            when w.old_value is null and (
                c.person_id in (select person_id from found_links)
                -- linked while the record was kept out
                or (c.record_type, c.dynamics_id) in (select (record_type, dynamics_id) from filter_turns where is_let_in)
                or (c.person_id, w.field) in (
                    select (person_id, field) from state.unsettled
                    where coalesce(code, '') not in ('key_altered', 'own_field_altered')
                )
            ) then 'linked_by_key'
            else 'own_field_put_back'
        end as rule_code
    from unlike_links c
    cross join reconcile.own_fields
    left join state.tombstones t
        on t.side in ('merged', 'qualified') and (
            (c.record_type = 'contact' and t.record_type = 'lead' and t.dynamics_id = c.dynamics_lead_id)
            or (t.person_id = c.person_id and t.record_type = c.record_type and t.dynamics_id = c.held_key)
        )
    cross join lateral (
        select unnest([
            {
                field: case when c.record_type = 'contact' then own_fields.contact_id else own_fields.lead_id end, type: 'text',
                old_value: c.held_key, new_value: c.dynamics_id, is_key: true
            },
            {
                field: own_fields.person_type, type: 'text', old_value: c.dynamics_type, new_value: c.wanted_type, is_key: false
            },
            {
                field: own_fields.created_on, type: 'datetime', old_value: c.dynamics_created_on, new_value: c.createdon,
                is_key: false
            }
        ], recursive := true)
    ) w
    where w.new_value <> coalesce(w.old_value, '')
      and (c.person_id, w.field) not in (select (person_id, field) from waiting_own_fields)
),
with_code as (
    select
        *, case rule_code when 'key_put_back' then 'key_altered' when 'own_field_put_back' then 'own_field_altered' end as error_code
    from altered
    union all by name
    select * exclude (is_again), case when is_again then 'own_field_altered' end as error_code from wanted_own_fields
),
told as (
    from ledger.sync_errors
    where code in ('key_altered', 'own_field_altered')
    qualify row_number() over (partition by record_type, dynamics_id, field, code order by error_id desc) = 1
)
select * exclude (planned_at), coalesce(next_look_at > planned_at, false) as is_waiting
from (
    select
        a.*, planned_at, e.error_id, e.attempts, u.since,
        case when e.error_id is not null then coalesce(u.next_look_at, e.last_seen_at + gap_after(e.attempts)) end
            as next_look_at
    from with_code a
    cross join this_cycle
    left join state.unsettled u on u.person_id = a.person_id and u.field = a.field
    -- A write that was cut or refused put nothing back, and after a week it is another alteration.
    left join told e
        on e.record_type = a.record_type and e.dynamics_id = a.dynamics_id and e.field = a.field
        and e.code = a.error_code
        and (u.code = e.code or (u.person_id is null and e.last_seen_at > planned_at - interval 7 days))
);

create temp table own_field_writes as
select record_type, dynamics_id, person_id, field, type, rule_code, old_value, new_value
from altered_own_fields
where not is_waiting
union all by name
select
    record_type, dynamics_id, person_id, own_fields.company as field, 'text' as type, 'new_in_dynamics' as rule_code,
    held_key as old_value, wanted_key as new_value
from company_links, reconcile.own_fields
where person_id is null and wanted_key is distinct from held_key;
