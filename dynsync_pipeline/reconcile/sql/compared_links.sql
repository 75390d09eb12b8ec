-- compared_links. Grain: one row per link to look at in this cycle: touched on either side, or due as unsettled.
-- Cost follows this table, never the number of links.
create or replace temp table compared_links as
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
left join mirror.dynamics_contacts c on l.record_type = 'contact' and c.contactid = l.dynamics_id
left join mirror.dynamics_leads d on l.record_type = 'lead' and d.leadid = l.dynamics_id
where not coalesce(c.is_deleted, d.is_deleted);  -- a deleted record has nothing to compare with (R84)
