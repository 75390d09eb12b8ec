"""Runs the SQL files of the package, statement by statement, each with a name.

A file opens with what it does, what it reads, makes and changes, in one fixed form that `docs/steps.md` shows. Whatever a
file makes is a temporary table and is dropped before the first file of a run starts: a file in the wrong place never reads
what an earlier run left. A statement of which nothing can come, because what it draws from is empty, is left out, and what
it makes is made empty: over a million people a join with nothing may take a second, and half a gigabyte. What a run left empty
is not dropped and made again by the next one that has nothing for it: most rules have nothing to do in most cycles.
Not here: which files run in which order (the code beside them), what is known of a statement (`sql_known.py`).
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import NamedTuple
from weakref import WeakKeyDictionary

import duckdb

from dynsync_pipeline.errors import SqlFileFailed
from dynsync_pipeline.sql_known import Known, known_of
from dynsync_pipeline.sql_sources import may_draw, tables_in

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SqlFile:
    """One SQL file with its header; `path` is seen from the package, `makes` has the grain of each table."""

    path: str
    text: str
    does: str
    reads: tuple[str, ...]
    makes: dict[str, str]
    changes: tuple[str, ...]


class Statement(NamedTuple):
    """One statement of a file: its number and first line, both counted from 1, its text, the table that it makes, fills,
    changes or empties, and the same again where it makes it, as a temporary one.
    """

    number: int
    line: int
    sql: str
    target: str | None
    makes: str | None

    @property
    def query(self) -> str:
        """What it makes its table of."""
        return _MADE_OF.sub("", self.sql, count=1).rstrip(";")


_MADE_OF = re.compile(r"\Acreate temp table \w+ as\s")


@lru_cache
def sql_file(step: str) -> SqlFile:
    """The file of a step, `reconcile/fan_out` for `reconcile/sql/fan_out.sql`. Raises: ValueError for another header."""
    room, _, name = step.partition("/")
    path = f"{room}/sql/{name}.sql"
    text = files("dynsync_pipeline").joinpath(path).read_text("utf-8")
    header = _HEADER.match(text)
    if header is None:
        raise ValueError(f"{path} does not open with what it does, reads, makes and changes.")
    title, _, does = _unfolded(header["does"]).partition(": ")
    if title != name.rpartition("/")[2]:
        raise ValueError(f"{path} opens with the name {title}.")
    makes = {found["table"]: _unfolded(found["grain"]) for found in _MADE.finditer(header["makes"])}
    if not makes and _unfolded(header["makes"]) != "nothing":
        raise ValueError(f"{path} does not say what a row of each table it makes is.")
    return SqlFile(path, text, does, _names(header["reads"]), makes, _names(header["changes"]))


_HEADER = re.compile(
    r"(?P<does>(?:-- \S.*\n)+)--\n"
    r"-- reads    (?P<reads>\S.*\n(?:--          .*\n)*)"
    r"-- makes    (?P<makes>\S.*\n(?:--          .*\n)*)"
    r"-- changes  (?P<changes>\S.*\n(?:--          .*\n)*)"
)
_MADE = re.compile(r"^(?:--          )?(?P<table>\w+): (?P<grain>\S.*\n(?:--              .*\n)*)", re.MULTILINE)


def _unfolded(part: str) -> str:
    return " ".join(line.removeprefix("--").strip() for line in part.splitlines())


def _names(part: str) -> tuple[str, ...]:
    names = _unfolded(part)
    return () if names == "nothing" else tuple(names.split(", "))


def statements(file: SqlFile) -> tuple[Statement, ...]:
    """The statements of a file in order, told apart by their semicolons: DuckDB parses those alone that are run.

    Parsing them all would be a tenth of what the first cycle of a process costs.
    """
    return _split(file.text)


@lru_cache
def _split(text: str) -> tuple[Statement, ...]:
    found = ((_COMMENTS_BEFORE.sub("", part[0]), part.end()) for part in _STATEMENT.finditer(text))
    return tuple(
        Statement(number, text.count("\n", 0, end - len(sql)) + 1, sql.rstrip(), *_target(sql))
        for number, (sql, end) in enumerate(((sql, end) for sql, end in found if sql), start=1)
    )


def _target(sql: str) -> tuple[str | None, str | None]:
    found = _TARGET.match(sql)
    return (found["target"], found["target"] if found["made"] else None) if found else (None, None)


# A semicolon in a comment or a text ends nothing.
_STATEMENT = re.compile(r"(?:--[^\n]*|'[^']*'|[^;'-]+|-)++;?")
_COMMENTS_BEFORE = re.compile(r"\A(?:\s*--[^\n]*\n)*\s*")


def run_steps(connection: duckdb.DuckDBPyConnection, steps: Sequence[str]) -> None:
    """Run the files of these steps in order, after dropping every temporary table that one of them makes.

    Raises: SqlFileFailed, naming file and statement, when DuckDB cannot run it; other errors of DuckDB, about storage, as
    they come.
    """
    _run_those(connection, steps, _cleared(connection, steps), lambda statement: True)


def make_tables(connection: duckdb.DuckDBPyConnection, steps: Sequence[str]) -> None:
    """Run those statements of these files that make temporary tables, and change nothing that stays. Raises: as `run_steps`."""
    _run_those(connection, steps, _cleared(connection, steps), lambda statement: statement.makes is not None)


def remember_left_empty(connection: duckdb.DuckDBPyConnection) -> None:
    """Remember of this connection, from now on, which tables a run left empty. To be called anew after each rollback, which
    brings tables back as they were before.
    """
    _LEFT_EMPTY[connection] = {}


def forget_left_empty(connection: duckdb.DuckDBPyConnection, statement: str) -> None:
    """Forget what was left empty of the table that this statement, which is of no file, makes, fills or drops; and of all
    where it changes what they may have their columns of.
    """
    if found := _MAKES_OR_FILLS.match(statement):
        _LEFT_EMPTY[connection].pop(found["table"], None)
    elif _CHANGES_COLUMNS.match(statement):
        _LEFT_EMPTY[connection].clear()


_MAKES_OR_FILLS = re.compile(
    r"\s*(?:create (?:or replace )?temp table|insert into|drop table(?: if exists)?) (?:temp\.)?(?P<table>\w+)\b(?!\.)"
)
_CHANGES_COLUMNS = re.compile(r"\s*(?:alter table|create (?:or replace )?(?:temp )?(?:view|macro))\b")
# By connection: temporary tables without a row, and the statement that made them.
_LEFT_EMPTY: WeakKeyDictionary[duckdb.DuckDBPyConnection, dict[str, str]] = WeakKeyDictionary()


def run_changes(connection: duckdb.DuckDBPyConnection, steps: Sequence[str]) -> None:
    """Run those statements of these files that change tables which stay, once the tables that they read from the others are
    there as temporary ones. Raises: as `run_steps`.
    """
    _run_those(
        connection,
        steps,
        Filled(connection),
        lambda statement: statement.makes is None and statement.target is not None,
    )


def _cleared(connection: duckdb.DuckDBPyConnection, steps: Sequence[str]) -> Filled:
    """Drop what these files make."""
    filled = Filled(connection)
    for file in map(sql_file, steps):
        for name in file.makes:
            if name not in filled.left_empty:
                connection.execute(f"drop table if exists temp.{name}")
    return filled


def _run_those(
    connection: duckdb.DuckDBPyConnection,
    steps: Sequence[str],
    filled: Filled,
    is_wanted: Callable[[Statement], bool],
) -> None:
    wanted = [(file, each) for file in map(sql_file, steps) for each in statements(file) if is_wanted(each)]
    known = known_of(connection, [statement.sql for _, statement in wanted if statement.target])
    asked = {name for each in known.values() for name in tables_in(each.sources)}
    filled.look_at(asked - {statement.makes for _, statement in wanted})
    for file, statement in wanted:
        _run(connection, file, statement, known.get(statement.sql, Known(True)), filled)


class Filled:
    """Which tables may have rows, while the statements of one run change that."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection
        self._known: dict[str, bool] = {}
        self.left_empty = _LEFT_EMPTY.get(connection, {})

    def look_at(self, names: Collection[str]) -> None:
        """Look at these tables at once: one statement for all costs what one look at ten of them does.

        Views are not looked at, which may cost a join of everything, and may have rows.
        """
        views = self._views(names)
        self._known |= dict.fromkeys(views, True)
        if tables := sorted(name for name in names if name not in views):
            looks = " union all ".join(f"(select '{name}' from {name} limit 1)" for name in tables)
            found = {name for (name,) in self._connection.execute(looks).fetchall()}
            self._known |= {name: name in found for name in tables}

    def __call__(self, name: str) -> bool:
        """Whether the table of that name may have rows."""
        if name not in self._known:
            self.look_at([name])
        return self._known[name]

    def _views(self, names: Collection[str]) -> set[str]:
        if unknown := [name for name in names if name not in _IS_VIEW]:
            query = "select schema_name || '.' || view_name from duckdb_views() where not internal"
            views = {name for (name,) in self._connection.execute(query).fetchall()}
            _IS_VIEW.update({name: name in views for name in unknown})
        return {name for name in names if _IS_VIEW[name]}

    def note(self, statement: Statement, n_rows: int) -> None:
        """The statement made its table with so many rows, or, where it makes none, inserted, changed or deleted as many."""
        name = statement.target or ""
        if statement.makes:
            self._known[name] = n_rows > 0
        elif n_rows:
            self._known.pop(name, None)
        if n_rows:
            self.left_empty.pop(name, None)
        elif statement.makes:
            self.left_empty[name] = statement.sql


