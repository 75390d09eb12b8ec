-- taken_over_links: gives the record of a person who was merged away to the winner, who was a lead until now, or whose own record is
-- gone (R25). Base and standing differences go with the link: what the merge made of the values is Marketo's edit, and what
-- Dynamics edited since is Dynamics'. Where the link had ended before, the two meet for the first time (R42).
--
-- reads    this_cycle, taken_over, reconcile.fields
-- makes    nothing
-- changes  state.links, state.base, state.base_missing, state.outdated_bases, state.outdated_fields, state.standing_differences, state.unsettled, state.tombstones,
--          state.tombstone_values, state.unpublished, inbox.touched
update state.links l set person_id = t.person_id, linked_at = planned_at
from taken_over t, this_cycle where l.person_id = t.loser_id;

update state.base b set person_id = t.person_id from taken_over t where b.person_id = t.loser_id;
update state.outdated_bases b set person_id = t.person_id from taken_over t where b.person_id = t.loser_id;
update state.outdated_fields b set person_id = t.person_id from taken_over t where b.person_id = t.loser_id;
update state.base_missing b set person_id = t.person_id from taken_over t where b.person_id = t.loser_id;
update state.standing_differences s set person_id = t.person_id from taken_over t where s.person_id = t.loser_id;
delete from state.unsettled u using taken_over t where u.person_id = t.loser_id;

insert into state.links (person_id, record_type, dynamics_id, linked_at)
select person_id, record_type, dynamics_id, planned_at from taken_over, this_cycle where loser_id is null;

insert into state.base (person_id)
select person_id from taken_over where loser_id is null;

insert into state.base_missing (person_id, field)
select t.person_id, f.field from taken_over t join reconcile.fields f using (record_type) where t.loser_id is null;

delete from state.tombstones b using taken_over t where b.record_type = t.record_type and b.dynamics_id = t.dynamics_id;
delete from state.tombstone_values b using taken_over t where b.record_type = t.record_type and b.dynamics_id = t.dynamics_id;

-- Their keys are borne no more.
update state.tombstones b
set side = 'merged'
from taken_over t
where b.person_id = t.person_id and b.side = 'dynamics';

insert into state.unpublished (published_table, person_id)
select 'people', unnest([person_id, loser_id]) from taken_over;

insert into inbox.touched (person_id, is_receipt)
select person_id, false from taken_over;
