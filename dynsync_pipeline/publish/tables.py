"""The published tables as data: what one row is, every column with its type and comment, and how it is selected.

A column that is not written here is not published. Not here: how rows get into the file (`snapshot.py`).
"""

from __future__ import annotations

from dynsync_pipeline.model.field_map import OF_OPTIONS, FieldMap, FieldType
from dynsync_pipeline.model.records import FILTER_COLUMN, TABLES, RecordType, logical_name
from dynsync_pipeline.publish.state_tables import state_tables
from dynsync_pipeline.publish.table import PublishedColumn, PublishedTable, plain, told
from dynsync_pipeline.warehouse.columns import mirrored_columns, quoted

_SQL_TYPES = {
    FieldType.TEXT: "varchar",
    FieldType.INTEGER: "bigint",
    FieldType.DECIMAL: "decimal(38, 10)",
    FieldType.BOOLEAN: "boolean",
    FieldType.DATE: "date",
    FieldType.DATETIME: "timestamp",
    FieldType.CHOICE: "integer",
    FieldType.CHOICES: "varchar",
}
_AS_LABELS = {FieldType.CHOICE: ", as its label", FieldType.CHOICES: ", as its labels"}

_OWNER_OF_PERSON = (
    "lower(case when coalesce(l.record_type, t.record_type) = 'lead' then d._ownerid_value else c._ownerid_value end)"
)
_OWNER_ID = "Id of the user or team that is the owner"
_OWNER = plain(
    ("owner_name", "varchar", "w.name", "Name of the owner."),
    ("owner_email", "varchar", "w.email", "E-mail address of the owner."),
)


def published_tables(fields: FieldMap) -> tuple[PublishedTable, ...]:
    """Every table of the snapshot for this field map."""
    return (
        _people(fields),
        *(_records(fields, record_type) for record_type in RecordType),
        _USERS,
        *_LEDGERS,
        *state_tables(fields),
    )


def _typed(name: str, kind: FieldType, expression: str, comment: str) -> PublishedColumn:
    sql_type = _SQL_TYPES[kind]
    value = expression if sql_type == "varchar" else f"try_cast({expression} as {sql_type})"
    return PublishedColumn(name, sql_type, value, comment)


