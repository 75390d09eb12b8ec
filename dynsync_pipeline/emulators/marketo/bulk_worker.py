"""The worker that takes bulk jobs through their states, two of a kind at a time, in the vendor's minutes.

Source: docs/protocols/marketo.md#bulk-extract, #bulk-import.
"""

from __future__ import annotations

import sqlite3
import threading

from dynsync_pipeline.emulators.marketo.bulk_files import remove_old_files, write_file
from dynsync_pipeline.emulators.marketo.import_rows import FileUnusable, import_rows
from dynsync_pipeline.emulators.marketo.store import Store

RUNNING_LIMIT = 2
QUEUED_AT_LEAST_S = 10.0
PROCESSING_AT_LEAST_S = 30.0
IMPORT_QUEUED_AT_LEAST_S = 5.0
IMPORTING_AT_LEAST_S = 5.0


class BulkWorker:
    """A thread of its own; jobs found waiting or half done in the file are taken up at the start."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="marketo bulk worker", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop after the job at hand."""
        self._stop.set()
        self._store.jobs_waiting.set()
        self._thread.join()

    def _work(self) -> None:
        db = self._store.connect()
        try:
            while not self._stop.is_set():
                exports_wait, imports_wait = self._step_exports(db), self._step_imports()
                pause_s = min(1.0, 2.0 / self._store.time_scale) if exports_wait or imports_wait else None
                self._store.jobs_waiting.wait(pause_s)
                self._store.jobs_waiting.clear()
        finally:
            db.close()

    def _step_exports(self, db: sqlite3.Connection) -> bool:
        """Move every export that is due; whether any is still on its way."""
        with self._store.transaction() as shared:
            now = self._store.now().timestamp()
            shared.execute(
                "update export_jobs set status = 'Completed', finished_at = ? "
                "where status = 'Processing' and checksum is not null and started_at <= ?",
                (now, now - PROCESSING_AT_LEAST_S / self._store.time_scale),
            )
            (n_running,) = shared.execute("select count(*) from export_jobs where status = 'Processing'").fetchone()
            shared.execute(
                "update export_jobs set status = 'Processing', started_at = ? where export_id in (select export_id "
                "from export_jobs where status = 'Queued' and queued_at <= ? order by queued_at, rowid limit ?)",
                (now, now - QUEUED_AT_LEAST_S / self._store.time_scale, RUNNING_LIMIT - n_running),
            )
            unwritten = shared.execute(
                "select export_id from export_jobs where status = 'Processing' and checksum is null order by rowid"
            ).fetchall()
            (n_waiting,) = shared.execute(
                "select count(*) from export_jobs where status in ('Queued', 'Processing')"
            ).fetchone()
        for (export_id,) in unwritten:
            remove_old_files(self._store, db)
            self._write(db, export_id)
        return bool(n_waiting)

    def _write(self, db: sqlite3.Connection, export_id: str) -> None:
        try:
            n_records, n_bytes, checksum = write_file(self._store, db, export_id)
        except (OSError, sqlite3.Error) as error:
            with self._store.transaction() as shared:
                shared.execute(
                    "update export_jobs set status = 'Failed', finished_at = ?, error = ? where export_id = ?",
                    (self._store.now().timestamp(), f"Export failed: {type(error).__name__}", export_id),
                )
            return
        with self._store.transaction() as shared:
            shared.execute(
                "update export_jobs set n_records = ?, file_bytes = ?, checksum = ? where export_id = ?",
                (n_records, n_bytes, checksum, export_id),
            )

    def _step_imports(self) -> bool:
        """Move every import that is due; whether any is still on its way."""
        with self._store.transaction() as db:
            now = self._store.now().timestamp()
            db.execute(
                "update import_jobs set status = 'Complete', content = x'' "
                "where status = 'Importing' and n_rows is not null and started_at <= ?",
                (now - IMPORTING_AT_LEAST_S / self._store.time_scale,),
            )
            (n_running,) = db.execute("select count(*) from import_jobs where status = 'Importing'").fetchone()
            db.execute(
                "update import_jobs set status = 'Importing', started_at = ? where batch_id in (select batch_id "
                "from import_jobs where status = 'Queued' and queued_at <= ? order by batch_id limit ?)",
                (now, now - IMPORT_QUEUED_AT_LEAST_S / self._store.time_scale, RUNNING_LIMIT - n_running),
            )
            waiting = db.execute(
                "select batch_id from import_jobs where status = 'Importing' and n_rows is null order by 1"
            ).fetchall()
            (n_waiting,) = db.execute(
                "select count(*) from import_jobs where status in ('Queued', 'Importing')"
            ).fetchone()
        for (batch_id,) in waiting:
            self._import(batch_id)
        return bool(n_waiting)

    def _import(self, batch_id: int) -> None:
        try:
            outcome = import_rows(self._store, batch_id)
        except FileUnusable as error:
            with self._store.transaction() as db:
                db.execute(
                    "update import_jobs set status = 'Failed', error = ?, content = x'' where batch_id = ?",
                    (f"Import failed: {error}", batch_id),
                )
            return
        with self._store.transaction() as db:
            db.execute(
                "update import_jobs set n_rows = ?, n_failed = ?, n_warned = ?, n_members = ?, failures = ?, "
                "warnings = ? where batch_id = ?",
                (*outcome, batch_id),
            )
