"""Where people open a record in Dynamics or a person in Marketo. Not here: the addresses of the APIs (`clients/`)."""

from __future__ import annotations

from dynsync_pipeline.model.records import RecordType
from dynsync_pipeline.settings import Settings

_IN_DYNAMICS = frozenset(RecordType)


def dynamics_link(settings: Settings, kind: str | None, record_id: str | None) -> str | None:
    """The address of a record's form (learn.microsoft.com, "Open forms, views and dialogs with a URL"); None without one."""
    if not settings.dynamics_url or record_id is None or kind not in _IN_DYNAMICS:
        return None
    return f"{settings.dynamics_url}/main.aspx?etn={kind}&pagetype=entityrecord&id={record_id}"


def marketo_link(settings: Settings, person_id: int | None) -> str | None:
    """The address of a person's page; None where DYNSYNC_MARKETO_APP_URL does not name the host, which no API tells."""
    if not settings.marketo_app_url or person_id is None:
        return None
    return f"{settings.marketo_app_url}/leadDatabase/loadLeadDetail?leadId={person_id}"
