"""Storage errors as sentences, and who may read what is stored; imports no database (`dynsync status` needs none).

Not here: the working file (`connection.py`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from dynsync_pipeline.errors import StorageFailed

if TYPE_CHECKING:
    import duckdb

OWNER_ONLY = 0o600  # it holds everybody's data
OWNERS_FOLDER = 0o700


def utc_now() -> datetime:
    """The time of this machine, with its zone."""
    return datetime.now(UTC)


@contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turn what DuckDB and the file system say about storage into `StorageFailed`; other errors pass."""
    try:
        yield
    except Exception as error:
        import duckdb  # only now: who only looks at a file beside the databases needs none

        if not isinstance(error, duckdb.Error | OSError):
            raise
        said = _storage_failure(path, error)
        if said is None:
            raise
        raise said from None


def _storage_failure(path: Path, error: duckdb.Error | OSError) -> StorageFailed | None:
    """The sentence for what went wrong with the storage; None if something else did."""
    import duckdb

    about_storage = (duckdb.IOException, duckdb.FatalException, duckdb.OutOfMemoryException, OSError)
    text = str(error)
    unusable = _UNUSABLE.search(text)
    if not (isinstance(error, about_storage) or unusable or any(sign in text.lower() for sign in (*_FULL, *_DAMAGED))):
        return None
    if any(sign in text.lower() for sign in _DAMAGED):
        return StorageFailed(
            f"{path} is damaged: {_KIND.sub('', text.splitlines()[0]).rstrip('.!')}.",
            next_step=f"Restore it from a backup. Without one, move {path.name} and {path.name}.wal away: people are linked "
            "again by the ids they bear, every link meets as for the first time, and the ledger begins anew "
            "(docs/operate.md#working-file-and-snapshot).",
        )
    if "Could not set lock" in text or "Conflicting lock" in text:
        return StorageFailed(
            f"{path} is open in another program.",
            next_step="Close it there: analysts read snapshot.duckdb, never the working file.",
        )
    if any(sign in text.lower() for sign in _FULL):
        return StorageFailed(
            f"The disk of {path.parent} is full.",
            next_step="Free space and start the next cycle; what was committed is kept.",
        )
    if isinstance(error, duckdb.OutOfMemoryException):
        return StorageFailed(
            "DuckDB has too little memory, or too little space for what does not fit into memory.",
            next_step="Give the machine more memory, or free space on the disk of the data folder; then start the next cycle.",
        )
    name: object = path
    said = _KIND.sub("", text.splitlines()[0])
    if unusable:
        name, said = unusable.groups()
    elif isinstance(error, OSError) and error.strerror:
        name, said = error.filename2 or error.filename or path, error.strerror
    return StorageFailed(
        f"{name} cannot be read or written: {said.rstrip('.')}.",
        next_step="Check the data folder and the disk.",
    )


_UNUSABLE = re.compile(r'(?:Could not|Cannot) \w+ (?:from |to )?file "([^"]+)"[^:\n]*: ([^\n]+)')
"""What DuckDB says of a file, whatever error it says it in: its name, and what the system said."""
_KIND = re.compile(r"^(?:\w+ )?Error: ")
_DAMAGED = (
    "not read enough bytes",
    "corrupt",
    "checksum",
    "replaying wal",
    "deserialize",
    "not a valid duckdb database",
)
_FULL = ("no space left", "disk quota", "not enough disk space")
