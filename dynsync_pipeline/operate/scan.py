"""Looking for values in every file of an installation: the proof of an erasure, which finds them before and nothing after.

Databases and Parquet files are opened, and every table is read; archives are unpacked; everything else is searched byte by byte.
Not here: removing anything (`forget.py`).
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
import tempfile
import zipfile
from collections.abc import Collection, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import duckdb

from dynsync_pipeline.errors import SettingsWrong, StorageFailed
from dynsync_pipeline.publish.private_copy import literal

_SQLITE, _ZIP, _PARQUET = b"SQLite format 3\0", b"PK\x03\x04", b"PAR1"
_BLOCK = 1 << 20
POSTGRES_URL = "DAGSTER_POSTGRES_URL"


@dataclass(frozen=True)
class _Search:
    """What is looked for, in small letters; room for copies; one database for the hundreds of Parquet files that there are."""

    wanted: list[str]
    room: Path
    database: duckdb.DuckDBPyConnection


def find(folders: Collection[Path], values: Collection[str], room: Path, left_out: Collection[Path] = ()) -> list[str]:
    """The places, a file or a table in one, that hold any of these values, in any case of letters; in order.

    `room`: a folder for copies and for what archives hold, which is personal data and would stay there after a kill.
    `left_out`: folders that are no part of the installation. What cannot be opened is named as such a place.
    """
    wanted = sorted({value.lower() for value in values if value})
    found: set[str] = set()
    with closing(duckdb.connect()) as database:
        search = _Search(wanted, room, database)
        for folder in folders:
            for file in _files_in(folder, left_out, found):
                found.update(_in_file(file, str(file), search))
    return sorted(found)


def _files_in(folder: Path, left_out: Collection[Path], closed: set[str]) -> Iterator[Path]:
    """All files below, while others may remove folders; to `closed` go folders that cannot be looked into."""

    def note(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):
            closed.add(f"{error.filename}: cannot be opened")

    for parent, below, names in os.walk(folder, onerror=note):
        below[:] = [each for each in below if Path(parent, each) not in left_out]
        yield from (Path(parent, name) for name in names)


def _in_file(file: Path, name: str, search: _Search) -> Iterator[str]:
    try:
        if not stat.S_ISREG(file.stat().st_mode):
            return
        with file.open("rb") as stream:
            head = stream.read(16)
        if head[8:12] == b"DUCK":
            yield from _in_duckdb(file, name, search)
        elif head == _SQLITE:
            yield from _in_sqlite(file, name, search)
        elif head.startswith(_PARQUET):
            yield from _in_parquet(file, name, search)
        elif head.startswith(_ZIP):
            yield from _in_zip(file, name, search)
        elif _has_bytes(file, search.wanted):
            yield name
    except FileNotFoundError:  # Dagster's services go on meanwhile, and remove files of theirs
        return
    except (PermissionError, duckdb.Error, sqlite3.Error, zipfile.BadZipFile):
        yield f"{name}: cannot be opened"


def _in_duckdb(file: Path, name: str, search: _Search) -> Iterator[str]:
    # Beside a copy of its write-ahead log, which may hold what the file does not.
    with tempfile.TemporaryDirectory(dir=search.room) as folder:
        # Without its mode: the snapshot is read only, and DuckDB could not open such a copy.
        copy = Path(shutil.copyfile(file, Path(folder) / "copy.duckdb"))
        log = file.with_name(file.name + ".wal")
        if log.exists():
            shutil.copyfile(log, copy.with_name("copy.duckdb.wal"))
        with closing(duckdb.connect(copy)) as connection:
            tables = connection.execute(
                "select schema_name, table_name from duckdb_tables() where not internal and not temporary order by all"
            ).fetchall()
            for schema, table in tables:
                if _count(connection, f'"{schema}"."{table}"', search.wanted):
                    yield f"{name}: {schema}.{table}"


def _count(connection: duckdb.DuckDBPyConnection, relation: str, wanted: list[str]) -> int:
    query = (
        f"select count(*) from (select lower(concat_ws(chr(1), *columns(*))) as text from {relation}) "
        "where len(list_filter(?::varchar[], lambda wanted: contains(text, wanted))) > 0"
    )
    return int(connection.execute(query, [wanted]).fetchall()[0][0])


def _in_parquet(file: Path, name: str, search: _Search) -> Iterator[str]:
    if _count(search.database, f"read_parquet({literal(file)})", search.wanted):
        yield name


def _in_sqlite(file: Path, name: str, search: _Search) -> Iterator[str]:
    with closing(sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True)) as store:
        names = store.execute("select name from sqlite_schema where type = 'table'").fetchall()
        for (table,) in names:
            for row in store.execute(f'select * from "{table}"'):
                text = "\1".join(_text(value) for value in row).lower()
                if any(value in text for value in search.wanted):
                    yield f"{name}: {table}"
                    break


def _text(value: object) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _in_zip(file: Path, name: str, search: _Search) -> Iterator[str]:
    with tempfile.TemporaryDirectory(dir=search.room) as folder:
        with zipfile.ZipFile(file) as archive:
            archive.extractall(folder)
        for inner in sorted(Path(folder).rglob("*")):
            yield from _in_file(inner, f"{name}/{inner.relative_to(folder)}", search)


def _has_bytes(file: Path, wanted: list[str]) -> bool:
    patterns = [value.encode() for value in wanted]
    longest = max((len(pattern) for pattern in patterns), default=0)
    rest = b""
    with file.open("rb") as stream:
        while block := stream.read(_BLOCK):
            text = (
                (rest + block).lower()
                if (rest + block).isascii()
                else (rest + block).decode("utf-8", "replace").lower().encode()
            )
            if any(pattern in text for pattern in patterns):
                return True
            rest = (rest + block)[-4 * longest :]
    return False


def in_postgres(values: Collection[str], address: str) -> list[str]:
    """The tables of a PostgreSQL at `address` that hold any of these values; needs the extra `postgres`.

    Raises: StorageFailed, where it does not answer.
    """
    import psycopg2
    from psycopg2 import sql

    found = []
    try:
        with closing(psycopg2.connect(address.replace("+psycopg2", ""))) as database, database.cursor() as cursor:
            cursor.execute("select table_name from information_schema.tables where table_schema = 'public' order by 1")
            for (table,) in cursor.fetchall():
                query = sql.SQL("select count(*) from {table} t where lower(t::text) like any (%s)").format(
                    table=sql.Identifier(table)
                )
                cursor.execute(query, [[f"%{_escaped(value.lower())}%" for value in values]])
                if cursor.fetchone()[0]:
                    found.append(f"PostgreSQL: {table}")
    except psycopg2.Error:  # its text may hold what was looked for
        raise StorageFailed(
            f"The PostgreSQL that {POSTGRES_URL} names cannot be searched.",
            next_step="See that it runs and that the address is right, and give the same command again.",
        ) from None
    return found


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


def storage_of_dagster(data_dir: Path) -> str | None:
    """The address of the PostgreSQL that Dagster keeps its runs in, if any.

    Raises: SettingsWrong, where its home in `data_dir` says that there is one and nobody told this process the address: the
    services have it from a file of theirs.
    """
    address = os.environ.get(POSTGRES_URL)
    home = data_dir / "dagster" / "dagster.yaml"
    if not address and home.exists() and POSTGRES_URL in home.read_text("utf-8"):
        raise SettingsWrong(
            f"Dagster keeps its runs in PostgreSQL, and {POSTGRES_URL} does not say where, so nobody can search it.",
            next_step="Set it in the environment of this command, as the services have it.",
        )
    return address or None
