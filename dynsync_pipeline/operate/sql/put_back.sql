-- put_back: makes of a working file that comes from a backup one that says so. Both systems are to be read as a whole before anything
-- is planned; what was under way when the backup was made is forgotten, because nobody knows how it ended; what a later snapshot tells
-- is noted. Marketo's feed is read on from where it was, because only it tells who was deleted or merged since.
--
-- reads    putting_back, later_tombstones, later_changes, state.links, state.tombstones, reconcile.own_fields
-- makes    nothing
-- changes  state.restored, state.outdated_bases, state.outdated_fields, state.reviews, state.changed_after_backup, state.tombstones, state.cursors,
--          state.export_windows, state.empty_cells, state.unsettled, state.approvals, state.unseen_edits, state.undoing, state.dynamics_edits, state.marketo_edits, state.untold, state.suspects, state.doubts,
--          state.back_fills, state.back_fill_windows, state.untold_entries, state.told_until, state.definitions_read, state.started,
--          state.base_moves, state.expected_rows, state.refused_links, state.relabelled_accounts, reconcile.operations, reconcile.planned_changes, reconcile.planned_collisions,
--          reconcile.planned_activities, reconcile.planned_account_changes, reconcile.receipts, reconcile.edited_meanwhile,
--          reconcile.refused_fields, reconcile.failed_operations, reconcile.unsent_fields, inbox.dynamics_accounts,
--          inbox.dynamics_contacts, inbox.dynamics_leads, inbox.marketo_people, inbox.marketo_companies, inbox.feed_after_cut, inbox.feed_entries,
--          inbox.last_changed_by_us, inbox.merges, inbox.told_changes, inbox.touched, ledger.cycles,
--          state.parquet, state.parquet_moved
delete from state.restored;

insert into state.restored (restored_at, made_at, reread_at)
select restored_at, made_at, null from putting_back;

delete from state.outdated_bases;

delete from state.outdated_fields;

-- A word was for what stood there then, and may have been carried out since.
update state.reviews set choice = null, chosen_at = null, chosen_by = null;

delete from state.changed_after_backup;

insert into state.changed_after_backup (person_id, field)
select distinct person_id, field from later_changes;

-- Of records that had lost their person by then, which the backup does not know; one that has a person again is found by its key.
insert into state.tombstones (person_id, record_type, dynamics_id, side, ended_at)
select person_id, record_type, dynamics_id, side, ended_at
from later_tombstones
where (record_type, dynamics_id) not in (select (record_type, dynamics_id) from state.tombstones)
  and (record_type, dynamics_id) not in (select (record_type, dynamics_id) from state.links);

-- Everything is read anew. Without the sync's own fields among its columns no read of people goes on from here; the others stay, or they
-- would count as new.
delete from state.cursors where stream <> 'marketo_people';

update state.cursors
set is_loaded = false, whole_columns = null,
    columns = array_to_string(list_filter(string_split(columns, ','), lambda each_column: each_column <> o.person_type), ',')
from reconcile.own_fields o;

delete from state.export_windows;

delete from state.empty_cells;

delete from state.definitions_read;

delete from state.expected_rows;

delete from state.refused_links;

delete from state.relabelled_accounts;

delete from state.unsettled;

delete from state.approvals;

delete from state.base_moves;

delete from state.unseen_edits;

delete from state.undoing;

delete from state.dynamics_edits;

delete from state.marketo_edits;

delete from state.untold;

delete from state.suspects;

delete from state.doubts;

delete from state.started;

update state.back_fills set ended_at = restored_at, outcome_code = 'stopped' from putting_back where ended_at is null;

delete from state.back_fill_windows;

-- What refusals were to be told in Marketo's own log may have been told since, and is told once (R115).
delete from state.untold_entries;

update state.told_until set activity_id = newest_entry from putting_back;

delete from reconcile.operations;

delete from reconcile.planned_changes;

delete from reconcile.planned_collisions;

delete from reconcile.planned_activities;

delete from reconcile.planned_account_changes;

delete from reconcile.receipts;

delete from reconcile.edited_meanwhile;

delete from reconcile.refused_fields;

delete from reconcile.failed_operations;

delete from reconcile.unsent_fields;

delete from inbox.dynamics_accounts;

delete from inbox.dynamics_contacts;

delete from inbox.dynamics_leads;

delete from inbox.marketo_people;

delete from inbox.marketo_companies;

delete from inbox.feed_after_cut;

delete from inbox.feed_entries;

delete from inbox.last_changed_by_us;

delete from inbox.merges;

delete from inbox.told_changes;

delete from inbox.touched;

update ledger.cycles set status = 'failed', message = 'It ran when the backup was made.' where status in ('running', 'loading');

insert into ledger.cycles (cycle_id, started_at, ended_at, status, message, is_whole)
select
    newest_cycle + 1, restored_at, restored_at, 'restored',
    'The backup of ' || strftime(made_at, '%Y-%m-%d %H:%M:%S') || ' UTC was put back; both systems are read as a whole before anything is written.',
    false
from putting_back;

-- Parquet files are written as a whole; where there are some already they may be another installation's, whose backup this was.
delete from state.parquet;

delete from state.parquet_moved;
