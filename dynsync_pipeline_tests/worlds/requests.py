"""A world in memory in which somebody asks for people to become records. Not here: what becomes of it (the tests do)."""

from __future__ import annotations

from dynsync_pipeline.model.records import RecordType
from dynsync_pipeline.requests.store import Request, RequestStore, Wish
from dynsync_pipeline_tests.worlds.memory import MemoryWorld


class RequestWorld(MemoryWorld):
    """A world with a door open."""

    def ask(self, person_id: int, record_type: RecordType = RecordType.LEAD, owner: str | None = None) -> str:
        """Somebody asks for a person; returns the request's id."""
        with RequestStore(self.settings.requests_file) as store:
            (request_id,) = store.ask([Wish(person_id, record_type, "push", owner)], self.now().replace(tzinfo=None))
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

    def log_of(self, person_id: int) -> list[tuple[str, str | None]]:
        """What the log of a person says of requests: code and field."""
        rows = self.rows(
            "select reason_code, field from ledger.activities where person_id = ? "
            "and activity_type = 'Sync Person to Microsoft' order by activity_id",
            person_id,
        )
        return [(row[0], row[1]) for row in rows]
