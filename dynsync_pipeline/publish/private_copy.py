"""The private copy of the snapshot: kept by delta, so that the cost of a publication follows the changes (R3).

It belongs to one state of one working file. Where the working file was removed, or came back from a backup, rows of the
ledgers would be missing in the copy or stand in it too much, so the copy is made anew.
Not here: which tables and columns there are (`tables.py`), how readers get it (`snapshot.py`).
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import duckdb

from dynsync_pipeline.publish.state_tables import PER_PERSON, REWRITTEN
from dynsync_pipeline.publish.table import PublishedColumn, PublishedTable
from dynsync_pipeline.publish.view import PublishedView
from dynsync_pipeline.warehouse.columns import quoted
from dynsync_pipeline.warehouse.connection import STORAGE_VERSION, Warehouse, scalar
from dynsync_pipeline.warehouse.moved_rows import has_parquet, note_moved
from dynsync_pipeline.warehouse.observations import LEDGERS_BY_AGE
from dynsync_pipeline.warehouse.rows_of import rows_of

LEDGERS = (
    "observations",
    "error_attempts",
    "changes",
    "collisions",
    "shadow_changes",
    "activities",
    "marketo_entries",
    "requests",
    "account_changes",
    "audit_findings",
    "schema_changes",
    "operator_actions",
)  # rows are only ever added
FORGOTTEN = ("observations", *LEDGERS_BY_AGE)  # of these, those whose oldest rows are dropped in time
COMPARED = ("cycles", "unsettled", "approvals")  # many, and few of them change: only rows that differ are written
SMALL = (
    "sync_errors",
    "backlog_hours",
    "calls_between",
    "budget_days",
    "merge_proposals",
    *REWRITTEN,
    *COMPARED,
)  # rows change; few enough to be looked at as a whole


def begin_publication(warehouse: Warehouse) -> str:
    """Note a new publication in the working file, before the copy bears it; returns its id.

    Until `end_publication` the working file knows two, the last one and this one: a cut may leave the copy with either.
    """
    publication = str(uuid.uuid4())
    with warehouse.transaction() as connection:
        connection.execute("insert into state.publications (publication) values (?)", [publication])
    return publication


def end_publication(warehouse: Warehouse, publication: str) -> None:
    """Note that the copy bears this publication and holds all that was to be published; it is still to be swapped in."""
    with warehouse.transaction() as connection:
        connection.execute("delete from state.publications where publication <> ?", [publication])
        if has_parquet(connection):
            note_moved(connection)
        connection.execute("delete from state.unpublished")
        connection.execute("delete from state.last_swap")


def attach_private(
    connection: duckdb.DuckDBPyConnection,
    private: Path,
    tables: tuple[PublishedTable, ...],
    views: tuple[PublishedView, ...],
) -> None:
    """Attach the copy as `published`; it is made anew where it is missing, damaged, of other columns or another working file."""
    layout = hashlib.sha256(repr((tables, views)).encode()).hexdigest()
    if private.exists():
        try:
            connection.execute(f"attach {literal(private)} as published")
            if _belongs(connection, layout):
                return
        except duckdb.Error:
            pass  # cut while it was made, or of another kind
        detach_private(connection)
    for stale in (private, private.with_name(private.name + ".wal")):
        stale.unlink(missing_ok=True)
    connection.execute(f"attach {literal(private)} as published (storage_version '{STORAGE_VERSION}')")
    _fill(connection, tables, views, layout)


def _belongs(connection: duckdb.DuckDBPyConnection, layout: str) -> bool:
    """Whether the copy has these columns, and was last written from this very state of the working file."""
    return bool(
        scalar(
            connection,
            "select count(*) from published.main.layout "
            "where layout = ? and publication in (select publication from state.publications)",
            [layout],
        )
    )


def _make_views(connection: duckdb.DuckDBPyConnection, views: tuple[PublishedView, ...]) -> None:
    """Make views and macros in the copy, where their tables bear no name of a database: readers call it as they like."""
    with using_private(connection):
        for statement in (each for view in views for each in view.statements):
            connection.execute(statement)


@contextmanager
def using_private(connection: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """Let the attached copy's tables be called by their names alone, as readers call them."""
    working = connection.execute("select current_database()").fetchall()[0][0]
    connection.execute("use published")
    try:
        yield
    except duckdb.Error:
        with suppress(duckdb.Error):  # nothing may be under way
            connection.rollback()  # or the working file could not be used again
        raise
    finally:
        connection.execute(f"use {quoted(working)}")


def _fill(
    connection: duckdb.DuckDBPyConnection,
    tables: tuple[PublishedTable, ...],
    views: tuple[PublishedView, ...],
    layout: str,
) -> None:
    """Make all tables with their comments and rows in the empty file, in one transaction."""
    connection.begin()
    for table in tables:
        columns = ", ".join(f"{quoted(column.name)} {_stored(column, table)}" for column in table.columns)
        connection.execute(f"create table published.{table.name} ({columns})")
        connection.execute(f"comment on table published.{table.name} is {_text(table.grain)}")
        for column in table.columns:
            connection.execute(
                f"comment on column published.{table.name}.{quoted(column.name)} is {_text(column.comment)}"
            )
        connection.execute(f"insert into published.{table.name} by name {table.select} where not {_gone(table)}")
    _make_views(connection, views)
    connection.execute("create table published.layout (layout varchar, publication varchar)")
    connection.execute(
        "comment on table published.layout is 'What this file was made with and of; for DynSync itself.'"
    )
    connection.execute("comment on column published.layout.layout is 'Digest of all tables, columns and comments.'")
    connection.execute(
        "comment on column published.layout.publication is 'The last publication, as the working file knows it.'"
    )
    connection.execute("insert into published.layout (layout) values (?)", [layout])
    connection.commit()


