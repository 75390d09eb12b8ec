"""Companies in Marketo, read by key where a decision needs them; there is no feed of company changes. Next: `reconcile`.

Company fields are read on companies and never asked of the change feed, which tells them once per person.
"""

from __future__ import annotations

from dynsync_pipeline.clients.marketo.client import MarketoClient
from dynsync_pipeline.model.field_map import FieldMap
from dynsync_pipeline.warehouse.connection import Warehouse
from dynsync_pipeline.warehouse.mirrors import COMPANY_KEY, land_companies, take_in_companies

# Accounts that were updated: all of their company is compared (R52). Leads whose person was seen in Marketo, or that
# changed in Dynamics: their own company record may hold an edit (R131). A person just written by the sync is neither.
_KEYS = """
select t.dynamics_id from inbox.touched t where t.record_type = 'account'
union
select u.dynamics_id from state.unsettled u where u.record_type = 'account'
union
select 'lead:' || l.dynamics_id
from state.links l
where l.record_type = 'lead'
  and (
      l.person_id in (select person_id from inbox.touched where not is_receipt)
      or l.dynamics_id in (select dynamics_id from inbox.touched where record_type = 'lead')
      or l.person_id in (select person_id from state.unsettled)
  )
order by 1
"""


def extract_companies(warehouse: Warehouse, client: MarketoClient, fields: FieldMap) -> int:
    """Bring the mirror of those companies up to date; returns how many were read. Raises: ApiError, StorageFailed."""
    if not fields.company_fields:
        return 0
    with warehouse.reading() as connection:
        keys = [row[0] for row in connection.execute(_KEYS).fetchall()]
    if not keys:
        return 0
    companies = client.companies(keys, [COMPANY_KEY, *fields.company_fields])
    with warehouse.transaction() as connection:
        land_companies(connection, fields, companies)
        return take_in_companies(connection)
