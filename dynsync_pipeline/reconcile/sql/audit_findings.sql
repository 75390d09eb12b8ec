-- audit_findings: says what the daily audit found, from differing_fields over all links. Findings with `is_missed` are work that
-- the cycles should have known of: their keys are looked at by the next cycle. The others are damage that looking again does
-- not mend.
--
-- reads    differing_fields, inbox.touched, state.links, state.base, state.standing_differences, state.unsettled,
--          state.tombstones, state.adoption, state.requested, state.unread, state.filtered_out, mirror.person_records,
--          mirror.marketo_people, mirror.conversions
-- makes    audit_findings: one row per finding
-- changes  inbox.touched
create temp table audit_findings as
with due as (
    select person_id from inbox.touched where person_id is not null
    union
    select l.person_id from state.links l
    join inbox.touched t on t.record_type = l.record_type and t.dynamics_id = l.dynamics_id
),
due_records as (
    select record_type, dynamics_id from inbox.touched where dynamics_id is not null
),
missed_differences as (
    select d.record_type, d.dynamics_id, d.person_id, d.field
    from differing_fields d
    anti join state.standing_differences s
        on s.person_id = d.person_id and s.field = d.field
        and s.dynamics_value is not distinct from d.dynamics_value
        and s.marketo_value is not distinct from d.marketo_value
    anti join state.unsettled u on u.person_id = d.person_id and u.field = d.field
    anti join due on due.person_id = d.person_id
),
missed_records as (
    select r.record_type, r.dynamics_id
    from mirror.person_records r
    anti join state.links l on l.record_type = r.record_type and l.dynamics_id = r.dynamics_id
    anti join state.unsettled u on u.record_type = r.record_type and u.dynamics_id = r.dynamics_id
    anti join due_records t on t.record_type = r.record_type and t.dynamics_id = r.dynamics_id
    -- Its person was deleted or merged in Marketo (R81, R25), or an adoption keeps it back: nobody has to look.
    anti join state.tombstones b on b.record_type = r.record_type and b.dynamics_id = r.dynamics_id and b.side <> 'dynamics'
    anti join state.adoption a
        on a.record_type = r.record_type and a.dynamics_id = r.dynamics_id and a.decision in ('link', 'skip')
    anti join (
        select v.lead_id from mirror.conversions v
        join mirror.person_records c on c.record_type = 'contact' and c.dynamics_id = v.contact_id and not c.is_deleted
        anti join state.filtered_out f on f.record_type = 'contact' and f.dynamics_id = v.contact_id
    ) v on r.record_type = 'lead' and v.lead_id = r.dynamics_id  -- its contact has the person (R96)
    anti join state.requested q on q.record_type = r.record_type and q.dynamics_id = r.dynamics_id  -- its person asked for it
    anti join state.filtered_out f on f.record_type = r.record_type and f.dynamics_id = r.dynamics_id  -- nor shall it (R87)
    anti join state.unread i on i.record_type = r.record_type and i.key = r.dynamics_id
    anti join state.unread c on c.record_type = 'person' and c.contact_id = r.dynamics_id
    anti join state.unread d on d.record_type = 'person' and d.lead_id = r.dynamics_id
    where not r.is_deleted
)
select 'difference_overlooked' as code, true as is_missed, record_type, dynamics_id, person_id, field
from missed_differences
union all
select 'record_overlooked', true, record_type, dynamics_id, null, null from missed_records
union all
select 'link_without_person', false, l.record_type, l.dynamics_id, l.person_id, null
from state.links l anti join mirror.marketo_people m on m.person_id = l.person_id
union all
select 'link_without_record', false, l.record_type, l.dynamics_id, l.person_id, null
from state.links l anti join mirror.person_records r on r.record_type = l.record_type and r.dynamics_id = l.dynamics_id
union all
select 'link_without_base', false, l.record_type, l.dynamics_id, l.person_id, null
from state.links l anti join state.base b on b.person_id = l.person_id
union all
select 'person_linked_twice', false, null, null, person_id, null
from state.links group by person_id having count(*) > 1
union all
select 'record_linked_twice', false, record_type, dynamics_id, null, null
from state.links group by record_type, dynamics_id having count(*) > 1
union all
select 'unsettled_without_link', false, u.record_type, u.dynamics_id, u.person_id, u.field
from state.unsettled u anti join state.links l on l.person_id = u.person_id
anti join state.tombstones b on b.person_id = u.person_id  -- a deletion's flag that Marketo has not taken yet
where u.person_id is not null
union all
select 'unsettled_without_reason', false, record_type, dynamics_id, person_id, field
from state.unsettled where reason_code is null or next_look_at is null;

insert into inbox.touched by name
select distinct null as record_type, null as dynamics_id, person_id, false as is_receipt
from audit_findings where is_missed and person_id is not null
union all
select record_type, dynamics_id, null, false from audit_findings where is_missed and person_id is null;
