"""Writes the keys of Dynamics records onto the people who were chosen in an adoption; the next cycle finds the links by them.

Each batch is read before and after: what stands in Marketo decides whether there is anything to write, so that a file
can be applied twice and a cut be repeated. Not here: who was chosen (`reconcile/adoption.py`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from dynsync_pipeline.clients.marketo.client import RECORDS_PER_WRITE
from dynsync_pipeline.clients.systems import Marketo
from dynsync_pipeline.model.own_fields import OwnFields
from dynsync_pipeline.model.records import RecordType
from dynsync_pipeline.warehouse.connection import Warehouse
from dynsync_pipeline.warehouse.mirrors import PersonColumns, land_people, take_in_people


class Refusal(NamedTuple):
    """A person who did not take the key, and why."""

    person_id: int
    record_type: str
    dynamics_id: str
    reason: str


@dataclass(frozen=True)
class Adopted:
    """What became of the links that were chosen: keys written now, keys that stood there before, and refusals."""

    n_written: int = 0
    n_before: int = 0
    refusals: tuple[Refusal, ...] = ()


class _Link(NamedTuple):
    person_id: int
    record_type: str
    dynamics_id: str
    created_on: str | None


def write_keys(
    warehouse: Warehouse,
    client: Marketo,
    columns: PersonColumns,
    progress: Callable[[int, int], None],
) -> Adopted:
    """Write the keys of all links that were decided and not found yet; `progress` gets how many are done, of how many.

    Raises: ApiError when a whole request failed; what was written is then recognised when this is called again.
    """
    with warehouse.reading() as connection:
        links = [_Link(*row) for row in connection.execute(_LINKS).fetchall()]
    n_written = n_before = 0
    refusals: list[Refusal] = []
    for first in range(0, len(links), RECORDS_PER_WRITE):
        progress(first, len(links))
        batch = links[first : first + RECORDS_PER_WRITE]
        missing, before, refused = _compared(client, columns, batch)
        bodies = [_body(link, columns.own) for link in missing]
        results = client.sync_people("updateOnly", "id", bodies)
        written = [link for link, result in zip(missing, results, strict=True) if result.error is None]
        refused += [
            Refusal(*link[:3], f"{result.error.code}: {result.error}")
            for link, result in zip(missing, results, strict=True)
            if result.error is not None
        ]
        _observe(warehouse, client, columns, [*written, *before])
        n_written += len(written)
        n_before += len(before)
        refusals += refused
    progress(len(links), len(links))
    return Adopted(n_written, n_before, tuple(refusals))


_LINKS = """
select a.person_id, a.record_type, a.dynamics_id, r.createdon
from state.adoption a
left join mirror.person_records r using (record_type, dynamics_id)
where a.decision = 'link'
order by a.person_id
"""


def _compared(
    client: Marketo, columns: PersonColumns, batch: Sequence[_Link]
) -> tuple[list[_Link], list[_Link], list[Refusal]]:
    """Which of the people lack the key, which have it, and which cannot take it: gone, or with the id of another record."""
    found = client.people("id", [str(link.person_id) for link in batch], [columns.own.contact_id, columns.own.lead_id])
    keys = {int(row["id"]): (row[columns.own.contact_id], row[columns.own.lead_id]) for row in found.to_pylist()}
    missing: list[_Link] = []
    before: list[_Link] = []
    refused: list[Refusal] = []
    for link in batch:
        obstacle = _obstacle(link, keys.get(link.person_id))
        if obstacle is not None:
            refused.append(Refusal(*link[:3], obstacle))
        else:
            (before if any(keys[link.person_id]) else missing).append(link)
    return missing, before, refused


def _obstacle(link: _Link, keys: tuple[str | None, str | None] | None) -> str | None:
    """Why the key cannot be written to the person whose ids of a contact and of a lead are `keys`; None if it can."""
    if keys is None:
        return "Marketo has no such person any more."
    contact_id, lead_id = keys
    own, other = (contact_id, lead_id) if link.record_type == RecordType.CONTACT else (lead_id, contact_id)
    if other or (own and own.lower() != link.dynamics_id):
        return "The person holds the id of another record."
    return None


def _body(link: _Link, own: OwnFields) -> str:
    is_contact = link.record_type == RecordType.CONTACT
    return json.dumps(
        {
            "id": link.person_id,
            own.contact_id if is_contact else own.lead_id: link.dynamics_id,
            own.person_type: "Contact" if is_contact else "Lead",
            own.is_deleted: False,
            own.created_on: link.created_on,
        }
    )


def _observe(warehouse: Warehouse, client: Marketo, columns: PersonColumns, links: Sequence[_Link]) -> None:
    """Take what stands in Marketo now into the mirror, whole, so that the next cycle has no need of the feed to see it."""
    if not links:
        return
    people = client.people("id", [str(link.person_id) for link in links], columns.names)
    with warehouse.transaction() as connection:
        land_people(connection, columns, people)
        take_in_people(connection, warehouse.now())
        connection.executemany(
            "insert into inbox.touched (record_type, dynamics_id, is_receipt) values (?, ?, false)",
            [(link.record_type, link.dynamics_id) for link in links],
        )
