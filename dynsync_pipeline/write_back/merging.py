"""Merging two people in Marketo on somebody's word, as `ledger.merge_proposals` proposes it (R97, R99).

A merge cannot be undone: before it is sent, both people are read, and must bear the keys of their records still. What Marketo
makes of the values is read by the next cycle like any other merge. Not here: what is proposed
(`reconcile/sql/merge_proposals.sql`), asking people (`cli/merge.py`).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from dynsync_pipeline.clients.systems import Marketo
from dynsync_pipeline.errors import OUTCOME_UNKNOWN, ApiError, RecordMissing, RequestRefused
from dynsync_pipeline.model.own_fields import OwnFields
from dynsync_pipeline.model.records import RecordType
from dynsync_pipeline.warehouse.connection import Warehouse
from dynsync_pipeline.warehouse.operator_actions import Action, note_action


@dataclass(frozen=True)
class Side:
    """A person of a proposal, and its record."""

    person_id: int
    record_type: RecordType
    dynamics_id: str


@dataclass(frozen=True)
class Proposal:
    """Two people who may be merged."""

    proposal_id: int
    winner: Side
    loser: Side


@dataclass(frozen=True)
class Merged:
    """What became of a proposal; `reason` says why it was not carried out, or that nobody knows."""

    proposal: Proposal
    reason: str | None


def open_proposals(warehouse: Warehouse, proposal_ids: Collection[int]) -> list[Proposal]:
    """Those of these proposals that can be carried out, in the order of their ids."""
    with warehouse.reading() as connection:
        rows = connection.execute(_OPEN, [list(proposal_ids)]).fetchall()
    return [
        Proposal(row[0], Side(row[1], RecordType(row[2]), row[3]), Side(row[4], RecordType(row[5]), row[6]))
        for row in rows
    ]


_OPEN = """
select
    proposal_id, winner_person_id, winner_record_type, winner_dynamics_id, loser_person_id, loser_record_type,
    loser_dynamics_id
from ledger.merge_proposals
where state in ('open', 'sent') and list_contains(?::bigint[], proposal_id)
order by proposal_id
"""


def merge_people(warehouse: Warehouse, client: Marketo, own: OwnFields, proposal: Proposal, action: Action) -> Merged:
    """Carry out one proposal; the caller holds the cycle lock. The command is told together with the first merge that is sent.

    A merge that was sent before and whose answer was lost is not sent again where Marketo shows that it was done. Raises:
    ApiError where Marketo cannot be asked; StorageFailed.
    """
    keys = {RecordType.CONTACT: own.contact_id, RecordType.LEAD: own.lead_id}
    winner, loser = proposal.winner, proposal.loser
    found = client.people("id", [str(winner.person_id), str(loser.person_id)], list(keys.values())).to_pylist()
    shown = {int(row["id"]): row for row in found}
    for side in (winner, loser):
        row = shown.get(side.person_id)
        if row is None:
            return Merged(proposal, f"Marketo shows no person {side.person_id} any more; the next cycle finds out why.")
        if (row.get(keys[side.record_type]) or "").lower() != side.dynamics_id:
            said = f"Person {side.person_id} does not bear the id of its {side.record_type} in Marketo"
            return Merged(proposal, f"{said}: run `dynsync sync`, and look at the proposals again.")
    _note(warehouse, proposal, "sent", action)
    try:
        client.merge_people(winner.person_id, loser.person_id)
    except OUTCOME_UNKNOWN as error:
        return Merged(proposal, f"Nobody knows whether it was done, and the next cycle finds out: {error}")
    except (RequestRefused, RecordMissing) as error:
        _note(warehouse, proposal, "open")
        return Merged(proposal, str(error))
    except ApiError:
        _note(warehouse, proposal, "open")
        raise
    _note(warehouse, proposal, "merged")
    return Merged(proposal, None)


def _note(warehouse: Warehouse, proposal: Proposal, state: str, action: Action | None = None) -> None:
    """Keep how the proposal stands; whoever may be gone is read by id in the next cycle, whatever the feed tells (R86)."""
    at = warehouse.now()
    with warehouse.transaction() as connection:
        if action:
            note_action(connection, action)
        connection.execute(
            "update ledger.merge_proposals set state = ?, ended_at = ? where proposal_id = ?",
            [state, at if state == "merged" else None, proposal.proposal_id],
        )
        connection.execute(
            "insert into state.suspects (record_type, suspect_id, since, next_look_at) select 'person', ?, ?, ? "
            "where ('person', ?) not in (select (record_type, suspect_id) from state.suspects)",
            [str(proposal.loser.person_id), at, at, str(proposal.loser.person_id)],
        )
