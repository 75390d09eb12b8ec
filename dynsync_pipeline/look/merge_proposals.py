"""Who may be merged in Marketo (R97, R99): `merge_proposals` of the snapshot. Not here: merging (`write_back/merging.py`)."""

from __future__ import annotations

import duckdb

from dynsync_pipeline.look.reading import Row, select


def read_proposals(connection: duckdb.DuckDBPyConnection) -> list[Row]:
    """The proposals that nobody has carried out, the newest first."""
    return select(
        connection, "from merge_proposals where state in ('open', 'sent') order by seen_at desc, proposal_id desc", []
    )
