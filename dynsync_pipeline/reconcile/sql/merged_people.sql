-- merged_people: finds people who bear the ids of a contact and of a lead since a merge in Marketo. Such a person is its contact
-- (R25), whichever of the two it was before. That it was a merge shows in the other record's person, who is gone; a key that
-- somebody typed leaves that person alive.
--
-- reads    inbox.touched, state.links, state.tombstones, mirror.marketo_people, mirror.person_records
-- makes    bears_both: one row per living person who bears the ids of a contact and of a lead and is concerned in this cycle
--          taken_over: one row per lead's person who takes over the contact of the person merged into it
--          merged_leads: one row per lead whose person is that of a contact now
-- changes  state.tombstones
create temp table bears_both as
with touched as (
    select person_id from inbox.touched where person_id is not null
),
records as (
    select record_type, dynamics_id from state.links where person_id in (select person_id from touched)
)
select m.person_id, m.dynamics_contact_id as contact_id, m.dynamics_lead_id as lead_id
from mirror.marketo_people m
where not m.is_deleted and m.dynamics_contact_id is not null and m.dynamics_lead_id is not null
  and (
      m.person_id in (select person_id from touched)
      or ('contact', m.dynamics_contact_id) in (select (record_type, dynamics_id) from records)
      or ('lead', m.dynamics_lead_id) in (select (record_type, dynamics_id) from records)
  );

create temp table taken_over as
select b.person_id, b.contact_id, l.dynamics_id as lead_id, c.person_id as loser_id
from bears_both b
join state.links l on l.person_id = b.person_id and l.record_type = 'lead'
join mirror.person_records r on r.record_type = 'contact' and r.dynamics_id = b.contact_id and not r.is_deleted
left join state.links c on c.record_type = 'contact' and c.dynamics_id = b.contact_id
left join mirror.marketo_people q on q.person_id = c.person_id
left join state.tombstones t on t.record_type = 'contact' and t.dynamics_id = b.contact_id and t.side = 'marketo'
where case when c.person_id is null then t.dynamics_id is not null else q.is_deleted end
qualify row_number() over (partition by b.contact_id order by b.person_id) = 1;

create temp table merged_leads as
select person_id, lead_id from taken_over
union
select l.person_id, b.lead_id
from bears_both b
join state.links c on c.person_id = b.person_id and c.record_type = 'contact'
join state.links l on l.record_type = 'lead' and l.dynamics_id = b.lead_id
join mirror.marketo_people q on q.person_id = l.person_id and q.is_deleted;

-- The deletion of the loser was told before the merge.
update state.tombstones t
set side = 'merged'
from bears_both b
join state.links c on c.person_id = b.person_id and c.record_type = 'contact'
where t.record_type = 'lead' and t.side = 'marketo' and t.dynamics_id = b.lead_id;
