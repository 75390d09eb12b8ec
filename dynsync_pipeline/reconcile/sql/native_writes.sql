-- native_writes: finds what the native sync wrote since the last plan of a cycle in shadow, and rebuilds what each side held before.
-- When we look, it has carried a value over already: what Marketo held tells its feed, what Dynamics held is what was seen there
-- last. What a write cannot be rebuilt from has a reason instead. What is not carried over within an hour is left.
--
-- reads    this_cycle, native_sync, native_users, inbox.touched, inbox.feed_entries, state.links, state.unsettled, state.filtered_out,
--          state.unread_links, state.base_values, state.dynamics_records, state.marketo_values, state.base_missing,
--          state.returned_fields, state.standing_differences, mirror.marketo_people, mirror.person_records,
--          mirror.dynamics_contacts, mirror.dynamics_leads, reconcile.fields
-- makes    native_looked_at: one row per link that was touched, that the feed told of, or that has a field which is left by now
--          base_side: one row per such link, its base
--          dynamics_side: one row per such link, its record in the words of Marketo
--          marketo_side: one row per such link, its person
--          last_editors: one row per such link, when and by whom its record was edited last
--          told_entries: one row per entry of the feed that changed a value, in order
--          native_sides: one row per such link and field that has or had a value: what is there now, and what was seen last
--          native_writes: one row per value that the native sync wrote or left: `kind` wrote_marketo, wrote_dynamics or left, the
--              values before, its value, and `reason_code` where it cannot be told
-- changes  state.unsettled
create temp table native_looked_at as
select l.person_id, l.record_type, l.dynamics_id
from state.links l
join mirror.marketo_people m on m.person_id = l.person_id and not m.is_deleted
join mirror.person_records r on r.record_type = l.record_type and r.dynamics_id = l.dynamics_id and not r.is_deleted
anti join state.filtered_out f on f.record_type = l.record_type and f.dynamics_id = l.dynamics_id
where l.person_id not in (select person_id from state.unread_links)
  and l.person_id in (
      select person_id from inbox.touched where person_id is not null
      union
      select x.person_id
      from state.links x
      semi join inbox.touched t on t.record_type = x.record_type and t.dynamics_id = x.dynamics_id
      union
      select person_id from inbox.feed_entries
      union
      select u.person_id
      from state.unsettled u
      join reconcile.fields f on f.record_type = u.record_type and f.field = u.field, this_cycle
      where u.person_id is not null and u.reason_code = 'planned' and u.since <= planned_at - native_patience()
  );

create temp table base_side as
select * from state.base_values where person_id in (select person_id from native_looked_at);

create temp table dynamics_side as
select c.person_id, r.* from native_looked_at c join state.dynamics_records r using (record_type, dynamics_id);

create temp table marketo_side as
select * from state.marketo_values where person_id in (select person_id from native_looked_at);

create temp table last_editors as
select l.person_id, lower(r.modified_by) as modified_by, try_cast(r.modifiedon as timestamp) as modified_at
from native_looked_at l
join (
    select 'contact' as record_type, contactid as dynamics_id, _modifiedby_value as modified_by, modifiedon
    from mirror.dynamics_contacts where contactid in (select dynamics_id from native_looked_at)
    union all
    select 'lead', leadid, _modifiedby_value, modifiedon
    from mirror.dynamics_leads where leadid in (select dynamics_id from native_looked_at)
) r using (record_type, dynamics_id);

create temp table told_entries as
select
    person_id, field, old_value, new_value, changed_at,
    coalesce(starts_with(lower(e.source), lower(n.source)), false) as is_native,
    e.source is null or n.source is null as is_unknown,
    row_number() over (partition by person_id, field order by changed_at, place) as nth
from inbox.feed_entries e, native_sync n
where old_value is distinct from new_value and person_id in (select person_id from native_looked_at);

create temp table native_sides as
with wide as (
    from side_by_side('native_looked_at')
),
named as (
    select person_id, field from wide
    union
    select person_id, field from told_entries
    union  -- what was seen there may be gone from all three
    select person_id, field from state.unsettled where person_id in (select person_id from native_looked_at)
    union
    select person_id, field from state.standing_differences where person_id in (select person_id from native_looked_at)
)
select
    n.person_id, l.record_type, l.dynamics_id, n.field, f.dynamics_column, f.type, f.direction, f.collision, f.forbids,
    w.base_value, w.dynamics_value, w.marketo_value, m.person_id is null as has_base,
    case when u.person_id is not null then u.dynamics_value when s.person_id is not null then s.dynamics_value
         else w.base_value end as last_dynamics_value,
    case when u.person_id is not null then u.marketo_value when s.person_id is not null then s.marketo_value
         else w.base_value end as last_marketo_value,
    u.reason_code = 'planned' and u.since <= planned_at - native_patience() as is_overdue,
    modified_at - clocks_apart as modified_at,
    case when exists (from native_users) then e.modified_by in (select user_id from native_users) end as is_by_native
from named n
join native_looked_at l using (person_id)
join reconcile.fields f on f.record_type = l.record_type and f.field = n.field and not f.is_on_company
cross join this_cycle
left join wide w on w.person_id = n.person_id and w.field = n.field
left join state.base_missing m on m.person_id = n.person_id and m.field = n.field
left join state.unsettled u on u.person_id = n.person_id and u.field = n.field
left join state.standing_differences s on s.person_id = n.person_id and s.field = n.field
join last_editors e on e.person_id = n.person_id
anti join state.returned_fields r on r.record_type = l.record_type and r.field = n.field
where m.person_id is null or u.person_id is not null;

