"""Reading an import file and writing its people, row by row.

What the vendor does with an empty cell is undocumented. Here it leaves the field alone, and the word null clears it.
Source: docs/protocols/marketo.md#bulk-import.
"""

from __future__ import annotations

import csv
import io
from typing import NamedTuple

from dynsync_pipeline.emulators.marketo.activities import Entry
from dynsync_pipeline.emulators.marketo.activity_types import ADD_TO_LIST
from dynsync_pipeline.emulators.marketo.bulk_files import line_writer
from dynsync_pipeline.emulators.marketo.fields import Field
from dynsync_pipeline.emulators.marketo.lead_sync import Matches, sync_one
from dynsync_pipeline.emulators.marketo.people_writes import PeopleWrites, RecordRefused
from dynsync_pipeline.emulators.marketo.store import Store
from dynsync_pipeline.emulators.marketo.values import BadValue, stored_value

ROWS_AT_ONCE = 300


class FileUnusable(Exception):
    """The file as a whole cannot be imported; the message says why."""


class Parsed(NamedTuple):
    """Header and rows of a file; rows may be too short or too long."""

    header: list[str]
    rows: list[list[str]]


class Outcome(NamedTuple):
    """What became of the rows of a file."""

    n_rows: int
    n_failed: int
    n_warned: int
    n_members: int | None
    failures: str
    warnings: str


def parse_file(content: bytes, delimiter: str) -> Parsed:
    """Read the file; blank lines are none. Raises: FileUnusable."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise FileUnusable("The file is not UTF-8") from None
    try:
        lines = [line for line in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter) if any(line)]
    except csv.Error as error:
        raise FileUnusable(f"The file cannot be read: {error}") from None
    if not lines:
        raise FileUnusable("The file is empty")
    header = [name.strip() for name in lines[0]]
    if len(set(header)) < len(header) or "" in header:
        raise FileUnusable("The header row has an empty or a repeated column")
    return Parsed(header, lines[1:])


def import_rows(store: Store, batch_id: int) -> Outcome:
    """Import a queued batch. Raises: FileUnusable before anything is written."""
    with store.lock:
        api_user, delimiter, lookup_name, list_id, partition_id, content = store.db.execute(
            "select api_user, delimiter, lookup, list_id, partition_id, content from import_jobs where batch_id = ?",
            (batch_id,),
        ).fetchone()
    file = parse_file(content, delimiter)
    lookup = store.fields[lookup_name]
    _require_fields(store, file.header, lookup)
    failed: list[list[str]] = []
    warned: list[list[str]] = []
    members: list[int] = []
    source = f"Bulk import: {api_user}"
    for start in range(0, len(file.rows), ROWS_AT_ONCE):
        part = file.rows[start : start + ROWS_AT_ONCE]
        records = [dict(zip(file.header, row, strict=False)) for row in part]
        matches = Matches(store, lookup, records)
        with store.transaction() as db:
            writes = PeopleWrites(store, reason="Bulk import", source=source)
            writes.load(matches.ids)
            for row in part:
                try:
                    person_id, warning = _import_row(store, writes, file.header, row, lookup, matches, partition_id)
                except RecordRefused as error:
                    failed.append([*row, error.message])
                    continue
                if warning:
                    warned.append([*row, warning])
                if list_id is not None:
                    members.append(person_id)
                    db.execute("insert or ignore into list_members values (?, ?)", (list_id, person_id))
                    entry = Entry(person_id, ADD_TO_LIST, store.now(), list_id, None, {"Source": source})
                    writes.entries.append(entry)
            writes.flush()
    return Outcome(
        len(file.rows),
        len(failed),
        len(warned),
        None if list_id is None else len(set(members)),
        _file_of([*file.header, "Import Failure Reason"], failed, delimiter),
        _file_of([*file.header, "Import Warning Reason"], warned, delimiter),
    )


def _require_fields(store: Store, header: list[str], lookup: Field) -> None:
    for name in header:
        if store.fields.get(name) is None:
            raise FileUnusable(f"Field '{name[:100]}' not found")
    if lookup.name not in header:
        raise FileUnusable(f"The lookup field '{lookup.name}' is not in the header row")


def _import_row(
    store: Store,
    writes: PeopleWrites,
    header: list[str],
    row: list[str],
    lookup: Field,
    matches: Matches,
    partition_id: int,
) -> tuple[int, str]:
    """Write one row; the person's id and a warning or nothing. Raises: RecordRefused."""
    if len(row) != len(header):
        raise RecordRefused("1003", f"The row has {len(row)} columns instead of {len(header)}")
    record: dict[str, object] = {}
    warning = ""
    for name, cell in zip(header, row, strict=True):
        if cell == "":
            continue
        field = store.fields[name]
        value = None if cell == "null" else cell
        try:
            stored_value(field, value)
        except BadValue:
            if field.type != "email":
                message = f"Invalid data type in field {field.display_name}"
                raise RecordRefused("1003", message) from None
            warning = f"Invalid email address in field {field.display_name}"  # only a warning
            continue
        record[name] = value
    action = "updateOnly" if lookup.name == "id" else "createOrUpdate"
    if lookup.name not in record and warning and lookup.type == "email":
        action = "createDuplicate"  # nobody can be found by an address that is none
    return int(sync_one(writes, record, action, lookup, matches, partition_id)["id"]), warning


def _file_of(header: list[str], rows: list[list[str]], delimiter: str) -> str:
    out = io.StringIO(newline="")
    lines = line_writer(out, delimiter)
    lines.writerow(header)
    lines.writerows(rows)
    return out.getvalue()
