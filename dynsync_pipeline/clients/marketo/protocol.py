"""The words of the Marketo client: what its methods take and give.

Not here: reading answers (`answers.py`), error codes (`refusals.py`), sending anything (`client.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, Literal, NamedTuple, TypeVar

from dynsync_pipeline.errors import ApiError

SYSTEM = "marketo"
Item = TypeVar("Item")


@dataclass(frozen=True)
class MarketoField:
    """A field of people or companies; `field_id` is the number activities use (0 where Marketo gives none)."""

    name: str
    field_id: int
    display_name: str
    data_type: str
    length: int | None
    is_read_only: bool


class FeedStart(NamedTuple):
    """Where a feed begins, and Marketo's own clock (UTC) when it said so."""

    token: str
    server_time: datetime


@dataclass(frozen=True)
class FeedPage(Generic[Item]):
    """One page of a feed; `token` resumes after it, also in a later cycle.

    `unread_ids` are the people of entries that cannot be read, None where nobody is told: they are to be read themselves.
    `content` is their JSON.
    """

    items: list[Item]
    token: str
    is_last: bool
    unread_ids: tuple[int | None, ...] = ()
    content: bytes = b""


class FieldChange(NamedTuple):
    """One changed field of one person; a new person gives one item with `field` None.

    `source`: where the change came from, such as a form or an API, where Marketo tells it.
    """

    guid: str
    person_id: int
    at: datetime
    field: str | None
    old_value: str | None
    new_value: str | None
    source: str | None = None


class Activity(NamedTuple):
    """One entry of a person's activity log; attributes by name, as text. `primary_id`: the id of what it is about, a list say."""

    guid: str
    person_id: int
    at: datetime
    type_id: int
    primary_value: str | None
    attributes: Mapping[str, str | None]
    primary_id: int | None = None


class ActivityType(NamedTuple):
    """A custom activity type; `attributes` are the API names of those that are in force, beside the primary one."""

    type_id: int
    api_name: str
    is_approved: bool
    attributes: frozenset[str]


class DeletedPerson(NamedTuple):
    """A person that was deleted."""

    guid: str
    person_id: int
    at: datetime


@dataclass(frozen=True)
class ExportStatus:
    """A bulk export job; `checksum` is `sha256:<hex>` of the file, the last three are None until it is completed."""

    status: str
    n_records: int | None
    size_bytes: int | None
    checksum: str | None


class PersonResult(NamedTuple):
    """What became of one record of a call that writes; `id` is None where Marketo skipped it."""

    id: int | None
    status: Literal["created", "updated", "added", "skipped"]
    error: ApiError | None


CompanyResult = PersonResult
