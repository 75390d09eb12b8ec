"""Undoing what a cycle wrote: what is wanted, and what of it is still ours. Pure: the caller owns the transaction.

What is wanted is kept in `state.undoing`; the next plan looks again, after both systems were read, and writes what is ours by
then (`sql/undone_fields.sql`). Not here: the command (`cli/undo.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import duckdb

from dynsync_pipeline.errors import GuardStopped
from dynsync_pipeline.reconcile.guards import SMALL_NUMBER
from dynsync_pipeline.reconcile.rule_tests import make_fields
from dynsync_pipeline.sql_files import run_steps

OURS = "ours"


@dataclass(frozen=True)
class Undo:
    """One value that a cycle wrote: `old_value` is what the system of `direction` held before, `verdict` ours, or why it is left.

    Values as people read them, options as labels.
    """

    person_id: int | None
    record_type: str
    dynamics_id: str
    field: str
    direction: str
    old_value: str | None
    new_value: str | None
    verdict: str


def want_undo(
    connection: duckdb.DuckDBPyConnection, cycle_id: int, field: str | None, person_id: int | None
) -> list[Undo]:
    """Put what this cycle wrote into `state.undoing`, less what is not ours any more; returns all of it with its verdict.

    `field` and `person_id` choose some of it. What was put off before is tried at once.
    """
    connection.execute(_WANTED, {"cycle": cycle_id, "field": field, "person": person_id})
    connection.execute(_AT_ONCE, {"cycle": cycle_id, "field": field, "person": person_id})
    connection.execute("create or replace temp table compared_links as " + _COMPARED)
    make_fields(connection)
    run_steps(connection, ("reconcile/overwritten_fields", "reconcile/differing_fields", "reconcile/undone_fields"))
    rows = connection.execute(_VERDICTS).fetchall()
    connection.execute(
        "delete from state.undoing where change_id in (select change_id from wanted_undos where verdict <> 'ours')"
    )
    return [Undo(*row) for row in rows]


def stop_on_much_undone(connection: duckdb.DuckDBPyConnection, undos: Sequence[Undo], largest_share: float) -> None:
    """Undoing for a large share of everybody wants a word of its own. Raises: GuardStopped."""
    n_people = len({undo.person_id for undo in undos if undo.verdict == OURS})
    n_links = int(connection.execute("select count(*) from state.links").fetchall()[0][0])
    if n_people > max(SMALL_NUMBER, largest_share * n_links):
        raise GuardStopped(
            f"This would undo writes of {n_people:,} people, of {n_links:,} linked ones. Nothing was written.",
            next_step="Undo some of it with --field or --person, or set DYNSYNC_LARGEST_SHARE=1 for this command.",
        )


# Where a cycle wrote one field of a person twice in one direction, in two rounds, the first of them knows what was there before.
_WANTED = """
insert into state.undoing
    (change_id, cycle_id, person_id, record_type, dynamics_id, field, direction, old_value, new_value, rule_code)
select
    entry_id, cycle_id, person_id, record_type, dynamics_id, field, direction,
    first(old_value) over (partition by person_id, dynamics_id, field, direction order by entry_id
        rows between unbounded preceding and unbounded following),
    new_value, rule_code
from ledger.changes
where cycle_id = $cycle and ($field is null or field = $field) and ($person is null or person_id = $person)
  and entry_id not in (select change_id from state.undoing)
qualify row_number() over (partition by person_id, dynamics_id, field order by entry_id desc) = 1
"""
# Whoever asks again waits for no gap.
_AT_ONCE = """
update state.undoing set attempts = 0, next_look_at = null
where cycle_id = $cycle and ($field is null or field = $field) and ($person is null or person_id = $person)
"""
_COMPARED = """
select l.person_id, l.record_type, l.dynamics_id
from state.links l
join mirror.marketo_people m on m.person_id = l.person_id and not m.is_deleted
join mirror.person_records r on r.record_type = l.record_type and r.dynamics_id = l.dynamics_id and not r.is_deleted
anti join state.filtered_out f on f.record_type = l.record_type and f.dynamics_id = l.dynamics_id
where l.person_id in (select person_id from state.undoing) and l.person_id not in (select person_id from state.unread_links)
"""
_VERDICTS = """
select person_id, record_type, dynamics_id, field, direction, old_value, new_value, verdict
from wanted_undos order by verdict <> 'ours', person_id, field
"""
