"""What is asked for a record that is there: another owner, or a task (R78). Whoever is no record yet becomes one first.

Neither is an edit of a synced field. An owner is given whatever the record's version, so that giving it twice does no harm; a
task bears the request's own id, so that sending it twice makes one.
Not here: making records (`serving.py`), sending (`sending.py`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from dynsync_pipeline.clients.dynamics.protocol import Column
from dynsync_pipeline.clients.systems import Dynamics
from dynsync_pipeline.errors import ApiError, RecordMissing
from dynsync_pipeline.model.field_map import FieldType
from dynsync_pipeline.model.records import PERSON_TYPES, TABLES, TASKS, EntitySet, RecordType
from dynsync_pipeline.requests.owners import find_owners
from dynsync_pipeline.requests.sending import Row, Sending, Wanted
from dynsync_pipeline.requests.store import Request, RequestStore, Task
from dynsync_pipeline.requests.telling import End, Telling
from dynsync_pipeline.sql_files import run_steps
from dynsync_pipeline.warehouse.connection import Warehouse

WISHING = ("requests/wished_records",)
_PRIORITIES = {"low": 0, "normal": 1, "high": 2}  # docs/protocols/dataverse.md#tasks


class _Record(NamedTuple):
    """The record of a person; `owner` is who owns it, as an address."""

    verdict: str
    record_type: RecordType | None
    dynamics_id: str
    owner: str | None


class OnRecords:
    """One turn at them; the caller holds the cycle lock. Raises: StorageFailed, ApiError where Dynamics is not reached."""

    def __init__(self, warehouse: Warehouse, dynamics: Dynamics, store: RequestStore, telling: Telling) -> None:
        self._warehouse = warehouse
        self._dynamics = dynamics
        self._store = store
        self._telling = telling

    def ask_for_records(self, due: Sequence[Request]) -> None:
        """See that whoever is no record yet becomes one."""
        wishes = [each for each in due if each.kind != "record" and each.needs is None]
        records = self._records(wishes)
        for each in wishes:
            if records[each.request_id].verdict == "absent":
                self._store.ask_for_record(each, self._warehouse.now())

    def serve(self, due: Sequence[Request]) -> str | None:
        """Carry them out; returns why some of them wait, as a sentence, or None."""
        records = self._records(due)
        ready = [each for each in due if self._is_ready(each, records[each.request_id].verdict)]
        owners = find_owners(self._dynamics, [(each, each.owner) for each in ready], self._telling)
        known = [each for each in ready if each.request_id in owners]
        sendings = []
        for record_type in PERSON_TYPES:
            assigned = {
                records[each.request_id].dynamics_id: each
                for each in known
                if each.kind == "owner" and records[each.request_id].record_type is record_type
            }
            sendings.append(self._sending(TABLES[record_type], assigned, "assigned", makes=False))
            sendings[-1].send([
                Wanted(record_id, json.dumps(_bound("ownerid", f"systemusers({owners[each.request_id]})")), each.attempts)
                for record_id, each in assigned.items()
            ])  # fmt: skip
        tasks = {each.request_id: each.task for each in known if each.task is not None}
        asked = {each.request_id: each for each in known}
        sendings.append(self._sending(TASKS, asked, "created", makes=True))
        sendings[-1].send([
            Wanted(
                request_id,
                _body(task, asked[request_id].asked_at, records[request_id], owners[request_id]),
                asked[request_id].attempts,
            )
            for request_id, task in tasks.items()
        ])  # fmt: skip
        return next((each.failure for each in sendings if each.failure), None)

    def _records(self, wishes: Sequence[Request]) -> dict[str, _Record]:
        """By request, the record of its person, as the working file knows it."""
        if not wishes:
            return {}
        with self._warehouse.reading() as connection:
            connection.execute(
                "create or replace temp table wished_requests as "
                "select unnest(?::varchar[]) as request_id, unnest(?::bigint[]) as person_id",
                [[each.request_id for each in wishes], [each.person_id for each in wishes]],
            )
            run_steps(connection, WISHING)
            rows = connection.execute(
                "select request_id, verdict, record_type, dynamics_id, owner_id, is_owned_by_team from wished_records"
            ).fetchall()
        return {
            request_id: _Record(
                verdict,
                None if record_type is None else RecordType(record_type),
                dynamics_id,
                None if owner_id is None else f"{'teams' if is_team else 'systemusers'}({owner_id})",
            )
            for request_id, verdict, record_type, dynamics_id, owner_id, is_team in rows
        }

    def _is_ready(self, request: Request, verdict: str) -> bool:
        """Whether there is a record to write to; else the request ends, or waits."""
        if verdict == "kept_out":
            self._telling.end([End(request, "kept_out", _KEPT_OUT)])
        elif verdict == "uncertain":
            self._telling.put_off([request], _UNCERTAIN)
        elif verdict == "absent":
            self._absent(request)
        return verdict == "ready"

    def _absent(self, request: Request) -> None:
        """What becomes of a request whose person is no record, as the request that was to make it one has gone."""
        needed = None if request.needs is None else self._store.request(request.needs)
        if needed is None or needed.outcome == "created":  # that record is gone by now
            self._store.ask_for_record(request, self._warehouse.now())
            self._telling.put_off([request], _FIRST)
        elif needed.state != "ended":
            self._telling.put_off([request], f"{_FIRST} {needed.message or ''}".rstrip())
        elif needed.outcome != "already_in_sync":
            self._telling.end([End(request, needed.outcome or "refused", needed.message, needed.field)])
        elif self._telling.is_in_cycle:
            self._telling.end([End(request, "not_linked", _NOT_LINKED)])
        else:  # the person bears the key of a record, and the next cycle links it
            self._telling.put_off([request], _NEXT_CYCLE)

    def _sending(self, table: EntitySet, requests: Mapping[str, Request], outcome: str, *, makes: bool) -> Sending:
        results = _Answers(requests, outcome, self._telling)
        return Sending(self._dynamics, table, [Column("createdon", FieldType.DATETIME)], results, makes=makes)


class _Answers:
    """What becomes of what was sent, as `sending.Results`; `requests`: by the id that was written to.

    What Dynamics shows of a record is not taken in here: a cycle may be settling what it planned, and the next one reads it.
    """

    def __init__(self, requests: Mapping[str, Request], outcome: str, telling: Telling) -> None:
        self._requests = requests
        self._outcome = outcome
        self._telling = telling

    def note_sent(self, record_ids: Sequence[str]) -> None:
        """Nothing is to be remembered: neither does harm when it is sent again."""

    def written(self, rows: Mapping[str, Row], *, is_new: bool) -> None:
        """It is done."""
        self._telling.end([End(self._requests[each], self._outcome) for each in rows])

    def refuse(self, record_id: str, error: ApiError) -> None:
        """End it; but where the record is gone, the next cycle sees that, and its person may become another."""
        if isinstance(error, RecordMissing):
            self.put_off([record_id], str(error))
        else:
            self._telling.end([End(self._requests[record_id], "refused", str(error), error.field)])

    def put_off(self, record_ids: Sequence[str], message: str) -> None:
        """Try again later."""
        self._telling.put_off([self._requests[each] for each in record_ids], message)


def _bound(navigation: str, address: str) -> dict[str, str]:
    return {f"{navigation}@odata.bind": f"/{address}"}


def _body(task: Task, asked_at: datetime, record: _Record, owner_id: str | None) -> str:
    """A new task as JSON. Who is named owns it, else who owns the record.

    Source: docs/protocols/dataverse.md#tasks.
    """
    due_at = asked_at + timedelta(days=task.due_in_days)
    owner = record.owner if owner_id is None else f"systemusers({owner_id})"
    about = f"{TABLES[record.record_type].entity_set}({record.dynamics_id})" if record.record_type else ""
    return json.dumps(
        {
            "subject": task.subject,
            "description": task.description,
            "scheduledend": f"{due_at:%Y-%m-%dT%H:%M:%SZ}",
            "prioritycode": _PRIORITIES[task.priority],
            **_bound(f"regardingobjectid_{record.record_type}_task", about),
            **(_bound("ownerid", owner) if owner else {}),
        }
    )


_FIRST = "The person becomes a record first."
_KEPT_OUT = "The record is kept out by its filter, and nothing goes to it (R90)."
_UNCERTAIN = "The next cycle finds out first what became of an earlier write to the record."
_NEXT_CYCLE = "The person holds the id of a record, and the next cycle links it."
_NOT_LINKED = "The person holds the id of a record that it is not linked to; see sync_errors."
