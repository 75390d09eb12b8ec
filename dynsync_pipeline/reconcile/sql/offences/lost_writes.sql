-- lost_writes: finds operations of the plan that vanished without an answer, and touched links without exactly one row on each of
-- their three sides. Whatever was planned is either done, with a receipt, or stands in the backlog.
--
-- reads    reconcile.operations, reconcile.receipts, state.links, state.base, state.unsettled, state.tombstones,
--          mirror.marketo_people, mirror.person_records, ledger.cycles
-- makes    lost_writes: one row per offending key
-- changes  nothing
create temp table lost_writes as
with answered as (
    select o.*, r.outcome, r.is_settled, coalesce(o.person_id, r.person_id) as linked_person_id
    from reconcile.operations o
    left join reconcile.receipts r using (operation_id)
),
touched as (
    select record_type, dynamics_id, linked_person_id as person_id from answered
    union
    select record_type, dynamics_id, person_id from state.links
    where linked_at >= (select max_by(started_at, cycle_id) from ledger.cycles)
),
linked as (
    select l.* from state.links l semi join touched t on t.person_id = l.person_id
),
sides as (
    select person_id, 'base' as side from state.base where person_id in (select person_id from linked)
    union all
    select person_id, 'Marketo' from mirror.marketo_people where person_id in (select person_id from linked)
    union all
    select l.person_id, 'Dynamics' from linked l join mirror.person_records r using (record_type, dynamics_id)
),
counted as (
    select s.person_id, s.side, count(sides.person_id) as n_rows
    from (select person_id, unnest(['base', 'Marketo', 'Dynamics']) as side from linked) s
    left join sides on sides.person_id = s.person_id and sides.side = s.side
    group by s.person_id, s.side
)
select 'write without receipt that is not in the backlog' as offence, record_type || ' ' || dynamics_id as id
from answered a
where outcome is null
  and not exists (from state.unsettled u where u.record_type = a.record_type and u.dynamics_id = a.dynamics_id)
union all
select 'receipt that was not settled', record_type || ' ' || dynamics_id from answered where not is_settled
union all
select 'confirmed write without a link', record_type || ' ' || dynamics_id
from answered a
where outcome = 'applied' and action <> 'company'
  and not exists (
    from (select person_id, record_type, dynamics_id from state.links
          union all
          select person_id, record_type, dynamics_id from state.tombstones) l
    where l.person_id = a.linked_person_id and l.record_type = a.record_type and l.dynamics_id = a.dynamics_id
  )
union all
select n_rows || ' rows instead of one in ' || side, 'person ' || person_id from counted where n_rows <> 1;
