-- ended_links: ends the links of which one side is gone; each becomes a tombstone. Gone in Dynamics: the person stays and is
-- flagged (R79). Gone in Marketo: Dynamics is untouched, and the record's values of now are kept, so that only a later edit
-- brings a person back (R80, R81).
--
-- reads    this_cycle, state.links, mirror.person_records, mirror.marketo_people, inbox.touched, state.dynamics_records
-- makes    ended_links: one row per link whose record is gone on one side, with that `side`
-- changes  state.links, state.base, state.base_missing, state.standing_differences, state.unsettled, state.tombstones,
--          state.tombstone_values, inbox.touched, state.unpublished, ledger.sync_errors
create temp table ended_links as
with gone as (
    select record_type, dynamics_id from mirror.person_records where is_deleted
)
select
    l.person_id, l.record_type, l.dynamics_id, case when gone.dynamics_id is not null then 'dynamics' else 'marketo' end as side
from state.links l
left join gone using (record_type, dynamics_id)
left join mirror.marketo_people m on m.person_id = l.person_id
where (
    l.person_id in (select person_id from inbox.touched)
    or (l.record_type, l.dynamics_id) in (select (record_type, dynamics_id) from inbox.touched)
)
and (gone.dynamics_id is not null or m.is_deleted);

delete from state.tombstones t using ended_links e where e.record_type = t.record_type and e.dynamics_id = t.dynamics_id;
delete from state.tombstone_values t using ended_links e where e.record_type = t.record_type and e.dynamics_id = t.dynamics_id;

insert into state.tombstones (person_id, record_type, dynamics_id, side, ended_at)
select person_id, record_type, dynamics_id, side, planned_at from ended_links, this_cycle;

insert into state.tombstone_values (record_type, dynamics_id, field, value)
with wide as (
    from state.dynamics_records
    where (record_type, dynamics_id) in (select (record_type, dynamics_id) from ended_links where side = 'marketo')
)
select record_type, dynamics_id, field, value from long_of('wide');

delete from state.links using ended_links e where e.person_id = state.links.person_id;
delete from state.base using ended_links e where e.person_id = state.base.person_id;
delete from state.base_missing using ended_links e where e.person_id = state.base_missing.person_id;
delete from state.standing_differences using ended_links e where e.person_id = state.standing_differences.person_id;
delete from state.unsettled using ended_links e where e.person_id = state.unsettled.person_id;

insert into inbox.touched (person_id, is_receipt)
select person_id, true from ended_links where side = 'dynamics';

insert into state.unpublished (published_table, person_id)
select 'people', person_id from ended_links;

-- Of what is gone, no error is left to mend.
update ledger.sync_errors e
set state = 'resolved'
where e.state <> 'resolved' and (e.record_type, e.dynamics_id) in (
    select (record_type, dynamics_id) from ended_links
    union all
    select (record_type, dynamics_id) from mirror.person_records where is_deleted
);
