"""The activity types as data: those the emulator writes, the commonest others, and how long each is kept.

Source: docs/protocols/marketo.md#activities.
"""

from __future__ import annotations

from typing import Any

from dynsync_pipeline.emulators.marketo.custom_types import approved_types
from dynsync_pipeline.emulators.marketo.store import Store

NEW_LEAD = 12
CHANGE_DATA_VALUE = 13
CHANGE_SCORE = 22
ADD_TO_LIST = 24
REMOVE_FROM_LIST = 25
MERGE_LEADS = 32
DELETE_LEAD = 37

_90_DAYS = (1, 3, 6, 7, 13, 19, 22, 24, 36, 47, 106)
RETENTION_DAYS = {DELETE_LEAD: 14, **dict.fromkeys(_90_DAYS, 90)}


def _type(number: int, name: str, description: str, primary: str = "", attributes: str = "") -> dict[str, Any]:
    """A type from `name:dataType` texts, attributes separated by commas."""
    kind: dict[str, Any] = {"id": number, "name": name, "description": description}
    pairs = [dict(zip(("name", "dataType"), pair.split(":"), strict=True)) for pair in attributes.split(",") if pair]
    if primary:
        kind["primaryAttribute"] = dict(zip(("name", "dataType"), primary.split(":"), strict=True))
    if pairs:
        kind["attributes"] = pairs
    return kind


_CHANGE = "New Value:string,Old Value:string,Reason:string,Source:string"
STANDARD_TYPES = (
    _type(1, "Visit Webpage", "User visits a page", "Webpage ID:integer", "Query Parameters:string,Webpage URL:url"),
    _type(2, "Fill Out Form", "User fills out and submits a form", "Webform ID:integer", "Form Fields:text"),
    _type(3, "Click Link", "User clicks link on a page", "Link ID:integer", "Webpage ID:integer"),
    _type(6, "Send Email", "Send Marketo email to a person", "Mailing ID:integer", "Campaign Run ID:integer"),
    _type(7, "Email Delivered", "Marketo email is delivered", "Mailing ID:integer", "Campaign Run ID:integer"),
    _type(8, "Email Bounced", "Marketo email is bounced", "Mailing ID:integer", "Category:string,Details:string"),
    _type(9, "Unsubscribe Email", "Person unsubscribes", "Mailing ID:integer", "Form Fields:text"),
    _type(10, "Open Email", "User opens Marketo email", "Mailing ID:integer", "Device:string,Is Mobile Device:boolean"),
    _type(11, "Click Email", "User clicks on a link in an email", "Mailing ID:integer", "Link:string"),
    _type(NEW_LEAD, "New Lead", "New person is added to the database", "", "Source Type:string"),
    _type(
        CHANGE_DATA_VALUE, "Change Data Value", "Changed attribute value for a person", "Attribute Name:string", _CHANGE
    ),
    _type(
        CHANGE_SCORE,
        "Change Score",
        "Modify the value of a score field",
        "Score Name:string",
        "Change Value:integer,New Value:integer,Old Value:integer,Reason:string",
    ),
    _type(ADD_TO_LIST, "Add to List", "Add a person to a list", "List ID:integer", "Source:string"),
    _type(REMOVE_FROM_LIST, "Remove from List", "Remove this person from a list", "List ID:integer", "Source:string"),
    _type(
        MERGE_LEADS,
        "Merge Leads",
        "Merge two or more people into a single record",
        "Lead ID:integer",
        "Master Updated:boolean,Merge IDs:string,Merge Source:string,Merged in Sales:boolean",
    ),
    _type(DELETE_LEAD, "Delete Lead", "Delete this person from the database", "Lead Name:string", "Source:string"),
    _type(46, "Interesting Moment", "Record an interesting moment", "Type:string", "Description:text,Source:string"),
    _type(47, "Request Campaign", "Campaign is requested", "Campaign ID:integer", "Source:string"),
    _type(104, "Change Status in Progression", "Change status in progression", "Program ID:integer", "Reason:string"),
)


def all_types(store: Store) -> list[dict[str, Any]]:
    """Standard and approved custom types in the shape of `activities/types.json`."""
    custom = [
        {
            "id": number,
            "name": definition["name"],
            "description": definition["description"],
            "primaryAttribute": _named(definition["primaryAttribute"]),
            "attributes": [_named(attribute) for attribute in definition["attributes"]],
        }
        for number, definition in approved_types(store).items()
    ]
    return [*STANDARD_TYPES, *custom]


def _named(attribute: dict[str, Any]) -> dict[str, Any]:
    return {"name": attribute["name"], "dataType": attribute["dataType"]}
