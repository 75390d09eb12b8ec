-- agreed_base: moves the base where nothing has to be written: both sides hold the same value (R38), or two unequal values
-- are accepted at a first meeting.
--
-- reads    field_outcomes, differing_fields, compared_links, state.base_missing
-- makes    nothing
-- changes  state.base_missing, state.base_moves

-- A field that came back empty has lost its base for good (R107), whatever becomes of the write that fills it.
insert into state.base_missing (person_id, field)
select person_id, field from differing_fields
where not has_base and (person_id, field) not in (select (person_id, field) from state.base_missing);

insert into state.base_moves (person_id, field, value)
select person_id, field, dynamics_value from field_outcomes
where outcome = 'agree' or (outcome = 'stand' and not has_base and rule_code <> 'in_review');

-- A field without base that is null on both sides has no row in differing_fields: the null is agreed now.
insert into state.base_moves (person_id, field, value)
select m.person_id, m.field, null
from state.base_missing m
join compared_links using (person_id)
anti join differing_fields d on d.person_id = m.person_id and d.field = m.field;
