"""What the census saw and no feed has told yet: kept as it was seen, withdrawn when a feed tells it, at last a finding.

A difference counts as missed only when the feed has still not told it after its overlap has passed: an edit made a minute
ago is told a few minutes later (docs/design.md#census). Not here: reading the slices (`census.py`), the daily comparison of
mirrors (`reconcile/audit.py`).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

import duckdb

from dynsync_pipeline.extract.feed import OVERLAP
from dynsync_pipeline.model.records import TABLES, RecordType
from dynsync_pipeline.warehouse.columns import quoted

PERSON = "person"


def note_differences(
    connection: duckdb.DuckDBPyConnection,
    kind: str,
    columns: Mapping[str, str],
    booleans: Collection[str],
    at: datetime,
) -> None:
    """Note how the inbox differs from the mirror; call it between landing and taking in. `at` is UTC without zone.

    `kind` is a record type or `person`; `columns` are the compared ones by the name that findings bear. Null and false are
    one value of a `booleans`.
    """
    inbox, mirror, id_column, key = _tables(kind)
    shown = "".join(f", t.{quoted(column)} as {quoted(name)}" for name, column in columns.items())
    ids = f"select {id_column} from {inbox}"
    selects = f"t.{id_column} as {key}{shown}"
    connection.execute(f"create or replace temp table read_again as select {selects} from {inbox} t")
    connection.execute(
        f"create or replace temp table known_before as select {selects} from {mirror} t "
        f"where t.{id_column} in ({ids}) and not t.is_deleted"
    )
    connection.execute(
        f"insert into state.untold (code, record_type, {key}, field, seen_at) "
        f"select 'creation_untold', $kind, {key}, null, $at from read_again "
        f"where {key} not in (select {key} from known_before) "
        "union all "
        f"select 'edit_untold', $kind, {key}, field, $at "
        "from (from long_of('read_again')) r full join (from long_of('known_before')) k "
        f"using ({key}, field) where {key} in (select {key} from known_before) and r.value is distinct from k.value "
        "and not (list_contains($booleans, field) and coalesce(r.value, 'false') = coalesce(k.value, 'false'))",
        {"kind": kind, "at": at, "booleans": list(booleans)},
    )
    connection.execute("drop table read_again")
    connection.execute("drop table known_before")


def note_deletions(connection: duckdb.DuckDBPyConnection, kind: str, ids: Sequence[str | int], at: datetime) -> None:
    """Note records or people that are gone, and of whom no feed told. `at` is UTC without zone."""
    _, _, _, key = _tables(kind)
    for id_ in ids:
        connection.execute(
            f"insert into state.untold (code, record_type, {key}, seen_at) values ('deletion_untold', ?, ?, ?)",
            [kind, id_, at],
        )


def withdraw_told_records(connection: duckdb.DuckDBPyConnection, record_type: RecordType) -> None:
    """Change tracking told what the inbox holds: none of it was missed. Call it before that is taken in."""
    table = TABLES[record_type]
    connection.execute(
        f"delete from state.untold where record_type = ? and dynamics_id in (select {table.id_column} from {table.inbox})",
        [record_type],
    )


def withdraw_told_people(
    connection: duckdb.DuckDBPyConnection, people: Collection[int], fields: Collection[tuple[int, str | None]]
) -> None:
    """The feed told of these `people` as a whole, and of `fields` by person (None: of a new person): none was missed."""
    untold = connection.execute(
        "select distinct person_id, field from state.untold where person_id is not null"
    ).fetchall()
    told = [row for row in untold if row[0] in people or row in fields or (row[0], None) in fields]
    for person_id, field in told:
        connection.execute(
            "delete from state.untold where person_id = ? and field is not distinct from ?", [person_id, field]
        )


def judge_untold(connection: duckdb.DuckDBPyConnection, kind: str, at: datetime) -> int:
    """Make a finding of whatever the feed has not told by now, and return how many; call it after the feed was read.

    `at` is UTC without zone. A time ahead of it is that of a clock that was set back, and begins anew.
    """
    connection.execute("update state.untold set seen_at = $at where seen_at > $at", {"at": at})
    late = {"kind": kind, "before": at - OVERLAP}
    n_missed = connection.execute(
        "insert into ledger.audit_findings (finding_id, found_at, found_by, code, record_type, dynamics_id, person_id, field) "
        "select nextval('ledger.entries'), seen_at, 'census', code, record_type, dynamics_id, person_id, field "
        "from state.untold where record_type = $kind and seen_at <= $before",
        late,
    ).fetchall()[0][0]
    connection.execute("delete from state.untold where record_type = $kind and seen_at <= $before", late)
    return int(n_missed)


def note_forgotten(connection: duckdb.DuckDBPyConnection, kind: str, at: datetime) -> None:
    """Note that a feed no longer tells what happened since it was last read. `at` is UTC without zone."""
    connection.execute(
        "insert into ledger.audit_findings (finding_id, found_at, found_by, code, record_type) "
        "values (nextval('ledger.entries'), ?, 'extract', 'feed_forgot', ?)",
        [at, kind],
    )


def _tables(kind: str) -> tuple[str, str, str, str]:
    """Inbox and mirror of a kind, their id column, and the name of that id where findings are kept."""
    if kind == PERSON:
        return "inbox.marketo_people", "mirror.marketo_people", "person_id", "person_id"
    table = TABLES[RecordType(kind)]
    return table.inbox, table.mirror, table.id_column, "dynamics_id"
