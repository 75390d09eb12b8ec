-- empty_inbox: ends the plan: whatever was touched has been looked at.
--
-- reads    nothing
-- makes    nothing
-- changes  inbox.touched, state.returned_fields, state.relabelled_accounts
delete from inbox.touched;
delete from state.returned_fields;
delete from state.relabelled_accounts;
