-- reopened_errors: opens again the error of an own field of a person that was put back and did not stay, so that one error
-- counts all attempts (R116).
--
-- reads    altered_own_fields
-- makes    nothing
-- changes  ledger.sync_errors
update ledger.sync_errors e
set state = 'waiting'
from altered_own_fields a
where a.error_id = e.error_id and e.state = 'resolved';
