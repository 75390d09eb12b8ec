-- sync_filter: decides which of the records that were touched are let in, and which are kept out (R87). All other rules ask
-- state.filtered_out, which is what this file keeps. Who is kept out rests in both directions (R92): nothing of it waits, its
-- person is stale (R90), and it is compared with the stored base as soon as it is let in again (R89).
--
-- reads    this_cycle, inbox.touched, mirror.sync_filters, state.lost_filters, state.filtered_out, state.links
-- makes    seen_filters: one row per touched record, with what its filter says; none where that is not to be trusted
--          filter_turns: one row per record that is let in, or kept out, from now on; `is_emptied` where its filter was emptied
-- changes  state.filtered_out, state.started, state.unsettled, state.unpublished, ledger.sync_errors
create temp table seen_filters as
with records as (
    select distinct record_type, dynamics_id from inbox.touched where dynamics_id is not null
)
select record_type, dynamics_id, is_deleted, sync_filter
from sync_filters_of('records')
where record_type not in (select record_type from state.lost_filters where not is_given_up);

create temp table filter_turns as
select record_type, dynamics_id, false as is_let_in, false as is_emptied
from seen_filters
where not is_deleted and sync_filter = 'false'
  and (record_type, dynamics_id) not in (select (record_type, dynamics_id) from state.filtered_out)
union all
select f.record_type, f.dynamics_id, true, s.sync_filter is null
from seen_filters s
join state.filtered_out f using (record_type, dynamics_id)
where not s.is_deleted and s.sync_filter is distinct from 'false';

delete from state.filtered_out f using filter_turns t
where t.record_type = f.record_type and t.dynamics_id = f.dynamics_id and t.is_let_in;

-- A record that is gone is kept out of nothing.
delete from state.filtered_out f using seen_filters s
where s.record_type = f.record_type and s.dynamics_id = f.dynamics_id and s.is_deleted;

insert into state.filtered_out (record_type, dynamics_id, since)
select record_type, dynamics_id, planned_at from filter_turns, this_cycle where not is_let_in;

delete from state.started s using filter_turns t where t.record_type = s.record_type and t.dynamics_id = s.dynamics_id;
delete from state.started s using seen_filters f
where f.record_type = s.record_type and f.dynamics_id = s.dynamics_id and f.is_deleted;

insert into state.started (record_type, dynamics_id)
select record_type, dynamics_id from filter_turns where is_let_in and record_type <> 'account';

insert into state.unpublished (published_table, person_id)
select 'people', l.person_id from filter_turns t join state.links l using (record_type, dynamics_id);

delete from state.unsettled u using filter_turns t
where t.record_type = u.record_type and t.dynamics_id = u.dynamics_id and not t.is_let_in;

-- What was refused is found again when the record is let in. What cannot be read, or bears a foreign key, is told as ever.
update ledger.sync_errors e
set state = 'resolved'
from filter_turns t
where e.state <> 'resolved' and e.code not in ('unread', 'key_shared')
  and t.record_type = e.record_type and t.dynamics_id = e.dynamics_id and not t.is_let_in;
