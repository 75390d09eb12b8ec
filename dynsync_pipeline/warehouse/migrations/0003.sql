-- What schema 3 adds to the working file: absence, refused links and renamed labels are remembered, findings are kept.

-- One row per field of the map that is not synced now, and why, in words. `reason_code`: not_offered, a system does not offer it
-- as the map has it (R107); being_read, it is new and is being read of everybody; to_be_read, that begins later;
-- new_in_package, an upgrade brought it. `was_gone`: it
-- was not offered before, so that what it lost meanwhile is no clear.
alter table state.parked_fields add column reason_code varchar default 'not_offered';
alter table state.parked_fields alter column reason_code set not null;
alter table state.parked_fields alter column reason_code drop default;
alter table state.parked_fields add column was_gone boolean default true;
alter table state.parked_fields alter column was_gone set not null;
alter table state.parked_fields alter column was_gone drop default;

-- One row per stream that was read anew because the system refused its link; the last such time. `waits_because`: what it said
-- when it refused again within a day, since when the stream is left out of the cycles; null while it is read. `is_behind`: columns
-- of now were never read of the whole table.
create table state.refused_links (
    stream varchar not null, read_anew_at timestamp not null, waits_because varchar, is_behind boolean not null
);

-- One row: what columns and views were last made from; none before the first cycle.
create table state.followed_map (digest varchar not null);

-- One row per difference between a mirror and what the census read, until its feed tells of it or it counts as missed; of a
-- person (`record_type` person, by person_id) one per field, of a record one per mapped field or column.
create table state.untold (
    code varchar not null, record_type varchar not null, dynamics_id varchar, person_id bigint, field varchar,
    seen_at timestamp not null
);
-- One row per thing that the cycles should have known and did not, or that is damaged; `found_by` is census, audit or extract.
create table ledger.audit_findings (
    finding_id bigint not null, found_at timestamp not null, found_by varchar not null, code varchar not null,
    record_type varchar, dynamics_id varchar, person_id bigint, field varchar
);

-- One row per person whom a bulk export showed with an empty cell of text, until it is decided what that means (R49).
-- `is_cleared`: where the mirror held a value.
create table state.empty_cells (person_id bigint not null, is_cleared boolean not null);

-- One row per label that an option of a choice column bore before; it is still understood (R33).
create table state.former_labels (
    record_type varchar not null, dynamics_column varchar not null, option_value varchar not null, label varchar not null
);
-- One row per person, record type and field whose text in Marketo holds a label that its option no longer bears; `option_value`
-- is what the text meant when it landed, one number or several (R29), until it changes (R33).
create table state.old_labels (
    person_id bigint not null, record_type varchar not null, field varchar not null, label varchar not null,
    option_value varchar not null
);
-- One row per account whose company holds a label that its option no longer bears, until the next plan (R33).
create table state.relabelled_accounts (account_id varchar not null);

-- One number per label: where two options share one, the lowest number answers; a former label where no option bears it now.
create or replace view state.options_by_label as
    select record_type, dynamics_column, label, min_by(option_value, try_cast(option_value as integer)) as option_value
    from state.options group by all
    union all
    select record_type, dynamics_column, label, option_value
    from state.former_labels
    where (record_type, dynamics_column, label) not in (select (record_type, dynamics_column, label) from state.options)
      and (record_type, dynamics_column, option_value) in (select (record_type, dynamics_column, option_value) from state.options);

-- One row per column with options: the number that a label means, of one option (`numbers`) and in a text of several
-- (`listed_numbers`, R29), and the label of a number.
create table state.option_maps (
    record_type varchar not null, dynamics_column varchar not null, numbers map(varchar, varchar) not null,
    listed_numbers map(varchar, varchar) not null, labels map(varchar, varchar) not null
);