create temp table native_writes as
with told as (
    select
        person_id, field, max(old_value) filter (where nth = 1) as first_value,
        bool_or(is_unknown) as is_any_unknown, count(*) filter (where is_native) as n_native,
        coalesce(list(coalesce(new_value, chr(0))) filter (where not is_native), []) as edits
    from told_entries
    group by person_id, field
),
native as (
    select
        person_id, field, old_value, new_value, changed_at,
        lag(new_value) over each_field as value_before, lag(nth) over each_field is not null as is_again,
        row_number() over (partition by person_id, field order by nth desc) = 1 as is_last
    from told_entries
    where is_native
    window each_field as (partition by person_id, field order by nth)
),
moved as (
    select
        s.*, t.* exclude (person_id, field), t.person_id is not null as is_told,
        s.dynamics_value is distinct from s.last_dynamics_value as is_dynamics_moved,
        s.marketo_value is distinct from s.last_marketo_value as is_marketo_moved,
        s.dynamics_value is not distinct from s.last_marketo_value
            or list_contains(coalesce(t.edits, []), coalesce(s.dynamics_value, chr(0))) as is_of_marketo
    from native_sides s
    left join told t on t.person_id = s.person_id and t.field = s.field
),
found as (
    -- What the feed tells to be its.
    select
        m.* exclude (base_value), 'wrote_marketo' as kind,
        case when n.is_again then n.value_before else m.base_value end as base_value,
        case
            when n.new_value is not distinct from m.last_dynamics_value then m.last_dynamics_value else m.dynamics_value
        end as dynamics_before,
        n.old_value as marketo_before, n.new_value as their_value,
        case
            when not m.has_base then 'never_agreed'
            when m.first_value is distinct from m.last_marketo_value then 'feed_has_gaps'
            when n.new_value is distinct from m.dynamics_value and n.new_value is distinct from m.last_dynamics_value
                and m.modified_at > n.changed_at and not coalesce(m.is_by_native, false) then 'edited_since'
        end as reason_code
    from moved m
    join native n on n.person_id = m.person_id and n.field = m.field and n.is_last
    union all by name
    -- Dynamics holds what Marketo held: its own edit went over, or the record's last editor is the native sync.
    select
        *, 'wrote_dynamics' as kind, last_dynamics_value as dynamics_before, dynamics_value as marketo_before,
        dynamics_value as their_value,
        case
            when not has_base then 'never_agreed'
            -- Somebody may have taken an edit back, before the native sync wrote another column.
            when dynamics_value is not distinct from base_value then 'writer_unknown'
            when is_by_native then null
            -- Somebody may have entered on the record what somebody else just entered on the person.
            when (is_by_native is null or not is_marketo_moved) and last_dynamics_value is not distinct from base_value then null
            else 'writer_unknown'
        end as reason_code
    from moved
    where coalesce(n_native, 0) = 0 and is_dynamics_moved and is_of_marketo and not coalesce(is_any_unknown and is_marketo_moved, false)
      -- Somebody took an edit back, and nobody has written since.
      and (is_by_native or is_by_native is null or dynamics_value is distinct from base_value)
    union all by name
    -- Both moved to one value, and nothing tells which came first.
    select *, 'wrote_marketo' as kind, 'writer_unknown' as reason_code, dynamics_value as their_value
    from moved
    where coalesce(n_native, 0) = 0 and is_dynamics_moved and is_marketo_moved and dynamics_value is not distinct from marketo_value
      and (not is_told or is_any_unknown)
    union all by name
    -- Marketo came to hold what Dynamics held, and the feed does not tell from where.
    select
        *, 'wrote_marketo' as kind, dynamics_value as dynamics_before, last_marketo_value as marketo_before,
        marketo_value as their_value,
        case
            when not has_base then 'never_agreed'
            when last_marketo_value is distinct from base_value then 'writer_unknown'
        end as reason_code
    from moved
    where coalesce(n_native, 0) = 0 and not is_dynamics_moved and is_marketo_moved
      and marketo_value is not distinct from dynamics_value and (not is_told or is_any_unknown)
    union all by name
    select *, 'left' as kind, dynamics_value as dynamics_before, marketo_value as marketo_before
    from moved
    where is_overdue and not is_dynamics_moved and not is_marketo_moved and not is_told
)
select
    person_id, record_type, dynamics_id, field, dynamics_column, type, direction, collision, forbids, has_base, kind,
    base_value, dynamics_before, marketo_before, their_value, reason_code
from found
union all by name
-- Of several writes between two looks the last alone can be rebuilt.
select
    s.person_id, s.record_type, s.dynamics_id, s.field, s.dynamics_column, s.type, s.direction, s.collision, s.forbids, s.has_base,
    'wrote_marketo' as kind, n.old_value as marketo_before, n.new_value as their_value, 'several_writes' as reason_code
from native n
join native_sides s using (person_id, field)
where not n.is_last;

insert into differing_fields
    (person_id, record_type, dynamics_id, field, dynamics_column, type, direction, collision, forbids, has_base, base_value,
     dynamics_value, marketo_value, is_relabelled)
select
    person_id, record_type, dynamics_id, field, dynamics_column, type, direction, collision, forbids, has_base,
    case when has_base then base_value end, dynamics_before, marketo_before, false
from native_writes
where reason_code is null;

-- These are decided now, whatever waited of them.
delete from state.unsettled u
using native_writes n
where n.reason_code is null and n.person_id = u.person_id and n.field = u.field;
