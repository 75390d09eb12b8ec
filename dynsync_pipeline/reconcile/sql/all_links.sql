-- all_links: chooses every link. Takes the place of compared_links.sql in the audit, which then compares everything by the
-- same differing_fields.sql; cost follows the database, so it runs once a day.
--
-- reads    state.links, state.unread_links, state.filtered_out, mirror.marketo_people, mirror.person_records
-- makes    compared_links: one row per link with a record on both sides that the filter lets in
-- changes  nothing
create temp table compared_links as
select l.person_id, l.record_type, l.dynamics_id
from state.links l
join mirror.marketo_people m on m.person_id = l.person_id and not m.is_deleted
join mirror.person_records r on r.record_type = l.record_type and r.dynamics_id = l.dynamics_id and not r.is_deleted
anti join state.filtered_out f on f.record_type = l.record_type and f.dynamics_id = l.dynamics_id  -- these rest (R92)
anti join state.unread_links u on u.person_id = l.person_id;
