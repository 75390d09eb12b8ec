"""Operations to Marketo: companies and creates on their keys, updates on the id, each batch read back.

Not here: what to write (`reconcile/`), what follows from an answer (`sending.py`, `receipts.py`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import groupby

import msgspec

from dynsync_pipeline.clients.marketo.protocol import PersonResult
from dynsync_pipeline.clients.systems import Marketo
from dynsync_pipeline.errors import AnswerUnreadable
from dynsync_pipeline.model.own_fields import COMPANY_KEY
from dynsync_pipeline.model.records import RecordType
from dynsync_pipeline.warehouse.connection import Warehouse
from dynsync_pipeline.warehouse.mirrors import PersonColumns, land_companies, land_people
from dynsync_pipeline.write_back.batches import batches
from dynsync_pipeline.write_back.lanes import CallsLeft, waiting_operations
from dynsync_pipeline.write_back.receipts import (
    PlannedWrite,
    Written,
    planned_writes,
    settle_receipts,
    unanswered_companies,
)
from dynsync_pipeline.write_back.sending import Turn
from dynsync_pipeline.write_back.telling import counted, progress_of
from dynsync_pipeline.write_back.ways import Answer, Landing

MOST_RECORDS = 300
MOST_BYTES = 900_000  # of the 1 MB that Marketo takes, the rest is for the envelope


def write_people(
    warehouse: Warehouse, client: Marketo, columns: PersonColumns, cycle_id: int, left: CallsLeft, *, at_once: int
) -> Written:
    """Send this cycle's companies, creates and updates of people, in this order, `at_once` requests at a time; then settle
    their receipts.

    Where there are not calls `left` for all of them, some wait (`lanes.py`).
    Companies and creates upsert on a key, so that repeating one is harmless; updates go by id with `updateOnly`, so
    that one can never create. What Marketo made of the values is read back, and that is what the mirror takes.
    A person whose company has no answer waits for the next cycle. Raises: PlanStale, StorageFailed.
    """
    turn = Turn(warehouse, "marketo", client.now, at_once)
    waiting = waiting_operations(warehouse, "marketo", left)

    def planned(action: str) -> Iterator[PlannedWrite]:
        writes = planned_writes(warehouse, cycle_id, "marketo", action)
        return (write for write in writes if write.operation_id not in waiting)

    turn.send_all(_Companies(client, columns), _batches(planned("company")))
    missing = unanswered_companies(warehouse) if turn.failure or waiting else set()

    def people(action: str) -> Iterator[PlannedWrite]:
        for write in planned(action):
            if not missing or _company_of(write, columns) not in missing:
                yield write

    created = progress_of(warehouse, "marketo", "create", "people created in Marketo", waiting)
    of_type = {RecordType.CONTACT: columns.own.contact_id, RecordType.LEAD: columns.own.lead_id}
    for record_type, creates in groupby(people("create"), key=lambda write: RecordType(write.record_type)):
        key = of_type[record_type]
        turn.send_all(_People(client, columns, "createOrUpdate", key, (key,)), counted(created, _batches(creates)))
    keys = ("id", columns.own.contact_id, columns.own.lead_id)
    updated = progress_of(warehouse, "marketo", "update", "people updated in Marketo", waiting)
    turn.send_all(_People(client, columns, "updateOnly", "id", keys), counted(updated, _batches(people("update"))))
    return replace(settle_receipts(warehouse, "marketo"), n_waiting=len(waiting), failure=turn.told)


class _Companies:
    """Companies, by their key."""

    kind = "companies"
    keys: Collection[str] = (COMPANY_KEY,)

    def __init__(self, client: Marketo, columns: PersonColumns) -> None:
        self._client = client
        self._fields = columns.fields

    def send(self, writes: Sequence[PlannedWrite]) -> list[Answer]:
        """One request of up to 300."""
        return _answers(self._client.sync_companies([write.body for write in writes]))

    def observe(self, done: Sequence[tuple[PlannedWrite, Answer]]) -> Landing:
        """The companies as Marketo has them now."""
        names = [COMPANY_KEY, *self._fields.company_fields]
        companies = self._client.companies([write.company_key or "" for write, _ in done], names)
        return lambda connection: land_companies(connection, self._fields, companies)


class _People:
    """People, created or updated, by `lookup_field`."""

    kind = "people"

    def __init__(
        self, client: Marketo, columns: PersonColumns, action: str, lookup_field: str, keys: Collection[str]
    ) -> None:
        self._client = client
        self._columns = columns
        self._action = action
        self._lookup_field = lookup_field
        self.keys = keys

    def send(self, writes: Sequence[PlannedWrite]) -> list[Answer]:
        """One request of up to 300. An answer for somebody else than was written to is AnswerUnreadable."""
        bodies = [write.body for write in writes]
        answers = _answers(self._client.sync_people(self._action, self._lookup_field, bodies))
        told = [
            (write.person_id, answer.target_id)
            for write, answer in zip(writes, answers, strict=True)
            if not answer.error
        ]
        if any(found is None or wanted not in (None, found) for wanted, found in told):
            raise _of_somebody_else()
        return answers

    def observe(self, done: Sequence[tuple[PlannedWrite, Answer]]) -> Landing:
        """The people as Marketo has them now. Raises: AnswerUnreadable also where one bears another record's key."""
        people = self._client.people("id", [str(answer.target_id) for _, answer in done], self._columns.names)
        if self._lookup_field != "id":
            keys = dict(zip(*(people.column(name).to_pylist() for name in ("id", self._lookup_field)), strict=True))
            for write, answer in done:
                if (keys.get(str(answer.target_id)) or write.dynamics_id).lower() != write.dynamics_id:
                    raise _of_somebody_else()
        return lambda connection: land_people(connection, self._columns, people)


def _answers(results: Sequence[PersonResult]) -> list[Answer]:
    return [Answer(result.error, result.id) for result in results]


def _of_somebody_else() -> AnswerUnreadable:
    return AnswerUnreadable(
        "Marketo's answers are not in the order of what was sent, so that nobody knows whose they are.",
        system="marketo",
        request="POST /rest/v1/leads.json",
        next_step="The next cycle reads what became of it.",
    )


def _company_of(write: PlannedWrite, columns: PersonColumns) -> str | None:
    """The key of the company that a person is to stand behind from now on."""
    key = msgspec.json.decode(write.body).get(columns.own.company)
    return key if isinstance(key, str) else None


def _batches(writes: Iterable[PlannedWrite]) -> Iterator[list[PlannedWrite]]:
    return batches(writes, most_records=MOST_RECORDS, most_bytes=MOST_BYTES)