_IS_VIEW: dict[str, bool] = {}  # by name; what is a view once always is one


def _run(
    connection: duckdb.DuckDBPyConnection, file: SqlFile, statement: Statement, known: Known, filled: Filled
) -> None:
    started_s = time.monotonic()
    try:
        if not may_draw(known.sources, filled):
            if statement.makes:
                _leave_empty(connection, statement, known, filled)
            log.debug("%s, statement %d (line %d): nothing to do", file.path, statement.number, statement.line)
            return
        _drop_left(connection, statement.makes, filled)
        counted = connection.execute(_parsed(connection, statement.sql)).fetchall()
    except duckdb.Error as error:
        if isinstance(error, _ABOUT_STORAGE) or "No space left" in str(error):
            raise
        said = str(error).splitlines()[0] if isinstance(error, _ABOUT_THE_STATEMENT) else type(error).__name__
        where = f"{file.path}, statement {statement.number} (line {statement.line})"
        raise _failure(where, said, statement.sql) from None  # DuckDB's own text may quote values
    n_rows = counted[0][0] if counted and isinstance(counted[0][0], int) else 0
    filled.note(statement, n_rows)
    log.debug(
        "%s, statement %d (line %d): %s rows, %.1f ms",
        file.path,
        statement.number,
        statement.line,
        f"{n_rows:,}",
        (time.monotonic() - started_s) * 1000,
    )


