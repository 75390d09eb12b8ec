-- missing: remembers the people and records of which a system said that they are not there. That is no refusal: the next cycle
-- reads each by id, and finds it or proves it gone (R86), after which the link ends as with any deletion (R79, R81).
--
-- reads    fresh_receipts, state.suspects
-- makes    nothing
-- changes  state.suspects
insert into state.suspects (record_type, suspect_id, since, next_look_at)
select kind, suspect_id, min(received_at), min(received_at)
from (
    select
        case when system = 'marketo' then 'person' else record_type end as kind,
        case when system = 'marketo' then person_id::varchar else dynamics_id end as suspect_id,
        received_at
    from fresh_receipts
    where outcome = 'missing' and action = 'update'
)
where (kind, suspect_id) not in (select (record_type, suspect_id) from state.suspects)
group by kind, suspect_id;
