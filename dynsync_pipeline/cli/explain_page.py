"""The page that `dynsync explain KEY --html FILE` writes. Not here: what it looks like (`publish/page/`), the command itself."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import asdict
from datetime import datetime
from pathlib import Path

from dynsync_pipeline.cli.looking import moment, plain
from dynsync_pipeline.errors import StorageFailed
from dynsync_pipeline.look.explain import Explanation
from dynsync_pipeline.look.links import dynamics_link, marketo_link
from dynsync_pipeline.publish.status_page import page
from dynsync_pipeline.settings import Settings

SCRIPTS = ("dom.js", "person.js")
NEVER_YEAR = 9999


def write_person_page(found: Explanation, lines: Iterable[str], settings: Settings, at: datetime, file: Path) -> None:
    """Write one person's page, which is its owner's alone; `lines` say how the person is linked. Raises: StorageFailed."""
    name = _name(found)
    figures = asdict(found) | {
        "name": name,
        "lines": list(lines),
        "told_at": at,
        "fields": [_field(row) for row in found.fields if row["state"] not in _QUIET or _has_value(row)],
        "account_fields": [row for row in found.account_fields if _has_value(row)],
        "history": found.history[::-1],
        "dynamics_link": dynamics_link(settings, found.subject.record_type, found.subject.record_id_dynamics),
        "marketo_link": marketo_link(settings, found.subject.person_id_marketo),
    }
    text = page(name or "DynSync", json.loads(json.dumps(figures, default=plain)), SCRIPTS)
    try:
        with open(file, "w", encoding="utf-8", opener=_owners_alone) as out:
            out.write(text)
    except OSError as error:
        raise StorageFailed(f"{file} cannot be written: {error.strerror}.", next_step="Name another file.") from None


_QUIET = ("agree", "not linked")


def _owners_alone(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _name(found: Explanation) -> str:
    values = {row["field"]: row["dynamics"] or row["marketo"] for row in found.fields}
    return " ".join(filter(None, (values.get("firstName"), values.get("lastName"))))


def _field(row: dict[str, object]) -> dict[str, object]:
    at = row["next_look_at"]
    look = f"next look after {moment(at)} UTC" if isinstance(at, datetime) and at.year < NEVER_YEAR else None
    return row | {"next_look": look, "next_look_at": None}


def _has_value(row: dict[str, object]) -> bool:
    return any(row.get(side) not in (None, "false") for side in ("base", "dynamics", "marketo"))
