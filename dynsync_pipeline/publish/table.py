"""What a published table is. Not here: which tables there are (`tables.py`, `ledger_tables.py`, `state_tables.py`)."""

from __future__ import annotations

from dataclasses import dataclass

from dynsync_pipeline.warehouse.columns import quoted


@dataclass(frozen=True)
class PublishedColumn:
    """One column: its name, the SQL type it has in the snapshot, the expression that fills it, what it means."""

    name: str
    type: str
    expression: str
    comment: str


@dataclass(frozen=True)
class PublishedTable:
    """One table: `grain` says what a row is; `source` is the `from` clause; `key` finds rows again for a delta."""

    name: str
    grain: str
    source: str
    key: str
    columns: tuple[PublishedColumn, ...]

    @property
    def table(self) -> str:
        """The table of the working file whose rows it has; `source` begins with it."""
        return self.source.split()[0]

    @property
    def select(self) -> str:
        """All columns from all rows; callers append a `where`."""
        values = ", ".join(f"{column.expression} as {quoted(column.name)}" for column in self.columns)
        return f"select {values} from {self.source}"


def told(table: str, code: str) -> str:
    """A `from` clause over `table` that adds `sentence`, what the column `code` says in words."""
    return f"{table} left join codes on codes.code = {table}.{code}"


def plain(*columns: tuple[str, str, str, str]) -> tuple[PublishedColumn, ...]:
    """Columns from rows of name, SQL type, expression, comment."""
    return tuple(PublishedColumn(*column) for column in columns)
