"""Adoption: which people of a Marketo that knows nothing of DynSync are which contacts and leads, and who decided so.

Pure: tables in, tables out; the rules are `sql/proposed_pairs.sql` and `sql/adoption_faults.sql`. Not here: the file that
people review (`cli/adoption_file.py`), writing the keys (`write_back/adoption.py`), finding links by key (`sql/found_links.sql`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from enum import StrEnum
from functools import partial
from typing import NamedTuple

import duckdb
import pyarrow as pa

from dynsync_pipeline.engine import Engine
from dynsync_pipeline.model.field_map import FieldMap
from dynsync_pipeline.sql_files import run_steps

EMAIL = "email"
NAMES = ("firstName", "lastName")
_ROWS_AT_ONCE = 10_000


class Decision(StrEnum):
    """What becomes of a contact or lead: bound to a person, a new person, or left alone until somebody decides otherwise."""

    LINK = "link"
    CREATE = "create"
    SKIP = "skip"


class Pair(NamedTuple):
    """One contact or lead without a person, and what is proposed for it; `match` says how it was found."""

    record_type: str
    dynamics_id: str
    decision: str
    person_id: int | None
    match: str
    reason: str
    record_name: str | None
    record_email: str | None
    person_name: str | None
    person_email: str | None


@dataclass(frozen=True)
class Reviewed:
    """One line of the reviewed file; `person_id` is there where the decision is to link."""

    line: int
    record_type: str
    dynamics_id: str
    person_id: int | None
    decision: Decision


class Fault(NamedTuple):
    """Why a line cannot be applied."""

    line: int
    text: str


_REVIEWED = pa.schema(
    {
        "line": pa.int64(),
        "record_type": pa.string(),
        "dynamics_id": pa.string(),
        "person_id": pa.int64(),
        "decision": pa.string(),
    }
)


def unknown_people(connection: duckdb.DuckDBPyConnection) -> list[int]:
    """Ids of the people who bear no key of a Dynamics record: those that an adoption is about."""
    rows = connection.execute(
        "select person_id from mirror.marketo_people where not is_deleted and dynamics_contact_id is null "
        "and dynamics_lead_id is null and person_id not in (select person_id from state.links) order by 1"
    ).fetchall()
    return [row[0] for row in rows]


def propose_pairs(engine: Engine, fields: FieldMap, id_fields: Sequence[str], held: pa.Table | None) -> Iterator[Pair]:
    """What to do with each contact and lead that no person bears, doubtful ones first; all is compared when it returns.

    `held`: column `id` (the person's) and those of `id_fields`, text as Marketo sent it; a Dynamics id is found anywhere
    in a value, in any case. Equal e-mail addresses are compared only where the map has the field.
    """
    for name, query in shown_queries(fields).items():
        engine.make(name, query)
    engine.give("held_ids", _held_ids(id_fields, held))
    engine.run_steps(("reconcile/proposed_pairs",))
    found = engine.rows(
        "select * from proposed_pairs "
        "order by match <> 'unclear', match <> 'e-mail address', decision, match, record_type, dynamics_id",
        "proposed_pairs",
    )
    return (Pair(*row) for rows in iter(partial(found.fetchmany, _ROWS_AT_ONCE), []) for row in rows)


def shown_queries(fields: FieldMap) -> dict[str, str]:
    """The little that a proposal compares and shows of people and records, whatever the field map, by the name of the table."""

    def shown(known: Sequence[str]) -> str:
        email = f'"{EMAIL}"' if EMAIL in known else "null::varchar"
        names = [f'"{name}"' for name in NAMES if name in known]
        return f"{email} as email, nullif(concat_ws(' ', {', '.join(names) or 'null'}), '') as name"

    return {
        "people_shown": "select person_id, dynamics_contact_id, dynamics_lead_id, "
        f"{shown([*fields.person_fields])} from mirror.marketo_people where not is_deleted",
        "records_shown": f"select r.record_type, r.dynamics_id, {shown([*fields.linked_fields])} "
        "from state.dynamics_records r anti join mirror.person_records d "
        "on d.record_type = r.record_type and d.dynamics_id = r.dynamics_id and d.is_deleted",
    }


def _held_ids(id_fields: Sequence[str], held: pa.Table | None) -> pa.Table:
    """Each Dynamics id that a person holds: `person_id`, `id_field`, `dynamics_id`."""
    with duckdb.connect() as connection:
        connection.execute("create table held_ids (person_id bigint, id_field varchar, dynamics_id varchar)")
        if held is not None:
            connection.register("held", held)
            for name in id_fields:
                connection.execute(
                    "insert into held_ids (person_id, id_field, dynamics_id) "
                    f'select id::bigint, ?, regexp_extract(lower("{name}"), ?) as found '
                    "from held where found <> ''",
                    [name, "[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"],
                )
        return connection.table("held_ids").to_arrow_table()


def find_faults(connection: duckdb.DuckDBPyConnection, reviewed: Sequence[Reviewed]) -> list[Fault]:
    """What contradicts the mirrors, in the order of the lines; lines that were carried out before are no fault."""
    _land_reviewed(connection, reviewed)
    run_steps(connection, ("reconcile/adoption_faults",))
    return [Fault(*row) for row in connection.execute("from adoption_faults order by line, fault").fetchall()]


def keep_decisions(connection: duckdb.DuckDBPyConnection, reviewed: Sequence[Reviewed], at: datetime) -> int:
    """Store what was decided, in place of what was decided before; `at` is UTC without zone.

    A record that has its link needs no decision any more. The records are looked at by the next cycle.
    Returns how many of the reviewed records had their link already.
    """
    _land_reviewed(connection, reviewed)
    connection.execute(
        "delete from state.adoption a using reviewed r where r.record_type = a.record_type and r.dynamics_id = a.dynamics_id"
    )
    connection.execute(
        "insert into state.adoption (record_type, dynamics_id, person_id, decision, decided_at) "
        "select r.record_type, r.dynamics_id, r.person_id, "
        "case when l.person_id is null then r.decision else 'linked' end, ? "
        "from reviewed r left join state.links l using (record_type, dynamics_id)",
        [at],
    )
    connection.execute(
        "insert into inbox.touched (record_type, dynamics_id, is_receipt) select record_type, dynamics_id, false from reviewed"
    )
    rows = connection.execute(
        "select count(*) from reviewed join state.links using (record_type, dynamics_id)"
    ).fetchall()
    return int(rows[0][0])


def keep_unkeyed(connection: duckdb.DuckDBPyConnection) -> int:
    """Let the people who were chosen count as bearers of their records' keys, where none is written; returns how many are to.

    Who is linked so already stays; other choices of before are forgotten.
    """
    connection.execute("delete from state.unkeyed_links where person_id not in (select person_id from state.links)")
    rows = connection.execute(
        "insert into state.unkeyed_links (person_id, record_type, dynamics_id) "
        "select person_id, record_type, dynamics_id from state.adoption where decision = 'link'"
    ).fetchall()
    return int(rows[0][0])


def count_undecided(connection: duckdb.DuckDBPyConnection) -> int:
    """Contacts and leads that no person bears and on which nobody has decided."""
    rows = connection.execute(_UNDECIDED).fetchall()
    return int(rows[0][0])


_UNDECIDED = """
select count(*)
from (from mirror.person_records where not is_deleted) r
anti join state.links l using (record_type, dynamics_id)
anti join state.adoption a using (record_type, dynamics_id)
anti join state.tombstones t using (record_type, dynamics_id)
anti join state.bearers b using (record_type, dynamics_id)
"""


def _land_reviewed(connection: duckdb.DuckDBPyConnection, reviewed: Sequence[Reviewed]) -> None:
    connection.register("given", pa.Table.from_pylist([asdict(line) for line in reviewed], schema=_REVIEWED))
    connection.execute("create or replace temp table reviewed as from given")
    connection.unregister("given")
