"""What both systems in memory are made of: rows that grow older with every change, and faults that tests ask for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from dynsync_pipeline.clients.dynamics.protocol import ChangesPage, Rows
from dynsync_pipeline.clients.pages import MOST_UNREAD, too_many_unread
from dynsync_pipeline.clients.rows import rows_table
from dynsync_pipeline.errors import ApiError
from dynsync_pipeline.model.records import UNREAD

Values = dict[str, str | None]
Keeps = Callable[[str, str | None], str | None]
Refuses = Callable[[str, Values], ApiError | None]
LABELS = {"1": "Hot", "2": "Warm", "3": "Cold"}


def labels_of(numbers: str) -> str:
    """Numbers of options, with commas between several, as Marketo holds them (R29, R33)."""
    return "; ".join(LABELS.get(number, number) for number in map(str.strip, numbers.split(",")))


@dataclass
class Row:
    """One record, person or company in a system; `version` grows with every change in that system."""

    values: Values
    version: int
    is_deleted: bool = False


def as_is(name: str, value: str | None) -> str | None:
    """A system that keeps what it is given."""
    return value


def refuse_nothing(key: str, values: Values) -> ApiError | None:
    """A system that takes everything."""
    return None


def sent_values(body: Mapping[str, object]) -> Values:
    """The values of a JSON object as text; numbers must have been read as text."""
    return {name: _text(value) for name, value in body.items()}


def _text(value: object) -> str | None:
    if value is None:
        return None
    return str(value).lower() if isinstance(value, bool) else str(value)


def found(page: ChangesPage | Rows) -> pa.Table:
    """The rows of a page that has some."""
    assert page.rows is not None
    return page.rows


def table_of(names: Sequence[str], rows: Sequence[Values]) -> pa.Table:
    """Rows as the clients give them: every column text; and `UNREAD` where a row has it; an error where too many have."""
    if sum(UNREAD in row for row in rows) > MOST_UNREAD:
        raise too_many_unread("either", "GET")
    return rows_table(names, rows)


def shown(values: Values, unreadable: str | None) -> Values:
    """A row as it is read where a column of it cannot be: as it is, unless that column is asked for, and else its id alone."""
    if unreadable is None or unreadable not in values:
        return values
    return {"id": values["id"], UNREAD: f"the value of {unreadable}: it holds what is no JSON of its kind"}
