"""Which tables the sync's user may write, or create rows of (R125). Source: docs/protocols/dataverse.md#privileges."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal
from urllib.parse import quote

import msgspec

from dynsync_pipeline.model.records import EntitySet


class _Privilege(msgspec.Struct):
    name: str = msgspec.field(name="PrivilegeName")
    depth: str = msgspec.field(name="Depth")


class _Privileges(msgspec.Struct):
    held: list[_Privilege] = msgspec.field(name="RolePrivileges")


_privileges = msgspec.json.Decoder(_Privileges)


Right = Literal["Write", "Create", "Assign"]


def privilege(right: Right, table: EntitySet) -> str:
    """What Dynamics calls a right to rows of a table; activities of every kind share theirs."""
    return f"prv{right}{'Activity' if table.id_column == 'activityid' else table.name.capitalize()}"


def privileges_query(user_id: str, right: Right, tables: Sequence[EntitySet]) -> str:
    """Path and query that ask for a user's right to rows of these tables, rights of its teams included."""
    names = ",".join(f'"{privilege(right, table)}"' for table in tables)
    function = "Microsoft.Dynamics.CRM.RetrieveUserSetOfPrivilegesByNames(PrivilegeNames=@p)"
    return f"systemusers({user_id})/{function}?@p={quote(f'[{names}]')}"


def privilege_depths(answer: bytes, right: Right, tables: Sequence[EntitySet]) -> dict[str, str | None]:
    """By table, the depth of the right in the answer to `privileges_query`: Basic, Local, Deep or Global; None for none.

    Raises: msgspec.DecodeError.
    """
    held = {each.name.lower(): each.depth for each in _privileges.decode(answer).held}
    return {table.name: held.get(privilege(right, table).lower()) for table in tables}
