"""How a command tells that it works: on a terminal a line that moves, elsewhere a line a step, and of a first load one a minute.

Not here: what there is to tell (`warehouse/first_load.py`).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.text import Text

from dynsync_pipeline.cli.output import errors_to
from dynsync_pipeline.warehouse.first_load import log, progress

_LOOK_S = 1.0  # between two looks at how far it is


class _Line:
    """The step at hand and how far it is, drawn anew by rich, many times a second."""

    def __init__(self, folder: Path) -> None:
        self.step = "Starting"
        self._folder = folder
        self._told = ""
        self._looked_at_s = -_LOOK_S

    def __rich__(self) -> Text:
        at_s = time.monotonic()
        if at_s - self._looked_at_s >= _LOOK_S:
            self._looked_at_s = at_s
            self._told = "; ".join(told for what, told in progress(self._folder).items() if what != "estimate")
        return Text(f"{self.step} … {self._told}", overflow="ellipsis", no_wrap=True)


@contextmanager
def telling_progress(folder: Path) -> Iterator[Callable[[str], None]]:
    """A function that takes the sentence of each step; `folder` is the data folder, where a first load tells how far it is."""
    log.setLevel(logging.INFO)  # which a later cycle says nothing to
    if not errors_to.is_terminal:
        yield lambda sentence: errors_to.print(f"{sentence} …", highlight=False)
        return
    line = _Line(folder)

    def tell(sentence: str) -> None:
        line.step = sentence

    with errors_to.status(line):
        yield tell
