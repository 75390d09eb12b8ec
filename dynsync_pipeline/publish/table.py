"""What a published table is. Not here: which tables there are (`tables.py`, `ledger_tables.py`, `state_tables.py`)."""

from __future__ import annotations

import re
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
class Joined:
    """A table of about as many rows as the published one, of which few are needed for few rows: those whose `key` is among what
    the query `keys` gives, over `fetched`, these few rows, and what was fetched before. `columns`: those that are needed.
    """

    table: str
    key: str
    keys: str
    columns: str

    @property
    def fetched(self) -> str:
        """The name of the temporary table of these rows."""
        return f"of_{self.table.split('.')[1]}"


@dataclass(frozen=True)
class PublishedTable:
    """One table: `grain` says what a row is; `source` is the `from` clause; `key` finds rows again for a delta, for which those
    of the tables in `joined` are fetched first.
    """

    name: str
    grain: str
    source: str
    key: str
    columns: tuple[PublishedColumn, ...]
    joined: tuple[Joined, ...] = ()

    @property
    def table(self) -> str:
        """The table of the working file whose rows it has; `source` begins with it."""
        return self.source.split()[0]

    @property
    def select(self) -> str:
        """All columns from all rows; callers append a `where`."""
        return f"select {self._values} from {self.source}"

    @property
    def select_fetched(self) -> str:
        """The same from `fetched` and what was fetched of the joined tables."""
        select = f"select {self._values} from fetched{self.source.removeprefix(self.table)}"
        for joined in self.joined:
            select = re.sub(rf"{re.escape(joined.table)}\b", joined.fetched, select)
        return select

    @property
    def _values(self) -> str:
        return ", ".join(f"{column.expression} as {quoted(column.name)}" for column in self.columns)


def told(table: str, code: str) -> str:
    """A `from` clause over `table` that adds `sentence`, what the column `code` says in words."""
    return f"{table} left join codes on codes.code = {table}.{code}"


def plain(*columns: tuple[str, str, str, str]) -> tuple[PublishedColumn, ...]:
    """Columns from rows of name, SQL type, expression, comment."""
    return tuple(PublishedColumn(*column) for column in columns)


# A column of a mirror as people know it, `o` being a row with its `object` and `name`, `f` what the field map says of it: the own
# fields of a person bear the names that the published tables have for them.
OBSERVED_FIELD = (
    "case when o.object not in ('person', 'company') then f.field else case o.name "
    "when 'external_company_id' then 'company_id_marketo' when 'dynamics_contact_id' then 'contact_id_dynamics' "
    "when 'dynamics_lead_id' then 'lead_id_dynamics' else o.name end end"
)
OBSERVED_COLUMN = (
    "case when o.object not in ('person', 'company') then regexp_replace(o.name, '^_(.*)_value$', '\\1') end"
)
