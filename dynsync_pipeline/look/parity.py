"""How a native sync and DynSync in shadow decide alike: selects over the snapshot. Writes nothing.

Not here: judging a write (`reconcile/parity.py`), showing it (`cli/parity.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import duckdb

from dynsync_pipeline.look.reading import Row, select


@dataclass(frozen=True)
class Parity:
    """What the native sync wrote or left in a time, beside what DynSync would have done.

    verdicts: how many rows are `same`, `differs` and `cannot_tell`. n_waiting: fields that DynSync would write and that the
    native sync may still carry over. groups: `verdict`, `record_type`, `field`, `our_direction`, `their_direction`, `rule_code`,
    `rule`, `n` rows and `n_people`, of what differs or cannot be told, the most first. rows: those of `shadow_changes`, newest
    first.
    """

    verdicts: dict[str, int]
    n_waiting: int
    groups: list[Row]
    rows: list[Row]


def read_parity(connection: duckdb.DuckDBPyConnection, since: datetime | None) -> Parity:
    """Everything that was seen since then (UTC without zone), or ever."""
    counted = select(connection, f"select verdict, count(*) as n from {_SEEN} group by all", [since])
    n_of = {row["verdict"]: row["n"] for row in counted}
    return Parity(
        verdicts={verdict: n_of.get(verdict, 0) for verdict in ("same", "differs", "cannot_tell")},
        n_waiting=select(connection, _WAITING)[0]["n"],
        groups=select(connection, _GROUPS, [since]),
        rows=select(connection, f"select * from {_SEEN} order by shadow_change_id desc", [since]),
    )


_SEEN = "shadow_changes where seen_at >= coalesce(?::timestamp, timestamp '1970-01-01')"
_GROUPS = f"""
select
    verdict, record_type, field, our_direction, their_direction, rule_code, any_value(rule) as rule, count(*) as n,
    count(distinct person_id_marketo) as n_people
from (select * from {_SEEN})
where verdict <> 'same'
group by all
order by verdict desc, n desc, record_type, field, rule_code
"""
# Own fields of the sync are none of the map.
_WAITING = """
select count(*) as n
from unsettled u
join field_map f on f.record_type = u.record_type and f.field = u.field
where u.person_id_marketo is not null and u.reason_code = 'planned'
"""
