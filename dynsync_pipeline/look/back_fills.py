"""Back-fills as people look at them: what one would cost, and how far those are that somebody asked for (R100, R102).

Not here: asking for one (`warehouse/back_fills.py`), carrying it out (`extract/back_fill.py`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, timedelta

import duckdb

from dynsync_pipeline.look.reading import Row, select
from dynsync_pipeline.model.records import TABLES, RecordType
from dynsync_pipeline.warehouse.back_fills import choose_records, decide_again, open_back_fills
from dynsync_pipeline.warehouse.cycles import DAY, calls_due

RECORDS_PER_CALL, PEOPLE_PER_CALL = 5_000, 300


@dataclass
class Price:
    """What a back-fill costs, as far as the working file tells before anything is read.

    `chosen`: record type, `n_records` and `n_people` (of accounts: companies). Calls are those of reading, and of sending.
    Values count that stand unequal or were refused; `n_collisions` of the refused were edited on both sides.
    """

    chosen: list[Row]
    n_calls_dynamics: int = 0
    n_calls_marketo: int = 0
    n_to_marketo: int = 0
    n_to_dynamics: int = 0
    n_collisions: int = 0
    n_activities: int = 0

    def length(self, n_calls_left: int, gap: timedelta) -> timedelta:
        """How long the reading takes beside cycles that begin every `gap`, with so many calls left of the day."""
        n_later = max(self.n_calls_marketo - calls_due(n_calls_left, DAY), 0)
        return gap * (1 + math.ceil(n_later / max(calls_due(n_calls_left, gap), 1)))


def price(connection: duckdb.DuckDBPyConnection, number: int, at: datetime) -> Price:
    """The price of back-fill `number` (`at` is UTC without zone).

    It is found by deciding again what stands unequal, so the caller rolls the transaction back.
    """
    found = Price([])
    for asked in open_back_fills(connection, number):
        choose_records(connection, asked, (asked.created_since, None))
        decide_again(connection, asked, at)
        (chosen,) = select(connection, _CHOSEN, [asked.record_type])
        n_in_windows = select(
            connection,
            f"select count(*) as n from {TABLES[asked.record_type].mirror} "
            "where not is_deleted and createdon >= coalesce(?, '')",
            [asked.created_since],
        )[0]["n"]
        found.chosen.append({"record_type": asked.record_type.value, **chosen})
        found.n_calls_dynamics += max(math.ceil(n_in_windows / RECORDS_PER_CALL), 1)
        found.n_calls_marketo += math.ceil(chosen["n_people"] / PEOPLE_PER_CALL)
        if asked.record_type is RecordType.ACCOUNT:
            (sent,) = select(connection, _SENT_TO_COMPANIES)
        else:
            (sent,) = select(connection, _SENT, [asked.record_type, list(asked.fields)])
        found.n_to_marketo += sent["n_to_marketo"]
        found.n_to_dynamics += sent["n_to_dynamics"]
        found.n_collisions += sent["n_collisions"]
        found.n_activities += sent["n_activities"]
        found.n_calls_dynamics += sent["n_records"]
        found.n_calls_marketo += math.ceil(sent["n_people"] / PEOPLE_PER_CALL)
    return found


_CHOSEN = """
select count(*) as n_records, count(case when ? = 'account' then k.external_company_id else c.person_id::varchar end) as n_people
from chosen_records c
left join mirror.marketo_companies k on k.external_company_id = c.dynamics_id
"""
_SENT = """
with again as (
    select
        d.person_id, d.field,
        f.direction = 'to_marketo' or coalesce(s.reason_code = 'kept_by_marketo', false) as is_to_marketo, false as is_collision
    from due_again d
    join reconcile.fields f on f.record_type = d.record_type and f.field = d.field
    left join state.standing_differences s on s.person_id = d.person_id and s.field = d.field
    union all
    select
        e.person_id, e.field, e.direction = 'to_marketo',
        b.value is distinct from u.dynamics_value and b.value is distinct from u.marketo_value
    from ledger.sync_errors e
    semi join chosen_records c on c.dynamics_id = e.dynamics_id
    left join state.unsettled u on u.person_id = e.person_id and u.field = e.field
    left join (
        with agreed as (from state.base_values where person_id in (select person_id from chosen_records))
        from long_of('agreed')
    ) b on b.person_id = e.person_id and b.field = e.field
    where e.state <> 'resolved' and e.record_type = $1 and list_contains($2::varchar[], e.field)
)
select
    count(*) filter (where is_to_marketo) as n_to_marketo,
    count(*) filter (where not is_to_marketo) as n_to_dynamics,
    count(*) filter (where is_collision) as n_collisions,
    n_to_marketo as n_activities,
    count(distinct person_id) filter (where not is_to_marketo) as n_records,
    count(distinct person_id) filter (where is_to_marketo) as n_people
from again
"""
# A company is written whole (R52); each contact gets an entry for each field, up to the limit (R53, R54).
_SENT_TO_COMPANIES = """
with accounts as (
    from state.account_values where account_id in (select dynamics_id from due_again)
),
companies as (
    from state.company_values where external_company_id in (select dynamics_id from due_again)
),
held as (
    select external_company_id as account_id, field, value from long_of('companies')
),
unequal as (
    select coalesce(a.account_id, h.account_id) as account_id, count(*) as n_fields
    from long_of('accounts') a
    full join held h on h.account_id = a.account_id and h.field = a.field
    where a.value is distinct from h.value
    group by all
),
contacts as (
    select r.parent_id as account_id, count(*) as n_contacts
    from mirror.person_records r
    join state.links l on l.record_type = r.record_type and l.dynamics_id = r.dynamics_id
    where not r.is_deleted and r.parent_id in (select account_id from unequal)
    group by all
)
select
    coalesce(sum(n_fields), 0)::bigint as n_to_marketo, 0 as n_to_dynamics, 0 as n_collisions,
    coalesce(sum(case when n_contacts <= most_contacts_logged() then n_fields * n_contacts end), 0)::bigint as n_activities,
    0 as n_records, count(*) as n_people
from unequal
left join contacts using (account_id)
"""


def read_back_fills(connection: duckdb.DuckDBPyConnection) -> list[Row]:
    """The back-fills in the snapshot, newest first."""
    return select(connection, "from back_fills order by back_fill_id desc, record_type")
