"""Sync Leads and Delete Leads: actions, lookups, per-record answers.

What a write does to a person and to the log is in `people_writes.py`.
Source: docs/protocols/marketo.md#writing-people, #deleting-and-merging, #checklist 10, 11.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from time import sleep
from typing import Any

from dynsync_pipeline.emulators.marketo.fields import Field
from dynsync_pipeline.emulators.marketo.people_writes import DEFAULT_PARTITION, PeopleWrites, RecordRefused
from dynsync_pipeline.emulators.marketo.protocol import BATCH_LIMIT, Call, Refused, json_number, skipped, string_option
from dynsync_pipeline.emulators.marketo.store import Store
from dynsync_pipeline.emulators.marketo.values import BadValue, Stored, stored_value

ACTIONS = ("createOnly", "updateOnly", "createOrUpdate", "createDuplicate")


def sync_leads(call: Call) -> dict[str, Any]:
    """Create and update up to 300 people, each with its own answer, in the order of the input."""
    body = call.json()
    records = call.records(body)
    action, lookup = _way(call.store, body)
    partition = string_option(body, "partitionName")
    matches = Matches(call.store, lookup, records)
    if call.store.behaviour.race_window_s:
        sleep(call.store.behaviour.race_window_s)  # overlapping upserts of one key may both create
    with call.store.transaction():
        writes = PeopleWrites(call.store, reason="REST API: Sync Leads", source=f"Web service API: {call.api_user}")
        writes.load(matches.ids)
        results = []
        for record in records:
            try:
                partition_id = _partition(call.store, partition, action)
                results.append(sync_one(writes, record, action, lookup, matches, partition_id))
            except RecordRefused as error:
                results.append(skipped(error.code, error.message))
        writes.flush()
    return {"result": results}


def _way(store: Store, body: dict[str, Any]) -> tuple[str, Field]:
    """The action, and the field by which people are looked up. Raises: Refused 1003."""
    action = string_option(body, "action", "createOrUpdate") or ""
    if action not in ACTIONS:
        raise Refused("1003", f"Invalid value for 'action'. Use one of {', '.join(ACTIONS)}")
    lookup = lookup_field(store, string_option(body, "lookupField", "email") or "email")
    if lookup.name == "id" and action != "updateOnly":
        raise Refused("1003", "Lookup field 'id' is only supported with action 'updateOnly'")
    return action, lookup


def delete_leads(call: Call) -> dict[str, Any]:
    """Delete people by id, given as `input` or as the parameter `id`."""
    ids: list[object] = [*call.integers("id")]
    if not ids:
        ids = [record.get("id") for record in call.records(call.json())]
    if len(ids) > BATCH_LIMIT:
        raise Refused("1003", f"The number of records exceeds the maximum of {BATCH_LIMIT}")
    numbers = [json_number(value) for value in ids]
    results = []
    with call.store.transaction():
        writes = PeopleWrites(call.store, reason="", source=f"Web service API: {call.api_user}")
        writes.load(number for number in numbers if number is not None)
        for number in numbers:
            if number is None:
                results.append(skipped("1003", "Invalid value for field 'id'"))
            elif writes.person(number) is None:
                results.append(skipped("1004", f"Lead '{number}' not found"))
            else:
                writes.delete(number, is_logged=call.store.behaviour.deletion_trail)
                results.append({"id": number, "status": "deleted"})
        writes.flush()
    return {"result": results}


class Matches:
    """Which people have which value in the lookup field, as found when the call arrived and as the call adds to it."""

    def __init__(self, store: Store, lookup: Field, records: Iterable[Mapping[str, object]]) -> None:
        self._lookup = lookup
        self._ids: dict[Stored, list[int]] = {}
        wanted = {self._key(value) for record in records if (value := self._stored(record)) is not None}
        marks = ", ".join("?" * len(wanted))
        with store.lock:
            rows = store.db.execute(
                f"select p.id, {lookup.sql} from people p where {lookup.sql} in ({marks}) order by p.id", tuple(wanted)
            ).fetchall()
        for person_id, value in rows:
            self.add(value, person_id)

    @property
    def ids(self) -> set[int]:
        """Everybody found."""
        return {person_id for ids in self._ids.values() for person_id in ids}

    def of(self, record: Mapping[str, object]) -> tuple[Stored, list[int]]:
        """The record's lookup value and who has it. Raises: RecordRefused 1003 when it has none that can be used."""
        value = self._stored(record)
        if value is None:
            raise RecordRefused("1003", f"Invalid value for field '{self._lookup.name}'")
        return value, self._ids.get(self._key(value), [])

    def add(self, value: Stored, person_id: int) -> None:
        """A person with this value exists."""
        self._ids.setdefault(self._key(value), []).append(person_id)

    def _stored(self, record: Mapping[str, object]) -> Stored:
        try:
            return stored_value(self._lookup, record.get(self._lookup.name))
        except BadValue:
            return None

    @staticmethod
    def _key(value: Stored) -> Stored:
        return value.lower() if isinstance(value, str) else value


def sync_one(
    writes: PeopleWrites,
    record: Mapping[str, object],
    action: str,
    lookup: Field,
    matches: Matches,
    partition_id: int = DEFAULT_PARTITION,
) -> dict[str, Any]:
    """Write one record and answer for it. Raises: RecordRefused."""
    given = {name: value for name, value in record.items() if not (name == "id" and lookup.name == "id")}
    values = writes.accepted(given)
    if action == "createDuplicate":
        return {"id": writes.create(values, partition_id), "status": "created"}
    key, ids = matches.of(record)
    ids = [person_id for person_id in ids if writes.person(person_id) is not None]
    if ids and action == "createOnly":
        raise RecordRefused("1005", "Lead already exists")
    if len(ids) > 1:
        raise RecordRefused("1007", "Multiple lead match lookup criteria")
    if ids:
        writes.update(ids[0], values)
        return {"id": ids[0], "status": "updated"}
    if action == "updateOnly":
        raise RecordRefused("1004", "Lead not found")
    person_id = writes.create(values, partition_id)
    matches.add(key, person_id)
    writes.load([person_id])
    return {"id": person_id, "status": "created"}


def lookup_field(store: Store, name: str) -> Field:
    """The field people are looked up by. Raises: Refused 1011."""
    field = store.fields.get(name)
    if field is None or name == "leadPartitionId" or name not in store.fields.filter_types:
        raise Refused("1011", f"Lookup field '{name}' not supported")
    return field


def _partition(store: Store, name: str | None, action: str) -> int:
    if name is None:
        return DEFAULT_PARTITION
    if action not in ("createOnly", "createOrUpdate"):
        raise RecordRefused("1010", "Partition update not allowed")
    row = store.db.execute("select id from partitions where name = ?", (name,)).fetchone()
    if row is None:
        raise RecordRefused("1008", f"Access to partition '{name}' denied")
    return int(row[0])
