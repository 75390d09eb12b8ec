"""What other rules of the field map would have made of past collisions, and would make of what differs now. Asks nobody.

All of it is decided by the statement that decides in a cycle, by either engine, and nothing of it stays. Cost follows the
collisions that were and the differences that are. Not here: showing it (`cli/whatif.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import pyarrow as pa

from dynsync_pipeline.engine import Engine
from dynsync_pipeline.look.reading import Row, rows_of
from dynsync_pipeline.model.field_map import Field, FieldMap

NOW = ("reconcile/open_links", "reconcile/differing_fields")
DECIDING = ("reconcile/field_outcomes",)
OTHERWISE = ("reconcile/other_rules", "reconcile/past_collisions")
TELLING = ("reconcile/other_outcomes",)
_BEFORE_ALL = datetime.fromisoformat("1970-01-01")


def other_outcomes(engine: Engine, new: FieldMap, since: datetime | None, at: datetime) -> list[Row]:
    """What comes out otherwise under the rules of `new`, oldest first: collisions since then, and what differs at `at`.

    Each with `collision_id` and `settled_at` (null: it differs now), both ids, `record_type`, `field`, the three values (options
    as labels in the past, as numbers now), `outcome` and `outcome_then`, `rule_code` of the latter and `rule` in words. Times are
    UTC without zone. Raises: EngineFailed, StorageFailed.
    """
    decide_otherwise(engine, new.fields, since, at)
    return rows_of(engine.rows(_TOLD, "other_outcomes"))


def decide_otherwise(engine: Engine, fields: Sequence[Field], since: datetime | None, at: datetime) -> None:
    """Leave in `other_outcomes` what comes out otherwise by the rules of these fields."""
    engine.make("this_cycle", _MOMENT.format(at=at))
    engine.make("tried_since", f"select timestamp '{since or _BEFORE_ALL}' as since")
    engine.give("tried_rules", _rules(fields))
    engine.run_steps(NOW)
    engine.make("overwritten_fields", "select *, false as is_carried_over from differing_fields where false")
    engine.run_steps(DECIDING)
    engine.make("outcomes_now", "select * from field_outcomes")
    engine.make("fields_now", "select * from differing_fields")
    engine.run_steps(OTHERWISE)
    engine.suppose("state.dynamics_edits", "past_dynamics_edits")
    engine.suppose("state.marketo_edits", "past_marketo_edits")
    engine.run_steps((*DECIDING, *TELLING))


def _rules(fields: Sequence[Field]) -> pa.Table:
    rows = [(f.record_type.value, f.marketo_field, f.collision, f.forbids) for f in fields]
    names = ("record_type", "field", "collision", "forbids")
    return pa.table({name: pa.array([row[n] for row in rows], pa.string()) for n, name in enumerate(names)})


_MOMENT = """
select timestamp '{at}' as planned_at, interval 0 second as clocks_apart, false as is_first_load, null::bigint as ask_above
"""
_TOLD = """
select
    o.collision_id, o.settled_at, o.person_id as person_id_marketo, o.record_type, o.dynamics_id as record_id_dynamics, o.field,
    o.base_value, o.dynamics_value, o.marketo_value, o.outcome, o.outcome_then, o.rule_code, codes.sentence as rule
from other_outcomes o
left join codes on codes.code = o.rule_code
order by o.settled_at nulls last, o.collision_id, person_id_marketo, o.field, record_id_dynamics
"""
