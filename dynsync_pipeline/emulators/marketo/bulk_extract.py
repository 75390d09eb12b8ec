"""Bulk extract jobs: create, enqueue, cancel, status, list, file.

What may be asked for is checked in `bulk_requests.py`; the files are written by `bulk_files.py`; the worker that takes
jobs through their states is in `bulk_worker.py`.
Source: docs/protocols/marketo.md#bulk-extract, #checklist 19, 21, 23.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec
from starlette.responses import FileResponse, PlainTextResponse, Response

from dynsync_pipeline.emulators.marketo.activities import from_ms
from dynsync_pipeline.emulators.marketo.bulk_files import FILE_DAYS, export_path
from dynsync_pipeline.emulators.marketo.bulk_requests import OBJECTS, checked_request
from dynsync_pipeline.emulators.marketo.limits import vendor_day
from dynsync_pipeline.emulators.marketo.protocol import Call, Refused, pack_token, unpack_token
from dynsync_pipeline.emulators.marketo.store import Store
from dynsync_pipeline.emulators.marketo.values import utc_text

QUEUE_LIMIT = 10
STATUS_FRESH_S = 60.0  # the shown status is at most this old, in the vendor's minutes
JOB_DAYS = 7
_MEDIA_TYPES = {"CSV": "text/csv", "TSV": "text/tab-separated-values", "SSV": "text/ssv"}


def create(call: Call) -> dict[str, Any]:
    """A new job in state Created; nothing runs yet."""
    _object(call)
    request = checked_request(call)
    with call.store.transaction() as db:
        _check_quota(call.store)
        export_id = call.store.next_uuid("export")
        now = call.store.now().timestamp()
        db.execute(
            "insert into export_jobs (export_id, object, api_user, request, status, created_at, shown, shown_at) "
            "values (?, ?, ?, ?, 'Created', ?, '', 0)",
            (export_id, call.match["object"], call.api_user, msgspec.json.encode(request).decode(), now),
        )
        return {"result": [_show(call.store, export_id)]}


def enqueue(call: Call) -> dict[str, Any]:
    """Put a Created job into the queue. Refused 1029 when the queue is full, the quota spent, or it is in already."""
    with call.store.transaction() as db:
        export_id = _job_id(call)
        (status,) = db.execute("select status from export_jobs where export_id = ?", (export_id,)).fetchone()
        if status != "Created":
            raise Refused("1029", f"Export job {export_id} is already queued or has ended: status '{status}'")
        _check_quota(call.store)
        (n_queued,) = db.execute("select count(*) from export_jobs where status in ('Queued', 'Processing')").fetchone()
        if n_queued >= QUEUE_LIMIT:
            raise Refused("1029", f"Too many jobs ({n_queued}) in queue")
        db.execute(
            "update export_jobs set status = 'Queued', queued_at = ? where export_id = ?",
            (call.store.now().timestamp(), export_id),
        )
        answer = {"result": [_show(call.store, export_id)]}
    call.store.jobs_waiting.set()
    return answer


def cancel(call: Call) -> dict[str, Any]:
    """End a job that has not ended; "Cancelled" is the spelling on the wire."""
    with call.store.transaction() as db:
        export_id = _job_id(call)
        db.execute(
            "update export_jobs set status = 'Cancelled', finished_at = ? "
            "where export_id = ? and status in ('Created', 'Queued', 'Processing')",
            (call.store.now().timestamp(), export_id),
        )
        return {"result": [_show(call.store, export_id)]}


def status(call: Call) -> dict[str, Any]:
    """The job as last refreshed: once a minute of the vendor's time."""
    with call.store.transaction():
        return {"result": [_seen(call.store, _job_id(call))]}


