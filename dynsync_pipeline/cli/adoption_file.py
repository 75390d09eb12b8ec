"""The CSV that an adoption is reviewed in: written for spreadsheets, read back as spreadsheets leave it.

Not here: what is proposed, and what contradicts the mirrors (`reconcile/adoption.py`).
"""

from __future__ import annotations

import csv
import io
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from dynsync_pipeline.cli.csv_files import decoded, harmless, separator
from dynsync_pipeline.errors import AdoptionWrong, StorageFailed
from dynsync_pipeline.model.records import PERSON_TYPES
from dynsync_pipeline.reconcile.adoption import Decision, Fault, Pair, Reviewed

if TYPE_CHECKING:
    from _csv import Reader as _Rows

COLUMNS = Pair._fields
READ = ("record_type", "dynamics_id", "decision", "person_id")  # the others are for people and are not read
MOST_FAULTS = 20
_GUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_PERSON_ID = re.compile(r"[1-9][0-9]{0,17}")


def require_new(path: Path) -> None:
    """Refuse to go over a file that somebody may have reviewed. Raises: AdoptionWrong."""
    if path.exists():
        raise AdoptionWrong(
            f"{path} exists already, and somebody may have reviewed it.",
            next_step="Apply it, move it away, or name another file with --out.",
        )


def write_pairs(path: Path, pairs: Iterable[Pair]) -> Counter[str]:
    """Write the proposal, readable to its owner alone; returns how many lines have each decision and each `match`.

    It has its name once it is written to its end: half a proposal looks like a whole one. Raises: AdoptionWrong if the file
    exists, StorageFailed.
    """
    require_new(path)
    counts: Counter[str] = Counter()
    new = path.with_name(path.name + ".new")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        new.unlink(missing_ok=True)  # of one that was killed
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise _unwritable(path, error) from None
    try:
        # With a byte order mark, because spreadsheets else take names in other scripts for garbage.
        with os.fdopen(descriptor, "w", encoding="utf-8-sig", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(COLUMNS)
            for pair in pairs:
                writer.writerow([harmless(value) for value in pair])
                counts.update((pair.decision, pair.match))
        require_new(path)
        new.replace(path)
    except BaseException as error:
        new.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise _unwritable(path, error) from None
        raise
    return counts


def _unwritable(path: Path, error: OSError) -> StorageFailed:
    return StorageFailed(f"{path} cannot be written: {error.strerror}.", next_step="Name another file with --out.")


def read_reviewed(path: Path) -> list[Reviewed]:
    """The decisions of a reviewed file, whatever separator, line ends and further columns a spreadsheet gave it.

    Raises: AdoptionWrong with the lines at fault; no cell is quoted, for it may hold anything.
    """
    rows = _opened(path)
    reviewed, faults = [], []
    try:
        for line, cells in _lines(path, rows):
            texts = _faults(cells)
            faults += [Fault(line, fault) for fault in texts]
            if not texts:
                reviewed.append(_reviewed(line, cells))
    except csv.Error:
        raise refused(path, [Fault(rows.line_num, "it cannot be read as CSV")]) from None
    if faults:
        raise refused(path, faults)
    if not reviewed:
        raise refused(path, [Fault(1, "no decision follows the header")])
    return reviewed


def _opened(path: Path) -> _Rows:
    try:
        # What is read is ASCII; names may be in any code.
        text = decoded(path.read_bytes(), errors="replace")
    except OSError as error:
        raise AdoptionWrong(f"{path} cannot be read: {error.strerror}.", next_step="Name the reviewed file.") from None
    return csv.reader(io.StringIO(text, newline=""), delimiter=separator(text))


def _lines(path: Path, rows: _Rows) -> Iterator[tuple[int, dict[str, str]]]:
    """The number of each line that is not blank, and the cells that are read of it, by column."""
    header = [name.strip().lower() for name in next(rows, [])]
    lacking = [name for name in READ if header.count(name) != 1]
    if lacking:
        raise refused(path, [Fault(1, f"no column, or several, of the name {', '.join(lacking)}")])
    line = rows.line_num + 1
    for row in rows:
        if any(cell.strip() for cell in row):
            padded = [*row, *[""] * (len(header) - len(row))]
            yield line, {name: padded[header.index(name)].strip() for name in READ}
        line = rows.line_num + 1


def refused(path: Path, faults: list[Fault]) -> AdoptionWrong:
    """The error that tells the first of these faults with their lines."""
    told = "".join(f"\n  line {fault.line}: {fault.text}" for fault in faults[:MOST_FAULTS])
    more = f"\n  and {len(faults) - MOST_FAULTS:,} more" if len(faults) > MOST_FAULTS else ""
    return AdoptionWrong(
        f"{path} cannot be applied, and nothing was written:{told}{more}\n",
        next_step="Correct the file and apply it again.",
    )


def _faults(cells: dict[str, str]) -> list[str]:
    found = []
    if cells["record_type"].lower() not in PERSON_TYPES:
        found.append("record_type is neither contact nor lead")
    if not _GUID.fullmatch(_guid(cells)):
        found.append("dynamics_id is not the id of a Dynamics record")
    if cells["decision"].lower() not in tuple(Decision):
        found.append(f"decision is none of {', '.join(Decision)}")
    if cells["decision"].lower() == Decision.LINK:
        found += _faults_of_person(cells["person_id"])
    return found


def _faults_of_person(person_id: str) -> list[str]:
    if not person_id:
        return ["link needs a person_id"]
    return [] if _PERSON_ID.fullmatch(person_id) else ["person_id is not the id of a Marketo person"]


def _reviewed(line: int, cells: dict[str, str]) -> Reviewed:
    decision = Decision(cells["decision"].lower())
    person_id = int(cells["person_id"]) if decision is Decision.LINK else None
    return Reviewed(line, cells["record_type"].lower(), _guid(cells), person_id, decision)


def _guid(cells: dict[str, str]) -> str:
    return cells["dynamics_id"].strip("{}").lower()
