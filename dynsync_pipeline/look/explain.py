"""One person or record: why every value is what it is. Selects over the snapshot; shown by `cli/explain.py`."""

from __future__ import annotations

import re
from dataclasses import dataclass

import duckdb

from dynsync_pipeline.look.reading import Row, select
from dynsync_pipeline.model.field_map import OF_OPTIONS
from dynsync_pipeline.model.records import FILTER_COLUMN, TABLES, RecordType
from dynsync_pipeline.warehouse.columns import quoted

GUID = re.compile(r"\{?([0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12})\}?")
PERSON_ID = re.compile(r"[0-9]{1,18}")
EMAIL = "email"  # Marketo's own name of the field
Values = dict[str, str | None]


@dataclass(frozen=True)
class Subject:
    """Whom an explanation is about: a person, a Dynamics record, or both where they are linked."""

    person_id_marketo: int | None
    record_type: str | None
    record_id_dynamics: str | None
    is_linked: bool


@dataclass(frozen=True)
class Explanation:
    """Everything `dynsync explain` tells; values are text, options as labels, times UTC without zone.

    person: `linked_at`, `account_id_dynamics`, `is_in_marketo`, `is_in_dynamics`, `is_deleted_in_dynamics`, `stale_since`, and
    `is_kept_out`, whether the filter says no to the record (R87).
    waiting: the unsettled row of a record that could not be created in Marketo yet, or None.
    ended_links: tombstones of the person and the record, oldest first.
    fields: one row per synced field with `field`, `dynamics_column`, `direction`, `base`, `dynamics`, `marketo`,
    `state` (`agree`, `unsettled`, `standing difference`, `no base`, `stale`, `not compared yet`, `not linked`), `reason`,
    `next_look_at`, and `last_rule`, the rule of the last write.
    account_fields: the same for the fields of the account, which have no base; `local edit` and, of an account that the filter
    keeps out (R94), `kept out` are states of these alone.
    history: changes, collisions and errors of the person and the record, changes of its account, oldest first.
    """

    subject: Subject
    person: Row
    waiting: Row | None
    ended_links: list[Row]
    fields: list[Row]
    account_fields: list[Row]
    history: list[Row]


def find_subjects(connection: duckdb.DuckDBPyConnection, key: str) -> list[Subject]:
    """Everybody whom `key` names: a Marketo person id, a Dynamics id, or an e-mail address in any case.

    Empty when nobody bears it. Raises: ValueError when it is none of the three.
    """
    key = key.strip()
    if PERSON_ID.fullmatch(key):
        found = select(connection, f"{_SUBJECTS} where person_id_marketo = ?", [int(key)])
    elif guid := GUID.fullmatch(key):
        found = select(connection, f"{_SUBJECTS} where record_id_dynamics = ?", [guid[1].lower()])
    elif "@" in key:
        found = _by_email(connection, key.lower())
    else:
        raise ValueError("neither a Marketo person id, nor a Dynamics id, nor an e-mail address")
    return [Subject(**row) for row in found]


def is_account(connection: duckdb.DuckDBPyConnection, key: str) -> bool:
    """Whether `key` is the Dynamics id of an account."""
    guid = GUID.fullmatch(key.strip())
    return guid is not None and bool(select(connection, "from accounts where accountid = ?", [guid[1].lower()]))


_SUBJECTS = """
from (
    select
        person_id_marketo,
        coalesce(l.record_type, case when contact_id_dynamics is not null then 'contact'
                                     when lead_id_dynamics is not null then 'lead' end) as record_type,
        coalesce(l.record_id_dynamics, contact_id_dynamics, lead_id_dynamics) as record_id_dynamics,
        l.person_id_marketo is not null as is_linked
    from people full join links l using (person_id_marketo)
    union all
    select null, 'contact', contactid, false from contacts
    where contactid not in (select record_id_dynamics from links where record_type = 'contact')
      and contactid not in (select contact_id_dynamics from people where contact_id_dynamics is not null)
    union all
    select null, 'lead', leadid, false from leads
    where leadid not in (select record_id_dynamics from links where record_type = 'lead')
      and leadid not in (select lead_id_dynamics from people where lead_id_dynamics is not null)
)
"""


