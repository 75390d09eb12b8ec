-- untold_changes: what the census found in the last seven days and no feed had told: the feeds are not complete.
--
-- reads    ledger.audit_findings, ledger.cycles
-- makes    untold_changes: one row per finding
-- changes  nothing
create temp table untold_changes as
select
    code || coalesce(' (' || field || ')', '') as offence,
    record_type || ' ' || coalesce(dynamics_id, person_id::varchar) as id
from ledger.audit_findings
where found_by = 'census'
  and found_at > (select max_by(started_at, cycle_id) from ledger.cycles) - interval 7 days;
