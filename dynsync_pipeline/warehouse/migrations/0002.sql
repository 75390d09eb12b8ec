-- The working file, as the first release makes it (0001 was never released). One schema per step; columns that follow the
-- field map are added by follow_map.py, macros are made on every connection (sql/macros.sql). Times are UTC without zone. Values
-- of synced fields are canonical text (R45).

create schema inbox;
create schema mirror;
create schema state;
create schema reconcile;
create schema ledger;

-- mirror: each system as last seen. The id is the key. Ids that are looked up among all are stored as they are: compressed, DuckDB
-- finds a few of them in about twice the time. Files that an earlier DynSync made keep theirs compressed.

-- One row per account.
create table mirror.dynamics_accounts (
    accountid varchar not null using compression uncompressed, etag varchar, is_deleted boolean not null
);
-- One row per contact.
create table mirror.dynamics_contacts (
    contactid varchar not null using compression uncompressed, etag varchar, is_deleted boolean not null
);
-- One row per lead.
create table mirror.dynamics_leads (
    leadid varchar not null using compression uncompressed, etag varchar, is_deleted boolean not null
);
-- One row per person in Marketo.
create table mirror.marketo_people (
    person_id bigint not null, dynamics_lead_id varchar using compression uncompressed,
    dynamics_contact_id varchar using compression uncompressed, external_company_id varchar using compression uncompressed,
    is_deleted_in_dynamics varchar, is_deleted boolean not null
);
-- One row per company in Marketo, not per person (R62); its people bear the same external_company_id: an account's id, or
-- lead:<lead id> or contact:<contact id> for the company record of one person alone.
create table mirror.marketo_companies (external_company_id varchar not null using compression uncompressed);

-- inbox: what this cycle saw, emptied when taken into the mirror; `landing` orders repeated sightings of one record.

create sequence inbox.landings;
-- One row per sighting of an account.
create table inbox.dynamics_accounts (
    landing bigint not null, accountid varchar not null, etag varchar, is_deleted boolean not null
);
-- One row per sighting of a contact.
create table inbox.dynamics_contacts (
    landing bigint not null, contactid varchar not null, etag varchar, is_deleted boolean not null
);
-- One row per sighting of a lead.
create table inbox.dynamics_leads (
    landing bigint not null, leadid varchar not null, etag varchar, is_deleted boolean not null
);
-- One row per sighting of a person.
create table inbox.marketo_people (
    landing bigint not null, person_id bigint not null, dynamics_lead_id varchar, dynamics_contact_id varchar,
    external_company_id varchar, is_deleted_in_dynamics varchar, is_deleted boolean not null
);
-- One row per sighting of a company.
create table inbox.marketo_companies (landing bigint not null, external_company_id varchar not null);
-- One row per entry that the feed told of a person with an operation of unknown outcome; `place` is its order in time.
create table inbox.feed_after_cut (
    person_id bigint not null, field varchar not null, old_value varchar, value varchar, place bigint not null
);
-- One row per key seen since the last plan, a record's or a person's. `is_receipt`: seen as the answer to our own write.
-- Emptied by the plan's transaction.
create table inbox.touched (record_type varchar, dynamics_id varchar, person_id bigint, is_receipt boolean not null);

-- state: what the sync knows beside the two mirrors.

-- One row per system: the host that this working file was made with.
create table state.systems (system varchar not null, host varchar not null);
-- One row per edit in Marketo that our own write `change_id` overwrote before anybody saw it, as the feed tells; until it is
-- settled (R35).
create table state.unseen_edits (
    person_id bigint not null, field varchar not null, value varchar, change_id bigint not null
);
-- One row per own write of the last hour that the feed has shown.
create table state.feed_matched (change_id bigint not null);
-- One row per entry of the feed that was taken in, as long as overlapping reads may show it again.
create table state.feed_seen (guid varchar not null, changed_at timestamp not null);
-- One row per stream: where the next read starts. `columns` is the column list it was made for.
create table state.cursors (
    stream varchar not null, cursor varchar, columns varchar not null, is_loaded boolean not null,
    moved_at timestamp not null
);
-- One row per bulk-export window of a first load (R5).
create table state.export_windows (
    starts_at timestamp not null, ends_at timestamp not null, export_id varchar, is_landed boolean not null
);
-- One row per column a system offers, as its metadata said at `read_at`; a column of people in Marketo has no record type.
create table state.columns (
    system varchar not null, record_type varchar, name varchar not null, data_type varchar not null, label varchar,
    max_length bigint, is_readable boolean not null, is_writable boolean not null, read_at timestamp not null
);
-- One row per option of a choice column (R33).
create table state.options (
    record_type varchar not null, dynamics_column varchar not null, option_value varchar not null,
    label varchar not null
);
-- One number per label: where two options share one, the lowest number answers.
create view state.options_by_label as
    select record_type, dynamics_column, label, min_by(option_value, try_cast(option_value as integer)) as option_value
    from state.options group by all;
