-- standing_differences: accepts, replaces and ends standing differences. One ends where nothing differs any more, or a new one
-- takes its place; where a write is planned it stays until the receipt, because a cut in between must not turn one edit into a
-- collision. That of a parked field rests: nobody compared its sides, and what was accepted must not come back as an edit.
--
-- reads    this_cycle, compared_links, differing_fields, field_outcomes, state.standing_differences, reconcile.fields
-- makes    nothing
-- changes  state.standing_differences, state.unpublished
delete from state.standing_differences s
using compared_links c
where c.person_id = s.person_id
  and (
      ((s.person_id, s.field) not in (select (person_id, field) from differing_fields)
       and (c.record_type, s.field) in (select (record_type, field) from reconcile.fields))
      or (s.person_id, s.field) in (select (person_id, field) from field_outcomes where outcome = 'agree')
      or (s.person_id, s.field) in (
          select (o.person_id, o.field)
          from field_outcomes o
          join state.standing_differences t on t.person_id = o.person_id and t.field = o.field
          where o.outcome = 'stand'
            and (t.dynamics_value is distinct from o.dynamics_value or t.marketo_value is distinct from o.marketo_value)
      )
  );

insert into state.standing_differences (person_id, field, dynamics_value, marketo_value, reason_code, since)
select person_id, field, dynamics_value, marketo_value, rule_code, planned_at
from field_outcomes o, this_cycle
where outcome = 'stand'
  and not exists (from state.standing_differences s where s.person_id = o.person_id and s.field = o.field);

-- Their published rows follow also where nothing was read again, as when a field that was unsettled is looked at once more.
insert into state.unpublished (published_table, person_id)
select 'people', person_id from compared_links;
