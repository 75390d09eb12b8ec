"""The questions of the pre-flight, each with its answer (R124, R125). Not here: how they are shown (`check.py`)."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from dynsync_pipeline.clients.budget import CallBudget
from dynsync_pipeline.clients.dynamics.client import DynamicsClient
from dynsync_pipeline.clients.dynamics.privileges import Right, privilege
from dynsync_pipeline.clients.dynamics.protocol import Column, TableMetadata
from dynsync_pipeline.clients.marketo.client import MarketoClient
from dynsync_pipeline.clients.marketo.protocol import MarketoField
from dynsync_pipeline.clients.systems import System
from dynsync_pipeline.errors import DynSyncError
from dynsync_pipeline.extract.field_types import type_misfit
from dynsync_pipeline.extract.first_load import estimate
from dynsync_pipeline.look.reading import reading_snapshot
from dynsync_pipeline.look.status import Status, read_status
from dynsync_pipeline.model.field_map import CONSENT, Collision, Direction, Field, FieldMap, FieldType
from dynsync_pipeline.model.records import FILTER_COLUMN, PERSON_TYPES, TABLES, TASKS, EntitySet, RecordType
from dynsync_pipeline.model.records import Table as DynamicsTable
from dynsync_pipeline.requests.store import RequestStore
from dynsync_pipeline.settings import Settings

CLOCKS_APART_S = 60.0


@dataclass(frozen=True)
class Finding:
    """The answer to one question: `is_ok`, in words, and what to do where it is not."""

    question: str
    is_ok: bool
    answer: str
    next_step: str = ""


def findings(settings: Settings, fields: FieldMap) -> Iterator[Finding]:
    """Every question with its answer, in the order in which faults should be repaired."""
    yield _data_folder(settings)
    try:
        status = _status(settings)
    except DynSyncError as error:
        yield Finding("Snapshot of the last cycle", False, error.message, error.next_step)
        status = None
    if status is not None:
        yield from _last_cycle(status)
        new = {
            (row["record_type"], row["field"]) for row in status.parked_fields if row["reason_code"] == "new_in_package"
        }
        fields = fields.without(field for field in fields.fields if (field.record_type, field.marketo_field) in new)
    yield from _consent(fields)
    columns: dict[RecordType, TableMetadata] = {}
    with DynamicsClient.from_settings(settings, CallBudget("dynamics", settings.dynamics_calls_per_day)) as dynamics:
        signed_in = _asked("Dynamics: address and sign-in", lambda: f"signed in as user {dynamics.who_am_i()}")
        yield signed_in
        if signed_in.is_ok:
            for record_type in TABLES:
                yield from _dynamics_table(dynamics, record_type, fields, columns)
            if not settings.is_shadow:
                yield from _writable(dynamics, fields)
                yield from _creatable(dynamics, settings)
            yield from _days(dynamics, fields, columns)
            if status is None or status.last_success is None:
                yield _first_load(dynamics, settings)
    yield _budget(status, "dynamics", settings.dynamics_calls_per_day)
    with MarketoClient.from_settings(settings, CallBudget("marketo", settings.marketo_calls_per_day)) as marketo:
        yield from _marketo(marketo, settings, fields, columns)
    yield _budget(status, "marketo", settings.marketo_calls_per_day)


def _consent(fields: FieldMap) -> Iterator[Finding]:
    """Whether a value that forbids may lose; that is the original's rule, and nobody's fault."""
    both = [f for f in fields.fields if f.dynamics_column in CONSENT and f.direction is Direction.BOTH]
    loose = [f"{f.marketo_field} of {f.record_type}s" for f in both if f.collision is not Collision.RESTRICTIVE]
    if loose:
        told = f"{', '.join(loose)}: an older value may subscribe somebody again (R132);"
        yield Finding("Field map: consent", True, f"{told} restrictive:true in the column collision prevents that.")
    elif both:
        yield Finding("Field map: consent", True, "of two values the one that forbids wins")


def _first_load(dynamics: DynamicsClient, settings: Settings) -> Finding:
    """What lies before the first load (R4); nobody's fault where Dynamics does not tell."""
    question = "First load: what it costs"
    try:
        n_rows = dynamics.record_counts(list(TABLES.values()))
    except DynSyncError as error:
        return Finding(question, True, f"not known: {error.message}")
    return Finding(question, True, str(estimate(n_rows, settings, datetime.now(UTC).replace(tzinfo=None))))