-- One row per field of the map that a system does not offer (R107); it is left out until it comes back.
create table state.parked_fields (
    record_type varchar not null, marketo_field varchar not null, dynamics_column varchar not null,
    reason varchar not null
);
-- One row per field that ever was in the map and on offer; one that comes back still has its base (R107).
create table state.known_fields (
    record_type varchar not null, field varchar not null, dynamics_column varchar not null
);
-- One row per field that was parked and is on offer again, until the next plan: what it lost meanwhile is no clear (R107).
create table state.returned_fields (record_type varchar not null, field varchar not null);
-- One row per link: a Marketo person and its Dynamics lead or contact (R18).
create table state.links (
    person_id bigint not null, record_type varchar not null, dynamics_id varchar not null using compression uncompressed,
    linked_at timestamp not null
);
-- One row per link that ended because its record was deleted on `side` (R79, R81).
create table state.tombstones (
    person_id bigint not null, record_type varchar not null, dynamics_id varchar not null, side varchar not null,
    ended_at timestamp not null
);
-- One row per ended link and field that goes to Marketo: what the deleted person last had in common with its record (R81).
create table state.tombstone_values (
    record_type varchar not null, dynamics_id varchar not null, field varchar not null,
    dynamics_column varchar not null, value varchar
);
-- One row per contact or lead that somebody decided on in an adoption: `link` it with person_id, `create` a person, `skip`
-- it until somebody decides otherwise. A link that was found makes it `linked`.
create table state.adoption (
    record_type varchar not null, dynamics_id varchar not null, person_id bigint, decision varchar not null,
    decided_at timestamp not null
);
-- One row per link: what both sides last agreed on. A null is an agreed null; no agreement yet stands in base_missing.
create table state.base (person_id bigint not null);
-- One row per link and field that both sides never agreed on (R42).
create table state.base_missing (person_id bigint not null, field varchar not null);
-- One row per company field that somebody edited in Marketo, with what the sync had last seen; until the account's next
-- update overrides it (R52).
create table state.local_company_edits (
    external_company_id varchar not null, field varchar not null, value_before varchar
);
-- One row per link and field whose base moves in the running transaction; empty outside of it.
create table state.base_moves (person_id bigint not null, field varchar not null, value varchar);
-- One row per link and field: two unequal values accepted as settled; lapses when either side moves.
create table state.standing_differences (
    person_id bigint not null, field varchar not null, dynamics_value varchar, marketo_value varchar,
    reason_code varchar not null, since timestamp not null
);
-- One row per link and field that differs and is not settled; for a record without a person, field is null. `code` is the
-- code of a refusal, the system's or ours. That each has a reason and a next look is for an asset check to say.
create table state.unsettled (
    record_type varchar not null, dynamics_id varchar not null, person_id bigint, field varchar,
    dynamics_value varchar, marketo_value varchar, reason_code varchar, code varchar,
    attempts integer not null, since timestamp not null, next_look_at timestamp
);
-- One row per key whose published row is out of date.
create table state.unpublished (published_table varchar not null, dynamics_id varchar, person_id bigint);

-- reconcile: the fields that are synced, and the plan of the running cycle, which the next one replaces whole.