def jobs(call: Call) -> dict[str, Any]:
    """The caller's jobs of the last seven days, oldest first, all states or those asked for."""
    _object(call)
    wanted = {"Cancelled" if name == "Canceled" else name for name in call.texts("status")}
    token = call.text("nextPageToken")
    n_skip = max(0, unpack_token(token, 1)[0]) if token else 0
    size = call.batch_size()
    since = (call.store.now() - timedelta(days=JOB_DAYS)).timestamp()
    with call.store.transaction() as db:
        ids = db.execute(
            "select export_id from export_jobs where object = ? and api_user = ? and created_at >= ? order by rowid",
            (call.match["object"], call.api_user, since),
        ).fetchall()
        seen = [_seen(call.store, row[0]) for row in ids]
    found = [job for job in seen if not wanted or job["status"] in wanted]
    page = {"result": found[n_skip : n_skip + size]}
    if len(found) > n_skip + size:
        return {**page, "nextPageToken": pack_token(n_skip + size), "moreResult": True}
    return page


def file(call: Call) -> Response:
    """The file of a completed job, whole or in ranges; HTTP 404 as plain text in every other case."""
    missing = PlainTextResponse("Not Found", 404)
    with call.store.lock:
        row = call.store.db.execute(
            "select status, request, finished_at from export_jobs where export_id = ? and object = ? and api_user = ?",
            (call.match["export_id"], call.match["object"], call.api_user),
        ).fetchone()
    if row is None or row[0] != "Completed" or call.store.behaviour.lose_export_files:
        return missing
    path = export_path(call.store, call.match["export_id"])
    if row[2] < (call.store.now() - timedelta(days=FILE_DAYS)).timestamp() or not path.exists():
        return missing
    kind = _MEDIA_TYPES[msgspec.json.decode(row[1])["format"]]
    return FileResponse(path, media_type=f"{kind};charset=UTF-8")


def _object(call: Call) -> None:
    if call.match["object"] not in OBJECTS:
        raise Refused("610", "Requested resource not found")


def _job_id(call: Call) -> str:
    """The job in the path, if it is the caller's. Raises: Refused 1013 (what the vendor answers is not documented)."""
    _object(call)
    row = call.store.db.execute(
        "select export_id from export_jobs where export_id = ? and object = ? and api_user = ?",
        (call.match["export_id"], call.match["object"], call.api_user),
    ).fetchone()
    if row is None:
        raise Refused("1013", "Export job not found")
    return str(row[0])


def _check_quota(store: Store) -> None:
    day = vendor_day(store.now())
    since = (store.now() - timedelta(days=2)).timestamp()
    rows = store.db.execute(
        "select finished_at, file_bytes from export_jobs where status = 'Completed' and finished_at >= ?", (since,)
    )
    spent = sum(row[1] for row in rows if vendor_day(from_ms(int(row[0] * 1000))) == day)
    limit = store.behaviour.export_bytes_per_day
    if spent >= limit:
        raise Refused("1029", f"Export daily quota {limit // 1_000_000}MB exceeded")


def _seen(store: Store, export_id: str) -> dict[str, Any]:
    shown, shown_at = store.db.execute(
        "select shown, shown_at from export_jobs where export_id = ?", (export_id,)
    ).fetchone()
    if store.now().timestamp() - shown_at < STATUS_FRESH_S / store.time_scale:
        job: dict[str, Any] = msgspec.json.decode(shown)
        return job
    return _show(store, export_id)


def _show(store: Store, export_id: str) -> dict[str, Any]:
    """The job as it is now; what is not reached yet is absent. Keeps what was shown for the next minute."""
    row = store.db.execute(
        "select request, status, created_at, queued_at, started_at, finished_at, n_records, file_bytes, checksum, "
        "error from export_jobs where export_id = ?",
        (export_id,),
    ).fetchone()
    request, status_now, created, queued, started, finished, n_records, n_bytes, checksum, error = row
    job: dict[str, Any] = {
        "exportId": export_id,
        "format": msgspec.json.decode(request)["format"],
        "status": status_now,
    }
    moments = {"createdAt": created, "queuedAt": queued, "startedAt": started, "finishedAt": finished}
    job.update({name: utc_text(from_ms(int(at * 1000))) for name, at in moments.items() if at is not None})
    if status_now == "Completed":
        job.update(numberOfRecords=n_records, fileSize=n_bytes, fileChecksum=f"sha256:{checksum}")
    if error is not None:
        job["errorMsg"] = error
    store.db.execute(
        "update export_jobs set shown = ?, shown_at = ? where export_id = ?",
        (msgspec.json.encode(job).decode(), store.now().timestamp(), export_id),
    )
    return job
