"""In shadow no client writes: each of its methods is known to read or to write, and what writes is refused before it leaves.

Not here: whole cycles in shadow (`shadow/`).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from dynsync_pipeline.clients.budget import CallBudget
from dynsync_pipeline.clients.dynamics.client import DynamicsClient
from dynsync_pipeline.clients.dynamics.protocol import Column, RecordWrite
from dynsync_pipeline.clients.marketo.client import MarketoClient
from dynsync_pipeline.errors import InShadow
from dynsync_pipeline.model.field_map import FieldType
from dynsync_pipeline.model.records import TABLES, RecordType
from dynsync_pipeline.settings import Settings

CONTACTS = TABLES[RecordType.CONTACT]
TITLE = [Column("jobtitle", FieldType.TEXT)]
A_RECORD = "00000000-0000-0000-0000-000000000001"
NOW = datetime.now(UTC)
Call = Callable[[Any], object]

DYNAMICS_READS: dict[str, Call] = {
    "who_am_i": lambda c: c.who_am_i(),
    "table_metadata": lambda c: c.table_metadata(CONTACTS),
    "time_zone": lambda c: c.time_zone(),
    "depths": lambda c: c.depths("Write", [CONTACTS]),
    "users": lambda c: c.users("Nobody"),
    "record_counts": lambda c: c.record_counts([CONTACTS]),
    "owners": lambda c: c.owners(None),
    "changes": lambda c: list(c.changes(CONTACTS, TITLE, None)),
    "records": lambda c: c.records(CONTACTS, TITLE, [A_RECORD]),
    "created_between": lambda c: list(c.created_between(CONTACTS, TITLE, None, None)),
    "look_up": lambda c: c.look_up(CONTACTS, TITLE, [A_RECORD]),
}
DYNAMICS_WRITES: dict[str, Call] = {
    "write": lambda c: c.write(CONTACTS, TITLE, [RecordWrite(A_RECORD, '{"jobtitle": "x"}', None)]),
}
MARKETO_READS: dict[str, Call] = {
    "person_fields": lambda c: c.person_fields(),
    "company_fields": lambda c: c.company_fields(),
    "people": lambda c: c.people("email", [f"{n:0100}@example.com" for n in range(100)], ["email"]),  # a POST that asks
    "companies": lambda c: c.companies(["1"], ["company"]),
    "has_native_sync": lambda c: c.has_native_sync(),
    "start_of_feed": lambda c: c.start_of_feed(NOW),
    "changes": lambda c: list(c.changes(c.start_of_feed(NOW).token, ["email"])),
    "activities": lambda c: list(c.activities(c.start_of_feed(NOW).token, [13])),
    "custom_types": lambda c: c.custom_types(),
    "deleted_people": lambda c: list(c.deleted_people(c.start_of_feed(NOW).token)),
    "list_members": lambda c: c.list_members(1),
    "export_statuses": lambda c: c.export_statuses(),
    "usage_today": lambda c: c.usage_today(),
}
# Bulk exports are asked for by POST, and change nobody; tried in `test_a_bulk_export_goes_through_in_shadow`.
MARKETO_EXPORTS = {"create_export", "enqueue_export", "download_export"}
MARKETO_WRITES: dict[str, Call] = {
    "sync_people": lambda c: c.sync_people("updateOnly", "id", ['{"id": 1}']),
    "sync_companies": lambda c: c.sync_companies(['{"externalCompanyId": "1"}']),
    "merge_people": lambda c: c.merge_people(1, 2),
    "are_companies_writable": lambda c: c.are_companies_writable(),
    "add_activities": lambda c: c.add_activities(['{"leadId": 1}']),
    "create_fields": lambda c: c.create_fields([{"name": "x"}]),
    "create_activity_type": lambda c: c.create_activity_type({"apiName": "x"}, []),
}
SENDS_NOTHING = {"from_settings", "close", "now"}


@pytest.fixture(name="dynamics")
def _dynamics(emulator_settings: Callable[..., Settings]) -> Iterator[DynamicsClient]:
    settings = emulator_settings(mode="shadow")
    with DynamicsClient.from_settings(settings, CallBudget("dynamics", 10_000)) as client:
        yield client


@pytest.fixture(name="marketo")
def _marketo(emulator_settings: Callable[..., Settings]) -> Iterator[MarketoClient]:
    settings = emulator_settings(mode="shadow")
    with MarketoClient.from_settings(settings, CallBudget("marketo", 10_000)) as client:
        yield client


def methods(client: type) -> set[str]:
    return {name for name, _ in inspect.getmembers(client, inspect.isroutine) if not name.startswith("_")}


def test_every_method_of_both_clients_is_known_to_read_or_to_write() -> None:
    assert methods(DynamicsClient) == SENDS_NOTHING | DYNAMICS_READS.keys() | DYNAMICS_WRITES.keys()
    assert methods(MarketoClient) == SENDS_NOTHING | MARKETO_READS.keys() | MARKETO_EXPORTS | MARKETO_WRITES.keys()


@pytest.mark.parametrize("name", DYNAMICS_WRITES)
def test_a_write_to_dynamics_is_refused_in_shadow_and_named(dynamics: DynamicsClient, name: str) -> None:
    dynamics.who_am_i()
    with pytest.raises(InShadow, match=r"Dynamics: POST /api/data/v9.2/\$batch is not done in shadow"):
        DYNAMICS_WRITES[name](dynamics)
    assert dynamics._transport._budget is not None
    assert dynamics._transport._budget.used == 1, "what never left costs nothing"


@pytest.mark.parametrize("name", MARKETO_WRITES)
def test_a_write_to_marketo_is_refused_in_shadow_and_named(marketo: MarketoClient, name: str) -> None:
    with pytest.raises(InShadow, match=r"Marketo: POST /rest/v1/\S+ is not done in shadow.*DYNSYNC_MODE=live"):
        MARKETO_WRITES[name](marketo)


@pytest.mark.parametrize("name", DYNAMICS_READS)
def test_dynamics_is_read_in_shadow(dynamics: DynamicsClient, name: str) -> None:
    DYNAMICS_READS[name](dynamics)


@pytest.mark.parametrize("name", sorted(MARKETO_READS.keys() - {"list_members"}))
def test_marketo_is_read_in_shadow(marketo: MarketoClient, name: str) -> None:
    MARKETO_READS[name](marketo)


def test_a_bulk_export_goes_through_in_shadow(marketo: MarketoClient, tmp_path: Path) -> None:
    export_id = marketo.create_export(["email"], NOW - timedelta(days=1), NOW)
    assert marketo.enqueue_export(export_id)
    while (told := marketo.export_statuses()[export_id]).status != "Completed":
        pass
    assert marketo.download_export(export_id, tmp_path / "people.csv", told) == []
