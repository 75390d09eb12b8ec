-- sent_requests: notes what is about to be sent to Dynamics as new records, so that no plan takes one for a stranger, and so that what
-- was sent is the base of the link however much later it is made (R83).
--
-- reads    sent_requests, pending_requests, request_values, state.requested
-- makes    nothing
-- changes  state.requested, state.requested_values
insert into state.requested (person_id, record_type, dynamics_id)
select person_id, record_type, request_id
from pending_requests
where request_id in (select request_id from sent_requests) and request_id not in (select dynamics_id from state.requested);

delete from state.requested_values where dynamics_id in (select request_id from sent_requests);

insert into state.requested_values (dynamics_id, field, dynamics_column, value, shown)
select request_id, field, dynamics_column, value, shown
from request_values
where request_id in (select request_id from sent_requests);
