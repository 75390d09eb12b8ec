"""What moved in the mirrors: one row per value, whoever moved it, for as long as the retention lasts (`ledger.observations`).

Ledgers hold what the sync wrote; here stands also what somebody edited, what both sides edited alike, and what was taken back.
Written where a mirror moves, from the rows that move, and read by people alone. Not here: the mirrors (`mirrors.py`), how
it is asked for (`publish/as_of.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import duckdb

from dynsync_pipeline.model.records import TABLES, RecordType
from dynsync_pipeline.warehouse.columns import quoted
from dynsync_pipeline.warehouse.connection import scalar

PERSON, COMPANY = "person", "company"


@dataclass(frozen=True)
class Mirrored:
    """A mirror as observations tell of it: what its rows are, its table, its key, and the ledger's column for that.

    `columns` are those observed beside the mapped ones.
    `changed`: expressions for when, by whom and from where a value came, over its row `n`, or over what the feed told of it
    (`told`).
    """

    object: str
    mirror: str
    key: str
    id_column: str
    columns: tuple[str, ...]
    changed: tuple[str, str, str] = ("null", "null", "null")

    def value(self, row: str, column: str) -> str:
        """The expression for a value of `row`, which is null for whoever is gone from Marketo, where nothing is left."""
        value = f"{row}.{quoted(column)}"
        is_lost = self.object == PERSON and column != "is_deleted"
        return f"case when not {row}.is_deleted then {value} end" if is_lost else value


OF_PEOPLE = Mirrored(
    PERSON,
    "mirror.marketo_people",
    "person_id",
    "person_id",
    (
        "is_deleted",
        "external_company_id",
        "dynamics_contact_id",
        "dynamics_lead_id",
        "dynamics_type",
        "dynamics_created_on",
        "is_deleted_in_dynamics",
    ),
    ("told.changed_at", "null", "told.source"),
)
OF_COMPANIES = Mirrored(COMPANY, "mirror.marketo_companies", "external_company_id", "company_key", ())
NEVER_OBSERVED = frozenset(
    {"modifiedon", "_modifiedby_value"}
)  # move with everything else, and stand in `changed_at` and `changed_by`
OF_RECORDS: Mapping[RecordType, Mirrored] = {
    record_type: Mirrored(
        record_type,
        table.mirror,
        table.id_column,
        "dynamics_id",
        ("is_deleted", *(name for name in table.system_columns if name not in NEVER_OBSERVED)),
        changed=("try_cast(n.modifiedon as timestamp)", "lower(n._modifiedby_value)", "null"),
    )
    for record_type, table in TABLES.items()
}
_ALL = (OF_PEOPLE, OF_COMPANIES, *OF_RECORDS.values())


def observed_columns(connection: duckdb.DuckDBPyConnection, mirrored: Mirrored) -> list[str]:
    """The columns of a mirror that are observed; none before the first plan."""
    query = "select name from state.observed_fields where object = ? order by 1"
    return [row[0] for row in connection.execute(query, [mirrored.object]).fetchall()]


def observe(
    connection: duckdb.DuckDBPyConnection, mirrored: Mirrored, names: list[str], at: datetime, *, is_receipt: bool
) -> None:
    """Keep what the rows of `newest` change in these columns of their mirror, of which `known` holds the rows of now.

    Call it before they are put there. `at`: UTC without zone. Of whom the mirror does not hold yet one row says so.
    """
    connection.execute(_insert(mirrored, names), {"object": mirrored.object, "seen_at": at, "is_receipt": is_receipt})


def _insert(mirrored: Mirrored, names: list[str]) -> str:
    old, new = ({name: mirrored.value(row, name) + "::varchar" for name in names} for row in ("m", "n"))
    differs = " or ".join(f"{old[name]} is distinct from {new[name]}" for name in names)
    values = ", ".join(f"{{name: '{name}', old_value: {old[name]}, new_value: {new[name]}}}" for name in names)
    joined = (
        "left join inbox.told_changes told on told.person_id = n.person_id and told.field = kept.name "
        "and told.value is not distinct from kept.new_value"
        if mirrored.object == PERSON
        else ""
    )
    return f"""
insert into ledger.observations
    (entry_id, cycle_id, seen_at, object, {mirrored.id_column}, name, old_value, new_value, is_receipt, changed_at, changed_by,
     source)
with moved as (
    select n.{mirrored.key} as id, m.{mirrored.key} is null as is_new, [{values}] as held
    from newest n left join known m on m.{mirrored.key} = n.{mirrored.key}
    where m.{mirrored.key} is null or {differs}
),
kept as (
    select id, null as name, null as old_value, null as new_value from moved where is_new
    union all
    select id, v.name, v.old_value, v.new_value
    from (select id, unnest(held) as v from moved where not is_new)
    where v.old_value is distinct from v.new_value
)
select
    nextval('ledger.entries'), (select max(cycle_id) from ledger.cycles), $seen_at, $object, kept.id, kept.name, kept.old_value,
    kept.new_value, $is_receipt, {", ".join(mirrored.changed)}
