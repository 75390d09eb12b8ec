"""Writes `docs/snapshot.md` from the published tables: `python -m dynsync_pipeline_tests.docs.snapshot_page > docs/snapshot.md`.

Not here: the tables themselves (`publish/tables.py`), which every cycle also writes into the snapshot as comments.
"""

from __future__ import annotations

from collections.abc import Iterable

from dynsync_pipeline.model.field_map import FieldMap, load_field_map
from dynsync_pipeline.publish.state_tables import state_tables
from dynsync_pipeline.publish.table import PublishedTable
from dynsync_pipeline.publish.tables import published_tables
from dynsync_pipeline.publish.views import published_views

OPENING = """# The snapshot

`snapshot.duckdb` in the data folder holds these tables and columns, with the default field map.
Another field map adds and removes columns of `people`, `accounts`, `contacts`, `leads`, `companies` and `base`, and nothing else.
Columns of `people` bear Marketo's REST names, those of `accounts`, `contacts` and `leads` Dynamics' logical names.
A lookup such as `_parentcustomerid_value` stands there by its name alone, `parentcustomerid`.
Values in ledgers are text in one spelling: `true` and `false`, `YYYY-MM-DDThh:mm:ssZ`, `YYYY-MM-DD`, numbers without padding.
Times are UTC.
An id has one name everywhere, by which tables join: `person_id_marketo`, `record_id_dynamics`, `account_id_dynamics`,
`company_id_marketo`.
Linked is whoever has a row in `links`, which `people.is_linked` repeats; everybody else stands in `unlinked`.
Numbers such as R35 are [rules](sync-rules.md); [rules.md](rules.md) says which are kept.

The same texts are comments in the file itself:

```sql
select table_name, column_name, comment from duckdb_columns() where schema_name = 'main' order by table_name, column_index;
```

This page is generated; the tests say how when it is out of date.
"""
PEOPLE_AND_RECORDS = """
## People and records

What each system held when it was last read.
"""
LEDGERS = """
## Ledgers

What was ever done. Rows of `changes`, `collisions`, `activities`, `account_changes` and `schema_changes` are only ever added;
`observations` lose those beyond their retention.
Types of activities are Change Data Value, New Person, Sync Person to Microsoft, Create [StartSync] and Sync Error.
"""
STATE = """
## State

Where every link stands; `dynsync status` and `dynsync explain` read these tables.
"""
VIEWS = """
## Views and macros

Questions that take several of these tables, asked once.
A macro is called like a table, with an id and a time, which is UTC unless it bears a zone:
`from person_as_of(1001, timestamp '2026-11-01 12:00')`.
Who attaches the file beside others says `use` first, as in `use snapshot`, so that a macro finds its tables.
"""
BESIDE = """
## Beside these

`layout` holds one digest by which DynSync knows whether the file was made with the present columns; it says nothing to people.
"""


def snapshot_page() -> str:
    """What `docs/snapshot.md` must be."""
    fields = load_field_map()
    state = state_tables(fields)
    others = [table for table in published_tables(fields) if table not in state]
    of_records = [
        table for table in others if table.name in ("people", "accounts", "contacts", "leads", "companies", "users")
    ]
    ledgers = [table for table in others if table not in of_records]
    return "".join(
        (
            OPENING,
            PEOPLE_AND_RECORDS,
            *_shown(of_records),
            LEDGERS,
            *_shown(ledgers),
            STATE,
            *_shown(state),
            VIEWS,
            *_views(fields),
            BESIDE,
        )
    )


def _shown(tables: Iterable[PublishedTable]) -> Iterable[str]:
    for table in tables:
        yield f"\n### {table.name}\n\n{table.grain}\n\n| column | type | |\n|---|---|---|\n"
        for column in table.columns:
            yield f"| `{column.name}` | {column.type} | {column.comment} |\n"


def _views(fields: FieldMap) -> Iterable[str]:
    for view in published_views(fields):
        yield f"\n### {view.name}\n\n{view.grain}\n\n| column | |\n|---|---|\n"
        for name, comment in view.columns.items():
            yield f"| `{name}` | {comment} |\n"


if __name__ == "__main__":
    print(snapshot_page(), end="")
