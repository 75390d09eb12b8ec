"""Bulk lead import: taking a file, its status, the rows that failed.

Reading rows and writing people is in `import_rows.py`; `bulk_worker.py` sets the pace.
Source: docs/protocols/marketo.md#bulk-import, #checklist 25.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from starlette.responses import Response

from dynsync_pipeline.emulators.marketo.lead_sync import lookup_field
from dynsync_pipeline.emulators.marketo.people_writes import DEFAULT_PARTITION
from dynsync_pipeline.emulators.marketo.protocol import Call, Refused

QUEUE_LIMIT = 10
BATCH_DAYS = 7
FORMATS = {"csv": ",", "tsv": "\t", "ssv": ";"}
_MESSAGES = {
    "Queued": "Import is queued",
    "Importing": "Import is in progress",
}


def import_leads(call: Call) -> dict[str, Any]:
    """Queue a file of people; upsert by `lookupField`, with `id` update only."""
    file_format = (call.required("format")).lower()
    if file_format not in FORMATS:
        raise Refused("1003", f"Invalid value for 'format': '{file_format[:20]}'")
    content = call.files.get("file")
    if content is None:
        raise Refused("613", "Invalid Multipart Request")
    lookup = lookup_field(call.store, call.text("lookupField") or "email")
    list_id = call.integers("listId")[0] if call.text("listId") else None
    with call.store.transaction() as db:
        if list_id is not None:
            if not db.execute("select 1 from lists where id = ?", (list_id,)).fetchone():
                raise Refused("1013", "List not found")
            if db.execute(
                "select 1 from import_jobs where list_id = ? and status in ('Queued', 'Importing')", (list_id,)
            ).fetchone():
                raise Refused("1019", "Import in progress")
        (n_queued,) = db.execute("select count(*) from import_jobs where status in ('Queued', 'Importing')").fetchone()
        if n_queued >= QUEUE_LIMIT:
            raise Refused("1016", "Too many imports")
        cursor = db.execute(
            "insert into import_jobs (api_user, delimiter, lookup, list_id, partition_id, content, status, queued_at) "
            "values (?, ?, ?, ?, ?, ?, 'Queued', ?)",
            (
                call.api_user,
                FORMATS[file_format],
                lookup.name,
                list_id,
                _partition(call),
                content,
                call.store.now().timestamp(),
            ),
        )
        batch_id = cursor.lastrowid
    call.store.jobs_waiting.set()
    return {"result": [{"batchId": batch_id, "importId": str(batch_id), "status": "Queued"}]}


def import_status(call: Call) -> dict[str, Any]:
    """How far a batch is; the last state is "Complete", without a d."""
    status, n_rows, n_failed, n_warned, n_members, error = _batch(
        call,
        "status, coalesce(n_rows, 0), coalesce(n_failed, 0), coalesce(n_warned, 0), n_members, error",
    )
    job: dict[str, Any] = {"batchId": call.id(), "importId": str(call.id()), "status": status}
    if status in ("Importing", "Complete"):
        job.update(numOfLeadsProcessed=n_rows - n_failed, numOfRowsFailed=n_failed, numOfRowsWithWarning=n_warned)
    if status == "Complete":
        members = "" if n_members is None else f" ({n_members} members)"
        done = f"Import succeeded, {n_rows - n_failed} records imported{members}"
        job["message"] = done if not n_failed else f"Import completed with errors, {n_rows - n_failed} records imported"
    else:
        job["message"] = error or _MESSAGES[status]
    return {"result": [job]}


def failures(call: Call) -> Response:
    """The rows that failed, as they came, with the reason in a last column."""
    return _file(call, "failures")


def warnings(call: Call) -> Response:
    """The rows that were taken with a warning, as they came, with the reason in a last column."""
    return _file(call, "warnings")


def _file(call: Call, column: str) -> Response:
    status, text = _batch(call, f"status, {column}")
    if status != "Complete":
        raise Refused("1003", f"Batch {call.id()} is not complete: status '{status}'")
    return Response(text, media_type="text/csv;charset=UTF-8")


def _batch(call: Call, columns: str) -> tuple[Any, ...]:
    since = (call.store.now() - timedelta(days=BATCH_DAYS)).timestamp()
    with call.store.lock:
        row = call.store.db.execute(
            f"select {columns} from import_jobs where batch_id = ? and api_user = ? and queued_at >= ?",
            (call.id(), call.api_user, since),
        ).fetchone()
    if row is None:
        raise Refused("1013", f"Batch '{call.match['id'][:20]}' not found")
    return tuple(row)


def _partition(call: Call) -> int:
    name = call.text("partitionName")
    if name is None:
        return DEFAULT_PARTITION
    row = call.store.db.execute("select id from partitions where name = ?", (name,)).fetchone()
    if row is None:
        raise Refused("1008", f"Access to partition '{name[:100]}' denied")
    return int(row[0])
