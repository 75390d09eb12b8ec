"""What is known of a statement before anybody runs it: from which tables it draws, and which columns it makes.

Of the statements of the rule files that stands in `sql_known.json`, because DuckDB took a new process most of a second to tell
it, a quarter of a cycle without changes. What is not in there is asked when it is needed, and all columns are where any SQL
file is another one than then, for a statement has its columns of others: whoever changed one is only slower. Whoever changes
what the code gives them, a view or a table such as `this_cycle`, writes the file anew, as a test says.
Not here: how sources are read off a statement (`sql_trees.py`), and what they decide (`sql_sources.py`).
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from functools import cache
from hashlib import blake2b
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

import duckdb

from dynsync_pipeline.sql_sources import Sources


class Known(NamedTuple):
    """`sources` of a statement; the type of each of the `columns` it makes, None where it makes none, or they follow the
    field map, or what the code around puts beside the rule files.
    """

    sources: Sources
    columns: Mapping[str, str] | None = None


def known_of(connection: duckdb.DuckDBPyConnection, statements: Collection[str]) -> dict[str, Known]:
    """What is known of each of these statements; `connection` parses those that are not in the file."""
    if unread := [sql for sql in statements if sql not in _KNOWN and digest(sql) not in _stored()]:
        from dynsync_pipeline.sql_trees import read_off  # which most processes do without

        _KNOWN.update({sql: Known(sources) for sql, sources in read_off(connection, unread).items()})
    _KNOWN.update({sql: _stored()[digest(sql)] for sql in statements if sql not in _KNOWN})
    return {sql: _KNOWN[sql] for sql in statements}


_KNOWN: dict[str, Known] = {}


def digest(sql: str) -> str:
    """What a statement is called in `sql_known.json`."""
    return blake2b(sql.encode(), digest_size=8).hexdigest()


@cache
def _stored() -> dict[str, Known]:
    """What is in the file, by digest; without columns where another DuckDB, or another SQL file, may tell others."""
    text = files("dynsync_pipeline").joinpath("sql_known.json").read_text("utf-8")
    try:
        file: dict[str, Any] = json.loads(text)
    except ValueError:  # it is being written anew, or two changes met in it
        return {}
    is_of_these = file.pop("made_from", None) == made_from()
    return {name: Known(sources, columns if is_of_these else None) for name, (sources, columns) in file.items()}


def made_from() -> str:
    """The version of DuckDB, and a digest of all SQL files of the package, which takes some milliseconds."""
    seen = blake2b(digest_size=16)
    for file in sorted(Path(str(files("dynsync_pipeline"))).glob("*/**/*.sql")):
        seen.update(file.read_bytes())
    return f"{duckdb.__version__} {seen.hexdigest()}"