def _people(fields: FieldMap) -> PublishedTable:
    mapped = {
        name: sorted({f.dynamics_column for f in fields.fields if f.marketo_field == name})
        for name in fields.person_fields
    }
    return PublishedTable(
        name="people",
        grain="One row per Marketo person, as last seen in Marketo.",
        source=(
            "mirror.marketo_people m left join state.links l on l.person_id = m.person_id "
            "left join (select person_id, max_by(record_type, ended_at) as record_type from state.tombstones "
            "where side = 'dynamics' group by person_id) t on t.person_id = m.person_id "
            "left join state.filtered_out f on f.record_type = l.record_type and f.dynamics_id = l.dynamics_id "
            "left join mirror.marketo_companies k on k.external_company_id = m.external_company_id "
            "left join mirror.dynamics_accounts a on a.accountid = m.external_company_id "
            "left join mirror.dynamics_contacts c on c.contactid = "
            "case when l.record_type = 'contact' then l.dynamics_id else m.dynamics_contact_id end "
            "left join mirror.dynamics_leads d on d.leadid = "
            "case when l.record_type = 'lead' then l.dynamics_id else m.dynamics_lead_id end "
            f"left join mirror.dynamics_owners w on w.id = {_OWNER_OF_PERSON}"
        ),
        key="m.person_id",
        columns=(
            PublishedColumn("person_id_marketo", "bigint", "m.person_id", "Id of the person in Marketo. Key."),
            PublishedColumn(
                "record_type",
                "varchar",
                "coalesce(l.record_type, t.record_type)",
                "lead or contact in Dynamics; null: Marketo only (R18, R19).",
            ),
            PublishedColumn(
                "contact_id_dynamics",
                "varchar",
                "coalesce(c.contactid, m.dynamics_contact_id)",
                "Id of the linked Dynamics contact.",
            ),
            PublishedColumn(
                "lead_id_dynamics",
                "varchar",
                "coalesce(d.leadid, m.dynamics_lead_id)",
                "Id of the linked Dynamics lead.",
            ),
            PublishedColumn(
                "account_id_dynamics",
                "varchar",
                "(select a.accountid from mirror.dynamics_accounts a "
                "where a.accountid = lower(c._parentcustomerid_value))",
                "Id of the account that the contact belongs to in Dynamics; null when its parent is no account (R23).",
            ),
            PublishedColumn(
                "account_state",
                "varchar",
                "case when a.is_deleted then 'deleted' when a.statecode <> '0' then 'inactive' "
                "when a.accountid is not null then 'active' end",
                "What the account of the person's company is in Dynamics: active, inactive or deleted. A company whose account "
                "is not active keeps its last values (R61). Null: the company is no account's.",
            ),
            PublishedColumn(
                "is_deleted_in_dynamics",
                "boolean",
                "coalesce(case when coalesce(l.record_type, t.record_type) = 'lead' then d.is_deleted or d.merged = 'true' "
                "else c.is_deleted or c.merged = 'true' end, false)",
                "The linked record was deleted in Dynamics, or lost a merge there (R79, R99).",
            ),
            PublishedColumn(
                "is_stale",
                "boolean",
                "f.dynamics_id is not null",
                "The sync filter keeps the linked record out: neither side gets the other's edits (R90, R92).",
            ),
            PublishedColumn("stale_since", "timestamp", "f.since", "When that began, UTC."),
            PublishedColumn(
                "owner_id_dynamics", "varchar", _OWNER_OF_PERSON, f"{_OWNER_ID} of the linked record; see users (R24)."
            ),
            *_OWNER,
            *(
                _typed(
                    name,
                    FieldType.TEXT if kind in OF_OPTIONS else kind,
                    f"m.{quoted(name)}",
                    f"Marketo field {name}; in Dynamics {' or '.join(mapped[name])}{_AS_LABELS.get(kind, '')}.",
                )
                for name, kind in fields.person_fields.items()
            ),
            *(
                _typed(
                    name,
                    FieldType.TEXT if kind in OF_OPTIONS else kind,
                    f"k.{quoted(name)}",
                    f"Marketo company field {name}, shared by all people of the company (R62).",
                )
                for name, kind in fields.company_fields.items()
            ),
        ),
    )


def _records(fields: FieldMap, record_type: RecordType) -> PublishedTable:
    table = TABLES[record_type]
    mapped = {f.dynamics_column: f.marketo_field for f in fields.of(record_type)}
    comments = {
        "createdon": "Created in Dynamics at, UTC.",
        "statecode": "State: 0 is active or open.",
        "_ownerid_value": f"{_OWNER_ID} in Dynamics; see users (R24).",
        "_parentcustomerid_value": "Id of the account or contact that this contact belongs to.",
        "_originatingleadid_value": "Id of the lead that the contact was made of (R95).",
        "_parentcontactid_value": "Id of the contact that the lead belongs to, or became (R97).",
        "merged": "Lost a merge in Dynamics (R98); null: Dynamics does not tell.",
        "_masterid_value": "Id of the record that it was merged into.",
        FILTER_COLUMN: "The sync filter: false keeps the record out (R87); null: it is empty, or Dynamics has no such column.",
    }
    columns = [
        PublishedColumn(
            table.id_column, "varchar", f"r.{table.id_column}", f"Id of the {record_type} in Dynamics. Key."
        )
    ]
    for name, kind in mirrored_columns(fields, record_type).items():
        if name == "modifiedon":
            continue
        comment = comments.get(name) or f"Dynamics column {name}; in Marketo {mapped[name]}."
        columns.append(_typed(logical_name(name), kind, f"r.{quoted(name)}", comment))
        if name == "_ownerid_value":
            columns += _OWNER
    columns.append(_typed("modified_at", FieldType.DATETIME, "r.modifiedon", "Last modified in Dynamics at, UTC."))
    if record_type is RecordType.CONTACT:
        columns.append(
            PublishedColumn(
                "parent_is_contact",
                "boolean",
                "lower(r._parentcustomerid_value) in (select contactid from mirror.dynamics_contacts)",
                "It stands under a contact and no account, and so behind no company (R23).",
            )
        )
    columns.append(
        PublishedColumn("is_deleted", "boolean", "r.is_deleted", "Deleted in Dynamics; values as last seen.")
    )
    return PublishedTable(
        name=table.entity_set,
        grain=f"One row per Dynamics {record_type}, as last seen in Dynamics.",
        source=f"{table.mirror} r left join mirror.dynamics_owners w on w.id = lower(r._ownerid_value)",
        key=f"r.{table.id_column}",
        columns=tuple(columns),
    )


