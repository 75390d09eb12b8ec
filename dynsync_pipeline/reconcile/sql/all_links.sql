-- all_links. Grain: one row per link with a record on both sides. Takes the place of compared_links.sql in the audit, which
-- then compares everything by the same differing_fields.sql; cost follows the database, so it runs once a day.
create or replace temp table compared_links as
select l.person_id, l.record_type, l.dynamics_id
from state.links l
join mirror.marketo_people m on m.person_id = l.person_id and not m.is_deleted
left join mirror.dynamics_contacts c on l.record_type = 'contact' and c.contactid = l.dynamics_id
left join mirror.dynamics_leads d on l.record_type = 'lead' and d.leadid = l.dynamics_id
where not coalesce(c.is_deleted, d.is_deleted);
