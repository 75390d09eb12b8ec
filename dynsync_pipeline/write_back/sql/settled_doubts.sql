-- settled_doubts: forgets that a record failed with others, once it was applied or nothing of it is left to do.
--
-- reads    fresh_receipts, state.unsettled
-- makes    nothing
-- changes  state.doubts
delete from state.doubts d
using fresh_receipts r
where r.outcome = 'applied' and d.system = r.system and d.action = r.action
  and d.record_type = r.record_type and d.dynamics_id = r.dynamics_id;

delete from state.doubts
where (record_type, dynamics_id) not in (select (record_type, dynamics_id) from state.unsettled);
