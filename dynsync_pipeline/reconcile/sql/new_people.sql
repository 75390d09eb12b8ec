-- new_people: finds the records that shall have a person in Marketo (R5, R15, R17). Never the other way: a person that only
-- Marketo knows stays there (R19). A record that was deleted and entered anew is another record, and a new person (R82). One that
-- the filter keeps out has none (R87).
--
-- reads    this_cycle, inbox.touched, state.unsettled, state.approvals, state.links, state.tombstones, state.tombstone_values, state.adoption, state.unread,
--          state.unread_bearers, state.bearers, state.requested, state.filtered_out, state.started, state.dynamics_records,
--          mirror.person_records, reconcile.fields, conversions, living_conversions, awaiting_lead
-- makes    resting_records: one row per candidate whose person was deleted or merged in Marketo and that nobody has edited since
--          edited_after_merge: one row per lead whose person is a contact's since a merge, or since it was qualified, and that was
--              edited since
--          records_without_person: one row per living contact or lead to create in Marketo
--          kept_back: one row per such record and person who bears its key already
--          held_back: one row per such contact whose lead is not known as it is now
--          people_to_create: one row per record that nothing holds back; `is_asked` where there are more than may be unasked
--          asked_people: one row per record whose person waits until somebody approves
--          new_people: one row per contact or lead that is created in Marketo in this cycle
-- changes  nothing
create temp table resting_records as
with candidates as (
    select record_type, dynamics_id from inbox.touched
    union
    select record_type, dynamics_id from state.unsettled where person_id is null
),
ended as (
    select record_type, dynamics_id
    from state.tombstones
    where side <> 'dynamics' and (record_type, dynamics_id) in (select (record_type, dynamics_id) from candidates)
      -- Letting a record in is an edit that its person never got (R89); one whose person is another record's now has none (R25).
      and (side <> 'marketo' or (record_type, dynamics_id) not in (select (record_type, dynamics_id) from state.started))
),
records as (
    from state.dynamics_records where (record_type, dynamics_id) in (select (record_type, dynamics_id) from ended)
),
-- A field that joined the map after the deletion, left it, or is mapped to another column, is no edit.
edited as (
    select t.record_type, t.dynamics_id
    from state.tombstone_values t
    join ended e on e.record_type = t.record_type and e.dynamics_id = t.dynamics_id
    join reconcile.fields f on f.record_type = t.record_type and f.field = t.field and f.direction <> 'to_dynamics'
        and f.dynamics_column = t.dynamics_column
    left join long_of('records') r
        on r.record_type = t.record_type and r.dynamics_id = t.dynamics_id and r.field = t.field
    where t.value is distinct from r.value
)
select record_type, dynamics_id
from ended
where (record_type, dynamics_id) not in (select (record_type, dynamics_id) from edited);

create temp table edited_after_merge as
with touched_tombstones as (
    from state.tombstones semi join inbox.touched using (record_type, dynamics_id)
)
select t.record_type, t.dynamics_id, t.person_id, case t.side when 'merged' then 'merged' else 'qualified' end as side
from touched_tombstones t
semi join person_records_of('touched_tombstones') r
    on r.record_type = t.record_type and r.dynamics_id = t.dynamics_id and not r.is_deleted
where (t.side = 'merged' or (t.side = 'qualified' and t.dynamics_id in (select lead_id from living_conversions))
       or (t.side = 'marketo' and t.record_type = 'lead' and t.dynamics_id in (select lead_id from conversions)))
  and (t.record_type, t.dynamics_id) not in (select (record_type, dynamics_id) from resting_records)
  and (t.record_type, t.dynamics_id) not in (select (record_type, dynamics_id) from state.filtered_out);

create temp table records_without_person as
with candidates as (
    select record_type, dynamics_id from inbox.touched where dynamics_id is not null
    union
    select record_type, dynamics_id from state.unsettled, this_cycle where person_id is null and next_look_at <= planned_at
),
unlinked as (
    from candidates anti join links_to('candidates') using (record_type, dynamics_id)
)
select
    r.record_type, r.dynamics_id, r.createdon, coalesce(u.attempts, 0) as attempts, u.since as pending_since,
    u.reason_code as pending_reason
from unlinked n
join person_records_of('unlinked') r on r.record_type = n.record_type and r.dynamics_id = n.dynamics_id and not r.is_deleted
left join state.unsettled u on u.record_type = r.record_type and u.dynamics_id = r.dynamics_id and u.person_id is null
anti join state.filtered_out f on f.record_type = r.record_type and f.dynamics_id = r.dynamics_id  -- R87
where (r.record_type, r.dynamics_id) not in (select (record_type, dynamics_id) from resting_records)  -- R81
  and (r.record_type, r.dynamics_id) not in (select (record_type, dynamics_id) from state.tombstones where side = 'merged')  -- R25
  and (r.record_type, r.dynamics_id) not in (select ('lead', lead_id) from conversions)  -- its contact has the person (R96)
  and (r.record_type, r.dynamics_id) not in (
      -- also while that contact is kept out
      select ('lead', t.dynamics_id)
      from state.tombstones t
      where t.side = 'qualified' and t.dynamics_id in (select lead_id from living_conversions)
  )
  -- Kept back by an adoption: to be linked with somebody, or left alone on purpose.
  and (r.record_type, r.dynamics_id) not in (
      select (record_type, dynamics_id) from state.adoption where decision in ('link', 'skip')
  )
  and (r.record_type, r.dynamics_id) not in (select (record_type, key) from state.unread)
  and r.dynamics_id not in (select dynamics_id from state.requested)  -- its person asked for it (R71)
  and (r.record_type, r.dynamics_id) not in (select (record_type, dynamics_id) from state.unread_bearers);

-- A record whose key some living person bears is never created: the create would write over that person, who is linked to
-- another record (R18). That happens when people are merged inside Marketo; it is reported, and looked at again later.
create temp table kept_back as
select n.*, b.person_id
from records_without_person n
join state.bearers b using (record_type, dynamics_id);

create temp table held_back as
select n.*, a.lead_id, a.code
from records_without_person n
join awaiting_lead a on n.record_type = 'contact' and n.dynamics_id = a.contact_id;

-- A first load has a word of its own (R5). What was let through before is not asked again; what was asked stays so, whatever else
-- of its record is edited meanwhile.
create temp table people_to_create as
with considered as (
    select n.*, a.approved_at is not null as is_approved
    from records_without_person n
    left join state.approvals a on a.record_type = n.record_type and a.dynamics_id = n.dynamics_id and a.field is null
    where (n.record_type, n.dynamics_id) not in (select (record_type, dynamics_id) from kept_back)
      and (n.record_type, n.dynamics_id) not in (select (record_type, dynamics_id) from held_back)
)
select
    c.*, n_reached,
    not is_approved and case
        when pending_reason is null then not is_first_load and coalesce(n_reached > ask_above, false)
        else pending_reason = 'waiting_for_approval'
    end as is_asked
from considered c
join (  -- no window: over two large parts one takes DuckDB the square of their rows
    select record_type, count(*) filter (where pending_reason is null) as n_reached from considered group by record_type
) using (record_type)
cross join this_cycle;

create temp table asked_people as
select record_type, dynamics_id, pending_since, n_reached from people_to_create where is_asked;

create temp table new_people as
select record_type, dynamics_id, createdon, attempts, pending_since, is_approved
from people_to_create where not is_asked;
