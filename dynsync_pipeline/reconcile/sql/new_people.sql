-- new_people. Grain: one row per Dynamics contact or lead without a link, to be created in Marketo (R5, R15, R17).
-- Never the other way: a person that only Marketo knows stays there (R19).
create or replace temp table records_without_person as
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
),
-- Records whose person was deleted in Marketo and that nobody has edited since (R81). A field that joined the map
-- after the deletion, or left it, is no edit.
at_rest as (
    select t.record_type, t.dynamics_id
    from state.tombstones t
    where t.side = 'marketo'
      and (t.record_type, t.dynamics_id) not in (
          select (record_type, dynamics_id)
          from (
              select record_type, dynamics_id, field, value, 'then' as seen from state.tombstone_values
              union all
              select record_type, dynamics_id, field, value, 'now'
              from (
                  unpivot (
                      from state.dynamics_records
                      where (record_type, dynamics_id) in (select (record_type, dynamics_id) from candidates)
                        and (record_type, dynamics_id) in (select (record_type, dynamics_id) from state.tombstones)
                  ) on columns(* exclude (record_type, dynamics_id)) into name field value value
              )
          )
          where (record_type, field) in (select (record_type, field) from reconcile.fields)
            and (record_type, dynamics_id) in (select (record_type, dynamics_id) from candidates)
          group by record_type, dynamics_id, field
          having max(value) filter (where seen = 'then') is distinct from max(value) filter (where seen = 'now')
      )
)
select records.record_type, records.dynamics_id, records.createdon, coalesce(u.attempts, 0) as attempts, u.since as pending_since
from candidates
join records using (record_type, dynamics_id)
left join state.unsettled u
    on u.record_type = records.record_type and u.dynamics_id = records.dynamics_id and u.person_id is null
where (records.record_type, records.dynamics_id) not in (select (record_type, dynamics_id) from state.links)
  and (records.record_type, records.dynamics_id) not in (select (record_type, dynamics_id) from at_rest)
  -- Kept back by an adoption: to be linked with somebody, or left alone on purpose.
  and (records.record_type, records.dynamics_id) not in (
      select (record_type, dynamics_id) from state.adoption where decision in ('link', 'skip')
  );

-- A record whose key some living person bears is never created: the create would write over that person, who is linked to
-- another record (R18). That happens when people are merged inside Marketo; it is reported, and looked at again later.
create or replace temp table kept_back as
select n.*, m.person_id
from records_without_person n
join mirror.marketo_people m
    on not m.is_deleted
    and n.dynamics_id = case when n.record_type = 'contact' then m.dynamics_contact_id else m.dynamics_lead_id end;

create or replace temp table new_people as
select * from records_without_person
where (record_type, dynamics_id) not in (select (record_type, dynamics_id) from kept_back);
