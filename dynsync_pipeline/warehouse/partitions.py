"""In which partition of Marketo each person was last seen: whoever may read only some partitions misses people who live (R86).

Read of whoever is read by id, so that a round of the census tells it of everybody; bulk extract and feed do not.
Not here: what follows from it (`extract/absence.py`).
Source: docs/protocols/marketo.md#reading-people.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import duckdb

from dynsync_pipeline.warehouse.connection import scalar

if TYPE_CHECKING:
    import pyarrow as pa

PARTITION = "leadPartitionId"


def with_partition(connection: duckdb.DuckDBPyConnection, names: Sequence[str]) -> list[str]:
    """What to ask of a person by id: `names`, and the partition where Marketo offers that."""
    offered = scalar(
        connection, "select count(*) from state.columns where system = 'marketo' and name = ?", [PARTITION]
    )
    return [*names, PARTITION] if offered else list(names)


def note_partitions(connection: duckdb.DuckDBPyConnection, people: pa.Table) -> None:
    """Keep the partitions of people as they were read, with `id` and what `with_partition` asked for."""
    if PARTITION not in people.column_names:
        return
    connection.register("people_read", people)
    connection.execute("delete from state.partitions where person_id in (select id::bigint from people_read)")
    connection.execute(
        f"insert into state.partitions (person_id, partition_id) select id::bigint, {PARTITION} from people_read "
        f"where id is not null and {PARTITION} is not null"
    )
    connection.unregister("people_read")
