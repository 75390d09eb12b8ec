-- started_links: tells in the log of a person that its record was let in (R89), where it has one by now. Who gets a person only with
-- this plan has the entry when it does (settled_ledger.sql).
--
-- reads    this_cycle, state.started, state.links
-- makes    nothing
-- changes  state.started, ledger.activities
insert into ledger.activities (activity_id, cycle_id, activity_at, person_id, activity_type, reason_code, source)
select nextval('ledger.entries'), cycle_id, planned_at, l.person_id, 'Create [StartSync]', 'let_in', 'Dynamics sync'
from state.started s
join state.links l using (record_type, dynamics_id), this_cycle;

delete from state.started s using state.links l where l.record_type = s.record_type and l.dynamics_id = s.dynamics_id;
