-- first_meetings: gives the links that were found in this plan their base. What both hold equal is the base at once (R38): most
-- fields of a first load are such, and deciding on each would take forty rows for a person. The others have no base yet, and are
-- decided on as any difference is (R42). No field has one of whom more is to be decided than whether the two are equal: who bears an
-- option's old label (R33), whose edit was overwritten unseen, who waits for an undo, and all that comes after a backup was put back,
-- whose bases are made by restored_links.sql.
--
-- reads    found_links, compared_links, state.dynamics_records, state.marketo_values, state.old_labels, state.unseen_edits,
--          state.undoing, state.outdated_bases, state.restored, reconcile.fields
-- makes    met_links: one row per link found in this plan and compared in it, of which only equality is to be decided
--          met_hashes: two rows per such link, with a hash of what its record and its person hold
--          agreed_links: one row per such link whose record and person hold equal values in every field
--          unlike_meetings: one row per such link of which some values are not equal
--          met_values: one row per these, the values that record and person both hold, and which of its fields are unequal
-- changes  state.base, state.base_missing
create temp table met_links as
select person_id, record_type, dynamics_id
from found_links
semi join compared_links using (person_id)
anti join state.old_labels using (person_id)
anti join state.unseen_edits using (person_id)
anti join state.undoing using (person_id)
anti join state.outdated_bases using (person_id)
where not exists (from state.restored where reread_at is null);

-- By a hash of each side, of which a million take little room: two sides beside each other take ten times as much. Each in a
-- statement of its own, for joins of everybody in one do not spill enough.
create temp table met_hashes as
with records as (
    select m.person_id, r.* from met_links m join dynamics_records_of('met_links') r using (record_type, dynamics_id)
)
select person_id, hash(*columns(* exclude (person_id, record_type, dynamics_id))) as h from records;

insert into met_hashes (person_id, h)
select person_id, hash(*columns(* exclude (person_id, record_type, dynamics_id))) from marketo_values_of('met_links');

create temp table agreed_links as
from met_links
where person_id in (select person_id from met_hashes group by person_id having min(h) = max(h));

create temp table unlike_meetings as
from met_links anti join agreed_links using (person_id);

create temp table met_values as
from met_values_of('unlike_meetings');

insert into state.base by name
select a.person_id, r.* exclude (record_type, dynamics_id, "(nothing)")
from agreed_links a
join dynamics_records_of('agreed_links') r using (record_type, dynamics_id);

insert into state.base by name
select * exclude ("(unequal)") from met_values;

insert into state.base_missing (person_id, field)
select person_id, unnest("(unequal)") from met_values;

insert into state.base (person_id)
select person_id from found_links anti join met_links using (person_id);

insert into state.base_missing (person_id, field)
select person_id, field from found_links anti join met_links using (person_id) join reconcile.fields using (record_type);