def _status(settings: Settings) -> Status | None:
    """What the snapshot tells; None before the first cycle. Raises: DynSyncError."""
    if not settings.snapshot_file.exists():
        return None
    with reading_snapshot(settings.snapshot_file) as snapshot:
        return read_status(snapshot, datetime.now(UTC).replace(tzinfo=None))


def _budget(status: Status | None, system: System, per_day: int) -> Finding:
    """Whether the day has calls left (R125); what a cycle that runs just now sent is not known yet."""
    n_calls = status.calls[system] if status else 0
    is_ok = n_calls < per_day
    step = f"Cycles wait until some are a day old, or raise DYNSYNC_{system.upper()}_CALLS_PER_DAY."
    answer = f"{n_calls:,} of the {per_day:,} that DynSync may send"
    return Finding(f"{system.capitalize()}: calls in the last 24 hours", is_ok, answer, "" if is_ok else step)


def _last_cycle(status: Status) -> Iterator[Finding]:
    """How long each cursor still lives, and which fields are parked, also for what only the cycles meet, such as a missing
    right to write one.
    """
    question = "Change-tracking cursors alive"
    parked = [row for row in status.parked_fields if row["reason_code"] == "not_offered"]
    told = " ".join(f"{row['field']} of {row['record_type']}s: {row['reason']}" for row in parked)
    yield Finding(
        "Fields that the last cycle synced", not parked, told or "all that the map has on and everybody was read with"
    )
    if new := [
        f"{row['field']} of {row['record_type']}s"
        for row in status.parked_fields
        if row["reason_code"] == "new_in_package"
    ]:
        yield Finding("Lines that an upgrade brought", True, f"off: {', '.join(new)}; see docs/field-map.md")
    nearest = min(status.cursors, key=lambda cursor: cursor["days_left"], default=None)
    if nearest is not None:
        yield Finding(
            question,
            nearest["days_left"] > 1,
            f"{nearest['what']} first, in {nearest['days_left']} days",
            "" if nearest["days_left"] > 1 else "Start a cycle before; after that the whole table is read again.",
        )


def _asked(question: str, ask: Callable[[], str]) -> Finding:
    try:
        return Finding(question, True, ask())
    except DynSyncError as error:
        return Finding(question, False, error.message, error.next_step)


def _data_folder(settings: Settings) -> Finding:
    question = "Data folder writable"
    try:
        settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        is_writable = os.access(settings.data_dir, os.W_OK)
    except OSError:
        is_writable = False
    return Finding(
        question,
        is_writable,
        str(settings.data_dir),
        "" if is_writable else "Make it writable, or set DYNSYNC_DATA_DIR.",
    )


def _dynamics_table(
    dynamics: DynamicsClient, record_type: RecordType, fields: FieldMap, columns: dict[RecordType, TableMetadata]
) -> Iterator[Finding]:
    """What is asked of one table; its definition is put into `columns`."""
    table = TABLES[record_type]
    question = f"Dynamics: {table.entity_set}"
    try:
        metadata = columns[record_type] = dynamics.table_metadata(table)
        if not metadata.is_change_tracked:
            yield Finding(question, False, "change tracking is off.", "Switch on 'Track changes' in Power Apps.")
            return
        next(dynamics.changes(table, [Column("createdon", FieldType.DATETIME)], None, page_size=1), None)
    except DynSyncError as error:
        yield Finding(question, False, error.message, error.next_step)
        return
    yield Finding(question, True, "readable for the whole organization, change tracking on")
    yield _mapped_columns(table, fields.of(record_type), metadata)
    yield from _sync_filter(table, metadata)


def _sync_filter(table: DynamicsTable, metadata: TableMetadata) -> Iterator[Finding]:
    """Whether the column that keeps records out can be read, where there is one (R88)."""
    column = metadata.columns.get(FILTER_COLUMN)
    if column is None:
        return
    question = f"Dynamics: filter of {table.entity_set}"
    if column.attribute_type != "Boolean":
        yield Finding(question, True, f"none: {FILTER_COLUMN} has not two options, so it keeps nobody out")
    elif column.is_readable and not column.is_secured:
        yield Finding(question, True, f"{FILTER_COLUMN} is read; no keeps a record out")
    else:
        step = "Lift column security for it; until then every cycle stops (docs/filter.md#what-stops-a-cycle)."
        yield Finding(question, False, f"the user may not read {FILTER_COLUMN}.", step)


