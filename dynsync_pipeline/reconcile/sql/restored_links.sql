-- restored_links: makes the base anew of links that came back from a backup, now that both sides were read since. The base of a backup
-- is older than the world: held against it, what somebody edited back would pass for unchanged, and be overwritten. So it counts for
-- next to nothing. Equal values are the base (R38). Of two that differ nobody knows which was edited last, and both stand until
-- somebody edits or decides; but a blank that was blank then, and of which nothing tells a value since, is filled (R42). A field that
-- goes one way stands likewise, unless the side that does not own it is as it was (R43, R44). An account's company that was edited since,
-- or that differs, is left alone until the account's next update (R52); a tombstone brings nobody back by what was edited since (R81).
-- A field that is parked meets the same when it is on offer.
--
-- reads    this_cycle, compared_links, state.restored, state.links, state.outdated_bases, state.base_values, state.base_missing,
--          state.dynamics_values, state.dynamics_records, state.marketo_values, state.standing_differences, state.changed_after_backup,
--          state.known_fields, state.parked_fields, state.outdated_fields, state.local_company_edits, state.tombstones, reconcile.fields
-- makes    being_restored: no or one row: the restore after which this is the first plan
--          restored_links: one row per compared link whose base is that of a backup, or that this very plan made
--          restored_base: one row per such link, its base as it came back
--          restored_dynamics: one row per such link, its record in the words of Marketo
--          restored_marketo: one row per such link, its person
--          restored_fields: one row per such link and field whose sides differ, and whether both stand, or it has no base
--          meeting_fields: one row per other compared link and field that was parked then and is on offer now
--          meeting_dynamics: one row per such link, its record in the words of Marketo
--          meeting_marketo: one row per such link, its person
--          met_fields: one row per such field whose sides differ and both stand
--          kept_tombstones: one row per tombstone of the backup that could bring somebody back
-- changes  state.base, state.base_missing, state.standing_differences, state.outdated_bases, state.outdated_fields, state.changed_after_backup,
--          state.tombstone_values, state.unpublished, state.restored, inbox.touched
create temp table being_restored as
select restored_at from state.restored where reread_at is null;

create temp table restored_links as
select person_id from compared_links where person_id in (select person_id from state.outdated_bases)
union
select c.person_id from compared_links c, being_restored;

create temp table restored_base as
select * from state.base_values where person_id in (select person_id from restored_links);

create temp table restored_dynamics as
select * from state.dynamics_values where person_id in (select person_id from restored_links);

create temp table restored_marketo as
select * from state.marketo_values where person_id in (select person_id from restored_links);

create temp table restored_fields as
with differing as (
    select person_id
    from (
        select person_id, hash(*columns(* exclude (person_id, record_type, dynamics_id))) as h from restored_dynamics
        union all
        select person_id, hash(*columns(* exclude (person_id, record_type, dynamics_id))) from restored_marketo
    )
    group by person_id
    having count(distinct h) > 1
),
long as (
    select person_id, field, 'base' as side, value from long_of('restored_base')
    where person_id in (select person_id from differing)
    union all
    select person_id, field, 'dynamics', value from long_of('restored_dynamics')
    where person_id in (select person_id from differing)
    union all
    select person_id, field, 'marketo', value from long_of('restored_marketo')
    where person_id in (select person_id from differing)
),
wide as (
    select
        person_id,
        field,
        max(value) filter (where side = 'base') as base_value,
        max(value) filter (where side = 'dynamics') as dynamics_value,
        max(value) filter (where side = 'marketo') as marketo_value
    from long
    group by person_id, field
),
judged as (
    select
        w.person_id, w.field, w.dynamics_value, w.marketo_value, f.direction,
        w.base_value is distinct from w.dynamics_value or m.person_id is not null as is_dynamics_moved,
        w.base_value is distinct from w.marketo_value or m.person_id is not null as is_marketo_moved,
        case when f.type = 'boolean' then 'false' end as blank,
        coalesce(w.base_value, blank) is distinct from blank or c.person_id is not null as was_filled,
        coalesce(w.dynamics_value, blank) is not distinct from blank
            or coalesce(w.marketo_value, blank) is not distinct from blank as is_one_blank
    from wide w
    join state.links l using (person_id)
    join reconcile.fields f on f.record_type = l.record_type and f.field = w.field
    left join state.base_missing m on m.person_id = w.person_id and m.field = w.field
    left join state.changed_after_backup c on c.person_id = w.person_id and c.field = w.field
    where w.dynamics_value is distinct from w.marketo_value
)
select
    person_id, field, dynamics_value, marketo_value,
    case direction
        when 'to_marketo' then is_marketo_moved
        when 'to_dynamics' then is_dynamics_moved
        else was_filled or not is_one_blank
    end as is_standing
from judged;

delete from state.base using restored_links r where r.person_id = state.base.person_id;

insert into state.base by name
select * exclude (record_type, dynamics_id, "(nothing)") from restored_dynamics;

