-- Offence: something that differs and that nobody will ever look at again, or that nobody can say why it differs.
-- Reads the backlog, which is small; never the database.
select
    case when next_look_at is null then 'no next time to look' else 'no reason' end as offence,
    record_type || ' ' || coalesce(dynamics_id, 'unknown') || coalesce(', person ' || person_id, '')
        || coalesce(', ' || field, '') as id
from state.unsettled
where nullif(trim(reason), '') is null or next_look_at is null
order by all
