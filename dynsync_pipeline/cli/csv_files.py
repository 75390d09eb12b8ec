"""CSV for spreadsheets: writing what a command found, and the text of what one saved.

Not here: the file of an adoption (`adoption_file.py`).
"""

from __future__ import annotations

import codecs
import csv
import os
import re
import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, TextIO

from dynsync_pipeline.cli.output import errors_to
from dynsync_pipeline.errors import StorageFailed

FORMULA = ("=", "+", "-", "@", "\t", "\r")  # a spreadsheet takes a cell that begins so for a formula


def export(found: Sequence[dict[str, Any]], columns: Sequence[str], target: str, noun: str) -> None:
    """Write the rows to the file `target`, or to the standard output where it is -, and say how many there were.

    A file that is new is its owner's alone, for records stand in it. Raises: StorageFailed.
    """
    if target == "-":
        write_csv(found, columns, sys.stdout)
        return
    path = Path(target)
    try:
        with open(path, "w", encoding="utf-8", newline="", opener=_owners_alone) as file:
            write_csv(found, columns, file)
    except OSError as error:
        raise StorageFailed(
            f"{path} cannot be written: {error.strerror}.", next_step="Name another file, or - for the standard output."
        ) from None
    errors_to.print(f"{len(found):,} {noun} written to {path}.", highlight=False)


def _owners_alone(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def write_csv(found: Sequence[dict[str, Any]], columns: Sequence[str], file: TextIO) -> None:
    """Write the rows with a header line; no cell can begin a formula, because an apostrophe stands before it."""
    writer = csv.writer(file)
    writer.writerow(columns)
    for row in found:
        writer.writerow([harmless(row.get(name)) for name in columns])


def harmless(value: object) -> str:
    """A value as a cell that no spreadsheet takes for a formula."""
    text = f"{value:%Y-%m-%d %H:%M:%S}" if isinstance(value, datetime) else "" if value is None else str(value)
    return f"'{text}" if text.startswith(FORMULA) else text


def decoded(content: bytes, errors: str = "strict") -> str:
    """The text of a CSV as spreadsheets save it: UTF-8, or UTF-16 with its mark, as "Unicode text" has it.

    Raises: UnicodeDecodeError for what is neither, unless `errors` says what takes its place.
    """
    is_utf_16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return content.decode("utf-16" if is_utf_16 else "utf-8-sig", errors)


def separator(text: str) -> str:
    """What stands between the cells of a CSV: spreadsheets take a comma, a semicolon or a tabulator, by country and kind."""
    return max(",;\t", key=re.split(r"[\r\n]", text, maxsplit=1)[0].count)