-- One row per person (`person`) or record that an answer said is not there, or that a full read did not show; until it was
-- read by id (R86). `suspect_id` is the id as text.
create table state.suspects (
    record_type varchar not null, suspect_id varchar not null, since timestamp not null, next_look_at timestamp not null
);
-- One row per linked person or record that was found gone by absence, and no feed told; kept for the guard's seven days.
create table state.found_absent (
    record_type varchar not null, suspect_id varchar not null, found_at timestamp not null
);

-- `sent_at` is told by the clock of the system that was written to. `is_in_parts`: the operation left field by field, so that
-- some of it may never have left; null until then.
alter table reconcile.operations add column is_in_parts boolean;

drop table inbox.feed_after_cut;
-- One row per entry that the feed told of a person with an operation of unknown outcome; `place` is its order in time, `guid`
-- is shared by what was changed at once.
create table inbox.feed_after_cut (
    guid varchar not null, person_id bigint not null, field varchar not null, old_value varchar, value varchar,
    place bigint not null
);
-- One row per record that was read again after a cut, and that nobody changed after the sync's own user.
create table inbox.last_changed_by_us (record_type varchar not null, dynamics_id varchar not null);
-- Decimal places of a number in Dynamics; UserLocal, DateOnly or TimeZoneIndependent of a time there. The first cycle learns both.
alter table state.columns add column precision bigint;
alter table state.columns add column time_behavior varchar;
-- Of a column in Dynamics: where it is another one, the column was dropped and made anew, and what it held is gone.
alter table state.columns add column metadata_id varchar;
delete from state.columns;
-- One row: the time zone of the sync's user in Dynamics, by its IANA name; none where it is not known.
create table state.user_zone (zone varchar not null);
-- One row per record of Dynamics, or person or company of Marketo, whose last answer could not be read: by its id in `key`, to be
-- read again when `next_look_at` comes, at once where it is null; where no id was told, `key` is the message. `contact_id`, `lead_id`:
-- the keys that a person bears, where these are known.
create table state.unread (
    record_type varchar not null, key varchar not null, has_id boolean not null, contact_id varchar, lead_id varchar,
    message varchar not null, attempts integer not null, next_look_at timestamp
);
-- One row per link of which a side could not be read last: neither compared nor written until it was.
create view state.unread_links as
    select person_id, record_type, dynamics_id
    from state.links l semi join state.unread u on u.record_type = l.record_type and u.key = l.dynamics_id
    union
    select person_id, record_type, dynamics_id
    from state.links semi join (
        select key::bigint as person_id from state.unread where record_type = 'person' and has_id
    ) using (person_id)
    union
    select person_id, record_type, dynamics_id
    from state.links semi join (
        select split_part(key, ':', 1) as record_type, split_part(key, ':', 2) as dynamics_id
        from state.unread where record_type = 'company' and has_id
    ) using (record_type, dynamics_id);
-- One row per key of a record that a person bears who cannot be read: nobody is created for that record.
create view state.unread_bearers as
    select 'contact' as record_type, contact_id as dynamics_id
    from state.unread where record_type = 'person' and contact_id is not null
    union all
    select 'lead', lead_id from state.unread where record_type = 'person' and lead_id is not null;
-- Of what cannot be read, nobody may know the record.
alter table ledger.sync_errors alter column dynamics_id drop not null;

-- How often the file of a window could not be read.
alter table state.export_windows add column n_bad_files bigint default 0;
update state.export_windows set n_bad_files = 0;
alter table state.export_windows alter column n_bad_files set not null;
-- One row per operation of a request that failed and may have been applied; `n_together`: how many operations were in it.
create table reconcile.failed_operations (
    operation_id bigint not null, n_together bigint not null, code varchar, message varchar not null
);
-- One row per record, system and action that was in a request that failed and was not applied, until it is; `n_times` in a row,
-- the last time with `n_together` operations. `is_at_fault`: it failed alone while others were answered.
create table state.doubts (
    system varchar not null, action varchar not null, record_type varchar not null, dynamics_id varchar not null,
    n_times bigint not null, n_together bigint not null, is_at_fault boolean not null
);

