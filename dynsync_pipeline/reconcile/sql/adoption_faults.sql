-- adoption_faults: holds a reviewed adoption file against the mirrors. What was carried out before is no fault, so that a file
-- can be applied twice.
--
-- reads    reviewed, mirror.person_records, mirror.marketo_people, state.bearers, state.links
-- makes    adoption_faults: one row per fault of a reviewed line
-- changes  nothing
create temp table adoption_faults as
with records as (
    select record_type, dynamics_id from mirror.person_records where not is_deleted
),
people as (
    select person_id, dynamics_contact_id, dynamics_lead_id from mirror.marketo_people where not is_deleted
),
lines as (
    select
        *,
        min(line) over (partition by record_type, dynamics_id) as first_line_of_record,
        min(line) over (partition by decision, person_id) as first_line_of_person
    from reviewed
),
links as (
    select n.*
    from lines n
    anti join state.links l on l.person_id = n.person_id and l.record_type = n.record_type and l.dynamics_id = n.dynamics_id
    where n.decision = 'link'
)
select line, 'the record stands in line ' || first_line_of_record || ' too' as fault
from lines where line > first_line_of_record
union all
select line, 'Dynamics has no ' || record_type || ' ' || dynamics_id
from lines anti join records using (record_type, dynamics_id)
union all
select line, 'the record is linked with person ' || l.person_id || ' already, which skip does not undo; remove the line'
from lines n join state.links l using (record_type, dynamics_id)
where n.decision = 'skip'
union all
select line, 'person ' || person_id || ' stands in line ' || first_line_of_person || ' too'
from lines where decision = 'link' and line > first_line_of_person
union all
select line, 'Marketo has no person ' || person_id
from links anti join people using (person_id)
union all
select line, 'the record is linked with person ' || l.person_id || ' already'
from links n join state.links l using (record_type, dynamics_id)
union all
select line, 'person ' || n.person_id || ' is linked with ' || l.record_type || ' ' || l.dynamics_id || ' already'
from links n join state.links l using (person_id)
union all
select line, 'person ' || n.person_id || ' holds the id of another record already'
from links n join people p using (person_id)
anti join state.links l using (person_id)
where p.dynamics_contact_id is distinct from case when n.record_type = 'contact' and p.dynamics_contact_id is not null then n.dynamics_id end
   or p.dynamics_lead_id is distinct from case when n.record_type = 'lead' and p.dynamics_lead_id is not null then n.dynamics_id end
union all
select line, 'person ' || p.person_id || ' holds the record''s id already'
from lines n
join state.bearers p using (record_type, dynamics_id)
anti join state.links l on l.record_type = n.record_type and l.dynamics_id = n.dynamics_id
where n.decision <> 'link' or p.person_id <> n.person_id;
