"""The three record types of Dynamics (R15), its tasks, and where each lives on the wire. Not here: which columns are synced."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

# A column of what a client reads, beside those of the record, and no name of a field: null, or why a row cannot be read.
UNREAD = "@unread"


# A column of any of the tables: no keeps a record out of the sync (R87). The name is the vendor's, prefix included (R88).
FILTER_COLUMN = "new_synctomkto"


class RecordType(StrEnum):
    """A kind of Dynamics record; people in Marketo are of type lead, contact or neither."""

    ACCOUNT = "account"
    CONTACT = "contact"
    LEAD = "lead"


def logical_name(column: str) -> str:
    """The name that Dynamics' definitions have for a column as it is read: `_masterid_value` is the lookup `masterid`."""
    return column.removeprefix("_").removesuffix("_value")


PERSON_TYPES = (RecordType.CONTACT, RecordType.LEAD)


@dataclass(frozen=True)
class EntitySet:
    """A Dynamics table as it is addressed: logical name, entity set, primary key."""

    name: str
    entity_set: str
    id_column: str


@dataclass(frozen=True)
class Table(EntitySet):
    """A Dynamics table that is synced, with the columns read beside the mapped ones.

    `offered_columns` are read where Dynamics offers them; what they tell of is unknown elsewhere.
    """

    system_columns: tuple[str, ...]
    offered_columns: tuple[str, ...] = ()

    @property
    def record_type(self) -> RecordType:
        """What its rows are."""
        return RecordType(self.name)

    @property
    def mirror(self) -> str:
        """The table of the working file that holds this table as last seen."""
        return f"mirror.dynamics_{self.entity_set}"

    @property
    def inbox(self) -> str:
        """The table of the working file that holds what this cycle saw of this table."""
        return f"inbox.dynamics_{self.entity_set}"


TABLES = {
    RecordType.ACCOUNT: Table(
        RecordType.ACCOUNT,
        "accounts",
        "accountid",
        ("createdon", "modifiedon", "_modifiedby_value", "statecode", "_ownerid_value"),
        (FILTER_COLUMN,),
    ),
    RecordType.CONTACT: Table(
        RecordType.CONTACT,
        "contacts",
        "contactid",
        ("createdon", "modifiedon", "_modifiedby_value", "statecode", "_ownerid_value", "_parentcustomerid_value"),
        ("merged", "_masterid_value", "_originatingleadid_value", FILTER_COLUMN),
    ),
    RecordType.LEAD: Table(
        RecordType.LEAD,
        "leads",
        "leadid",
        ("createdon", "modifiedon", "_modifiedby_value", "statecode", "_ownerid_value"),
        ("merged", "_masterid_value", "_parentcontactid_value", FILTER_COLUMN),
    ),
}

# Tasks are made on request (R78), and never read or followed.
TASKS = EntitySet("task", "tasks", "activityid")
