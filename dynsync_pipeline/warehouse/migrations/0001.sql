-- The working file. One schema per step; columns that follow the field map are added by columns.py.
-- Times are UTC without zone. Values of synced fields are canonical text (R45).

create schema inbox;
create schema mirror;
create schema state;
create schema reconcile;
create schema ledger;

-- R45, stated once: what a system sends becomes text that compares equal exactly when the values are equal.
create macro canonical_text(value) as nullif(regexp_replace(value, '\r+\n', chr(10), 'g'), '');
create macro canonical_integer(value) as
    case when regexp_full_match(value, '[+-]?[0-9]+([.]0+)?') then coalesce(try_cast(value as hugeint)::varchar, value)
         else nullif(value, '') end;
create macro canonical_decimal(value) as
    coalesce(regexp_replace(regexp_replace(try_cast(value as decimal(38, 4))::varchar, '0+$', ''), '\.$', ''), nullif(value, ''));
create macro canonical_boolean(value) as
    case lower(value) when 'true' then 'true' when '1' then 'true' when 'false' then 'false' when '0' then 'false' end;
create macro canonical_date(value) as coalesce(try_cast(left(value, 10) as date)::varchar, nullif(value, ''));
create macro canonical_datetime(value) as
    coalesce(strftime(try_cast(value as timestamptz) at time zone 'UTC', '%Y-%m-%dT%H:%M:%SZ'), nullif(value, ''));
create macro canonical_choice(value) as nullif(value, '');
create macro canonical_guid(value) as nullif(lower(value), '');

-- mirror: each system as last seen. One row per record; the id is the key.
create table mirror.dynamics_accounts (accountid varchar, etag varchar, is_deleted boolean);
create table mirror.dynamics_contacts (contactid varchar, etag varchar, is_deleted boolean);
create table mirror.dynamics_leads (leadid varchar, etag varchar, is_deleted boolean);
create table mirror.marketo_people (
    person_id bigint, dynamics_lead_id varchar, dynamics_contact_id varchar, external_company_id varchar,
    is_deleted_in_dynamics varchar, is_deleted boolean
);
-- A company once, not per person (R62); its people bear the same external_company_id: an account's id, or
-- lead:<lead id> or contact:<contact id> for the company record of one person alone.
create table mirror.marketo_companies (external_company_id varchar);

-- inbox: what this cycle saw, emptied when taken into the mirror; `landing` orders repeated sightings of one record.
create sequence inbox.landings;
create table inbox.dynamics_accounts (landing bigint, accountid varchar, etag varchar, is_deleted boolean);
create table inbox.dynamics_contacts (landing bigint, contactid varchar, etag varchar, is_deleted boolean);
create table inbox.dynamics_leads (landing bigint, leadid varchar, etag varchar, is_deleted boolean);
create table inbox.marketo_people (
    landing bigint, person_id bigint, dynamics_lead_id varchar, dynamics_contact_id varchar, external_company_id varchar,
    is_deleted_in_dynamics varchar, is_deleted boolean
);
create table inbox.marketo_companies (landing bigint, external_company_id varchar);
-- What the feed told of people with an operation of unknown outcome, in time order.
create table inbox.feed_after_cut (person_id bigint, field varchar, old_value varchar, value varchar, place bigint);
-- Keys seen since the last plan, a record's or a person's. `is_receipt`: seen as the answer to our own write.
-- Emptied by the plan's transaction.
create table inbox.touched (record_type varchar, dynamics_id varchar, person_id bigint, is_receipt boolean);

-- One row per system: the host that this working file was made with.
create table state.systems (system varchar, host varchar);
-- One row per stream: where the next read starts. `columns` is the column list it was made for.
-- Edits in Marketo that our own write overwrote before anybody saw them, as the feed tells; `change_id` is that write.
-- A row stays until its edit is settled (R35).
create table state.unseen_edits (person_id bigint, field varchar, value varchar, change_id bigint);
-- Our own writes of the last hour that the feed has shown.
create table state.feed_matched (change_id bigint);
-- Entries of the feed that were taken in, as long as overlapping reads may show them again.
create table state.feed_seen (guid varchar, changed_at timestamp);
create table state.cursors (stream varchar, cursor varchar, columns varchar, is_loaded boolean, moved_at timestamp);
-- One row per bulk-export window of a first load (R5).
create table state.export_windows (starts_at timestamp, ends_at timestamp, export_id varchar, is_landed boolean);
-- One row per column a system offers, as its metadata said at `read_at`.
create table state.columns (
    system varchar, record_type varchar, name varchar, data_type varchar, label varchar, max_length bigint,
    is_readable boolean, is_writable boolean, read_at timestamp
);
-- One row per option of a choice column (R33).
create table state.options (record_type varchar, dynamics_column varchar, option_value varchar, label varchar);
-- One number per label: where two options share one, the lowest number answers.
create view state.options_by_label as
    select record_type, dynamics_column, label, min_by(option_value, try_cast(option_value as integer)) as option_value
    from state.options group by all;
-- One row per field of the map that a system does not offer (R107); it is left out until it comes back.
create table state.parked_fields (record_type varchar, marketo_field varchar, dynamics_column varchar, reason varchar);

-- One row per field that ever was in the map and on offer; one that comes back still has its base (R107).
create table state.known_fields (record_type varchar, field varchar, dynamics_column varchar);

