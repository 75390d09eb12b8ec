"""Users and teams, which own records: which queries to send, and what their answers say (R24). No I/O.

Source: docs/protocols/dataverse.md#users.
"""

from __future__ import annotations

import logging
from urllib.parse import quote

import msgspec

from dynsync_pipeline.clients.dynamics.protocol import Owner
from dynsync_pipeline.clients.pieces import FAULTS, members, sorted_out

log = logging.getLogger(__name__)


class _Row(msgspec.Struct):
    modified_on: str = msgspec.field(name="modifiedon")
    user_id: str | None = msgspec.field(default=None, name="systemuserid")
    full_name: str | None = msgspec.field(default=None, name="fullname")
    user_email: str | None = msgspec.field(default=None, name="internalemailaddress")
    is_disabled: bool | None = msgspec.field(default=None, name="isdisabled")
    team_id: str | None = msgspec.field(default=None, name="teamid")
    team_name: str | None = msgspec.field(default=None, name="name")
    team_email: str | None = msgspec.field(default=None, name="emailaddress")


class _Page(msgspec.Struct):
    rows: list[_Row] = msgspec.field(name="value")
    next_link: str | None = msgspec.field(default=None, name="@odata.nextLink")


_page = msgspec.json.Decoder(_Page)
_row = msgspec.json.Decoder(_Row)


def owners_queries(since: str | None) -> tuple[str, str]:
    """Path and query of all users and of all teams, or of those that changed at `since` (YYYY-MM-DDThh:mm:ssZ) or later."""
    changed = "" if since is None else f"&$filter=modifiedon%20ge%20{quote(since)}"
    return (
        f"systemusers?$select=systemuserid,fullname,internalemailaddress,isdisabled,modifiedon{changed}",
        f"teams?$select=teamid,name,emailaddress,modifiedon{changed}",
    )


def read_owners(body: bytes) -> tuple[list[Owner], str | None]:
    """The owners of one page that can be read, and the link to the next. Raises: what `pieces.FAULTS` holds."""
    try:
        page = _page.decode(body)
        return [_owner(row) for row in page.rows], page.next_link
    except FAULTS:
        parts = members(body)
        owners, bad = sorted_out(parts.get("value", b""), lambda piece: _owner(_row.decode(piece)))
    log.warning("Users or teams of Dynamics that cannot be read, and keep the names they had: %d.", len(bad))
    link = parts.get("@odata.nextLink")
    return owners, None if link is None else msgspec.json.decode(link, type=str)


def _owner(row: _Row) -> Owner:
    if row.user_id is not None:
        is_enabled = not row.is_disabled
        return Owner(row.user_id.lower(), False, row.full_name, row.user_email, is_enabled, row.modified_on)
    if row.team_id is not None:
        return Owner(row.team_id.lower(), True, row.team_name, row.team_email, True, row.modified_on)
    raise msgspec.ValidationError("an owner without an id")