def _by_email(connection: duckdb.DuckDBPyConnection, email: str) -> list[Row]:
    columns = {
        row["record_type"]: row["dynamics_column"]
        for row in select(connection, "from field_map where field = ? and record_type <> 'account'", [EMAIL])
    }
    if not columns:
        return []
    ids = " union all ".join(
        f"select {TABLES[RecordType(record_type)].id_column} from {TABLES[RecordType(record_type)].entity_set} "
        f"where lower({quoted(column)}) = $1"
        for record_type, column in columns.items()
    )
    return select(
        connection,
        f"{_SUBJECTS} where person_id_marketo in "
        f"(select person_id_marketo from people where lower({quoted(EMAIL)}) = $1) "
        f"or record_id_dynamics in ({ids}) order by person_id_marketo nulls last, record_id_dynamics",
        [email],
    )


def explain(connection: duckdb.DuckDBPyConnection, subject: Subject) -> Explanation:
    """All there is to know about `subject`."""
    person_id, record_id = subject.person_id_marketo, subject.record_id_dynamics
    person = _values(connection, "people", "person_id_marketo", person_id)
    record: Values = {}
    if subject.record_type is not None:
        table = TABLES[RecordType(subject.record_type)]
        record = _values(connection, table.entity_set, table.id_column, record_id)
    linked = select(
        connection,
        "select linked_at, stale_since from links left join people using (person_id_marketo) where person_id_marketo = ?",
        [person_id],
    )
    waiting = select(
        connection, "from unsettled where record_id_dynamics = ? and person_id_marketo is null", [record_id]
    )
    return Explanation(
        subject=subject,
        person={
            "linked_at": linked[0]["linked_at"] if linked else None,
            "account_id_dynamics": person.get("account_id_dynamics"),
            "is_in_marketo": bool(person),
            "is_in_dynamics": bool(record) and record["is_deleted"] != "true",
            "is_deleted_in_dynamics": bool(record) and record["is_deleted"] == "true",
            "stale_since": linked[0]["stale_since"] if linked else None,
            "is_kept_out": record.get(FILTER_COLUMN) == "false",
        },
        waiting=waiting[0] if waiting else None,
        ended_links=select(
            connection,
            "from tombstones where person_id_marketo = ? or record_id_dynamics = ? order by ended_at",
            [person_id, record_id],
        ),
        fields=_fields(connection, subject, record, person),
        account_fields=_account_fields(connection, person),
        history=select(connection, _HISTORY, [person_id, record_id, person.get("account_id_dynamics")]),
    )


def _values(connection: duckdb.DuckDBPyConnection, table: str, key: str, value: object) -> Values:
    """One row as text, by column name; empty when there is none."""
    found = select(connection, f"select columns(*)::varchar from {table} where {key} = ?", [value])
    return found[0] if found else {}


@dataclass(frozen=True)
class _Told:
    """What the snapshot tells of a person's fields beside their values, by field."""

    base: Values
    unsettled: dict[str, Row]
    standing: dict[str, Row]
    without_base: dict[str, Row]
    last_rules: dict[str, Row]
    is_stale: bool


def _told(connection: duckdb.DuckDBPyConnection, person_id: int | None) -> _Told:
    def by_field(query: str) -> dict[str, Row]:
        return {row["field"]: row for row in select(connection, query, [person_id])}

    return _Told(
        base=_values(connection, "base", "person_id_marketo", person_id),
        unsettled=by_field("from unsettled where person_id_marketo = ?"),
        standing=by_field("from standing_differences where person_id_marketo = ?"),
        without_base=by_field(_WITHOUT_BASE),
        last_rules=by_field(_LAST_RULES),
        is_stale=bool(select(connection, "from people where is_stale and person_id_marketo = ?", [person_id])),
    )


def _fields(connection: duckdb.DuckDBPyConnection, subject: Subject, record: Values, person: Values) -> list[Row]:
    told = _told(connection, subject.person_id_marketo)
    rows = []
    for field in select(connection, _MAPPED, [subject.record_type]):
        name, labels = field["field"], labels_of(connection, field)
        row = _named(field) | {
            "base": _value(told.base if name not in told.without_base else {}, name, field, labels),
            "dynamics": _value(record, field["dynamics_column"], field, labels),
            "marketo": _value(person, name, field, labels),
            "reason": None,
            "next_look_at": None,
            "last_rule": told.last_rules.get(name, {}).get("rule"),
        }
        accepted = [_value(told.standing.get(name, {}), column, field, labels) for column in _STANDING_VALUES]
        rows.append(row | (_state(row, told, accepted) if subject.is_linked else {"state": "not linked"}))
    return rows


