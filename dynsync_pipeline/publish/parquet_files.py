"""What stands in the folder of Parquet files: which tables, and the manifest that says which files are one state of them.

A table is the files that the manifest names. Of one that is kept by delta, rows whose key stands in the file of moved keys
count for nothing in them: these rows stand in a file of their own, as they are now. Not here: writing them (`parquet.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import msgspec

from dynsync_pipeline.errors import StorageFailed

MANIFEST = "manifest.json"
OURS = "dynsync-*.parquet"  # what is ever written or removed in the folder, beside the manifest
RESULTS = "dynsync-results-*"  # and folders of what an engine found, while it brings that


class Moved(StrEnum):
    """The keys by which rows are found that moved since a table was written as a whole."""

    PEOPLE = "people"
    RECORDS = "records"


KEYS = {Moved.PEOPLE: ("person_id",), Moved.RECORDS: ("record_type", "dynamics_id")}


@dataclass(frozen=True)
class ParquetTable:
    """A table by the name that it has in the working file; `select` says what is kept of it.

    By delta are those with keys in `moved`. Those with a time in `month` are written month by month; `number` counts their rows.
    All others are written as a whole each time.
    """

    name: str
    select: str
    moved: Moved | None = None
    month: str = ""
    number: str = ""


def _all_of(name: str, moved: Moved | None = None) -> ParquetTable:
    return ParquetTable(name, f"select * from {name}", moved)


def _side(name: str, moved: Moved) -> ParquetTable:
    """One of the three sides: a view, which has one column that stands for none."""
    return ParquetTable(name, f'select * exclude ("(nothing)") from {name}', moved)


def _ledger(name: str, month: str, number: str = "entry_id") -> ParquetTable:
    return ParquetTable(name, f"select * from {name}", month=month, number=number)


TABLES = (
    _side("state.base_values", Moved.PEOPLE),
    _side("state.dynamics_records", Moved.RECORDS),
    _side("state.marketo_values", Moved.PEOPLE),
    _all_of("mirror.marketo_people", Moved.PEOPLE),
    ParquetTable(
        "mirror.person_records", "select record_type, dynamics_id, is_deleted from mirror.person_records", Moved.RECORDS
    ),
    _all_of("state.links", Moved.PEOPLE),
    ParquetTable("state.base", "select person_id from state.base", Moved.PEOPLE),
    _all_of("state.standing_differences", Moved.PEOPLE),
    _ledger("ledger.changes", "changed_at"),
    _ledger("ledger.collisions", "settled_at"),
    _ledger("ledger.account_changes", "changed_at"),
    _ledger("ledger.activities", "activity_at", "activity_id"),
    _ledger("ledger.audit_findings", "found_at", "finding_id"),
    _ledger("ledger.observations", "seen_at"),
    *map(
        _all_of,
        (
            *("reconcile.fields", "state.columns", "state.user_zone", "state.option_maps", "state.old_labels"),
            *(
                "state.base_missing",
                "state.returned_fields",
                "state.unsettled",
                "state.reviews",
                "state.approvals",
                "state.tombstones",
            ),
            *("state.adoption", "state.requested", "state.unread", "state.unread_links", "state.filtered_out"),
            *(
                "state.dynamics_edits",
                "state.marketo_edits",
                "mirror.conversions",
                "inbox.touched",
                "ledger.sync_errors",
            ),
        ),
    ),
)


class Part(msgspec.Struct, frozen=True):
    """A file of a table. Of a ledger's month: which, how many rows it has, and the lowest and highest number."""

    file: str
    month: str = ""
    n_rows: int = 0
    lowest: int = 0
    highest: int = 0


class Table(msgspec.Struct, frozen=True):
    """The files of one table; `moved`: the file of the rows that moved since, `moved_by`: whose keys tell which these are."""

    parts: tuple[Part, ...]
    moved: str | None = None
    moved_by: Moved | None = None


class Manifest(msgspec.Struct, frozen=True):
    """One state: its name, as the working file knows it, when it was made, UTC, and its files.

    `layout`: a digest of tables, columns and what values are compared by. `moved`: the files of moved keys. `retired`: files
    of older states and since when they are; readers of such may go on for a day.
    """

    publication: str
    made_at: str
    layout: str
    tables: dict[str, Table]
    moved: dict[Moved, str]
    retired: dict[str, str]

    @property
    def files(self) -> Iterator[str]:
        """The names of all files of this state."""
        yield from self.moved.values()
        for table in self.tables.values():
            yield from (part.file for part in table.parts)
            if table.moved is not None:
                yield table.moved


def read_manifest(folder: Path) -> Manifest | None:
    """The state in the folder; None where there is none, or none that this version reads. Raises: StorageFailed."""
    try:
        return msgspec.json.decode((folder / MANIFEST).read_bytes(), type=Manifest)
    except (FileNotFoundError, NotADirectoryError, msgspec.DecodeError):
        return None
    except OSError as error:
        raise StorageFailed(
            f"{folder / MANIFEST} cannot be read: {error.strerror}.",
            next_step="Check the folder of DYNSYNC_PARQUET_DIR.",
        ) from None


def reading_query(table: Table, manifest: Manifest, scan: Callable[[list[str]], str]) -> str:
    """A query for all rows of a table, in SQL that any engine knows; `scan` says how one reads these files as a relation."""
    whole = f"select * from {scan([part.file for part in table.parts])} settled"
    if table.moved is None or table.moved_by is None:
        return whole
    is_same = " and ".join(f"keys.{key} = settled.{key}" for key in KEYS[table.moved_by])
    keys = scan([manifest.moved[table.moved_by]])
    kept = f"{whole} where not exists (select 1 from {keys} keys where {is_same})"
    return f"{kept} union all select * from {scan([table.moved])} moved"
