-- merged_people: finds people who bear the ids of a contact and of a lead since a merge in Marketo. Such a person is its contact
-- (R25), whichever of the two it was before. That it was a merge shows in the other record's person, who is gone; a key that
-- somebody typed leaves that person alive. Nor does a person whose own record is gone in Dynamics lose the one of whom the feed
-- tells that it was merged into it: as where two whose records are one (R99) are merged the other way round.
--
-- reads    inbox.touched, inbox.merges, state.links, state.tombstones, mirror.marketo_people, mirror.person_records
-- makes    bears_both: one row per living person who bears the ids of a contact and of a lead and is concerned in this cycle
--          merged_into: one row per person merged away, and person that this one was merged into, over however many merges
--          taken_over: one row per person who takes over the record of the person merged into it; `lead_id`: was its own
--          merged_leads: one row per lead whose person is that of a contact now
-- changes  state.tombstones
create temp table bears_both as
with touched as (
    select person_id from inbox.touched
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

create temp table merged_into as
with recursive merged as (
    from inbox.merges
    union
    select m.loser_id, n.winner_id from merged m join inbox.merges n on n.loser_id = m.winner_id
)
select loser_id, winner_id from merged;

create temp table taken_over as
with of_lost as (
    select m.winner_id, m.loser_id, l.person_id as linked_id, r.record_type, r.dynamics_id
    from merged_into m
    join mirror.marketo_people w on w.person_id = m.winner_id and not w.is_deleted
    join mirror.marketo_people q on q.person_id = m.loser_id and q.is_deleted
    left join state.links l on l.person_id = m.loser_id
    left join state.tombstones t on t.person_id = m.loser_id and t.side = 'marketo' and l.person_id is null
    join mirror.person_records r
        on r.record_type = coalesce(l.record_type, t.record_type) and r.dynamics_id = coalesce(l.dynamics_id, t.dynamics_id)
        and not r.is_deleted
    where m.winner_id not in (select person_id from state.links)
      and m.winner_id in (select person_id from state.tombstones where side = 'dynamics')
      and (l.person_id is not null or (r.record_type, r.dynamics_id) not in (select (record_type, dynamics_id) from state.links))
)
select winner_id as person_id, record_type, dynamics_id, null as lead_id, linked_id as loser_id
from of_lost
qualify row_number() over (partition by winner_id order by record_type, linked_id nulls last, loser_id) = 1
    and row_number() over (partition by record_type, dynamics_id order by winner_id) = 1
union all by name
select b.person_id, 'contact' as record_type, b.contact_id as dynamics_id, l.dynamics_id as lead_id, c.person_id as loser_id
from bears_both b
join state.links l on l.person_id = b.person_id and l.record_type = 'lead'
join mirror.person_records r on r.record_type = 'contact' and r.dynamics_id = b.contact_id and not r.is_deleted
left join state.links c on c.record_type = 'contact' and c.dynamics_id = b.contact_id
left join mirror.marketo_people q on q.person_id = c.person_id
left join state.tombstones t on t.record_type = 'contact' and t.dynamics_id = b.contact_id and t.side = 'marketo'
where case when c.person_id is null then t.dynamics_id is not null else q.is_deleted end
qualify row_number() over (partition by b.contact_id order by b.person_id) = 1;

create temp table merged_leads as
select person_id, lead_id from taken_over where lead_id is not null
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
