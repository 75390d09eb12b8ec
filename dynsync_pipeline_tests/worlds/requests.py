"""A world in memory in which somebody asks for people to become records. Not here: what becomes of it (the tests do)."""

from __future__ import annotations

from typing import Any

from dynsync_pipeline.model.records import RecordType
from dynsync_pipeline.requests.store import Request, RequestStore, Task, Wish
from dynsync_pipeline_tests.worlds.memory import MemoryWorld


class RequestWorld(MemoryWorld):
    """A world with a door open."""

    def ask(self, person_id: int, record_type: RecordType = RecordType.LEAD, owner: str | None = None) -> str:
        """Somebody asks for a person; returns the request's id."""
        return self._ask(Wish(person_id, record_type, "push", owner))

    def assign(self, person_id: int, owner: str, record_type: RecordType = RecordType.LEAD) -> str:
        """Somebody asks that the record of a person get another owner; returns the request's id."""
        return self._ask(Wish(person_id, record_type, "webhook", owner, kind="owner"))

    def ask_for_task(self, person_id: int, subject: str = "Call", *, owner: str | None = None, **more: Any) -> str:
        """Somebody asks for a task; returns the request's id."""
        return self._ask(Wish(person_id, RecordType.LEAD, "webhook", owner, kind="task", task=Task(subject, **more)))

    def _ask(self, wish: Wish) -> str:
        with RequestStore(self.settings.requests_file) as store:
            (request_id,) = store.ask([wish], self.now().replace(tzinfo=None))
        return request_id

    def request(self, request_id: str) -> Request:
        """A request as it stands."""
        with RequestStore(self.settings.requests_file) as store:
            return store.request(request_id)

    def person(self, **values: str | None) -> int:
        """Somebody is born in Marketo."""
        person_id = self.marketo.next_id
        self.marketo.put(person_id, **values)
        return person_id

    def log_of(self, person_id: int, activity_type: str = "Sync Person to Microsoft") -> list[tuple[str, str | None]]:
        """What the log of a person says of requests: code and field."""
        rows = self.rows(
            "select reason_code, field from ledger.activities where person_id = ? and activity_type = ? order by activity_id",
            person_id,
            activity_type,
        )
        return [(row[0], row[1]) for row in rows]
