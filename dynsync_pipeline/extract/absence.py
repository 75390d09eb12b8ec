"""Absence is an observation: whoever may be gone is read by id, and is deleted only where an answer proves it (R86).

Suspects come from writes that were answered with "no such record", from full reads, and from whoever misses somebody.
What lands here is taken into the mirror by the caller; the link then ends as with any deletion (docs/design.md#deletions).
Not here: what a deletion means (`reconcile/sql/ended_links.sql`), how many are too many (`reconcile/guards.py`).
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

import duckdb

from dynsync_pipeline.clients.dynamics.protocol import Column
from dynsync_pipeline.clients.marketo.client import VALUES_PER_READ
from dynsync_pipeline.clients.systems import Dynamics, Marketo
from dynsync_pipeline.extract.untold import PERSON, note_deletions
from dynsync_pipeline.model.field_map import FieldMap
from dynsync_pipeline.model.records import TABLES, RecordType
from dynsync_pipeline.warehouse.columns import dynamics_columns
from dynsync_pipeline.warehouse.connection import Warehouse
from dynsync_pipeline.warehouse.mirrors import PersonColumns, land_deleted_people, land_dynamics, land_people
from dynsync_pipeline.warehouse.partitions import PARTITION, note_partitions, with_partition

if TYPE_CHECKING:
    import pyarrow as pa

log = logging.getLogger(__name__)

WITNESSES = 10  # a call; one is proof enough, and some of them may have gone themselves
MOST_AT_ONCE = 1000  # suspects of one kind that a cycle reads by itself: each may cost a call
UNTIL_ASKED_AGAIN = timedelta(days=1)


def confirm_people(
    warehouse: Warehouse,
    client: Marketo,
    columns: PersonColumns,
    suspects: Collection[int],
    *,
    is_census: bool = False,
) -> list[int]:
    """Land who of these Marketo ids is found, and as deleted who is absent from an answer that shows somebody else.

    Returns who was found gone. People are asked for by partition, where that is known, along with others of it who are known to
    live. A call that shows nobody at all of theirs proves nothing: that is logged, and whom it does not show is asked for again a
    day later.
    `is_census`: a feed should tell of them; whether it does is judged later. Raises: ApiError.
    """
    all_gone: list[int] = []
    per_call = VALUES_PER_READ - WITNESSES
    with warehouse.reading() as connection:
        names = with_partition(connection, columns.names)
        groups = connection.execute(_BY_PARTITION, [sorted(set(suspects))]).fetchall()
    for partition, wanted in groups:
        for first in range(0, len(wanted), per_call):
            some = wanted[first : first + per_call]
            with warehouse.reading() as connection:
                given = {"suspects": wanted, "partition": partition, "n": WITNESSES}
                witnesses = [row[0] for row in connection.execute(_WITNESSES, given).fetchall()]
            people = client.people("id", [str(person_id) for person_id in (*some, *witnesses)], names)
            with warehouse.transaction() as connection:
                all_gone += _judge_absence(connection, warehouse, columns, some, people, partition, is_census=is_census)
    return all_gone


_BY_PARTITION = """
select p.partition_id, list(s.person_id order by s.person_id)
from (select unnest(?::bigint[]) as person_id) s
left join state.partitions p using (person_id)
group by p.partition_id
order by p.partition_id nulls first
"""
# Spread over all people by a hash, so that it is now these and now others.
_WITNESSES = """
select person_id from mirror.marketo_people
where not is_deleted and person_id not in (select unnest($suspects::bigint[]))
  and ($partition is null or person_id in (select person_id from state.partitions where partition_id = $partition))