_USERS = PublishedTable(
    name="users",
    grain="One row per user or team in Dynamics, either of which may own records.",
    source="mirror.dynamics_owners w",
    key="w.id",
    columns=plain(
        ("user_id", "varchar", "w.id", "Id of the user or team in Dynamics. Key."),
        ("is_team", "boolean", "w.is_team", "A team."),
        ("name", "varchar", "w.name", "Full name of the user, or name of the team."),
        ("email", "varchar", "w.email", "Primary e-mail address."),
        ("is_enabled", "boolean", "w.is_enabled", "The user may sign in; always true of a team."),
    ),
)
_CYCLE = ("cycle_id", "bigint", "cycle_id", "The cycle whose plan decided it; see cycles.")
_PERSON = ("person_id_marketo", "bigint", "person_id", "Id of the person in Marketo.")
_RECORD = ("record_id_dynamics", "varchar", "dynamics_id", "Id of the contact or lead in Dynamics.")
_TYPE = ("record_type", "varchar", "record_type", "lead or contact.")
_FIELD = ("field", "varchar", "field", "REST name of the field in Marketo.")

_LEDGERS = (
    PublishedTable(
        name="changes",
        grain="One row per value the sync wrote to a person, contact or lead.",
        source=told("ledger.changes", "rule_code"),
        key="entry_id",
        columns=plain(
            ("change_id", "bigint", "entry_id", "Key; grows with time."),
            _CYCLE,
            ("changed_at", "timestamp", "changed_at", "When the system confirmed the write, UTC."),
            ("direction", "varchar", "direction", "to_marketo or to_dynamics."),
            _TYPE,
            _PERSON,
            _RECORD,
            _FIELD,
            ("old_value", "varchar", "old_value", "What the target held before, as text; options as labels."),
            ("new_value", "varchar", "new_value", "What was written, as text; options as labels."),
            ("rule_code", "varchar", "rule_code", "The rule that decided it; to be asked for in queries."),
            ("rule", "varchar", "sentence", "The same by number and in words, which may change."),
        ),
    ),
    PublishedTable(
        name="collisions",
        grain="One row per settled collision: both sides edited the same field to different values.",
        source=told("ledger.collisions", "rule_code"),
        key="entry_id",
        columns=plain(
            ("collision_id", "bigint", "entry_id", "Key; grows with time."),
            _CYCLE,
            ("settled_at", "timestamp", "settled_at", "When the losing side confirmed the winner's value, UTC."),
            _PERSON,
            _TYPE,
            _RECORD,
            _FIELD,
            (
                "base_value",
                "varchar",
                "base_value",
                "What both sides last agreed on; null also when they never did (R42).",
            ),
            ("dynamics_value", "varchar", "dynamics_value", "The value in Dynamics."),
            ("marketo_value", "varchar", "marketo_value", "The value in Marketo."),
            ("winner", "varchar", "winner", "marketo or dynamics; the other value is kept only here (R40)."),
            ("rule_code", "varchar", "rule_code", "The rule that decided it; to be asked for in queries."),
            ("rule", "varchar", "sentence", "The same by number and in words, which may change."),
        ),
    ),
    PublishedTable(
        name="activities",
        grain="One row per entry in a person's activity log, as this sync writes it.",
        source=told("ledger.activities", "reason_code"),
        key="activity_id",
        columns=plain(
            ("activity_id", "bigint", "activity_id", "Key; grows with time."),
            _CYCLE,
            _PERSON,
            (
                "activity_type",
                "varchar",
                "activity_type",
                "Change Data Value, New Person, Sync Person to Microsoft or Sync Error.",
            ),
            (
                "activity_type_id",
                "integer",
                "case activity_type when 'New Person' then 12 when 'Change Data Value' then 13 "
                "when 'Sync Person to Microsoft' then 300 end",
                "Marketo's own number of that type (R66); null for a Sync Error, of which Marketo has no type.",
            ),
            ("activity_at", "timestamp", "activity_at", "UTC."),
            _FIELD,
            ("old_value", "varchar", "old_value", "What the person held before, as text; options as labels."),
            ("new_value", "varchar", "new_value", "What the person holds now, as text; options as labels."),
            ("reason_code", "varchar", "reason_code", "What made the entry; to be asked for in queries."),
            (
                "reason",
                "varchar",
                "coalesce(message, sentence)",
                "The rule, or what happened to the account, in words; the error of a Sync Error.",
            ),
            ("source", "varchar", "source", "Who made the entry."),
        ),
    ),
    PublishedTable(
        name="marketo_entries",
        grain="One row per Sync Error of `activities` that was told in the person's own activity log in Marketo, or not.",
        source=told("ledger.marketo_entries", "outcome_code"),
        key="entry_id",
        columns=plain(
            ("entry_number", "bigint", "entry_id", "Key; grows with time."),
            _CYCLE,
            ("activity_id", "bigint", "activity_id", "The entry of `activities`; Marketo shows it as DynSync Entry."),
            _PERSON,
            ("ended_at", "timestamp", "ended_at", "UTC."),
            ("outcome_code", "varchar", "outcome_code", "told, refused or given_up."),
            ("outcome", "varchar", "coalesce(message, sentence)", "The same in words."),
        ),
    ),
    PublishedTable(
        name="requests",
        grain="One row per answered request that a person of Marketo become a record in Dynamics, or for one that is.",
        source=told("ledger.requests", "outcome_code"),
        key="entry_id",
        columns=plain(
            ("request_number", "bigint", "entry_id", "Key; grows with time."),
            ("request_id", "varchar", "request_id", "Id of the request, which its record or task bears in Dynamics."),
            (
                "kind",
                "varchar",
                "kind",
                "record: the person was to become one; owner: its record was to get another; task: one was to be made for it.",
            ),
            ("cycle_id", "bigint", "cycle_id", "The cycle that was running, or had run last; see cycles."),
            ("asked_at", "timestamp", "asked_at", "UTC."),
            ("answered_at", "timestamp", "answered_at", "UTC."),
            ("door", "varchar", "door", "How it came in: webhook, list or push."),
            _PERSON,
            (
                "record_type",
                "varchar",
                "record_type",
                "What the person was to become, if it was no record yet: lead or contact.",
            ),
            (
                "record_id_dynamics",
                "varchar",
                "dynamics_id",
                "Id of the record or task that was made; null where none was.",
            ),
            ("outcome_code", "varchar", "outcome_code", "What became of it; to be asked for in queries."),
            ("outcome", "varchar", "coalesce(message, sentence)", "The same in words."),
            ("field", "varchar", "field", "The field or column that stood in the way."),
        ),
    ),
    PublishedTable(
        name="merge_proposals",
        grain="One row per two people who are one by their records in Dynamics, and may be merged in Marketo.",
        source=told("ledger.merge_proposals", "cause_code"),
        key="proposal_id",
        columns=plain(
            ("proposal_id", "bigint", "proposal_id", "Key; grows with time. What `dynsync merge --apply` takes."),
            _CYCLE,
            ("seen_at", "timestamp", "seen_at", "Proposed at, UTC."),
            (
                "cause_code",
                "varchar",
                "cause_code",
                "merged_in_dynamics: the loser's record lost a merge (R99); qualified: it is a lead that was qualified onto "
                "the winner's contact (R97).",
            ),
            ("cause", "varchar", "sentence", "The same in words."),
            ("winner_id_marketo", "bigint", "winner_person_id", "Id of the person who would stay."),
            ("winner_record_type", "varchar", "winner_record_type", "lead or contact."),
            ("winner_id_dynamics", "varchar", "winner_dynamics_id", "Id of that person's record."),
            ("loser_id_marketo", "bigint", "loser_person_id", "Id of the person who would be merged into the other."),
            ("loser_record_type", "varchar", "loser_record_type", "lead or contact."),
            ("loser_id_dynamics", "varchar", "loser_dynamics_id", "Id of that person's record."),
            (
                "state",
                "varchar",
                "state",
                "open; sent: nobody knows yet what became of the merge; merged; withdrawn: they are not one any more.",
            ),
            ("ended_at", "timestamp", "ended_at", "Merged or withdrawn at, UTC."),
        ),
    ),
    PublishedTable(
        name="account_changes",
        grain="One row per account change and field that reached Marketo.",
        source=told("ledger.account_changes", "reason_code"),
        key="entry_id",
        columns=plain(
            ("account_change_id", "bigint", "entry_id", "Key; grows with time."),
            _CYCLE,
            ("changed_at", "timestamp", "changed_at", "When Marketo confirmed it, UTC."),
            ("account_id_dynamics", "varchar", "account_id", "Id of the account in Dynamics."),
            _FIELD,
            ("old_value", "varchar", "old_value", "What the company held in Marketo before."),
            ("new_value", "varchar", "new_value", "What the account holds."),
            ("n_contacts", "bigint", "n_contacts", "Contacts of the account at that time (R55)."),
            (
                "activities_suppressed",
                "boolean",
                "activities_suppressed",
                "More than 5,000 contacts: no activity per contact was logged (R53, R54).",
            ),
            (
                "reason_code",
                "varchar",
                "reason_code",
                "account_changed, or account_reapplied over a local edit (R52).",
            ),
            ("reason", "varchar", "sentence", "The same in words."),
        ),
    ),
    PublishedTable(
        name="audit_findings",
        grain="One row per thing that the cycles should have known and did not, or that is damaged.",
        source=told("ledger.audit_findings", "code"),
        key="finding_id",
        columns=plain(
            ("finding_id", "bigint", "finding_id", "Key; grows with time."),
            ("found_at", "timestamp", "found_at", "Seen at, UTC."),
            (
                "found_by",
                "varchar",
                "found_by",
                "census: no feed told it; audit: the two mirrors, compared once a day; extract: the reading of a feed.",
            ),
            ("record_type", "varchar", "record_type", "account, lead or contact; person for a person in Marketo."),
            _RECORD,
            _PERSON,
            (
                "field",
                "varchar",
                "field",
                "REST name of the field in Marketo, or a column that is read beside the mapped.",
            ),
            ("finding_code", "varchar", "ledger.audit_findings.code", "What was found; to be asked for in queries."),
            ("finding", "varchar", "sentence", "The same in words."),
        ),
    ),
    PublishedTable(
        name="schema_changes",
        grain="One row per change of a synced column in either system, or of one of its options, and what it meant.",
        source=told("ledger.schema_changes", "code"),
        key="entry_id",
        columns=plain(
            ("schema_change_id", "bigint", "entry_id", "Key; grows with time."),
            ("seen_at", "timestamp", "seen_at", "When the definitions were read that showed it, UTC."),
            ("system", "varchar", "system", "dynamics or marketo."),
            (
                "record_type",
                "varchar",
                "coalesce(record_type, 'person')",
                "account, contact or lead; person in Marketo.",
            ),
            (
                "column_name",
                "varchar",
                "name",
                "Logical name of the column in Dynamics, REST name of the field in Marketo.",
            ),
            ("change_code", "varchar", "ledger.schema_changes.code", "What changed; to be asked for in queries."),
            ("old_value", "varchar", "old_value", "Type, length, label and so on before."),
            ("new_value", "varchar", "new_value", "The same now."),
            ("meaning", "varchar", "sentence", "What it meant, in words, which may change."),
        ),
    ),
    PublishedTable(
        name="calls_between",
        grain="One row per system and turn at the requests between cycles, of the last two days: the calls that it took.",
        source="ledger.calls_between",
        key="called_at",
        columns=plain(
            ("called_at", "timestamp", "called_at", "UTC."),
            ("system", "varchar", "system", "dynamics or marketo."),
            ("n_calls", "bigint", "n_calls", "Requests that count against its limits."),
        ),
    ),
    PublishedTable(
        name="backlog_hours",
        grain="One row per clock hour and object of the last five days: its records that were not settled (R123).",
        source="ledger.backlog_hours",
        key="hour_at",
        columns=plain(
            ("hour_at", "timestamp", "hour_at", "Begin of the hour, UTC."),
            ("object", "varchar", "object", "account, contact or lead; a person counts as its record."),
            ("n_least", "bigint", "n_least", "The least of them at any look in that hour."),
            (
                "n_mean",
                "double",
                "n_sum / n_looks",
                "Their mean over all looks: a cycle looks when it has planned and when it ends.",
            ),
            ("n_most", "bigint", "n_most", "The most of them at any look."),
            ("n_last", "bigint", "n_last", "At the last look of that hour."),
        ),
    ),
    PublishedTable(
        name="sync_errors",
        grain="One row per failed record, field and direction.",
        source="ledger.sync_errors",
        key="error_id",
        columns=plain(
            ("error_id", "bigint", "error_id", "Key; grows with time."),
            _CYCLE,
            ("happened_at", "timestamp", "happened_at", "First refused at, UTC."),
            ("last_seen_at", "timestamp", "last_seen_at", "Last refused at, UTC."),
            (
                "object",
                "varchar",
                "record_type",
                "account, contact or lead; person or company in Marketo that cannot be read.",
            ),
            _PERSON,
            _RECORD,
            ("field", "varchar", "field", "The field at fault, where the system names one."),
            ("operation", "varchar", "operation", "create, update, company (of an account or lead), link or read."),
            ("direction", "varchar", "direction", "to_marketo or to_dynamics."),
            ("code", "varchar", "code", "The system's error code, or ours, such as unread."),
            ("message", "varchar", "message", "What the system said and what to do."),
            ("attempts", "integer", "attempts", "How often it was tried."),
            ("state", "varchar", "state", "waiting, quarantined or resolved."),
        ),
    ),
    PublishedTable(
        name="cycles",
        grain="One row per cycle; those without changes follow within the hour, and stand in status.json until then.",
        source="ledger.cycles",
        key="cycle_id",
        columns=plain(
            ("cycle_id", "bigint", "cycle_id", "Key; grows with time."),
            ("started_at", "timestamp", "started_at", "UTC."),
            ("ended_at", "timestamp", "ended_at", "UTC; null while it runs, or when it was killed."),
            ("status", "varchar", "status", "loading, running, succeeded, failed or stopped_by_guard."),
            ("message", "varchar", "message", "Why it failed and what to do."),
            ("is_whole", "boolean", "is_whole", "Whether all steps of a cycle ran in it, and it succeeded."),
            ("n_accounts_read", "bigint", "n_accounts_read", "Accounts read from Dynamics."),
            ("n_contacts_read", "bigint", "n_contacts_read", "Contacts read from Dynamics."),
            ("n_leads_read", "bigint", "n_leads_read", "Leads read from Dynamics."),
            ("n_people_read", "bigint", "n_people_read", "People read from Marketo."),
            ("n_companies_written", "bigint", "n_companies_written", "Companies created or updated in Marketo."),
            ("n_people_created", "bigint", "n_people_created", "People created in Marketo."),
            ("n_people_updated", "bigint", "n_people_updated", "People updated in Marketo."),
            ("n_records_updated", "bigint", "n_records_updated", "Contacts and leads updated in Dynamics."),
            ("n_collisions", "bigint", "n_collisions", "Collisions in the plan."),
            ("n_refused", "bigint", "n_refused", "Writes that a system refused."),
            ("n_calls_dynamics", "bigint", "n_calls_dynamics", "Requests to Dynamics that count against its limits."),
            ("n_calls_marketo", "bigint", "n_calls_marketo", "Calls to Marketo that count against its limits."),
        ),
    ),
)
