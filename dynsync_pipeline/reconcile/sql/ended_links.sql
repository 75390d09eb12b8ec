-- ended_links: ends the links of which one side is gone; each becomes a tombstone. Gone in Dynamics: the person stays and is
-- flagged (R79). Gone in Marketo: Dynamics is untouched (R80), and what the person last had in common with its record is kept:
-- whatever differs from that in Dynamics, now or later, is an edit that the person never got, and brings one back (R81). Merged
-- in Marketo into a contact's person: the same is kept of a lead, and edits that differ from it are reported (R25). Qualified: what
-- the lead holds is its contact's from now on (R96).
--
-- reads    this_cycle, merged_leads, taken_over, qualified, state.links, state.base_values, state.base_missing, state.standing_differences, state.dynamics_records,
--          mirror.person_records, mirror.marketo_people, inbox.touched, reconcile.fields, state.returned_fields, state.joined_fields,
--          state.option_maps, state.tombstones, state.tombstone_values, state.unread_tables, state.unsettled, state.restored,
--          state.outdated_bases, ledger.sync_errors
-- makes    touched_links: one row per link of a person or record that was touched, or whose lead was merged or qualified
--          ended_links: one row per link whose record is gone on one side, or whose lead was qualified, with that `side`
--          gone_errors: one row per ended record, and per deleted one of which an error is open
--          returned_values: one row per ended record and field that was parked, is back, and is not empty
-- changes  state.links, state.base, state.base_missing, state.outdated_bases, state.standing_differences, state.unsettled,
--          state.tombstones, state.tombstone_values, inbox.touched, state.unpublished, ledger.sync_errors
create temp table touched_links as
with looked_at as (
    select person_id from inbox.touched
    union
    select l.person_id
    from links_to('inbox.touched') l
    semi join inbox.touched t on t.record_type = l.record_type and t.dynamics_id = l.dynamics_id
    union
    select l.person_id from state.links l semi join merged_leads m on l.record_type = 'lead' and m.lead_id = l.dynamics_id
    union
    select person_id from qualified
)
from links_of('looked_at');

create temp table ended_links as
with gone as (
    select record_type, dynamics_id from person_records_of('touched_links') where is_deleted
)
select
    l.person_id, l.record_type, l.dynamics_id,
    case
        when merged.lead_id is not null then 'merged'
        when q.lead_id is not null then 'qualified'
        when gone.dynamics_id is not null then 'dynamics'
        else 'marketo'
    end as side
from touched_links l
left join merged_leads merged on l.record_type = 'lead' and merged.lead_id = l.dynamics_id
left join qualified q on l.record_type = 'lead' and q.lead_id = l.dynamics_id and q.person_id = l.person_id
left join gone using (record_type, dynamics_id)
left join mirror.marketo_people m on m.person_id = l.person_id
where merged.lead_id is not null or q.lead_id is not null
or (gone.dynamics_id is not null or m.is_deleted)
and l.person_id not in (select loser_id from taken_over where loser_id is not null)
union all
select person_id, 'lead', lead_id, 'qualified' from qualified where not was_linked;  -- whose link was lost with a working file

delete from state.tombstones t using ended_links e where e.record_type = t.record_type and e.dynamics_id = t.dynamics_id;
delete from state.tombstone_values t using ended_links e where e.record_type = t.record_type and e.dynamics_id = t.dynamics_id;

insert into state.tombstones (person_id, record_type, dynamics_id, side, ended_at)
select person_id, record_type, dynamics_id, side, planned_at from ended_links, this_cycle;

-- Dynamics' half of a standing difference where one stands, else the base, and where the two never agreed what Dynamics holds.
-- Fields that never go to Marketo revive nobody. What a qualified lead holds is no edit where its contact holds
-- it too, or cannot.
insert into state.tombstone_values (record_type, dynamics_id, field, dynamics_column, value)
with ended as (
    select person_id, record_type, dynamics_id, side from ended_links where side <> 'dynamics'
),
bases as (
    from state.base_values where person_id in (select person_id from ended)
),
records as (
    from state.dynamics_records where (record_type, dynamics_id) in (select (record_type, dynamics_id) from ended)
),
contacts as (
    from state.dynamics_records where record_type = 'contact' and dynamics_id in (select contact_id from qualified)
),
contact_values as (
    select q.lead_id, c.field, shown_options(c.value, n.type, o) as shown
    from qualified q
    join long_of('contacts') c on c.dynamics_id = q.contact_id
    join reconcile.fields n on n.record_type = 'contact' and n.field = c.field
    left join state.option_maps o on o.record_type = 'contact' and o.dynamics_column = n.dynamics_column
)
select
    e.record_type, e.dynamics_id, f.field, f.dynamics_column,
    case
        when e.side = 'qualified'
            and (n.field is null or f.direction <> 'both' or c.shown is not distinct from shown_options(r.value, f.type, o)) then r.value
        -- The base of a backup is older than the world.
        when exists (from state.restored where reread_at is null) or e.person_id in (select person_id from state.outdated_bases)
            then r.value
        when s.person_id is not null then s.dynamics_value
        when m.person_id is not null then r.value
        else b.value
    end