order by hash(person_id, list_first($suspects::bigint[])), person_id
limit $n
"""


def _judge_absence(
    connection: duckdb.DuckDBPyConnection,
    warehouse: Warehouse,
    columns: PersonColumns,
    suspects: Sequence[int],
    people: pa.Table,
    partition: str | None,
    *,
    is_census: bool,
) -> list[int]:
    """Land what an answer shows of these people of one partition (None: not known), and who of them it proves gone; these."""
    import pyarrow as pa  # not before there are rows

    ids = [int(person_id) for person_id in people.column("id").to_pylist()]
    is_proof = bool(ids) if partition is None else partition in people.column(PARTITION).to_pylist()
    absent = sorted(set(suspects).difference(ids))
    gone = absent if is_proof else []
    land_people(
        connection, columns, people.filter(pa.array([person_id in set(suspects) for person_id in ids], pa.bool_()))
    )
    note_partitions(connection, people)
    land_deleted_people(connection, gone)
    _note_absent(connection, warehouse, PERSON, [str(person_id) for person_id in gone])
    if is_census:
        note_deletions(connection, PERSON, gone, warehouse.now())
    _forget(connection, PERSON, [str(person_id) for person_id in suspects if person_id in {*ids, *gone}])
    if absent and not is_proof:
        log.warning(
            "Marketo does not show %s people who may be gone, nor anybody else of their partition, so nobody was taken for "
            "deleted (R86). See whether the API user's role may still read people, in all partitions; they are asked for again "
            "in a day.",
            f"{len(absent):,}",
        )
        _put_off(connection, warehouse, PERSON, [str(person_id) for person_id in absent])
    return gone


def confirm_records(
    warehouse: Warehouse,
    client: Dynamics,
    fields: FieldMap,
    record_type: RecordType,
    suspects: Collection[str],
    *,
    is_census: bool = False,
) -> list[str]:
    """Land which of these records are found, and as deleted those of which Dynamics says that they do not exist.

    A record of which it says anything else, such as that one may not read it, stays as it is: that is logged, and it is
    asked for again a day later. Returns the ids that were found gone. Raises: ApiError, where trying again helps, also of a
    single record; what was proven before has landed. `is_census`: as of `confirm_people`.
    """
    table = TABLES[record_type]
    wanted = [Column(name, kind) for name, kind in dynamics_columns(fields, record_type).items()]
    looked = client.look_up(table, wanted, sorted(set(suspects)))
    found = [str(record_id) for record_id in looked.rows.column("id").to_pylist()]
    with warehouse.transaction() as connection:
        land_dynamics(connection, fields, table, looked.rows, looked.missing_ids)
        _note_absent(connection, warehouse, record_type, looked.missing_ids)
        if is_census:
            note_deletions(connection, record_type, list(looked.missing_ids), warehouse.now())
        _forget(connection, record_type, [*found, *looked.missing_ids])
        _put_off(connection, warehouse, record_type, list(looked.unproven))
    for record_id, error in looked.unproven.items():
        if error.retry_helps:
            raise error
        log.warning("The %s %s is not taken for deleted, though it was not shown: %s", record_type, record_id, error)
    return list(looked.missing_ids)


def suspect(
    connection: duckdb.DuckDBPyConnection,
    warehouse: Warehouse,
    kind: str,
    ids: Collection[str],
) -> None:
    """Remember people (kind `person`) or records (kind their record type) that may be gone, to be read by id soon."""
    connection.execute(
        "insert into state.suspects (record_type, suspect_id, since, next_look_at) "
        "select ?, suspect_id, ?, ? from (select unnest(?::varchar[]) as suspect_id) "
        "where (?, suspect_id) not in (select (record_type, suspect_id) from state.suspects)",
        [kind, warehouse.now(), warehouse.now(), list(ids), kind],
    )


def due_suspects(warehouse: Warehouse, kind: str) -> list[str]:
    """Ids of people or records of this kind that are to be read by id now, `MOST_AT_ONCE` at most, the oldest first."""
    with warehouse.reading() as connection:
        rows = connection.execute(
            "select suspect_id from state.suspects where record_type = ? and next_look_at <= ? "
            "order by next_look_at, suspect_id limit ?",
            [kind, warehouse.now(), MOST_AT_ONCE],
        ).fetchall()
    return [row[0] for row in rows]


def _note_absent(connection: duckdb.DuckDBPyConnection, warehouse: Warehouse, kind: str, ids: Sequence[str]) -> None:
    """Count the linked ones among those that are gone, for the guard over seven days."""
    connection.execute(
        "insert into state.found_absent (record_type, suspect_id, found_at) "
        "select ?, suspect_id, ? from (select unnest(?::varchar[]) as suspect_id) "
        "where case when ? = 'person' then suspect_id in (select person_id::varchar from state.links) "
        "else (?, suspect_id) in (select (record_type, dynamics_id) from state.links) end "
        "and (?, suspect_id) not in (select (record_type, suspect_id) from state.found_absent)",
        [kind, warehouse.now(), list(ids), kind, kind, kind],
    )


def _forget(connection: duckdb.DuckDBPyConnection, kind: str, ids: Sequence[str]) -> None:
    connection.execute(
        "delete from state.suspects where record_type = ? and suspect_id in (select unnest(?::varchar[]))",
        [kind, list(ids)],
    )


def _put_off(connection: duckdb.DuckDBPyConnection, warehouse: Warehouse, kind: str, ids: Sequence[str]) -> None:
    connection.execute(
        "update state.suspects set next_look_at = ? where record_type = ? and suspect_id in (select unnest(?::varchar[]))",
        [warehouse.now() + UNTIL_ASKED_AGAIN, kind, list(ids)],
    )
