"""Pages of a list: how many rows to ask for, when to give up on what cannot be read, and that every list must end.

Not here: sending (`*/client.py`), cutting a page into rows (`pieces.py`).
"""

from __future__ import annotations

from dynsync_pipeline.errors import AnswerUnreadable

MOST_UNREAD = 50  # rows of one read; where more cannot be read, the fault is no row's
MOST_EMPTY_PAGES = 200  # in a row; Marketo's feeds have a few, each over a span of time in which nothing happened


class PageSpoiled(Exception):
    """A page of the system's own that cannot be cut into its rows: asked for again, with fewer rows. No ApiError, so that
    the same page is not sent for again and again first.
    """


class PageSize:
    """How many rows to ask for: as many as may be, and after a spoiled page ever fewer, until the bad row is alone.

    Once that is passed, or as many rows as the spoiled page had, it is as many as may be again.
    """

    def __init__(self, system: str, largest: int) -> None:
        self._system = system
        self._largest = largest
        self._n_left = 0
        self._n_alone = 0
        self.n_rows = largest

    @property
    def is_largest(self) -> bool:
        """Whether as many rows as may be are asked for."""
        return self.n_rows == self._largest

    @property
    def is_alone(self) -> bool:
        """Whether one row is asked for."""
        return self.n_rows == 1

    def shrink(self) -> None:
        """The page was spoiled."""
        self._n_left = self.n_rows
        self.n_rows = max(self.n_rows // 10, 1)

    def passed(self, n_rows: int) -> None:
        """A page with so many rows could be read."""
        self._n_left -= n_rows
        if self._n_left <= 0:
            self.n_rows = self._largest

    def passed_alone(self, request: str) -> None:
        """The bad row was told from the others. Raises: AnswerUnreadable where there are too many of them."""
        self._n_alone += 1
        self.n_rows = self._largest
        if self._n_alone > MOST_UNREAD:
            raise too_many_unread(self._system, request)


class Progress:
    """Watches the pages of one read, and ends one that goes in circles or never comes to rows."""

    def __init__(self, system: str) -> None:
        self._system = system
        self._links: set[int] = set()
        self._contents: set[int] = {hash(b"[]")}
        self._n_empty = 0

    def note(self, link: str | None, content: bytes, request: str) -> None:
        """A page with these rows arrived that leads on to `link`. Raises: AnswerUnreadable."""
        if link is None:
            return
        is_new = (found := hash(content)) not in self._contents
        self._n_empty = 0 if is_new else self._n_empty + 1
        if hash(link) in self._links:
            raise self._endless(request, "its pages lead back to one that was read already")
        if self._n_empty >= MOST_EMPTY_PAGES:
            raise self._endless(request, f"{MOST_EMPTY_PAGES} pages in a row brought nothing new")
        self._links.add(hash(link))
        self._contents.add(found)

    def _endless(self, request: str, why: str) -> AnswerUnreadable:
        return AnswerUnreadable(
            f"The list would never end: {why}.",
            system=self._system,
            request=request,
            next_step="The next cycle reads it again; if it stays so, ask the vendor's support.",
        )


def too_many_unread(system: str, request: str) -> AnswerUnreadable:
    """What to say where so much cannot be read that no single row is at fault."""
    return AnswerUnreadable(
        f"More than {MOST_UNREAD} rows of one answer cannot be read, so the fault is no single row's.",
        system=system,
        request=request,
        next_step="The next cycle reads it again; see whether something between here and the system changes its answers.",
    )
