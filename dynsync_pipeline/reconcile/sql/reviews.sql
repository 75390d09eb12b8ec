-- reviews: keeps what waits for somebody's word, with both values. A word holds for these two alone: an edit of either opens the
-- review anew, under another number. It is closed where nothing is to be decided any more; that of a parked field rests.
--
-- reads    this_cycle, compared_links, field_outcomes, ended_links, taken_over, state.option_maps, state.old_labels, state.parked_fields, state.reviews
-- makes    nothing
-- changes  state.reviews
delete from state.reviews r using ended_links e where e.person_id = r.person_id;

delete from state.reviews r using taken_over t where t.loser_id = r.person_id;

delete from state.reviews r
using compared_links c
where c.person_id = r.person_id
  and (r.record_type, r.field) not in (select (record_type, marketo_field) from state.parked_fields)
  and not exists (
      from field_outcomes o
      where o.person_id = r.person_id and o.field = r.field and o.dynamics_id = r.dynamics_id and o.collision = 'review'
        and (o.rule_code in ('in_review', 'reviewed') or o.outcome = 'wait')
        and o.dynamics_value is not distinct from r.dynamics_value and o.marketo_value is not distinct from r.marketo_value
  );

insert into state.reviews
    (review_id, person_id, record_type, dynamics_id, field, base_value, dynamics_value, marketo_value, base_shown,
     dynamics_shown, marketo_shown, opened_at)
select
    nextval('ledger.entries'), f.person_id, f.record_type, f.dynamics_id, f.field, f.base_value, f.dynamics_value,
    f.marketo_value,
    shown_options(f.base_value, f.type, o), shown_options(f.dynamics_value, f.type, o),
    coalesce(x.label, shown_options(f.marketo_value, f.type, o)), planned_at
from field_outcomes f
cross join this_cycle
left join state.option_maps o on o.record_type = f.record_type and o.dynamics_column = f.dynamics_column
left join state.old_labels x on x.person_id = f.person_id and x.record_type = f.record_type and x.field = f.field
    and x.option_value = f.marketo_value
where f.rule_code = 'in_review' and (f.person_id, f.field) not in (select (person_id, field) from state.reviews);
