"""Deciding cases that somebody made up, by the very statement that decides in a cycle, on a file without anybody in it.

Not here: reading the cases (`model/rule_cases.py`), the rule (`sql/field_outcomes.sql`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import duckdb

from dynsync_pipeline.model.field_map import OF_OPTIONS, Field, FieldMap, FieldType
from dynsync_pipeline.model.rule_cases import RuleCase
from dynsync_pipeline.sql_files import run_steps

NOT_MAPPED = "not in the field map"


@dataclass(frozen=True)
class Failing:
    """A case that does not come out as its file says, and what comes out."""

    case: RuleCase
    found: str


def failing_cases(connection: duckdb.DuckDBPyConnection, cases: Sequence[RuleCase], fields: FieldMap) -> list[Failing]:
    """The cases that the rules of `fields` decide otherwise, in order; `connection` is to an empty working file."""
    mapped = {(field.record_type.value, field.marketo_field): field for field in fields.fields}
    known = [(case, mapped[case.record_type, case.field]) for case in cases if (case.record_type, case.field) in mapped]
    make_fields(connection)
    for case, field in known:
        _put(connection, case, field)
    run_steps(connection, ("reconcile/field_outcomes",))
    outcomes = dict(
        connection.execute("select person_id, outcome_word(outcome, rule_code) from field_outcomes").fetchall()
    )
    found = {case.line: outcomes[case.line] for case, _ in known}
    return [Failing(c, found.get(c.line, NOT_MAPPED)) for c in cases if found.get(c.line) != c.outcome]


def make_fields(connection: duckdb.DuckDBPyConnection) -> None:
    """Make what the rule reads, empty: fields that differ, those overwritten unseen, and a moment."""
    for name in ("differing_fields", "overwritten_fields"):
        connection.execute(f"create or replace temp table {name} ({_COLUMNS})")
    connection.execute("alter table overwritten_fields add column is_carried_over boolean")
    connection.execute(
        "create or replace temp table this_cycle as "
        "select 0::bigint as cycle_id, timestamp '2026-01-01' as planned_at, interval 0 second as clocks_apart, "
        "false as is_first_load, null::bigint as ask_above"
    )


_COLUMNS = """
    person_id bigint, record_type varchar, dynamics_id varchar, field varchar, dynamics_column varchar, type varchar,
    direction varchar, collision varchar, forbids varchar, has_base boolean, base_value varchar, dynamics_value varchar,
    marketo_value varchar, is_relabelled boolean
"""


def _put(connection: duckdb.DuckDBPyConnection, case: RuleCase, field: Field) -> None:
    # A case is a person of its own, by the number of its line. Options are compared by number, and any text will do for one.
    kind = FieldType.TEXT if field.type in OF_OPTIONS else field.type
    compared = f"canonical_{kind}(?)"
    if kind is FieldType.BOOLEAN:
        compared = f"coalesce({compared}, 'false')"
    who = (case.line, case.record_type, case.line, case.field)
    rule = (field.dynamics_column, field.type, field.direction, field.collision, field.forbids)
    connection.execute(
        f"insert into differing_fields (person_id, record_type, dynamics_id, field, dynamics_column, type, direction, "
        f"collision, forbids, has_base, base_value, dynamics_value, marketo_value, is_relabelled) "
        f"values (?, ?, ?::varchar, ?, ?, ?, ?, ?, ?, ?, {compared}, {compared}, {compared}, false)",
        [*who, *rule, case.has_base, case.base, case.dynamics, case.marketo],
    )
    if case.later:
        connection.execute(_EDITED_IN_DYNAMICS, [case.record_type, str(case.line), case.field])
        connection.execute(_EDITED_IN_MARKETO, [case.later, str(case.line), case.field])


_EDITED_IN_DYNAMICS = """
insert into state.dynamics_edits (record_type, dynamics_id, field, after_at, until_at)
values (?, ?, ?, '2026-01-01 10:00', '2026-01-01 10:01')
"""
_EDITED_IN_MARKETO = """
insert into state.marketo_edits (person_id, field, value, told_at)
select person_id, field, marketo_value, case ? when 'marketo' then timestamp '2026-01-01 11:00' else '2026-01-01 09:00' end
from differing_fields where dynamics_id = ? and field = ?
"""
