-- doubled_links: finds keys touched by this cycle that are linked more than once, and writes that go past their link. Guards
-- against the worst a sync can do: one person's values written onto another's record.
--
-- reads    reconcile.operations, state.links, state.tombstones, ledger.cycles
-- makes    doubled_links: one row per offending key
-- changes  nothing
create temp table doubled_links as
with touched as (
    select record_type, dynamics_id, person_id from reconcile.operations
    union
    select record_type, dynamics_id, person_id from state.links
    where linked_at >= (select max_by(started_at, cycle_id) from ledger.cycles)
),
near as (
    select * from state.links where person_id in (select person_id from touched where person_id is not null)
    union
    select l.* from state.links l semi join touched t on t.record_type = l.record_type and t.dynamics_id = l.dynamics_id
)
select 'person with several links' as offence, 'person ' || person_id as id
from near group by person_id having count(*) > 1
union all
select 'record with several links', record_type || ' ' || dynamics_id
from near group by record_type, dynamics_id having count(*) > 1
union all
select 'update of a pair that is not linked', o.record_type || ' ' || o.dynamics_id || ', person ' || o.person_id
from reconcile.operations o
anti join near n on n.person_id = o.person_id and n.record_type = o.record_type and n.dynamics_id = o.dynamics_id
anti join state.tombstones b  -- a deletion is flagged on the person whose link it ended (R79)
    on b.person_id = o.person_id and b.record_type = o.record_type and b.dynamics_id = o.dynamics_id
where o.action = 'update'
union all
select 'creation of a person whose record is linked', o.record_type || ' ' || o.dynamics_id
from reconcile.operations o
semi join near n on n.record_type = o.record_type and n.dynamics_id = o.dynamics_id
where o.action = 'create' and o.sent_at is null;
