"""Whom nobody may keep any more: keyed hashes of ids in `erasures.json` beside the working file, and what goes by them.

The file outlives the working file, so that a restore, or a new beginning, brings nobody back. It names nobody: an id is told from
others only by whoever has the key, which stands in it too. Whatever lands with such an id is dropped at once.
Not here: the erasure itself, of all files (`operate/erase.py`).
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from collections.abc import Collection, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

FILE = "erasures.json"
CUT = "An erasure has not ended: give the same command again, or `dynsync forget --finish` where it finds nobody any more."
OWNER_ONLY = 0o600
PERSON_COLUMNS = ("person_id", "loser_id", "winner_id", "loser_person_id", "winner_person_id")
RECORD_COLUMNS = (
    *("dynamics_id", "contactid", "leadid", "contact_id", "lead_id", "dynamics_contact_id", "dynamics_lead_id"),
    *("winner_dynamics_id", "loser_dynamics_id", "external_company_id", "company_key"),
)
EITHER_COLUMNS = ("suspect_id", "key")  # of a person as text, or of a record
REFERENCES = ("_parentcustomerid_value", "_masterid_value", "_originatingleadid_value", "_parentcontactid_value")
# Of nobody: definitions, accounts, users.
OF_NOBODY = (
    *("mirror.dynamics_accounts", "mirror.dynamics_owners", "reconcile.fields", "state.options", "state.former_labels"),
    *("state.columns", "ledger.schema_changes", "ledger.account_changes"),
)
# What a read may leave beside the mirrors; swept before each plan.
SWEPT = ("state.untold", "state.suspects", "state.unread", "state.partitions", "state.requested")


@dataclass(frozen=True)
class Erasure:
    """One erasure: when (UTC, ISO), hashes of the ids, whether it ended, and how many rows it removed, by kind of place; who gave
    the command, and whether they are to be kept out.
    """

    erased_at: str
    hashes: list[str]
    is_finished: bool = False
    n_removed: dict[str, int] = field(default_factory=dict)
    by: str | None = None
    blocks: bool = False


@dataclass(frozen=True)
class Erasures:
    """All erasures of an installation, by the key of their hashes; more than one key after a restore from another folder."""

    by_key: dict[str, list[Erasure]]

    def hash(self, name: str) -> str:
        """The hash of an id's name, by this installation's own key, the first one."""
        return hashlib.sha256((next(iter(self.by_key)) + name).encode()).hexdigest()

    @property
    def is_cut(self) -> bool:
        """Whether an erasure began, and has not ended."""
        return any(not each.is_finished for some in self.by_key.values() for each in some)

    def merged(self, other: Erasures) -> Erasures:
        """These and those; of one that both have, the one that ended."""
        by_key = {key: list(some) for key, some in self.by_key.items()}
        for key, some in other.by_key.items():
            known = {each.erased_at: each for each in by_key.get(key, [])}
            known |= {each.erased_at: each for each in some if each.is_finished or each.erased_at not in known}
            by_key[key] = list(known.values())
        return Erasures(by_key)


def person_name(person_id: int | str) -> str:
    """What is hashed of a person in Marketo; of a record it is its id in lower case."""
    return f"person:{person_id}"


def read_erasures(folder: Path) -> Erasures:
    """What was erased in this installation; with a new key where nothing was."""
    try:
        told = json.loads((folder / FILE).read_text("utf-8"))
    except FileNotFoundError:
        return Erasures({secrets.token_hex(32): []})
    return Erasures({key: [Erasure(**each) for each in some] for key, some in told.items()})


def keep_erasures(folder: Path, erasures: Erasures) -> None:
    """Keep them, whole or not at all. Raises: OSError."""
    new = folder / f"{FILE}.new"
    text = json.dumps({key: [asdict(each) for each in some] for key, some in erasures.by_key.items()}, indent=1)
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, OWNER_ONLY), "w", encoding="utf-8") as out:
        out.write(text)
        out.flush()
        os.fsync(out.fileno())
    new.replace(folder / FILE)


def load_erased(connection: duckdb.DuckDBPyConnection, folder: Path) -> None:
    """Make `erased_ids` and the macro `is_erased` on a connection, from the file in `folder`."""
    erasures = read_erasures(folder) if (folder / FILE).exists() else Erasures({})
    hashes = sorted({each for some in erasures.by_key.values() for one in some for each in one.hashes})
    connection.execute("create or replace temp table erased_ids (hash varchar not null)")
    if hashes:
        connection.execute("insert into erased_ids (hash) select unnest(?::varchar[])", [hashes])
    tests = " or ".join(f"sha256('{key}' || name) in (select hash from erased_ids)" for key in erasures.by_key)
    connection.execute(f"create or replace temp macro is_erased(name) as ({tests or 'false'})")


def has_erased(connection: duckdb.DuckDBPyConnection) -> bool:
    """Whether anybody was ever erased."""
    return bool(connection.execute("select 1 from erased_ids limit 1").fetchall())


def drop_erased(connection: duckdb.DuckDBPyConnection, tables: Iterable[str]) -> dict[str, int]:
    """Remove what these tables, each with its schema, hold of the erased, and references to them; rows by table."""
    columns = _columns(connection)
    removed = {}
    for table in tables:
        test = of_erased(columns[table])
        n_rows = connection.execute(f"delete from {table} where {test}").fetchall()[0][0] if test else 0
        for name in set(columns[table]) & set(REFERENCES):
            connection.execute(f"update {table} set {name} = null where {_is_record(name)}")
        if n_rows:
            removed[table] = int(n_rows)
    return removed


def rows_of_others(connection: duckdb.DuckDBPyConnection, theirs: str) -> Iterator[str]:
    """Each table of a working file less the rows of whoever's ids, as they are hashed, the table `theirs` has in `id`.

    Afterwards `is_erased` goes by that table on this connection.
    """
    connection.execute(f"create or replace temp macro is_erased(name) as name in (select id from {theirs})")
    yield from OF_NOBODY
    for table, names in _columns(connection).items():
        if is_theirs := of_erased(names):
            yield f"(from {table} where not ({is_theirs}))"


def sweep_erased(connection: duckdb.DuckDBPyConnection) -> None:
    """Remove what reads left of the erased beside the mirrors; costs nothing where nobody was."""
    if not has_erased(connection):
        return
    inbox = connection.execute(
        "select 'inbox.' || table_name from duckdb_tables() where schema_name = 'inbox' and not temporary"
    ).fetchall()
    drop_erased(connection, [*(name for (name,) in inbox), *SWEPT])


def without_erased(connection: duckdb.DuckDBPyConnection, people: pa.Table) -> pa.Table:
    """These people, with their ids in `id`, but for the erased."""
    if not has_erased(connection):
        return people
    import pyarrow as pa  # `dynsync status` comes by here, and does not need it

    ids = people.column("id").to_pylist()
    rows = connection.execute(
        "select id from (select unnest(?::varchar[]) as id) where not is_erased('person:' || id)", [ids]
    ).fetchall()
    kept = {row[0] for row in rows}
    return people.filter(pa.array([each in kept for each in ids], pa.bool_()))


def _columns(connection: duckdb.DuckDBPyConnection) -> dict[str, list[str]]:
    """The columns of each table, by schema and name."""
    columns: dict[str, list[str]] = {}
    for table, name in connection.execute(
        "select schema_name || '.' || table_name, column_name from duckdb_columns() "
        "where not internal and (schema_name, table_name) in "
        "(select (schema_name, table_name) from duckdb_tables() where not temporary)"
    ).fetchall():
        columns.setdefault(table, []).append(name)
    return columns


def of_erased(names: Collection[str]) -> str:
    """The condition that a row with these columns is of somebody erased; empty, where none of them tells of whom it is."""
    tests = [f"is_erased('person:' || {name})" for name in PERSON_COLUMNS if name in names]
    tests += [_is_record(name) for name in RECORD_COLUMNS if name in names]
    for name in EITHER_COLUMNS:
        if name in names:
            tests += [f"is_erased('person:' || {name})", _is_record(name)]
    return " or ".join(f"coalesce({test}, false)" for test in tests)


def _is_record(name: str) -> str:
    # The company of one person bears its record's id behind a word.
    return f"is_erased(regexp_replace(lower({name}), '^(lead|contact):', ''))"
