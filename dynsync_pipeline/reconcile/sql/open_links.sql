-- open_links: chooses every link with a field that differs, or that its two sides never agreed on. Takes the place of
-- compared_links.sql where other rules are tried on what differs now; cost follows the differences.
--
-- reads    state.links, state.filtered_out, state.standing_differences, state.unsettled, state.base_missing, state.reviews,
--          mirror.marketo_people, mirror.person_records
-- makes    compared_links: one row per such link with a record on both sides that the filter lets in
-- changes  nothing
create temp table compared_links as
select l.person_id, l.record_type, l.dynamics_id
from state.links l
join mirror.marketo_people m on m.person_id = l.person_id and not m.is_deleted
join mirror.person_records r on r.record_type = l.record_type and r.dynamics_id = l.dynamics_id and not r.is_deleted
anti join state.filtered_out f on f.record_type = l.record_type and f.dynamics_id = l.dynamics_id
where l.person_id in (
    select person_id from state.standing_differences
    union
    select person_id from state.unsettled where person_id is not null
    union
    select person_id from state.base_missing
    union
    select person_id from state.reviews
);
