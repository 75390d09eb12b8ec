"""The published tables as data: what one row is, every column with its type and comment, and how it is selected.

Here those that follow the field map: people, records and their owners. A column that is not written is not published.
Not here: what happened (`ledger_tables.py`), where each person and record stands (`state_tables.py`), how rows get into
the file (`snapshot.py`).
"""

from __future__ import annotations

from dynsync_pipeline.model.field_map import OF_OPTIONS, FieldMap, FieldType
from dynsync_pipeline.model.own_fields import KEYLESS
from dynsync_pipeline.model.records import FILTER_COLUMN, TABLES, RecordType, logical_name
from dynsync_pipeline.publish.ledger_tables import LEDGER_TABLES
from dynsync_pipeline.publish.state_tables import state_tables
from dynsync_pipeline.publish.table import Joined, PublishedColumn, PublishedTable, plain
from dynsync_pipeline.warehouse.columns import mirrored_columns, quoted
from dynsync_pipeline.warehouse.observations import NEVER_OBSERVED

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
_COMPANY = (
    "The company's externalCompanyId: an account's id, lead:<lead id> or contact:<contact id>; person:<person id> stands for "
    "the company of a lead's person to which Marketo gives no key."
)
_MODIFIED_BY = "Id of the user in Dynamics who modified the record last, often the sync itself; see users."
_OWNER_ID = "Id of the user or team that is the owner"
_OWNER = plain(
    ("owner_name", "varchar", "w.name", "Name of the owner."),
    ("owner_email", "varchar", "w.email", "E-mail address of the owner."),
)


_JOINED_TO_PEOPLE = (
    Joined("state.links", "person_id", "select person_id from fetched", "*"),
    Joined(
        "mirror.dynamics_contacts",
        "contactid",
        "select dynamics_contact_id from fetched union select dynamics_id from of_links where record_type = 'contact'",
        "contactid, is_deleted, merged, _ownerid_value, _parentcustomerid_value",
    ),
    Joined(
        "mirror.dynamics_leads",
        "leadid",
        "select dynamics_lead_id from fetched union select dynamics_id from of_links where record_type = 'lead'",
        "leadid, is_deleted, merged, _ownerid_value",
    ),
    Joined(
        "mirror.marketo_companies",
        "external_company_id",
        f"select coalesce(external_company_id, '{KEYLESS}' || person_id) from fetched",
        "*",
    ),
)
_JOINED_TO_CONTACTS = (
    Joined(
        "mirror.dynamics_contacts",
        "contactid",
        "select lower(_parentcustomerid_value) from fetched",
        "contactid",
    ),
)


def published_tables(fields: FieldMap) -> tuple[PublishedTable, ...]:
    """Every table of the snapshot for this field map."""
    return (
        _people(fields),
        *(_records(fields, record_type) for record_type in RecordType),
        _companies(fields),
        _USERS,
        *LEDGER_TABLES,
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
            "left join mirror.marketo_companies k on k.external_company_id = "
            f"coalesce(m.external_company_id, '{KEYLESS}' || m.person_id) "
            "left join mirror.dynamics_accounts a on a.accountid = m.external_company_id "
            "left join mirror.dynamics_contacts c on c.contactid = "
            "case when l.record_type = 'contact' then l.dynamics_id else m.dynamics_contact_id end "
            "left join mirror.dynamics_leads d on d.leadid = "
            "case when l.record_type = 'lead' then l.dynamics_id else m.dynamics_lead_id end "
            f"left join mirror.dynamics_owners w on w.id = {_OWNER_OF_PERSON}"
        ),
        key="m.person_id",
        joined=_JOINED_TO_PEOPLE,
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
                "record_id_dynamics", "varchar", "l.dynamics_id", "Id of the linked contact or lead; null: not linked."
            ),
            PublishedColumn(
                "created_in_marketo_at",
                "timestamp",
                "try_cast(m.created_at as timestamp)",
                "Created in Marketo at, UTC.",
            ),
            PublishedColumn(
                "updated_in_marketo_at",
                "timestamp",
                "try_cast(m.updated_at as timestamp)",
                "When Marketo said last that it changed, by whatever cause, UTC: as of when the person was last read.",
            ),
            PublishedColumn("is_linked", "boolean", "l.person_id is not null", "It has a row in links (R18)."),
            PublishedColumn(
                "company_id_marketo", "varchar", "coalesce(m.external_company_id, k.external_company_id)", _COMPANY
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
        ),
        PublishedColumn(
            "record_id_dynamics",
            "varchar",
            f"r.{table.id_column}",
            "The same, by the name that every table has for it.",
        ),
        *_account_of(record_type),
    ]
    for name, kind in mirrored_columns(fields, record_type).items():
        if name in NEVER_OBSERVED:  # told last, in words of our own
            continue
        comment = comments.get(name) or f"Dynamics column {name}; in Marketo {mapped[name]}."
        columns.append(_typed(logical_name(name), kind, f"r.{quoted(name)}", comment))
        if name == "_ownerid_value":
            columns += _OWNER
    columns.append(_typed("modified_at", FieldType.DATETIME, "r.modifiedon", "Last modified in Dynamics at, UTC."))
    columns.append(PublishedColumn("modified_by", "varchar", "lower(r._modifiedby_value)", _MODIFIED_BY))
    if record_type is RecordType.CONTACT:
        columns.append(
            PublishedColumn(
                "parent_is_contact",
                "boolean",
                # Of nobody it is null whether they are among none or among all.
                "case when r._parentcustomerid_value is not null "
                "then lower(r._parentcustomerid_value) in (select contactid from mirror.dynamics_contacts) end",
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
        joined=_JOINED_TO_CONTACTS if record_type is RecordType.CONTACT else (),
    )


def _account_of(record_type: RecordType) -> tuple[PublishedColumn, ...]:
    """The account that a record is, or belongs to, by the name that every table has for it."""
    if record_type is RecordType.ACCOUNT:
        return plain(("account_id_dynamics", "varchar", "r.accountid", "The same, as other tables name an account."))
    if record_type is RecordType.LEAD:
        return ()
    return plain(
        (
            "account_id_dynamics",
            "varchar",
            "(select a.accountid from mirror.dynamics_accounts a where a.accountid = lower(r._parentcustomerid_value))",
            "Id of the account that it belongs to; null when its parent is no account (R23).",
        )
    )


def _companies(fields: FieldMap) -> PublishedTable:
    return PublishedTable(
        name="companies",
        grain="One row per company in Marketo that the sync knows, as last read; its people share it (R62).",
        source="mirror.marketo_companies k",
        key="k.external_company_id",
        columns=(
            PublishedColumn("company_id_marketo", "varchar", "k.external_company_id", f"{_COMPANY} Key."),
            PublishedColumn(
                "account_id_dynamics",
                "varchar",
                "case when not contains(k.external_company_id, ':') then k.external_company_id end",
                "Id of its account in Dynamics; null: it is the company of one person alone.",
            ),
            *(
                _typed(
                    name,
                    FieldType.TEXT if kind in OF_OPTIONS else kind,
                    f"k.{quoted(name)}",
                    f"Marketo company field {name}.",
                )
                for name, kind in fields.company_fields.items()
            ),
        ),
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