-- Type and creation date of a person are read back (R18).
alter table inbox.marketo_people add column dynamics_type varchar;
alter table inbox.marketo_people add column dynamics_created_on varchar;
alter table mirror.marketo_people add column dynamics_type varchar;
alter table mirror.marketo_people add column dynamics_created_on varchar;

-- One row per publication that the private copy of the snapshot may bear: the last one, and during a publication the next.
create table state.publications (publication varchar not null);
-- One row: when the snapshot was last swapped in, by which cycle, and a digest of what it told beside the rows of `unpublished`.
create table state.last_swap (swapped_at timestamp not null, cycle_id bigint not null, news varchar not null);
-- One row per field that a system offered with this type and refused to read all the same, and what it said; until its definition
-- changes or the field map asks for it no more. `name` is the system's.
create table state.refused_fields (
    system varchar not null, record_type varchar not null, name varchar not null, data_type varchar, said varchar not null
);

-- One row per living person and key of a record that the person bears: compared by equality alone, which costs no more for a
-- million people than the people themselves.
create view state.bearers as
    select 'contact' as record_type, dynamics_contact_id as dynamics_id, person_id
    from mirror.marketo_people where not is_deleted and dynamics_contact_id is not null
    union all
    select 'lead', dynamics_lead_id, person_id
    from mirror.marketo_people where not is_deleted and dynamics_lead_id is not null;
-- What a number in Dynamics may be at least and at most, and whether the column must not be empty.
alter table state.columns add column minimum double;
alter table state.columns add column maximum double;
alter table state.columns add column is_required boolean;

-- One row per account and company field whose column in Dynamics was away and came back empty, which is no clear; until it holds
-- a value again (R107).
create table state.lost_account_values (account_id varchar not null, field varchar not null);

-- `whole_columns`: the column list that the last full read which ended was made with.
alter table state.cursors add column whole_columns varchar;
update state.cursors set whole_columns = columns where is_loaded;
-- One row per table that waits and of which columns of now were never read: nobody knows whether they are empty (R49).
create view state.unread_tables as
    select case stream when 'dynamics_accounts' then 'account' when 'dynamics_contacts' then 'contact' else 'lead' end as record_type
    from state.refused_links where waits_because is not null and is_behind;
-- One row per field that joined the map since the last plan; what Dynamics holds of it then is no edit that brings a person back.
create table state.joined_fields (record_type varchar not null, field varchar not null);

-- One row: for which field map and own fields the definitions of columns were last read, as a digest; none before that.
create table state.definitions_read (asked_for varchar not null);

-- One row per line of the package's field map that this installation syncs or parks, as it was when the file began; none under a
-- field map of one's own. What the package brings later is off until somebody takes it over. A file of version 2 keeps what it has.
create table state.shipped_fields (
    record_type varchar not null, marketo_field varchar not null, dynamics_column varchar not null
);
insert into state.shipped_fields (record_type, marketo_field, dynamics_column)
select record_type, field, dynamics_column from reconcile.fields
union
select record_type, marketo_field, dynamics_column from state.parked_fields;
-- Whether a column is one that people must fill ("business required" in Dynamics), which its API does not ask for.
alter table state.columns add column is_business_required boolean;

-- One row per request that has not ended: its record, which bears its id, is that person's and nobody else's (R71).
create table state.requested (person_id bigint not null, record_type varchar not null, dynamics_id varchar not null);
-- One row per such record and field that was sent: as it is compared, and as people read it (R83).
create table state.requested_values (
    dynamics_id varchar not null, field varchar not null, dynamics_column varchar not null, value varchar, shown varchar
);
-- One row per request that was answered. `kind`: record, a person of Marketo was to become one in Dynamics (R71); owner, its record
-- was to get another; task, one was to be made for it (R78). `door` is webhook, list or push; `dynamics_id` is there where a record
-- or a task was made.
create table ledger.requests (
    entry_id bigint not null, request_id varchar not null, kind varchar not null, cycle_id bigint not null, asked_at timestamp not null,
    answered_at timestamp not null, door varchar not null, person_id bigint not null, record_type varchar not null,
    dynamics_id varchar, outcome_code varchar not null, field varchar, message varchar
);
-- One row per system and turn at the requests between cycles: the calls that it took, which count for the day's budget.
create table ledger.calls_between (called_at timestamp not null, system varchar not null, n_calls bigint not null);

