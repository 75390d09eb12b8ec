-- forgotten_edits: forgets when fields were edited that the newest edit decides, once their sides agree.
--
-- reads    compared_links, field_outcomes, ended_links
-- makes    nothing
-- changes  state.dynamics_edits, state.marketo_edits
delete from state.dynamics_edits e
using compared_links c
where c.record_type = e.record_type and c.dynamics_id = e.dynamics_id
  and (c.person_id, e.field) not in (select (person_id, field) from field_outcomes where outcome <> 'agree');

delete from state.marketo_edits e
using compared_links c
where c.person_id = e.person_id
  and (e.person_id, e.field) not in (select (person_id, field) from field_outcomes where outcome <> 'agree');

delete from state.dynamics_edits e using ended_links l where l.record_type = e.record_type and l.dynamics_id = e.dynamics_id;

delete from state.marketo_edits e using ended_links l where l.person_id = e.person_id;
