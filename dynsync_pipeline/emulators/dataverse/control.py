"""What only the emulator has: changing the schema, privileges, limits; expiring tokens and cursors; starting over.

Every endpoint is a `POST` under `/emulator/dataverse/`, takes and answers JSON, needs no token and is never counted.

| path | body | does |
|---|---|---|
| `schema` | `{"action": "add", "table": "contact", "column": "new_x", "kind": "text", …}` | adds a column |
| `schema` | `{"action": "drop" / "retype" / "resize" / "secure" / "unsecure", "table": …, "column": …}` | changes one |
| `schema` | `{"action": "add", …, "kind": "boolean", "default": 1}` | what new rows hold if nobody says |
| `schema` | `{"action": "round", "table": …, "column": …, "precision": 4}` | how many decimal places a number has |
| `schema` | `{"action": "behave", "table": …, "column": …, "time_behavior": "TimeZoneIndependent"}` | of a datetime |
| `schema` | `{"action": "relabel", "table": …, "column": …, "options": {"3": "Partner"}}` | renames options of a choice |
| `schema` | `{"action": "tracking_off" / "tracking_on", "table": …}` | change tracking of a table |
| `cursors/expire` | | every delta token given out so far has expired |
| `time_zone` | `{"user": "sync", "code": 110}` | chooses the user's time zone; at first it is UTC, 92 |
| `tokens/expire` | | every bearer token but the salesperson's has expired |
| `privileges` | `{"user": "sync", "deny": ["prvWriteContact", "prvReadLead:global"]}` | replaces what the user lacks |
| `limits` | `{"n_requests": 60, "execution_s": 5, "n_concurrent": 2}` | service protection; use so far is forgotten |
| `reset` | | no accounts, contacts, leads; schema, privileges, limits as on the first start; cursors expired |

Users are `sync` (the application user), `password` and `sales`. A schema change expires the table's delta tokens, as in
the real thing. New columns show in data queries after `lag_s` seconds (default 0; the real thing takes about 30), at
once for `Consistency: Strong`. `secure` hides a column from everyone but the salesperson, an administrator.
Broken connections, delays and canned answers work the same for every emulator: `../faults.py`.
"""

from __future__ import annotations

from typing import Literal

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from dynsync_pipeline.emulators.dataverse.limits import Limits
from dynsync_pipeline.emulators.dataverse.schema import Column, Kind, Option, Table, TimeBehavior
from dynsync_pipeline.emulators.dataverse.store import Store
from dynsync_pipeline.emulators.dataverse.tables import default_schema

PREFIX = "/emulator/dataverse/"


class SchemaChange(msgspec.Struct, forbid_unknown_fields=True):
    """A change of one table; `options` are value -> label of a choice, `default` is of a boolean."""

    action: Literal[
        "add",
        "drop",
        "retype",
        "resize",
        "round",
        "behave",
        "relabel",
        "secure",
        "unsecure",
        "tracking_off",
        "tracking_on",
    ]
    table: str
    column: str = ""
    kind: Kind = "text"
    max_length: int = 100
    precision: int = 2
    time_behavior: TimeBehavior = "UserLocal"
    options: dict[int, str] = {}
    default: Literal[0, 1] = 0
    lag_s: float = 0.0


class _Privileges(msgspec.Struct, forbid_unknown_fields=True):
    user: Literal["sync", "password", "sales"]
    deny: list[str]


class _TimeZone(msgspec.Struct, forbid_unknown_fields=True):
    user: Literal["sync", "password", "sales"]
    code: int


class _Limits(msgspec.Struct, forbid_unknown_fields=True):
    n_requests: int = 6_000
    execution_s: float = 1_200.0
    n_concurrent: int = 52


def route(store: Store, limits: Limits) -> Route:
    """The control endpoints' route."""

    async def control(request: Request) -> Response:
        body = await request.body()
        try:
            await run_in_threadpool(_act, store, limits, request.path_params["name"], body)
        except LookupError as error:
            return JSONResponse({"error": str(error.args[0])}, 404)
        except (msgspec.DecodeError, ValueError) as error:
            return JSONResponse({"error": str(error)}, 400)
        return JSONResponse({})

    return Route(f"{PREFIX}{{name:path}}", control, methods=["POST"])


