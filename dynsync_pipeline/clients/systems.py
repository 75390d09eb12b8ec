"""The two systems of one cycle: what the steps ask of each, and the clients that do it for the systems in the settings.

Not here: the requests themselves (`dynamics/client.py`, `marketo/client.py`), where calls are kept (`warehouse/cycles.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol, Self

from dynsync_pipeline.clients.budget import CallBudget
from dynsync_pipeline.clients.dynamics.client import DynamicsClient
from dynsync_pipeline.clients.dynamics.protocol import (
    ChangesPage,
    Column,
    LookedUp,
    Owner,
    RecordWrite,
    TableMetadata,
    WriteResult,
)
from dynsync_pipeline.clients.marketo.client import MarketoClient
from dynsync_pipeline.clients.marketo.export_lines import BadLine
from dynsync_pipeline.clients.marketo.protocol import (
    Activity,
    ActivityType,
    CompanyResult,
    DeletedPerson,
    ExportStatus,
    FeedPage,
    FeedStart,
    FieldChange,
    MarketoField,
    PersonResult,
)
from dynsync_pipeline.model.records import EntitySet, RecordType, Table
from dynsync_pipeline.settings import Settings

if TYPE_CHECKING:
    import pyarrow as pa

System = Literal["dynamics", "marketo"]
SYSTEMS: tuple[System, ...] = ("dynamics", "marketo")


class Dynamics(Protocol):
    """What the steps of a cycle ask of Dynamics; `DynamicsClient` says what each method gives and raises."""

    @property
    def advised_at_once(self) -> int | None:
        """How many requests at a time it advises."""

    def now(self) -> datetime:
        """Its own clock."""

    def who_am_i(self) -> str:
        """The id of the sync's user."""

    def table_metadata(self, table: Table) -> TableMetadata:
        """What Dynamics says of a table and its columns."""

    def time_zone(self) -> str | None:
        """The time zone of the sync's user, by its IANA name."""

    def changes(self, table: Table, columns: Sequence[Column], cursor: str | None) -> Iterator[ChangesPage]:
        """All rows, or what changed since the cursor."""

    def records(self, table: EntitySet, columns: Sequence[Column], ids: Sequence[str]) -> pa.Table:
        """These records as they are now."""

    def created_between(
        self, table: Table, columns: Sequence[Column], start: str | None, end: str | None
    ) -> Iterator[pa.Table]:
        """The records created from `start` until before `end`, page by page; None: no bound."""

    def look_up(self, table: EntitySet, columns: Sequence[Column], ids: Sequence[str]) -> LookedUp:
        """These records as they are now, or the proof that they do not exist."""

    def record_counts(self, tables: Sequence[Table]) -> dict[RecordType, int]:
        """About how many rows these tables have."""

    def owners(self, since: str | None) -> list[Owner]:
        """All users and teams, or those that changed since."""

    def users(self, name: str) -> list[str]:
        """The ids of the enabled users with this name or e-mail address."""

    def write(self, table: EntitySet, columns: Sequence[Column], writes: Sequence[RecordWrite]) -> list[WriteResult]:
        """Send updates; one result each, in order."""


class Marketo(Protocol):
    """What the steps of a cycle ask of Marketo; `MarketoClient` says what each method gives and raises."""

    def now(self) -> datetime:
        """Its own clock."""

    def person_fields(self) -> Mapping[str, MarketoField]:
        """The fields of people by REST name."""

    def people(self, filter_type: str, values: Sequence[str], fields: Sequence[str]) -> pa.Table:
        """People who bear one of these values."""

    def companies(self, values: Sequence[str], fields: Sequence[str]) -> pa.Table:
        """Companies with these keys."""

    def sync_people(self, action: str, lookup_field: str, records: Sequence[str]) -> list[PersonResult]:
        """Write people; one result each, in order."""

    def sync_companies(self, records: Sequence[str]) -> list[CompanyResult]:
        """Write companies by key; one result each, in order."""

    def merge_people(self, winner_id: int, loser_id: int) -> None:
        """Merge a person into another."""

    def start_of_feed(self, since: datetime) -> FeedStart:
        """The token of what happened after `since`, and Marketo's clock."""

    def changes(self, token: str, fields: Sequence[str]) -> Iterator[FeedPage[FieldChange]]:
        """Changed fields and new people, page by page."""

    def activities(
        self, token: str, type_ids: Sequence[int], people: Sequence[int] = ()
    ) -> Iterator[FeedPage[Activity]]:
        """Entries of the activity log of these types, page by page."""

    def add_activities(self, records: Sequence[str]) -> list[PersonResult]:
        """Log activities of custom types; one result each, in order."""

    def custom_types(self) -> list[ActivityType]:
        """The custom activity types."""

    def deleted_people(self, token: str) -> Iterator[FeedPage[DeletedPerson]]:
        """Deleted people, page by page."""

    def list_members(self, list_id: int) -> list[int]:
        """The ids of the people on a static list."""

    def create_export(self, fields: Sequence[str], start: datetime, end: datetime) -> str:
        """Create a bulk export of the people created in a window; returns its id."""

    def enqueue_export(self, export_id: str) -> bool:
        """Start a bulk export; False if the queue is full."""

    def export_statuses(self) -> Mapping[str, ExportStatus]:
        """The bulk exports of the last days, by id."""

    def download_export(self, export_id: str, to: Path, told: ExportStatus) -> list[BadLine]:
        """Save the file of a completed bulk export; the lines that cannot be read."""


class Systems(Protocol):
    """Both systems, as one cycle meets them."""

    @property
    def dynamics(self) -> Dynamics:
        """Dynamics."""

    @property
    def marketo(self) -> Marketo:
        """Marketo."""

    def n_calls(self, system: System) -> int:
        """Calls that this cycle sent to `system` so far."""


class RemoteSystems:
    """The systems that the settings name, each connected when it is first asked for; use it in `with`.

    `used` holds the calls of the last 24 hours before this cycle: what is left of the day's budget follows from them.
    Raises: SettingsWrong where the first use of a system finds its settings wanting.
    """

    def __init__(self, settings: Settings, used: Mapping[System, int]) -> None:
        self._settings = settings
        self._used = dict(used)
        self._open = ExitStack()
        self._budgets: dict[System, CallBudget] = {
            "dynamics": CallBudget("dynamics", settings.dynamics_calls_per_day, used=used["dynamics"]),
            "marketo": CallBudget(
                "marketo",
                settings.marketo_calls_per_day,
                used=used["marketo"],
                calls_per_window=settings.marketo_calls_per_20_s,
            ),
        }

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    @cached_property
    def dynamics(self) -> DynamicsClient:
        """The Dynamics client of this cycle."""
        return self._open.enter_context(DynamicsClient.from_settings(self._settings, self._budgets["dynamics"]))

    @cached_property
    def marketo(self) -> MarketoClient:
        """The Marketo client of this cycle."""
        return self._open.enter_context(MarketoClient.from_settings(self._settings, self._budgets["marketo"]))

    def n_calls(self, system: System) -> int:
        """Calls that this cycle sent to `system` so far."""
        return self._budgets[system].used - self._used[system]
