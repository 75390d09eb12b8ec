"""What waits for a person's word: `reviews` of the snapshot. Not here: deciding (`warehouse/reviews.py`)."""

from __future__ import annotations

import duckdb

from dynsync_pipeline.look.reading import Row, select


def read_reviews(connection: duckdb.DuckDBPyConnection) -> list[Row]:
    """All reviews, those that nobody has decided first, the newest first."""
    return select(connection, "from reviews order by choice is not null, opened_at desc, review_id desc", [])