def _writable(dynamics: DynamicsClient, fields: FieldMap) -> Iterator[Finding]:
    """Whether the user may write every record of the tables that something goes to (R125)."""
    written = {field.record_type for field in fields.fields if field.direction is not Direction.TO_MARKETO}
    tables = [table for record_type, table in TABLES.items() if record_type in written]
    if not tables:
        return
    yield from _rights(dynamics, "Write", tables)


def _creatable(dynamics: DynamicsClient, settings: Settings) -> Iterator[Finding]:
    """Whether the user may do what is asked for people of Marketo, where a door to ask by is open (R71).

    Changing owners and making tasks (R78) are needed once somebody has asked for them.
    """
    is_there = settings.requests_file.exists()
    if not (settings.lists or settings.tokens or is_there):
        return
    asked: set[str] = set()
    if is_there:
        with RequestStore(settings.requests_file) as store:
            asked = store.kinds()
    people = [TABLES[record_type] for record_type in PERSON_TYPES]
    yield from _rights(dynamics, "Create", people)
    yield from _rights(dynamics, "Assign", people, is_needed="owner" in asked)
    yield from _rights(dynamics, "Create", [TASKS], is_needed="task" in asked)


def _rights(
    dynamics: DynamicsClient, right: Right, tables: Sequence[EntitySet], *, is_needed: bool = True
) -> Iterator[Finding]:
    verb, adjective = {
        "Write": ("write", "writable"), "Create": ("create", "creatable"), "Assign": ("assign", "assignable"),
    }[right]  # fmt: skip
    try:
        depths = dynamics.depths(right, tables)
    except DynSyncError as error:
        yield Finding(f"Dynamics: rights to {verb}", False, error.message, error.next_step)
        return
    for table in tables:
        depth = depths[table.name]
        is_held = depth == "Global"
        is_ok = is_held or not is_needed
        answer = "every record" if is_held else "only some of them." if depth else f"the user may not {verb} them."
        if is_ok and not is_held:
            answer = f"{answer} Nobody has asked for it yet (R78)."
        name = privilege(right, table)
        step = f"Give its role {verb} on them for the whole organization ({name}; docs/connect.md#microsoft-side)."
        yield Finding(f"Dynamics: {table.entity_set} {adjective}", is_ok, answer, "" if is_ok else step)


def _days(dynamics: DynamicsClient, fields: FieldMap, columns: Mapping[RecordType, TableMetadata]) -> Iterator[Finding]:
    """Whether the time zone is known, where a mapped date is kept as an instant."""
    instants = [
        field.dynamics_column
        for field in fields.fields
        if field.type is FieldType.DATE and field.record_type in columns
        and (column := columns[field.record_type].columns.get(field.dynamics_column)) is not None
        and column.time_behavior == "UserLocal"
    ]  # fmt: skip
    if not instants:
        return
    question = "Dynamics: time zone of dates that are kept as times"
    zone = dynamics.time_zone()
    step = "Let the sync's user read its own settings and time zones; until then they are parked."
    yield Finding(question, zone is not None, zone or f"not told, for {', '.join(instants)}.", "" if zone else step)


def _types(
    fields: FieldMap, columns: Mapping[RecordType, TableMetadata], people: Mapping[str, MarketoField]
) -> Finding:
    """Whether the types of the field map are those of both systems (R109)."""
    held = [
        (field, columns[field.record_type].columns.get(field.dynamics_column), people.get(field.marketo_field))
        for field in fields.fields
        if field.record_type in columns
    ]
    misfits = [
        misfit
        for field, column, person_field in held
        if column and person_field and (misfit := type_misfit(field, column.attribute_type, person_field.data_type))
    ]
    step = "They are parked until then (R109)." if misfits else ""
    return Finding("Types of the field map", not misfits, " ".join(misfits) or "fit both systems", step)


