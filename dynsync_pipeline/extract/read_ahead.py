"""Pages of a long read: the next ones are fetched and parsed while some are landed, and several commit together.

Not here: asking for them (`clients/dynamics/client.py`), what a page becomes (`dynamics.py`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

from dynsync_pipeline.clients.dynamics.protocol import ChangesPage
from dynsync_pipeline.clients.rows import all_rows
from dynsync_pipeline.errors import ApiError

if TYPE_CHECKING:
    import pyarrow as pa

PAGES_A_COMMIT = 4  # of 5,000 rows: a commit costs as much as landing a page, and a cut loses what is not committed


def read_ahead(pages: Iterator[ChangesPage]) -> Iterator[ChangesPage]:
    """The same pages; while the caller works on some, up to `PAGES_A_COMMIT` are fetched and parsed. Raises: what `pages` raises.

    A read of a single page takes no thread. Who leaves off early does not wait for the page that is on its way.
    """
    reader = ThreadPoolExecutor(max_workers=1, thread_name_prefix="page")
    try:
        page = next(pages, None)
        coming: deque[Future[ChangesPage | None]] = deque()
        while page is not None and not page.is_last:
            while len(coming) < PAGES_A_COMMIT:
                coming.append(reader.submit(next, pages, None))
            yield page
            page = coming.popleft().result()
        if page is not None:
            yield page
    finally:
        reader.shutdown(wait=False, cancel_futures=True)


def in_groups(pages: Iterator[ChangesPage], n_most: int = PAGES_A_COMMIT) -> Iterator[list[ChangesPage]]:
    """The pages in lists of `n_most`; what came before an error is given before it is raised. Raises: what `pages` raises."""
    group: list[ChangesPage] = []
    try:
        for page in pages:
            group.append(page)
            if len(group) == n_most:
                yield group
                group = []
    except ApiError:
        if group:
            yield group
        raise
    if group:
        yield group


def landings(pages: Sequence[ChangesPage]) -> Iterator[tuple[pa.Table | None, Sequence[str]]]:
    """The rows of several pages together, and the deletions that follow them: where a page has some, no later page's rows are
    before them.

    A statement over 35 columns costs as much to plan as 5,000 rows cost to run.
    """
    rows: list[pa.Table] = []
    for page in pages:
        if page.rows is not None:
            rows.append(page.rows)
        if page.deleted_ids or (rows and page is pages[-1]):
            yield all_rows(rows) if rows else None, page.deleted_ids
            rows = []