from ended e
join reconcile.fields f on f.record_type = e.record_type and f.direction <> 'to_dynamics'
left join state.standing_differences s on s.person_id = e.person_id and s.field = f.field
left join state.base_missing m on m.person_id = e.person_id and m.field = f.field
left join long_of('bases') b on b.person_id = e.person_id and b.field = f.field
left join long_of('records') r on r.record_type = e.record_type and r.dynamics_id = e.dynamics_id and r.field = f.field
left join state.option_maps o on o.record_type = f.record_type and o.dynamics_column = f.dynamics_column
left join reconcile.fields n on n.record_type = 'contact' and n.field = f.field
left join contact_values c on e.side = 'qualified' and c.lead_id = e.dynamics_id and c.field = f.field;

-- Of a field that joined after the end, what Dynamics holds as it joins is what later edits differ from.
insert into state.tombstone_values (record_type, dynamics_id, field, dynamics_column, value)
with joined as (
    select t.record_type, t.dynamics_id, f.field, f.dynamics_column
    from state.joined_fields j
    join reconcile.fields f on f.record_type = j.record_type and f.field = j.field and f.direction <> 'to_dynamics'
    join state.tombstones t on t.record_type = f.record_type and t.side <> 'dynamics'
    where j.record_type not in (select record_type from state.unread_tables)
),
records as (
    from state.dynamics_records where (record_type, dynamics_id) in (select (record_type, dynamics_id) from joined)
)
select j.record_type, j.dynamics_id, j.field, j.dynamics_column, r.value
from joined j
left join long_of('records') r on r.record_type = j.record_type and r.dynamics_id = j.dynamics_id and r.field = j.field
where (j.record_type, j.dynamics_id, j.field) not in (select (record_type, dynamics_id, field) from state.tombstone_values);

create temp table returned_values as
with records as (
    from state.dynamics_records
    where record_type in (select record_type from state.returned_fields)
      and (record_type, dynamics_id) in (select (record_type, dynamics_id) from state.tombstones where side <> 'dynamics')
)
select r.record_type, r.dynamics_id, r.field
from long_of('records') r
join reconcile.fields f on f.record_type = r.record_type and f.field = r.field
where (r.record_type, r.field) in (select (record_type, field) from state.returned_fields)
  and not (f.type = 'boolean' and r.value = 'false');

-- What a field lost while it was parked is no clear (R107), so it is compared no more.
delete from state.tombstone_values
where (record_type, field) in (select (record_type, field) from state.returned_fields)
  and (record_type, dynamics_id, field) not in (
      select (record_type, dynamics_id, field) from returned_values
  );

delete from state.links using ended_links e where e.person_id = state.links.person_id;
delete from state.base using ended_links e where e.person_id = state.base.person_id and e.side <> 'qualified';
delete from state.outdated_bases using ended_links e where e.person_id = state.outdated_bases.person_id and e.side <> 'qualified';
delete from state.base_missing using ended_links e where e.person_id = state.base_missing.person_id and e.side <> 'qualified';
delete from state.standing_differences using ended_links e where e.person_id = state.standing_differences.person_id and e.side <> 'qualified';
delete from state.unsettled using ended_links e where e.person_id = state.unsettled.person_id;

insert into inbox.touched (record_type, dynamics_id, person_id, is_receipt)
select
    case when side <> 'dynamics' then record_type end, case when side <> 'dynamics' then dynamics_id end,
    case when side = 'dynamics' then person_id end, true
from ended_links;

insert into state.unpublished (published_table, person_id)
select 'people', person_id from ended_links;

create temp table gone_errors as
with open_errors as (
    select distinct record_type, dynamics_id
    from ledger.sync_errors
    where state <> 'resolved' and dynamics_id is not null and exists (from inbox.touched)  -- or nobody was deleted
)
select record_type, dynamics_id from ended_links
union
select record_type, dynamics_id from person_records_of('open_errors') where is_deleted;

-- Of what is gone, no error is left to mend, but for a flag that does not stay on its person.
update ledger.sync_errors e
set state = 'resolved'
from gone_errors g
where e.state <> 'resolved' and g.record_type = e.record_type and g.dynamics_id = e.dynamics_id
  and not exists (from state.unsettled u where u.person_id = e.person_id and u.field = e.field and u.code = e.code);
