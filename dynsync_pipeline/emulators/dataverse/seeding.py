"""Filling an organisation in bulk, as if its rows had been there for a while. Not part of the vendor's API."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from itertools import chain, islice

from dynsync_pipeline.emulators.dataverse.schema import Table
from dynsync_pipeline.emulators.dataverse.store import Store
from dynsync_pipeline.emulators.dataverse.values import money
from dynsync_pipeline.emulators.dataverse.writes import derived

CHUNK = 1_000
"""Rows that are looked at to learn which columns are given."""
Row = Mapping[str, object]


def seed(store: Store, accounts: Iterable[Row], contacts: Iterable[Row], leads: Iterable[Row]) -> None:
    """Insert rows given by logical column names, with their ids, values as in JSON; one transaction per table.

    `parentcustomerid_account` on a contact is an account's id or None. Values are trusted to fit their columns.
    Raises: sqlite3.IntegrityError for an id that exists already, KeyError for an unknown column.
    """
    for name, rows in (("account", accounts), ("contact", contacts), ("lead", leads)):
        waiting = iter(rows)
        first = list(islice(waiting, CHUNK))
        if first:
            _insert(store, store.schema.tables[name], first, waiting)
    store.checkpoint()


def _insert(store: Store, table: Table, first: list[Row], rest: Iterator[Row]) -> None:
    """Insert by way of an unordered copy on disk: tables are clustered by key, and ids come in random order.

    Inserting a million rows in that order would rewrite every page a hundred times.
    """
    names = ["versionnumber", *_common(store, table)]
    names += [name for row in first for name in _columns(table, row)]
    names = list(dict.fromkeys([*names, *derived(table, {})]))
    columns = ", ".join(f'"{name}"' for name in names)
    common = _common(store, table)
    with store.scratch() as scratch, store.write() as connection:
        connection.execute(f"create table {scratch}.rows ({columns})")
        connection.executemany(
            f"insert into {scratch}.rows values ({', '.join('?' * len(names))})",
            (_values(store, table, common, row, names) for row in chain(first, rest)),
        )
        connection.execute(
            f'insert into "{table.name}" ({columns}) select * from {scratch}.rows order by "{table.primary_id}"'
        )


def _common(store: Store, table: Table) -> dict[str, object]:
    """What every new row holds."""
    at = store.now().strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "createdon": at, "modifiedon": at, "createdby": store.sales_user_id, "modifiedby": store.sales_user_id,
        "ownerid": store.sales_user_id, "owninguser": store.sales_user_id,
        "owningbusinessunit": store.business_unit_id, "transactioncurrencyid": store.currency_id, "exchangerate": 1.0,
        "statecode": 0, "statuscode": 1,
        **{column.name: column.default for column in table.columns.values() if column.kind == "boolean"},
    }  # fmt: skip


def _columns(table: Table, row: Row) -> Iterable[str]:
    for name in row:
        if name == "parentcustomerid_account":
            yield from ("parentcustomerid", "parentcustomerid@type")
        else:
            yield table.columns[name].name
            if f"{name}_base" in table.columns:
                yield f"{name}_base"


def _values(store: Store, table: Table, common: dict[str, object], row: Row, names: list[str]) -> list[object]:
    values = {**common, "versionnumber": store.next_version()}
    for name, value in row.items():
        if value is None or value == "":
            continue
        if name == "parentcustomerid_account":
            values["parentcustomerid"], values["parentcustomerid@type"] = value, "account"
        elif isinstance(value, bool):
            values[name] = int(value)
        elif table.columns[name].kind == "money":
            values[name] = values[f"{name}_base"] = money(Decimal(str(value)))
        else:
            values[name] = value
    values.update(derived(table, values))
    found = [values.pop(name, None) for name in names]
    if values:
        raise KeyError(f"Columns that the first {CHUNK} rows lack: {', '.join(values)}.")
    return found
