-- settled_base: moves the base of what was applied.
--
-- reads    new_links, applied_changes, refused_on_create, dynamics_long
-- makes    nothing
-- changes  state.base_moves
insert into state.base_moves (person_id, field, value)
select person_id, field, value
from dynamics_long
where person_id in (select person_id from new_links)
  and (person_id, field) not in (select (person_id, field) from refused_on_create);

insert into state.base_moves (person_id, field, value)
select person_id, changed_field, base_after from applied_changes where is_mapped and not is_new_person;
