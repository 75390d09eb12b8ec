-- new_people. Grain: one row per Dynamics contact or lead without a link, to be created in Marketo (R5, R15, R17).
-- Never the other way: a person that only Marketo knows stays there (R19).
create or replace temp table new_people as
with candidates as (
    select record_type, dynamics_id from inbox.touched where dynamics_id is not null
    union
    select record_type, dynamics_id from state.unsettled, this_cycle where person_id is null and next_look_at <= planned_at
),
records as (
    select 'contact' as record_type, contactid as dynamics_id, createdon
    from mirror.dynamics_contacts where not is_deleted
    union all
    select 'lead', leadid, createdon from mirror.dynamics_leads where not is_deleted
)
select records.record_type, records.dynamics_id, records.createdon, coalesce(u.attempts, 0) as attempts
from candidates
join records using (record_type, dynamics_id)
left join state.unsettled u
    on u.record_type = records.record_type and u.dynamics_id = records.dynamics_id and u.person_id is null
where (records.record_type, records.dynamics_id) not in (select (record_type, dynamics_id) from state.links);
