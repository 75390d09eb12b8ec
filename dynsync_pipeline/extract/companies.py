"""Companies in Marketo, read by key where a decision needs them; there is no feed of company changes. Next: `reconcile`.

Read last, because only what the other streams told says which these are.
Company fields are read on companies and never asked of the change feed, which tells them once per person.
A company that Marketo keeps without a key stands behind one person, and is read through that person.
"""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import duckdb

from dynsync_pipeline.clients.marketo.client import VALUES_PER_READ
from dynsync_pipeline.clients.systems import Marketo
from dynsync_pipeline.model.field_map import FieldMap
from dynsync_pipeline.model.own_fields import COMPANY_KEY, KEYLESS
from dynsync_pipeline.model.records import UNREAD
from dynsync_pipeline.warehouse.connection import Warehouse, scalar
from dynsync_pipeline.warehouse.cursors import move_cursor, read_cursor
from dynsync_pipeline.warehouse.mirrors import land_companies, take_in_companies
from dynsync_pipeline.warehouse.rows_of import rows_of
from dynsync_pipeline.warehouse.unread import COMPANY, due_unread, put_off_unread

if TYPE_CHECKING:
    import pyarrow as pa

# Whose companies may be needed: whoever was touched or is to be looked at again, with links and contacts. What is asked below
# starts from these few; each of its parts would look through all links and contacts again. A person just written by the sync is
# none of them.
_IS_ANYBODY = """
select 1 from inbox.touched
union all
select 1 from state.relabelled_accounts
union all
select 1 from state.unsettled where next_look_at <= $at
limit 1
"""
_CONCERNED = (
    """
create or replace temp table concerned_records as
select distinct record_type, dynamics_id from inbox.touched where dynamics_id is not null
union
select record_type, dynamics_id from state.unsettled where next_look_at <= $at
""",
    """
create or replace temp table concerned_people as
select person_id from inbox.touched where person_id is not null and not is_receipt
union
select person_id from state.unsettled where person_id is not null and next_look_at <= $at
union
select person_id from links_to('concerned_records') semi join concerned_records using (record_type, dynamics_id)
union
-- The link is yet to be found by the key.
select person_id
from mirror.marketo_people
where dynamics_lead_id in (select dynamics_id from concerned_records where record_type = 'lead')
""",
    "create or replace temp table concerned_links as from links_of('concerned_people')",
    f"""
create or replace temp table concerned_contacts as
select
    contactid as contact_id, lower(_parentcustomerid_value) as parent_id, a.accountid is not null as is_under_account,
    lower(_originatingleadid_value) as lead_id
from ({
        rows_of(
            "mirror.dynamics_contacts",
            "contactid",
            "select dynamics_id from concerned_records where record_type = 'contact' "
            "union select dynamics_id from concerned_links where record_type = 'contact'",
            "contactid, _parentcustomerid_value, _originatingleadid_value",
        )
    })
left join mirror.dynamics_accounts a on a.accountid = lower(_parentcustomerid_value)
""",
)
# Accounts that were updated: all of their company is compared (R52). Leads: their own company record may hold an edit (R131).
# Contacts that move, or whose move was refused before, and those that a lead became: the company they join, and the one they
# leave, whose values their activities tell as the old ones (R59).
_KEYS = """
select dynamics_id from concerned_records where record_type = 'account'
union
select account_id from state.relabelled_accounts
union
select 'lead:' || dynamics_id from concerned_links where record_type = 'lead'
union
select external_company_id
from mirror.marketo_people
where person_id in (select person_id from concerned_people) and starts_with(external_company_id, 'lead:') and not is_deleted
union
select unnest([c.joined, c.held])
from (
    select case when c.is_under_account then c.parent_id end as joined, m.external_company_id as held
    from concerned_contacts c
    semi join concerned_records r on r.record_type = 'contact' and r.dynamics_id = c.contact_id
    join concerned_links l on l.record_type = 'contact' and l.dynamics_id = c.contact_id
    join mirror.marketo_people m on m.person_id = l.person_id
) c
where c.joined is distinct from c.held
  and (c.joined is not null or not starts_with(c.held, 'contact:'))  -- who has no account is where they belong
union
select unnest([case when c.is_under_account then c.parent_id end, m.external_company_id])
from concerned_contacts c
semi join inbox.touched t on t.record_type = 'contact' and t.dynamics_id = c.contact_id
join state.links l on l.record_type = 'lead' and l.dynamics_id = c.lead_id
join mirror.marketo_people m on m.person_id = l.person_id
order by 1
"""

# No feed tells of an edit that was made on a lead's company record alone, so all of these are read once a day.
_LEADS_COMPANIES = (
    "select external_company_id from mirror.marketo_companies where starts_with(external_company_id, 'lead:')"
)

