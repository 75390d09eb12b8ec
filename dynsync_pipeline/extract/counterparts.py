"""Records that another one tells of, read by id where one was seen and the other perhaps not yet (R95, R98). Next: `reconcile`.

Tables are read one by one, with no common moment. A lead and the contact that it became, or two records that are merged, are
changed in one transaction of Dynamics, so who reads the other half afterwards has both as they are. What cannot be read stays a
suspect, and is asked for again a day later. Not here: what qualifying and merging mean (`reconcile/sql/qualified_leads.sql`,
`reconcile/sql/merge_proposals.sql`), who waits (`reconcile/sql/conversions.sql`).
"""

from __future__ import annotations

from dynsync_pipeline.clients.systems import Dynamics
from dynsync_pipeline.extract.absence import confirm_records, due_suspects, suspect
from dynsync_pipeline.model.field_map import FieldMap
from dynsync_pipeline.model.records import PERSON_TYPES, RecordType
from dynsync_pipeline.warehouse.connection import Warehouse
from dynsync_pipeline.warehouse.mirrors import take_in_dynamics


def read_counterparts(warehouse: Warehouse, client: Dynamics, fields: FieldMap) -> int:
    """Read what is not known as it is now: leads of new contacts, contacts of leads just qualified, masters of merged records.

    Call it when all streams are in. Returns how many records were read or found deleted. Raises: ApiError.
    """
    at = {"now": warehouse.now()}
    with warehouse.reading() as connection:
        # With nobody to look at, joins of everybody are not even begun.
        has_near = connection.execute(f"select 1 from ({_NEAR}) limit 1", at).fetchall()
        found = connection.execute(_COUNTERPARTS, at).fetchall() if has_near else []
    if not found:
        return 0
    n_read = 0
    for record_type in PERSON_TYPES:
        with warehouse.transaction() as connection:
            suspect(connection, warehouse, record_type, [row[1] for row in found if row[0] == record_type])
        if due := due_suspects(warehouse, record_type):
            confirm_records(warehouse, client, fields, record_type, due)
            with warehouse.transaction() as connection:
                n_read += take_in_dynamics(connection, warehouse.now(), record_type)
    return n_read


_NEAR = """
select record_type, dynamics_id from inbox.touched where dynamics_id is not null
union
select record_type, dynamics_id from state.unsettled where person_id is null and next_look_at <= $now
"""

# A lead that is qualified in the mirror was read after its contact was made.
_COUNTERPARTS = f"""
with near as ({_NEAR})
select '{RecordType.LEAD}', v.lead_id
from mirror.conversions v
semi join near n on n.record_type = '{RecordType.CONTACT}' and n.dynamics_id = v.contact_id
anti join state.links l on l.record_type = '{RecordType.CONTACT}' and l.dynamics_id = v.contact_id
anti join mirror.dynamics_leads d on d.leadid = v.lead_id and (d.is_deleted or d.statecode = '1')
union
select '{RecordType.CONTACT}', v.contact_id
from mirror.conversions v
semi join near n on n.record_type = '{RecordType.LEAD}' and n.dynamics_id = v.lead_id
anti join mirror.dynamics_contacts c on c.contactid = v.contact_id
union
select m.record_type, m.master_id
from mirror.merged_records m
semi join near n on n.record_type = m.record_type and n.dynamics_id = m.dynamics_id
semi join state.links l on l.record_type = m.record_type and l.dynamics_id = m.dynamics_id
order by all
"""
