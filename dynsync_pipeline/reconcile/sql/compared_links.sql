-- compared_links: chooses the links to look at in this cycle. Cost follows them, never the number of links (R3).
--
-- reads    this_cycle, inbox.touched, state.links, state.unsettled, mirror.marketo_people, mirror.person_records
-- makes    compared_links: one row per link that was touched on either side, or is due as unsettled
-- changes  nothing
create temp table compared_links as
with keys as (
    select person_id from inbox.touched where person_id is not null
    union
    select l.person_id
    from state.links l
    join inbox.touched t on t.record_type = l.record_type and t.dynamics_id = l.dynamics_id
    union
    select u.person_id from state.unsettled u, this_cycle where u.person_id is not null and u.next_look_at <= planned_at
)
select l.person_id, l.record_type, l.dynamics_id
from state.links l
join keys using (person_id)
join mirror.marketo_people m on m.person_id = l.person_id and not m.is_deleted
-- A deleted record has nothing to compare with (R84).
join mirror.person_records r on r.record_type = l.record_type and r.dynamics_id = l.dynamics_id and not r.is_deleted;
