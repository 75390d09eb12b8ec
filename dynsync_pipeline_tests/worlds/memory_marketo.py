"""Marketo in memory, as its client shows it to a cycle. Not here: Marketo over HTTP (`dynsync_pipeline/emulators`)."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa

from dynsync_pipeline.clients.marketo.export_lines import BadLine
from dynsync_pipeline.clients.marketo.exports import Piece, save_export
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
from dynsync_pipeline.errors import ApiError, ColumnUnknown, RecordMissing, RequestRefused
from dynsync_pipeline.extract.marketo import MERGE_LEADS
from dynsync_pipeline.model.field_map import FieldMap, FieldType
from dynsync_pipeline.model.own_fields import COMPANY_KEY, OwnFields
from dynsync_pipeline.model.refusal_entry import ENTRY, ENTRY_NAME, MESSAGE
from dynsync_pipeline.requests.lists import ADD_TO_LIST
from dynsync_pipeline.warehouse.partitions import PARTITION
from dynsync_pipeline_tests.worlds.cuts import Steps
from dynsync_pipeline_tests.worlds.rows import (
    Keeps,
    Refuses,
    Row,
    Values,
    as_is,
    refuse_nothing,
    sent_values,
    shown,
    table_of,
)

KEYS = OwnFields("dynamicsLeadId", "dynamicsContactId", "dynamicsType", "dynamicsIsDeleted", "dynamicsCreatedOn")
OWN = (KEYS.lead_id, KEYS.contact_id, KEYS.person_type, KEYS.is_deleted, KEYS.created_on, COMPANY_KEY)


FIRST_CUSTOM_TYPE = 100_000


@dataclass
class MemoryMarketo:
    """People and companies: labels for choices, false for a boolean nobody set. `now` is Marketo's clock; `keeps` spoils
    what is written to people, `refuses` refuses it, `fails` fails every write.
    """

    fields: FieldMap
    steps: Steps
    now: Callable[[], datetime]
    rows: dict[int, Row] = field(default_factory=dict)
    company_rows: dict[str, Values] = field(default_factory=dict)
    version: int = 0
    data_types: dict[str, str] = field(default_factory=dict)  # of fields that are no strings
    lengths: dict[str, int] = field(default_factory=dict)
    read_only: set[str] = field(default_factory=set)
    keeps: Keeps = as_is
    refuses: Refuses = refuse_nothing
    fails: ApiError | None = None
    is_backwards: bool = False  # rows of an answer in the other order
    writes: list[tuple[int, Values]] = field(default_factory=list)
    feed: list[FieldChange] = field(default_factory=list)
    deletions: list[DeletedPerson] = field(default_factory=list)
    log: list[Activity] = field(default_factory=list)  # merges, and entries into lists
    activity_types: list[ActivityType] = field(default_factory=list)
    log_fails: tuple[ApiError, bool] | None = None
    log_delay: timedelta = timedelta()
    lists: dict[int, list[int]] = field(default_factory=dict)  # who is on a static list
    unreadable: dict[int, str] = field(default_factory=dict)  # people, and the field that cannot be read over REST
    lost_partitions: set[str] = field(default_factory=set)  # whose people the sync's user may not see any more
    refused: dict[str, str] = field(default_factory=dict)  # fields that describe lists, and the road that refuses them
    spoils: Callable[[bytes], bytes] = bytes  # what becomes of the file of an export on its way
    exports: dict[str, list[str]] = field(default_factory=dict)
    source: str | None = None  # of what happens now, as the feed tells it

    # -- what people do --------------------------------------------------------------------------------------------

    def put(self, person_id: int, **values: str | None) -> None:
        """Somebody creates or edits a person; the feed tells each field that changed, in one entry."""
        self.version += 1
        row = self.rows.setdefault(person_id, Row({}, 0))
        if row.version == 0:  # a new person is told in one line, without its values
            self._tell(person_id, None, None, None)
        else:
            for name, value in values.items():
                if row.values.get(name) != value:
                    self._tell(person_id, name, row.values.get(name), value)
        row.values.update(values)
        if values.get(COMPANY_KEY):  # whoever joins a company leaves the one that was theirs alone
            row.values = {name: value for name, value in row.values.items() if name not in self.fields.company_fields}
        row.version = self.version

    @contextmanager
    def told_by(self, source: str) -> Iterator[None]:
        """What is edited inside comes from there."""
        before, self.source = self.source, source
        try:
            yield
        finally:
            self.source = before

    def put_company(self, key: str, **values: str | None) -> None:
        """Somebody creates or edits a company; no feed tells of it."""
        self.company_rows.setdefault(key, {COMPANY_KEY: key}).update(values)

    def delete(self, person_id: int) -> None:
        """Somebody deletes a person."""
        self.version += 1
        self.rows[person_id] = Row(self.rows[person_id].values, self.version, is_deleted=True)
        self.deletions.append(DeletedPerson(f"d{len(self.deletions)}", person_id, self.now()))

    def merge(self, winner: int, loser: int) -> None:
        """Somebody merges `loser` into `winner`, who keeps its values and takes what it lacks; keys are never taken."""
        held = self.rows[winner].values
        self.version += 1
        self.rows[loser] = Row(self.rows[loser].values, self.version, is_deleted=True)
        self.put(winner, **{n: v for n, v in self.rows[loser].values.items() if held.get(n) is None and n not in OWN})
        attributes = {"Merge IDs": str(loser)}
        self.log.append(Activity(f"m{len(self.log)}", winner, self.now(), MERGE_LEADS, str(loser), attributes))

    def add_to_list(self, list_id: int, person_id: int) -> None:
        """Somebody, or a smart campaign, adds a person to a static list; the log tells where they were not on it."""
        members = self.lists.setdefault(list_id, [])
        if person_id not in members:
            members.append(person_id)
            self.log.append(Activity(f"l{len(self.log)}", person_id, self.now(), ADD_TO_LIST, "a list", {}, list_id))

    def is_there(self, person_id: int) -> bool:
        """Whether there is such a person."""
        row = self.rows.get(person_id)
        return row is not None and not row.is_deleted

    def bearers(self, name: str, value: str) -> list[int]:
        """The people who bear this value, and whom the sync's user may see."""
        if name == "id":
            return [int(value)] if self._is_shown(int(value)) else []
        return [i for i, row in self.rows.items() if row.values.get(name) == value and self._is_shown(i)]

    def _is_shown(self, person_id: int) -> bool:
        return self.is_there(person_id) and self.rows[person_id].values.get(PARTITION) not in self.lost_partitions

    def _tell(self, person_id: int, name: str | None, old: str | None, new: str | None) -> None:
        self.feed.append(FieldChange(f"c{self.version}", person_id, self.now(), name, old, new, self.source))

    # -- what a cycle asks, as `MarketoClient` -----------------------------------------------------------------------

    def person_fields(self) -> Mapping[str, MarketoField]:
        """As `MarketoClient.person_fields`."""
        names = dict.fromkeys((*OWN, PARTITION, *self.fields.person_fields, *self.fields.company_fields))
        kinds = KEYS.types | self.data_types
        return {
            n: MarketoField(n, 0, n, kinds.get(n, "string"), self.lengths.get(n), is_read_only=n in self.read_only)
            for n in names
        }

    def people(self, filter_type: str, values: Sequence[str], fields: Sequence[str]) -> pa.Table:
        """As `MarketoClient.people`."""
        self._refuse("people", fields)
        if filter_type == "id":
            found = [i for value in values if self._is_shown(i := int(value))]
        else:
            wanted = set(values)
            found = [i for i, row in self.rows.items() if row.values.get(filter_type) in wanted and self._is_shown(i)]
        rows = [shown(self._row(i, fields), self.unreadable.get(i)) for i in found]
        return table_of(["id", *fields], rows[::-1] if self.is_backwards else rows)

    def companies(self, values: Sequence[str], fields: Sequence[str]) -> pa.Table:
        """As `MarketoClient.companies`."""
        found = [self.company_rows[key] for key in values if key in self.company_rows]
        return table_of(fields, [{name: self._shown(name, row.get(name)) for name in fields} for row in found])

    def sync_people(self, action: str, lookup_field: str, records: Sequence[str]) -> list[PersonResult]:
        """As `MarketoClient.sync_people`."""
        if self.fails is not None:
            raise self.fails
        results = []
        for body in records:
            self.steps.step()
            results.append(self._sync(action, lookup_field, json.loads(body, parse_int=str, parse_float=str)))
        self.steps.step()
        return results

    def sync_companies(self, records: Sequence[str]) -> list[CompanyResult]:
        """As `MarketoClient.sync_companies`."""
        results = []
        for body in records:
            self.steps.step()
            values = sent_values(json.loads(body, parse_int=str, parse_float=str))
            key = values.pop(COMPANY_KEY) or ""
            if refusal := self.refuses(key, values):
                results.append(CompanyResult(None, "skipped", refusal))
                continue
            is_known = key in self.company_rows
            self.put_company(key, **values)
            company_id = list(self.company_rows).index(key) + 1
            results.append(CompanyResult(company_id, "updated" if is_known else "created", None))
        self.steps.step()
        return results

    def merge_people(self, winner_id: int, loser_id: int) -> None:
        """As `MarketoClient.merge_people`."""
        self.steps.step()
        if not (self.is_there(winner_id) and self.is_there(loser_id)):
            raise RecordMissing("gone", system="marketo", request="POST", code="1004")
        self.merge(winner_id, loser_id)
        if self.fails is not None:  # once it was done
            raise self.fails
        self.steps.step()

    def start_of_feed(self, since: datetime) -> FeedStart:
        """As `MarketoClient.start_of_feed`; the token is a time."""
        return FeedStart(since.isoformat(), self.now())

    def changes(self, token: str, fields: Sequence[str]) -> Iterator[FeedPage[FieldChange]]:
        """As `MarketoClient.changes`, in one page."""
        self._refuse("feed", fields)
        since, names = datetime.fromisoformat(token), {None, *fields}
        yield FeedPage([c for c in self.feed if c.at >= since and c.field in names], token, is_last=True)

    def activities(
        self, token: str, type_ids: Sequence[int], people: Sequence[int] = ()
    ) -> Iterator[FeedPage[Activity]]:
        """As `MarketoClient.activities`, in one page; custom ones are shown `log_delay` later."""
        since = datetime.fromisoformat(token)
        found = [
            entry
            for entry in self.log
            if entry.at >= since
            and entry.type_id in type_ids
            and (not people or entry.person_id in people)
            and (entry.type_id < FIRST_CUSTOM_TYPE or entry.at <= self.now() - self.log_delay)
        ]
        yield FeedPage(found, token, is_last=True)

    def custom_types(self) -> list[ActivityType]:
        """As `MarketoClient.custom_types`."""
        return list(self.activity_types)

    def add_activities(self, records: Sequence[str]) -> list[PersonResult]:
        """As `MarketoClient.add_activities`; `log_fails` says what goes wrong, and whether after all was written."""
        self.steps.step()
        error, is_written = self.log_fails or (None, True)
        if is_written:
            results = [self._log_custom(json.loads(record)) for record in records]
        if error:
            raise error
        self.steps.step()
        return results

    def _log_custom(self, record: dict[str, Any]) -> PersonResult:
        person_id = record["leadId"]
        if not self.is_there(person_id):
            return PersonResult(None, "skipped", RecordMissing("gone", system="marketo", request="POST", code="1004"))
        named = {each["apiName"]: each["value"] for each in record["attributes"]}
        shown = {ENTRY_NAME: named[ENTRY], "Message": named[MESSAGE]}
        number = len(self.log)
        self.log.append(
            Activity(
                f"x{number}", person_id, self.now(), record["activityTypeId"], record["primaryAttributeValue"], shown
            )
        )
        return PersonResult(number, "added", None)

    def deleted_people(self, token: str) -> Iterator[FeedPage[DeletedPerson]]:
        """As `MarketoClient.deleted_people`, in one page."""
        since = datetime.fromisoformat(token)
        yield FeedPage([d for d in self.deletions if d.at >= since], token, is_last=True)

    def list_members(self, list_id: int) -> list[int]:
        """As `MarketoClient.list_members`."""
        return [person_id for person_id in self.lists.get(list_id, []) if self.is_there(person_id)]

    def create_export(self, fields: Sequence[str], start: datetime, end: datetime) -> str:
        """As `MarketoClient.create_export`; all people were created just now."""
        self._refuse("export", fields)
        self.exports[export_id := f"e{len(self.exports)}"] = list(fields)
        return export_id

    def enqueue_export(self, export_id: str) -> bool:
        """As `MarketoClient.enqueue_export`."""
        return True

    def export_statuses(self) -> Mapping[str, ExportStatus]:
        """As `MarketoClient.export_statuses`; every export is completed at once."""
        return {export_id: ExportStatus("Completed", None, None, "") for export_id in self.exports}

    def download_export(self, export_id: str, to: Path, told: ExportStatus) -> list[BadLine]:
        """As `MarketoClient.download_export`."""
        names = self.exports[export_id]
        text = io.StringIO(newline="")
        lines = csv.writer(text)  # which quotes a value that holds a line end of either kind
        lines.writerow(names)
        for person_id, row in self.rows.items():
            if not row.is_deleted:
                values = self._row(person_id, names)
                lines.writerow(["null" if values[name] is None else values[name] for name in names])
        file = self.spoils(text.getvalue().encode())
        return save_export(lambda start: Piece(0, file, is_last=True), to, told, "GET file")

    def _sync(self, action: str, lookup_field: str, body: dict[str, Any]) -> PersonResult:
        values = sent_values(body)
        key = str(values.pop("id") if lookup_field == "id" else values[lookup_field])
        bearers = self.bearers(lookup_field, key)
        if action == "updateOnly" and not bearers:
            missing = RecordMissing("gone", system="marketo", request="POST", code="1004")
            return PersonResult(None, "skipped", missing)
        if refusal := self.refuses(key, values) or self._refuse_company(values.get(COMPANY_KEY)):
            return PersonResult(None, "skipped", refusal)
        person_id = bearers[0] if bearers else self.next_id
        self.writes.append((person_id, values))
        self.put(person_id, **{name: self.keeps(name, value) for name, value in values.items()})
        return PersonResult(person_id, "updated" if bearers else "created", None)

    def _refuse_company(self, key: str | None) -> ApiError | None:
        """Nobody is put behind a company that there is not."""
        if key is None or key in self.company_rows:
            return None
        message = f"Invalid value for field '{COMPANY_KEY}'"
        return RequestRefused(message, system="marketo", request="POST", code="1003", field=COMPANY_KEY)

    @property
    def next_id(self) -> int:
        """The id that the next new person gets."""
        return max(self.rows, default=1000) + 1

    def _refuse(self, road: str, fields: Sequence[str]) -> None:
        if refused := [name for name in fields if self.refused.get(name) == road]:
            message = f"Field '{refused[0]}' is not a valid field"
            raise ColumnUnknown(message, system="marketo", request="GET", code="1003", field=refused[0])

    def _row(self, person_id: int, names: Sequence[str]) -> Values:
        values = self.rows[person_id].values
        if key := values.get(COMPANY_KEY):  # their values show on all its people
            values = values | {name: self.company_rows.get(key, {}).get(name) for name in self.fields.company_fields}
        return {"id": str(person_id)} | {n: self._shown(n, values.get(n)) for n in names if n != "id"}

    def _shown(self, name: str, value: str | None) -> str | None:
        kind = self.fields.person_fields.get(name) or self.fields.company_fields.get(name)
        return "false" if value is None and kind is FieldType.BOOLEAN else value
