"""Labels of options that were renamed: what a text in Marketo meant when it landed, it means until it changes (R33).

A label that Dynamics gave up, or gave to another option, is noted for everybody who bears it, with the number it meant; the
new label then goes to Marketo as an update like any other. Old labels are still understood where they come in later.
Not here: reading the labels (`extract/schema.py`), comparing them (`columns.py`, `reconcile/sql/differing_fields.sql`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import duckdb

from dynsync_pipeline.model.records import TABLES, RecordType
from dynsync_pipeline.warehouse.connection import scalar


class _Choice(NamedTuple):
    """A synced field whose values are options."""

    record_type: RecordType
    field: str
    column: str
    is_on_company: bool


def note_labels(connection: duckdb.DuckDBPyConnection) -> None:
    """Keep what labels mean now; call it before `state.options` is written anew."""
    connection.execute("create or replace temp table options_before as from state.options")
    connection.execute("create or replace temp table meant_before as from state.options_by_label")


def follow_labels(connection: duckdb.DuckDBPyConnection) -> None:
    """Note who bears a label that was given up; call it when `state.options` is written anew, in the same transaction."""
    connection.execute(_GIVEN_UP)
    if scalar(connection, "select count(*) from given_up"):
        connection.execute(_NEWLY_FORMER)
        connection.execute(
            "insert into state.former_labels (record_type, dynamics_column, option_value, label) "
            "select record_type, dynamics_column, max(option_value), label from gone group by all"
        )
        for choice in _choices(connection):
            connection.execute(_bearers(choice))
    connection.execute(_TRUE_AGAIN)
    connection.execute(
        "insert into inbox.touched (person_id, is_receipt) "
        "select distinct o.person_id, false from state.old_labels o join state.links l using (person_id, record_type)"
    )


def follow_people(connection: duckdb.DuckDBPyConnection) -> None:
    """What people in `newest` bear now: a text that changed is no old label any more, or another one."""
    if not scalar(
        connection, "select (select count(*) from state.old_labels) + (select count(*) from state.former_labels)"
    ):
        return
    for choice in _choices(connection):
        if choice.record_type is RecordType.ACCOUNT or choice.is_on_company:
            continue
        connection.execute(
            f"delete from state.old_labels o using newest n where n.person_id = o.person_id "
            f"and o.record_type = '{choice.record_type}' and o.field = '{choice.field}' "
            f'and o.label is distinct from n."{choice.field}"'
        )
        connection.execute(
            "insert into state.old_labels (person_id, record_type, field, label, option_value) "
            f"select n.person_id, o.record_type, '{choice.field}', o.label, o.option_value from newest n "
            f"join state.options_by_label o on o.record_type = '{choice.record_type}' "
            f"and o.dynamics_column = '{choice.column}' and o.label = n.\"{choice.field}\" "
            "where (o.record_type, o.dynamics_column, o.label) not in "
            "(select (record_type, dynamics_column, label) from state.options) "
            f"and (n.person_id, o.record_type, '{choice.field}') not in "
            "(select (person_id, record_type, field) from state.old_labels)"
        )


def follow_companies(connection: duckdb.DuckDBPyConnection) -> None:
    """As `follow_people`, for the company records of leads."""
    for choice in _choices(connection):
        if choice.is_on_company and choice.record_type is not RecordType.ACCOUNT:
            connection.execute(
                "delete from state.old_labels o using newest n, state.links l "
                "where l.person_id = o.person_id and n.external_company_id = l.record_type || ':' || l.dynamics_id "
                f"and o.field = '{choice.field}' and o.label is distinct from n.\"{choice.field}\""
            )


def _choices(connection: duckdb.DuckDBPyConnection) -> Iterator[_Choice]:
    rows = connection.execute(
        "select record_type, field, dynamics_column, is_on_company from reconcile.fields where type = 'choice'"
    ).fetchall()
    return (_Choice(RecordType(row[0]), *row[1:]) for row in rows)


def _bearers(choice: _Choice) -> str:
    """A statement that notes everybody who bears a given-up label of this field."""
    given_up = f"g.record_type = '{choice.record_type}' and g.dynamics_column = '{choice.column}'"
    if choice.record_type is RecordType.ACCOUNT:
        table = TABLES[RecordType.ACCOUNT]
        return (
            f"insert into state.relabelled_accounts (account_id) select d.{table.id_column} from {table.mirror} d "
            f"join mirror.marketo_companies k on k.external_company_id = d.{table.id_column} "
            f'join given_up g on {given_up} and g.label = k."{choice.field}" and g.option_value = d."{choice.column}"'
        )
    bearers = f'select person_id, is_deleted, "{choice.field}" as label from mirror.marketo_people'
    if choice.is_on_company:
        bearers = (
            f'select l.person_id, false as is_deleted, k."{choice.field}" as label from mirror.marketo_companies k '
            "join state.links l on k.external_company_id = l.record_type || ':' || l.dynamics_id"
        )
    return (
        "insert into state.old_labels (person_id, record_type, field, label, option_value) "
        f"select b.person_id, g.record_type, '{choice.field}', g.label, g.option_value from ({bearers}) b "
        f"join given_up g on {given_up} and g.label = b.label "
        "where not b.is_deleted and (b.person_id, g.record_type, "
        f"'{choice.field}') not in (select (person_id, record_type, field) from state.old_labels)"
    )


# A column that shows no options at all is parked, which is no renaming.
_GIVEN_UP = """
create or replace temp table given_up as
select record_type, dynamics_column, label, option_value from meant_before
where (record_type, dynamics_column, option_value, label) not in (
    select (record_type, dynamics_column, option_value, label) from state.options
)
and (record_type, dynamics_column) in (select (record_type, dynamics_column) from state.options);
create or replace temp table gone as
select * from options_before
where (record_type, dynamics_column, option_value, label) not in (
    select (record_type, dynamics_column, option_value, label) from state.options
)
and (record_type, dynamics_column) in (select (record_type, dynamics_column) from state.options)
"""
_NEWLY_FORMER = """
delete from state.former_labels f using gone g
where g.record_type = f.record_type and g.dynamics_column = f.dynamics_column and g.label = f.label
"""
_TRUE_AGAIN = """
delete from state.old_labels o
using reconcile.fields f, state.options p
where f.record_type = o.record_type and f.field = o.field and p.record_type = f.record_type
  and p.dynamics_column = f.dynamics_column and p.option_value = o.option_value and p.label = o.label
"""
