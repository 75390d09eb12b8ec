"""What goes first where the day's calls get short: collisions and consent, then edits, then creations; the rest waits (R126).

What waits is no failure: it stays planned, is planned anew in the next cycle, and is counted. Within a lane who waited longest
goes first; a company that somebody of it is to stand behind goes before them, or they would wait for it.
Not here: how many calls there are (`warehouse/budget.py`), what is read when they get short (`extract/`).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from dynsync_pipeline.model.field_map import CONSENT, Collision
from dynsync_pipeline.warehouse.connection import Warehouse

URGENT, EDIT, CREATION = 1, 2, 3


@dataclass(frozen=True)
class CallsLeft:
    """Calls that a turn of writing may use: `n_spare` for anything, `n_urgent` in all for collisions and consent."""

    n_spare: int
    n_urgent: int


def waiting_operations(warehouse: Warehouse, system: str, left: CallsLeft) -> set[int]:
    """The operations of the plan that `left` has no calls for; none where there are enough for all."""
    with warehouse.reading() as connection:
        counts = Counter(dict(connection.execute(_COUNTS, [system]).fetchall()))
        if _cost(system, counts) <= left.n_spare:
            return set()
        return _waiting(system, connection.execute(_BY_LANE, [system, sorted(CONSENT)]).fetchall(), left)


def _waiting(system: str, rows: Sequence[tuple[int, str, int]], left: CallsLeft) -> set[int]:
    sent: Counter[str] = Counter()
    waiting = set()
    for operation_id, action, lane in rows:
        sent[action] += 1
        if _cost(system, sent) > (left.n_urgent if lane == URGENT else left.n_spare):
            sent[action] -= 1
            waiting.add(operation_id)
    return waiting


def _cost(system: str, counts: Counter[str]) -> int:
    """Calls for so many operations: Dynamics counts each, Marketo takes 300 a call, and they are read back."""
    if system == "dynamics":
        return counts.total()
    return sum(2 * math.ceil(n / 300) for n in counts.values())


_COUNTS = "select action, count(*) from reconcile.operations where system = ? and sent_at is null group by action"

# Consent is what says whether and how somebody wants to be reached, or what the field map lets only forbid.
_BY_LANE = f"""
with people as (
    select
        * exclude (company_key), json_extract_string(body, o.company) as company_key,
        case
            when operation_id in (select operation_id from reconcile.planned_collisions) then {URGENT}
            when operation_id in (
                select operation_id from reconcile.planned_changes c join reconcile.fields f using (field)
                where c.rule_code <> 'new_in_dynamics'
                  and (
                      list_contains($2, f.dynamics_column)
                      or c.field in ('unsubscribed', 'doNotCall', 'marketingSuspended')
                      or f.collision = '{Collision.RESTRICTIVE}'
                  )
            ) then {URGENT}
            when action = 'create' then {CREATION}
            else {EDIT}
        end as lane
    from reconcile.operations, reconcile.own_fields o
    where system = $1 and sent_at is null and action <> 'company'
),
laned as (
    select operation_id, action, record_type, dynamics_id, lane from people
    union all
    select
        operation_id, action, record_type, dynamics_id,
        case when company_key in (select company_key from people where lane = {URGENT}) then {URGENT} else {EDIT} end
    from reconcile.operations
    where system = $1 and sent_at is null and action = 'company'
)
select operation_id, action, lane
from laned
left join (
    select record_type, dynamics_id, min(since) as since from state.unsettled where reason_code = 'planned' group by all
) waiting using (record_type, dynamics_id)
order by lane, action <> 'company', since, operation_id
"""
