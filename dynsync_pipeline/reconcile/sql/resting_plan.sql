-- resting_plan: lets the plan of a cycle in shadow rest, which nobody sends: it is looked at again once a side moves, and when the
-- sync is live.
--
-- reads    nothing
-- makes    nothing
-- changes  state.unsettled
update state.unsettled set next_look_at = never() where reason_code = 'planned' and next_look_at < never();
