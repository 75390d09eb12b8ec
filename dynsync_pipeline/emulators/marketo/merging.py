"""Merging people: the losing ids vanish, an entry Merge Leads remains.

Source: docs/protocols/marketo.md#deleting-and-merging, #checklist 18.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dynsync_pipeline.emulators.marketo.activities import Entry
from dynsync_pipeline.emulators.marketo.activity_types import MERGE_LEADS
from dynsync_pipeline.emulators.marketo.people_writes import PeopleWrites
from dynsync_pipeline.emulators.marketo.protocol import Call, Refused
from dynsync_pipeline.emulators.marketo.store import Store

LOSERS_LIMIT = 25
SCORE = "leadScore"  # the standard one, which is added up; other scores are fields like any
# Never taken from a loser: what identifies the record, what a person only shows of its company, who may see it.
_KEPT = ("id", "contactCompany", "leadPartitionId", "createdAt", "updatedAt")


def merge_leads(call: Call) -> dict[str, Any]:
    """Merge one or up to 25 people into the one in the path: its values stay, its gaps are filled, scores add up. No `result`."""
    losers = list(dict.fromkeys(call.integers("leadIds") or call.integers("leadId")))
    winner = call.id()
    _require_mergeable(call, winner, losers)
    store = call.store
    source = f"Web service API: {call.api_user}"
    with store.transaction() as db:
        writes = PeopleWrites(store, reason="Merge Leads", source=source)
        writes.load([winner, *losers])
        for person_id in (winner, *losers):
            if writes.person(person_id) is None:
                raise Refused("1004", f"Lead '{person_id}' not found")
        filled: dict[str, Any] = {}
        score = sum((writes.person(person_id) or {}).get(SCORE) or 0 for person_id in losers)
        for person_id in losers:
            filled = _values(writes.person(person_id)) | filled  # the first loser's values count
            db.execute(
                "insert or ignore into list_members select list_id, ? from list_members where lead_id = ?",
                (winner, person_id),
            )
            writes.delete(person_id, is_logged=store.behaviour.merge_trail)
        kept = writes.person(winner) or {}
        gains = _gains(store, kept, filled) | ({SCORE: (kept[SCORE] or 0) + score} if score else {})
        attributes = {
            "Master Updated": str(writes.update(winner, gains)).lower(),
            "Merge IDs": ",".join(map(str, losers)),
            "Merge Source": source,
            "Merged in Sales": "false",
        }
        name = " ".join(filter(None, (kept["firstName"], kept["lastName"]))) or None
        writes.entries.append(Entry(winner, MERGE_LEADS, store.now(), winner, name, attributes))
        writes.flush()
    return {}


def _require_mergeable(call: Call, winner: int, losers: list[int]) -> None:
    if not losers:
        raise Refused("1002", "Missing value for the required parameter 'leadId'")
    if len(losers) > LOSERS_LIMIT:
        raise Refused("1080", f"The number of leads to merge exceeds the maximum of {LOSERS_LIMIT}")
    if (call.text("mergeInCRM") or "").lower() == "true":
        raise Refused("1076", "Merge Leads call with mergeInCRM flag is only supported with a Salesforce sync")
    if winner in losers:
        raise Refused("1003", "A lead cannot be merged into itself")


def _values(person: Mapping[str, Any] | None) -> dict[str, Any]:
    return {name: value for name, value in (person or {}).items() if value is not None}


def _gains(store: Store, kept: Mapping[str, Any], filled: Mapping[str, Any]) -> dict[str, Any]:
    """What fills the winner's gaps."""
    gaps = [name for name in filled if name not in _KEPT and kept[name] is None]
    return {name: filled[name] for name in gaps if not store.fields[name].on_company}