-- One row per table of Dynamics whose filter column kept somebody out and is missing, or may not be read (R87), with that as
-- `fault_code`: nobody is let in or kept out by it, unless `is_given_up`: an operator goes on without it.
create table state.lost_filters (record_type varchar not null, fault_code varchar not null, is_given_up boolean not null);
-- One row per record that its filter keeps out of the sync, as of the last plan, and when that began (R87); whoever is linked to
-- it is stale (R90).
create table state.filtered_out (record_type varchar not null, dynamics_id varchar not null, since timestamp not null);
-- One row per contact or lead that its filter let in again, until it has a person (R89).
create table state.started (record_type varchar not null, dynamics_id varchar not null);
-- One row per back-fill that somebody asked for and record type (R100): fields by their names in Marketo; of records created and
-- modified from these times on, as the mirror holds them. `n_again`: fields, or companies, that are sent once more.
-- `outcome_code`: done or stopped.
create table state.back_fills (
    back_fill_id bigint not null, record_type varchar not null, fields varchar[] not null, created_since varchar,
    modified_since varchar, asked_at timestamp not null, last_read_at timestamp,
    n_chosen bigint not null, n_read bigint not null, n_again bigint not null, ended_at timestamp, outcome_code varchar
);
-- One row per stretch of time whose records an open back-fill has yet to read, by when they were created; null is no bound. Where
-- reading it failed, it is set aside until `next_look_at`, and `message` says why.
create table state.back_fill_windows (
    back_fill_id bigint not null, record_type varchar not null, created_from varchar, created_before varchar,
    attempts integer not null, next_look_at timestamp, message varchar
);
-- One row per user or team in Dynamics, as last seen; records are owned by either (R24).
create table mirror.dynamics_owners (
    id varchar not null, is_team boolean not null, name varchar, email varchar, is_enabled boolean not null
);
-- One row: when users and teams were last read as a whole, when last for what changed, and the newest change that was seen of
-- them; no such where Dynamics refused to show them.
create table state.owners_read (read_at timestamp not null, asked_at timestamp not null, newest timestamp);

-- One row per change of a synced field's column, or of one of its options, that a read of the definitions showed (R106 to R109);
-- `record_type` is null for people in Marketo.
create table ledger.schema_changes (
    entry_id bigint not null, seen_at timestamp not null, system varchar not null, record_type varchar, name varchar not null,
    code varchar not null, old_value varchar, new_value varchar
);

-- One row: up to which entry of the activity log refusals were handed over to be told in Marketo; none while that is off.
create table state.told_until (activity_id bigint not null);
-- One row per entry that is yet to be told in the person's own log in Marketo (R115). `sent_at`: it left at that time, by Marketo's
-- clock, and has no answer.
create table state.untold_entries (
    activity_id bigint not null, person_id bigint not null, happened_at timestamp not null, field varchar, message varchar not null,
    sent_at timestamp
);
-- One row per such entry that is done: told, refused by Marketo, or given_up.
create table ledger.marketo_entries (
    entry_id bigint not null, cycle_id bigint not null, activity_id bigint not null, person_id bigint not null,
    ended_at timestamp not null, outcome_code varchar not null, message varchar
);