# Leads' people without a key, for the same reasons as those with one (R42, R131), and contacts' that get an account, whose
# activities tell what they held before (R59).
_KEYLESS = """
select m.person_id::varchar
from mirror.marketo_people m
left join concerned_links l on l.person_id = m.person_id
left join concerned_contacts c on l.record_type = 'contact' and c.contact_id = l.dynamics_id
where m.person_id in (select person_id from concerned_people)
  and m.external_company_id is null and not m.is_deleted
  and (c.parent_id is not null
       or coalesce(l.record_type, case when m.dynamics_lead_id is not null then 'lead' end) in (
           select record_type from reconcile.fields where record_type = 'lead' and is_on_company
       ))
"""
_LEADS_WITHOUT_KEY = """
select m.person_id::varchar
from state.links l
join mirror.marketo_people m on m.person_id = l.person_id and m.external_company_id is null and not m.is_deleted
where l.record_type in (select record_type from reconcile.fields where record_type = 'lead' and is_on_company)
"""
# What a lookup points at is told by the table that has the id (R23).
_UNDER_CONTACTS = """
with parents as (
    select parent_id from concerned_contacts where not is_under_account and parent_id is not null
)
select count(*)
from concerned_contacts c
semi join inbox.touched t on t.record_type = 'contact' and t.dynamics_id = c.contact_id
where not is_under_account
  and parent_id in (select contactid from mirror.dynamics_contacts where contactid in (select parent_id from parents))
"""
STREAM = "marketo_companies"
DAY = timedelta(hours=24)

log = logging.getLogger(__name__)


def extract_companies(warehouse: Warehouse, client: Marketo, fields: FieldMap, n_calls_left: int) -> int:
    """Bring the mirror of those companies up to date; returns how many were read. Raises: ApiError, StorageFailed.

    `n_calls_left`: how many calls the daily look at all leads may take; where it would take more, it waits.
    """
    if not fields.company_fields:
        return 0
    at = warehouse.now()
    with warehouse.reading() as connection:
        due = due_unread(connection, COMPANY, at)
        read_at = read_cursor(connection, STREAM).value
        is_due = read_at is None or not timedelta(0) <= at - datetime.fromisoformat(read_at) <= DAY
        keys, person_ids = _concerned(connection, at)
        keys |= {key for key in due if not key.startswith(KEYLESS)}
        person_ids |= {key.removeprefix(KEYLESS) for key in due if key.startswith(KEYLESS)}
        daily = _of_the_day(connection, n_calls_left) if is_due else None
    if daily:
        keys, person_ids = keys | daily[0], person_ids | daily[1]
    names = [COMPANY_KEY, *fields.company_fields]
    read = [client.companies(sorted(keys), names)] if keys else []
    if person_ids:
        read.append(_keyless(client.people("id", sorted(person_ids), names)))
    with warehouse.transaction() as connection:
        if daily:
            move_cursor(connection, STREAM, at.isoformat(), [], is_loaded=False)
        for companies in read:
            land_companies(connection, fields, companies)
        put_off_unread(connection, COMPANY, due, at)
        return take_in_companies(connection, at) if read else 0


def _concerned(connection: duckdb.DuckDBPyConnection, at: datetime) -> tuple[set[str], set[str]]:
    """Keys of the companies that this cycle's decisions need, and ids of the people for whom it is one without a key."""
    if not connection.execute(_IS_ANYBODY, {"at": at}).fetchall():
        return set(), set()
    try:
        for statement in _CONCERNED:
            connection.execute(statement, {"at": at} if "$at" in statement else None)
        return _of_the_concerned(connection)
    finally:
        for name in ("records", "people", "links", "contacts"):
            connection.execute(f"drop table if exists temp.concerned_{name}")


def _of_the_concerned(connection: duckdb.DuckDBPyConnection) -> tuple[set[str], set[str]]:
    if n_contacts := scalar(connection, _UNDER_CONTACTS):
        log.warning(
            "Contacts read just now whose parent is a contact and no account: %d. They get no company (R23). Give them an "
            "account in Dynamics, or leave it so; parent_is_contact in the snapshot's contacts tells which.",
            n_contacts,
        )
    return _chosen(connection, _KEYS), _chosen(connection, _KEYLESS)


def _chosen(connection: duckdb.DuckDBPyConnection, query: str) -> set[str]:
    return {row[0] for row in connection.execute(query).fetchall() if row[0]}


def _of_the_day(connection: duckdb.DuckDBPyConnection, n_calls_left: int) -> tuple[set[str], set[str]] | None:
    """Keys of all leads' companies, and ids of leads' people without one; None, said so, where these take too many calls."""
    keys, person_ids = _chosen(connection, _LEADS_COMPANIES), _chosen(connection, _LEADS_WITHOUT_KEY)
    n_calls = sum(-(-len(some) // VALUES_PER_READ) for some in (keys, person_ids))
    if n_calls <= n_calls_left:
        return keys, person_ids
    log.warning(
        "The daily look at the company texts of %d leads takes %d calls of Marketo, and %d are left for what may wait: it waits "
        "for the next day. If it waits every day, allow more calls in DYNSYNC_MARKETO_CALLS_PER_DAY.",
        len(keys) + len(person_ids),
        n_calls,
        n_calls_left,
    )
    return None


def _keyless(people: pa.Table) -> pa.Table:
    """The companies of these people, under keys of our own; who got one of Marketo's since stands behind another."""
    import pyarrow.compute as pc  # not before there are rows

    is_keyless = people[COMPANY_KEY].is_null()
    if UNREAD in people.column_names:
        is_keyless = pc.or_(is_keyless, people[UNREAD].is_valid())
    people = people.filter(is_keyless)
    keys = pc.binary_join_element_wise(KEYLESS, people["id"], "")
    return people.set_column(people.column_names.index(COMPANY_KEY), COMPANY_KEY, keys)