-- One row per field that was parked and is on offer again, until the next plan: what it lost meanwhile is no clear (R107).
create table state.returned_fields (record_type varchar, field varchar);
-- One row per link: a Marketo person and its Dynamics lead or contact (R18).
create table state.links (person_id bigint, record_type varchar, dynamics_id varchar, linked_at timestamp);
-- One row per link that ended because its record was deleted on `side` (R79, R81); it keeps the other side's values,
-- so that only a later edit there counts.
create table state.tombstones (person_id bigint, record_type varchar, dynamics_id varchar, side varchar, ended_at timestamp);
create table state.tombstone_values (record_type varchar, dynamics_id varchar, field varchar, value varchar);
-- One row per contact or lead that somebody decided on in an adoption: `link` it with person_id, `create` a person, `skip`
-- it until somebody decides otherwise. A link that was found makes it `linked`.
create table state.adoption (record_type varchar, dynamics_id varchar, person_id bigint, decision varchar, decided_at timestamp);
-- One row per link: what both sides last agreed on. A null is an agreed null; no agreement yet stands in base_missing.
create table state.base (person_id bigint);
create table state.base_missing (person_id bigint, field varchar);
-- One row per company field that somebody edited in Marketo, with what the sync had last seen; until the account's next
-- update overrides it (R52).
create table state.local_company_edits (external_company_id varchar, field varchar, value_before varchar);
-- One row per link and field whose base moves in the running transaction; empty outside of it.
create table state.base_moves (person_id bigint, field varchar, value varchar);
-- One row per link and field: two unequal values accepted as settled; lapses when either side moves.
create table state.standing_differences (
    person_id bigint, field varchar, dynamics_value varchar, marketo_value varchar, reason varchar, since timestamp
);
-- One row per link and field that differs and is not settled; for a record without a person, field is null.
create table state.unsettled (
    record_type varchar, dynamics_id varchar, person_id bigint, field varchar,
    dynamics_value varchar, marketo_value varchar,
    reason varchar, attempts integer, since timestamp, next_look_at timestamp
);
-- One row per key whose published row is out of date.
create table state.unpublished (published_table varchar, dynamics_id varchar, person_id bigint);

-- The plan of the running cycle; replaced whole by the next one.
create table reconcile.fields (
    record_type varchar, field varchar, dynamics_column varchar, type varchar, direction varchar, is_on_company boolean
);
-- One row: the REST names of the fields the sync owns, as the settings have them.
create table reconcile.key_names (
    lead_id varchar, contact_id varchar, person_type varchar, is_deleted varchar, created_on varchar, company varchar
);
create table reconcile.operations (
    operation_id bigint, cycle_id bigint, system varchar, action varchar, record_type varchar,
    dynamics_id varchar, person_id bigint, company_key varchar, etag varchar, body varchar, sent_at timestamp
);
-- old and new as people read them; sent_value and base_after as values are compared.
create table reconcile.planned_changes (
    operation_id bigint, field varchar, old_value varchar, new_value varchar, sent_value varchar, base_after varchar,
    rule varchar
);
create table reconcile.planned_collisions (
    operation_id bigint, field varchar, base_value varchar, dynamics_value varchar, marketo_value varchar,
    winner varchar, rule varchar
);
-- What an account's change, or a contact's move to another account, does to single people (R53, R59).
create table reconcile.planned_activities (
    operation_id bigint, person_id bigint, field varchar, old_value varchar, new_value varchar, reason varchar
);
create table reconcile.planned_account_changes (
    operation_id bigint, field varchar, old_value varchar, new_value varchar, n_contacts bigint, reason varchar
);
create table reconcile.receipts (
    operation_id bigint, outcome varchar, code varchar, message varchar, field varchar, person_id bigint,
    received_at timestamp, next_look_at timestamp, is_settled boolean
);
-- After a cut: values of our own writes that a person edited again before they were found to be ours.
create table reconcile.edited_meanwhile (operation_id bigint, field varchar);
-- Fields that a system refused while it took the rest of the record.
create table reconcile.refused_fields (operation_id bigint, field varchar, code varchar, message varchar);

-- ledger: what was ever done. Rows are only added, except sync_errors.state and the running cycle's row.
create sequence ledger.entries;
create table ledger.cycles (
    cycle_id bigint, started_at timestamp, ended_at timestamp, status varchar, message varchar,
    is_whole boolean not null,  -- all steps of a cycle ran in it, and it succeeded
    n_accounts_read bigint, n_contacts_read bigint, n_leads_read bigint, n_people_read bigint,
    n_companies_written bigint, n_people_created bigint, n_people_updated bigint, n_records_updated bigint,
    n_collisions bigint, n_refused bigint, n_calls_dynamics bigint, n_calls_marketo bigint
);
create table ledger.changes (
    entry_id bigint, cycle_id bigint, changed_at timestamp, direction varchar, record_type varchar,
    person_id bigint, dynamics_id varchar, field varchar, old_value varchar, new_value varchar, rule varchar
);
create table ledger.collisions (
    entry_id bigint, cycle_id bigint, settled_at timestamp, record_type varchar, person_id bigint, dynamics_id varchar,
    field varchar, base_value varchar, dynamics_value varchar, marketo_value varchar, winner varchar, rule varchar
);
create table ledger.activities (
    activity_id bigint, cycle_id bigint, activity_at timestamp, person_id bigint, activity_type varchar,
    field varchar, old_value varchar, new_value varchar, reason varchar, source varchar
);
create table ledger.account_changes (
    entry_id bigint, cycle_id bigint, changed_at timestamp, account_id varchar, field varchar,
    old_value varchar, new_value varchar, n_contacts bigint, activities_suppressed boolean, reason varchar
);
create table ledger.sync_errors (
    error_id bigint, cycle_id bigint, happened_at timestamp, last_seen_at timestamp, record_type varchar,
    person_id bigint, dynamics_id varchar, field varchar, operation varchar, direction varchar,
    code varchar, message varchar, attempts integer, state varchar
);
