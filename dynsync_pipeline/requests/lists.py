"""Static lists of Marketo as a door: who is added to one asks to become a lead, or a contact, in Dynamics (R71).

Membership is a state and no wish: each *entry* into a list asks once, and who stays in the list asks for nothing more. Of a
list that is looked at for the first time every member asks once.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from dynsync_pipeline.clients.marketo.protocol import Activity
from dynsync_pipeline.clients.systems import Marketo
from dynsync_pipeline.errors import ApiError
from dynsync_pipeline.model.records import RecordType
from dynsync_pipeline.requests.store import RequestStore, Wish
from dynsync_pipeline.settings import Settings

ADD_TO_LIST = 24  # Marketo's number of that activity
OVERLAP = timedelta(minutes=10)  # an entry of the log may become visible late


def look_at_lists(store: RequestStore, marketo: Marketo, settings: Settings, at: datetime) -> str | None:
    """Keep what was asked for by new entries into the lists of the settings; returns why a look failed, or None.

    `at`: UTC without zone. Two calls for both lists, and one more for each 300 entries or members. Raises: StorageFailed.
    """
    lists = settings.lists
    if not lists:
        return None
    try:
        looks = {list_id: store.looks_at(list_id) for list_id in lists}
        since = min((look[1] for look in looks.values() if look), default=marketo.now())
        start = marketo.start_of_feed(since - OVERLAP)
        entries = list(_entries(marketo, start.token)) if any(looks.values()) else []
        for list_id, record_type in lists.items():
            look = looks[list_id]
            if look is None:
                asked = {f"{list_id}/{person_id}": person_id for person_id in marketo.list_members(list_id)}
            else:  # whoever was a member at the first look has asked by that; clocks tell seconds
                asked = {e.guid: e.person_id for e in entries if e.primary_id == list_id and e.at >= look[0]}
            wishes = [_wish(person_id, record_type, entry) for entry, person_id in asked.items()]
            store.note_look(list_id, start.server_time.astimezone(UTC).replace(tzinfo=None), wishes, at)
    except ApiError as error:
        return f"A static list of requests could not be read. {error}"
    return None


def _entries(marketo: Marketo, token: str) -> Iterator[Activity]:
    """Entries into static lists since the token."""
    for page in marketo.activities(token, [ADD_TO_LIST]):
        yield from page.items


def _wish(person_id: int, record_type: RecordType, entry: str) -> Wish:
    return Wish(person_id, record_type, "list", list_entry=entry)
