"""Functions (GET): who am I, record counts, languages, access rights, privileges. Not here: those of definitions.

Source: docs/protocols/dataverse.md#query-options, #metadata, #privileges.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable

from dynsync_pipeline.emulators.dataverse.call import Answer, Call
from dynsync_pipeline.emulators.dataverse.errors import DataverseError, bad_request
from dynsync_pipeline.emulators.dataverse.keys import resolve_reference
from dynsync_pipeline.emulators.dataverse.metadata_changes import retrieve_metadata_changes

DOP_HINT = "4"
VERSION = "9.2.25104.00185"
ENGLISH = 1033
RIGHTS = ("Read", "Write", "Append", "AppendTo", "Create", "Delete", "Share", "Assign")


def who_am_i(call: Call, _: str) -> Answer:
    """The caller, its business unit and organisation; also carries the advised number of parallel requests."""
    body = {
        "@odata.context": f"{call.root}$metadata#Microsoft.Dynamics.CRM.WhoAmIResponse",
        "BusinessUnitId": call.store.business_unit_id,
        "UserId": call.user.user_id,
        "OrganizationId": call.store.organization_id,
    }
    return Answer.json(body, headers={"x-ms-dop-hint": DOP_HINT})


def retrieve_version(call: Call, _: str) -> Answer:
    """The version of the service."""
    return Answer.json(
        {"@odata.context": f"{call.root}$metadata#Microsoft.Dynamics.CRM.RetrieveVersionResponse", "Version": VERSION}
    )


def retrieve_available_languages(call: Call, _: str) -> Answer:
    """The languages of the organisation's base solution: American English alone."""
    context = f"{call.root}$metadata#Microsoft.Dynamics.CRM.RetrieveAvailableLanguagesResponse"
    return Answer.json({"@odata.context": context, "LocaleIds": [ENGLISH]})


def retrieve_provisioned_languages(call: Call, _: str) -> Answer:
    """The languages that users may choose."""
    context = f"{call.root}$metadata#Microsoft.Dynamics.CRM.RetrieveProvisionedLanguagesResponse"
    return Answer.json({"@odata.context": context, "RetrieveProvisionedLanguages": [ENGLISH]})


def retrieve_total_record_count(call: Call, arguments: str) -> Answer:
    """Row counts per table. The real ones may be a day old; these are exact. Raises DataverseError 400, 403, 404."""
    text = arguments.strip()
    match = re.fullmatch(r"EntityNames\s*=\s*(@\w+|\[.*\])", text)
    listed = call.aliases.get(match[1], match[1]) if match else ""
    names = re.findall(r"['\"](\w+)['\"]", listed)
    if not names:
        raise bad_request("RetrieveTotalRecordCount needs the parameter EntityNames.")
    counts = []
    for name in names:
        table = call.schema.tables.get(name)
        if table is None:
            raise DataverseError(404, "0x80060888", f"The entity with a name = '{name}' was not found.")
        call.require("Read", table)
        counts.append(call.connection.execute(f'select count(*) from "{table.name}"').fetchone()[0])
    collection = {
        "Count": len(names), "IsReadOnly": False, "Keys": names, "Values": counts,
    }  # fmt: skip
    return Answer.json(
        {
            "@odata.context": f"{call.root}$metadata#Microsoft.Dynamics.CRM.RetrieveTotalRecordCountResponse",
            "EntityRecordCountCollection": collection,
        }
    )


def retrieve_principal_access(call: Call, row_id: str, arguments: str) -> Answer:
    """What a user may do with a row. Raises DataverseError 400 or 404."""
    match = re.fullmatch(r"Target\s*=\s*(@\w+)", arguments.strip())
    found = re.search(
        r"['\"]@odata\.id['\"]\s*:\s*['\"]([^'\"]+)['\"]", call.aliases.get(match[1], "") if match else ""
    )
    if not found:
        raise bad_request("RetrievePrincipalAccess needs the parameter Target, as an alias.")
    table = resolve_reference(call, found[1]).table
    rights = [
        f"{right}Access"
        for right in RIGHTS
        if not call.store.is_denied(call.connection, row_id, f"prv{right}{table.privilege_name}")
    ]
    return Answer.json(
        {
            "@odata.context": f"{call.root}$metadata#Microsoft.Dynamics.CRM.RetrievePrincipalAccessResponse",
            "AccessRights": ", ".join(rights) or "None",
        }
    )


def retrieve_user_set_of_privileges(call: Call, row_id: str, arguments: str) -> Answer:
    """Which of the privileges asked for a user holds, each with its depth; those that nobody knows are not held.

    Raises DataverseError 400.
    """
    match = re.fullmatch(r"PrivilegeNames\s*=\s*(@\w+|\[.*\])", arguments.strip())
    names = re.findall(r"['\"](\w+)['\"]", call.aliases.get(match[1], match[1])) if match else []
    if not names:
        raise bad_request("RetrieveUserSetOfPrivilegesByNames needs the parameter PrivilegeNames.")
    known = {f"prv{right}{table.privilege_name}" for right in RIGHTS for table in call.schema.tables.values()}
    held = [
        {
            "Depth": "Basic" if call.store.is_denied(call.connection, row_id, f"{name}:global") else "Global",
            "PrivilegeId": str(uuid.uuid5(uuid.NAMESPACE_OID, name)),
            "BusinessUnitId": call.store.business_unit_id,
            "PrivilegeName": name,
            "RecordFilterId": "00000000-0000-0000-0000-000000000000",
            "RecordFilterUniqueName": "",
        }
        for name in dict.fromkeys(names)
        if name in known and not call.store.is_denied(call.connection, row_id, name)
    ]
    context = f"{call.root}$metadata#Microsoft.Dynamics.CRM.RetrieveUserSetOfPrivilegesByNamesResponse"
    return Answer.json({"@odata.context": context, "RolePrivileges": held})


UNBOUND: dict[str, Callable[[Call, str], Answer]] = {
    "WhoAmI": who_am_i,
    "RetrieveVersion": retrieve_version,
    "RetrieveAvailableLanguages": retrieve_available_languages,
    "RetrieveProvisionedLanguages": retrieve_provisioned_languages,
    "RetrieveTotalRecordCount": retrieve_total_record_count,
    "RetrieveMetadataChanges": retrieve_metadata_changes,
}
ON_ROW: dict[tuple[str, str], Callable[[Call, str, str], Answer]] = {
    ("systemuser", "RetrievePrincipalAccess"): retrieve_principal_access,
    ("systemuser", "RetrieveUserSetOfPrivilegesByNames"): retrieve_user_set_of_privileges,
}
