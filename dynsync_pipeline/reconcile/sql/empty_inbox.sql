-- empty_inbox: ends the plan: whatever was touched has been looked at. A link that could not be looked at as a field came back
-- meets anew in it (R42), so that what the field lost while it was gone is no clear (R107). A table that was not read with its
-- new columns yet is looked at when it was.
--
-- reads    compared_links, wanted_undos, state.links, state.unread_tables, state.returned_fields, state.base_missing
-- makes    nothing
-- changes  inbox.touched, inbox.merges, inbox.feed_entries, state.base_missing, state.returned_fields, state.joined_fields,
--          state.relabelled_accounts, state.undoing
insert into state.base_missing (person_id, field)
select l.person_id, f.field
from state.links l
join state.returned_fields f using (record_type)
where l.person_id not in (select person_id from compared_links)
  and (l.person_id, f.field) not in (select (person_id, field) from state.base_missing)
  and l.record_type not in (select record_type from state.unread_tables);

delete from inbox.touched;
delete from inbox.merges;
delete from inbox.feed_entries;
delete from state.returned_fields where record_type not in (select record_type from state.unread_tables);
delete from state.joined_fields where record_type not in (select record_type from state.unread_tables);
delete from state.relabelled_accounts;

-- What is not ours any more is not undone.
delete from state.undoing where change_id in (select change_id from wanted_undos where verdict <> 'ours');
