-- told_requests: writes into the ledger, and into the person's activity log, what became of requests; each once (R73).
--
-- reads    this_serving, ended_requests, ledger.requests
-- makes    told_requests: one row per request that the ledger does not have yet
-- changes  ledger.requests, ledger.activities
create temp table told_requests as
from ended_requests where request_id not in (select request_id from ledger.requests);

insert into ledger.requests
    (entry_id, request_id, kind, cycle_id, asked_at, answered_at, door, person_id, record_type, dynamics_id, outcome_code,
     field, message)
select
    nextval('ledger.entries'), request_id, kind, cycle_id, asked_at, served_at, door, person_id, record_type,
    case when outcome_code = 'created' then request_id end, outcome_code, field, message
from told_requests, this_serving;

insert into ledger.activities
    (activity_id, cycle_id, activity_at, person_id, activity_type, field, reason_code, message, source)
select
    nextval('ledger.entries'), cycle_id, served_at, person_id,
    case kind
        when 'owner' then 'Change Owner in Microsoft'
        when 'task' then 'Create Task in Microsoft'
        else 'Sync Person to Microsoft'
    end,
    field,
    case when outcome_code in ('created', 'assigned', 'already_in_sync', 'superseded', 'withdrawn') then outcome_code else 'refused' end,
    message, 'Dynamics sync'
from told_requests, this_serving
where outcome_code <> 'person_missing';