-- One row per two people who are one by their records, and whom somebody may merge in Marketo (R97, R99). `cause_code`:
-- merged_in_dynamics or qualified; `state`: open, sent while nobody knows what became of the merge, merged, or withdrawn.
create table ledger.merge_proposals (
    proposal_id bigint not null, cycle_id bigint not null, seen_at timestamp not null, cause_code varchar not null,
    winner_person_id bigint not null, winner_record_type varchar not null, winner_dynamics_id varchar not null,
    loser_person_id bigint not null, loser_record_type varchar not null, loser_dynamics_id varchar not null,
    state varchar not null, ended_at timestamp
);

-- One row per clock hour and object (account, contact, lead) of the last five days: how many of its records were not settled, as
-- often as somebody looked (R123). `n_last` is the last number of that hour.
create table ledger.backlog_hours (
    hour_at timestamp not null, object varchar not null, n_looks bigint not null, n_sum bigint not null,
    n_least bigint not null, n_most bigint not null, n_last bigint not null
);

-- One row per table of Dynamics during the first load: how many rows it is said to have (R4).
create table state.expected_rows (record_type varchar not null, n_rows bigint not null);

-- One row per value of a new person who was made in parts that never left, because the rest was cut off; it has no base.
create table reconcile.unsent_fields (operation_id bigint not null, field varchar not null);

-- One row per person whom the feed told to be merged into another in Marketo, until the next plan (R25).
create table inbox.merges (loser_id bigint not null, winner_id bigint not null);
-- One row per person whose partition in Marketo is known, as last read by id.
create table state.partitions (person_id bigint not null, partition_id varchar not null);

-- One row per command by which somebody changed anything: who gave it, when, and about what, as JSON of ids and numbers.
create table ledger.operator_actions (
    entry_id bigint not null, action_id varchar not null, acted_at timestamp not null, who varchar not null,
    command varchar not null, plan varchar not null
);

-- The kind of what ended a cycle that failed or was stopped: that of its error, not_all_written, unforeseen or killed.
alter table ledger.cycles add column failure_code varchar;
-- One row per column of a mirror whose moves are kept in `ledger.observations`, from when on: a field that joins the map, or comes
-- back to it, fills up first. `object` is a record type, person or company; `name` the mirror's column.
create table state.observed_fields (object varchar not null, name varchar not null, since timestamp not null);
-- One row per value that moved in a mirror, whoever moved it, as values are kept there; for a retention. `name` is the mirror's
-- column, null where the record or person itself was first seen. A person's values are null while it is deleted. `is_receipt`: seen
-- in the answer to our own write. `changed_at`: of a record when it was last modified, of a person when the feed tells that the
-- field changed; `changed_by`: the record's last editor; `source`: what the feed tells of where a change of a person came from.
create table ledger.observations (
    entry_id bigint not null, cycle_id bigint not null, seen_at timestamp not null, object varchar not null, person_id bigint,
    dynamics_id varchar, company_key varchar, name varchar, old_value varchar, new_value varchar, is_receipt boolean not null,
    changed_at timestamp, changed_by varchar, source varchar
);
-- One row per person, field and value that the last read of the feed told: when it last changed to that, and where that came from.
create table inbox.told_changes (
    person_id bigint not null, field varchar not null, value varchar, changed_at timestamp not null, source varchar
);
-- When and by whom a written value, or either value of a collision, was edited, as far as the systems told when it was seen to move
-- (`ledger.observations`): of Dynamics the record's last edit, of Marketo the field's.
alter table ledger.changes add column dynamics_modified_at timestamp;
alter table ledger.changes add column dynamics_modified_by varchar;
alter table ledger.changes add column marketo_changed_at timestamp;
alter table ledger.changes add column marketo_source varchar;
alter table ledger.collisions add column dynamics_modified_at timestamp;
alter table ledger.collisions add column dynamics_modified_by varchar;
alter table ledger.collisions add column marketo_changed_at timestamp;
alter table ledger.collisions add column marketo_source varchar;
-- One row per attempt that was refused, of the errors in `ledger.sync_errors`.
create table ledger.error_attempts (
    entry_id bigint not null, error_id bigint not null, cycle_id bigint not null, attempted_at timestamp not null
);
-- One row in a working file that came back from a backup: when it was put back, when the backup was made, and when both systems had
-- been read as a whole since; until then nothing is written to either.
create table state.restored (restored_at timestamp not null, made_at timestamp not null, reread_at timestamp);
-- One row per link that could not be compared when they had been: its base is still that of the backup, and is made anew when the
-- link is compared for the first time.
create table state.outdated_bases (person_id bigint not null);
-- One row per person and field that a later snapshot tells to have been written after the backup.
create table state.changed_after_backup (person_id bigint not null, field varchar not null);

