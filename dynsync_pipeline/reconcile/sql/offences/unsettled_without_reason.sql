-- unsettled_without_reason: finds what differs and nobody will ever look at again, or nobody can say why it differs. Reads the
-- backlog, which is small; never the database.
--
-- reads    state.unsettled
-- makes    unsettled_without_reason: one row per offending record or field
-- changes  nothing
create temp table unsettled_without_reason as
select
    case when next_look_at is null then 'no next time to look' else 'no reason' end as offence,
    record_type || ' ' || dynamics_id || coalesce(', person ' || person_id, '') || coalesce(', ' || field, '') as id
from state.unsettled
where reason_code is null or next_look_at is null;
