"""Labels of options that were renamed: what a text in Marketo meant when it landed, it means until it changes (R33).

A label that Dynamics gave up, or gave to another option, is noted for everybody who bears it, with the number it meant; the
new label then goes to Marketo as an update like any other. Old labels are still understood where they come in later.
Of a text that holds several labels the whole is noted, with all numbers that it meant (R29).
Not here: reading the labels (`extract/schema.py`), comparing them (`views.py`, `reconcile/sql/differing_fields.sql`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import duckdb

from dynsync_pipeline.model.field_map import FieldType
from dynsync_pipeline.model.records import TABLES, RecordType
from dynsync_pipeline.warehouse.connection import scalar


class _Choice(NamedTuple):
    """A synced field whose values are options; `type` is choice or choices."""

    record_type: RecordType
    field: str
    column: str
    type: str
    is_on_company: bool

    def meaning(self, text: str, known: str) -> str:
        """The expression for what `text` means by the row `known` of option maps."""
        return f"meant_options({text}, '{self.type}', {known})"

    @property
    def label(self) -> str:
        """The expression for an option's label as it stands in a text."""
        return "listed_label(label)" if self.type == FieldType.CHOICES else "label"

    def labels(self, text: str) -> str:
        """The expression for the list of labels in `text`."""
        return f"labels_in({text})" if self.type == FieldType.CHOICES else f"[{text}]"


def note_labels(connection: duckdb.DuckDBPyConnection) -> None:
    """Keep what labels mean now; call it before `state.options` is written anew."""
    connection.execute("create or replace temp table options_before as from state.options")
    connection.execute("create or replace temp table meant_before as from state.options_by_label")
    connection.execute("create or replace temp table maps_before as from state.option_maps")


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
    connection.execute("delete from state.option_maps")
    connection.execute(_OPTION_MAPS)
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
        text = f'n."{choice.field}"'
        connection.execute(
            f"delete from state.old_labels o using newest n where n.person_id = o.person_id "
            f"and o.record_type = '{choice.record_type}' and o.field = '{choice.field}' "
            f'and o.label is distinct from n."{choice.field}"'
        )
        connection.execute(
            "insert into state.old_labels (person_id, record_type, field, label, option_value) "
            f"select n.person_id, '{choice.record_type}', '{choice.field}', n.\"{choice.field}\", "
            f"{choice.meaning(text, 'o')} from newest n join state.option_maps o "
            f"on o.record_type = '{choice.record_type}' and o.dynamics_column = '{choice.column}' "
            f"where {choice.meaning(text, 'o')} is not null and list_has_any({choice.labels(text)}, "
            f"(select list({choice.label}) from state.former_labels f where f.record_type = '{choice.record_type}' "
            f"and f.dynamics_column = '{choice.column}' and {choice.label} not in (select {choice.label} from state.options "
            f"where record_type = '{choice.record_type}' and dynamics_column = '{choice.column}'))) "
            f"and (n.person_id, '{choice.record_type}', '{choice.field}') not in "
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
        "select record_type, field, dynamics_column, type, is_on_company from reconcile.fields "
        "where type in ('choice', 'choices')"
    ).fetchall()
    return (_Choice(RecordType(row[0]), *row[1:]) for row in rows)


def _bearers(choice: _Choice) -> str:
    """A statement that notes everybody who bears a given-up label of this field."""
    meaning = choice.meaning("label", "m")
    given_up = (
        f"maps_before m on m.record_type = '{choice.record_type}' and m.dynamics_column = '{choice.column}' "
        f"and {meaning} is not null and list_has_any({choice.labels('label')}, "
        f"(select list({choice.label}) from given_up g where g.record_type = '{choice.record_type}' "
        f"and g.dynamics_column = '{choice.column}'))"
    )
    if choice.record_type is RecordType.ACCOUNT:
        table = TABLES[RecordType.ACCOUNT]
        return (
            f"insert into state.relabelled_accounts (account_id) select b.{table.id_column} from (select d.{table.id_column}, "
            f'd."{choice.column}" as value, k."{choice.field}" as label from {table.mirror} d '
            f"join mirror.marketo_companies k on k.external_company_id = d.{table.id_column}) b "
            f"join {given_up} and {meaning} = b.value"
        )
    bearers = f'select person_id, is_deleted, "{choice.field}" as label from mirror.marketo_people'
    if choice.is_on_company:
        bearers = (
            f'select l.person_id, false as is_deleted, k."{choice.field}" as label from mirror.marketo_companies k '
            "join state.links l on k.external_company_id = l.record_type || ':' || l.dynamics_id"
        )
    return (
        "insert into state.old_labels (person_id, record_type, field, label, option_value) "
        f"select b.person_id, '{choice.record_type}', '{choice.field}', b.label, {meaning} from ({bearers}) b "
        f"join {given_up} where not b.is_deleted and (b.person_id, '{choice.record_type}', '{choice.field}') "
        "not in (select (person_id, record_type, field) from state.old_labels)"
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
# Of two options with one label the lowest number answers; a map takes no key twice.
_OPTION_MAPS = """
insert into state.option_maps (record_type, dynamics_column, numbers, listed_numbers, labels)
with meant as (
    select record_type, dynamics_column, label, min_by(option_value, try_cast(option_value as integer)) as option_value
    from state.options_by_label group by all
),
listed as (
    select
        record_type, dynamics_column, listed_label(label) as label,
        min_by(option_value, try_cast(option_value as integer)) as option_value
    from state.options_by_label group by all
),
called as (
    select record_type, dynamics_column, option_value, min(label) as label from state.options group by all
)
select record_type, dynamics_column, n.numbers, s.listed_numbers, c.labels
from (select record_type, dynamics_column, map(list(label), list(option_value)) as numbers from meant group by all) n
join (select record_type, dynamics_column, map(list(label), list(option_value)) as listed_numbers from listed group by all) s
    using (record_type, dynamics_column)
join (select record_type, dynamics_column, map(list(option_value), list(label)) as labels from called group by all) c
    using (record_type, dynamics_column)
"""
_NEWLY_FORMER = """
delete from state.former_labels f using gone g
where g.record_type = f.record_type and g.dynamics_column = f.dynamics_column and g.label = f.label
"""
_TRUE_AGAIN = """
delete from state.old_labels o
using reconcile.fields f, state.option_maps p
where f.record_type = o.record_type and f.field = o.field and p.record_type = f.record_type
  and p.dynamics_column = f.dynamics_column
  and case f.type
      when 'choices' then labels_in_order(o.label, p) = shown_options(o.option_value, f.type, p)
      else p.labels[o.option_value] = o.label end
"""