delete from state.base_missing using restored_links r where r.person_id = state.base_missing.person_id;

-- A field that is out of the map just now is compared with nothing that came back, should it return.
insert into state.base_missing (person_id, field)
select person_id, field from restored_fields where not is_standing
union
select l.person_id, k.field
from restored_links r
join state.links l using (person_id)
join state.known_fields k using (record_type)
where (k.record_type, k.field) not in (select (record_type, field) from reconcile.fields);

-- What stood so before goes on under the reason that it had.
delete from state.standing_differences s
using restored_links r
where r.person_id = s.person_id
  and (s.person_id, s.field, coalesce(s.dynamics_value, ''), coalesce(s.marketo_value, '')) not in (
      select (person_id, field, coalesce(dynamics_value, ''), coalesce(marketo_value, '')) from restored_fields
  );

insert into state.standing_differences (person_id, field, dynamics_value, marketo_value, reason_code, since)
select person_id, field, dynamics_value, marketo_value, 'restored', planned_at
from restored_fields, this_cycle
where is_standing and (person_id, field) not in (select (person_id, field) from state.standing_differences);

delete from state.base_missing m
using state.standing_differences s, restored_links r
where r.person_id = m.person_id and s.person_id = m.person_id and s.field = m.field;

create temp table meeting_fields as
select o.person_id, o.field, o.was_filled, case when f.type = 'boolean' then 'false' end as blank
from state.outdated_fields o
join compared_links c using (person_id)
join reconcile.fields f on f.record_type = c.record_type and f.field = o.field
where o.person_id not in (select person_id from restored_links);

create temp table meeting_dynamics as
select * from state.dynamics_values where person_id in (select person_id from meeting_fields);

create temp table meeting_marketo as
select * from state.marketo_values where person_id in (select person_id from meeting_fields);

create temp table met_fields as
select f.person_id, f.field, d.value as dynamics_value, m.value as marketo_value
from meeting_fields f
left join long_of('meeting_dynamics') d on d.person_id = f.person_id and d.field = f.field
left join long_of('meeting_marketo') m on m.person_id = f.person_id and m.field = f.field
where d.value is distinct from m.value
  and (
      f.was_filled
      or coalesce(d.value, f.blank) is distinct from f.blank and coalesce(m.value, f.blank) is distinct from f.blank
  );

insert into state.standing_differences (person_id, field, dynamics_value, marketo_value, reason_code, since)
select person_id, field, dynamics_value, marketo_value, 'restored', planned_at
from met_fields, this_cycle
where (person_id, field) not in (select (person_id, field) from state.standing_differences);

delete from state.base_missing m using met_fields f where f.person_id = m.person_id and f.field = m.field;

delete from state.outdated_fields o using meeting_fields f where f.person_id = o.person_id and f.field = o.field;

delete from state.outdated_fields o using restored_links r where r.person_id = o.person_id;

insert into state.outdated_fields (person_id, field, was_filled)
with parked as (
    select record_type, field, true as is_known from state.known_fields
    union all
    select record_type, marketo_field, false from state.parked_fields
)
select l.person_id, p.field, bool_or(p.is_known or c.person_id is not null)
from restored_links r
join state.links l using (person_id)
join parked p using (record_type)
left join state.changed_after_backup c on c.person_id = l.person_id and c.field = p.field
where (p.record_type, p.field) not in (select (record_type, field) from reconcile.fields)
group by all;

insert into state.unpublished (published_table, person_id)
select 'people', person_id from restored_links
union
select 'people', person_id from met_fields;

delete from state.outdated_bases using restored_links r where r.person_id = state.outdated_bases.person_id;

insert into state.outdated_bases (person_id)
select l.person_id
from state.links l, being_restored
where l.person_id not in (select person_id from restored_links)
  and l.person_id not in (select person_id from state.outdated_bases);

delete from inbox.touched t
using being_restored b, state.local_company_edits e
where t.record_type = 'account' and e.external_company_id = t.dynamics_id;

create temp table kept_tombstones as
select t.record_type, t.dynamics_id
from state.tombstones t, being_restored b
where t.side <> 'dynamics' and t.ended_at < b.restored_at;

delete from state.tombstone_values
where (record_type, dynamics_id) in (select (record_type, dynamics_id) from kept_tombstones);

insert into state.tombstone_values (record_type, dynamics_id, field, dynamics_column, value)
with records as (
    from state.dynamics_records where (record_type, dynamics_id) in (select (record_type, dynamics_id) from kept_tombstones)
)
select t.record_type, t.dynamics_id, f.field, f.dynamics_column, r.value
from kept_tombstones t
join reconcile.fields f on f.record_type = t.record_type and f.direction <> 'to_dynamics'
left join long_of('records') r on r.record_type = t.record_type and r.dynamics_id = t.dynamics_id and r.field = f.field;

update state.restored set reread_at = planned_at from this_cycle where reread_at is null;

delete from state.changed_after_backup
where not exists (from state.outdated_bases);
