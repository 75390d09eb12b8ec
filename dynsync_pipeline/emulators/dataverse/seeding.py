"""Filling an organisation in bulk, as if its rows had been there for a while. Not part of the vendor's API."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from itertools import islice

from dynsync_pipeline.emulators.dataverse.schema import Table
from dynsync_pipeline.emulators.dataverse.store import Store
from dynsync_pipeline.emulators.dataverse.values import money
from dynsync_pipeline.emulators.dataverse.writes import derived

CHUNK = 10_000
Row = Mapping[str, object]


def seed(store: Store, accounts: Iterable[Row], contacts: Iterable[Row], leads: Iterable[Row]) -> None:
    """Insert rows given by logical column names, with their ids, values as in JSON; one transaction per 10,000.

    `parentcustomerid_account` on a contact is an account's id or None. Values are trusted to fit their columns.
    Raises: sqlite3.IntegrityError for an id that exists already, KeyError for an unknown column.
    """
    for name, rows in (("account", accounts), ("contact", contacts), ("lead", leads)):
        table = store.schema.tables[name]
        waiting = iter(rows)
        while chunk := list(islice(waiting, CHUNK)):
            _insert(store, table, chunk)


def _insert(store: Store, table: Table, chunk: list[Row]) -> None:
    at = store.now().strftime("%Y-%m-%dT%H:%M:%SZ")
    common: dict[str, object] = {
        "createdon": at, "modifiedon": at, "createdby": store.sales_user_id, "modifiedby": store.sales_user_id,
        "ownerid": store.sales_user_id, "owninguser": store.sales_user_id,
        "owningbusinessunit": store.business_unit_id, "transactioncurrencyid": store.currency_id, "exchangerate": 1.0,
        "statecode": 0, "statuscode": 1,
        **{column.name: 0 for column in table.columns.values() if column.kind == "boolean"},
    }  # fmt: skip
    # One column list for the whole chunk, so that one prepared statement takes it.
    names = list(dict.fromkeys(["versionnumber", *common, *(name for row in chunk for name in _columns(table, row))]))
    names += [name for name in derived(table, {}) if name not in names]
    # In key order: the table is clustered by its key.
    ordered = sorted(chunk, key=lambda row: str(row[table.primary_id]))
    with store.write() as connection:
        connection.executemany(
            f'insert into "{table.name}" ({", ".join(f"{chr(34)}{name}{chr(34)}" for name in names)}) '
            f"values ({', '.join('?' * len(names))})",
            (_values(store, table, common, row, names) for row in ordered),
        )


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
    return [values.get(name) for name in names]
