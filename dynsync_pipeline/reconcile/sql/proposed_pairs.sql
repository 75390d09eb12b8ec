-- proposed_pairs: proposes what an adoption does with each record that no person bears yet (R16): the person who holds its id in
-- a field that was named, else the only person with its e-mail address where it is the only record with it. What is not clear is
-- left to people.
--
-- reads    people_shown, records_shown, held_ids, state.links, state.tombstones, state.adoption
-- makes    proposed_pairs: one row per contact or lead that no person bears yet
-- changes  nothing
create temp table proposed_pairs as
with people as (
    select
        p.person_id, p.name, p.email, nullif(lower(trim(p.email)), '') as address,
        l.person_id is not null or p.dynamics_contact_id is not null or p.dynamics_lead_id is not null as is_taken
    from people_shown p
    left join state.links l using (person_id)
),
-- Records that have their person, or had one whom somebody deleted (R81).
borne as (
    select record_type, dynamics_id from state.links
    union
    select record_type, dynamics_id from state.tombstones
    union
    select 'contact', dynamics_contact_id from people_shown where dynamics_contact_id is not null
    union
    select 'lead', dynamics_lead_id from people_shown where dynamics_lead_id is not null
),
records as (
    select
        r.record_type, r.dynamics_id, r.name, r.email, nullif(lower(trim(r.email)), '') as address,
        b.dynamics_id is not null as is_taken
    from records_shown r
    left join borne b using (record_type, dynamics_id)
),
claims as (
    select r.record_type, r.dynamics_id, h.person_id, min(h.id_field) as id_field
    from held_ids h
    join records r using (dynamics_id)
    join people p on p.person_id = h.person_id and not p.is_taken
    group by all
),
claims_per_person as (
    select
        person_id,
        count(*) filter (where record_type = 'contact') as n_contacts,
        count(*) filter (where record_type = 'lead') as n_leads
    from claims
    group by person_id
),
claims_per_record as (
    select
        c.record_type, c.dynamics_id, count(*) as n_people, min(c.person_id) as person_id, min(c.id_field) as id_field,
        array_to_string(list_slice(list_sort(list(c.person_id)), 1, 10), ', ') as person_ids,
        bool_and(case when c.record_type = 'contact' then n.n_contacts = 1 else n.n_contacts = 0 and n.n_leads = 1 end) as is_only,
        bool_and(c.record_type = 'lead' and n.n_contacts > 0) as is_contact_too
    from claims c
    join claims_per_person n using (person_id)
    group by c.record_type, c.dynamics_id
),
people_per_address as (
    select
        address, count(*) as n_people, min(p.person_id) as person_id, bool_or(p.is_taken) as is_taken,
        bool_or(c.person_id is not null) as is_claiming,
        array_to_string(list_slice(list_sort(list(p.person_id)), 1, 10), ', ') as person_ids
    from people p
    left join claims_per_person c using (person_id)
    where address is not null
    group by address
),
records_per_address as (
    select
        address, count(*) as n_records,
        array_to_string(list_slice(list_sort(list(record_type || ' ' || dynamics_id)), 1, 10), ', ') as record_ids
    from records
    where address is not null
    group by address
),
judged as (
    select
        r.record_type, r.dynamics_id, r.name as record_name, r.email as record_email,
        coalesce(c.person_id, a.person_id) as candidate_id, c.id_field,
        case
            when c.n_people > 1 then 'several people hold its id: ' || c.person_ids
            when c.is_contact_too then 'person ' || c.person_id || ' holds the id of a contact too, which counts more (R25)'
            when not c.is_only then 'person ' || c.person_id || ' holds the ids of several records'
            when c.is_only then null
            when a.n_people > 1 then 'several people have its e-mail address: ' || a.person_ids
            when a.n_people = 1 and n.n_records > 1
                then 'person ' || a.person_id || ' has the e-mail address of several records: ' || n.record_ids
            when a.is_taken then 'person ' || a.person_id || ', who has its e-mail address, belongs to another record'
            when a.is_claiming then 'person ' || a.person_id || ', who has its e-mail address, holds the id of another record'
        end as doubt,
        case
            when c.dynamics_id is not null or a.address is not null then null
            when r.address is null then 'it has no e-mail address to compare'
            else 'nobody in Marketo has its e-mail address'
        end as absence
    from records r
    left join claims_per_record c using (record_type, dynamics_id)
    left join people_per_address a on a.address = r.address
    left join records_per_address n on n.address = r.address
    where not r.is_taken
),
proposed as (
    select
        j.*,
        case
            when doubt is not null then 'unclear'
            when absence is not null then 'none'
            when id_field is not null then 'id in ' || id_field
            else 'e-mail address'
        end as match,
        case when doubt is not null then 'skip' when absence is not null then 'create' else 'link' end as decision,
        case when doubt is null and absence is null then candidate_id end as person_id
    from judged j
)
select
    p.record_type, p.dynamics_id, coalesce(a.decision, p.decision) as decision,
    case when a.decision is null then p.person_id else a.person_id end as person_id,
    p.match,
    concat_ws('; ', case when a.decision is not null then 'decided before' end, p.doubt, p.absence) as reason,
    p.record_name, p.record_email, m.name as person_name, m.email as person_email
from proposed p
left join state.adoption a on a.record_type = p.record_type and a.dynamics_id = p.dynamics_id and a.decision <> 'linked'
left join people m on m.person_id = case when a.decision is null then p.person_id else a.person_id end;