_STANDING_VALUES = ("dynamics_value", "marketo_value")


def _state(row: Row, told: _Told, accepted: list[str | None]) -> Row:
    """How a linked person's field stands; `accepted` are both values of a standing difference, if there is one."""
    name = row["field"]
    if name in told.unsettled:
        waiting = told.unsettled[name]
        return {"state": "unsettled", "reason": waiting["reason"], "next_look_at": waiting["next_look_at"]}
    if name in told.without_base:
        return {"state": "no base"}
    if name in told.standing and accepted == [row["dynamics"], row["marketo"]]:
        return {"state": "standing difference", "reason": told.standing[name]["reason"]}
    if row["base"] == row["dynamics"] == row["marketo"]:
        return {"state": "agree"}
    # Not compared: the snapshot is older than the comparison, after a cycle that failed.
    return {"state": "stale" if told.is_stale else "not compared yet"}


def _account_fields(connection: duckdb.DuckDBPyConnection, person: Values) -> list[Row]:
    account = _values(connection, "accounts", "accountid", person.get("account_id_dynamics"))
    rows: list[Row] = []
    for field in select(connection, "from field_map where record_type = 'account' order by field") if account else []:
        labels = labels_of(connection, field)
        row = _named(field)
        row["dynamics"] = _value(account, field["dynamics_column"], field, labels)
        row["marketo"] = _value(person, field["field"], field, labels)
        differs = "kept out" if account.get(FILTER_COLUMN) == "false" else "local edit"
        row["state"] = "agree" if row["dynamics"] == row["marketo"] else differs
        rows.append(row)
    return rows


def _named(field: Row) -> Row:
    return {key: field[key] for key in ("field", "dynamics_column", "direction")}


def _value(values: Values | Row, column: str, field: Row, labels: dict[str, str]) -> str | None:
    """One value as text; None where the whole row is missing, which is not a blank."""
    return as_text(values.get(column), field["type"], labels) if values else None


# Somebody whom only Marketo knows is neither contact nor lead: the fields of both, each once.
_MAPPED = """
select distinct on (field) * from field_map
where record_type = $1 or ($1 is null and record_type <> 'account')
order by field, record_type
"""
_WITHOUT_BASE = "select unnest(fields_without_base) as field from base where person_id_marketo = ?"
_LAST_RULES = "select field, arg_max(rule, change_id) as rule from changes where person_id_marketo = ? group by field"


def labels_of(connection: duckdb.DuckDBPyConnection, field: Row) -> dict[str, str]:
    """The options of a field, label by number; none where it has no options."""
    if field["type"] not in OF_OPTIONS:
        return {}
    found = select(
        connection,
        "select option_value, label from options where record_type = ? and dynamics_column = ?",
        [field["record_type"], field["dynamics_column"]],
    )
    return {row["option_value"]: row["label"] for row in found}


def as_text(value: str | None, kind: str, labels: dict[str, str]) -> str | None:
    """The canonical text (R45) of a value of the snapshot; options as labels, a blank boolean as false."""
    if kind == "boolean":
        return value or "false"
    if value is None:
        return None
    if kind == "decimal" and "." in value:
        return value.rstrip("0").rstrip(".")
    if kind == "datetime":
        return value.removesuffix("Z").replace(" ", "T") + "Z"
    if kind == "choice":
        return labels.get(value, value.removeprefix("?"))
    if kind == "choices":
        return value[1:] if value.startswith("?") else "; ".join(labels.get(n, n) for n in value.split(","))
    return value


_HISTORY = """
from (
    select
        changed_at as happened_at, cycle_id, 'change' as what, direction, field, old_value, new_value,
        null as winner, rule as reason
    from changes where person_id_marketo = $1 or record_id_dynamics = $2
    union all
    select settled_at, cycle_id, 'collision', null, field, dynamics_value, marketo_value, winner, rule
    from collisions where person_id_marketo = $1 or record_id_dynamics = $2
    union all
    select
        last_seen_at, cycle_id, 'error', direction, field, null, null, null,
        concat(operation, ' refused, ', state, ', tried ', attempts, 'x. ', code, ': ', message)
    from sync_errors where person_id_marketo = $1 or record_id_dynamics = $2
    union all
    select changed_at, cycle_id, 'account change', 'to_marketo', field, old_value, new_value, null, reason
    from account_changes where account_id_dynamics = $3
)
order by happened_at, what, direction, reason, field
"""
