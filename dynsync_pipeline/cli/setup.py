"""`dynsync setup`: makes in Marketo what the sync needs of its own: five fields of people, and a custom activity type (R115)."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated

import typer

from dynsync_pipeline.cli.output import app, prints_to
from dynsync_pipeline.clients.budget import CallBudget
from dynsync_pipeline.clients.marketo.client import MarketoClient
from dynsync_pipeline.clients.marketo.protocol import ActivityType
from dynsync_pipeline.errors import AccessDenied, ApiError
from dynsync_pipeline.model.own_fields import COMPANY_KEY
from dynsync_pipeline.model.refusal_entry import (
    API_NAME,
    ATTRIBUTES,
    DESCRIPTION,
    ENTRY,
    MESSAGE,
    NAME,
    PRIMARY_ATTRIBUTE,
)
from dynsync_pipeline.settings import Settings
from dynsync_pipeline.settings_sources import load_settings
from dynsync_pipeline.warehouse.operator_actions import leave_action

COMMAND = "setup --apply"
FIELDS_RIGHT = "Read-Write Schema Custom Field"
TYPES_RIGHT = "Read-Write Activity Metadata"
TYPE = {
    "apiName": API_NAME,
    "name": NAME,
    "description": DESCRIPTION,
    "triggerName": f"Has {NAME}",
    "filterName": f"Had {NAME}",
    "primaryAttribute": PRIMARY_ATTRIBUTE,
}


@dataclass(frozen=True)
class Missing:
    """What Marketo lacks: own fields by name with their types; the activity type as it is, if it is there at all."""

    fields: Mapping[str, str]
    wrong: Mapping[str, str]
    activity_type: ActivityType | None

    @property
    def is_type_ready(self) -> bool:
        """Whether the type can be used."""
        found = self.activity_type
        return found is not None and found.is_approved and {MESSAGE, ENTRY} <= found.attributes

    @property
    def makeable(self) -> list[str]:
        """What can be made: names of fields, and of the activity type."""
        return [*sorted(self.fields), *([] if self.is_type_ready else [NAME])]


@app.command(
    help="Show what the sync needs of its own in Marketo and lacks: five fields of people, and a custom activity type by which "
    "refusals are told in people's own activity log. With --apply it is made there.\n\n"
    "Exit codes: 0 all there, or made, 1 something is missing or was refused, 2 settings wrong."
)
def setup(
    is_applied: Annotated[bool, typer.Option("--apply", help="Make what is missing.")] = False,
) -> None:
    """Print, or make, what is missing. Raises: DynSyncError."""
    settings = load_settings()
    settings.require_systems()
    if is_applied:
        settings.require_live("Making fields and types in Marketo")
    with MarketoClient.from_settings(settings, CallBudget("marketo", settings.marketo_calls_per_day)) as marketo:
        missing = _missing(marketo, settings)
        if is_applied and missing.makeable:
            missing = _apply(marketo, settings, missing)
    for line in _lines(missing, settings):
        prints_to.print(line, markup=False, highlight=False)
    if missing.fields or missing.wrong or not missing.is_type_ready:
        if not is_applied:
            prints_to.print("Nothing was made; `dynsync setup --apply` makes what is missing.", highlight=False)
        raise typer.Exit(1)


def _missing(marketo: MarketoClient, settings: Settings) -> Missing:
    there = {name: field.data_type for name, field in marketo.person_fields().items()}
    wanted = {name: kind for name, kind in settings.own_fields.types.items() if name != COMPANY_KEY}
    try:
        types = marketo.custom_types()
    except AccessDenied as error:
        raise _lacks_right(error, TYPES_RIGHT) from None
    return Missing(
        {name: kind for name, kind in wanted.items() if name not in there},
        {name: there[name] for name, kind in wanted.items() if name in there and there[name] != kind},
        next((each for each in types if each.api_name == API_NAME), None),
    )


def _apply(marketo: MarketoClient, settings: Settings, missing: Missing) -> Missing:
    """Make what is missing; returns what is still. Told is what is to be made, and then what Marketo shows of it.

    So where this is killed in between, nobody has to believe that all of it was made, or nothing. Raises: DynSyncError.
    """
    leave_action(settings.data_dir, COMMAND, {"makes": missing.makeable})
    try:
        _make(marketo, missing)
    except ApiError:
        with suppress(ApiError):
            _tell_made(marketo, settings, missing)
        raise
    return _tell_made(marketo, settings, missing)


def _tell_made(marketo: MarketoClient, settings: Settings, missing: Missing) -> Missing:
    """Tell what is there of what was missing; returns what is missing now."""
    left = _missing(marketo, settings)
    leave_action(settings.data_dir, COMMAND, {"made": [name for name in missing.makeable if name not in left.makeable]})
    return left


def _make(marketo: MarketoClient, missing: Missing) -> None:
    """Make what is missing, fields first. Raises: ApiError, with the right that the API user lacks."""
    if missing.fields:
        fields = [
            {"name": name, "displayName": _label(name), "dataType": kind, "description": "Written by DynSync alone."}
            for name, kind in missing.fields.items()
        ]
        try:
            results = marketo.create_fields(fields)
        except AccessDenied as error:
            raise _lacks_right(error, FIELDS_RIGHT) from None
        if refused := next((result.error for result in results if result.error), None):
            raise refused
    if not missing.is_type_ready:
        try:
            marketo.create_activity_type(TYPE, ATTRIBUTES)
        except AccessDenied as error:
            raise _lacks_right(error, TYPES_RIGHT) from None


def _label(name: str) -> str:
    """`dynamicsLeadId` as people read it: Dynamics Lead Id."""
    spaced = "".join(f" {letter}" if letter.isupper() else letter for letter in name).strip()
    return spaced[:1].upper() + spaced[1:]


def _lacks_right(error: ApiError, right: str) -> ApiError:
    return AccessDenied(
        error.message,
        system="marketo",
        request=error.request,
        code=error.code,
        next_step=f"Give the role of the API user the permission {right} for this once, or make it by hand (docs/connect.md).",
    )


def _lines(missing: Missing, settings: Settings) -> list[str]:
    lines = [
        *(f"Field {name}: missing, wanted as {kind}." for name, kind in missing.fields.items()),
        *(
            f"Field {name}: of the type {kind}, which does not fit; name another one in the settings (docs/connect.md)."
            for name, kind in missing.wrong.items()
        ),
    ]
    if not lines:
        lines.append("Fields of people: all there.")
    found = missing.activity_type
    if found is None or not missing.is_type_ready:
        lines.append(
            f"Activity type {NAME}: {'missing' if found is None else 'not approved, or without its attributes'}."
        )
    elif settings.marketo_activity_type == found.type_id:
        lines.append(f"Activity type {NAME}: there, and refusals are told by it.")
    else:
        lines.append(
            f"Activity type {NAME}: there. DYNSYNC_MARKETO_ACTIVITY_TYPE={found.type_id} tells refusals in people's own log."
        )
    return lines
