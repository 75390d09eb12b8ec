"""Companies in Marketo, read by key where a decision needs them; there is no feed of company changes. Next: `reconcile`.

Read last, because only what the other streams told says which these are.
Company fields are read on companies and never asked of the change feed, which tells them once per person.
"""

from __future__ import annotations

import logging
from datetime import datetime, timedelta

from dynsync_pipeline.clients.systems import Marketo
from dynsync_pipeline.model.field_map import FieldMap
from dynsync_pipeline.model.own_fields import COMPANY_KEY
from dynsync_pipeline.warehouse.connection import Warehouse, scalar
from dynsync_pipeline.warehouse.cursors import move_cursor, read_cursor
from dynsync_pipeline.warehouse.mirrors import land_companies, take_in_companies
from dynsync_pipeline.warehouse.unread import COMPANY, due_unread, put_off_unread

# Accounts that were updated: all of their company is compared (R52). Leads whose person was seen in Marketo, or that
# changed in Dynamics: their own company record may hold an edit (R131), also where the link is yet to be found by the key.
# A person just written by the sync is neither.
# Contacts that move: the company they join, and the one they leave, whose values their activities tell as the old ones (R59).
_KEYS = """
select t.dynamics_id from inbox.touched t where t.record_type = 'account'
union
select account_id from state.relabelled_accounts
union
select u.dynamics_id from state.unsettled u
where u.record_type = 'account' and u.next_look_at <= $at
union
select 'lead:' || l.dynamics_id
from state.links l
where l.record_type = 'lead'
  and (
      l.person_id in (select person_id from inbox.touched where not is_receipt)
      or l.dynamics_id in (select dynamics_id from inbox.touched where record_type = 'lead')
      or l.person_id in (select person_id from state.unsettled where next_look_at <= $at)
  )
union
select m.external_company_id
from inbox.touched t
join mirror.marketo_people m on m.person_id = t.person_id
where not t.is_receipt and starts_with(m.external_company_id, 'lead:') and not m.is_deleted
union
select m.external_company_id
from inbox.touched t
join mirror.marketo_people m on m.dynamics_lead_id = t.dynamics_id
where t.record_type = 'lead' and starts_with(m.external_company_id, 'lead:') and not m.is_deleted
union
select unnest([c.joined, c.held])
from (
    select a.accountid as joined, m.external_company_id as held
    from mirror.dynamics_contacts c
    join inbox.touched t on t.record_type = 'contact' and t.dynamics_id = c.contactid
    join state.links l on l.record_type = 'contact' and l.dynamics_id = c.contactid
    join mirror.marketo_people m on m.person_id = l.person_id
    left join mirror.dynamics_accounts a on a.accountid = lower(c._parentcustomerid_value)
) c
where c.joined is distinct from c.held
  and (c.joined is not null or not starts_with(c.held, 'contact:'))  -- who has no account is where they belong
order by 1
"""

# No feed tells of an edit that was made on a lead's company record alone, so all of these are read once a day.
_LEADS_COMPANIES = (
    "select external_company_id from mirror.marketo_companies where starts_with(external_company_id, 'lead:')"
)
# What a lookup points at is told by the table that has the id (R23).
_UNDER_CONTACTS = """
select count(distinct c.contactid)
from inbox.touched t
join mirror.dynamics_contacts c on t.record_type = 'contact' and t.dynamics_id = c.contactid
join mirror.dynamics_contacts p on p.contactid = lower(c._parentcustomerid_value)
"""
STREAM = "marketo_companies"
DAY = timedelta(hours=24)

log = logging.getLogger(__name__)


def extract_companies(warehouse: Warehouse, client: Marketo, fields: FieldMap) -> int:
    """Bring the mirror of those companies up to date; returns how many were read. Raises: ApiError, StorageFailed."""
    if not fields.company_fields:
        return 0
    at = warehouse.now()
    with warehouse.reading() as connection:
        if n_contacts := scalar(connection, _UNDER_CONTACTS):
            log.warning(
                "Contacts read just now whose parent is a contact and no account: %d. They get no company (R23). Give them an "
                "account in Dynamics, or leave it so; parent_is_contact in the snapshot's contacts tells which.",
                n_contacts,
            )
        keys = {row[0] for row in connection.execute(_KEYS, {"at": at}).fetchall() if row[0]}
        due = due_unread(connection, COMPANY, at)
        keys.update(due)
        read_at = read_cursor(connection, STREAM).value
        is_daily = read_at is None or not timedelta(0) <= at - datetime.fromisoformat(read_at) <= DAY
        if is_daily:
            keys.update(row[0] for row in connection.execute(_LEADS_COMPANIES).fetchall())
    companies = client.companies(sorted(keys), [COMPANY_KEY, *fields.company_fields]) if keys else None
    with warehouse.transaction() as connection:
        if is_daily:
            move_cursor(connection, STREAM, at.isoformat(), [], is_loaded=False)
        if companies is None:
            return 0
        land_companies(connection, fields, companies)
        put_off_unread(connection, COMPANY, due, at)
        return take_in_companies(connection, at)
