"""Operations as requests: which go out together. Not here: sending them (`sending.py`)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby

from dynsync_pipeline.write_back.receipts import PlannedWrite


def batches(writes: Iterable[PlannedWrite], *, most_records: int, most_bytes: int) -> Iterator[list[PlannedWrite]]:
    """The writes in order, as many a request as a system takes; `most_bytes` of bodies, a larger one goes alone.

    What failed with others before goes last and apart, in ever smaller company (docs/design.md#refusals).
    """
    doubted: list[PlannedWrite] = []

    def certain() -> Iterator[PlannedWrite]:
        for write in writes:
            if write.most_together is None:
                yield write
            else:
                doubted.append(write)

    yield from _chunks(certain(), most_records, most_bytes)

    def most_together(write: PlannedWrite) -> int:
        return write.most_together or most_records

    for most, alike in groupby(sorted(doubted, key=most_together, reverse=True), key=most_together):
        yield from _chunks(alike, min(most, most_records), most_bytes)


def _chunks(writes: Iterable[PlannedWrite], most_records: int, most_bytes: int) -> Iterator[list[PlannedWrite]]:
    batch: list[PlannedWrite] = []
    size_bytes = 0
    for write in writes:
        n_bytes = len(write.body.encode())
        if batch and (len(batch) == most_records or size_bytes + n_bytes > most_bytes):
            yield batch
            batch, size_bytes = [], 0
        batch.append(write)
        size_bytes += n_bytes
    if batch:
        yield batch
