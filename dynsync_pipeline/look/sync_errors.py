"""What failed (R120, R121): `sync_errors` of the snapshot, by filters. Not here: how it is shown (`cli/errors.py`)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import duckdb

from dynsync_pipeline.look.reading import Row, select


@dataclass(frozen=True)
class ErrorFilter:
    """Which errors to show; None means any.

    `seen_after` is UTC without zone and compared with the last refusal; `search` is looked for, whatever the case, in
    code, field, message and Dynamics id.
    """

    state: str | None = None
    direction: str | None = None
    object: str | None = None
    code: str | None = None
    search: str | None = None
    person_id: int | None = None
    seen_after: datetime | None = None


def read_errors(connection: duckdb.DuckDBPyConnection, wanted: ErrorFilter) -> list[Row]:
    """The rows of `sync_errors` that `wanted` lets through, last seen first."""
    chosen = {
        "state = ?": wanted.state,
        "direction = ?": wanted.direction,
        "object = ?": wanted.object,
        "lower(code) = lower(?)": wanted.code,
        "contains(lower(concat_ws(chr(10), code, field, message, record_id_dynamics)), lower(?))": wanted.search,
        "person_id_marketo = ?": wanted.person_id,
        "last_seen_at >= ?": wanted.seen_after,
    }
    used = {condition: value for condition, value in chosen.items() if value is not None}
    where = "".join(f" and {condition}" for condition in used)
    return select(
        connection,
        f"from sync_errors where true{where} order by last_seen_at desc, error_id desc",
        list(used.values()),
    )
