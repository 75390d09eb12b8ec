"""Whom a request names as owner, among the users of Dynamics (R75). Not here: what they get (`serving.py`, `on_records.py`)."""

from __future__ import annotations

from collections.abc import Iterable

from dynsync_pipeline.clients.systems import Dynamics
from dynsync_pipeline.errors import AccessDenied, RecordMissing, RequestRefused
from dynsync_pipeline.requests.store import Request
from dynsync_pipeline.requests.telling import End, Telling


def find_owners(
    dynamics: Dynamics, named: Iterable[tuple[Request, str | None]], telling: Telling
) -> dict[str, str | None]:
    """By request the id of the one enabled user with that name or e-mail address, None where none is named.

    Whose owner is nobody, or several, is told so and left out; so is whom Dynamics will not be asked about, who waits.
    Raises: ApiError where Dynamics is not reached.
    """
    found: dict[str, list[str]] = {}
    owners: dict[str, str | None] = {}
    for request, owner in named:
        if not owner:
            owners[request.request_id] = None
            continue
        try:
            found[owner] = found[owner] if owner in found else dynamics.users(owner)
        except AccessDenied as error:
            telling.put_off([request], str(error))
        except (RequestRefused, RecordMissing) as error:
            telling.end([End(request, "refused", str(error), error.field)])
        else:
            if len(found[owner]) == 1:
                owners[request.request_id] = found[owner][0]
            else:
                telling.end([End(request, "owner_unknown", _WHO[bool(found[owner])], "ownerid")])
    return owners


_WHO = {
    False: "No enabled user in Dynamics has the name or e-mail address given for the owner. Correct it, and ask again.",
    True: "Several users in Dynamics have the name given for the owner. Give the e-mail address, and ask again.",
}
