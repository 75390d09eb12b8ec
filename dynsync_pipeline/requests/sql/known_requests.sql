-- known_requests: tells what the working file knows of the requests at hand, before either system is asked. What was sent before
-- comes first: its record may be there, whatever has become of the person since.
--
-- reads    pending_requests, state.links, state.tombstones, state.requested
-- makes    known_requests: one row per request; `kind` is linked, to its own record; ended, that link is over, or went to another
--            person by a merge; sent, nobody knows whether its record was made; or new. `is_linked`: the person is, to whatever record
-- changes  nothing
create temp table known_requests as
select
    q.request_id, l.person_id is not null as is_linked,
    case
        when l.dynamics_id = q.request_id then 'linked'
        when q.request_id in (select dynamics_id from state.links) or q.request_id in (select dynamics_id from state.tombstones)
            then 'ended'
        when q.request_id in (select dynamics_id from state.requested) then 'sent'
        else 'new'
    end as kind
from pending_requests q
left join state.links l on l.person_id = q.person_id;