def _stored(column: PublishedColumn, table: PublishedTable) -> str:
    """Its type. A text by which rows of a wide table are found again is not compressed, or finding takes about twice the time."""
    is_looked_up = "." in table.key and column is table.columns[0] and column.type == "varchar"
    return f"{column.type} using compression uncompressed" if is_looked_up else column.type


def write_delta(
    connection: duckdb.DuckDBPyConnection, tables: tuple[PublishedTable, ...], publication: str
) -> dict[str, int]:
    """Bring the attached copy up to date; returns the rows written by table.

    Repeating it after a cut is harmless: keys are deleted before they are inserted.
    """
    connection.execute(
        """create or replace temp table published_keys as
           with records as (
               select rtrim(published_table, 's') as record_type, dynamics_id
               from state.unpublished where published_table in ('contacts', 'leads')
           )
           select distinct published_table, coalesce(dynamics_id, person_id::varchar) as key from state.unpublished
           union
           select 'people', person_id::varchar from links_to('records') semi join records using (record_type, dynamics_id)"""
    )
    changed = {row[0] for row in connection.execute("select distinct published_table from published_keys").fetchall()}
    connection.begin()
    n_rows = {table.name: _write_table(connection, table, changed) for table in tables}
    connection.execute("update published.layout set publication = ?", [publication])
    connection.commit()
    return n_rows


def _write_table(connection: duckdb.DuckDBPyConnection, table: PublishedTable, changed: set[str]) -> int:
    """Add, rewrite or leave alone, by the kind of table; returns the number of rows written."""
    target, key = f"published.{table.name}", quoted(table.columns[0].name)
    if table.name in LEDGERS:
        newest = scalar(connection, f"select coalesce(max({key}), 0) from {target}")
        chosen = f"{table.key} > {newest}"
        if table.name in FORGOTTEN:
            oldest = f"coalesce((select min({table.key}) from {table.table}), {newest} + 1)"
            connection.execute(f"delete from {target} where {key} < {oldest}")
    elif table.name in COMPARED:
        return _write_what_differs(connection, table)
    elif table.name in SMALL:
        connection.execute(f"delete from {target}")
        chosen = "true"
    else:
        is_of_people = table.name == "people" or table.name in PER_PERSON
        marked = "people" if is_of_people else table.name
        if marked not in changed:
            return 0
        keys = (
            f"(select key{'::bigint' if is_of_people else ''} from published_keys where published_table = '{marked}')"
        )
        connection.execute(f"delete from {target} where {key} in {keys}")
        if "." in table.key:  # a wide table
            return _write_fetched(connection, table, keys)
        chosen = f"{table.key} in {keys}"
    return scalar(connection, f"insert into {target} by name {table.select} where {chosen}")


def _write_fetched(connection: duckdb.DuckDBPyConnection, table: PublishedTable, keys: str) -> int:
    """Add the rows of these keys. They and what is joined to them are fetched before: DuckDB, which does not know how few a
    subquery has, would build the join over everybody.
    """
    rows = {"fetched": rows_of(table.table, table.key.split(".")[1], keys)}
    rows |= {each.fetched: rows_of(each.table, each.key, each.keys, each.columns) for each in table.joined}
    for name, query in rows.items():
        connection.execute(f"create or replace temp table {name} as {query}")
    n_rows = scalar(
        connection, f"insert into published.{table.name} by name {table.select_fetched} where not {_gone(table)}"
    )
    for name in rows:
        connection.execute(f"drop table temp.{name}")
    return n_rows


def _write_what_differs(connection: duckdb.DuckDBPyConnection, table: PublishedTable) -> int:
    """Remove and add the rows that are not the same on both sides: reading them all costs less than writing them."""
    target, names = f"published.{table.name}", ", ".join(quoted(column.name) for column in table.columns)
    values = ", ".join(f"({column.expression})::{column.type} as {quoted(column.name)}" for column in table.columns)
    wanted = f"(select {values} from {table.source})"
    connection.execute(f"delete from {target} where hash({names}) not in (select hash({names}) from {wanted})")
    return scalar(
        connection,
        f"insert into {target} by name from {wanted} where hash({names}) not in (select hash({names}) from {target})",
    )


def _gone(table: PublishedTable) -> str:
    return "m.is_deleted" if table.name == "people" else "false"


def detach_private(connection: duckdb.DuckDBPyConnection) -> None:
    """Detach the copy, in whatever state a failure left it."""
    with suppress(duckdb.Error):  # after a failure there may be nothing to roll back, or nothing attached
        connection.rollback()
    with suppress(duckdb.Error):
        connection.execute("detach database if exists published")


def literal(path: Path) -> str:
    """A path as a string of SQL."""
    return _text(str(path))


def _text(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
