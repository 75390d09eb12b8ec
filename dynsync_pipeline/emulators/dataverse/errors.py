"""The errors of the real service as this emulator raises them: status, hex code, message.

Source: docs/protocols/dataverse.md#errors.
"""

from __future__ import annotations

from typing import Any


class DataverseError(Exception):
    """An answer that is an error; `headers` are added to it."""

    def __init__(self, status: int, code: str, message: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.headers = headers or {}

    @property
    def body(self) -> dict[str, Any]:
        """The vendor's error envelope."""
        return {"error": {"code": self.code, "message": self.message}}


def bad_request(message: str, code: str = "0x80060888") -> DataverseError:
    """A request the service cannot understand."""
    return DataverseError(400, code, message)


def bad_payload(entity_set: str, reason: str) -> DataverseError:
    """A body that does not fit the table: wrong type, unknown property, bad bind."""
    return DataverseError(
        400,
        "0x80048d19",
        f"Error identified in Payload provided by the user for Entity :'{entity_set}', For more information on this "
        f"error please follow this help link https://go.microsoft.com/fwlink/?linkid=2195293  ---->  InnerException : "
        f"Microsoft.OData.ODataException: {reason}",
    )


def no_such_row(entity: str, key: str) -> DataverseError:
    """The addressed row is not there."""
    return DataverseError(404, "0x80040217", f"Entity '{entity}' With Id = {key} Does Not Exist")


def no_such_key(entity: str) -> DataverseError:
    """No row has these alternate key values."""
    return DataverseError(
        404, "0x80060891", f"A record with the specified key values does not exist in {entity} entity"
    )


def no_such_segment(segment: str) -> DataverseError:
    """The path names nothing."""
    return DataverseError(404, "0x80060888", f"Resource not found for the segment '{segment}'.")


def no_such_property(name: str, entity: str) -> DataverseError:
    """A query names a column the table does not have."""
    return bad_request(f"Could not find a property named '{name}' on type 'Microsoft.Dynamics.CRM.{entity}'.")


def wrong_verb(method: str) -> DataverseError:
    """The resource exists, the verb does not fit it."""
    return DataverseError(405, "0x8006088a", f"The requested resource does not support http method '{method}'.")


def version_mismatch() -> DataverseError:
    """If-Match named an older version of the row."""
    return DataverseError(
        412,
        "0x80060882",
        "The version of the existing record doesn't match the RowVersion property provided.",
    )


def already_exists() -> DataverseError:
    """If-None-Match: * met a row."""
    return DataverseError(412, "0x80040237", "A record with matching key values already exists.")


def expired_version() -> DataverseError:
    """The delta token is too old, or the table's metadata changed since."""
    return DataverseError(
        400,
        "0x80044352",
        "Version stamp associated with the client has expired. Please perform a full sync.",
    )


def privilege_denied(user_id: str, privilege: str, entity: str, type_code: int) -> DataverseError:
    """The caller's role lacks a privilege."""
    return DataverseError(
        403,
        "0x80040220",
        f"Principal user (Id={user_id}, type=8, roleCount=1, privilegeCount=120, accessMode=0), is missing {privilege} "
        f"privilege (Id=00000000-0000-0000-0000-{type_code:012x}) on OTC={type_code} for entity '{entity}'.",
    )
