"""The custom activity type by which refusals are told in people's own activity log in Marketo (R115).

`dynsync setup` makes it; the names are what Marketo shows to people and what entries are known again by.
Not here: telling them (`write_back/refusal_log.py`).
"""

from __future__ import annotations

API_NAME = "dynsyncSyncError"
NAME = "DynSync Sync Error"
DESCRIPTION = "A value that Dynamics or Marketo refused, or that cannot be sent; the record is synced but for it."
FIELD, MESSAGE, ENTRY = "dynsyncField", "dynsyncMessage", "dynsyncEntry"  # API names of its attributes
ENTRY_NAME = "DynSync Entry"  # by which the log shows the number of the entry
LONGEST_MESSAGE = 2_000  # characters

PRIMARY_ATTRIBUTE = {"apiName": FIELD, "name": "Field", "dataType": "string", "description": "The field, or: record"}
ATTRIBUTES = [
    {"apiName": MESSAGE, "name": "Message", "dataType": "text", "description": "What the system said, and what to do"},
    {"apiName": ENTRY, "name": ENTRY_NAME, "dataType": "string", "description": "activity_id in DynSync's snapshot"},
]
