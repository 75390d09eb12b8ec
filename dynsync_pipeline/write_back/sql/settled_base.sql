-- settled_base: moves the base of what was applied. A field that was refused while its person was made has none: the two never
-- agreed on it (R42).
--
-- reads    new_links, applied_changes, left_out_on_create, dynamics_long, reconcile.fields
-- makes    nothing
-- changes  state.base_moves, state.base_missing
insert into state.base_moves (person_id, field, value)
select person_id, field, value
from dynamics_long
where person_id in (select person_id from new_links)
  and (person_id, field) not in (select (person_id, field) from left_out_on_create);

insert into state.base_moves (person_id, field, value)
select person_id, changed_field, base_after from applied_changes where is_mapped and not is_new_person;

insert into state.base_missing (person_id, field)
select distinct x.person_id, x.field
from left_out_on_create x
join new_links n on n.person_id = x.person_id
join reconcile.fields f on f.record_type = n.record_type and f.field = x.field;