-- One row per field of the map that is synced.
create table reconcile.fields (
    record_type varchar not null, field varchar not null, dynamics_column varchar not null, type varchar not null,
    direction varchar not null, is_on_company boolean not null
);
-- One row: the REST names of the fields the sync owns in Marketo, as the settings have them.
create table reconcile.own_fields (
    lead_id varchar not null, contact_id varchar not null, person_type varchar not null, is_deleted varchar not null,
    created_on varchar not null, company varchar not null
);
-- One row per write to one record of one system.
create table reconcile.operations (
    operation_id bigint not null, cycle_id bigint not null, system varchar not null, action varchar not null,
    record_type varchar not null, dynamics_id varchar not null, person_id bigint, company_key varchar, etag varchar,
    body varchar not null, sent_at timestamp
);
-- One row per operation and field: old and new as people read them; sent_value and base_after as values are compared.
create table reconcile.planned_changes (
    operation_id bigint not null, field varchar not null, old_value varchar, new_value varchar, sent_value varchar,
    base_after varchar, rule_code varchar not null
);
-- One row per operation and field that settles a collision.
create table reconcile.planned_collisions (
    operation_id bigint not null, field varchar not null, base_value varchar, dynamics_value varchar,
    marketo_value varchar, winner varchar not null, rule_code varchar not null
);
-- One row per operation, person and field: what an account's change, or a move to another account, does to people (R53, R59).
create table reconcile.planned_activities (
    operation_id bigint not null, person_id bigint not null, field varchar not null, old_value varchar,
    new_value varchar, reason_code varchar not null
);
-- One row per operation and field of an account (R57).
create table reconcile.planned_account_changes (
    operation_id bigint not null, field varchar not null, old_value varchar, new_value varchar,
    n_contacts bigint not null, reason_code varchar not null
);
-- One row per operation that was answered; `outcome` is applied, refused, waiting or changed_meanwhile.
create table reconcile.receipts (
    operation_id bigint not null, outcome varchar not null, code varchar, message varchar, field varchar,
    person_id bigint, received_at timestamp not null, next_look_at timestamp, is_settled boolean not null
);
-- One row per operation and field whose value a person edited again before, after a cut, it was found to be ours.
create table reconcile.edited_meanwhile (operation_id bigint not null, field varchar not null);
-- One row per operation and field that a system refused while it took the rest of the record.
create table reconcile.refused_fields (
    operation_id bigint not null, field varchar not null, code varchar, message varchar not null
);

-- ledger: what was ever done. Rows are only added, except sync_errors.state and the running cycle's row.

create sequence ledger.entries;
-- One row per cycle. `is_whole`: all steps of a cycle ran in it, and it succeeded.
create table ledger.cycles (
    cycle_id bigint not null, started_at timestamp not null, ended_at timestamp, status varchar not null,
    message varchar, is_whole boolean not null default false, n_accounts_read bigint not null default 0, n_contacts_read bigint not null default 0,
    n_leads_read bigint not null default 0, n_people_read bigint not null default 0,
    n_companies_written bigint not null default 0, n_people_created bigint not null default 0,
    n_people_updated bigint not null default 0, n_records_updated bigint not null default 0,
    n_collisions bigint not null default 0, n_refused bigint not null default 0,
    n_calls_dynamics bigint not null default 0, n_calls_marketo bigint not null default 0
);
-- One row per value that the sync wrote to a person, contact or lead.
create table ledger.changes (
    entry_id bigint not null, cycle_id bigint not null, changed_at timestamp not null, direction varchar not null,
    record_type varchar not null, person_id bigint, dynamics_id varchar not null, field varchar not null,
    old_value varchar, new_value varchar, rule_code varchar not null
);
-- One row per settled collision.
create table ledger.collisions (
    entry_id bigint not null, cycle_id bigint not null, settled_at timestamp not null, record_type varchar not null,
    person_id bigint not null, dynamics_id varchar not null, field varchar not null, base_value varchar,
    dynamics_value varchar, marketo_value varchar, winner varchar not null, rule_code varchar not null
);
-- One row per entry in a person's activity log; `message` is there where the code does not say it all.
create table ledger.activities (
    activity_id bigint not null, cycle_id bigint not null, activity_at timestamp not null, person_id bigint not null,
    activity_type varchar not null, field varchar, old_value varchar, new_value varchar, reason_code varchar not null,
    message varchar, source varchar not null
);
-- One row per account change and field that reached Marketo.
create table ledger.account_changes (
    entry_id bigint not null, cycle_id bigint not null, changed_at timestamp not null, account_id varchar not null,
    field varchar not null, old_value varchar, new_value varchar, n_contacts bigint not null,
    activities_suppressed boolean not null, reason_code varchar not null
);
-- One row per record, field, direction and code that was refused; anew after it was resolved.
create table ledger.sync_errors (
    error_id bigint not null, cycle_id bigint not null, happened_at timestamp not null,
    last_seen_at timestamp not null, record_type varchar not null, person_id bigint, dynamics_id varchar not null,
    field varchar, operation varchar not null, direction varchar not null, code varchar not null,
    message varchar not null, attempts integer not null, state varchar not null
);