-- Who wins a field that both sides edited, as the field map says; `forbids`: the value of a boolean that wins where the stricter does.
alter table reconcile.fields add column collision varchar default 'original';
update reconcile.fields set collision = 'original';
alter table reconcile.fields alter column collision set not null;
alter table reconcile.fields add column forbids varchar;

-- One row per linked record and field that the newest edit decides, while the two sides differ: Dynamics was seen with the value
-- before as of `after_at`, and with the one it has as of `until_at`, both by its clock.
create table state.dynamics_edits (
    record_type varchar not null, dynamics_id varchar not null, field varchar not null, after_at timestamp,
    until_at timestamp
);
-- One row per entry of Marketo's feed for such a field of a linked person, while the two sides differ, by Marketo's clock.
create table state.marketo_edits (
    person_id bigint not null, field varchar not null, value varchar, told_at timestamp not null
);
-- One row per link and field that both sides edited and that a person is to decide. `choice`: dynamics or marketo, once somebody
-- has; it holds for these two values alone. What is shown are labels of options.
create table state.reviews (
    review_id bigint not null, person_id bigint not null, record_type varchar not null, dynamics_id varchar not null,
    field varchar not null, base_value varchar, dynamics_value varchar, marketo_value varchar, base_shown varchar,
    dynamics_shown varchar, marketo_shown varchar, opened_at timestamp not null, choice varchar, chosen_at timestamp,
    chosen_by varchar
);

-- One row: which field map and which cases of rules were last found to agree, as a digest; none before that.
create table state.tested_rules (digest varchar not null);
-- Writes that were planned and wait for the calls of another day, in that cycle (R126).
alter table ledger.cycles add column n_waiting bigint default 0;
update ledger.cycles set n_waiting = 0;
alter table ledger.cycles alter column n_waiting set not null;
-- One row per file of a bulk export that was fetched.
create table ledger.exports_read (read_at timestamp not null, n_bytes bigint not null);
-- One row per system and its day, Marketo's in US Central: calls used, what they will be at its end, allowed, kept for reading,
-- collisions and consent; bytes of bulk exports; all as of `told_at`.
create table ledger.budget_days (
    system varchar not null, begins_at timestamp not null, ends_at timestamp not null, told_at timestamp not null,
    n_used bigint not null, n_forecast bigint not null, n_allowed bigint not null, n_reserved bigint not null,
    n_export_bytes bigint not null, n_export_bytes_forecast bigint not null
);

-- One row per value that somebody wants undone, until it was written or found to be edited since. `change_id`: the row of
-- `ledger.changes` that wrote it; old and new value as people read them.
create table state.undoing (
    change_id bigint not null, cycle_id bigint not null, person_id bigint, record_type varchar not null,
    dynamics_id varchar not null, field varchar not null, direction varchar not null, old_value varchar, new_value varchar,
    rule_code varchar not null
);
-- Marketo's own times of a person, as of when it was last read.
alter table inbox.marketo_people add column created_at varchar;
alter table inbox.marketo_people add column updated_at varchar;
alter table mirror.marketo_people add column created_at varchar;
alter table mirror.marketo_people add column updated_at varchar;
-- One row per link that came back from a backup and field that could not be compared when it was, because it was parked: whatever base
-- it had is that of the backup. `was_filled`: that either side held a value, which may have been emptied since.
create table state.outdated_fields (person_id bigint not null, field varchar not null, was_filled boolean not null);

