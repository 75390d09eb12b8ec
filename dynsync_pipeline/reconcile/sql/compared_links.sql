-- compared_links: chooses the links to look at in this cycle. Cost follows them, never the number of links (R3). Of a person
-- or record that is linked more than once nobody knows whose values it should hold: such links are set aside and reported. So is
-- what could not be read (R116), and what the filter keeps out.
--
-- reads    this_cycle, inbox.touched, state.links, state.unread_links, state.unread_tables, state.unsettled, state.reviews, state.undoing,
--          state.filtered_out, state.standing_differences, state.parked_fields, reconcile.fields, mirror.marketo_people, mirror.person_records
-- makes    looked_at: one row per person who was touched, with the record or alone, is due as unsettled, was reviewed or is to be undone
--          near_links: one row per link of these people
--          looked_at_records: one row per record of these links, as in mirror.person_records
--          doubled: one row per link of a person or record looked at that is linked more than once
--          compared_links: one row per link that was touched on either side, is due as unsettled, was reviewed or is to be undone
-- changes  nothing
create temp table looked_at as
select person_id from inbox.touched where person_id is not null
union
select l.person_id
from links_to('inbox.touched') l
semi join inbox.touched t on t.record_type = l.record_type and t.dynamics_id = l.dynamics_id
union
select u.person_id from state.unsettled u, this_cycle where u.person_id is not null and u.next_look_at <= planned_at
union
-- Somebody has decided, or the field map leaves it to nobody any more.
select r.person_id
from state.reviews r
left join reconcile.fields f on f.record_type = r.record_type and f.field = r.field
where (r.record_type, r.field) not in (select (record_type, marketo_field) from state.parked_fields)
  and (r.choice is not null
       or (f.collision is distinct from 'review'
           and (r.person_id, r.field) not in (
               select (person_id, field) from state.standing_differences where reason_code = 'restored'
           )))
union
select person_id from state.undoing, this_cycle where person_id is not null and coalesce(next_look_at <= planned_at, true);

create temp table near_links as
from links_of('looked_at');

create temp table looked_at_records as
from person_records_of('near_links');

create temp table doubled as
with around as (
    from links_to('near_links')
),
shared as (
    select record_type, dynamics_id from around group by all having count(*) > 1
),
shared_near as (
    select record_type, dynamics_id from near_links semi join shared using (record_type, dynamics_id)
)
from near_links
where person_id in (select person_id from near_links group by person_id having count(*) > 1)
union
from around semi join shared_near using (record_type, dynamics_id);

create temp table compared_links as
select l.person_id, l.record_type, l.dynamics_id
from near_links l
join mirror.marketo_people m on m.person_id = l.person_id and not m.is_deleted
-- A deleted record has nothing to compare with (R84).
join looked_at_records r on r.record_type = l.record_type and r.dynamics_id = l.dynamics_id and not r.is_deleted
-- Both sides of a stale person rest (R92).
anti join state.filtered_out f on f.record_type = l.record_type and f.dynamics_id = l.dynamics_id
where l.person_id not in (select person_id from doubled)
  and l.person_id not in (select person_id from state.unread_links)
  and l.record_type not in (select record_type from state.unread_tables);
