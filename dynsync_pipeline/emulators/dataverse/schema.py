"""What a Dataverse table is made of: columns, options, lookups, keys. Not here: the tables that exist (`tables.py`)."""

from __future__ import annotations

from functools import cached_property
from typing import Literal

import msgspec

Kind = Literal[
    "guid", "text", "memo", "integer", "bigint", "decimal", "money", "boolean", "choice", "choices", "state", "status",
    "datetime", "date", "lookup",
]  # fmt: skip
TimeBehavior = Literal["UserLocal", "TimeZoneIndependent"]
Required = Literal["None", "Recommended", "ApplicationRequired", "SystemRequired"]

ATTRIBUTE_TYPES: dict[str, str] = {
    "guid": "Uniqueidentifier", "text": "String", "memo": "Memo", "integer": "Integer", "bigint": "BigInt",
    "decimal": "Decimal", "money": "Money", "boolean": "Boolean", "choice": "Picklist", "choices": "Virtual",
    "state": "State", "status": "Status", "datetime": "DateTime", "date": "DateTime", "lookup": "Lookup",
}  # fmt: skip
EDM_TYPES: dict[str, str] = {
    "guid": "Edm.Guid", "text": "Edm.String", "memo": "Edm.String", "integer": "Edm.Int32", "bigint": "Edm.Int64",
    "decimal": "Edm.Decimal", "money": "Edm.Decimal", "boolean": "Edm.Boolean", "choice": "Edm.Int32",
    "choices": "Edm.String", "state": "Edm.Int32", "status": "Edm.Int32", "datetime": "Edm.DateTimeOffset",
    "date": "Edm.Date", "lookup": "Edm.Guid",
}  # fmt: skip
SQL_TYPES: dict[str, str] = {
    "integer": "integer", "bigint": "integer", "money": "integer", "boolean": "integer", "choice": "integer",
    "state": "integer", "status": "integer", "decimal": "real",
}  # fmt: skip
MONEY_SCALE = 10_000
"""Money is stored as a whole number of ten-thousandths: exact up to the 922,337,203,685,477.5807 of the real thing."""


PRINCIPALS = ("systemuser", "team")


class Option(msgspec.Struct, frozen=True):
    """One value of a choice; `state` is the statecode a status reason belongs to."""

    value: int
    label: str
    state: int | None = None


class Target(msgspec.Struct, frozen=True):
    """One table a lookup may point at, and the names of the relationship from either end; `is_parental`: a row goes with the
    one it points at.
    """

    table: str
    navigation: str
    collection: str = ""
    is_parental: bool = False


class Column(msgspec.Struct, frozen=True):
    """One column; `valid_for_create` and `valid_for_update` false mean that a sent value is silently dropped.

    `default` is what a boolean of a new row holds if nobody sends it; rows that were there before the column hold null.
    `time_behavior` is of the kind datetime; the kind date is DateOnly. `made_at_version` is the row version when it was added:
    one that is dropped and made anew is another column.
    """

    name: str
    kind: Kind
    max_length: int = 100
    options: tuple[Option, ...] = ()
    targets: tuple[Target, ...] = ()
    required: Required = "None"
    valid_for_create: bool = True
    valid_for_update: bool = True
    precision: int = 2
    time_behavior: TimeBehavior = "UserLocal"
    minimum: float = -2147483648
    maximum: float = 2147483647
    secured: bool = False
    default: int = 0
    visible_from_s: float = 0.0
    made_at_version: int = 0

    @property
    def wire_name(self) -> str:
        """The property's name in rows, `$select` and `$filter`: lookups read as `_x_value`."""
        return f"_{self.name}_value" if self.kind == "lookup" else self.name

    @property
    def sql(self) -> str:
        """The quoted SQL name."""
        return f'"{self.name}"'

    @property
    def polymorphic(self) -> bool:
        """Whether the lookup may point at several tables, so that the row must also hold which."""
        return len(self.targets) > 1

    @property
    def type_sql(self) -> str:
        """SQL naming the table a lookup points at: a column of its own where there are several."""
        return f'"{self.name}@type"' if self.polymorphic else f"'{self.targets[0].table}'"

    def label(self, value: int) -> str | None:
        """The label of an option, None if there is no such option."""
        return next((option.label for option in self.options if option.value == value), None)


class Table(msgspec.Struct, frozen=True, dict=True):
    """One table. `changed_at_version` is the row version at its last metadata change: older delta tokens are dead."""

    name: str
    entity_set: str
    primary_id: str
    primary_name: str
    type_code: int
    columns: dict[str, Column]
    keys: dict[str, tuple[str, ...]] = {}
    change_tracking: bool = True
    writable: bool = True
    changed_at_version: int = 0

    @property
    def metadata_id(self) -> str:
        """A stable GUID of the table's definition."""
        return f"70816501-edb9-4740-a16c-{self.type_code:012x}"

    @property
    def privilege_name(self) -> str:
        """What privileges call its rows: activities of every kind share theirs."""
        return "Activity" if self.primary_id == "activityid" else self.name.capitalize()

    @property
    def key_property(self) -> str:
        """The OData key: `ownerid` for users and teams, which inherit from principal."""
        return "ownerid" if self.name in PRINCIPALS else self.primary_id

    @cached_property
    def by_wire_name(self) -> dict[str, Column]:
        """Columns by the name rows show."""
        return {column.wire_name: column for column in self.columns.values()}

    @cached_property
    def navigations(self) -> dict[str, tuple[Column, Target]]:
        """Single-valued navigation properties: name -> the lookup column and the table it leads to."""
        return {
            target.navigation: (column, target)
            for column in self.columns.values()
            if column.kind == "lookup"
            for target in column.targets
        }

    @cached_property
    def composites(self) -> dict[str, tuple[str, ...]]:
        """Read-only texts put together from parts: composite column -> its parts."""
        parts: dict[str, tuple[str, ...]] = {}
        for name in self.columns:
            if name.endswith("_composite"):
                prefix = name.removesuffix("composite")
                parts[name] = tuple(
                    other
                    for part in ("line1", "line2", "line3", "city", "stateorprovince", "postalcode", "country")
                    if (other := prefix + part) in self.columns
                )
        return parts


class Schema(msgspec.Struct, frozen=True, dict=True):
    """All tables, by logical name."""

    tables: dict[str, Table]

    @cached_property
    def by_set(self) -> dict[str, Table]:
        """Tables by entity set name; names are case-sensitive."""
        return {table.entity_set: table for table in self.tables.values()}

    def collections(self, table: str) -> dict[str, tuple[Table, Column, Target]]:
        """Collection-valued navigation properties of a table: name -> the table, lookup and target at the far end."""
        return {
            target.collection: (other, column, target)
            for other in self.tables.values()
            for column in other.columns.values()
            for target in column.targets
            if target.table == table and target.collection
        }