def _parsed(connection: duckdb.DuckDBPyConnection, sql: str) -> duckdb.Statement:
    """What DuckDB parses of a statement, which is the same for every connection: a tenth of a cycle over few changes."""
    if sql not in _PARSED:
        (_PARSED[sql],) = connection.extract_statements(sql)
    return _PARSED[sql]


_PARSED: dict[str, duckdb.Statement] = {}


def _leave_empty(connection: duckdb.DuckDBPyConnection, statement: Statement, known: Known, filled: Filled) -> None:
    """Have the table that the statement makes there without a row."""
    if filled.left_empty.get(statement.makes or "") != statement.sql:
        _drop_left(connection, statement.makes, filled)
        found = columns_of(connection, statement) if known.columns is None else known.columns
        columns = ", ".join(f'"{name}" {kind}' for name, kind in found.items())
        connection.execute(f"create temp table {statement.makes} ({columns})")
    filled.note(statement, 0)


def columns_of(connection: duckdb.DuckDBPyConnection, statement: Statement) -> dict[str, str]:
    """The type of each column of the table that the statement makes: DuckDB plans it, which is less than to run it."""
    return {name: kind for name, kind, *_ in connection.execute(f"describe {statement.query}").fetchall()}


def _drop_left(connection: duckdb.DuckDBPyConnection, name: str | None, filled: Filled) -> None:
    if name and filled.left_empty.pop(name, None):
        connection.execute(f"drop table temp.{name}")


_TARGET = re.compile(r"(?:(?P<made>create temp table)|insert into|update|delete from) (?P<target>[\w.]+)")


_ABOUT_STORAGE = (duckdb.IOException, duckdb.FatalException, duckdb.OutOfMemoryException)
# Errors about names and grammar quote the statement, which is static text; the others may quote a value of a record.
_ABOUT_THE_STATEMENT = (
    duckdb.BinderException,
    duckdb.CatalogException,
    duckdb.ParserException,
    duckdb.SyntaxException,
    duckdb.NotImplementedException,
)


def _failure(where: str, said: str, sql: str) -> SqlFileFailed:
    return SqlFileFailed(
        f"{where} cannot be run: {said.rstrip('.')}.",
        statement=sql,
        next_step="If the file was changed, mend it there; else report this sentence to the makers of DynSync.",
    )