def change_schema(store: Store, change: SchemaChange) -> None:
    """Apply a schema change. Raises LookupError for an unknown table or column, ValueError for one that exists."""
    table = store.schema.tables.get(change.table)
    if table is None:
        raise LookupError(f"There is no table '{change.table}'.")
    if change.action in ("tracking_off", "tracking_on"):
        store.replace_table(msgspec.structs.replace(table, change_tracking=change.action == "tracking_on"))
        return
    column = table.columns.get(change.column)
    if change.action == "add":
        if column is not None or not change.column.isidentifier():
            raise ValueError(f"The column '{change.column}' exists, or is no name.")
        _put(store, table, _new_column(store, change), is_new=True)
    elif column is None:
        raise LookupError(f"There is no column '{change.column}' in '{change.table}'.")
    elif change.action == "drop":
        _drop(store, table, column)
    elif change.action == "retype":
        # Dataverse cannot change a type either: the column is deleted, its values with it, and made anew.
        _put(store, _drop(store, table, column), _new_column(store, change), is_new=True)
    elif change.action == "resize":
        _put(store, table, msgspec.structs.replace(column, max_length=change.max_length), is_new=False)
    elif change.action == "round":
        _put(store, table, msgspec.structs.replace(column, precision=change.precision), is_new=False)
    elif change.action == "behave":
        _put(store, table, msgspec.structs.replace(column, time_behavior=change.time_behavior), is_new=False)
    elif change.action == "relabel":
        if unknown := set(change.options) - {option.value for option in column.options}:
            raise ValueError(f"The column '{change.column}' has no option {min(unknown)}.")
        options = tuple(
            msgspec.structs.replace(option, label=change.options.get(option.value, option.label))
            for option in column.options
        )
        _put(store, table, msgspec.structs.replace(column, options=options), is_new=False)
    else:
        _put(store, table, msgspec.structs.replace(column, secured=change.action == "secure"), is_new=False)


def reset(store: Store, limits: Limits) -> None:
    """Start over, with the credentials and the tokens that exist."""
    with store.write():
        for table in default_schema().tables.values():
            now = store.schema.tables[table.name]
            for column in list(now.columns.values()):
                if column.name not in table.columns or column.kind != table.columns[column.name].kind:
                    now = _drop(store, now, column)
            for column in table.columns.values():
                if column.name not in now.columns:
                    store.add_sql_column(now, column)
            store.replace_table(table)
            if table.writable:
                store.delete_all_rows(table)
        store.grant_all()
        store.expire_cursors()
    limits.restore()


def _act(store: Store, limits: Limits, name: str, body: bytes) -> None:
    if name == "schema":
        change_schema(store, msgspec.json.decode(body, type=SchemaChange))
    elif name == "cursors/expire":
        store.expire_cursors()
    elif name == "tokens/expire":
        store.expire_tokens()
    elif name == "privileges":
        wanted = msgspec.json.decode(body, type=_Privileges)
        store.deny_only(_user_id(store, wanted.user), wanted.deny)
    elif name == "time_zone":
        chosen = msgspec.json.decode(body, type=_TimeZone)
        store.set_time_zone(_user_id(store, chosen.user), chosen.code)
    elif name == "limits":
        new = msgspec.json.decode(body, type=_Limits)
        limits.set(new.n_requests, new.execution_s, new.n_concurrent)
    elif name == "reset":
        reset(store, limits)
    else:
        raise LookupError(f"There is no control endpoint '{name[:100]}'.")


def _user_id(store: Store, user: str) -> str:
    return {"sync": store.sync_user_id, "password": store.password_user_id, "sales": store.sales_user_id}[user]


def _new_column(store: Store, change: SchemaChange) -> Column:
    labels = change.options or ({0: "No", 1: "Yes"} if change.kind == "boolean" else {})
    if change.kind in ("lookup", "guid", "state", "status", "bigint"):
        raise ValueError(f"Columns of kind '{change.kind}' cannot be added.")
    return Column(
        change.column,
        change.kind,
        max_length=change.max_length,
        precision=change.precision,
        time_behavior=change.time_behavior,
        default=change.default,
        options=tuple(Option(value, label) for value, label in labels.items()),
        made_at_version=store.next_version(),
        visible_from_s=store.now().timestamp() + change.lag_s if change.lag_s else 0.0,
    )


def _put(store: Store, table: Table, column: Column, *, is_new: bool) -> None:
    with store.write():
        if is_new:
            store.add_sql_column(table, column)
        store.replace_table(msgspec.structs.replace(table, columns={**table.columns, column.name: column}))


def _drop(store: Store, table: Table, column: Column) -> Table:
    """Drop a column and any key it is part of; returns the table without it."""
    if column.name == table.primary_id or column.kind in ("lookup", "bigint", "state", "status"):
        raise ValueError(f"The column '{column.name}' cannot be dropped.")
    with store.write():
        store.drop_sql_column(table, column)
        left = msgspec.structs.replace(
            table,
            columns={name: kept for name, kept in table.columns.items() if name != column.name},
            keys={name: columns for name, columns in table.keys.items() if column.name not in columns},
        )
        store.replace_table(left)
    return left