from kept join newest n on n.{mirrored.key} = kept.id {joined}
"""


def note_observed_fields(connection: duckdb.DuckDBPyConnection, at: datetime) -> None:
    """From `at` (UTC without zone) on observe the fields that are synced now; call it when a plan was made of both mirrors.

    A field that left the map is forgotten here, and so are its values' whereabouts until it is back. The columns of a table
    that waits, and was not read with them, wait as well.
    """
    own = [(mirrored.object, name) for mirrored in _ALL for name in mirrored.columns]
    offered = [(record_type.value, name) for record_type, table in TABLES.items() for name in table.offered_columns]
    given = {
        "objects": [each[0] for each in own],
        "names": [each[1] for each in own],
        "offered_objects": [each[0] for each in offered],
        "offered_names": [each[1] for each in offered],
    }
    connection.execute(_OBSERVED, given)
    if connection.execute("select 1 from observed where is_new is distinct from is_old limit 1").fetchall():
        connection.execute(
            "delete from state.observed_fields where (object, name) in (select (object, name) from observed where not is_new)"
        )
        connection.execute(
            "insert into state.observed_fields (object, name, since) select object, name, ? from observed where not is_old",
            [at],
        )


_OBSERVED = """
create or replace temp table observed as
with synced as (
    select record_type as object, dynamics_column as name from reconcile.fields
    union
    select case when is_on_company then 'company' else 'person' end, field from reconcile.fields
    union
    select unnest($objects::varchar[]), unnest($names::varchar[])
    union
    select o.object, o.name
    from (select unnest($offered_objects::varchar[]) as object, unnest($offered_names::varchar[]) as name) o
    join state.columns c
        on c.system = 'dynamics' and c.is_readable and c.record_type = o.object
        and c.name = regexp_replace(o.name, '^_(.*)_value$', '\1')
)
select
    object, name, s.name is not null as is_new, o.name is not null as is_old
from (select * from synced where object not in (select record_type from state.unread_tables)) s
full join state.observed_fields o using (object, name)
where s.name is not null or object not in (select record_type from state.unread_tables)
"""


def forget_observations(connection: duckdb.DuckDBPyConnection, at: datetime, days: int) -> int:
    """Drop what was observed more than `days` days before `at` (UTC without zone); returns how many rows.

    What moved before that is not known any more, which `state.observed_fields` says. The snapshot follows: it drops what is
    older than the oldest row here. Whoever forgets other ledgers by age does it here too, one statement a ledger.
    """
    before = at - timedelta(days=days)
    n_forgotten = scalar(connection, "delete from ledger.observations where seen_at < ?", [before])
    if n_forgotten:
        connection.execute("update state.observed_fields set since = ? where since < ?", [before, before])
    return n_forgotten


# Those whose rows only tell, and the time that their age goes by. What a rule reads of them is a week old at most.
LEDGERS_BY_AGE = {
    "changes": "changed_at",
    "collisions": "settled_at",
    "activities": "activity_at",
    "account_changes": "changed_at",
    "marketo_entries": "ended_at",
    "audit_findings": "found_at",
    "schema_changes": "seen_at",
    "error_attempts": "attempted_at",
    "shadow_changes": "seen_at",
}


def forget_ledgers(connection: duckdb.DuckDBPyConnection, at: datetime, days: int, observation_days: int) -> None:
    """Drop what the ledgers tell of more than `days` days before `at` (UTC without zone); 0: they are kept for good.

    An undo that somebody asked for keeps the rows from the oldest one on that it reads. Cycles go by the longer of both ages,
    because what was held at a time asks for those of that time, and the last whole one stays, which rules read. Errors,
    requests and proposals stay: rules ask them for what is open, or was ever asked. The snapshot follows, as above.
    """
    if not days:
        return
    wanted = "select coalesce(min(change_id), 9223372036854775807) from state.undoing"
    for name, time in LEDGERS_BY_AGE.items():
        kept = f" and entry_id < ({wanted})" if name in ("changes", "collisions") else ""
        connection.execute(f"delete from ledger.{name} where {time} < ?{kept}", [at - timedelta(days=days)])
    connection.execute(
        "delete from ledger.cycles where started_at < ? "
        "and cycle_id < (select max(cycle_id) from ledger.cycles where is_whole)",
        [at - timedelta(days=max(days, observation_days))],
    )