def _mapped_columns(table: DynamicsTable, mapped: Sequence[Field], metadata: TableMetadata) -> Finding:
    question = f"Dynamics: {len(mapped)} mapped columns of {table.entity_set}"
    if unreadable := [field.dynamics_column for field in mapped if not _is_readable(field, metadata)]:
        fault = f"missing, secured or unreadable: {', '.join(unreadable)}."
        return Finding(question, False, fault, "They are parked until then (R107).")
    if unwritable := [field.dynamics_column for field in mapped if not _is_writable(field, metadata)]:
        fault = f"not writable: {', '.join(unwritable)}."
        return Finding(question, False, fault, "Give them the direction to_marketo.")
    return Finding(question, True, "all there")


def _is_readable(field: Field, metadata: TableMetadata) -> bool:
    column = metadata.columns.get(field.dynamics_column)
    return column is not None and column.is_readable and not column.is_secured


def _is_writable(field: Field, metadata: TableMetadata) -> bool:
    """Whether a readable column takes what the field map wants to write to it."""
    return field.direction is Direction.TO_MARKETO or metadata.columns[field.dynamics_column].is_updatable


def _marketo(
    marketo: MarketoClient, settings: Settings, fields: FieldMap, columns: Mapping[RecordType, TableMetadata]
) -> Iterator[Finding]:
    question = "Marketo: address and sign-in"
    try:
        people = marketo.person_fields()
    except DynSyncError as error:
        yield Finding(question, False, error.message, error.next_step)
        return
    yield Finding(question, True, f"signed in; {len(people)} fields")
    faults = settings.own_field_faults({name: field.data_type for name, field in people.items()})
    yield Finding(
        "Marketo: the fields the sync owns",
        not faults,
        f"{'; '.join(faults.values())}." if faults else "all there",
        f"Create them so (docs/connect.md#marketo-side), or name others in {', '.join(faults)}." if faults else "",
    )
    yield _mapped_fields(fields, people)
    yield _types(fields, columns, people)
    yield _asked(
        "Marketo: people can be read", lambda: f"{marketo.people('id', ['1'], ['email']).num_rows} of 1 asked for"
    )
    yield _native_sync_beside(marketo) if settings.is_shadow else _native_sync(marketo)
    yield _clocks(marketo)
    yield _asked("Marketo: calls of all tools today", lambda: f"{marketo.usage_today():,}")


def _mapped_fields(fields: FieldMap, people: Mapping[str, MarketoField]) -> Finding:
    question = f"Marketo: {len(fields.person_fields)} mapped fields"
    if absent := [name for name in fields.person_fields if name not in people]:
        return Finding(question, False, f"missing: {', '.join(absent)}.", "They are parked until then (R107).")
    written = {field.marketo_field for field in fields.fields if field.direction is not Direction.TO_DYNAMICS}
    if unwritable := sorted(name for name in written if name in people and people[name].is_read_only):
        return Finding(question, False, f"read only: {', '.join(unwritable)}.", "Give them the direction to_dynamics.")
    return Finding(question, True, "all there")


def _native_sync(marketo: MarketoClient) -> Finding:
    question = "Marketo: no native CRM sync, companies writable"
    try:
        is_ok = marketo.are_companies_writable()
    except DynSyncError as error:
        return Finding(question, False, error.message, error.next_step)
    step = (
        "Switch the native Dynamics sync off in Marketo's admin area: two syncs must not write the same people (R21)."
    )
    return Finding(
        question, is_ok, "companies take writes" if is_ok else "a native CRM sync is on.", "" if is_ok else step
    )


def _native_sync_beside(marketo: MarketoClient) -> Finding:
    """In shadow it is expected to run; asked for without a write."""
    question = "Marketo: the native CRM sync runs, beside shadow"
    try:
        is_on = marketo.has_native_sync()
    except DynSyncError as error:
        return Finding(question, False, error.message, error.next_step)
    step = "Parity compares with nothing. Set DYNSYNC_MODE=live if the switch-over is done (docs/switch-over.md)."
    return Finding(
        question, is_on, "a CRM manages fields" if is_on else "no CRM manages fields.", "" if is_on else step
    )


def _clocks(marketo: MarketoClient) -> Finding:
    question = "Clocks: this machine and Marketo"
    try:
        apart_s = abs((datetime.now(UTC) - marketo.start_of_feed(datetime.now(UTC)).server_time).total_seconds())
    except DynSyncError as error:
        return Finding(question, False, error.message, error.next_step)
    is_ok = apart_s < CLOCKS_APART_S
    return Finding(question, is_ok, f"{apart_s:.0f} s apart", "" if is_ok else "Set this machine's clock by NTP.")
