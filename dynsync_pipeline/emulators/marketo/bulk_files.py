"""Writing the file of a bulk extract: every row in one pass from SQLite to disk.

Source: docs/protocols/marketo.md#bulk-extract, #checklist 9, 20.
"""

from __future__ import annotations

import csv
import hashlib
import sqlite3
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path
from typing import IO, Any

import msgspec

from dynsync_pipeline.emulators.marketo.activities import from_ms, marketo_guid, retained
from dynsync_pipeline.emulators.marketo.activity_types import DELETE_LEAD
from dynsync_pipeline.emulators.marketo.leads import FROM_PEOPLE
from dynsync_pipeline.emulators.marketo.store import Store
from dynsync_pipeline.emulators.marketo.values import parse_moment, utc_text

FILE_DAYS = 7
DELIMITERS = {"CSV": ",", "TSV": "\t", "SSV": ";"}


class _LineFeeds:
    """Ends rows with a line feed. Python's writer quotes a lone carriage return only when its row end holds one."""

    def __init__(self, out: IO[str]) -> None:
        self._out = out

    def write(self, row: str) -> int:
        return self._out.write(row[:-2] + "\n")


def line_writer(out: IO[str], delimiter: str) -> Any:
    """A `csv.writer` whose rows end with a line feed and any reader gives back as they were."""
    return csv.writer(_LineFeeds(out), delimiter=delimiter, lineterminator="\r\n")


def export_path(store: Store, export_id: str) -> Path:
    """Where the file of a job lies."""
    return store.exports_dir / export_id


def remove_old_files(store: Store, db: sqlite3.Connection) -> None:
    """Remove the files that are no longer served."""
    before = (store.now() - timedelta(days=FILE_DAYS)).timestamp()
    for (export_id,) in db.execute("select export_id from export_jobs where finished_at < ?", (before,)).fetchall():
        export_path(store, export_id).unlink(missing_ok=True)


def write_file(store: Store, db: sqlite3.Connection, export_id: str) -> tuple[int, int, str]:
    """Write the file of a job through `db`, a connection of its own; rows, bytes and SHA-256 of exactly these bytes."""
    kind, text = db.execute("select object, request from export_jobs where export_id = ?", (export_id,)).fetchone()
    request = msgspec.json.decode(text)
    rows = _lead_rows(store, db, request) if kind == "leads" else _activity_rows(store, db, request)
    n_rows = 0

    def counted() -> Iterable[Any]:
        nonlocal n_rows
        for row in rows:
            n_rows += 1
            yield row

    path = export_path(store, export_id)
    with path.open("w", encoding="utf-8", newline="") as out:
        lines = line_writer(out, DELIMITERS[request["format"]])
        lines.writerow(request["header"])
        lines.writerows(counted())
    with path.open("rb") as written:
        digest = hashlib.file_digest(written, "sha256").hexdigest()
    return n_rows, path.stat().st_size, digest


def _lead_rows(store: Store, db: sqlite3.Connection, request: dict[str, Any]) -> Iterable[Any]:
    columns = []
    for name in request["fields"]:
        field = store.fields[name]
        shown = f"case {field.sql} when 1 then 'true' else 'false' end" if field.type == "boolean" else field.sql
        columns.append(f"coalesce({shown}, 'null')")  # an empty value is the word null
    ((kind, value),) = request["filter"].items()
    if kind == "staticListId":
        condition, parameters = "p.id in (select lead_id from list_members where list_id = ?)", [value]
    else:
        column = {"createdAt": "createdAt", "updatedAt": "_changed_at"}[kind]
        condition, parameters = f"p.{column} between ? and ?", value
    return db.execute(f"select {', '.join(columns)} {FROM_PEOPLE} where {condition} order by p.id", parameters)


def _activity_rows(store: Store, db: sqlite3.Connection, request: dict[str, Any]) -> Iterable[Any]:
    wanted = request["filter"]
    first, last = (parse_moment(moment) for moment in wanted["createdAt"])
    parameters: list[Any] = [int(first.timestamp() * 1000), int((last + timedelta(seconds=1)).timestamp() * 1000)]
    conditions = [f"at_ms >= ? and at_ms < ? and type_id <> {DELETE_LEAD}", retained(store.now())]
    choices = {"type_id": "activityTypeIds", "primary_id": "valueIds", "primary_value": "values"}
    for column, name in choices.items():
        if wanted.get(name):
            conditions.append(f"{column} in ({', '.join('?' * len(wanted[name]))})")
            parameters += wanted[name]
    found = db.execute(
        "select position, lead_id, at_ms, type_id, campaign_id, primary_id, primary_value, attributes from activities "
        f"where {' and '.join(conditions)} order by at_ms, position",
        parameters,
    )
    for position, lead_id, at_ms, type_id, campaign_id, primary_id, primary_value, attributes in found:
        shown = {
            "marketoGUID": marketo_guid(store, position),
            "leadId": lead_id,
            "activityDate": utc_text(from_ms(at_ms)),
            "activityTypeId": type_id,
            "campaignId": campaign_id,
            "primaryAttributeValueId": primary_id,
            "primaryAttributeValue": primary_value,
            "attributes": attributes,
        }
        values = (shown.get(name) for name in request["fields"])
        yield ["null" if value is None else value for value in values]
