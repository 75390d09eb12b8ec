"""Lead partitions: listing them and moving people between them.

Source: docs/protocols/marketo.md#deleting-and-merging.
"""

from __future__ import annotations

from typing import Any

from dynsync_pipeline.emulators.marketo.protocol import Call, json_number, skipped
from dynsync_pipeline.emulators.marketo.store import Store


def partitions(call: Call) -> dict[str, Any]:
    """Every partition."""
    with call.store.lock:
        rows = call.store.db.execute("select id, name, description from partitions order by id").fetchall()
    return {"result": [dict(zip(("id", "name", "description"), row, strict=True)) for row in rows]}


def move_people(call: Call) -> dict[str, Any]:
    """Put people into the named partitions; an answer for each."""
    results = []
    records = call.records(call.json())
    with call.store.transaction() as db:
        known = dict(db.execute("select name, id from partitions").fetchall())
        for record in records:
            person_id, name = json_number(record.get("id")), record.get("partitionName")
            if person_id is None:
                results.append(skipped("1003", "Invalid value for field 'id'"))
            elif not isinstance(name, str) or name not in known:
                results.append(skipped("1008", "Access to partition denied"))
            elif not db.execute(
                "update people set leadPartitionId = ? where id = ?", (known[name], person_id)
            ).rowcount:
                results.append(skipped("1004", f"Lead '{person_id}' not found"))
            else:
                results.append({"id": person_id, "status": "updated"})
    return {"result": results}


def add_partition(store: Store, name: str) -> None:
    """Create a partition, as an administrator would. Raises: ValueError when there is one of this name."""
    with store.transaction() as db:
        if db.execute("select 1 from partitions where name = ?", (name,)).fetchone():
            raise ValueError("There is a partition of this name.")
        db.execute("insert into partitions (name, description) values (?, '')", (name,))
