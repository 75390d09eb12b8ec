"""What other rules of the field map would have made of past collisions, and would make of what differs now. Asks nobody.

All of it is decided by the statement that decides in a cycle, in a transaction that the caller rolls back. Cost follows the
collisions that were and the differences that are. Not here: showing it (`cli/whatif.py`).
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

import duckdb

from dynsync_pipeline.look.reading import Row, select
from dynsync_pipeline.model.field_map import Field, FieldMap
from dynsync_pipeline.reconcile.rule_tests import make_fields
from dynsync_pipeline.sql_files import run_steps

_PRESENT = ("reconcile/differing_fields", "reconcile/field_outcomes")


def other_outcomes(
    connection: duckdb.DuckDBPyConnection, new: FieldMap, since: datetime | None, at: datetime
) -> list[Row]:
    """What comes out otherwise under the rules of `new`, oldest first: collisions since then, and what differs at `at`.

    Each with `collision_id` and `settled_at` (null: it differs now), both ids, `record_type`, `field`, the three values (options
    as labels in the past, as numbers now), `outcome` and `outcome_then`, `rule_code` of the latter and `rule` in words. Times are
    UTC without zone. Leaves changes in the working file: call it in a transaction, and roll that back.
    """
    make_fields(connection)
    connection.execute("update this_cycle set planned_at = ?", [at])
    connection.execute("create or replace temp table compared_links as " + _LOOKED_AT)
    run_steps(connection, _PRESENT)
    connection.execute("create or replace temp table outcomes_now as from field_outcomes")
    change_rules(connection, new.fields)
    make_fields(connection)
    connection.execute("update this_cycle set planned_at = ?", [at])
    connection.execute(_PAST_EDITS, [since])
    connection.execute(_TIMES_IN_MARKETO, [since])
    connection.execute(_TIMES_IN_DYNAMICS, [since])
    run_steps(connection, _PRESENT)
    return select(connection, _OTHERWISE)


def change_rules(connection: duckdb.DuckDBPyConnection, fields: Iterable[Field]) -> None:
    """Let these fields go by their rules; of those that are synced, and nothing else of them changes."""
    for field in fields:
        connection.execute(
            "update reconcile.fields set collision = ?, forbids = ? where record_type = ? and field = ? and direction = 'both'",
            [field.collision, field.forbids, field.record_type, field.marketo_field],
        )


# Whoever has any field that differs, or that the two sides never agreed on.
_LOOKED_AT = """
select l.person_id, l.record_type, l.dynamics_id
from state.links l
join mirror.marketo_people m on m.person_id = l.person_id and not m.is_deleted
join mirror.person_records r on r.record_type = l.record_type and r.dynamics_id = l.dynamics_id and not r.is_deleted
anti join state.filtered_out f on f.record_type = l.record_type and f.dynamics_id = l.dynamics_id
where l.person_id in (
    select person_id from state.standing_differences
    union
    select person_id from state.unsettled where person_id is not null
    union
    select person_id from state.base_missing
    union
    select person_id from state.reviews
)
"""
# A collision is decided again like an edit that was overwritten unseen: both sides count as edited, and nothing that stands now
# takes part. It is nobody's by then: its number, negative, stands for the person.
_PAST = """
from ledger.collisions c
join reconcile.fields f on f.record_type = c.record_type and f.field = c.field and f.direction = 'both'
where c.settled_at >= coalesce(?::timestamp, timestamp '1970-01-01') and c.rule_code <> 'deleted_in_dynamics'
"""
_PAST_EDITS = f"""
insert into overwritten_fields (person_id, record_type, dynamics_id, field, dynamics_column, type, direction, collision, forbids,
    has_base, base_value, dynamics_value, marketo_value, is_relabelled, is_carried_over)
select
    -c.entry_id, c.record_type, 'collision ' || c.entry_id, c.field, f.dynamics_column, f.type, f.direction, f.collision,
    f.forbids, true, c.base_value,
    case f.type when 'boolean' then coalesce(c.dynamics_value, 'false') else c.dynamics_value end,
    case f.type when 'boolean' then coalesce(c.marketo_value, 'false') else c.marketo_value end,
    false, true
{_PAST}
"""
# Of Dynamics it was kept when the record was last modified, which is not before the edit; of what came before nothing is known.
_TIMES_IN_DYNAMICS = f"""
insert into state.dynamics_edits (record_type, dynamics_id, field, until_at)
select c.record_type, 'collision ' || c.entry_id, c.field, c.dynamics_modified_at
{_PAST} and f.collision = 'newest'
"""
_TIMES_IN_MARKETO = f"""
insert into state.marketo_edits (person_id, field, value, told_at)
select -c.entry_id, c.field, c.marketo_value, c.marketo_changed_at
{_PAST} and f.collision = 'newest' and c.marketo_changed_at is not null
"""


def _worded(outcome: str, rule_code: str) -> str:
    """An expression for what comes out, in the words of rule tests."""
    return (
        f"case when {rule_code} = 'in_review' then 'review' else case {outcome} "
        "when 'take_dynamics' then 'to_marketo' when 'take_marketo' then 'to_dynamics' "
        "when 'collision_dynamics_wins' then 'dynamics_wins' when 'collision_marketo_wins' then 'marketo_wins' "
        "else 'nothing' end end"
    )


_OTHERWISE = f"""
select * from (
    select
        c.entry_id as collision_id, c.settled_at, c.person_id as person_id_marketo, c.record_type,
        c.dynamics_id as record_id_dynamics, c.field, c.base_value, c.dynamics_value, c.marketo_value,
        c.winner || '_wins' as outcome, {_worded("o.outcome", "o.rule_code")} as outcome_then, o.rule_code, codes.sentence as rule
    from overwritten_outcomes o
    join ledger.collisions c on c.entry_id = -o.person_id
    left join codes on codes.code = o.rule_code
    union all
    select
        null, null, o.person_id, o.record_type, o.dynamics_id, o.field, o.base_value, o.dynamics_value, o.marketo_value,
        {_worded("n.outcome", "n.rule_code")}, {_worded("o.outcome", "o.rule_code")}, o.rule_code, codes.sentence
    from field_outcomes o
    join outcomes_now n on n.person_id = o.person_id and n.field = o.field
    left join codes on codes.code = o.rule_code
)
where outcome <> outcome_then
order by settled_at nulls last, collision_id, person_id_marketo, field
"""
