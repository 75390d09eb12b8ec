"""The committed plan of a working file as people read it: operations with their values, and collisions.

Not here: how a plan is made (`reconcile/`), on which file (`cli/plan.py`).
"""

from __future__ import annotations

import json
from dataclasses import dataclass

import duckdb

from dynsync_pipeline.look.approvals import read_causes
from dynsync_pipeline.look.back_fills import PEOPLE_PER_CALL
from dynsync_pipeline.look.reading import Row, select


@dataclass(frozen=True)
class PlannedOperations:
    """What a cycle would send.

    groups: `system`, `action`, `record_type` and how many operations, `n`.
    operations: one row per write with `operation_id`, these three, both ids, `body` (what would be sent), and `changes`
    (`field`, `old_value`, `new_value`, `rule_code`, `rule`; options as labels).
    reach: what each account, and each field of a record type, of accounts where several have it, would reach: `cause`
    (account, field or create), `name`, `system`, `record_type`, `n_writes`, `n_people` (those behind a company included),
    `n_activities`, `n_calls`, and `minutes`, as calls took in the last cycles (null: none did); the most people first.
    waiting: what waits until somebody approves it, from before or from this plan on, as `read_causes` has it; of the latter
    `approval_id` and `asked_at` are None, because the cycle that asks gives the number.
    collisions: both ids, `record_type`, `field`, three values, `winner`, `rule_code`, `rule`; `n_collisions` counts all of them.
    """

    groups: list[Row]
    operations: list[Row]
    reach: list[Row]
    waiting: list[Row]
    n_collisions: int
    collisions: list[Row]


def read_plan(connection: duckdb.DuckDBPyConnection, most: int | None = None) -> PlannedOperations:
    """The plan in the working file; at most `most` operations of each group and as many collisions, or all of them."""
    limit = 2**62 if most is None else most
    changes: dict[int, list[Row]] = {}
    for row in select(connection, _CHANGES, [limit]):
        changes.setdefault(row.pop("operation_id"), []).append(row)
    operations = select(connection, _OPERATIONS, [limit])
    for operation in operations:
        operation["body"] = json.loads(operation["body"])
        operation["changes"] = changes.get(operation["operation_id"], [])
    collisions = select(connection, _COLLISIONS, [limit])
    return PlannedOperations(
        groups=select(connection, _GROUPS),
        operations=operations,
        reach=select(connection, _REACH, [PEOPLE_PER_CALL]),
        waiting=_waiting(connection),
        n_collisions=select(connection, "select count(*) as n from reconcile.planned_collisions")[0]["n"],
        collisions=collisions,
    )


def _waiting(connection: duckdb.DuckDBPyConnection) -> list[Row]:
    (planned,) = select(connection, "select planned_at from this_cycle")
    unasked = {"approval_id": None, "asked_at": None}
    causes = read_causes(connection, "state.approvals")
    return [row | unasked if row["asked_at"] >= planned["planned_at"] else row for row in causes]


# A company is one write that all its people see; what is written to Dynamics counts call by call, also in a batch.
_REACH = """
with activities as (
    select operation_id, count(*) as n from reconcile.planned_activities group by all
),
accounts as (
    select
        o.operation_id, o.dynamics_id as name, o.system, o.record_type, count(p.person_id) as n_people,
        coalesce(any_value(a.n), 0) as n_activities
    from reconcile.operations o
    left join mirror.marketo_people p on p.external_company_id = o.company_key and not p.is_deleted
    left join activities a using (operation_id)
    where o.action = 'company' and o.record_type = 'account'
    group by o.operation_id, o.dynamics_id, o.system, o.record_type
),
causes as (
    select 'account' as cause, name, system, record_type, 1 as n_writes, n_people, n_activities from accounts
    union all
    select
        'field', c.field, a.system, a.record_type, count(*), sum(a.n_people)::bigint,
        sum(a.n_people) filter (where c.n_contacts <= most_contacts_logged())::bigint
    from reconcile.planned_account_changes c
    join accounts a using (operation_id)
    group by all
    having count(*) > 1
    union all
    select
        'field', c.field, o.system, o.record_type, count(*), count(distinct o.person_id),
        count(*) filter (where o.system = 'marketo')
    from reconcile.planned_changes c
    join reconcile.operations o using (operation_id)
    join reconcile.fields f on f.record_type = o.record_type and f.field = c.field
    where o.action = 'update' or o.action = 'company' and o.person_id is not null
    group by all
    union all
    select 'create', o.record_type, o.system, o.record_type, count(*), count(*), count(*)
    from reconcile.operations o
    where o.action = 'create'
    group by all
),
pace as (
    select sum(epoch(ended_at - started_at)) / nullif(sum(n_calls_dynamics + n_calls_marketo), 0) / 60 as minutes_a_call
    from (from ledger.cycles where is_whole order by cycle_id desc limit 10)
)
select
    causes.*, case when system = 'marketo' then ceil(n_writes / $1)::bigint else n_writes end as n_calls,
    round(n_calls * minutes_a_call, 1) as minutes
from causes, pace
order by n_people desc, n_writes desc, cause, name, system
"""

_GROUPS = """
select system, action, record_type, count(*) as n from reconcile.operations group by all order by all
"""

_OPERATIONS = """
select
    operation_id, system, action, record_type, dynamics_id as record_id_dynamics, person_id as person_id_marketo, body
from reconcile.operations
qualify row_number() over (partition by system, action, record_type order by operation_id) <= $1
order by system, action, record_type, operation_id
"""

_CHANGES = f"""
select operation_id, field, old_value, new_value, rule_code, sentence as rule
from (
    select operation_id, field, old_value, new_value, rule_code from reconcile.planned_changes
    union all
    select operation_id, field, old_value, new_value, reason_code from reconcile.planned_account_changes
)
left join codes on codes.code = rule_code
where operation_id in (select operation_id from ({_OPERATIONS}))
order by operation_id, field
"""

_COLLISIONS = """
select
    o.person_id as person_id_marketo, o.dynamics_id as record_id_dynamics, o.record_type, c.field, c.base_value,
    c.dynamics_value, c.marketo_value, c.winner, c.rule_code, codes.sentence as rule
from reconcile.planned_collisions c
join reconcile.operations o using (operation_id)
left join codes on codes.code = c.rule_code
order by o.operation_id, c.field
limit $1
"""