-- Whether a cycle ran in shadow, which writes to neither system.
alter table ledger.cycles add column is_shadow boolean default false;
update ledger.cycles set is_shadow = false;
alter table ledger.cycles alter column is_shadow set not null;
-- One row per person whom an adoption in shadow chose for a record: it counts as the bearer of the record's key, which a cycle writes
-- once the sync is live.
create table state.unkeyed_links (person_id bigint not null, record_type varchar not null, dynamics_id varchar not null);
-- One row while Parquet files are published: the state that their manifest names, its folder, and when it was made.
create table state.parquet (publication varchar not null, folder varchar not null, made_at timestamp not null);
-- One row per person, or record, that moved since these files were last written as a whole.
create table state.parquet_moved (person_id bigint, record_type varchar, dynamics_id varchar);
-- One row per value that waits until somebody approves it, because its cause reaches more people than one may unasked; it is kept,
-- once approved, until it is written. `approval_id` is one number per cause, which is an account, a field of a record type in one
-- direction, or create, whose rows have no field; `n_people`: how many the cause reaches. Old and new value are as people read them,
-- the values of both sides as they are compared.
create table state.approvals (
    approval_id bigint not null, cause varchar not null, cause_name varchar not null, n_people bigint not null,
    record_type varchar not null, dynamics_id varchar not null, person_id bigint, field varchar, direction varchar not null,
    old_value varchar, new_value varchar, dynamics_value varchar, marketo_value varchar, asked_at timestamp not null,
    approved_at timestamp, approved_by varchar
);
-- An undo that its system put off is tried again at growing gaps; null: with the next cycle.
alter table state.undoing add column attempts integer default 0;
alter table state.undoing add column next_look_at timestamp;
-- One row per entry of Marketo's feed that a cycle in shadow read of a field of a linked person, until the next plan: values as they
-- are compared, `place` their order where times are equal.
create table inbox.feed_entries (
    person_id bigint not null, field varchar not null, old_value varchar, new_value varchar, changed_at timestamp not null,
    place bigint not null, source varchar
);
-- One row per value that a native sync wrote, or left unequal, beside this one in shadow: what stood there before, what ours would
-- have done, and what theirs did; a direction is null where nothing is written. `verdict`: same, differs or cannot_tell, whose reason
-- is the code of the rule. Options as labels.
create table ledger.shadow_changes (
    entry_id bigint not null, cycle_id bigint not null, seen_at timestamp not null, person_id bigint not null,
    record_type varchar not null, dynamics_id varchar not null, field varchar not null, base_value varchar,
    dynamics_value varchar, marketo_value varchar, our_direction varchar, our_value varchar, their_direction varchar,
    their_value varchar, verdict varchar not null, rule_code varchar not null
);
-- A company without a key, which cannot be read, holds up its person like any other.
create or replace view state.unread_links as
    select person_id, record_type, dynamics_id
    from state.links l semi join state.unread u on u.record_type = l.record_type and u.key = l.dynamics_id
    union
    select person_id, record_type, dynamics_id
    from state.links semi join (
        select key::bigint as person_id from state.unread where record_type = 'person' and has_id
        union all
        select split_part(key, ':', 2)::bigint
        from state.unread where record_type = 'company' and has_id and starts_with(key, 'person:')
    ) using (person_id)
    union
    select person_id, record_type, dynamics_id
    from state.links semi join (
        select split_part(key, ':', 1) as record_type, split_part(key, ':', 2) as dynamics_id
        from state.unread where record_type = 'company' and has_id
    ) using (record_type, dynamics_id);
-- How the sync stands by the snapshot of the last swap, as JSON; `status.json` tells it (`publish/standing.py`).
alter table state.last_swap add column standing varchar;
